//! What one hostile router, or somebody on the way, can do to a relay, and above all to its other tenants.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::time::Duration;

use ike::message::{Delete, EspSpis, ExchangeType, Header, Message, Notify, NotifyType, Payload, write};
use ike::proposals::Proposals;
use ike::transforms::Group;
use ike::*;
use scripted::*;

fn modern() -> Proposals {
    Proposals::of_policy(CryptoPolicy::Modern)
}

/// A router at a fixed address that the relay calls.
fn called() -> PeerConfig {
    PeerConfig { initiate: Initiate::Always, address: PeerAddress::Fixed(*address(1).ip()), ..office(1) }
}

/// What the relay sends when it calls.
fn first_call(relay: &mut Relay) -> Vec<u8> {
    relay.pass(Duration::from_millis(1));
    let (to, message) = relay.sent.pop_front().expect("an IKE_SA_INIT request");
    assert_eq!(to, address(1));
    message
}

fn answer_to(request: &[u8], payloads: &[Payload<'_>], responder: Option<u64>) -> Vec<u8> {
    let header = Message::parse(request).expect("a message").header;
    let responder_spi = responder.and_then(ike::message::IkeSpi::new);
    write(&Header { response: true, from_initiator: false, responder_spi, ..header }, payloads).expect("short")
}

/// The answer of a router that agrees.
fn agreement(request: &[u8]) -> Vec<u8> {
    let message = Message::parse(request).expect("a message");
    let (group, _) = message.payloads.key_exchange().expect("KE");
    let chosen = modern().choose_ike(message.payloads.proposals().expect("SA"), group).expect("a choice");
    let public = vec![0x55; chosen.suite.group.public_octets()];
    let payloads = [
        Payload::SecurityAssociation(vec![chosen.answer(None)]),
        Payload::KeyExchange { group, data: &public },
        Payload::Nonce(&[0x66; 32]),
    ];
    answer_to(request, &payloads, Some(9))
}

fn failures(relay: &Relay, failure: Failure) -> u64 {
    relay.engine.status(&name(1)).expect("configured").failures.get(failure)
}

/// A request for one more Child SA, which the router receives with `spi`.
fn another_child(router: &mut Router, relay: &mut Relay, spi: u32) -> Option<Vec<NotifyType>> {
    let offer = modern().offer_child(NonZeroU32::new(spi).expect("not zero"), None);
    let payloads = [
        Payload::SecurityAssociation(offer),
        Payload::Nonce(&[4; 32]),
        Payload::TrafficSelectorsInitiator(vec![own()]),
        Payload::TrafficSelectorsResponder(vec![far()]),
    ];
    router.ask(relay, ExchangeType::CreateChildSa, &payloads)
}

#[test]
fn a_router_that_makes_child_sas_without_end_is_put_off_and_another_one_is_not() {
    let mut relay = Relay::with_two_offices();
    let (mut one, mut two) = (Router::established(&mut relay, 1), Router::established(&mut relay, 2));
    let mut put_off = 0;
    for number in 0..100 {
        let spi = 0xb000_0000 + number;
        let answer = another_child(&mut one, &mut relay, spi).expect("an answer");
        put_off += usize::from(answer.contains(&NotifyType::TEMPORARY_FAILURE));
        let deleted = [spi.to_be_bytes()];
        one.ask(&mut relay, ExchangeType::Informational, &[Payload::Delete(Delete::Esp(EspSpis::new(&deleted)))]);
    }
    assert_eq!((relay.installed.len(), put_off, relay.engine.counters().asked_too_often), (2 + 32, 68, 68));
    assert_eq!(another_child(&mut two, &mut relay, 0xb000_0001), Some(Vec::new()));
    relay.pass(Duration::from_secs(60));
    assert_eq!(another_child(&mut one, &mut relay, 0xb100_0000), Some(Vec::new()), "it has its share again");
}

#[test]
fn an_sa_that_is_used_up_at_once_is_not_replaced_at_once() {
    let mut relay = Relay::with_two_offices();
    Router::established(&mut relay, 1);
    relay.sent.clear();
    let spi = relay.installed[0].1.inbound_spi;
    relay.engine.sa_expiring(spi, relay.now);
    relay.pass(Duration::from_secs(4));
    assert!(relay.sent.is_empty(), "a router that jumps to the last sequence number gets no row of key exchanges");
    relay.pass(Duration::from_secs(2));
    assert!(!relay.sent.is_empty(), "it is replaced all the same");
}

#[test]
fn where_nobody_has_time_for_diffie_hellman_the_router_is_to_come_back() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let offer = modern().offer_child(NonZeroU32::new(0xb000_0000).expect("not zero"), Some(Group::Ecp384));
    let public = vec![0x55; Group::Ecp384.public_octets()];
    let rekey = Notify::of_child(NotifyType::REKEY_SA, NonZeroU32::new(0xa000_0001).expect("not zero"), &[]);
    let payloads = [
        Payload::Notify(rekey),
        Payload::SecurityAssociation(offer),
        Payload::Nonce(&[4; 32]),
        Payload::KeyExchange { group: Group::Ecp384.number(), data: &public },
        Payload::TrafficSelectorsInitiator(vec![own()]),
        Payload::TrafficSelectorsResponder(vec![far()]),
    ];
    let request = router.seal(ExchangeType::CreateChildSa, &payloads);
    relay.engine.datagram(0, LocalPort::P500, address(1), &request, relay.now);
    let mut answer = None;
    while let Some(effect) = relay.engine.next_effect() {
        match effect {
            Effect::DiffieHellman { job, .. } => relay.engine.dh_done(job, DhOutcome::Busy, relay.now),
            Effect::Send { message, .. } => answer = router.open(&message),
            _ => {}
        }
    }
    assert_eq!(answer.map(|answer| answer.1), Some(vec![NotifyType::TEMPORARY_FAILURE]));
    assert_eq!((failures(&relay, Failure::BadPublicValue), relay.state(1)), (0, (PeerState::Up, 1)));
}

#[test]
fn strangers_never_have_so_much_begun_that_those_who_are_known_find_no_room() {
    let mut relay = Relay::with_two_offices();
    let mut jobs = 0;
    for number in 0..2_000_u32 {
        let from = SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + number), 500);
        let mut cookie: Option<Vec<u8>> = None;
        for _ in 0..2 {
            let request = init(7, Group::Ecp384, &modern(), cookie.as_deref(), &[]);
            relay.engine.datagram(0, LocalPort::P500, from, &request, relay.now);
            while let Some(effect) = relay.engine.next_effect() {
                match effect {
                    Effect::DiffieHellman { .. } => jobs += 1,
                    Effect::Send { message, .. } => {
                        let payloads = Message::parse(&message).expect("a message").payloads;
                        cookie = payloads.notify(NotifyType::COOKIE).map(|notify| notify.data.to_vec());
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(jobs, 512);
}

#[test]
fn a_forged_refusal_does_not_end_a_negotiation_that_goes_on() {
    let mut relay = Relay::new(vec![called()]);
    let request = first_call(&mut relay);
    relay.hear(address(1), &answer_to(&request, &[Payload::Notify(Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, &[]))], None));
    assert!(!relay.hear(address(1), &agreement(&request)).is_empty(), "IKE_AUTH leaves");
    relay.pass(Duration::from_secs(10));
    let told = (failures(&relay, Failure::Timeout), failures(&relay, Failure::NoIkeProposal));
    assert_eq!((relay.state(1).0, told), (PeerState::Connecting, (0, 0)), "a slow line, not a refusal");
}

#[test]
fn a_relay_that_cannot_prove_itself_says_so_and_tries_again() {
    let mut relay = Relay::new(vec![PeerConfig { authentication: Authentication::Psk { keys: Vec::new() }, ..called() }]);
    let request = first_call(&mut relay);
    relay.hear(address(1), &agreement(&request));
    assert_eq!((relay.state(1).0, failures(&relay, Failure::RejectedByPeer)), (PeerState::Down, 1));
    relay.pass(Duration::from_secs(6));
    assert!(!relay.sent.is_empty(), "it begins again");
}

#[test]
fn what_a_router_said_before_is_no_sign_of_life_when_somebody_says_it_again() {
    let mut relay = Relay::new(vec![PeerConfig { dpd: Duration::from_secs(10), ..office(1) }]);
    let mut router = Router::established(&mut relay, 1);
    let said = router.seal(ExchangeType::Informational, &[]);
    relay.hear(address(1), &said);
    relay.pass(Duration::from_secs(8));
    relay.sent.clear();
    relay.hear(address(40), &said);
    relay.pass(Duration::from_secs(3));
    assert!(relay.sent.iter().any(|(to, _)| *to == address(1)), "it is asked whether it lives");
}

/// A router at a fixed address behind a NAT, with both SAs.
fn fixed_behind_a_nat(relay: &mut Relay) -> SocketAddrV4 {
    let detection = [Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20])), Payload::VendorId(&[0; 200])];
    let request = init(7, Group::Ecp384, &modern(), None, &detection);
    let answers = relay.hear(address(1), &request);
    let mut router = Router::agree(&modern(), address(1), request, &answers[0]);
    router.address.set_port(4_500);
    router.authenticate(relay, (1, 1), (own(), far()), &[]);
    assert_eq!(relay.state(1).0, PeerState::Up);
    router.address
}

#[test]
fn esp_that_somebody_repeats_from_elsewhere_leads_no_tunnel_away_from_a_fixed_address() {
    let mut relay = Relay::new(vec![PeerConfig { initiate: Initiate::Never, ..called() }]);
    let home = fixed_behind_a_nat(&mut relay);
    relay.engine.esp_moved(&name(1), address(40), relay.now);
    let effects: Vec<Effect> = std::iter::from_fn(|| relay.engine.next_effect()).collect();
    let back = |effect: &Effect| matches!(effect, Effect::MovePeer { to: Encapsulation::Udp { peer }, .. } if *peer == home);
    assert!(matches!(&effects[..], [effect] if back(effect)), "{effects:?}");
}

#[test]
fn a_router_with_a_fixed_address_is_called_nowhere_else() {
    let mut relay = Relay::new(vec![called()]);
    relay.engine.initiate(&name(1), Some(address(40)), relay.now);
    // A datagram of nothing, so that the relay does what is to be done.
    let calls = relay.hear(address(1), &[]);
    assert_eq!(calls.len(), 1);
    assert!(Message::parse(&calls[0]).expect("a message").payloads.key_exchange().is_some());
}
