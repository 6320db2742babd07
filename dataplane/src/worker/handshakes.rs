//! Handshakes wait for their turn: one takes as long as some hundred packets, so at most one is done a poll, after the data, and while
//! there is data no more than one a millisecond.
//!
//! Only what the listener let through gets in here, so a flood of forgeries fills nothing. A message that waits is booked as held.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{EndpointId, PortId, WorkerId};
use crate::tenant::TenantTunnel;
use crate::time::{Duration, Instant};
use crate::tunnel::{AnyTunnel, TunnelKey};
use crate::worker::Worker;

/// Handshake messages that wait. Our own bound: the burst that a listener lets through at once, and some more.
const CAPACITY: usize = 2_048;
/// Where frames are few no more of them than this part wait, but always so many.
const PART_OF_FRAMES: usize = 4;
const LEAST_CAPACITY: usize = 256;

/// Our own bound: between two handshakes while packets come. One takes about 0.25 ms, so packets have three quarters of the time.
const INTERVAL: Duration = Duration::from_millis(1);

/// A handshake message that may cost a Diffie-Hellman. It names its end by address: a configuration may come while it waits.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) packet: Packet,
    pub(super) port: PortId,
    /// The relay's end: its UDP port.
    pub(super) local_port: u16,
    /// Outer source.
    pub(super) source: SocketAddr,
    /// What is known of the tunnel.
    pub(super) named: Named,
}

/// What a handshake message names its tunnel by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// An answer to a handshake of the relay's own: the receiver index of that.
    Index(u32),
    /// An initiation: a public key, which is still to be decrypted.
    Sealed,
    /// An initiation that another worker has found to name this public key.
    Peer([u8; 32]),
}

/// The handshake messages that wait.
pub(super) struct Handshakes {
    waiting: VecDeque<Handshake>,
    capacity: usize,
    last_at: Instant,
}

impl Handshakes {
    /// None yet. `free_frames` are those that are left when the NICs have theirs.
    pub(super) fn new(free_frames: usize) -> Self {
        let capacity = (free_frames / PART_OF_FRAMES).clamp(LEAST_CAPACITY, CAPACITY);
        Self { waiting: VecDeque::with_capacity(capacity), capacity, last_at: Instant::ZERO }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it is one's turn, with so many packets received in this round or still waiting.
    pub(super) fn are_due(&self, packets: usize, now: Instant) -> bool {
        !self.waiting.is_empty() && (packets == 0 || now.since(self.last_at) >= INTERVAL)
    }
}

impl Worker {
    pub(super) fn wait_for_turn(&mut self, handshake: Handshake) {
        if self.handshakes.waiting.len() == self.handshakes.capacity {
            return self.drop_at_port(handshake.port, handshake.packet, DropReason::TunnelHandshakeQueueFull);
        }
        self.ledger.hold();
        self.handshakes.waiting.push_back(handshake);
    }

    /// Do the handshake that has waited longest.
    pub(super) fn next_handshake(&mut self, now: Instant) {
        let Some(handshake) = self.handshakes.waiting.pop_front() else { return };
        self.handshakes.last_at = now;
        self.ledger.unhold();
        let Handshake { port, local_port, named, .. } = handshake;
        let Some(at) = self.endpoint_at(port, local_port) else { return self.drop_at_port(port, handshake.packet, DropReason::NoListener) };
        match self.tunnel_of_handshake(at, named, handshake.packet.bytes(), now) {
            Ok(Found::Here(key)) => {
                let opened = self.open_message(key, at, handshake.source, 0, handshake.packet, now);
                debug_assert!(opened.is_none(), "no handshake message carries a packet");
                self.exchange_indices(key, now);
            }
            Ok(Found::Elsewhere(owner, peer)) => self.hand_over_initiation(owner, handshake, &peer),
            Err(reason) => self.drop_at_port(port, handshake.packet, reason),
        }
    }

    /// Handshakes take receiver indices and sessions give them back: let the tunnel have what the next one needs.
    pub(super) fn exchange_indices(&mut self, key: TunnelKey, now: Instant) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let TenantTunnel { tunnel: AnyTunnel::WireGuard(tunnel), endpoint, .. } = &mut tenant.tunnels[usize::from(key.tunnel.0)] else {
            return;
        };
        while let Some(index) = tunnel.returned_index() {
            self.tunnels.release(index, now);
        }
        if tunnel.wants_index() {
            tunnel.lend_index(self.tunnels.lend(*endpoint, key, now));
        }
    }

    /// By the receiver index, or by the public key that an initiation names; never by an address.
    fn tunnel_of_handshake(&mut self, at: EndpointId, named: Named, message: &[u8], now: Instant) -> Result<Found, DropReason> {
        let listener = self.endpoints[usize::from(at.0)].listener.as_mut().ok_or(DropReason::NoListener)?;
        let peer = match named {
            Named::Index(index) => return self.tunnels.by_index(at, index).map(Found::Here).ok_or(DropReason::TunnelReceiverUnknown),
            Named::Sealed => listener.initiator(message)?,
            Named::Peer(peer) => {
                listener.admit_from_another(now)?;
                return self.tunnels.by_peer(at, &peer).map(Found::Here).ok_or(DropReason::TunnelPeerUnknown);
            }
        };
        let here = self.tunnels.by_peer(at, &peer).map(Found::Here);
        here.or_else(|| self.steering.other_by_peer(at, &peer).map(|owner| Found::Elsewhere(owner, peer)))
            .ok_or(DropReason::TunnelPeerUnknown)
    }
}

/// Whose a handshake is.
enum Found {
    Here(TunnelKey),
    /// Another worker's, with this public key.
    Elsewhere(WorkerId, [u8; 32]),
}
