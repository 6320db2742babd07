//! What a second load takes from the first, and what it must not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::super::*;
use super::fixture::{CHUO, Fixture, NOTHING, relative_to};

/// All files were young when they were read: each is read again.
fn loader(fixture: &Fixture) -> Loader {
    Loader::new(&fixture.path("relay.yaml"), Purpose::Run)
}

/// All files are an hour old: the file system's word is enough.
fn trusting_loader(fixture: &Fixture) -> Loader {
    fn in_an_hour() -> OffsetDateTime {
        crate::clock::now() + Duration::HOUR
    }
    Loader::with_clock(&fixture.path("relay.yaml"), Purpose::Run, in_an_hour)
}

fn directory(fixture: &Fixture) -> &Path {
    Box::leak(fixture.path("").into_boxed_path())
}

/// The first lines of the problems of another load.
fn problems(loader: &mut Loader, fixture: &Fixture) -> Vec<String> {
    let loaded = loader.load();
    assert_eq!(loaded.relay.is_some(), loaded.problems.iter().all(|problem| problem.severity != Severity::Error));
    let first_line = |problem: &Problem| problem.to_string().lines().next().unwrap_or_default().to_owned();
    let base = directory(fixture).display().to_string();
    loaded.problems.iter().map(|problem| relative_to(Path::new(base.trim_end_matches('/')), &first_line(problem))).collect()
}

fn good(loader: &mut Loader) -> (RelayConfigModel, Effort) {
    let Loaded { relay, problems, effort } = loader.load();
    (relay.unwrap_or_else(|| panic!("{problems:?}")), effort)
}

const fn effort(files: usize, read: usize, parsed: usize) -> Effort {
    Effort { files, read, parsed }
}

#[test]
fn an_unchanged_file_is_not_parsed_again_and_an_old_one_not_even_read() {
    let fixture = Fixture::new();
    let (mut young, mut old) = (loader(&fixture), trusting_loader(&fixture));
    let (first, _) = good(&mut young);
    let (second, spent) = good(&mut young);
    assert_eq!(spent, effort(2, 2, 0));
    assert!(first.tenants.iter().zip(&second.tenants).all(|(a, b)| Arc::ptr_eq(a, b)), "the compiler sees at a glance");
    assert_eq!(good(&mut old).1, effort(2, 2, 2));
    assert_eq!(good(&mut old).1, effort(2, 0, 0));
    assert_eq!(first, good(&mut old).0);
}

#[test]
fn a_file_that_changed_without_changing_its_size_is_parsed_and_no_other() {
    let fixture = Fixture::new();
    for mut loader in [loader(&fixture), trusting_loader(&fixture)] {
        fixture.write("tenants/chuo.yaml", CHUO);
        let (before, _) = good(&mut loader);
        // The clock of the file system ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fixture.write("tenants/chuo.yaml", CHUO.replace("中央区", "央中区"));
        let (after, spent) = good(&mut loader);
        assert_eq!((after.tenants[1].name.as_str(), spent.parsed), ("央中区", 1));
        assert!(Arc::ptr_eq(&before.tenants[0], &after.tenants[0]));
    }
}

#[test]
fn a_removed_file_takes_its_tenant_along_and_a_renamed_one_keeps_it() {
    let fixture = Fixture::new();
    let mut loader = trusting_loader(&fixture);
    let (before, _) = good(&mut loader);
    fs::rename(fixture.path("tenants/chuo.yaml"), fixture.path("tenants/a.yaml")).expect("renamed");
    let (renamed, spent) = good(&mut loader);
    assert_eq!(spent, effort(2, 1, 1));
    assert_eq!((&renamed.tenants[0], &renamed.tenants[1]), (&before.tenants[1], &before.tenants[0]), "sorted by file name");
    fs::remove_file(fixture.path("tenants/a.yaml")).expect("removed");
    let (removed, spent) = good(&mut loader);
    assert_eq!((removed.tenants.len(), spent), (1, effort(1, 0, 0)));
    // What was forgotten with the file is read again when it comes back, and what it takes is free again.
    fixture.write("tenants/a.yaml", CHUO);
    assert_eq!(good(&mut loader).1, effort(2, 1, 1));
}

#[test]
fn a_tenant_in_two_files_is_told_although_neither_is_new() {
    let fixture = Fixture::new();
    let mut loader = trusting_loader(&fixture);
    good(&mut loader);
    fixture.write("tenants/copy.yaml", CHUO);
    let told = problems(&mut loader, &fixture);
    assert!(told.iter().any(|line| line.contains("the name `131024-chuo` is taken")), "{told:?}");
    assert_eq!(problems(&mut loader, &fixture), told, "and told again");
    fs::remove_file(fixture.path("tenants/copy.yaml")).expect("removed");
    assert_eq!(problems(&mut loader, &fixture), NOTHING);
}

#[test]
fn errors_of_unchanged_files_are_told_at_every_load_until_they_are_mended() {
    let fixture = Fixture::new();
    let mut loader = trusting_loader(&fixture);
    good(&mut loader);
    fixture.write("tenants/chuo.yaml", CHUO.replace("vlan: 2102", "vlan: 5000"));
    let told = problems(&mut loader, &fixture);
    assert!(told.len() == 1 && told[0].contains("5000 is out of range"), "{told:?}");
    // Another file changes; the bad one does not.
    fixture.write("tenants/third.yaml", "tenant: [");
    assert_eq!(problems(&mut loader, &fixture).len(), 2);
    fs::remove_file(fixture.path("tenants/third.yaml")).expect("removed");
    assert_eq!(problems(&mut loader, &fixture), told);
    fixture.write("tenants/chuo.yaml", CHUO);
    let (mended, spent) = good(&mut loader);
    assert_eq!((mended.tenants.len(), spent.parsed), (2, 1));
}

#[test]
fn another_relay_file_has_every_tenant_judged_anew() {
    let fixture = Fixture::new();
    let mut loader = trusting_loader(&fixture);
    good(&mut loader);
    let fixture = fixture.edit("relay.yaml", "203.0.113.0/26", "203.0.113.128/26");
    let told = problems(&mut loader, &fixture);
    assert!(told.len() >= 3 && told.iter().all(|line| line.contains("is outside shared_addresses")), "{told:?}");
    let fixture = fixture.edit("relay.yaml", "203.0.113.128/26", "203.0.113.0/24");
    assert_eq!(good(&mut loader).1, effort(2, 2, 2));
    drop(fixture);
}

#[test]
fn a_key_file_is_looked_at_every_time_and_read_when_it_changed() {
    let psk = |wireguard: &str| CHUO.replace("bhs=}}", &format!("bhs=, preshared_key_file: {wireguard}}}}}"));
    let fixture = Fixture::new();
    fixture.write("tenants/chuo.yaml", psk("keys/chuo.psk"));
    let path = fixture.path("keys/chuo.psk");
    let write = |byte: u8| {
        use base64::Engine;
        fixture.write_key("keys/chuo.psk", &base64::engine::general_purpose::STANDARD.encode([byte; 32]), 0o600);
    };
    assert!(psk("x").contains("preshared_key_file"));
    write(1);
    let mut loader = trusting_loader(&fixture);
    good(&mut loader);
    assert_eq!(loader.keys().read(&path).expect("read"), &[1; 32]);
    write(2);
    good(&mut loader);
    assert_eq!(loader.keys().read(&path).expect("read"), &[2; 32]);
    fs::remove_file(&path).expect("removed");
    let told = problems(&mut loader, &fixture);
    assert!(told.len() == 1 && told[0].contains("the key file does not exist"), "{told:?}");
    write(3);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("set");
    let told = problems(&mut loader, &fixture);
    assert!(told.len() == 1 && told[0].contains("has mode 0640"), "{told:?}");
}
