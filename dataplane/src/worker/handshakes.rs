//! Handshakes wait for their turn: one takes as long as some hundred packets, so at most one is done a poll, after the data.
//!
//! Only what the listener let through gets in here, so a flood of forgeries fills nothing. A message that waits is booked as held.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{EndpointId, PortId, WorkerId};
use crate::time::Instant;
use crate::tunnel::TunnelKey;
use crate::worker::Worker;

/// Handshake messages that wait. Our own bound: the bursts that two listeners let through at once, and some more.
pub(super) const CAPACITY: usize = 256;

/// A handshake message that may cost a Diffie-Hellman. It names its end by address: a configuration may come while it waits.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) packet: Packet,
    pub(super) port: PortId,
    /// The relay's end.
    pub(super) local: SocketAddrV4,
    /// Outer source.
    pub(super) source: SocketAddrV4,
    /// What is known of the tunnel.
    pub(super) named: Named,
}

/// What a handshake message names its tunnel by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// An answer to a handshake of the relay's own: the tunnel's receiver index.
    Index(u32),
    /// An initiation: a public key, which is still to be decrypted.
    Sealed,
    /// An initiation that another worker has found to name this public key.
    Peer([u8; 32]),
}

/// The handshake messages that wait.
pub(super) fn queue() -> VecDeque<Handshake> {
    VecDeque::with_capacity(CAPACITY)
}

impl Worker {
    pub(super) fn wait_for_turn(&mut self, handshake: Handshake) {
        if self.handshakes.len() == CAPACITY {
            return self.drop_at_port(handshake.port, handshake.packet, DropReason::TunnelHandshakeQueueFull);
        }
        self.ledger.hold();
        self.handshakes.push_back(handshake);
    }

    /// Do the handshake that has waited longest.
    pub(super) fn next_handshake(&mut self, now: Instant) {
        let Some(handshake) = self.handshakes.pop_front() else { return };
        self.ledger.unhold();
        let Handshake { port, local, named, .. } = handshake;
        let Some(at) = self.endpoint_at(port, local) else { return self.drop_at_port(port, handshake.packet, DropReason::NoListener) };
        match self.tunnel_of_handshake(at, named, handshake.packet.bytes(), now) {
            Ok(Found::Here(key)) => {
                let opened = self.open_message(key, at, handshake.source, 0, handshake.packet, now);
                debug_assert!(opened.is_none(), "no handshake message carries a packet");
            }
            Ok(Found::Elsewhere(owner, peer)) => self.hand_over_initiation(owner, handshake, &peer),
            Err(reason) => self.drop_at_port(port, handshake.packet, reason),
        }
    }

    /// By the receiver index, or by the public key that an initiation names; never by an address.
    fn tunnel_of_handshake(&mut self, at: EndpointId, named: Named, message: &[u8], now: Instant) -> Result<Found, DropReason> {
        let listener = &mut self.endpoints[usize::from(at.0)].listener;
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
