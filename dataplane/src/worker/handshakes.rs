//! Handshakes wait for their turn: one takes as long as some hundred packets, so at most one is done a poll, after the data.
//!
//! Only what the listener let through gets in here, so a flood of forgeries fills nothing. A message that waits is booked as held.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{EndpointId, PortId};
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
    /// For the answer to a handshake of the relay's own: the tunnel's receiver index.
    pub(super) answers: Option<u32>,
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
        let Handshake { packet, port, local, source, answers } = handshake;
        let Some(at) = self.endpoint_at(port, local) else { return self.drop_at_port(port, packet, DropReason::NoListener) };
        match self.tunnel_of_handshake(at, answers, packet.bytes()) {
            Ok(key) => {
                let opened = self.open_message(key, at, source, 0, packet, now);
                debug_assert!(opened.is_none(), "no handshake message carries a packet");
            }
            Err(reason) => self.drop_at_port(port, packet, reason),
        }
    }

    /// By the receiver index, or by the public key that an initiation names; never by an address.
    fn tunnel_of_handshake(&self, at: EndpointId, answers: Option<u32>, message: &[u8]) -> Result<TunnelKey, DropReason> {
        match answers {
            Some(index) => self.tunnels.by_index(at, index).ok_or(DropReason::TunnelReceiverUnknown),
            None => {
                let peer = self.endpoints[usize::from(at.0)].listener.initiator(message)?;
                self.tunnels.by_peer(at, &peer).ok_or(DropReason::TunnelPeerUnknown)
            }
        }
    }
}
