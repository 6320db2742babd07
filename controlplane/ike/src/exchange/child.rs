//! Making a Child SA (RFC 7296 sections 1.3, 2.8, 2.9, 2.17), whether IKE_AUTH or CREATE_CHILD_SA brings it, and whoever asks for it.
//!
//! The responder installs both directions first and answers then; the initiator installs when the answer comes. So the responder goes
//! on sending on an older pair until it has heard something on the new one, and no packet finds nobody who knows its SPI.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{PeerConfig, PeerName};
use crate::dh::DhOutcome;
use crate::effect::{ChildSa, Effect, EspCipher, EspIntegrity, InstallRefused, Lifetime, OutboundUse, Report, Selector};
use crate::engine::core::Core;
use crate::engine::negotiations::MAX_LINES;
use crate::engine::peer::jitter;
use crate::failure::Failure;
use crate::key_schedule::{DirectionKeys, Role};
use crate::message::{Notify, NotifyType, Payload, Payloads, Proposal, TrafficSelector};
use crate::proposals::{ChosenChild, KeyExchange, proposal_words};
use crate::sa::child::{Child, ChildState};
use crate::sa::{IkeSa, MAX_CHILDREN};
use crate::secret::Secret;
use crate::selectors;
use crate::time::Instant;
use crate::transforms::{Cipher, Integrity};

use super::auth::AuthAnswer;
use super::{ChildAnswer, Ours, Reply, Task, collision};

/// A pair takes late packets this long after it was replaced: longer than packets stay under way on any line.
const LINGER: Duration = Duration::from_secs(5);
/// Outbound traffic goes over to a pair of a new IKE SA after this, even though nothing was heard on it: the old SA may be nobody's.
const SWITCH_AFTER: Duration = Duration::from_secs(2);
/// Time beyond its lifetime in which a Child SA may still be replaced.
const GRACE: Duration = Duration::from_secs(60);
/// A replaced Child SA whose maker does not delete it goes after this.
const REPLACED_LIFE: Duration = Duration::from_secs(60);
/// 4 TiB, which are 2^38 blocks of AES: that two of them are equal under CBC, which would show something of both, is then as likely as 1
/// in 2^53.
const SOFT_BYTES: u64 = 1 << 42;
/// Half of all 32-bit sequence numbers.
const SOFT_PACKETS: u64 = 1 << 31;
/// Extended ones never run out; so many of the smallest packets are some 2^42 octets and more.
const SOFT_PACKETS_ESN: u64 = 1 << 38;

/// The traffic that a Child SA carries.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// On the peer's side.
    pub(crate) office: Vec<TrafficSelector>,
    /// On our side.
    pub(crate) far: Vec<TrafficSelector>,
    /// Both, as the worker checks them.
    pub(crate) selectors: Vec<Selector>,
    /// More was possible than one Child SA holds.
    pub(crate) left_out: bool,
}

/// Why a Child SA is refused, as the peer is told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) kind: NotifyType,
    pub(crate) data: Vec<u8>,
}

impl From<NotifyType> for Refused {
    fn from(kind: NotifyType) -> Self {
        Self { kind, data: Vec::new() }
    }
}

/// A Child SA that the peer asks for, chosen and narrowed.
#[derive(Debug)]
pub(crate) struct TheirChild {
    pub(crate) reply: Reply,
    /// The inbound SPI of the Child SA that it replaces.
    pub(crate) replaces: Option<u32>,
    pub(crate) chosen: ChosenChild,
    inbound_spi: NonZeroU32,
    pub(crate) traffic: Traffic,
    /// The nonces of the exchange: the peer's and ours.
    pub(crate) nonces: (Vec<u8>, Vec<u8>),
    /// The first half of an answer to IKE_AUTH.
    pub(crate) auth: Option<Box<AuthAnswer>>,
}

/// A Child SA that the peer asks for, while a worker installs it: what the answer will say.
#[derive(Debug)]
pub(crate) struct TheirMade {
    pub(crate) name: PeerName,
    pub(crate) inbound_spi: u32,
    reply: Reply,
    replaces: Option<u32>,
    proposal: Proposal,
    nonce: Vec<u8>,
    public: Option<(u16, Vec<u8>)>,
    traffic: Traffic,
    auth: Option<Box<AuthAnswer>>,
}

/// A Child SA that we asked for, while a worker installs it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: PeerName,
    pub(crate) inbound_spi: u32,
    replaces: Option<u32>,
}

/// Choose and narrow what the peer asks for: never wider than the prefixes of the tenant that `config` belongs to.
pub(crate) fn negotiate(
    core: &mut Core,
    sa: &IkeSa,
    config: &PeerConfig,
    payloads: &Payloads<'_>,
    exchange: KeyExchange,
    now: Instant,
) -> Result<(ChosenChild, Traffic, NonZeroU32), Refused> {
    let (Some(offer), Some(tsi), Some(tsr)) = (payloads.proposals(), payloads.selectors_initiator(), payloads.selectors_responder()) else {
        return Err(NotifyType::INVALID_SYNTAX.into());
    };
    if sa.children.len() >= MAX_CHILDREN {
        return Err(NotifyType::NO_ADDITIONAL_SAS.into());
    }
    let accepted = sa.peer.and_then(|id| core.peers.get(id)).map(|peer| peer.proposals.child_words()).unwrap_or_default();
    core.negotiations.note(sa.path.remote, |negotiation| {
        negotiation.child_accepted = accepted;
        negotiation.child_proposed = offer.iter().take(MAX_LINES).map(proposal_words).collect();
        negotiation.selectors_proposed = selectors::words(tsi, tsr).into_iter().take(MAX_LINES).collect();
    });
    let Some(peer) = sa.peer.and_then(|id| core.peers.get(id)) else { return Err(NotifyType::TEMPORARY_FAILURE.into()) };
    let chosen = match peer.proposals.choose_child(offer, exchange) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            core.failed_by(sa, Failure::NoChildProposal, refusal.to_string(), Some(refusal.remedy()), now);
            return Err(NotifyType::NO_PROPOSAL_CHOSEN.into());
        }
    };
    if let (Some(group), KeyExchange::Group(sent)) = (chosen.suite.group, exchange)
        && group.number() != sent
    {
        return Err(Refused { kind: NotifyType::INVALID_KE_PAYLOAD, data: group.number().to_be_bytes().to_vec() });
    }
    if let (Some(group), KeyExchange::Absent) = (chosen.suite.group, exchange) {
        return Err(Refused { kind: NotifyType::INVALID_KE_PAYLOAD, data: group.number().to_be_bytes().to_vec() });
    }
    let Some(traffic) = narrow(config, tsi, tsr) else {
        core.failed(sa, Failure::TsUnacceptable, selectors::words(tsi, tsr).join(", "), now);
        return Err(NotifyType::TS_UNACCEPTABLE.into());
    };
    if traffic.left_out {
        let most = selectors::MAX_PAIRS;
        core.negotiations.step(sa.path.remote, format!("left out selectors beyond {most} pairs; give the services neighbouring addresses"));
    }
    let spi = core.spis.draw(config.spi_space, sa.spi, &mut core.random, now).and_then(NonZeroU32::new);
    spi.map(|spi| (chosen, traffic, spi)).ok_or(NotifyType::NO_ADDITIONAL_SAS.into())
}

/// What of `office` and `far` lies within the tenant's prefixes.
pub(crate) fn narrow(config: &PeerConfig, office: &[TrafficSelector], far: &[TrafficSelector]) -> Option<Traffic> {
    let narrowed = selectors::narrow(office, far, &config.office, &config.far)?;
    Some(Traffic { office: narrowed.office, far: narrowed.far, selectors: narrowed.pairs, left_out: narrowed.left_out })
}

impl TheirChild {
    pub(crate) fn new(
        reply: Reply,
        replaces: Option<u32>,
        (chosen, traffic, inbound_spi): (ChosenChild, Traffic, NonZeroU32),
        nonces: (Vec<u8>, Vec<u8>),
    ) -> Self {
        Self { reply, replaces, chosen, inbound_spi, traffic, nonces, auth: None }
    }
}

/// Diffie-Hellman for a Child SA that the peer asks for is done.
pub(crate) fn agreed_theirs(core: &mut Core, sa: &mut IkeSa, theirs: TheirChild, outcome: DhOutcome, now: Instant) {
    if let DhOutcome::Responded { public, shared } = outcome {
        return make_theirs(core, sa, theirs, Some((public, shared)), now);
    }
    sa.underway.children = sa.underway.children.saturating_sub(1);
    core.spis.retire(theirs.inbound_spi.get(), now);
    collision::peer_has_failed(sa, theirs.replaces, now + LINGER);
    let kind = if matches!(outcome, DhOutcome::Busy) {
        NotifyType::TEMPORARY_FAILURE
    } else {
        core.failed(sa, Failure::BadPublicValue, "", now);
        NotifyType::INVALID_SYNTAX
    };
    core.reply(sa, theirs.reply, &[Payload::Notify(Notify::new(kind, &[]))], now);
}

/// Derive the keys of a Child SA that the peer asks for and have it installed. `sa.underway` counts it already.
pub(crate) fn make_theirs(core: &mut Core, sa: &mut IkeSa, theirs: TheirChild, secret: Option<(Vec<u8>, Secret)>, now: Instant) {
    let TheirChild { reply, replaces, chosen, inbound_spi, traffic, nonces, auth } = theirs;
    let (Some(protection), Some(config)) = (&sa.protection, core.config(sa)) else { return };
    let (public, shared) = secret.map_or((None, None), |(public, shared)| (Some(public), Some(shared)));
    let keys = protection.keys.child(chosen.suite.cipher, shared.as_ref(), &nonces.0, &nonces.1);
    // An older pair goes on until the peer is heard on the new one; without one there is nothing to wait for.
    let others = live_elsewhere(core, sa);
    let outbound_use = if others { OutboundUse::WhenHeard } else { OutboundUse::Now };
    let answer = ChildAnswer { suite: chosen.suite, outbound_spi: chosen.spi.get(), nonce: Vec::new(), traffic: traffic.clone() };
    let lowest_nonce = nonces.0.clone().min(nonces.1.clone());
    let mut child = new_child(core, &config, inbound_spi.get(), &answer, lowest_nonce, now);
    child.confirmed = !others;
    if auth.is_some() && others {
        child.switch_at = Some(now + SWITCH_AFTER);
    }
    let pair = pair(sa, &child, keys.directions(Role::Responder), outbound_use);
    sa.children.push(child);
    let made = TheirMade {
        name: config.name.clone(),
        reply,
        inbound_spi: inbound_spi.get(),
        replaces,
        proposal: chosen.answer(inbound_spi),
        nonce: nonces.1,
        public: chosen.suite.group.zip(public).map(|(group, public)| (group.number(), public)),
        traffic,
        auth,
    };
    core.install(sa, config.name.clone(), pair, Task::InstallTheirs(Box::new(made)));
}

/// A worker has installed what the peer asked for, or has not: answer.
pub(crate) fn installed_theirs(core: &mut Core, sa: &mut IkeSa, made: TheirMade, outcome: Result<(), InstallRefused>, now: Instant) {
    sa.underway.children = sa.underway.children.saturating_sub(1);
    let reply = made.reply;
    let front = made.auth.as_deref().map(AuthAnswer::payloads).unwrap_or_default();
    if let Err(why) = outcome {
        forget(core, sa, made.inbound_spi, now);
        collision::peer_has_failed(sa, made.replaces, now + LINGER);
        core.failed(sa, Failure::InstallRefused, format!("{why:?}"), now);
        let refusal = Payload::Notify(Notify::new(NotifyType::NO_ADDITIONAL_SAS, &[]));
        return core.reply(sa, reply, &front.into_iter().chain([refusal]).collect::<Vec<_>>(), now);
    }
    stands(core, sa, made.inbound_spi, made.replaces.is_some());
    if let Some(old) = made.replaces {
        collision::peer_has_replaced(sa, old, now + REPLACED_LIFE);
    }
    let mut payloads = front;
    payloads.push(Payload::SecurityAssociation(vec![made.proposal]));
    if made.auth.is_none() {
        payloads.push(Payload::Nonce(&made.nonce));
    }
    payloads.extend(made.public.as_ref().map(|(group, data)| Payload::KeyExchange { group: *group, data }));
    payloads.push(Payload::TrafficSelectorsInitiator(made.traffic.office));
    payloads.push(Payload::TrafficSelectorsResponder(made.traffic.far));
    core.reply(sa, reply, &payloads, now);
}

/// Derive the keys of a Child SA that we asked for and that the peer has granted, and have it installed.
pub(crate) fn make_ours(core: &mut Core, sa: &mut IkeSa, shared: Option<&Secret>, nonces: Option<(&[u8], &[u8])>, now: Instant) {
    let Some(config) = core.config(sa) else { return };
    let (Some(Ours::Auth(draft) | Ours::Child(draft)), Some(protection)) = (sa.requests.exchange(), &sa.protection) else { return };
    let Some(answer) = draft.answer.clone() else { return };
    let (nonce_i, nonce_r) = nonces.unwrap_or((&draft.nonce, &answer.nonce));
    let keys = protection.keys.child(answer.suite.cipher, shared, nonce_i, nonce_r);
    let (inbound_spi, replaces) = (draft.inbound_spi, draft.replaces);
    let mut child = new_child(core, &config, inbound_spi, &answer, nonce_i.min(nonce_r).to_vec(), now);
    child.confirmed = true;
    // The responder has it already. One that is one too many is never used.
    let redundant = collision::peer_prevails(draft.rival.as_ref(), &child.lowest_nonce);
    let outbound_use = if redundant { OutboundUse::WhenHeard } else { OutboundUse::Now };
    let pair = pair(sa, &child, keys.directions(Role::Initiator), outbound_use);
    sa.children.push(child);
    core.install(sa, config.name.clone(), pair, Task::InstallOurs(Box::new(Made { name: config.name.clone(), inbound_spi, replaces })));
}

/// A worker has installed what we asked for, or has not. The exchange is over.
pub(crate) fn installed_ours(core: &mut Core, sa: &mut IkeSa, made: &Made, outcome: Result<(), InstallRefused>, now: Instant) {
    let rival = match sa.requests.finish() {
        Some(Ours::Child(draft)) => draft.rival,
        _ => None,
    };
    if let Err(why) = outcome {
        core.failed(sa, Failure::InstallRefused, format!("{why:?}"), now);
        if let Some(child) = sa.child_by_inbound(made.inbound_spi) {
            child.state = ChildState::NeverStood;
        }
        // The peer has it: it must not send into the void.
        return sa.requests.want(super::Wanted::DeleteChild(made.inbound_spi));
    }
    stands(core, sa, made.inbound_spi, made.replaces.is_some());
    if let Some(old) = made.replaces {
        collision::we_have_replaced(sa, old, made.inbound_spi, rival.as_ref(), now + REPLACED_LIFE);
    }
}

/// The peer has made what we asked for, and we cannot: have it deleted there. The exchange is still to be ended.
pub(crate) fn abandon_ours(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let (Some(config), Some(Ours::Child(draft))) = (core.config(sa), sa.requests.exchange()) else { return };
    let (inbound_spi, Some(answer)) = (draft.inbound_spi, draft.answer.clone()) else { return };
    let child = new_child(core, &config, inbound_spi, &answer, Vec::new(), now);
    sa.children.push(Child { state: ChildState::NeverStood, ..child });
    sa.requests.want(super::Wanted::DeleteChild(inbound_spi));
}

fn new_child(core: &mut Core, config: &PeerConfig, inbound_spi: u32, answer: &ChildAnswer, lowest_nonce: Vec<u8>, now: Instant) -> Child {
    let lifetime = config.child_lifetime;
    Child {
        inbound_spi,
        outbound_spi: answer.outbound_spi,
        suite: answer.suite,
        selectors: answer.traffic.selectors.clone(),
        agreed: (answer.traffic.office.clone(), answer.traffic.far.clone()),
        state: ChildState::Installing,
        lowest_nonce,
        lost: false,
        confirmed: false,
        overtaken: false,
        redundant: false,
        made: now,
        rekey_at: now + jitter(lifetime, 10, &mut core.random),
        expires_at: now + lifetime + GRACE.max(lifetime / 5),
        switch_at: None,
    }
}

fn pair(sa: &IkeSa, child: &Child, (ours, theirs): (DirectionKeys, DirectionKeys), outbound_use: OutboundUse) -> ChildSa {
    let packets = if child.suite.esn { SOFT_PACKETS_ESN } else { SOFT_PACKETS };
    ChildSa {
        inbound_spi: child.inbound_spi,
        outbound_spi: child.outbound_spi,
        inbound: esp_cipher(&theirs),
        outbound: esp_cipher(&ours),
        esn: child.suite.esn,
        encapsulation: sa.encapsulation(),
        selectors: child.selectors.clone(),
        soft: Lifetime { bytes: SOFT_BYTES, packets },
        outbound_use,
    }
}

fn esp_cipher(keys: &DirectionKeys) -> EspCipher {
    let key = Secret::new(keys.encryption().to_vec());
    match keys.cipher() {
        Cipher::Aead(_) => EspCipher::AesGcm16 { key, salt: keys.salt().unwrap_or_default() },
        Cipher::AesCbc { integrity, .. } => {
            let integrity_key = Secret::new(keys.integrity().to_vec());
            EspCipher::AesCbc { key, integrity: esp_integrity(integrity), integrity_key }
        }
    }
}

fn esp_integrity(integrity: Integrity) -> EspIntegrity {
    match integrity {
        Integrity::HmacSha1_96 => EspIntegrity::HmacSha1_96,
        Integrity::HmacSha256_128 => EspIntegrity::HmacSha256_128,
        Integrity::HmacSha384_192 => EspIntegrity::HmacSha384_192,
        Integrity::HmacSha512_256 => EspIntegrity::HmacSha512_256,
    }
}

/// True when traffic of the peer behind `sa` has a pair already, under this IKE SA or another one.
fn live_elsewhere(core: &Core, sa: &IkeSa) -> bool {
    // A peer that has just started has nothing but this.
    if sa.first_contact && sa.children.is_empty() {
        return false;
    }
    let here = sa.children.iter().any(Child::is_installed);
    here || sa.peer.and_then(|id| core.peers.get(id)).is_some_and(|peer| peer.pairs > 0)
}

/// A Child SA stands.
fn stands(core: &mut Core, sa: &mut IkeSa, inbound_spi: u32, rekey: bool) {
    let Some(name) = core.name(sa) else { return };
    if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
        peer.pairs += 1;
        peer.attempts = 0;
    }
    let Some(child) = sa.child_by_inbound(inbound_spi) else { return };
    child.state = if child.redundant { ChildState::Replaced } else { ChildState::Live };
    core.counters.child_sas += 1;
    core.counters.rekeys_child += u64::from(rekey);
    let (outbound_spi, suite) = (child.outbound_spi, child.suite.to_string());
    core.negotiations.step(sa.path.remote, format!("Child SA stands: {suite}"));
    core.effects.push_back(Effect::Report(Report::ChildEstablished { peer: name, inbound_spi, outbound_spi, suite, rekey }));
}

/// A Child SA that never stood.
pub(crate) fn forget(core: &mut Core, sa: &mut IkeSa, inbound_spi: u32, now: Instant) {
    sa.children.retain(|child| child.inbound_spi != inbound_spi || child.state != ChildState::Installing);
    core.spis.retire(inbound_spi, now);
}

/// A Child SA is over: nothing more is sent on it. Where another pair takes its traffic, late packets are still taken for a while;
/// `by_peer` is a Delete of the peer's, which has the replacement then.
pub(crate) fn drop_child(core: &mut Core, sa: &mut IkeSa, inbound_spi: u32, by_peer: bool, now: Instant) {
    let Some(at) = sa.children.iter().position(|child| child.inbound_spi == inbound_spi) else { return };
    let child = sa.children.remove(at);
    let Some(id) = sa.peer else { return };
    let Some(peer) = core.peers.get_mut(id) else { return };
    let name = peer.config.name.clone();
    match child.state {
        // The worker's answer is still to come; it leads to the removal.
        ChildState::Installing => return,
        ChildState::NeverStood => return core.spis.retire(inbound_spi, now),
        ChildState::Live | ChildState::Replaced | ChildState::Deleting => {}
    }
    peer.pairs = peer.pairs.saturating_sub(1);
    core.counters.child_sas = core.counters.child_sas.saturating_sub(1);
    let standing = sa.children.iter().filter(|other| other.is_installed()).count();
    let mut heirs: Vec<&mut Child> = sa.children.iter_mut().filter(|other| other.shares_traffic_with(&child)).collect();
    // Those under the peer's other IKE SAs are taken for heirs unseen.
    let lingers = peer.pairs > standing || heirs.iter().any(|heir| heir.is_installed());
    let confirmed = heirs.iter().any(|heir| heir.confirmed && heir.serves());
    let newest = heirs.iter_mut().filter(|heir| heir.state == ChildState::Live).max_by_key(|heir| heir.made);
    if let Some(newest) = newest.filter(|_| by_peer || !confirmed) {
        newest.confirmed = true;
        core.effects.push_back(Effect::SwitchOutbound { peer: name.clone(), inbound_spi: newest.inbound_spi });
    }
    let gone = match (child.lost, lingers) {
        (true, _) => None,
        (false, true) => {
            core.effects.push_back(Effect::CloseOutbound { peer: name.clone(), inbound_spi });
            peer.linger(inbound_spi, now + LINGER)
        }
        (false, false) => Some(inbound_spi),
    };
    if child.lost {
        core.spis.retire(inbound_spi, now);
    }
    if let Some(spi) = gone {
        core.remove_pair(&name, spi, now);
    }
    core.arm_peer(id);
    core.effects.push_back(Effect::Report(Report::ChildClosed { peer: name, inbound_spi }));
}
