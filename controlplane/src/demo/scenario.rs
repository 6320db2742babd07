//! What the municipalities do: work with their own cloud, and try to get into another's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use super::canary::Canary;
use super::error::DemoError;
use super::links::Links;
use super::namespaces::Namespace;
use super::plan::{PRINTER_PORT, TCP_PORT, UDP_PORT};
use super::relay::RunningRelay;
use super::report::{Crossing, TenantReport};
use super::topology::Place;
use super::traffic::{Body, Client, FileServer, NameServer, Printer, Transfer, ping, tcp, udp};
use super::vlan::VlanTag;

/// How long any exchange that should work may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a try that should fail waits for an answer.
const CROSSING_PATIENCE: Duration = Duration::from_millis(400);
/// How far the relay's published numbers may lag behind.
const COUNTED_WITHIN: Duration = Duration::from_millis(200);
/// Payload of a ping, in bytes; enough for a canary.
const PING_LENGTH: usize = 120;

/// A municipality's servers, in its cloud and its office. Dropping them stops them.
#[derive(Debug)]
pub struct Services {
    printer: Printer,
    _register: FileServer,
    _documents: FileServer,
    _names: NameServer,
}

impl Services {
    /// Starts a municipality's servers.
    ///
    /// # Errors
    /// When an address is taken.
    pub fn start(place: &Place) -> Result<Self, DemoError> {
        let one = &place.municipality;
        let at = SocketAddrV4::new;
        Ok(Self {
            _register: FileServer::start(&place.cloud, at(one.cloud.register, TCP_PORT), &one.canary(), seed_of(one.vlan))?,
            _documents: FileServer::start(
                &place.cloud,
                at(one.cloud.documents, TCP_PORT),
                &one.lgwan_connected_canary(),
                seed_of(one.vlan),
            )?,
            _names: NameServer::start(&place.cloud, at(one.cloud.register, UDP_PORT), &one.canary())?,
            printer: Printer::start(&place.office, at(one.office.mynumber_desk, PRINTER_PORT))?,
        })
    }
}

/// One round of a municipality's work: registers and documents up and down, a question, a ping, a print job from the
/// cloud. `bytes` is the size of each transfer. What fails is told in `problems`.
pub fn work(place: &Place, services: &Services, bytes: u64, problems: &mut Vec<String>) -> TenantReport {
    let one = &place.municipality;
    let desk = client(&place.office, one.office.mynumber_desk, PATIENCE);
    let documents_desk = client(&place.office, one.office.lgwan_connected_desk, PATIENCE);
    let register = SocketAddrV4::new(one.office.register, TCP_PORT);
    let documents = SocketAddrV4::new(one.office.documents, TCP_PORT);
    let body = Body::new(one.canary(), seed_of(one.vlan), bytes);
    let papers = Body::new(one.lgwan_connected_canary(), seed_of(one.vlan), bytes);
    let mut note = |error: DemoError| problems.push(format!("{}: {error}", one.tenant));
    let transfers = [
        tcp::download(&desk, register, &body),
        tcp::upload(&desk, register, &body),
        tcp::download(&documents_desk, documents, &papers),
        print(place, services, &body),
    ]
    .map(|result| result.map_err(&mut note).ok());
    let asked = udp::ask(&desk, SocketAddrV4::new(one.office.register, UDP_PORT), &one.canary()).map_err(&mut note);
    let pinged = ping(&desk, one.office.register, &one.canary(), PING_LENGTH).map_err(&mut note);
    TenantReport {
        tenant: one.tenant.clone(),
        kind: one.kind.label(),
        tunnel: "up",
        tcp_bytes: transfers.iter().flatten().map(|transfer| transfer.bytes).sum(),
        tcp_sha256_ok: transfers.iter().all(|transfer| transfer.is_some_and(|transfer| transfer.sha256_ok)),
        udp_ok: asked.unwrap_or(false),
        ping_ok: pinged.is_ok_and(|outcome| outcome.is_reply()),
    }
}

/// Sends a job from the cloud to the office's printer, which must see it come from the shared global address.
fn print(place: &Place, services: &Services, body: &Body) -> Result<Transfer, DemoError> {
    let one = &place.municipality;
    let server = client(&place.cloud, one.cloud.print_server, PATIENCE);
    let start = Instant::now();
    tcp::print(&server, SocketAddrV4::new(one.cloud.printer, PRINTER_PORT), body)?;
    let elapsed = start.elapsed();
    let job = services.printer.take_job().ok_or_else(|| DemoError::Invalid("the printer received nothing".to_owned()))?;
    let from_shared = job.from.ip() == one.office.print_source;
    Ok(Transfer { bytes: job.bytes, sha256_ok: from_shared && job.sha256 == body.sha256(), elapsed })
}

/// Tries to get from each municipality into the next one, and from one traffic class into the other.
///
/// # Errors
/// When the tries cannot be made at all.
pub fn try_crossings(places: &[Place], relay: &dyn RunningRelay) -> Result<Vec<Crossing>, DemoError> {
    let mut crossings = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let other = &places[(number + 1) % places.len()];
        for attempt in attempts(place, other)? {
            let before = relay.snapshot().drops;
            let reached = ping(&attempt.client, attempt.target, &attempt.canary, PING_LENGTH)?.is_reply();
            let drops = await_drops(relay, &before);
            crossings.push(Crossing { attempt: attempt.text, blocked: !reached, drops });
        }
    }
    Ok(crossings)
}

/// What the relay has dropped since `before`; its numbers may be a moment behind the answer to a ping.
fn await_drops(relay: &dyn RunningRelay, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + COUNTED_WITHIN;
    loop {
        let drops = increase(before, &relay.snapshot().drops);
        if !drops.is_empty() || Instant::now() > deadline {
            return drops;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

struct Attempt {
    text: String,
    client: Client,
    target: Ipv4Addr,
    canary: Canary,
}

fn attempts(place: &Place, other: &Place) -> Result<Vec<Attempt>, DemoError> {
    let (own, foreign) = (&place.municipality, &other.municipality);
    // An address of the other office on a desk of this one: the tunnel's owner may not claim it.
    let stolen = foreign.office.mynumber_desk;
    let stolen_network = ipnetwork::Ipv4Network::from(stolen);
    // The second time it is there already.
    let _ = Links::of(&place.office)?.add_address("lan0", stolen_network);
    let names = (&own.tenant, &foreign.tenant);
    let attempt = |text: String, namespace: &Namespace, source, target, canary| Attempt {
        text,
        client: client(namespace, source, CROSSING_PATIENCE),
        target,
        canary,
    };
    let (desk, lgwan_desk) = (own.office.mynumber_desk, own.office.lgwan_connected_desk);
    let mut attempts = vec![
        attempt(
            format!("a desk of {} claims the address of one of {}", names.0, names.1),
            &place.office,
            stolen,
            own.office.register,
            own.canary(),
        ),
        attempt(
            format!("the print server of {} calls a desk of {}", names.0, names.1),
            &place.cloud,
            own.cloud.print_server,
            foreign.office.lgwan_connected_desk,
            own.canary(),
        ),
        attempt(
            format!("an lgwan-connected desk of {} calls its mynumber register", names.0),
            &place.office,
            lgwan_desk,
            own.office.register,
            own.lgwan_connected_canary(),
        ),
    ];
    if own.cloud.register != foreign.cloud.register {
        let text = format!("a desk of {} calls the private address of the register of {}", names.0, names.1);
        attempts.push(attempt(text, &place.office, desk, foreign.cloud.register, own.canary()));
    }
    Ok(attempts)
}

/// What came on top since an earlier snapshot.
fn increase(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(reason, count)| (reason.clone(), count - before.get(reason).unwrap_or(&0).min(count)));
    grown.filter(|(_, count)| *count > 0).collect()
}

fn client(namespace: &Namespace, source: Ipv4Addr, timeout: Duration) -> Client {
    Client { namespace: namespace.clone(), source, timeout }
}

/// Every municipality's bodies differ.
fn seed_of(tag: VlanTag) -> u64 {
    match tag {
        VlanTag::Single(vlan) => u64::from(vlan),
        VlanTag::Double { outer, inner } => u64::from(outer) << 16 | u64::from(inner),
    }
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
