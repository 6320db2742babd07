//! What people see of a peer.

use std::net::SocketAddrV4;

use crate::config::PeerName;
use crate::counters::FailureCounts;
use crate::effect::{Encapsulation, Selector};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::time::Instant;

/// How far a peer is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerState {
    /// Nothing stands and nothing goes on.
    Down,
    /// A negotiation goes on.
    Connecting,
    /// The peer has proven who it is, but no Child SA stands.
    Authenticated,
    /// A Child SA stands.
    Up,
}

/// One peer as it is now.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Tenant and tunnel.
    pub name: PeerName,
    /// How far it is.
    pub state: PeerState,
    /// Since when.
    pub since: Instant,
    /// The IKE SA in use.
    pub ike: Option<IkeStatus>,
    /// Child SAs, newest first.
    pub children: Vec<ChildStatus>,
    /// What failed last, also when it has worked since.
    pub last_error: Option<LastError>,
    /// Failures of this peer by reason. What somebody did who only says to be this peer is not among them.
    pub failures: FailureCounts,
    /// When we will try again, where we do.
    pub next_try: Option<Instant>,
}

/// An IKE SA.
#[derive(Clone, Debug)]
pub struct IkeStatus {
    /// SPI of the initiator.
    pub initiator_spi: u64,
    /// SPI of the responder.
    pub responder_spi: u64,
    /// True when we started.
    pub initiator: bool,
    /// Where the peer is.
    pub peer: SocketAddrV4,
    /// A NAT stands before the peer.
    pub peer_behind_nat: bool,
    /// A NAT stands before us.
    pub we_behind_nat: bool,
    /// Messages may travel in fragments (RFC 7383).
    pub fragmentation: bool,
    /// Suite (`aes256gcm16-prfsha384-ecp384`).
    pub suite: String,
    /// Which pre-shared key the peer used: 0 is the newest. `None` for certificates.
    pub psk_index: Option<usize>,
    /// Since when.
    pub established: Instant,
    /// When it will be replaced.
    pub rekey_at: Instant,
    /// When the peer's last authentic message came.
    pub last_heard: Instant,
}

/// A Child SA.
#[derive(Clone, Debug)]
pub struct ChildStatus {
    /// SPI that the peer sends with.
    pub inbound_spi: u32,
    /// SPI that we send with.
    pub outbound_spi: u32,
    /// Suite (`aes256gcm16`).
    pub suite: String,
    /// How ESP travels.
    pub encapsulation: Encapsulation,
    /// What may go through.
    pub selectors: Vec<Selector>,
    /// Since when.
    pub established: Instant,
    /// When it will be replaced.
    pub rekey_at: Instant,
}

/// What failed last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastError {
    /// When.
    pub at: Instant,
    /// Which kind.
    pub failure: Failure,
    /// In words, with what exactly.
    pub words: String,
    /// What to do about it.
    pub remedy: String,
    /// The peer had proven who it is, or we had called it. Otherwise it may have been anybody.
    pub proven: bool,
}

/// The last negotiation with somebody, possibly nobody we know: for `explain-ike`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiation {
    /// When it began.
    pub at: Instant,
    /// Where the other end is.
    pub address: SocketAddrV4,
    /// Which peer, once that is known.
    pub peer: Option<PeerName>,
    /// True when we started.
    pub initiator: bool,
    /// Who the other end says it is, where it came so far. Not proven!
    pub claimed: Option<Identity>,
    /// IKE suites that were proposed, each in words, at most 16.
    pub proposed: Vec<String>,
    /// IKE suites that we accept, each in words.
    pub accepted: Vec<String>,
    /// Names of the ESP suites that were proposed, at most 16.
    pub child_proposed: Vec<String>,
    /// ESP suites that we accept.
    pub child_accepted: Vec<String>,
    /// Traffic selectors that were proposed, in words.
    pub selectors_proposed: Vec<String>,
    /// How far it came, one line a step.
    pub steps: Vec<String>,
    /// Why it failed; `None` when it stands or goes on.
    pub error: Option<LastError>,
}
