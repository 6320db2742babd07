//! What the cloud may begin under a mapping of the office: filters, their bounds, and how long it lasts.

use super::*;
use std::collections::BTreeMap;

use crate::nat::contacts::Contacts;
use proptest::prelude::*;

const STRANGER: [u8; 4] = [10, 10, 0, 99];

/// A world with this filtering, in which the office has sent to `GLOBAL` port 69; the pool port that it left from.
fn contacted(filtering: Filtering, limits: Limits) -> (World, u16) {
    let mut world = World { filtering, ..World::with_limits(limits) };
    let port = world.udp_source((OFFICE, 5_000), (GLOBAL, 69)).expect("opens").port;
    (world, port)
}

fn by_address() -> (World, u16) {
    contacted(Filtering::AddressDependent, limits(1_000, 1_000))
}

#[test]
fn by_address_a_host_that_was_sent_to_may_begin_from_another_port_and_nobody_else_may() {
    // RFC 4787 REQ-8.
    let (mut world, port) = by_address();
    let arrived = world.cloud_begins(&samples::udp((PRIVATE, 50_000), (POOL, port), b"data")).expect("is let in");
    assert_eq!(arrived, samples::udp((GLOBAL, 50_000), (OFFICE, 5_000), b"data"));
    assert_eq!(world.cloud_begins(&samples::udp((STRANGER, 69), (POOL, port), b"guess")), Err(DropReason::NoSession));
    assert_eq!(world.cloud_begins(&samples::udp((PRIVATE, 50_000), (POOL, port ^ 2), b"guess")), Err(DropReason::NoSession));
    let answer = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 50_000), b"ack")).expect("is known");
    assert_eq!(answer, samples::udp((POOL, port), (PRIVATE, 50_000), b"ack"));
    assert_eq!(world.counts(), (2, 1));
    let directions: Vec<_> = world.nat.rows(0).map(|(_, session)| (session.opened_by(), session.begun_by())).collect();
    let [to_cloud, to_office] = [Direction::OfficeToCloud, Direction::CloudToOffice];
    assert_eq!(directions, [(to_cloud, to_cloud), (to_cloud, to_office)]);
}

#[test]
fn endpoint_independent_lets_anybody_in_and_address_and_port_dependent_nobody() {
    let (mut world, port) = contacted(Filtering::EndpointIndependent, limits(1_000, 1_000));
    assert!(world.cloud_begins(&samples::udp((STRANGER, 9), (POOL, port), b"x")).is_ok());
    assert_eq!(world.cloud_begins(&samples::udp((STRANGER, 9), (POOL, port ^ 2), b"x")), Err(DropReason::NoSession), "without a mapping");
    assert_eq!(world.counts(), (2, 1));
    let (mut world, port) = contacted(Filtering::AddressAndPortDependent, limits(1_000, 1_000));
    assert_eq!(world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")), Err(DropReason::NoSession));
    assert_eq!(world.counts(), (1, 1));
}

#[test]
fn another_attachment_is_another_network_with_the_same_addresses() {
    let (world, port) = contacted(Filtering::EndpointIndependent, limits(1_000, 1_000));
    let inner = Inner::parse(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).expect("valid");
    assert!(world.nat.inside_of(ATTACHMENT, &inner).is_some());
    assert_eq!(world.nat.inside_of(AttachmentId(1), &inner), None);
}

#[test]
fn an_address_is_contacted_as_long_as_the_office_has_a_session_with_it() {
    let (mut world, port) = by_address();
    world.pass_seconds(200);
    // Another host keeps the mapping alive.
    assert_eq!(world.udp_source((OFFICE, 5_000), ([203, 0, 113, 11], 69)).map(|end| end.port), Ok(port));
    world.pass_seconds(99);
    assert!(world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).is_ok());
    world.pass_seconds(1);
    assert_eq!(world.cloud_begins(&samples::udp((PRIVATE, 71), (POOL, port), b"x")), Err(DropReason::NoSession));
    assert_eq!(world.counts(), (2, 1));
}

#[test]
fn an_answer_of_the_office_makes_a_contact_of_what_the_cloud_began() {
    let (mut world, port) = by_address();
    world.pass_seconds(200);
    world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).expect("is let in");
    world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 70), b"x")).expect("is known");
    world.pass_seconds(100);
    assert_eq!(world.counts(), (1, 1), "the first contact is over");
    assert!(world.cloud_begins(&samples::udp((PRIVATE, 71), (POOL, port), b"x")).is_ok());
}

#[test]
fn what_the_cloud_began_it_cannot_keep_alive_without_an_answer() {
    // RFC 4787 REQ-6: else an attacker outside holds the port for ever.
    for (protocol, seconds) in [("udp", 300), ("tcp", 240)] {
        let mut world = World { filtering: Filtering::EndpointIndependent, ..World::new() };
        let packet = |port| match protocol {
            "udp" => samples::udp((STRANGER, 9), (POOL, port), b"x"),
            _ => samples::tcp((STRANGER, 9), (POOL, port), "S", (7, 0), &[]),
        };
        let port = match protocol {
            "udp" => world.udp_source((OFFICE, 5_000), (GLOBAL, 69)).expect("opens").port,
            _ => world.tcp_established(),
        };
        world.cloud_begins(&packet(port)).expect("is let in");
        let begun = world.nat.sessions_alive();
        for _ in 0..seconds / 10 - 1 {
            world.pass_seconds(10);
            world.cloud_sends(&packet(port)).expect("is known");
        }
        assert_eq!(world.nat.sessions_alive(), begun, "{protocol}");
        world.pass_seconds(10);
        assert_eq!(world.cloud_sends(&packet(port)), Err(DropReason::NoSession), "{protocol}");
    }
}

#[test]
fn what_the_office_answered_lives_on_by_packets_of_both_sides() {
    let (mut world, port) = by_address();
    world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).expect("is let in");
    world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 70), b"x")).expect("is known");
    for _ in 0..10 {
        world.pass_seconds(299);
        world.cloud_sends(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).expect("lives");
    }
    assert_eq!(world.counts(), (1, 1));
}

#[test]
fn a_connection_that_the_cloud_began_opens_when_the_office_accepts_it() {
    let mut world = World::new();
    let port = world.tcp_established();
    world.cloud_begins(&samples::tcp((PRIVATE, 8_443), (POOL, port), "S", (7_000, 0), &[])).expect("is let in");
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 8_443), "SA", (300, 7_001), &[])).expect("accepts");
    world.cloud_sends(&samples::tcp((PRIVATE, 8_443), (POOL, port), "A", (7_001, 301), &[])).expect("acknowledges");
    let states: Vec<_> = world.nat.rows(0).map(|(_, session)| session.state_label()).collect();
    assert_eq!(states, ["established", "established"]);
    let syn = samples::tcp((OFFICE, 40_000), (GLOBAL, 8_443), "S", (90_000, 0), &[]);
    assert_eq!(world.nat.find_from_office(&Inner::parse(&syn).expect("valid")), None, "open for the one who opened it");
}

#[test]
fn only_a_datagram_or_a_syn_begins_anything_and_a_syn_that_its_session_refuses_does_not() {
    let mut world = World { filtering: Filtering::EndpointIndependent, ..World::new() };
    let port = world.tcp_established();
    for flags in ["A", "SA", "R", "F", "FA", "SF", "SR", ""] {
        let packet = samples::tcp((STRANGER, 9), (POOL, port), flags, (7, 9), &[]);
        assert_eq!(world.cloud_begins(&packet), Err(DropReason::NoSession), "{flags}");
    }
    let syn = samples::tcp((PRIVATE, 443), (POOL, port), "S", (90_000, 0), &[]);
    assert_eq!(world.cloud_begins(&syn), Err(DropReason::NoSession));
    let request = world.office_sends(&samples::echo(OFFICE, GLOBAL, true, 77, b"abc")).expect("opens");
    let identifier = Inner::parse(&request).expect("valid").source_port;
    assert_eq!(world.cloud_begins(&samples::echo(STRANGER, POOL, true, identifier, b"abc")), Err(DropReason::NoSession));
    assert_eq!(world.cloud_begins(&samples::echo(STRANGER, POOL, false, identifier, b"abc")), Err(DropReason::NoSession));
    assert_eq!(world.counts(), (2, 2));
}

#[test]
fn a_port_in_quarantine_lets_nobody_in() {
    let (mut world, port) = contacted(Filtering::EndpointIndependent, limits(1_000, 1_000));
    world.pass_seconds(300);
    assert_eq!(world.counts(), (0, 0));
    assert_eq!(world.cloud_begins(&samples::udp((PRIVATE, 69), (POOL, port), b"late")), Err(DropReason::NoSession));
}

#[test]
fn the_cloud_begins_a_quarter_of_the_sessions_at_most_and_the_office_has_the_rest() {
    let (mut world, port) = contacted(Filtering::EndpointIndependent, limits(8, 1_000));
    let begin = |world: &mut World, from: u16| world.cloud_begins(&samples::udp((STRANGER, from), (POOL, port), b"x")).map(drop);
    assert_eq!([begin(&mut world, 1), begin(&mut world, 2)], [Ok(()), Ok(())]);
    assert_eq!(begin(&mut world, 3), Err(DropReason::SessionTableFull));
    for n in 0..5 {
        world.udp_source((OFFICE, 6_000 + n), (GLOBAL, 69)).expect("there is room for the office");
    }
    assert_eq!(world.udp_source((OFFICE, 7_000), (GLOBAL, 69)), Err(DropReason::SessionTableFull));
    assert_eq!(begin(&mut world, 1), Ok(()), "what exists goes on");
    world.pass_seconds(300);
    assert_eq!(world.nat.sessions.let_in(), 0);
}

#[test]
fn the_cloud_begins_a_quarter_of_the_rate_and_takes_nothing_of_the_offices() {
    let (mut world, port) = contacted(Filtering::EndpointIndependent, limits(1_000, 8));
    world.pass_seconds(1);
    let let_in = (0..100).filter(|n| world.cloud_begins(&samples::udp((STRANGER, 100 + n), (POOL, port), b"x")).is_ok()).count();
    let opened = (0..100).filter(|n| world.udp_source((OFFICE, 6_000 + n), (GLOBAL, 69)).is_ok()).count();
    assert_eq!((let_in, opened), (2, 8));
    let another = samples::udp((STRANGER, 999), (POOL, port), b"x");
    assert_eq!(world.cloud_begins(&another), Err(DropReason::SessionRateLimited));
}

#[test]
fn a_reload_that_closes_the_filter_ends_what_the_office_has_not_answered() {
    let (mut world, port) = contacted(Filtering::EndpointIndependent, limits(1_000, 1_000));
    let mut begin = |from: u16| {
        let packet = samples::udp((STRANGER, from), (POOL, port), b"x");
        world.cloud_begins(&packet).expect("is let in");
        world.nat.find_from_cloud(ATTACHMENT, &Inner::parse(&packet).expect("valid")).expect("is known")
    };
    let (silent, answered) = (begin(1), begin(2));
    world.office_sends(&samples::udp((OFFICE, 5_000), (STRANGER, 2), b"x")).expect("is known");
    let is_of_flow = |world: &World, id, from, filtering| {
        let flow = world.flow_towards(Endpoint::new(OFFICE.into(), 5_000), Endpoint::new(STRANGER.into(), from));
        world.nat.is_of_flow(id, &NewFlow { filtering, ..flow })
    };
    for (filtering, stays) in
        [(Filtering::EndpointIndependent, true), (Filtering::AddressDependent, false), (Filtering::AddressAndPortDependent, false)]
    {
        assert_eq!(is_of_flow(&world, silent, 1, filtering), stays, "{filtering:?}");
        assert!(is_of_flow(&world, answered, 2, filtering), "the office sends in it: {filtering:?}");
    }
    // Once the reload is through, the answered one is a contact like any other.
    let flow = world.flow_towards(Endpoint::new(OFFICE.into(), 5_000), Endpoint::new(STRANGER.into(), 2));
    world.nat.confirm(answered, &NewFlow { filtering: Filtering::AddressDependent, ..flow }, 2);
    assert!(is_of_flow(&world, silent, 1, Filtering::AddressDependent));
    world.nat.confirm(answered, &NewFlow { filtering: Filtering::AddressAndPortDependent, ..flow }, 3);
    assert!(!is_of_flow(&world, silent, 1, Filtering::AddressDependent));
}

#[test]
fn a_mapping_that_is_used_anew_by_another_host_has_none_of_the_old_contacts() {
    let mut world = World::with_limits(limits(4, 1_000));
    for round in 0..50 {
        let port = world.udp_source(([198, 51, 100, round], 5_000), (GLOBAL, 69)).expect("opens").port;
        assert!(world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")).is_ok());
        world.pass_seconds(420);
        let port = world.udp_source(([198, 51, 100, round], 5_001), ([203, 0, 113, 11], 69)).expect("opens").port;
        assert_eq!(world.cloud_begins(&samples::udp((PRIVATE, 70), (POOL, port), b"x")), Err(DropReason::NoSession));
        world.pass_seconds(420);
    }
    assert_eq!(world.counts(), (0, 0));
}

proptest! {
    #[test]
    fn contacts_are_a_count_for_each_mapping_and_address(steps in proptest::collection::vec((any::<bool>(), 0u32..4, 0u32..4), 0..200)) {
        let mut contacts = Contacts::new(7);
        contacts.grow(200);
        let mut model: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (adds, mapping, remote) in steps {
            let count = model.entry((mapping, remote)).or_default();
            if adds {
                contacts.add(mapping, remote);
                *count += 1;
            } else if *count > 0 {
                contacts.release(mapping, remote);
                *count -= 1;
            }
            for ((mapping, remote), count) in &model {
                prop_assert_eq!(contacts.contains(*mapping, *remote), *count > 0);
            }
        }
    }
}
