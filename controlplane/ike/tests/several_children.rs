//! A router with a Child SA for each pair of prefixes, as a FortiGate makes them: each carries its own traffic, whatever becomes of others.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::num::NonZeroU32;
use std::time::Duration;

use ike::message::{Delete, EspSpis, ExchangeType, Notify, NotifyType, Payload, TrafficSelector};
use ike::proposals::Proposals;
use ike::{CryptoPolicy, PeerState};
use scripted::*;

/// A host in each of the office's two prefixes.
const HOST_OF_FIRST: [u8; 4] = [10, 1, 0, 9];
const HOST_OF_SECOND: [u8; 4] = [10, 1, 1, 9];
/// What the router receives with: its first Child SA is that of IKE_AUTH.
const FIRST: u32 = 0xa000_0001;
const SECOND: u32 = 0xb000_0002;
/// Child SAs that a peer has at once: eight pairs of prefixes, each with its successor.
const MOST_CHILDREN: u32 = 16;

fn first_prefix() -> TrafficSelector {
    range([10, 1, 0, 0], [10, 1, 0, 255])
}

fn second_prefix() -> TrafficSelector {
    range([10, 1, 1, 0], [10, 1, 1, 255])
}

/// The router asks for a Child SA for `office`, which it receives with `spi`; `replaces` is the one that it is to replace.
fn ask_for(router: &mut Router, relay: &mut Relay, spi: u32, office: TrafficSelector, replaces: Option<u32>) -> Option<Vec<NotifyType>> {
    let number = |spi| NonZeroU32::new(spi).expect("not zero");
    let mut payloads = Vec::new();
    payloads.extend(replaces.map(|old| Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, number(old), &[]))));
    payloads.push(Payload::SecurityAssociation(Proposals::of_policy(CryptoPolicy::Modern).offer_child(number(spi), None)));
    payloads.extend([Payload::Nonce(&[4; 32]), Payload::TrafficSelectorsInitiator(vec![office])]);
    payloads.push(Payload::TrafficSelectorsResponder(vec![far()]));
    router.ask(relay, ExchangeType::CreateChildSa, &payloads)
}

fn delete(router: &mut Router, relay: &mut Relay, spi: u32) {
    let spi = [spi.to_be_bytes()];
    router.ask(relay, ExchangeType::Informational, &[Payload::Delete(Delete::Esp(EspSpis::new(&spi)))]);
}

/// A router that has a Child SA for each of two prefixes, and has not sent anything.
fn with_two_prefixes() -> (Relay, Router) {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::meet(&mut relay, address(1), 7);
    router.authenticate(&mut relay, (1, 1), (first_prefix(), far()), &[]).expect("an answer");
    assert_eq!(ask_for(&mut router, &mut relay, SECOND, second_prefix(), None), Some(Vec::new()));
    (relay, router)
}

fn leave_with(relay: &Relay) -> [Option<u32>; 2] {
    [HOST_OF_FIRST, HOST_OF_SECOND].map(|host| relay.leaves_with(1, host))
}

#[test]
fn packets_to_a_second_prefix_find_their_pair_before_the_office_has_sent_anything_on_it() {
    let (relay, _) = with_two_prefixes();
    assert_eq!(leave_with(&relay), [Some(FIRST), Some(SECOND)]);
    assert_eq!(relay.leaves_with(1, [10, 1, 2, 9]), None, "nobody agreed on that one");
}

#[test]
fn when_an_old_pair_is_deleted_the_one_with_its_traffic_takes_over_though_others_were_rekeyed_later() {
    let (mut relay, mut router) = with_two_prefixes();
    let (heir_of_first, heir_of_second) = (0xb000_0011, 0xb000_0012);
    assert_eq!(ask_for(&mut router, &mut relay, heir_of_first, first_prefix(), Some(FIRST)), Some(Vec::new()));
    relay.pass(Duration::from_millis(1));
    assert_eq!(ask_for(&mut router, &mut relay, heir_of_second, second_prefix(), Some(SECOND)), Some(Vec::new()));
    assert_eq!(leave_with(&relay), [Some(FIRST), Some(SECOND)], "nothing was heard on the new ones yet");
    delete(&mut router, &mut relay, FIRST);
    assert_eq!(leave_with(&relay), [Some(heir_of_first), Some(SECOND)]);
    delete(&mut router, &mut relay, SECOND);
    assert_eq!(leave_with(&relay), [Some(heir_of_first), Some(heir_of_second)]);
    assert_eq!(relay.removed, [], "late packets of the office are still taken");
    relay.pass(Duration::from_secs(6));
    assert_eq!((relay.removed.len(), relay.state(1)), (2, (PeerState::Up, 2)));
}

#[test]
fn a_deleted_pair_without_an_heir_sends_nothing_into_the_void() {
    let (mut relay, mut router) = with_two_prefixes();
    delete(&mut router, &mut relay, SECOND);
    assert_eq!(leave_with(&relay), [Some(FIRST), None]);
    assert_eq!((relay.removed.len(), relay.state(1)), (1, (PeerState::Up, 1)), "nothing is to replace it: it is gone at once");
}

#[test]
fn eight_pairs_of_prefixes_are_rekeyed_together_and_more_are_told_that_there_is_no_room() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    for spi in 1..MOST_CHILDREN {
        assert_eq!(ask_for(&mut router, &mut relay, SECOND + spi, own(), None), Some(Vec::new()), "{spi}");
    }
    assert_eq!(ask_for(&mut router, &mut relay, SECOND, own(), None), Some(vec![NotifyType::NO_ADDITIONAL_SAS]));
    assert_eq!(relay.state(1), (PeerState::Up, 16));
}
