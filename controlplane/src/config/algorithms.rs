//! Names of algorithms as routers' documents and strongSwan write them, and proposals made of them: `aes256-sha256-modp2048`.

use std::fmt;

use super::fields::{expected, help_for_unknown};
use super::problem::{Problems, quoted};
use super::tree::{Node, Value};

/// RFC 7296 section 3.3.2: the kinds of transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Transform type 1, with the integrity built in.
    Aead,
    /// Transform type 1.
    Encryption,
    /// Transform type 3.
    Integrity,
    /// Transform type 2.
    Prf,
    /// Transform type 4.
    Group,
}

/// Where an algorithm may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// On CRYPTREC's list.
    Cryptrec,
    /// By the policy `modern` only.
    Modern,
    /// By a dated exception only.
    Legacy,
    /// Never; the text says why.
    Refused(&'static str),
}

/// An algorithm by its numbers in IANA's registry of IKEv2 parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct Algorithm {
    pub keyword: &'static str,
    pub kind: Kind,
    pub transform_id: u16,
    /// The attribute Key Length, where the algorithm has several.
    pub key_bits: Option<u16>,
    pub strength: Strength,
}

const fn row(keyword: &'static str, kind: Kind, transform_id: u16, strength: Strength) -> Algorithm {
    Algorithm { keyword, kind, transform_id, key_bits: None, strength }
}

const fn keyed(keyword: &'static str, kind: Kind, transform_id: u16, bits: u16) -> Algorithm {
    Algorithm { keyword, kind, transform_id, key_bits: Some(bits), strength: Strength::Cryptrec }
}

const BROKEN: Strength = Strength::Refused("broken or too short to protect residents' data");
const NOT_BUILT: Strength = Strength::Refused("not built");

/// Every name that is understood; the first of several names of one algorithm is the one that is shown.
pub(super) static ALGORITHMS: [Algorithm; 47] = [
    keyed("aes256gcm16", Kind::Aead, 20, 256),
    keyed("aes128gcm16", Kind::Aead, 20, 128),
    keyed("aes256gcm", Kind::Aead, 20, 256),
    keyed("aes128gcm", Kind::Aead, 20, 128),
    row("aes192gcm16", Kind::Aead, 20, NOT_BUILT),
    row("chacha20poly1305", Kind::Aead, 28, Strength::Refused("not built: its place on the CRYPTREC list is unverified")),
    keyed("aes256", Kind::Encryption, 12, 256),
    keyed("aes192", Kind::Encryption, 12, 192),
    keyed("aes128", Kind::Encryption, 12, 128),
    row("aes256ctr", Kind::Encryption, 13, NOT_BUILT),
    row("aes128ctr", Kind::Encryption, 13, NOT_BUILT),
    row("3des", Kind::Encryption, 3, BROKEN),
    row("des", Kind::Encryption, 2, BROKEN),
    row("null", Kind::Encryption, 11, Strength::Refused("no encryption at all")),
    row("sha256", Kind::Integrity, 12, Strength::Cryptrec),
    row("sha384", Kind::Integrity, 13, Strength::Cryptrec),
    row("sha512", Kind::Integrity, 14, Strength::Cryptrec),
    row("sha2_256", Kind::Integrity, 12, Strength::Cryptrec),
    row("sha2_384", Kind::Integrity, 13, Strength::Cryptrec),
    row("sha2_512", Kind::Integrity, 14, Strength::Cryptrec),
    row("sha1", Kind::Integrity, 2, Strength::Legacy),
    row("sha", Kind::Integrity, 2, Strength::Legacy),
    row("md5", Kind::Integrity, 1, BROKEN),
    row("aesxcbc", Kind::Integrity, 5, NOT_BUILT),
    row("prfsha256", Kind::Prf, 5, Strength::Cryptrec),
    row("prfsha384", Kind::Prf, 6, Strength::Cryptrec),
    row("prfsha512", Kind::Prf, 7, Strength::Cryptrec),
    row("prfsha1", Kind::Prf, 2, Strength::Legacy),
    row("prfmd5", Kind::Prf, 1, BROKEN),
    row("modp2048", Kind::Group, 14, Strength::Cryptrec),
    row("modp3072", Kind::Group, 15, Strength::Cryptrec),
    row("modp4096", Kind::Group, 16, Strength::Cryptrec),
    row("ecp256", Kind::Group, 19, Strength::Cryptrec),
    row("ecp384", Kind::Group, 20, Strength::Cryptrec),
    row("ecp521", Kind::Group, 21, Strength::Cryptrec),
    row("x25519", Kind::Group, 31, Strength::Modern),
    row("curve25519", Kind::Group, 31, Strength::Modern),
    row("modp1536", Kind::Group, 5, Strength::Legacy),
    row("modp1024", Kind::Group, 2, BROKEN),
    row("modp768", Kind::Group, 1, BROKEN),
    row("modp1024s160", Kind::Group, 22, BROKEN),
    row("modp2048s224", Kind::Group, 23, Strength::Refused("RFC 8247 advises against it: the origin of its numbers is not known")),
    row("modp2048s256", Kind::Group, 24, Strength::Refused("RFC 8247 advises against it: the origin of its numbers is not known")),
    row("modp6144", Kind::Group, 17, NOT_BUILT),
    row("modp8192", Kind::Group, 18, NOT_BUILT),
    row("ecp224", Kind::Group, 26, BROKEN),
    row("curve448", Kind::Group, 32, NOT_BUILT),
];

/// Algorithms of which the two ends choose one of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal(Vec<&'static Algorithm>);

impl Proposal {
    pub fn algorithms(&self) -> &[&'static Algorithm] {
        &self.0
    }

    /// Those that need a dated exception.
    pub fn legacy(&self) -> impl Iterator<Item = &'static Algorithm> {
        self.0.iter().copied().filter(|algorithm| algorithm.strength == Strength::Legacy)
    }

    /// Those that `cryptrec` refuses.
    pub fn outside_cryptrec(&self) -> impl Iterator<Item = &'static Algorithm> {
        self.0.iter().copied().filter(|algorithm| algorithm.strength != Strength::Cryptrec)
    }

    fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|algorithm| algorithm.kind == kind)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|algorithm| algorithm.keyword).collect();
        f.write_str(&words.join("-"))
    }
}

/// For the IKE SA: encryption, integrity unless it is built in, a pseudorandom function (that of the integrity where none is named), a group.
pub(super) fn ike_proposal(node: &Node, problems: &mut Problems) -> Option<Proposal> {
    let mut proposal = words("an IKE proposal such as aes256-sha256-modp2048", node, problems)?;
    if !proposal.has(Kind::Prf) {
        let functions: Vec<_> = proposal.0.iter().filter_map(|algorithm| prf_of(algorithm)).collect();
        proposal.0.extend(functions);
    }
    let complaint = cipher_complaint(&proposal).or_else(|| match () {
        () if !proposal.has(Kind::Prf) => Some(("names no pseudorandom function", "add one: prfsha256 or prfsha384")),
        () if !proposal.has(Kind::Group) => Some(("names no Diffie-Hellman group", "add one: modp2048, ecp256 or ecp384")),
        () => None,
    });
    judged(proposal, complaint, node, problems)
}

/// For the CHILD SA: encryption, integrity unless it is built in, a group where keys shall not follow from the IKE SA's (PFS).
pub(super) fn child_proposal(node: &Node, problems: &mut Problems) -> Option<Proposal> {
    let proposal = words("a child proposal such as aes256-sha256", node, problems)?;
    let prf = "has a pseudorandom function, which a CHILD SA does not negotiate";
    let complaint = cipher_complaint(&proposal).or_else(|| proposal.has(Kind::Prf).then_some((prf, "leave it out here")));
    judged(proposal, complaint, node, problems)
}

type Complaint = Option<(&'static str, &'static str)>;

fn judged(proposal: Proposal, complaint: Complaint, node: &Node, problems: &mut Problems) -> Option<Proposal> {
    let Some((wrong, help)) = complaint else { return Some(proposal) };
    problems.error(&node.at, format!("{} {wrong}", quoted(&proposal.to_string()))).help(help);
    None
}

fn cipher_complaint(proposal: &Proposal) -> Complaint {
    match (proposal.has(Kind::Aead), proposal.has(Kind::Encryption), proposal.has(Kind::Integrity)) {
        (false, false, _) => Some(("names no encryption", "add one: aes256 or aes256gcm16")),
        (true, true, _) => Some(("mixes AES-GCM with AES-CBC", "make two proposals of it")),
        (true, false, true) => Some((
            "has an integrity algorithm beside AES-GCM, which has its own",
            "leave it out; in an IKE proposal a pseudorandom function is written prfsha256 or prfsha384",
        )),
        (false, true, false) => Some(("names no integrity algorithm for AES-CBC", "add one: sha256")),
        (true, false, false) | (false, true, true) => None,
    }
}

/// The pseudorandom function of the same hash.
fn prf_of(algorithm: &Algorithm) -> Option<&'static Algorithm> {
    let id = match (algorithm.kind, algorithm.transform_id) {
        (Kind::Integrity, 2) => 2,
        (Kind::Integrity, 12) => 5,
        (Kind::Integrity, 13) => 6,
        (Kind::Integrity, 14) => 7,
        _ => return None,
    };
    ALGORITHMS.iter().find(|algorithm| algorithm.kind == Kind::Prf && algorithm.transform_id == id)
}

/// All words that are wrong are named at once.
fn words(what: &str, node: &Node, problems: &mut Problems) -> Option<Proposal> {
    let Value::Text(text) = &node.value else {
        expected(what, node, problems);
        return None;
    };
    let found: Vec<_> = text.split('-').map(|word| algorithm(word, node, problems)).collect();
    let mut algorithms: Vec<&'static Algorithm> = found.into_iter().collect::<Option<_>>()?;
    let mut seen = Vec::new();
    algorithms.retain(|algorithm| {
        let new = !seen.contains(&(algorithm.kind, algorithm.transform_id, algorithm.key_bits));
        seen.push((algorithm.kind, algorithm.transform_id, algorithm.key_bits));
        new
    });
    Some(Proposal(algorithms))
}

fn algorithm(word: &str, node: &Node, problems: &mut Problems) -> Option<&'static Algorithm> {
    let lower = word.to_ascii_lowercase();
    let Some(found) = ALGORITHMS.iter().find(|algorithm| algorithm.keyword == lower) else {
        let usable = ALGORITHMS.iter().filter(|algorithm| !matches!(algorithm.strength, Strength::Refused(_)));
        let help = help_for_unknown(&lower, usable.map(|algorithm| algorithm.keyword), "algorithms");
        problems.error(&node.at, format!("unknown algorithm {}", quoted(word))).help(help);
        return None;
    };
    if let Strength::Refused(why) = found.strength {
        problems
            .error(&node.at, format!("{} is refused: {why}", quoted(word)))
            .help("municipal routers all have aes256-sha256-modp2048, some aes256gcm16-prfsha384-ecp384");
        return None;
    }
    Some(found)
}
