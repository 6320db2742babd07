//! The relay file by itself, and the tenants that its viewers name.

use std::collections::{HashMap, HashSet};

use ipnetwork::Ipv4Network;

use super::super::fields::{self, Spanned};
use super::super::ipv6;
use super::super::problem::{At, Problems};
use super::super::relay_file::{EndpointEntry, PortEntry, ViewerEntry};
use super::super::scalars::short;
use super::super::tree::Key;
use super::super::{RelaySide, resolve};
use super::{
    LARGEST_ESP_OVERHEAD_BYTES, RelayNames, SMALLEST_TUNNEL_MTU_BYTES, Tenants, check_unique, clouds, relay_ipsec, wireguard_overhead_bytes,
};

pub(super) fn check(side: &RelaySide, names: &RelayNames<'_>, problems: &mut Problems) {
    let relay = &side.file;
    check_ports(relay.ports.entries(), problems);
    let endpoints = relay.endpoints.entries();
    check_unique("endpoint", endpoints.iter().filter_map(|entry| entry.value.name.given()), problems);
    check_listen(endpoints, problems);
    relay_ipsec::check(relay, problems);
    for entry in endpoints {
        check_endpoint_port(&entry.value, names, problems);
    }
    check_workers(side, problems);
    check_shared_addresses(side, problems);
}

fn check_ports(ports: &[(Key, PortEntry)], problems: &mut Problems) {
    let mut interfaces: HashMap<&str, &str> = HashMap::new();
    for (key, port) in ports {
        if let Some(interface) = port.interface.given()
            && let Some(first) = interfaces.insert(&interface.value, &key.name)
        {
            problems
                .error(&interface.at, format!("the interface {} is taken by port `{first}`", interface.value))
                .help("a port takes its interface wholly over: name another one");
        }
        clouds::check_subnet(&port.address, &port.gateway, problems);
        if let (true, Some(gateway)) = (port.address.is_absent(), port.gateway.given()) {
            problems
                .error(&gateway.at, "a gateway without an address of the relay's own")
                .help("add `address: ...` to the port, or remove the gateway");
        }
        check_ipv6(port, problems);
    }
}

fn check_ipv6(port: &PortEntry, problems: &mut Problems) {
    ipv6::check_subnet(&port.address6, &port.gateway6, problems);
    if let (true, Some(gateway)) = (port.address6.is_absent(), port.gateway6.given()) {
        problems
            .error(&gateway.at, "an IPv6 gateway without an IPv6 address of the relay's own")
            .help("add `address6: ...` to the port, or remove the gateway");
    }
    if let (true, Some(address)) = (port.address.is_absent(), port.address6.given()) {
        problems
            .error(&address.at, "an IPv6 address on a port without an IPv4 one")
            .help("add `address: ...` to the port: a port that ends tunnels has both, or IPv4 alone");
    }
}

fn check_listen(endpoints: &[Spanned<EndpointEntry>], problems: &mut Problems) {
    let mut seen: HashMap<(&str, u16), &At> = HashMap::new();
    for entry in endpoints {
        let Some(listen) = entry.value.wireguard.value().and_then(|wireguard| wireguard.listen.given()) else { continue };
        let Some(port) = entry.value.port.value() else { continue };
        if let Some(first) = seen.insert((port, listen.value.get()), &listen.at) {
            problems
                .error(&listen.at, format!("UDP port {} is taken on port `{port}`", listen.value))
                .help(format!("the endpoint at {} listens there already", first.place()));
        }
    }
}

fn check_endpoint_port(entry: &EndpointEntry, names: &RelayNames<'_>, problems: &mut Problems) {
    let (Some(port), Some(name)) = (names.ports.find(&entry.port, problems), entry.port.given()) else { return };
    if port.address.is_absent() {
        problems
            .error(&name.at, format!("port `{}` has no address for tunnels to end at", name.value))
            .help("add `address: ADDRESS/LENGTH` (and `gateway`) to the port");
    }
    let over_ipv6 = !port.address6.is_absent();
    let (kind, overhead) = match (entry.ipsec.is_absent(), over_ipv6) {
        (true, false) => ("WireGuard over IPv4", wireguard_overhead_bytes(false)),
        (true, true) => ("WireGuard over IPv6", wireguard_overhead_bytes(true)),
        (false, _) => ("ESP in UDP", LARGEST_ESP_OVERHEAD_BYTES),
    };
    let needed = SMALLEST_TUNNEL_MTU_BYTES + overhead;
    if let (Some(mtu), Some(given)) = (resolve::port_mtu(port), port.mtu.given())
        && mtu < needed
    {
        problems
            .error(
                &given.at,
                format!("an MTU of {mtu} cannot carry the tunnels of endpoint `{}`", entry.name.value().map_or("?", |name| name)),
            )
            .help(format!("{kind} takes {overhead} bytes and {SMALLEST_TUNNEL_MTU_BYTES} must remain: at least {needed}"));
    }
}

/// Our own bound: with fewer, those that lie in its ports' rings leave a worker none to work with.
const FRAMES_PER_WORKER: u32 = 1_024;

/// More workers than processors wait for each other.
fn check_workers(side: &RelaySide, problems: &mut Problems) {
    let processors = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    if let Some(workers) = side.file.workers.given()
        && workers.value > processors
    {
        problems
            .warning(&workers.at, format!("{} workers share {processors} processors", workers.value))
            .help("they get in each other's way: at most one worker for each processor that this machine has");
    }
    check_frames(side, problems);
}

/// The rings of a worker's ports hold some hundred frames before the first packet comes.
fn check_frames(side: &RelaySide, problems: &mut Problems) {
    let workers = side.file.workers.given().map_or(1, |workers| workers.value);
    let needed = FRAMES_PER_WORKER * u32::try_from(workers).expect("sixteen at most");
    if let Some(frames) = side.file.frames.given()
        && frames.value < needed
    {
        problems
            .error(&frames.at, format!("{} frames are too few for {workers} workers", frames.value))
            .help(format!("write at least `frames: {needed}` ({FRAMES_PER_WORKER} for each), or leave `frames` out"));
    }
}

fn check_shared_addresses(side: &RelaySide, problems: &mut Problems) {
    let conventional: Vec<Ipv4Network> = side.file.conventional_lgwan.value().into_iter().flatten().map(|block| block.value).collect();
    for shared in side.file.shared_addresses.value().into_iter().flatten() {
        if let Some(block) = conventional.iter().find(|block| block.overlaps(shared.value)) {
            problems
                .error(&shared.at, format!("{} overlaps conventional_lgwan {}", short(shared.value), short(*block)))
                .help("an address is either shared through the relay or conventional LGWAN's (従来のLGWAN通信)");
        }
    }
}

/// Who may look, and that the tenants they may look at are there.
pub(super) fn check_viewers(side: &RelaySide, tenants: &Tenants<'_>, problems: &mut Problems) {
    let api = side.file.api.value();
    let viewers: Vec<&ViewerEntry> = api.map_or(&[] as &[_], |api| api.viewers.entries()).iter().map(|viewer| &viewer.value).collect();
    check_unique("viewer", viewers.iter().filter_map(|viewer| viewer.name.given()), problems);
    let mut users: HashMap<u32, &At> = HashMap::new();
    for uid in viewers.iter().filter_map(|viewer| viewer.uid.given()) {
        if let Some(first) = users.insert(uid.value, &uid.at) {
            problems
                .error(&uid.at, format!("user {} is another viewer already", uid.value))
                .help(format!("see {}: join the two, or give each contractor a user of its own", first.place()));
        }
    }
    // A tenant file that could not be read may define any name.
    let ids: Option<HashSet<&str>> = tenants.facts.iter().map(|tenant| tenant.id.value().map(String::as_str)).collect();
    let Some(ids) = ids.filter(|_| !tenants.some_unreadable) else { return };
    for name in viewers.iter().filter_map(|viewer| viewer.tenants.value()).flatten() {
        if !ids.contains(name.value.as_str()) {
            let mut known: Vec<&str> = ids.iter().copied().collect();
            known.sort_unstable();
            let help = fields::help_for_unknown(&name.value, known.into_iter(), "tenants");
            problems.error(&name.at, format!("there is no tenant `{}`", name.value)).help(help);
        }
    }
}
