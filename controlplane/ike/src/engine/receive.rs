//! A datagram finds its IKE SA, proves to be the peer's, and becomes a request or an answer.
//!
//! Nothing that is not authenticated changes anything that is (RFC 7296 section 2.4): it is dropped, counted, and that is all.

use std::net::SocketAddrV4;

use crate::config::PeerAddress;
use crate::effect::{Effect, LocalPort, Report};
use crate::exchange::{Ours, Reply, create_child_sa, delete, ike_auth, ike_sa_init, informational, rekey_ike};
use crate::failure::Failure;
use crate::half_open::Admission;
use crate::key_schedule::Role;
use crate::message::{ExchangeType, Fragment, Message, Notify, NotifyType, ParseError, Payload, Payloads, Protects};
use crate::sa::responses::Arrival;
use crate::sa::{IkeSa, Path, Phase};
use crate::time::Instant;

use super::Engine;
use super::core::Core;

/// A message whose integrity was right, put together.
struct Authentic {
    exchange: ExchangeType,
    response: bool,
    id: u32,
    first: u8,
    plaintext: Vec<u8>,
}

/// Our IKE_SA_INIT answer without the public value and a CERTREQ: header, SA with four transforms, header of KE, nonce, NAT detection,
/// fragmentation, signature hashes.
const OCTETS_BESIDE_THE_KEY: usize = 28 + 48 + 8 + 36 + 2 * 28 + 8 + 14;
/// A shorter request is no negotiation: even a demand for a cookie, or a refusal, would be longer.
const SHORTEST_ANSWERED: usize = 64;

impl Engine {
    /// A datagram came to `endpoint`, without a non-ESP marker.
    pub fn datagram(&mut self, endpoint: usize, local: LocalPort, from: SocketAddrV4, message: &[u8], now: Instant) {
        self.core.counters.received += 1;
        if endpoint >= self.core.endpoints.len() {
            self.core.counters.dropped_malformed += 1;
            return;
        }
        let path = Path { endpoint, local, remote: from };
        match Message::parse(message) {
            Ok(parsed) => self.message(&parsed, message, path, now),
            Err(error) => self.malformed(error, message, path),
        }
        self.run_deferred(now);
    }

    /// What is no message is dropped; only somebody who speaks another version, or demands what we do not know, is told so.
    fn malformed(&mut self, error: ParseError, octets: &[u8], path: Path) {
        self.core.counters.dropped_malformed += 1;
        let Ok((header, _)) = crate::message::Header::parse(octets) else { return };
        let first = header.exchange == ExchangeType::IkeSaInit && !header.response && header.responder_spi.is_none();
        if first && matches!(error, ParseError::UnsupportedCritical(_)) && octets.len() >= SHORTEST_ANSWERED {
            let data = error.notification_data();
            ike_sa_init::refuse(&mut self.core, &header, path, Notify::new(error.notification(), &data));
        }
    }

    fn message(&mut self, message: &Message<'_>, octets: &[u8], path: Path, now: Instant) {
        let header = &message.header;
        let ours = if header.from_initiator { header.responder_spi } else { Some(header.initiator_spi) };
        let Some(spi) = ours else { return self.stranger(message, octets, path, now) };
        let theirs = if header.from_initiator { Some(header.initiator_spi) } else { header.responder_spi };
        let Some(sa) = self.sas.get(&spi) else {
            self.core.counters.dropped_unknown_spi += 1;
            return;
        };
        // Both SPIs, the roles and the endpoint must be those of the SA; only the first answer brings the responder's SPI.
        let first_answer = header.exchange == ExchangeType::IkeSaInit && matches!(sa.phase, Phase::Init(_));
        let roles = header.from_initiator == (sa.role == Role::Responder);
        if sa.path.endpoint != path.endpoint || !roles || !(first_answer || sa.peer_spi == theirs) {
            self.core.counters.dropped_unknown_spi += 1;
            return;
        }
        self.with_sa(spi, now, |core, sa| {
            if message.protected.is_some() {
                protected(core, sa, message, octets, path, now);
            } else if first_answer
                && header.response
                && sa.role == Role::Initiator
                && sa.requests.awaits(0)
                && path.remote.ip() == sa.path.remote.ip()
            {
                ike_sa_init::answered(core, sa, message, octets, now);
            } else {
                core.counters.dropped_not_authentic += 1;
            }
        });
    }

    /// Somebody begins.
    fn stranger(&mut self, message: &Message<'_>, octets: &[u8], path: Path, now: Instant) {
        let header = &message.header;
        if header.exchange != ExchangeType::IkeSaInit || header.response || header.message_id != 0 || message.protected.is_some() {
            self.core.counters.dropped_malformed += 1;
            return;
        }
        let key = (path.remote, header.initiator_spi);
        if let Some(spi) = self.strangers.get(&key) {
            if let Some(sa) = self.sas.get(spi) {
                ike_sa_init::requested_again(&mut self.core, sa, octets);
            }
            return;
        }
        match self.admit(message, octets.len(), path, now) {
            Admission::Accept => {}
            Admission::DemandCookie => return,
            Admission::Drop => {
                self.core.counters.dropped_half_open += 1;
                return;
            }
        }
        if let Some(sa) = ike_sa_init::requested(&mut self.core, message, octets, path, now) {
            self.limits.opened(*path.remote.ip());
            self.core.counters.half_open = self.limits.half_open();
            self.strangers.insert(key, sa.spi);
            self.put_back(sa, now);
        }
    }

    /// The limits of RFC 8019, and the cookie of RFC 7296 section 2.6.
    fn admit(&mut self, message: &Message<'_>, octets: usize, path: Path, now: Instant) -> Admission {
        let Some(nonce) = message.payloads.nonce() else { return Admission::Drop };
        let spi = message.header.initiator_spi;
        let cookie = message.payloads.notify(NotifyType::COOKIE).map(|notify| notify.data);
        let shown = cookie.is_some_and(|cookie| self.limits.is_our_cookie(cookie, spi, nonce, *path.remote.ip(), now));
        let admission = match self.limits.admit(*path.remote.ip(), shown) {
            // A forged source must not get more octets than its forger has spent.
            Admission::Accept if !shown && octets < self.octets_of_answer(message, path) => Admission::DemandCookie,
            // It asks again in a second.
            Admission::Accept if self.core.strangers_wait() => Admission::Drop,
            admission => admission,
        };
        if admission == Admission::DemandCookie && octets < SHORTEST_ANSWERED {
            return Admission::Drop;
        }
        if admission == Admission::DemandCookie {
            let cookie = self.limits.cookie(spi, nonce, *path.remote.ip(), now);
            self.core.counters.cookies_sent += 1;
            ike_sa_init::refuse(&mut self.core, &message.header, path, Notify::new(NotifyType::COOKIE, &cookie));
        }
        admission
    }

    /// How long the answer to a request will be; a request without a key gets a short refusal.
    fn octets_of_answer(&self, message: &Message<'_>, path: Path) -> usize {
        let request = self.core.peers.certificate_request(path.endpoint).map_or(0, |request| 5 + request.len());
        message.payloads.key_exchange().map_or(0, |(_, key)| OCTETS_BESIDE_THE_KEY + key.len() + request)
    }

    /// A stranger has proven who it is, or is gone: it is no longer half-open.
    pub(super) fn no_longer_strange(&mut self, sa: &IkeSa) {
        let Some(key) = sa.peer_spi.map(|spi| (sa.first_address, spi)) else { return };
        if self.strangers.get(&key) == Some(&sa.spi) {
            self.strangers.remove(&key);
            self.limits.closed(*sa.first_address.ip());
            self.core.counters.half_open = self.limits.half_open();
        }
    }
}

/// A message with an SK or SKF payload.
fn protected(core: &mut Core, sa: &mut IkeSa, message: &Message<'_>, octets: &[u8], path: Path, now: Instant) {
    let header = &message.header;
    // What is neither wanted nor to be answered again is not worth decrypting.
    let wanted =
        if header.response { sa.requests.awaits(header.message_id) } else { sa.responses.arrival(header.message_id) != Arrival::Ignore };
    if !wanted {
        core.counters.dropped_message_id += 1;
        return;
    }
    let Some(authentic) = open(core, sa, message, octets, now) else { return };
    if authentic.response {
        if sa.requests.awaits(authentic.id) {
            heard(core, sa, now);
            moved(core, sa, path);
            answer(core, sa, &authentic, now);
        }
        return;
    }
    if let Arrival::Answered(packets) = sa.responses.arrival(authentic.id) {
        let packets = packets.to_vec();
        core.counters.answered_again += 1;
        core.send(path.endpoint, path.local, path.remote, &packets);
        return;
    }
    sa.responses.take(authentic.id);
    heard(core, sa, now);
    moved(core, sa, path);
    let reply = Reply { exchange: authentic.exchange, message_id: authentic.id, local: path.local, to: path.remote };
    request(core, sa, &authentic, reply, now);
}

/// The peer lives: it has said something new. What it said before may come from anybody who has kept it.
fn heard(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    sa.last_heard = now;
    if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
        peer.heard = peer.heard.max(now);
    }
}

/// Verify, decrypt and put together. `None` where it is forged, or a fragment of something that is not complete yet.
fn open(core: &mut Core, sa: &mut IkeSa, message: &Message<'_>, octets: &[u8], now: Instant) -> Option<Authentic> {
    let header = &message.header;
    let (protected, protection) = (message.protected?, sa.protection.as_ref()?);
    let reassembly = &mut sa.reassembly[usize::from(header.response)];
    let known = |fragment: Fragment| !header.response && fragment.number() != 1 && sa.responses.arrival(header.message_id) != Arrival::New;
    if protected.fragment.is_some_and(|fragment| known(fragment) || !reassembly.wants(header.message_id, fragment)) {
        return None;
    }
    let mut copy = octets.to_vec();
    let Ok(opened) = protected.open(&mut copy, &protection.opener) else {
        core.counters.dropped_not_authentic += 1;
        return None;
    };
    let (first, plaintext) = match opened.fragment {
        None => (opened.first, opened.plaintext.to_vec()),
        // RFC 7383 section 2.6.1: of a request that was answered, the first fragment asks for the answer again.
        Some(_) if !header.response && sa.responses.arrival(header.message_id) != Arrival::New => (opened.first, Vec::new()),
        Some(fragment) => {
            let whole = reassembly.add(header.message_id, fragment, opened.first, opened.plaintext, now).ok()??;
            (whole.first, whole.plaintext)
        }
    };
    Some(Authentic { exchange: header.exchange, response: header.response, id: header.message_id, first, plaintext })
}

/// RFC 7296 section 2.23: we follow a peer behind a NAT by its authentic new messages, unless a NAT stands before us as well, which may
/// only have changed our view of it.
fn moved(core: &mut Core, sa: &mut IkeSa, path: Path) {
    // Port 4500 may be gone over to at any time, whoever is behind a NAT.
    let floats = sa.path.local == LocalPort::P500 && path.local == LocalPort::P4500;
    let roams = sa.nat.peer_behind && !sa.nat.we_behind && path.local == sa.path.local;
    if floats || roams {
        follow(core, sa, path);
    }
}

/// From now on the peer is at `path`.
pub(super) fn follow(core: &mut Core, sa: &mut IkeSa, path: Path) {
    if sa.path.remote == path.remote && sa.path.local == path.local {
        return;
    }
    let config = core.config(sa);
    let elsewhere = |address| matches!(address, PeerAddress::Fixed(fixed) if fixed != *path.remote.ip());
    if config.as_ref().is_some_and(|config| elsewhere(config.address)) {
        return;
    }
    sa.path = path;
    let (Some(config), true) = (config, sa.is_established()) else { return };
    let encapsulation = sa.encapsulation();
    for child in &sa.children {
        core.effects.push_back(Effect::MovePeer { peer: config.name.clone(), inbound_spi: child.inbound_spi, to: encapsulation });
    }
    if let Some(id) = sa.peer {
        core.peers.saw(id, path.local, path.remote);
    }
    core.effects.push_back(Effect::Report(Report::PeerMoved { peer: config.name.clone(), to: path.remote }));
}

/// The worker follows a peer by its ESP, and this one may not move: back to where it was.
pub(super) fn call_back(core: &mut Core, sa: &IkeSa) {
    let Some(name) = core.name(sa) else { return };
    let to = sa.encapsulation();
    let moves = sa.children.iter().map(|child| Effect::MovePeer { peer: name.clone(), inbound_spi: child.inbound_spi, to });
    core.effects.extend(moves);
}

/// An authentic answer to our request.
fn answer(core: &mut Core, sa: &mut IkeSa, message: &Authentic, now: Instant) {
    let payloads = match Payloads::parse(message.first, &message.plaintext) {
        Ok(payloads) => payloads,
        // As good as an answer that says nothing: every exchange knows how to go on from there.
        Err(error) => {
            core.failed(sa, Failure::InvalidSyntax, error.to_string(), now);
            Payloads::default()
        }
    };
    match sa.requests.exchange() {
        Some(Ours::Auth(_)) if message.exchange == ExchangeType::IkeAuth => ike_auth::answered(core, sa, &payloads, now),
        Some(Ours::Child(_)) if message.exchange == ExchangeType::CreateChildSa => create_child_sa::answered(core, sa, &payloads, now),
        Some(Ours::RekeyIke(_)) if message.exchange == ExchangeType::CreateChildSa => rekey_ike::answered(core, sa, &payloads, now),
        Some(Ours::DeleteChild(_) | Ours::DeleteIke | Ours::Probe) if message.exchange == ExchangeType::Informational => {
            match sa.requests.finish() {
                Some(Ours::DeleteChild(spi)) => delete::child_answered(core, sa, spi, now),
                Some(Ours::DeleteIke) => delete::ike_answered(sa),
                _ => {}
            }
        }
        _ => core.counters.dropped_malformed += 1,
    }
}

/// An authentic new request.
fn request(core: &mut Core, sa: &mut IkeSa, message: &Authentic, reply: Reply, now: Instant) {
    let payloads = match Payloads::parse(message.first, &message.plaintext) {
        Ok(payloads) => payloads,
        Err(error) => return unreadable(core, sa, error, reply, now),
    };
    match (message.exchange, &sa.phase) {
        (ExchangeType::IkeAuth, Phase::Auth(_)) if sa.role == Role::Responder => ike_auth::requested(core, sa, &payloads, reply, now),
        (ExchangeType::CreateChildSa, Phase::Established | Phase::Replaced) => {
            let ike = payloads.proposals().is_some_and(|offer| offer.iter().any(|proposal| matches!(proposal.protects, Protects::Ike(_))));
            if ike {
                rekey_ike::requested(core, sa, &payloads, reply, now);
            } else {
                create_child_sa::requested(core, sa, &payloads, reply, now);
            }
        }
        (ExchangeType::Informational, Phase::Established | Phase::Replaced) => informational::requested(core, sa, &payloads, reply, now),
        // An exchange that is out of place is refused, and changes nothing.
        (_, Phase::Established | Phase::Replaced) => {
            core.reply(sa, reply, &[Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX, &[]))], now);
        }
        _ => core.counters.dropped_malformed += 1,
    }
}

/// Authentic, but not to be understood (sections 2.5 and 2.21.3).
fn unreadable(core: &mut Core, sa: &mut IkeSa, error: ParseError, reply: Reply, now: Instant) {
    let failure = match error {
        ParseError::UnsupportedCritical(_) => Failure::UnsupportedCriticalPayload,
        _ => Failure::InvalidSyntax,
    };
    core.failed(sa, failure, error.to_string(), now);
    let data = error.notification_data();
    core.reply(sa, reply, &[Payload::Notify(Notify::new(error.notification(), &data))], now);
    if matches!(sa.phase, Phase::Auth(_)) {
        sa.phase = Phase::Refused;
    }
}
