//! What people see of key exchange: rows made of the engine's state, and the last negotiation with somebody.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use dataplane::tunnel::esp::sa::SaRow;
use ike::{ChildStatus, IkeStatus, LastError, Negotiation, PeerState, PeerStatus};
use serde::Deserialize;
use time::OffsetDateTime;

use super::ApiError;
use super::rows::{Answer, IkeErrorRow, IpsecRow, IpsecSaRow, NegotiationRow, Traffic};
use super::viewer::Viewer;
use crate::clock::{self, Clocks};
use crate::relay::Relay;

/// The moment of the engine's clock, which is the workers'.
fn wall(clocks: Clocks, at: ike::Instant) -> OffsetDateTime {
    clocks.wall_at(dataplane::time::Instant::from_nanos(at.as_nanos()))
}

/// What key exchange and the worker know of one tunnel.
pub(super) fn row(status: &PeerStatus, sas: &[SaRow], policy: String, clocks: Clocks) -> IpsecRow {
    let ike = status.ike.as_ref();
    let of_worker: HashMap<u32, &SaRow> = sas.iter().map(|sa| (sa.inbound_spi, sa)).collect();
    IpsecRow {
        phase: phase(status.state).to_owned(),
        since: wall(clocks, status.since),
        policy,
        suite: ike.map(|ike| ike.suite.clone()),
        opened_by: ike.map(|ike| if ike.initiator { "relay" } else { "peer" }.to_owned()),
        peer: ike.map(|ike| SocketAddr::V4(ike.peer)),
        nat: ike.map(|ike| nat(ike).to_owned()),
        ike_spis: ike.map(|ike| [format!("{:016x}", ike.initiator_spi), format!("{:016x}", ike.responder_spi)]),
        psk: ike.and_then(|ike| ike.psk_index).map(|index| if index == 0 { "new" } else { "previous" }.to_owned()),
        established: ike.map(|ike| wall(clocks, ike.established)),
        rekey_at: ike.map(|ike| wall(clocks, ike.rekey_at)),
        sas: status.children.iter().map(|child| sa_row(child, of_worker.get(&child.inbound_spi).copied(), clocks)).collect(),
        last_error: status.last_error.as_ref().map(|error| error_row(error, clocks)),
        next_try: status.next_try.map(|at| wall(clocks, at)),
    }
}

const fn phase(state: PeerState) -> &'static str {
    match state {
        PeerState::Down => "down",
        PeerState::Connecting => "connecting",
        PeerState::Authenticated => "authenticated",
        PeerState::Up => "up",
    }
}

const fn nat(ike: &IkeStatus) -> &'static str {
    match (ike.peer_behind_nat, ike.we_behind_nat) {
        (false, false) => "none",
        (true, false) => "peer",
        (false, true) => "relay",
        (true, true) => "both",
    }
}

/// What the worker does not know (any more) counts nothing.
fn sa_row(child: &ChildStatus, of_worker: Option<&SaRow>, clocks: Clocks) -> IpsecSaRow {
    let traffic = |pick: fn(&SaRow) -> (u64, u64)| {
        let (packets, bytes) = of_worker.map_or((0, 0), pick);
        Traffic { packets, bytes }
    };
    IpsecSaRow {
        inbound_spi: format!("{:08x}", child.inbound_spi),
        outbound_spi: format!("{:08x}", child.outbound_spi),
        suite: child.suite.clone(),
        encapsulation: match child.encapsulation {
            ike::Encapsulation::Udp { .. } => "udp",
            ike::Encapsulation::Ip { .. } => "esp",
        }
        .to_owned(),
        in_use: of_worker.is_some_and(|sa| sa.in_use),
        selectors: child.selectors.iter().map(selector).collect(),
        established: wall(clocks, child.established),
        rekey_at: wall(clocks, child.rekey_at),
        office_to_cloud: traffic(|sa| sa.received),
        cloud_to_office: traffic(|sa| sa.transmitted),
    }
}

/// `198.51.100.16-198.51.100.31 <-> 203.0.113.0-203.0.113.63`, with protocol and ports where these are not all.
fn selector(selector: &ike::Selector) -> String {
    let side = |addresses: &std::ops::RangeInclusive<Ipv4Addr>, ports: &std::ops::RangeInclusive<u16>| {
        let (first, last) = (addresses.start(), addresses.end());
        let addresses = if first == last { first.to_string() } else { format!("{first}-{last}") };
        if *ports == (0..=u16::MAX) { addresses } else { format!("{addresses}:{}-{}", ports.start(), ports.end()) }
    };
    let office = side(&selector.office, &selector.office_ports);
    let far = side(&selector.far, &selector.far_ports);
    let protocol = if selector.protocol == 0 { String::new() } else { format!(" protocol {}", selector.protocol) };
    format!("{office} <-> {far}{protocol}")
}

fn error_row(error: &LastError, clocks: Clocks) -> IkeErrorRow {
    IkeErrorRow {
        at: wall(clocks, error.at),
        reason: error.failure.label().to_owned(),
        words: error.words.clone(),
        remedy: error.remedy.clone(),
        proven: error.proven,
    }
}

/// Whose last negotiation is asked for.
#[derive(Deserialize)]
pub(super) struct Subject {
    tenant: Option<String>,
    peer: Option<Ipv4Addr>,
}

/// The last negotiation about each tunnel of a tenant, or with an address. Before an identity is proven an address is nobody's, so only
/// those may ask by address who see the whole relay.
pub(super) async fn explain(
    State(relay): State<Arc<Relay>>,
    viewer: Viewer,
    Query(subject): Query<Subject>,
) -> Result<Json<Answer<NegotiationRow>>, ApiError> {
    let found = match (&subject.tenant, subject.peer) {
        (Some(tenant), None) => of_tenant(&relay, &viewer, tenant)?,
        (None, Some(_)) if !viewer.sees_relay() => {
            return Err(ApiError::new(StatusCode::FORBIDDEN, "only operators and auditors may ask by address: name your tenant"));
        }
        (None, Some(address)) => relay.ipsec.explain_address(address).into_iter().map(|found| (None, found)).collect(),
        _ => return Err(ApiError::new(StatusCode::BAD_REQUEST, "name either a tenant or the address of a peer")),
    };
    let clocks = relay.workers.clocks();
    let rows = found.into_iter().map(|(tunnel, negotiation)| negotiation_row(tunnel, &negotiation, clocks)).collect();
    let relay = relay.state().setup.model.name.clone();
    Ok(Json(Answer { relay, now: clock::now(), rows, truncated: false }))
}

/// The same answer for a tenant that does not exist and for a foreign one.
fn of_tenant(relay: &Relay, viewer: &Viewer, tenant: &str) -> Result<Vec<(Option<String>, Negotiation)>, ApiError> {
    let setup = Arc::clone(&relay.state().setup);
    let tenant = setup.model.tenant(tenant).filter(|tenant| viewer.sees(&tenant.id)).ok_or_else(ApiError::no_such_tenant)?;
    let tunnels = tenant.tunnels.iter();
    Ok(tunnels.filter_map(|tunnel| Some((Some(tunnel.name.clone()), relay.ipsec.explain(&tenant.id, &tunnel.name)?))).collect())
}

fn negotiation_row(tunnel: Option<String>, negotiation: &Negotiation, clocks: Clocks) -> NegotiationRow {
    NegotiationRow {
        at: wall(clocks, negotiation.at),
        address: SocketAddr::V4(negotiation.address),
        tenant: negotiation.peer.as_ref().map(|peer| peer.tenant.to_string()),
        tunnel: tunnel.or_else(|| negotiation.peer.as_ref().map(|peer| peer.tunnel.to_string())),
        opened_by: if negotiation.initiator { "relay" } else { "peer" }.to_owned(),
        claimed: negotiation.claimed.as_ref().map(ToString::to_string),
        proposed: negotiation.proposed.clone(),
        accepted: negotiation.accepted.clone(),
        child_proposed: negotiation.child_proposed.clone(),
        child_accepted: negotiation.child_accepted.clone(),
        selectors_proposed: negotiation.selectors_proposed.clone(),
        steps: negotiation.steps.clone(),
        error: negotiation.error.as_ref().map(|error| error_row(error, clocks)),
    }
}
