//! Taking over a configuration: unchanged tenants are left alone, changed ones keep what still fits, removed ones lose everything at once.

use std::net::SocketAddrV4;
use std::sync::Arc;

use hashbrown::HashSet;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::counters::{DropCounters, TunnelCounters};
use crate::drop_reason::DropReason;
use crate::link::{Interface, Ipv6Interface};
use crate::router_config::{
    AttachmentId, EndpointConfig, EndpointId, EndpointKind, PortConfig, PortId, RouterConfig, TenantConfig, TenantEntry, TunnelConfig,
    TunnelId, TunnelKind, Vlan, WorkerId,
};
use crate::tenant::{Tenant, TenantTunnel};
use crate::time::{Duration, Instant};
use crate::tunnel::esp::EspTunnel;
use crate::tunnel::wireguard::{WireGuardListener, WireGuardTunnel};
use crate::tunnel::{AnyTunnel, TenantId, TunnelKey};
use crate::worker::control::{Event, IkePort, Retired};
use crate::worker::difference::Difference;
use crate::worker::ledger::Ledger;
use crate::worker::{Endpoint, Worker};

/// Next hops of an access network: gateways and the municipal routers that are directly connected.
const ACCESS_NEIGHBORS: usize = 1024;

/// A tenant that is new or not as it was: its place, where it has one, and those of its tunnels that go on, in their places.
struct Change<'a> {
    id: Option<TenantId>,
    kept: Vec<Option<TenantTunnel>>,
    entry: &'a TenantEntry,
}

fn make_endpoint(endpoint: &EndpointConfig, config: &RouterConfig, cookie_seed: &[u8; 32], start: Duration) -> Endpoint {
    let address = config.ports[usize::from(endpoint.port.0)].address.expect("validated: a port with endpoints has an address");
    let (port, listener) = match &endpoint.kind {
        EndpointKind::WireGuard { listen, private_key } => {
            (listen.get(), Some(WireGuardListener::sharing_cookies(private_key, cookie_seed, start)))
        }
        EndpointKind::Ipsec => (IkePort::P4500.number(), None),
    };
    Endpoint { port: endpoint.port, local: SocketAddrV4::new(address.ip(), port), listener }
}

/// The relay's presence in the network of each port that has an address.
/// Every worker has its own neighbours there, and one of them announces the address.
pub(super) fn access_interfaces(config: &RouterConfig, worker: WorkerId) -> Vec<Option<Interface>> {
    let ports = (0u8..).zip(&config.ports);
    let interface = |(index, port): (u8, &PortConfig)| {
        let address = port.address?;
        let interface = Interface::new(PortId(index), Vlan::Untagged, port.mtu, address, port.gateway, Vec::new(), ACCESS_NEIGHBORS);
        let interface = interface.with_ipv6(port.address6.map(|address| Ipv6Interface::new(address, port.gateway6, ACCESS_NEIGHBORS)));
        Some(if worker == WorkerId(0) { interface } else { interface.without_announcements() })
    };
    ports.map(interface).collect()
}

impl Worker {
    /// Make `config` the one that packets meet from now on.
    pub(super) fn adopt(&mut self, generation: u64, config: Arc<RouterConfig>, now: Instant) {
        let old = std::mem::replace(&mut self.config, config);
        let config = Arc::clone(&self.config);
        let is_first = self.endpoints.is_empty() && self.names.is_empty();
        let Difference { gone, mut come } = if is_first { Difference::from_nothing(&config) } else { Difference::between(&old, &config) };
        self.retire_missing(&gone, &come, now);
        let renewed = self.replace_endpoints(&old, &config);
        if renewed.contains(&true) {
            // Tunnels begin anew at tenants that did not change themselves.
            come = config.tenants.iter().collect();
        }
        // Keys and VLANs may move from one tenant to another: first everybody lets go, then everybody takes.
        come.retain(|entry| self.steering.owns(&entry.config.name));
        let changes: Vec<Change<'_>> = come.into_iter().filter_map(|entry| self.let_go(entry, &renewed, now)).collect();
        for change in changes {
            let id = match change.id {
                Some(id) => self.change_tenant(id, change.kept, change.entry, now),
                None => self.add_tenant(change.entry, now),
            };
            self.link_attachments(id);
        }
        self.steering.learn(&config);
        if old.conventional_lgwan != config.conventional_lgwan {
            self.tenants.iter_mut().flatten().for_each(|tenant| tenant.doubt_sessions());
        }
        self.ledger.counters.generation.set(generation);
    }

    /// Remove the tenants that are gone and did not come back changed.
    fn retire_missing(&mut self, gone: &[&TenantEntry], come: &[&TenantEntry], now: Instant) {
        let staying: HashSet<&str> = come.iter().map(|entry| &*entry.config.name).collect();
        for entry in gone.iter().filter(|entry| !staying.contains(&*entry.config.name)) {
            let Some(id) = self.names.remove(&entry.config.name) else { continue };
            let Some(mut tenant) = self.tenants[id.0 as usize].take() else { continue };
            self.unlink(&tenant, now);
            let drops = &tenant.counters.drops;
            self.tenant_queues.drain(id, |packet| self.ledger.dropped_held(packet, DropReason::TenantRemoved, drops));
            let lose = |packet, reason| self.ledger.dropped_held(packet, reason, drops);
            tenant.fragments.clear(DropReason::TenantRemoved, &mut self.fragment_places, lose);
            let interfaces = std::mem::take(&mut tenant.attachments);
            drain_held(interfaces, &mut self.ledger, &tenant.counters.drops);
            self.retire(Retired::new(tenant));
        }
    }

    /// Freeing a tenant may take a while: the control plane does it.
    fn retire(&mut self, retired: Retired) {
        if let Err(Event::Retired(retired)) = self.tell_control_plane(Event::Retired(retired)) {
            drop(retired);
        }
    }

    /// Take over the relay's own ends of tunnels. Returns which of them are new or not as they were: their tunnels begin anew.
    fn replace_endpoints(&mut self, old: &RouterConfig, config: &RouterConfig) -> Vec<bool> {
        let old_ports = self.own_ports(old);
        let mut standing: Vec<Option<Endpoint>> = std::mem::take(&mut self.endpoints).into_iter().map(Some).collect();
        let mut renewed = Vec::with_capacity(config.endpoints.len());
        for (index, endpoint) in config.endpoints.iter().enumerate() {
            let same = old.endpoints.get(index) == Some(endpoint);
            let kept = if same { standing.get_mut(index).and_then(Option::take) } else { None };
            renewed.push(kept.is_none());
            self.endpoints.push(kept.unwrap_or_else(|| make_endpoint(endpoint, config, self.links.cookie_seed(), self.start)));
        }
        self.ipsec_at.fill(None);
        for (number, endpoint) in (0u8..).zip(&self.endpoints).filter(|(_, endpoint)| endpoint.listener.is_none()) {
            self.ipsec_at[usize::from(endpoint.port.0)] = Some(EndpointId(number));
        }
        let own_ports = self.own_ports(config);
        if own_ports != old_ports {
            self.tenants.iter_mut().flatten().for_each(|tenant| tenant.nat.set_reserved_ports(&own_ports));
        }
        renewed
    }

    /// Ports that the relay listens on.
    fn own_ports(&self, config: &RouterConfig) -> Vec<u16> {
        let ike = self.endpoints.iter().filter(|endpoint| endpoint.listener.is_none()).map(|_| IkePort::P500.number());
        self.endpoints.iter().map(|endpoint| endpoint.local.port()).chain(ike).chain(config.reserved_ports.iter().copied()).collect()
    }

    /// `None` for a tenant that stays as it is. The tunnels of a changed one that do not go on end here.
    fn let_go<'a>(&mut self, entry: &'a TenantEntry, renewed: &[bool], now: Instant) -> Option<Change<'a>> {
        let Some(id) = self.names.get(&entry.config.name).copied() else { return Some(Change { id: None, kept: Vec::new(), entry }) };
        let tenant = self.tenants[id.0 as usize].as_deref_mut()?;
        let is_renewed = |tunnel: &TunnelConfig| renewed[usize::from(tunnel.endpoint.0)];
        let anew = entry.config.tunnels.iter().any(is_renewed);
        if !anew && (Arc::ptr_eq(&tenant.config, &entry.config) || tenant.config == entry.config) {
            return None;
        }
        for interface in &tenant.attachments {
            self.attachments.remove((interface.port, interface.vlan));
        }
        let old = std::mem::take(&mut tenant.tunnels).into_iter().enumerate();
        let config = Arc::clone(&tenant.config);
        let kept = old.map(|(index, tunnel)| {
            let wanted = entry.config.tunnels.get(index);
            let goes_on = wanted == config.tunnels.get(index) && !wanted.is_some_and(is_renewed);
            if !goes_on {
                self.unlink_tunnel(&config, index, &tunnel, now);
            }
            goes_on.then_some(tunnel)
        });
        Some(Change { id: Some(id), kept: kept.collect(), entry })
    }

    fn add_tenant(&mut self, entry: &TenantEntry, now: Instant) -> TenantId {
        let slot = self.tenants.iter().position(Option::is_none).unwrap_or(self.tenants.len());
        let id = TenantId(u32::try_from(slot).expect("fewer than 2^32 tenants"));
        if slot == self.tenants.len() {
            self.tenants.push(None);
        }
        let tunnels = self.make_tunnels(id, entry, Vec::new(), now);
        let seed = self.next_seed();
        let own_ports = self.own_ports(&self.config);
        self.tenants[slot] = Some(Box::new(Tenant::new(entry, tunnels, &own_ports, self.port_half, seed, now)));
        self.tenant_queues.configure(id, &entry.config);
        self.names.insert(Arc::clone(&entry.config.name), id);
        id
    }

    fn change_tenant(&mut self, id: TenantId, kept: Vec<Option<TenantTunnel>>, entry: &TenantEntry, now: Instant) -> TenantId {
        let ways_stay = kept.iter().all(Option::is_some);
        let tunnels = self.make_tunnels(id, entry, kept, now);
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { return id };
        self.tenant_queues.configure(id, &entry.config);
        if !ways_stay || tenant.config.attachments != entry.config.attachments {
            // What waits names its tunnel or VLAN by number, and would come out of another one.
            let drops = &tenant.counters.drops;
            self.tenant_queues.drain(id, |packet| self.ledger.dropped_held(packet, DropReason::TenantReconfigured, drops));
        }
        let lose = |packet, reason| self.ledger.dropped_held(packet, reason, &tenant.counters.drops);
        tenant.fragments.clear(DropReason::TenantReconfigured, &mut self.fragment_places, lose);
        let gone = tenant.reconfigure(entry, tunnels, now);
        drain_held(gone, &mut self.ledger, &tenant.counters.drops);
        // What waits for its next hop was let through, and translated, by the old rules.
        for interface in &mut tenant.attachments {
            drop_held(interface, DropReason::NextHopUnresolved, &mut self.ledger, &tenant.counters.drops);
        }
        id
    }

    /// The tunnels of `entry`, in its order: those that go on, and new ones for the rest.
    fn make_tunnels(&mut self, id: TenantId, entry: &TenantEntry, kept: Vec<Option<TenantTunnel>>, now: Instant) -> Vec<TenantTunnel> {
        let kept = kept.into_iter().chain(std::iter::repeat_with(|| None));
        let wanted = entry.config.tunnels.iter().zip(&entry.tunnel_counters).zip(kept);
        let mut tunnels = Vec::with_capacity(entry.config.tunnels.len());
        for (number, ((config, counters), kept)) in (0u8..).zip(wanted) {
            let key = TunnelKey { tenant: id, tunnel: TunnelId(number) };
            tunnels.push(kept.unwrap_or_else(|| self.make_tunnel(key, config, counters, now)));
        }
        tunnels
    }

    fn make_tunnel(&mut self, key: TunnelKey, config: &TunnelConfig, counters: &Arc<TunnelCounters>, now: Instant) -> TenantTunnel {
        let tunnel = match &config.kind {
            TunnelKind::WireGuard { public_key, .. } => {
                self.tunnels.insert(config.endpoint, *public_key, key).expect("validated: keys are unique, tables fit");
                let index = self.tunnels.lend(config.endpoint, key, now);
                let listener = self.endpoints[usize::from(config.endpoint.0)].listener.as_ref();
                let listener = listener.expect("validated: a WireGuard tunnel has a WireGuard endpoint");
                AnyTunnel::WireGuard(WireGuardTunnel::new(listener, config, index, now))
            }
            TunnelKind::Ipsec => AnyTunnel::Esp(EspTunnel::new(config, now)),
        };
        TenantTunnel { tunnel, endpoint: config.endpoint, mtu: config.mtu, counters: Arc::clone(counters), moved: false }
    }

    fn unlink(&mut self, tenant: &Tenant, now: Instant) {
        for (index, tunnel) in tenant.tunnels.iter().enumerate() {
            self.unlink_tunnel(&tenant.config, index, tunnel, now);
        }
        for interface in &tenant.attachments {
            self.attachments.remove((interface.port, interface.vlan));
        }
    }

    /// No message finds a tunnel of `config` from now on.
    fn unlink_tunnel(&mut self, config: &TenantConfig, index: usize, tunnel: &TenantTunnel, now: Instant) {
        let old = &config.tunnels[index];
        if let (TunnelKind::WireGuard { public_key, .. }, AnyTunnel::WireGuard(wireguard)) = (&old.kind, &tunnel.tunnel) {
            self.tunnels.remove(old.endpoint, *public_key);
            for index in wireguard.indices() {
                self.tunnels.release(index, now);
            }
        }
        self.lose_sas(&config.name, &old.name, tunnel, now);
    }

    fn link_attachments(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref() else { return };
        for (number, interface) in (0u8..).zip(&tenant.attachments) {
            self.attachments.insert((interface.port, interface.vlan), (id, AttachmentId(number)));
        }
    }

    /// A tenant's own seed. The generator is a cipher, so that nothing a tenant sees tells about the seed of another.
    fn next_seed(&mut self) -> u64 {
        let mut random = StdRng::seed_from_u64(self.seed);
        self.seed = random.next_u64();
        random.next_u64()
    }
}

/// Packets that waited on interfaces that are gone.
fn drain_held(interfaces: Vec<Interface>, ledger: &mut Ledger, drops: &DropCounters) {
    for mut interface in interfaces {
        drop_held(&mut interface, DropReason::TenantRemoved, ledger, drops);
    }
}

fn drop_held(interface: &mut Interface, reason: DropReason, ledger: &mut Ledger, drops: &DropCounters) {
    for packet in interface.drain_held() {
        ledger.dropped_held(packet, reason, drops);
    }
}
