//! What time asks for: tunnel timers, next hops, expiring sessions, gauges; and the messages that the relay sends of its own accord.
//!
//! The tenants are visited in turn, a sixteenth of them each tick, so that the work of 1,788 never comes at once.

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::rate::Rate;
use crate::route::{self, TunnelNews};
use crate::router_config::{AttachmentId, PortId, TunnelId};
use crate::time::{Duration, Instant};
use crate::tunnel::{TenantId, Tunnel, TunnelKey};
use crate::wire::ethernet::MacAddr;
use crate::wire::icmp::{self, IcmpErrorKind};
use crate::wire::inner::Inner;
use crate::worker::Worker;
use crate::worker::control::Event;
use crate::worker::port::{self, Port};

/// Between two visits of one tenant. WireGuard's timers want 250 ms.
const ROUND: Duration = Duration::from_millis(250);
/// Ticks in a round.
const SLICES: u32 = 16;
/// Expired sessions freed at one visit: bounds the time a visit takes.
const EXPIRE_BUDGET: usize = 1024;
/// Gratuitous ARP messages of one interface at one visit.
const ANNOUNCE_BUDGET: usize = 8;
/// Echo requests that the relay answers on its access address, to whoever asks.
const ECHOES: Rate = Rate::per_second(100);

/// When which tenants are visited.
pub(super) struct Schedule {
    next: Instant,
    slice: u32,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, slice: 0 }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }
}

impl Worker {
    /// Visit the tenants whose turn it is.
    pub(super) fn keep_house(&mut self, now: Instant) {
        if now < self.housekeeping.next {
            return;
        }
        // A late tick is not made up for: timers look at the clock, not at the number of visits.
        self.housekeeping.next = now + ROUND / SLICES;
        let slice = self.housekeeping.slice as usize;
        self.housekeeping.slice = (self.housekeeping.slice + 1) % SLICES;
        for index in (slice..self.tenants.len()).step_by(SLICES as usize) {
            self.visit(index, now);
        }
        if slice == 0 {
            self.visit_ports(now);
        }
    }

    fn visit(&mut self, index: usize, now: Instant) {
        let Some(tenant) = self.tenants[index].as_deref_mut() else { return };
        for interface in &mut tenant.attachments {
            let port = &mut self.ports[usize::from(interface.port.0)];
            // A gateway that is known before the first packet needs nobody to wait for it.
            if let Some(gateway) = interface.gateway() {
                interface.neighbors.resolve(gateway, now);
            }
            announce(port, interface, &mut self.ledger);
            port::send_probes(port, interface, &mut self.ledger, now);
            while let Some(packet) = interface.neighbors.expired_held() {
                self.ledger.unhold();
                self.ledger.dropped(packet, DropReason::NextHopUnresolved, &tenant.counters.drops);
            }
        }
        tenant.nat.expire(now, EXPIRE_BUDGET);
        tenant.publish_gauges(now);
        let tunnels = tenant.tunnels.len();
        let id = TenantId(u32::try_from(index).expect("fewer than 2^32 tenants"));
        for tunnel in (0u8..).take(tunnels) {
            self.tick_tunnel(TunnelKey { tenant: id, tunnel: TunnelId(tunnel) }, now);
        }
    }

    fn visit_ports(&mut self, now: Instant) {
        for (port, interface) in self.ports.iter_mut().zip(&mut self.access) {
            port.counters.nic_receive_lost.set(port.nic.receive_lost());
            let Some(interface) = interface else { continue };
            if let Some(gateway) = interface.gateway() {
                interface.neighbors.resolve(gateway, now);
            }
            announce(port, interface, &mut self.ledger);
            port::send_probes(port, interface, &mut self.ledger, now);
            while let Some(packet) = interface.neighbors.expired_held() {
                self.ledger.unhold();
                self.ledger.dropped(packet, DropReason::NextHopUnresolved, &port.counters.drops);
            }
        }
    }

    fn tick_tunnel(&mut self, key: TunnelKey, now: Instant) {
        self.send_tunnel_message(key, now, |tunnel, out| tunnel.tick(out, now));
    }

    /// Begin a handshake where the tunnel wants one.
    pub(super) fn initiate(&mut self, key: TunnelKey, now: Instant) {
        self.send_tunnel_message(key, now, |tunnel, out| tunnel.initiate(out, now));
    }

    fn send_tunnel_message(
        &mut self,
        key: TunnelKey,
        now: Instant,
        write: impl FnOnce(&mut crate::tunnel::AnyTunnel, &mut [u8]) -> Option<usize>,
    ) {
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
    }

    /// Report what a tunnel learned.
    pub(super) fn tell(&mut self, key: TunnelKey, news: TunnelNews) {
        if !news.peer_moved && !news.handshake_completed {
            return;
        }
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref() else { return };
        let slot = &tenant.tunnels[usize::from(key.tunnel.0)];
        if news.handshake_completed {
            slot.counters.handshakes.add(1);
        }
        if let (true, Some(peer)) = (news.peer_moved, slot.tunnel.peer()) {
            slot.counters.roams.add(1);
            let tunnel = std::sync::Arc::clone(&tenant.config.tunnels[usize::from(key.tunnel.0)].name);
            let moved = Event::PeerMoved { tenant: std::sync::Arc::clone(&tenant.config.name), tunnel, peer };
            // A full ring loses the news, not the tunnel: `show tunnels` and the next move tell it again.
            let _ = self.events.push(moved);
        }
    }

    /// Answer an echo request to the relay's access address.
    pub(super) fn echo_from_access(&mut self, id: PortId, mut packet: Packet, len: usize, station: MacAddr, now: Instant) {
        let whole = packet.set_range(0, len);
        debug_assert!(whole, "the length was read from the packet");
        let answered = Inner::parse(packet.bytes()).and_then(|inner| {
            if self.echoes.take(ECHOES, now) { crate::host::answer(packet.bytes_mut(), &inner) } else { Err(DropReason::HostEchoLimited) }
        });
        match (answered, &self.access[usize::from(id.0)]) {
            (Ok(()), Some(interface)) => port::reflect(&mut self.ports[usize::from(id.0)], interface, station, packet, &mut self.ledger),
            (Ok(()), None) => self.drop_at_port(id, packet, DropReason::UntaggedUnexpected),
            (Err(reason), _) => self.drop_at_port(id, packet, reason),
        }
    }

    /// Tell an office host why its packet was lost, where ICMP has a word for it. `lost` is the untranslated inner packet.
    pub(super) fn explain_to_office(&mut self, key: TunnelKey, reason: DropReason, lost: &Packet, now: Instant) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let mtu = tenant.config.attachments.iter().map(|attachment| attachment.mtu).min().unwrap_or(u16::MAX);
        let Some(kind) = icmp_error_for(reason, mtu) else { return };
        let endpoint = tenant.config.tunnels[usize::from(key.tunnel.0)].endpoint;
        // The end of the tunnel is the one address by which the office knows the relay.
        let from = *self.endpoints[usize::from(endpoint.0)].local.ip();
        let Some(mut plain) = self.ledger.blank() else { return };
        let Some(mut out) = self.ledger.blank() else { return self.ledger.release(plain) };
        let written = icmp::icmp_error(plain.spare_mut(), kind, from, lost.bytes());
        let sent = written.is_some_and(|len| plain.set_range(0, len))
            && tenant.may_send_icmp_error(now)
            && route::encapsulate(tenant, key.tunnel, &mut plain, &mut out, now).is_ok();
        self.ledger.release(plain);
        if !sent {
            return self.ledger.release(out);
        }
        tenant.counters.icmp_errors_sent.add(1);
        self.ledger.generated();
        self.send_to_peer(key, 0, out, now);
    }

    /// Tell a cloud host why its packet was lost, where ICMP has a word for it. `lost` is the untranslated packet.
    pub(super) fn explain_to_cloud(&mut self, id: TenantId, attachment: AttachmentId, reason: DropReason, lost: &Packet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { return };
        let Some(kind) = icmp_error_for(reason, tenant.inner_mtu()) else { return };
        let Ok(inner) = Inner::parse(lost.bytes()) else { return };
        let interface = &tenant.attachments[usize::from(attachment.0)];
        let (from, next_hop) = (interface.address(), interface.next_hop(inner.source));
        let Some(mut out) = self.ledger.blank() else { return };
        let written = icmp::icmp_error(out.spare_mut(), kind, from, lost.bytes());
        let sent = written.is_some_and(|len| out.set_range(0, len)) && tenant.may_send_icmp_error(now);
        match next_hop {
            Some(next_hop) if sent => {
                tenant.counters.icmp_errors_sent.add(1);
                self.ledger.generated();
                self.send_to_cloud(id, attachment, next_hop, out, now);
            }
            _ => self.ledger.release(out),
        }
    }
}

fn announce(port: &mut Port, interface: &mut crate::link::Interface, ledger: &mut crate::worker::ledger::Ledger) {
    for _ in 0..ANNOUNCE_BUDGET {
        let Some(arp) = interface.next_announcement(port.mac) else { return };
        port.send_arp(&arp, MacAddr::BROADCAST, interface, ledger);
    }
}

/// What ICMP says about a loss: RFC 792, RFC 1191, and RFC 6888 REQ-11 for exhausted tables. The rest is lost in silence.
fn icmp_error_for(reason: DropReason, mtu: u16) -> Option<IcmpErrorKind> {
    match reason {
        DropReason::PacketTooBig => Some(IcmpErrorKind::FragmentationNeeded { next_hop_mtu: mtu }),
        DropReason::HopLimitExceeded => Some(IcmpErrorKind::TimeExceeded),
        DropReason::SessionTableFull | DropReason::SessionRateLimited | DropReason::PortsExhausted => Some(IcmpErrorKind::HostUnreachable),
        DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown => Some(IcmpErrorKind::HostUnreachable),
        _ => None,
    }
}
