//! Why no suite was chosen, in words with the remedy: what the person at the router has to type.

use std::fmt;

use super::choose::offered_anywhere;
use super::words::{group_words, transform_words};
use super::{ChildProposal, IkeProposal};
use crate::message::{Proposal, Protects, Transform, TransformType};
use crate::transforms::{Group, Integrity};

/// What a shortfall is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Encryption.
    Encryption,
    /// Integrity.
    Integrity,
    /// Pseudo-random function.
    Prf,
    /// Diffie-Hellman group.
    Group,
    /// Extended sequence numbers.
    SequenceNumbers,
}

/// One kind of algorithm of which both ends have none in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// Which kind.
    pub kind: Kind,
    /// What the peer offers, in words.
    pub offered: Vec<String>,
    /// What we would accept, in words, the best first.
    pub accepted: Vec<String>,
}

/// Why no suite was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// True for a Child SA, false for an IKE SA.
    pub child: bool,
    /// What is missing; empty where each kind has something in common, but no single proposal has all.
    pub shortfalls: Vec<Shortfall>,
}

/// Words listed of a kind: beyond them it is an attack or a test.
const MAX_WORDS: usize = 12;

fn of_kind(offer: &[Proposal], child: bool, kind: TransformType) -> Vec<Transform> {
    let ours = |proposal: &&Proposal| matches!((proposal.protects, child), (Protects::Ike(_), false) | (Protects::Esp(_), true));
    let transforms = offer.iter().filter(ours).flat_map(|proposal| &proposal.transforms);
    let mut found: Vec<Transform> = Vec::new();
    for transform in transforms.filter(|transform| transform.kind == kind) {
        if !found.contains(transform) && found.len() < MAX_WORDS {
            found.push(*transform);
        }
    }
    found
}

fn shortfall(offer: &[Proposal], child: bool, kind: Kind, ours: &[Transform]) -> Option<Shortfall> {
    let number = match kind {
        Kind::Encryption => TransformType::Encryption,
        Kind::Integrity => TransformType::Integrity,
        Kind::Prf => TransformType::PseudoRandomFunction,
        Kind::Group => TransformType::KeyExchange,
        Kind::SequenceNumbers => TransformType::ExtendedSequenceNumbers,
    };
    if ours.is_empty() || offered_anywhere(offer, ours.iter().copied()) {
        return None;
    }
    let offered = of_kind(offer, child, number).iter().map(transform_words).collect();
    let mut accepted: Vec<String> = Vec::new();
    for transform in ours.iter().map(transform_words) {
        if !accepted.contains(&transform) {
            accepted.push(transform);
        }
    }
    Some(Shortfall { kind, offered, accepted })
}

fn transforms<T: Into<Transform>>(all: impl Iterator<Item = T>) -> Vec<Transform> {
    all.map(Into::into).collect()
}

/// Integrity is short only where the offer needs one: it has no combined mode.
fn integrity_shortfall(offer: &[Proposal], child: bool, ours: impl Iterator<Item = Integrity>) -> Option<Shortfall> {
    let has_aead = of_kind(offer, child, TransformType::Encryption).iter().any(|transform| transform.id == 20);
    shortfall(offer, child, Kind::Integrity, &transforms(ours)).filter(|_| !has_aead)
}

pub(super) fn refusal_of_ike(ours: &[IkeProposal], offer: &[Proposal]) -> Refusal {
    let encryptions = transforms(ours.iter().flat_map(|proposal| proposal.ciphers.encryptions()));
    let prfs = transforms(ours.iter().flat_map(|proposal| proposal.prfs.iter().copied()));
    let groups = transforms(ours.iter().flat_map(|proposal| proposal.groups.iter().copied()));
    let integrity = ours.iter().flat_map(|proposal| proposal.ciphers.integrity().iter().copied());
    let found = [
        shortfall(offer, false, Kind::Encryption, &encryptions),
        integrity_shortfall(offer, false, integrity),
        shortfall(offer, false, Kind::Prf, &prfs),
        shortfall(offer, false, Kind::Group, &groups),
    ];
    Refusal { child: false, shortfalls: found.into_iter().flatten().collect() }
}

pub(super) fn refusal_of_child(ours: &[ChildProposal], pfs_groups: &[Group], offer: &[Proposal]) -> Refusal {
    let encryptions = transforms(ours.iter().flat_map(|proposal| proposal.ciphers.encryptions()));
    let integrity = ours.iter().flat_map(|proposal| proposal.ciphers.integrity().iter().copied());
    let demanded = ours.iter().flat_map(|proposal| proposal.groups.iter().copied());
    let demands_group = ours.iter().all(|proposal| !proposal.groups.is_empty());
    let groups = if demands_group { transforms(demanded) } else { transforms(pfs_groups.iter().copied()) };
    let offers_group = !of_kind(offer, true, TransformType::KeyExchange).is_empty();
    let esn = transforms(ours.iter().flat_map(|proposal| proposal.esn.iter().copied().map(Transform::extended_sequence_numbers)));
    let found = [
        shortfall(offer, true, Kind::Encryption, &encryptions),
        integrity_shortfall(offer, true, integrity),
        shortfall(offer, true, Kind::Group, &groups).filter(|_| demands_group || offers_group),
        shortfall(offer, true, Kind::SequenceNumbers, &esn),
    ];
    Refusal { child: true, shortfalls: found.into_iter().flatten().collect() }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encryption => "encryption",
            Self::Integrity => "integrity",
            Self::Prf => "PRF",
            Self::Group => "Diffie-Hellman group",
            Self::SequenceNumbers => "sequence numbers",
        })
    }
}

/// `the peer offers only MODP-1024 (group 2); the policy needs MODP-2048 (group 14) or better`
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offered.as_slice() {
            [] => write!(f, "the peer offers no {}", self.kind)?,
            offered => write!(f, "the peer offers only {}", offered.join(", "))?,
        }
        if self.kind == Kind::Group && self.accepted.contains(&group_words(Group::Modp2048.number())) {
            return f.write_str("; the policy needs group 14 or better");
        }
        write!(f, "; the policy needs {}", self.accepted.join(" or "))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shortfalls.is_empty() {
            return f.write_str("each algorithm is acceptable, but no single proposal of the peer has only acceptable ones");
        }
        let words: Vec<String> = self.shortfalls.iter().map(Shortfall::to_string).collect();
        f.write_str(&words.join("; "))
    }
}

impl Refusal {
    /// What to do about it: commands for the routers that town halls have, gateway and policy numbers to be adapted.
    #[must_use]
    pub fn remedy(&self) -> String {
        let mut remedies: Vec<&str> = self.shortfalls.iter().map(|shortfall| remedy(self.child, shortfall.kind)).collect();
        remedies.dedup();
        match remedies.as_slice() {
            [] => "offer AES-GCM and AES-CBC in two proposals, integrity only beside AES-CBC".to_owned(),
            remedies => remedies.join("; "),
        }
    }
}

const fn remedy(child: bool, kind: Kind) -> &'static str {
    match (child, kind) {
        (false, Kind::Group) => {
            "on the RTX set `ipsec ike group 1 modp2048`; on the IX `ikev2 sa-proposal dh 2048-bit`; on IOS `group 14` in the ikev2 proposal; \
             on a FortiGate `set dhgrp 14` in phase1-interface; elsewhere group 14"
        }
        (false, Kind::Encryption) => {
            "on the RTX set `ipsec ike encryption 1 aes256-cbc`; on the IX `ikev2 sa-proposal enc aes-cbc-256`; on IOS `encryption aes-cbc-256` \
             in the ikev2 proposal; on a FortiGate `set proposal aes256-sha256` in phase1-interface; elsewhere AES-256-CBC"
        }
        (false, _) => {
            "on the RTX set `ipsec ike hash 1 sha256`; on the IX `ikev2 sa-proposal integrity sha2-256`; on IOS `integrity sha256` in the ikev2 \
             proposal; on a FortiGate `set proposal aes256-sha256` in phase1-interface; elsewhere SHA-256"
        }
        (true, Kind::Group) => {
            "switch PFS off or use group 14: on the RTX `ipsec ike pfs 1 off`; on IOS `set pfs group14` in the ipsec profile; on a FortiGate \
             `set dhgrp 14` in phase2-interface"
        }
        (true, Kind::SequenceNumbers) => "switch extended sequence numbers off on the router, or allow `esn` in the tenant's `proposals`",
        (true, _) => {
            "on the RTX set `ipsec sa policy 1 1 esp aes256-cbc sha256-hmac`; on the IX `ikev2 child-proposal enc aes-cbc-256` and \
             `ikev2 child-proposal integrity sha2-256`; on IOS `crypto ipsec transform-set NAME esp-aes 256 esp-sha256-hmac`; on a FortiGate \
             `set proposal aes256-sha256` in phase2-interface; elsewhere AES-256-CBC with SHA-256"
        }
    }
}
