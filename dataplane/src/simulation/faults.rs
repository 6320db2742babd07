//! What befalls a relay besides weather: NICs that go down and up, clocks that jump, processes that end and begin again, circuits that
//! change hands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::publish::Publisher;
use crate::router_config::{TenantEntry, TunnelKind, Vlan};
use crate::simulation::cable::Mishaps;
use crate::simulation::key_exchange::TUNNEL;
use crate::simulation::plan;
use crate::simulation::relay::Relay;
use crate::simulation::world::World;
use crate::time::{Duration, Instant};
use crate::tunnel::wireguard::Tai64n;
use crate::worker::control::{Command, Event};

/// What a NIC does that is down. It receives nothing, and ...
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down {
    /// ... sends nothing: its ring fills.
    Stuck,
    /// ... takes what it is given, and sends none of it.
    Refusing,
}

/// What the control plane keeps on disk of a tenant's router: where it was last heard, and how new its last handshake was.
pub(super) type Peers = BTreeMap<Arc<str>, (Option<SocketAddr>, Option<Tai64n>)>;

impl World {
    /// A NIC goes down, or up again.
    pub fn set_down(&mut self, port: usize, down: Option<Down>) {
        self.down[port] = down;
        self.wires[port].iter_mut().for_each(|wire| wire.refuse(down == Some(Down::Refusing)));
    }

    /// Whether a NIC is down.
    #[must_use]
    pub fn is_down(&self, port: usize) -> bool {
        self.down[port].is_some()
    }

    /// What is in the rings of the NICs goes out, where there is a way out.
    pub(super) fn empty_rings(&mut self) {
        let down = std::mem::replace(&mut self.down, vec![None; self.ports.len()]);
        self.collect();
        for (cable, _) in self.from_relay.iter_mut().zip(&down).filter(|(_, down)| down.is_some()) {
            cable.clear();
        }
        self.down = down;
    }

    /// What the cables did to frames.
    #[must_use]
    pub fn mishaps(&self) -> Mishaps {
        let mut sum = Mishaps::default();
        for cable in self.to_relay.iter().chain(&self.from_relay).map(super::cable::Cable::mishaps) {
            sum.lost += cable.lost;
            sum.doubled += cable.doubled;
            sum.bent += cable.bent;
            sum.overtaken += cable.overtaken;
        }
        sum
    }

    /// The relay's process ends, whatever it is at, and another one begins with the same configuration and with what the first one had
    /// written down; the machine's wall clock was set back by `set_back` between the two.
    ///
    /// # Panics
    /// Where a law is broken, or the machine has no memory left.
    pub fn restart(&mut self, set_back: Duration) {
        self.empty_rings();
        self.check_laws();
        self.past_reasons = self.reasons();
        let lasted = self.relay_now().since(Instant::ZERO);
        self.start.since_1970 = (self.start.since_1970 + lasted).saturating_sub(set_back);
        self.start.port_half = self.start.port_half.other();
        self.zero = self.now;
        self.has_restarted = true;
        self.ports = plan::ports(self.dimensions.mtu);
        let config = plan::compile(&self.plan, &self.ports, &[]);
        self.tenants.clone_from(&config.tenants);
        self.former.iter_mut().for_each(|entry| *entry = uncounted(entry));
        self.publisher = Publisher::new(config);
        let (dimensions, start, now) = (self.dimensions, self.start, self.relay_now());
        let relay = Relay::new(&self.ports, dimensions, &self.publisher, start, &mut self.random, now);
        Relay { workers: self.workers, commands: self.commands, events: self.events, counters: self.counters, wires: self.wires } = relay;
        self.told.clear();
        (self.delivered, self.collected) = (0, 0);
        self.last_transmitted.fill(None);
        for port in 0..self.ports.len() {
            self.set_down(port, self.down[port]);
        }
        // The next run numbers datagrams anew, long after hosts have given up on the pieces of old ones.
        self.offices.iter_mut().for_each(super::office::Office::forget_fragments);
        self.clouds.iter_mut().for_each(super::stations::Cloud::forget_fragments);
        self.call_peers();
    }

    /// The new process calls the routers whose addresses it finds written down.
    fn call_peers(&mut self) {
        for tenant in self.plan.tenants.clone() {
            if let (Some((Some(peer), timestamp)), TunnelKind::WireGuard { .. }) = (self.peers.get(&tenant.name), &tenant.tunnels[0].kind) {
                let (peer, timestamp) = (*peer, *timestamp);
                self.command(Command::Initiate { tenant: tenant.name, tunnel: TUNNEL.into(), peer, timestamp });
            }
        }
    }

    /// Two tenants get each other's first circuit. What is under way on the trunks of the two is lost while they are patched.
    ///
    /// # Panics
    /// Where there is no such tenant.
    pub fn swap_circuits(&mut self, one: &str, other: &str) {
        let circuits = [one, other].map(|name| {
            let attachment = &self.plan.tenant(name).attachments[0];
            (attachment.port, attachment.vlan)
        });
        self.empty_rings();
        for (port, vlan) in circuits {
            self.to_relay[usize::from(port.0)].clear();
            self.from_relay[usize::from(port.0)].clear();
            self.clouds.retain(|cloud| (cloud.port, cloud.vlan) != (port, vlan));
        }
        self.reload(|plan| {
            for (name, (port, vlan)) in [other, one].into_iter().zip(circuits) {
                let attachment = &mut plan.tenant(name).attachments[0];
                (attachment.port, attachment.vlan) = (port, vlan);
            }
        });
    }

    /// A tenant's first circuit gets another number.
    ///
    /// # Panics
    /// Where there is no such tenant.
    pub fn renumber_circuit(&mut self, name: &str, vlan: Vlan) {
        self.reload(|plan| plan.tenant(name).attachments[0].vlan = vlan);
    }
}

/// What the control plane writes down when it hears of it.
pub(super) fn write_down(peers: &mut Peers, event: &Event) {
    match event {
        Event::PeerMoved { tenant, peer, .. } => peers.entry(Arc::clone(tenant)).or_default().0 = Some(*peer),
        Event::HandshakeAnswered { tenant, timestamp, .. } => peers.entry(Arc::clone(tenant)).or_default().1 = Some(*timestamp),
        _ => {}
    }
}

/// As in a process that has counted nothing yet.
fn uncounted(entry: &TenantEntry) -> TenantEntry {
    let tunnel_counters = entry.tunnel_counters.iter().map(|_| Arc::default()).collect();
    TenantEntry { config: Arc::clone(&entry.config), counters: Arc::default(), tunnel_counters }
}
