//! The words that address translation speaks with its callers.

use std::net::Ipv4Addr;

use crate::router_config::{AttachmentId, Filtering, TrafficClass};
use crate::wire::inner::Protocol;

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Out of a tunnel, onto a VLAN.
    OfficeToCloud = 0,
    /// From a VLAN, into a tunnel.
    CloudToOffice = 1,
}

impl Direction {
    /// The direction as tables and JSON spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OfficeToCloud => "office-to-cloud",
            Self::CloudToOffice => "cloud-to-office",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::OfficeToCloud => Self::CloudToOffice,
            Self::CloudToOffice => Self::OfficeToCloud,
        }
    }
}

/// One end of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// Address.
    pub addr: Ipv4Addr,
    /// Port; for an ICMP echo its identifier, which then stands in both ends.
    pub port: u16,
}

impl Endpoint {
    /// `addr` with `port`.
    #[must_use]
    pub const fn new(addr: Ipv4Addr, port: u16) -> Self {
        Self { addr, port }
    }

    /// The 48 bits as a number, for keys.
    pub(super) const fn bits(self) -> u64 {
        (self.addr.to_bits() as u64) << 16 | self.port as u64
    }
}

/// The rule of the tenant that a session was opened by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RuleId {
    /// Index into `TenantConfig::services`.
    Service(u16),
    /// Index into `TenantConfig::callbacks`.
    Callback(u16),
}

/// What becomes of the opener's address and port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// This address (the opener's own where it is kept); the port is kept.
    Fixed(Ipv4Addr),
    /// An address and a port of this pool.
    Pool(PoolId),
}

/// A pool that [`super::Nat::pool`] returned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PoolId(pub(super) u16);

/// What a pool is for. The same key finds the same pool, with its mappings, after a reload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PoolKey {
    /// The class whose hosts use it.
    pub class: TrafficClass,
    /// The attachment that the translated flows go over.
    pub attachment: AttachmentId,
    /// Whose sources it replaces.
    pub kind: PoolKind,
}

/// Whose sources a pool replaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PoolKind {
    /// Office hosts: its addresses are the cloud's (`source: napt:`).
    Office,
    /// Cloud hosts that open a callback: its one address is what the office sees (`as:`).
    Callback(Ipv4Addr),
}

/// A new flow as the tenant's rules allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewFlow {
    /// Who may open it: the office by a service, the cloud by a callback.
    pub opened_by: Direction,
    /// Whose packet begins it: the opener's, or the cloud's where a service's filtering lets it send first.
    pub begun_by: Direction,
    /// What its service lets the cloud begin.
    pub filtering: Filtering,
    /// Its class.
    pub class: TrafficClass,
    /// The rule that allows it.
    pub rule: RuleId,
    /// The attachment it goes over.
    pub attachment: AttachmentId,
    /// Its protocol.
    pub protocol: Protocol,
    /// Source as the opener sends it.
    pub source: Endpoint,
    /// Destination as the opener sends it.
    pub destination: Endpoint,
    /// Destination on the other side. The port of an ICMP echo does not matter here: the identifier follows the source.
    pub translated_destination: Endpoint,
    /// Source on the other side.
    pub translated_source: Source,
}

/// The half of every pool's ports that a run of the relay gives out first. The next run takes the other one, so that a port which the
/// previous one had given out rests for its quarantine after a restart too (RFC 6888 REQ-8).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PortHalf {
    /// Even ports.
    #[default]
    Even,
    /// Odd ports.
    Odd,
}

impl PortHalf {
    /// The half that the next run takes.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }

    /// Whether `port` is in it.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        port % 2 == self as u16
    }
}

/// A session, as long as it is not removed or expired: use it within the batch in which it was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub(super) u32);

impl SessionId {
    /// The session's place in the table, for `from` of [`super::Nat::rows`].
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}
