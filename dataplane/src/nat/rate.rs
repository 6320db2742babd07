//! How many sessions a tenant may open in a second (RFC 6888 REQ-4).

use std::num::NonZeroU32;

use crate::time::Instant;

/// A token bucket: one second's worth at once, then at the rate.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Nanoseconds that one token takes to come.
    cost: u64,
    /// Nanoseconds saved up, at most a second.
    credit: u64,
    updated: Instant,
}

const SECOND: u64 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self { cost: Self::cost(per_second), credit: SECOND, updated: Instant::ZERO }
    }

    /// Another rate; what was saved stays.
    pub(super) fn set_rate(&mut self, per_second: NonZeroU32) {
        self.cost = Self::cost(per_second);
    }

    fn cost(per_second: NonZeroU32) -> u64 {
        (SECOND / u64::from(per_second.get())).max(1)
    }

    /// Take a token, where there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let earned = now.as_nanos().saturating_sub(self.updated.as_nanos());
        self.credit = self.credit.saturating_add(earned).min(SECOND);
        self.updated = self.updated.max(now);
        match self.credit.checked_sub(self.cost) {
            Some(left) => {
                self.credit = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_seconds_worth_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(NonZeroU32::new(500).expect("not zero"));
        let start = Instant::from_secs(100);
        assert_eq!((0..1_000).filter(|_| bucket.take(start)).count(), 500);
        assert!(!bucket.take(Instant::from_nanos(100 * SECOND + 1_999_999)));
        assert!(bucket.take(Instant::from_millis(100_002)));
        let taken = (0..10_000).filter(|ms| bucket.take(Instant::from_millis(100_003 + ms))).count();
        assert_eq!(taken, 5_000);
    }

    #[test]
    fn a_clock_that_steps_back_earns_nothing() {
        let mut bucket = TokenBucket::new(NonZeroU32::MIN);
        assert!(bucket.take(Instant::from_secs(10)));
        assert!(!bucket.take(Instant::from_secs(1)));
        assert!(!bucket.take(Instant::from_millis(10_999)));
        assert!(bucket.take(Instant::from_secs(11)));
    }
}
