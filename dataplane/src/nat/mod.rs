//! Address translation of one tenant, in two layers: mappings (endpoint-independent), and sessions under them.
mod types;

pub use types::{Direction, Endpoint, NewFlow, PoolId, PoolKey, PoolKind, RuleId, SessionId, Source};

use ipnetwork::Ipv4Network;

use crate::drop_reason::DropReason;
use crate::router_config::{AttachmentId, Limits, TrafficClass};
use crate::time::{Duration, Instant};
use crate::wire::inner::{Inner, Protocol};

/// One flow.
#[derive(Clone, Debug)]
pub struct Session {
    /// Class.
    pub class: TrafficClass,
    /// The rule it was opened by.
    pub rule: RuleId,
    /// The attachment it goes over.
    pub attachment: AttachmentId,
    /// Protocol.
    pub protocol: Protocol,
    /// Who opened it.
    pub opened_by: Direction,
    /// Generation of the rules it was last checked against.
    pub generation: u32,
    /// The office's end, as the office sees it.
    pub office: Endpoint,
    /// The remote end, as the office sees it.
    pub office_remote: Endpoint,
    /// The office's end, as the cloud sees it.
    pub cloud_local: Endpoint,
    /// The remote end, as the cloud sees it.
    pub cloud_remote: Endpoint,
    /// When it was opened.
    pub opened_at: Instant,
    /// Packets, by [`Direction`].
    pub packets: [u64; 2],
    /// Bytes of IP packets, by [`Direction`].
    pub bytes: [u64; 2],
}

impl Session {
    /// State of a TCP connection, else `-`.
    #[must_use]
    pub const fn state_label(&self) -> &'static str {
        "-"
    }

    /// How long it lives on if no packet comes.
    #[must_use]
    pub fn expires_in(&self, _now: Instant) -> Duration {
        Duration::ZERO
    }
}

/// Mappings and sessions of one tenant.
#[derive(Debug)]
pub struct Nat {
    sessions: Vec<Session>,
    limits: Limits,
}

impl Nat {
    /// Empty tables for these limits; `seed` must be a secret random number of this tenant.
    #[must_use]
    pub fn new(limits: Limits, _seed: u64) -> Self {
        Self { sessions: Vec::new(), limits }
    }

    /// New limits after a reload.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Ports that no pool gives out.
    pub fn set_reserved_ports(&mut self, _ports: &[u16]) {}

    /// The pool with this key and these addresses.
    pub fn pool(&mut self, _key: PoolKey, _addresses: &[Ipv4Network], _now: Instant) -> PoolId {
        PoolId(0)
    }

    /// The session of a packet from the office.
    #[must_use]
    pub fn find_from_office(&self, _inner: &Inner) -> Option<SessionId> {
        None
    }

    /// The session of a packet from the cloud.
    #[must_use]
    pub fn find_from_cloud(&self, _attachment: AttachmentId, _inner: &Inner) -> Option<SessionId> {
        None
    }

    /// The session.
    #[must_use]
    pub fn session(&self, id: SessionId) -> &Session {
        &self.sessions[id.0 as usize]
    }

    /// Temporary.
    pub fn has_source(&self, _id: SessionId, _source: Source) -> bool {
        true
    }

    /// The session was checked against the rules of this generation.
    pub fn set_generation(&mut self, id: SessionId, generation: u32) {
        self.sessions[id.0 as usize].generation = generation;
    }

    /// End a session.
    pub fn remove(&mut self, _id: SessionId, _now: Instant) {}

    /// Open a session.
    ///
    /// # Errors
    /// SessionTableFull, SessionRateLimited, PortsExhausted, SessionConflict, TcpNotSyn, NoSession
    pub fn open(&mut self, _flow: &NewFlow, _generation: u32, _inner: &Inner, _now: Instant) -> Result<SessionId, DropReason> {
        Err(DropReason::SessionTableFull)
    }

    /// Rewrite a packet.
    pub fn translate_to_cloud(&mut self, _id: SessionId, _packet: &mut [u8], _inner: &Inner, _now: Instant) {}

    /// Rewrite a packet.
    pub fn translate_to_office(&mut self, _id: SessionId, _packet: &mut [u8], _inner: &Inner, _now: Instant) {}

    /// Rewrite an ICMP error of the office about a packet of the cloud.
    ///
    /// # Errors
    /// IcmpErrorUnmatched, IcmpErrorMalformed
    pub fn icmp_error_to_cloud(&mut self, _packet: &mut [u8], _inner: &Inner) -> Result<SessionId, DropReason> {
        Err(DropReason::IcmpErrorUnmatched)
    }

    /// Rewrite an ICMP error of the cloud about a packet of the office.
    ///
    /// # Errors
    /// IcmpErrorUnmatched, IcmpErrorMalformed
    pub fn icmp_error_to_office(&mut self, _at: AttachmentId, _packet: &mut [u8], _inner: &Inner) -> Result<SessionId, DropReason> {
        Err(DropReason::IcmpErrorUnmatched)
    }

    /// End what is due, at most `budget` entries; returns how many sessions ended.
    pub fn expire(&mut self, _now: Instant, _budget: usize) -> usize {
        0
    }

    /// When [`Nat::expire`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        Instant::FAR_FUTURE
    }

    /// Sessions alive.
    #[must_use]
    pub fn sessions_alive(&self) -> usize {
        0
    }

    /// Mappings alive, those in quarantine not counted.
    #[must_use]
    pub fn mappings_alive(&self) -> usize {
        0
    }

    /// Forget everything.
    pub fn clear(&mut self) {}

    /// The sessions from place `from` on.
    pub fn rows(&self, from: u32) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().skip(from as usize).map(|session| (SessionId(0), session))
    }
}
