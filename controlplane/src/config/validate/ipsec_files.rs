//! What is looked at anew at each load for IPsec: preshared keys, and days that have passed.

use std::collections::HashMap;
use std::path::PathBuf;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

use super::super::fields::{Field, Spanned};
use super::super::ipsec_fields::IpsecPeerEntry;
use super::super::keys::KeyKind;
use super::super::model::CryptoPolicy;
use super::super::preshared;
use super::super::problem::{At, Problems};
use super::super::tenant_file::{TenantFile, TunnelEntry};
use super::super::{KeyStore, Purpose, RelaySide};
use super::key_files::report;
use super::{IpsecFacts, Tenants};

pub(super) fn facts(side: &RelaySide, file: &TenantFile) -> Vec<IpsecFacts> {
    let tunnels = file.tunnels.entries().iter().map(|(_, tunnel)| tunnel);
    tunnels.filter_map(|tunnel| Some(facts_of(side, file, tunnel, tunnel.ipsec.value()?))).collect()
}

fn facts_of(side: &RelaySide, file: &TenantFile, tunnel: &TunnelEntry, peer: &IpsecPeerEntry) -> IpsecFacts {
    let path = |field: &Field<PathBuf>| field.given().map(|file| Spanned { value: side.resolve_path(&file.value), at: file.at.clone() });
    let policy = peer.crypto_policy.given().or(file.crypto_policy.given());
    let legacy_until = policy.and_then(|policy| match policy.value {
        CryptoPolicy::LegacyUntil(day) => Some(Spanned { value: day, at: policy.at.clone() }),
        CryptoPolicy::Cryptrec | CryptoPolicy::Modern => None,
    });
    IpsecFacts {
        endpoint: tunnel.endpoint.value().cloned(),
        remote_id: peer.remote_id.given().cloned(),
        psk_file: path(&peer.psk_file),
        previous_psk_file: path(&peer.previous_psk_file),
        authorities_file: path(&peer.authorities_file),
        legacy_until,
    }
}

pub(super) fn check(tenants: &Tenants<'_>, purpose: Purpose, keys: &mut KeyStore, problems: &mut Problems) {
    let now = keys.now().unix_timestamp();
    let mut psks = Psks { purpose, seen: HashMap::new() };
    for tunnel in tenants.facts.iter().flat_map(|tenant| &tenant.ipsec) {
        if let Some(until) = &tunnel.legacy_until
            && !CryptoPolicy::LegacyUntil(until.value).is_legacy_at(now)
        {
            problems
                .warning(&until.at, format!("the exception ended on {}: the policy is `modern` again", until.value))
                .help("take it out, and what needs it out of `proposals`; or agree on another day with the municipality");
        }
        psks.check(tunnel, keys, problems);
    }
}

/// Secrets that were met, by their hash.
struct Psks<'a> {
    purpose: Purpose,
    seen: HashMap<[u8; 32], &'a At>,
}

impl<'a> Psks<'a> {
    fn check(&mut self, tunnel: &'a IpsecFacts, keys: &mut KeyStore, problems: &mut Problems) {
        let Some(file) = &tunnel.psk_file else { return };
        let current = self.read(file, keys, problems);
        if let Some(hash) = current
            && let Some(first) = self.seen.insert(hash, &file.at)
        {
            problems
                .warning(&file.at, "this preshared key is another tunnel's already")
                .help(format!("{} names it: a secret of its own for each tunnel keeps one leak from becoming two", first.place()));
        }
        let Some(previous) = &tunnel.previous_psk_file else { return };
        let same_file = previous.value == file.value;
        if same_file || (self.read(previous, keys, problems).is_some_and(|hash| current == Some(hash))) {
            problems
                .warning(&previous.at, "the previous key is the key itself")
                .help("make a new key in `psk_file`, or leave `previous_psk_file` out");
        }
    }

    /// The hash of the key in a file, and what is wrong with it.
    fn read(&self, file: &Spanned<PathBuf>, keys: &mut KeyStore, problems: &mut Problems) -> Option<[u8; 32]> {
        match keys.read_psk(&file.value) {
            Ok(psk) => {
                if preshared::is_short(psk) {
                    problems
                        .warning(
                            &file.at,
                            format!("{}: holds a preshared key of {} bytes, which can be guessed", file.value.display(), psk.len()),
                        )
                        .help(format!("20 or more random ones are safe: {}", KeyKind::Preshared.keygen_command(&file.value)));
                }
                Some(Blake2b::<U32>::digest(psk).into())
            }
            Err(error) => {
                report(&error, &file.at, &file.value, KeyKind::Preshared, self.purpose, problems);
                None
            }
        }
    }
}
