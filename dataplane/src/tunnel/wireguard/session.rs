//! One session: two keys, a counter, a replay window, and how old it is.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::aead::{self, KEY, TAG};
use super::message::{DATA_HEADER, DATA_OVERHEAD, data_header};
use super::noise::SessionKeys;
use crate::drop_reason::DropReason;
use crate::prefetch;
use crate::time::{Duration, Instant};
use crate::tunnel::replay_window::ReplayWindow;

/// Whitepaper section 6.1: a new handshake after this many messages ...
pub(super) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// ... and no message with this counter or a larger one, 2^64 - 2^13 - 1.
pub(super) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Whitepaper section 6.1: who started the handshake starts the next one when it sends after this time ...
pub(super) const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// ... and nobody sends or accepts a message under a key older than this.
pub(super) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Whitepaper section 6.2: who only receives starts the next handshake so long before the end that a silent peer would be noticed.
pub(super) const REKEY_BEFORE_REJECT: Duration = Duration::from_secs(165);

/// As the Linux implementation has it: 8,192 counters, of which 8,128 are remembered in full at any time.
const WINDOW_WORDS: usize = 128;

/// What a session is made of.
pub(super) struct NewSession {
    pub(super) keys: SessionKeys,
    pub(super) own_index: u32,
    pub(super) peer_index: u32,
    /// We started the handshake.
    pub(super) initiator: bool,
}

/// See the module. A message to the peer touches its first line, one from the peer its first two and one of the window.
#[repr(C, align(64))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Session {
    sending_key: [u8; KEY],
    /// Counter of the next message, which is the number of those sent.
    sent: u64,
    #[zeroize(skip)]
    established_at: Instant,
    #[zeroize(skip)]
    pub(super) own_index: u32,
    #[zeroize(skip)]
    peer_index: u32,
    #[zeroize(skip)]
    pub(super) initiator: bool,
    /// The peer has shown that it has the keys. Until then a responder sends nothing (whitepaper section 5.4.6).
    #[zeroize(skip)]
    pub(super) proved: bool,
    /// A session that began later is in use: this one stays behind it.
    #[zeroize(skip)]
    pub(super) overtaken: bool,
    /// More than keepalives went this way, and that.
    #[zeroize(skip)]
    pub(super) carried: [bool; 2],
    receiving_key: [u8; KEY],
    /// Of counters plus one: the window knows no zero.
    #[zeroize(skip)]
    window: ReplayWindow<WINDOW_WORDS>,
}

/// Index into [`Session::carried`].
pub(super) const TO_PEER: usize = 0;
pub(super) const FROM_PEER: usize = 1;

impl Session {
    pub(super) fn new(new: &NewSession, now: Instant) -> Box<Self> {
        let mut session = Box::new(Self {
            sending_key: [0; KEY],
            sent: 0,
            established_at: now,
            own_index: new.own_index,
            peer_index: new.peer_index,
            initiator: new.initiator,
            // Its response proved the responder.
            proved: new.initiator,
            overtaken: false,
            carried: [false; 2],
            receiving_key: [0; KEY],
            window: ReplayWindow::default(),
        });
        // Straight to where they stay, so that moving the session leaves none behind.
        session.sending_key.copy_from_slice(&*new.keys.sending);
        session.receiving_key.copy_from_slice(&*new.keys.receiving);
        session
    }

    pub(super) const fn age(&self, now: Instant) -> Duration {
        now.since(self.established_at)
    }

    pub(super) fn expired(&self, now: Instant) -> bool {
        self.age(now) >= REJECT_AFTER_TIME
    }

    pub(super) fn expires_at(&self) -> Instant {
        self.established_at + REJECT_AFTER_TIME
    }

    pub(super) fn sendable(&self, now: Instant) -> bool {
        self.proved && self.sent < REJECT_AFTER_MESSAGES && !self.expired(now)
    }

    /// Whether there should be a new one (whitepaper section 6.2).
    pub(super) fn wants_rekey(&self, now: Instant) -> bool {
        let due = |way: usize, age| self.carried[way] && self.age(now) >= age;
        self.sent >= REKEY_AFTER_MESSAGES || self.initiator && (due(TO_PEER, REKEY_AFTER_TIME) || due(FROM_PEER, REKEY_BEFORE_REJECT))
    }

    /// Write the data message of `inner` to the front of `out` and return its length. The caller has asked [`Self::sendable`]. `None`:
    /// `out` is too short.
    pub(super) fn seal(&mut self, inner: &[u8], out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..inner.len() + DATA_OVERHEAD)?;
        let (head, body) = out.split_at_mut(DATA_HEADER);
        let counter = self.sent;
        // Spent, whatever comes of it: a counter never goes out twice.
        self.sent += 1;
        head.copy_from_slice(&data_header(self.peer_index, counter));
        aead::seal(&self.sending_key, counter, &[], inner, body)?;
        self.carried[TO_PEER] |= !inner.is_empty();
        Some(out.len())
    }

    /// Authenticate a data message and decrypt it to the front of `out`; only then the window moves. Returns the payload's length.
    pub(super) fn open(&mut self, counter: u64, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<usize, DropReason> {
        // Whitepaper section 6.2: the last counters are left alone, so that none ever comes twice.
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::TunnelCounterExhausted);
        }
        if self.expired(now) {
            return Err(DropReason::TunnelDataRejected);
        }
        let sequence = counter + 1;
        self.window.check(sequence).map_err(|_| DropReason::TunnelDataReplayed)?;
        let sealed = datagram.get(DATA_HEADER..).ok_or(DropReason::TunnelMessageMalformed)?;
        let len = sealed.len().checked_sub(TAG).ok_or(DropReason::TunnelMessageMalformed)?;
        let out = out.get_mut(..len).ok_or(DropReason::FrameTooBig)?;
        aead::open(&self.receiving_key, counter, &[], sealed, out).ok_or(DropReason::TunnelDataRejected)?;
        self.window.mark(sequence);
        self.carried[FROM_PEER] |= len > 0;
        Ok(len)
    }

    /// Hint that a message from the peer with this counter will be opened.
    pub(super) fn prefetch_open(&self, counter: u64) {
        prefetch::start(&self.sending_key);
        // The receiving key ends where the window begins; the lower half of a counter names its word.
        #[allow(clippy::cast_possible_truncation)]
        self.window.prefetch(counter.wrapping_add(1) as u32);
    }

    /// Hint that a message to the peer will be sealed.
    pub(super) fn prefetch_seal(&self) {
        prefetch::start(&self.sending_key);
    }

    #[cfg(test)]
    pub(super) fn counter(&mut self) -> &mut u64 {
        &mut self.sent
    }

    /// Both keys, as they stand.
    #[cfg(test)]
    pub(super) fn keys(&self) -> [[u8; KEY]; 2] {
        [self.sending_key, self.receiving_key]
    }
}
