//! The handshakes of one tunnel: what they need of keys, indices and time stamps, and their messages from the first byte to the last MAC.

use std::sync::Arc;

use super::cookie::Signer;
use super::keys::{self, Identity, Peer};
use super::listener::WireGuardListener;
use super::message::{INITIATION, INITIATION_LEN, RESPONSE, RESPONSE_LEN};
use super::noise::{Initiator, Refused, Responder};
use super::session::NewSession;
use super::timestamp::Tai64n;
use crate::drop_reason::DropReason;
use crate::router_config::SecretKey;
use crate::time::{Duration, Instant};

/// The Linux implementation: at most 50 handshakes a second from one peer.
const INITIATION_INTERVAL: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Handshakes {
    own: Arc<Identity>,
    peer: Peer,
    pub(super) signer: Signer,
    pub(super) indices: Indices,
    /// Ours that waits for its response.
    pending: Option<Pending>,
    /// From 1970 to [`Instant::ZERO`].
    start: Duration,
    sent: Tai64n,
    /// The newest that the peer has sent, and whether the control plane was told.
    accepted: Tai64n,
    told: bool,
    accepted_at: Option<Instant>,
}

struct Pending {
    index: u32,
    initiator: Initiator,
}

/// Receiver indices that the tunnel was lent: one for the next session, and those that it has done with.
#[derive(Default)]
pub(super) struct Indices {
    /// 0 = none.
    pub(super) spare: u32,
    pub(super) freed: Vec<u32>,
}

impl Handshakes {
    pub(super) fn new(listener: &WireGuardListener, public_key: [u8; 32], preshared: Option<&SecretKey>, index: u32) -> Self {
        let own = Arc::clone(listener.identity());
        Self {
            peer: Peer::new(&own, public_key, preshared),
            own,
            signer: Signer::new(&public_key),
            indices: Indices { spare: index, freed: Vec::with_capacity(4) },
            pending: None,
            start: listener.start(),
            sent: Tai64n::default(),
            accepted: Tai64n::default(),
            told: true,
            accepted_at: None,
        }
    }

    /// Write an initiation, which takes the place of one that still waits. `None`: no index, or no randomness.
    pub(super) fn initiate(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        let message = out.get_mut(..INITIATION_LEN).filter(|_| self.indices.spare != 0)?;
        self.sent = Tai64n::after(self.sent, self.start + now.since(Instant::ZERO));
        let ephemeral = keys::ephemeral()?;
        let body = message.first_chunk_mut()?;
        let index = self.indices.spare;
        begin(body, INITIATION, index);
        let initiator = Initiator::start(&self.own, &self.peer, ephemeral, self.sent, body).ok()?;
        self.indices.spare = 0;
        self.forget_pending();
        self.pending = Some(Pending { index, initiator });
        self.signer.sign(message, now);
        Some(INITIATION_LEN)
    }

    /// Answer an initiation of the peer's. Returns the response's length and the session.
    pub(super) fn answer(&mut self, sender: u32, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<(usize, NewSession), DropReason> {
        // Only those that are answered count: a stranger's cannot use up the peer's share.
        if self.accepted_at.is_some_and(|last| now.since(last) < INITIATION_INTERVAL) || self.indices.spare == 0 {
            return Err(DropReason::TunnelHandshakeLimited);
        }
        let message = out.get_mut(..RESPONSE_LEN).ok_or(DropReason::FrameTooBig)?;
        let (responder, timestamp) = self.read(datagram).map_err(|Refused| DropReason::TunnelHandshakeRejected)?;
        let index = self.indices.spare;
        let body = message.first_chunk_mut().ok_or(DropReason::FrameTooBig)?;
        begin(body, RESPONSE, index);
        body[8..12].copy_from_slice(&sender.to_le_bytes());
        let ephemeral = keys::ephemeral().ok_or(DropReason::TunnelHandshakeLimited)?;
        let keys = responder.respond(&self.peer, &ephemeral, body).map_err(|Refused| DropReason::TunnelHandshakeRejected)?;
        self.indices.spare = 0;
        (self.accepted, self.accepted_at, self.told) = (timestamp, Some(now), false);
        self.signer.sign(message, now);
        Ok((RESPONSE_LEN, NewSession { keys, own_index: index, peer_index: sender, initiator: false }))
    }

    fn read(&self, datagram: &[u8]) -> Result<(Responder, Tai64n), Refused> {
        let body = datagram.first_chunk().ok_or(Refused)?;
        let (mut responder, public) = Responder::read(&self.own, body)?;
        if public != self.peer.public {
            return Err(Refused);
        }
        let timestamp = responder.timestamp(&self.peer, body)?;
        if timestamp > self.accepted { Ok((responder, timestamp)) } else { Err(Refused) }
    }

    /// Whether a response with this receiver index is waited for.
    pub(super) fn awaits(&self, receiver: u32) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.index == receiver)
    }

    /// Read the response to the initiation that waits. One that does not verify changes nothing.
    pub(super) fn finish(&mut self, sender: u32, datagram: &[u8]) -> Result<NewSession, Refused> {
        let pending = self.pending.as_ref().ok_or(Refused)?;
        let body = datagram.first_chunk().ok_or(Refused)?;
        let keys = pending.initiator.finish(&self.own, &self.peer, body)?;
        let own_index = pending.index;
        // Its index lives on in the session.
        self.pending = None;
        Ok(NewSession { keys, own_index, peer_index: sender, initiator: true })
    }

    /// Give up ours that waits, and erase its secrets.
    pub(super) fn forget_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.indices.freed.push(pending.index);
        }
    }

    /// The index of ours that waits, and the spare one.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        let pending = self.pending.as_ref().map(|pending| pending.index);
        pending.into_iter().chain(Some(self.indices.spare).filter(|spare| *spare != 0))
    }

    /// The time stamp of the newest initiation, where the control plane has not been told.
    pub(super) fn untold(&self) -> Option<Tai64n> {
        (!self.told).then_some(self.accepted)
    }

    pub(super) fn told(&mut self) {
        self.told = true;
    }

    /// The newest that the peer has sent before a restart.
    pub(super) fn remember(&mut self, accepted: Tai64n) {
        self.accepted = self.accepted.max(accepted);
    }

    /// Whether nothing secret of a handshake is left.
    #[cfg(test)]
    pub(super) fn is_erased(&self) -> bool {
        self.pending.is_none()
    }
}

/// Type, and the index under which we are to be answered.
fn begin(body: &mut [u8], kind: u8, index: u32) {
    body[..4].copy_from_slice(&[kind, 0, 0, 0]);
    body[4..8].copy_from_slice(&index.to_le_bytes());
}
