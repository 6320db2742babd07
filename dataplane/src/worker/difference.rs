//! What two configurations differ in, found without looking into tenants that are the same.
//!
//! The control plane gives an unchanged tenant the very same `Arc`. Comparing those reads two lists one after the other and not
//! thousands of tenants' memory, which would take the worker's time and its caches from the traffic of all of them.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::router_config::{RouterConfig, TenantConfig, TenantEntry};

/// Entries of one configuration that the other does not have.
#[derive(Debug)]
pub(super) struct Difference<'a> {
    /// Removed, or changed: as they were.
    pub(super) gone: Vec<&'a TenantEntry>,
    /// New, or changed: as they are.
    pub(super) come: Vec<&'a TenantEntry>,
}

impl<'a> Difference<'a> {
    pub(super) fn between(old: &'a RouterConfig, new: &'a RouterConfig) -> Self {
        let same = |(a, b): &(&TenantEntry, &TenantEntry)| Arc::ptr_eq(&a.config, &b.config);
        let ahead = old.tenants.iter().zip(&new.tenants).take_while(same).count();
        let (old, new) = (&old.tenants[ahead..], &new.tenants[ahead..]);
        let behind = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
        let (old, new) = (&old[..old.len() - behind], &new[..new.len() - behind]);
        Self { gone: missing(old, new), come: missing(new, old) }
    }

    /// As [`Self::between`] a configuration without tenants and `new`.
    pub(super) fn from_nothing(new: &'a RouterConfig) -> Self {
        Self { gone: Vec::new(), come: new.tenants.iter().collect() }
    }
}

/// Those of `these` that `those` do not have.
fn missing<'a>(these: &'a [TenantEntry], those: &[TenantEntry]) -> Vec<&'a TenantEntry> {
    let pointer = |entry: &TenantEntry| -> *const TenantConfig { Arc::as_ptr(&entry.config) };
    let known: HashSet<_> = those.iter().map(pointer).collect();
    these.iter().filter(|entry| !known.contains(&pointer(entry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router_config::Limits;

    fn entry(name: &str) -> TenantEntry {
        let limits = Limits {
            sessions: std::num::NonZeroU32::MIN,
            ports: std::num::NonZeroU32::MIN,
            new_sessions_per_second: std::num::NonZeroU32::MIN,
        };
        let config = TenantConfig {
            name: name.into(),
            tunnels: Vec::new(),
            redundancy: Default::default(),
            office: Vec::new(),
            attachments: Vec::new(),
            services: Vec::new(),
            sources: Vec::new(),
            callbacks: Vec::new(),
            limits,
            rate: Default::default(),
            isolated: false,
            isolated_classes: Default::default(),
        };
        TenantEntry { config: Arc::new(config), counters: Arc::default(), tunnel_counters: Vec::new() }
    }

    fn router(tenants: &[&TenantEntry]) -> RouterConfig {
        let tenants = tenants.iter().copied().cloned().collect();
        RouterConfig { ports: Vec::new(), endpoints: Vec::new(), conventional_lgwan: Vec::new(), reserved_ports: Vec::new(), tenants }
    }

    fn names(entries: &[&TenantEntry]) -> Vec<String> {
        entries.iter().map(|entry| entry.config.name.to_string()).collect()
    }

    #[test]
    fn the_same_arc_is_the_same_tenant_wherever_it_stands() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(entry);
        let b_changed = entry("b");
        let old = router(&[&a, &b, &c]);
        for (new, gone, come) in [
            (router(&[&a, &b, &c]), vec![], vec![]),
            (router(&[&a, &b_changed, &c]), vec!["b"], vec!["b"]),
            (router(&[&d, &a, &b, &c]), vec![], vec!["d"]),
            (router(&[&a, &c]), vec!["b"], vec![]),
            (router(&[&c, &d, &a]), vec!["b"], vec!["d"]),
            (router(&[]), vec!["a", "b", "c"], vec![]),
        ] {
            let difference = Difference::between(&old, &new);
            assert_eq!(
                (names(&difference.gone), names(&difference.come)),
                (gone.iter().map(ToString::to_string).collect(), come.iter().map(ToString::to_string).collect())
            );
        }
        assert_eq!(names(&Difference::from_nothing(&old).come), ["a", "b", "c"]);
    }
}
