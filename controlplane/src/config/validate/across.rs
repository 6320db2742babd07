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
    check_identities(tenants, problems);
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

/// Who proves to be an identity gets into the tunnel that expects it: it must be one tunnel, of one tenant.
fn check_identities(tenants: &Tenants<'_>, problems: &mut Problems) {
    let mut seen: HashMap<(&str, String), &At> = HashMap::new();
    for tunnel in tenants.facts.iter().flat_map(|tenant| &tenant.ipsec) {
        let (Some(endpoint), Some(identity)) = (&tunnel.endpoint, &tunnel.remote_id) else { continue };
        if let Some(first) = seen.insert((endpoint, identity.value.folded()), &identity.at) {
            problems
                .error(&identity.at, format!("`{}` is another tunnel's identity already at endpoint `{endpoint}`", identity.value))
                .help(format!("{} has it: an identity names one tunnel of one tenant", first.place()));
        }
    }
}
