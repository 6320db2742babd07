//! IPv6 frames: the relay's own addresses answer neighbour discovery and echo requests, and on access networks tunnels' messages come to
//! them. What else comes on a tenant's VLAN is refused.

use crate::drop_reason::DropReason;
use crate::link::{DiscoveryOutcome, Interface, Ipv6Outcome};
use crate::packet::Packet;
use crate::router_config::{AttachmentId, PortId};
use crate::tenant::Tenant;
use crate::time::Instant;
use crate::tunnel::TenantId;
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::ipv6::Header;
use crate::wire::neighbor_discovery::{Discovery, Kind};
use crate::wire::underlay6;
use crate::worker::classify::{Arrival, ECHOES, Envelope};
use crate::worker::control::IkePort;
use crate::worker::handoff::Heard;
use crate::worker::ledger::Ledger;
use crate::worker::port::{self, Port};
use crate::worker::source::Source;
use crate::worker::{LIVING, Worker};

impl Worker {
    /// IPv6 on a tenant's VLAN: for the relay's own address there, or refused.
    pub(super) fn ipv6_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let received = match &tenant.attachments[usize::from(attachment.0)].ipv6 {
            Some(ipv6) => ipv6.receive(&mut packet, station).map_err(not_for_the_relay),
            None => Err(DropReason::Ipv6Refused),
        };
        let received = received.and_then(|outcome| allowed_on_vlan(outcome, tenant, now));
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        let drops = &tenant.counters.drops;
        match received {
            Ok(Some(message)) => match answer_discovery(port, interface, &message, station, &mut self.ledger, now) {
                Ok(()) => self.ledger.absorbed(packet),
                Err(reason) => self.ledger.dropped(packet, reason, drops),
            },
            Ok(None) => port::reflect(port, interface, station, packet, ethernet::IPV6, &mut self.ledger),
            Err(reason) => self.ledger.dropped(packet, reason, drops),
        }
    }

    /// IPv6 on an access network.
    pub(super) fn ipv6_from_access(&mut self, id: PortId, mut packet: Packet, station: MacAddr, now: Instant) -> Option<Arrival> {
        let ipv6 = self.access[usize::from(id.0)].as_ref().and_then(|interface| interface.ipv6.as_ref());
        let Some(ipv6) = ipv6 else { return self.refuse(id, packet, DropReason::Ipv6Unsupported) };
        match ipv6.receive(&mut packet, station) {
            Ok(Ipv6Outcome::ForUs(header)) => return self.message_over_ipv6(id, packet, &header, station, now),
            Ok(Ipv6Outcome::Discovery(message)) => self.discovery_from_access(id, packet, &message, station, now),
            Ok(Ipv6Outcome::EchoReply) if !self.echoes.take(ECHOES, now) => self.drop_at_port(id, packet, DropReason::HostEchoLimited),
            Ok(Ipv6Outcome::EchoReply) => {
                let Some(interface) = &self.access[usize::from(id.0)] else { return self.refuse(id, packet, DropReason::Ipv6Unsupported) };
                port::reflect(&mut self.ports[usize::from(id.0)], interface, station, packet, ethernet::IPV6, &mut self.ledger);
            }
            Err(reason) => self.drop_at_port(id, packet, reason),
        }
        None
    }

    /// A tunnel's message. There is no IPsec over IPv6.
    fn message_over_ipv6(&mut self, id: PortId, mut packet: Packet, header: &Header, station: MacAddr, now: Instant) -> Option<Arrival> {
        let datagram = match underlay6::parse(packet.bytes(), header) {
            Ok(datagram) => datagram,
            Err(reason) => return self.refuse(id, packet, reason),
        };
        let inside = packet.set_range(underlay6::HEADERS_LEN, datagram.payload_len);
        debug_assert!(inside, "the payload lies inside the packet it was read from");
        // Reserved for IKE where the port has an IPsec endpoint, which listens on IPv4 only.
        let is_ike = [IkePort::P500, IkePort::P4500].map(IkePort::number).contains(&datagram.destination_port);
        if is_ike && self.ipsec_at[usize::from(id.0)].is_some() {
            return self.refuse(id, packet, DropReason::NoListener);
        }
        let envelope = Envelope { source: Source::V6, local_port: datagram.destination_port, ecn: datagram.ecn };
        self.classify_wireguard(id, envelope, station, packet, now)
    }

    /// As with ARP: each worker has neighbours of its own, and whoever hears of one tells the others.
    fn discovery_from_access(&mut self, id: PortId, packet: Packet, message: &Discovery, station: MacAddr, now: Instant) {
        self.ledger.counters.hand_off_full.add(self.links.spread(id, Heard::Discovery(*message, station)));
        let port = &mut self.ports[usize::from(id.0)];
        let Some(interface) = &mut self.access[usize::from(id.0)] else { return };
        // It may answer what another worker asked.
        let is_answer = message.kind == Kind::Advertisement { solicited: true };
        let may_be_anothers =
            is_answer && self.links.workers() > 1 && interface.ipv6.as_ref().is_some_and(|ipv6| message.destination == ipv6.address());
        match answer_discovery(port, interface, message, station, &mut self.ledger, now) {
            Err(DropReason::NdNotForUs) if may_be_anothers => self.ledger.absorbed(packet),
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.drop_at_port(id, packet, reason),
        }
    }
}

/// What of IPv6 the relay does on a VLAN: discovery, or (`None`) the reply to an echo request. All that is not for the relay itself is the
/// tenant's IPv6, which is refused.
fn allowed_on_vlan(outcome: Ipv6Outcome, tenant: &mut Tenant, now: Instant) -> Result<Option<Discovery>, DropReason> {
    match outcome {
        Ipv6Outcome::Discovery(message) => Ok(Some(message)),
        Ipv6Outcome::EchoReply => {
            tenant.admit_tenant()?;
            if tenant.may_send_icmpv6(now) { Ok(None) } else { Err(DropReason::HostEchoLimited) }
        }
        Ipv6Outcome::ForUs(_) => Err(DropReason::RelayAddress),
    }
}

/// What is not for the relay, or cannot be read, is a tenant's as any other IPv6.
fn not_for_the_relay(reason: DropReason) -> DropReason {
    match reason {
        DropReason::OuterMalformed | DropReason::OuterNotForUs => DropReason::Ipv6Refused,
        reason => reason,
    }
}

fn answer_discovery(
    port: &mut Port,
    interface: &mut Interface,
    message: &Discovery,
    station: MacAddr,
    ledger: &mut Ledger,
    now: Instant,
) -> Result<(), DropReason> {
    let Some(ipv6) = &mut interface.ipv6 else { return Err(DropReason::Ipv6Unsupported) };
    match ipv6.discover(message, station, port.mac, now)? {
        DiscoveryOutcome::Reply(reply, to) => port.send_discovery(&reply, to, interface, ledger),
        DiscoveryOutcome::Resolved(station, held) => port::deliver_held(port, interface, station, held, ethernet::IPV6, ledger),
        DiscoveryOutcome::Absorbed => {}
    }
    Ok(())
}
