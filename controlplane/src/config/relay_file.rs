//! The relay file: tree -> values with positions, before any reference is looked up.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::bit_rate::bit_rate;
use super::fields::{Field, Listed, MapReader, Spanned, each, entries, expected, one_or_many};
use super::ipsec_fields::{self, IpsecEndpointEntry};
use super::ipv6;
use super::model::{CryptoPolicy, Driver, Hardening, Role};
use super::problem::{Problems, quoted};
use super::scalars::{self, identifier, integer, prefix};
use super::tree::{Key, Node, Value};

/// RFC 791 asks for 576 of everybody; below it a port carries nothing useful. Above stands what fits into a frame of the
/// data plane beside an Ethernet header with two tags (22 bytes).
#[expect(clippy::cast_possible_wrap, reason = "a frame has 2 KiB")]
const PORT_MTU_BYTES: std::ops::RangeInclusive<i64> = 576..=(dataplane::packet::MAX_PACKET as i64 - 22);
/// 2 KiB each: 2 MiB to 4 GiB.
const FRAMES: std::ops::RangeInclusive<i64> = 1_024..=2_097_152;
/// Each worker is a thread that keeps a processor busy under load.
#[expect(clippy::cast_possible_wrap, reason = "sixteen")]
const WORKERS: std::ops::RangeInclusive<i64> = 1..=(dataplane::router_config::MAX_WORKERS as i64);
const MOST_PORTS: usize = 64;
const MOST_ENDPOINTS: usize = 64;
const MOST_PREFIXES: usize = 256;
const MOST_VIEWERS: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct RelayFile {
    pub(super) name: Field<String>,
    pub(super) ports: Field<Listed<(Key, PortEntry)>>,
    pub(super) endpoints: Field<Listed<Spanned<EndpointEntry>>>,
    pub(super) shared_addresses: Field<Vec<Spanned<Ipv4Network>>>,
    pub(super) conventional_lgwan: Field<Vec<Spanned<Ipv4Network>>>,
    pub(super) metrics: Field<MetricsEntry>,
    pub(super) api: Field<ApiEntry>,
    pub(super) state: Field<PathBuf>,
    pub(super) frames: Field<u32>,
    pub(super) capacity: Field<NonZeroU64>,
    pub(super) workers: Field<usize>,
    pub(super) hardening: Field<Hardening>,
    /// Of tenants that name none.
    pub(super) crypto_policy: Field<CryptoPolicy>,
    /// Glob, relative to the relay file.
    pub(super) tenants: Field<String>,
}

#[derive(Debug)]
pub(super) struct PortEntry {
    pub(super) interface: Field<String>,
    pub(super) address: Field<Ipv4Network>,
    pub(super) gateway: Field<Ipv4Addr>,
    pub(super) address6: Field<Ipv6Network>,
    pub(super) gateway6: Field<Ipv6Addr>,
    pub(super) mtu: Field<u16>,
    pub(super) driver: Field<Driver>,
}

#[derive(Debug)]
pub(super) struct EndpointEntry {
    pub(super) name: Field<String>,
    pub(super) port: Field<String>,
    pub(super) wireguard: Field<WireGuardEndpointEntry>,
    pub(super) ipsec: Field<IpsecEndpointEntry>,
}

#[derive(Debug)]
pub(super) struct WireGuardEndpointEntry {
    pub(super) listen: Field<NonZeroU16>,
    pub(super) private_key_file: Field<PathBuf>,
}

#[derive(Debug)]
pub(super) struct MetricsEntry {
    pub(super) listen: Field<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct ApiEntry {
    pub(super) socket: Field<PathBuf>,
    pub(super) viewers: Field<Listed<Spanned<ViewerEntry>>>,
}

#[derive(Debug)]
pub(super) struct ViewerEntry {
    pub(super) name: Field<String>,
    pub(super) uid: Field<u32>,
    pub(super) role: Field<Role>,
    pub(super) tenants: Field<Vec<Spanned<String>>>,
}

/// Reads what can be read; the rest has its problems.
pub(super) fn read(root: &Node, problems: &mut Problems) -> RelayFile {
    let Some(mut map) = MapReader::open("the relay file", root, problems) else {
        return RelayFile { ports: Field::Invalid, endpoints: Field::Invalid, ..RelayFile::default() };
    };
    let name = map.required("relay", problems, identifier);
    let ports = map.required("ports", problems, ports);
    let endpoints = map.required("endpoints", problems, |node, problems| each(MOST_ENDPOINTS, node, problems, endpoint));
    let prefixes = |node: &Node, problems: &mut Problems| one_or_many(MOST_PREFIXES, node, problems, prefix);
    let file = RelayFile {
        name,
        ports,
        endpoints,
        shared_addresses: map.optional("shared_addresses", problems, prefixes),
        conventional_lgwan: map.optional("conventional_lgwan", problems, prefixes),
        metrics: map.optional("metrics", problems, metrics),
        api: map.optional("api", problems, api),
        state: map.optional("state", problems, scalars::path),
        frames: map.optional("frames", problems, integer("the number of 2 KiB frames", FRAMES)),
        capacity: map.optional("capacity", problems, bit_rate),
        workers: map.optional("workers", problems, integer("the number of workers", WORKERS)),
        hardening: map.optional("hardening", problems, hardening),
        crypto_policy: map.optional("crypto_policy", problems, ipsec_fields::crypto_policy),
        tenants: map.required("tenants", problems, glob_pattern),
    };
    map.finish(problems);
    file
}

/// A mapping whose keys are names that the user chose.
pub(super) fn named<T>(
    what: &str,
    limit: usize,
    node: &Node,
    problems: &mut Problems,
    mut read: impl FnMut(&Node, &mut Problems) -> Option<T>,
) -> Option<Listed<(Key, T)>> {
    let entries = entries(what, node, problems)?;
    if entries.is_empty() || entries.len() > limit {
        problems.error(&node.at, format!("has {} entries; 1 to {limit} are allowed", entries.len()));
        return None;
    }
    let found = entries
        .iter()
        .map(|(key, node)| {
            let value = read(node, problems);
            if scalars::is_identifier(&key.name) {
                return value.map(|value| (key.clone(), value));
            }
            problems.error(&key.at, format!("{} is not a name for commands and metrics", quoted(&key.name))).help(scalars::IDENTIFIER_HELP);
            None
        })
        .collect();
    Some(Listed::of(found))
}

fn ports(node: &Node, problems: &mut Problems) -> Option<Listed<(Key, PortEntry)>> {
    named("ports", MOST_PORTS, node, problems, |node, problems| {
        let mut map = MapReader::open("a port", node, problems)?;
        let port = PortEntry {
            interface: map.required("interface", problems, interface),
            address: map.optional("address", problems, scalars::interface_address),
            gateway: map.optional("gateway", problems, scalars::ipv4),
            address6: map.optional("address6", problems, ipv6::interface_address),
            gateway6: map.optional("gateway6", problems, ipv6::gateway),
            mtu: map.optional("mtu", problems, integer("the MTU in bytes", PORT_MTU_BYTES)),
            driver: map.optional("driver", problems, scalars::driver),
        };
        map.finish(problems);
        Some(port)
    })
}

/// The kernel's rules for names of network interfaces (IFNAMSIZ is 16 with the final zero).
fn interface(node: &Node, problems: &mut Problems) -> Option<String> {
    const WHAT: &str = "the name of a network interface such as ens4";
    let Value::Text(name) = &node.value else {
        expected(WHAT, node, problems);
        return None;
    };
    let fits = (1..16).contains(&name.len()) && name != "." && name != "..";
    if !fits || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        expected(&format!("{WHAT} (at most 15 bytes)"), node, problems);
        return None;
    }
    Some(name.clone())
}

fn endpoint(node: &Node, problems: &mut Problems) -> Option<EndpointEntry> {
    let mut map = MapReader::open("an endpoint", node, problems)?;
    let entry = EndpointEntry {
        name: map.required("name", problems, identifier),
        port: map.required("port", problems, identifier),
        wireguard: map.optional("wireguard", problems, wireguard),
        ipsec: map.optional("ipsec", problems, ipsec_fields::endpoint),
    };
    ipsec_fields::check_one_kind(&map, problems);
    map.finish(problems);
    Some(entry)
}

fn wireguard(node: &Node, problems: &mut Problems) -> Option<WireGuardEndpointEntry> {
    let mut map = MapReader::open("`wireguard`", node, problems)?;
    let entry = WireGuardEndpointEntry {
        listen: map.required("listen", problems, scalars::port_number),
        private_key_file: map.required("private_key_file", problems, scalars::path),
    };
    map.finish(problems);
    Some(entry)
}

fn metrics(node: &Node, problems: &mut Problems) -> Option<MetricsEntry> {
    let mut map = MapReader::open("`metrics`", node, problems)?;
    let listen = map.required("listen", problems, scalars::socket_address);
    map.finish(problems);
    Some(MetricsEntry { listen })
}

fn api(node: &Node, problems: &mut Problems) -> Option<ApiEntry> {
    let mut map = MapReader::open("`api`", node, problems)?;
    let entry = ApiEntry {
        socket: map.required("socket", problems, socket),
        viewers: map.optional("viewers", problems, |node, problems| each(MOST_VIEWERS, node, problems, viewer)),
    };
    map.finish(problems);
    Some(entry)
}

fn socket(node: &Node, problems: &mut Problems) -> Option<PathBuf> {
    /// `sun_path` of Linux, without its final zero.
    const LONGEST_BYTES: usize = 107;
    let path = scalars::path(node, problems)?;
    if path.as_os_str().len() > LONGEST_BYTES {
        problems.error(&node.at, format!("the path of a socket has at most {LONGEST_BYTES} bytes"));
        return None;
    }
    Some(path)
}

fn viewer(node: &Node, problems: &mut Problems) -> Option<ViewerEntry> {
    let mut map = MapReader::open("a viewer", node, problems)?;
    if map.has("role") == map.has("tenants") {
        problems
            .error(&node.at, "a viewer has either a `role` or a list of `tenants`")
            .help("write `tenants: [131016-chiyoda]`, `role: auditor` or `role: operator`");
    }
    let entry = ViewerEntry {
        name: map.required("name", problems, identifier),
        uid: map.required("uid", problems, integer("the user id", 0..=i64::from(u32::MAX - 1))),
        role: map.optional("role", problems, role),
        tenants: map.optional("tenants", problems, |node, problems| one_or_many(MOST_VIEWERS, node, problems, identifier)),
    };
    map.finish(problems);
    Some(entry)
}

fn role(node: &Node, problems: &mut Problems) -> Option<Role> {
    match &node.value {
        Value::Text(text) if text == "auditor" => Some(Role::Auditor),
        Value::Text(text) if text == "operator" => Some(Role::Operator),
        _ => {
            expected("auditor or operator", node, problems);
            None
        }
    }
}

fn hardening(node: &Node, problems: &mut Problems) -> Option<Hardening> {
    let all = [Hardening::Required, Hardening::BestEffort];
    let found = all.into_iter().find(|hardening| matches!(&node.value, Value::Text(text) if text == hardening.label()));
    if found.is_none() {
        expected("required or best-effort", node, problems);
    }
    found
}

fn glob_pattern(node: &Node, problems: &mut Problems) -> Option<String> {
    let path = scalars::path(node, problems)?;
    let text = path.to_str()?;
    if let Err(error) = glob::Pattern::new(text) {
        problems.error(&node.at, format!("is not a pattern: {}", error.msg)).help("write something like tenants/*.yaml");
        return None;
    }
    Some(text.to_owned())
}
