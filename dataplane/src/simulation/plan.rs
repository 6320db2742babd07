//! The configuration of a world, and how it changes under the running worker.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::counters::{PortCounters, TenantCounters};
use crate::router_config::{EndpointConfig, EndpointKind, PortConfig, RouterConfig, SecretKey, TenantConfig, TenantEntry, TunnelKind};
use crate::simulation::municipality::{ACCESS, listen};
use crate::simulation::packets::{ip, network};
use crate::simulation::packets6::{ip6, network6};
use ipnetwork::Ipv4Network;

/// What a test may change at a reload.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tenants.
    pub tenants: Vec<TenantConfig>,
    /// The relay's private key.
    pub relay_key: SecretKey,
    /// There is an IPsec endpoint on the access port (true at the start where a tenant has an IPsec tunnel).
    pub ipsec: bool,
    /// UDP port of a second WireGuard endpoint with a key of its own, which no tenant uses.
    pub spare_port: Option<NonZeroU16>,
    /// Destinations of conventional LGWAN traffic.
    pub conventional_lgwan: Vec<Ipv4Network>,
    /// Ports that no pool gives out, besides the relay's own.
    pub reserved_ports: Vec<u16>,
}

impl Plan {
    /// These tenants, and nothing out of the ordinary.
    #[must_use]
    pub fn new(tenants: Vec<TenantConfig>) -> Self {
        let ipsec = tenants.iter().flat_map(|tenant| &tenant.tunnels).any(|tunnel| tunnel.kind == TunnelKind::Ipsec);
        let conventional_lgwan = vec![network("192.0.2.128/25")];
        Self { tenants, relay_key: SecretKey([0x77; 32]), ipsec, spare_port: None, conventional_lgwan, reserved_ports: Vec::new() }
    }

    /// The tenant called `name`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn tenant(&mut self, name: &str) -> &mut TenantConfig {
        self.tenants.iter_mut().find(|tenant| &*tenant.name == name).expect("a tenant of the plan")
    }
}

/// The ports of every world.
#[must_use]
pub fn ports(mtu: u16) -> Vec<PortConfig> {
    let port = |name: &str, access: bool| PortConfig {
        name: name.into(),
        address: access.then(|| network("192.0.2.1/25")),
        gateway: access.then(|| ip("192.0.2.126")),
        address6: None,
        gateway6: None,
        mtu,
        counters: Arc::new(PortCounters::default()),
    };
    vec![port("access", true), port("aws", false), port("gcp", false)]
}

/// The same ports, with IPv6 on the access network.
#[must_use]
pub fn with_ipv6(mut ports: Vec<PortConfig>) -> Vec<PortConfig> {
    let access = &mut ports[usize::from(ACCESS.0)];
    (access.address6, access.gateway6) = (Some(network6("2001:db8:c0::1/64")), Some(ip6("fe80::7e")));
    ports
}

/// The configuration that `plan` describes. Tenants that did not change keep their `Arc`, all that stay keep their counters.
#[must_use]
pub fn compile(plan: &Plan, ports: &[PortConfig], old: &[TenantEntry]) -> RouterConfig {
    let kind = EndpointKind::WireGuard { listen: listen(), private_key: plan.relay_key.clone() };
    let entry = |tenant: &TenantConfig| {
        let old = old.iter().find(|entry| entry.config.name == tenant.name);
        let mut counters: Vec<_> = old.map_or_else(Vec::new, |entry| entry.tunnel_counters.clone());
        counters.resize_with(tenant.tunnels.len(), Arc::default);
        let config = match old {
            Some(entry) if *entry.config == *tenant => Arc::clone(&entry.config),
            _ => Arc::new(tenant.clone()),
        };
        TenantEntry {
            config,
            counters: old.map_or_else(|| Arc::new(TenantCounters::default()), |entry| Arc::clone(&entry.counters)),
            tunnel_counters: counters,
        }
    };
    let mut endpoints = vec![EndpointConfig { name: "tokyo-a".into(), port: ACCESS, kind }];
    // In this order: tenants name the IPsec endpoint by its number.
    endpoints.extend(plan.ipsec.then(|| EndpointConfig { name: "tokyo-ipsec".into(), port: ACCESS, kind: EndpointKind::Ipsec }));
    endpoints.extend(plan.spare_port.map(|listen| {
        let kind = EndpointKind::WireGuard { listen, private_key: SecretKey([0x78; 32]) };
        EndpointConfig { name: "tokyo-b".into(), port: ACCESS, kind }
    }));
    RouterConfig {
        ports: ports.to_vec(),
        endpoints,
        conventional_lgwan: plan.conventional_lgwan.clone(),
        reserved_ports: plan.reserved_ports.clone(),
        tenants: plan.tenants.iter().map(entry).collect(),
    }
}
