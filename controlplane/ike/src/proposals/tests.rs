use super::*;
use crate::message::TransformType;

fn transform(kind: TransformType, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { kind, id, key_bits, understood: true }
}

fn encryption(id: u16, bits: Option<u16>) -> Transform {
    transform(TransformType::Encryption, id, bits)
}

fn prf(id: u16) -> Transform {
    transform(TransformType::PseudoRandomFunction, id, None)
}

fn integrity(id: u16) -> Transform {
    transform(TransformType::Integrity, id, None)
}

fn group(id: u16) -> Transform {
    transform(TransformType::KeyExchange, id, None)
}

fn esn(id: u16) -> Transform {
    transform(TransformType::ExtendedSequenceNumbers, id, None)
}

fn ike(number: u8, transforms: &[Transform]) -> Proposal {
    Proposal { number, protects: Protects::Ike(None), transforms: transforms.to_vec() }
}

const SPI: NonZeroU32 = NonZeroU32::new(0xc001_0203).unwrap();

fn child(number: u8, transforms: &[Transform]) -> Proposal {
    Proposal { number, protects: Protects::Esp(SPI), transforms: transforms.to_vec() }
}

/// Everything in one proposal, as a Yamaha RTX sends it: MODP-1024 first, at most MODP-2048.
fn rtx(groups: &[u16]) -> Proposal {
    let ciphers = [(12, Some(256)), (12, Some(192)), (12, Some(128)), (3, None), (2, None)];
    let mut transforms: Vec<_> = ciphers.into_iter().map(|(id, bits)| encryption(id, bits)).collect();
    transforms.extend([prf(5), prf(2), prf(1), integrity(12), integrity(2), integrity(1)]);
    transforms.extend(groups.iter().copied().map(group));
    ike(1, &transforms)
}

fn chosen(proposals: &Proposals, offer: &[Proposal], of_payload: u16) -> String {
    proposals.choose_ike(offer, of_payload).unwrap().suite.to_string()
}

fn of(policy: CryptoPolicy) -> Proposals {
    Proposals::of_policy(policy)
}

fn named(ike: &[&str], child: &[&str]) -> Proposals {
    let ike: Vec<_> = ike.iter().map(|text| text.parse().unwrap()).collect();
    let child: Vec<_> = child.iter().map(|text| text.parse().unwrap()).collect();
    Proposals::within(CryptoPolicy::Modern, &ike, &child)
}

#[test]
fn of_all_that_an_rtx_offers_the_best_is_chosen_and_its_first_group_refused() {
    for policy in [CryptoPolicy::Cryptrec, CryptoPolicy::Modern, CryptoPolicy::Legacy] {
        let chosen = of(policy).choose_ike(&[rtx(&[2, 1, 5, 14])], 2).unwrap();
        assert_eq!(chosen.suite.to_string(), "aes256-sha256-modp2048", "INVALID_KE_PAYLOAD asks for 14");
        let answer = chosen.answer(None);
        assert_eq!(answer.transforms, [encryption(12, Some(256)), integrity(12), prf(5), group(14)], "one of each type");
    }
}

#[test]
fn the_group_of_the_ke_payload_is_kept_where_it_will_do() {
    let offer = [ike(1, &[encryption(20, Some(256)), prf(6), group(14), group(20), group(31), group(5)])];
    let modern = of(CryptoPolicy::Modern);
    assert_eq!(chosen(&modern, &offer, 14), "aes256gcm16-prfsha384-modp2048");
    assert_eq!(chosen(&modern, &offer, 31), "aes256gcm16-prfsha384-x25519");
    assert_eq!(chosen(&of(CryptoPolicy::Cryptrec), &offer, 31), "aes256gcm16-prfsha384-ecp384");
    assert_eq!(chosen(&of(CryptoPolicy::Legacy), &offer, 5), "aes256gcm16-prfsha384-ecp384", "no legacy group beside a better one");
    assert_eq!(chosen(&modern, &offer, 19), "aes256gcm16-prfsha384-ecp384", "a KE payload of a group that was not offered");
    assert_eq!(chosen(&modern, &offer, 2), "aes256gcm16-prfsha384-ecp384");
}

#[test]
fn combined_modes_are_preferred_whatever_the_peers_order_and_take_no_integrity() {
    let cbc = ike(1, &[encryption(12, Some(256)), prf(5), integrity(12), group(14)]);
    let gcm = ike(2, &[encryption(20, Some(128)), encryption(20, Some(256)), prf(5), group(14)]);
    let modern = of(CryptoPolicy::Modern);
    let choice = modern.choose_ike(&[cbc.clone(), gcm], 14).unwrap();
    assert_eq!((choice.suite.to_string().as_str(), choice.answer(None).number), ("aes256gcm16-prfsha256-modp2048", 2));
    let with_integrity = ike(2, &[encryption(20, Some(256)), prf(5), integrity(12), group(14)]);
    assert_eq!(chosen(&modern, &[cbc, with_integrity.clone()], 14), "aes256-sha256-modp2048");
    assert!(modern.choose_ike(&[with_integrity], 14).is_err());
    let none = ike(1, &[encryption(20, Some(256)), prf(5), integrity(0), group(14)]);
    let choice = modern.choose_ike(&[none], 14).unwrap();
    assert_eq!(choice.answer(None).transforms.last(), Some(&integrity(0)), "what was offered as NONE is answered as NONE");
}

#[test]
fn what_is_weak_is_refused_unless_a_dated_exception_allows_it() {
    let old = [ike(1, &[encryption(12, Some(128)), prf(2), integrity(2), group(5)])];
    assert!(of(CryptoPolicy::Cryptrec).choose_ike(&old, 5).is_err() && of(CryptoPolicy::Modern).choose_ike(&old, 5).is_err());
    assert_eq!(chosen(&of(CryptoPolicy::Legacy), &old, 5), "aes128-sha1-modp1536");
    let broken =
        [ike(1, &[encryption(3, None), encryption(2, None), encryption(11, None), prf(1), integrity(1), group(2), group(1), group(22)])];
    assert!(of(CryptoPolicy::Legacy).choose_ike(&broken, 2).is_err());
}

#[test]
fn key_lengths_are_matched_and_one_that_is_missing_is_nothing() {
    let offer = |bits| [ike(1, &[encryption(12, bits), prf(5), integrity(12), group(14)])];
    let only_256 = named(&["aes256-sha256-modp2048"], &[]);
    assert!(only_256.choose_ike(&offer(Some(128)), 14).is_err() && only_256.choose_ike(&offer(None), 14).is_err());
    assert!(only_256.choose_ike(&offer(Some(256)), 14).is_ok());
}

#[test]
fn an_unknown_transform_type_spoils_its_proposal_and_an_unknown_attribute_its_transform() {
    let good = [encryption(12, Some(256)), prf(5), integrity(12), group(14)];
    let spoiled = [&good[..], &[transform(TransformType::Other(6), 36, None)]].concat();
    let modern = of(CryptoPolicy::Modern);
    assert!(modern.choose_ike(&[ike(1, &spoiled)], 14).is_err());
    assert_eq!(modern.choose_ike(&[ike(1, &spoiled), ike(2, &good)], 14).unwrap().answer(None).number, 2);
    let mut odd = good;
    odd[0].understood = false;
    assert!(modern.choose_ike(&[ike(1, &odd)], 14).is_err());
}

#[test]
fn a_proposal_for_something_else_is_passed_over() {
    let transforms = [encryption(20, Some(256)), prf(5), group(14), esn(0)];
    let modern = of(CryptoPolicy::Modern);
    assert!(modern.choose_ike(&[child(1, &transforms)], 14).is_err());
    assert!(modern.choose_child(&[ike(1, &transforms)], KeyExchange::OfTheIkeSa).is_err());
    assert!(modern.choose_ike(&[Proposal { number: 1, protects: Protects::Other(2), transforms: transforms.to_vec() }], 14).is_err());
    assert!(modern.choose_ike(&[], 14).is_err() && modern.choose_child(&[], KeyExchange::Absent).is_err());
}

#[test]
fn a_child_prefers_64_bit_sequence_numbers_and_bears_a_missing_type() {
    let gcm = encryption(20, Some(256));
    let suite = |transforms: &[Transform]| {
        let chosen = of(CryptoPolicy::Modern).choose_child(&[child(1, transforms)], KeyExchange::OfTheIkeSa).unwrap();
        (chosen.suite.esn, chosen.answer(SPI).transforms.len())
    };
    assert_eq!(suite(&[gcm, esn(0), esn(1)]), (true, 2));
    assert_eq!(suite(&[gcm, esn(0)]), (false, 2));
    assert_eq!(suite(&[gcm]), (false, 1), "some routers leave it out");
    assert!(named(&[], &["aes256gcm16-noesn"]).choose_child(&[child(1, &[gcm, esn(1)])], KeyExchange::OfTheIkeSa).is_err());
}

#[test]
fn groups_in_ike_auth_say_nothing_about_the_first_child() {
    let offer = [child(1, &[encryption(20, Some(256)), group(2), esn(0)])];
    let chosen = named(&[], &["aes256gcm16-modp2048"]).choose_child(&offer, KeyExchange::OfTheIkeSa).unwrap();
    assert_eq!((chosen.suite.group, chosen.spi), (None, SPI));
}

#[test]
fn forward_secrecy_is_the_peers_choice_unless_the_configuration_names_a_group() {
    let cbc = [encryption(12, Some(256)), integrity(12), esn(0)];
    let with = |groups: &[u16]| [child(1, &[&cbc[..], &groups.iter().copied().map(group).collect::<Vec<_>>()].concat())];
    let open = of(CryptoPolicy::Modern);
    let group_of =
        |proposals: &Proposals, groups: &[u16], exchange| Some(proposals.choose_child(&with(groups), exchange).ok()?.suite.group);
    assert_eq!(group_of(&open, &[], KeyExchange::Absent), Some(None));
    assert_eq!(group_of(&open, &[14], KeyExchange::Group(14)), Some(Some(Group::Modp2048)));
    assert_eq!(group_of(&open, &[14, 19], KeyExchange::Group(2)), Some(Some(Group::Ecp256)), "INVALID_KE_PAYLOAD");
    assert_eq!(group_of(&open, &[14], KeyExchange::Absent), Some(Some(Group::Modp2048)), "offered without NONE: it must be used");
    assert_eq!(group_of(&open, &[14, 0], KeyExchange::Absent), Some(None), "offered with NONE: it need not");
    assert_eq!(group_of(&open, &[2], KeyExchange::Group(2)), None);
    assert_eq!(group_of(&open, &[2, 0], KeyExchange::Group(2)), Some(None), "a weak group may be declined where NONE stands beside it");
    let demanding = named(&[], &["aes256-sha256-modp2048"]);
    assert_eq!(group_of(&demanding, &[], KeyExchange::Absent), None);
    assert_eq!(group_of(&demanding, &[19], KeyExchange::Group(19)), None);
    assert_eq!(group_of(&demanding, &[14, 0], KeyExchange::Group(14)), Some(Some(Group::Modp2048)));
    assert_eq!(demanding.demanded_pfs_group(), Some(Group::Modp2048));
}

#[test]
fn an_initiator_takes_only_one_choice_of_what_it_offered() {
    let modern = of(CryptoPolicy::Modern);
    let offer = modern.offer_ike(None);
    assert_eq!((offer.len(), modern.first_group()), (2, Some(Group::Ecp384)));
    let responder = named(&["aes128-sha512-ecp384"], &[]);
    let answer = responder.choose_ike(&offer, 20).unwrap().answer(None);
    assert_eq!(modern.answered_ike(std::slice::from_ref(&answer), Group::Ecp384).unwrap().suite.to_string(), "aes128-sha512-ecp384");
    assert_eq!(modern.answered_ike(std::slice::from_ref(&answer), Group::Ecp256), None, "another group than that of our KE payload");
    assert_eq!(modern.answered_ike(&offer, Group::Ecp384), None, "the whole offer is no choice");
    assert_eq!(modern.answered_ike(&[], Group::Ecp384), None);
    let weak = ike(1, &[encryption(3, None), prf(1), integrity(1), group(20)]);
    assert_eq!(modern.answered_ike(&[weak], Group::Ecp384), None);
    assert_eq!(named(&["aes256gcm16-prfsha384-ecp384"], &[]).answered_ike(&[answer], Group::Ecp384), None, "not offered");
}

#[test]
fn an_initiator_takes_only_one_choice_for_a_child() {
    let modern = of(CryptoPolicy::Modern);
    for pfs in [None, Some(Group::Ecp256)] {
        let offer = modern.offer_child(SPI, pfs);
        let exchange = pfs.map_or(KeyExchange::OfTheIkeSa, |group| KeyExchange::Group(group.number()));
        let answer = modern.choose_child(&offer, exchange).unwrap().answer(SPI);
        let suite = modern.answered_child(std::slice::from_ref(&answer), pfs).unwrap().suite;
        assert_eq!((suite.to_string().starts_with("aes256gcm16"), suite.group, suite.esn), (true, pfs, true));
        assert!(modern.allows_child(&suite));
    }
    let answer = child(1, &[encryption(20, Some(256)), esn(0), esn(1)]);
    assert_eq!(modern.answered_child(&[answer], None), None, "two transforms of one type");
}

#[test]
fn a_suite_agreed_on_with_a_stranger_is_checked_against_the_tenant() {
    let strict = named(&["aes256gcm16-prfsha384-ecp384"], &["aes256gcm16"]);
    let union = Proposals::union([&strict, &of(CryptoPolicy::Cryptrec), &of(CryptoPolicy::Modern), &strict]);
    assert_eq!(union.ike().len(), 5, "each once");
    let suite = union.choose_ike(&[rtx(&[14])], 14).unwrap().suite;
    assert!(!strict.allows_ike(&suite) && of(CryptoPolicy::Cryptrec).allows_ike(&suite));
    let x25519 = [ike(1, &[encryption(20, Some(256)), prf(5), group(31)])];
    let suite = union.choose_ike(&x25519, 31).unwrap().suite;
    assert!(!of(CryptoPolicy::Cryptrec).allows_ike(&suite) && of(CryptoPolicy::Modern).allows_ike(&suite));
}

#[test]
fn what_one_tenant_is_configured_to_use_makes_no_strangers_choice_weaker() {
    let old = named(&["aes128-sha256-modp2048"], &[]);
    let everything = of(CryptoPolicy::Modern).offer_ike(None);
    for order in [[&old, &of(CryptoPolicy::Modern)], [&of(CryptoPolicy::Modern), &old]] {
        assert_eq!(chosen(&Proposals::union(order), &everything, 14), "aes256gcm16-prfsha384-modp2048");
    }
    let both = Proposals::union([&of(CryptoPolicy::Modern), &of(CryptoPolicy::Cryptrec)]);
    assert_eq!(chosen(&both, &everything, 31), "aes256gcm16-prfsha384-ecp384", "right for either tenant, at the cost of a round trip");
}

#[test]
fn the_union_of_policies_without_exceptions_takes_nothing_that_is_an_exception() {
    let union = Proposals::union([&of(CryptoPolicy::Cryptrec), &of(CryptoPolicy::Modern)]);
    let old = ike(1, &[encryption(12, Some(128)), prf(2), integrity(2), group(5)]);
    assert!(union.choose_ike(&[old], 5).is_err());
}

#[test]
fn an_exception_that_has_ended_leaves_nothing_of_a_proposal_that_needs_it() {
    let old: IkeProposal = "aes128-sha1-modp1536".parse().unwrap();
    let mixed: IkeProposal = "aes256-sha256-sha1-modp2048-modp1536".parse().unwrap();
    let pfs: ChildProposal = "aes256-sha256-modp1536".parse().unwrap();
    let ended = Proposals::within(CryptoPolicy::Modern, &[old.clone(), mixed], std::slice::from_ref(&pfs));
    assert_eq!((ended.ike_words(), ended.child_words()), (vec!["aes256-sha256-modp2048".to_owned()], Vec::new()));
    let nothing = Proposals::within(CryptoPolicy::Modern, std::slice::from_ref(&old), &[]);
    assert_eq!((nothing.first_group(), nothing.choose_ike(&[rtx(&[14])], 14).is_err()), (None, true));
    assert_eq!(Proposals::within(CryptoPolicy::Legacy, &[old], &[pfs]).ike_words(), ["aes128-sha1-modp1536"]);
}

#[test]
fn a_refusal_names_what_is_missing_and_what_to_type() {
    let refusal = of(CryptoPolicy::Cryptrec).choose_ike(&[rtx(&[2])], 2).unwrap_err();
    assert_eq!(refusal.to_string(), "the peer offers only MODP-1024 (group 2); the policy needs group 14 or better");
    assert!(refusal.remedy().contains("on the RTX set `ipsec ike group 1 modp2048`"), "{}", refusal.remedy());
    let strict = named(&["aes256gcm16-prfsha384-ecp384"], &["aes256gcm16"]);
    let refusal = strict.choose_ike(&[rtx(&[14])], 14).unwrap_err();
    assert_eq!(refusal.shortfalls.iter().map(|shortfall| shortfall.kind).collect::<Vec<_>>(), [Kind::Encryption, Kind::Prf, Kind::Group]);
    let words = "the peer offers only AES-CBC-256, AES-CBC-192, AES-CBC-128, 3DES, DES; the policy needs AES-GCM-16-256";
    assert!(refusal.to_string().starts_with(words), "{refusal}");
    let pfs = child(1, &[encryption(12, Some(256)), integrity(12), group(2), esn(0)]);
    let refusal = of(CryptoPolicy::Modern).choose_child(&[pfs], KeyExchange::Group(2)).unwrap_err();
    assert!(refusal.child && refusal.remedy().contains("ipsec ike pfs 1 off"), "{refusal}");
    let md5 = child(1, &[encryption(12, Some(256)), integrity(1), esn(0)]);
    let refusal = of(CryptoPolicy::Modern).choose_child(&[md5], KeyExchange::OfTheIkeSa).unwrap_err();
    assert_eq!(refusal.to_string(), "the peer offers only MD5; the policy needs SHA-256 or SHA-384 or SHA-512");
}

#[test]
fn algorithms_that_never_stand_together_are_explained_too() {
    let gcm_with_md5_prf = ike(1, &[encryption(20, Some(256)), prf(1), group(14)]);
    let des = ike(2, &[encryption(2, None), prf(5), integrity(12), group(14)]);
    let refusal = of(CryptoPolicy::Modern).choose_ike(&[gcm_with_md5_prf, des], 14).unwrap_err();
    assert!(refusal.shortfalls.is_empty() && refusal.to_string().contains("no single proposal"), "{refusal}");
    assert!(!refusal.remedy().is_empty());
}
