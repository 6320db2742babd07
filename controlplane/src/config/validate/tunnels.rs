//! Tunnels of one tenant and its limits of size.

use super::super::problem::Problems;
use super::super::resolve;
use super::{TenantView, WIREGUARD_OVERHEAD_BYTES};

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    for (_, tunnel) in tenant.file.tunnels.entries() {
        let Some(endpoint) = tenant.names.endpoints.find(&tunnel.endpoint, problems) else { continue };
        let port = || tenant.names.ports.known.get(endpoint.port.value()?.as_str()).copied();
        let Some(port) = port() else { continue };
        if let (Some(mtu), Some(port_mtu)) = (tunnel.mtu.given(), resolve::port_mtu(port)) {
            let room = port_mtu.saturating_sub(WIREGUARD_OVERHEAD_BYTES);
            if mtu.value > room {
                problems.error(&mtu.at, format!("a tunnel MTU of {} does not fit the endpoint's port", mtu.value)).help(format!(
                    "the port carries {port_mtu} bytes, WireGuard over IPv4 takes {WIREGUARD_OVERHEAD_BYTES}: at most {room}"
                ));
            }
        }
        let peer = tunnel.wireguard.value().and_then(|wireguard| wireguard.endpoint_address.given());
        if let (Some(peer), Some(own)) = (peer, port.address.value())
            && *peer.value.ip() == own.ip()
        {
            problems
                .error(&peer.at, format!("{} is the relay's own address", peer.value))
                .help("name the address of the municipality's router");
        }
    }
}
