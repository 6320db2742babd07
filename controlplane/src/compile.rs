//! The typed model and the keys -> the data plane's compiled configuration. Nothing can fail here: the model was validated.

mod ipsec;
mod keys;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;

use dataplane::router_config as compiled;
use dataplane::router_config::{AttachmentId, EndpointId, PortId, RouterConfig, RuleState, TenantConfig, TrafficClass, VlanId};
use ipnetwork::Ipv4Network;

use crate::config::{
    Allow, Attachment, Callback, Class, Endpoint, EndpointKind, Filtering, Governance, Port, Redundancy, RelayConfigModel, Service,
    ServiceDestinations, Source, SourceTranslation, Tenant, TunnelKind, Validity, Vlan,
};

pub use ipsec::{IkeCompiler, ike_config};
pub(crate) use ipsec::{identity as ike_identity, joined as joined_prefixes};
pub use keys::Keys;

/// What the data plane does at the Unix time `now`. Counters start at zero.
#[must_use]
pub fn compile(model: &RelayConfigModel, keys: &Keys, now: i64) -> RouterConfig {
    Compiler::default().compile(model, keys, now)
}

/// Compiles, and compiles again only the tenants that are not as they were. An unchanged tenant is the very same `Arc`.
#[derive(Debug, Default)]
pub struct Compiler {
    ports: Vec<Port>,
    endpoints: Vec<Endpoint>,
    tenants: HashMap<String, CompiledTenant>,
}

#[derive(Debug)]
struct CompiledTenant {
    from: Arc<Tenant>,
    config: Arc<TenantConfig>,
    /// The Unix times between which its rules' validity is as it was compiled: from this one to before the other.
    since: i64,
    until: Option<i64>,
}

impl CompiledTenant {
    fn holds(&self, tenant: &Arc<Tenant>, keys: &Keys, now: i64) -> bool {
        let same_secret = |(tunnel, compiled): (&crate::config::Tunnel, &compiled::TunnelConfig)| {
            match (&tunnel.kind, &compiled.kind) {
                (TunnelKind::WireGuard { preshared_key_file, .. }, compiled::TunnelKind::WireGuard { preshared_key, .. }) => {
                    preshared_key_file.as_deref().map(|path| keys.wireguard(path)) == *preshared_key
                }
                // Its secrets are not the data plane's.
                (kind, compiled) => matches!((kind, compiled), (TunnelKind::Ipsec(_), compiled::TunnelKind::Ipsec)),
            }
        };
        // Files that did not change give the same model; keys and the date change without them.
        Arc::ptr_eq(&self.from, tenant)
            && self.since <= now
            && self.until.is_none_or(|until| now < until)
            && tenant.tunnels.iter().zip(&self.config.tunnels).all(same_secret)
    }
}

impl Compiler {
    /// What the data plane does at the Unix time `now`. Counters start at zero.
    #[must_use]
    pub fn compile(&mut self, model: &RelayConfigModel, keys: &Keys, now: i64) -> RouterConfig {
        if self.ports != model.ports || self.endpoints != model.endpoints {
            // Tenants have numbers and MTUs of ports and endpoints in them.
            self.tenants.clear();
            (self.ports, self.endpoints) = (model.ports.clone(), model.endpoints.clone());
        }
        let mut previous = std::mem::take(&mut self.tenants);
        let tenants = model.tenants.iter().map(|tenant| {
            let (id, known) = previous.remove_entry(&tenant.id).map_or_else(|| (tenant.id.clone(), None), |(id, known)| (id, Some(known)));
            let known = known.filter(|known| known.holds(tenant, keys, now)).unwrap_or_else(|| CompiledTenant {
                from: Arc::clone(tenant),
                config: Arc::new(tenant_config(model, tenant, keys, now)),
                since: now,
                until: next_boundary_after(tenant, now),
            });
            let config = Arc::clone(&known.config);
            self.tenants.insert(id, known);
            entry(config)
        });
        RouterConfig {
            tenants: tenants.collect(),
            ports: model.ports.iter().map(port_config).collect(),
            endpoints: model.endpoints.iter().map(|endpoint| endpoint_config(endpoint, keys)).collect(),
            conventional_lgwan: model.conventional_lgwan.clone(),
            reserved_ports: model.metrics.iter().map(|metrics| metrics.listen.port()).collect(),
        }
    }

    /// The first Unix time at which a rule of what was compiled last becomes valid or stops being so.
    #[must_use]
    pub fn next_boundary(&self) -> Option<i64> {
        self.tenants.values().filter_map(|tenant| tenant.until).min()
    }
}

fn next_boundary_after(tenant: &Tenant, now: i64) -> Option<i64> {
    let rules = tenant.services.iter().map(|service| &service.governance).chain(tenant.callbacks.iter().map(|rule| &rule.governance));
    let boundaries = |validity: &Validity| [validity.starts_at_unix(), validity.ends_at_unix()];
    // What key exchange works with is compiled at the same moments.
    let exceptions = tenant.tunnels.iter().filter_map(|tunnel| match &tunnel.kind {
        TunnelKind::Ipsec(ipsec) => ipsec.policy.legacy_ends_at_unix(),
        TunnelKind::WireGuard { .. } => None,
    });
    rules.flat_map(|rule| boundaries(&rule.validity)).flatten().chain(exceptions).filter(|boundary| *boundary > now).min()
}

fn port_config(port: &Port) -> compiled::PortConfig {
    compiled::PortConfig {
        name: port.name.as_str().into(),
        address: port.address,
        gateway: port.gateway,
        address6: port.address6,
        gateway6: port.gateway6,
        mtu: port.mtu,
        counters: Arc::default(),
    }
}

fn endpoint_config(endpoint: &Endpoint, keys: &Keys) -> compiled::EndpointConfig {
    compiled::EndpointConfig {
        name: endpoint.name.as_str().into(),
        port: PortId(small(endpoint.port.0)),
        kind: match &endpoint.kind {
            EndpointKind::WireGuard { listen, private_key_file } => {
                compiled::EndpointKind::WireGuard { listen: *listen, private_key: keys.wireguard(private_key_file) }
            }
            EndpointKind::Ipsec(_) => compiled::EndpointKind::Ipsec,
        },
    }
}

fn entry(config: Arc<TenantConfig>) -> compiled::TenantEntry {
    let tunnel_counters = config.tunnels.iter().map(|_| Arc::default()).collect();
    compiled::TenantEntry { config, counters: Arc::default(), tunnel_counters }
}

fn tenant_config(model: &RelayConfigModel, tenant: &Tenant, keys: &Keys, now: i64) -> TenantConfig {
    let office = tenant
        .classes
        .iter()
        .flat_map(|entry| entry.prefixes.iter().map(|prefix| compiled::OfficePrefix { prefix: *prefix, class: class(entry.class) }));
    TenantConfig {
        name: tenant.id.as_str().into(),
        tunnels: tenant.tunnels.iter().map(|tunnel| tunnel_config(tunnel, keys)).collect(),
        redundancy: match tenant.redundancy {
            Redundancy::Prefer => compiled::Redundancy::Prefer,
            Redundancy::Both => compiled::Redundancy::Both,
        },
        office: office.collect(),
        attachments: tenant.attachments.iter().map(|attachment| attachment_config(model, attachment)).collect(),
        services: tenant.services.iter().flat_map(|service| service_configs(service, now)).collect(),
        sources: tenant.sources.iter().map(source_config).collect(),
        callbacks: tenant.callbacks.iter().flat_map(|callback| callback_configs(callback, now)).collect(),
        limits: compiled::Limits {
            sessions: at_least_one(tenant.limits.sessions),
            ports: at_least_one(tenant.limits.ports),
            new_sessions_per_second: at_least_one(tenant.limits.new_sessions_per_second),
        },
        rate: compiled::RateConfig { guaranteed: tenant.rate.guaranteed, ceiling: tenant.rate.ceiling },
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    }
}

fn tunnel_config(tunnel: &crate::config::Tunnel, keys: &Keys) -> compiled::TunnelConfig {
    let kind = match &tunnel.kind {
        TunnelKind::WireGuard { public_key, preshared_key_file, endpoint_address, persistent_keepalive } => {
            compiled::TunnelKind::WireGuard {
                public_key: *public_key,
                preshared_key: preshared_key_file.as_deref().map(|path| keys.wireguard(path)),
                peer_address: *endpoint_address,
                persistent_keepalive: *persistent_keepalive,
            }
        }
        TunnelKind::Ipsec(_) => compiled::TunnelKind::Ipsec,
    };
    compiled::TunnelConfig { name: tunnel.name.as_str().into(), endpoint: EndpointId(small(tunnel.endpoint.0)), mtu: tunnel.mtu, kind }
}

fn attachment_config(model: &RelayConfigModel, attachment: &Attachment) -> compiled::AttachmentConfig {
    compiled::AttachmentConfig {
        name: attachment.name.as_str().into(),
        port: PortId(small(attachment.port.0)),
        vlan: match attachment.vlan {
            Vlan::Single(id) => compiled::Vlan::Single(vlan_id(id)),
            Vlan::QinQ { outer, inner } => compiled::Vlan::Double { outer: vlan_id(outer), inner: vlan_id(inner) },
        },
        address: attachment.address,
        gateway: attachment.gateway,
        address6: attachment.address6,
        mtu: match attachment.vlan {
            Vlan::Single(_) => model.port(attachment.port).mtu,
            // Interfaces grant room for one tag at most: two take their 8 bytes from the packet.
            Vlan::QinQ { .. } => model.port(attachment.port).mtu - 8,
        },
    }
}

/// One rule for each pair of prefixes.
fn service_configs(service: &Service, now: i64) -> Vec<compiled::ServiceConfig> {
    let pairs: Vec<(Ipv4Network, Ipv4Network)> = match &service.destinations {
        ServiceDestinations::Kept(prefixes) => prefixes.iter().map(|prefix| (*prefix, *prefix)).collect(),
        ServiceDestinations::Translated(pairs) => pairs.iter().map(|pair| (pair.global, pair.private)).collect(),
    };
    let rule = |(office_side, cloud_side)| compiled::ServiceConfig {
        name: service.name.as_str().into(),
        class: class(service.class),
        attachment: AttachmentId(small(service.attachment.0)),
        office_side,
        cloud_side,
        allow: service.allow.iter().map(allow).collect(),
        filtering: filtering(service.filtering),
        state: rule_state(&service.governance, now),
    };
    pairs.into_iter().map(rule).collect()
}

fn source_config(source: &Source) -> compiled::SourceConfig {
    let translation = match &source.translation {
        SourceTranslation::Keep => compiled::SourceTranslation::Keep,
        SourceTranslation::Napt(pools) => compiled::SourceTranslation::Napt(pools.clone()),
        SourceTranslation::Static(pairs) => {
            let mut hosts: Vec<_> = pairs.iter().flat_map(|pair| pair.office.iter().zip(pair.cloud.iter())).collect();
            hosts.sort_unstable();
            compiled::SourceTranslation::Static(hosts)
        }
    };
    compiled::SourceConfig { class: class(source.class), attachment: AttachmentId(small(source.attachment.0)), translation }
}

/// With `as` one rule; without it one for each entry of `from`, which is a host then, and the office sees that host's own address.
fn callback_configs(callback: &Callback, now: i64) -> Vec<compiled::CallbackConfig> {
    let rule = |from: Vec<Ipv4Network>, source: Ipv4Addr| compiled::CallbackConfig {
        name: callback.name.as_str().into(),
        class: class(callback.class),
        attachment: AttachmentId(small(callback.attachment.0)),
        from,
        source,
        to: callback.called_address(),
        office: callback.office,
        allow: callback.allow.iter().map(allow).collect(),
        state: rule_state(&callback.governance, now),
    };
    match callback.seen_as {
        Some(source) => vec![rule(callback.from.clone(), source)],
        None => callback.from.iter().map(|host| rule(vec![*host], host.ip())).collect(),
    }
}

fn rule_state(governance: &Governance, now: i64) -> RuleState {
    if governance.validity.holds_at_unix(now) { RuleState::Open } else { RuleState::OutsideValidity }
}

fn allow(allow: &Allow) -> compiled::Allow {
    let ports = |ports: &crate::config::PortMapping| compiled::PortMap { from: ports.outside.clone(), to: *ports.inside.start() };
    match allow {
        Allow::Tcp(mapping) => compiled::Allow::Tcp(ports(mapping)),
        Allow::Udp(mapping) => compiled::Allow::Udp(ports(mapping)),
        Allow::IcmpEcho => compiled::Allow::IcmpEcho,
    }
}

const fn filtering(filtering: Filtering) -> compiled::Filtering {
    match filtering {
        Filtering::EndpointIndependent => compiled::Filtering::EndpointIndependent,
        Filtering::AddressDependent => compiled::Filtering::AddressDependent,
        Filtering::AddressAndPortDependent => compiled::Filtering::AddressAndPortDependent,
    }
}

const fn class(class: Class) -> TrafficClass {
    match class {
        Class::Mynumber => TrafficClass::MyNumber,
        Class::LgwanConnected => TrafficClass::LgwanConnected,
    }
}

fn small(index: usize) -> u8 {
    u8::try_from(index).expect("validation allows fewer than 256 of each")
}

fn vlan_id(id: u16) -> VlanId {
    VlanId::new(id).expect("validation allows 1 to 4,094")
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests;
