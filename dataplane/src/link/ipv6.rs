//! The relay's IPv6 address in one network: it answers for itself, finds next hops, and believes no router's advertisement.

use std::net::Ipv6Addr;

use ipnetwork::Ipv6Network;

use crate::drop_reason::DropReason;
use crate::link::neighbors::{Neighbors, Probe};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::icmpv6;
use crate::wire::ipv6::{Header, next_header};
use crate::wire::neighbor_discovery::{ALL_NODES, Discovery, Kind, group_mac, is_discovery, solicited_node};

/// The relay's IPv6 presence in one network.
#[derive(Debug)]
pub struct Ipv6Interface {
    /// The next hops.
    pub neighbors: Neighbors<Ipv6Addr>,
    address: Ipv6Network,
    gateway: Option<Ipv6Addr>,
    greeting: Greeting,
}

/// What the relay says of its own accord at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Greeting {
    /// A probe for duplicates (RFC 4862 section 5.4).
    Probe,
    /// The announcement that neighbours who knew another station for the address forget it (RFC 4861 section 7.2.6).
    Announcement,
    Done,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Ipv6Outcome {
    /// Neighbour discovery, of which somebody else may want to hear.
    Discovery(Discovery),
    /// An echo request to the relay's address, which has become its reply.
    EchoReply,
    /// Something else for the relay's address.
    ForUs(Header),
}

/// What became of a message of neighbour discovery.
#[derive(Debug)]
pub enum DiscoveryOutcome {
    /// Send this to that station.
    Reply(Discovery, MacAddr),
    /// A next hop is known now, and this packet waited for it.
    Resolved(MacAddr, Packet),
    /// Nothing more to do.
    Absorbed,
}

impl Ipv6Interface {
    /// An interface with the given address, which knows so many neighbours.
    #[must_use]
    pub fn new(address: Ipv6Network, gateway: Option<Ipv6Addr>, neighbors: usize) -> Self {
        Self { neighbors: Neighbors::new(neighbors), address, gateway, greeting: Greeting::Probe }
    }

    /// The same interface, for a worker that leaves the announcements to another.
    #[must_use]
    pub fn without_announcements(mut self) -> Self {
        self.greeting = Greeting::Done;
        self
    }

    /// The relay's own address here.
    #[must_use]
    pub fn address(&self) -> Ipv6Addr {
        self.address.ip()
    }

    /// Next hop towards everything outside this network.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv6Addr> {
        self.gateway
    }

    /// Where a packet to `destination` goes next: itself when it is in this network, else the gateway.
    #[must_use]
    pub fn next_hop(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        if self.address.contains(destination) { Some(destination) } else { self.gateway }
    }

    /// Find out what an IPv6 packet that `station` sent is. Padding is cut off.
    ///
    /// # Errors
    /// [`DropReason::OuterMalformed`], [`DropReason::OuterNotForUs`], the reasons of [`Discovery::parse`] and of [`icmpv6::echo_reply`].
    pub fn receive(&self, packet: &mut Packet, station: MacAddr) -> Result<Ipv6Outcome, DropReason> {
        let header = Header::parse(packet.bytes())?;
        if !packet.set_range(0, header.total_len) {
            return Err(DropReason::OuterMalformed);
        }
        let is_icmp = header.next_header == next_header::ICMPV6;
        if is_icmp && is_discovery(packet.bytes()) {
            return Discovery::parse(packet.bytes(), &header, station).map(Ipv6Outcome::Discovery);
        }
        if header.destination != self.address.ip() {
            return Err(DropReason::OuterNotForUs);
        }
        if is_icmp {
            return icmpv6::echo_reply(packet.bytes_mut(), &header).map(|()| Ipv6Outcome::EchoReply);
        }
        Ok(Ipv6Outcome::ForUs(header))
    }

    /// Handle a message of neighbour discovery that arrived here; `own` is the port's station address.
    ///
    /// # Errors
    /// [`DropReason::NdConflict`] where somebody claims our address, [`DropReason::NdNotForUs`] for everything that neither asks us nor
    /// answers us.
    pub fn discover(&mut self, message: &Discovery, station: MacAddr, own: MacAddr, now: Instant) -> Result<DiscoveryOutcome, DropReason> {
        let us = self.address.ip();
        match message.kind {
            _ if message.source == us => Err(DropReason::NdConflict),
            Kind::Advertisement { .. } if message.target == us => Err(DropReason::NdConflict),
            Kind::Advertisement { solicited: true } if message.destination == us => {
                match self.neighbors.answered(message.target, station, now) {
                    (true, Some(held)) => Ok(DiscoveryOutcome::Resolved(station, held)),
                    (true, None) => Ok(DiscoveryOutcome::Absorbed),
                    (false, _) => Err(DropReason::NdNotForUs),
                }
            }
            Kind::Advertisement { .. } => {
                self.neighbors.doubted(message.target, station, now);
                Err(DropReason::NdNotForUs)
            }
            Kind::Solicitation => {
                self.neighbors.doubted(message.source, station, now);
                let from = message.source;
                let is_on_link = from.is_unspecified() || from.is_unicast_link_local() || self.address.contains(from);
                let asks_us = message.target == us && (message.destination == us || message.destination == solicited_node(us));
                if asks_us && is_on_link { Ok(self.answer(message, station, own)) } else { Err(DropReason::NdNotForUs) }
            }
        }
    }

    /// RFC 4861 section 7.2.4; a probe for duplicates is answered to everybody.
    fn answer(&self, question: &Discovery, station: MacAddr, own: MacAddr) -> DiscoveryOutcome {
        let solicited = !question.source.is_unspecified();
        let (destination, to) = if solicited { (question.source, station) } else { (ALL_NODES, group_mac(ALL_NODES)) };
        let us = self.address.ip();
        let kind = Kind::Advertisement { solicited };
        DiscoveryOutcome::Reply(Discovery { kind, source: us, destination, target: us, station: Some(own) }, to)
    }

    /// The solicitation for a probe of the neighbour cache, and the station it goes to.
    #[must_use]
    pub fn solicitation(&self, probe: Probe<Ipv6Addr>, own: MacAddr) -> (Discovery, MacAddr) {
        let group = solicited_node(probe.target);
        let (destination, to) = probe.station.map_or_else(|| (group, group_mac(group)), |station| (probe.target, station));
        let source = self.address.ip();
        (Discovery { kind: Kind::Solicitation, source, destination, target: probe.target, station: Some(own) }, to)
    }

    /// What the relay says next of its own accord, and to which stations. It does not wait for an answer to its probe, as it does not
    /// with ARP: whoever has the address too is reported as a conflict.
    pub fn next_announcement(&mut self, own: MacAddr) -> Option<(Discovery, MacAddr)> {
        let us = self.address.ip();
        match self.greeting {
            Greeting::Probe => {
                self.greeting = Greeting::Announcement;
                let (source, destination) = (Ipv6Addr::UNSPECIFIED, solicited_node(us));
                Some((Discovery { kind: Kind::Solicitation, source, destination, target: us, station: None }, group_mac(destination)))
            }
            Greeting::Announcement => {
                self.greeting = Greeting::Done;
                let kind = Kind::Advertisement { solicited: false };
                let message = Discovery { kind, source: us, destination: ALL_NODES, target: us, station: Some(own) };
                Some((message, group_mac(ALL_NODES)))
            }
            Greeting::Done => None,
        }
    }
}

#[cfg(test)]
#[path = "ipv6_tests.rs"]
mod tests;
