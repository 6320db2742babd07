//! A tenant file: tree -> values with positions, before any reference is looked up.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use ipnetwork::{Ipv4Network, Ipv6Network};
use time::Date;

use super::bit_rate::bit_rate;
use super::fields::{Field, Listed, MapReader, Spanned, each, entries, expected, help_for_unknown, one_or_many};
use super::ipsec_fields::{self, IpsecPeerEntry};
use super::ipv6;
use super::model::{Allow, Class, CryptoPolicy, Filtering, Ipv6Inside, Redundancy, Vlan};
use super::problem::{At, Problems, quoted};
use super::relay_file::named;
use super::scalars::{self, identifier, integer, ipv4, name, prefix};
use super::tree::{Key, Node, Value};

const MOST_TUNNELS: usize = dataplane::router_config::MAX_TUNNELS;
const MOST_CLOUDS: usize = 16;
const MOST_PREFIXES: usize = 64;
/// Mapping slots for so many are reserved at once, for each tenant.
const MOST_SESSIONS: i64 = 200_000;
/// A flow looks long for a free port in a pool that is nearly full; more of them would take the worker from all other tenants.
const MOST_NEW_SESSIONS_PER_SECOND: i64 = 5_000;
const MOST_ALLOWED: usize = 32;
const MOST_STATIC: usize = 4_096;
pub(super) const MOST_SERVICES: usize = 256;
pub(super) const MOST_CALLBACKS: usize = 256;
/// RFC 791's least for every host, and what the largest port leaves; validation compares with the actual one.
const TUNNEL_MTU_BYTES: std::ops::RangeInclusive<i64> = 576..=1_710;
/// IEEE 802.1Q: 0 is a priority tag, 4095 is reserved.
const VLAN_IDS: std::ops::RangeInclusive<i64> = 1..=4_094;

#[derive(Debug, Default)]
pub(super) struct TenantFile {
    pub(super) id: Field<String>,
    pub(super) name: Field<String>,
    pub(super) tunnels: Field<Listed<(Key, TunnelEntry)>>,
    pub(super) office: Field<Listed<OfficeEntry>>,
    pub(super) clouds: Field<Listed<(Key, CloudEntry)>>,
    pub(super) services: Field<Listed<Spanned<ServiceEntry>>>,
    pub(super) source: Field<Listed<SourceEntry>>,
    pub(super) callbacks: Field<Listed<Spanned<CallbackEntry>>>,
    pub(super) limits: Field<LimitsEntry>,
    pub(super) rate: Field<RateEntry>,
    pub(super) crypto_policy: Field<CryptoPolicy>,
    /// Of services that name none.
    pub(super) filtering: Field<Filtering>,
    pub(super) ipv6: Field<Ipv6Inside>,
    /// The tunnel to use first.
    pub(super) prefer: Field<String>,
    pub(super) redundancy: Field<Redundancy>,
}

#[derive(Debug)]
pub(super) struct TunnelEntry {
    pub(super) endpoint: Field<String>,
    pub(super) mtu: Field<u16>,
    pub(super) wireguard: Field<WireGuardPeerEntry>,
    pub(super) ipsec: Field<IpsecPeerEntry>,
}

#[derive(Debug)]
pub(super) struct WireGuardPeerEntry {
    pub(super) public_key: Field<[u8; 32]>,
    pub(super) preshared_key_file: Field<PathBuf>,
    pub(super) endpoint_address: Field<SocketAddr>,
    pub(super) persistent_keepalive: Field<NonZeroU16>,
}

#[derive(Debug)]
pub(super) struct OfficeEntry {
    pub(super) class: Class,
    pub(super) at: At,
    /// `None` when one of them was invalid.
    pub(super) prefixes: Option<Vec<Spanned<Ipv4Network>>>,
}

#[derive(Debug)]
pub(super) struct CloudEntry {
    pub(super) port: Field<String>,
    pub(super) vlan: Field<Vlan>,
    pub(super) address: Field<Ipv4Network>,
    pub(super) gateway: Field<Ipv4Addr>,
    pub(super) address6: Field<Ipv6Network>,
}

#[derive(Debug)]
pub(super) struct ServiceEntry {
    pub(super) name: Field<String>,
    pub(super) class: Field<Class>,
    pub(super) cloud: Field<String>,
    pub(super) global: Field<Vec<Spanned<Ipv4Network>>>,
    pub(super) private: Field<Vec<Spanned<Ipv4Network>>>,
    pub(super) allow: Field<Vec<Spanned<Allow>>>,
    pub(super) filtering: Field<Filtering>,
    pub(super) hairpin: Field<bool>,
    pub(super) governance: GovernanceEntry,
}

#[derive(Debug)]
pub(super) struct CallbackEntry {
    pub(super) name: Field<String>,
    pub(super) class: Field<Class>,
    pub(super) cloud: Field<String>,
    pub(super) from: Field<Vec<Spanned<Ipv4Network>>>,
    pub(super) seen_as: Field<Ipv4Addr>,
    pub(super) to: Field<Ipv4Addr>,
    pub(super) office: Field<Ipv4Addr>,
    pub(super) allow: Field<Vec<Spanned<Allow>>>,
    pub(super) governance: GovernanceEntry,
}

#[derive(Debug)]
pub(super) struct GovernanceEntry {
    pub(super) basis: Field<String>,
    pub(super) approved_by: Field<String>,
    pub(super) valid_from: Field<Date>,
    pub(super) valid_until: Field<Date>,
}

/// One class's translation towards one cloud.
#[derive(Debug)]
pub(super) struct SourceEntry {
    pub(super) class: Class,
    pub(super) class_at: At,
    pub(super) at: At,
    /// Absent: the tenant's only cloud, or every cloud when it is the bare word `keep`.
    pub(super) cloud: Field<String>,
    pub(super) every_cloud: bool,
    /// `None` when it was invalid.
    pub(super) kind: Option<SourceKind>,
}

#[derive(Debug)]
pub(super) enum SourceKind {
    Keep,
    Napt(Vec<Spanned<Ipv4Network>>),
    Static(Vec<StaticEntry>),
}

#[derive(Debug)]
pub(super) struct StaticEntry {
    pub(super) office: Ipv4Network,
    pub(super) office_at: At,
    pub(super) cloud: Ipv4Network,
    pub(super) cloud_at: At,
}

#[derive(Debug)]
pub(super) struct LimitsEntry {
    pub(super) sessions: Field<u32>,
    pub(super) ports: Field<u32>,
    pub(super) new_sessions_per_second: Field<u32>,
}

#[derive(Debug)]
pub(super) struct RateEntry {
    pub(super) guaranteed: Field<NonZeroU64>,
    pub(super) ceiling: Field<NonZeroU64>,
}

/// Reads what can be read; the rest has its problems.
pub(super) fn read(root: &Node, problems: &mut Problems) -> TenantFile {
    let Some(mut map) = MapReader::open("a tenant file", root, problems) else {
        return TenantFile { id: Field::Invalid, office: Field::Invalid, clouds: Field::Invalid, ..TenantFile::default() };
    };
    let file = TenantFile {
        id: map.required("tenant", problems, identifier),
        name: map.required("name", problems, name),
        tunnels: map.required("tunnels", problems, |node, problems| named("tunnels", MOST_TUNNELS, node, problems, tunnel)),
        office: map.required("office", problems, office),
        clouds: map.required("clouds", problems, |node, problems| named("clouds", MOST_CLOUDS, node, problems, cloud)),
        services: map.optional("services", problems, |node, problems| each(MOST_SERVICES, node, problems, service)),
        source: map.required("source", problems, source),
        callbacks: map.optional("callbacks", problems, |node, problems| each(MOST_CALLBACKS, node, problems, callback)),
        limits: map.optional("limits", problems, limits),
        rate: map.optional("rate", problems, rate),
        crypto_policy: map.optional("crypto_policy", problems, ipsec_fields::crypto_policy),
        filtering: map.optional("filtering", problems, scalars::filtering),
        ipv6: map.optional("ipv6", problems, ipv6::inside),
        prefer: map.optional("prefer", problems, identifier),
        redundancy: map.optional("redundancy", problems, scalars::redundancy),
    };
    map.finish(problems);
    file
}

fn tunnel(node: &Node, problems: &mut Problems) -> Option<TunnelEntry> {
    let mut map = MapReader::open("a tunnel", node, problems)?;
    let entry = TunnelEntry {
        endpoint: map.required("endpoint", problems, identifier),
        mtu: map.optional("mtu", problems, integer("the tunnel's MTU in bytes", TUNNEL_MTU_BYTES)),
        wireguard: map.optional("wireguard", problems, wireguard),
        ipsec: map.optional("ipsec", problems, ipsec_fields::peer),
    };
    ipsec_fields::check_one_kind(&map, problems);
    map.finish(problems);
    Some(entry)
}

fn wireguard(node: &Node, problems: &mut Problems) -> Option<WireGuardPeerEntry> {
    let mut map = MapReader::open("`wireguard`", node, problems)?;
    let seconds = |node: &Node, problems: &mut Problems| {
        let seconds: u16 = integer("the interval in seconds", 1..=65_535)(node, problems)?;
        NonZeroU16::new(seconds)
    };
    let entry = WireGuardPeerEntry {
        public_key: map.required("public_key", problems, scalars::public_key),
        preshared_key_file: map.optional("preshared_key_file", problems, scalars::path),
        endpoint_address: map.optional("endpoint_address", problems, scalars::peer_address),
        persistent_keepalive: map.optional("persistent_keepalive", problems, seconds),
    };
    map.finish(problems);
    Some(entry)
}

fn prefixes(node: &Node, problems: &mut Problems) -> Option<Vec<Spanned<Ipv4Network>>> {
    one_or_many(MOST_PREFIXES, node, problems, prefix)
}

/// Calls `read` for each key that is a class; the others get their problem. Answers whether all were.
fn per_class(what: &str, node: &Node, problems: &mut Problems, mut read: impl FnMut(Class, &Key, &Node, &mut Problems)) -> Option<bool> {
    let mut complete = true;
    for (key, node) in entries(what, node, problems)? {
        if let Some(class) = scalars::class_named(&key.name) {
            read(class, key, node, problems);
        } else {
            complete = false;
            let help = help_for_unknown(&key.name, Class::ALL.iter().map(|class| class.as_str()), "classes");
            problems.error(&key.at, format!("unknown class {}", quoted(&key.name))).help(help);
        }
    }
    Some(complete)
}

fn office(node: &Node, problems: &mut Problems) -> Option<Listed<OfficeEntry>> {
    let mut entries = Vec::new();
    let complete = per_class("`office`", node, problems, |class, key, node, problems| {
        entries.push(OfficeEntry { class, at: key.at.clone(), prefixes: prefixes(node, problems) });
    })?;
    if entries.is_empty() && complete {
        problems.error(&node.at, "names no class").help("add mynumber, lgwan-connected or both");
        return None;
    }
    Some(Listed { entries, complete })
}

fn cloud(node: &Node, problems: &mut Problems) -> Option<CloudEntry> {
    let mut map = MapReader::open("a cloud", node, problems)?;
    let entry = CloudEntry {
        port: map.required("port", problems, identifier),
        vlan: map.required("vlan", problems, vlan),
        address: map.required("address", problems, scalars::interface_address),
        gateway: map.required("gateway", problems, ipv4),
        address6: map.optional("address6", problems, ipv6::interface_address),
    };
    map.finish(problems);
    Some(entry)
}

fn vlan(node: &Node, problems: &mut Problems) -> Option<Vlan> {
    if !matches!(node.value, Value::Mapping(_)) {
        return integer("the VLAN id", VLAN_IDS)(node, problems).map(Vlan::Single);
    }
    let mut map = MapReader::open("`vlan`", node, problems)?;
    let outer = map.required("outer", problems, integer("the VLAN id", VLAN_IDS));
    let inner = map.required("inner", problems, integer("the VLAN id", VLAN_IDS));
    map.finish(problems);
    Some(Vlan::QinQ { outer: *outer.value()?, inner: *inner.value()? })
}

fn service(node: &Node, problems: &mut Problems) -> Option<ServiceEntry> {
    let mut map = MapReader::open("a service", node, problems)?;
    let entry = ServiceEntry {
        name: map.required("name", problems, name),
        class: map.required("class", problems, scalars::class),
        cloud: map.optional("cloud", problems, identifier),
        global: map.optional("global", problems, prefixes),
        private: map.required("private", problems, prefixes),
        allow: map.required("allow", problems, allowed),
        filtering: map.optional("filtering", problems, scalars::filtering),
        hairpin: map.optional("hairpin", problems, scalars::truth),
        governance: governance(&mut map, problems),
    };
    map.finish(problems);
    Some(entry)
}

fn callback(node: &Node, problems: &mut Problems) -> Option<CallbackEntry> {
    let mut map = MapReader::open("a callback", node, problems)?;
    let entry = CallbackEntry {
        name: map.required("name", problems, name),
        class: map.required("class", problems, scalars::class),
        cloud: map.optional("cloud", problems, identifier),
        from: map.required("from", problems, prefixes),
        seen_as: map.optional("as", problems, ipv4),
        to: map.optional("to", problems, ipv4),
        office: map.required("office", problems, ipv4),
        allow: map.required("allow", problems, allowed),
        governance: governance(&mut map, problems),
    };
    map.finish(problems);
    Some(entry)
}

fn allowed(node: &Node, problems: &mut Problems) -> Option<Vec<Spanned<Allow>>> {
    one_or_many(MOST_ALLOWED, node, problems, scalars::allow)
}

fn governance(map: &mut MapReader<'_>, problems: &mut Problems) -> GovernanceEntry {
    GovernanceEntry {
        basis: map.optional("basis", problems, name),
        approved_by: map.optional("approved_by", problems, name),
        valid_from: map.optional("valid_from", problems, scalars::date),
        valid_until: map.optional("valid_until", problems, scalars::date),
    }
}

fn source(node: &Node, problems: &mut Problems) -> Option<Listed<SourceEntry>> {
    let mut found = Vec::new();
    let complete = per_class("`source`", node, problems, |class, key, node, problems| match &node.value {
        Value::Sequence(nodes) if (1..=MOST_CLOUDS).contains(&nodes.len()) => {
            for node in nodes {
                found.push(source_entry(class, key, node, problems));
            }
        }
        Value::Sequence(nodes) => {
            problems
                .error(&node.at, format!("the list has {} entries; 1 to {MOST_CLOUDS} are allowed", nodes.len()))
                .help("one entry for each cloud");
        }
        _ => found.push(source_entry(class, key, node, problems)),
    })?;
    Some(Listed { entries: found, complete })
}

fn source_entry(class: Class, key: &Key, node: &Node, problems: &mut Problems) -> SourceEntry {
    let (class_at, at) = (key.at.clone(), node.at.clone());
    let mut entry = SourceEntry { class, class_at, at, cloud: Field::Absent, every_cloud: false, kind: None };
    if matches!(&node.value, Value::Text(word) if word == "keep") {
        entry.every_cloud = true;
        entry.kind = Some(SourceKind::Keep);
    } else if let Value::Mapping(_) = &node.value {
        if let Some(mut map) = MapReader::open("a source", node, problems) {
            entry.cloud = map.optional("cloud", problems, identifier);
            entry.kind = source_kind(&mut map, node, problems);
            map.finish(problems);
        }
    } else {
        expected("{napt: [prefixes]}, {static: {office: cloud}} or the word keep", node, problems);
    }
    entry
}

fn source_kind(map: &mut MapReader<'_>, node: &Node, problems: &mut Problems) -> Option<SourceKind> {
    let napt = map.optional("napt", problems, prefixes);
    let pairs = map.optional("static", problems, static_pairs);
    let keep = map.optional("keep", problems, |node: &Node, problems: &mut Problems| match node.value {
        Value::Bool(true) => Some(()),
        _ => {
            expected("`keep: true`", node, problems);
            None
        }
    });
    let given = [napt.is_absent(), pairs.is_absent(), keep.is_absent()].iter().filter(|absent| !**absent).count();
    if given != 1 {
        problems
            .error(&node.at, format!("names {given} kinds of translation; exactly one is needed"))
            .help("napt: [prefixes], static: {office: cloud}, or keep: true");
        return None;
    }
    match (napt, pairs, keep) {
        (Field::Given(napt), ..) => Some(SourceKind::Napt(napt.value)),
        (_, Field::Given(pairs), _) => Some(SourceKind::Static(pairs.value)),
        (.., Field::Given(_)) => Some(SourceKind::Keep),
        _ => None,
    }
}

fn static_pairs(node: &Node, problems: &mut Problems) -> Option<Vec<StaticEntry>> {
    let entries = entries("`static`", node, problems)?;
    if entries.is_empty() || entries.len() > MOST_STATIC {
        problems.error(&node.at, format!("has {} entries; 1 to {MOST_STATIC} are allowed", entries.len()));
        return None;
    }
    let pairs: Vec<Option<StaticEntry>> = entries
        .iter()
        .map(|(key, node)| {
            let office_node = Node { at: key.at.clone(), value: Value::Text(key.name.clone()) };
            let office = prefix(&office_node, problems);
            let cloud = prefix(node, problems);
            Some(StaticEntry { office: office?, office_at: key.at.clone(), cloud: cloud?, cloud_at: node.at.clone() })
        })
        .collect();
    pairs.into_iter().collect()
}

fn limits(node: &Node, problems: &mut Problems) -> Option<LimitsEntry> {
    let mut map = MapReader::open("`limits`", node, problems)?;
    let entry = LimitsEntry {
        sessions: map.optional("sessions", problems, integer("the number of sessions", 1..=MOST_SESSIONS)),
        ports: map.optional("ports", problems, integer("the number of ports", 1..=MOST_SESSIONS)),
        new_sessions_per_second: map.optional(
            "new_sessions_per_second",
            problems,
            integer("the number of new sessions a second", 1..=MOST_NEW_SESSIONS_PER_SECOND),
        ),
    };
    map.finish(problems);
    Some(entry)
}

fn rate(node: &Node, problems: &mut Problems) -> Option<RateEntry> {
    let mut map = MapReader::open("`rate`", node, problems)?;
    let entry =
        RateEntry { guaranteed: map.optional("guaranteed", problems, bit_rate), ceiling: map.optional("ceiling", problems, bit_rate) };
    map.finish(problems);
    Some(entry)
}
