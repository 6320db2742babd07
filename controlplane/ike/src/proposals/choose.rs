//! Choosing one suite from an offer (RFC 7296 sections 2.7, 3.3.6): by our preference, whatever order the peer has.

use std::num::NonZeroU32;

use super::refusal::{Refusal, refusal_of_child, refusal_of_ike};
use super::{ChildProposal, Ciphers, IkeProposal, Proposals};
use crate::message::{IkeSpi, Proposal, Protects, Transform, TransformType};
use crate::transforms::{Cipher, Encryption, EspSuite, Group, IkeSuite};

/// What was chosen for an IKE SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChosenIke {
    /// The suite. If its group is not that of the KE payload, the answer is INVALID_KE_PAYLOAD with the suite's.
    pub suite: IkeSuite,
    /// The sender's new SPI, where an IKE SA is rekeyed.
    pub spi: Option<IkeSpi>,
    number: u8,
    transforms: Vec<Transform>,
}

/// What was chosen for a Child SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChosenChild {
    /// The suite.
    pub suite: EspSuite,
    /// The sender's inbound SPI: ours outbound.
    pub spi: NonZeroU32,
    number: u8,
    transforms: Vec<Transform>,
}

/// Which Diffie-Hellman comes with an offer for a Child SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyExchange {
    /// IKE_AUTH: the keys come from the IKE SA's own, and groups in the offer say nothing (RFC 7296 section 1.2).
    OfTheIkeSa,
    /// CREATE_CHILD_SA with a KE payload of this group.
    Group(u16),
    /// CREATE_CHILD_SA without a KE payload.
    Absent,
}

impl ChosenIke {
    /// The SA payload of the response, with our SPI where an IKE SA is rekeyed.
    #[must_use]
    pub fn answer(&self, spi: Option<IkeSpi>) -> Proposal {
        Proposal { number: self.number, protects: Protects::Ike(spi), transforms: self.transforms.clone() }
    }
}

impl ChosenChild {
    /// The SA payload of the response, with our inbound SPI.
    #[must_use]
    pub fn answer(&self, spi: NonZeroU32) -> Proposal {
        Proposal { number: self.number, protects: Protects::Esp(spi), transforms: self.transforms.clone() }
    }
}

/// The transforms of one offered proposal.
struct Offered<'a>(&'a [Transform]);

impl Offered<'_> {
    fn of(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.0.iter().filter(move |transform| transform.kind == kind)
    }

    fn has(&self, wanted: Transform) -> bool {
        self.0.contains(&wanted)
    }

    /// A type that we do not know spoils the proposal (section 3.3.6), unless it can be declined with NONE.
    fn is_known(&self) -> bool {
        self.0.iter().all(|transform| !matches!(transform.kind, TransformType::Other(_)))
    }

    /// The transforms chosen so far, and NONE for each further type that has it: a response has one of each type that was offered.
    fn answer(&self, chosen: impl IntoIterator<Item = Transform>) -> Vec<Transform> {
        let mut chosen: Vec<Transform> = chosen.into_iter().collect();
        for kind in [TransformType::Integrity, TransformType::KeyExchange] {
            let none = Transform::new(kind, 0);
            if self.has(none) && !chosen.iter().any(|transform| transform.kind == kind) {
                chosen.push(none);
            }
        }
        chosen
    }

    fn cipher(&self, ours: &Ciphers) -> Option<Cipher> {
        let encryption = ours.encryptions().find(|encryption| self.has((*encryption).into()))?;
        let integrity = ours.integrity().iter().copied().find(|integrity| self.has((*integrity).into()));
        let declined = self.of(TransformType::Integrity).next().is_none() || self.has(Transform::new(TransformType::Integrity, 0));
        // RFC 5282 section 8: beside a combined mode stands no integrity, or NONE.
        if matches!(encryption, Encryption::Aead(_)) && !declined {
            return None;
        }
        Cipher::new(encryption, integrity)
    }

    /// The group of the KE payload where it will do, since another one costs a round trip; but never a legacy one beside a better.
    fn group(&self, ours: &[Group], of_payload: Option<u16>) -> Option<Group> {
        let best = ours.iter().copied().find(|group| self.has((*group).into()))?;
        let sent = of_payload.and_then(Group::from_number).filter(|group| ours.contains(group) && self.has((*group).into()));
        Some(sent.filter(|group| *group != Group::Modp1536).unwrap_or(best))
    }

    fn ike(&self, ours: &IkeProposal, of_payload: u16) -> Option<(IkeSuite, Vec<Transform>)> {
        let cipher = self.cipher(&ours.ciphers)?;
        let prf = ours.prfs.iter().copied().find(|prf| self.has((*prf).into()))?;
        let group = self.group(&ours.groups, Some(of_payload))?;
        let transforms = cipher_transforms(cipher).chain([prf.into(), group.into()]);
        Some((IkeSuite { cipher, prf, group }, self.answer(transforms)))
    }

    fn child(&self, ours: &ChildProposal, pfs_groups: &[Group], exchange: KeyExchange) -> Option<(EspSuite, Vec<Transform>)> {
        let cipher = self.cipher(&ours.ciphers)?;
        let group = self.pfs(&ours.groups, pfs_groups, exchange)?;
        // Some routers leave the type out, although it must be there; they mean 32 bits.
        let offers_esn = self.of(TransformType::ExtendedSequenceNumbers).next().is_some();
        let has_esn = |esn: &bool| self.has(Transform::extended_sequence_numbers(*esn)) || (!offers_esn && !*esn);
        let esn = ours.esn.iter().copied().find(has_esn)?;
        let esn_transform = offers_esn.then(|| Transform::extended_sequence_numbers(esn));
        let transforms = cipher_transforms(cipher).chain(group.map(Transform::from)).chain(esn_transform);
        Some((EspSuite { cipher, group, esn }, self.answer(transforms)))
    }

    /// Perfect forward secrecy: `Some(None)` is an agreement on none.
    #[allow(clippy::option_option, reason = "an agreement on none is not the lack of an agreement")]
    fn pfs(&self, demanded: &[Group], allowed: &[Group], exchange: KeyExchange) -> Option<Option<Group>> {
        let of_payload = match exchange {
            KeyExchange::OfTheIkeSa => return Some(None),
            KeyExchange::Group(group) => Some(group),
            KeyExchange::Absent => None,
        };
        let ours = if demanded.is_empty() { allowed } else { demanded };
        let may_decline = self.has(Transform::new(TransformType::KeyExchange, 0)) || self.of(TransformType::KeyExchange).next().is_none();
        match self.group(ours, of_payload) {
            Some(group) if of_payload.is_some() || !may_decline || !demanded.is_empty() => Some(Some(group)),
            _ => (may_decline && demanded.is_empty()).then_some(None),
        }
    }
}

fn cipher_transforms(cipher: Cipher) -> impl Iterator<Item = Transform> {
    [Transform::from(cipher.encryption())].into_iter().chain(cipher.integrity().map(Transform::from))
}

impl Proposals {
    /// The suite for an IKE SA, from an offer whose KE payload is of group `of_payload`.
    ///
    /// # Errors
    /// [`Refusal`]: NO_PROPOSAL_CHOSEN, with what was missing for people.
    pub fn choose_ike(&self, offer: &[Proposal], of_payload: u16) -> Result<ChosenIke, Refusal> {
        for ours in &self.ike {
            for proposal in offer {
                let (Protects::Ike(spi), offered) = (proposal.protects, Offered(&proposal.transforms)) else { continue };
                if let Some((suite, transforms)) = offered.ike(ours, of_payload).filter(|_| offered.is_known()) {
                    return Ok(ChosenIke { suite, spi, number: proposal.number, transforms });
                }
            }
        }
        Err(refusal_of_ike(&self.ike, offer))
    }

    /// The suite for a Child SA.
    ///
    /// # Errors
    /// [`Refusal`], as for [`Proposals::choose_ike`].
    pub fn choose_child(&self, offer: &[Proposal], exchange: KeyExchange) -> Result<ChosenChild, Refusal> {
        for ours in &self.child {
            for proposal in offer {
                let (Protects::Esp(spi), offered) = (proposal.protects, Offered(&proposal.transforms)) else { continue };
                let chosen = offered.child(ours, &self.pfs_groups, exchange).filter(|_| offered.is_known());
                if let Some((suite, transforms)) = chosen {
                    return Ok(ChosenChild { suite, spi, number: proposal.number, transforms });
                }
            }
        }
        Err(refusal_of_child(&self.child, &self.pfs_groups, offer))
    }

    /// The responder's answer to our offer for an IKE SA with a KE payload of `group`; `None` where it is not one choice of ours.
    #[must_use]
    pub fn answered_ike(&self, answer: &[Proposal], group: Group) -> Option<ChosenIke> {
        let chosen = self.choose_ike(single(answer)?, group.number()).ok()?;
        (chosen.suite.group == group).then_some(chosen)
    }

    /// The responder's answer to our offer for a Child SA with a KE payload of `group`, or without one.
    #[must_use]
    pub fn answered_child(&self, answer: &[Proposal], group: Option<Group>) -> Option<ChosenChild> {
        let answer = single(answer)?;
        let exchange = group.map_or(KeyExchange::OfTheIkeSa, |group| KeyExchange::Group(group.number()));
        let chosen = self.choose_child(answer, exchange).ok()?;
        (chosen.suite.group == group).then_some(chosen)
    }
}

/// An answer is one proposal with one transform of each type (section 2.7).
fn single(answer: &[Proposal]) -> Option<&[Proposal]> {
    let [proposal] = answer else { return None };
    let kinds = || proposal.transforms.iter().map(|transform| transform.kind);
    kinds().all(|kind| kinds().filter(|other| *other == kind).count() == 1).then_some(answer)
}

/// For the words of a refusal: which transforms of ours stand in any proposal of the offer.
pub(super) fn offered_anywhere(offer: &[Proposal], wanted: impl IntoIterator<Item = Transform>) -> bool {
    wanted.into_iter().any(|transform| offer.iter().any(|proposal| proposal.transforms.contains(&transform)))
}
