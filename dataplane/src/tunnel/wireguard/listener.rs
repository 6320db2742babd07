//! The front door of an endpoint: cheap checks first, so that the costly ones cannot be had for nothing.
//!
//! Order: shape, first MAC, proof of address where one is due, limits, and only then a Diffie-Hellman.
//!
//! With several workers each has limits of its own, since each protects its own processor: what one source may start counts at the
//! worker whose queue it reaches. A source that varies its UDP port to reach every queue gets its share as often as there are workers
//! (at most 16 x 20 a second); all handshakes together, a quarter of each processor. A handshake for another worker's tenant counts at
//! both.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::cookie::Cookies;
use super::keys::{Identity, is_low_order};
use super::message::Message;
use super::noise::Responder;
use crate::drop_reason::DropReason;
use crate::rate::{Rate, TokenBucket};
use crate::router_config::SecretKey;
use crate::time::{Duration, Instant};
use crate::tunnel::handshake_limit::{SourceLimiter, Verdict};

/// Handshakes at once: all the routers of the country come back in one moment, none of them with a cookie yet. They wait in a line from
/// which the worker takes one at a time, and while it has packets to carry no more than one a millisecond.
const BURST: u32 = 2_000;
/// Our own bound: handshakes from sources that have proved nothing; beyond it the endpoint is under load and asks for cookies. A
/// handshake takes about 0.25 ms.
const UNPROVED: Rate = Rate::per_second(500).with_burst(BURST);
/// Our own bound: handshakes from all sources, a quarter of a core.
const ALL: Rate = Rate::per_second(1_000).with_burst(BURST);

/// What a datagram is, as far as one can tell without its tunnel. Indices are those that the
/// [`TunnelTable`](crate::tunnel::TunnelTable) gave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Inspected {
    /// A data message.
    Data {
        /// Of a session.
        index: u32,
    },
    /// The answer to a handshake that the relay started.
    HandshakeResponse {
        /// Of the handshake.
        index: u32,
    },
    /// A peer under load asks the relay to prove its address.
    CookieReply {
        /// Of the handshake message that it answers.
        index: u32,
    },
    /// Somebody starts a handshake; [`WireGuardListener::initiator`] says who.
    Initiation,
    /// The source has to prove its address first: a cookie reply of this length was written, to be sent to the source.
    Reply(usize),
}

/// The receiver index of a data message; `None` for everything else.
#[must_use]
pub fn data_index(datagram: &[u8]) -> Option<u32> {
    match Message::parse(datagram)? {
        Message::Data { receiver, .. } => Some(receiver),
        _ => None,
    }
}

/// One of the relay's ends of tunnels: a private key and what guards it.
pub struct WireGuardListener {
    identity: Arc<Identity>,
    /// From 1970 to [`Instant::ZERO`]: handshakes say when they were started.
    start: Duration,
    cookies: Cookies,
    /// Sources without a cookie: forged ones may fill it, which costs the others one round trip.
    unproved: SourceLimiter,
    /// Sources with a cookie: nobody gets in here with another's address.
    proved: SourceLimiter,
    unproved_handshakes: TokenBucket,
    all_handshakes: TokenBucket,
}

impl std::fmt::Debug for WireGuardListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuardListener").field("public_key", self.identity.public()).finish_non_exhaustive()
    }
}

impl WireGuardListener {
    /// The end that this private key belongs to, of a relay that started in 1970.
    ///
    /// # Panics
    /// Where the kernel has no randomness.
    #[must_use]
    pub fn new(private_key: &SecretKey) -> Self {
        let mut cookie_seed = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *cookie_seed).expect("the kernel has randomness");
        Self::sharing_cookies(private_key, &cookie_seed, Duration::ZERO)
    }

    /// The end that this private key belongs to, at one of several workers: a cookie that one of them gave out is good at every other
    /// with the same `cookie_seed`. Limits and buckets are each worker's own. `start` is the time from 1970 to [`Instant::ZERO`]: a
    /// later run of the relay must have a later one, or peers take its handshakes for replays.
    #[must_use]
    pub fn sharing_cookies(private_key: &SecretKey, cookie_seed: &[u8; 32], start: Duration) -> Self {
        let identity = Identity::new(private_key);
        Self {
            cookies: Cookies::new(identity.public(), cookie_seed),
            unproved: SourceLimiter::new(),
            proved: SourceLimiter::new(),
            unproved_handshakes: TokenBucket::FULL,
            all_handshakes: TokenBucket::FULL,
            identity: Arc::new(identity),
            start,
        }
    }

    /// The relay's public key at this end.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        *self.identity.public()
    }

    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(super) const fn start(&self) -> Duration {
        self.start
    }

    /// What is this datagram, and may it cost anything? Costs a hash or two itself. `reply` needs 64 bytes.
    ///
    /// # Errors
    /// `TunnelMessageMalformed`, `TunnelHandshakeMacInvalid`, `TunnelHandshakeRejected` (its key is of low order),
    /// `TunnelHandshakeLimited`.
    pub fn inspect(&mut self, datagram: &[u8], source: SocketAddr, reply: &mut [u8], now: Instant) -> Result<Inspected, DropReason> {
        match Message::parse(datagram).ok_or(DropReason::TunnelMessageMalformed)? {
            Message::Data { receiver, .. } => Ok(Inspected::Data { index: receiver }),
            Message::CookieReply { receiver } => Ok(Inspected::CookieReply { index: receiver }),
            Message::Response { receiver, .. } => {
                let challenged = self.guard(datagram, 12, source, reply, now)?;
                Ok(challenged.map_or(Inspected::HandshakeResponse { index: receiver }, Inspected::Reply))
            }
            Message::Initiation { .. } => {
                let challenged = self.guard(datagram, 8, source, reply, now)?;
                Ok(challenged.map_or(Inspected::Initiation, Inspected::Reply))
            }
        }
    }

    /// Everything that stands before a handshake message may cost a Diffie-Hellman. `Some` = a cookie reply was written instead.
    fn guard(
        &mut self,
        message: &[u8],
        key_at: usize,
        source: SocketAddr,
        reply: &mut [u8],
        now: Instant,
    ) -> Result<Option<usize>, DropReason> {
        if !self.cookies.mac1_is_valid(message) {
            return Err(DropReason::TunnelHandshakeMacInvalid);
        }
        let ephemeral: &[u8; 32] = message[key_at..].first_chunk().ok_or(DropReason::TunnelMessageMalformed)?;
        if is_low_order(ephemeral) {
            return Err(DropReason::TunnelHandshakeRejected);
        }
        let allowed = if self.cookies.mac2_is_valid(message, source, now) {
            self.proved.take(source, now) == Verdict::Allowed
        } else if self.unproved.take(source, now) == Verdict::Allowed && self.unproved_handshakes.take(UNPROVED, now) {
            true
        } else {
            // Whoever owns the address answers with the cookie; whoever forged it never sees one. A reply is shorter than
            // what it answers, so it amplifies nothing.
            return self.cookies.reply(message, source, reply, now).map(Some).ok_or(DropReason::TunnelHandshakeLimited);
        };
        if allowed && self.all_handshakes.take(ALL, now) { Ok(None) } else { Err(DropReason::TunnelHandshakeLimited) }
    }

    /// A handshake that another worker's listener let through costs this worker as much as its own, and counts as one of its own.
    ///
    /// # Errors
    /// `TunnelHandshakeLimited`.
    pub fn admit_from_another(&mut self, now: Instant) -> Result<(), DropReason> {
        if self.all_handshakes.take(ALL, now) { Ok(()) } else { Err(DropReason::TunnelHandshakeLimited) }
    }

    /// The public key that an initiation names; the tunnel finds out whether it is true. Costs a Diffie-Hellman: only for what
    /// [`Self::inspect`] let through.
    ///
    /// # Errors
    /// `TunnelMessageMalformed`, and `TunnelHandshakeRejected` where the static key does not decrypt.
    pub fn initiator(&self, datagram: &[u8]) -> Result<[u8; 32], DropReason> {
        let Some(Message::Initiation { .. }) = Message::parse(datagram) else { return Err(DropReason::TunnelMessageMalformed) };
        let body = datagram.first_chunk().ok_or(DropReason::TunnelMessageMalformed)?;
        Responder::read(&self.identity, body).map(|(_, public)| public).map_err(|_| DropReason::TunnelHandshakeRejected)
    }
}
