//! Tunnels between municipalities' routers and the relay: datagrams in, inner packets out, and back. No sockets, no clock.
//!
//! | file | what is in it |
//! |---|---|
//! | [`table`] | receiver index or peer key -> (tenant, tunnel) |
//! | [`spi_table`] | SPI -> (tenant, tunnel) |
//! | [`IndexSpace`] | which receiver indices are whose |
//! | [`handshake_limit`] | how many handshakes one source may start |
//! | [`replay_window`] | which sequence numbers were received already |
//! | [`wireguard`] | WireGuard: handshakes, keys, messages, timers |
//! | [`esp`] | ESP, and its SAs as plain data; key exchange is the control plane's |
//!
//! A worker asks the endpoint's listener what a datagram is, finds the tunnel in the table, and hands the datagram to it. Another
//! protocol is one more file here and one more arm of [`AnyTunnel`].

use std::net::{Ipv4Addr, SocketAddr};

use crate::drop_reason::DropReason;
use crate::time::Instant;

pub mod esp;
pub mod handshake_limit;
mod index_space;
pub mod replay_window;
pub mod spi_table;
pub mod table;
pub mod wireguard;

pub use index_space::IndexSpace;
pub use spi_table::SpiTable;
pub use table::{TenantId, TunnelKey, TunnelTable};

/// Shortest buffer that every tunnel function accepts as `out`, in bytes: a WireGuard handshake initiation.
pub const MIN_OUT: usize = 148;

/// What became of a datagram that a tunnel accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Decapsulated {
    /// What is in the output buffer now.
    pub content: Content,
    /// The peer is at another address than before: tell the control plane, so that a restart finds it.
    pub peer_moved: bool,
    /// A new session stands, proved by the peer's first message under it.
    pub handshake_completed: bool,
}

/// What a tunnel left in the output buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// An inner IP packet of `len` bytes at the front of the buffer. The length is what its header claims, no more has been
    /// checked: parse it as if it came from a stranger, and admit its source by the tenant's own prefixes.
    Inner {
        /// Length in bytes.
        len: usize,
    },
    /// A datagram of `len` bytes at the front of the buffer, to be sent to where the received one came from.
    Reply {
        /// Length in bytes.
        len: usize,
    },
    /// Nothing: a keepalive, or a cookie that the next handshake will show.
    Absorbed,
}

/// How a tunnel's datagrams reach its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// In UDP from the endpoint's port.
    Udp(SocketAddr),
    /// ESP as IP protocol 50.
    Esp(Ipv4Addr),
}

/// How a tunnel fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelState {
    /// Whether it can carry data now: it has keys, and is not known to be silent.
    pub up: bool,
    /// When `up` last changed; `None` = never since the start.
    pub changed_at: Option<Instant>,
    /// When the last handshake completed.
    pub handshake_at: Option<Instant>,
    /// When the peer was last heard: an authenticated message that cannot be a replay from before a restart.
    pub heard_at: Option<Instant>,
    /// Why it is down, in words with the remedy; empty when it is up.
    pub down_reason: &'static str,
}

/// One tunnel to one municipal router.
///
/// Every `out` needs at least [`MIN_OUT`] bytes; what is written starts at its first byte.
pub trait Tunnel {
    /// Take a datagram that the endpoint's listener let through. Where it carries an inner packet, decryption moves it from
    /// `datagram` to `out`; that is the payload's only move.
    ///
    /// # Errors
    /// The reason why the datagram is lost; `out` then holds nothing of use, and the tunnel is as it was before.
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason>;

    /// Encrypt the inner packet `inner[..len]` into `out` and return the datagram's length. Bytes of `inner` behind `len` are
    /// overwritten where the protocol pads; give room up to the next multiple of 16 where there is some. `out` needs
    /// [`Tunnel::overhead`] bytes more than the padded packet.
    ///
    /// # Errors
    /// `TunnelDown` or `TunnelPeerAddressUnknown` when there is no way to the peer: the packet is not kept, and the caller
    /// calls [`Tunnel::initiate`]. `TunnelEncapsulateFailed` when a buffer is too short.
    fn encapsulate(&mut self, inner: &mut [u8], len: usize, out: &mut [u8], now: Instant) -> Result<usize, DropReason>;

    /// Bytes that the tunnel adds to an inner packet, without padding.
    fn overhead(&self) -> usize;

    /// Start a handshake, when there is a peer address, no session, none in progress, and none was started in the last 5 s.
    /// Returns the length of the datagram to send to [`Tunnel::peer`].
    fn initiate(&mut self, out: &mut [u8], now: Instant) -> Option<usize>;

    /// Let time pass: call it each 250 ms. Returns the length of a datagram to send to [`Tunnel::peer`], at most one a call.
    fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize>;

    /// Where the peer is, as far as is known.
    fn peer(&self) -> Option<SocketAddr>;

    /// The way of what was written into `out` last by [`Tunnel::encapsulate`], [`Tunnel::initiate`] or [`Tunnel::tick`].
    fn way(&self) -> Option<Way>;

    /// Whether it has keys to carry data with.
    fn is_up(&self, now: Instant) -> bool;

    /// Whether nobody answers at its other end, so that another tunnel should be taken where there is one. Found out by [`Self::tick`].
    fn is_silent(&self) -> bool;

    /// Hint that the tunnel will be used soon.
    fn prefetch(&self);

    /// Hint that `datagram` will be decapsulated soon. Reads what [`Self::prefetch`] asked for.
    fn prefetch_decapsulate(&self, datagram: &[u8]);

    /// Hint that a packet will be encapsulated soon. Reads what [`Self::prefetch`] asked for.
    fn prefetch_encapsulate(&self);

    /// Where the peer was before a restart. An address that it has proved since then stays.
    fn remember_peer(&mut self, peer: SocketAddr);

    /// How the tunnel fares.
    fn state(&self, now: Instant) -> TunnelState;

    /// The tunnel's protocol, as tables and metrics spell it.
    fn kind(&self) -> &'static str;
}

/// A tunnel of any protocol.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a tunnel is made once, and boxing it would cost every packet a line of cache")]
pub enum AnyTunnel {
    /// WireGuard.
    WireGuard(wireguard::WireGuardTunnel),
    /// IPsec.
    Esp(esp::EspTunnel),
}

impl Tunnel for AnyTunnel {
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        match self {
            Self::WireGuard(tunnel) => tunnel.decapsulate(datagram, source, out, now),
            Self::Esp(tunnel) => tunnel.decapsulate(datagram, source, out, now),
        }
    }

    fn encapsulate(&mut self, inner: &mut [u8], len: usize, out: &mut [u8], now: Instant) -> Result<usize, DropReason> {
        match self {
            Self::WireGuard(tunnel) => tunnel.encapsulate(inner, len, out, now),
            Self::Esp(tunnel) => tunnel.encapsulate(inner, len, out, now),
        }
    }

    fn overhead(&self) -> usize {
        match self {
            Self::WireGuard(tunnel) => tunnel.overhead(),
            Self::Esp(tunnel) => tunnel.overhead(),
        }
    }

    fn initiate(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        match self {
            Self::WireGuard(tunnel) => tunnel.initiate(out, now),
            Self::Esp(tunnel) => tunnel.initiate(out, now),
        }
    }

    fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        match self {
            Self::WireGuard(tunnel) => tunnel.tick(out, now),
            Self::Esp(tunnel) => tunnel.tick(out, now),
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::WireGuard(tunnel) => tunnel.peer(),
            Self::Esp(tunnel) => tunnel.peer(),
        }
    }

    fn way(&self) -> Option<Way> {
        match self {
            Self::WireGuard(tunnel) => tunnel.way(),
            Self::Esp(tunnel) => tunnel.way(),
        }
    }

    fn is_up(&self, now: Instant) -> bool {
        match self {
            Self::WireGuard(tunnel) => tunnel.is_up(now),
            Self::Esp(tunnel) => tunnel.is_up(now),
        }
    }

    fn is_silent(&self) -> bool {
        match self {
            Self::WireGuard(tunnel) => tunnel.is_silent(),
            Self::Esp(tunnel) => tunnel.is_silent(),
        }
    }

    fn prefetch(&self) {
        match self {
            Self::WireGuard(tunnel) => tunnel.prefetch(),
            Self::Esp(tunnel) => tunnel.prefetch(),
        }
    }

    fn prefetch_decapsulate(&self, datagram: &[u8]) {
        match self {
            Self::WireGuard(tunnel) => tunnel.prefetch_decapsulate(datagram),
            Self::Esp(tunnel) => tunnel.prefetch_decapsulate(datagram),
        }
    }

    fn prefetch_encapsulate(&self) {
        match self {
            Self::WireGuard(tunnel) => tunnel.prefetch_encapsulate(),
            Self::Esp(tunnel) => tunnel.prefetch_encapsulate(),
        }
    }

    fn remember_peer(&mut self, peer: SocketAddr) {
        match self {
            Self::WireGuard(tunnel) => tunnel.remember_peer(peer),
            Self::Esp(tunnel) => tunnel.remember_peer(peer),
        }
    }

    fn state(&self, now: Instant) -> TunnelState {
        match self {
            Self::WireGuard(tunnel) => tunnel.state(now),
            Self::Esp(tunnel) => tunnel.state(now),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::WireGuard(tunnel) => tunnel.kind(),
            Self::Esp(tunnel) => tunnel.kind(),
        }
    }
}
