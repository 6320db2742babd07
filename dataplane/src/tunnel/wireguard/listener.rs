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

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn};
use rand::TryRngCore;
use rand::rngs::OsRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::cookie::Cookies;
use super::keys::is_low_order;
use super::message::Message;
use crate::drop_reason::DropReason;
use crate::rate::{Rate, TokenBucket};
use crate::router_config::SecretKey;
use crate::time::Instant;
use crate::tunnel::handshake_limit::{SourceLimiter, Verdict};

/// Handshakes at once: a cloud of routers that come back together.
const BURST: u32 = 100;
/// Our own bound: handshakes from sources that have proved nothing; beyond it the endpoint is under load and asks for cookies. A
/// handshake takes about 0.25 ms.
const UNPROVED: Rate = Rate::per_second(500).with_burst(BURST);
/// Our own bound: handshakes from all sources, a quarter of a core.
const ALL: Rate = Rate::per_second(1_000).with_burst(BURST);

/// What a datagram is, as far as one can tell without its tunnel. Indices are the 24 bits of the
/// [`TunnelTable`](crate::tunnel::TunnelTable).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Inspected {
    /// A data message.
    Data {
        /// The tunnel.
        index: u32,
    },
    /// The answer to a handshake that the relay started.
    HandshakeResponse {
        /// The tunnel.
        index: u32,
    },
    /// A peer under load asks the relay to prove its address.
    CookieReply {
        /// The tunnel.
        index: u32,
    },
    /// Somebody starts a handshake; [`WireGuardListener::initiator`] says who.
    Initiation,
    /// The source has to prove its address first: a cookie reply of this length was written, to be sent to the source.
    Reply(usize),
}

/// The tunnel that a data message belongs to, by its 24 bits of receiver index; `None` for everything else.
#[must_use]
pub fn data_index(datagram: &[u8]) -> Option<u32> {
    match Message::parse(datagram)? {
        Message::Data { receiver, .. } => Some(Message::tunnel_index(receiver)),
        _ => None,
    }
}

/// One of the relay's ends of tunnels: a private key and what guards it.
pub struct WireGuardListener {
    private_key: StaticSecret,
    public_key: PublicKey,
    cookies: Cookies,
    /// Sources without a cookie: forged ones may fill it, which costs the others one round trip.
    unproved: SourceLimiter,
    /// Sources with a cookie: nobody gets in here with another's address.
    proved: SourceLimiter,
    unproved_handshakes: TokenBucket,
    all_handshakes: TokenBucket,
    /// Never limits. The library checks the first MAC once more (0.3 us); its own limiter counts all sources as one, and a
    /// tunnel's would let a stranger who knows two public keys shut the peer out.
    unlimited: Arc<RateLimiter>,
}

impl std::fmt::Debug for WireGuardListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuardListener").field("public_key", self.public_key.as_bytes()).finish_non_exhaustive()
    }
}

impl WireGuardListener {
    /// The end that this private key belongs to.
    ///
    /// # Panics
    /// Where the kernel has no randomness.
    #[must_use]
    pub fn new(private_key: &SecretKey) -> Self {
        let mut cookie_seed = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *cookie_seed).expect("the kernel has randomness");
        Self::sharing_cookies(private_key, &cookie_seed)
    }

    /// The end that this private key belongs to, at one of several workers: a cookie that one of them gave out is good at every other
    /// with the same `cookie_seed`. Limits and buckets are each worker's own.
    #[must_use]
    pub fn sharing_cookies(private_key: &SecretKey, cookie_seed: &[u8; 32]) -> Self {
        let private_key = StaticSecret::from(private_key.0);
        let public_key = PublicKey::from(&private_key);
        Self {
            cookies: Cookies::new(public_key.as_bytes(), cookie_seed),
            unproved: SourceLimiter::new(),
            proved: SourceLimiter::new(),
            unproved_handshakes: TokenBucket::FULL,
            all_handshakes: TokenBucket::FULL,
            unlimited: Arc::new(RateLimiter::new(&public_key, u64::MAX)),
            private_key,
            public_key,
        }
    }

    /// The relay's public key at this end.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key.to_bytes()
    }

    /// What is this datagram, and may it cost anything? Costs a hash or two itself. `reply` needs 64 bytes.
    ///
    /// # Errors
    /// `TunnelMessageMalformed`, `TunnelHandshakeMacInvalid`, `TunnelHandshakeRejected` (its key is of low order),
    /// `TunnelHandshakeLimited`.
    pub fn inspect(&mut self, datagram: &[u8], source: SocketAddr, reply: &mut [u8], now: Instant) -> Result<Inspected, DropReason> {
        match Message::parse(datagram).ok_or(DropReason::TunnelMessageMalformed)? {
            Message::Data { receiver, .. } => Ok(Inspected::Data { index: Message::tunnel_index(receiver) }),
            Message::CookieReply { receiver } => Ok(Inspected::CookieReply { index: Message::tunnel_index(receiver) }),
            Message::Response { receiver } => {
                let challenged = self.guard(datagram, 12, source, reply, now)?;
                Ok(challenged.map_or(Inspected::HandshakeResponse { index: Message::tunnel_index(receiver) }, Inspected::Reply))
            }
            Message::Initiation => {
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
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(datagram) else {
            return Err(DropReason::TunnelMessageMalformed);
        };
        parse_handshake_anon(&self.private_key, &self.public_key, &initiation)
            .map(|half| half.peer_static_public)
            .map_err(|_| DropReason::TunnelHandshakeRejected)
    }

    /// What the library needs for a tunnel that ends here.
    pub(super) fn tunn(&self, peer: [u8; 32], preshared_key: Option<&SecretKey>, index: u32) -> Box<Tunn> {
        let (private_key, limiter) = (self.private_key.clone(), Arc::clone(&self.unlimited));
        Box::new(Tunn::new(private_key, PublicKey::from(peer), preshared_key.map(|key| key.0), None, index, Some(limiter)))
    }
}
