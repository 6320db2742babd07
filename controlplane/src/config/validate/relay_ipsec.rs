//! IPsec endpoints of the relay file.

use std::collections::HashMap;

use super::super::fields::{Field, Spanned};
use super::super::model::CryptoPolicy;
use super::super::problem::{At, Problems};
use super::super::relay_file::{EndpointEntry, RelayFile};

/// RFC 7296 section 2 and RFC 3948: where IKE and ESP in UDP are at home.
const IKE_PORTS: [u16; 2] = [500, 4_500];

pub(super) fn check(relay: &RelayFile, problems: &mut Problems) {
    let endpoints = relay.endpoints.entries();
    check_ports(endpoints, problems);
    for entry in endpoints.iter().filter_map(|entry| entry.value.ipsec.value()) {
        check_pair("certificate_file", &entry.certificate_file, "private_key_file", &entry.private_key_file, problems);
        check_pair("private_key_file", &entry.private_key_file, "certificate_file", &entry.certificate_file, problems);
    }
    if let Some(policy) = relay.crypto_policy.given()
        && matches!(policy.value, CryptoPolicy::LegacyUntil(_))
    {
        problems
            .error(&policy.at, "old algorithms for everybody: they are an exception of one tenant, with an end")
            .help("set `cryptrec` or `modern` here, and `legacy-until` in the file of the tenant whose router needs it");
    }
}

/// UDP 500 and 4500 and ESP are one service of one address.
fn check_ports(endpoints: &[Spanned<EndpointEntry>], problems: &mut Problems) {
    let mut taken: HashMap<&str, &At> = HashMap::new();
    for entry in endpoints.iter().filter(|entry| !entry.value.ipsec.is_absent()) {
        let Some(port) = entry.value.port.given() else { continue };
        if let Some(first) = taken.insert(&port.value, &port.at) {
            problems
                .error(
                    &port.at,
                    format!("port `{}` has an IPsec endpoint already: both would be at UDP 500 and 4500 of one address", port.value),
                )
                .help(format!("the other one is at {}: one serves all tenants, or name another port", first.place()));
        }
    }
    for entry in endpoints {
        let listen = entry.value.wireguard.value().and_then(|wireguard| wireguard.listen.given());
        let (Some(listen), Some(port)) = (listen, entry.value.port.value()) else { continue };
        if let Some(ipsec) = taken.get(port.as_str())
            && IKE_PORTS.contains(&listen.value.get())
        {
            problems
                .error(&listen.at, format!("UDP port {} is IPsec's on port `{port}`", listen.value))
                .help(format!("the IPsec endpoint at {} is at UDP 500 and 4500: take another one, 51820 for example", ipsec.place()));
        }
    }
}

fn check_pair<T, U>(name: &str, given: &Field<T>, other: &str, missing: &Field<U>, problems: &mut Problems) {
    if let (Some(given), true) = (given.given(), missing.is_absent()) {
        problems
            .error(&given.at, format!("`{name}` without `{other}`"))
            .help(format!("add `{other}: ...` beside it: one proves the other"));
    }
}
