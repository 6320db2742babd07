//! Token buckets: how often something may happen. What fills them is the time that is handed down; there is no clock in here.

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
}
