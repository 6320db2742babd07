//! Classification: whose a received frame is, found without cryptography, and by whom it is worked on.
//!
//! | frame | known by | becomes |
//! |---|---|---|
//! | data message of a tunnel | its receiver index or SPI | an [`Arrival`] |
//! | IPv4 on a tenant's VLAN | port and tags | an [`Arrival`] |
//! | handshake message | what the listener lets through, with cookies and limits | waits in `handshakes` |
//! | IKE message | UDP port and marker | an event for the control plane (`ipsec`) |
//! | ARP, echo request to the relay | addresses | answered here and now |
//! | IPv6 on a tenant's VLAN | port and tags | refused, on the tenant's account, but for the relay's own address (`ipv6`) |
//! | any of these but the relay's own, of another worker's tenant | the same | handed over (`crossings`) |
//!
//! A whole batch is classified before any of it is worked on. The tenants' queues between the two reorder arrivals of different tenants,
//! and hold them: the numbers in an arrival are good until the next configuration is adopted.

use crate::drop_reason::DropReason;
use crate::host;
use crate::link::{self, ArpOutcome, Interface};
use crate::packet::Packet;
use crate::rate::Rate;
use crate::router_config::{AttachmentId, EndpointId, PortId, Vlan};
use crate::time::Instant;
use crate::tunnel::wireguard::{self, Inspected};
use crate::tunnel::{TenantId, TunnelKey};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::inner::Inner;
use crate::wire::underlay::{self, Outer};
use crate::worker::control::IkePort;
use crate::worker::crossings::ForeignOrigin;
use crate::worker::handoff::Heard;
use crate::worker::handshakes::{Handshake, Named};
use crate::worker::ledger::Ledger;
use crate::worker::port::{self, Port};
use crate::worker::source::Source;
use crate::worker::{LIVING, Worker};

/// Echo requests that the relay answers on its access address, to whoever asks.
pub(super) const ECHOES: Rate = Rate::per_second(100);

/// A received packet of one tenant, and what the way in has learnt about it.
#[derive(Debug)]
#[must_use = "an arrival is sent through its route, or its packet dropped"]
pub(super) struct Arrival {
    /// From the office: the tunnel's message. From the cloud: the IPv4 packet, with whatever pads it.
    pub(super) packet: Packet,
    pub(super) origin: Origin,
}

/// The outer headers of a tunnel's message: what is needed of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    pub(super) source: Source,
    /// The relay's UDP port.
    pub(super) local_port: u16,
    /// ECN bits.
    pub(super) ecn: u8,
}

/// Where an arrival comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Through a tunnel; nothing of it is authenticated yet.
    Office {
        /// By the message's receiver index or SPI.
        key: TunnelKey,
        /// The relay's end.
        endpoint: EndpointId,
        /// Outer source; of ESP without UDP, port 0.
        source: Source,
        /// ECN bits of the outer header.
        ecn: u8,
    },
    /// From a tenant's VLAN.
    Cloud {
        tenant: TenantId,
        attachment: AttachmentId,
        /// Who sent the frame.
        station: MacAddr,
    },
}

impl Arrival {
    /// The tenant it belongs to.
    pub(super) fn tenant(&self) -> TenantId {
        match self.origin {
            Origin::Office { key, .. } => key.tenant,
            Origin::Cloud { tenant, .. } => tenant,
        }
    }

    /// Whether both use the same tunnel, or the same attachment in the same direction.
    pub(super) fn goes_the_same_way(&self, other: &Self) -> bool {
        match (self.origin, other.origin) {
            (Origin::Office { key, .. }, Origin::Office { key: others, .. }) => key == others,
            (Origin::Cloud { tenant, attachment, .. }, Origin::Cloud { tenant: others_tenant, attachment: others_attachment, .. }) => {
                (tenant, attachment) == (others_tenant, others_attachment)
            }
            _ => false,
        }
    }
}

impl Worker {
    /// Find whose this frame is, which is booked as received. `None`: it has found its end, or waits, or was for the relay itself.
    pub(super) fn classify(&mut self, id: PortId, mut packet: Packet, now: Instant) -> Option<Arrival> {
        let header = match link::accept(packet.bytes(), self.ports[usize::from(id.0)].mac) {
            Ok(header) => header,
            Err(reason) => return self.refuse(id, packet, reason),
        };
        let payload = packet.len() - header.header_len;
        let inside = packet.set_range(header.header_len, payload);
        debug_assert!(inside, "the header lies inside the frame");

        // No tenant has an untagged attachment on a port with an address of the relay's own.
        if header.vlan == Vlan::Untagged && self.access[usize::from(id.0)].is_some() {
            match header.ethertype {
                ethernet::ARP => self.arp_from_access(id, packet, header.source, now),
                ethernet::IPV6 => return self.ipv6_from_access(id, packet, header.source, now),
                _ => return self.classify_from_access(id, packet, header.source, now),
            }
            return None;
        }
        match (self.attachments.get((id, header.vlan)), header.ethertype) {
            (Some((tenant, attachment)), ethernet::ARP) => self.arp_from_cloud(tenant, attachment, packet, header.source, now),
            // It does not wait for its turn: what would be refused there anyhow shall not push out what would not.
            (Some((tenant, attachment)), ethernet::IPV6) => self.ipv6_from_cloud(tenant, attachment, packet, header.source, now),
            (Some((tenant, attachment)), _) => {
                return Some(Arrival { packet, origin: Origin::Cloud { tenant, attachment, station: header.source } });
            }
            (None, ethertype) if let Some(owner) = self.steering.other_by_vlan(id, header.vlan) => {
                let (vlan, station) = (header.vlan, header.source);
                let origin = match ethertype {
                    ethernet::ARP => ForeignOrigin::Arp { vlan, station },
                    ethernet::IPV6 => ForeignOrigin::Ipv6 { vlan, station },
                    _ => ForeignOrigin::Vlan { vlan, station },
                };
                self.hand_over(owner, packet, id, origin);
            }
            (None, _) if header.vlan == Vlan::Untagged => self.drop_at_port(id, packet, DropReason::UntaggedUnexpected),
            (None, _) => self.drop_at_port(id, packet, DropReason::VlanUnknown),
        }
        None
    }

    /// A packet on an access port: a tunnel's message, or an echo request to the relay.
    fn classify_from_access(&mut self, id: PortId, mut packet: Packet, station: MacAddr, now: Instant) -> Option<Arrival> {
        let Some(interface) = &self.access[usize::from(id.0)] else { return self.refuse(id, packet, DropReason::UntaggedUnexpected) };
        let datagram = match underlay::parse(packet.bytes(), interface.address()) {
            Ok(Outer::Udp(datagram)) => datagram,
            Ok(Outer::Esp(esp)) => {
                let Some(at) = self.ipsec_at[usize::from(id.0)] else {
                    return self.refuse(id, packet, DropReason::OuterProtocolUnsupported);
                };
                let inside = packet.set_range(underlay::IPV4_LEN, esp.payload_len);
                debug_assert!(inside, "the payload lies inside the packet it was read from");
                return self.classify_plain_esp(id, at, esp.source, esp.ecn, packet);
            }
            Ok(Outer::Icmp(len)) => {
                self.echo_from_access(id, packet, len, station, now);
                return None;
            }
            Err(reason) => return self.refuse(id, packet, reason),
        };
        let inside = packet.set_range(underlay::HEADERS_LEN, datagram.payload_len);
        debug_assert!(inside, "the payload lies inside the packet it was read from");
        match (self.ipsec_at[usize::from(id.0)], datagram.destination.port()) {
            (Some(at), 4500) => return self.classify_ipsec(id, at, IkePort::P4500, datagram, packet, now),
            (Some(at), 500) => return self.classify_ipsec(id, at, IkePort::P500, datagram, packet, now),
            _ => {}
        }
        let underlay::Datagram { source, destination, ecn, .. } = datagram;
        let envelope = Envelope { source: Source::V4(source), local_port: destination.port(), ecn };
        self.classify_wireguard(id, envelope, station, packet, now)
    }

    /// A UDP payload that is not IPsec's.
    pub(super) fn classify_wireguard(
        &mut self,
        id: PortId,
        envelope: Envelope,
        station: MacAddr,
        packet: Packet,
        now: Instant,
    ) -> Option<Arrival> {
        match wireguard::data_index(packet.bytes()) {
            Some(index) => self.classify_by_index(id, index, envelope, packet),
            None => self.classify_handshake(id, envelope, station, packet, now),
        }
    }

    /// A message with a receiver index, which shows its owner.
    fn classify_by_index(&mut self, id: PortId, index: u32, envelope: Envelope, packet: Packet) -> Option<Arrival> {
        match self.steering.other_by_index(index) {
            None => self.arrival_of_tunnel(id, index, envelope, packet),
            Some(owner) => {
                self.hand_over(owner, packet, id, ForeignOrigin::Tunnel { index, envelope });
                None
            }
        }
    }

    pub(super) fn arrival_of_tunnel(&mut self, id: PortId, index: u32, envelope: Envelope, packet: Packet) -> Option<Arrival> {
        let Envelope { source, local_port, ecn } = envelope;
        let Some(endpoint) = self.endpoint_at(id, local_port) else { return self.refuse(id, packet, DropReason::NoListener) };
        match self.tunnels.by_index(endpoint, index) {
            Some(key) => Some(Arrival { packet, origin: Origin::Office { key, endpoint, source, ecn } }),
            None => self.refuse(id, packet, DropReason::TunnelReceiverUnknown),
        }
    }

    /// A message that is no data: the listener says whether it may cost anything. What may cost a Diffie-Hellman has to wait.
    fn classify_handshake(
        &mut self,
        id: PortId,
        envelope: Envelope,
        station: MacAddr,
        mut packet: Packet,
        now: Instant,
    ) -> Option<Arrival> {
        let (source, local_port) = (envelope.source.address(&mut packet), envelope.local_port);
        let Some(at) = self.endpoint_at(id, local_port) else { return self.refuse(id, packet, DropReason::NoListener) };
        let Some(listener) = &mut self.endpoints[usize::from(at.0)].listener else {
            return self.refuse(id, packet, DropReason::NoListener);
        };
        let Some(mut out) = self.ledger.blank() else { return self.refuse(id, packet, DropReason::NoFreeFrame) };
        let reason = match listener.inspect(packet.bytes(), source, out.spare_mut(), now) {
            Ok(Inspected::Reply(len)) if out.set_range(0, len) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.answer_stranger(at, source, station, out);
                return None;
            }
            Ok(Inspected::Reply(_)) => DropReason::FrameTooBig,
            Ok(Inspected::Initiation) => {
                self.ledger.release(out);
                self.wait_for_turn(Handshake { packet, port: id, source, local_port, named: Named::Sealed });
                return None;
            }
            Ok(Inspected::HandshakeResponse { index }) => {
                self.ledger.release(out);
                match self.steering.other_by_index(index) {
                    Some(owner) => self.hand_over(owner, packet, id, ForeignOrigin::Response { index, envelope }),
                    None => self.wait_for_turn(Handshake { packet, port: id, source, local_port, named: Named::Index(index) }),
                }
                return None;
            }
            Ok(Inspected::Data { index } | Inspected::CookieReply { index }) => {
                self.ledger.release(out);
                return self.classify_by_index(id, index, envelope, packet);
            }
            Err(reason) => reason,
        };
        self.ledger.release(out);
        self.refuse(id, packet, reason)
    }

    /// The relay's end of tunnels that listens on this UDP port of a port's own addresses.
    pub(super) fn endpoint_at(&self, port: PortId, local_port: u16) -> Option<EndpointId> {
        let index = self.endpoints.iter().position(|endpoint| endpoint.local.port() == local_port && endpoint.port == port)?;
        Some(EndpointId(u8::try_from(index).expect("endpoints are numbered by bytes")))
    }

    pub(super) fn arp_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, packet: Packet, station: MacAddr, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        let arp = Arp::parse(packet.bytes(), station);
        match arp.and_then(|arp| answer_arp(port, interface, &arp, station, &mut self.ledger, now)) {
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
        }
    }

    /// Each worker has neighbours of its own on an access network; whoever hears ARP tells the others.
    fn arp_from_access(&mut self, id: PortId, packet: Packet, station: MacAddr, now: Instant) {
        let arp = match Arp::parse(packet.bytes(), station) {
            Ok(arp) => arp,
            Err(reason) => return self.drop_at_port(id, packet, reason),
        };
        self.ledger.counters.hand_off_full.add(self.links.spread(id, Heard::Arp(arp)));
        let port = &mut self.ports[usize::from(id.0)];
        let outcome = match &mut self.access[usize::from(id.0)] {
            Some(interface) => answer_arp(port, interface, &arp, station, &mut self.ledger, now),
            None => Err(DropReason::UntaggedUnexpected),
        };
        match outcome {
            // It may answer what another worker asked.
            Err(DropReason::ArpNotForUs) if arp.operation == Operation::Reply && self.links.workers() > 1 && arp.target_mac == port.mac => {
                self.ledger.absorbed(packet);
            }
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.drop_at_port(id, packet, reason),
        }
    }

    /// Answer an echo request to the relay's access address.
    fn echo_from_access(&mut self, id: PortId, mut packet: Packet, len: usize, station: MacAddr, now: Instant) {
        let whole = packet.set_range(0, len);
        debug_assert!(whole, "the length was read from the packet");
        let answered = Inner::parse(packet.bytes()).and_then(|inner| {
            if self.echoes.take(ECHOES, now) { host::answer(packet.bytes_mut(), &inner) } else { Err(DropReason::HostEchoLimited) }
        });
        match (answered, &self.access[usize::from(id.0)]) {
            (Ok(()), Some(interface)) => {
                let port = &mut self.ports[usize::from(id.0)];
                port::reflect(port, interface, station, packet, ethernet::IPV4, &mut self.ledger);
            }
            (Ok(()), None) => self.drop_at_port(id, packet, DropReason::UntaggedUnexpected),
            (Err(reason), _) => self.drop_at_port(id, packet, reason),
        }
    }

    pub(super) fn refuse(&mut self, id: PortId, packet: Packet, reason: DropReason) -> Option<Arrival> {
        self.drop_at_port(id, packet, reason);
        None
    }

    pub(super) fn drop_at_port(&mut self, id: PortId, packet: Packet, reason: DropReason) {
        self.ledger.dropped(packet, reason, &self.ports[usize::from(id.0)].counters.drops);
    }
}

fn answer_arp(
    port: &mut Port,
    interface: &mut Interface,
    arp: &Arp,
    station: MacAddr,
    ledger: &mut Ledger,
    now: Instant,
) -> Result<(), DropReason> {
    match interface.receive_arp(arp, port.mac, now)? {
        ArpOutcome::Reply(reply) => port.send_arp(&reply, station, interface, ledger),
        ArpOutcome::Resolved(station, held) => port::deliver_held(port, interface, station, held, ethernet::IPV4, ledger),
        ArpOutcome::Absorbed => {}
    }
    Ok(())
}
