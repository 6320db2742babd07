//! What time asks for: tunnel timers, next hops, expiring sessions, gauges; and what tunnels send and report of their own accord.
//!
//! The tenants are visited in turn, a slice of them each tick, so that the work of 1,788 never comes at once.

use std::sync::Arc;

use crate::counters::DropCounters;
use crate::drop_reason::DropReason;
use crate::link::Interface;
use crate::route::TunnelNews;
use crate::router_config::TunnelId;
use crate::time::{Duration, Instant};
use crate::tunnel::{AnyTunnel, TenantId, Tunnel, TunnelKey};
use crate::wire::ethernet::MacAddr;
use crate::worker::Worker;
use crate::worker::control::Event;
use crate::worker::ledger::Ledger;
use crate::worker::port::{self, Port};

/// Between two visits of one tenant. WireGuard's timers want 250 ms.
const ROUND: Duration = Duration::from_millis(250);
/// Most ticks in a round. With 1,788 tenants a tick visits 28 of them, which takes some 50 us: a packet that comes meanwhile hardly
/// notices. A worker of so many wakes up 256 times a second without any traffic, one of three twelve times.
const SLICES: u32 = 64;
/// Expired sessions freed at one visit: bounds the time a visit takes.
const EXPIRE_BUDGET: usize = 1024;
/// Gratuitous ARP messages of one interface at one visit.
const ANNOUNCE_BUDGET: usize = 8;

/// When which tenants are visited: each at its own place in the round, whoever else there is.
pub(super) struct Schedule {
    round: Instant,
    slice: u32,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { round: now, slice: 0 }
    }

    pub(super) fn next(&self) -> Instant {
        self.round + ROUND / SLICES * self.slice
    }

    /// On to the next slice that has somebody in it.
    fn advance(&mut self, tenants: usize, now: Instant) {
        self.slice += 1;
        if self.slice == SLICES || self.slice as usize >= tenants {
            self.slice = 0;
            // Rounds that were missed are not made up for: timers look at the clock, not at the number of visits.
            let missed = now.since(self.round).as_nanos() / ROUND.as_nanos();
            self.round = self.round + ROUND * u32::try_from(missed.max(1)).unwrap_or(u32::MAX);
        }
    }
}

impl Worker {
    /// Visit the tenants whose turn it is.
    pub(super) fn keep_house(&mut self, now: Instant) {
        if now < self.housekeeping.next() {
            return;
        }
        let slice = self.housekeeping.slice as usize;
        self.housekeeping.advance(self.tenants.len(), now);
        for index in (slice..self.tenants.len()).step_by(SLICES as usize) {
            self.visit(index, now);
        }
        if slice == 0 {
            self.visit_ports(now);
        }
    }

    fn visit(&mut self, index: usize, now: Instant) {
        let id = TenantId(u32::try_from(index).expect("fewer than 2^32 tenants"));
        let Some(tenant) = self.tenants[index].as_deref_mut() else { return };
        for interface in &mut tenant.attachments {
            let port = &mut self.ports[usize::from(interface.port.0)];
            keep_interface(port, interface, &tenant.counters.drops, &mut self.ledger, now);
        }
        tenant.nat.expire(now, EXPIRE_BUDGET);
        tenant.publish_gauges(now);
        tenant.counters.queued.set(self.tenant_queues.len_of(id) as u64);
        let tunnels = tenant.tunnels.len();
        self.expire_fragments(id, now);
        for tunnel in (0u8..).take(tunnels) {
            let key = TunnelKey { tenant: id, tunnel: TunnelId(tunnel) };
            self.tick_tunnel(key, now);
            self.report_move(key);
            self.report_handshake(key);
            self.report_sas(key);
        }
        if self.tenants[index].as_deref().is_some_and(|tenant| tenant.wants_another_tunnel(now)) {
            self.initiate_all(id, now);
        }
    }

    fn visit_ports(&mut self, now: Instant) {
        for (port, interface) in self.ports.iter_mut().zip(&mut self.access) {
            port.counters.nic_receive_lost.set(port.nics.iter_mut().map(|nic| nic.receive_lost()).sum());
            if let Some(interface) = interface {
                let counters = Arc::clone(&port.counters);
                keep_interface(port, interface, &counters.drops, &mut self.ledger, now);
            }
        }
    }

    fn tick_tunnel(&mut self, key: TunnelKey, now: Instant) {
        self.send_tunnel_message(key, now, |tunnel, out| tunnel.tick(out, now));
    }

    /// Begin a handshake where the tunnel wants one, or ask the control plane to.
    pub(super) fn initiate(&mut self, key: TunnelKey, now: Instant) {
        self.acquire(key, now);
        self.send_tunnel_message(key, now, |tunnel, out| tunnel.initiate(out, now));
    }

    /// As [`Self::initiate`], all tunnels of a tenant: any of them would do.
    pub(super) fn initiate_all(&mut self, id: TenantId, now: Instant) {
        let tunnels = self.tenants[id.0 as usize].as_deref().map_or(0, |tenant| tenant.tunnels.len());
        (0u8..).take(tunnels).for_each(|tunnel| self.initiate(TunnelKey { tenant: id, tunnel: TunnelId(tunnel) }, now));
    }

    fn send_tunnel_message(&mut self, key: TunnelKey, now: Instant, write: impl FnOnce(&mut AnyTunnel, &mut [u8]) -> Option<usize>) {
        let Some(mut out) = self.ledger.blank() else { return };
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return self.ledger.release(out) };
        let tunnel = &mut tenant.tunnels[usize::from(key.tunnel.0)].tunnel;
        match write(tunnel, out.spare_mut()) {
            Some(len) if out.set_range(0, len) => {
                self.ledger.generated();
                self.send_to_peer(key, 0, out, now);
            }
            _ => self.ledger.release(out),
        }
        self.exchange_indices(key, now);
    }

    /// Count and note what a tunnel learned.
    pub(super) fn tell(&mut self, key: TunnelKey, news: TunnelNews) {
        if !news.peer_moved && !news.handshake_completed {
            return;
        }
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let slot = &mut tenant.tunnels[usize::from(key.tunnel.0)];
        if news.handshake_completed {
            slot.counters.handshakes.add(1);
        }
        if news.peer_moved {
            slot.counters.roams.add(1);
            slot.moved = true;
        }
        if news.handshake_completed {
            self.report_sas(key);
        }
    }

    /// Tell the control plane where the peer is now. At a visit and not at each move, so that a peer that moves with every packet
    /// fills the ring for nobody; what finds the ring full is told at the next visit.
    fn report_move(&mut self, key: TunnelKey) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let slot = &mut tenant.tunnels[usize::from(key.tunnel.0)];
        if let (true, Some(peer)) = (slot.moved, slot.tunnel.peer()) {
            let tunnel = Arc::clone(&tenant.config.tunnels[usize::from(key.tunnel.0)].name);
            let moved = Event::PeerMoved { tenant: Arc::clone(&tenant.config.name), tunnel, peer };
            slot.moved = self.events.push(moved).is_err();
            self.told = true;
        }
    }

    /// Tell the control plane how new the peer's newest handshake is, in the manner of [`Self::report_move`].
    fn report_handshake(&mut self, key: TunnelKey) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let AnyTunnel::WireGuard(tunnel) = &mut tenant.tunnels[usize::from(key.tunnel.0)].tunnel else { return };
        if let Some(timestamp) = tunnel.untold_timestamp() {
            let name = Arc::clone(&tenant.config.tunnels[usize::from(key.tunnel.0)].name);
            let answered = Event::HandshakeAnswered { tenant: Arc::clone(&tenant.config.name), tunnel: name, timestamp };
            if self.events.push(answered).is_ok() {
                tunnel.timestamp_told();
            }
            self.told = true;
        }
    }
}

/// What the relay says and asks on one network; packets whose next hop stayed silent are lost, on the account of `drops`.
fn keep_interface(port: &mut Port, interface: &mut Interface, drops: &DropCounters, ledger: &mut Ledger, now: Instant) {
    // A gateway that is known before the first packet needs nobody to wait for it.
    if let Some(gateway) = interface.gateway() {
        interface.neighbors.resolve(gateway, now);
    }
    if let Some(ipv6) = &mut interface.ipv6
        && let Some(gateway) = ipv6.gateway()
    {
        ipv6.neighbors.resolve(gateway, now);
    }
    announce(port, interface, ledger);
    port::send_probes(port, interface, ledger, now);
    while let Some(packet) = interface.expired_held() {
        ledger.dropped_held(packet, DropReason::NextHopUnresolved, drops);
    }
}

fn announce(port: &mut Port, interface: &mut Interface, ledger: &mut Ledger) {
    if let Some((message, stations)) = interface.ipv6.as_mut().and_then(|ipv6| ipv6.next_announcement(port.mac)) {
        port.send_discovery(&message, stations, interface, ledger);
    }
    for _ in 0..ANNOUNCE_BUDGET {
        let Some(arp) = interface.next_announcement(port.mac) else { return };
        port.send_arp(&arp, MacAddr::BROADCAST, interface, ledger);
    }
}
