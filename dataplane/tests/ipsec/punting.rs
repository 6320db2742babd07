//! IKE at the worker: what goes up, what is limited, and what goes out.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::simulation::municipality::IPSEC;
use dataplane::simulation::{Counts, World, at, municipality};
use dataplane::time::Duration;
use dataplane::worker::control::{Command, Event, IkePort};

use crate::{both_ways, told, twins};

/// An IKE header with a body; `responder` is the responder's SPI.
fn ike(responder: u64, len: usize) -> Vec<u8> {
    let mut message = vec![0x5a; len];
    message[8..16].copy_from_slice(&responder.to_be_bytes());
    message
}

fn marked(message: &[u8]) -> Vec<u8> {
    [&[0; 4], message].concat()
}

/// A source of its own for each number.
fn source(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + number), 500)
}

#[test]
fn an_ike_message_goes_up_as_it_came_with_its_port_and_its_source() {
    let mut world = twins(1_110);
    told(&mut world);
    for (port, local_port, payload, message) in
        [(500, IkePort::P500, ike(0, 28), ike(0, 28)), (4_500, IkePort::P4500, marked(&ike(7, 300)), ike(7, 300))]
    {
        let counts = Counts::new().datagram(payload.len()).absorbed().add("access.ike_punted", 1);
        world.expect(&counts, |world| world.office("a").send_to_port(at("198.18.0.9:1234"), port, payload));
        match world.event() {
            Some(Event::Ike { endpoint, local_port: came_to, from, message: told }) => {
                assert_eq!((endpoint, came_to, from, &*told), (IPSEC, local_port, at("198.18.0.9:1234"), &message[..]));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn keepalives_are_absorbed_and_scraps_are_malformed() {
    let mut world = twins(1_111);
    let source = world.office("a").outer;
    world.expect(&Counts::new().datagram(1).absorbed(), |world| world.office("a").send_to_port(source, 4_500, vec![0xff]));
    let malformed = DropReason::TunnelMessageMalformed;
    for (port, scrap, reason) in [
        (4_500, vec![], malformed),
        (4_500, vec![0xfe], malformed),
        (4_500, vec![0xff; 3], malformed),
        (4_500, marked(&ike(0, 27)), malformed),
        (4_500, vec![0; 4], malformed),
        (500, vec![], malformed),
        (500, ike(0, 27), malformed),
        (4_500, vec![0, 0, 1, 0], DropReason::EspSpiUnknown),
        (0, vec![0, 0, 1], malformed),
        (0, vec![0, 0, 0, 0], DropReason::EspSpiUnknown),
    ] {
        let before = world.counts();
        world.office("a").send_to_port(source, port, scrap.clone());
        world.settle();
        let changes = world.counts().since(&before);
        assert_eq!(changes.get(&format!("access.drops.{}", reason.label())), 1, "{scrap:?} at {port}");
        assert_eq!(changes.get("worker.dropped"), 1, "{scrap:?} at {port}");
    }
}

#[test]
fn without_an_ipsec_endpoint_the_ports_are_nobodys() {
    let mut world = World::new(1_112, [municipality("a", 2_101)]);
    told(&mut world);
    for (port, reason) in [(500, DropReason::NoListener), (4_500, DropReason::NoListener), (0, DropReason::OuterProtocolUnsupported)] {
        let before = world.counts();
        world.office("a").send_to_port(at("198.18.0.9:1234"), port, ike(0, 40));
        world.settle();
        assert_eq!(world.counts().since(&before).get(&format!("access.drops.{}", reason.label())), 1, "{port}");
    }
    assert!(world.event().is_none(), "nothing goes up");
}

#[test]
fn one_source_has_its_share_and_leaves_the_others_theirs() {
    let mut world = twins(1_113);
    told(&mut world);
    let before = world.counts();
    for _ in 0..50 {
        world.office("a").send_to_port(source(1), 500, ike(7, 100));
    }
    world.settle();
    let changes = world.counts().since(&before);
    assert_eq!((changes.get("access.ike_punted"), changes.get("access.drops.ike_punt_limited")), (32, 18));
    world.expect(&Counts::new().datagram(100).absorbed().add("access.ike_punted", 1), |world| {
        world.office("a").send_to_port(source(2), 500, ike(7, 100));
    });
    // 100 a second.
    world.run(Duration::from_secs(1));
    let counts = Counts::new().datagram(100).absorbed().add("access.ike_punted", 1).times(32);
    world.expect(&counts, |world| (0..32).for_each(|_| world.office("a").send_to_port(source(1), 500, ike(7, 100))));
}

#[test]
fn a_flood_of_beginnings_keeps_nobody_from_an_sa_that_stands() {
    let mut world = twins(1_114);
    told(&mut world);
    for number in 0..400 {
        world.office("b").send_to_port(source(number), 500, ike(0, 100));
        if number % 50 == 0 {
            world.settle();
        }
    }
    world.settle();
    let counts = world.counts();
    assert_eq!((counts.get("access.ike_punted"), counts.get("access.drops.ike_punt_limited")), (256, 144));
    world.expect(&Counts::new().datagram(104).absorbed().add("access.ike_punted", 1), |world| {
        let outer = world.office("a").outer;
        world.office("a").send_to_port(outer, 4_500, marked(&ike(9, 100)));
    });
    both_ways(&mut world, "a", 40_000);
}

/// The control plane stands still: what it does not take has a name, data goes on, and its own commands are answered.
#[test]
fn a_flood_that_nobody_takes_fills_its_part_of_the_ring_and_nothing_else() {
    let mut world = twins(1_115);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    for number in 0..2_000 {
        world.office("b").send_to_port(source(number), 500, ike(u64::from(number % 2), 100));
        if number % 50 == 49 {
            world.run(Duration::from_millis(20));
            both_ways(&mut world, "a", 40_000);
            both_ways(&mut world, "b", 40_000);
        }
    }
    let counts = world.counts();
    let punted = counts.get("access.ike_punted");
    assert!((760..=768).contains(&punted), "three quarters of the ring: {punted}");
    assert_eq!(counts.get("access.drops.ike_punt_full") + punted, 2_000);
    // `exchange_keys` takes events, but only after the worker has said that the SA stands.
    world.exchange_keys("b");
    both_ways(&mut world, "b", 40_001);
    assert_eq!(told(&mut world).values().sum::<usize>() as i64 - 2, punted, "the messages, and two SAs that were heard");
}

#[test]
fn what_key_exchange_sends_leaves_from_its_port_with_the_marker_where_it_belongs() {
    let mut world = twins(1_116);
    let to = world.office("a").outer;
    let message = ike(3, 200);
    let send = |local_port| Command::SendIke { endpoint: IPSEC, local_port, to, message: message.clone().into() };
    world.expect(&Counts::new().generated().datagram_sent(200), |world| world.command(send(IkePort::P500)));
    world.expect(&Counts::new().generated().datagram_sent(204), |world| world.command(send(IkePort::P4500)));
    world.expect(&Counts::new().generated().datagram_sent(1), |world| world.command(Command::SendKeepalive { endpoint: IPSEC, to }));
    assert_eq!(world.office("a").ike(), [(500, message.clone()), (4_500, marked(&message)), (4_500, vec![0xff])]);
    // To an endpoint that is none, and more than a frame holds.
    let elsewhere =
        Command::SendIke { endpoint: dataplane::router_config::EndpointId(0), local_port: IkePort::P500, to, message: ike(3, 99).into() };
    world.expect(&Counts::new(), |world| world.command(elsewhere));
    let long = Command::SendIke { endpoint: IPSEC, local_port: IkePort::P500, to, message: ike(3, 2_000).into() };
    world.expect(&Counts::new().generated().lost("access", DropReason::FrameTooBig), |world| world.command(long));
}
