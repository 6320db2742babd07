//! The exchanges of RFC 7296, one room each: what we ask, what we answer, and what waits for Diffie-Hellman or a worker meanwhile.

pub(crate) mod auth;
pub(crate) mod child;
pub(crate) mod collision;
pub(crate) mod create_child_sa;
pub(crate) mod delete;
pub(crate) mod ike_auth;
pub(crate) mod ike_sa_init;
pub(crate) mod informational;
pub(crate) mod nat_detection;
pub(crate) mod rekey_ike;

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::dh::{DhOutcome, DhPrivate};
use crate::effect::{Closed, LocalPort};
use crate::engine::core::Core;
use crate::failure::Failure;
use crate::message::{ExchangeType, IkeSpi};
use crate::sa::IkeSa;
use crate::time::Instant;
use crate::transforms::{EspSuite, Group, IkeSuite};

/// When nobody had time for a Diffie-Hellman, we come back to it within this.
const BUSY_PAUSE: Duration = Duration::from_secs(4);

/// A request of ours that is in preparation, in flight or being concluded.
#[derive(Debug)]
pub(crate) enum Ours {
    /// IKE_SA_INIT.
    Init(Box<InitDraft>),
    /// IKE_AUTH, with the first Child SA.
    Auth(Box<ChildDraft>),
    /// CREATE_CHILD_SA for a new Child SA, or for one that replaces another.
    Child(Box<ChildDraft>),
    /// CREATE_CHILD_SA for an IKE SA that replaces this one.
    RekeyIke(Box<IkeDraft>),
    /// INFORMATIONAL with a Delete for the Child SA with this inbound SPI.
    DeleteChild(u32),
    /// INFORMATIONAL with a Delete for the IKE SA.
    DeleteIke,
    /// An empty INFORMATIONAL: does the peer live?
    Probe,
}

impl Ours {
    /// True while we create, rekey or close a Child SA (section 2.25.1).
    pub(crate) fn is_about_children(&self) -> bool {
        matches!(self, Self::Child(_) | Self::DeleteChild(_))
    }
}

/// A request that waits for its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// A Child SA beside those that stand.
    NewChild,
    /// A Child SA in place of the one with this inbound SPI.
    RekeyChild(u32),
    /// Delete the Child SA with this inbound SPI.
    DeleteChild(u32),
    /// An IKE SA in place of this one.
    RekeyIke,
    /// Delete this IKE SA.
    DeleteIke,
    /// Ask whether the peer lives.
    Probe,
}

/// Our IKE_SA_INIT.
#[derive(Debug)]
pub(crate) struct InitDraft {
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: OurKey,
    /// To be sent back (section 2.6).
    pub(crate) cookie: Option<Vec<u8>>,
    /// How often we began again, for a cookie or another group: bounded.
    pub(crate) restarts: u32,
    /// What an unauthenticated answer said. It is believed only when nothing better comes (section 2.21.1).
    pub(crate) hint: Option<(Failure, String)>,
    pub(crate) suite: Option<IkeSuite>,
}

impl ChildDraft {
    /// Before anything but the SPI is known.
    pub(crate) fn new(inbound_spi: u32, replaces: Option<u32>) -> Self {
        Self { inbound_spi, replaces, nonce: Vec::new(), key: None, answer: None, rival: None }
    }
}

/// Our key pair of one exchange.
#[derive(Debug)]
pub(crate) struct OurKey {
    pub(crate) group: Group,
    /// Until it is used, once.
    pub(crate) private: Option<DhPrivate>,
    pub(crate) public: Vec<u8>,
}

impl OurKey {
    /// A key pair that is yet to be made.
    pub(crate) fn wanted(group: Group) -> Self {
        Self { group, private: None, public: Vec::new() }
    }
}

/// Our half of a Child SA that we ask for.
#[derive(Debug)]
pub(crate) struct ChildDraft {
    pub(crate) inbound_spi: u32,
    /// The inbound SPI of the Child SA that it replaces.
    pub(crate) replaces: Option<u32>,
    /// Empty in IKE_AUTH, which uses those of IKE_SA_INIT.
    pub(crate) nonce: Vec<u8>,
    /// For perfect forward secrecy.
    pub(crate) key: Option<OurKey>,
    /// What the peer answered.
    pub(crate) answer: Option<ChildAnswer>,
    /// What the peer makes by replacing the same Child SA meanwhile: its inbound SPI and its lowest nonce.
    pub(crate) rival: Option<(u32, Vec<u8>)>,
}

/// What two ends agreed on for a Child SA.
#[derive(Clone, Debug)]
pub(crate) struct ChildAnswer {
    pub(crate) suite: EspSuite,
    pub(crate) outbound_spi: u32,
    /// The peer's nonce.
    pub(crate) nonce: Vec<u8>,
    pub(crate) traffic: child::Traffic,
}

/// Our half of an IKE SA that replaces another.
#[derive(Debug)]
pub(crate) struct IkeDraft {
    pub(crate) spi: IkeSpi,
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: OurKey,
    /// The peer has asked for this group by INVALID_KE_PAYLOAD: it does so once.
    pub(crate) corrected: bool,
    /// What the peer answered: suite, its SPI, its nonce.
    pub(crate) answer: Option<(IkeSuite, IkeSpi, Vec<u8>)>,
}

/// Where the answer to a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) exchange: ExchangeType,
    pub(crate) message_id: u32,
    pub(crate) local: LocalPort,
    pub(crate) to: SocketAddrV4,
}

/// What is done elsewhere before an exchange goes on.
#[derive(Debug)]
pub(crate) enum Task {
    /// Diffie-Hellman: a key pair for our request in preparation.
    OurKeyPair,
    /// Diffie-Hellman: the secret of our exchange, which the peer has answered.
    OurSecret,
    /// Diffie-Hellman for the peer's IKE_SA_INIT.
    TheirInit(Box<ike_sa_init::TheirInit>),
    /// Diffie-Hellman for a Child SA that the peer asks for.
    TheirChild(Box<child::TheirChild>),
    /// Diffie-Hellman for an IKE SA that the peer asks for.
    TheirIke(Box<rekey_ike::TheirIke>),
    /// A worker installs what our exchange made.
    InstallOurs(Box<child::Made>),
    /// A worker installs what the peer asked for.
    InstallTheirs(Box<child::TheirMade>),
}

/// Our key pair is there: the request in preparation can leave.
pub(crate) fn our_key_pair(core: &mut Core, sa: &mut IkeSa, outcome: DhOutcome, now: Instant) {
    let DhOutcome::Generated { private, public } = outcome else {
        // Nobody had time for it. The request has not left: forget it, and come back to it.
        return match sa.requests.exchange() {
            Some(Ours::Init(_)) => sa.fate = Some(Closed::Failed),
            Some(Ours::Child(_)) => create_child_sa::over(core, sa, BUSY_PAUSE, now),
            Some(Ours::RekeyIke(_)) => rekey_ike::over(core, sa, BUSY_PAUSE, now),
            _ => {}
        };
    };
    let key = match sa.requests.exchange_mut() {
        Some(Ours::Init(draft)) => Some(&mut draft.key),
        Some(Ours::Child(draft)) => draft.key.as_mut(),
        Some(Ours::RekeyIke(draft)) => Some(&mut draft.key),
        _ => None,
    };
    let Some(key) = key else { return };
    (key.private, key.public) = (Some(private), public);
    match sa.requests.exchange() {
        Some(Ours::Init(_)) => ike_sa_init::send(core, sa, now),
        Some(Ours::Child(_)) => create_child_sa::send(core, sa, now),
        _ => rekey_ike::send(core, sa, now),
    }
}

/// Why there is no secret.
pub(crate) fn no_secret(outcome: &DhOutcome) -> Failure {
    if matches!(outcome, DhOutcome::Busy) { Failure::Overloaded } else { Failure::BadPublicValue }
}

/// The secret of our exchange is there.
pub(crate) fn our_secret(core: &mut Core, sa: &mut IkeSa, outcome: DhOutcome, now: Instant) {
    match sa.requests.exchange() {
        Some(Ours::Init(_)) => ike_sa_init::agreed(core, sa, outcome, now),
        Some(Ours::Child(_)) => create_child_sa::agreed(core, sa, outcome, now),
        Some(Ours::RekeyIke(_)) => rekey_ike::agreed(core, sa, outcome, now),
        _ => {}
    }
}
