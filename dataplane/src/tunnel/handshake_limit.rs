//! How many handshakes, or IKE messages, of one source are worked on: a bucket for each source, in a table that a flood of forged sources can neither
//! grow nor slow down.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use crate::rate::{Rate, TokenBucket};
use crate::time::Instant;

/// Handshakes at once from one source, as the Linux implementation has it.
pub const PER_SOURCE_BURST: u32 = 5;
/// Handshakes from one source, as the Linux implementation has it.
const PER_SOURCE: Rate = Rate::per_second(20).with_burst(PER_SOURCE_BURST);

/// Our own bound: sets of [`WAYS`] sources each, 4,096 sources in all (about 100 kB).
const SETS: usize = 512;
const WAYS: usize = 8;

/// Whether a source may have one more handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No: this source had its share.
    SourceLimited,
    /// No: other sources use all the places where this one's share could be counted.
    TableFull,
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, which one site can choose addresses from as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                Self::V6([octets[0], octets[1], octets[2], octets[3], octets[4], octets[5], octets[6], octets[7]])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Source,
    bucket: TokenBucket,
}

/// The sources seen lately. All its memory is taken at the start; a source whose bucket is full again makes room for another.
#[derive(Debug)]
pub struct SourceLimiter {
    entries: Box<[[Entry; WAYS]]>,
    /// Keyed at random, so that nobody can choose sources that meet in one set.
    hash: RandomState,
    rate: Rate,
}

impl Default for SourceLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl SourceLimiter {
    /// An empty table, with the share that a WireGuard peer has.
    #[must_use]
    pub fn new() -> Self {
        Self::with_rate(PER_SOURCE)
    }

    /// An empty table in which each source's share is `rate`.
    #[must_use]
    pub fn with_rate(rate: Rate) -> Self {
        let unused = Entry { source: Source::V4([0; 4]), bucket: TokenBucket::FULL };
        Self { entries: vec![[unused; WAYS]; SETS].into_boxed_slice(), hash: RandomState::new(), rate }
    }

    /// Take one handshake from the share of `source`.
    pub fn take(&mut self, source: SocketAddr, now: Instant) -> Verdict {
        let source = Source::of(source);
        // The remainder is smaller than SETS.
        #[allow(clippy::cast_possible_truncation)]
        let set = &mut self.entries[(self.hash.hash_one(source) % SETS as u64) as usize];
        let place = set.iter().position(|entry| entry.source == source).or_else(|| set.iter().position(|entry| entry.bucket.is_full(now)));
        let Some(place) = place else { return Verdict::TableFull };
        let entry = &mut set[place];
        if entry.source != source {
            *entry = Entry { source, bucket: TokenBucket::FULL };
        }
        if entry.bucket.take(self.rate, now) { Verdict::Allowed } else { Verdict::SourceLimited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 51_820))
    }

    fn v6(high: u64, low: u64) -> SocketAddr {
        SocketAddr::from(((u128::from(high) << 64 | u128::from(low)).to_be_bytes(), 51_820))
    }

    #[test]
    fn a_source_gets_a_burst_of_five_and_then_twenty_a_second() {
        let mut limiter = SourceLimiter::new();
        let burst = (0..100).filter(|_| limiter.take(v4(1), Instant::from_secs(1)) == Verdict::Allowed).count();
        assert_eq!(burst, 5);
        assert_eq!(limiter.take(v4(1), Instant::from_millis(1_049)), Verdict::SourceLimited);
        let later = (1..=10_000).filter(|ms| limiter.take(v4(1), Instant::from_millis(1_000 + ms)) == Verdict::Allowed).count();
        assert_eq!(later, 200, "ten seconds at 20/s");
    }

    #[test]
    fn one_sources_flood_leaves_the_share_of_another_alone() {
        let mut limiter = SourceLimiter::new();
        for _ in 0..1_000 {
            let _ = limiter.take(v4(1), Instant::ZERO);
        }
        assert_eq!(limiter.take(v4(2), Instant::ZERO), Verdict::Allowed);
    }

    #[test]
    fn an_ipv6_site_cannot_multiply_its_share_with_the_addresses_of_its_64() {
        let mut limiter = SourceLimiter::new();
        let allowed = (0..100).filter(|host| limiter.take(v6(7, *host), Instant::ZERO) == Verdict::Allowed).count();
        assert_eq!(allowed, 5);
        assert_eq!(limiter.take(v6(8, 0), Instant::ZERO), Verdict::Allowed);
        // A mapped address is its IPv4 address, by whatever way it came.
        let mapped = SocketAddr::from((std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(), 1));
        let plain = SocketAddr::from(([192, 0, 2, 1], 2));
        let allowed = (0..10).filter(|_| limiter.take(mapped, Instant::ZERO) == Verdict::Allowed).count();
        assert_eq!(allowed, 5);
        assert_eq!(limiter.take(plain, Instant::ZERO), Verdict::SourceLimited);
    }

    #[test]
    fn forged_sources_fill_the_table_but_never_grow_it_and_it_empties_by_itself() {
        let mut limiter = SourceLimiter::new();
        let memory = limiter.entries.as_ptr();
        let mut full = 0;
        for forged in 0..100_000 {
            full += usize::from(limiter.take(v4(forged), Instant::ZERO) == Verdict::TableFull);
        }
        assert_eq!(100_000 - full, SETS * WAYS, "each place was given away once");
        assert_eq!((limiter.entries.as_ptr(), limiter.entries.len()), (memory, SETS));
        // 50 ms later each bucket is full again, and a newcomer finds room.
        assert_eq!(limiter.take(v4(200_000), Instant::from_millis(50)), Verdict::Allowed);
    }

    #[test]
    fn a_limited_source_is_not_forgotten_when_others_need_room() {
        let mut limiter = SourceLimiter::new();
        for _ in 0..5 {
            assert_eq!(limiter.take(v4(9), Instant::ZERO), Verdict::Allowed);
        }
        for forged in 1_000..50_000 {
            let _ = limiter.take(v4(forged), Instant::from_millis(49));
        }
        assert_eq!(limiter.take(v4(9), Instant::from_millis(49)), Verdict::SourceLimited);
    }
}
