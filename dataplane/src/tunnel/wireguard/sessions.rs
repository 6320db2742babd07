//! The sessions of a tunnel: the one in use, the one before it, and the one that the peer has yet to prove (whitepaper section 6.3).

use super::session::{NewSession, Session};
use crate::time::{Duration, Instant};

/// The session that was in use before: what is late comes by it.
const PREVIOUS: usize = 0;
/// The one that messages to the peer use.
const CURRENT: usize = 1;
/// The answer to a handshake of the peer's, which sends when the peer has shown that it has the keys.
const NEXT: usize = 2;

/// See the module. Each in a box of its own: a tunnel at rest has none, and their places in memory stay.
#[derive(Default)]
pub(super) struct Sessions {
    places: [Option<Box<Session>>; 3],
    /// Our indices, in the same places; 0 = none.
    indices: [u32; 3],
}

impl Sessions {
    /// A handshake that the peer started was answered.
    pub(super) fn answered(&mut self, new: &NewSession, now: Instant, freed: &mut Vec<u32>) {
        // Both ends began at once, and the peer uses the one that it began; until it has proved the new one, that is.
        if self.places[NEXT].as_ref().is_some_and(|next| next.overtaken && next.proved) {
            self.shift(NEXT, PREVIOUS, freed);
        }
        self.put(NEXT, Some(Session::new(new, now)), freed);
    }

    /// A handshake that we started was answered by the peer.
    pub(super) fn completed(&mut self, new: &NewSession, now: Instant, freed: &mut Vec<u32>) {
        self.leave_current(freed);
        self.put(CURRENT, Some(Session::new(new, now)), freed);
        if let Some(next) = &mut self.places[NEXT] {
            next.overtaken = true;
        }
    }

    /// The session that a message with this receiver index is under.
    pub(super) fn find(&mut self, index: u32) -> Option<&mut Session> {
        let place = self.place(index)?;
        self.places[place].as_deref_mut()
    }

    /// A message under `index` has authenticated. True where it is the first, which completes the handshake.
    pub(super) fn heard(&mut self, index: u32, freed: &mut Vec<u32>) -> bool {
        let Some(session) = self.find(index).filter(|session| !session.proved) else { return false };
        session.proved = true;
        if !session.overtaken {
            self.leave_current(freed);
            self.shift(NEXT, CURRENT, freed);
        }
        true
    }

    /// The session in use, if messages may still be sent under it.
    pub(super) fn sendable(&self, now: Instant) -> Option<&Session> {
        self.places[CURRENT].as_deref().filter(|session| session.sendable(now))
    }

    /// As [`Self::sendable`].
    pub(super) fn sendable_mut(&mut self, now: Instant) -> Option<&mut Session> {
        self.places[CURRENT].as_deref_mut().filter(|session| session.sendable(now))
    }

    /// Whether we should start a handshake for a session that lasts: not while the peer's own, begun less than `patience` ago, is waited for.
    pub(super) fn wants_rekey(&self, patience: Duration, now: Instant) -> bool {
        let under_way = self.places[NEXT].as_ref().is_some_and(|next| !next.overtaken && next.age(now) < patience);
        !under_way && self.places[CURRENT].as_ref().is_some_and(|session| session.wants_rekey(now))
    }

    /// When the session in use ceases to be so.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.places[CURRENT].as_ref().map(|session| session.expires_at())
    }

    /// Erase what is too old to be used.
    pub(super) fn expire(&mut self, now: Instant, freed: &mut Vec<u32>) {
        for place in [PREVIOUS, CURRENT, NEXT] {
            if self.places[place].as_ref().is_some_and(|session| session.expired(now)) {
                self.put(place, None, freed);
            }
        }
    }

    /// Our indices of all of them.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        self.indices.into_iter().filter(|index| *index != 0)
    }

    /// Hint that a message from the peer will be opened. Reads what stands beside the tunnel.
    pub(super) fn prefetch_open(&self, index: u32, counter: u64) {
        if let Some(session) = self.place(index).and_then(|place| self.places[place].as_deref()) {
            session.prefetch_open(counter);
        }
    }

    /// Hint that a message to the peer will be sealed.
    pub(super) fn prefetch_seal(&self) {
        if let Some(session) = self.places[CURRENT].as_deref() {
            session.prefetch_seal();
        }
    }

    fn place(&self, index: u32) -> Option<usize> {
        self.indices.iter().position(|known| *known == index && index != 0)
    }

    /// There will be another current session. What the peer sent under last can still be read: that was the current one, or, where both
    /// ends had begun at once, the overtaken one that [`Self::answered`] has put aside.
    fn leave_current(&mut self, freed: &mut Vec<u32>) {
        match &mut self.places[PREVIOUS] {
            Some(previous) if previous.overtaken => previous.overtaken = false,
            _ => self.shift(CURRENT, PREVIOUS, freed),
        }
    }

    fn shift(&mut self, from: usize, to: usize, freed: &mut Vec<u32>) {
        let session = self.places[from].take();
        self.indices[from] = 0;
        self.put(to, session, freed);
    }

    /// What stood there before is erased.
    fn put(&mut self, place: usize, session: Option<Box<Session>>, freed: &mut Vec<u32>) {
        let index = session.as_ref().map_or(0, |session| session.own_index);
        let old = std::mem::replace(&mut self.indices[place], index);
        if old != 0 {
            freed.push(old);
        }
        self.places[place] = session;
    }

    #[cfg(test)]
    pub(super) fn current(&mut self) -> Option<&mut Session> {
        self.places[CURRENT].as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::SessionKeys;
    use super::super::session::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES};
    use super::*;

    const T: Instant = Instant::from_secs(1_000);
    const PATIENCE: Duration = Duration::from_secs(5);

    fn new(own_index: u32, initiator: bool) -> NewSession {
        let keys = SessionKeys { sending: [1; 32].into(), receiving: [2; 32].into() };
        NewSession { keys, own_index, peer_index: 7, initiator }
    }

    fn current(sessions: &Sessions, now: Instant) -> Option<u32> {
        sessions.sendable(now).map(|session| session.own_index)
    }

    fn known(sessions: &Sessions) -> Vec<u32> {
        sessions.indices().collect()
    }

    #[test]
    fn a_responder_sends_nothing_before_the_peers_first_message_not_even_in_the_place_of_an_old_session() {
        let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
        sessions.answered(&new(1, false), T, &mut freed);
        assert_eq!(current(&sessions, T), None);
        assert!(sessions.heard(1, &mut freed));
        assert!(!sessions.heard(1, &mut freed), "only the first message completes the handshake");
        assert_eq!(current(&sessions, T), Some(1));
        // Whatever the peer begins and never proves: the one in use stays.
        for index in 2..10 {
            sessions.answered(&new(index, false), T, &mut freed);
            assert_eq!(current(&sessions, T), Some(1));
        }
        assert_eq!((known(&sessions), freed), (vec![1, 9], (2..9).collect()));
    }

    #[test]
    fn the_old_session_carries_on_until_the_new_one_is_proved() {
        let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
        sessions.completed(&new(1, true), T, &mut freed);
        let later = T + Duration::from_secs(120);
        sessions.answered(&new(2, false), later, &mut freed);
        assert_eq!(current(&sessions, later), Some(1));
        sessions.heard(2, &mut freed);
        assert_eq!(current(&sessions, later), Some(2));
        // A late message under the old session is welcome, but does not bring it back.
        assert!(sessions.find(1).is_some());
        sessions.heard(1, &mut freed);
        assert_eq!(current(&sessions, later), Some(2));
        assert!(freed.is_empty());
    }

    #[test]
    fn keys_end_at_180_seconds_to_the_nanosecond() {
        let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
        sessions.completed(&new(1, true), T, &mut freed);
        let end = T + REJECT_AFTER_TIME;
        let before = Instant::from_nanos(end.as_nanos() - 1);
        sessions.expire(before, &mut freed);
        assert_eq!((current(&sessions, before), sessions.expires_at()), (Some(1), Some(end)));
        assert_eq!(current(&sessions, end), None);
        sessions.expire(end, &mut freed);
        assert_eq!((known(&sessions), freed), (Vec::new(), vec![1]));
    }

    #[test]
    fn keys_change_after_2_to_the_60_messages_and_end_before_the_counter_does() {
        for initiator in [true, false] {
            let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
            sessions.answered(&new(1, initiator), T, &mut freed);
            sessions.places.swap(NEXT, CURRENT);
            let mut set = |sent: u64| {
                let session = sessions.places[CURRENT].as_mut().expect("there");
                session.proved = true;
                *session.counter() = sent;
                (sessions.wants_rekey(PATIENCE, T), sessions.sendable(T).is_some())
            };
            assert_eq!(set(REKEY_AFTER_MESSAGES - 1), (false, true));
            assert_eq!(set(REKEY_AFTER_MESSAGES), (true, true));
            assert_eq!(set(REJECT_AFTER_MESSAGES - 1), (true, true), "the last counter is the one below the limit");
            assert_eq!(set(REJECT_AFTER_MESSAGES), (true, false));
        }
        assert_eq!(REJECT_AFTER_MESSAGES, 0xffff_ffff_ffff_dfff);
    }

    #[test]
    fn a_session_that_was_overtaken_is_read_until_its_successor_is_proved_but_never_sent_under() {
        let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
        sessions.answered(&new(1, false), T, &mut freed);
        sessions.completed(&new(2, true), T, &mut freed);
        assert!(sessions.heard(1, &mut freed), "the peer uses it");
        assert_eq!(current(&sessions, T), Some(2));
        sessions.answered(&new(3, false), T, &mut freed);
        assert!(sessions.find(1).is_some() && freed.is_empty());
        sessions.heard(3, &mut freed);
        assert_eq!((current(&sessions, T), known(&sessions), &freed), (Some(3), vec![1, 3], &vec![2]), "what the peer sent under last");
        sessions.answered(&new(4, false), T, &mut freed);
        sessions.heard(4, &mut freed);
        assert_eq!((current(&sessions, T), known(&sessions), freed), (Some(4), vec![3, 4], vec![2, 1]));
    }

    #[test]
    fn nobody_starts_a_handshake_while_the_peers_own_is_under_way() {
        let (mut sessions, mut freed) = (Sessions::default(), Vec::new());
        sessions.completed(&new(1, true), T, &mut freed);
        *sessions.places[CURRENT].as_mut().expect("there").counter() = REKEY_AFTER_MESSAGES;
        assert!(sessions.wants_rekey(PATIENCE, T));
        sessions.answered(&new(2, false), T, &mut freed);
        assert!(!sessions.wants_rekey(PATIENCE, T));
        assert!(sessions.wants_rekey(PATIENCE, T + PATIENCE), "the peer did not go on");
    }
}
