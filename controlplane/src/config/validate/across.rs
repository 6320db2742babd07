//! Between tenants: names, circuits and keys that only one may have. Addresses are not among them:
//! tenants' private and office prefixes may overlap.

use std::collections::HashMap;

use super::super::Files;
use super::super::model::Vlan;
use super::super::problem::{At, Problems};
use super::check_unique;

pub(super) fn check(files: &Files, problems: &mut Problems) {
    check_unique("tenant", files.tenants.iter().filter_map(|tenant| tenant.id.given()), problems);
    check_vlans(files, problems);
    check_public_keys(files, problems);
}

fn check_vlans(files: &Files, problems: &mut Problems) {
    let mut taken: HashMap<(&str, Vlan), &At> = HashMap::new();
    let clouds = files.tenants.iter().flat_map(|tenant| tenant.clouds.entries());
    for (_, cloud) in clouds {
        let (Some(port), Some(vlan)) = (cloud.port.value(), cloud.vlan.given()) else { continue };
        if let Some(first) = taken.insert((port, vlan.value), &vlan.at) {
            problems
                .error(&vlan.at, format!("VLAN {} on port `{port}` is taken", vlan.value))
                .help(format!("{} has it already: each circuit has a VLAN of its own on its port", first.place()));
        }
    }
}

/// A packet's tunnel says whose it is, and the key says which tunnel: it must say one.
fn check_public_keys(files: &Files, problems: &mut Problems) {
    let mut seen: HashMap<[u8; 32], &At> = HashMap::new();
    let tunnels = files.tenants.iter().flat_map(|tenant| tenant.tunnels.entries());
    for key in tunnels.filter_map(|(_, tunnel)| tunnel.wireguard.value()?.public_key.given()) {
        if let Some(first) = seen.insert(key.value, &key.at) {
            problems
                .error(&key.at, "this public key is another tunnel's already")
                .help(format!("{} has it: each tunnel needs a key pair of its own", first.place()));
        }
    }
}
