//! How the cloud sees each class of one tenant.

use std::collections::HashMap;

use super::super::fields::Field;
use super::super::model::{AttachmentIndex, Class};
use super::super::problem::{At, Problems};
use super::super::resolve;
use super::super::scalars::short;
use super::super::tenant_file::{SourceEntry, SourceKind, StaticEntry};
use super::{TenantView, check_private, contains};

/// Ports of one address serve some 60,000 sessions; 1,024 addresses are more than any tenant may have.
const MOST_POOL_ADDRESSES: u64 = 1_024;
const MOST_STATIC_ADDRESSES: u64 = 4_096;

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    let entries = tenant.file.source.entries();
    let mut seen: HashMap<(Class, AttachmentIndex), &At> = HashMap::new();
    for entry in entries {
        if tenant.lacks(entry.class) {
            problems
                .error(&entry.class_at, format!("the tenant has no class `{}`", entry.class))
                .help(format!("add `{}` with its prefixes under `office`, or remove it here", entry.class));
        }
        for attachment in attachments(tenant, entry, problems) {
            if let Some(first) = seen.insert((entry.class, attachment), &entry.at) {
                problems
                    .error(&entry.at, format!("class `{}` has a source on this cloud already", entry.class))
                    .help(format!("see {}: keep one of the two", first.place()));
            }
        }
        check_kind(tenant, entry, problems);
    }
    check_every_class(tenant, entries, problems);
    check_filterings(tenant, entries, problems);
}

fn attachments(tenant: &TenantView<'_>, entry: &SourceEntry, problems: &mut Problems) -> Vec<AttachmentIndex> {
    if entry.every_cloud {
        return tenant.clouds().and_then(|clouds| resolve::source_attachments(clouds, entry)).unwrap_or_default();
    }
    tenant.attachment(&entry.cloud, &entry.at, problems).into_iter().collect()
}

fn check_kind(tenant: &TenantView<'_>, entry: &SourceEntry, problems: &mut Problems) {
    match &entry.kind {
        Some(SourceKind::Napt(pools)) => {
            for pool in pools {
                check_private(pool.value, &pool.at, problems);
            }
            let total: u64 = pools.iter().map(|pool| u64::from(pool.value.size())).sum();
            if total > MOST_POOL_ADDRESSES {
                problems
                    .error(&entry.at, format!("the pool has {total} addresses; at most {MOST_POOL_ADDRESSES} are allowed"))
                    .help("one address serves tens of thousands of sessions: a /30 is plenty for most");
            }
        }
        Some(SourceKind::Static(pairs)) => check_static(tenant, entry, pairs, problems),
        Some(SourceKind::Keep) | None => {}
    }
}

fn check_static(tenant: &TenantView<'_>, entry: &SourceEntry, pairs: &[StaticEntry], problems: &mut Problems) {
    let office = tenant.office_prefixes(entry.class);
    for (index, pair) in pairs.iter().enumerate() {
        check_private(pair.cloud, &pair.cloud_at, problems);
        if pair.office.prefix() != pair.cloud.prefix() {
            problems
                .error(&pair.cloud_at, format!("{} and {} differ in length", short(pair.office), short(pair.cloud)))
                .help(format!("1:1 needs as many addresses on both sides: a /{} here", pair.office.prefix()));
        }
        if office.as_ref().is_some_and(|prefixes| !prefixes.iter().any(|prefix| contains(*prefix, pair.office))) {
            problems
                .error(&pair.office_at, format!("{} is no office address of class `{}`", short(pair.office), entry.class))
                .help("name an address inside the class's prefixes under `office`");
        }
        if let Some(other) = pairs[..index].iter().find(|other| other.office.overlaps(pair.office)) {
            problems
                .error(&pair.office_at, format!("{} overlaps {}, which has a target already", short(pair.office), short(other.office)))
                .help(format!("see {}: each office address has one target", other.office_at.place()));
        }
    }
    let total: u64 = pairs.iter().map(|pair| u64::from(pair.office.size())).sum();
    if total > MOST_STATIC_ADDRESSES {
        problems.error(&entry.at, format!("translates {total} addresses one by one; at most {MOST_STATIC_ADDRESSES} are allowed"));
    }
}

/// No class may be left to chance: translated or kept, but said.
fn check_every_class(tenant: &TenantView<'_>, entries: &[SourceEntry], problems: &mut Problems) {
    for office in tenant.file.office.entries() {
        if tenant.file.source.is_complete() && entries.iter().all(|entry| entry.class != office.class) {
            problems
                .error(&office.at, format!("the source of class `{}` is neither translated nor kept", office.class))
                .help(format!("add `{}: {{napt: [PREFIX]}}`, `{{static: {{OFFICE: CLOUD}}}}` or `keep` under `source`", office.class));
        }
    }
    let Some(clouds) = tenant.clouds() else { return };
    let uses = tenant.file.services.entries().iter().map(|service| (&service.value.class, &service.value.cloud));
    for (class, cloud) in uses {
        let (Some(class), Some(attachment)) = (class.given(), resolve::attachment_index(clouds, cloud)) else { continue };
        let mut of_class = entries.iter().filter(|entry| entry.class == class.value).peekable();
        // A class without any source is named above; one whose cloud is unknown has its problem too.
        let judged = of_class.peek().is_some();
        let covered = of_class.any(|entry| resolve::source_attachments(clouds, entry).is_none_or(|list| list.contains(&attachment)));
        if judged && !covered {
            let name = &clouds.entries[attachment.0].0.name;
            problems
                .error(&class.at, format!("the source of class `{}` is neither translated nor kept on cloud `{name}`", class.value))
                .help(format!("add an entry with `cloud: {name}` to `source.{}`", class.value));
        }
    }
}

/// Only the mappings of a pool are filtered: what a service says of it must not promise anything where there are none.
fn check_filterings(tenant: &TenantView<'_>, entries: &[SourceEntry], problems: &mut Problems) {
    let Some(clouds) = tenant.clouds() else { return };
    for service in tenant.file.services.entries().iter().map(|service| &service.value) {
        let Field::Given(filtering) = &service.filtering else { continue };
        let (Some(class), Some(attachment)) = (service.class.value(), resolve::attachment_index(clouds, &service.cloud)) else { continue };
        let is_its_source = |entry: &&SourceEntry| {
            entry.class == *class && resolve::source_attachments(clouds, entry).is_some_and(|list| list.contains(&attachment))
        };
        if let Some(SourceKind::Static(_) | SourceKind::Keep) = entries.iter().find(is_its_source).and_then(|entry| entry.kind.as_ref()) {
            problems
                .error(&filtering.at, format!("filters nothing: the source of class `{class}` is no `napt` pool"))
                .help("remove it; `callbacks` say what the cloud may open towards addresses that are kept or translated 1:1");
        }
    }
}
