use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::config::{self, Class, Loaded, Purpose, RelayConfigModel, SourceTranslation};

fn options(tenants: Option<usize>, services: usize) -> Options {
    Options { tenants, services, seed: 1, ipsec: false }
}

fn generated(options: Options) -> (tempfile::TempDir, Written) {
    let directory = tempfile::tempdir().expect("a directory");
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    let written = write(directory.path(), &listed, options).expect("written");
    (directory, written)
}

fn accepted(directory: &Path) -> RelayConfigModel {
    let Loaded { relay, problems, .. } = config::load(&directory.join("relay.yaml"), Purpose::Run);
    assert!(problems.is_empty(), "{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    relay.expect("no problems")
}

/// Every file by its path, with its mode.
fn files_of(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_of(&path));
        } else {
            let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            found.insert(path.clone(), (fs::read(&path).expect("readable"), mode));
        }
    }
    found
}

#[test]
fn the_whole_country_passes_with_neither_errors_nor_warnings() {
    let (directory, written) = generated(options(None, 20));
    assert_eq!((written.tenants, written.services), (1_788, 35_760));
    let relay = accepted(directory.path());
    assert_eq!(relay.tenants.len(), 1_788);
    assert_eq!(relay.tenants.iter().map(|tenant| tenant.services.len()).sum::<usize>(), 35_760);
    assert_eq!(relay.tenants.iter().map(|tenant| tenant.tunnels.len()).sum::<usize>(), written.tunnels);
}

#[test]
fn a_country_with_ipsec_passes_as_well_and_needs_no_key_pairs() {
    let (directory, written) = generated(Options { ipsec: true, ..options(Some(60), 20) });
    let relay = accepted(directory.path());
    let tunnels = relay.tenants.iter().flat_map(|tenant| &tenant.tunnels);
    let identities: HashSet<String> = tunnels
        .map(|tunnel| match &tunnel.kind {
            config::TunnelKind::Ipsec(ipsec) => ipsec.remote_id.to_string(),
            config::TunnelKind::WireGuard { .. } => panic!("another kind"),
        })
        .collect();
    assert_eq!(identities.len(), written.tunnels);
    let extensions = |wanted: &str| files_of(directory.path()).keys().filter(|path| path.extension().is_some_and(|e| e == wanted)).count();
    assert_eq!((extensions("psk"), extensions("key")), (written.tunnels, 0));
}

#[test]
fn fifty_services_each_for_bodies_beyond_the_list_pass_as_well() {
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &listed[..20], options(Some(40), 50)).expect("written");
    let relay = accepted(directory.path());
    assert_eq!(relay.tenants.iter().map(|tenant| tenant.services.len()).sum::<usize>(), 2_000);
    assert!(relay.tenants.iter().any(|tenant| tenant.id == "kouiki-0001"));
}

#[test]
fn the_most_services_that_there_are_globals_for_pass() {
    let (directory, _) = generated(options(Some(12), MOST_SERVICES));
    accepted(directory.path());
}

#[test]
fn tenants_share_addresses_and_differ_in_size_translation_and_classes() {
    let (directory, _) = generated(options(Some(200), 20));
    let relay = accepted(directory.path());
    let tenants = &relay.tenants;
    let office: HashSet<_> = tenants.iter().map(|tenant| tenant.office_prefixes(Class::Mynumber)[0].network()).collect();
    assert!(office.len() <= 4, "two hundred tenants share {} office networks", office.len());
    let limits: HashSet<u32> = tenants.iter().map(|tenant| tenant.limits.sessions).collect();
    assert!(limits.len() >= 5, "{limits:?}");
    let kind = |translation: &SourceTranslation| match translation {
        SourceTranslation::Napt(_) => 0,
        SourceTranslation::Static(_) => 1,
        SourceTranslation::Keep => 2,
    };
    let kinds: HashSet<i32> = tenants.iter().flat_map(|tenant| &tenant.sources).map(|source| kind(&source.translation)).collect();
    assert_eq!(kinds.len(), 3);
    for class in Class::ALL {
        assert!(tenants.iter().all(|tenant| tenant.services.iter().any(|service| service.class == class)), "{class}");
    }
    let with_callbacks = tenants.iter().filter(|tenant| !tenant.callbacks.is_empty()).count();
    assert!((100..200).contains(&with_callbacks), "{with_callbacks} of 200: all but the villages");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_other_keys() {
    let (first, _) = generated(options(Some(30), 5));
    let (again, _) = generated(options(Some(30), 5));
    let (other, _) = generated(Options { seed: 2, ..options(Some(30), 5) });
    let relative = |directory: &Path| -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
        let files = files_of(directory).into_iter();
        files.map(|(path, content)| (path.strip_prefix(directory).expect("inside").to_owned(), content)).collect()
    };
    assert!(relative(first.path()) == relative(again.path()));
    let key = |directory: &tempfile::TempDir| fs::read(directory.path().join(files::RELAY_KEY)).expect("there");
    assert_ne!(key(&first), key(&other));
}

#[test]
fn private_and_preshared_keys_are_readable_by_their_owner_only_and_belong_to_the_tenants() {
    let (directory, written) = generated(options(Some(50), 1));
    let relay = accepted(directory.path());
    let mut secret = 0;
    for (path, (_, mode)) in files_of(directory.path()) {
        let is_secret = path.extension().is_some_and(|extension| extension == "key" || extension == "psk");
        assert_eq!(mode, if is_secret { 0o600 } else { 0o644 }, "{}", path.display());
        secret += usize::from(is_secret);
    }
    assert!(secret > written.tunnels, "{secret} secrets");
    for tenant in &relay.tenants {
        let file = directory.path().join(format!("routers/{}.key", tenant.id));
        let private = config::read_key(&file).expect("a key");
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*private));
        let config::TunnelKind::WireGuard { public_key, .. } = &tenant.tunnels[0].kind else { panic!("another kind") };
        assert_eq!(public.as_bytes(), public_key, "{}", tenant.id);
    }
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("relay.yaml"), "mine").expect("written");
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    let error = write(directory.path(), &listed, options(Some(1), 1)).expect_err("refused").to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(files_of(directory.path()).len(), 1);
}

#[test]
fn more_than_the_vlans_of_a_trunk_or_none_at_all_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    for (tenants, services) in [(0, 1), (MOST_TENANTS + 1, 1), (1, 0), (1, MOST_SERVICES + 1)] {
        write(directory.path(), &listed, options(Some(tenants), services)).expect_err("out of bounds");
    }
    assert!(files_of(directory.path()).is_empty());
}
