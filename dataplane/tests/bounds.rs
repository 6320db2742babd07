//! Everything is bounded: what is full says so by name, and what exists goes on.
#![cfg(feature = "simulation")]

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{SourceTranslation, TrafficClass};
use dataplane::simulation::municipality::{nonzero, service};
use dataplane::simulation::packets::{ping, udp};
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, ip, municipality, network};
use dataplane::time::Duration;

use TrafficClass::MyNumber;

fn flow(source: &str, port: u16, destination: &str) -> Vec<u8> {
    udp(at(&format!("{source}:{port}")), at(destination), &Owner::new("a", MyNumber).payload(64))
}

fn residents(port: u16) -> Vec<u8> {
    flow("198.51.100.17", port, "203.0.113.10:443")
}

#[track_caller]
fn passes(world: &mut World, packet: &[u8], counts: Counts) {
    world.expect(&counts.from_office("a", packet).to_cloud("a", packet), |world| world.office("a").send(packet));
}

/// The packet is lost, and its sender is told that there is no way.
#[track_caller]
fn refused(world: &mut World, packet: &[u8], reason: DropReason) {
    let error = vec![0; 28 + packet.len()];
    let counts = Counts::new().from_office("a", packet).lost("a", reason).error_to_office("a", &error);
    world.expect(&counts, |world| world.office("a").send(packet));
}

#[test]
fn a_full_session_table_refuses_new_sessions_of_its_tenant_alone() {
    let mut small = municipality("a", 2_101);
    small.limits.sessions = nonzero(3);
    let mut world = World::new(800, [small, municipality("b", 2_102)]);
    for port in 0..3 {
        passes(&mut world, &residents(40_000 + port), Counts::new().opened("a"));
    }
    refused(&mut world, &residents(40_003), DropReason::SessionTableFull);
    passes(&mut world, &residents(40_001), Counts::new());
    let of_b = udp(at("198.51.100.17:40003"), at("203.0.113.10:443"), &Owner::new("b", MyNumber).payload(64));
    let counts = Counts::new().from_office("b", &of_b).to_cloud("b", &of_b).opened("b");
    world.expect(&counts, |world| world.office("b").send(&of_b));
}

#[test]
fn more_new_sessions_a_second_than_agreed_are_refused_until_the_next_one() {
    let mut slow = municipality("a", 2_101);
    slow.limits.new_sessions_per_second = nonzero(3);
    let mut world = World::new(801, [slow]);
    for port in 0..3 {
        passes(&mut world, &residents(40_000 + port), Counts::new().opened("a"));
    }
    refused(&mut world, &residents(40_003), DropReason::SessionRateLimited);
    passes(&mut world, &residents(40_000), Counts::new());
    world.run(Duration::from_secs(1));
    passes(&mut world, &residents(40_003), Counts::new().opened("a"));
}

#[test]
fn a_pool_address_without_a_free_port_refuses_and_keeps_every_mapping() {
    let mut tenant = municipality("a", 2_101);
    tenant.limits.sessions = nonzero(5_000);
    tenant.limits.ports = nonzero(5_000);
    tenant.limits.new_sessions_per_second = nonzero(5_000);
    tenant.sources[0].translation = SourceTranslation::Napt(vec![network("10.254.1.8/32")]);
    let mut world = World::new(802, [tenant]);
    // The ports of the relay's previous run have rested.
    world.run(Duration::from_secs(120));
    // Ports below 1,024 become ports below 1,024: the smallest table there is. 179 and 500 are never given out.
    let flows: Vec<Vec<u8>> = ["198.51.100.17", "198.51.100.18"]
        .iter()
        .flat_map(|host| (1..=1_023).map(move |port| flow(host, port, "203.0.113.10:443")))
        .collect();
    for packets in flows[..1_020].chunks(30) {
        packets.iter().for_each(|packet| world.office("a").send(packet));
        world.settle();
    }
    world.cloud("a").received();
    assert_eq!((world.counts().get("a.sessions_opened"), world.counts().get("a.drops.ports_exhausted")), (1_020, 0));
    passes(&mut world, &flows[1_020], Counts::new().opened("a"));
    refused(&mut world, &flows[1_021], DropReason::PortsExhausted);
    refused(&mut world, &flows[1_500], DropReason::PortsExhausted);
    passes(&mut world, &flows[0], Counts::new());
}

#[test]
fn more_ports_than_agreed_are_refused_and_those_in_use_serve_on() {
    let mut small = municipality("a", 2_101);
    small.limits.ports = nonzero(2);
    let mut world = World::new(804, [small]);
    for port in 0..2 {
        passes(&mut world, &residents(40_000 + port), Counts::new().opened("a"));
    }
    refused(&mut world, &residents(40_002), DropReason::PortLimitReached);
    passes(&mut world, &residents(40_001), Counts::new());
}

#[test]
fn a_full_neighbour_table_keeps_the_next_hops_that_work() {
    let mut tenant = municipality("a", 2_101);
    tenant.attachments[0].address = network("10.254.0.2/16");
    tenant.services.push(service("beside", MyNumber, "10.254.0.0/16", "10.254.0.0/16"));
    let mut world = World::new(803, [tenant]);
    let to = |number: u8| flow("198.51.100.17", 40_000, &format!("10.254.7.{number}:443"));
    let towards = |packet: &[u8]| {
        let forwarded = Counts::new().from_office("a", packet).opened("a").add("a.office_to_cloud.packets", 1);
        forwarded.add("a.office_to_cloud.bytes", i64::try_from(packet.len()).expect("short"))
    };
    // The gateway has one of 64 places.
    for number in 1..64 {
        let counts = towards(&to(number)).add("worker.held", 1).generated().sent("aws", 46);
        world.expect(&counts, |world| world.office("a").send(&to(number)));
    }
    world.expect(&towards(&to(64)).lost("a", DropReason::NeighborTableFull), |world| world.office("a").send(&to(64)));
    passes(&mut world, &residents(40_001), Counts::new().opened("a"));
    // Nobody answers: what waited is given up, and there is room again.
    world.run(Duration::from_secs(5));
    assert_eq!((world.counts().get("worker.held"), world.counts().get("a.drops.next_hop_unresolved")), (0, 63));
    world.expect(&Counts::new().and(&towards(&to(65))).add("worker.held", 1).generated().sent("aws", 46), |world| {
        world.office("a").send(&to(65));
    });
}

#[test]
fn a_full_transmit_ring_loses_by_name_what_came_last() {
    let mut world = World::cold(804, [municipality("a", 2_101)], Dimensions { ring: 8, ..Dimensions::default() });
    world.bring_up();
    // The first question for the gateway found the ring full of announcements; the second is a second later.
    world.run(Duration::from_secs(1));
    passes(&mut world, &residents(40_000), Counts::new().opened("a"));
    let request = ping(ip("10.254.1.1"), ip("10.254.1.2"), 1, b"12345678");
    let forwarded = Counts::new().from_office("a", &residents(40_000)).to_cloud("a", &residents(40_000));
    let lost = Counts::new().from_cloud(&request).lost("aws", DropReason::TransmitQueueFull);
    world.expect(&forwarded.times(8).and(&lost.times(8)), |world| {
        (0..8).for_each(|_| world.office("a").send(&residents(40_000)));
        (0..8).for_each(|_| world.cloud("a").send(&request));
    });
    passes(&mut world, &residents(40_000), Counts::new());
}

#[test]
fn without_a_free_frame_packets_are_lost_by_name_and_every_frame_comes_back() {
    let mut world = World::cold(805, [municipality("a", 2_101)], Dimensions { frames: 24, ring: 8, ..Dimensions::default() });
    // All 24 frames are lent to the three NICs, so the first packet has no frame to be decrypted into; its own serves the next.
    world.run(Duration::from_millis(600));
    let initiation = world.office("a").initiation();
    let source = world.office("a").outer;
    let counts = Counts::new().datagram(initiation.len()).lost("access", DropReason::NoFreeFrame);
    world.expect(&counts, |world| world.office("a").send_datagram(source, initiation));
}

#[test]
fn a_storm_of_handshakes_waits_in_line_while_data_passes_and_a_full_line_says_so() {
    let mut world = World::new(806, [municipality("a", 2_101)]);
    let initiation = world.office("a").initiation();
    let storm = |world: &mut World, round: u8| {
        for host in 1..=50 {
            world.office("a").send_datagram(at(&format!("198.18.{round}.{host}:1000")), initiation.clone());
        }
    };
    // What the listener lets through within 100 ms, and one a poll is worked on.
    for round in 1..=5 {
        world.jump(Duration::from_millis(100));
        storm(&mut world, round);
        world.step();
        assert_eq!(world.counts().get("worker.held"), 49 * i64::from(round));
    }
    assert_eq!(world.counts().get("access.drops.tunnel_handshake_queue_full"), 0);
    world.jump(Duration::from_millis(100));
    storm(&mut world, 6);
    let packet = residents(40_000);
    world.office("a").send(&packet);
    world.step();
    assert_eq!(world.counts().get("access.drops.tunnel_handshake_queue_full"), 245 + 50 - 256);
    assert_eq!(world.counts().get("worker.held"), 255);
    assert_eq!(world.cloud("a").received().len(), 1, "data waits for no handshake");
    // One of them was new; the line empties, one a poll.
    world.settle();
    assert_eq!(world.counts().get("worker.held"), 0);
    assert_eq!(world.strays().len(), 1, "one response, to the first source");
    assert_eq!(world.counts().get("a.drops.tunnel_handshake_limited") + world.counts().get("a.drops.tunnel_handshake_rejected"), 260);
}

#[test]
fn while_packets_come_handshakes_have_a_turn_each_millisecond_and_else_each_round() {
    let mut world = World::new(808, [municipality("a", 2_101)]);
    let (initiation, packet) = (world.office("a").initiation(), residents(40_000));
    world.jump(Duration::from_millis(100));
    (1..=40).for_each(|host| world.office("a").send_datagram(at(&format!("198.18.1.{host}:1000")), initiation.clone()));
    world.step();
    assert_eq!(world.counts().get("worker.held"), 39);
    for _ in 0..5 {
        world.office("a").send(&packet);
        world.step();
        assert_eq!(world.counts().get("worker.held"), 39, "no turn beside the packet");
    }
    world.jump(Duration::from_millis(1));
    world.office("a").send(&packet);
    world.step();
    assert_eq!(world.counts().get("worker.held"), 38);
    assert_eq!(world.cloud("a").received().len(), 6, "every packet passed");
    world.step();
    assert_eq!(world.counts().get("worker.held"), 37, "nobody else wants the time");
}

#[test]
fn a_handshake_that_waits_over_a_reload_meets_the_new_configuration() {
    let mut world = World::cold(807, [municipality("a", 2_101)], Dimensions::default());
    world.run(Duration::from_millis(600));
    let initiation = world.office("a").initiation();
    for host in 1..=3 {
        world.office("a").send_datagram(at(&format!("198.18.1.{host}:1000")), initiation.clone());
    }
    world.step();
    assert_eq!(world.counts().get("worker.held"), 2);
    world.reload(|plan| plan.tenants.clear());
    world.settle();
    assert_eq!(world.counts().get("worker.held"), 0);
    assert_eq!(world.counts().get("access.drops.tunnel_peer_unknown"), 2, "its tenant is gone");
}
