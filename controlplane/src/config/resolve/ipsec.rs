//! IPsec's part: what is left out in the files gets its default here.

use std::time::Duration;

use super::super::RelaySide;
use super::super::algorithms::Proposal;
use super::super::esp_size;
use super::super::fields::Spanned;
use super::super::ipsec_fields::{IpsecEndpointEntry, IpsecPeerEntry};
use super::super::model::*;
use super::super::relay_file::RelayFile;
use super::super::tenant_file::{TenantFile, TunnelEntry};

/// As most routers have it.
const DEFAULT_DPD_SECONDS: u32 = 30;
/// Eight hours: the routers' own default.
const DEFAULT_IKE_LIFETIME_SECONDS: u32 = 28_800;
const DEFAULT_CHILD_LIFETIME_SECONDS: u32 = 3_600;

pub(super) fn endpoint(side: &RelaySide, port: &Port, entry: &IpsecEndpointEntry) -> Option<IpsecEndpoint> {
    Some(IpsecEndpoint {
        local_id: match entry.local_id.value() {
            Some(identity) => identity.clone(),
            None => Identity::Ipv4(port.address?.ip()),
        },
        certificate: entry.certificate_file.value().zip(entry.private_key_file.value()).map(|(certificate, private_key)| {
            CertificateFiles { certificate: side.resolve_path(certificate), private_key: side.resolve_path(private_key) }
        }),
        authorities_file: entry.authorities_file.value().map(|path| side.resolve_path(path)),
    })
}

pub(super) fn tunnel(side: &RelaySide, tenant: &TenantFile, endpoint: &IpsecEndpoint, entry: &IpsecPeerEntry) -> Option<IpsecTunnel> {
    let peer = entry.peer.value().copied().unwrap_or(PeerAddress::Any);
    let seconds = |given: Option<&u32>, default: u32| Duration::from_secs(given.copied().unwrap_or(default).into());
    let lifetimes = entry.lifetimes.value();
    Some(IpsecTunnel {
        local_id: entry.local_id.value().unwrap_or(&endpoint.local_id).clone(),
        remote_id: entry.remote_id.value()?.clone(),
        authentication: authentication(side, endpoint, entry)?,
        peer,
        initiate: entry.initiate.value().copied().unwrap_or(match peer {
            PeerAddress::Fixed(_) => Initiate::Always,
            PeerAddress::Any => Initiate::OnDemand,
        }),
        policy: policy(&side.file, tenant, entry),
        proposals: entry
            .proposals
            .value()
            .map(|proposals| Proposals { ike: super::values(proposals.ike.value()), child: super::values(proposals.child.value()) }),
        dpd: seconds(entry.dpd.value(), DEFAULT_DPD_SECONDS),
        ike_lifetime: seconds(lifetimes.and_then(|lifetimes| lifetimes.ike.value()), DEFAULT_IKE_LIFETIME_SECONDS),
        child_lifetime: seconds(lifetimes.and_then(|lifetimes| lifetimes.child.value()), DEFAULT_CHILD_LIFETIME_SECONDS),
        encapsulation: entry.encapsulation.value().copied().unwrap_or(Encapsulation::Auto),
    })
}

fn authentication(side: &RelaySide, endpoint: &IpsecEndpoint, entry: &IpsecPeerEntry) -> Option<Authentication> {
    let path = |file: &std::path::PathBuf| side.resolve_path(file);
    if let Some(file) = entry.psk_file.value() {
        return Some(Authentication::Psk { file: path(file), previous: entry.previous_psk_file.value().map(path) });
    }
    Some(Authentication::Certificate {
        own: endpoint.certificate.clone()?,
        authorities_file: entry.authorities_file.value().map(path).or_else(|| endpoint.authorities_file.clone())?,
    })
}

/// The tunnel's, else the tenant's, else the relay's.
pub(in super::super) fn policy(relay: &RelayFile, tenant: &TenantFile, entry: &IpsecPeerEntry) -> CryptoPolicy {
    let given = entry.crypto_policy.value().or(tenant.crypto_policy.value()).or(relay.crypto_policy.value());
    given.copied().unwrap_or(CryptoPolicy::Modern)
}

/// The largest inner packet in bytes, of those tunnels that the port lets pass. A WireGuard router on a port with both families may change
/// from one to the other, so the longer headers count.
pub(in super::super) fn room(port_mtu: u16, over_ipv6: bool, tunnel: &TunnelEntry) -> u16 {
    let Some(ipsec) = tunnel.ipsec.value() else { return port_mtu.saturating_sub(super::validate::wireguard_overhead_bytes(over_ipv6)) };
    let children: Option<&Vec<Spanned<Proposal>>> = ipsec.proposals.value().and_then(|proposals| proposals.child.value());
    esp_size::room(port_mtu, children.into_iter().flatten().map(|proposal| &proposal.value))
}
