//! Key files: each is opened once, whoever names it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::fields::Spanned;
use super::super::keys::{KeyFileError, KeyKind, read_key, shell_word};
use super::super::problem::{At, Problems};
use super::super::{Files, Purpose};

pub(super) fn check(files: &Files, purpose: Purpose, problems: &mut Problems) {
    check_private_keys(files, purpose, problems);
    let mut seen: HashMap<PathBuf, &At> = HashMap::new();
    for tenant in &files.tenants {
        let tunnels = tenant.tunnels.entries().iter();
        for file in tunnels.filter_map(|(_, tunnel)| tunnel.wireguard.value()?.preshared_key_file.given()) {
            let path = files.resolve_path(&file.value);
            if let Some(first) = seen.get(&path) {
                problems
                    .warning(&file.at, "this preshared key is another tunnel's already")
                    .help(format!("{} names it: a secret of its own for each tunnel keeps one leak from becoming two", first.place()));
                continue;
            }
            if let Err(error) = read_key(&path) {
                report(&error, &file.at, &path, KeyKind::Preshared, purpose, problems);
            }
            seen.insert(path, &file.at);
        }
    }
}

fn check_private_keys(files: &Files, purpose: Purpose, problems: &mut Problems) {
    let mut seen: HashMap<PathBuf, Option<[u8; 32]>> = HashMap::new();
    let endpoints = files.relay.endpoints.entries().iter();
    for file in endpoints.filter_map(|entry| entry.value.wireguard.value()?.private_key_file.given()) {
        let path = files.resolve_path(&file.value);
        if seen.contains_key(&path) {
            continue;
        }
        let public_key = match read_key(&path) {
            Ok(key) => {
                let secret = x25519_dalek::StaticSecret::from(*key);
                Some(x25519_dalek::PublicKey::from(&secret).to_bytes())
            }
            Err(error) => {
                report(&error, &file.at, &path, KeyKind::Private, purpose, problems);
                None
            }
        };
        check_no_peer_has(public_key, file, files, problems);
        seen.insert(path, public_key);
    }
}

/// Somebody pasted the relay's key where the municipality's belongs.
fn check_no_peer_has(own: Option<[u8; 32]>, file: &Spanned<PathBuf>, files: &Files, problems: &mut Problems) {
    let Some(own) = own else { return };
    let tunnels = files.tenants.iter().flat_map(|tenant| tenant.tunnels.entries());
    for key in tunnels.filter_map(|(_, tunnel)| tunnel.wireguard.value()?.public_key.given()) {
        if key.value == own {
            problems
                .error(&key.at, "this is the relay's own public key")
                .help(format!("it belongs to the key file at {}: put the municipality's public key here", file.at.place()));
        }
    }
}

fn report(error: &KeyFileError, at: &At, path: &Path, kind: KeyKind, purpose: Purpose, problems: &mut Problems) {
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
        KeyFileError::Content | KeyFileError::Zero => {
            problems.error(at, format!("{shown}: {error}")).help(format!("move it away, then {make}"));
        }
        KeyFileError::Io(_) => problems.error(at, format!("{shown}: {error}")).help("run this as the user whom the relay runs as"),
    }
}
