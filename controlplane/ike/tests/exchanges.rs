//! Clauses of RFC 7296 that one router can try out on the relay, octet by octet.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::time::Duration;

use ike::message::{
    Delete, EspSpis, ExchangeType, IkeSpi, Message, Notify, NotifyType, Payload, Payloads, Proposal, Protects, Transform, TransformType,
    write,
};
use ike::proposals::{KeyExchange, Proposals};
use ike::transforms::{Encryption, Group, Integrity, Prf};
use ike::{CryptoPolicy, Encapsulation, Failure, PeerState};
use scripted::*;

fn modern() -> Proposals {
    Proposals::of_policy(CryptoPolicy::Modern)
}

/// The single notification of an answer in the clear.
fn refused_with(answers: &[Vec<u8>]) -> Option<(NotifyType, Vec<u8>)> {
    let [answer] = answers else { return None };
    let message = Message::parse(answer).expect("a message");
    let notify = message.payloads.notifies().next()?;
    Some((notify.kind, notify.data.to_vec()))
}

#[test]
fn a_request_that_comes_again_is_carried_out_once_and_answered_octet_for_octet_the_same() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::meet(&mut relay, address(1), 7);
    let first_again = relay.hear(address(1), &router.init.0);
    assert_eq!(first_again, [router.init.1.clone()]);
    router.authenticate(&mut relay, (1, 1), (own(), far()), &[]);
    let request = router.seal(ExchangeType::Informational, &[]);
    let once = relay.hear(address(1), &request);
    let again = relay.hear(address(1), &request);
    assert_eq!((once.len(), once), (1, again));
    assert_eq!((relay.installed.len(), relay.engine.counters().answered_again), (1, 2));
}

#[test]
fn a_request_with_the_same_number_but_other_octets_is_not_carried_out() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    router.ask(&mut relay, ExchangeType::Informational, &[]);
    router.next_id -= 1;
    router.ask(&mut relay, ExchangeType::Informational, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(relay.state(1), (PeerState::Up, 1));
}

#[test]
fn requests_beyond_the_window_are_not_carried_out() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    router.next_id += 1_000;
    assert_eq!(router.ask(&mut relay, ExchangeType::Informational, &[Payload::Delete(Delete::Ike)]), None);
    assert_eq!(relay.state(1), (PeerState::Up, 1));
}

#[test]
fn no_answer_to_a_stranger_is_larger_than_its_question_unless_it_has_shown_a_cookie() {
    let transforms = vec![Encryption::Aead(ike::transforms::Aead::Aes256Gcm16).into(), Prf::HmacSha256.into(), Group::Curve25519.into()];
    let proposal = Proposal { number: 1, protects: Protects::Ike(None), transforms };
    let smallest =
        [Payload::SecurityAssociation(vec![proposal]), Payload::KeyExchange { group: 31, data: &[0x55; 32] }, Payload::Nonce(&[0x66; 16])];
    let questions = [
        write(&header(IkeSpi::new(1).unwrap(), None, ExchangeType::IkeSaInit, 0), &smallest).unwrap(),
        init(2, Group::Modp2048, &modern(), None, &[]),
        init(3, Group::Ecp384, &modern(), None, &[]),
    ];
    for question in questions {
        let mut relay = Relay::with_two_offices();
        let answers = relay.hear(address(1), &question);
        let octets: usize = answers.iter().map(Vec::len).sum();
        assert!(octets <= question.len(), "{octets} octets for {}", question.len());
    }
}

#[test]
fn with_thirty_half_open_sas_a_cookie_is_demanded_and_taken() {
    let mut relay = Relay::with_two_offices();
    for office in 0..30 {
        Router::meet(&mut relay, address(office), 100 + u64::from(office));
    }
    assert_eq!(relay.engine.counters().half_open, 30);
    let answers = relay.hear(address(40), &init(7, Group::Ecp384, &modern(), None, &[]));
    let (kind, cookie) = refused_with(&answers).expect("a demand");
    assert_eq!((kind, relay.engine.counters().half_open, relay.engine.counters().cookies_sent), (NotifyType::COOKIE, 30, 1));
    let forged = relay.hear(address(41), &init(7, Group::Ecp384, &modern(), Some(&cookie), &[]));
    assert_eq!(refused_with(&forged).map(|(kind, _)| kind), Some(NotifyType::COOKIE), "the cookie of another address");
    let answers = relay.hear(address(40), &init(7, Group::Ecp384, &modern(), Some(&cookie), &[]));
    assert!(Message::parse(&answers[0]).unwrap().payloads.key_exchange().is_some());
    relay.pass(Duration::from_secs(31));
    assert_eq!(relay.engine.counters().half_open, 0, "their life has an end");
}

#[test]
fn one_source_gets_five_half_open_sas_and_no_answer_to_a_sixth() {
    let mut relay = Relay::with_two_offices();
    let mut cookies = 0;
    for spi in 1..=8 {
        let answers = relay.hear(address(1), &init(spi, Group::Ecp384, &modern(), None, &[]));
        if let Some((NotifyType::COOKIE, cookie)) = refused_with(&answers) {
            cookies += 1;
            relay.hear(address(1), &init(spi, Group::Ecp384, &modern(), Some(&cookie), &[]));
        }
    }
    let counters = relay.engine.counters();
    assert_eq!((cookies >= 2, counters.half_open, counters.dropped_half_open), (true, 5, 3));
}

#[test]
fn a_router_that_begins_with_a_weak_group_is_told_the_best_that_it_has() {
    let mut relay = Relay::with_two_offices();
    let mut transforms: Vec<Transform> = vec![Encryption::AesCbc(ike::transforms::AesKeyLength::Aes256).into(), Prf::HmacSha256.into()];
    transforms.extend([Integrity::HmacSha256_128.into(), Transform::new(TransformType::KeyExchange, 2), Group::Modp2048.into()]);
    let offer = Payload::SecurityAssociation(vec![Proposal { number: 1, protects: Protects::Ike(None), transforms }]);
    let payloads = [offer, Payload::KeyExchange { group: 2, data: &[9; 128] }, Payload::Nonce(&[1; 32]), Payload::VendorId(&[0; 200])];
    let request = write(&header(IkeSpi::new(3).unwrap(), None, ExchangeType::IkeSaInit, 0), &payloads).unwrap();
    assert_eq!(refused_with(&relay.hear(address(1), &request)), Some((NotifyType::INVALID_KE_PAYLOAD, vec![0, 14])));
    assert_eq!((relay.engine.counters().invalid_ke_sent, relay.engine.counters().half_open), (1, 0));
}

#[test]
fn what_nobody_authenticated_tears_nothing_down() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let spis = (router.spi, Some(router.relay_spi));
    for kind in [NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_IKE_SPI, NotifyType::INVALID_SYNTAX, NotifyType::INITIAL_CONTACT] {
        for response in [false, true] {
            let header = ike::message::Header { response, ..header(spis.0, spis.1, ExchangeType::Informational, router.next_id) };
            relay.hear(address(1), &write(&header, &[Payload::Notify(Notify::new(kind, &[])), Payload::Delete(Delete::Ike)]).unwrap());
        }
    }
    let mut forged = router.seal(ExchangeType::Informational, &[Payload::Delete(Delete::Ike)]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(relay.hear(address(1), &forged), Vec::<Vec<u8>>::new());
    assert_eq!((relay.state(1), relay.removed.len()), ((PeerState::Up, 1), 0));
}

#[test]
fn initial_contact_ends_the_older_sas_of_its_own_identity_and_nobody_elses() {
    let mut relay = Relay::with_two_offices();
    Router::established(&mut relay, 1);
    Router::established(&mut relay, 2);
    let old = relay.installed[0].1.inbound_spi;
    let contact = [Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, &[]))];
    let mut cheat = Router::meet(&mut relay, address(1), 70);
    assert_eq!(cheat.authenticate(&mut relay, (2, 1), (own(), far()), &contact), Some(vec![NotifyType::AUTHENTICATION_FAILED]));
    assert_eq!((relay.state(1), relay.state(2), relay.removed.len()), ((PeerState::Up, 1), (PeerState::Up, 1), 0));
    let mut anew = Router::meet(&mut relay, address(1), 71);
    anew.authenticate(&mut relay, (1, 1), (own(), far()), &contact);
    relay.pass(Duration::from_secs(10));
    assert!(relay.removed.contains(&old));
    assert_eq!((relay.state(1), relay.state(2)), ((PeerState::Up, 1), (PeerState::Up, 1)));
}

#[test]
fn another_key_or_another_tenants_identity_opens_nothing() {
    for who in [(1, 2), (2, 1), (9, 1)] {
        let mut relay = Relay::with_two_offices();
        let mut router = Router::meet(&mut relay, address(1), 7);
        let answer = router.authenticate(&mut relay, who, (own(), far()), &[]);
        assert_eq!(answer, Some(vec![NotifyType::AUTHENTICATION_FAILED]), "{who:?}");
        relay.pass(Duration::from_secs(60));
        assert_eq!((relay.installed.len(), relay.engine.counters().half_open, relay.engine.counters().ike_sas), (0, 0, 0));
    }
}

/// A request with a payload that nobody knows and that must not be skipped.
fn with_critical(mut message: Vec<u8>) -> Vec<u8> {
    let first = std::mem::replace(&mut message[16], 200);
    message.splice(28..28, [first, 0x80, 0, 4]);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    message[24..28].copy_from_slice(&length);
    message
}

#[test]
fn an_unknown_critical_payload_is_named_in_the_refusal() {
    let mut relay = Relay::with_two_offices();
    let request = with_critical(init(7, Group::Ecp384, &modern(), None, &[]));
    assert_eq!(refused_with(&relay.hear(address(1), &request)), Some((NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200])));
    assert_eq!(relay.engine.counters().half_open, 0);
}

#[test]
fn selectors_that_are_too_wide_are_narrowed_to_the_tenants_prefixes() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::meet(&mut relay, address(1), 7);
    router.authenticate(&mut relay, (1, 1), (everything(), everything()), &[]);
    let (name, sa) = &relay.installed[0];
    assert_eq!((&*name.tenant, sa.selectors.len()), ("office-1", 1));
    assert_eq!(sa.selectors[0].office, Ipv4Addr::new(10, 1, 0, 0)..=Ipv4Addr::new(10, 1, 255, 255));
    assert_eq!(sa.selectors[0].far, Ipv4Addr::new(203, 0, 113, 0)..=Ipv4Addr::new(203, 0, 113, 63));
}

#[test]
fn more_selectors_than_a_child_sa_holds_are_left_out_and_people_are_told() {
    let far = (0..40).map(|host| format!("203.0.113.{}/32", host * 2).parse().unwrap()).collect();
    let mut relay = Relay::new(vec![ike::PeerConfig { far, ..office(1) }]);
    let mut router = Router::meet(&mut relay, address(1), 7);
    router.authenticate(&mut relay, (1, 1), (everything(), everything()), &[]);
    assert_eq!(relay.installed[0].1.selectors.len(), 32);
    let steps = relay.engine.explain(&name(1)).expect("a negotiation").steps;
    assert!(steps.iter().any(|step| step.contains("left out selectors beyond 32 pairs")), "{steps:?}");
}

#[test]
fn selectors_outside_the_tenants_prefixes_are_unacceptable_and_the_ike_sa_stays() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::meet(&mut relay, address(1), 7);
    let elsewhere = range([10, 2, 0, 0], [10, 2, 255, 255]);
    let answer = router.authenticate(&mut relay, (1, 1), (elsewhere, far()), &[]).expect("an answer");
    assert!(answer.contains(&NotifyType::TS_UNACCEPTABLE), "{answer:?}");
    assert_eq!((relay.state(1), relay.installed.len()), ((PeerState::Authenticated, 0), 0));
}

#[test]
fn a_suite_that_this_tenants_policy_does_not_have_is_refused_before_anything_is_proven() {
    let strict = Proposals::within(CryptoPolicy::Cryptrec, &["aes256-sha256-modp2048".parse().unwrap()], &[]);
    let narrow = ike::PeerConfig { proposals: Some(strict), ..office(1) };
    let mut relay = Relay::new(vec![narrow, office(2)]);
    let offer = Proposals::within(CryptoPolicy::Modern, &["aes256gcm16-prfsha384-ecp384".parse().unwrap()], &[]);
    let request = init(7, Group::Ecp384, &offer, None, &[Payload::VendorId(&[0; 200])]);
    let answers = relay.hear(address(1), &request);
    let mut router = Router::agree(&offer, address(1), request, &answers[0]);
    let answer = router.authenticate(&mut relay, (1, 1), (own(), far()), &[]);
    assert_eq!(answer, Some(vec![NotifyType::NO_PROPOSAL_CHOSEN]));
    let failures = &relay.engine.status(&name(1)).expect("configured").failures;
    assert_eq!((relay.installed.len(), failures.get(Failure::SuiteNotForTenant)), (0, 1), "counted on that tenant");
}

#[test]
fn what_does_not_exist_is_not_found_and_deleting_it_deletes_nothing() {
    let mut relay = Relay::with_two_offices();
    let mut one = Router::established(&mut relay, 1);
    Router::established(&mut relay, 2);
    let victim = relay.installed[1].1.inbound_spi.to_be_bytes();
    let mirror = relay.installed[1].1.outbound_spi.to_be_bytes();
    let spis = [victim, [1, 2, 3, 4]];
    let answer = one.ask(&mut relay, ExchangeType::Informational, &[Payload::Delete(Delete::Esp(EspSpis::new(&spis)))]);
    assert_eq!((answer, relay.removed.len()), (Some(Vec::new()), 0));
    assert_ne!(victim, mirror);
    let unknown = NonZeroU32::new(0xdead_beef).unwrap();
    let payloads = [
        Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, unknown, &[])),
        Payload::SecurityAssociation(modern().offer_child(NonZeroU32::new(0xa000_0002).unwrap(), None)),
        Payload::Nonce(&[4; 32]),
        Payload::TrafficSelectorsInitiator(vec![own()]),
        Payload::TrafficSelectorsResponder(vec![far()]),
    ];
    assert_eq!(one.ask(&mut relay, ExchangeType::CreateChildSa, &payloads), Some(vec![NotifyType::CHILD_SA_NOT_FOUND]));
    assert_eq!((relay.state(1), relay.state(2), relay.installed.len()), ((PeerState::Up, 1), (PeerState::Up, 1), 2));
}

#[test]
fn while_the_relay_replaces_the_ike_sa_nothing_new_begins_on_it() {
    let mut relay = Relay::new(vec![ike::PeerConfig { ike_lifetime: Duration::from_secs(100), ..office(1) }, office(2)]);
    let mut router = Router::established(&mut relay, 1);
    for _ in 0..120 {
        relay.pass(Duration::from_secs(1));
        if !relay.sent.is_empty() {
            break;
        }
    }
    let request = Message::parse(&relay.sent[0].1).expect("a message").header;
    assert_eq!((request.exchange, request.response), (ExchangeType::CreateChildSa, false));
    let payloads = [
        Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, NonZeroU32::new(0xa000_0001).unwrap(), &[])),
        Payload::SecurityAssociation(modern().offer_child(NonZeroU32::new(0xa000_0002).unwrap(), None)),
        Payload::Nonce(&[4; 32]),
        Payload::TrafficSelectorsInitiator(vec![own()]),
        Payload::TrafficSelectorsResponder(vec![far()]),
    ];
    relay.sent.clear();
    assert_eq!(router.ask(&mut relay, ExchangeType::CreateChildSa, &payloads), Some(vec![NotifyType::TEMPORARY_FAILURE]));
    assert_eq!((relay.state(1), relay.installed.len()), ((PeerState::Up, 1), 1));
}

/// Both replace the same Child SA at once, the router with `nonces` of its own in its own exchange and in the relay's. The SPI that the relay
/// then deletes, beside those of the old pair, the router's new one and its own new one.
fn simultaneous_rekey(nonces: (u8, u8)) -> (u32, [u32; 3]) {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let old = relay.installed[0].1.inbound_spi;
    // No pair is replaced in its first seconds.
    relay.pass(Duration::from_secs(5));
    relay.engine.sa_expiring(old, relay.now);
    relay.pass(Duration::ZERO);
    let theirs = relay.sent.pop_front().expect("the relay's request").1;
    let spis = [0xa000_0002, 0xa000_0003].map(|spi| NonZeroU32::new(spi).unwrap());
    let selectors = [Payload::TrafficSelectorsInitiator(vec![own()]), Payload::TrafficSelectorsResponder(vec![far()])];
    let ours = [
        Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, NonZeroU32::new(0xa000_0001).unwrap(), &[])),
        Payload::SecurityAssociation(modern().offer_child(spis[0], None)),
        Payload::Nonce(&[nonces.0; 32]),
    ];
    let answer = router.ask(&mut relay, ExchangeType::CreateChildSa, &[&ours[..], &selectors].concat());
    assert_eq!(answer, Some(Vec::new()));
    let (header, first, chain) = router.read(&theirs);
    let payloads = Payloads::parse(first, &chain).unwrap();
    let chosen = modern().choose_child(payloads.proposals().unwrap(), KeyExchange::Absent).unwrap();
    let mirrored = [Payload::TrafficSelectorsInitiator(vec![far()]), Payload::TrafficSelectorsResponder(vec![own()])];
    let reply = [Payload::SecurityAssociation(vec![chosen.answer(spis[1])]), Payload::Nonce(&[nonces.1; 32])];
    let next = router.answer(&mut relay, &header, &[&reply[..], &mirrored].concat());
    let made = [old, relay.installed[1].1.inbound_spi, relay.installed[2].1.inbound_spi];
    let (_, first, chain) = router.read(next.first().expect("the relay cleans up"));
    let payloads = Payloads::parse(first, &chain).unwrap();
    let Some(Delete::Esp(deleted)) = payloads.deletes().next() else { panic!("a Delete") };
    (deleted.iter().next().unwrap().get(), made)
}

#[test]
fn of_two_simultaneous_rekeys_the_one_with_the_lowest_nonce_is_given_up_by_its_maker() {
    let (deleted, [old, _, _]) = simultaneous_rekey((0, 0xff));
    assert_eq!(deleted, old, "the router's has the lowest nonce: the relay's stands and replaces the old one");
    let (deleted, [_, _, own]) = simultaneous_rekey((0xff, 0));
    assert_eq!(deleted, own, "the relay's has the lowest nonce: it gives up its own");
}

#[test]
fn a_router_behind_a_nat_floats_to_4500_and_its_esp_goes_where_it_came_from() {
    let mut relay = Relay::with_two_offices();
    let detection = [
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20])),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, &[2; 20])),
        Payload::VendorId(&[0; 200]),
    ];
    let request = init(7, Group::Ecp384, &modern(), None, &detection);
    let answers = relay.hear(address(1), &request);
    let mut router = Router::agree(&modern(), address(1), request, &answers[0]);
    router.address = SocketAddrV4::new(*address(1).ip(), 61_234);
    router.authenticate(&mut relay, (1, 1), (own(), far()), &[]);
    let expected = Encapsulation::Udp { peer: router.address };
    assert_eq!(relay.installed[0].1.encapsulation, expected);
}

#[test]
fn a_shorter_question_than_any_negotiation_gets_no_answer() {
    let mut relay = Relay::with_two_offices();
    let first = header(IkeSpi::new(7).unwrap(), None, ExchangeType::IkeSaInit, 0);
    let nonce_only = write(&first, &[Payload::Nonce(&[1; 16])]).unwrap();
    let questions = [write(&first, &[]).unwrap(), with_critical(write(&first, &[]).unwrap()), nonce_only];
    for question in questions {
        let octets: usize = relay.hear(address(1), &question).iter().map(Vec::len).sum();
        assert!(octets <= question.len(), "{octets} octets for {}", question.len());
    }
}

#[test]
fn an_unknown_exchange_or_a_broken_chain_under_the_right_keys_leaves_the_sa_as_it_is() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    router.ask(&mut relay, ExchangeType::Other(99), &[]);
    router.ask(&mut relay, ExchangeType::Informational, &[Payload::Nonce(&[1; 4])]);
    assert_eq!(relay.state(1).0, PeerState::Up);
}
