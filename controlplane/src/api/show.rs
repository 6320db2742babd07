//! Answers about how things are, cut down to what the viewer may see.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use dataplane::counters::DropCounters;
use dataplane::drop_reason::DropReason;
use dataplane::router_config::{RouterConfig, RuleState, TenantEntry, TrafficClass, TunnelKind, Vlan};
use dataplane::tenant::Carries;
use dataplane::worker::control::{self, SnapshotRequest, SnapshotRows};
use serde::Deserialize;

use super::rows::{Answer, DropRow, IpsecRow, IsolationRow, NeighborRow, PortRow, SessionRow, TenantRow, Traffic, TunnelRow};
use super::viewer::Viewer;
use super::{ApiError, ipsec};
use crate::clock::{self, Clocks};
use crate::config::Tenant;
use crate::relay::Relay;

/// Sessions in one answer, over all tenants asked for.
const SESSIONS_LIMIT: usize = 20_000;

/// What a tenant loses for sending too much.
const THROTTLED: [DropReason; 3] = [DropReason::TenantQueueFull, DropReason::QueuesFull, DropReason::RateCeiling];

type Shown<T> = Result<Json<Answer<T>>, ApiError>;

/// Which tenant is asked about.
#[derive(Deserialize)]
pub(super) struct Filter {
    tenant: Option<String>,
}

/// The configuration as one viewer may see it.
struct View {
    relay: Arc<Relay>,
    router: Arc<RouterConfig>,
    viewer: Viewer,
    tenant: Option<String>,
}

impl View {
    /// # Errors
    /// The same answer for a tenant that does not exist and for a foreign one.
    fn new(relay: Arc<Relay>, viewer: Viewer, filter: Filter) -> Result<Self, ApiError> {
        let router = relay.state().router();
        let view = Self { relay, router, viewer, tenant: filter.tenant };
        if view.tenant.is_some() && view.tenants().next().is_none() {
            return Err(ApiError::no_such_tenant());
        }
        Ok(view)
    }

    /// Whether rows of this tenant belong to the answer.
    fn shows(&self, tenant: &str) -> bool {
        self.viewer.sees(tenant) && self.tenant.as_deref().is_none_or(|wanted| wanted == tenant)
    }

    /// Whether rows that belong to no tenant are part of the answer.
    fn shows_relay(&self) -> bool {
        self.viewer.sees_relay() && self.tenant.is_none()
    }

    fn tenants(&self) -> impl Iterator<Item = &TenantEntry> {
        self.router.tenants.iter().filter(|entry| self.shows(&entry.config.name))
    }

    fn wanted(&self) -> Option<Arc<str>> {
        self.tenant.as_deref().map(Arc::from)
    }

    fn answer<T>(&self, rows: Vec<T>) -> Json<Answer<T>> {
        let relay = self.relay.state().setup.model.name.clone();
        Json(Answer { relay, now: clock::now(), rows, truncated: false })
    }
}

pub(super) async fn tenants(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<TenantRow> {
    let view = View::new(relay, viewer, filter)?;
    let setup = Arc::clone(&view.relay.state().setup);
    let names: HashMap<&str, &str> = setup.model.tenants.iter().map(|tenant| (&*tenant.id, &*tenant.name)).collect();
    let rows = view.tenants().map(|entry| tenant_row(entry, names.get(&*entry.config.name).unwrap_or(&""))).collect();
    Ok(view.answer(rows))
}

fn tenant_row(entry: &TenantEntry, name: &str) -> TenantRow {
    TenantRow {
        tenant: entry.config.name.to_string(),
        name: name.to_owned(),
        tunnels_up: entry.tunnel_counters.iter().map(|counters| counters.up.get()).sum(),
        tunnels_configured: entry.tunnel_counters.len() as u64,
        sessions: entry.counters.sessions.get(),
        sessions_limit: entry.config.limits.sessions.get().into(),
        ports: entry.counters.mappings.get(),
        ports_limit: entry.config.limits.ports.get().into(),
        office_to_cloud: (&entry.counters.office_to_cloud).into(),
        cloud_to_office: (&entry.counters.cloud_to_office).into(),
        dropped_packets: entry.counters.drops.total(),
        rate_guaranteed_bits: entry.config.rate.guaranteed.map(NonZeroU64::get),
        rate_ceiling_bits: entry.config.rate.ceiling.map(NonZeroU64::get),
        queued_packets: entry.counters.queued.get(),
        throttled_packets: THROTTLED.iter().map(|reason| entry.counters.drops.get(*reason)).sum(),
        isolated: isolated(entry),
    }
}

fn isolated(entry: &TenantEntry) -> Vec<String> {
    let config = &entry.config;
    let all = config.isolated.then(|| "all".to_owned());
    let classes =
        TrafficClass::ALL.into_iter().filter(|class| config.isolated_classes[*class as usize]).map(|class| class.label().to_owned());
    let services = config.services.iter().map(|service| (&service.name, service.state));
    let callbacks = config.callbacks.iter().map(|callback| (&callback.name, callback.state));
    let mut rules: Vec<String> =
        services.chain(callbacks).filter(|(_, state)| *state == RuleState::Isolated).map(|(name, _)| name.to_string()).collect();
    // A service with several prefixes is several rules of one name.
    rules.dedup();
    all.into_iter().chain(classes).chain(rules).collect()
}

pub(super) async fn tunnels(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<TunnelRow> {
    let view = View::new(relay, viewer, filter)?;
    let request = |from| SnapshotRequest::Tunnels { tenant: view.wanted(), from };
    let seen = view.relay.workers.snapshot(request, |rows| if let SnapshotRows::Tunnels(rows) = rows { rows } else { Vec::new() }).await?;
    let seen: HashMap<(&str, &str), &control::TunnelRow> = seen.iter().map(|row| ((&*row.tenant, &*row.tunnel), row)).collect();
    let clocks = view.relay.workers.clocks();
    let since = |tenant: &str, tunnel: &str| view.relay.state().registry.configured_since(tenant, tunnel).unwrap_or(view.relay.started);
    let mut rows: Vec<TunnelRow> = view.tenants().flat_map(|entry| tunnel_rows(entry, &seen, clocks, since)).collect();
    let setup = Arc::clone(&view.relay.state().setup);
    let tenants: HashMap<&str, &Tenant> = setup.model.tenants.iter().map(|tenant| (&*tenant.id, &**tenant)).collect();
    for row in rows.iter_mut().filter(|row| row.kind == "ipsec") {
        let policy = tenants.get(&*row.tenant).map_or_else(|| "-".to_owned(), |tenant| tenant.crypto_policy(&row.tunnel));
        let Some(status) = view.relay.ipsec.status(&row.tenant, &row.tunnel) else { continue };
        let sas = seen.get(&(&*row.tenant, &*row.tunnel)).map_or(&[][..], |seen| &seen.sas);
        add_ipsec(row, ipsec::row(&status, sas, policy, clocks));
    }
    Ok(view.answer(rows))
}

const fn kind(kind: &TunnelKind) -> &'static str {
    match kind {
        TunnelKind::WireGuard { .. } => "wireguard",
        TunnelKind::Ipsec => "ipsec",
    }
}

/// What failed in key exchange says more than that there is no SA.
fn add_ipsec(row: &mut TunnelRow, ipsec: IpsecRow) {
    row.peer = row.peer.or(ipsec.peer);
    row.last_handshake = row.last_handshake.or(ipsec.established);
    if let (false, Some(error)) = (row.state == "up", &ipsec.last_error) {
        let who = if error.proven { "" } else { " (not proven to be this router)" };
        row.reason = format!("{}{who}: {}.", error.words, error.remedy);
    }
    row.ipsec = Some(ipsec);
}

/// Every configured tunnel has a row, whatever the worker knows of it.
fn tunnel_rows(
    entry: &TenantEntry,
    seen: &HashMap<(&str, &str), &control::TunnelRow>,
    clocks: Clocks,
    configured_since: impl Fn(&str, &str) -> time::OffsetDateTime,
) -> Vec<TunnelRow> {
    let tunnels = entry.config.tunnels.iter().zip(&entry.tunnel_counters);
    let row = |(tunnel, counters): (&dataplane::router_config::TunnelConfig, &Arc<dataplane::counters::TunnelCounters>)| {
        let row = seen.get(&(&*entry.config.name, &*tunnel.name));
        let up = row.is_some_and(|row| row.up);
        let missing = "The worker has not set this tunnel up yet; ask again in a second.";
        let wall = |instant| clocks.wall_at(instant);
        TunnelRow {
            tenant: entry.config.name.to_string(),
            tunnel: tunnel.name.to_string(),
            kind: kind(&tunnel.kind).to_owned(),
            state: if up { "up" } else { "down" }.to_owned(),
            since: row.and_then(|row| row.changed_at).map_or_else(|| configured_since(&entry.config.name, &tunnel.name), wall),
            reason: row.map_or(missing, |row| row.down_reason).to_owned(),
            carries: row.map_or(Carries::Nothing, |row| row.carries).label().to_owned(),
            peer: row.and_then(|row| row.peer),
            last_handshake: row.and_then(|row| row.handshake_at).map(wall),
            last_heard: row.and_then(|row| row.heard_at).map(wall),
            handshakes: counters.handshakes.get(),
            office_to_cloud: (&counters.received).into(),
            cloud_to_office: (&counters.transmitted).into(),
            ipsec: None,
        }
    };
    tunnels.map(row).collect()
}

pub(super) async fn sessions(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<SessionRow> {
    let view = View::new(relay, viewer, filter)?;
    let busy: Vec<Arc<str>> =
        view.tenants().filter(|entry| entry.counters.sessions.get() > 0).map(|e| Arc::clone(&e.config.name)).collect();
    let (mut rows, mut truncated) = (Vec::new(), false);
    for tenant in busy {
        if rows.len() >= SESSIONS_LIMIT {
            truncated = true;
            break;
        }
        let request = |from| SnapshotRequest::Sessions { tenant: Arc::clone(&tenant), from };
        let of_worker = |rows| if let SnapshotRows::Sessions(rows) = rows { rows } else { Vec::new() };
        let sessions = view.relay.workers.snapshot(request, of_worker).await?;
        let now = clock::now();
        rows.extend(sessions.iter().map(|session| session_row(&tenant, session, now)));
    }
    let Json(answer) = view.answer(rows);
    Ok(Json(Answer { truncated, ..answer }))
}

fn session_row(tenant: &str, row: &control::SessionRow, now: time::OffsetDateTime) -> SessionRow {
    let traffic = |direction: usize| Traffic { packets: row.packets[direction], bytes: row.bytes[direction] };
    SessionRow {
        tenant: tenant.to_owned(),
        class: row.class.label().to_owned(),
        protocol: row.protocol.to_owned(),
        opened_by: row.opened_by.to_owned(),
        rule: row.rule.to_string(),
        cloud: row.attachment.to_string(),
        office: row.office,
        office_remote: row.office_remote,
        cloud_local: row.cloud_local,
        cloud_remote: row.cloud_remote,
        state: row.state.to_owned(),
        opened: now - row.age,
        expires: now + row.expires_in,
        office_to_cloud: traffic(0),
        cloud_to_office: traffic(1),
    }
}

pub(super) async fn neighbors(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<NeighborRow> {
    let view = View::new(relay, viewer, filter)?;
    let request = |from| SnapshotRequest::Neighbors { tenant: view.wanted(), from };
    let rows =
        view.relay.workers.snapshot(request, |rows| if let SnapshotRows::Neighbors(rows) = rows { rows } else { Vec::new() }).await?;
    let now = clock::now();
    let visible = rows.iter().filter(|row| row.tenant.as_deref().map_or_else(|| view.shows_relay(), |tenant| view.shows(tenant)));
    Ok(view.answer(visible.map(|row| neighbor_row(row, now)).collect()))
}

fn neighbor_row(row: &control::NeighborRow, now: time::OffsetDateTime) -> NeighborRow {
    NeighborRow {
        port: row.port.to_string(),
        vlan: match row.vlan {
            Vlan::Untagged => "-".to_owned(),
            Vlan::Single(id) => id.get().to_string(),
            Vlan::Double { outer, inner } => format!("{}.{}", outer.get(), inner.get()),
        },
        tenant: row.tenant.as_deref().map(str::to_owned),
        address: row.address,
        mac: row.mac.map(mac),
        state: row.state.to_owned(),
        answered: row.age.map(|age| now - age),
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

pub(super) async fn drops(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<DropRow> {
    let view = View::new(relay, viewer, filter)?;
    let mut rows: Vec<DropRow> = Vec::new();
    if view.shows_relay() {
        view.router.ports.iter().for_each(|port| rows.extend(drop_rows(None, Some(&port.name), &port.counters.sum().drops)));
    }
    view.tenants().for_each(|entry| rows.extend(drop_rows(Some(&entry.config.name), None, &entry.counters.drops)));
    Ok(view.answer(rows))
}

fn drop_rows(tenant: Option<&str>, port: Option<&str>, drops: &DropCounters) -> impl Iterator<Item = DropRow> {
    drops.occurred().map(move |(reason, packets)| DropRow {
        tenant: tenant.map(str::to_owned),
        port: port.map(str::to_owned),
        stage: reason.stage().label().to_owned(),
        reason: reason.label().to_owned(),
        packets,
        help: reason.help().to_owned(),
    })
}

pub(super) async fn ports(State(relay): State<Arc<Relay>>, viewer: Viewer) -> Shown<PortRow> {
    let view = View::new(relay, viewer, Filter { tenant: None })?;
    if !view.shows_relay() {
        return Ok(view.answer(Vec::new()));
    }
    let row = |(port, nic): (&dataplane::router_config::PortConfig, &dataplane::nic::NicDescription)| {
        let counters = port.counters.sum();
        PortRow {
            port: port.name.to_string(),
            interface: nic.interface.clone(),
            driver: nic.driver.to_owned(),
            mode: nic.mode.clone(),
            reason: nic.reason.clone(),
            mac: mac(nic.mac),
            mtu: port.mtu,
            received: (&counters.received).into(),
            transmitted: (&counters.transmitted).into(),
            dropped_packets: counters.drops.total(),
            nic_receive_lost: counters.nic_receive_lost.get(),
        }
    };
    Ok(view.answer(view.router.ports.iter().zip(&view.relay.nics).map(row).collect()))
}

pub(super) async fn isolations(State(relay): State<Arc<Relay>>, viewer: Viewer, Query(filter): Query<Filter>) -> Shown<IsolationRow> {
    let view = View::new(relay, viewer, filter)?;
    let state = view.relay.state();
    let shown = state.isolations.list().iter().filter(|isolation| view.shows(&isolation.scope.tenant));
    let rows = shown.map(|isolation| IsolationRow { isolation: isolation.clone(), matches: state.matches(&isolation.scope) }).collect();
    drop(state);
    Ok(view.answer(rows))
}
