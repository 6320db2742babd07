//! IKE_SA_INIT (RFC 7296 section 1.2): algorithms, nonces, Diffie-Hellman, NAT detection; nobody has proven anything yet.
//!
//! ```text
//! Initiator                              Responder
//! HDR, [N(COOKIE),] SAi1, KEi, Ni  -->
//!                                  <--   HDR, N(COOKIE) | N(INVALID_KE_PAYLOAD) | N(NO_PROPOSAL_CHOSEN)   nothing is kept
//!                                  <--   HDR, SAr1, KEr, Nr
//! ```

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::certificate::{SignatureHashes, X509_SIGNATURE};
use crate::config::NatT;
use crate::dh::{DhOutcome, DhTask};
use crate::effect::{Closed, LocalPort};
use crate::engine::core::{Core, Failed};
use crate::engine::negotiations::MAX_LINES;
use crate::engine::peer::PeerId;
use crate::failure::Failure;
use crate::key_schedule::{IkeKeys, KeyInput, Role};
use crate::message::{ExchangeType, Header, IkeSpi, Message, Notify, NotifyType, Payload, Payloads, Proposal, write};
use crate::proposals::proposal_words;
use crate::sa::{IkeSa, Initial, Path, Phase, Protection};
use crate::time::Instant;
use crate::transforms::{Group, IkeSuite};

use super::nat_detection::{detect, hash, hash_of_nobody};
use super::{InitDraft, OurKey, Ours, Task, ike_auth, no_secret};

/// RFC 8019 section 4: a negotiation that is not authenticated by then is forgotten.
pub(crate) const HALF_OPEN_LIFE: Duration = Duration::from_secs(30);
/// An unauthenticated error may be forged: a better answer is awaited this long (section 2.21.1).
const HINT_PATIENCE: Duration = Duration::from_secs(3);
/// How often our request is sent in another form: a cookie, another group, and both once more.
const MAX_RESTARTS: u32 = 4;

/// The peer's request while Diffie-Hellman is done for it.
#[derive(Debug)]
pub(crate) struct TheirInit {
    nonce: Vec<u8>,
    /// The choice: one proposal, as it goes back.
    chosen: Vec<Proposal>,
    suite: IkeSuite,
    message: Vec<u8>,
    hashes: Option<SignatureHashes>,
}

/// Where our end of `path` is.
pub(crate) fn our_end(core: &Core, path: Path) -> SocketAddrV4 {
    let port = if path.local == LocalPort::P500 { 500 } else { 4500 };
    let address = core.endpoints.get(path.endpoint).map_or(std::net::Ipv4Addr::UNSPECIFIED, |endpoint| endpoint.address);
    SocketAddrV4::new(address, port)
}

/// Begin with a peer whose address is known.
pub(crate) fn begin(core: &mut Core, peer: PeerId, path: Path, now: Instant) -> Option<Box<IkeSa>> {
    let known = core.peers.get(peer)?;
    let group = known.wants_group.filter(|group| known.proposals.has_group(*group)).or(known.proposals.first_group())?;
    let (name, accepted, child_accepted) = (known.config.name.clone(), known.proposals.ike_words(), known.proposals.child_words());
    let spi = core.ike_spi();
    let mut sa = Box::new(IkeSa::new(spi, Role::Initiator, path, now));
    sa.peer = Some(peer);
    let draft = InitDraft { nonce: core.nonce(), key: OurKey::wanted(group), cookie: None, restarts: 0, hint: None, suite: None };
    sa.requests.prepare(Ours::Init(Box::new(draft)));
    let negotiation = core.negotiations.begin(path.remote, true, now);
    (negotiation.peer, negotiation.accepted, negotiation.child_accepted) = (Some(name), accepted, child_accepted);
    core.diffie_hellman(&sa, DhTask::Generate { group }, Task::OurKeyPair);
    Some(sa)
}

/// Send our request in its present form.
pub(crate) fn send(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let Some(peer) = sa.peer.and_then(|id| core.peers.get(id)) else { return };
    let proposals = peer.proposals.offer_ike(None);
    let always = peer.config.encapsulation == NatT::Always;
    let ours = our_end(core, sa.path);
    let source = if always { hash_of_nobody() } else { hash(Some(sa.spi), None, ours) };
    let destination = hash(Some(sa.spi), None, sa.path.remote);
    let hashes = SignatureHashes::OURS.to_wire();
    let header = sa.header(ExchangeType::IkeSaInit, false, 0);
    let Some(Ours::Init(draft)) = sa.requests.exchange() else { return };
    let mut payloads = Vec::with_capacity(8);
    payloads.extend(draft.cookie.as_deref().map(|cookie| Payload::Notify(Notify::new(NotifyType::COOKIE, cookie))));
    payloads.push(Payload::SecurityAssociation(proposals));
    payloads.push(Payload::KeyExchange { group: draft.key.group.number(), data: &draft.key.public });
    payloads.push(Payload::Nonce(&draft.nonce));
    payloads.extend(announcements(&source, &destination, &hashes));
    let Ok(message) = write(&header, &payloads) else { return };
    core.negotiations.step(sa.path.remote, format!("sent IKE_SA_INIT with a key of group {}", draft.key.group));
    core.send(sa.path.endpoint, sa.path.local, sa.path.remote, std::slice::from_ref(&message));
    if let Phase::Init(initial) = &mut sa.phase {
        initial.message_i.clone_from(&message);
    }
    sa.last_sent = now;
    sa.requests.sent(vec![message], now);
}

fn announcements<'a>(source: &'a [u8; 20], destination: &'a [u8; 20], hashes: &'a [u8]) -> [Payload<'a>; 4] {
    [
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, source)),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, destination)),
        Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[])),
        Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, hashes)),
    ]
}

/// The answer to our request: not authenticated, so it may be anybody's.
pub(crate) fn answered(core: &mut Core, sa: &mut IkeSa, message: &Message<'_>, octets: &[u8], now: Instant) {
    let payloads = &message.payloads;
    if let Some(cookie) = payloads.notify(NotifyType::COOKIE) {
        return with_cookie(core, sa, cookie.data, now);
    }
    if let Some(wish) = payloads.notify(NotifyType::INVALID_KE_PAYLOAD) {
        return with_group(core, sa, wish.data, now);
    }
    if let Some(error) = payloads.error() {
        let failure = if error.kind == NotifyType::NO_PROPOSAL_CHOSEN { Failure::NoIkeProposal } else { Failure::NotifiedByPeer };
        return hint(sa, failure, format!("the peer answered {}", error.kind), now);
    }
    accept(core, sa, message, octets, now);
}

fn accept(core: &mut Core, sa: &mut IkeSa, message: &Message<'_>, octets: &[u8], now: Instant) {
    let payloads = &message.payloads;
    let (Some(proposals), Some((group, public)), Some(nonce), Some(peer_spi)) =
        (payloads.proposals(), payloads.key_exchange(), payloads.nonce(), message.header.responder_spi)
    else {
        return hint(sa, Failure::InvalidSyntax, "an answer without SA, KE, nonce or SPI".to_owned(), now);
    };
    let Some(peer) = sa.peer.and_then(|id| core.peers.get(id)) else { return };
    let always = peer.config.encapsulation == NatT::Always;
    let Some(Ours::Init(draft)) = sa.requests.exchange_mut() else { return };
    let chosen = peer.proposals.answered_ike(proposals, draft.key.group).filter(|_| group == draft.key.group.number());
    let Some(suite) = chosen.map(|chosen| chosen.suite) else {
        return hint(sa, Failure::NoIkeProposal, "the peer chose what was not offered".to_owned(), now);
    };
    let Some(private) = draft.key.private.take() else { return };
    draft.suite = Some(suite);
    let task = DhTask::Agree { group: suite.group, private, peer_public: public.to_vec() };
    let (nonce_i, ours) = (draft.nonce.clone(), our_end(core, sa.path));
    sa.nat = detect(payloads, (Some(sa.spi), Some(peer_spi)), sa.path.remote, ours);
    sa.nat.pretended = always && payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some();
    sa.fragmentation = payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
    sa.peer_spi = Some(peer_spi);
    if let Phase::Init(initial) = &mut sa.phase {
        initial.message_r = octets.to_vec();
        (initial.nonce_i, initial.nonce_r) = (nonce_i, nonce.to_vec());
        initial.hashes = hashes(payloads);
    }
    sa.requests.conclude();
    // What another answer said before was somebody else's.
    sa.give_up = None;
    core.negotiations.step(sa.path.remote, format!("agreed on {suite}"));
    core.diffie_hellman(sa, task, Task::OurSecret);
}

fn hashes(payloads: &Payloads<'_>) -> Option<SignatureHashes> {
    payloads.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).map(|notify| SignatureHashes::from_wire(notify.data))
}

/// The secret of our exchange is there: on to IKE_AUTH.
pub(crate) fn agreed(core: &mut Core, sa: &mut IkeSa, outcome: DhOutcome, now: Instant) {
    let DhOutcome::Agreed { shared } = outcome else {
        core.failed(sa, no_secret(&outcome), "", now);
        sa.fate = Some(Closed::Failed);
        return;
    };
    let Some(Ours::Init(draft)) = sa.requests.finish() else { return };
    let (Some(suite), Some(peer_spi)) = (draft.suite, sa.peer_spi) else { return };
    let Phase::Init(initial) = std::mem::replace(&mut sa.phase, Phase::Refused) else { return };
    protect(sa, suite, &initial, &shared, (sa.spi, peer_spi));
    sa.phase = Phase::Auth(initial);
    // Section 2.23: with a NAT on the way, everything from IKE_AUTH on goes from and to 4500.
    if sa.nat.any() {
        sa.path.local = LocalPort::P4500;
        sa.path.remote.set_port(4500);
    }
    ike_auth::begin(core, sa, now);
}

fn protect(sa: &mut IkeSa, suite: IkeSuite, initial: &Initial, shared: &crate::secret::Secret, spis: (IkeSpi, IkeSpi)) {
    let (nonce_i, nonce_r) = (initial.nonce_i.as_slice(), initial.nonce_r.as_slice());
    let keys = IkeKeys::initial(suite, &KeyInput { shared, nonce_i, nonce_r, spi_i: spis.0.octets(), spi_r: spis.1.octets() });
    sa.lowest_nonce = nonce_i.min(nonce_r).to_vec();
    sa.protection = Some(Protection::new(suite, keys, sa.role));
}

fn hint(sa: &mut IkeSa, failure: Failure, detail: String, now: Instant) {
    if let Some(Ours::Init(draft)) = sa.requests.exchange_mut() {
        draft.hint.get_or_insert((failure, detail));
        sa.give_up.get_or_insert(now + HINT_PATIENCE);
    }
}

/// The same request once more, with the cookie in front.
fn with_cookie(core: &mut Core, sa: &mut IkeSa, cookie: &[u8], now: Instant) {
    let Some(Ours::Init(draft)) = sa.requests.exchange_mut() else { return };
    // Section 2.6: a cookie has 1 to 64 octets.
    if draft.restarts == MAX_RESTARTS || !(1..=64).contains(&cookie.len()) {
        return;
    }
    draft.restarts += 1;
    draft.cookie = Some(cookie.to_vec());
    send(core, sa, now);
}

/// The same request once more, with a key of the group that the peer wants (section 2.7).
fn with_group(core: &mut Core, sa: &mut IkeSa, wish: &[u8], now: Instant) {
    let group = wish.try_into().ok().map(u16::from_be_bytes).and_then(Group::from_number);
    let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) else { return };
    let Some(group) = group.filter(|group| peer.proposals.has_group(*group)) else {
        return hint(sa, Failure::InvalidKe, format!("it wants group {wish:?}"), now);
    };
    let Some(Ours::Init(draft)) = sa.requests.exchange_mut() else { return };
    if draft.restarts == MAX_RESTARTS || draft.key.group == group {
        return;
    }
    peer.wants_group = Some(group);
    let draft = InitDraft {
        nonce: std::mem::take(&mut draft.nonce),
        key: OurKey::wanted(group),
        cookie: draft.cookie.take(),
        restarts: draft.restarts + 1,
        hint: None,
        suite: None,
    };
    sa.requests.restart();
    sa.requests.prepare(Ours::Init(Box::new(draft)));
    core.diffie_hellman(sa, DhTask::Generate { group }, Task::OurKeyPair);
}

/// What a stranger is told. Nothing is kept, and the answer is shorter than the question.
pub(crate) fn refuse(core: &mut Core, request: &Header, path: Path, notify: Notify<'_>) {
    let header = Header { response: true, from_initiator: false, responder_spi: None, ..*request };
    if let Ok(message) = write(&header, &[Payload::Notify(notify)]) {
        core.send(path.endpoint, path.local, path.remote, &[message]);
    }
}

/// A stranger's request that has passed the limits: choose, and let Diffie-Hellman be done. `None` where it was refused.
pub(crate) fn requested(core: &mut Core, message: &Message<'_>, octets: &[u8], path: Path, now: Instant) -> Option<Box<IkeSa>> {
    let payloads = &message.payloads;
    let acceptable = core.peers.acceptable_from(path.endpoint, *path.remote.ip());
    // Nothing is proven: a failure is shown at the one tenant whose router has this address, and nothing else follows from that.
    let owner = core.peers.probably_at(path.endpoint, *path.remote.ip());
    let failed = |failure, detail, remedy| Failed { peer: owner, proven: false, address: path.remote, failure, detail, remedy };
    let negotiation = core.negotiations.begin(path.remote, false, now);
    let (Some(proposals), Some((group, public)), Some(nonce)) = (payloads.proposals(), payloads.key_exchange(), payloads.nonce()) else {
        let detail = "IKE_SA_INIT without SA, KE or nonce".to_owned();
        core.failed_with(failed(Failure::InvalidSyntax, detail, None), now);
        refuse(core, &message.header, path, Notify::new(NotifyType::INVALID_SYNTAX, &[]));
        return None;
    };
    negotiation.proposed = proposals.iter().take(MAX_LINES).map(proposal_words).collect();
    negotiation.accepted = acceptable.ike_words();
    let chosen = match acceptable.choose_ike(proposals, group) {
        Ok(chosen) => chosen,
        Err(refusal) => {
            core.failed_with(failed(Failure::NoIkeProposal, refusal.to_string(), Some(refusal.remedy())), now);
            refuse(core, &message.header, path, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, &[]));
            return None;
        }
    };
    let suite = chosen.suite;
    if suite.group.number() != group {
        core.negotiations.step(path.remote, format!("it sent a key of group {group}; asked for group {}", suite.group));
        core.counters.invalid_ke_sent += 1;
        refuse(core, &message.header, path, Notify::new(NotifyType::INVALID_KE_PAYLOAD, &suite.group.number().to_be_bytes()));
        return None;
    }
    let mut sa = Box::new(IkeSa::new(core.ike_spi(), Role::Responder, path, now));
    sa.peer_spi = Some(message.header.initiator_spi);
    sa.give_up = Some(now + HALF_OPEN_LIFE);
    sa.nat = detect(payloads, (Some(message.header.initiator_spi), None), path.remote, our_end(core, path));
    sa.fragmentation = payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
    let pretends = core.peers.pretends_nat(path.endpoint, *path.remote.ip());
    sa.nat.pretended = pretends && payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some();
    let task = DhTask::Respond { group: suite.group, peer_public: public.to_vec() };
    let theirs =
        TheirInit { nonce: nonce.to_vec(), chosen: vec![chosen.answer(None)], suite, message: octets.to_vec(), hashes: hashes(payloads) };
    core.diffie_hellman(&sa, task, Task::TheirInit(Box::new(theirs)));
    Some(sa)
}

/// Diffie-Hellman for a stranger's request is done: answer it.
pub(crate) fn respond(core: &mut Core, sa: &mut IkeSa, theirs: TheirInit, outcome: DhOutcome, now: Instant) {
    let DhOutcome::Responded { public, shared } = outcome else {
        // It asks again where nobody had time.
        if !matches!(outcome, DhOutcome::Busy) {
            core.failed(sa, Failure::BadPublicValue, "", now);
        }
        sa.fate = Some(Closed::Failed);
        return;
    };
    let (Phase::Init(_), Some(peer_spi)) = (&sa.phase, sa.peer_spi) else { return };
    let nonce_r = core.nonce();
    let source = if sa.nat.pretended { hash_of_nobody() } else { hash(Some(peer_spi), Some(sa.spi), our_end(core, sa.path)) };
    let destination = hash(Some(peer_spi), Some(sa.spi), sa.path.remote);
    let hashes = SignatureHashes::OURS.to_wire();
    let mut payloads = vec![
        Payload::SecurityAssociation(theirs.chosen),
        Payload::KeyExchange { group: theirs.suite.group.number(), data: &public },
        Payload::Nonce(&nonce_r),
    ];
    let request = core.peers.certificate_request(sa.path.endpoint);
    payloads.extend(request.map(|data| Payload::CertificateRequest { encoding: X509_SIGNATURE, data }));
    payloads.extend(announcements(&source, &destination, &hashes));
    let Ok(message) = write(&sa.header(ExchangeType::IkeSaInit, true, 0), &payloads) else { return };
    core.negotiations.step(sa.path.remote, format!("agreed on {}", theirs.suite));
    core.send(sa.path.endpoint, sa.path.local, sa.path.remote, std::slice::from_ref(&message));
    let initial =
        Initial { message_i: theirs.message, message_r: message, nonce_i: theirs.nonce, nonce_r: nonce_r.clone(), hashes: theirs.hashes };
    protect(sa, theirs.suite, &initial, &shared, (peer_spi, sa.spi));
    sa.last_sent = now;
    sa.phase = Phase::Auth(Box::new(initial));
}

/// A stranger's request came again: send the same answer again, once there is one.
pub(crate) fn requested_again(core: &mut Core, sa: &IkeSa, octets: &[u8]) {
    if let Phase::Auth(initial) = &sa.phase
        && initial.message_i == octets
    {
        core.counters.answered_again += 1;
        core.send(sa.path.endpoint, sa.path.local, sa.path.remote, std::slice::from_ref(&initial.message_r));
    }
}
