//! CREATE_CHILD_SA for Child SAs (RFC 7296 sections 1.3.1 and 1.3.3): a new one, or one in place of another.
//!
//! ```text
//! HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->
//!                                                  <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
//! ```

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{Initiate, PeerConfig};
use crate::dh::{DhOutcome, DhTask};
use crate::engine::core::Core;
use crate::engine::peer::{Peer, jitter};
use crate::failure::Failure;
use crate::message::{ExchangeType, Notify, NotifyType, Payload, Payloads};
use crate::proposals::KeyExchange;
use crate::sa::IkeSa;
use crate::sa::child::{Child, ChildState};
use crate::selectors;
use crate::time::Instant;
use crate::transforms::Group;

use super::child::{self, Refused, TheirChild};
use super::{ChildAnswer, ChildDraft, OurKey, Ours, Reply, Task, collision, no_secret};

/// After TEMPORARY_FAILURE we ask again within this (section 2.25).
const SHORT_PAUSE: Duration = Duration::from_secs(4);
/// After any other refusal.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// What a refused rekeying leaves of the old one.
const UNTIL: Duration = Duration::from_secs(60);

/// Ask for a Child SA; `replaces` is the inbound SPI of the one that it is to replace.
pub(crate) fn begin(core: &mut Core, sa: &mut IkeSa, replaces: Option<u32>, now: Instant) {
    let Some(config) = core.config(sa) else { return };
    let live = |spi| sa.children.iter().any(|child| child.inbound_spi == spi && child.state == ChildState::Live && !child.overtaken);
    if replaces.is_some_and(|spi| !live(spi)) {
        return;
    }
    let group = sa.peer.and_then(|id| core.peers.get(id)).and_then(Peer::pfs_group);
    let Some(inbound_spi) = core.spis.draw(config.spi_space, sa.spi, &mut core.random, now) else { return };
    let draft = ChildDraft { nonce: core.nonce(), key: group.map(OurKey::wanted), ..ChildDraft::new(inbound_spi, replaces) };
    sa.requests.prepare(Ours::Child(Box::new(draft)));
    match group {
        Some(group) => core.diffie_hellman(sa, DhTask::Generate { group }, Task::OurKeyPair),
        None => send(core, sa, now),
    }
}

/// Send the request in preparation.
pub(crate) fn send(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let Some(config) = core.config(sa) else { return };
    let Some(Ours::Child(draft)) = sa.requests.exchange() else { return };
    let Some(spi) = NonZeroU32::new(draft.inbound_spi) else { return };
    let (nonce, key) = (draft.nonce.clone(), draft.key.as_ref().map(|key| (key.group, key.public.clone())));
    let Some(peer) = sa.peer.and_then(|id| core.peers.get(id)) else { return };
    let offer = peer.proposals.offer_child(spi, key.as_ref().map(|(group, _)| *group));
    let replaces = draft.replaces;
    let overtaken = draft.rival.is_some();
    if overtaken || replaces.is_some_and(|old| sa.child_by_inbound(old).is_none_or(|old| old.state != ChildState::Live)) {
        // The peer was faster.
        return over(core, sa, SHORT_PAUSE, now);
    }
    let agreed = replaces.and_then(|old| sa.child_by_inbound(old)).map(|old| old.agreed.clone());
    let (office, far) = agreed.unwrap_or_else(|| (selectors::of_networks(&config.office), selectors::of_networks(&config.far)));
    let mut payloads = Vec::with_capacity(6);
    if let Some(old) = replaces.and_then(NonZeroU32::new) {
        payloads.push(Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, old, &[])));
    }
    payloads.push(Payload::SecurityAssociation(offer));
    payloads.push(Payload::Nonce(&nonce));
    payloads.extend(key.as_ref().map(|(group, public)| Payload::KeyExchange { group: group.number(), data: public }));
    payloads.push(Payload::TrafficSelectorsInitiator(far));
    payloads.push(Payload::TrafficSelectorsResponder(office));
    core.request(sa, ExchangeType::CreateChildSa, &payloads, now);
}

/// The peer's answer to our request.
pub(crate) fn answered(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, now: Instant) {
    sa.requests.conclude();
    let Some(config) = core.config(sa) else { return };
    if let Some(error) = payloads.error() {
        return refused(core, sa, error, now);
    }
    let Some(Ours::Child(draft)) = sa.requests.exchange_mut() else { return };
    let peer = sa.peer.and_then(|id| core.peers.get(id));
    let group = draft.key.as_ref().map(|key| key.group);
    let granted = granted(&config, peer, payloads, group);
    let public = payloads.key_exchange().filter(|(number, _)| group.is_some_and(|group| group.number() == *number));
    match (granted, group, public) {
        (Ok(answer), None, _) => {
            draft.answer = Some(answer);
            child::make_ours(core, sa, None, None, now);
        }
        (Ok(answer), Some(group), Some((_, public))) => {
            draft.answer = Some(answer);
            let Some(private) = draft.key.as_mut().and_then(|key| key.private.take()) else { return };
            core.diffie_hellman(sa, DhTask::Agree { group, private, peer_public: public.to_vec() }, Task::OurSecret);
        }
        (Ok(_), Some(_), None) => failed(core, sa, Failure::InvalidSyntax, "an answer without KE", LONG_PAUSE, now),
        (Err((failure, detail)), ..) => failed(core, sa, failure, &detail, LONG_PAUSE, now),
    }
}

/// What the peer has granted of what we asked for; never more than that.
pub(crate) fn granted(
    config: &PeerConfig,
    peer: Option<&Peer>,
    payloads: &Payloads<'_>,
    group: Option<Group>,
) -> Result<ChildAnswer, (Failure, String)> {
    if let Some(error) = payloads.error() {
        let failure = match error.kind {
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoChildProposal,
            NotifyType::TS_UNACCEPTABLE => Failure::TsUnacceptable,
            _ => Failure::NotifiedByPeer,
        };
        return Err((failure, format!("the peer answered {}", error.kind)));
    }
    let (Some(proposals), Some(tsi), Some(tsr)) = (payloads.proposals(), payloads.selectors_initiator(), payloads.selectors_responder())
    else {
        return Err((Failure::InvalidSyntax, "an answer without SA, TSi or TSr".to_owned()));
    };
    let chosen = peer.and_then(|peer| peer.proposals.answered_child(proposals, group));
    let Some(chosen) = chosen else { return Err((Failure::NoChildProposal, "the peer chose what was not offered".to_owned())) };
    let Some(traffic) = child::narrow(config, tsr, tsi) else {
        return Err((Failure::TsUnacceptable, selectors::words(tsi, tsr).join(", ")));
    };
    let nonce = payloads.nonce().unwrap_or_default().to_vec();
    Ok(ChildAnswer { suite: chosen.suite, outbound_spi: chosen.spi.get(), nonce, traffic })
}

/// The secret of our exchange is there.
pub(crate) fn agreed(core: &mut Core, sa: &mut IkeSa, outcome: DhOutcome, now: Instant) {
    if let DhOutcome::Agreed { shared } = outcome {
        return child::make_ours(core, sa, Some(&shared), None, now);
    }
    child::abandon_ours(core, sa, now);
    failed(core, sa, no_secret(&outcome), "", LONG_PAUSE, now);
}

fn refused(core: &mut Core, sa: &mut IkeSa, error: Notify<'_>, now: Instant) {
    let said = format!("the peer answered {}", error.kind);
    let Some(Ours::Child(draft)) = sa.requests.exchange() else { return };
    let (replaces, had_group) = (draft.replaces, draft.key.is_some());
    match error.kind {
        NotifyType::TEMPORARY_FAILURE => over(core, sa, SHORT_PAUSE, now),
        NotifyType::CHILD_SA_NOT_FOUND => {
            over(core, sa, LONG_PAUSE, now);
            if let Some(old) = replaces {
                child::drop_child(core, sa, old, false, now);
                plan_another(core, sa, now);
            }
        }
        NotifyType::INVALID_KE_PAYLOAD | NotifyType::NO_PROPOSAL_CHOSEN => {
            // Whether it wants perfect forward secrecy, and with which group, is learnt this way.
            let wish = error.data.try_into().ok().map(u16::from_be_bytes).and_then(Group::from_number);
            let fallback = if had_group { None } else { sa.protection.as_ref().map(|protection| protection.suite.group) };
            if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
                peer.pfs = Some(wish.or(fallback));
            }
            failed(core, sa, Failure::NoChildProposal, &said, SHORT_PAUSE, now);
        }
        NotifyType::TS_UNACCEPTABLE => failed(core, sa, Failure::TsUnacceptable, &said, LONG_PAUSE, now),
        _ => failed(core, sa, Failure::NotifiedByPeer, &said, LONG_PAUSE, now),
    }
}

fn failed(core: &mut Core, sa: &mut IkeSa, failure: Failure, detail: &str, pause: Duration, now: Instant) {
    core.failed(sa, failure, detail, now);
    over(core, sa, pause, now);
}

/// Our exchange is over without a Child SA: try again after a pause, unless the peer's own replacement stands.
pub(crate) fn over(core: &mut Core, sa: &mut IkeSa, pause: Duration, now: Instant) {
    let Some(Ours::Child(draft)) = sa.requests.finish() else { return };
    child::forget(core, sa, draft.inbound_spi, now);
    let again = now + jitter(pause, 75, &mut core.random);
    match draft.replaces {
        Some(old) if collision::we_have_failed(sa, old, draft.rival, now + UNTIL) => {}
        Some(old) => {
            if let Some(child) = sa.child_by_inbound(old) {
                child.rekey_at = again;
            }
        }
        None => sa.another_at = Some(again),
    }
}

/// No Child SA stands: ask for another one after a pause, where that is ours to do.
pub(crate) fn plan_another(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let always = core.config(sa).is_some_and(|config| config.initiate == Initiate::Always);
    let stands = sa.children.iter().any(Child::serves);
    if always && !stands && sa.is_established() {
        sa.another_at.get_or_insert(now + jitter(SHORT_PAUSE, 75, &mut core.random));
    }
}

/// The peer's request for a Child SA.
pub(crate) fn requested(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) {
    if let Err(Refused { kind, data }) = prepare(core, sa, payloads, reply, now) {
        let notify = match payloads.notify(NotifyType::REKEY_SA).and_then(|notify| notify.esp_spi) {
            Some(spi) if kind == NotifyType::CHILD_SA_NOT_FOUND => Notify::of_child(kind, spi, &[]),
            _ => Notify::new(kind, &data),
        };
        core.reply(sa, reply, &[Payload::Notify(notify)], now);
    }
}

fn prepare(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) -> Result<(), Refused> {
    // Section 2.25.2: not while the IKE SA is being rekeyed or closed.
    if sa.is_rekeying() || matches!(sa.requests.exchange(), Some(Ours::DeleteIke)) || !sa.is_established() {
        return Err(NotifyType::TEMPORARY_FAILURE.into());
    }
    let replaces = to_be_replaced(sa, payloads)?;
    let Some(config) = core.config(sa) else { return Err(NotifyType::TEMPORARY_FAILURE.into()) };
    let key = payloads.key_exchange();
    let exchange = key.map_or(KeyExchange::Absent, |(group, _)| KeyExchange::Group(group));
    let Some(nonce_i) = payloads.nonce() else { return Err(NotifyType::INVALID_SYNTAX.into()) };
    if !sa.peer.and_then(|id| core.peers.get_mut(id)).is_some_and(|peer| peer.allowance.take(now)) {
        core.counters.asked_too_often += 1;
        return Err(NotifyType::TEMPORARY_FAILURE.into());
    }
    let agreed = child::negotiate(core, sa, &config, payloads, exchange, now)?;
    let group = agreed.0.suite.group;
    if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
        peer.pfs = Some(group);
    }
    let nonces = (nonce_i.to_vec(), core.nonce());
    if let Some(old) = replaces {
        collision::peer_replaces(sa, old, agreed.2.get(), (&nonces.0, &nonces.1));
    }
    let theirs = TheirChild::new(reply, replaces, agreed, nonces);
    sa.underway.children += 1;
    match group.zip(key) {
        Some((group, (_, public))) => {
            let task = DhTask::Respond { group, peer_public: public.to_vec() };
            core.diffie_hellman(sa, task, Task::TheirChild(Box::new(theirs)));
        }
        None => child::make_theirs(core, sa, theirs, None, now),
    }
    Ok(())
}

/// Which Child SA the peer wants to replace, if any (section 2.25.1).
fn to_be_replaced(sa: &mut IkeSa, payloads: &Payloads<'_>) -> Result<Option<u32>, Refused> {
    let Some(rekey) = payloads.notify(NotifyType::REKEY_SA) else { return Ok(None) };
    let taken = match sa.requests.exchange() {
        Some(Ours::DeleteChild(spi)) => Some(*spi),
        Some(Ours::Child(draft)) => draft.replaces.filter(|_| draft.rival.is_some()),
        _ => None,
    };
    // One whose answer is still under way to us, or that this IKE SA is yet to inherit, is not one that does not exist.
    let awaited = sa.inherits || matches!(sa.requests.exchange(), Some(Ours::Child(_)));
    let Some(child) = rekey.esp_spi.and_then(|spi| sa.child_by_outbound(spi.get())) else {
        return Err(if awaited { NotifyType::TEMPORARY_FAILURE } else { NotifyType::CHILD_SA_NOT_FOUND }.into());
    };
    match child.state {
        ChildState::Live if Some(child.inbound_spi) != taken => Ok(Some(child.inbound_spi)),
        _ => Err(NotifyType::TEMPORARY_FAILURE.into()),
    }
}
