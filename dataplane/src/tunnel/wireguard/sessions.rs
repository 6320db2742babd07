//! What the library does not tell about its sessions: which one it would encrypt with, whether the peer has proved it, how old it
//! is, and how many messages it has sent. The same ring, kept beside it by the same rules.

use crate::prefetch;
use crate::time::{Duration, Instant};

/// Whitepaper section 6.1: no message is sent or accepted under a key older than this.
pub(super) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Whitepaper section 6.1: a new handshake after this many messages.
pub(super) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Whitepaper section 6.1: no message with this counter or a larger one, 2^64 - 2^13 - 1.
pub(super) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// The library's ring.
const RING: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// Our 32-bit index.
    index: u32,
    /// Time of the last tick before it was established: the library orders sessions by that.
    tick: Instant,
    pub(super) established_at: Instant,
    /// The peer has shown that it has the keys. Until then a responder sends nothing (whitepaper section 5.4.6).
    confirmed: bool,
    /// Messages sent.
    sent: u64,
}

/// The sessions of one tunnel.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    ring: [Option<Session>; RING],
    /// Index of the session that the library encrypts with.
    current: u32,
}

const fn place(index: u32) -> usize {
    index as usize % RING
}

impl Sessions {
    /// A handshake that the peer started was answered; the session stands under `index`, unproved.
    pub(super) fn answered(&mut self, index: u32, tick: Instant, now: Instant) {
        self.ring[place(index)] = Some(Session { index, tick, established_at: now, confirmed: false, sent: 0 });
    }

    /// A handshake that we started was answered by the peer; one message has been sent.
    pub(super) fn completed(&mut self, index: u32, tick: Instant, now: Instant) {
        self.ring[place(index)] = Some(Session { index, tick, established_at: now, confirmed: true, sent: 1 });
        self.make_current(index);
    }

    /// A data message authenticated under `index`. Returns true when it was the session's first.
    pub(super) fn heard(&mut self, index: u32) -> bool {
        self.make_current(index);
        match &mut self.ring[place(index)] {
            Some(session) if session.index == index => !std::mem::replace(&mut session.confirmed, true),
            _ => false,
        }
    }

    /// The library encrypted a message with this counter.
    pub(super) fn sent(&mut self, counter: u64) {
        if let Some(session) = &mut self.ring[place(self.current)] {
            session.sent = counter + 1;
        }
    }

    /// The 32-bit index that the library encrypts with.
    pub(super) const fn current(&self) -> u32 {
        self.current
    }

    /// Hint that [`Self::current`] will be read.
    pub(super) fn prefetch(&self) {
        prefetch::start(&self.current);
    }

    /// Hint that the session in the place of `index` will be used.
    pub(super) fn prefetch_session(&self, index: u32) {
        prefetch::whole(&self.ring[place(index)]);
    }

    /// Whether a data message under `index` may be looked at.
    pub(super) fn accepts(&self, index: u32, now: Instant) -> bool {
        self.ring[place(index)].is_some_and(|session| session.index == index && now.since(session.established_at) < REJECT_AFTER_TIME)
    }

    /// The session that the library would encrypt with, if that is right to do.
    pub(super) fn sendable(&self, now: Instant) -> Option<&Session> {
        self.ring[place(self.current)].as_ref().filter(|session| {
            session.confirmed && session.sent < REJECT_AFTER_MESSAGES && now.since(session.established_at) < REJECT_AFTER_TIME
        })
    }

    /// Whether so many messages have been sent that the keys should change.
    pub(super) fn wants_rekey(&self) -> bool {
        self.ring[place(self.current)].is_some_and(|session| session.sent >= REKEY_AFTER_MESSAGES)
    }

    /// When the newest session that ever was sendable ceases to be so.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.ring[place(self.current)].filter(|session| session.confirmed).map(|session| session.established_at + REJECT_AFTER_TIME)
    }

    /// What the library's tick does: forget sessions that are too old.
    pub(super) fn expire(&mut self, tick: Instant) {
        for session in &mut self.ring {
            session.take_if(|session| tick.since(session.tick) > REJECT_AFTER_TIME);
        }
    }

    /// The library forgot all of them.
    pub(super) fn clear(&mut self) {
        self.ring = [None; RING];
    }

    fn make_current(&mut self, index: u32) {
        let tick = |index| self.ring[place(index)].map(|session: Session| session.tick);
        if self.current != index && tick(self.current).is_none_or(|current| tick(index).is_some_and(|new| new >= current)) {
            self.current = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Instant = Instant::from_secs(1_000);

    #[test]
    fn a_responder_sends_nothing_before_the_peers_first_message_not_even_in_the_place_of_an_old_session() {
        let mut sessions = Sessions::default();
        sessions.answered(0x101, T, T);
        assert!(sessions.sendable(T).is_none());
        assert!(sessions.heard(0x101));
        assert!(!sessions.heard(0x101), "only the first message completes the handshake");
        assert!(sessions.sendable(T).is_some());
        // Eight handshakes later the ring has come round.
        sessions.answered(0x109, T, T);
        assert!(sessions.sendable(T).is_none());
    }

    #[test]
    fn the_old_session_carries_on_until_the_new_one_is_proved() {
        let mut sessions = Sessions::default();
        sessions.completed(0x101, T, T);
        let later = T + Duration::from_secs(120);
        sessions.answered(0x102, later, later);
        assert_eq!(sessions.sendable(later).map(|session| session.index), Some(0x101));
        sessions.heard(0x102);
        assert_eq!(sessions.sendable(later).map(|session| session.index), Some(0x102));
        // A late message under the old session is welcome, but does not bring it back.
        assert!(sessions.accepts(0x101, later));
        sessions.heard(0x101);
        assert_eq!(sessions.sendable(later).map(|session| session.index), Some(0x102));
    }

    #[test]
    fn keys_end_at_180_seconds_to_the_nanosecond() {
        let mut sessions = Sessions::default();
        sessions.completed(0x101, T, T);
        let end = T + REJECT_AFTER_TIME;
        let before = Instant::from_nanos(end.as_nanos() - 1);
        assert!(sessions.sendable(before).is_some() && sessions.accepts(0x101, before));
        assert!(sessions.sendable(end).is_none() && !sessions.accepts(0x101, end));
        assert_eq!(sessions.expires_at(), Some(end));
    }

    #[test]
    fn keys_change_after_2_to_the_60_messages_and_end_before_the_counter_does() {
        let mut sessions = Sessions::default();
        sessions.completed(0x101, T, T);
        sessions.sent(REKEY_AFTER_MESSAGES - 2);
        assert!(!sessions.wants_rekey());
        sessions.sent(REKEY_AFTER_MESSAGES - 1);
        assert!(sessions.wants_rekey() && sessions.sendable(T).is_some());
        sessions.sent(REJECT_AFTER_MESSAGES - 2);
        assert!(sessions.sendable(T).is_some(), "the last counter is the one below the limit");
        sessions.sent(REJECT_AFTER_MESSAGES - 1);
        assert!(sessions.sendable(T).is_none());
        assert_eq!(REJECT_AFTER_MESSAGES, 0xffff_ffff_ffff_dfff);
    }
}
