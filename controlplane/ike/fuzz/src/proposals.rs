//! Choosing a suite: whatever is offered, the choice is allowed, was offered, and is accepted by whoever offered it.

use std::num::NonZeroU32;

use ike::CryptoPolicy;
use ike::message::{Payload, Payloads, Proposal, TransformType, payload_type};
use ike::proposals::{KeyExchange, Proposals};
use ike::transforms::Group;

use crate::Input;

const POLICIES: [CryptoPolicy; 3] = [CryptoPolicy::Cryptrec, CryptoPolicy::Modern, CryptoPolicy::Legacy];

/// An octet for the policy, two for the group of the KE payload, then the body of an SA payload; or, with the highest bit set, proposals
/// made of few octets each.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let policy = POLICIES[usize::from(mode % 3)];
    let of_payload = input.u16() % 64;
    let ours = Proposals::of_policy(policy);
    if mode & 0x80 != 0 {
        return judge(&made(&mut input), policy, &ours, of_payload);
    }
    let body = input.rest();
    let length = u16::try_from(body.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
    let chain = [&[0, 0, length[0], length[1]], body].concat();
    let Ok(payloads) = Payloads::parse(payload_type::SA, &chain) else { return };
    judge(payloads.proposals().expect("an SA payload"), policy, &ours, of_payload);
    let offer = payloads.iter().next().expect("an SA payload");
    assert!(matches!(offer, Payload::SecurityAssociation(offer) if !offer.is_empty() && offer.len() <= ike::message::MAX_PROPOSALS));
}

/// Proposals of the numbers that mean something.
fn made(input: &mut Input<'_>) -> Vec<Proposal> {
    use ike::message::{Protects, Transform};
    let mut offer = Vec::new();
    while !input.is_empty() && offer.len() < 8 {
        let number = u8::try_from(offer.len() + 1).unwrap_or(u8::MAX);
        let count = input.u8();
        let esp = NonZeroU32::new(0xc000_0001).map_or(Protects::Ike(None), Protects::Esp);
        let protects = if count & 0x80 == 0 { Protects::Ike(None) } else { esp };
        let transforms = (0..count % 16).map(|_| {
            let (kind, id) = (input.u8(), u16::from(input.u8() % 40));
            let types = [
                TransformType::Encryption,
                TransformType::PseudoRandomFunction,
                TransformType::Integrity,
                TransformType::KeyExchange,
                TransformType::ExtendedSequenceNumbers,
                TransformType::Other(6),
            ];
            let bits = [None, Some(128), Some(192), Some(256)][usize::from(kind >> 6)];
            Transform { kind: types[usize::from(kind & 7) % 6], id, key_bits: bits, understood: kind & 8 == 0 }
        });
        offer.push(Proposal { number, protects, transforms: transforms.collect() });
    }
    offer
}

fn judge(offer: &[Proposal], policy: CryptoPolicy, ours: &Proposals, of_payload: u16) {
    match ours.choose_ike(offer, of_payload) {
        Ok(chosen) => {
            assert!(policy.allows_ike(&chosen.suite) && ours.allows_ike(&chosen.suite));
            let answer = chosen.answer(None);
            is_choice_of(&answer, offer);
            let accepted = ours.answered_ike(&[answer], chosen.suite.group).expect("what we answer we would accept");
            assert_eq!(accepted.suite, chosen.suite);
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty() && !refusal.remedy().is_empty()),
    }
    for exchange in [KeyExchange::OfTheIkeSa, KeyExchange::Absent, KeyExchange::Group(of_payload)] {
        match ours.choose_child(offer, exchange) {
            Ok(chosen) => {
                assert!(policy.allows_esp(&chosen.suite) && ours.allows_child(&chosen.suite));
                assert!(chosen.suite.group.is_none() || exchange != KeyExchange::OfTheIkeSa);
                let answer = chosen.answer(chosen.spi);
                is_choice_of(&answer, offer);
                let accepted = ours.answered_child(&[answer], chosen.suite.group).expect("what we answer we would accept");
                assert_eq!(accepted.suite, chosen.suite);
            }
            Err(refusal) => assert!(!refusal.to_string().is_empty() && !refusal.remedy().is_empty()),
        }
    }
}

/// One transform of each type that the proposal with this number has, all of them from it.
fn is_choice_of(answer: &Proposal, offer: &[Proposal]) {
    let found = |proposal: &&Proposal| {
        proposal.number == answer.number && answer.transforms.iter().all(|transform| proposal.transforms.contains(transform))
    };
    assert!(offer.iter().any(|proposal| found(&proposal)), "chosen from one proposal");
    for transform in &answer.transforms {
        assert_eq!(answer.transforms.iter().filter(|other| other.kind == transform.kind).count(), 1);
    }
    assert!(Group::from_number(1).is_none() && Group::from_number(2).is_none());
}
