//! The parts of relay and tenant files that speak of IPsec: tree -> values with positions.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::algorithms::{Proposal, child_proposal, ike_proposal};
use super::distinguished_name::DistinguishedName;
use super::fields::{Field, MapReader, Spanned, expected, help_for_unknown, one_or_many};
use super::model::{CryptoPolicy, Encapsulation, Identity, Initiate, PeerAddress};
use super::problem::{Problems, quoted};
use super::scalars::{self, integer, text};
use super::tree::{Node, Value};

/// More of them do not fit what routers accept in one message.
const MOST_PROPOSALS: usize = 16;
/// A router that fails is to be noticed, and one that works not to be asked all the time.
const DPD_SECONDS: RangeInclusive<i64> = 5..=3_600;
/// A day at most, as NIST SP 800-77 recommends for IKE SAs; short ones are for tests.
const IKE_LIFETIME_SECONDS: RangeInclusive<i64> = 10..=86_400;
const CHILD_LIFETIME_SECONDS: RangeInclusive<i64> = 5..=86_400;
/// What Yamaha's and NEC's routers take; RFC 7296 knows no limit.
const LONGEST_IDENTITY_BYTES: usize = 255;

#[derive(Debug)]
pub(super) struct IpsecEndpointEntry {
    pub(super) local_id: Field<Identity>,
    pub(super) certificate_file: Field<PathBuf>,
    pub(super) private_key_file: Field<PathBuf>,
    pub(super) authorities_file: Field<PathBuf>,
}

#[derive(Debug)]
pub(super) struct IpsecPeerEntry {
    pub(super) local_id: Field<Identity>,
    pub(super) remote_id: Field<Identity>,
    pub(super) psk_file: Field<PathBuf>,
    pub(super) previous_psk_file: Field<PathBuf>,
    /// `true`: the endpoint's certificate.
    pub(super) certificate: Field<bool>,
    pub(super) authorities_file: Field<PathBuf>,
    pub(super) peer: Field<PeerAddress>,
    pub(super) initiate: Field<Initiate>,
    pub(super) proposals: Field<ProposalsEntry>,
    pub(super) crypto_policy: Field<CryptoPolicy>,
    /// Seconds.
    pub(super) dpd: Field<u32>,
    pub(super) lifetimes: Field<LifetimesEntry>,
    pub(super) encapsulation: Field<Encapsulation>,
}

#[derive(Debug)]
pub(super) struct ProposalsEntry {
    pub(super) ike: Field<Vec<Spanned<Proposal>>>,
    pub(super) child: Field<Vec<Spanned<Proposal>>>,
}

/// Seconds.
#[derive(Debug)]
pub(super) struct LifetimesEntry {
    pub(super) ike: Field<u32>,
    pub(super) child: Field<u32>,
}

/// An endpoint and a tunnel are either WireGuard's or IPsec's.
pub(super) fn check_one_kind(map: &MapReader<'_>, problems: &mut Problems) {
    match (map.has("wireguard"), map.has("ipsec")) {
        (true, true) => problems
            .error(map.at(), "has both `wireguard` and `ipsec`")
            .help("keep one of them: each kind has an endpoint, and a tunnel, of its own"),
        (false, false) => {
            problems.error(map.at(), "names neither `wireguard` nor `ipsec`").help("add `wireguard: {...}` or `ipsec: {...}` here");
        }
        _ => {}
    }
}

pub(super) fn endpoint(node: &Node, problems: &mut Problems) -> Option<IpsecEndpointEntry> {
    let mut map = MapReader::open("`ipsec`", node, problems)?;
    let entry = IpsecEndpointEntry {
        local_id: map.optional("local_id", problems, identity),
        certificate_file: map.optional("certificate_file", problems, scalars::path),
        private_key_file: map.optional("private_key_file", problems, scalars::path),
        authorities_file: map.optional("authorities_file", problems, scalars::path),
    };
    map.finish(problems);
    Some(entry)
}

pub(super) fn peer(node: &Node, problems: &mut Problems) -> Option<IpsecPeerEntry> {
    let mut map = MapReader::open("`ipsec`", node, problems)?;
    let entry = IpsecPeerEntry {
        local_id: map.optional("local_id", problems, identity),
        remote_id: map.required("remote_id", problems, identity),
        psk_file: map.optional("psk_file", problems, scalars::path),
        previous_psk_file: map.optional("previous_psk_file", problems, scalars::path),
        certificate: map.optional("certificate", problems, scalars::truth),
        authorities_file: map.optional("authorities_file", problems, scalars::path),
        peer: map.optional("peer", problems, peer_address),
        initiate: map.optional("initiate", problems, initiate),
        proposals: map.optional("proposals", problems, proposals),
        crypto_policy: map.optional("crypto_policy", problems, crypto_policy),
        dpd: map.optional("dpd", problems, integer("the time in seconds after which a silent peer is asked", DPD_SECONDS)),
        lifetimes: map.optional("lifetimes", problems, lifetimes),
        encapsulation: map.optional("encapsulation", problems, encapsulation),
    };
    map.finish(problems);
    Some(entry)
}

/// One of a few words.
fn word<T: Copy>(what: &str, words: &[(&str, T)], node: &Node, problems: &mut Problems) -> Option<T> {
    let text = text(what, node, problems)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let help = help_for_unknown(text, words.iter().map(|(word, _)| *word), "known here");
        problems.error(&node.at, format!("expected {what}, found {}", quoted(text))).help(help);
    }
    found
}

fn initiate(node: &Node, problems: &mut Problems) -> Option<Initiate> {
    let words = [Initiate::OnDemand, Initiate::Always, Initiate::Never].map(|value| (value.as_str(), value));
    word("on-demand, always or never", &words, node, problems)
}

fn encapsulation(node: &Node, problems: &mut Problems) -> Option<Encapsulation> {
    word("auto or udp", &[("auto", Encapsulation::Auto), ("udp", Encapsulation::Udp)], node, problems)
}

fn peer_address(node: &Node, problems: &mut Problems) -> Option<PeerAddress> {
    if text("`any` or the router's IPv4 address", node, problems)? == "any" {
        return Some(PeerAddress::Any);
    }
    let address: Ipv4Addr = scalars::ipv4(node, problems)?;
    Some(PeerAddress::Fixed(address))
}

fn proposals(node: &Node, problems: &mut Problems) -> Option<ProposalsEntry> {
    let mut map = MapReader::open("`proposals`", node, problems)?;
    let entry = ProposalsEntry {
        ike: map
            .optional("ike", problems, |node: &Node, problems: &mut Problems| one_or_many(MOST_PROPOSALS, node, problems, ike_proposal)),
        child: map.optional("child", problems, |node: &Node, problems: &mut Problems| {
            one_or_many(MOST_PROPOSALS, node, problems, child_proposal)
        }),
    };
    map.finish(problems);
    Some(entry)
}

fn lifetimes(node: &Node, problems: &mut Problems) -> Option<LifetimesEntry> {
    let mut map = MapReader::open("`lifetimes`", node, problems)?;
    let entry = LifetimesEntry {
        ike: map.optional("ike", problems, integer("the life of an IKE SA in seconds", IKE_LIFETIME_SECONDS)),
        child: map.optional("child", problems, integer("the life of a CHILD SA in seconds", CHILD_LIFETIME_SECONDS)),
    };
    map.finish(problems);
    Some(entry)
}

/// `cryptrec`, `modern`, or `{legacy-until: DATE}`.
pub(super) fn crypto_policy(node: &Node, problems: &mut Problems) -> Option<CryptoPolicy> {
    if let Value::Mapping(_) = node.value {
        let mut map = MapReader::open("`crypto_policy`", node, problems)?;
        let until = map.required("legacy-until", problems, scalars::date);
        map.finish(problems);
        return until.value().map(|day| CryptoPolicy::LegacyUntil(*day));
    }
    word(
        "cryptrec, modern or {legacy-until: DATE}",
        &[("cryptrec", CryptoPolicy::Cryptrec), ("modern", CryptoPolicy::Modern)],
        node,
        problems,
    )
}

/// RFC 7296 section 3.5. What the text looks like says what it is.
pub(super) fn identity(node: &Node, problems: &mut Problems) -> Option<Identity> {
    const WHAT: &str = "an identity: a name (relay.example.jp), name@domain, an IPv4 address, keyid:TEXT, keyid:0xHEX or a certificate's subject (C=JP, CN=router)";
    let text = text(WHAT, node, problems)?;
    if text.len() > LONGEST_IDENTITY_BYTES {
        problems.error(&node.at, format!("an identity has at most {LONGEST_IDENTITY_BYTES} bytes")).help("shorten it at both ends");
        return None;
    }
    let found = parse_identity(text);
    if found.is_none() {
        expected(WHAT, node, problems);
        if text.contains('=') {
            problems.help_last(&format!(
                r"attributes of a subject are {}; a comma in a value is written \,",
                DistinguishedName::attribute_names()
            ));
        }
    }
    found
}

fn parse_identity(text: &str) -> Option<Identity> {
    if let Some(key_id) = text.strip_prefix("keyid:") {
        let bytes = match key_id.strip_prefix("0x") {
            Some(hex) => decode_hex(hex)?,
            None => key_id.as_bytes().to_vec(),
        };
        return (!bytes.is_empty()).then_some(Identity::KeyId(bytes));
    }
    if text.contains('=') {
        return DistinguishedName::parse(text).map(Identity::DistinguishedName);
    }
    if let Ok(address) = text.parse() {
        return Some(Identity::Ipv4(address));
    }
    if let Some((user, domain)) = text.split_once('@') {
        let well_formed = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@') && is_domain_name(domain);
        return well_formed.then(|| Identity::Email(text.to_owned()));
    }
    is_domain_name(text).then(|| Identity::Fqdn(text.to_owned()))
}

/// Routers accept single words and underscores as well; an address with a part missing is a mistake.
fn is_domain_name(text: &str) -> bool {
    let label = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        inside && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    let like_an_address = text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !like_an_address && text.split('.').all(label)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
