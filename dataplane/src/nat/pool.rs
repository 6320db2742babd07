//! The addresses and ports that flows can be translated to.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;

use super::types::PoolKey;
use crate::wire::inner::Protocol;

/// Ports that no pool gives out, whatever the configuration: the relay's own protocols might listen on them on the same addresses
/// (IKE and its NAT traversal, BGP, BFD single-hop, echo and multi-hop), and a flow behind such a port would shadow them.
const ALWAYS_RESERVED: [u16; 6] = [179, 500, 3_784, 3_785, 4_500, 4_784];

/// Ports of TCP or UDP that are never given out.
#[derive(Debug, Default)]
pub(super) struct ReservedPorts(Vec<u16>);

impl ReservedPorts {
    pub(super) fn new(configured: &[u16]) -> Self {
        let mut ports = [configured, &ALWAYS_RESERVED].concat();
        ports.sort_unstable();
        ports.dedup();
        Self(ports)
    }

    pub(super) fn contains(&self, protocol: Protocol, port: u16) -> bool {
        protocol != Protocol::Icmp && self.0.binary_search(&port).is_ok()
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
