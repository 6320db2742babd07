//! What was sent and heard last, and what follows from silence (whitepaper section 6.5).

use crate::time::{Duration, Instant};

/// Whitepaper section 6.1: whoever has heard data and said nothing for so long says that it is there ...
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// ... so a peer that has been silent for so long, although data was sent to it, has lost the session.
const SILENCE: Duration = Duration::from_secs(15);
/// Our own choice: the time for such a keepalive, its timer and its way, before silence means anything. A tunnel that was idle for an hour is
/// not asked for a handshake by its first packet.
const ANSWER_TIME: Duration = Duration::from_secs(KEEPALIVE_TIMEOUT.as_secs() + 1);

/// Whitepaper section 6.1: a handshake without answer is tried again after this time.
pub(super) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// Four moments, of which those that have not happened are in the far future, and never due; and what follows from them.
pub(super) struct Traffic {
    sent_at: Instant,
    heard_at: Instant,
    /// When data was first sent since the peer was heard.
    unanswered_since: Instant,
    /// When data was first heard since something was sent.
    owing_since: Instant,
    silent: bool,
}

const NEVER: Instant = Instant::FAR_FUTURE;

impl Traffic {
    pub(super) const fn new(now: Instant) -> Self {
        Self { sent_at: now, heard_at: NEVER, unanswered_since: NEVER, owing_since: NEVER, silent: false }
    }

    /// A message was sent: `data`, or a keepalive, or one of a handshake.
    pub(super) fn sent(&mut self, data: bool, now: Instant) {
        self.sent_at = now;
        self.owing_since = NEVER;
        if data {
            self.unanswered_since = self.unanswered_since.min(now);
        }
    }

    /// A message has authenticated: `data`, or a keepalive, or one of a handshake.
    pub(super) fn heard(&mut self, data: bool, now: Instant) {
        self.heard_at = now;
        self.unanswered_since = NEVER;
        if data {
            self.owing_since = self.owing_since.min(now);
        }
    }

    /// When the peer was last heard.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        Some(self.heard_at).filter(|at| *at != NEVER)
    }

    /// How long nothing was sent.
    pub(super) const fn idle(&self, now: Instant) -> Duration {
        now.since(self.sent_at)
    }

    /// Whether the peer waits for a sign of life.
    pub(super) fn owes_keepalive(&self, now: Instant) -> bool {
        now.since(self.owing_since) >= KEEPALIVE_TIMEOUT
    }

    /// Judge whether anybody is there at the other end. `asked_since`: when a handshake was begun that still has no answer.
    pub(super) fn judge(&mut self, asked_since: Option<Instant>, now: Instant) {
        let asked_in_vain = asked_since.is_some_and(|since| now.since(since) >= REKEY_TIMEOUT);
        let is_heard = now.since(self.heard_at) < SILENCE;
        if asked_in_vain && !is_heard {
            self.silent = true;
        } else if asked_since.is_none() && is_heard {
            // While a question stands open, what is heard proves one direction of the way only. Handshakes are given up some time,
            // which is no sign of life.
            self.silent = false;
        }
    }

    /// A handshake is complete: both directions of the way are open.
    pub(super) fn answered(&mut self) {
        self.silent = false;
    }

    /// As [`Self::judge`] found.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether the peer's silence means that it has lost the session. True once, until data is sent again.
    pub(super) fn take_silence(&mut self, now: Instant) -> bool {
        let silent = now.since(self.unanswered_since) >= ANSWER_TIME && now.since(self.heard_at) >= SILENCE;
        if silent {
            self.unanswered_since = NEVER;
        }
        silent
    }
}
