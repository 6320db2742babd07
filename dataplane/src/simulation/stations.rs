//! What stands at the far ends of the relay's cables besides the offices: VLANs with a gateway each, and the access network's stations.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::router_config::{PortId, Vlan};
use crate::simulation::fragments::{self, Reassembly};
use crate::simulation::packets;
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{self, Ethernet, MacAddr};
use crate::wire::ipv6;
use crate::wire::neighbor_discovery::{Discovery, Kind};

/// Largest packet that a host in a cloud sends.
const LINE_MTU: usize = 1_500;

/// A frame: header, then `payload`.
#[must_use]
pub fn frame(vlan: Vlan, source: MacAddr, destination: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [destination.0, source.0].concat();
    match vlan {
        Vlan::Untagged => {}
        Vlan::Single(id) => push_tag(&mut bytes, ethernet::TPID_CUSTOMER, id.get()),
        Vlan::Double { outer, inner } => {
            push_tag(&mut bytes, ethernet::TPID_SERVICE, outer.get());
            push_tag(&mut bytes, ethernet::TPID_CUSTOMER, inner.get());
        }
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn push_tag(bytes: &mut Vec<u8>, tpid: u16, id: u16) {
    bytes.extend(tpid.to_be_bytes());
    bytes.extend(id.to_be_bytes());
}

/// The station address of the relay's `port`.
#[must_use]
pub fn relay_mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, port.0 + 1])
}

/// The answer to an ARP request, if it asks for one of `addresses`.
#[must_use]
pub fn answer_arp(payload: &[u8], header: &Ethernet, own: MacAddr, addresses: impl Fn(Ipv4Addr) -> bool) -> Option<Vec<u8>> {
    let arp = Arp::parse(payload, header.source).ok()?;
    if arp.operation != Operation::Request || !addresses(arp.target) || arp.sender == arp.target {
        return None;
    }
    let reply = Arp { operation: Operation::Reply, sender_mac: own, sender: arp.target, target_mac: arp.sender_mac, target: arp.sender };
    Some(frame(header.vlan, own, arp.sender_mac, ethernet::ARP, &reply.bytes()))
}

/// The answer to a neighbour solicitation, if it asks for one of `addresses`.
#[must_use]
pub fn answer_solicitation(payload: &[u8], header: &Ethernet, own: MacAddr, addresses: impl Fn(Ipv6Addr) -> bool) -> Option<Vec<u8>> {
    let outer = ipv6::Header::parse(payload).ok()?;
    let asked = Discovery::parse(payload.get(..outer.total_len)?, &outer, header.source).ok()?;
    if asked.kind != Kind::Solicitation || !addresses(asked.target) || asked.source.is_unspecified() {
        return None;
    }
    let kind = Kind::Advertisement { solicited: true };
    let reply = Discovery { kind, source: asked.target, destination: asked.source, target: asked.target, station: Some(own) };
    let (bytes, len) = reply.bytes();
    Some(frame(header.vlan, own, header.source, ethernet::IPV6, &bytes[..len]))
}

/// One VLAN with what is behind it: a gateway, hosts beside it, and the private network further on.
pub struct Cloud {
    /// The relay's port.
    pub port: PortId,
    /// The tags.
    pub vlan: Vlan,
    /// The gateway's station, which also stands for the hosts beside it.
    pub mac: MacAddr,
    /// Addresses that this station answers ARP for.
    pub stations: Vec<Ipv4Addr>,
    /// Answer requests by itself: echo, UDP, TCP.
    pub answers: bool,
    pub(super) outbox: Vec<Vec<u8>>,
    inbox: Vec<Vec<u8>>,
    inbox6: Vec<Vec<u8>>,
    reassembly: Reassembly,
    arps: Vec<Arp>,
}

impl Cloud {
    pub(super) fn new(port: PortId, vlan: Vlan, gateway: Ipv4Addr) -> Self {
        let (a, b) = match vlan {
            Vlan::Untagged => (0, 0),
            Vlan::Single(id) => (0, id.get()),
            Vlan::Double { outer, inner } => (outer.get(), inner.get()),
        };
        let ([high, low], [_, c]) = (b.to_be_bytes(), a.to_be_bytes());
        let mac = MacAddr([6, port.0, 0, c, high, low]);
        let (outbox, inbox, inbox6, reassembly, arps) = (Vec::new(), Vec::new(), Vec::new(), Reassembly::default(), Vec::new());
        Self { port, vlan, mac, stations: vec![gateway], answers: false, outbox, inbox, inbox6, reassembly, arps }
    }

    /// Its hosts give up on datagrams of which pieces are missing.
    pub(super) fn forget_fragments(&mut self) {
        self.reassembly = Reassembly::default();
    }

    /// Send an IPv4 packet to the relay.
    pub fn send(&mut self, packet: &[u8]) {
        let frame = self.frame(ethernet::IPV4, packet);
        self.outbox.push(frame);
    }

    /// Send an ARP message to the relay, or to everybody.
    pub fn send_arp(&mut self, arp: &Arp, to: MacAddr) {
        self.outbox.push(frame(self.vlan, arp.sender_mac, to, ethernet::ARP, &arp.bytes()));
    }

    /// Send bytes from the destination address on.
    pub fn send_frame(&mut self, frame: Vec<u8>) {
        self.outbox.push(frame);
    }

    /// A frame from the gateway to the relay, not sent.
    #[must_use]
    pub fn frame(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        frame(self.vlan, self.mac, relay_mac(self.port), ethertype, payload)
    }

    /// Take the IPv4 packets that have arrived.
    pub fn received(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inbox)
    }

    /// Send an IPv6 packet to the relay, or to a group.
    pub fn send6(&mut self, packet: &[u8], to: MacAddr) {
        self.outbox.push(frame(self.vlan, self.mac, to, ethernet::IPV6, packet));
    }

    /// Take the IPv6 packets that have arrived.
    pub fn received6(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inbox6)
    }

    /// Take the ARP messages that have arrived.
    pub fn arps(&mut self) -> Vec<Arp> {
        std::mem::take(&mut self.arps)
    }

    /// # Panics
    /// Where the relay gives it fragments that overlap.
    pub(super) fn receive(&mut self, header: &Ethernet, payload: &[u8]) {
        if header.ethertype == ethernet::ARP {
            self.arps.extend(Arp::parse(payload, header.source));
            let answer = answer_arp(payload, header, self.mac, |address| self.stations.contains(&address));
            self.outbox.extend(answer);
        } else if header.ethertype == ethernet::IPV6 {
            self.inbox6.push(payload.to_vec());
        } else {
            self.inbox.push(payload.to_vec());
            let whole = self.reassembly.take(payload).unwrap_or_else(|overlap| panic!("in a cloud: {overlap}"));
            let answer = whole.filter(|_| self.answers).and_then(|whole| packets::answer(&whole));
            answer.iter().flat_map(|answer| fragments::sendable(answer, LINE_MTU)).for_each(|packet| self.send(&packet));
        }
    }
}
