//! Tunnels of one tenant and its limits of size.

use std::net::IpAddr;

use super::super::fields::{self, Spanned};
use super::super::model::{CryptoPolicy, PeerAddress, Redundancy};
use super::super::problem::{At, Problems};
use super::super::relay_file::{EndpointEntry, PortEntry};
use super::super::resolve;
use super::super::tenant_file::TunnelEntry;
use super::{TenantView, ipsec};

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    check_preference(tenant, problems);
    check_redundancy(tenant, problems);
    for (key, tunnel) in tenant.file.tunnels.entries() {
        check_policy(tenant, tunnel, problems);
        let endpoint = tenant.names.endpoints.find(&tunnel.endpoint, problems);
        if let Some(peer) = tunnel.ipsec.given() {
            ipsec::check(tenant, peer, endpoint, problems);
        }
        let Some(endpoint) = endpoint else { continue };
        check_kind(endpoint, tunnel, &key.at, problems);
        let port = || tenant.names.ports.known.get(endpoint.port.value()?.as_str()).copied();
        let Some(port) = port() else { continue };
        check_mtu(port, tunnel, problems);
        check_peer(port, tunnel, problems);
    }
}

fn check_preference(tenant: &TenantView<'_>, problems: &mut Problems) {
    let (Some(preferred), Some(tunnels)) = (tenant.file.prefer.given(), tenant.file.tunnels.value()) else { return };
    if tunnels.complete && tunnels.entries.iter().all(|(key, _)| key.name != preferred.value) {
        let names = tunnels.entries.iter().map(|(key, _)| key.name.as_str());
        let help = fields::help_for_unknown(&preferred.value, names, "the tenant's tunnels");
        problems.error(&preferred.at, format!("there is no tunnel `{}`", preferred.value)).help(help);
    }
}

/// One tunnel is no redundancy, whatever the file says.
fn check_redundancy(tenant: &TenantView<'_>, problems: &mut Problems) {
    let (Some(redundancy), Some(tunnels)) = (tenant.file.redundancy.given(), tenant.file.tunnels.value()) else { return };
    if !tunnels.complete || tunnels.entries.len() != 1 {
        return;
    }
    match redundancy.value {
        Redundancy::Both => {
            problems
                .error(&redundancy.at, "`both` needs two tunnels, and the tenant has one")
                .help("add the other one to `tunnels`, or take this out");
        }
        Redundancy::Prefer => {
            problems
                .warning(&redundancy.at, "the tenant has one tunnel: there is nothing to prefer")
                .help("add another one to `tunnels`, or take this out");
        }
    }
}

/// CRYPTREC's list has neither BLAKE2s nor ChaCha20-Poly1305, and WireGuard has nothing else.
fn check_policy(tenant: &TenantView<'_>, tunnel: &TunnelEntry, problems: &mut Problems) {
    let policy = tenant.file.crypto_policy.given().or(tenant.side.file.crypto_policy.given());
    if let (Some(policy), Some(wireguard)) = (policy, tunnel.wireguard.given())
        && policy.value == CryptoPolicy::Cryptrec
    {
        problems
            .error(
                &wireguard.at,
                "WireGuard is outside crypto_policy `cryptrec`: its BLAKE2s and ChaCha20-Poly1305 are not on CRYPTREC's list",
            )
            .help(format!("use an `ipsec` tunnel, or another crypto_policy than the one at {}", policy.at.place()));
    }
}

fn check_kind(endpoint: &EndpointEntry, tunnel: &TunnelEntry, at: &At, problems: &mut Problems) {
    let name = endpoint.name.value().map_or("?", |name| name);
    let (wrong, right) = match (tunnel.wireguard.is_absent(), tunnel.ipsec.is_absent()) {
        (true, false) if endpoint.ipsec.is_absent() && !endpoint.wireguard.is_absent() => ("ipsec", "wireguard"),
        (false, true) if endpoint.wireguard.is_absent() && !endpoint.ipsec.is_absent() => ("wireguard", "ipsec"),
        _ => return,
    };
    let at = tunnel.endpoint.given().map_or(at, |endpoint| &endpoint.at);
    problems
        .error(at, format!("endpoint `{name}` has no `{wrong}`: it is for `{right}` tunnels"))
        .help(format!("name an endpoint with `{wrong}`; both kinds may stand on one port"));
}

fn check_mtu(port: &PortEntry, tunnel: &TunnelEntry, problems: &mut Problems) {
    let (Some(mtu), Some(port_mtu)) = (tunnel.mtu.given(), resolve::port_mtu(port)) else { return };
    let over_ipv6 = !port.address6.is_absent();
    let room = resolve::ipsec::room(port_mtu, over_ipv6, tunnel);
    if mtu.value > room {
        let overhead = match (tunnel.ipsec.is_absent(), over_ipv6) {
            (true, false) => "WireGuard over IPv4",
            (true, true) => "WireGuard over IPv6",
            (false, _) => "ESP in UDP, with the largest cipher that is allowed,",
        };
        problems
            .error(&mtu.at, format!("a tunnel MTU of {} does not fit the endpoint's port", mtu.value))
            .help(format!("the port carries {port_mtu} bytes, {overhead} takes {}: at most {room}", port_mtu - room));
    }
}

fn check_peer(port: &PortEntry, tunnel: &TunnelEntry, problems: &mut Problems) {
    let Some(Spanned { value: (peer, written), at }) = peer_address(tunnel) else { return };
    let own = [port.address.value().map(|own| IpAddr::V4(own.ip())), port.address6.value().map(|own| IpAddr::V6(own.ip()))];
    if own.contains(&Some(peer)) {
        problems.error(&at, format!("{written} is the relay's own address")).help("name the address of the municipality's router");
    }
    if peer.is_ipv6() && port.address6.is_absent() {
        problems
            .error(&at, format!("{written} is an IPv6 address, and the endpoint's port has none"))
            .help("add `address6: ADDRESS/LENGTH` (and `gateway6`) to the port in the relay file, or name an IPv4 address");
    }
}

/// Where the file says that the peer is, as an address and as it is written.
fn peer_address(tunnel: &TunnelEntry) -> Option<Spanned<(IpAddr, String)>> {
    if let Some(given) = tunnel.wireguard.value().and_then(|wireguard| wireguard.endpoint_address.given()) {
        return Some(Spanned { value: (given.value.ip(), given.value.to_string()), at: given.at.clone() });
    }
    let given = tunnel.ipsec.value()?.peer.given()?;
    match given.value {
        PeerAddress::Fixed(address) => Some(Spanned { value: (IpAddr::V4(address), address.to_string()), at: given.at.clone() }),
        PeerAddress::Any => None,
    }
}
