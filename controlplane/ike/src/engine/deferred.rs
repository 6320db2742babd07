//! What an exchange of one IKE SA means for others: successors, heirs, SAs that are one too many, and the end of an SA.

use std::time::Duration;

use crate::config::Initiate;
use crate::effect::{Closed, Effect, Report};
use crate::exchange::{Wanted, child};
use crate::key_schedule::Role;
use crate::message::IkeSpi;
use crate::sa::{IkeSa, Phase};
use crate::time::Instant;

use super::core::Deferred;
use super::peer::PeerId;
use super::timers::Timer;
use super::{Engine, MAX_SAS_OF_A_PEER};

/// An IKE SA that a newer one outranks is deleted after this: the peer may have begun anew and still use the old one for a moment.
const RETIREMENT: Duration = Duration::from_secs(30);
/// Two IKE SAs made within this time may be both sides' beginning at once.
const AT_ONCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Do what exchanges have left to be done on other IKE SAs.
    pub(super) fn run_deferred(&mut self, now: Instant) {
        while let Some(deferred) = self.core.deferred.pop_front() {
            match deferred {
                Deferred::Insert(sa) => self.put_back(sa, now),
                Deferred::Inherit { from, to } => self.inherit(from, to, now),
                Deferred::Want(spi, wanted) => self.with_sa(spi, now, |_, sa| sa.requests.want_first(wanted)),
                Deferred::GiveUp(spi, at) => self.with_sa(spi, now, |_, sa| super::upkeep::replaced_until(sa, at)),
                Deferred::Authenticated { spi, initial_contact } => {
                    if let Some(sa) = self.sas.remove(&spi) {
                        self.no_longer_strange(&sa);
                        self.sas.insert(spi, sa);
                    }
                    self.outrank_others(spi, initial_contact, now);
                }
            }
        }
    }

    /// `to` inherits the Child SAs of `from` and what waits for its turn (RFC 7296 section 2.8).
    fn inherit(&mut self, from: IkeSpi, to: IkeSpi, now: Instant) {
        let Some(mut old) = self.sas.remove(&from) else { return };
        self.hand_over(&mut old, to, now);
        self.put_back(old, now);
    }

    /// `to` inherits from `old`.
    pub(super) fn hand_over(&mut self, old: &mut IkeSa, to: IkeSpi, now: Instant) {
        let Some(mut heir) = self.sas.remove(&to) else { return };
        for child in &old.children {
            self.core.spis.inherit(child.inbound_spi, to);
        }
        heir.children.append(&mut old.children);
        (heir.inherits, heir.give_up) = (false, None);
        let about_children = |wanted: &Wanted| !matches!(wanted, Wanted::RekeyIke | Wanted::DeleteIke | Wanted::Probe);
        old.requests.take_queue().into_iter().filter(about_children).for_each(|wanted| heir.requests.want(wanted));
        heir.another_at = old.another_at.take();
        self.put_back(heir, now);
    }

    /// A newly authenticated IKE SA: what of the peer's other ones? Only those of the same peer, so of the same tenant, are looked at.
    fn outrank_others(&mut self, spi: IkeSpi, initial_contact: bool, now: Instant) {
        let Some((id, ours)) = self.sas.get(&spi).and_then(|sa| Some((sa.peer?, sa.lowest_nonce.clone()))) else { return };
        let made_by_us = self.sas.get(&spi).is_some_and(|sa| sa.role == Role::Initiator);
        let mut others = self.core.peers.get(id).map(|peer| peer.sas.clone()).unwrap_or_default();
        others.retain(|other| *other != spi);
        let too_many = (others.len() + 1).saturating_sub(MAX_SAS_OF_A_PEER);
        let mut outranked = false;
        for (index, other) in others.into_iter().enumerate() {
            self.with_sa(other, now, |_, sa| {
                if initial_contact && sa.is_established() || index < too_many {
                    sa.fate = Some(Closed::PeerRestarted);
                } else if sa.is_established() {
                    // Both began at once: both keep the same one, the other is the one with the lowest nonce.
                    let at_once = now.since(sa.made) < AT_ONCE && (sa.role == Role::Initiator) != made_by_us;
                    if at_once && ours < sa.lowest_nonce {
                        outranked = true;
                    } else {
                        sa.retire_at.get_or_insert(now + RETIREMENT);
                    }
                }
            });
        }
        if outranked {
            self.with_sa(spi, now, |_, sa| sa.retire_at = Some(now + RETIREMENT));
        }
    }

    /// An IKE SA is over: its Child SAs go with it.
    pub(super) fn bury(&mut self, mut sa: Box<IkeSa>, why: Closed, now: Instant) {
        self.core.timers.set(Timer::Sa(sa.spi), None);
        self.no_longer_strange(&sa);
        let stood = matches!(sa.phase, Phase::Established | Phase::Replaced);
        // The successor has been counted in, so the one that it replaced is counted out.
        if stood {
            self.core.counters.ike_sas = self.core.counters.ike_sas.saturating_sub(1);
        }
        let Some(id) = sa.peer else { return };
        if let Some(peer) = self.core.peers.get_mut(id) {
            peer.sas.retain(|spi| *spi != sa.spi);
        }
        for inbound_spi in sa.children.iter().map(|child| child.inbound_spi).collect::<Vec<_>>() {
            child::drop_child(&mut self.core, &mut sa, inbound_spi, false, now);
        }
        self.core.release_draft(&mut sa, now);
        if stood && why != Closed::Replaced {
            self.report_closed(id, why);
        }
        self.plan_retry(id, why, now);
        self.note_state(id, now);
    }

    fn report_closed(&mut self, id: PeerId, why: Closed) {
        if let Some(peer) = self.core.peers.get(id) {
            let report = Report::IkeClosed { peer: peer.config.name.clone(), why };
            self.core.effects.push_back(Effect::Report(report));
        }
    }

    fn plan_retry(&mut self, id: PeerId, why: Closed, now: Instant) {
        let Some(peer) = self.core.peers.get_mut(id) else { return };
        if peer.sas.is_empty() && peer.config.initiate == Initiate::Always && why != Closed::Reconfigured {
            peer.plan_retry(&mut self.core.random, now);
        }
        self.core.arm_peer(id);
    }
}
