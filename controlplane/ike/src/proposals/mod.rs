//! What is offered and accepted: lists of algorithms of which the two ends choose one of each kind (RFC 7296 section 3.3).
//!
//! [`Proposals::of_policy`] is what a policy allows, in the order of preference; a configuration may name something narrower.
//! The responder answers with [`Proposals::choose_ike`] and [`Proposals::choose_child`]; the initiator checks the answer by the
//! same functions.

mod choose;
mod names;
mod refusal;
mod words;

use std::num::NonZeroU32;

pub use choose::{ChosenChild, ChosenIke, KeyExchange};
pub use names::NotAProposal;
pub use refusal::{Kind, Refusal, Shortfall};
pub use words::{proposal_words, transform_words};

use crate::message::{IkeSpi, Proposal, Protects, Transform};
use crate::policy::CryptoPolicy;
use crate::transforms::{Aead, AesKeyLength, Cipher, Encryption, EspSuite, Group, IkeSuite, Integrity, Prf};

/// Ciphers to choose from: combined modes and the others never stand in one proposal (RFC 5282 section 8).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Ciphers {
    /// Combined modes.
    Aead(Vec<Aead>),
    /// AES-CBC with any of the MACs.
    AesCbc {
        /// Key lengths.
        keys: Vec<AesKeyLength>,
        /// MACs.
        integrity: Vec<Integrity>,
    },
}

/// One proposal for an IKE SA. Every list is in the order of preference and not empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IkeProposal {
    /// Ciphers.
    pub ciphers: Ciphers,
    /// Pseudo-random functions.
    pub prfs: Vec<Prf>,
    /// Diffie-Hellman groups.
    pub groups: Vec<Group>,
}

/// One proposal for a Child SA.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChildProposal {
    /// Ciphers.
    pub ciphers: Ciphers,
    /// Groups for perfect forward secrecy; empty: whether and with which group is left to the peer, within the policy.
    pub groups: Vec<Group>,
    /// Sequence numbers of 64 bits (`true`) and of 32, in the order of preference.
    pub esn: Vec<bool>,
}

/// What one peer may use: proposals in the order of preference, within a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposals {
    ike: Vec<IkeProposal>,
    child: Vec<ChildProposal>,
    /// Groups that a peer may ask for where a child proposal names none.
    pfs_groups: Vec<Group>,
}

impl Ciphers {
    fn of_policy(policy: CryptoPolicy) -> [Self; 2] {
        let integrity = Integrity::ALL.into_iter().filter(|integrity| policy.allows_integrity(*integrity)).collect();
        [Self::Aead(vec![Aead::Aes256Gcm16, Aead::Aes128Gcm16]), Self::AesCbc { keys: AesKeyLength::ALL.to_vec(), integrity }]
    }

    /// Without what the policy forbids; `None` where nothing is left.
    fn within(&self, policy: CryptoPolicy) -> Option<Self> {
        let Self::AesCbc { keys, integrity } = self else { return Some(self.clone()) };
        let integrity: Vec<_> = integrity.iter().copied().filter(|integrity| policy.allows_integrity(*integrity)).collect();
        (!integrity.is_empty()).then(|| Self::AesCbc { keys: keys.clone(), integrity })
    }

    fn contains(&self, cipher: Cipher) -> bool {
        match (self, cipher) {
            (Self::Aead(ours), Cipher::Aead(aead)) => ours.contains(&aead),
            (Self::AesCbc { keys, integrity: macs }, Cipher::AesCbc { key, integrity }) => keys.contains(&key) && macs.contains(&integrity),
            _ => false,
        }
    }

    fn encryptions(&self) -> impl Iterator<Item = Encryption> {
        let (aeads, keys) = match self {
            Self::Aead(aeads) => (aeads.as_slice(), &[][..]),
            Self::AesCbc { keys, .. } => (&[][..], keys.as_slice()),
        };
        aeads.iter().copied().map(Encryption::Aead).chain(keys.iter().copied().map(Encryption::AesCbc))
    }

    /// Its first choice: lower is better.
    fn best(&self) -> (Option<Encryption>, Option<Integrity>) {
        (self.encryptions().next(), self.integrity().first().copied())
    }

    fn integrity(&self) -> &[Integrity] {
        match self {
            Self::Aead(_) => &[],
            Self::AesCbc { integrity, .. } => integrity,
        }
    }
}

impl Proposals {
    /// Everything that `policy` allows, combined modes first.
    #[must_use]
    pub fn of_policy(policy: CryptoPolicy) -> Self {
        let prfs: Vec<_> = Prf::ALL.into_iter().filter(|prf| policy.allows_prf(*prf)).collect();
        let groups: Vec<_> = Group::ALL.into_iter().filter(|group| policy.allows_group(*group)).collect();
        let ike = |ciphers| IkeProposal { ciphers, prfs: prfs.clone(), groups: groups.clone() };
        let child = |ciphers| ChildProposal { ciphers, groups: Vec::new(), esn: vec![true, false] };
        let ciphers = || Ciphers::of_policy(policy);
        Self { ike: ciphers().map(ike).into(), child: ciphers().map(child).into(), pfs_groups: groups }
    }

    /// What a configuration names, each list in the order of preference; an empty list stands for what the policy allows. What the
    /// policy does not allow is left out, so that a dated exception ends by itself: nothing may be left then.
    #[must_use]
    pub fn within(policy: CryptoPolicy, ike: &[IkeProposal], child: &[ChildProposal]) -> Self {
        let mut proposals = Self::of_policy(policy);
        if !ike.is_empty() {
            proposals.ike = ike.iter().filter_map(|proposal| proposal.within(policy)).collect();
        }
        if !child.is_empty() {
            proposals.child = child.iter().filter_map(|proposal| proposal.within(policy)).collect();
        }
        proposals
    }

    /// What any of several peers may use: the answer to somebody who has not said who it is. The best ciphers come first, whoever's they
    /// are, so that what one peer is configured to use makes no other peer's choice weaker; of two with the same cipher the stricter one,
    /// as what it takes is more often right for both.
    #[must_use]
    pub fn union<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self { ike: Vec::new(), child: Vec::new(), pfs_groups: Vec::new() };
        for proposals in all {
            add_new(&mut union.ike, &proposals.ike);
            add_new(&mut union.child, &proposals.child);
            add_new(&mut union.pfs_groups, &proposals.pfs_groups);
        }
        union.ike.sort_by_key(|proposal| (proposal.ciphers.best(), proposal.groups.len(), proposal.prfs.len()));
        union.child.sort_by_key(|proposal| proposal.ciphers.best());
        union
    }

    /// Proposals for the IKE SA.
    #[must_use]
    pub fn ike(&self) -> &[IkeProposal] {
        &self.ike
    }

    /// Proposals for Child SAs.
    #[must_use]
    pub fn child(&self) -> &[ChildProposal] {
        &self.child
    }

    /// The group that an initiator begins with: the one it likes best. `None` where the policy has left no proposal.
    #[must_use]
    pub fn first_group(&self) -> Option<Group> {
        self.ike.first().and_then(|proposal| proposal.groups.first()).copied()
    }

    /// Whether an initiator that was told to use `group` (INVALID_KE_PAYLOAD) may.
    #[must_use]
    pub fn has_group(&self, group: Group) -> bool {
        self.ike.iter().any(|proposal| proposal.groups.contains(&group))
    }

    /// The group of perfect forward secrecy that the configuration demands, for a rekey that we begin.
    #[must_use]
    pub fn demanded_pfs_group(&self) -> Option<Group> {
        self.child.first().and_then(|proposal| proposal.groups.first()).copied()
    }

    /// Whether this suite is one of ours: asked again when the peer's identity is known.
    #[must_use]
    pub fn allows_ike(&self, suite: &IkeSuite) -> bool {
        self.ike.iter().any(|proposal| {
            proposal.ciphers.contains(suite.cipher) && proposal.prfs.contains(&suite.prf) && proposal.groups.contains(&suite.group)
        })
    }

    /// Whether this suite is one of ours.
    #[must_use]
    pub fn allows_child(&self, suite: &EspSuite) -> bool {
        let group = |proposal: &ChildProposal| match suite.group {
            Some(group) if proposal.groups.is_empty() => self.pfs_groups.contains(&group),
            Some(group) => proposal.groups.contains(&group),
            // The first Child SA never has one (RFC 7296 section 1.2).
            None => true,
        };
        self.child.iter().any(|proposal| proposal.ciphers.contains(suite.cipher) && proposal.esn.contains(&suite.esn) && group(proposal))
    }

    /// What an initiator offers for an IKE SA; `spi` where it rekeys one. Which of the groups the KE payload is of is the caller's
    /// choice: [`Proposals::first_group`], or what the responder asked for.
    #[must_use]
    pub fn offer_ike(&self, spi: Option<IkeSpi>) -> Vec<Proposal> {
        let transforms = |proposal: &IkeProposal| {
            let groups = proposal.groups.iter().copied().map(Transform::from);
            cipher_transforms(&proposal.ciphers).chain(proposal.prfs.iter().copied().map(Transform::from)).chain(groups).collect()
        };
        numbered(self.ike.iter().map(transforms), Protects::Ike(spi))
    }

    /// What an initiator offers for a Child SA; `group` is that of the KE payload, where there is one: none in IKE_AUTH.
    #[must_use]
    pub fn offer_child(&self, spi: NonZeroU32, group: Option<Group>) -> Vec<Proposal> {
        let transforms = |proposal: &ChildProposal| {
            let esn = proposal.esn.iter().copied().map(Transform::extended_sequence_numbers);
            cipher_transforms(&proposal.ciphers).chain(group.map(Transform::from)).chain(esn).collect()
        };
        numbered(self.child.iter().map(transforms), Protects::Esp(spi))
    }
}

impl IkeProposal {
    fn within(&self, policy: CryptoPolicy) -> Option<Self> {
        let prfs: Vec<_> = self.prfs.iter().copied().filter(|prf| policy.allows_prf(*prf)).collect();
        let groups: Vec<_> = self.groups.iter().copied().filter(|group| policy.allows_group(*group)).collect();
        let ciphers = self.ciphers.within(policy)?;
        (!prfs.is_empty() && !groups.is_empty()).then_some(Self { ciphers, prfs, groups })
    }
}

impl ChildProposal {
    fn within(&self, policy: CryptoPolicy) -> Option<Self> {
        let groups: Vec<_> = self.groups.iter().copied().filter(|group| policy.allows_group(*group)).collect();
        // A proposal that demands a forbidden group must not become one that demands none.
        let emptied = groups.is_empty() && !self.groups.is_empty();
        self.ciphers.within(policy).filter(|_| !emptied).map(|ciphers| Self { ciphers, groups, esn: self.esn.clone() })
    }
}

fn add_new<T: Clone + PartialEq>(into: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !into.contains(item) {
            into.push(item.clone());
        }
    }
}

fn cipher_transforms(ciphers: &Ciphers) -> impl Iterator<Item = Transform> {
    ciphers.encryptions().map(Transform::from).chain(ciphers.integrity().iter().copied().map(Transform::from))
}

fn numbered(proposals: impl Iterator<Item = Vec<Transform>>, protects: Protects) -> Vec<Proposal> {
    (1..).zip(proposals).map(|(number, transforms)| Proposal { number, protects, transforms }).collect()
}

#[cfg(test)]
mod tests;
