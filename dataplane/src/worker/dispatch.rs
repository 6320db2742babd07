//! The way in: whose a received frame is, its route, and what the route's verdict asks for.

use std::net::{SocketAddr, SocketAddrV4};

use crate::drop_reason::DropReason;
use crate::host;
use crate::link::{self, ArpOutcome, Interface};
use crate::packet::Packet;
use crate::rate::Rate;
use crate::route::{self, Datagram, TunnelNews, Verdict};
use crate::router_config::{AttachmentId, EndpointId, PortId, TunnelId, Vlan};
use crate::time::Instant;
use crate::tunnel::wireguard::Inspected;
use crate::tunnel::{TenantId, TunnelKey, TunnelTable};
use crate::wire::arp::Arp;
use crate::wire::ecn;
use crate::wire::ethernet::{self, Ethernet, MacAddr};
use crate::wire::inner::Inner;
use crate::wire::underlay::{self, Outer};
use crate::worker::ledger::Ledger;
use crate::worker::port::{self, Port};
use crate::worker::{Endpoint, LIVING, Worker, steering};

/// Echo requests that the relay answers on its access address, to whoever asks.
const ECHOES: Rate = Rate::per_second(100);

impl Worker {
    /// Find whose frame this is, and send it that way. From here on each packet ends in exactly one place.
    pub(super) fn dispatch(&mut self, id: PortId, mut packet: Packet, now: Instant) {
        let port = &mut self.ports[usize::from(id.0)];
        self.ledger.received(packet.segments());
        port.counters.received.add(packet.segments(), packet.len());
        debug_assert_eq!(steering::owner(id, packet.bytes()), steering::WorkerId(0), "one worker owns everything");

        let header = match link::accept(packet.bytes(), port.mac) {
            Ok(header) => header,
            Err(reason) => return self.ledger.dropped(packet, reason, &port.counters.drops),
        };
        let payload = packet.len() - header.header_len;
        let inside = packet.set_range(header.header_len, payload);
        debug_assert!(inside, "the header lies inside the frame");

        let tenant = self.attachments.get(&(id, header.vlan)).copied();
        match (tenant, header.ethertype) {
            (Some((tenant, attachment)), ethernet::ARP) => self.arp_from_cloud(tenant, attachment, packet, &header, now),
            (Some((tenant, attachment)), _) => self.arrive_from_cloud(tenant, attachment, packet, header.source, now),
            (None, ethertype) if header.vlan == Vlan::Untagged && self.access[usize::from(id.0)].is_some() => {
                if ethertype == ethernet::ARP {
                    self.arp_from_access(id, packet, &header, now);
                } else {
                    self.arrive_from_office(id, packet, header.source, now);
                }
            }
            (None, _) if header.vlan == Vlan::Untagged => self.ledger.dropped(packet, DropReason::UntaggedUnexpected, &port.counters.drops),
            (None, _) => self.ledger.dropped(packet, DropReason::VlanUnknown, &port.counters.drops),
        }
    }

    /// A packet on an access port: a tunnel's datagram, or an echo request to the relay.
    fn arrive_from_office(&mut self, id: PortId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(interface) = &self.access[usize::from(id.0)] else { return self.drop_at_port(id, packet, DropReason::UntaggedUnexpected) };
        let datagram = match underlay::parse(packet.bytes(), interface.address()) {
            Ok(Outer::Udp(datagram)) => datagram,
            Ok(Outer::Icmp(len)) => return self.echo_from_access(id, packet, len, station, now),
            Err(reason) => return self.drop_at_port(id, packet, reason),
        };
        let listens = |endpoint: &Endpoint| endpoint.port == id && endpoint.local == datagram.destination;
        let Some(endpoint) = self.endpoints.iter().position(listens) else {
            return self.drop_at_port(id, packet, DropReason::NoListener);
        };
        let inside = packet.set_range(underlay::HEADERS_LEN, datagram.payload_len);
        debug_assert!(inside, "the payload lies inside the packet it was read from");
        let Some(mut out) = self.ledger.blank() else { return self.drop_at_port(id, packet, DropReason::NoFreeFrame) };
        let datagram = Datagram { source: datagram.source, ecn: datagram.ecn, payload: packet.bytes() };
        let source = datagram.source;
        match find_tunnel(&mut self.endpoints[endpoint], endpoint_id(endpoint), &self.tunnels, datagram, &mut out, now) {
            Ok(Found::Tunnel(key)) => {
                let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
                let mut news = TunnelNews::default();
                let lgwan = &self.config.conventional_lgwan;
                let verdict = route::office_to_cloud(tenant, key.tunnel, datagram, lgwan, &mut out, &mut news, now);
                self.finish_from_office(key, endpoint, verdict, packet, source, out, now);
                self.tell(key, news);
            }
            Ok(Found::Reply) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.send_datagram(endpoint, source, 0, out, now);
            }
            Err(reason) => {
                self.ledger.release(out);
                self.drop_at_port(id, packet, reason);
            }
        }
    }

    /// Do what the route said with the datagram and with what came out of it.
    #[expect(clippy::too_many_arguments, reason = "both frames, both ends and the verdict; a struct would only be taken apart again")]
    fn finish_from_office(
        &mut self,
        key: TunnelKey,
        endpoint: usize,
        verdict: Result<Verdict, DropReason>,
        packet: Packet,
        source: SocketAddrV4,
        out: Packet,
        now: Instant,
    ) {
        match verdict {
            Ok(Verdict::ToCloud { attachment, next_hop }) => {
                self.ledger.release(packet);
                self.send_to_cloud(key.tenant, attachment, next_hop, out, now);
            }
            Ok(Verdict::ToSource) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.send_datagram(endpoint, source, 0, out, now);
            }
            Ok(Verdict::Absorbed | Verdict::EchoReply | Verdict::ToOffice { .. }) => {
                self.ledger.absorbed(packet);
                self.ledger.release(out);
            }
            Err(reason) => {
                self.explain_to_office(key, reason, &out, now);
                self.ledger.release(out);
                self.drop_at_tenant(key.tenant, packet, reason);
            }
        }
    }

    /// A packet on a tenant's VLAN.
    fn arrive_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(mut out) = self.ledger.blank() else { return self.drop_at_tenant(id, packet, DropReason::NoFreeFrame) };
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let verdict = route::cloud_to_office(tenant, attachment, &mut packet, &self.config.conventional_lgwan, &mut out, now);
        match verdict {
            Ok(Verdict::ToOffice { tunnel }) => {
                let ecn = ecn::encapsulate(packet.bytes());
                self.ledger.release(packet);
                self.send_to_peer(TunnelKey { tenant: id, tunnel }, ecn, out, now);
            }
            Ok(Verdict::EchoReply) => {
                self.ledger.release(out);
                let interface = &tenant.attachments[usize::from(attachment.0)];
                port::reflect(&mut self.ports[usize::from(interface.port.0)], interface, station, packet, &mut self.ledger);
            }
            Ok(_) => {
                self.ledger.release(out);
                self.ledger.absorbed(packet);
            }
            Err(reason) => {
                self.ledger.release(out);
                if matches!(reason, DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown) {
                    self.initiate(TunnelKey { tenant: id, tunnel: TunnelId(0) }, now);
                }
                self.explain_to_cloud(id, attachment, reason, &packet, now);
                self.drop_at_tenant(id, packet, reason);
            }
        }
    }

    fn arp_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, packet: Packet, header: &Ethernet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        match answer_arp(port, interface, packet.bytes(), header, &mut self.ledger, now) {
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
        }
    }

    fn arp_from_access(&mut self, id: PortId, packet: Packet, header: &Ethernet, now: Instant) {
        let port = &mut self.ports[usize::from(id.0)];
        let outcome = match &mut self.access[usize::from(id.0)] {
            Some(interface) => answer_arp(port, interface, packet.bytes(), header, &mut self.ledger, now),
            None => Err(DropReason::UntaggedUnexpected),
        };
        match outcome {
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
            (Ok(()), Some(interface)) => port::reflect(&mut self.ports[usize::from(id.0)], interface, station, packet, &mut self.ledger),
            (Ok(()), None) => self.drop_at_port(id, packet, DropReason::UntaggedUnexpected),
            (Err(reason), _) => self.drop_at_port(id, packet, reason),
        }
    }

    pub(super) fn drop_at_port(&mut self, id: PortId, packet: Packet, reason: DropReason) {
        self.ledger.dropped(packet, reason, &self.ports[usize::from(id.0)].counters.drops);
    }

    pub(super) fn drop_at_tenant(&mut self, id: TenantId, packet: Packet, reason: DropReason) {
        match self.tenants[id.0 as usize].as_deref() {
            Some(tenant) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
            None => unreachable!("{}", LIVING),
        }
    }
}

/// What an endpoint's listener made of a datagram.
enum Found {
    Tunnel(TunnelKey),
    Reply,
}

fn endpoint_id(index: usize) -> EndpointId {
    EndpointId(u8::try_from(index).expect("endpoints are numbered by bytes"))
}

/// Which tunnel a datagram belongs to, by receiver index or by the handshake's public key; never by an address.
fn find_tunnel(
    endpoint: &mut Endpoint,
    id: EndpointId,
    tunnels: &TunnelTable,
    datagram: Datagram<'_>,
    out: &mut Packet,
    now: Instant,
) -> Result<Found, DropReason> {
    let source = SocketAddr::V4(datagram.source);
    match endpoint.listener.inspect(datagram.payload, source, out.spare_mut(), now)? {
        Inspected::Data { index } | Inspected::HandshakeResponse { index } | Inspected::CookieReply { index } => {
            tunnels.by_index(id, index).map(Found::Tunnel).ok_or(DropReason::TunnelReceiverUnknown)
        }
        Inspected::Initiation { peer } => tunnels.by_peer(id, &peer).map(Found::Tunnel).ok_or(DropReason::TunnelPeerUnknown),
        Inspected::Reply(len) if out.set_range(0, len) => Ok(Found::Reply),
        Inspected::Reply(_) => Err(DropReason::FrameTooBig),
    }
}

fn answer_arp(
    port: &mut Port,
    interface: &mut Interface,
    payload: &[u8],
    header: &Ethernet,
    ledger: &mut Ledger,
    now: Instant,
) -> Result<(), DropReason> {
    let arp = Arp::parse(payload, header.source)?;
    match interface.receive_arp(&arp, port.mac, now)? {
        ArpOutcome::Reply(reply) => port.send_arp(&reply, header.source, interface, ledger),
        ArpOutcome::Resolved(station, held) => port::deliver_held(port, interface, station, held, ledger),
        ArpOutcome::Absorbed => {}
    }
    Ok(())
}
