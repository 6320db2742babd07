//! The peer's requests: each is carried out once and answered as often as it comes (RFC 7296 sections 2.1 to 2.3).
//!
//! We announce a window of 1. Yamaha's routers send the next request before the answer to the last one all the same, so requests a few
//! message ids ahead are taken as well.

use std::collections::VecDeque;

/// How far ahead of the oldest unanswered request a peer may be.
const WINDOW: u32 = 4;
/// Answers kept for retransmission: those that the window can still ask for.
const MAX_KEPT: usize = WINDOW as usize;

/// The peer's side of the window.
pub(crate) struct Responses {
    /// Everything below has been carried out.
    next_id: u32,
    /// Taken, from `next_id` on: bit 0 is `next_id` itself.
    taken: u32,
    answers: VecDeque<Answer>,
}

struct Answer {
    id: u32,
    packets: Vec<Vec<u8>>,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<'a> {
    /// Carry it out, and answer.
    New,
    /// It was answered: send the same octets again.
    Answered(&'a [Vec<u8>]),
    /// It is being carried out, or was so long ago that its answer is forgotten, or is too far ahead.
    Ignore,
}

impl Responses {
    /// The first request will have this message id.
    pub(crate) fn new(next_id: u32) -> Self {
        Self { next_id, taken: 0, answers: VecDeque::new() }
    }

    /// What a request with message id `id` is. [`Arrival::New`] is said as often as it is asked: take it with [`Responses::take`].
    pub(crate) fn arrival(&self, id: u32) -> Arrival<'_> {
        if let Some(answer) = self.answers.iter().find(|answer| answer.id == id) {
            return Arrival::Answered(&answer.packets);
        }
        match id.wrapping_sub(self.next_id) {
            ahead if ahead < WINDOW && self.taken & (1 << ahead) == 0 => Arrival::New,
            _ => Arrival::Ignore,
        }
    }

    /// The request is being carried out from now on.
    pub(crate) fn take(&mut self, id: u32) {
        self.taken |= 1 << id.wrapping_sub(self.next_id).min(WINDOW - 1);
        while self.taken & 1 == 1 {
            self.taken >>= 1;
            self.next_id = self.next_id.wrapping_add(1);
        }
    }

    /// The answer leaves now.
    pub(crate) fn answered(&mut self, id: u32, packets: Vec<Vec<u8>>) {
        if self.answers.len() == MAX_KEPT {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer { id, packets });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_carried_out_once_and_answered_as_often_as_it_comes() {
        let mut responses = Responses::new(0);
        assert_eq!(responses.arrival(0), Arrival::New);
        responses.take(0);
        assert_eq!(responses.arrival(0), Arrival::Ignore, "it is being carried out");
        responses.answered(0, vec![vec![7]]);
        assert_eq!(responses.arrival(0), Arrival::Answered(&[vec![7]]));
        assert_eq!(responses.arrival(1), Arrival::New);
    }

    #[test]
    fn overlapping_requests_are_taken_and_those_far_ahead_are_not() {
        let mut responses = Responses::new(2);
        for id in [3, 2, 5] {
            assert_eq!(responses.arrival(id), Arrival::New, "{id}");
            responses.take(id);
            responses.answered(id, vec![vec![]]);
        }
        assert_eq!(responses.arrival(4), Arrival::New);
        assert_eq!(responses.arrival(7), Arrival::New);
        assert_eq!(responses.arrival(8), Arrival::Ignore);
        assert_eq!(responses.arrival(1), Arrival::Ignore);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut responses = Responses::new(0);
        for id in 0..100 {
            responses.take(id);
            responses.answered(id, vec![vec![]]);
        }
        assert_eq!(responses.answers.len(), MAX_KEPT);
        assert_eq!((responses.arrival(95), responses.arrival(100)), (Arrival::Ignore, Arrival::New));
    }
}
