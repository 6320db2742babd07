//! One IKE SA: what both ends agreed on, what is under way, and the Child SAs made under it.

pub(crate) mod child;
pub(crate) mod requests;
pub(crate) mod responses;

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::certificate::SignatureHashes;
use crate::cipher::{Opener, Sealer};
use crate::effect::{Closed, Encapsulation, LocalPort};
use crate::engine::peer::PeerId;
use crate::engine::upkeep::KEEPALIVE;
use crate::exchange::{Ours, Wanted};
use crate::key_schedule::{IkeKeys, Role};
use crate::message::{Header, IkeSpi, Reassembly};
use crate::time::Instant;
use crate::transforms::IkeSuite;

use child::Child;
use requests::Requests;
use responses::Responses;

/// Child SAs under one IKE SA: those of eight pairs of prefixes, where a router makes one for each, while all of them are replaced; or one
/// in use, its replacement, both sides' at once, and what a peer made anew. A worker holds as many.
pub(crate) const MAX_CHILDREN: usize = 16;

/// Where messages come from and go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    /// Index in [`crate::Config::endpoints`].
    pub(crate) endpoint: usize,
    /// Our port.
    pub(crate) local: LocalPort,
    /// The peer's address and port.
    pub(crate) remote: SocketAddrV4,
}

/// What NAT detection found (RFC 7296 section 2.23).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Nat {
    pub(crate) peer_behind: bool,
    pub(crate) we_behind: bool,
    /// We are configured to use UDP always, and made the peer believe in a NAT.
    pub(crate) pretended: bool,
}

impl Nat {
    pub(crate) fn any(self) -> bool {
        self.peer_behind || self.we_behind || self.pretended
    }
}

/// What IKE_SA_INIT brought that IKE_AUTH needs.
#[derive(Debug, Default)]
pub(crate) struct Initial {
    /// The initiator's first message, as it was sent last: AUTH covers it (section 2.15).
    pub(crate) message_i: Vec<u8>,
    /// The responder's first message.
    pub(crate) message_r: Vec<u8>,
    pub(crate) nonce_i: Vec<u8>,
    pub(crate) nonce_r: Vec<u8>,
    /// Hashes that the peer verifies signatures with, where it knows RFC 7427.
    pub(crate) hashes: Option<SignatureHashes>,
}

/// How far an IKE SA is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// IKE_SA_INIT is under way: ours, or the peer's until Diffie-Hellman is done.
    Init(Box<Initial>),
    /// Keys stand, IKE_AUTH is under way or awaited.
    Auth(Box<Initial>),
    /// We refused the peer's AUTH. The answer is kept for retransmissions, nothing else is said.
    Refused,
    /// Both ends have proven who they are.
    Established,
    /// A newer IKE SA has inherited everything; only its Delete is still to come.
    Replaced,
}

/// What protects messages under this IKE SA.
pub(crate) struct Protection {
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

impl Protection {
    pub(crate) fn new(suite: IkeSuite, keys: IkeKeys, role: Role) -> Self {
        let (sealer, opener) = keys.protection(role);
        Self { suite, keys, sealer, opener }
    }
}

/// One IKE SA.
pub(crate) struct IkeSa {
    /// Ours: the key of the engine's table.
    pub(crate) spi: IkeSpi,
    /// The peer's, once it is known.
    pub(crate) peer_spi: Option<IkeSpi>,
    /// Of this IKE SA's first exchange, whoever sends what later.
    pub(crate) role: Role,
    /// Whose it is. A responder knows only after AUTH: nothing is done for a tenant before.
    pub(crate) peer: Option<PeerId>,
    pub(crate) path: Path,
    /// Where its first message came from or went to.
    pub(crate) first_address: SocketAddrV4,
    pub(crate) nat: Nat,
    /// Both sides announced RFC 7383.
    pub(crate) fragmentation: bool,
    pub(crate) protection: Option<Protection>,
    pub(crate) phase: Phase,
    pub(crate) requests: Requests<Ours, Wanted>,
    pub(crate) responses: Responses,
    /// Of the peer's requests and of its responses.
    pub(crate) reassembly: [Reassembly; 2],
    pub(crate) children: Vec<Child>,
    /// Work of the peer's requests that waits for Diffie-Hellman or a worker.
    pub(crate) underway: Underway,
    /// Which pre-shared key the peer used.
    pub(crate) psk_index: Option<usize>,
    /// The lowest nonce of the exchange that made it: decides which of two is one too many (section 2.8.1).
    pub(crate) lowest_nonce: Vec<u8>,
    /// An IKE SA that the peer made by rekeying this one while we were rekeying it as well, and its lowest nonce.
    pub(crate) rival: Option<(IkeSpi, Vec<u8>)>,
    /// It replaces another one, whose Child SAs have not come to it yet: which of two does is still open.
    pub(crate) inherits: bool,
    /// The peer says that it has no other IKE SA with us.
    pub(crate) first_contact: bool,
    pub(crate) made: Instant,
    /// When the next step must have been taken: a half-open negotiation, a replaced SA, one too many.
    pub(crate) give_up: Option<Instant>,
    pub(crate) rekey_at: Instant,
    /// When it ends, whatever the peer says.
    pub(crate) expires_at: Instant,
    /// When we ask for a Child SA because none stands.
    pub(crate) another_at: Option<Instant>,
    /// When an SA that is one too many is deleted.
    pub(crate) retire_at: Option<Instant>,
    pub(crate) last_heard: Instant,
    pub(crate) last_sent: Instant,
    /// Set when it is to be taken out of the tables.
    pub(crate) fate: Option<Closed>,
}

/// The peer's requests that are being carried out, by kind: what section 2.25 calls "currently".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Underway {
    /// Child SAs being made or rekeyed.
    pub(crate) children: u32,
    /// IKE SA being rekeyed.
    pub(crate) ike: u32,
}

impl IkeSa {
    /// An IKE SA before its first message.
    pub(crate) fn new(spi: IkeSpi, role: Role, path: Path, now: Instant) -> Self {
        Self {
            spi,
            peer_spi: None,
            role,
            peer: None,
            path,
            first_address: path.remote,
            nat: Nat::default(),
            fragmentation: false,
            protection: None,
            phase: Phase::Init(Box::default()),
            requests: Requests::new(0),
            responses: Responses::new(if role == Role::Responder { 1 } else { 0 }),
            reassembly: [Reassembly::new(), Reassembly::new()],
            children: Vec::new(),
            underway: Underway::default(),
            psk_index: None,
            lowest_nonce: Vec::new(),
            rival: None,
            inherits: false,
            first_contact: false,
            made: now,
            give_up: None,
            rekey_at: Instant::FAR_FUTURE,
            expires_at: Instant::FAR_FUTURE,
            another_at: None,
            retire_at: None,
            last_heard: now,
            last_sent: now,
            fate: None,
        }
    }

    /// SPIs of (initiator, responder).
    pub(crate) fn spis(&self) -> (Option<IkeSpi>, Option<IkeSpi>) {
        match self.role {
            Role::Initiator => (Some(self.spi), self.peer_spi),
            Role::Responder => (self.peer_spi, Some(self.spi)),
        }
    }

    /// The header of one of our messages.
    pub(crate) fn header(&self, exchange: crate::message::ExchangeType, response: bool, message_id: u32) -> Header {
        let (initiator, responder) = self.spis();
        Header {
            initiator_spi: initiator.unwrap_or(self.spi),
            responder_spi: responder,
            exchange,
            from_initiator: self.role == Role::Initiator,
            response,
            message_id,
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established) && self.fate.is_none()
    }

    /// What we ask next. An SA that was replaced only deletes itself: what else waits is its heir's.
    pub(crate) fn next_wanted(&mut self) -> Option<Wanted> {
        let replaced = match self.phase {
            Phase::Established => false,
            Phase::Replaced => true,
            _ => return None,
        };
        if self.fate.is_some() {
            return None;
        }
        // While the peer rekeys this IKE SA, its successor is to ask for Child SAs (section 2.25.2).
        let rekeyed = self.underway.ike > 0;
        self.requests.next_wanted(|wanted| match wanted {
            Wanted::DeleteIke => true,
            Wanted::Probe => !replaced,
            Wanted::NewChild | Wanted::RekeyChild(_) | Wanted::DeleteChild(_) | Wanted::RekeyIke => !replaced && !rekeyed,
        })
    }

    /// When the peer is asked whether it lives: `dpd` after it was last heard, by IKE or (`heard`) by ESP.
    pub(crate) fn probe_at(&self, dpd: Option<(Duration, Instant)>) -> Option<Instant> {
        let (dpd, heard) = dpd.filter(|(dpd, _)| !dpd.is_zero())?;
        (self.is_established() && self.requests.exchange().is_none()).then(|| self.last_heard.max(heard) + dpd)
    }

    /// When something about it is due.
    pub(crate) fn deadline(&self, dpd: Option<(Duration, Instant)>) -> Option<Instant> {
        let always = [self.requests.deadline(), self.give_up, self.reassembly[0].deadline(), self.reassembly[1].deadline()];
        let mut earliest = always.into_iter().flatten().min();
        if self.is_established() {
            let keepalive = (self.nat.we_behind && self.path.local == LocalPort::P4500).then(|| self.last_sent + KEEPALIVE);
            let own = [Some(self.rekey_at), Some(self.expires_at), self.retire_at, self.another_at, self.probe_at(dpd), keepalive];
            let children = self.children.iter().map(|child| Some(child.deadline()));
            earliest = own.into_iter().chain(children).flatten().chain(earliest).min();
        }
        earliest.filter(|at| *at < Instant::FAR_FUTURE)
    }

    /// How ESP travels to the peer.
    pub(crate) fn encapsulation(&self) -> Encapsulation {
        if self.nat.any() { Encapsulation::Udp { peer: self.path.remote } } else { Encapsulation::Ip { peer: *self.path.remote.ip() } }
    }

    /// The Child SA that we receive with this SPI.
    pub(crate) fn child_by_inbound(&mut self, spi: u32) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.inbound_spi == spi)
    }

    /// The Child SA that the peer receives with this SPI: the name by which it speaks of it.
    pub(crate) fn child_by_outbound(&mut self, spi: u32) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.outbound_spi == spi)
    }

    /// True while we make, rekey or close a Child SA, or carry out the peer's request for one.
    pub(crate) fn is_busy_with_children(&self) -> bool {
        self.underway.children > 0 || self.requests.exchange().is_some_and(Ours::is_about_children)
    }

    /// True while we rekey this IKE SA or carry out the peer's request to.
    pub(crate) fn is_rekeying(&self) -> bool {
        self.underway.ike > 0 || matches!(self.requests.exchange(), Some(Ours::RekeyIke(_)))
    }
}
