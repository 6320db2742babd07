//! Identifications of translated packets that somebody on their way may cut into fragments (RFC 6864 5.3.1, RFC 7857 section 9).
//!
//! Hosts that share an address know nothing of each other's numbers: two of their packets with one number, cut to pieces, would be put
//! together as one. So the relay numbers them, as the one source that they appear to be. Packets with DF are never cut, and keep theirs.

use std::net::Ipv4Addr;

use rand::Rng;

use super::types::Endpoint;
use crate::prefetch;
use crate::wire::fragment;
use crate::wire::inner::Protocol;

/// Counters that all pairs of addresses share: a number comes back no sooner than with one for each pair, as long as 65,536 packets
/// without DF through one counter take longer than a packet lives.
const COUNTERS: usize = 256;
/// A super-frame becomes packets of at least so many bytes each, which take consecutive numbers (RFC 9293 3.7.1).
const LEAST_SEGMENT: usize = 536;

#[derive(Debug)]
pub(super) struct Identifications {
    next: [u16; COUNTERS],
}

impl Identifications {
    /// Counters that begin anywhere.
    pub(super) fn new(random: &mut impl Rng) -> Self {
        Self { next: std::array::from_fn(|_| random.random()) }
    }

    /// Hint that [`Self::number`] comes.
    pub(super) fn prefetch(&self, source: Endpoint, destination: Endpoint, protocol: Protocol) {
        prefetch::start(&self.next[place(source.addr, destination.addr, protocol)]);
    }

    /// Give a whole packet between these two its number.
    pub(super) fn number(&mut self, packet: &mut [u8], source: Endpoint, destination: Endpoint, protocol: Protocol) {
        let next = &mut self.next[place(source.addr, destination.addr, protocol)];
        fragment::write_id(packet, *next);
        *next = next.wrapping_add(u16::try_from(1 + packet.len() / LEAST_SEGMENT).unwrap_or(u16::MAX));
    }
}

/// Addresses that differ little are spread over all counters (Fibonacci hashing).
fn place(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol) -> usize {
    let pair = source.to_bits() ^ destination.to_bits().rotate_left(16) ^ u32::from(protocol as u8);
    (pair.wrapping_mul(0x9e37_79b9) >> 24) as usize % COUNTERS
}
