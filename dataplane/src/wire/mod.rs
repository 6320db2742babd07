//! Bytes <-> headers, without state.
//!
//! | file | what it reads and writes |
//! |---|---|
//! | [`ethernet`] | Ethernet with VLAN tags |
//! | [`arp`] | ARP |
//! | [`underlay`], [`underlay6`] | outer IPv4 and UDP; outer IPv6 and UDP |
//! | [`ecn`] | congestion marks across a tunnel |
//! | [`checksum`] | the Internet checksum, whole and incremental |
//! | [`inner`] | the IPv4 packet inside a tunnel or on a VLAN, read once and checked |
//! | [`fragment`] | where a fragment lies in its datagram, and how a packet is cut |
//! | [`icmp`] | ICMP errors made by the relay, what a received error quotes, echo replies |
//! | [`ipv6`] | the IPv6 header, and the checksum over parts of it |
//! | [`icmpv6`] | the ICMPv6 error that refuses an inner packet, echo replies |
//! | [`neighbor_discovery`] | solicitations and advertisements of IPv6's neighbour discovery |
//! | [`mss`] | the clamp on TCP's maximum segment size |

pub mod arp;
pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod fragment;
pub mod icmp;
pub mod icmpv6;
pub mod inner;
pub mod ipv6;
pub mod mss;
pub mod neighbor_discovery;
#[cfg(test)]
pub(crate) mod samples;
pub mod underlay;
pub mod underlay6;

use std::net::Ipv4Addr;

/// The 16 bits at `offset`, in network order, or zero where the bytes end before.
///
/// Parsers check lengths first; the zero only spares every accessor a second error path.
pub(crate) fn read_u16(bytes: &[u8], offset: usize) -> u16 {
    match bytes.get(offset..offset + 2) {
        Some(pair) => u16::from_be_bytes([pair[0], pair[1]]),
        None => 0,
    }
}

/// The 32 bits at `offset`, in network order, or zero where the bytes end before.
pub(crate) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from(read_u16(bytes, offset)) << 16 | u32::from(read_u16(bytes, offset + 2))
}

/// The IPv4 address at `offset`, or 0.0.0.0 where the bytes end before.
pub(crate) fn read_address(bytes: &[u8], offset: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(read_u32(bytes, offset))
}

/// Write 16 bits in network order at `offset`; nothing happens where the bytes end before.
pub(crate) fn write_u16(bytes: &mut [u8], offset: usize, value: u16) {
    if let Some(pair) = bytes.get_mut(offset..offset + 2) {
        pair.copy_from_slice(&value.to_be_bytes());
    }
}

/// Write an IPv4 address at `offset`; nothing happens where the bytes end before.
pub(crate) fn write_address(bytes: &mut [u8], offset: usize, address: Ipv4Addr) {
    if let Some(place) = bytes.get_mut(offset..offset + 4) {
        place.copy_from_slice(&address.octets());
    }
}
