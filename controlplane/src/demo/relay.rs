//! The seam between the demo and the relay that runs inside it.
//!
//! The demo calls [`StartRelay`] once, on a thread in the relay's namespace, with the path of a finished `relay.yaml`. The
//! function brings the relay up on threads of its own (threads inherit the namespace), and returns a handle. Dropping the
//! handle stops the relay and waits for it.

use std::collections::BTreeMap;
use std::path::Path;

/// Starts the relay of the configuration file it is given. The error is a text for people.
pub type StartRelay = Box<dyn FnOnce(&Path) -> Result<Box<dyn RunningRelay>, String> + Send>;

/// A running relay.
pub trait RunningRelay: Send + Sync {
    /// Its numbers now.
    fn snapshot(&self) -> RelaySnapshot;
}

/// What the demo shows of the relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelaySnapshot {
    /// `af_xdp` or `af_packet`.
    pub driver: String,
    /// How the driver moves frames, such as `zero-copy` or `copy`.
    pub mode: String,
    /// Lost packets by reason since the start, of all tenants and of nobody.
    pub drops: BTreeMap<String, u64>,
    /// By tenant.
    pub tenants: BTreeMap<String, TenantSnapshot>,
}

/// What the demo shows of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantSnapshot {
    /// Whether the relay has a session in the tenant's tunnel.
    pub tunnel_up: bool,
    /// Sessions in its translation tables.
    pub sessions: u64,
    /// Inner bytes carried to the cloud since the start.
    pub to_cloud_bytes: u64,
    /// Inner bytes carried to the office since the start.
    pub to_office_bytes: u64,
    /// Its lost packets by reason since the start.
    pub drops: BTreeMap<String, u64>,
}
