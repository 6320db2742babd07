//! Between tenants: names, circuits and keys that only one may have. Addresses are not among them:
//! tenants' private and office prefixes may overlap.

use std::collections::HashMap;

use super::super::model::Vlan;
use super::super::problem::{At, Problems};
use super::{Tenants, check_unique};

pub(super) fn check(tenants: &Tenants<'_>, problems: &mut Problems) {
    check_unique("tenant", tenants.facts.iter().filter_map(|tenant| tenant.id.given()), problems);
    check_vlans(tenants, problems);
    check_public_keys(tenants, problems);
}

fn check_vlans(tenants: &Tenants<'_>, problems: &mut Problems) {
    let mut taken: HashMap<(&str, Vlan), &At> = HashMap::new();
    for (port, vlan) in tenants.facts.iter().flat_map(|tenant| &tenant.circuits) {
        if let Some(first) = taken.insert((port, vlan.value), &vlan.at) {
            problems
                .error(&vlan.at, format!("VLAN {} on port `{port}` is taken", vlan.value))
                .help(format!("{} has it already: each circuit has a VLAN of its own on its port", first.place()));
        }
    }
}

/// A packet's tunnel says whose it is, and the key says which tunnel: it must say one.
fn check_public_keys(tenants: &Tenants<'_>, problems: &mut Problems) {
    let mut seen: HashMap<[u8; 32], &At> = HashMap::new();
    for key in tenants.facts.iter().flat_map(|tenant| &tenant.public_keys) {
        if let Some(first) = seen.insert(key.value, &key.at) {
            problems
                .error(&key.at, "this public key is another tunnel's already")
                .help(format!("{} has it: each tunnel needs a key pair of its own", first.place()));
        }
    }
}
