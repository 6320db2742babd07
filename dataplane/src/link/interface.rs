//! One network the relay stands in: the access network, or one tenant's VLAN. It answers ARP for its own addresses and finds next hops;
//! where it has an IPv6 address too, `ipv6.rs` does the same for that.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use crate::drop_reason::DropReason;
use crate::link::ipv6::Ipv6Interface;
use crate::link::neighbors::{Neighbors, Probe};
use crate::packet::Packet;
use crate::router_config::{PortId, Vlan};
use crate::time::Instant;
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::MacAddr;

/// Owned addresses announced at the start; a larger pool is found by asking.
const MAX_ANNOUNCED: u32 = 64;

/// The relay's presence in one network.
#[derive(Debug)]
pub struct Interface {
    /// The port it is on.
    pub port: PortId,
    /// The tags of its frames.
    pub vlan: Vlan,
    /// Largest packet it carries, in bytes.
    pub mtu: u16,
    /// The next hops.
    pub neighbors: Neighbors,
    /// Its IPv6 side, where it has one.
    pub ipv6: Option<Box<Ipv6Interface>>,
    address: Ipv4Network,
    gateway: Option<Ipv4Addr>,
    /// Translated addresses that lie in the network, so that hosts there ask for them.
    owned: Vec<Ipv4Network>,
    announced: u32,
}

/// What became of an ARP message.
#[derive(Debug)]
pub enum ArpOutcome {
    /// Send this back.
    Reply(Arp),
    /// A next hop is known now, and this packet waited for it.
    Resolved(MacAddr, Packet),
    /// Nothing more to do.
    Absorbed,
}

impl Interface {
    /// An interface with the given address; `owned` are further addresses to answer for, where they lie in its network.
    #[must_use]
    pub fn new(
        port: PortId,
        vlan: Vlan,
        mtu: u16,
        address: Ipv4Network,
        gateway: Option<Ipv4Addr>,
        owned: Vec<Ipv4Network>,
        neighbors: usize,
    ) -> Self {
        Self { port, vlan, mtu, neighbors: Neighbors::new(neighbors), ipv6: None, address, gateway, owned, announced: 0 }
    }

    /// The same interface with an IPv6 side.
    #[must_use]
    pub fn with_ipv6(mut self, ipv6: Option<Ipv6Interface>) -> Self {
        self.ipv6 = ipv6.map(Box::new);
        self
    }

    /// The same interface, for a worker that leaves the announcements to another.
    #[must_use]
    pub fn without_announcements(mut self) -> Self {
        self.announced = MAX_ANNOUNCED + 1;
        self.ipv6 = self.ipv6.map(|ipv6| Box::new(ipv6.without_announcements()));
        self
    }

    /// Packets that wait here.
    #[cfg(feature = "simulation")]
    pub(crate) fn holding(&self) -> usize {
        self.neighbors.holding() + self.ipv6.as_ref().map_or(0, |ipv6| ipv6.neighbors.holding())
    }

    /// Take out every waiting packet (the interface goes away).
    pub fn drain_held(&mut self) -> impl Iterator<Item = Packet> + '_ {
        self.neighbors.drain_held().chain(self.ipv6.iter_mut().flat_map(|ipv6| ipv6.neighbors.drain_held()))
    }

    /// A packet that has waited long enough for its next hop.
    pub fn expired_held(&mut self) -> Option<Packet> {
        self.neighbors.expired_held().or_else(|| self.ipv6.as_mut()?.neighbors.expired_held())
    }

    /// The relay's own address here.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address.ip()
    }

    /// Next hop towards everything outside this network.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.gateway
    }

    /// Where a packet to `destination` goes next: itself when it is in this network, else the gateway.
    #[must_use]
    pub fn next_hop(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.address.contains(destination) { Some(destination) } else { self.gateway }
    }

    /// Whether the relay answers for `address` here.
    #[must_use]
    pub fn answers_for(&self, address: Ipv4Addr) -> bool {
        address == self.address.ip() || (self.address.contains(address) && self.owns(address))
    }

    /// Whether `address` is one that the relay translates to here, inside the network or routed to it.
    #[must_use]
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.owned.iter().any(|prefix| prefix.contains(address))
    }

    /// Handle an ARP message that arrived here; `own` is the port's station address.
    ///
    /// # Errors
    /// [`DropReason::ArpConflict`] where somebody claims one of our addresses, [`DropReason::ArpNotForUs`] for everything that
    /// neither asks us nor answers us.
    pub fn receive_arp(&mut self, arp: &Arp, own: MacAddr, now: Instant) -> Result<ArpOutcome, DropReason> {
        if self.answers_for(arp.sender) {
            return Err(DropReason::ArpConflict);
        }
        if arp.operation == Operation::Reply && arp.target_mac == own && arp.target == self.address.ip() {
            return match self.neighbors.answered(arp.sender, arp.sender_mac, now) {
                (true, Some(held)) => Ok(ArpOutcome::Resolved(arp.sender_mac, held)),
                (true, None) => Ok(ArpOutcome::Absorbed),
                (false, _) => Err(DropReason::ArpNotForUs),
            };
        }
        self.neighbors.doubted(arp.sender, arp.sender_mac, now);
        // A sender of 0.0.0.0 is a probe for duplicates (RFC 5227) and is answered like a question.
        let asks_us = arp.operation == Operation::Request && self.answers_for(arp.target);
        if asks_us && (arp.sender.is_unspecified() || self.address.contains(arp.sender)) {
            let (sender, target) = (arp.target, arp.sender);
            let reply = Arp { operation: Operation::Reply, sender_mac: own, sender, target_mac: arp.sender_mac, target };
            return Ok(ArpOutcome::Reply(reply));
        }
        Err(DropReason::ArpNotForUs)
    }

    /// The ARP request for a probe of the neighbour cache, and the station it goes to.
    #[must_use]
    pub fn request(&self, probe: Probe, own: MacAddr) -> (Arp, MacAddr) {
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: own,
            sender: self.address.ip(),
            target_mac: probe.station.unwrap_or_default(),
            target: probe.target,
        };
        (arp, probe.station.unwrap_or(MacAddr::BROADCAST))
    }

    /// The next gratuitous ARP of the start (RFC 5227 section 2.3): the relay's own address, then the owned ones.
    pub fn next_announcement(&mut self, own: MacAddr) -> Option<Arp> {
        let address = loop {
            let index = self.announced;
            if index > MAX_ANNOUNCED {
                return None;
            }
            self.announced += 1;
            let candidate = match index.checked_sub(1) {
                None => Some(self.address.ip()),
                Some(nth) => self.nth_owned(nth),
            };
            match candidate {
                None => {
                    self.announced = MAX_ANNOUNCED + 1;
                    return None;
                }
                Some(address) if self.answers_for(address) => break address,
                Some(_) => {}
            }
        };
        Some(Arp { operation: Operation::Request, sender_mac: own, sender: address, target_mac: MacAddr::default(), target: address })
    }

    /// Whether announcements are still to be made.
    #[must_use]
    pub fn announcing(&self) -> bool {
        self.announced <= MAX_ANNOUNCED
    }

    fn nth_owned(&self, mut nth: u32) -> Option<Ipv4Addr> {
        for prefix in &self.owned {
            if nth < prefix.size() {
                return prefix.nth(nth);
            }
            nth -= prefix.size();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Resolution;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 1);

    fn network(text: &str) -> Ipv4Network {
        text.parse().expect("a network")
    }

    fn interface() -> Interface {
        let owned = vec![network("10.254.1.8/30"), network("10.99.0.0/24")];
        Interface::new(PortId(0), Vlan::Untagged, 1_500, network("10.254.1.2/28"), Some(GATEWAY), owned, 4)
    }

    fn question(sender: Ipv4Addr, target: Ipv4Addr) -> Arp {
        Arp { operation: Operation::Request, sender_mac: GATEWAY_MAC, sender, target_mac: MacAddr::default(), target }
    }

    #[test]
    fn it_answers_for_its_address_and_its_pools_in_the_network_and_for_nothing_else() {
        let mut interface = interface();
        for (target, answered) in [("10.254.1.2", true), ("10.254.1.9", true), ("10.99.0.1", false), ("10.254.1.3", false)] {
            let outcome = interface.receive_arp(&question(GATEWAY, target.parse().expect("address")), OWN, Instant::ZERO);
            assert_eq!(matches!(outcome, Ok(ArpOutcome::Reply(reply)) if reply.sender_mac == OWN), answered, "{target}");
        }
        let foreign = question(Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(10, 254, 1, 2));
        assert_eq!(interface.receive_arp(&foreign, OWN, Instant::ZERO).err(), Some(DropReason::ArpNotForUs));
    }

    #[test]
    fn a_station_that_claims_our_address_is_a_conflict() {
        let claim = question(Ipv4Addr::new(10, 254, 1, 8), Ipv4Addr::new(10, 254, 1, 8));
        assert_eq!(interface().receive_arp(&claim, OWN, Instant::ZERO).err(), Some(DropReason::ArpConflict));
    }

    #[test]
    fn a_reply_counts_only_when_it_was_asked_for_and_is_addressed_to_us() {
        let mut interface = interface();
        let now = Instant::ZERO;
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: GATEWAY_MAC,
            sender: GATEWAY,
            target_mac: OWN,
            target: Ipv4Addr::new(10, 254, 1, 2),
        };
        assert_eq!(interface.receive_arp(&reply, OWN, now).err(), Some(DropReason::ArpNotForUs));
        assert_eq!(interface.neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        let elsewhere = Arp { target_mac: GATEWAY_MAC, ..reply };
        assert_eq!(interface.receive_arp(&elsewhere, OWN, now).err(), Some(DropReason::ArpNotForUs));
        assert!(matches!(interface.receive_arp(&reply, OWN, now), Ok(ArpOutcome::Absorbed)));
        assert_eq!(interface.neighbors.resolve(GATEWAY, now), Resolution::Known(GATEWAY_MAC));
    }

    #[test]
    fn it_announces_its_own_address_and_the_pool_inside_the_network_once() {
        let mut interface = interface();
        let announced: Vec<Ipv4Addr> = std::iter::from_fn(|| interface.next_announcement(OWN)).map(|arp| arp.sender).collect();
        let expected = [2, 8, 9, 10, 11].map(|last| Ipv4Addr::new(10, 254, 1, last));
        assert_eq!(announced, expected);
        assert!(!interface.announcing());
    }
}
