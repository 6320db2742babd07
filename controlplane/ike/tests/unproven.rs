//! Who has proven nothing can be anybody: what it does is shown where it helps, and blamed on no tenant.

#[allow(unreachable_pub, reason = "one module for several tests")]
mod scripted;

use std::net::{Ipv4Addr, SocketAddrV4};

use ike::message::{Delete, ExchangeType, IkeSpi, Payload, Proposal, Protects, Transform, TransformType, write};
use ike::transforms::{AesKeyLength, Encryption, Integrity, Prf};
use ike::*;
use scripted::*;

/// IKE_SA_INIT of a router that has nothing better than MODP-1024 (group 2).
fn with_a_weak_group(spi: u64) -> Vec<u8> {
    let mut transforms: Vec<Transform> = vec![Encryption::AesCbc(AesKeyLength::Aes256).into(), Prf::HmacSha256.into()];
    transforms.extend([Integrity::HmacSha256_128.into(), Transform::new(TransformType::KeyExchange, 2)]);
    let proposal = Proposal { number: 1, protects: Protects::Ike(None), transforms };
    let payloads = [
        Payload::SecurityAssociation(vec![proposal]),
        Payload::KeyExchange { group: 2, data: &[0x55; 128] },
        Payload::Nonce(&[0x66; 32]),
        // As long as the answer, so that no cookie is demanded first.
        Payload::VendorId(&[0; 200]),
    ];
    write(&header(IkeSpi::new(spi).expect("not zero"), None, ExchangeType::IkeSaInit, 0), &payloads).expect("short")
}

fn goes_down(router: &mut Router, relay: &mut Relay) {
    router.ask(relay, ExchangeType::Informational, &[Payload::Delete(Delete::Ike)]);
}

fn status(relay: &Relay, office: u8) -> PeerStatus {
    relay.engine.status(&name(office)).expect("configured")
}

/// Failures on the account of an office, of strangers, and of all.
fn counted(relay: &Relay, office: u8, failure: Failure) -> (u64, u64, u64) {
    let counters = relay.engine.counters();
    (status(relay, office).failures.get(failure), counters.unproven_failures.get(failure), counters.failures.get(failure))
}

#[test]
fn a_router_that_may_be_anywhere_is_recognised_by_where_it_was_last_and_its_operator_reads_the_remedy() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    goes_down(&mut router, &mut relay);
    relay.hear(address(1), &with_a_weak_group(9));
    let error = status(&relay, 1).last_error.expect("shown");
    assert!(error.remedy.contains("modp2048") && error.words.contains("MODP-1024"), "{error:?}");
    assert!(!error.proven && error.failure == Failure::NoIkeProposal);
    assert_eq!(counted(&relay, 1, Failure::NoIkeProposal), (0, 1, 1), "blamed on nobody: addresses can be forged");
    assert_eq!(status(&relay, 2).last_error, None);
    let explained = relay.engine.explain(&name(1)).expect("remembered");
    assert!(explained.error.is_some_and(|shown| shown == error) && !explained.accepted.is_empty());
}

#[test]
fn an_address_that_two_routers_were_last_seen_at_is_nobodys() {
    let mut relay = Relay::with_two_offices();
    for office in [1, 2] {
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 77), 4_500 + u16::from(office));
        let mut router = Router::meet(&mut relay, from, u64::from(office));
        router.authenticate(&mut relay, (office, office), (own(), far()), &[]).expect("an answer");
        goes_down(&mut router, &mut relay);
    }
    relay.hear(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 77), 500), &with_a_weak_group(9));
    assert_eq!([1, 2].map(|office| status(&relay, office).last_error), [None, None]);
    assert_eq!(counted(&relay, 1, Failure::NoIkeProposal), (0, 1, 1));
    assert!(relay.engine.explain_address(Ipv4Addr::new(198, 51, 100, 77)).is_some_and(|found| found.error.is_some()));
}

#[test]
fn who_only_says_to_be_a_router_is_no_failure_of_its_tenant_and_no_news_while_its_tunnel_stands() {
    let mut relay = Relay::with_two_offices();
    let mut router = Router::established(&mut relay, 1);
    let mut imposter = Router::meet(&mut relay, address(9), 66);
    imposter.authenticate(&mut relay, (1, 2), (own(), far()), &[]);
    assert_eq!(counted(&relay, 1, Failure::AuthenticationFailed), (0, 1, 1));
    assert_eq!((status(&relay, 1).last_error, relay.state(1)), (None, (PeerState::Up, 1)));
    // While nothing stands, it most probably is the router, with another key.
    goes_down(&mut router, &mut relay);
    let mut again = Router::meet(&mut relay, address(1), 67);
    again.authenticate(&mut relay, (1, 2), (own(), far()), &[]);
    assert_eq!(counted(&relay, 1, Failure::AuthenticationFailed), (0, 2, 2));
    let error = status(&relay, 1).last_error.expect("shown");
    assert!(!error.proven && error.failure == Failure::AuthenticationFailed);
}

#[test]
fn who_proves_to_be_a_router_and_is_refused_all_the_same_is_its_tenants_failure() {
    let elsewhere = PeerConfig { address: PeerAddress::Fixed(Ipv4Addr::new(198, 51, 100, 200)), ..office(1) };
    let mut relay = Relay::new(vec![elsewhere, office(2)]);
    let mut router = Router::meet(&mut relay, address(1), 7);
    router.authenticate(&mut relay, (1, 1), (own(), far()), &[]);
    assert_eq!(counted(&relay, 1, Failure::WrongAddress), (1, 0, 1));
    assert!(status(&relay, 1).last_error.is_some_and(|error| error.proven));
}

#[test]
fn what_is_accepted_for_packets_is_explained_beside_what_was_proposed() {
    let mut relay = Relay::with_two_offices();
    Router::established(&mut relay, 1);
    let explained = relay.engine.explain_address(*address(1).ip()).expect("remembered");
    assert!(!explained.child_proposed.is_empty() && explained.child_accepted[0].starts_with("aes256gcm16"), "{explained:?}");
}
