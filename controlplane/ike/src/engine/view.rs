//! What people see.

use std::net::Ipv4Addr;

use crate::config::PeerName;
use crate::message::IkeSpi;
use crate::sa::child::{Child, ChildState};
use crate::sa::{IkeSa, Phase};
use crate::status::{ChildStatus, IkeStatus, Negotiation, PeerState, PeerStatus};
use crate::time::Instant;

use super::Engine;
use super::peer::{Peer, PeerId};

impl Engine {
    /// One peer as it is now.
    #[must_use]
    pub fn status(&self, peer: &PeerName) -> Option<PeerStatus> {
        self.status_of(self.core.peers.by_name(peer)?)
    }

    /// All peers as they are now, in the order of the configuration.
    #[must_use]
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.core.peers.order().iter().filter_map(|id| self.status_of(*id)).collect()
    }

    /// The last negotiation with a peer.
    #[must_use]
    pub fn explain(&self, peer: &PeerName) -> Option<Negotiation> {
        let peer = self.core.peers.get(self.core.peers.by_name(peer)?)?;
        let by_address = peer.address().and_then(|(_, address)| self.core.negotiations.get(*address.ip()));
        let newest = by_address.filter(|negotiation| negotiation.peer.as_ref() == Some(&peer.config.name)).cloned();
        // Of the same negotiation the one by its address knows more: what has been kept with the peer was copied earlier.
        peer.negotiation.clone().into_iter().chain(newest).max_by_key(|negotiation| negotiation.at)
    }

    /// The last negotiation with an address, before and after an identity is known: the last 256 addresses are remembered.
    #[must_use]
    pub fn explain_address(&self, address: Ipv4Addr) -> Option<Negotiation> {
        self.core.negotiations.get(address).cloned()
    }

    fn status_of(&self, id: PeerId) -> Option<PeerStatus> {
        let peer = self.core.peers.get(id)?;
        let sas = || peer.sas.iter().rev().filter_map(|spi| self.sas.get(spi));
        let current = sas().find(|sa| sa.is_established());
        let mut children: Vec<ChildStatus> = sas().flat_map(|sa| sa.children.iter().map(|child| child_status(sa, child))).collect();
        children.sort_by_key(|child| std::cmp::Reverse(child.established));
        Some(PeerStatus {
            name: peer.config.name.clone(),
            state: peer.state,
            since: peer.since,
            ike: current.and_then(|sa| ike_status(sa)),
            children,
            last_error: peer.last_error.clone(),
            failures: peer.failures.clone(),
            next_try: peer.next_try,
        })
    }

    /// Remember since when a peer is in the state that it is in.
    pub(super) fn note_state(&mut self, id: PeerId, now: Instant) {
        let Some(state) = self.core.peers.get(id).map(|peer| self.state_of(peer)) else { return };
        if let Some(peer) = self.core.peers.get_mut(id)
            && peer.state != state
        {
            (peer.state, peer.since) = (state, now);
        }
    }

    fn state_of(&self, peer: &Peer) -> PeerState {
        let of = |spi: &IkeSpi| match self.sas.get(spi).map(|sa| (&sa.phase, &sa.children)) {
            Some((_, children)) if children.iter().any(|child| matches!(child.state, ChildState::Live | ChildState::Replaced)) => {
                PeerState::Up
            }
            Some((Phase::Established, _)) => PeerState::Authenticated,
            Some((Phase::Init(_) | Phase::Auth(_), _)) => PeerState::Connecting,
            _ => PeerState::Down,
        };
        peer.sas.iter().map(of).max().unwrap_or(PeerState::Down)
    }
}

fn ike_status(sa: &IkeSa) -> Option<IkeStatus> {
    let (Some(initiator), Some(responder)) = sa.spis() else { return None };
    Some(IkeStatus {
        initiator_spi: initiator.get(),
        responder_spi: responder.get(),
        initiator: sa.role == crate::key_schedule::Role::Initiator,
        peer: sa.path.remote,
        peer_behind_nat: sa.nat.peer_behind,
        we_behind_nat: sa.nat.we_behind,
        fragmentation: sa.fragmentation,
        suite: sa.protection.as_ref()?.suite.to_string(),
        psk_index: sa.psk_index,
        established: sa.made,
        rekey_at: sa.rekey_at,
        last_heard: sa.last_heard,
    })
}

fn child_status(sa: &IkeSa, child: &Child) -> ChildStatus {
    ChildStatus {
        inbound_spi: child.inbound_spi,
        outbound_spi: child.outbound_spi,
        suite: child.suite.to_string(),
        encapsulation: sa.encapsulation(),
        selectors: child.selectors.clone(),
        established: child.made,
        rekey_at: child.rekey_at,
    }
}
