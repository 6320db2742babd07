//! The peer has made its half of an SA, and the relay cannot make its own: no secret, or no worker that takes it. Both ends must agree again.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::num::NonZeroU32;
use std::time::Duration;

use ike::message::{Delete, EspSpis, ExchangeType, IkeSpi, NotifyType, Payload, Payloads};
use ike::proposals::{KeyExchange, Proposals};
use ike::transforms::Group;
use ike::*;
use scripted::*;

const GROUP: Group = Group::Ecp384;

fn modern() -> Proposals {
    Proposals::of_policy(CryptoPolicy::Modern)
}

fn public() -> Vec<u8> {
    vec![0x55; GROUP.public_octets()]
}

fn failures(relay: &Relay) -> [u64; 3] {
    let failures = relay.engine.status(&name(1)).expect("configured").failures;
    [Failure::Overloaded, Failure::BadPublicValue, Failure::InstallRefused].map(|failure| failures.get(failure))
}

/// A router that wants forward secrecy; the SPI that the relay offers in its request to replace the Child SA, and the answer to that.
fn asked_to_rekey() -> (Relay, Router, NonZeroU32, Vec<u8>) {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let public = public();
    let first = [
        Payload::SecurityAssociation(modern().offer_child(NonZeroU32::new(0xb000_0000).expect("not zero"), Some(GROUP))),
        Payload::Nonce(&[4; 32]),
        Payload::KeyExchange { group: GROUP.number(), data: &public },
        Payload::TrafficSelectorsInitiator(vec![own()]),
        Payload::TrafficSelectorsResponder(vec![far()]),
    ];
    assert_eq!(router.ask(&mut relay, ExchangeType::CreateChildSa, &first), Some(Vec::new()), "the relay learns what the router wants");
    let old = [0xa000_0001_u32.to_be_bytes()];
    router.ask(&mut relay, ExchangeType::Informational, &[Payload::Delete(Delete::Esp(EspSpis::new(&old)))]);
    relay.pass(Duration::from_secs(10));
    assert_eq!((relay.state(1), relay.removed.len()), ((PeerState::Up, 1), 1));
    relay.engine.sa_expiring(relay.installed[1].1.inbound_spi, relay.now);
    relay.pass(Duration::ZERO);
    let request = relay.sent.pop_front().expect("the relay's request").1;
    let (header, first, chain) = router.read(&request);
    let payloads = Payloads::parse(first, &chain).expect("well-formed");
    let chosen = modern().choose_child(payloads.proposals().expect("SA"), KeyExchange::Group(GROUP.number())).expect("a choice");
    let answer = chosen.answer(NonZeroU32::new(0xb000_0001).expect("not zero"));
    let payloads = [
        Payload::SecurityAssociation(vec![answer]),
        Payload::Nonce(&[5; 32]),
        Payload::KeyExchange { group: GROUP.number(), data: &public },
        Payload::TrafficSelectorsInitiator(vec![far()]),
        Payload::TrafficSelectorsResponder(vec![own()]),
    ];
    let sealed = router.seal_answer(&header, &payloads);
    (relay, router, chosen.spi, sealed)
}

/// The relay has the pair deleted that only the router has, and goes on with the one that both have.
fn undone(mut relay: Relay, mut router: Router, offered: NonZeroU32, answers: &[Vec<u8>]) -> Relay {
    let (header, first, chain) = router.read(answers.first().expect("the relay cleans up"));
    let payloads = Payloads::parse(first, &chain).expect("well-formed");
    let Some(Delete::Esp(deleted)) = payloads.deletes().next() else { panic!("a Delete") };
    assert_eq!(deleted.iter().collect::<Vec<_>>(), [offered]);
    router.answer(&mut relay, &header, &[]);
    assert_eq!((relay.state(1), relay.engine.counters().child_sas), ((PeerState::Up, 1), 1), "the old one goes on");
    assert_eq!((relay.removed.len(), relay.leaves_with(1, [10, 1, 0, 9])), (1, Some(0xb000_0000)));
    relay
}

#[test]
fn a_child_sa_without_a_secret_is_deleted_at_the_peer_which_has_it_already() {
    for (outcome, expected) in [(busy as fn() -> DhOutcome, [1, 0, 0]), (refused, [0, 1, 0])] {
        let (mut relay, router, offered, answer) = asked_to_rekey();
        relay.no_secret = Some(outcome);
        let answers = relay.hear(router.address, &answer);
        let mut relay = undone(relay, router, offered, &answers);
        assert_eq!((failures(&relay), relay.installed.len()), (expected, 2));
        relay.no_secret = None;
        relay.pass(Duration::from_secs(31));
        assert!(!relay.sent.is_empty(), "it is tried again");
    }
}

#[test]
fn a_child_sa_that_no_worker_takes_is_deleted_at_the_peer_and_counts_nowhere() {
    let (mut relay, router, offered, answer) = asked_to_rekey();
    relay.install_outcome = Err(InstallRefused::Busy);
    let answers = relay.hear(router.address, &answer);
    let relay = undone(relay, router, offered, &answers);
    assert_eq!(failures(&relay), [0, 0, 1]);
}

#[test]
fn an_ike_sa_without_a_secret_is_begun_anew_because_the_peer_works_with_the_new_one() {
    let called = PeerConfig { initiate: Initiate::Always, ike_lifetime: Duration::from_secs(100), ..office(1) };
    let mut relay = Relay::new(vec![called, office(2)]);
    let mut router = Router::established(&mut relay, 1);
    while relay.sent.is_empty() {
        relay.pass(Duration::from_secs(1));
    }
    let (header, first, chain) = router.read(&relay.sent.pop_front().expect("the relay's request").1);
    let payloads = Payloads::parse(first, &chain).expect("well-formed");
    let chosen = modern().choose_ike(payloads.proposals().expect("SA"), GROUP.number()).expect("a choice");
    let public = public();
    let answer = [
        Payload::SecurityAssociation(vec![chosen.answer(IkeSpi::new(0x77))]),
        Payload::Nonce(&[5; 32]),
        Payload::KeyExchange { group: GROUP.number(), data: &public },
    ];
    relay.no_secret = Some(busy);
    let said = router.answer(&mut relay, &header, &answer);
    let (header, first, chain) = router.read(said.first().expect("a last word"));
    let deletes: Vec<_> = Payloads::parse(first, &chain).expect("well-formed").deletes().collect();
    assert_eq!((header.exchange, deletes), (ExchangeType::Informational, vec![Delete::Ike]));
    assert_eq!((relay.state(1), failures(&relay), relay.removed.len()), ((PeerState::Down, 0), [1, 0, 0], 1));
    assert_eq!(relay.engine.counters().ike_sas, 0);
    relay.no_secret = None;
    relay.pass(Duration::from_secs(6));
    let (_, call) = relay.sent.pop_front().expect("the relay calls again");
    assert_eq!(ike::message::Message::parse(&call).expect("a message").header.exchange, ExchangeType::IkeSaInit);
}

#[test]
fn a_value_that_is_none_in_the_peers_own_rekeying_of_the_ike_sa_is_counted() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let public = public();
    let request = [
        Payload::SecurityAssociation(modern().offer_ike(IkeSpi::new(0x77))),
        Payload::Nonce(&[4; 32]),
        Payload::KeyExchange { group: GROUP.number(), data: &public },
    ];
    for (outcome, answer, expected) in
        [(busy as fn() -> DhOutcome, NotifyType::TEMPORARY_FAILURE, [0, 0, 0]), (refused, NotifyType::INVALID_SYNTAX, [0, 1, 0])]
    {
        relay.no_secret = Some(outcome);
        assert_eq!(router.ask(&mut relay, ExchangeType::CreateChildSa, &request), Some(vec![answer]));
        assert_eq!((failures(&relay), relay.state(1)), (expected, (PeerState::Up, 1)));
    }
}

fn busy() -> DhOutcome {
    DhOutcome::Busy
}

fn refused() -> DhOutcome {
    DhOutcome::Refused
}
