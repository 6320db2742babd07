//! What the configuration says, as values that cannot be wrong: references are indices, addresses
//! are parsed, defaults are filled in. Nothing here knows YAML or positions any more.

mod ipsec;
mod rules;
mod tenant;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use ipnetwork::{Ipv4Network, Ipv6Network};

pub use ipsec::*;
pub use rules::*;
pub use tenant::*;

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
    /// Threads that carry packets. One where the file names no number: it needs no hand-over between threads, and carries about what
    /// one queue of a NIC brings.
    pub workers: usize,
    /// What becomes of a relay whose kernel cannot confine it.
    pub hardening: Hardening,
    /// Sorted by file name. A tenant whose file did not change is the same `Arc` after a reload.
    pub tenants: Vec<Arc<Tenant>>,
}

impl RelayConfigModel {
    pub fn port(&self, index: PortIndex) -> &Port {
        &self.ports[index.0]
    }

    pub fn endpoint(&self, index: EndpointIndex) -> &Endpoint {
        &self.endpoints[index.0]
    }

    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == name).map(|tenant| &**tenant)
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
    /// The relay's own IPv6 address beside the other one.
    pub address6: Option<Ipv6Network>,
    pub gateway6: Option<Ipv6Addr>,
    /// Largest IP packet in bytes, without Ethernet header and tags.
    pub mtu: u16,
    pub driver: Driver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// AF_XDP where it does not copy, else AF_PACKET where the port deals in super-frames, else whichever works.
    #[default]
    Auto,
    AfXdp,
    AfPacket,
}

/// Whether the relay runs where the kernel lacks what confines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hardening {
    /// It does not start.
    #[default]
    Required,
    /// It runs with what there is, and says in its log what is lacking.
    BestEffort,
}

impl Hardening {
    /// As the file spells it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
        }
    }
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
    Ipsec(IpsecEndpoint),
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
