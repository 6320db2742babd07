//! The counters of ports, tenants and tunnels by name: they outlive the configurations that lend them to workers.

use std::collections::HashMap;
use std::sync::Arc;

use dataplane::counters::{PortCounters, TenantCounters, TunnelCounters};
use dataplane::drop_reason::DropReason;
use dataplane::router_config::{PortConfig, RouterConfig, TenantConfig, TenantEntry};
use time::OffsetDateTime;

/// All counters, by name.
#[derive(Debug)]
pub struct Registry {
    ports: HashMap<Arc<str>, Arc<PortCounters>>,
    tenants: HashMap<Arc<str>, Tenant>,
    /// What removed tenants had lost by [`DropReason`], so that the relay's totals never go down.
    retired_drops: [u64; DropReason::COUNT],
}

#[derive(Debug)]
struct Tenant {
    config: Arc<TenantConfig>,
    counters: Arc<TenantCounters>,
    tunnels: HashMap<Arc<str>, Tunnel>,
}

#[derive(Debug)]
struct Tunnel {
    counters: Arc<TunnelCounters>,
    configured: OffsetDateTime,
}

impl Default for Registry {
    fn default() -> Self {
        Self { ports: HashMap::new(), tenants: HashMap::new(), retired_drops: [0; DropReason::COUNT] }
    }
}

/// What a new configuration changes.
#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Changes {
    /// Tenants that are new.
    pub added: Vec<String>,
    /// Tenants whose configuration differs.
    pub changed: Vec<String>,
    /// Tenants that are gone.
    pub removed: Vec<String>,
    /// Tenants that nothing happens to.
    pub unchanged: usize,
}

impl Registry {
    /// Give every name in `router` the counters it has always had, and every equal tenant the very same configuration,
    /// by which workers know that it is to be left alone. `now` is when names that are new were first configured.
    pub fn attach(&mut self, router: &mut RouterConfig, now: OffsetDateTime) -> Changes {
        let mut changes = Changes::default();
        router.ports.iter_mut().for_each(|port| self.attach_port(port));
        let mut previous = std::mem::take(&mut self.tenants);
        for entry in &mut router.tenants {
            let name = Arc::clone(&entry.config.name);
            let known = previous.remove(&name);
            note(&mut changes, &name, known.as_ref(), &entry.config);
            let tenant = attach_tenant(entry, known, now);
            self.tenants.insert(name, tenant);
        }
        for (name, gone) in previous {
            changes.removed.push(name.to_string());
            gone.counters.drops.occurred().for_each(|(reason, packets)| self.retired_drops[reason as usize] += packets);
        }
        changes.removed.sort_unstable();
        changes
    }

    /// Packets that removed tenants lost for `reason`.
    #[must_use]
    pub fn retired_drops(&self, reason: DropReason) -> u64 {
        self.retired_drops[reason as usize]
    }

    /// Since when this tunnel has been configured; `None` where it is not.
    #[must_use]
    pub fn configured_since(&self, tenant: &str, tunnel: &str) -> Option<OffsetDateTime> {
        Some(self.tenants.get(tenant)?.tunnels.get(tunnel)?.configured)
    }

    fn attach_port(&mut self, port: &mut PortConfig) {
        let counters = self.ports.entry(Arc::clone(&port.name)).or_insert_with(|| Arc::clone(&port.counters));
        port.counters = Arc::clone(counters);
    }
}

fn note(changes: &mut Changes, name: &str, known: Option<&Tenant>, config: &Arc<TenantConfig>) {
    match known {
        None => changes.added.push(name.to_owned()),
        Some(known) if known.config == *config => changes.unchanged += 1,
        Some(_) => changes.changed.push(name.to_owned()),
    }
}

fn attach_tenant(entry: &mut TenantEntry, known: Option<Tenant>, now: OffsetDateTime) -> Tenant {
    let mut old_tunnels = HashMap::new();
    if let Some(known) = known {
        entry.counters = known.counters;
        old_tunnels = known.tunnels;
        if known.config == entry.config {
            entry.config = known.config;
        }
    }
    let mut tunnels = HashMap::with_capacity(entry.config.tunnels.len());
    for (tunnel, counters) in entry.config.tunnels.iter().zip(&mut entry.tunnel_counters) {
        let known = old_tunnels.remove(&tunnel.name);
        let known = known.unwrap_or_else(|| Tunnel { counters: Arc::clone(counters), configured: now });
        *counters = Arc::clone(&known.counters);
        tunnels.insert(Arc::clone(&tunnel.name), known);
    }
    Tenant { config: Arc::clone(&entry.config), counters: Arc::clone(&entry.counters), tunnels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{router, tenant};
    use time::macros::datetime;

    const FIRST: OffsetDateTime = datetime!(2026-12-01 09:00 +9);
    const SECOND: OffsetDateTime = datetime!(2026-12-02 09:00 +9);

    #[test]
    fn an_equal_tenant_keeps_the_very_same_configuration_and_a_changed_one_its_counters() {
        let mut registry = Registry::default();
        let mut first = router([tenant("a"), tenant("b"), tenant("c")]);
        assert_eq!(registry.attach(&mut first, FIRST).added, ["a", "b", "c"]);
        first.tenants[1].counters.sessions_opened.add(7);
        first.tenants[1].tunnel_counters[0].handshakes.add(3);

        let mut changed = tenant("b");
        changed.isolated = true;
        let mut second = router([tenant("a"), changed, tenant("d")]);
        let changes = registry.attach(&mut second, SECOND);

        assert_eq!((changes.added, changes.changed, changes.removed), (vec!["d".into()], vec!["b".into()], vec!["c".into()]));
        assert_eq!(changes.unchanged, 1);
        assert!(Arc::ptr_eq(&first.tenants[0].config, &second.tenants[0].config), "workers see at a glance that nothing changed");
        assert!(!Arc::ptr_eq(&first.tenants[1].config, &second.tenants[1].config));
        assert_eq!(second.tenants[1].counters.sessions_opened.get(), 7);
        assert_eq!(second.tenants[1].tunnel_counters[0].handshakes.get(), 3);
        assert!(Arc::ptr_eq(&first.ports[0].counters, &second.ports[0].counters));
        let since = ["b", "d", "c"].map(|tenant| registry.configured_since(tenant, "main"));
        assert_eq!(since, [Some(FIRST), Some(SECOND), None]);
    }

    #[test]
    fn what_a_removed_tenant_lost_stays_in_the_relays_totals() {
        let mut registry = Registry::default();
        let mut first = router([tenant("a")]);
        registry.attach(&mut first, FIRST);
        first.tenants[0].counters.drops.add(DropReason::NoSession, 5);
        registry.attach(&mut router([]), SECOND);
        assert_eq!(registry.retired_drops(DropReason::NoSession), 5);
        assert_eq!(registry.retired_drops(DropReason::TcpNotSyn), 0);
    }
}
