//! What control plane and worker say to each other: commands down, events and snapshots up, over two bounded rings.
//!
//! Configuration does not come this way (see `publish`), nor do counters (see `counters`). Rows carry names and words, as people
//! read them; building them costs the worker a few microseconds a row, so a request returns at most [`ROWS`] and says where to go on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use crate::router_config::{EndpointId, TrafficClass, Vlan};
use crate::tenant::{Carries, Tenant};
use crate::time::{Duration, Instant};
use crate::tunnel::esp::sa::{Encapsulation, SaPair, SaRefused, SaRow, Spi};
use crate::tunnel::wireguard::Tai64n;

/// Rows in one answer.
pub const ROWS: usize = 256;

/// Control plane -> worker.
#[derive(Debug)]
pub enum Command {
    /// Start a handshake towards an address that the peer had before a restart.
    Initiate {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Where the peer was last heard.
        peer: SocketAddr,
        /// Of [`Event::HandshakeAnswered`]: older handshakes are replays.
        timestamp: Option<Tai64n>,
    },
    /// Answer with [`Event::Snapshot`].
    Snapshot {
        /// Number that comes back with the answer.
        id: u64,
        /// What is asked for.
        request: SnapshotRequest,
    },
    /// Send an IKE message. Any worker does; it counts as a packet of the relay's own.
    SendIke {
        /// The relay's end.
        endpoint: EndpointId,
        /// The port it leaves from; the worker adds the non-ESP marker where it belongs (RFC 3948 section 2.2).
        local_port: IkePort,
        /// Where to.
        to: SocketAddrV4,
        /// The message, from its IKE header on.
        message: Box<[u8]>,
    },
    /// Send a NAT keepalive from port 4500: one octet 0xFF without a marker (RFC 3948 section 2.3). Any worker does.
    SendKeepalive {
        /// The relay's end.
        endpoint: EndpointId,
        /// Where to.
        to: SocketAddrV4,
    },
    /// Install an SA pair, and answer with [`Event::SaInstalled`]: what the peer sends from then on finds its way.
    InstallSa {
        /// Number that comes back with the answer.
        id: u64,
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// The pair.
        pair: Box<SaPair>,
    },
    /// Send with this pair's outbound SA from now on.
    SwitchOutbound {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
    },
    /// Send nothing more with this pair's outbound SA; what the peer sent before may still arrive.
    CloseOutbound {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
    },
    /// Remove an SA pair, both directions at once.
    RemoveSa {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
    },
    /// The peer of an SA pair is elsewhere, as an authenticated IKE message showed.
    MovePeer {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
        /// Where it is now.
        to: Encapsulation,
    },
}

impl Command {
    /// The tenant it is about: its owner gets it. With `None` any worker may.
    #[must_use]
    pub fn tenant(&self) -> Option<&Arc<str>> {
        match self {
            Self::Initiate { tenant, .. }
            | Self::InstallSa { tenant, .. }
            | Self::SwitchOutbound { tenant, .. }
            | Self::CloseOutbound { tenant, .. }
            | Self::RemoveSa { tenant, .. }
            | Self::MovePeer { tenant, .. } => Some(tenant),
            Self::Snapshot { request, .. } => match request {
                SnapshotRequest::Sessions { tenant, .. } => Some(tenant),
                SnapshotRequest::Tunnels { tenant, .. } | SnapshotRequest::Neighbors { tenant, .. } => tenant.as_ref(),
            },
            Self::SendIke { .. } | Self::SendKeepalive { .. } => None,
        }
    }
}

/// The relay's UDP ports for IKE (RFC 7296 section 2.23).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IkePort {
    /// 500: IKE alone.
    P500,
    /// 4500: IKE behind a non-ESP marker, beside ESP.
    P4500,
}

impl IkePort {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::P500 => 500,
            Self::P4500 => 4500,
        }
    }
}

/// What a snapshot shows. `from` is 0, or the `next` of the previous answer.
#[derive(Clone, Debug)]
pub enum SnapshotRequest {
    /// All tunnels, or one tenant's.
    Tunnels {
        /// Only this tenant's.
        tenant: Option<Arc<str>>,
        /// Where to go on.
        from: u64,
    },
    /// One tenant's sessions.
    Sessions {
        /// The tenant.
        tenant: Arc<str>,
        /// Where to go on.
        from: u64,
    },
    /// The next hops of all tenants, or of one, and those of the access ports.
    Neighbors {
        /// Only this tenant's.
        tenant: Option<Arc<str>>,
        /// Where to go on.
        from: u64,
    },
}

/// Worker -> control plane.
#[derive(Debug)]
pub enum Event {
    /// An authenticated message came from another address than before: remember it for the next start.
    PeerMoved {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// The new address.
        peer: SocketAddr,
    },
    /// A WireGuard peer's handshake was answered, the newest since the last time that this was told: remember it for the next start.
    HandshakeAnswered {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Its time stamp.
        timestamp: Tai64n,
    },
    /// The answer to [`Command::Snapshot`].
    Snapshot {
        /// The number of the request.
        id: u64,
        /// The worker's time when it answered.
        now: Instant,
        /// The rows.
        rows: SnapshotRows,
        /// `from` of the next request; `None` when these were the last.
        next: Option<u64>,
    },
    /// A removed tenant: drop it, away from the worker's thread.
    Retired(Retired),
    /// An IKE message came, and was within the limits. Nothing of it has been looked at.
    Ike {
        /// The relay's end.
        endpoint: EndpointId,
        /// The port it came to.
        local_port: IkePort,
        /// Where it came from.
        from: SocketAddrV4,
        /// The message, without the non-ESP marker.
        message: Box<[u8]>,
    },
    /// The answer to [`Command::InstallSa`].
    SaInstalled {
        /// The number of the command.
        id: u64,
        /// Whether the SA pair stands.
        outcome: Result<(), SaRefused>,
    },
    /// A packet wanted to go and there is no SA for it. At most once each 5 s for a tunnel.
    Acquire {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
    },
    /// An SA pair has reached its soft lifetime; told once.
    SaExpiring {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
    },
    /// The first packet was authenticated on this inbound SA.
    SaHeard {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pair.
        inbound_spi: Spi,
    },
    /// A reload took the tunnel away, or made it anew: these SA pairs are gone.
    SasLost {
        /// Tenant name.
        tenant: Arc<str>,
        /// Tunnel name.
        tunnel: Arc<str>,
        /// Names the pairs.
        inbound_spis: Box<[Spi]>,
    },
}

/// The remains of a removed tenant; dropping it frees its tables.
pub struct Retired(#[expect(dead_code, reason = "held to be dropped")] Box<Tenant>);

impl Retired {
    pub(super) fn new(tenant: Box<Tenant>) -> Self {
        Self(tenant)
    }
}

impl std::fmt::Debug for Retired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Retired(..)")
    }
}

/// The rows of a snapshot.
#[derive(Debug)]
pub enum SnapshotRows {
    /// Tunnels.
    Tunnels(Vec<TunnelRow>),
    /// Sessions.
    Sessions(Vec<SessionRow>),
    /// Neighbours.
    Neighbors(Vec<NeighborRow>),
}

/// A tunnel as the worker sees it; bytes and packets are in its counters.
#[derive(Clone, Debug)]
pub struct TunnelRow {
    /// Tenant name.
    pub tenant: Arc<str>,
    /// Tunnel name.
    pub tunnel: Arc<str>,
    /// `wireguard` or `ipsec`.
    pub kind: &'static str,
    /// Whether it can carry data now.
    pub up: bool,
    /// Where the peer was last heard, or is configured to be.
    pub peer: Option<SocketAddr>,
    /// When `up` last changed; `None` = never since the start.
    pub changed_at: Option<Instant>,
    /// When the last handshake completed.
    pub handshake_at: Option<Instant>,
    /// When the peer was last heard.
    pub heard_at: Option<Instant>,
    /// Why it is down, in words with the remedy; empty when it is up.
    pub down_reason: &'static str,
    /// What goes to the office by it.
    pub carries: Carries,
    /// The SA pairs of an IPsec tunnel.
    pub sas: Vec<SaRow>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Class.
    pub class: TrafficClass,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// `office-to-cloud` or `cloud-to-office`: who sent first. The cloud does so by a callback, or where a service's filtering lets it.
    pub opened_by: &'static str,
    /// Name of the service or callback it was opened by.
    pub rule: Arc<str>,
    /// Name of the attachment.
    pub attachment: Arc<str>,
    /// Office host and port (ICMP: identifier).
    pub office: (Ipv4Addr, u16),
    /// The remote end as the office sees it.
    pub office_remote: (Ipv4Addr, u16),
    /// The office host as the cloud sees it.
    pub cloud_local: (Ipv4Addr, u16),
    /// The cloud host.
    pub cloud_remote: (Ipv4Addr, u16),
    /// State of a TCP connection, else `-`.
    pub state: &'static str,
    /// Since it was opened.
    pub age: Duration,
    /// Until it expires unless a packet comes.
    pub expires_in: Duration,
    /// Packets office -> cloud and cloud -> office.
    pub packets: [u64; 2],
    /// Bytes office -> cloud and cloud -> office.
    pub bytes: [u64; 2],
}

/// A next hop.
#[derive(Clone, Debug)]
pub struct NeighborRow {
    /// Port name.
    pub port: Arc<str>,
    /// VLAN.
    pub vlan: Vlan,
    /// Tenant name; `None` on an access port.
    pub tenant: Option<Arc<str>>,
    /// Address.
    pub address: IpAddr,
    /// MAC address, once resolved.
    pub mac: Option<[u8; 6]>,
    /// `reachable`, `probing`, `incomplete` or `failed`.
    pub state: &'static str,
    /// Since it last answered.
    pub age: Option<Duration>,
}
