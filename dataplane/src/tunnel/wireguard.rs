//! WireGuard: one [`WireGuardListener`] an endpoint, one [`WireGuardTunnel`] a municipal router. The clauses of its whitepaper, and how
//! each is kept, stand in `CONFORMANCE.md`.
//!
//! | file | what is in it |
//! |---|---|
//! | `listener`, `cookie` | an endpoint's front door; the MACs of handshake messages |
//! | `handshake`, `noise`, `keys`, `timestamp` | a tunnel's handshakes; the Noise pattern in them |
//! | `session`, `sessions` | keys at work; which of them are in use |
//! | `traffic` | what silence means |
//! | `message`, `aead` | the messages from outside; the cipher |

use std::net::SocketAddr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::handshake::Handshakes;
use self::message::{DATA_OVERHEAD, Message};
use self::session::REJECT_AFTER_TIME;
use self::sessions::Sessions;
use self::traffic::{REKEY_TIMEOUT, Traffic};
use super::{Content, Decapsulated, MIN_OUT, Tunnel, TunnelState, Way};
use crate::drop_reason::DropReason;
use crate::prefetch;
use crate::router_config::{TunnelConfig, TunnelKind};
use crate::time::{Duration, Instant};
use crate::wire::read_u16;

mod aead;
mod cookie;
mod handshake;
mod keys;
mod listener;
mod message;
mod noise;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod timestamp;
mod traffic;

pub use keys::{generate, generate_preshared, is_low_order, public_key};
pub use listener::{Inspected, WireGuardListener, data_index};
pub use timestamp::Tai64n;

/// Whitepaper section 6.1: a handshake is tried again after [`REKEY_TIMEOUT`] and up to this much more, so that many peers do not try in step ...
const MAX_JITTER_MS: u64 = 333;
/// ... and given up after this time.
const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);

/// One tunnel to one municipal router. What a packet touches are its two lines and some of its session.
#[repr(C, align(64))]
pub struct WireGuardTunnel {
    sessions: Sessions,
    mtu: u16,
    peer: Option<SocketAddr>,
    traffic: Traffic,
    cold: Box<Cold>,
}

/// What handshakes and ticks touch.
struct Cold {
    handshakes: Handshakes,
    /// The relay's handshake that waits for an answer.
    attempt: Option<Attempt>,
    last_initiation: Option<Instant>,
    persistent_keepalive: Option<Duration>,
    jitter: SmallRng,
    history: History,
}

#[derive(Clone, Copy)]
struct Attempt {
    since: Instant,
    retry_at: Instant,
}

/// What the tunnel tells about itself.
#[derive(Default)]
struct History {
    up: bool,
    changed_at: Option<Instant>,
    handshake_at: Option<Instant>,
    /// Handshakes of the peer that were answered, and of the relay's own that were sent, since it was last up.
    answered: u32,
    initiated: u32,
    rejected: u32,
}

/// Keys and sessions stay out.
impl std::fmt::Debug for WireGuardTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuardTunnel").field("peer", &self.peer).field("up", &self.cold.history.up).finish_non_exhaustive()
    }
}

impl WireGuardTunnel {
    /// The tunnel of `config` at `listener`, made at `now`; `index` is from the [`TunnelTable`](super::TunnelTable), as others that
    /// [`Self::lend_index`] gets. A tunnel with another key or preshared key is another tunnel: its peer has to do a handshake before
    /// anything goes through it.
    #[must_use]
    pub fn new(listener: &WireGuardListener, config: &TunnelConfig, index: u32, now: Instant) -> Self {
        let TunnelKind::WireGuard { public_key, preshared_key, peer_address, persistent_keepalive } = &config.kind else {
            unreachable!("a WireGuard tunnel is made of the configuration of one");
        };
        let cold = Cold {
            handshakes: Handshakes::new(listener, *public_key, preshared_key.as_ref(), index),
            attempt: None,
            last_initiation: None,
            persistent_keepalive: persistent_keepalive.map(|seconds| Duration::from_secs(u64::from(seconds.get()))),
            jitter: SmallRng::seed_from_u64(u64::from(index)),
            history: History::default(),
        };
        Self { sessions: Sessions::default(), mtu: config.mtu, peer: *peer_address, traffic: Traffic::new(now), cold: Box::new(cold) }
    }

    /// Whether it needs another receiver index: the next handshake, begun by either end, uses one up.
    #[must_use]
    pub fn wants_index(&self) -> bool {
        self.cold.handshakes.indices.spare == 0
    }

    /// A receiver index that leads to this tunnel and no other.
    pub fn lend_index(&mut self, index: u32) {
        self.cold.handshakes.indices.spare = index;
    }

    /// A receiver index that it has done with, each once.
    pub fn returned_index(&mut self) -> Option<u32> {
        self.cold.handshakes.indices.freed.pop()
    }

    /// Every receiver index that leads here: five at most, and those to be returned.
    pub fn indices(&self) -> impl Iterator<Item = u32> {
        let handshakes = &self.cold.handshakes;
        self.sessions.indices().chain(handshakes.indices()).chain(handshakes.indices.freed.iter().copied())
    }

    /// The time stamp of the peer's newest handshake, until [`Self::timestamp_told`]: older ones are refused, after a restart too where
    /// [`Self::remember_timestamp`] is called.
    #[must_use]
    pub fn untold_timestamp(&self) -> Option<Tai64n> {
        self.cold.handshakes.untold()
    }

    /// Somebody remembers what [`Self::untold_timestamp`] returned.
    pub fn timestamp_told(&mut self) {
        self.cold.handshakes.told();
    }

    /// What [`Self::untold_timestamp`] returned before a restart.
    pub fn remember_timestamp(&mut self, timestamp: Tai64n) {
        self.cold.handshakes.remember(timestamp);
    }

    fn data(
        &mut self,
        (receiver, counter): (u32, u64),
        datagram: &[u8],
        source: SocketAddr,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Decapsulated, DropReason> {
        let session = self.sessions.find(receiver).ok_or(DropReason::TunnelDataRejected)?;
        let len = session.open(counter, datagram, out, now)?;
        let first = !session.proved;
        self.traffic.heard(len > 0, now);
        let handshake_completed = first && self.sessions.heard(receiver, &mut self.cold.handshakes.indices.freed);
        if handshake_completed {
            self.completed(now);
        }
        let content = content(&out[..len])?;
        Ok(Decapsulated { content, peer_moved: self.move_peer(source), handshake_completed })
    }

    /// The peer starts a handshake. It is answered to where it came from, but the tunnel follows only when the peer proves the
    /// new session: a handshake recorded before a restart authenticates here, yet nobody can continue it.
    fn initiation(&mut self, sender: u32, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        let Cold { handshakes, history, .. } = &mut *self.cold;
        let (len, session) = handshakes.answer(sender, datagram, out, now).inspect_err(|reason| {
            history.rejected = history.rejected.saturating_add(u32::from(*reason == DropReason::TunnelHandshakeRejected));
        })?;
        self.sessions.answered(&session, now, &mut handshakes.indices.freed);
        history.answered = history.answered.saturating_add(1);
        Ok(Decapsulated { content: Content::Reply { len }, peer_moved: false, handshake_completed: false })
    }

    fn response(
        &mut self,
        (sender, receiver): (u32, u32),
        datagram: &[u8],
        source: SocketAddr,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Decapsulated, DropReason> {
        let Cold { handshakes, history, .. } = &mut *self.cold;
        // One that came twice is no sign of wrong keys.
        if !handshakes.awaits(receiver) {
            return Err(DropReason::TunnelHandshakeRejected);
        }
        let session = handshakes.finish(sender, datagram).map_err(|_| {
            history.rejected = history.rejected.saturating_add(1);
            DropReason::TunnelHandshakeRejected
        })?;
        self.sessions.completed(&session, now, &mut handshakes.indices.freed);
        self.traffic.heard(false, now);
        self.completed(now);
        let len = self.send(&[], out, now).ok_or(DropReason::TunnelEncapsulateFailed)?;
        Ok(Decapsulated { content: Content::Reply { len }, peer_moved: self.move_peer(source), handshake_completed: true })
    }

    fn cookie_reply(&mut self, datagram: &[u8], now: Instant) -> Result<Decapsulated, DropReason> {
        if !self.cold.handshakes.signer.take(datagram, now) {
            return Err(DropReason::TunnelCookieRejected);
        }
        Ok(Decapsulated { content: Content::Absorbed, peer_moved: false, handshake_completed: false })
    }

    /// A new session can be used.
    fn completed(&mut self, now: Instant) {
        let Cold { handshakes, attempt, history, .. } = &mut *self.cold;
        // Whoever began: there is nothing to try again.
        *attempt = None;
        self.traffic.answered();
        handshakes.forget_pending();
        let was_up = history.up && history.handshake_at.is_some_and(|at| now.since(at) < REJECT_AFTER_TIME);
        let changed_at = if was_up { history.changed_at } else { Some(now) };
        *history = History { up: true, changed_at, handshake_at: Some(now), ..History::default() };
    }

    fn move_peer(&mut self, source: SocketAddr) -> bool {
        let moved = self.peer != Some(source);
        if moved {
            self.peer = Some(source);
        }
        moved
    }

    /// Begin a handshake, unless one was begun in the last 5 s.
    fn start_handshake(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.cold.last_initiation.is_some_and(|last| now.since(last) < REKEY_TIMEOUT) {
            return None;
        }
        self.write_initiation(out, now)
    }

    fn write_initiation(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        let cold = &mut *self.cold;
        let len = cold.handshakes.initiate(out, now)?;
        let jitter = Duration::from_millis(cold.jitter.random_range(0..=MAX_JITTER_MS));
        let since = cold.attempt.map_or(now, |attempt| attempt.since);
        cold.attempt = Some(Attempt { since, retry_at: now + REKEY_TIMEOUT + jitter });
        cold.last_initiation = Some(now);
        cold.history.initiated = cold.history.initiated.saturating_add(1);
        self.traffic.sent(false, now);
        Some(len)
    }

    /// Try again what was not answered, or give it up.
    fn retry(&mut self, attempt: Attempt, out: &mut [u8], now: Instant) -> Option<usize> {
        if now < attempt.retry_at {
            return None;
        }
        if now.since(attempt.since) >= REKEY_ATTEMPT_TIME {
            self.cold.attempt = None;
            self.cold.handshakes.forget_pending();
            return None;
        }
        self.write_initiation(out, now)
    }

    /// The keepalive or the handshake that time asks for.
    fn due(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.sessions.wants_rekey(REKEY_TIMEOUT, now) || self.traffic.take_silence(now) {
            return self.start_handshake(out, now);
        }
        let persistent = self.cold.persistent_keepalive.is_some_and(|interval| self.traffic.idle(now) >= interval);
        if !persistent && !self.traffic.owes_keepalive(now) {
            return None;
        }
        if self.sessions.sendable(now).is_some() {
            return self.send(&[], out, now);
        }
        if persistent { self.start_handshake(out, now) } else { None }
    }

    /// Write a data message; an empty one is a keepalive.
    fn send(&mut self, inner: &[u8], out: &mut [u8], now: Instant) -> Option<usize> {
        let len = self.sessions.sendable_mut(now)?.seal(inner, out)?;
        self.traffic.sent(!inner.is_empty(), now);
        Some(len)
    }

    /// Nothing can be sent any more: that is since the keys ended, not since somebody looked. Or nobody answers, or somebody does again.
    fn notice_change(&mut self, now: Instant) {
        self.traffic.judge(self.cold.attempt.map(|attempt| attempt.since), now);
        let has_keys = self.sessions.sendable(now).is_some();
        let history = &mut self.cold.history;
        if history.up != (has_keys && !self.traffic.is_silent()) {
            history.up = !history.up;
            history.changed_at = Some(if has_keys { now } else { self.sessions.expires_at().unwrap_or(now).min(now) });
        }
    }

    fn down_reason(&self) -> &'static str {
        let history = &self.cold.history;
        if history.rejected > 0 {
            "its handshakes do not verify: compare the public keys and the preshared key of both sides, and the clock of the municipality's router"
        } else if history.answered > 0 {
            "its handshakes are answered, but no data follows: compare the preshared key of both sides; if they agree, the relay's answers do not arrive"
        } else if history.initiated > 0 {
            "it does not answer the relay's handshakes: check the router, its access line, and that its address has not changed"
        } else if history.handshake_at.is_some() {
            "idle: nothing was sent for three minutes; the next packet brings it up (PersistentKeepalive = 25 on the municipality's router keeps it up)"
        } else if self.peer.is_some() {
            "it has not been heard since the start, and nothing was sent to it yet"
        } else {
            "it has never been heard: check the Endpoint and the relay's public key in the router's configuration, its access line, UDP filters on the way, and `public_key` in the tenant file (`chukei show drops`: tunnel_peer_unknown)"
        }
    }
}

/// What an authenticated payload is, by what it claims.
fn content(payload: &[u8]) -> Result<Content, DropReason> {
    let len = match payload.first().map(|first| first >> 4) {
        None => return Ok(Content::Absorbed),
        Some(4) if payload.len() >= 20 => usize::from(read_u16(payload, 2)),
        Some(6) if payload.len() >= 40 => 40 + usize::from(read_u16(payload, 4)),
        Some(_) => return Err(DropReason::InnerMalformed),
    };
    if len <= payload.len() { Ok(Content::Inner { len }) } else { Err(DropReason::InnerMalformed) }
}

impl Tunnel for WireGuardTunnel {
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        if out.len() < datagram.len().max(MIN_OUT) {
            return Err(DropReason::FrameTooBig);
        }
        match Message::parse(datagram).ok_or(DropReason::TunnelMessageMalformed)? {
            Message::Data { receiver, counter } => self.data((receiver, counter), datagram, source, out, now),
            Message::Initiation { sender } => self.initiation(sender, datagram, out, now),
            Message::Response { sender, receiver } => self.response((sender, receiver), datagram, source, out, now),
            Message::CookieReply { .. } => self.cookie_reply(datagram, now),
        }
    }

    fn encapsulate(&mut self, inner: &mut [u8], len: usize, out: &mut [u8], now: Instant) -> Result<usize, DropReason> {
        if self.peer.is_none() {
            return Err(DropReason::TunnelPeerAddressUnknown);
        }
        let session = self.sessions.sendable_mut(now).ok_or(DropReason::TunnelDown)?;
        // Whitepaper section 5.4.6: zeros up to a multiple of 16, but not beyond the MTU.
        let padded = len.next_multiple_of(16).min(usize::from(self.mtu).max(len)).min(inner.len().max(len));
        let inner = inner.get_mut(..padded).ok_or(DropReason::TunnelEncapsulateFailed)?;
        if out.len() < (padded + DATA_OVERHEAD).max(MIN_OUT) {
            return Err(DropReason::TunnelEncapsulateFailed);
        }
        inner[len..].fill(0);
        let total = session.seal(inner, out).ok_or(DropReason::TunnelEncapsulateFailed)?;
        self.traffic.sent(true, now);
        Ok(total)
    }

    fn overhead(&self) -> usize {
        DATA_OVERHEAD
    }

    fn initiate(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.peer.is_none() || out.len() < MIN_OUT || self.cold.attempt.is_some() || self.sessions.sendable(now).is_some() {
            return None;
        }
        self.start_handshake(out, now)
    }

    fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if out.len() < MIN_OUT {
            return None;
        }
        self.notice_change(now);
        self.sessions.expire(now, &mut self.cold.handshakes.indices.freed);
        self.cold.handshakes.signer.expire(now);
        self.peer?;
        match self.cold.attempt {
            Some(attempt) => self.retry(attempt, out, now),
            None => self.due(out, now),
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn way(&self) -> Option<Way> {
        self.peer.map(Way::Udp)
    }

    fn is_up(&self, now: Instant) -> bool {
        self.sessions.sendable(now).is_some()
    }

    fn is_silent(&self) -> bool {
        self.traffic.is_silent()
    }

    fn prefetch(&self) {
        prefetch::whole(self);
    }

    fn prefetch_decapsulate(&self, datagram: &[u8]) {
        if let Some(Message::Data { receiver, counter }) = Message::parse(datagram) {
            self.sessions.prefetch_open(receiver, counter);
        }
    }

    fn prefetch_encapsulate(&self) {
        self.sessions.prefetch_seal();
    }

    fn remember_peer(&mut self, peer: SocketAddr) {
        if self.traffic.heard_at().is_none() {
            self.peer = Some(peer);
        }
    }

    fn state(&self, now: Instant) -> TunnelState {
        let history = &self.cold.history;
        let up = self.is_up(now) && !self.is_silent();
        let expired_at = self.sessions.expires_at().filter(|at| history.up && *at <= now);
        TunnelState {
            up,
            changed_at: if up { history.changed_at } else { expired_at.or(history.changed_at) },
            handshake_at: history.handshake_at,
            heard_at: self.traffic.heard_at(),
            down_reason: if up { "" } else { self.down_reason() },
        }
    }

    fn kind(&self) -> &'static str {
        "wireguard"
    }
}
