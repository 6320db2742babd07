//! Values with positions -> the model. Runs after validation found no error, so that every lookup
//! succeeds; `None` means that validation has a gap.

pub(super) mod ipsec;

use std::num::NonZeroU16;

use super::fields::{Field, Listed, Spanned};
use super::model::*;
use super::relay_file::{EndpointEntry, PortEntry, RelayFile};
use super::tenant_file::{
    CallbackEntry, CloudEntry, GovernanceEntry, ServiceEntry, SourceEntry, SourceKind, TenantFile, TunnelEntry, WireGuardPeerEntry,
};
use super::tree::Key;
use super::{RelaySide, validate};

const DEFAULT_PORT_MTU_BYTES: u16 = 1_500;
const DEFAULT_STATE: &str = "/var/lib/chukei";

/// The relay without its tenants.
pub(super) fn relay(side: &RelaySide) -> Option<RelayConfigModel> {
    let relay = &side.file;
    let ports: Vec<Port> = relay.ports.entries().iter().map(|(key, entry)| port(key, entry)).collect::<Option<_>>()?;
    let endpoints: Vec<Endpoint> =
        relay.endpoints.entries().iter().map(|entry| endpoint(side, &ports, &entry.value)).collect::<Option<_>>()?;
    Some(RelayConfigModel {
        name: relay.name.value()?.clone(),
        ports,
        endpoints,
        shared_addresses: values(relay.shared_addresses.value()),
        conventional_lgwan: values(relay.conventional_lgwan.value()),
        metrics: relay.metrics.value().and_then(|entry| Some(Metrics { listen: *entry.listen.value()? })),
        api: api(relay),
        state: side.resolve_path(relay.state.value().map_or(DEFAULT_STATE.as_ref(), |path| path)),
        frames: relay.frames.value().copied(),
        workers: relay.workers.value().copied().unwrap_or(1),
        hardening: relay.hardening.value().copied().unwrap_or_default(),
        tenants: Vec::new(),
    })
}

pub(super) fn port_mtu(entry: &PortEntry) -> Option<u16> {
    match &entry.mtu {
        Field::Absent => Some(DEFAULT_PORT_MTU_BYTES),
        mtu => mtu.value().copied(),
    }
}

fn values<T: Clone>(list: Option<&Vec<Spanned<T>>>) -> Vec<T> {
    list.into_iter().flatten().map(|spanned| spanned.value.clone()).collect()
}

fn port(key: &Key, entry: &PortEntry) -> Option<Port> {
    Some(Port {
        name: key.name.clone(),
        interface: entry.interface.value()?.clone(),
        address: entry.address.value().copied(),
        gateway: entry.gateway.value().copied(),
        address6: entry.address6.value().copied(),
        gateway6: entry.gateway6.value().copied(),
        mtu: port_mtu(entry)?,
        driver: entry.driver.value().copied().unwrap_or_default(),
    })
}

fn endpoint(side: &RelaySide, ports: &[Port], entry: &EndpointEntry) -> Option<Endpoint> {
    let port = port_index(side, entry.port.value()?)?;
    let kind = match (entry.wireguard.value(), entry.ipsec.value()) {
        (Some(wireguard), None) => EndpointKind::WireGuard {
            listen: *wireguard.listen.value()?,
            private_key_file: side.resolve_path(wireguard.private_key_file.value()?),
        },
        (None, Some(entry)) => EndpointKind::Ipsec(ipsec::endpoint(side, ports.get(port.0)?, entry)?),
        _ => return None,
    };
    Some(Endpoint { name: entry.name.value()?.clone(), port, kind })
}

fn port_index(side: &RelaySide, name: &str) -> Option<PortIndex> {
    side.file.ports.entries().iter().position(|(key, _)| key.name == name).map(PortIndex)
}

fn api(relay: &RelayFile) -> Option<Api> {
    let entry = relay.api.value()?;
    let viewers = entry.viewers.entries().iter();
    let viewers = viewers.map(|viewer| {
        let viewer = &viewer.value;
        let role = match viewer.tenants.value() {
            Some(tenants) => Role::Tenants(values(Some(tenants))),
            None => viewer.role.value()?.clone(),
        };
        Some(Viewer { name: viewer.name.value()?.clone(), uid: *viewer.uid.value()?, role })
    });
    Some(Api { socket: entry.socket.value()?.clone(), viewers: viewers.collect::<Option<_>>()? })
}

/// A tenant of `relay`, as [`relay`] made it.
pub(super) fn tenant(side: &RelaySide, relay: &RelayConfigModel, file: &TenantFile) -> Option<Tenant> {
    let clouds = file.clouds.value()?;
    let classes =
        file.office.entries().iter().map(|entry| Some(ClassPrefixes { class: entry.class, prefixes: values(entry.prefixes.as_ref()) }));
    let rate = file.rate.value();
    Some(Tenant {
        id: file.id.value()?.clone(),
        name: file.name.value()?.clone(),
        tunnels: tunnels(side, relay, file)?,
        redundancy: file.redundancy.value().copied().unwrap_or_default(),
        classes: classes.collect::<Option<_>>()?,
        attachments: clouds.entries.iter().map(|(key, entry)| attachment(side, key, entry)).collect::<Option<_>>()?,
        services: file.services.entries().iter().map(|entry| service(file, clouds, &entry.value)).collect::<Option<_>>()?,
        sources: file.source.entries().iter().map(|entry| sources(clouds, entry)).collect::<Option<Vec<_>>>()?.concat(),
        callbacks: file.callbacks.entries().iter().map(|entry| callback(clouds, &entry.value)).collect::<Option<_>>()?,
        limits: limits(file),
        ipv6: file.ipv6.value().copied().unwrap_or_default(),
        rate: Rate {
            guaranteed: rate.and_then(|rate| rate.guaranteed.value().copied()),
            ceiling: rate.and_then(|rate| rate.ceiling.value().copied()),
        },
    })
}

fn limits(file: &TenantFile) -> Limits {
    let default = Limits::default();
    let Some(limits) = file.limits.value() else { return default };
    let sessions = limits.sessions.value().copied().unwrap_or(default.sessions);
    Limits {
        sessions,
        ports: limits.ports.value().copied().unwrap_or(sessions),
        new_sessions_per_second: limits.new_sessions_per_second.value().copied().unwrap_or(default.new_sessions_per_second),
    }
}

/// In the order in which they are used.
fn tunnels(side: &RelaySide, relay: &RelayConfigModel, file: &TenantFile) -> Option<Vec<Tunnel>> {
    let tunnels = file.tunnels.entries().iter().map(|(key, entry)| tunnel(side, relay, file, key, entry));
    let mut tunnels: Vec<Tunnel> = tunnels.collect::<Option<_>>()?;
    if let Some(preferred) = file.prefer.value() {
        tunnels.sort_by_key(|tunnel| tunnel.name != *preferred);
    }
    Some(tunnels)
}

fn tunnel(side: &RelaySide, relay: &RelayConfigModel, file: &TenantFile, key: &Key, entry: &TunnelEntry) -> Option<Tunnel> {
    let name = entry.endpoint.value()?;
    let index = relay.endpoints.iter().position(|endpoint| endpoint.name == *name).map(EndpointIndex)?;
    let endpoint = relay.endpoint(index);
    let kind = match (&endpoint.kind, entry.wireguard.value(), entry.ipsec.value()) {
        (EndpointKind::WireGuard { .. }, Some(wireguard), None) => wireguard_kind(side, wireguard)?,
        (EndpointKind::Ipsec(own), None, Some(peer)) => TunnelKind::Ipsec(Box::new(ipsec::tunnel(side, file, own, peer)?)),
        _ => return None,
    };
    let port = relay.port(endpoint.port);
    let mtu = entry.mtu.value().copied().unwrap_or_else(|| ipsec::room(port.mtu, port.address6.is_some(), entry));
    Some(Tunnel { name: key.name.clone(), endpoint: index, mtu, kind })
}

fn wireguard_kind(side: &RelaySide, entry: &WireGuardPeerEntry) -> Option<TunnelKind> {
    let keepalive: Option<NonZeroU16> = entry.persistent_keepalive.value().copied();
    Some(TunnelKind::WireGuard {
        public_key: *entry.public_key.value()?,
        preshared_key_file: entry.preshared_key_file.value().map(|path| side.resolve_path(path)),
        endpoint_address: entry.endpoint_address.value().copied(),
        persistent_keepalive: keepalive,
    })
}

fn attachment(side: &RelaySide, key: &Key, entry: &CloudEntry) -> Option<Attachment> {
    Some(Attachment {
        name: key.name.clone(),
        port: port_index(side, entry.port.value()?)?,
        vlan: *entry.vlan.value()?,
        address: *entry.address.value()?,
        gateway: *entry.gateway.value()?,
        address6: entry.address6.value().copied(),
    })
}

type Clouds = Listed<(Key, CloudEntry)>;

/// A reference to a cloud; left out, it is the tenant's only one.
pub(super) fn attachment_index(clouds: &Clouds, cloud: &Field<String>) -> Option<AttachmentIndex> {
    match cloud {
        Field::Absent => (clouds.complete && clouds.entries.len() == 1).then_some(AttachmentIndex(0)),
        Field::Invalid => None,
        Field::Given(name) => clouds.entries.iter().position(|(key, _)| key.name == name.value).map(AttachmentIndex),
    }
}

fn service(file: &TenantFile, clouds: &Clouds, entry: &ServiceEntry) -> Option<Service> {
    let private = values(Some(entry.private.value()?));
    let destinations = match &entry.global {
        Field::Absent => ServiceDestinations::Kept(private),
        global => {
            let pairs = global.value()?.iter().zip(private);
            ServiceDestinations::Translated(pairs.map(|(global, private)| TranslatedPrefix { global: global.value, private }).collect())
        }
    };
    Some(Service {
        name: entry.name.value()?.clone(),
        class: *entry.class.value()?,
        attachment: attachment_index(clouds, &entry.cloud)?,
        destinations,
        allow: values(Some(entry.allow.value()?)),
        filtering: entry.filtering.value().or(file.filtering.value()).copied().unwrap_or_default(),
        governance: governance(&entry.governance),
    })
}

fn callback(clouds: &Clouds, entry: &CallbackEntry) -> Option<Callback> {
    Some(Callback {
        name: entry.name.value()?.clone(),
        class: *entry.class.value()?,
        attachment: attachment_index(clouds, &entry.cloud)?,
        from: values(Some(entry.from.value()?)),
        seen_as: entry.seen_as.value().copied(),
        to: entry.to.value().copied(),
        office: *entry.office.value()?,
        allow: values(Some(entry.allow.value()?)),
        governance: governance(&entry.governance),
    })
}

fn governance(entry: &GovernanceEntry) -> Governance {
    Governance {
        basis: entry.basis.value().cloned(),
        approved_by: entry.approved_by.value().cloned(),
        validity: Validity { from: entry.valid_from.value().copied(), until: entry.valid_until.value().copied() },
    }
}

/// One for each attachment that the entry speaks of.
fn sources(clouds: &Clouds, entry: &SourceEntry) -> Option<Vec<Source>> {
    let translation = match entry.kind.as_ref()? {
        SourceKind::Keep => SourceTranslation::Keep,
        SourceKind::Napt(pools) => SourceTranslation::Napt(values(Some(pools))),
        SourceKind::Static(pairs) => {
            SourceTranslation::Static(pairs.iter().map(|pair| StaticPair { office: pair.office, cloud: pair.cloud }).collect())
        }
    };
    let attachments = source_attachments(clouds, entry)?;
    Some(attachments.into_iter().map(|attachment| Source { class: entry.class, attachment, translation: translation.clone() }).collect())
}

/// The bare word `keep` speaks of every cloud, a mapping of the one that it names.
pub(super) fn source_attachments(clouds: &Clouds, entry: &SourceEntry) -> Option<Vec<AttachmentIndex>> {
    if entry.every_cloud {
        return Some((0..clouds.entries.len()).map(AttachmentIndex).collect());
    }
    attachment_index(clouds, &entry.cloud).map(|index| vec![index])
}
