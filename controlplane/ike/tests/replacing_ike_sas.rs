//! IKE SAs in place of others, octet by octet: both ends at once, with another group, and a router that begins anew without a word.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::time::Duration;

use ike::message::{ExchangeType, Header, IkeSpi, Message, Notify, NotifyType, Payload, Payloads};
use ike::proposals::Proposals;
use ike::transforms::Group;
use ike::*;
use scripted::*;

/// The router's SPI in the IKE SA of its own exchange, and in that of the relay's.
const OF_ITS_OWN: u64 = 0x77;
const OF_THE_RELAYS: u64 = 0x88;

fn modern() -> Proposals {
    Proposals::of_policy(CryptoPolicy::Modern)
}

fn public(group: Group) -> Vec<u8> {
    vec![0x55; group.public_octets()]
}

/// A relay that asks for a new IKE SA, the request, and the SPI that it offers.
fn relay_replaces() -> (Relay, Router, Header, u64) {
    let mut relay = Relay::new(vec![PeerConfig { ike_lifetime: Duration::from_secs(100), ..office(1) }, office(2)]);
    let router = Router::established(&mut relay, 1);
    while relay.sent.is_empty() {
        relay.pass(Duration::from_secs(1));
    }
    let (header, first, chain) = router.read(&relay.sent.pop_front().expect("the relay's request").1);
    let payloads = Payloads::parse(first, &chain).expect("well-formed");
    let chosen = modern().choose_ike(payloads.proposals().expect("SA"), Group::Ecp384.number()).expect("a choice");
    (relay, router, header, chosen.spi.expect("the relay's SPI").get())
}

/// Both ends replace the IKE SA at once; the router's nonces are `nonces` in its own exchange and in the relay's. The relay, its own new
/// SPI, the old SPIs, and the header of what it then says.
fn at_once(nonces: (u8, u8)) -> (Relay, u64, Router, Header) {
    let (mut relay, mut router, header, offered) = relay_replaces();
    let public = public(Group::Ecp384);
    let own = [
        Payload::SecurityAssociation(modern().offer_ike(IkeSpi::new(OF_ITS_OWN))),
        Payload::Nonce(&[nonces.0; 32]),
        Payload::KeyExchange { group: Group::Ecp384.number(), data: &public },
    ];
    assert_eq!(router.ask(&mut relay, ExchangeType::CreateChildSa, &own), Some(Vec::new()), "granted meanwhile");
    let request = modern().offer_ike(IkeSpi::new(offered));
    let chosen = modern().choose_ike(&request, Group::Ecp384.number()).expect("a choice");
    let answer = [
        Payload::SecurityAssociation(vec![chosen.answer(IkeSpi::new(OF_THE_RELAYS))]),
        Payload::Nonce(&[nonces.1; 32]),
        Payload::KeyExchange { group: Group::Ecp384.number(), data: &public },
    ];
    let said = router.answer(&mut relay, &header, &answer);
    let said = Message::parse(said.first().expect("the relay cleans up")).expect("a message").header;
    assert_eq!((said.exchange, said.response, relay.engine.counters().ike_sas), (ExchangeType::Informational, false, 3));
    (relay, offered, router, said)
}

/// After a minute and a half, in which nobody answers any Delete: who began the IKE SA that stands, and with which SPI.
fn remaining(mut relay: Relay) -> (bool, u64) {
    relay.pass(Duration::from_secs(90));
    assert_eq!((relay.engine.counters().ike_sas, relay.state(1)), (1, (PeerState::Up, 1)));
    assert_eq!((relay.removed.len(), relay.leaves_with(1, [10, 1, 0, 9])), (0, Some(FIRST_CHILD)), "the Child SA is inherited");
    let ike = relay.engine.status(&name(1)).expect("configured").ike.expect("an IKE SA");
    (ike.initiator, ike.initiator_spi)
}

#[test]
fn of_two_ike_sas_made_at_once_the_one_with_the_lowest_nonce_goes_and_its_maker_deletes_it() {
    // The router's exchange has the lowest nonce: the router deletes its own, and the relay the old one.
    let (relay, offered, router, said) = at_once((0, 0xff));
    assert_eq!((said.initiator_spi, said.responder_spi, said.from_initiator), (router.spi, Some(router.relay_spi), false));
    assert_eq!(remaining(relay), (true, offered));
    // The relay's has: it deletes its own, under the keys of that one.
    let (relay, offered, _, said) = at_once((0xff, 0));
    assert_eq!((said.initiator_spi.get(), said.responder_spi, said.from_initiator), (offered, IkeSpi::new(OF_THE_RELAYS), true));
    assert_eq!(remaining(relay), (false, OF_ITS_OWN));
}

#[test]
fn a_router_that_wants_another_group_for_the_new_ike_sa_gets_it_once() {
    let (mut relay, mut router, mut header, _) = relay_replaces();
    let mut wish = |relay: &mut Relay, group: Group| {
        let wish = group.number().to_be_bytes();
        let refusal = [Payload::Notify(Notify::new(NotifyType::INVALID_KE_PAYLOAD, &wish))];
        let said = router.answer(relay, &header, &refusal);
        let (next, first, chain) = said.first().map(|said| router.read(said))?;
        header = next;
        let payloads = Payloads::parse(first, &chain).expect("well-formed");
        payloads.key_exchange().map(|(group, public)| (group, public.len()))
    };
    assert_eq!(wish(&mut relay, Group::Modp2048), Some((14, 256)));
    assert_eq!(wish(&mut relay, Group::Ecp256), None, "a router that wants yet another one gets no row of key pairs");
    let failures = relay.engine.status(&name(1)).expect("configured").failures;
    assert_eq!((failures.get(Failure::NotifiedByPeer), relay.state(1)), (1, (PeerState::Up, 1)));
}

#[test]
fn a_router_that_begins_anew_without_a_word_about_the_old_sas_loses_nothing_and_the_old_ones_go() {
    let mut relay = Relay::with_two_offices();
    let mut old = Router::established(&mut relay, 1);
    let mut new = Router::meet(&mut relay, address(1), 99);
    new.child_spi = 0xc000_0001;
    new.authenticate(&mut relay, (1, 1), (own(), far()), &[]).expect("an answer");
    assert_eq!((relay.state(1), relay.engine.counters().ike_sas), ((PeerState::Up, 2), 2));
    let leaves = |relay: &Relay| relay.leaves_with(1, [10, 1, 0, 9]);
    assert_eq!(leaves(&relay), Some(FIRST_CHILD), "the router may not have installed the new pair yet");
    relay.pass(Duration::from_secs(2));
    assert_eq!(leaves(&relay), Some(0xc000_0001), "but the old one may be nobody's");
    assert!(relay.sent.is_empty() && relay.removed.is_empty());
    relay.pass(Duration::from_secs(30));
    let (header, first, chain) = old.read(&relay.sent.pop_front().expect("the relay takes leave of the old SA").1);
    let deletes = Payloads::parse(first, &chain).expect("well-formed").deletes().count();
    assert_eq!((header.initiator_spi, deletes), (old.spi, 1));
    old.answer(&mut relay, &header, &[]);
    assert_eq!((relay.state(1), relay.engine.counters().ike_sas, leaves(&relay)), ((PeerState::Up, 1), 1, Some(0xc000_0001)));
    assert!(relay.removed.is_empty(), "late packets are still taken");
    relay.pass(Duration::from_secs(6));
    assert_eq!(relay.removed, [relay.installed[0].1.inbound_spi]);
}
