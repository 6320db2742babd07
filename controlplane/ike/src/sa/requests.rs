//! Our requests: one at a time (window 1, RFC 7296 section 2.3), sent again until answered or given up (section 2.1).

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// The first retransmission; each further one waits twice as long.
const FIRST_RETRANSMISSION: Duration = Duration::from_secs(1);
/// No two transmissions lie further apart.
const LONGEST_WAIT: Duration = Duration::from_secs(16);
/// Transmissions before the peer counts as dead: after 1 + 2 + 4 + 8 + 16 + 16 = 47 s. RFC 7296 section 2.4 suggests a dozen over
/// several minutes; a town hall's line is one of two, and the other one is to be used sooner than that.
const TRANSMISSIONS: u32 = 6;
/// What may wait behind the request in flight. A Child SA asks for one thing at a time, so this is never reached.
const MAX_QUEUED: usize = 32;

/// Our side of the window. `E` is what we await an answer to, `W` what waits for its turn.
pub(crate) struct Requests<E, W> {
    next_id: u32,
    current: Option<Current<E>>,
    queue: VecDeque<W>,
}

/// The request in flight.
struct Current<E> {
    exchange: E,
    id: u32,
    stage: Stage,
    packets: Vec<Vec<u8>>,
    transmissions: u32,
    next: Instant,
}

/// How far the request in flight is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Being made (Diffie-Hellman): nobody has seen it.
    Preparing,
    /// Sent, no answer yet.
    Sent,
    /// Answered; what follows from the answer is being done (Diffie-Hellman, a worker).
    Concluding,
}

/// What to do when the time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<'a> {
    /// Nothing yet.
    Nothing,
    /// Send these again.
    Again(&'a [Vec<u8>]),
    /// The peer does not answer.
    GiveUp,
}

impl<E, W: PartialEq> Requests<E, W> {
    /// Nothing in flight; the first request will have this message id.
    pub(crate) fn new(next_id: u32) -> Self {
        Self { next_id, current: None, queue: VecDeque::new() }
    }

    /// Ask for a turn, once.
    pub(crate) fn want(&mut self, wanted: W) {
        if self.queue.len() < MAX_QUEUED && !self.queue.contains(&wanted) {
            self.queue.push_back(wanted);
        }
    }

    /// Ask for the next turn.
    pub(crate) fn want_first(&mut self, wanted: W) {
        self.queue.retain(|other| *other != wanted);
        self.queue.push_front(wanted);
    }

    /// Whose turn it is, unless a request is in flight or it `may` not.
    pub(crate) fn next_wanted(&mut self, may: impl FnOnce(&W) -> bool) -> Option<W> {
        if self.current.is_some() { None } else { self.queue.pop_front_if(|wanted| may(wanted)) }
    }

    /// Everything that waits: another SA inherits it.
    pub(crate) fn take_queue(&mut self) -> VecDeque<W> {
        std::mem::take(&mut self.queue)
    }

    /// Occupy the slot with a request that is still being prepared.
    pub(crate) fn prepare(&mut self, exchange: E) {
        debug_assert!(self.current.is_none(), "window 1");
        let id = self.next_id;
        self.current =
            Some(Current { exchange, id, stage: Stage::Preparing, packets: Vec::new(), transmissions: 0, next: Instant::FAR_FUTURE });
    }

    /// Message id of the request in flight, or of the next one.
    pub(crate) fn id(&self) -> u32 {
        self.current.as_ref().map_or(self.next_id, |current| current.id)
    }

    /// The prepared request leaves now for the first time.
    pub(crate) fn sent(&mut self, packets: Vec<Vec<u8>>, now: Instant) {
        if let Some(current) = &mut self.current {
            current.packets = packets;
            current.stage = Stage::Sent;
            current.transmissions = 1;
            current.next = now + FIRST_RETRANSMISSION;
        }
    }

    /// The exchange in flight or in preparation.
    pub(crate) fn exchange(&self) -> Option<&E> {
        self.current.as_ref().map(|current| &current.exchange)
    }

    /// The exchange in flight or in preparation.
    pub(crate) fn exchange_mut(&mut self) -> Option<&mut E> {
        self.current.as_mut().map(|current| &mut current.exchange)
    }

    /// True when an answer to message `id` is awaited.
    pub(crate) fn awaits(&self, id: u32) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == id && current.stage == Stage::Sent)
    }

    /// The answer came, but the slot stays occupied until [`Requests::finish`].
    pub(crate) fn conclude(&mut self) {
        if let Some(current) = &mut self.current {
            current.stage = Stage::Concluding;
            current.packets.clear();
        }
    }

    /// The exchange is over: the slot is free, and the message id is used up if it was ever sent.
    pub(crate) fn finish(&mut self) -> Option<E> {
        let current = self.current.take()?;
        if current.stage != Stage::Preparing {
            self.next_id = self.next_id.wrapping_add(1);
        }
        Some(current.exchange)
    }

    /// IKE_SA_INIT begins again with message id 0, for a cookie or another group.
    pub(crate) fn restart(&mut self) -> Option<E> {
        self.current.take().map(|current| current.exchange)
    }

    /// When to look at [`Requests::due`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().filter(|current| current.stage == Stage::Sent).map(|current| current.next)
    }

    /// What to do now.
    pub(crate) fn due(&mut self, now: Instant) -> Due<'_> {
        let Some(current) = self.current.as_mut().filter(|current| current.stage == Stage::Sent && current.next <= now) else {
            return Due::Nothing;
        };
        if current.transmissions == TRANSMISSIONS {
            return Due::GiveUp;
        }
        let wait = (FIRST_RETRANSMISSION * 2_u32.pow(current.transmissions)).min(LONGEST_WAIT);
        current.transmissions += 1;
        current.next = now + wait;
        Due::Again(&current.packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_six_times_and_given_up_after_47_seconds() {
        let mut requests = Requests::<&str, ()>::new(2);
        requests.prepare("informational");
        assert_eq!((requests.id(), requests.deadline(), requests.awaits(2)), (2, None, false), "still being prepared");
        requests.sent(vec![vec![1]], Instant::ZERO);
        let mut at = Vec::new();
        while let Some(deadline) = requests.deadline() {
            at.push(deadline.as_nanos() / 1_000_000_000);
            match requests.due(deadline) {
                Due::Again(packets) => assert_eq!(packets, [vec![1]], "octet for octet"),
                Due::GiveUp => break,
                Due::Nothing => panic!("it was due"),
            }
        }
        assert_eq!(at, [1, 3, 7, 15, 31, 47]);
    }

    #[test]
    fn only_an_answer_uses_up_a_message_id() {
        let mut requests = Requests::<&str, u8>::new(0);
        requests.want(5);
        requests.want(5);
        assert_eq!(
            (requests.next_wanted(|_| false), requests.next_wanted(|_| true), requests.next_wanted(|_| true)),
            (None, Some(5), None)
        );
        requests.prepare("first");
        assert_eq!((requests.finish(), requests.id()), (Some("first"), 0), "it was never sent");
        requests.prepare("second");
        requests.want(6);
        assert_eq!(requests.next_wanted(|_| true), None, "window 1");
        requests.sent(vec![vec![]], Instant::ZERO);
        assert!(requests.awaits(0) && !requests.awaits(1));
        requests.conclude();
        assert_eq!((requests.deadline(), requests.awaits(0), requests.next_wanted(|_| true)), (None, false, None), "not sent again");
        assert_eq!(requests.finish(), Some("second"));
        assert_eq!(requests.id(), 1);
    }
}
