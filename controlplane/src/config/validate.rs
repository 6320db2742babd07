//! What values mean to each other, across files and tenants.

mod across;
mod addresses;
mod callbacks;
mod certificate_files;
mod clouds;
mod ipsec;
mod ipsec_files;
mod key_files;
mod rates;
mod relay;
mod relay_ipsec;
mod services;
mod sources;
mod tunnels;

use std::collections::HashMap;
use std::path::PathBuf;

use ipnetwork::Ipv4Network;
use time::Date;

use super::fields::{Field, Listed, Spanned};
use super::model::{AttachmentIndex, Class, Identity, Validity, Vlan};
use super::problem::{At, Problems};
use super::relay_file::{EndpointEntry, PortEntry};
use super::scalars::short;
use super::tenant_file::{CloudEntry, GovernanceEntry, TenantFile};
use super::tree::Key;
use super::{KeyStore, Purpose, RelaySide, fields, resolve};

/// IPv4 header 20 or IPv6 header 40, UDP header 8, WireGuard data header 16, authentication tag 16.
pub(super) const fn wireguard_overhead_bytes(over_ipv6: bool) -> u16 {
    if over_ipv6 { 80 } else { 60 }
}

/// Of a packet of 576 bytes in ESP in UDP with AES-CBC and HMAC-SHA-512-256: headers 36, initialization vector 16, padding and trailer 16,
/// integrity check value 32.
const LARGEST_ESP_OVERHEAD_BYTES: u16 = 100;

/// RFC 791: every host must be able to receive this much, so a tunnel carries it unfragmented.
const SMALLEST_TUNNEL_MTU_BYTES: u16 = 576;

/// Adds every problem of the relay file by itself.
pub(super) fn relay(side: &RelaySide, names: &RelayNames<'_>, problems: &mut Problems) {
    relay::check(side, names, problems);
}

/// Adds every problem that shows when one tenant file is seen with the relay file.
pub(super) fn tenant(side: &RelaySide, names: &RelayNames<'_>, file: &TenantFile, problems: &mut Problems) {
    let tenant = TenantView { names, side, file };
    tunnels::check(&tenant, problems);
    clouds::check(&tenant, problems);
    sources::check(&tenant, problems);
    services::check(&tenant, problems);
    callbacks::check(&tenant, problems);
    addresses::check(&tenant, problems);
    rates::check(&tenant, problems);
}

/// Adds every problem between tenants, and between them and the relay.
pub(super) fn across(side: &RelaySide, tenants: &Tenants<'_>, purpose: Purpose, keys: &mut KeyStore, problems: &mut Problems) {
    relay::check_viewers(side, tenants, problems);
    across::check(tenants, problems);
    rates::check_sum(side, tenants, problems);
    key_files::check(side, tenants, purpose, keys, problems);
    ipsec_files::check(tenants, purpose, keys, problems);
    certificate_files::check(side, tenants, purpose, keys, problems);
}

/// What the tenant files give for the comparison with each other.
pub(super) struct Tenants<'a> {
    pub(super) facts: Vec<&'a Facts>,
    /// A tenant file could not be read at all: names that nobody defines may stand in it.
    pub(super) some_unreadable: bool,
}

/// What only one tenant may have, with where it stands: all that is needed of a file that did not change.
#[derive(Debug)]
pub(super) struct Facts {
    id: Field<String>,
    circuits: Vec<(String, Spanned<Vlan>)>,
    public_keys: Vec<Spanned<[u8; 32]>>,
    /// Relative to nothing any more.
    preshared_key_files: Vec<Spanned<PathBuf>>,
    ipsec: Vec<IpsecFacts>,
    /// `rate.guaranteed` in bits a second.
    guaranteed: Option<u64>,
}

impl Facts {
    pub(super) fn of(side: &RelaySide, file: &TenantFile) -> Self {
        let circuit = |(_, cloud): &(Key, CloudEntry)| Some((cloud.port.value()?.clone(), cloud.vlan.given()?.clone()));
        let wireguard = || file.tunnels.entries().iter().filter_map(|(_, tunnel)| tunnel.wireguard.value());
        let key_file = |file: &Spanned<PathBuf>| Spanned { value: side.resolve_path(&file.value), at: file.at.clone() };
        Self {
            id: file.id.clone(),
            circuits: file.clouds.entries().iter().filter_map(circuit).collect(),
            public_keys: wireguard().filter_map(|entry| entry.public_key.given().cloned()).collect(),
            preshared_key_files: wireguard().filter_map(|entry| entry.preshared_key_file.given().map(key_file)).collect(),
            ipsec: ipsec_files::facts(side, file),
            guaranteed: file.rate.value().and_then(|rate| rate.guaranteed.value()).map(|rate| rate.get()),
        }
    }
}

/// What one IPsec tunnel has for itself alone.
#[derive(Debug)]
struct IpsecFacts {
    /// Of the relay file.
    endpoint: Option<String>,
    remote_id: Option<Spanned<Identity>>,
    /// Relative to nothing any more, as the next one.
    psk_file: Option<Spanned<PathBuf>>,
    previous_psk_file: Option<Spanned<PathBuf>>,
    authorities_file: Option<Spanned<PathBuf>>,
    /// The policy that holds for the tunnel, where it is a dated exception.
    legacy_until: Option<Spanned<Date>>,
}

/// What tenant files refer to.
pub(super) struct RelayNames<'a> {
    ports: Names<'a, PortEntry>,
    endpoints: Names<'a, EndpointEntry>,
}

struct Names<'a, T> {
    what: &'static str,
    known: HashMap<&'a str, &'a T>,
    /// False when the relay file's part is broken: unknown names are not judged then.
    complete: bool,
}

impl<'a> RelayNames<'a> {
    pub(super) fn of(side: &'a RelaySide) -> RelayNames<'a> {
        let (ports, endpoints) = (&side.file.ports, &side.file.endpoints);
        let named = |entry: &'a Spanned<EndpointEntry>| Some((entry.value.name.value()?.as_str(), &entry.value));
        let known: HashMap<_, _> = endpoints.entries().iter().filter_map(named).collect();
        let all_named = endpoints.entries().iter().all(|entry| entry.value.name.given().is_some());
        RelayNames {
            ports: Names {
                what: "port",
                known: ports.entries().iter().map(|(key, port)| (key.name.as_str(), port)).collect(),
                complete: ports.is_complete(),
            },
            endpoints: Names { what: "endpoint", known, complete: endpoints.is_complete() && all_named },
        }
    }
}

impl<'a, T> Names<'a, T> {
    /// What a value names; an unknown name is a problem.
    fn find(&self, name: &Field<String>, problems: &mut Problems) -> Option<&'a T> {
        let name = name.given()?;
        let found = self.known.get(name.value.as_str()).copied();
        if found.is_none() && self.complete {
            let mut names: Vec<&str> = self.known.keys().copied().collect();
            names.sort_unstable();
            let help = fields::help_for_unknown(&name.value, names.into_iter(), &format!("{}s in the relay file", self.what));
            problems.error(&name.at, format!("there is no {} `{}`", self.what, name.value)).help(help);
        }
        found
    }
}

/// A tenant file beside what it refers to.
struct TenantView<'a> {
    names: &'a RelayNames<'a>,
    side: &'a RelaySide,
    file: &'a TenantFile,
}

impl<'a> TenantView<'a> {
    /// `None` when the classes are not known well enough to judge.
    fn office_prefixes(&self, class: Class) -> Option<Vec<Ipv4Network>> {
        let entry = self.file.office.entries().iter().find(|entry| entry.class == class)?;
        Some(entry.prefixes.as_ref()?.iter().map(|prefix| prefix.value).collect())
    }

    /// Whether the tenant lacks the class for certain.
    fn lacks(&self, class: Class) -> bool {
        self.file.office.is_complete() && self.file.office.entries().iter().all(|entry| entry.class != class)
    }

    fn clouds(&self) -> Option<&'a Listed<(Key, CloudEntry)>> {
        self.file.clouds.value()
    }

    /// The attachment that a rule at `at` means, or a problem.
    fn attachment(&self, cloud: &Field<String>, at: &At, problems: &mut Problems) -> Option<AttachmentIndex> {
        let clouds = self.clouds()?;
        let found = resolve::attachment_index(clouds, cloud);
        let names = || clouds.entries.iter().map(|(key, _)| key.name.as_str());
        if found.is_none() && clouds.complete {
            match cloud {
                Field::Invalid => {}
                Field::Absent => {
                    let list: Vec<&str> = names().collect();
                    problems
                        .error(at, format!("names no cloud, and the tenant has {}", clouds.entries.len()))
                        .help(format!("add `cloud:` with one of: {}", list.join(", ")));
                }
                Field::Given(name) => {
                    let help = fields::help_for_unknown(&name.value, names(), "the tenant's clouds");
                    problems.error(&name.at, format!("there is no cloud `{}`", name.value)).help(help);
                }
            }
        }
        found
    }

    /// A class that the rule's tenant has, or a problem.
    fn check_class(&self, class: &Field<Class>, problems: &mut Problems) {
        let Some(class) = class.given() else { return };
        if self.lacks(class.value) {
            problems
                .error(&class.at, format!("the tenant has no class `{}`", class.value))
                .help(format!("add `{}` with its prefixes under `office`, or use the class that is there", class.value));
        }
    }

    /// An address that the office sees as global: the operator's, and not conventional LGWAN's.
    fn check_global(&self, global: Ipv4Network, at: &At, problems: &mut Problems) {
        let relay = &self.side.file;
        if let Some(shared) = relay.shared_addresses.value() {
            if !shared.iter().any(|block| contains(block.value, global)) {
                let blocks: Vec<String> = shared.iter().map(|block| short(block.value)).collect();
                problems
                    .error(at, format!("{} is outside shared_addresses", short(global)))
                    .help(format!("the operator's blocks are {}", blocks.join(", ")));
            }
        } else if relay.shared_addresses.is_absent() {
            problems
                .error(at, format!("{} is outside shared_addresses: the relay file names none", short(global)))
                .help("add `shared_addresses: [...]` to the relay file");
        }
        self.check_not_conventional(global, at, problems);
        self.check_not_office(global, at, problems);
    }

    /// Conventional LGWAN traffic does not enter the relay.
    fn check_not_conventional(&self, address: Ipv4Network, at: &At, problems: &mut Problems) {
        let conventional = self.side.file.conventional_lgwan.value();
        if let Some(block) = conventional.into_iter().flatten().find(|block| block.value.overlaps(address)) {
            problems
                .error(at, format!("{} lies in conventional_lgwan {}", short(address), short(block.value)))
                .help("従来のLGWAN通信 does not pass the relay: it goes over the LGWAN as before");
        }
    }

    fn check_not_office(&self, global: Ipv4Network, at: &At, problems: &mut Problems) {
        for entry in self.file.office.entries() {
            let prefixes = entry.prefixes.iter().flatten();
            if let Some(prefix) = prefixes.into_iter().find(|prefix| prefix.value.overlaps(global)) {
                problems
                    .error(at, format!("{} is one of the tenant's own office addresses {}", short(global), short(prefix.value)))
                    .help("use an address that no office host has");
            }
        }
    }
}

/// Whether all of `inner` lies in `outer`.
fn contains(outer: Ipv4Network, inner: Ipv4Network) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.ip())
}

/// RFC 1918, and RFC 6598's shared space, which cloud providers use between themselves and carriers.
fn is_private(network: Ipv4Network) -> bool {
    const BLOCKS: [([u8; 4], u8); 4] = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    BLOCKS.iter().any(|(address, length)| Ipv4Network::new((*address).into(), *length).is_ok_and(|block| contains(block, network)))
}

fn check_private(network: Ipv4Network, at: &At, problems: &mut Problems) {
    if !is_private(network) {
        problems
            .error(at, format!("{} is not a private address", short(network)))
            .help("between relay and cloud addresses are private: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10");
    }
}

fn validity(entry: &GovernanceEntry) -> Validity {
    Validity { from: entry.valid_from.value().copied(), until: entry.valid_until.value().copied() }
}

fn check_governance(entry: &GovernanceEntry, problems: &mut Problems) {
    let (Some(from), Some(until)) = (entry.valid_from.value(), entry.valid_until.given()) else { return };
    if until.value < *from {
        problems
            .error(&until.at, format!("valid_until {} is before valid_from {from}", until.value))
            .help("both days are inclusive and count in Japan (Asia/Tokyo)");
    }
}

/// Each name once; `what` says of what.
fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a Spanned<String>>, problems: &mut Problems) {
    let mut seen: HashMap<&str, &At> = HashMap::new();
    for name in names {
        if let Some(first) = seen.insert(&name.value, &name.at) {
            problems
                .error(&name.at, format!("the name `{}` is taken by another {what}", name.value))
                .help(format!("it stands at {} already: give one of the two another name", first.place()));
        }
    }
}
