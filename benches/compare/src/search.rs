//! The search for the highest rate at which almost nothing is lost: first upwards by a factor, then halving. No I/O.

/// A rate counts as carried when less than this share is lost.
pub(crate) const TOLERATED_LOSS: f64 = 0.005;
/// A sender that falls this far behind what it was asked for has found its own limit.
const KEPT_UP: f64 = 0.97;
/// A step up, or two of them down, and how many there are at most until the rate lies between two that were tried.
const FACTOR: f64 = 1.6;
const STEPS: u32 = 8;

/// What one trial brought.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Trial {
    /// Packets a second that were asked for.
    pub(crate) asked: f64,
    /// Packets a second that were sent.
    pub(crate) sent: f64,
    /// Share that did not arrive.
    pub(crate) loss: f64,
}

/// A search under way. Its trials are made by whoever asks [`Search::next`].
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The highest rate, as sent, that arrived.
    best: f64,
    /// The lowest rate, as asked, that did not: the sender's own limit counts as one.
    ceiling: Option<f64>,
    /// The highest rate, as asked, that did.
    floor: f64,
    next: f64,
    steps: u32,
    halvings: u32,
    /// A rate is refused, or the sender called exhausted, only after failing twice: a hiccup of the machine is neither's.
    failed_once: bool,
    sender_limited: bool,
}

impl Search {
    pub(crate) const fn new(start: f64, halvings: u32) -> Self {
        Self { best: 0.0, ceiling: None, floor: 0.0, next: start, steps: STEPS, halvings, failed_once: false, sender_limited: false }
    }

    /// The rate to try next, until there is none.
    pub(crate) fn next(&self) -> Option<f64> {
        let open = if self.is_bracketed() { self.halvings > 0 } else { self.steps > 0 };
        (open && !self.sender_limited).then_some(self.next)
    }

    /// Packets a second that arrive, and whether more could not be offered.
    pub(crate) const fn result(&self) -> (f64, bool) {
        (self.best, self.sender_limited)
    }

    /// Whether the highest rate lies between two that were tried.
    fn is_bracketed(&self) -> bool {
        self.ceiling.is_some() && self.floor > 0.0
    }

    pub(crate) fn record(&mut self, trial: Trial) {
        let (arrived, kept_up) = (trial.loss < TOLERATED_LOSS, trial.sent >= KEPT_UP * trial.asked);
        let failed = !arrived || !kept_up;
        if failed && !self.failed_once {
            // What did arrive, arrived.
            self.best = self.best.max(if arrived { trial.sent } else { 0.0 });
            self.failed_once = true;
            return;
        }
        self.failed_once = false;
        if self.is_bracketed() {
            self.halvings -= 1;
        } else {
            self.steps -= 1;
        }
        if arrived {
            self.best = self.best.max(trial.sent);
            self.floor = trial.asked;
            self.sender_limited = !kept_up;
        } else {
            self.ceiling = Some(trial.asked);
        }
        self.next = match self.ceiling {
            None => self.floor * FACTOR,
            // There is no lower end to halve towards yet.
            Some(ceiling) if self.floor == 0.0 => ceiling / (FACTOR * FACTOR),
            Some(ceiling) => (self.floor * ceiling).sqrt(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a relay that loses everything beyond `limit`, and a sender that gets no faster than `sender`.
    fn search(start: f64, limit: f64, sender: f64) -> (f64, bool, u32) {
        let (mut search, mut trials) = (Search::new(start, 5), 0);
        while let Some(asked) = search.next() {
            let sent = asked.min(sender);
            search.record(Trial { asked, sent, loss: if sent > limit { 0.5 } else { 0.001 } });
            trials += 1;
        }
        let (best, limited) = search.result();
        (best, limited, trials)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [10_000.0, 90_000.0, 300_000.0, 5_000_000.0] {
            let (best, limited, trials) = search(start, 100_000.0, f64::INFINITY);
            assert!((90_000.0..=100_000.0).contains(&best), "{best} from {start}");
            assert!(!limited && trials <= 20, "{trials} trials from {start}");
        }
    }

    #[test]
    fn a_sender_at_its_limit_ends_the_search_and_says_so() {
        assert_eq!(search(10_000.0, f64::INFINITY, 50_000.0), (50_000.0, true, 6), "four steps up, and the fifth twice");
    }

    #[test]
    fn a_relay_that_loses_everything_ends_the_search_with_nothing() {
        let (best, limited, trials) = search(10_000.0, 0.0, f64::INFINITY);
        assert_eq!((best, limited), (0.0, false));
        assert_eq!(trials, 16, "each rate twice");
    }

    #[test]
    fn one_hiccup_does_not_count() {
        let mut search = Search::new(10_000.0, 3);
        search.record(Trial { asked: 10_000.0, sent: 10_000.0, loss: 0.4 });
        assert_eq!(search.next(), Some(10_000.0), "the same rate once more");
        search.record(Trial { asked: 10_000.0, sent: 9_990.0, loss: 0.0 });
        assert_eq!(search.result(), (9_990.0, false));
        assert_eq!(search.next(), Some(16_000.0));
        search.record(Trial { asked: 16_000.0, sent: 6_000.0, loss: 0.0 });
        assert_eq!(search.next(), Some(16_000.0), "nor does one of the sender's");
    }
}
