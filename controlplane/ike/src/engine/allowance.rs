//! How often one peer may ask for what costs a key exchange: one that has proven who it is gets no more of the relay than its share.

use std::time::Duration;

use crate::time::Instant;

/// Rekeyings that a peer may ask for at once: all SAs that it can have, several times over.
const AT_ONCE: u32 = 32;
/// And one more after each of these. Nobody needs them as often: SAs live for minutes at least.
const EACH: Duration = Duration::from_millis(500);

/// What a peer has asked for lately.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Allowance {
    /// When it has its whole share again.
    whole_at: Instant,
}

impl Allowance {
    /// One more, unless that is too many.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let from = self.whole_at.max(now);
        let room = from.since(now) <= EACH * (AT_ONCE - 1);
        if room {
            self.whole_at = from + EACH;
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_thirty_two_at_once_and_two_a_second() {
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, at| (0..100).filter(|_| allowance.take(Instant::from_secs(at))).count();
        assert_eq!((taken(&mut allowance, 5), taken(&mut allowance, 5)), (32, 0));
        assert_eq!((taken(&mut allowance, 6), taken(&mut allowance, 600)), (2, 32));
    }
}
