//! CREATE_CHILD_SA that replaces the IKE SA itself (RFC 7296 sections 1.3.2 and 2.18): the new one inherits the Child SAs, and who asked
//! deletes the old one.
//!
//! ```text
//! HDR, SK {SA, Ni, KEi}  -->
//!                       <--  HDR, SK {SA, Nr, KEr}
//! ```

use std::time::Duration;

use crate::dh::{DhOutcome, DhTask};
use crate::effect::{Closed, Effect, Report};
use crate::engine::core::{Core, Deferred};
use crate::engine::peer::jitter;
use crate::failure::Failure;
use crate::key_schedule::{KeyInput, Role};
use crate::message::{Delete, ExchangeType, IkeSpi, Notify, NotifyType, Payload, Payloads, Proposal};
use crate::sa::{IkeSa, Phase, Protection};
use crate::secret::Secret;
use crate::time::Instant;
use crate::transforms::{Group, IkeSuite};

use super::child::Refused;
use super::{IkeDraft, OurKey, Ours, Reply, Task, Wanted, collision, delete, no_secret};

/// Time beyond its lifetime in which an IKE SA may still be replaced.
pub(crate) const GRACE: Duration = Duration::from_secs(120);
/// A replaced IKE SA whose maker does not delete it goes after this.
pub(crate) const REPLACED_LIFE: Duration = Duration::from_secs(60);
/// After TEMPORARY_FAILURE we ask again within this (section 2.25).
const SHORT_PAUSE: Duration = Duration::from_secs(4);
/// After any other refusal.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// What failed, where that is not the making of a first SA.
const REKEYING: &str = "rekeying the IKE SA";

/// The peer's request while Diffie-Hellman is done for it.
#[derive(Debug)]
pub(crate) struct TheirIke {
    reply: Reply,
    suite: IkeSuite,
    spi: IkeSpi,
    peer_spi: IkeSpi,
    answer: Proposal,
    nonces: (Vec<u8>, Vec<u8>),
}

/// Ask for a new IKE SA.
pub(crate) fn begin(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    if sa.underway.ike > 0 || sa.underway.children > 0 {
        // The peer's own request comes first; the timer comes again.
        sa.rekey_at = now + jitter(SHORT_PAUSE, 75, &mut core.random);
        return;
    }
    let Some(group) = sa.protection.as_ref().map(|protection| protection.suite.group) else { return };
    ask(core, sa, group, false);
}

/// Ask with a key of `group`, which is what the peer wants where it `corrected` us.
fn ask(core: &mut Core, sa: &mut IkeSa, group: Group, corrected: bool) {
    let draft = IkeDraft { spi: core.ike_spi(), nonce: core.nonce(), key: OurKey::wanted(group), corrected, answer: None };
    sa.requests.prepare(Ours::RekeyIke(Box::new(draft)));
    core.diffie_hellman(sa, DhTask::Generate { group }, Task::OurKeyPair);
}

/// Send the request in preparation.
pub(crate) fn send(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let Some(Ours::RekeyIke(draft)) = sa.requests.exchange() else { return };
    let (spi, nonce, group, public) = (draft.spi, draft.nonce.clone(), draft.key.group, draft.key.public.clone());
    let Some(peer) = sa.peer.and_then(|id| core.peers.get(id)) else { return };
    let payloads = [
        Payload::SecurityAssociation(peer.proposals.offer_ike(Some(spi))),
        Payload::Nonce(&nonce),
        Payload::KeyExchange { group: group.number(), data: &public },
    ];
    core.request(sa, ExchangeType::CreateChildSa, &payloads, now);
}

/// The peer's answer to our request.
pub(crate) fn answered(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, now: Instant) {
    sa.requests.conclude();
    if let Some(error) = payloads.error() {
        if let Some(group) = wanted_instead(core, sa, error) {
            sa.requests.finish();
            return ask(core, sa, group, true);
        }
        let pause = if error.kind == NotifyType::TEMPORARY_FAILURE { SHORT_PAUSE } else { LONG_PAUSE };
        if pause == LONG_PAUSE {
            core.failed(sa, Failure::NotifiedByPeer, format!("rekeying the IKE SA: the peer answered {}", error.kind), now);
        }
        return over(core, sa, pause, now);
    }
    let peer = sa.peer.and_then(|id| core.peers.get(id));
    let Some(Ours::RekeyIke(draft)) = sa.requests.exchange_mut() else { return };
    let group = draft.key.group;
    let chosen = payloads.proposals().zip(peer).and_then(|(proposals, peer)| peer.proposals.answered_ike(proposals, group));
    let public = payloads.key_exchange().filter(|(number, _)| *number == group.number());
    let (Some(chosen), Some((_, public)), Some(nonce)) = (chosen, public, payloads.nonce()) else {
        core.failed(sa, Failure::NoIkeProposal, "rekeying the IKE SA: the peer chose what was not offered", now);
        return over(core, sa, LONG_PAUSE, now);
    };
    let (Some(peer_spi), Some(private)) = (chosen.spi, draft.key.private.take()) else { return over(core, sa, LONG_PAUSE, now) };
    draft.answer = Some((chosen.suite, peer_spi, nonce.to_vec()));
    core.diffie_hellman(sa, DhTask::Agree { group, private, peer_public: public.to_vec() }, Task::OurSecret);
}

/// The group that the peer wants instead of ours (section 1.3), once.
fn wanted_instead(core: &Core, sa: &IkeSa, error: Notify<'_>) -> Option<Group> {
    let Some(Ours::RekeyIke(draft)) = sa.requests.exchange() else { return None };
    if error.kind != NotifyType::INVALID_KE_PAYLOAD || draft.corrected {
        return None;
    }
    let group = error.data.try_into().ok().map(u16::from_be_bytes).and_then(Group::from_number)?;
    let peer = core.peers.get(sa.peer?)?;
    (group != draft.key.group && peer.proposals.has_group(group)).then_some(group)
}

/// The secret of our exchange is there: the new IKE SA stands.
pub(crate) fn agreed(core: &mut Core, sa: &mut IkeSa, outcome: DhOutcome, now: Instant) {
    let DhOutcome::Agreed { shared } = outcome else {
        // The peer works with the new IKE SA already, and we cannot: both ends agree again only after a new beginning.
        core.failed(sa, no_secret(&outcome), REKEYING, now);
        delete::say_goodbye(core, sa, &[Payload::Delete(Delete::Ike)], now);
        sa.fate = Some(Closed::Failed);
        return;
    };
    let Some(Ours::RekeyIke(draft)) = sa.requests.finish() else { return };
    let Some((suite, peer_spi, nonce_r)) = draft.answer else { return };
    let made = Heir { role: Role::Initiator, spi: draft.spi, peer_spi, suite, shared: &shared, nonces: (&draft.nonce, &nonce_r) };
    let Some(new) = successor(core, sa, &made, now) else { return };
    let lowest = new.lowest_nonce.clone();
    core.deferred.push_back(Deferred::Insert(new));
    let heir = match &sa.rival {
        Some((spi, nonce)) => collision::heir((draft.spi, &lowest), (*spi, nonce)),
        None => draft.spi,
    };
    core.deferred.push_back(Deferred::Inherit { from: sa.spi, to: heir });
    replaced(sa, now);
    // Who made the one that is too many deletes it; who made the other one deletes the old SA.
    core.deferred.push_back(Deferred::Want(if heir == draft.spi { sa.spi } else { draft.spi }, Wanted::DeleteIke));
    if let Some((rival, _)) = sa.rival.take().filter(|(rival, _)| *rival != heir) {
        core.deferred.push_back(Deferred::GiveUp(rival, now + REPLACED_LIFE));
    }
}

/// Our exchange is over without a new IKE SA: try again after a pause, unless the peer's own replacement stands.
pub(crate) fn over(core: &mut Core, sa: &mut IkeSa, pause: Duration, now: Instant) {
    sa.requests.finish();
    sa.rekey_at = now + jitter(pause, 75, &mut core.random);
    if let Some((rival, _)) = sa.rival.take() {
        core.deferred.push_back(Deferred::Inherit { from: sa.spi, to: rival });
        replaced(sa, now);
    }
}

/// `sa` has a successor; only its Delete is still to come.
pub(crate) fn replaced(sa: &mut IkeSa, now: Instant) {
    sa.phase = Phase::Replaced;
    sa.give_up = Some(now + REPLACED_LIFE);
}

/// The peer's request.
pub(crate) fn requested(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) {
    if let Err(Refused { kind, data }) = prepare(core, sa, payloads, reply, now) {
        core.reply(sa, reply, &[Payload::Notify(Notify::new(kind, &data))], now);
    }
}

fn prepare(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) -> Result<(), Refused> {
    // Section 2.25.2: not while a Child SA is being made or this IKE SA is being closed.
    let closing = matches!(sa.requests.exchange(), Some(Ours::DeleteIke));
    if sa.is_busy_with_children() || closing || sa.underway.ike > 0 || sa.rival.is_some() || !sa.is_established() {
        return Err(NotifyType::TEMPORARY_FAILURE.into());
    }
    let (Some(offer), Some((group, public)), Some(nonce_i)) = (payloads.proposals(), payloads.key_exchange(), payloads.nonce()) else {
        return Err(NotifyType::INVALID_SYNTAX.into());
    };
    let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) else { return Err(NotifyType::TEMPORARY_FAILURE.into()) };
    if !peer.may_replace_ike(now) {
        core.counters.asked_too_often += 1;
        return Err(NotifyType::TEMPORARY_FAILURE.into());
    }
    let chosen = match peer.proposals.choose_ike(offer, group) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            core.failed_by(sa, Failure::NoIkeProposal, refusal.to_string(), Some(refusal.remedy()), now);
            return Err(NotifyType::NO_PROPOSAL_CHOSEN.into());
        }
    };
    let wanted = chosen.suite.group;
    if wanted.number() != group {
        return Err(Refused { kind: NotifyType::INVALID_KE_PAYLOAD, data: wanted.number().to_be_bytes().to_vec() });
    }
    let Some(peer_spi) = chosen.spi else { return Err(NotifyType::INVALID_SYNTAX.into()) };
    let spi = core.ike_spi();
    let (answer, nonces) = (chosen.answer(Some(spi)), (nonce_i.to_vec(), core.nonce()));
    let theirs = TheirIke { reply, suite: chosen.suite, spi, peer_spi, answer, nonces };
    sa.underway.ike += 1;
    core.diffie_hellman(sa, DhTask::Respond { group: wanted, peer_public: public.to_vec() }, Task::TheirIke(Box::new(theirs)));
    Ok(())
}

/// Diffie-Hellman for the peer's request is done: answer it.
pub(crate) fn respond(core: &mut Core, sa: &mut IkeSa, theirs: TheirIke, outcome: DhOutcome, now: Instant) {
    sa.underway.ike = sa.underway.ike.saturating_sub(1);
    if !sa.is_established() {
        // Our own successor stands meanwhile, and this IKE SA is as good as deleted.
        return core.reply(sa, theirs.reply, &[Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, &[]))], now);
    }
    let DhOutcome::Responded { public, shared } = outcome else {
        let busy = matches!(outcome, DhOutcome::Busy);
        if !busy {
            core.failed(sa, Failure::BadPublicValue, REKEYING, now);
        }
        let kind = if busy { NotifyType::TEMPORARY_FAILURE } else { NotifyType::INVALID_SYNTAX };
        return core.reply(sa, theirs.reply, &[Payload::Notify(Notify::new(kind, &[]))], now);
    };
    let TheirIke { reply, suite, spi, peer_spi, answer, nonces } = theirs;
    let made = Heir { role: Role::Responder, spi, peer_spi, suite, shared: &shared, nonces: (&nonces.0, &nonces.1) };
    let Some(new) = successor(core, sa, &made, now) else { return };
    let payloads = [
        Payload::SecurityAssociation(vec![answer]),
        Payload::Nonce(&nonces.1),
        Payload::KeyExchange { group: suite.group.number(), data: &public },
    ];
    core.reply(sa, reply, &payloads, now);
    let lowest = new.lowest_nonce.clone();
    core.deferred.push_back(Deferred::Insert(new));
    if matches!(sa.requests.exchange(), Some(Ours::RekeyIke(_))) {
        sa.rival = Some((spi, lowest));
    } else {
        core.deferred.push_back(Deferred::Inherit { from: sa.spi, to: spi });
        replaced(sa, now);
    }
}

/// What a successor is made of.
struct Heir<'a> {
    role: Role,
    spi: IkeSpi,
    peer_spi: IkeSpi,
    suite: IkeSuite,
    shared: &'a Secret,
    nonces: (&'a [u8], &'a [u8]),
}

/// The IKE SA that replaces `sa`: the same two ends, new keys, message ids from 0.
fn successor(core: &mut Core, sa: &mut IkeSa, made: &Heir<'_>, now: Instant) -> Option<Box<IkeSa>> {
    let config = core.config(sa)?;
    let (spi_i, spi_r) = match made.role {
        Role::Initiator => (made.spi, made.peer_spi),
        Role::Responder => (made.peer_spi, made.spi),
    };
    let (nonce_i, nonce_r) = made.nonces;
    let input = KeyInput { shared: made.shared, nonce_i, nonce_r, spi_i: spi_i.octets(), spi_r: spi_r.octets() };
    let keys = sa.protection.as_ref()?.keys.rekeyed(made.suite, &input);
    let mut new = Box::new(IkeSa::new(made.spi, made.role, sa.path, now));
    new.peer_spi = Some(made.peer_spi);
    new.peer = sa.peer;
    new.nat = sa.nat;
    new.fragmentation = sa.fragmentation;
    new.inherits = true;
    // One that inherits nothing by then is one too many, whatever has become of the exchange that made it.
    new.give_up = Some(now + REPLACED_LIFE);
    new.protection = Some(Protection::new(made.suite, keys, made.role));
    new.phase = Phase::Established;
    new.responses = crate::sa::responses::Responses::new(0);
    new.psk_index = sa.psk_index;
    new.lowest_nonce = nonce_i.min(nonce_r).to_vec();
    new.rekey_at = now + jitter(config.ike_lifetime, 10, &mut core.random);
    new.expires_at = now + config.ike_lifetime + GRACE.max(config.ike_lifetime / 5);
    core.counters.ike_sas += 1;
    core.counters.rekeys_ike += 1;
    let (suite, initiator) = (made.suite.to_string(), made.role == Role::Initiator);
    let report = Report::IkeEstablished { peer: config.name.clone(), address: sa.path.remote, suite, initiator, rekey: true };
    core.effects.push_back(Effect::Report(report));
    if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
        peer.sas.push(made.spi);
    }
    Some(new)
}

/// The IKE SA was deleted by the peer: what its own replacement inherits, our rekeying of it forgets (section 2.25.2).
pub(crate) fn deleted_meanwhile(sa: &mut IkeSa) {
    let replaced = sa.rival.is_some() || matches!(sa.phase, Phase::Replaced);
    sa.fate = Some(if replaced { Closed::Replaced } else { Closed::ByPeer });
}
