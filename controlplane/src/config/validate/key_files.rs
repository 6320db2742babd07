//! Key files: each is opened once, whoever names it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::super::fields::Spanned;
use super::super::keys::{KeyFileError, KeyKind, shell_word};
use super::super::problem::{At, Problems};
use super::super::{KeyStore, Purpose, RelaySide};
use super::Tenants;

pub(super) fn check(side: &RelaySide, tenants: &Tenants<'_>, purpose: Purpose, keys: &mut KeyStore, problems: &mut Problems) {
    check_private_keys(side, tenants, purpose, keys, problems);
    let mut seen: HashMap<&Path, &At> = HashMap::new();
    for file in tenants.facts.iter().flat_map(|tenant| &tenant.preshared_key_files) {
        let path = file.value.as_path();
        if let Some(first) = seen.get(path) {
            problems
                .warning(&file.at, "this preshared key is another tunnel's already")
                .help(format!("{} names it: a secret of its own for each tunnel keeps one leak from becoming two", first.place()));
            continue;
        }
        if let Err(error) = keys.read(path) {
            report(&error, &file.at, path, KeyKind::Preshared, purpose, problems);
        }
        seen.insert(path, &file.at);
    }
}

fn check_private_keys(side: &RelaySide, tenants: &Tenants<'_>, purpose: Purpose, keys: &mut KeyStore, problems: &mut Problems) {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let endpoints = side.file.endpoints.entries().iter();
    for file in endpoints.filter_map(|entry| entry.value.wireguard.value()?.private_key_file.given()) {
        let path = side.resolve_path(&file.value);
        if seen.contains(&path) {
            continue;
        }
        match keys.read(&path) {
            Ok(key) => {
                let secret = x25519_dalek::StaticSecret::from(*key);
                check_no_peer_has(x25519_dalek::PublicKey::from(&secret).to_bytes(), file, tenants, problems);
            }
            Err(error) => report(&error, &file.at, &path, KeyKind::Private, purpose, problems),
        }
        seen.insert(path);
    }
}

/// Somebody pasted the relay's key where the municipality's belongs.
fn check_no_peer_has(own: [u8; 32], file: &Spanned<PathBuf>, tenants: &Tenants<'_>, problems: &mut Problems) {
    for key in tenants.facts.iter().flat_map(|tenant| &tenant.public_keys) {
        if key.value == own {
            problems
                .error(&key.at, "this is the relay's own public key")
                .help(format!("it belongs to the key file at {}: put the municipality's public key here", file.at.place()));
        }
    }
}

pub(super) fn report(error: &KeyFileError, at: &At, path: &Path, kind: KeyKind, purpose: Purpose, problems: &mut Problems) {
    let shown = path.display();
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists());
    let prepare = directory.map_or_else(String::new, |directory| format!("mkdir -p {} && ", shell_word(directory)));
    let make = format!("make it where the relay runs: {prepare}{}", kind.keygen_command(path));
    let protect = || format!("chmod 600 {}", shell_word(path));
    match error {
        KeyFileError::Missing if purpose == Purpose::Check => {
            problems.warning(at, format!("{shown}: {error}")).help(make);
        }
        KeyFileError::Missing => problems.error(at, format!("{shown}: {error}")).help(make),
        KeyFileError::Mode(_) => problems.error(at, format!("{shown}: {error}")).help(protect()),
        KeyFileError::Owner { expected, .. } => {
            problems.error(at, format!("{shown}: {error}")).help(format!("chown {expected} {}", shell_word(path)));
        }
        KeyFileError::NotAFile => problems.error(at, format!("{shown}: {error}")).help("name the key file itself"),
        KeyFileError::Content | KeyFileError::Zero | KeyFileError::Psk(_) => {
            problems.error(at, format!("{shown}: {error}")).help(format!("move it away, then {make}"));
        }
        KeyFileError::Certificate(_) => {
            problems.error(at, format!("{shown}: {error}")).help("`openssl x509 -in FILE -text` shows what is in it");
        }
        KeyFileError::Io(_) => problems.error(at, format!("{shown}: {error}")).help("run this as the user whom the relay runs as"),
    }
}
