//! ICMP: echo, errors of others, and the relay's own.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::{self, Seen, edited, ping, pong, too_big, udp, unreachable};
use dataplane::simulation::{Counts, World, at, ip, municipality};

use crate::one;
use TrafficClass::MyNumber;

/// IPv4 and ICMP header, and as much of the original as RFC 1812 allows.
fn error_len(original: usize) -> usize {
    (28 + original).min(576)
}

/// A session from the office, as the cloud host sees it; the packet as it arrived there.
fn session(world: &mut World) -> (Seen, Vec<u8>) {
    let payload = world.office("a").payload(MyNumber, 64);
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
    world.expect(&Counts::new().from_office("a", &packet).to_cloud("a", &packet).opened("a"), |world| world.office("a").send(&packet));
    let arrived = world.cloud("a").received().remove(0);
    (packets::read(&arrived).expect("sound"), arrived)
}

#[test]
fn an_echo_from_the_office_crosses_and_comes_back_under_its_own_identifier() {
    let mut world = World::new(30, [municipality("a", 2_101)]);
    for identifier in [7, 0] {
        let payload = world.office("a").payload(MyNumber, 56);
        let request = ping(ip("198.51.100.17"), ip("203.0.113.10"), identifier, &payload);
        world.expect(&Counts::new().from_office("a", &request).to_cloud("a", &request).opened("a"), |world| {
            world.office("a").send(&request);
        });
        let seen = one(world.cloud("a").received());
        assert_eq!(*seen.destination.ip(), ip("10.10.0.10"));
        let reply = pong(*seen.destination.ip(), *seen.source.ip(), seen.source.port(), &payload);
        world.expect(&Counts::new().from_cloud(&reply).to_office("a", &reply), |world| world.cloud("a").send(&reply));
        let back = one(world.office("a").received());
        let ends = (*back.source.ip(), *back.destination.ip(), back.source.port());
        assert_eq!((ends, back.payload), ((ip("203.0.113.10"), ip("198.51.100.17"), identifier), payload));
    }
}

#[test]
fn a_callback_that_allows_echo_lets_the_cloud_ping_the_printer() {
    let mut world = World::new(31, [municipality("a", 2_101)]);
    let payload = world.office("a").payload(MyNumber, 56);
    let request = ping(ip("10.10.0.20"), ip("10.254.1.30"), 77, &payload);
    world.expect(&Counts::new().from_cloud(&request).to_office("a", &request).opened("a"), |world| world.cloud("a").send(&request));
    let seen = one(world.office("a").received());
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (ip("203.0.113.20"), ip("198.51.100.17")));
    let reply = pong(*seen.destination.ip(), *seen.source.ip(), seen.source.port(), &payload);
    world.expect(&Counts::new().from_office("a", &reply).to_cloud("a", &reply), |world| world.office("a").send(&reply));
    let back = one(world.cloud("a").received());
    assert_eq!((back.source.port(), *back.destination.ip(), back.payload), (77, ip("10.10.0.20"), payload));
}

#[test]
fn an_error_from_inside_the_cloud_reaches_the_office_and_speaks_of_the_packet_as_the_office_sent_it() {
    let mut world = World::new(32, [municipality("a", 2_101)]);
    let (seen, arrived) = session(&mut world);
    let router = ip("10.10.0.1");
    for error in [unreachable(router, *seen.source.ip(), &arrived), too_big(router, *seen.source.ip(), 1_300, &arrived)] {
        world.expect(&Counts::new().from_cloud(&error).to_office("a", &error), |world| world.cloud("a").send(&error));
        let told = one(world.office("a").received());
        assert_eq!((*told.source.ip(), *told.destination.ip()), (ip("203.0.113.10"), ip("198.51.100.17")));
        assert_eq!(told.icmp, packets::read(&error).expect("sound").icmp, "type, code and MTU are kept");
        let quoted = packets::read(&told.payload).expect("the quoted packet is whole again, checksums and all");
        assert_eq!((quoted.source, quoted.destination), (at("198.51.100.17:40000"), at("203.0.113.10:443")));
    }
}

#[test]
fn an_error_from_the_office_reaches_the_cloud_host_and_speaks_of_the_packet_as_that_host_sent_it() {
    let mut world = World::new(33, [municipality("a", 2_101)]);
    let payload = world.office("a").payload(MyNumber, 64);
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &payload);
    world.expect(&Counts::new().from_cloud(&job).to_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    let arrived = world.office("a").received().remove(0);
    let error = unreachable(ip("198.51.100.17"), ip("203.0.113.20"), &arrived);
    world.expect(&Counts::new().from_office("a", &error).to_cloud("a", &error), |world| world.office("a").send(&error));
    let told = one(world.cloud("a").received());
    assert_eq!((*told.source.ip(), *told.destination.ip()), (ip("10.254.1.30"), ip("10.10.0.20")));
    let quoted = packets::read(&told.payload).expect("whole again");
    assert_eq!((quoted.source, quoted.destination), (at("10.10.0.20:50000"), at("10.254.1.30:9100")));
}

#[test]
fn what_the_tunnel_cannot_carry_is_answered_with_its_exact_mtu_and_what_it_can_passes() {
    let mut world = World::new(34, [municipality("a", 2_101)]);
    let (seen, _) = session(&mut world);
    let answer = |len: usize, world: &mut World| udp(seen.destination, seen.source, &world.office("a").payload(MyNumber, len - 28));
    let fits = answer(1_420, &mut world);
    world.expect(&Counts::new().from_cloud(&fits).to_office("a", &fits), |world| world.cloud("a").send(&fits));
    assert_eq!(world.office("a").received().remove(0).len(), 1_420);

    for len in [1_421, 1_500] {
        let big = answer(len, &mut world);
        let counts = Counts::new().from_cloud(&big).lost("a", DropReason::PacketTooBig).error_to_cloud("a", error_len(len));
        world.expect(&counts, |world| world.cloud("a").send(&big));
        let told = one(world.cloud("a").received());
        assert_eq!((*told.source.ip(), *told.destination.ip()), (ip("10.254.1.2"), ip("10.10.0.10")));
        assert_eq!(told.icmp, Some((3, 4, [0, 0, 0x05, 0x8c])), "fragmentation needed, 1,420 would pass");
        assert_eq!(told.payload, big[..548], "the packet as the host sent it");
        assert!(world.office("a").received().is_empty());
    }

    let may_be_cut = edited(answer(1_421, &mut world), |packet| packet[6] &= !0x40);
    let counts = Counts::new().from_cloud(&may_be_cut).generated().add("a.packets_fragmented", 1);
    world.expect(&counts.to_office("a", &[0; 1_420]).to_office("a", &[0; 21]), |world| world.cloud("a").send(&may_be_cut));
    assert!(world.cloud("a").received().is_empty(), "only who forbade fragments is told");
}

#[test]
fn what_the_cloud_network_cannot_carry_is_answered_through_the_tunnel() {
    let mut tenant = municipality("a", 2_101);
    tenant.attachments[0].mtu = 1_300;
    let mut world = World::new(35, [tenant]);
    let (client, server) = (at("198.51.100.17:40000"), at("203.0.113.10:443"));
    let fits = udp(client, server, &world.office("a").payload(MyNumber, 1_300 - 28));
    world.expect(&Counts::new().from_office("a", &fits).to_cloud("a", &fits).opened("a"), |world| world.office("a").send(&fits));
    let big = udp(client, server, &world.office("a").payload(MyNumber, 1_301 - 28));
    let error = vec![0; error_len(1_301)];
    let counts = Counts::new().from_office("a", &big).lost("a", DropReason::PacketTooBig).error_to_office("a", &error);
    world.expect(&counts, |world| world.office("a").send(&big));
    let told = one(world.office("a").received());
    assert_eq!((*told.destination.ip(), told.icmp), (ip("198.51.100.17"), Some((3, 4, [0, 0, 0x05, 0x14]))));
    assert_eq!(told.source.ip(), server.ip(), "from where the office's tunnel lets packets in");
    assert_eq!(told.payload, big[..548]);
}

#[test]
fn the_last_hop_is_not_spent_here_and_both_sides_are_told() {
    let mut world = World::new(36, [municipality("a", 2_101)]);
    let (seen, _) = session(&mut world);
    let payload = world.office("a").payload(MyNumber, 64);
    let outward = |ttl| edited(udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload), |packet| packet[8] = ttl);
    let homeward = |ttl| edited(udp(seen.destination, seen.source, &payload), |packet| packet[8] = ttl);

    let enough = outward(2);
    world.expect(&Counts::new().from_office("a", &enough).to_cloud("a", &enough), |world| world.office("a").send(&enough));
    assert_eq!(one(world.cloud("a").received()).hop_limit, 1);
    let spent = outward(1);
    let error = vec![0; error_len(spent.len())];
    let counts = Counts::new().from_office("a", &spent).lost("a", DropReason::HopLimitExceeded).error_to_office("a", &error);
    world.expect(&counts, |world| world.office("a").send(&spent));
    let told = one(world.office("a").received());
    assert_eq!((*told.source.ip(), told.icmp, told.payload), (ip("203.0.113.10"), Some((11, 0, [0; 4])), spent));

    let enough = homeward(2);
    world.expect(&Counts::new().from_cloud(&enough).to_office("a", &enough), |world| world.cloud("a").send(&enough));
    assert_eq!(one(world.office("a").received()).hop_limit, 1);
    let spent = homeward(1);
    let counts = Counts::new().from_cloud(&spent).lost("a", DropReason::HopLimitExceeded).error_to_cloud("a", error_len(spent.len()));
    world.expect(&counts, |world| world.cloud("a").send(&spent));
    let told = one(world.cloud("a").received());
    assert_eq!((*told.source.ip(), told.icmp, told.payload), (ip("10.254.1.2"), Some((11, 0, [0; 4])), spent));
}

#[test]
fn errors_are_not_sent_about_errors_and_not_more_than_a_hundred_a_second() {
    let mut world = World::new(37, [municipality("a", 2_101)]);
    let (seen, arrived) = session(&mut world);
    let error = edited(unreachable(ip("10.10.0.1"), *seen.source.ip(), &arrived), |packet| packet[8] = 1);
    let counts = Counts::new().from_cloud(&error).lost("a", DropReason::HopLimitExceeded);
    world.expect(&counts, |world| world.cloud("a").send(&error));

    let payload = world.office("a").payload(MyNumber, 64);
    let spent = edited(udp(seen.destination, seen.source, &payload), |packet| packet[8] = 1);
    let lost = Counts::new().from_cloud(&spent).lost("a", DropReason::HopLimitExceeded);
    let told = Counts::new().error_to_cloud("a", error_len(spent.len()));
    // In portions, for the receive ring is shorter.
    for (portion, answered) in [(50, 50), (50, 50), (50, 0)] {
        world.expect(&lost.clone().times(portion).and(&told.clone().times(answered)), |world| {
            (0..portion).for_each(|_| world.cloud("a").send(&spent));
        });
    }
}
