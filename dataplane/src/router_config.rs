//! The compiled configuration: immutable, complete, checked. Workers read it; the control plane makes it.
//!
//! Everything is named by small numbers that index the vectors here, so that nothing has to be looked up by name on a packet's
//! way. The control plane has validated it all; what a type can rule out is ruled out by the type.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnetwork::{Ipv4Network, Ipv6Network};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::counters::{PortCounters, TenantCounters, TunnelCounters};

/// Index into [`RouterConfig::ports`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u8);

/// Index into [`RouterConfig::endpoints`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(pub u8);

/// Index into [`TenantConfig::tunnels`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TunnelId(pub u8);

/// Index into [`TenantConfig::attachments`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttachmentId(pub u8);

/// Number of a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WorkerId(pub u8);

impl WorkerId {
    /// As a place in a list of all workers.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Workers of one relay: their number stands in four bits of a receiver index.
pub const MAX_WORKERS: usize = 16;

/// Tunnels of one tenant: their number stands in three bits of a session.
pub const MAX_TUNNELS: usize = 8;

/// The whole configuration of a relay.
#[derive(Debug)]
pub struct RouterConfig {
    /// The NICs; their number and order never change while the relay runs.
    pub ports: Vec<PortConfig>,
    /// The relay's own ends of tunnels.
    pub endpoints: Vec<EndpointConfig>,
    /// 従来のLGWAN通信: destinations that are refused by name.
    pub conventional_lgwan: Vec<Ipv4Network>,
    /// TCP or UDP ports that the control plane listens on. No pool gives them out, nor those of endpoints.
    pub reserved_ports: Vec<u16>,
    /// The tenants, each with the counters that outlive its configurations.
    pub tenants: Vec<TenantEntry>,
}

/// One NIC that the relay takes wholly over.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// The port's name in relay.yaml.
    pub name: Arc<str>,
    /// The relay's own address and its prefix, where the port ends tunnels.
    pub address: Option<Ipv4Network>,
    /// Next hop towards municipalities outside that prefix.
    pub gateway: Option<Ipv4Addr>,
    /// The relay's own IPv6 address and its prefix, beside the other one.
    pub address6: Option<Ipv6Network>,
    /// Next hop towards everything outside that prefix.
    pub gateway6: Option<Ipv6Addr>,
    /// Largest IP packet on this port.
    pub mtu: u16,
    /// The port's counters.
    pub counters: Arc<PortCounters>,
}

/// One of the relay's own ends of tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The endpoint's name in relay.yaml.
    pub name: Arc<str>,
    /// The port whose address it uses.
    pub port: PortId,
    /// The protocol and its settings.
    pub kind: EndpointKind,
}

/// The protocol an endpoint speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// WireGuard on one UDP port, with one key for all tenants.
    WireGuard {
        /// UDP port.
        listen: NonZeroU16,
        /// The relay's private key.
        private_key: SecretKey,
    },
    /// IPsec: UDP ports 500 and 4500 and IP protocol 50 on the port's address, at most one such endpoint a port. Key exchange and its
    /// secrets are the control plane's.
    Ipsec,
}

/// A key of 32 bytes that is erased when dropped and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(pub [u8; 32]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A tenant's configuration and what the worker counts for it.
#[derive(Clone, Debug)]
pub struct TenantEntry {
    /// The configuration; the same `Arc` (or an equal value) across a reload means that the tenant is left alone.
    pub config: Arc<TenantConfig>,
    /// The tenant's counters.
    pub counters: Arc<TenantCounters>,
    /// The counters of each tunnel, in the order of [`TenantConfig::tunnels`].
    pub tunnel_counters: Vec<Arc<TunnelCounters>>,
}

/// One municipality, or other body, as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantConfig {
    /// The tenant's unique name: code and short name.
    pub name: Arc<str>,
    /// Its tunnels, in order of preference: [`MAX_TUNNELS`] at most.
    pub tunnels: Vec<TunnelConfig>,
    /// Which of them carry what goes to the office.
    pub redundancy: Redundancy,
    /// Office prefixes of each class; no prefix is in both.
    pub office: Vec<OfficePrefix>,
    /// Its cloud networks.
    pub attachments: Vec<AttachmentConfig>,
    /// office -> cloud; nothing else is open.
    pub services: Vec<ServiceConfig>,
    /// How the cloud sees office addresses, for each class and attachment at most one.
    pub sources: Vec<SourceConfig>,
    /// cloud -> office.
    pub callbacks: Vec<CallbackConfig>,
    /// Bounds of the tenant's state.
    pub limits: Limits,
    /// The tenant's part of what the relay can carry.
    pub rate: RateConfig,
    /// Cut off as a whole by an operator.
    pub isolated: bool,
    /// Classes that an operator cut off, by [`TrafficClass`] as index.
    pub isolated_classes: [bool; TrafficClass::COUNT],
}

/// What a tenant's tunnels are to one another, where there are several. Whatever it says, packets of the office are welcome by every one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Redundancy {
    /// The first that is up carries everything to the office.
    #[default]
    Prefer,
    /// An answer goes by the tunnel that the office last sent over in its session, so that a firewall behind each of them sees both
    /// directions; what the cloud begins, and what has no such tunnel any more, by the first that is up.
    Both,
}

/// The two kinds of traffic that share one circuit and never mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TrafficClass {
    /// 番号利用事務系 (マイナンバー利用事務系).
    MyNumber = 0,
    /// LGWAN接続系.
    LgwanConnected = 1,
}

impl TrafficClass {
    /// How many classes there are.
    pub const COUNT: usize = 2;
    /// Both, in order.
    pub const ALL: [Self; Self::COUNT] = [Self::MyNumber, Self::LgwanConnected];

    /// The class as configuration, metrics and tables spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::MyNumber => "mynumber",
            Self::LgwanConnected => "lgwan-connected",
        }
    }
}

/// One tunnel of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// The tunnel's name in the tenant file.
    pub name: Arc<str>,
    /// The relay's end.
    pub endpoint: EndpointId,
    /// Largest inner packet, in bytes.
    pub mtu: u16,
    /// Keys and protocol settings.
    pub kind: TunnelKind,
}

/// What the peer proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// WireGuard.
    WireGuard {
        /// The municipal router's public key.
        public_key: [u8; 32],
        /// The preshared key, where there is one.
        preshared_key: Option<SecretKey>,
        /// Where to reach the municipal router before it has been heard, where its address is fixed.
        peer_address: Option<SocketAddr>,
        /// Seconds between keepalives sent by the relay, where wanted.
        persistent_keepalive: Option<NonZeroU16>,
    },
    /// IPsec. SAs come and go by commands, so another preshared key or proposal is no change here.
    Ipsec,
}

/// Who may speak from inside the tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfficePrefix {
    /// The prefix.
    pub prefix: Ipv4Network,
    /// The class its hosts belong to.
    pub class: TrafficClass,
}

/// The tag, or tags, of an attachment's frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Vlan {
    /// No tag.
    Untagged,
    /// 802.1Q.
    Single(VlanId),
    /// QinQ: 802.1ad outside, 802.1Q inside.
    Double {
        /// The service tag.
        outer: VlanId,
        /// The customer tag.
        inner: VlanId,
    },
}

/// A VLAN id that may be used: 1 to 4,094.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(NonZeroU16);

impl VlanId {
    /// `id`, unless it is one of the reserved values 0 and 4,095 or larger than 12 bits.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) if id.get() < 4_095 => Some(Self(id)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// A tenant's cloud network: a VLAN on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentConfig {
    /// The name in the tenant file (`clouds:`).
    pub name: Arc<str>,
    /// The port.
    pub port: PortId,
    /// The VLAN on that port.
    pub vlan: Vlan,
    /// The relay's own address on the VLAN, with its prefix.
    pub address: Ipv4Network,
    /// Next hop towards everything outside that prefix.
    pub gateway: Ipv4Addr,
    /// The relay's own IPv6 address on the VLAN, with its prefix; only itself is to be reached there.
    pub address6: Option<Ipv6Network>,
    /// Largest IP packet, in bytes: the port's.
    pub mtu: u16,
}

/// Whether a rule lets anything through at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleState {
    /// In force.
    Open,
    /// Before its `valid_from` or after its `valid_until`; the control plane publishes anew when that changes.
    OutsideValidity,
    /// Cut off by an operator.
    Isolated,
}

/// Which packets from the cloud may begin a session under a mapping that the office made (RFC 4787 section 5, RFC 5382 REQ-3). Whatever
/// it says, only sessions begin that the office could open itself: to an address and port that a service of its class opens.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Filtering {
    /// Those of any host.
    EndpointIndependent,
    /// Those of an address that the office's endpoint has sent to.
    #[default]
    AddressDependent,
    /// None: an answer comes from the very address and port that was asked.
    AddressAndPortDependent,
}

/// office -> cloud: one destination that the office may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The service's name.
    pub name: Arc<str>,
    /// The class that may use it.
    pub class: TrafficClass,
    /// The cloud network it is in.
    pub attachment: AttachmentId,
    /// The destination as the office sees it.
    pub office_side: Ipv4Network,
    /// The destination as the cloud sees it; of the same prefix length (equal to `office_side` where the destination is kept).
    pub cloud_side: Ipv4Network,
    /// What is opened.
    pub allow: Vec<Allow>,
    /// Who may send first under a mapping.
    pub filtering: Filtering,
    /// Whether it is in force.
    pub state: RuleState,
}

/// A protocol, with ports where it has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allow {
    /// TCP ports.
    Tcp(PortMap),
    /// UDP ports.
    Udp(PortMap),
    /// ICMP echo.
    IcmpEcho,
}

/// Destination ports as the sender uses them, and what they become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortMap {
    /// As the sender uses them.
    pub from: RangeInclusive<u16>,
    /// What the first of them becomes; the others follow in order.
    pub to: u16,
}

/// How the cloud sees the office addresses of one class on one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The class.
    pub class: TrafficClass,
    /// The attachment.
    pub attachment: AttachmentId,
    /// The translation.
    pub translation: SourceTranslation,
}

/// Three ways to translate a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTranslation {
    /// Many behind few: address and port change. All addresses of the prefixes are used.
    Napt(Vec<Ipv4Network>),
    /// 1:1, ports are kept: (office, cloud), sorted by the office address.
    Static(Vec<(Ipv4Addr, Ipv4Addr)>),
    /// Nothing changes.
    Keep,
}

/// cloud -> office: one flow that the cloud may open, for printing and file pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// The callback's name.
    pub name: Arc<str>,
    /// The class of the office host.
    pub class: TrafficClass,
    /// The cloud network it comes from.
    pub attachment: AttachmentId,
    /// Cloud hosts that may open it.
    pub from: Vec<Ipv4Network>,
    /// The global source that the office sees.
    pub source: Ipv4Addr,
    /// The private destination that the cloud host uses.
    pub to: Ipv4Addr,
    /// The office host it becomes.
    pub office: Ipv4Addr,
    /// What is opened; the ports are those of the destination.
    pub allow: Vec<Allow>,
    /// Whether it is in force.
    pub state: RuleState,
}

/// Bounds of a tenant's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sessions at one time.
    pub sessions: NonZeroU32,
    /// Ports, and identifiers of ICMP, that its pools give out at one time (RFC 6888 REQ-4).
    pub ports: NonZeroU32,
    /// New sessions a second, also the size of a burst.
    pub new_sessions_per_second: NonZeroU32,
}

/// What a tenant may send, in bits of inner packets a second.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RateConfig {
    /// Its weight where the relay cannot carry what all tenants send: they share in proportion to it. `None`: [`Self::USUAL_WEIGHT`].
    pub guaranteed: Option<NonZeroU64>,
    /// It never gets more than this, each direction for itself. `None`: as much as there is.
    pub ceiling: Option<NonZeroU64>,
}

impl RateConfig {
    /// The weight of a tenant without a guaranteed rate: 10 Mbit/s.
    pub const USUAL_WEIGHT: u64 = 10_000_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_vlan_ids_cannot_be_made() {
        assert!(VlanId::new(0).is_none());
        assert!(VlanId::new(4_095).is_none());
        assert!(VlanId::new(5_000).is_none());
        assert_eq!(VlanId::new(4_094).map(VlanId::get), Some(4_094));
    }

    #[test]
    fn a_secret_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretKey([7; 32])), "SecretKey(..)");
    }
}
