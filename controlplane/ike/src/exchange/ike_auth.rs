//! IKE_AUTH (RFC 7296 section 1.2): both ends prove who they are, and the first Child SA is made.
//!
//! ```text
//! Initiator                                                     Responder
//! HDR, SK {IDi, [CERT,] [IDr,] AUTH, SAi2, TSi, TSr}       -->
//!                                                          <--  HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
//! ```
//! The responder acts for a tenant only behind [`authenticate`]; an unknown identity and a wrong proof are answered alike.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::certificate::X509_SIGNATURE;
use crate::config::{PeerAddress, PeerConfig};
use crate::effect::{Closed, Effect, Report};
use crate::engine::core::{Core, Deferred, Failed};
use crate::engine::peer::{PeerId, jitter};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::key_schedule::Role;
use crate::message::{ExchangeType, Id, Notify, NotifyType, Payload, Payloads};
use crate::proposals::KeyExchange;
use crate::sa::{IkeSa, Initial, Phase};
use crate::selectors;
use crate::time::Instant;

use super::auth::{self, AuthAnswer, Proof};
use super::child::{self, Refused, TheirChild};
use super::{ChildAnswer, ChildDraft, Ours, Reply};

const NO_PROOF: &str = "the relay has no proof of itself that the peer could check";
const NO_PROOF_REMEDY: &str =
    "give the relay a certificate with an ECDSA key, or let the router verify RSA signatures with SHA-2 (RFC 7427)";

/// Send our IKE_AUTH request.
pub(crate) fn begin(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let (Some(config), Some(peer)) = (core.config(sa), sa.peer.and_then(|id| core.peers.get(id))) else { return };
    let Phase::Auth(initial) = &sa.phase else { return };
    let (alone, attempts, proposals) = (peer.sas.iter().all(|spi| *spi == sa.spi), peer.attempts, &peer.proposals);
    let Some(protection) = &sa.protection else { return };
    let id = config.local_id.body();
    let proof = auth::prove(&config.authentication, protection, sa.role, initial, &id, auth::key_for_try(&config, attempts));
    let Some(ours) = proof else { return no_proof(core, sa, now) };
    let spi = core.spis.draw(config.spi_space, sa.spi, &mut core.random, now).and_then(NonZeroU32::new);
    let Some(inbound_spi) = spi else {
        core.failed(sa, Failure::TableFull, "no SPI is free", now);
        sa.fate = Some(Closed::Failed);
        return;
    };
    let offer = proposals.offer_child(inbound_spi, None);
    let wanted = config.remote_id.body();
    let mut payloads = vec![Payload::IdInitiator(Id { kind: id[0], data: &id[4..], body: &id })];
    payloads.extend(ours.certificates());
    let authorities = auth::request(&config.authentication);
    payloads.extend(authorities.as_deref().map(|data| Payload::CertificateRequest { encoding: X509_SIGNATURE, data }));
    payloads.extend(alone.then(|| Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, &[]))));
    payloads.push(Payload::IdResponder(Id { kind: wanted[0], data: &wanted[4..], body: &wanted }));
    payloads.push(ours.authentication());
    payloads.push(Payload::SecurityAssociation(offer));
    payloads.push(Payload::TrafficSelectorsInitiator(selectors::of_networks(&config.far)));
    payloads.push(Payload::TrafficSelectorsResponder(selectors::of_networks(&config.office)));
    let draft = ChildDraft::new(inbound_spi.get(), None);
    sa.requests.prepare(Ours::Auth(Box::new(draft)));
    core.negotiations.step(sa.path.remote, format!("sent IKE_AUTH as {}", config.local_id));
    core.request(sa, ExchangeType::IkeAuth, &payloads, now);
}

/// We have nothing to show that the peer could check.
fn no_proof(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    core.failed_by(sa, Failure::RejectedByPeer, NO_PROOF.to_owned(), Some(NO_PROOF_REMEDY.to_owned()), now);
    sa.fate = Some(Closed::Failed);
}

/// The answer to our request: protected, but by whom is yet to be proven.
pub(crate) fn answered(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, now: Instant) {
    sa.requests.conclude();
    let Some(config) = core.config(sa) else { return };
    let Err((failure, detail)) = verify_responder(core, sa, &config, payloads, now) else {
        return authenticated_as_initiator(core, sa, &config, payloads, now);
    };
    core.failed(sa, failure, detail, now);
    if failure != Failure::RejectedByPeer {
        super::delete::say_goodbye(core, sa, &[Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, &[]))], now);
    }
    sa.fate = Some(Closed::Failed);
}

fn verify_responder(
    core: &Core,
    sa: &mut IkeSa,
    config: &PeerConfig,
    payloads: &Payloads<'_>,
    now: Instant,
) -> Result<(), (Failure, String)> {
    let (Some(id), Some(_)) = (payloads.id_responder(), payloads.authentication()) else {
        let told = payloads.error().map_or("an answer without IDr or AUTH".to_owned(), |error| format!("it answered {}", error.kind));
        return Err((Failure::RejectedByPeer, told));
    };
    let identity = Identity::from_wire(id.kind, id.data);
    if identity.as_ref().map(Identity::folded) != Some(config.remote_id.folded()) {
        let said = identity.map_or("something unreadable".to_owned(), |identity| identity.to_string());
        return Err((Failure::WrongIdentity, format!("it says {said}, expected {}", config.remote_id)));
    }
    let (Phase::Auth(initial), Some(protection)) = (&sa.phase, &sa.protection) else {
        return Err((Failure::InvalidSyntax, "an answer out of order".to_owned()));
    };
    let proof = auth::verify(&config.authentication, protection, Role::Responder, initial, id.body, payloads, core.unix_time(now));
    match proof {
        Proof::Holds { psk_index } => {
            sa.psk_index = psk_index;
            Ok(())
        }
        Proof::Fails { why } => Err((Failure::AuthenticationFailed, why)),
    }
}

fn authenticated_as_initiator(core: &mut Core, sa: &mut IkeSa, config: &Arc<PeerConfig>, payloads: &Payloads<'_>, now: Instant) {
    let Some(id) = sa.peer else { return };
    let Phase::Auth(initial) = std::mem::replace(&mut sa.phase, Phase::Established) else { return };
    established(core, sa, id, config, false, now);
    let nonces = (initial.nonce_i.as_slice(), initial.nonce_r.as_slice());
    match first_child(core, sa, config, payloads) {
        Ok(answer) => {
            if let Some(Ours::Auth(draft)) = sa.requests.exchange_mut() {
                draft.answer = Some(answer);
            }
            child::make_ours(core, sa, None, Some(nonces), now);
        }
        Err((failure, detail)) => {
            core.failed(sa, failure, detail, now);
            if let Some(Ours::Auth(draft)) = sa.requests.finish() {
                child::forget(core, sa, draft.inbound_spi, now);
            }
            super::create_child_sa::plan_another(core, sa, now);
        }
    }
}

fn first_child(core: &Core, sa: &IkeSa, config: &PeerConfig, payloads: &Payloads<'_>) -> Result<ChildAnswer, (Failure, String)> {
    let peer = sa.peer.and_then(|id| core.peers.get(id));
    super::create_child_sa::granted(config, peer, payloads, None)
}

/// The peer's IKE_AUTH request.
pub(crate) fn requested(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) {
    match authenticate(core, sa, payloads, now) {
        Ok((id, config, psk_index)) => {
            sa.psk_index = psk_index;
            authenticated_as_responder(core, sa, (id, config), payloads, reply, now);
        }
        Err(Unproven { peer, proven, failure, detail, notify }) => {
            let failed = Failed { peer, proven, address: sa.path.remote, failure, detail, remedy: None };
            core.failed_with(failed, now);
            core.reply(sa, reply, &[Payload::Notify(Notify::new(notify, &[]))], now);
            sa.phase = Phase::Refused;
        }
    }
}

/// Why a peer was not believed. What it is told is the same for an unknown identity as for a wrong proof.
struct Unproven {
    peer: Option<PeerId>,
    /// Its proof holds, and it is not let in all the same.
    proven: bool,
    failure: Failure,
    detail: String,
    notify: NotifyType,
}

fn unproven(peer: Option<PeerId>, failure: Failure, detail: impl Into<String>) -> Unproven {
    Unproven { peer, proven: false, failure, detail: detail.into(), notify: NotifyType::AUTHENTICATION_FAILED }
}

type Authenticated = (PeerId, Arc<PeerConfig>, Option<usize>);

/// Who is it, and can it prove that? Everything that is done for a tenant stands behind this.
fn authenticate(core: &mut Core, sa: &IkeSa, payloads: &Payloads<'_>, now: Instant) -> Result<Authenticated, Unproven> {
    let (Phase::Auth(initial), Some(protection), Some(id)) = (&sa.phase, &sa.protection, payloads.id_initiator()) else {
        return Err(unproven(None, Failure::InvalidSyntax, "IKE_AUTH without IDi"));
    };
    let Some(identity) = Identity::from_wire(id.kind, id.data) else {
        return Err(unproven(None, Failure::UnknownIdentity, format!("ID type {}", id.kind)));
    };
    let known = core.peers.by_identity(sa.path.endpoint, &identity);
    core.negotiations.note(sa.path.remote, |negotiation| negotiation.claimed = Some(identity.clone()));
    let Some((known, peer)) = known.and_then(|id| core.peers.get(id).map(|peer| (id, peer))) else {
        // As much work as for a known one, so that its time does not tell them apart.
        auth::pretend_to_verify(protection, initial, id.body, payloads);
        return Err(unproven(None, Failure::UnknownIdentity, identity.to_string()));
    };
    let config = Arc::clone(&peer.config);
    core.negotiations.note(sa.path.remote, |negotiation| negotiation.peer = Some(config.name.clone()));
    let proof = auth::verify(&config.authentication, protection, Role::Initiator, initial, id.body, payloads, core.unix_time(now));
    let psk_index = match proof {
        Proof::Holds { psk_index } => psk_index,
        Proof::Fails { why } => return Err(unproven(Some(known), Failure::AuthenticationFailed, why)),
    };
    if matches!(config.address, PeerAddress::Fixed(address) if address != *sa.path.remote.ip()) {
        return Err(Unproven { proven: true, ..unproven(Some(known), Failure::WrongAddress, sa.path.remote.ip().to_string()) });
    }
    // The suite was agreed on before it was known for whom.
    if !peer.proposals.allows_ike(&protection.suite) {
        let detail = format!("{} was agreed on; allowed is {}", protection.suite, peer.proposals.ike_words().join(", "));
        let refused = unproven(Some(known), Failure::SuiteNotForTenant, detail);
        return Err(Unproven { proven: true, notify: NotifyType::NO_PROPOSAL_CHOSEN, ..refused });
    }
    Ok((known, config, psk_index))
}

fn authenticated_as_responder(
    core: &mut Core,
    sa: &mut IkeSa,
    (id, config): (PeerId, Arc<PeerConfig>),
    payloads: &Payloads<'_>,
    reply: Reply,
    now: Instant,
) {
    let Phase::Auth(initial) = std::mem::replace(&mut sa.phase, Phase::Refused) else { return };
    let ours = config.local_id.body();
    let proof = sa.protection.as_ref().and_then(|protection| {
        auth::prove(&config.authentication, protection, Role::Responder, &initial, &ours, sa.psk_index.unwrap_or(0))
    });
    let Some(answer) = proof else {
        let (peer, remedy) = (Some(id), Some(NO_PROOF_REMEDY.to_owned()));
        let (address, failure, detail) = (sa.path.remote, Failure::RejectedByPeer, NO_PROOF.to_owned());
        core.failed_with(Failed { peer, proven: true, address, failure, detail, remedy }, now);
        return core.reply(sa, reply, &[Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, &[]))], now);
    };
    (sa.peer, sa.phase) = (Some(id), Phase::Established);
    sa.first_contact = payloads.notify(NotifyType::INITIAL_CONTACT).is_some();
    established(core, sa, id, &config, sa.first_contact, now);
    match child::negotiate(core, sa, &config, payloads, KeyExchange::OfTheIkeSa, now) {
        Ok(agreed) => {
            let Initial { nonce_i, nonce_r, .. } = *initial;
            let mut theirs = TheirChild::new(reply, None, agreed, (nonce_i, nonce_r));
            theirs.auth = Some(Box::new(answer));
            sa.underway.children += 1;
            child::make_theirs(core, sa, theirs, None, now);
        }
        Err(Refused { kind, data }) => {
            let mut payloads = answer.payloads();
            payloads.push(Payload::Notify(Notify::new(kind, &data)));
            core.reply(sa, reply, &payloads, now);
        }
    }
}

/// Both ends have proven who they are.
fn established(core: &mut Core, sa: &mut IkeSa, id: PeerId, config: &PeerConfig, initial_contact: bool, now: Instant) {
    sa.give_up = None;
    sa.last_heard = now;
    sa.made = now;
    sa.rekey_at = now + jitter(config.ike_lifetime, 10, &mut core.random);
    sa.expires_at = now + config.ike_lifetime + super::rekey_ike::GRACE.max(config.ike_lifetime / 5);
    core.counters.ike_sas += 1;
    let suite = sa.protection.as_ref().map(|protection| protection.suite.to_string()).unwrap_or_default();
    core.negotiations.step(sa.path.remote, format!("IKE SA stands with {}", config.remote_id));
    if let Some(peer) = core.peers.get_mut(id) {
        if !peer.sas.contains(&sa.spi) {
            peer.sas.push(sa.spi);
        }
        peer.heard = now;
        peer.next_try = None;
        peer.negotiation = core.negotiations.get(*sa.path.remote.ip()).cloned();
    }
    core.peers.saw(id, sa.path.local, sa.path.remote);
    core.arm_peer(id);
    core.deferred.push_back(Deferred::Authenticated { spi: sa.spi, initial_contact });
    let (peer, address, initiator) = (config.name.clone(), sa.path.remote, sa.role == Role::Initiator);
    core.effects.push_back(Effect::Report(Report::IkeEstablished { peer, address, suite, initiator, rekey: false }));
}

impl AuthAnswer {
    /// The first half of an answer to IKE_AUTH.
    pub(crate) fn payloads(&self) -> Vec<Payload<'_>> {
        let id = &self.id;
        let mut payloads = vec![Payload::IdResponder(Id { kind: id[0], data: &id[4..], body: id })];
        payloads.extend(self.certificates());
        payloads.push(self.authentication());
        payloads
    }
}
