//! One tenant: who it is, its tunnels and attachments.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::{AttachmentIndex, Callback, EndpointIndex, IpsecTunnel, PortIndex, Service, Source, SourceTranslation};

/// A municipality or association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The unique name, e.g. `131016-chiyoda`: metrics and commands use it.
    pub id: String,
    /// The name for people, e.g. 千代田区.
    pub name: String,
    /// In the order in which they are used; the preferred one is the first of them.
    pub tunnels: Vec<Tunnel>,
    pub redundancy: Redundancy,
    /// Classes that the tenant has, each with its source prefixes inside the tunnels.
    pub classes: Vec<ClassPrefixes>,
    /// [`AttachmentIndex`] counts in it.
    pub attachments: Vec<Attachment>,
    pub services: Vec<Service>,
    /// At most one per class and attachment; where none stands, the class has no way there.
    pub sources: Vec<Source>,
    pub callbacks: Vec<Callback>,
    pub limits: Limits,
    pub rate: Rate,
    pub ipv6: Ipv6Inside,
}

/// What becomes of IPv6 packets of its hosts. There is one answer so far, which the data plane gives to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ipv6Inside {
    /// Each is lost by name, and its sender told.
    #[default]
    Refuse,
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

    /// The policy of an IPsec tunnel, as people write it; `-` where there is none.
    pub fn crypto_policy(&self, tunnel: &str) -> String {
        match self.tunnels.iter().find(|found| found.name == tunnel).map(|tunnel| &tunnel.kind) {
            Some(TunnelKind::Ipsec(ipsec)) => ipsec.policy.to_string(),
            _ => "-".to_owned(),
        }
    }

    pub fn source(&self, class: Class, attachment: AttachmentIndex) -> Option<&SourceTranslation> {
        let found = |source: &&Source| source.class == class && source.attachment == attachment;
        self.sources.iter().find(found).map(|source| &source.translation)
    }
}

/// Which of several tunnels carry what goes to the office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redundancy {
    /// The first that is up.
    #[default]
    Prefer,
    /// Each the answers to what came by it; what the cloud begins goes by the first that is up.
    Both,
}

impl Redundancy {
    pub const ALL: [Redundancy; 2] = [Redundancy::Prefer, Redundancy::Both];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Redundancy::Prefer => "prefer",
            Redundancy::Both => "both",
        }
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
        endpoint_address: Option<SocketAddr>,
        /// Seconds.
        persistent_keepalive: Option<NonZeroU16>,
    },
    Ipsec(Box<IpsecTunnel>),
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
    /// The relay's own IPv6 address, which answers for itself alone.
    pub address6: Option<Ipv6Network>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// 1 to 200,000.
    pub sessions: u32,
    /// Ports of `napt` pools in use at one time, 1 to 200,000; as many as sessions where the file names none.
    pub ports: u32,
    /// 1 to 5,000.
    pub new_sessions_per_second: u32,
}

/// Bits of inner packets a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// The tenant's part where not everything can be carried.
    pub guaranteed: Option<NonZeroU64>,
    /// What it gets at most, each direction for itself; not below `guaranteed`.
    pub ceiling: Option<NonZeroU64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sessions: 20_000, ports: 20_000, new_sessions_per_second: 500 }
    }
}
