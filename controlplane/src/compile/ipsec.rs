//! The typed model and the keys -> what key exchange needs to know. Nothing can fail here: the model was validated.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::worker::steering;
use ipnetwork::Ipv4Network;

use super::Keys;
use crate::config::{
    Authentication, CryptoPolicy, Encapsulation, Endpoint, Identity, Initiate, IpsecTunnel, PeerAddress, Port, Proposals, RelayConfigModel,
    ServiceDestinations, Tenant, Tunnel, TunnelKind,
};

/// Compiles, and compiles again only the peers that are not as they were. An unchanged peer is the very same `Arc`.
#[derive(Debug, Default)]
pub struct IkeCompiler {
    ports: Vec<Port>,
    endpoints: Vec<Endpoint>,
    shared_addresses: Vec<Ipv4Network>,
    workers: usize,
    peers: HashMap<ike::PeerName, Known>,
}

#[derive(Debug)]
struct Known {
    from: Arc<Tenant>,
    config: Arc<ike::PeerConfig>,
}

impl IkeCompiler {
    /// What key exchange works with at the Unix time `now`. Endpoints have the numbers that they have in the data plane.
    #[must_use]
    pub fn compile(&mut self, model: &RelayConfigModel, keys: &Keys, now: i64) -> ike::Config {
        let same = self.ports == model.ports
            && self.endpoints == model.endpoints
            && self.shared_addresses == model.shared_addresses
            && self.workers == model.workers;
        if !same {
            self.peers.clear();
            (self.ports, self.endpoints) = (model.ports.clone(), model.endpoints.clone());
            (self.shared_addresses, self.workers) = (model.shared_addresses.clone(), model.workers);
        }
        let mut previous = std::mem::take(&mut self.peers);
        let mut peers = Vec::new();
        for tenant in &model.tenants {
            for (tunnel, ipsec) in tenant.tunnels.iter().filter_map(|tunnel| Some((tunnel, ipsec_of(tunnel)?))) {
                let name = ike::PeerName { tenant: tenant.id.as_str().into(), tunnel: tunnel.name.as_str().into() };
                let policy = policy(ipsec.policy, now);
                let authentication = authentication(ipsec, keys);
                let known = previous.remove(&name).filter(|known| {
                    let same_secrets = same_authentication(&known.config.authentication, &authentication);
                    Arc::ptr_eq(&known.from, tenant) && known.config.policy == policy && same_secrets
                });
                let known = known.unwrap_or_else(|| Known {
                    from: Arc::clone(tenant),
                    config: Arc::new(peer_config(model, tenant, tunnel, ipsec, &name, policy, authentication)),
                });
                peers.push(Arc::clone(&known.config));
                self.peers.insert(name, known);
            }
        }
        let address = |endpoint: &Endpoint| model.port(endpoint.port).address.map_or(Ipv4Addr::UNSPECIFIED, |network| network.ip());
        let endpoints = model.endpoints.iter().map(|endpoint| ike::Endpoint { address: address(endpoint) }).collect();
        ike::Config { endpoints, peers }
    }
}

/// What key exchange works with at the Unix time `now`.
#[must_use]
pub fn ike_config(model: &RelayConfigModel, keys: &Keys, now: i64) -> ike::Config {
    IkeCompiler::default().compile(model, keys, now)
}

fn ipsec_of(tunnel: &Tunnel) -> Option<&IpsecTunnel> {
    match &tunnel.kind {
        TunnelKind::Ipsec(ipsec) => Some(ipsec),
        TunnelKind::WireGuard { .. } => None,
    }
}

fn peer_config(
    model: &RelayConfigModel,
    tenant: &Tenant,
    tunnel: &Tunnel,
    ipsec: &IpsecTunnel,
    name: &ike::PeerName,
    policy: ike::CryptoPolicy,
    authentication: ike::Authentication,
) -> ike::PeerConfig {
    let office = joined(tenant.classes.iter().flat_map(|class| class.prefixes.iter().copied()).collect());
    let far = far(model, tenant, office.len());
    ike::PeerConfig {
        name: name.clone(),
        endpoint: tunnel.endpoint.0,
        local_id: identity(&ipsec.local_id),
        remote_id: identity(&ipsec.remote_id),
        authentication,
        address: match ipsec.peer {
            PeerAddress::Any => ike::PeerAddress::Any,
            PeerAddress::Fixed(address) => ike::PeerAddress::Fixed(address),
        },
        initiate: match ipsec.initiate {
            Initiate::OnDemand => ike::Initiate::OnDemand,
            Initiate::Always => ike::Initiate::Always,
            Initiate::Never => ike::Initiate::Never,
        },
        policy,
        proposals: ipsec.proposals.as_ref().map(|chosen| proposals(policy, chosen)),
        office,
        far,
        dpd: ipsec.dpd,
        ike_lifetime: ipsec.ike_lifetime,
        child_lifetime: ipsec.child_lifetime,
        encapsulation: match ipsec.encapsulation {
            Encapsulation::Auto => ike::NatT::Auto,
            Encapsulation::Udp => ike::NatT::Always,
        },
        spi_space: spi_source(&tenant.id, model.workers),
    }
}

fn policy(policy: CryptoPolicy, now: i64) -> ike::CryptoPolicy {
    match policy {
        CryptoPolicy::Cryptrec => ike::CryptoPolicy::Cryptrec,
        CryptoPolicy::LegacyUntil(_) if policy.is_legacy_at(now) => ike::CryptoPolicy::Legacy,
        CryptoPolicy::Modern | CryptoPolicy::LegacyUntil(_) => ike::CryptoPolicy::Modern,
    }
}

fn proposals(policy: ike::CryptoPolicy, chosen: &Proposals) -> ike::Proposals {
    let ike: Vec<ike::proposals::IkeProposal> = chosen.ike.iter().filter_map(|proposal| proposal.to_string().parse().ok()).collect();
    let child: Vec<ike::proposals::ChildProposal> = chosen.child.iter().filter_map(|proposal| proposal.to_string().parse().ok()).collect();
    debug_assert_eq!((ike.len(), child.len()), (chosen.ike.len(), chosen.child.len()), "both read the same words");
    ike::Proposals::within(policy, &ike, &child)
}

/// In the form in which it is sent.
pub(crate) fn identity(identity: &Identity) -> ike::Identity {
    match identity {
        Identity::Fqdn(name) => ike::Identity::Fqdn(name.clone()),
        Identity::Email(name) => ike::Identity::Email(name.clone()),
        Identity::Ipv4(address) => ike::Identity::Ipv4(*address),
        Identity::KeyId(bytes) => ike::Identity::KeyId(bytes.clone()),
        Identity::DistinguishedName(name) => ike::Identity::DistinguishedName(name.to_der()),
    }
}

/// The new key first.
fn authentication(ipsec: &IpsecTunnel, keys: &Keys) -> ike::Authentication {
    match &ipsec.authentication {
        Authentication::Psk { file, previous } => {
            let files = [Some(file), previous.as_ref()];
            ike::Authentication::Psk { keys: files.into_iter().flatten().map(|file| keys.psk(file)).collect() }
        }
        Authentication::Certificate { own, authorities_file } => keys.certificate(own, authorities_file),
    }
}

fn same_authentication(a: &ike::Authentication, b: &ike::Authentication) -> bool {
    use ike::Authentication::{Certificate, Psk};
    match (a, b) {
        (Psk { keys: a }, Psk { keys: b }) => a == b,
        (Certificate { own, authorities }, Certificate { own: own_b, authorities: authorities_b }) => {
            Arc::ptr_eq(own, own_b) && Arc::ptr_eq(authorities, authorities_b)
        }
        _ => false,
    }
}

/// The SPIs of the worker that owns the tenant: its number stands in their top bits.
fn spi_source(tenant: &str, workers: usize) -> ike::SpiSource {
    let bits = workers.next_power_of_two().trailing_zeros();
    ike::SpiSource {
        prefix: u32::from(steering::owner(tenant, workers).0),
        prefix_bits: u8::try_from(bits).expect("there are at most sixteen workers"),
    }
}

/// Office times far prefixes: more selectors do not fit an SA.
const MOST_SELECTORS: usize = dataplane::tunnel::esp::sa::MAX_SELECTORS;

/// What the office may send to, and what may call it: the addresses that it sees of the tenant's services and callbacks. Where these are
/// more than an SA has selectors for, the operator's blocks that hold them: the tenant's rules are asked for every packet all the same.
fn far(model: &RelayConfigModel, tenant: &Tenant, office: usize) -> Vec<Ipv4Network> {
    let services = tenant.services.iter().flat_map(|service| match &service.destinations {
        ServiceDestinations::Kept(prefixes) => prefixes.clone(),
        ServiceDestinations::Translated(pairs) => pairs.iter().map(|pair| pair.global).collect(),
    });
    let callbacks = tenant.callbacks.iter().flat_map(|callback| match callback.seen_as {
        Some(address) => vec![address.into()],
        None => callback.from.clone(),
    });
    let own = joined(services.chain(callbacks).collect());
    if own.len() * office <= MOST_SELECTORS {
        return own;
    }
    let block_of = |prefix: &Ipv4Network| {
        let holds = |block: &&Ipv4Network| block.prefix() <= prefix.prefix() && block.contains(prefix.network());
        *model.shared_addresses.iter().find(holds).unwrap_or(prefix)
    };
    joined(own.iter().map(block_of).collect())
}

/// The same addresses in as few prefixes as there can be, in their order.
pub(crate) fn joined(mut prefixes: Vec<Ipv4Network>) -> Vec<Ipv4Network> {
    prefixes.sort_unstable_by_key(|prefix| (prefix.network(), prefix.prefix()));
    let mut joined: Vec<Ipv4Network> = Vec::with_capacity(prefixes.len());
    for mut prefix in prefixes {
        if joined.last().is_some_and(|last| last.prefix() <= prefix.prefix() && last.contains(prefix.network())) {
            continue;
        }
        while let Some(whole) = joined.last().and_then(|last| halves_of(*last, prefix)) {
            joined.pop();
            prefix = whole;
        }
        joined.push(prefix);
    }
    joined
}

/// The prefix that two neighbours make.
fn halves_of(low: Ipv4Network, high: Ipv4Network) -> Option<Ipv4Network> {
    let length = low.prefix().checked_sub(1).filter(|_| low.prefix() == high.prefix())?;
    let whole = Ipv4Network::new(low.network(), length).ok()?;
    (whole.network() == low.network() && whole.contains(high.network())).then_some(whole)
}

#[cfg(test)]
#[path = "ipsec_tests.rs"]
mod tests;
