//! One IPsec tunnel by itself and with its endpoint.

use super::super::algorithms::{Algorithm, Proposal};
use super::super::fields::{Field, Spanned};
use super::super::ipsec_fields::IpsecPeerEntry;
use super::super::model::{CryptoPolicy, PeerAddress};
use super::super::problem::{At, Problems};
use super::super::relay_file::EndpointEntry;
use super::super::resolve;
use super::TenantView;

/// Below it, a rekey costs more than it protects: what tests ask for, not what a town hall needs.
const SHORT_LIFETIME_SECONDS: u32 = 300;

pub(super) fn check(tenant: &TenantView<'_>, peer: &Spanned<IpsecPeerEntry>, endpoint: Option<&EndpointEntry>, problems: &mut Problems) {
    check_authentication(&peer.value, &peer.at, endpoint, problems);
    check_policy(tenant, &peer.value, problems);
    check_proposals(tenant, &peer.value, problems);
    check_identities(&peer.value, endpoint, problems);
    check_selectors(tenant, &peer.at, problems);
    let Some(lifetimes) = peer.value.lifetimes.value() else { return };
    for lifetime in [&lifetimes.ike, &lifetimes.child].into_iter().filter_map(Field::given) {
        if lifetime.value < SHORT_LIFETIME_SECONDS {
            problems
                .warning(&lifetime.at, format!("a life of {} s is for tests: each rekey costs both ends a key exchange", lifetime.value))
                .help(format!("3600 for `child` and 28800 for `ike` are usual; at least {SHORT_LIFETIME_SECONDS}"));
        }
    }
}

fn check_authentication(peer: &IpsecPeerEntry, at: &At, endpoint: Option<&EndpointEntry>, problems: &mut Problems) {
    let wants_certificate = match &peer.certificate {
        Field::Invalid => return,
        Field::Absent => false,
        Field::Given(given) => given.value,
    };
    match (wants_certificate, peer.psk_file.is_absent()) {
        (false, true) => problems
            .error(at, "has no way to prove who is who")
            .help("add `psk_file: keys/NAME.psk` (made by `chukei keygen --psk`), or `certificate: true`"),
        (true, false) => problems.error(at, "has both `psk_file` and `certificate: true`").help("keep one of them"),
        (true, true) => check_certificate(peer, at, endpoint, problems),
        (false, false) => {}
    }
    if let (true, Some(authorities)) = (!wants_certificate, peer.authorities_file.given()) {
        problems
            .error(&authorities.at, "authorities are for certificates, and this tunnel has none")
            .help("add `certificate: true` in place of `psk_file`, or leave `authorities_file` out");
    }
    if let (true, Some(previous)) = (peer.psk_file.is_absent(), peer.previous_psk_file.given()) {
        problems.error(&previous.at, "a previous key without a key").help("name the new key's file as `psk_file`");
    }
}

fn check_certificate(peer: &IpsecPeerEntry, at: &At, endpoint: Option<&EndpointEntry>, problems: &mut Problems) {
    let Some((endpoint, ipsec)) = endpoint.and_then(|endpoint| Some((endpoint, endpoint.ipsec.value()?))) else { return };
    let name = endpoint.name.value().map_or("?", |name| name);
    if ipsec.certificate_file.is_absent() {
        problems
            .error(at, format!("the endpoint `{name}` has no certificate to prove the relay with"))
            .help("add `certificate_file` and `private_key_file` to the endpoint in the relay file, or use `psk_file`");
    }
    if ipsec.authorities_file.is_absent() && peer.authorities_file.is_absent() {
        problems
            .error(at, "names no authorities whose certificates are believed")
            .help("add `authorities_file: FILE.pem` here, or to the endpoint for all its tunnels");
    }
}

fn check_policy(tenant: &TenantView<'_>, peer: &IpsecPeerEntry, problems: &mut Problems) {
    let of_tenant = tenant.file.crypto_policy.given();
    if let (Some(own), Some(of_tenant)) = (peer.crypto_policy.given(), of_tenant)
        && of_tenant.value == CryptoPolicy::Cryptrec
        && own.value != CryptoPolicy::Cryptrec
    {
        problems
            .error(&own.at, format!("a tunnel's policy `{}` is wider than its tenant's, which is `cryptrec`", own.value))
            .help(format!("leave it out here, or change the tenant's at {}", of_tenant.at.place()));
    }
    let given = peer.crypto_policy.given().or(of_tenant);
    let fixed = peer.peer.value().is_some_and(|peer| matches!(peer, PeerAddress::Fixed(_))) || matches!(peer.peer, Field::Invalid);
    if let Some(policy) = given
        && matches!(policy.value, CryptoPolicy::LegacyUntil(_))
        && !fixed
    {
        problems
            .error(
                &policy.at,
                "old algorithms for a router at any address: whoever calls would be offered them before it is known who calls",
            )
            .help("name the router's fixed address as `peer`, or use the policy `modern`");
    }
}

fn check_proposals(tenant: &TenantView<'_>, peer: &IpsecPeerEntry, problems: &mut Problems) {
    let Some(proposals) = peer.proposals.given() else { return };
    if proposals.value.ike.is_absent() && proposals.value.child.is_absent() {
        problems
            .error(&proposals.at, "names neither `ike` nor `child`")
            .help("name at least one of them, or leave the key `proposals` out");
    }
    let policy = resolve::ipsec::policy(&tenant.side.file, tenant.file, peer);
    for proposal in [&proposals.value.ike, &proposals.value.child].into_iter().filter_map(Field::value).flatten() {
        if let Some(algorithm) = outside(policy, &proposal.value) {
            problems
                .error(&proposal.at, format!("`{}` is outside crypto_policy `{policy}`", algorithm.keyword))
                .help(help_for_outside(policy, algorithm));
        }
    }
}

fn outside(policy: CryptoPolicy, proposal: &Proposal) -> Option<&'static Algorithm> {
    match policy {
        CryptoPolicy::Cryptrec => proposal.outside_cryptrec().next(),
        CryptoPolicy::Modern => proposal.legacy().next(),
        CryptoPolicy::LegacyUntil(_) => None,
    }
}

fn help_for_outside(policy: CryptoPolicy, algorithm: &Algorithm) -> String {
    use super::super::algorithms::Strength;
    match (policy, algorithm.strength) {
        (CryptoPolicy::Cryptrec, Strength::Modern) => "take another one, or set `crypto_policy: modern` for this tunnel".to_owned(),
        _ => "take another one, or set `crypto_policy: {legacy-until: DATE}` for this tunnel of a router with a fixed address".to_owned(),
    }
}

fn check_identities(peer: &IpsecPeerEntry, endpoint: Option<&EndpointEntry>, problems: &mut Problems) {
    let Some(remote) = peer.remote_id.given() else { return };
    let of_endpoint = endpoint.and_then(|endpoint| endpoint.ipsec.value()?.local_id.given());
    if let Some(local) = peer.local_id.given().or(of_endpoint)
        && local.value.folded() == remote.value.folded()
    {
        problems
            .error(&remote.at, format!("`{}` is the relay's own identity", remote.value))
            .help(format!("it stands at {} as local_id: each end needs an identity of its own", local.at.place()));
    }
}

/// Each office prefix is a selector of its own, with at least one on the relay's side.
fn check_selectors(tenant: &TenantView<'_>, at: &At, problems: &mut Problems) {
    let prefixes = tenant.file.office.entries().iter().filter_map(|entry| entry.prefixes.as_ref()).flatten();
    let count = crate::compile::joined_prefixes(prefixes.map(|prefix| prefix.value).collect()).len();
    let most = dataplane::tunnel::esp::sa::MAX_SELECTORS;
    if count > most {
        problems
            .error(at, format!("the tenant has {count} office prefixes, and an SA carries {most} at most"))
            .help("write fewer and shorter ones under `office`: neighbours that make one prefix count as one");
    }
}
