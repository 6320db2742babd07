//! What a tenant's traffic may do, and how its addresses change.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;
use time::{Date, OffsetDateTime, Time, UtcOffset};

use super::{AttachmentIndex, Class};

/// Office -> cloud: a destination that is open to one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique among the tenant's services and callbacks.
    pub name: String,
    pub class: Class,
    pub attachment: AttachmentIndex,
    pub destinations: ServiceDestinations,
    pub allow: Vec<Allow>,
    pub filtering: Filtering,
    pub governance: Governance,
}

/// Which packets from the cloud may begin a session under a mapping that the office made (RFC 4787 section 5). In `napt` pools only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    EndpointIndependent,
    #[default]
    AddressDependent,
    AddressAndPortDependent,
}

impl Filtering {
    pub const ALL: [Filtering; 3] = [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Filtering::EndpointIndependent => "endpoint-independent",
            Filtering::AddressDependent => "address-dependent",
            Filtering::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceDestinations {
    /// The office addresses the cloud's private prefixes itself.
    Kept(Vec<Ipv4Network>),
    /// The office addresses globals; each becomes the private address at the same offset.
    Translated(Vec<TranslatedPrefix>),
}

/// Two prefixes of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslatedPrefix {
    pub global: Ipv4Network,
    pub private: Ipv4Network,
}

/// One entry of `allow`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Allow {
    Tcp(PortMapping),
    Udp(PortMapping),
    /// Echo request and its reply.
    IcmpEcho,
}

/// Destination ports as the initiator uses them, and where the first one lands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortMapping {
    /// Before translation: what the packet carries when it reaches the relay. Never 0.
    pub outside: RangeInclusive<u16>,
    /// After translation; equal to `outside` unless the entry is a single port with `:inside`.
    pub inside: RangeInclusive<u16>,
}

impl PortMapping {
    pub fn is_translated(&self) -> bool {
        self.outside != self.inside
    }
}

/// How the cloud sees a class's office addresses on one attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub class: Class,
    pub attachment: AttachmentIndex,
    pub translation: SourceTranslation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceTranslation {
    Keep,
    /// 1:1; office addresses without an entry have no way to the cloud.
    Static(Vec<StaticPair>),
    /// Address and port translation into these prefixes, every address of them usable.
    Napt(Vec<Ipv4Network>),
}

/// Two prefixes of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticPair {
    pub office: Ipv4Network,
    pub cloud: Ipv4Network,
}

/// Cloud -> office: printing, file pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Unique among the tenant's services and callbacks.
    pub name: String,
    pub class: Class,
    pub attachment: AttachmentIndex,
    /// Cloud addresses that may open it.
    pub from: Vec<Ipv4Network>,
    /// The global source that the office sees; `None` keeps the cloud's own.
    pub seen_as: Option<Ipv4Addr>,
    /// The address that the cloud calls; `None` when it calls the office address itself.
    pub to: Option<Ipv4Addr>,
    /// The office address that answers.
    pub office: Ipv4Addr,
    pub allow: Vec<Allow>,
    pub governance: Governance,
}

impl Callback {
    /// The destination that the cloud writes into its packets.
    pub fn called_address(&self) -> Ipv4Addr {
        self.to.unwrap_or(self.office)
    }
}

/// On what basis a rule stands, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Governance {
    pub basis: Option<String>,
    pub approved_by: Option<String>,
    pub validity: Validity,
}

/// Calendar days in Japan (Asia/Tokyo), both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    pub from: Option<Date>,
    pub until: Option<Date>,
}

impl Validity {
    /// First second at which the rule holds, as Unix time.
    pub fn starts_at_unix(&self) -> Option<i64> {
        self.from.map(midnight_in_japan)
    }

    /// First second at which the rule no longer holds, as Unix time.
    pub fn ends_at_unix(&self) -> Option<i64> {
        self.until.map(|date| midnight_in_japan(date) + SECONDS_PER_DAY)
    }

    pub fn holds_at_unix(&self, now: i64) -> bool {
        self.starts_at_unix().is_none_or(|start| start <= now) && self.ends_at_unix().is_none_or(|end| now < end)
    }

    /// Whether there is a day on which both hold.
    pub fn overlaps(&self, other: &Validity) -> bool {
        let ends_before = |a: &Validity, b: &Validity| matches!((a.until, b.from), (Some(until), Some(from)) if until < from);
        !ends_before(self, other) && !ends_before(other, self)
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// Asia/Tokyo has had no daylight saving time since 1951.
const JAPAN: UtcOffset = time::macros::offset!(+9);

fn midnight_in_japan(date: Date) -> i64 {
    OffsetDateTime::new_in_offset(date, Time::MIDNIGHT, JAPAN).unix_timestamp()
}
