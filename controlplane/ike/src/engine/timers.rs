//! Deadlines: one a subject, in order of time. Nothing ever looks at all SAs to find the one that is due.

use std::collections::{BTreeSet, HashMap};

use crate::message::IkeSpi;
use crate::time::Instant;

use super::peer::PeerId;

/// Whose deadline it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Timer {
    /// An IKE SA, by our SPI: retransmission, rekeying, silence, end of life.
    Sa(IkeSpi),
    /// A peer: the next try, pairs that linger.
    Peer(PeerId),
}

/// All deadlines.
#[derive(Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    armed: HashMap<Timer, Instant>,
}

impl Timers {
    /// `timer` is due at `at`, and no longer at any other time.
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if self.armed.get(&timer).copied() == at {
            return;
        }
        if let Some(old) = self.armed.remove(&timer) {
            self.queue.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.armed.insert(timer, at);
            self.queue.insert((at, timer));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Take the earliest timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.queue.first().filter(|&&(at, _)| at <= now)?;
        self.queue.remove(&(at, timer));
        self.armed.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_deadline_the_last_that_was_set() {
        let mut timers = Timers::default();
        let (one, two) = (Timer::Peer(PeerId(1)), Timer::Peer(PeerId(2)));
        timers.set(one, Some(Instant::from_secs(5)));
        timers.set(two, Some(Instant::from_secs(3)));
        timers.set(one, Some(Instant::from_secs(1)));
        assert_eq!(timers.next(), Some(Instant::from_secs(1)));
        assert_eq!(timers.pop(Instant::from_secs(4)), Some(one));
        assert_eq!(timers.pop(Instant::from_secs(4)), Some(two));
        assert_eq!((timers.pop(Instant::FAR_FUTURE), timers.next()), (None, None));
        timers.set(one, Some(Instant::from_secs(9)));
        timers.set(one, None);
        assert_eq!(timers.next(), None);
    }
}
