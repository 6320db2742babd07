//! Addresses that the relay itself uses on one attachment: its own, pools, static targets and
//! callbacks' `to`. Each has one meaning, and none is shared by two classes.

use ipnetwork::Ipv4Network;

use super::super::fields::{Field, Listed, Spanned};
use super::super::model::{AttachmentIndex, Class};
use super::super::problem::{At, Problems};
use super::super::resolve;
use super::super::scalars::short;
use super::super::tenant_file::{CloudEntry, ServiceEntry, SourceEntry, SourceKind};
use super::{TenantView, clouds, contains};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Napt,
    Static,
    /// Office addresses that the cloud sees as they are.
    Kept,
    CallbackTo,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Use::Napt => "the napt pool",
            Use::Static => "the static target",
            Use::Kept => "the kept office prefix",
            Use::CallbackTo => "the callback's `to`",
        }
    }
}

#[derive(Clone, Copy)]
struct Used<'a> {
    attachment: AttachmentIndex,
    class: Class,
    network: Ipv4Network,
    usage: Use,
    at: &'a At,
}

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    let Some(clouds) = tenant.clouds() else { return };
    let used = used(tenant, clouds);
    for (index, item) in used.iter().enumerate() {
        check_own_addresses(item, &clouds.entries[item.attachment.0].1, problems);
        check_other_uses(item, &used[..index], problems);
    }
    check_cloud_hosts(tenant, clouds, &used, problems);
}

fn used<'a>(tenant: &TenantView<'a>, clouds: &'a Listed<(super::Key, CloudEntry)>) -> Vec<Used<'a>> {
    let mut found = Vec::new();
    for entry in tenant.file.source.entries() {
        for attachment in resolve::source_attachments(clouds, entry).unwrap_or_default() {
            let of_entry = of_source(tenant, entry).into_iter();
            found.extend(of_entry.map(|(network, usage, at)| Used { attachment, class: entry.class, network, usage, at }));
        }
    }
    for callback in tenant.file.callbacks.entries() {
        let entry = &callback.value;
        let attachment = resolve::attachment_index(clouds, &entry.cloud);
        if let (Some(attachment), Some(class), Some(to)) = (attachment, entry.class.value(), entry.to.given()) {
            found.push(Used { attachment, class: *class, network: to.value.into(), usage: Use::CallbackTo, at: &to.at });
        }
    }
    found
}

fn of_source<'a>(tenant: &TenantView<'a>, entry: &'a SourceEntry) -> Vec<(Ipv4Network, Use, &'a At)> {
    match &entry.kind {
        None => Vec::new(),
        Some(SourceKind::Napt(pools)) => pools.iter().map(|pool| (pool.value, Use::Napt, &pool.at)).collect(),
        Some(SourceKind::Static(pairs)) => pairs.iter().map(|pair| (pair.cloud, Use::Static, &pair.cloud_at)).collect(),
        Some(SourceKind::Keep) => {
            let kept = tenant.office_prefixes(entry.class).unwrap_or_default();
            kept.into_iter().map(|prefix| (prefix, Use::Kept, &entry.at)).collect()
        }
    }
}

/// What stands on the VLAN anyway.
fn check_own_addresses(item: &Used<'_>, cloud: &CloudEntry, problems: &mut Problems) {
    let subnet = cloud.address.value().copied();
    let own = subnet.map(|subnet| (subnet.ip(), "the relay's own address"));
    let gateway = cloud.gateway.value().map(|gateway| (*gateway, "the gateway"));
    let edges = subnet.map(clouds::edges).unwrap_or_default().into_iter().map(|edge| (edge, "the network or broadcast address"));
    let mut reserved = own.into_iter().chain(gateway).chain(edges);
    if let Some((address, what)) = reserved.find(|(address, _)| item.network.contains(*address)) {
        problems
            .error(item.at, format!("{} {} holds {address}, {what} of the VLAN", item.usage.name(), short(item.network)))
            .help("use addresses outside the VLAN's subnet that the cloud routes to the relay, or free ones inside it");
    }
}

fn check_other_uses(item: &Used<'_>, earlier: &[Used<'_>], problems: &mut Problems) {
    let meets = |other: &&Used<'_>| {
        // Callbacks to one address are told apart by port; prefixes of one kept class stand in `office`.
        let harmless = other.class == item.class && other.usage == item.usage && matches!(item.usage, Use::CallbackTo | Use::Kept);
        other.attachment == item.attachment && other.network.overlaps(item.network) && !harmless
    };
    let Some(other) = earlier.iter().find(meets) else { return };
    let message = format!("{} {} overlaps {} {}", item.usage.name(), short(item.network), other.usage.name(), short(other.network));
    if other.class == item.class {
        problems.error(item.at, message).help(format!("see {}: each address has one use", other.at.place()));
    } else {
        problems
            .error(item.at, format!("{message} of class `{}`", other.class))
            .help(format!("see {}: two classes never mix, so each has addresses of its own", other.at.place()));
    }
}

/// Services and callers are hosts of the cloud: the relay cannot be one of them. But hosts of an office reach each other under the
/// addresses that the cloud knows (hairpinning, RFC 4787 REQ-9) where a service leads to the pool of its own class, and says so.
fn check_cloud_hosts(tenant: &TenantView<'_>, clouds: &Listed<(super::Key, CloudEntry)>, used: &[Used<'_>], problems: &mut Problems) {
    for service in tenant.file.services.entries().iter().map(|service| &service.value) {
        let Some(attachment) = resolve::attachment_index(clouds, &service.cloud) else { continue };
        if let Field::Given(Spanned { value: true, at }) = &service.hairpin {
            check_hairpin(service, attachment, at, used, problems);
        } else {
            check_hosts("the service's address", &service.private, attachment, (clouds, used), problems);
        }
    }
    for callback in tenant.file.callbacks.entries().iter().map(|callback| &callback.value) {
        if let Some(attachment) = resolve::attachment_index(clouds, &callback.cloud) {
            check_hosts("the caller's address", &callback.from, attachment, (clouds, used), problems);
        }
    }
}

fn check_hosts(
    what: &str,
    hosts: &Field<Vec<Spanned<Ipv4Network>>>,
    attachment: AttachmentIndex,
    (clouds, used): (&Listed<(super::Key, CloudEntry)>, &[Used<'_>]),
    problems: &mut Problems,
) {
    let own = clouds.entries[attachment.0].1.address.value();
    for host in hosts.value().into_iter().flatten() {
        if own.is_some_and(|own| host.value.contains(own.ip())) {
            problems
                .error(&host.at, format!("{what} {} holds the relay's own address on the VLAN", short(host.value)))
                .help("name the cloud's hosts only: split the prefix around the relay's address");
        } else if let Some(other) = used.iter().find(|other| other.attachment == attachment && other.network.overlaps(host.value)) {
            problems
                .error(&host.at, format!("{what} {} overlaps {} {}", short(host.value), other.usage.name(), short(other.network)))
                .help(format!("see {}: the relay answers for that address, so no host of the cloud can have it", other.at.place()));
        }
    }
}

/// Across classes nothing turns back: two classes never mix.
fn check_hairpin(service: &ServiceEntry, attachment: AttachmentIndex, at: &At, used: &[Used<'_>], problems: &mut Problems) {
    let (Some(class), Some(private)) = (service.class.value(), service.private.value()) else { return };
    let is_own_pool = |other: &&Used<'_>| (other.attachment, other.class, other.usage) == (attachment, *class, Use::Napt);
    for prefix in private {
        if !used.iter().filter(is_own_pool).any(|pool| contains(pool.network, prefix.value)) {
            problems
                .error(at, format!("{} is not in a `napt` pool of class `{class}` on this cloud", short(prefix.value)))
                .help("`private` of a service with `hairpin: true` names the pool that its own class appears from; remove `hairpin` for hosts of the cloud");
        }
    }
}
