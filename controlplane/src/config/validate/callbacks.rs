//! Callbacks of one tenant: what the cloud may open.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;

use super::super::model::{AttachmentIndex, Validity};
use super::super::problem::{At, Problems};
use super::super::resolve;
use super::super::scalars::short;
use super::super::tenant_file::CallbackEntry;
use super::services::{is_destination, protocol_and_ports, ranges_overlap};
use super::{TenantView, check_governance, check_private, validity};

/// Callers times entries of `allow`, over all callbacks of a tenant.
const MOST_OPENINGS: usize = 8_192;

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    for callback in tenant.file.callbacks.entries() {
        let entry = &callback.value;
        tenant.check_class(&entry.class, problems);
        tenant.attachment(&entry.cloud, &callback.at, problems);
        check_office(tenant, entry, problems);
        check_seen_as(tenant, entry, problems);
        for caller in entry.from.value().into_iter().flatten() {
            check_private(caller.value, &caller.at, problems);
        }
        if let Some(to) = entry.to.given() {
            check_private(to.value.into(), &to.at, problems);
        }
        check_governance(&entry.governance, problems);
    }
    check_openings(&openings(tenant), tenant, problems);
}

fn check_office(tenant: &TenantView<'_>, entry: &CallbackEntry, problems: &mut Problems) {
    let (Some(class), Some(office)) = (entry.class.value(), entry.office.given()) else { return };
    if tenant.office_prefixes(*class).is_some_and(|prefixes| !prefixes.iter().any(|prefix| prefix.contains(office.value))) {
        problems
            .error(&office.at, format!("{} is no office address of class `{class}`", office.value))
            .help("name an address inside the class's prefixes under `office`");
    }
}

fn check_seen_as(tenant: &TenantView<'_>, entry: &CallbackEntry, problems: &mut Problems) {
    if let Some(seen_as) = entry.seen_as.given() {
        tenant.check_global(seen_as.value.into(), &seen_as.at, problems);
        if let Some(service) = is_destination(tenant, seen_as.value) {
            problems.error(&seen_as.at, format!("{} is the destination of a service", seen_as.value)).help(format!(
                "see {}: replies to the callback and requests to the service would meet; use another address",
                service.place()
            ));
        }
    } else if entry.seen_as.is_absent() {
        for caller in entry.from.value().into_iter().flatten() {
            tenant.check_not_conventional(caller.value, &caller.at, problems);
            tenant.check_not_office(caller.value, &caller.at, problems);
            if caller.value.prefix() < 32 {
                problems
                    .error(&caller.at, format!("{} is more than one host, and the callback has no `as`", short(caller.value)))
                    .help("add `as: GLOBAL`, or list the hosts whose addresses the office shall see as they are");
            }
        }
    }
}

/// One entry of `allow` for one caller.
struct Opening<'a> {
    attachment: Option<AttachmentIndex>,
    caller: Ipv4Network,
    called: Ipv4Addr,
    protocol: &'static str,
    ports: RangeInclusive<u16>,
    validity: Validity,
    at: &'a At,
}

impl Opening<'_> {
    fn overlaps(&self, other: &Opening<'_>) -> bool {
        self.attachment == other.attachment
            && self.called == other.called
            && self.protocol == other.protocol
            && self.caller.overlaps(other.caller)
            && ranges_overlap(&self.ports, &other.ports)
            && self.validity.overlaps(&other.validity)
    }
}

fn openings<'a>(tenant: &TenantView<'a>) -> Vec<Opening<'a>> {
    let mut found = Vec::new();
    for callback in tenant.file.callbacks.entries() {
        let entry = &callback.value;
        let called = if entry.to.is_absent() { &entry.office } else { &entry.to };
        let (Some(callers), Some(called), Some(allow)) = (entry.from.value(), called.value(), entry.allow.value()) else { continue };
        let attachment = tenant.clouds().and_then(|clouds| resolve::attachment_index(clouds, &entry.cloud));
        for caller in callers {
            for allow in allow {
                let (protocol, ports, _) = protocol_and_ports(&allow.value);
                let validity = validity(&entry.governance);
                found.push(Opening { attachment, caller: caller.value, called: *called, protocol, ports, validity, at: &allow.at });
            }
        }
    }
    found
}

fn check_openings(openings: &[Opening<'_>], tenant: &TenantView<'_>, problems: &mut Problems) {
    if openings.len() > MOST_OPENINGS {
        let at = &tenant.file.callbacks.entries()[0].at;
        problems
            .error(at, format!("the tenant's callbacks open {} callers and ports; at most {MOST_OPENINGS} are allowed", openings.len()))
            .help("use prefixes and port ranges");
        return;
    }
    for (index, later) in openings.iter().enumerate() {
        if let Some(first) = openings[..index].iter().find(|first| first.overlaps(later)) {
            problems
                .error(later.at, format!("{} at {} leads to an office host already", later.protocol, later.called))
                .help(format!("see {}: give one of the two another `to`, port, caller or validity", first.at.place()));
        }
    }
}
