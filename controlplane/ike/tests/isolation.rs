//! Attempts of one router to reach what is another tenant's through key exchange. Numbers are those of the table "Isolation" in
//! `dataplane/CONFORMANCE.md`. Each expects one exact answer, what is counted for whom, and that the other tenant's SAs stay as they are.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use ike::message::{Delete, EspSpis, ExchangeType, Notify, NotifyType, Payload, TrafficSelector};
use ike::proposals::Proposals;
use ike::transforms::Group;
use ike::*;
use scripted::*;

/// Office 2 with both SAs, as office 1 finds it.
fn with_office_two() -> Relay {
    let mut relay = Relay::with_two_offices();
    Router::established(&mut relay, 2);
    relay
}

/// Nothing of office 2 changed: its one pair stands, nothing was counted for it.
#[track_caller]
fn office_two_notices_nothing(relay: &Relay) {
    assert_eq!(relay.state(2), (PeerState::Up, 1));
    let of_two = relay.installed.iter().filter(|(owner, _)| *owner == name(2)).count();
    let removed = relay.installed.iter().any(|(owner, sa)| *owner == name(2) && relay.removed.contains(&sa.inbound_spi));
    assert_eq!((of_two, removed), (1, false));
}

/// How often it failed for an office, and for whoever has proven nothing.
fn failures(relay: &Relay, office: u8, failure: Failure) -> (u64, u64) {
    let of_office = relay.engine.status(&name(office)).expect("configured").failures.get(failure);
    (of_office, relay.engine.counters().unproven_failures.get(failure))
}

#[test]
fn attempt_14_a_tenants_own_credential_proves_no_other_identity() {
    let mut relay = with_office_two();
    for (attempt, from) in [(1, address(1)), (2, address(2))] {
        let mut thief = Router::meet(&mut relay, from, 70 + attempt);
        let answer = thief.authenticate(&mut relay, (2, 1), (own(), far()), &[]);
        assert_eq!(answer, Some(vec![NotifyType::AUTHENTICATION_FAILED]), "from {from}");
        assert_eq!(failures(&relay, 2, Failure::AuthenticationFailed), (0, attempt), "nobody is blamed for what a stranger says");
        assert_eq!(relay.engine.counters().ike_sas, 1);
        office_two_notices_nothing(&relay);
    }
}

#[test]
fn attempt_15_selectors_are_narrowed_to_the_tenants_own_and_those_of_another_are_refused() {
    let theirs: Vec<_> = vec!["10.2.0.0/16".parse().expect("a network")];
    let mut relay = Relay::new(vec![office(1), PeerConfig { office: theirs, ..office(2) }]);
    let of_two = range([10, 2, 0, 0], [10, 2, 255, 255]);
    let mut router = Router::meet(&mut relay, address(1), 7);
    let answer = router.authenticate(&mut relay, (1, 1), (of_two, far()), &[]).expect("an answer");
    assert!(answer.contains(&NotifyType::TS_UNACCEPTABLE), "{answer:?}");
    assert_eq!((relay.state(1), relay.installed.len()), ((PeerState::Authenticated, 0), 0));
    for (number, wide) in [everything(), range([10, 0, 0, 0], [10, 255, 255, 255])].into_iter().enumerate() {
        let spi = 0xa000_0002 + u32::try_from(number).expect("small");
        assert_eq!(child(&mut router, &mut relay, spi, None, (wide, everything())), Some(Vec::new()));
        let selectors = &relay.installed[number].1.selectors;
        let own =
            (Ipv4Addr::new(10, 1, 0, 0)..=Ipv4Addr::new(10, 1, 255, 255), Ipv4Addr::new(203, 0, 113, 0)..=Ipv4Addr::new(203, 0, 113, 63));
        assert_eq!(selectors.iter().map(|selector| (selector.office.clone(), selector.far.clone())).collect::<Vec<_>>(), [own]);
    }
}

#[test]
fn attempt_16_initial_contact_under_a_stolen_identity_ends_nothing() {
    let mut relay = with_office_two();
    let contact = [Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, &[]))];
    let mut thief = Router::meet(&mut relay, address(1), 70);
    let answer = thief.authenticate(&mut relay, (2, 1), (own(), far()), &contact);
    assert_eq!(answer, Some(vec![NotifyType::AUTHENTICATION_FAILED]));
    office_two_notices_nothing(&relay);
    // Under its own identity, and inside its own SA, it speaks of itself alone.
    let mut itself = Router::meet(&mut relay, address(1), 71);
    itself.authenticate(&mut relay, (1, 1), (own(), far()), &contact);
    itself.ask(&mut relay, ExchangeType::Informational, &contact);
    relay.pass(Duration::from_secs(10));
    assert_eq!(relay.state(1), (PeerState::Up, 1));
    office_two_notices_nothing(&relay);
}

#[test]
fn attempt_17_an_ike_spi_that_another_tenant_uses_too_leads_to_ones_own_sa() {
    let mut relay = Relay::with_two_offices();
    // The same initiator SPI, key exchange and nonce from both: only the addresses differ.
    let mut one = Router::meet(&mut relay, address(1), 7);
    let mut two = Router::meet(&mut relay, address(2), 7);
    assert_ne!(one.relay_spi, two.relay_spi);
    for (router, office) in [(&mut one, 1), (&mut two, 2)] {
        let answer = router.authenticate(&mut relay, (office, office), (own(), far()), &[]);
        assert!(answer.is_some_and(|notifies| notifies.iter().all(|kind| !kind.is_error())));
    }
    assert_eq!((relay.state(1), relay.state(2)), ((PeerState::Up, 1), (PeerState::Up, 1)));
    // One's own message under the relay's SPI of the other: nobody's, and no answer.
    one.relay_spi = two.relay_spi;
    let forged = one.seal(ExchangeType::Informational, &[Payload::Delete(Delete::Ike)]);
    assert_eq!(relay.hear(address(1), &forged), Vec::<Vec<u8>>::new());
    assert_eq!((relay.state(1), relay.removed.len()), ((PeerState::Up, 1), 0));
    office_two_notices_nothing(&relay);
    assert_eq!(two.ask(&mut relay, ExchangeType::Informational, &[]), Some(Vec::new()), "and the SA is as good as before");
}

#[test]
fn attempt_18_a_delete_and_a_rekey_that_name_another_tenants_spi_find_nothing() {
    let mut relay = with_office_two();
    let mut router = Router::established(&mut relay, 1);
    let victim = &relay.installed[0].1;
    for spi in [victim.inbound_spi, victim.outbound_spi].map(|spi| NonZeroU32::new(spi).expect("not zero")) {
        // Both tenants may have chosen the same SPI for what they receive: then it is one's own that is meant.
        if spi.get() == relay.installed[1].1.outbound_spi {
            continue;
        }
        let spis = [spi.get().to_be_bytes()];
        let delete = [Payload::Delete(Delete::Esp(EspSpis::new(&spis)))];
        assert_eq!(router.ask(&mut relay, ExchangeType::Informational, &delete), Some(Vec::new()));
        let answer = child(&mut router, &mut relay, 0xa000_0005, Some(spi), (own(), far()));
        assert_eq!(answer, Some(vec![NotifyType::CHILD_SA_NOT_FOUND]));
    }
    assert_eq!((relay.state(1), relay.installed.len(), relay.removed.len()), ((PeerState::Up, 1), 2, 0));
    office_two_notices_nothing(&relay);
}

/// One more Child SA, in the place of `rekeyed` where it is named.
fn child(
    router: &mut Router,
    relay: &mut Relay,
    spi: u32,
    rekeyed: Option<NonZeroU32>,
    selectors: (TrafficSelector, TrafficSelector),
) -> Option<Vec<NotifyType>> {
    let offer = Proposals::of_policy(CryptoPolicy::Modern).offer_child(NonZeroU32::new(spi).expect("not zero"), None);
    let mut payloads: Vec<Payload<'_>> = Vec::new();
    payloads.extend(rekeyed.map(|spi| Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, spi, &[]))));
    payloads.extend([
        Payload::SecurityAssociation(offer),
        Payload::Nonce(&[4; 32]),
        Payload::TrafficSelectorsInitiator(vec![selectors.0]),
        Payload::TrafficSelectorsResponder(vec![selectors.1]),
    ]);
    router.ask(relay, ExchangeType::CreateChildSa, &payloads)
}

/// Nobody learns from answers whom the relay knows: as many, as long, at the same moment, and as much Diffie-Hellman before them.
#[test]
fn attempt_49_a_wrong_proof_and_an_unknown_identity_are_answered_alike() {
    let answers = [(1, 2), (9, 1)].map(|(who, key)| {
        let mut relay = Relay::with_two_offices();
        let padding = [Payload::VendorId(&[0; 200])];
        let request = init(7, Group::Ecp384, &Proposals::of_policy(CryptoPolicy::Modern), None, &padding);
        relay.engine.datagram(0, LocalPort::P500, address(1), &request, relay.now);
        let work =
            std::iter::from_fn(|| relay.engine.next_effect()).filter(|effect| matches!(effect, Effect::DiffieHellman { .. })).count();
        let mut relay = Relay::with_two_offices();
        let mut router = Router::meet(&mut relay, address(1), 7);
        let asked = relay.now;
        let answer = router.authenticate(&mut relay, (who, key), (own(), far()), &[]);
        relay.pass(Duration::from_secs(60));
        (work, answer, asked, relay.sent.len(), relay.engine.counters().half_open)
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].1, Some(vec![NotifyType::AUTHENTICATION_FAILED]));
}
