//! Token buckets: how often something may happen. What fills them is the time that is handed down; there is no clock in here.

use std::num::NonZeroU64;

use crate::time::{Duration, Instant};

/// So many tokens a second, and so many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Between two tokens, in nanoseconds.
    interval: u64,
    burst: u32,
}

impl Rate {
    /// `tokens` a second, and as many at once.
    ///
    /// # Panics
    /// When `tokens` is zero.
    #[must_use]
    pub const fn per_second(tokens: u32) -> Self {
        assert!(tokens > 0, "a rate of nothing would never let anything pass");
        let interval = 1_000_000_000 / tokens as u64;
        Self { interval: if interval == 0 { 1 } else { interval }, burst: tokens }
    }

    /// The same rate with at most `tokens` at once.
    #[must_use]
    pub const fn with_burst(self, tokens: u32) -> Self {
        Self { burst: tokens, ..self }
    }
}

/// Longest time in which a [`BitRate`] may be used up at once: a policed TCP needs about a round trip's worth.
const BURST: Duration = Duration::from_millis(25);

/// So many bits a second, and what [`BURST`] makes of them at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitRate {
    /// Time of a byte, in picoseconds.
    byte_picos: u64,
}

impl BitRate {
    /// `bits` a second, 1 kbit/s to 8 Tbit/s; what is outside becomes the nearest of them.
    #[must_use]
    pub const fn per_second(bits: NonZeroU64) -> Self {
        let byte_picos = 8_000_000_000_000 / bits.get();
        Self { byte_picos: if byte_picos == 0 { 1 } else { byte_picos } }
    }

    const fn time_of(self, bytes: usize) -> Duration {
        Duration::from_nanos((bytes as u64).saturating_mul(self.byte_picos) / 1_000)
    }
}

/// A token bucket, kept as the one moment at which it would be full again (the generic cell rate algorithm): nothing has to refill
/// it. The rate comes with each call, so that another one holds at once, and what was saved stays.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub const FULL: Self = Self { full_at: Instant::ZERO };

    /// Take a token, if there is one.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + Duration::from_nanos(rate.interval);
        let allowed = full_at <= now + Duration::from_nanos(rate.interval * u64::from(rate.burst));
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }

    /// Take `bytes`, if there are so many, and leave a quarter of the burst where `spare` says so: for whoever goes first. A packet
    /// that is longer than the whole burst passes where the bucket is full, and what it lacks is paid back.
    #[must_use]
    pub fn take_bytes(&mut self, rate: BitRate, bytes: usize, spare: bool, now: Instant) -> bool {
        let needed = rate.time_of(bytes);
        let limit = if spare { BURST - BURST / 4 } else { BURST };
        let from = self.full_at.max(now);
        let allowed = from <= now || from + needed <= now + limit;
        if allowed {
            self.full_at = from + needed;
        }
        allowed
    }

    /// True where there is nothing to take for anybody, but for packets that are shorter than any.
    #[must_use]
    pub fn is_empty(self, now: Instant) -> bool {
        self.full_at >= now + BURST
    }

    /// True where forgetting this bucket changes nothing.
    #[must_use]
    pub fn is_full(self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_seconds_worth_and_then_the_rate_holds() {
        let (mut bucket, rate) = (TokenBucket::FULL, Rate::per_second(500));
        assert_eq!((0..1_000).filter(|_| bucket.take(rate, Instant::from_secs(100))).count(), 500);
        assert!(!bucket.take(rate, Instant::from_nanos(100_001_999_999)));
        assert!(bucket.take(rate, Instant::from_millis(100_002)));
        let taken = (0..10_000).filter(|ms| bucket.take(rate, Instant::from_millis(100_003 + ms))).count();
        assert_eq!(taken, 5_000);
    }

    #[test]
    fn a_smaller_burst_leaves_the_rate_alone() {
        let (mut bucket, rate) = (TokenBucket::FULL, Rate::per_second(20).with_burst(5));
        assert_eq!((0..100).filter(|_| bucket.take(rate, Instant::ZERO)).count(), 5);
        assert!(!bucket.is_full(Instant::from_millis(249)));
        assert!(bucket.is_full(Instant::from_millis(250)));
        assert_eq!((1..=10_000).filter(|ms| bucket.take(rate, Instant::from_millis(*ms))).count(), 200);
    }

    #[test]
    fn another_rate_holds_at_once_and_gives_nothing_away() {
        let mut bucket = TokenBucket::FULL;
        assert_eq!((0..100).filter(|_| bucket.take(Rate::per_second(10), Instant::ZERO)).count(), 10);
        assert!(!bucket.take(Rate::per_second(1_000), Instant::ZERO), "an empty bucket stays empty");
        assert_eq!((1..=100).filter(|ms| bucket.take(Rate::per_second(1_000), Instant::from_millis(*ms))).count(), 100);
    }

    #[test]
    fn a_clock_that_steps_back_earns_nothing() {
        let (mut bucket, rate) = (TokenBucket::FULL, Rate::per_second(1));
        assert!(bucket.take(rate, Instant::from_secs(10)));
        assert!(!bucket.take(rate, Instant::from_secs(1)));
        assert!(!bucket.take(rate, Instant::from_millis(10_999)));
        assert!(bucket.take(rate, Instant::from_secs(11)));
    }

    #[test]
    fn the_highest_rate_that_can_be_configured_is_still_a_rate() {
        let (mut bucket, rate) = (TokenBucket::FULL, Rate::per_second(u32::MAX).with_burst(3));
        assert_eq!((0..10).filter(|_| bucket.take(rate, Instant::from_secs(1))).count(), 3);
    }

    fn bits(bits: u64) -> BitRate {
        BitRate::per_second(NonZeroU64::new(bits).expect("not zero"))
    }

    /// Bytes that pass in a second, of packets of `len` that come ten times as fast as they may.
    fn passes(bucket: &mut TokenBucket, rate: u64, len: usize, from: Instant) -> u64 {
        let step = Duration::from_nanos(len as u64 * 8 * 1_000_000_000 / rate / 10);
        let moments = std::iter::successors(Some(from), |at| Some(*at + step)).take_while(|at| at.since(from) < Duration::from_secs(1));
        moments.filter(|at| bucket.take_bytes(bits(rate), len, false, *at)).count() as u64 * len as u64
    }

    #[test]
    fn a_ceiling_holds_within_five_percent_in_every_second() {
        for (rate, len) in [(1_000_000, 64), (1_000_000, 1_420), (50_000_000, 1_420), (500_000_000, 512), (10_000_000_000, 64)] {
            let mut bucket = TokenBucket::FULL;
            for second in 1..4 {
                let of_ceiling = passes(&mut bucket, rate, len, Instant::from_secs(second)) as f64 * 8.0 / rate as f64;
                assert!((0.95..1.05).contains(&of_ceiling), "{rate} bit/s, {len} bytes, second {second}: {of_ceiling}");
            }
        }
    }

    #[test]
    fn a_quarter_of_the_burst_is_left_for_who_goes_first() {
        let (mut bucket, rate, now) = (TokenBucket::FULL, bits(8_000_000), Instant::from_secs(1));
        // 25 ms are 25,000 bytes.
        assert_eq!((0..100).filter(|_| bucket.take_bytes(rate, 1_000, true, now)).count(), 18);
        assert_eq!((0..100).filter(|_| bucket.take_bytes(rate, 1_000, false, now)).count(), 7);
        assert!(bucket.is_empty(now) && !bucket.is_empty(Instant::from_millis(1_001)));
        // Both send without end: the first gets all it asks for, 300 of 1,000 packets a second, and the other the rest.
        let mut passed = [0, 0];
        for millis in 2_000..12_000 {
            let now = Instant::from_millis(millis);
            passed[1] += u64::from(bucket.take_bytes(rate, 1_000, true, now)) + u64::from(bucket.take_bytes(rate, 1_000, true, now));
            passed[0] += u64::from(millis % 10 < 3 && bucket.take_bytes(rate, 1_000, false, now));
        }
        assert_eq!(passed[0], 3_000, "who goes first loses nothing");
        assert!((6_900..=7_050).contains(&passed[1]), "{passed:?}");
    }

    #[test]
    fn a_packet_longer_than_the_burst_passes_and_is_paid_back() {
        let (mut bucket, rate) = (TokenBucket::FULL, bits(1_000_000));
        let taken = (0..10_000).filter(|ms| bucket.take_bytes(rate, 64_000, true, Instant::from_millis(1_000 + ms))).count();
        assert_eq!(taken, 20, "64 kB each 512 ms");
    }
}
