//! Which sequence numbers were received already (RFC 4303 section 3.4.3, WireGuard's whitepaper section 5.4.6), as the ring of words of
//! RFC 6479: the window moves on by clearing words, never by shifting them.
//!
//! With ESP's extended sequence numbers only the lower 32 bits travel; [`ReplayWindow::infer`] finds the upper ones (RFC 4303 appendix A).
//! The window moves in [`ReplayWindow::mark`] alone, which is called when the packet has authenticated.

use crate::prefetch;

/// A sequence number that was received before, or is older than the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed;

/// The sequence numbers received under one key, in a ring of `WORDS` words, a power of two.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    /// The highest that authenticated; 0 before the first, as no packet has that number.
    highest: u64,
    ring: [u64; WORDS],
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        const { assert!(WORDS.is_power_of_two() && WORDS > 1, "the lower bits of a sequence number name its word") };
        Self { highest: 0, ring: [0; WORDS] }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Sequence numbers that the window spans: one word of the ring is being filled while the others are remembered in full (RFC 6479
    /// section 2).
    pub const SPAN: u64 = (WORDS as u64 - 1) * 64;

    /// The highest sequence number that authenticated; 0 = none.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// The extended sequence number whose lower 32 bits are `low` (RFC 4303 appendix A2.2), if it is a possible one: the window spans two
    /// halves of the number space, and what seems to be from before the first packet, or from after the last possible one, is no number.
    ///
    /// Not built: finding the peer again after more than 2^32 packets were lost in a row (appendix A3); such an SA is negotiated anew.
    #[must_use]
    pub const fn infer(&self, low: u32) -> Option<u64> {
        let upper = self.highest >> 32;
        #[allow(clippy::cast_possible_truncation)] // the lower half is meant
        let bottom = (self.highest as u32).wrapping_sub(Self::SPAN as u32 - 1);
        let spans_two = (self.highest & 0xffff_ffff) < Self::SPAN - 1;
        let upper = match (spans_two, low >= bottom) {
            (false, true) | (true, false) => Some(upper),
            (false, false) => upper.checked_add(1),
            (true, true) => upper.checked_sub(1),
        };
        match upper {
            Some(upper) if upper <= 0xffff_ffff => Some(upper << 32 | low as u64),
            _ => None,
        }
    }

    /// Whether `sequence` is new.
    ///
    /// # Errors
    /// [`Replayed`] where it is not, or nobody knows any more.
    pub const fn check(&self, sequence: u64) -> Result<(), Replayed> {
        if sequence > self.highest {
            return Ok(());
        }
        // No packet has the number 0.
        if sequence == 0 || self.highest - sequence >= Self::SPAN || self.ring[Self::word(sequence)] & bit(sequence) != 0 {
            return Err(Replayed);
        }
        Ok(())
    }

    /// Hint that a packet with this lower half will be checked. Reads nothing.
    pub(crate) fn prefetch(&self, low: u32) {
        prefetch::start(&self.highest);
        prefetch::start(&self.ring[Self::word(u64::from(low))]);
    }

    /// `sequence`, which [`Self::check`] found new, has authenticated. True where it is the highest now.
    pub fn mark(&mut self, sequence: u64) -> bool {
        let newest = sequence > self.highest;
        if newest {
            let (from, to) = (self.highest / 64, sequence / 64);
            for index in (from + 1..=to).take(WORDS) {
                self.ring[Self::word(64 * index)] = 0;
            }
            self.highest = sequence;
        }
        self.ring[Self::word(sequence)] |= bit(sequence);
        newest
    }

    /// The lower bits decide, of whatever width `usize` is.
    #[allow(clippy::cast_possible_truncation)]
    const fn word(sequence: u64) -> usize {
        (sequence / 64) as usize % WORDS
    }
}

const fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const HALF: u64 = 1 << 32;
    const WORDS: usize = 32;
    const WINDOW: u64 = ReplayWindow::SPAN;

    type ReplayWindow = super::ReplayWindow<WORDS>;

    /// What of a sequence number travels.
    #[allow(clippy::cast_possible_truncation)] // the lower half is meant
    fn low(sequence: u64) -> u32 {
        sequence as u32
    }

    fn at(highest: u64) -> ReplayWindow {
        let mut window = ReplayWindow::default();
        window.mark(highest);
        window
    }

    /// What a receiver does with a packet that authenticates.
    fn receive(window: &mut ReplayWindow, sequence: u64) -> bool {
        let new = window.check(sequence).is_ok();
        if new {
            window.mark(sequence);
        }
        new
    }

    #[test]
    fn a_first_packet_far_ahead_opens_the_window_there() {
        for first in [1, 2, 63, 64, 65, WINDOW, WINDOW + 1, HALF - 1, HALF, u64::MAX - 1, u64::MAX] {
            let mut window = ReplayWindow::default();
            assert!(receive(&mut window, first), "{first}");
            assert!(!receive(&mut window, first), "{first} again");
            assert_eq!(window.highest(), first);
            // What the jump passed over is new, as far back as the window goes.
            let oldest = first.saturating_sub(WINDOW - 1).max(1);
            for late in [oldest, oldest + 1, first - 1].into_iter().filter(|late| (oldest..first).contains(late)) {
                assert_eq!(window.check(late), Ok(()), "{late} after {first}");
            }
            assert_eq!(window.check(oldest - 1), Err(Replayed), "older than the window, or 0");
        }
    }

    #[test]
    fn zero_is_no_sequence_number() {
        assert_eq!(ReplayWindow::default().check(0), Err(Replayed));
        assert_eq!(at(5).check(0), Err(Replayed));
    }

    #[test]
    fn replays_at_both_edges_are_refused_and_what_lies_between_is_taken_once() {
        let mut window = at(10_000);
        let oldest = 10_000 - WINDOW + 1;
        assert_eq!(window.check(oldest - 1), Err(Replayed), "one older than the window");
        assert!(receive(&mut window, oldest));
        assert!(!receive(&mut window, oldest));
        for sequence in oldest + 1..10_000 {
            assert!(receive(&mut window, sequence), "{sequence}");
        }
        for sequence in oldest..=10_000 {
            assert!(!receive(&mut window, sequence), "{sequence} again");
        }
        assert_eq!(window.highest(), 10_000);
    }

    #[test]
    fn a_jump_over_the_whole_ring_forgets_nothing_that_is_still_inside() {
        for jump in [WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 63, WINDOW + 64, WINDOW + 65, 1 << 40] {
            for start in [1, 63, 64, 1_000_000_007] {
                let mut window = ReplayWindow::default();
                let full = 3 * WINDOW;
                for sequence in start..start + full {
                    assert!(receive(&mut window, sequence));
                }
                let highest = start + full - 1;
                assert!(receive(&mut window, highest + jump));
                let inside = (highest + jump).saturating_sub(WINDOW - 1)..highest + jump;
                for sequence in inside {
                    assert_eq!(receive(&mut window, sequence), sequence > highest, "{sequence} after {highest} + {jump}");
                }
            }
        }
    }

    #[test]
    fn a_packet_that_is_only_checked_moves_nothing() {
        let window = at(7);
        assert_eq!(window.check(1 << 50), Ok(()));
        assert_eq!(window.check(8), Ok(()));
        assert_eq!((window.highest(), window.check(6)), (7, Ok(())));
    }

    #[test]
    fn the_upper_half_is_inferred_across_the_wrap_of_the_lower_one_both_ways() {
        let before = at(HALF - 2);
        assert_eq!(before.infer(u32::MAX), Some(HALF - 1));
        assert_eq!(before.infer(0), Some(HALF), "the lower half wraps");
        assert_eq!(before.infer(500_000), Some(HALF + 500_000), "and jumps while it wraps");
        let after = at(HALF + 3);
        assert_eq!(after.infer(u32::MAX), Some(HALF - 1), "a late one from before the wrap");
        assert_eq!(after.infer(2), Some(HALF + 2));
        assert_eq!(after.infer(4), Some(HALF + 4));
        // Appendix A2.1: case A with the window inside one half.
        let inside = at(7 * HALF + 100_000);
        assert_eq!(inside.infer(low(100_000 - (WINDOW - 1))), Some(7 * HALF + 100_000 - (WINDOW - 1)), "the oldest");
        assert_eq!(inside.infer(low(100_000 - WINDOW)), Some(8 * HALF + 100_000 - WINDOW), "older than that means later by a half");
    }

    #[test]
    fn before_the_first_packet_and_after_the_last_there_are_no_numbers() {
        let new = ReplayWindow::default();
        assert_eq!(new.infer(1), Some(1));
        assert_eq!(new.infer(0x8000_0000), Some(0x8000_0000), "a first packet far ahead");
        assert_eq!(new.infer(u32::MAX), None, "before the beginning");
        let last = at(u64::MAX);
        assert_eq!(last.infer(u32::MAX), Some(u64::MAX));
        assert_eq!(last.infer(5), None, "behind the end");
    }

    proptest! {
        #[test]
        fn whatever_order_packets_come_in_each_counts_once_and_the_window_is_that_of_a_set(
            start in prop_oneof![Just(1u64), HALF - 5_000..HALF + 5_000, 1u64..1 << 60],
            steps in prop::collection::vec((0u64..4_000, any::<bool>()), 1..400),
        ) {
            let (mut window, mut seen) = (ReplayWindow::default(), BTreeSet::new());
            let mut highest = 0;
            for (distance, ahead) in steps {
                let sequence = if ahead { highest.max(start) + distance } else { highest.max(start).saturating_sub(distance) };
                let expected = sequence > 0 && sequence + WINDOW > highest && !seen.contains(&sequence);
                prop_assert_eq!(receive(&mut window, sequence), expected, "{} at {}", sequence, highest);
                if expected {
                    seen.insert(sequence);
                    highest = highest.max(sequence);
                }
            }
        }

        #[test]
        fn every_number_near_the_highest_is_inferred_from_its_lower_half(highest in 1u64 << 33..1 << 62, back in 0..WINDOW, ahead in 0..1u64 << 31) {
            let window = at(highest);
            for sequence in [highest - back, highest + ahead] {
                prop_assert_eq!(window.infer(low(sequence)), Some(sequence));
            }
        }
    }
}
