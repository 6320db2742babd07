//! Services of one tenant: what the office may open, told apart in both directions.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;

use super::super::fields::{Field, Spanned};
use super::super::model::{Allow, AttachmentIndex, Class, Validity};
use super::super::problem::{At, Problems};
use super::super::resolve;
use super::super::scalars::short;
use super::super::tenant_file::ServiceEntry;
use super::{TenantView, check_governance, check_private, check_unique, validity};

/// Destinations times entries of `allow`, over all services of a tenant.
const MOST_OPENINGS: usize = 8_192;

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    let names = tenant.file.services.entries().iter().filter_map(|service| service.value.name.given());
    let callbacks = tenant.file.callbacks.entries().iter().filter_map(|callback| callback.value.name.given());
    check_unique("service or callback", names.chain(callbacks), problems);
    for service in tenant.file.services.entries() {
        let entry = &service.value;
        tenant.check_class(&entry.class, problems);
        tenant.attachment(&entry.cloud, &service.at, problems);
        check_destinations(tenant, entry, problems);
        check_governance(&entry.governance, problems);
    }
    check_openings(&openings(tenant), tenant, problems);
}

fn check_destinations(tenant: &TenantView<'_>, entry: &ServiceEntry, problems: &mut Problems) {
    let private = entry.private.value().map_or(&[] as &[_], Vec::as_slice);
    for destination in private {
        check_private(destination.value, &destination.at, problems);
    }
    match &entry.global {
        Field::Invalid => {}
        Field::Absent => {
            for destination in private {
                tenant.check_not_conventional(destination.value, &destination.at, problems);
                tenant.check_not_office(destination.value, &destination.at, problems);
            }
            check_ports_are_kept(entry, problems);
        }
        Field::Given(global) => {
            for address in &global.value {
                tenant.check_global(address.value, &address.at, problems);
            }
            if let Some(private) = entry.private.given() {
                check_lengths(&global.value, private, problems);
            }
        }
    }
}

/// Without a global the destination is kept: address and port.
fn check_ports_are_kept(entry: &ServiceEntry, problems: &mut Problems) {
    for allow in entry.allow.value().into_iter().flatten() {
        if let Allow::Tcp(ports) | Allow::Udp(ports) = &allow.value
            && ports.is_translated()
        {
            problems
                .error(&allow.at, "translates a port of a service that keeps its destination")
                .help("add `global: ADDRESS`, or write the one port that the cloud uses");
        }
    }
}

fn check_lengths(global: &[Spanned<Ipv4Network>], private: &Spanned<Vec<Spanned<Ipv4Network>>>, problems: &mut Problems) {
    if global.len() != private.value.len() {
        problems
            .error(&private.at, format!("{} private prefixes stand against {} global ones", private.value.len(), global.len()))
            .help("each global becomes the private prefix at the same place of the list");
        return;
    }
    for (global, private) in global.iter().zip(&private.value) {
        if global.value.prefix() != private.value.prefix() {
            problems
                .error(&private.at, format!("{} and {} differ in length", short(global.value), short(private.value)))
                .help(format!("1:1 needs as many addresses on both sides: a /{} here", global.value.prefix()));
        }
    }
}

/// One entry of `allow` on one destination.
struct Opening<'a> {
    class: Class,
    attachment: Option<AttachmentIndex>,
    protocol: &'static str,
    office_side: Ipv4Network,
    outside: RangeInclusive<u16>,
    cloud_side: Ipv4Network,
    inside: RangeInclusive<u16>,
    validity: Validity,
    at: &'a At,
}

impl Opening<'_> {
    fn same_on_office_side(&self, other: &Opening<'_>) -> bool {
        self.class == other.class
            && self.protocol == other.protocol
            && self.office_side.overlaps(other.office_side)
            && ranges_overlap(&self.outside, &other.outside)
            && self.validity.overlaps(&other.validity)
    }

    /// Replies come from the same address and port, so that nothing says which destination the office meant.
    fn same_on_cloud_side(&self, other: &Opening<'_>) -> bool {
        self.class == other.class
            && self.attachment == other.attachment
            && self.protocol == other.protocol
            && self.cloud_side.overlaps(other.cloud_side)
            && ranges_overlap(&self.inside, &other.inside)
            && self.validity.overlaps(&other.validity)
    }
}

pub(super) fn ranges_overlap(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// Protocol, ports before and after translation; echo has no ports.
pub(super) fn protocol_and_ports(allow: &Allow) -> (&'static str, RangeInclusive<u16>, RangeInclusive<u16>) {
    match allow {
        Allow::Tcp(ports) => ("tcp", ports.outside.clone(), ports.inside.clone()),
        Allow::Udp(ports) => ("udp", ports.outside.clone(), ports.inside.clone()),
        Allow::IcmpEcho => ("icmp", 0..=0, 0..=0),
    }
}

/// All that can be judged; services with an invalid part are left out.
fn openings<'a>(tenant: &TenantView<'a>) -> Vec<Opening<'a>> {
    let mut found = Vec::new();
    for service in tenant.file.services.entries() {
        let entry = &service.value;
        let (Some(class), Some(private), Some(allow)) = (entry.class.value(), entry.private.value(), entry.allow.value()) else {
            continue;
        };
        let global = match &entry.global {
            Field::Invalid => continue,
            Field::Absent => private,
            Field::Given(global) => &global.value,
        };
        let attachment = tenant.clouds().and_then(|clouds| resolve::attachment_index(clouds, &entry.cloud));
        for (office, cloud) in global.iter().zip(private) {
            for allow in allow {
                let (protocol, outside, inside) = protocol_and_ports(&allow.value);
                found.push(Opening {
                    class: *class,
                    attachment,
                    protocol,
                    office_side: office.value,
                    outside,
                    cloud_side: cloud.value,
                    inside,
                    validity: validity(&entry.governance),
                    at: &allow.at,
                });
            }
        }
    }
    found
}

fn check_openings(openings: &[Opening<'_>], tenant: &TenantView<'_>, problems: &mut Problems) {
    if openings.len() > MOST_OPENINGS {
        let at = &tenant.file.services.entries()[0].at;
        problems
            .error(at, format!("the tenant's services open {} destinations and ports; at most {MOST_OPENINGS} are allowed", openings.len()))
            .help("use prefixes and port ranges");
        return;
    }
    for (index, later) in openings.iter().enumerate() {
        let earlier = &openings[..index];
        if let Some(first) = earlier.iter().find(|first| first.same_on_office_side(later)) {
            problems
                .error(later.at, format!("{} is open to class `{}` already", office_side(later), later.class))
                .help(format!("see {}: give one of the two another global, port or validity", first.at.place()));
        } else if let Some(first) = earlier.iter().find(|first| first.same_on_cloud_side(later)) {
            problems
                .error(
                    later.at,
                    format!("leads to the same private address and port as {}: their replies could not be told apart", office_side(first)),
                )
                .help(format!("see {}: reach one cloud port of {} through one global and port", first.at.place(), short(later.cloud_side)));
        }
    }
}

fn office_side(opening: &Opening<'_>) -> String {
    let address = short(opening.office_side);
    let protocol = opening.protocol;
    match (opening.outside.start(), opening.outside.end()) {
        _ if protocol == "icmp" => format!("icmp to {address}"),
        (first, last) if first == last => format!("{protocol}/{first} of {address}"),
        (first, last) => format!("{protocol}/{first}-{last} of {address}"),
    }
}

/// Whether the office sends to this address to reach one of the tenant's services.
pub(super) fn is_destination(tenant: &TenantView<'_>, address: Ipv4Addr) -> Option<At> {
    tenant.file.services.entries().iter().find_map(|service| {
        let office_side = if service.value.global.is_absent() { &service.value.private } else { &service.value.global };
        let found = office_side.value()?.iter().find(|destination| destination.value.contains(address))?;
        Some(found.at.clone())
    })
}
