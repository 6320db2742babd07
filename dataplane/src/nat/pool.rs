//! The addresses and ports that flows can be translated to.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;

use super::timeouts::QUARANTINE_SECONDS;
use super::types::{PoolKey, PortHalf};
use crate::time::Instant;
use crate::wire::inner::Protocol;

/// Ports that no pool gives out, whatever the configuration: the relay's own protocols might listen on them on the same addresses
/// (IKE and its NAT traversal, BGP, BFD single-hop, echo and multi-hop), and a flow behind such a port would shadow them.
const ALWAYS_RESERVED: [u16; 6] = [179, 500, 3_784, 3_785, 4_500, 4_784];

/// Which ports may be given out.
#[derive(Debug)]
pub(super) struct Ports {
    /// Of TCP or UDP: never, sorted.
    reserved: Vec<u16>,
    /// First, and alone as long as the ports of the previous run rest.
    own: PortHalf,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self { reserved: ALWAYS_RESERVED.to_vec(), own: PortHalf::default() }
    }

    pub(super) fn reserve(&mut self, configured: &[u16]) {
        self.reserved = [configured, &ALWAYS_RESERVED].concat();
        self.reserved.sort_unstable();
        self.reserved.dedup();
    }

    pub(super) const fn take_first(&mut self, half: PortHalf) {
        self.own = half;
    }

    pub(super) fn are_reserved(&self, protocol: Protocol, port: u16) -> bool {
        protocol != Protocol::Icmp && self.reserved.binary_search(&port).is_ok()
    }

    /// The halves that ports may be taken from, in their order. Instants count from the start of the relay. After its first
    /// [`QUARANTINE_SECONDS`] the other half is there for pool addresses that have none left of their own: so the next run finds its half
    /// untouched wherever half of the ports were enough.
    pub(super) fn halves(&self, now: Instant) -> &'static [PortHalf] {
        let rests = now < Instant::from_secs(u64::from(QUARANTINE_SECONDS));
        match (self.own, rests) {
            (PortHalf::Even, true) => &[PortHalf::Even],
            (PortHalf::Odd, true) => &[PortHalf::Odd],
            (PortHalf::Even, false) => &[PortHalf::Even, PortHalf::Odd],
            (PortHalf::Odd, false) => &[PortHalf::Odd, PortHalf::Even],
        }
    }
}

/// Addresses that one class uses on one attachment.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) key: PoolKey,
    networks: Vec<Ipv4Network>,
}

impl Pool {
    pub(super) fn new(key: PoolKey, networks: &[Ipv4Network]) -> Self {
        Self { key, networks: networks.to_vec() }
    }

    pub(super) fn networks(&self) -> &[Ipv4Network] {
        &self.networks
    }

    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// RFC 6888 REQ-2 (paired pooling): the one address of a host, chosen by a keyed hash of it. All addresses of the prefixes are
    /// used; the prefixes need not be contiguous (REQ-3).
    pub(super) fn address_for(&self, host_hash: u64) -> Option<Ipv4Addr> {
        let size: u64 = self.networks.iter().map(|network| size_of_network(*network)).sum();
        let mut place = host_hash.checked_rem(size)?;
        for network in &self.networks {
            if place < size_of_network(*network) {
                return Some(Ipv4Addr::from_bits(network.network().to_bits() + u32::try_from(place).ok()?));
            }
            place -= size_of_network(*network);
        }
        None
    }
}

fn size_of_network(network: Ipv4Network) -> u64 {
    1 << (32 - u32::from(network.prefix()))
}

/// The ports that `port` may become: those of its class, 0-1023 or 1024 and above (RFC 4787 REQ-3, RFC 7857 keeps no parity).
/// Identifiers of ICMP have no classes. Zero is never given out.
pub(super) const fn port_class(protocol: Protocol, port: u16) -> RangeInclusive<u16> {
    match protocol {
        Protocol::Icmp => 1..=u16::MAX,
        Protocol::Tcp | Protocol::Udp if port < 1_024 => 1..=1_023,
        Protocol::Tcp | Protocol::Udp => 1_024..=u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_of_the_relays_own_protocols_or_listeners_is_ever_given_out() {
        // Port shadowing: IKE, BGP, BFD, and what was configured, in both protocols. Identifiers of echoes are no ports.
        let mut ports = Ports::new();
        for configured in [&[51_820, 9_273][..], &[51_821]] {
            ports.reserve(configured);
            for port in configured.iter().copied().chain([179, 500, 3_784, 3_785, 4_500, 4_784]) {
                assert!(ports.are_reserved(Protocol::Tcp, port) && ports.are_reserved(Protocol::Udp, port), "{port}");
                assert!(!ports.are_reserved(Protocol::Icmp, port), "{port}");
            }
        }
        assert!(!ports.are_reserved(Protocol::Udp, 51_820), "the listener that went away");
    }
}
