//! Two ends meet: who may, who may not, and what they agree on.

mod world;

use std::time::Duration;

use ike::{Closed, Failure, Initiate, NatT, PeerState, Report};
use world::*;

fn one_office() -> World {
    World::new(1, config(0, vec![office_at_relay(1)]), vec![config(1, vec![relay_at_office(1)])])
}

#[test]
fn a_peer_with_the_right_key_gets_an_ike_sa_and_a_child_sa() {
    let mut world = one_office();
    world.run(Duration::from_secs(2));
    let status = world.nodes[0].engine.status(&office_name(1)).expect("configured");
    assert_eq!(status.state, PeerState::Up, "{:?} {:?}", world.nodes[0].reports, world.nodes[1].reports);
    assert_eq!(status.children.len(), 1);
    assert_eq!(status.children[0].selectors.len(), 1);
    let counters = world.nodes[0].engine.counters();
    assert_eq!((counters.ike_sas, counters.child_sas, counters.half_open), (1, 1, 0));
    assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (1, 1));
    assert!(world.delivered > 0 && world.lost == [0, 0], "{} {:?}", world.delivered, world.lost);
}

#[test]
fn names_are_the_same_in_any_case_of_their_letters_at_both_ends() {
    let at_relay = ike::PeerConfig { remote_id: ike::Identity::Fqdn("Office-1".into()), ..office_at_relay(1) };
    let local_id = ike::Identity::Fqdn("OFFICE-1".into());
    let at_office = ike::PeerConfig { local_id, remote_id: ike::Identity::Fqdn("Relay.EXAMPLE".into()), ..relay_at_office(1) };
    let mut world = World::new(1, config(0, vec![at_relay]), vec![config(1, vec![at_office])]);
    world.run(Duration::from_secs(2));
    assert_eq!(world.nodes[0].engine.status(&office_name(1)).expect("configured").state, PeerState::Up, "{:?}", world.nodes[0].reports);
}

#[test]
fn a_wrong_key_and_an_unknown_identity_get_the_same_answer_and_no_sa() {
    let wrong_key = ike::PeerConfig { authentication: psk("another secret"), ..relay_at_office(1) };
    let unknown = ike::PeerConfig { local_id: ike::Identity::Fqdn("nobody".into()), ..relay_at_office(1) };
    let answers = [wrong_key, unknown].map(|office| {
        let mut world = World::new(3, config(0, vec![office_at_relay(1)]), vec![config(1, vec![office])]);
        world.run(Duration::from_secs(2));
        let counters = world.nodes[0].engine.counters();
        assert_eq!((counters.ike_sas, counters.child_sas, world.nodes[0].pairs.len()), (0, 0, 0));
        assert_eq!(world.failures(1, Failure::RejectedByPeer), 1);
        let answer = world.captured.iter().rfind(|(node, ..)| *node == 0).expect("an answer").3.len();
        (answer, world.failures(0, Failure::AuthenticationFailed), world.failures(0, Failure::UnknownIdentity))
    });
    assert_eq!((answers[0].0, answers[0].1, answers[0].2), (answers[1].0, 1, 0), "as long as the other");
    assert_eq!((answers[1].1, answers[1].2), (0, 1), "but we know the difference");
}

#[test]
fn an_office_that_shows_its_own_key_cannot_be_another_tenant() {
    let thief = ike::PeerConfig { local_id: office_at_relay(2).remote_id, ..relay_at_office(1) };
    let relay = config(0, vec![office_at_relay(1), office_at_relay(2)]);
    let mut world = World::new(4, relay, vec![config(1, vec![thief]), config(2, vec![relay_at_office(2)])]);
    world.run(Duration::from_secs(20));
    let state = |world: &World, node| world.nodes[0].engine.status(&office_name(node)).expect("configured").state;
    assert_eq!((state(&world, 1), state(&world, 2)), (PeerState::Down, PeerState::Up), "and the robbed one notices nothing");
    assert!(world.nodes[0].pairs.all().all(|(owner, _)| *owner == office_name(2)));
    assert!(world.failures(0, Failure::AuthenticationFailed) > 0);
    assert_eq!((world.lost[0], world.lost[2], world.unsent[0]), (0, 0, 0));
}

#[test]
fn two_tenants_with_equal_selectors_on_both_sides_never_meet() {
    let relay = config(0, vec![office_at_relay(1), office_at_relay(2)]);
    let mut world = World::new(5, relay, vec![config(1, vec![relay_at_office(1)]), config(2, vec![relay_at_office(2)])]);
    world.run(Duration::from_secs(30));
    for node in [1, 2] {
        assert_eq!(world.nodes[0].pairs.of(&office_name(node)).count(), 1);
    }
    // That each packet arrives in the tenant of its sender is asserted by the world itself.
    assert!(world.delivered > 400 && world.lost == [0, 0, 0], "{} {:?}", world.delivered, world.lost);
}

#[test]
fn selectors_wider_than_the_tenants_prefixes_are_narrowed_and_foreign_ones_refused() {
    let wide = ike::PeerConfig { far: vec![network("10.0.0.0/8")], office: vec![network("0.0.0.0/0")], ..relay_at_office(1) };
    let mut world = World::new(6, config(0, vec![office_at_relay(1)]), vec![config(1, vec![wide])]);
    world.run(Duration::from_secs(2));
    let (_, sa) = world.nodes[0].pairs.all().next().expect("a pair");
    let [selector] = &sa.selectors[..] else { panic!("{:?}", sa.selectors) };
    assert_eq!(selector.office, "10.1.0.0".parse().unwrap()..="10.1.255.255".parse().unwrap());
    assert_eq!(selector.far, "203.0.113.0".parse().unwrap()..="203.0.113.63".parse().unwrap());

    let foreign = ike::PeerConfig { far: vec![network("10.2.0.0/16")], ..relay_at_office(1) };
    let mut world = World::new(7, config(0, vec![office_at_relay(1)]), vec![config(1, vec![foreign])]);
    world.run(Duration::from_secs(2));
    assert_eq!(world.nodes[0].pairs.len(), 0);
    assert_eq!(world.failures(0, Failure::TsUnacceptable), 1);
    let status = world.nodes[0].engine.status(&office_name(1)).expect("configured");
    assert_eq!(status.state, PeerState::Authenticated, "the IKE SA stands, as RFC 7296 section 1.2 has it");
}

#[test]
fn a_peer_behind_a_nat_floats_to_4500_and_is_followed_when_the_nat_forgets() {
    let mut world = one_office();
    world.cable.nats[1] = Some(Nat { address: "203.0.113.200".parse().unwrap(), shift: 1_000 });
    world.run(Duration::from_secs(2));
    let ike = world.nodes[0].engine.status(&office_name(1)).and_then(|status| status.ike).expect("an IKE SA");
    assert_eq!((ike.peer.to_string(), ike.peer_behind_nat), ("203.0.113.200:5500".to_owned(), true));
    world.cable.nats[1].as_mut().expect("a NAT").shift = 2_000;
    world.run(Duration::from_secs(60));
    let ike = world.nodes[0].engine.status(&office_name(1)).and_then(|status| status.ike).expect("an IKE SA");
    assert_eq!(ike.peer.to_string(), "203.0.113.200:6500");
    let moved = ike::Encapsulation::Udp { peer: "203.0.113.200:6500".parse().unwrap() };
    assert!(world.nodes[0].pairs.all().all(|(_, sa)| sa.encapsulation == moved));
}

#[test]
fn without_a_nat_esp_has_a_protocol_of_its_own_unless_udp_is_configured() {
    let mut world = one_office();
    world.run(Duration::from_secs(2));
    assert!(world.nodes[0].pairs.all().all(|(_, sa)| matches!(sa.encapsulation, ike::Encapsulation::Ip { .. })));
    let office = ike::PeerConfig { encapsulation: NatT::Always, ..relay_at_office(1) };
    let mut world = World::new(8, config(0, vec![office_at_relay(1)]), vec![config(1, vec![office])]);
    world.run(Duration::from_secs(2));
    for node in &world.nodes {
        assert!(node.pairs.all().all(|(_, sa)| matches!(sa.encapsulation, ike::Encapsulation::Udp { .. })));
        assert_eq!(node.pairs.len(), 1);
    }
}

#[test]
fn a_peer_that_falls_silent_is_asked_given_up_and_tried_again() {
    let relay = ike::PeerConfig { address: ike::PeerAddress::Fixed(address(1)), initiate: Initiate::Always, ..office_at_relay(1) };
    let office = ike::PeerConfig { initiate: Initiate::Never, ..relay_at_office(1) };
    let mut world = World::new(9, config(0, vec![relay]), vec![config(1, vec![office])]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.nodes[0].pairs.len(), 1);
    world.cable.cut[1] = true;
    world.run(Duration::from_secs(120));
    assert_eq!((world.nodes[0].pairs.len(), world.failures(0, Failure::DeadPeer)), (0, 1));
    assert!(world.nodes[0].reports.contains(&Report::IkeClosed { peer: office_name(1), why: Closed::DeadPeer }));
    let error = world.nodes[0].engine.status(&office_name(1)).and_then(|status| status.last_error).expect("an error");
    assert!(error.words.contains("answer") && !error.remedy.is_empty(), "{error:?}");
    world.cable.cut[1] = false;
    world.run(Duration::from_secs(180));
    assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (1, 1), "found again");
}

#[test]
fn a_reload_leaves_unchanged_peers_alone_and_takes_leave_of_those_that_are_gone() {
    let relay = config(0, vec![office_at_relay(1), office_at_relay(2)]);
    let mut world = World::new(10, relay, vec![config(1, vec![relay_at_office(1)]), config(2, vec![relay_at_office(2)])]);
    world.run(Duration::from_secs(5));
    let kept: Vec<u32> = world.nodes[0].pairs.of(&office_name(1)).map(|sa| sa.inbound_spi).collect();
    let shorter = ike::PeerConfig { child_lifetime: Duration::from_secs(60), ..office_at_relay(1) };
    let now = world.now;
    world.nodes[0].engine.configure(config(0, vec![shorter]), now);
    world.run(Duration::from_secs(2));
    assert_eq!(world.nodes[0].pairs.all().map(|(_, sa)| sa.inbound_spi).collect::<Vec<_>>(), kept);
    assert_eq!(world.nodes[2].pairs.len(), 0, "it was told by a Delete");
    assert_eq!(world.nodes[0].engine.counters().ike_sas, 1);
}

/// What the only pair of the relay covers on the cloud's side.
fn covered(world: &World) -> Vec<std::ops::RangeInclusive<std::net::Ipv4Addr>> {
    let pairs: Vec<_> = world.nodes[0].pairs.all().collect();
    assert_eq!(pairs.len(), 1, "one pair stands");
    pairs[0].1.selectors.iter().map(|selector| selector.far.clone()).collect()
}

#[test]
fn a_service_that_comes_or_goes_renews_the_selectors_and_loses_no_packet() {
    let far = |networks: &[&str]| networks.iter().map(|text| network(text)).collect::<Vec<_>>();
    let relay = |networks: &[&str]| config(0, vec![ike::PeerConfig { far: far(networks), ..office_at_relay(1) }]);
    let wide = ike::PeerConfig { office: far(&["203.0.113.0/24"]), ..relay_at_office(1) };
    let mut world = World::new(3, relay(&["203.0.113.8/32"]), vec![config(1, vec![wide])]);
    world.run(Duration::from_secs(5));
    let range = |first: &str, last: &str| first.parse().unwrap()..=last.parse().unwrap();
    assert_eq!(covered(&world), [range("203.0.113.8", "203.0.113.8")]);
    let before = world.lost.clone();
    for (networks, expected) in [
        (&["203.0.113.8/32", "203.0.113.32/28"][..], vec![range("203.0.113.8", "203.0.113.8"), range("203.0.113.32", "203.0.113.47")]),
        (&["203.0.113.32/28"], vec![range("203.0.113.32", "203.0.113.47")]),
    ] {
        let now = world.now;
        world.nodes[0].engine.configure(relay(networks), now);
        world.run(Duration::from_secs(40));
        assert_eq!(covered(&world), expected);
    }
    assert_eq!(world.lost, before, "make before break");
    assert_eq!(world.nodes[0].engine.counters().ike_sas, 1, "nobody had to begin anew");
}

#[test]
fn a_tunnel_whose_pairs_a_worker_has_lost_gets_new_ones() {
    let mut world = one_office();
    world.run(Duration::from_secs(5));
    let lost = world.nodes[1].pairs.lose_all();
    let now = world.now;
    world.nodes[1].engine.sas_lost(&lost, now);
    world.run(Duration::from_secs(20));
    assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (1, 1));
}

#[test]
fn a_router_that_restarts_is_let_in_again_at_once() {
    let mut world = one_office();
    world.run(Duration::from_secs(5));
    let random = Box::new(<rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(77));
    world.nodes[1] = Node {
        engine: ike::Engine::new(config(1, vec![relay_at_office(1)]), random, world.now),
        pairs: Pairs::default(),
        reports: Vec::new(),
    };
    world.run(Duration::from_secs(2));
    assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (1, 1), "INITIAL_CONTACT has ended the old ones");
    assert_eq!(world.nodes[0].engine.counters().ike_sas, 1);
}
