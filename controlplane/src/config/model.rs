//! What the configuration says, as values that cannot be wrong: references are indices, addresses
//! are parsed, defaults are filled in. Nothing here knows YAML or positions any more.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnetwork::Ipv4Network;
use time::{Date, OffsetDateTime, Time, UtcOffset};

/// A relay and all its tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfigModel {
    pub name: String,
    /// In the order of the file; [`PortIndex`] counts in it.
    pub ports: Vec<Port>,
    /// In the order of the file; [`EndpointIndex`] counts in it.
    pub endpoints: Vec<Endpoint>,
    /// The operator's global block: every `global` and `as` lies in it.
    pub shared_addresses: Vec<Ipv4Network>,
    /// 従来のLGWAN通信: destinations that are refused by name.
    pub conventional_lgwan: Vec<Ipv4Network>,
    pub metrics: Option<Metrics>,
    pub api: Option<Api>,
    /// Directory for last peer endpoints and isolations.
    pub state: PathBuf,
    /// Number of 2 KiB frames in the pool; `None` leaves it to the data plane.
    pub frames: Option<u32>,
    /// Sorted by file name.
    pub tenants: Vec<Tenant>,
}

impl RelayConfigModel {
    pub fn port(&self, index: PortIndex) -> &Port {
        &self.ports[index.0]
    }

    pub fn endpoint(&self, index: EndpointIndex) -> &Endpoint {
        &self.endpoints[index.0]
    }

    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == name)
    }
}

/// Position in [`RelayConfigModel::ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIndex(pub usize);

/// Position in [`RelayConfigModel::endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointIndex(pub usize);

/// Position in [`Tenant::attachments`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttachmentIndex(pub usize);

/// A NIC that the relay takes wholly over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// The kernel's name of the NIC.
    pub interface: String,
    /// The relay's own untagged address; always there when an endpoint stands on the port.
    pub address: Option<Ipv4Network>,
    pub gateway: Option<Ipv4Addr>,
    /// Largest IP packet in bytes, without Ethernet header and tags.
    pub mtu: u16,
    pub driver: Driver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// AF_XDP where the NIC can, else AF_PACKET.
    #[default]
    Auto,
    AfXdp,
    AfPacket,
}

/// The relay's end of tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub port: PortIndex,
    pub kind: EndpointKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointKind {
    WireGuard {
        /// UDP port.
        listen: NonZeroU16,
        /// Read with [`super::keys::read_key`].
        private_key_file: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Unix socket.
    pub socket: PathBuf,
    /// Who may connect besides the operator (the relay's own user and root).
    pub viewers: Vec<Viewer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    pub name: String,
    /// The user whose process is at the other end of the socket.
    pub uid: u32,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Operator,
    Auditor,
    /// Sees these tenants (by [`Tenant::id`]) and nothing of any other.
    Tenants(Vec<String>),
}

/// A municipality or association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The unique name, e.g. `131016-chiyoda`: metrics and commands use it.
    pub id: String,
    /// The name for people, e.g. 千代田区.
    pub name: String,
    pub tunnels: Vec<Tunnel>,
    /// Classes that the tenant has, each with its source prefixes inside the tunnels.
    pub classes: Vec<ClassPrefixes>,
    /// [`AttachmentIndex`] counts in it.
    pub attachments: Vec<Attachment>,
    pub services: Vec<Service>,
    /// At most one per class and attachment; where none stands, the class has no way there.
    pub sources: Vec<Source>,
    pub callbacks: Vec<Callback>,
    pub limits: Limits,
}

impl Tenant {
    pub fn attachment(&self, index: AttachmentIndex) -> &Attachment {
        &self.attachments[index.0]
    }

    /// Office prefixes of a class; empty when the tenant lacks it.
    pub fn office_prefixes(&self, class: Class) -> &[Ipv4Network] {
        let found = self.classes.iter().find(|entry| entry.class == class);
        found.map_or(&[], |entry| &entry.prefixes)
    }

    pub fn source(&self, class: Class, attachment: AttachmentIndex) -> Option<&SourceTranslation> {
        let found = |source: &&Source| source.class == class && source.attachment == attachment;
        self.sources.iter().find(found).map(|source| &source.translation)
    }
}

/// The two kinds of traffic that share a circuit and never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// 番号利用事務系.
    Mynumber,
    /// LGWAN接続系.
    LgwanConnected,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Mynumber, Class::LgwanConnected];

    /// As the configuration, metrics and commands spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Mynumber => "mynumber",
            Class::LgwanConnected => "lgwan-connected",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub name: String,
    pub endpoint: EndpointIndex,
    /// Largest inner packet in bytes: configured, or what the endpoint's port leaves.
    pub mtu: u16,
    pub kind: TunnelKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelKind {
    WireGuard {
        /// X25519; unique in the whole relay.
        public_key: [u8; 32],
        /// Read with [`super::keys::read_key`].
        preshared_key_file: Option<PathBuf>,
        /// The municipal router's fixed address, to which the relay may initiate.
        endpoint_address: Option<SocketAddrV4>,
        /// Seconds.
        persistent_keepalive: Option<NonZeroU16>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPrefixes {
    pub class: Class,
    pub prefixes: Vec<Ipv4Network>,
}

/// A VLAN towards one cloud: the tenant's virtual circuit (仮想回線).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    pub port: PortIndex,
    pub vlan: Vlan,
    /// The relay's own address with the subnet's prefix length.
    pub address: Ipv4Network,
    /// The default next hop.
    pub gateway: Ipv4Addr,
}

/// Ids are 1 to 4094 and mean something on one port only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vlan {
    /// IEEE 802.1Q.
    Single(u16),
    /// IEEE 802.1ad: service tag outside, customer tag inside.
    QinQ { outer: u16, inner: u16 },
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vlan::Single(id) => write!(f, "{id}"),
            Vlan::QinQ { outer, inner } => write!(f, "{outer}.{inner}"),
        }
    }
}

/// Office -> cloud: a destination that is open to one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique among the tenant's services and callbacks.
    pub name: String,
    pub class: Class,
    pub attachment: AttachmentIndex,
    pub destinations: ServiceDestinations,
    pub allow: Vec<Allow>,
    pub governance: Governance,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// 1 to 1,000,000.
    pub sessions: u32,
    /// 1 to 100,000.
    pub new_sessions_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sessions: 20_000, new_sessions_per_second: 500 }
    }
}
