//! WireGuard: one [`WireGuardListener`] an endpoint, one [`WireGuardTunnel`] a municipal router. The protocol itself is boringtun's;
//! what that library leaves to its embedder, or does otherwise than the whitepaper, is put right here (see `CONFORMANCE.md`).
//!
//! The library reads a clock of its own. `now` decides everything that is decided here; the two go at the same pace, and under the
//! feature `simulation` whoever moves `now` moves the library's clock too (`advance_library_clock`).

use std::net::SocketAddr;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::message::{DATA_OVERHEAD, Message};
use self::sessions::{REJECT_AFTER_MESSAGES, Sessions};
use super::{Content, Decapsulated, MIN_OUT, Tunnel, TunnelState};
use crate::drop_reason::DropReason;
use crate::prefetch;
use crate::router_config::{TunnelConfig, TunnelKind};
use crate::time::{Duration, Instant};

mod cache_lines;
mod cookie;
mod keys;
mod listener;
mod message;
mod sessions;
#[cfg(test)]
mod tests;

pub use keys::{generate, generate_preshared, is_low_order, public_key};
pub use listener::{Inspected, WireGuardListener, data_index};

/// Whitepaper section 6.1: a handshake without answer is tried again after this time ...
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// ... and up to this much more, so that many peers do not try in step.
const MAX_JITTER_MS: u64 = 333;
/// The Linux implementation: at most 50 handshakes a second from one peer.
const INITIATION_INTERVAL: Duration = Duration::from_millis(20);

/// One tunnel to one municipal router.
pub struct WireGuardTunnel {
    /// 11 kB, apart from what every packet touches.
    tunn: Box<Tunn>,
    sessions: Sessions,
    /// The library has a session to encrypt with. Asking it costs a look at the clock, so it is asked when that may have changed.
    library_can_send: bool,
    mtu: usize,
    persistent_keepalive: Option<Duration>,
    peer: Option<SocketAddr>,
    /// When the library last looked at its clock in a tick.
    tick_at: Instant,
    /// The relay's handshake that waits for an answer, and when to try again.
    waiting: Option<Waiting>,
    last_initiation: Option<Instant>,
    peers_last_initiation: Option<Instant>,
    /// A handshake message went out, and no cookie has come for it.
    cookie_expected: bool,
    last_sent: Instant,
    jitter: SmallRng,
    history: History,
}

#[derive(Clone, Copy)]
struct Waiting {
    since: Instant,
    retry_at: Instant,
}

/// What the tunnel tells about itself.
#[derive(Default)]
struct History {
    up: bool,
    changed_at: Option<Instant>,
    handshake_at: Option<Instant>,
    heard_at: Option<Instant>,
    /// Handshakes of the peer that were answered, and of the relay's own that were sent, since it was last up.
    answered: u32,
    initiated: u32,
    rejected: u32,
}

/// Keys and sessions stay out.
impl std::fmt::Debug for WireGuardTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuardTunnel").field("peer", &self.peer).field("up", &self.history.up).finish_non_exhaustive()
    }
}

impl WireGuardTunnel {
    /// The tunnel of `config` at `listener`, made at `now`; `index` is from the [`TunnelTable`](super::TunnelTable). A tunnel with another key or
    /// preshared key is another tunnel: its peer has to do a handshake before anything goes through it.
    #[must_use]
    pub fn new(listener: &WireGuardListener, config: &TunnelConfig, index: u32, now: Instant) -> Self {
        let TunnelKind::WireGuard { public_key, preshared_key, peer_address, persistent_keepalive } = &config.kind;
        Self {
            tunn: listener.tunn(*public_key, preshared_key.as_ref(), index),
            sessions: Sessions::default(),
            library_can_send: false,
            mtu: usize::from(config.mtu),
            persistent_keepalive: persistent_keepalive.map(|seconds| Duration::from_secs(u64::from(seconds.get()))),
            peer: *peer_address,
            tick_at: now,
            waiting: None,
            last_initiation: None,
            peers_last_initiation: None,
            cookie_expected: false,
            last_sent: now,
            jitter: SmallRng::seed_from_u64(u64::from(index)),
            history: History::default(),
        }
    }

    fn data(
        &mut self,
        message: (u32, u64),
        datagram: &[u8],
        source: SocketAddr,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Decapsulated, DropReason> {
        let (receiver, counter) = message;
        // The library computes with the counter before it authenticates it.
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::TunnelCounterExhausted);
        }
        if !self.sessions.accepts(receiver, now) {
            return Err(DropReason::TunnelDataRejected);
        }
        let content = match self.tunn.decapsulate(None, datagram, out) {
            TunnResult::Done => Ok(Content::Absorbed),
            TunnResult::WriteToTunnelV4(inner, _) | TunnResult::WriteToTunnelV6(inner, _) => Ok(Content::Inner { len: inner.len() }),
            // Shape and length were right, so what is invalid is inside, and it authenticated.
            TunnResult::Err(WireGuardError::InvalidPacket) => Err(DropReason::InnerMalformed),
            TunnResult::Err(WireGuardError::DuplicateCounter | WireGuardError::InvalidCounter) => {
                return Err(DropReason::TunnelDataReplayed);
            }
            TunnResult::Err(_) | TunnResult::WriteToNetwork(_) => return Err(DropReason::TunnelDataRejected),
        };
        let handshake_completed = self.sessions.heard(receiver);
        self.history.heard_at = Some(now);
        if handshake_completed {
            self.completed(now);
        }
        if handshake_completed || !self.library_can_send {
            self.ask_library();
        }
        Ok(Decapsulated { content: content?, peer_moved: self.move_peer(source), handshake_completed })
    }

    /// The peer starts a handshake. It is answered to where it came from, but the tunnel follows only when the peer proves the
    /// new session: a handshake recorded before a restart authenticates here, yet nobody can continue it.
    fn initiation(&mut self, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        if self.peers_last_initiation.is_some_and(|last| now.since(last) < INITIATION_INTERVAL) {
            return Err(DropReason::TunnelHandshakeLimited);
        }
        let TunnResult::WriteToNetwork(response) = self.tunn.decapsulate(None, datagram, out) else {
            self.history.rejected = self.history.rejected.saturating_add(1);
            return Err(DropReason::TunnelHandshakeRejected);
        };
        let len = response.len();
        let index = message::le32(response, 4).ok_or(DropReason::TunnelHandshakeRejected)?;
        self.sessions.answered(index, self.tick_at, now);
        self.ask_library();
        self.peers_last_initiation = Some(now);
        // The library has dropped its own attempt in favour of the peer's.
        self.waiting = None;
        self.cookie_expected = true;
        self.history.answered = self.history.answered.saturating_add(1);
        Ok(Decapsulated { content: Content::Reply { len }, peer_moved: false, handshake_completed: false })
    }

    fn response(
        &mut self,
        receiver: u32,
        datagram: &[u8],
        source: SocketAddr,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Decapsulated, DropReason> {
        let TunnResult::WriteToNetwork(keepalive) = self.tunn.decapsulate(None, datagram, out) else {
            self.history.rejected = self.history.rejected.saturating_add(1);
            return Err(DropReason::TunnelHandshakeRejected);
        };
        let len = keepalive.len();
        self.sessions.completed(receiver, self.tick_at, now);
        self.ask_library();
        self.waiting = None;
        self.last_sent = now;
        self.history.heard_at = Some(now);
        self.completed(now);
        Ok(Decapsulated { content: Content::Reply { len }, peer_moved: self.move_peer(source), handshake_completed: true })
    }

    /// At most one cookie for each handshake message: the library takes a repeated one for a sign of life.
    fn cookie_reply(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<Decapsulated, DropReason> {
        if !self.cookie_expected || !matches!(self.tunn.decapsulate(None, datagram, out), TunnResult::Done) {
            return Err(DropReason::TunnelCookieRejected);
        }
        self.cookie_expected = false;
        Ok(Decapsulated { content: Content::Absorbed, peer_moved: false, handshake_completed: false })
    }

    fn completed(&mut self, now: Instant) {
        let was_up = self.history.up && self.history.handshake_at.is_some_and(|at| now.since(at) < sessions::REJECT_AFTER_TIME);
        let changed_at = if was_up { self.history.changed_at } else { Some(now) };
        self.history = History { up: true, changed_at, handshake_at: Some(now), heard_at: self.history.heard_at, ..History::default() };
    }

    fn move_peer(&mut self, source: SocketAddr) -> bool {
        self.peer.replace(source) != Some(source)
    }

    fn start_handshake(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.last_initiation.is_some_and(|last| now.since(last) < REKEY_TIMEOUT) {
            return None;
        }
        let TunnResult::WriteToNetwork(initiation) = self.tunn.format_handshake_initiation(out, false) else { return None };
        let len = initiation.len();
        self.initiated(now);
        Some(len)
    }

    fn initiated(&mut self, now: Instant) {
        let jitter = Duration::from_millis(self.jitter.random_range(0..=MAX_JITTER_MS));
        self.waiting = Some(Waiting { since: now, retry_at: now + REKEY_TIMEOUT + jitter });
        self.last_initiation = Some(now);
        self.last_sent = now;
        self.cookie_expected = true;
        self.history.initiated = self.history.initiated.saturating_add(1);
    }

    /// One pass of the library's timers. Holds it back while a retry is due by its clock but not by the jitter.
    fn library_tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.waiting.is_some_and(|waiting| now < waiting.retry_at && now.since(waiting.since) + MAX_TICK_ERROR >= REKEY_TIMEOUT) {
            return None;
        }
        let len = match self.tunn.update_timers(out) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => {
                self.sessions.clear();
                self.waiting = None;
                None
            }
            _ => None,
        };
        self.tick_at = now;
        self.sessions.expire(now);
        self.ask_library();
        let len = len?;
        if out[0] == message::INITIATION {
            self.initiated(now);
            return Some(len);
        }
        // A keepalive; the library sends one under a session that the peer has not proved, too.
        self.sessions.sendable(now)?;
        self.sent(out, now);
        Some(len)
    }

    fn keepalive_or_handshake(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.sessions.wants_rekey() {
            return self.start_handshake(out, now);
        }
        let interval = self.persistent_keepalive?;
        if now.since(self.last_sent) < interval {
            return None;
        }
        if self.can_send(now) { self.seal(&[], out, now) } else { self.start_handshake(out, now) }
    }

    /// True where the library has a session to encrypt with, so that it does not queue the packet, and where that is right to use.
    fn can_send(&self, now: Instant) -> bool {
        self.library_can_send && self.sessions.sendable(now).is_some()
    }

    /// It forgets sessions in its tick alone, and finds the one to send with when a handshake or a message moves it on.
    fn ask_library(&mut self) {
        self.library_can_send = self.tunn.time_since_last_handshake().is_some();
    }

    fn seal(&mut self, inner: &[u8], out: &mut [u8], now: Instant) -> Option<usize> {
        let TunnResult::WriteToNetwork(datagram) = self.tunn.encapsulate(inner, out) else { return None };
        let len = datagram.len();
        self.sent(out, now);
        Some(len)
    }

    fn sent(&mut self, datagram: &[u8], now: Instant) {
        self.sessions.sent(message::le64(datagram, 8).unwrap_or(0));
        self.last_sent = now;
    }

    fn down_reason(&self) -> &'static str {
        let history = &self.history;
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

/// Ticks come each 250 ms, and the library's clock may be this much ahead of `now`.
const MAX_TICK_ERROR: Duration = Duration::from_millis(50);

impl Tunnel for WireGuardTunnel {
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        // The library panics where the buffer is too short.
        if out.len() < datagram.len().max(MIN_OUT) {
            return Err(DropReason::FrameTooBig);
        }
        match Message::parse(datagram).ok_or(DropReason::TunnelMessageMalformed)? {
            Message::Data { receiver, counter } => self.data((receiver, counter), datagram, source, out, now),
            Message::Initiation => self.initiation(datagram, out, now),
            Message::Response { receiver } => self.response(receiver, datagram, source, out, now),
            Message::CookieReply { .. } => self.cookie_reply(datagram, out),
        }
    }

    fn encapsulate(&mut self, inner: &mut [u8], len: usize, out: &mut [u8], now: Instant) -> Result<usize, DropReason> {
        if self.peer.is_none() {
            return Err(DropReason::TunnelPeerAddressUnknown);
        }
        if !self.can_send(now) {
            return Err(DropReason::TunnelDown);
        }
        // Whitepaper section 5.4.6: zeros up to a multiple of 16, but not beyond the MTU.
        let padded = len.next_multiple_of(16).min(self.mtu.max(len)).min(inner.len().max(len));
        let inner = inner.get_mut(..padded).ok_or(DropReason::TunnelEncapsulateFailed)?;
        if out.len() < (padded + DATA_OVERHEAD).max(MIN_OUT) {
            return Err(DropReason::TunnelEncapsulateFailed);
        }
        inner[len..].fill(0);
        self.seal(inner, out, now).ok_or(DropReason::TunnelEncapsulateFailed)
    }

    fn overhead(&self) -> usize {
        DATA_OVERHEAD
    }

    fn initiate(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if self.peer.is_none() || out.len() < MIN_OUT || self.sessions.sendable(now).is_some() {
            return None;
        }
        self.start_handshake(out, now)
    }

    fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        if out.len() < MIN_OUT {
            return None;
        }
        let expires_at = self.sessions.expires_at();
        let datagram = self.library_tick(out, now);
        if self.history.up && self.sessions.sendable(now).is_none() {
            self.history.up = false;
            self.history.changed_at = Some(expires_at.unwrap_or(now).min(now));
        }
        let datagram = datagram.or_else(|| self.peer.and_then(|_| self.keepalive_or_handshake(out, now)));
        datagram.filter(|_| self.peer.is_some())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn is_up(&self, now: Instant) -> bool {
        self.history.up && self.sessions.sendable(now).is_some()
    }

    fn prefetch(&self) {
        prefetch::start(&self.library_can_send);
        prefetch::start(&self.peer);
        prefetch::whole(&self.history);
        prefetch::start(&self.last_sent);
        self.sessions.prefetch();
    }

    fn prefetch_decapsulate(&self, datagram: &[u8]) {
        if let Some(receiver) = message::le32(datagram, 4) {
            self.sessions.prefetch_session(receiver);
            cache_lines::prefetch_opening(&self.tunn, receiver);
        }
    }

    fn prefetch_encapsulate(&self) {
        let current = self.sessions.current();
        self.sessions.prefetch_session(current);
        cache_lines::prefetch_sealing(&self.tunn, current);
    }

    fn remember_peer(&mut self, peer: SocketAddr) {
        if self.history.heard_at.is_none() {
            self.peer = Some(peer);
        }
    }

    fn state(&self, now: Instant) -> TunnelState {
        let history = &self.history;
        let up = self.is_up(now);
        let expired_at = self.sessions.expires_at().filter(|at| history.up && *at <= now);
        TunnelState {
            up,
            changed_at: if up { history.changed_at } else { expired_at.or(history.changed_at) },
            handshake_at: history.handshake_at,
            heard_at: history.heard_at,
            down_reason: if up { "" } else { self.down_reason() },
        }
    }

    fn kind(&self) -> &'static str {
        "wireguard"
    }
}

/// Move the clock that the library reads on this thread. Keep it in step with the `now` that is handed down.
#[cfg(feature = "simulation")]
pub fn advance_library_clock(by: Duration) {
    mock_instant::MockClock::advance(by);
}
