//! The real relay behind the demo's seam.

use std::collections::BTreeMap;
use std::path::Path;

use dataplane::counters::DropCounters;
use dataplane::router_config::TenantEntry;

use super::relay::{RelaySnapshot, RunningRelay, TenantSnapshot};
use crate::run::{Embedded, start_embedded};

/// Starts the relay of `chukei run` on threads of this process; for [`super::run`].
///
/// # Errors
/// Why it does not start, for people.
pub fn start_relay(relay_file: &Path) -> Result<Box<dyn RunningRelay>, String> {
    let embedded = start_embedded(relay_file).map_err(|error| format!("{error:#}"))?;
    Ok(Box::new(embedded))
}

impl RunningRelay for Embedded {
    fn snapshot(&self) -> RelaySnapshot {
        let relay = self.relay();
        let router = relay.state().router();
        let mut drops = BTreeMap::new();
        router.ports.iter().for_each(|port| add(&mut drops, &port.counters.sum().drops));
        router.tenants.iter().for_each(|tenant| add(&mut drops, &tenant.counters.drops));
        let (driver, mode) = relay.nics.first().map(|nic| (nic.driver.to_owned(), nic.mode.clone())).unwrap_or_default();
        let tenants = router.tenants.iter().map(|tenant| (tenant.config.name.to_string(), snapshot_of(tenant))).collect();
        RelaySnapshot { driver, mode, drops, tenants }
    }
}

fn snapshot_of(tenant: &TenantEntry) -> TenantSnapshot {
    let counters = &tenant.counters;
    let mut drops = BTreeMap::new();
    add(&mut drops, &counters.drops);
    TenantSnapshot {
        tunnel_up: tenant.tunnel_counters.iter().any(|tunnel| tunnel.up.get() == 1),
        sessions: counters.sessions.get(),
        to_cloud_bytes: counters.office_to_cloud.bytes.get(),
        to_office_bytes: counters.cloud_to_office.bytes.get(),
        drops,
    }
}

fn add(drops: &mut BTreeMap<String, u64>, counters: &DropCounters) {
    for (reason, packets) in counters.occurred() {
        *drops.entry(reason.label().to_owned()).or_default() += packets;
    }
}
