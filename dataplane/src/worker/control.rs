//! What control plane and worker say to each other: commands down, events and snapshots up, over two bounded rings.
//!
//! Configuration does not come this way (see `publish`), nor do counters (see `counters`). Rows carry names and words, as people
//! read them; building them costs the worker a few microseconds a row, so a request returns at most [`ROWS`] and says where to go on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::router_config::{TrafficClass, Vlan};
use crate::tenant::Tenant;
use crate::time::{Duration, Instant};

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
    },
    /// Answer with [`Event::Snapshot`].
    Snapshot {
        /// Number that comes back with the answer.
        id: u64,
        /// What is asked for.
        request: SnapshotRequest,
    },
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
    /// `wireguard`.
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
}

/// A session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Class.
    pub class: TrafficClass,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// `office-to-cloud` or `cloud-to-office`: who opened it.
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
    pub address: Ipv4Addr,
    /// MAC address, once resolved.
    pub mac: Option<[u8; 6]>,
    /// `reachable`, `probing`, `incomplete` or `failed`.
    pub state: &'static str,
    /// Since it last answered.
    pub age: Option<Duration>,
}
