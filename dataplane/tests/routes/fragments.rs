//! Datagrams in fragments, and packets that are too big for the way ahead.

use std::net::SocketAddrV4;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{SourceTranslation, TrafficClass};
use dataplane::simulation::fragments::{cut, fragment, placed, reassembled};
use dataplane::simulation::municipality::nonzero;
use dataplane::simulation::packets::{self, Segment, edited, icmp_message, ping, pong, tcp_at, udp};
use dataplane::simulation::{Counts, Owner, World, at, ip, ipsec_municipality, municipality, network};
use dataplane::time::Duration;

use crate::one;
use TrafficClass::{LgwanConnected, MyNumber};

const CLIENT: &str = "198.51.100.17:40000";
const SERVER: &str = "203.0.113.10:443";

fn payload(len: usize) -> Vec<u8> {
    Owner::new("a", MyNumber).payload(len)
}

/// From the office, of `len` bytes behind its headers.
fn query(len: usize) -> Vec<u8> {
    udp(at(CLIENT), at(SERVER), &payload(len))
}

/// From the cloud, to the printer.
fn job(len: usize) -> Vec<u8> {
    udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &payload(len))
}

fn may_be_cut(packet: Vec<u8>) -> Vec<u8> {
    edited(packet, |packet| packet[6] &= !0x40)
}

/// The office sends all of these, and they arrive in the cloud.
fn office_sends(world: &mut World, packets: &[Vec<u8>], counts: Counts) -> Vec<Vec<u8>> {
    let counts = packets.iter().fold(counts, |counts, packet| counts.from_office("a", packet).to_cloud("a", packet));
    world.expect(&counts, |world| packets.iter().for_each(|packet| world.office("a").send(packet)));
    world.cloud("a").received()
}

/// The cloud sends all of these, and they arrive in the office.
fn cloud_sends(world: &mut World, packets: &[Vec<u8>], counts: Counts) -> Vec<Vec<u8>> {
    let counts = packets.iter().fold(counts, |counts, packet| counts.from_cloud(packet).to_office("a", packet));
    world.expect(&counts, |world| packets.iter().for_each(|packet| world.cloud("a").send(packet)));
    world.office("a").received()
}

#[test]
fn a_datagram_in_fragments_crosses_in_every_order_and_its_answer_comes_back() {
    let mut world = World::new(70, [municipality("a", 2_101)]);
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (number, order) in (0..).zip(orders) {
        let there = cut(&query(4_000), number, 1_420);
        let opened = if number == 0 { Counts::new().opened("a") } else { Counts::new() };
        let arrived = office_sends(&mut world, &order.map(|part| there[part].clone()), opened);
        let seen = one(reassembled(&arrived));
        assert_eq!((seen.destination, &seen.payload), (at("10.10.0.10:443"), &payload(4_000)), "{order:?}");

        let back = cut(&udp(seen.destination, seen.source, &seen.payload), number, 1_420);
        let arrived = cloud_sends(&mut world, &order.map(|part| back[part].clone()), Counts::new());
        let seen = one(reassembled(&arrived));
        assert_eq!((seen.source, seen.destination, seen.payload), (at(SERVER), at(CLIENT), payload(4_000)), "{order:?}");
    }
}

#[test]
fn what_comes_before_the_first_fragment_is_held_until_it_comes() {
    let mut world = World::new(71, [municipality("a", 2_101)]);
    let parts = cut(&query(2_000), 7, 1_420);
    let held = Counts::new().from_office("a", &parts[1]).add("worker.held", 1);
    world.expect(&held, |world| world.office("a").send(&parts[1]));
    assert_eq!(world.cloud("a").received(), Vec::<Vec<u8>>::new());
    let freed = Counts::new().from_office("a", &parts[0]).opened("a").to_cloud("a", &parts[0]).to_cloud("a", &parts[1]);
    world.expect(&freed.add("worker.held", -1), |world| world.office("a").send(&parts[0]));
    assert_eq!(one(reassembled(&world.cloud("a").received())).payload, payload(2_000));

    // And one that never comes.
    world.office("a").send(&placed(parts[1].clone(), 8, 1_400, false));
    world.run(Duration::from_millis(4_900));
    assert_eq!((world.counts().get("worker.held"), world.counts().get("worker.dropped")), (1, 0));
    world.run(Duration::from_millis(400));
    let counts = world.counts();
    assert_eq!((counts.get("worker.held"), counts.get("worker.dropped"), counts.get("a.drops.fragment_timeout")), (0, 1, 1));
}

#[test]
fn echoes_in_fragments_keep_their_checksums() {
    let mut world = World::new(72, [municipality("a", 2_101)]);
    for bytes in [payload(3_000), vec![0; 3_000]] {
        let request = ping(ip("198.51.100.17"), ip("203.0.113.10"), 7, &bytes);
        let opened = if bytes[0] == 0 { Counts::new() } else { Counts::new().opened("a") };
        let seen = one(reassembled(&office_sends(&mut world, &cut(&request, 1, 1_420), opened)));
        assert_eq!((*seen.destination.ip(), &seen.payload), (ip("10.10.0.10"), &bytes));
        let reply = pong(*seen.destination.ip(), *seen.source.ip(), seen.source.port(), &bytes);
        let back = one(reassembled(&cloud_sends(&mut world, &cut(&reply, 1, 1_420), Counts::new())));
        assert_eq!((*back.source.ip(), back.source.port(), back.payload), (ip("203.0.113.10"), 7, bytes));
    }
}

#[test]
fn a_connection_sees_all_of_a_segment_that_comes_in_fragments() {
    let mut world = World::new(85, [municipality("a", 2_101)]);
    let (client, server) = (at(CLIENT), at(SERVER));
    let arrived = office_sends(&mut world, &[tcp_at(client, server, Segment::Syn(None), (999, 0), &[])], Counts::new().opened("a"));
    let seen = one(arrived);
    let (far, near) = (seen.destination, seen.source);
    cloud_sends(&mut world, &[tcp_at(far, near, Segment::SynAck(None), (4_999, 1_000), &[])], Counts::new());
    let segment = tcp_at(client, server, Segment::Ack, (1_000, 5_000), &payload(3_000));
    let arrived = office_sends(&mut world, &cut(&segment, 2, 1_420), Counts::new());
    assert_eq!(one(reassembled(&arrived)).payload, payload(3_000));
    // It acknowledges 3,000 bytes: a connection that has not seen them does not believe that it ends.
    cloud_sends(&mut world, &[tcp_at(far, near, Segment::Fin, (5_000, 4_000), &[])], Counts::new());
    office_sends(&mut world, &[tcp_at(client, server, Segment::Fin, (4_000, 5_001), &[])], Counts::new());
    world.run(Duration::from_secs(230));
    assert_eq!(world.sessions("a"), 1);
    world.run(Duration::from_secs(20));
    assert_eq!(world.sessions("a"), 0, "four minutes after both ends");
}

#[test]
fn hosts_behind_one_address_that_use_one_identification_are_told_apart() {
    let mut tenant = municipality("a", 2_101);
    tenant.sources[0].translation = SourceTranslation::Napt(vec![network("10.254.1.8/32")]);
    let mut world = World::new(73, [tenant]);
    let from = |host: &str| cut(&udp(at(host), at(SERVER), &payload(2_000)), 7, 1_420);
    let (first, second) = (from("198.51.100.17:40000"), from("198.51.100.18:40000"));
    for part in [0, 1] {
        [&first, &second].iter().for_each(|datagram| world.office("a").send(&datagram[part]));
    }
    world.settle();
    let arrived = world.cloud("a").received();
    assert!(arrived.iter().all(|packet| packet[12..16] == [10, 254, 1, 8]), "one address");
    let whole = reassembled(&arrived);
    let ports: Vec<u16> = whole.iter().map(|packet| packets::read(packet).expect("sound").source.port()).collect();
    assert!(ports.len() == 2 && ports[0] != ports[1], "{ports:?}");
}

#[test]
fn what_may_be_cut_goes_to_the_office_in_as_many_pieces_as_it_needs() {
    let mut world = World::new(74, [municipality("a", 2_101)]);
    for (number, len) in [1_421, 1_428, 1_500].into_iter().enumerate() {
        let big = may_be_cut(job(len - 28));
        let counts = Counts::new().from_cloud(&big).generated().add("a.packets_fragmented", 1);
        let counts = counts.to_office("a", &[0; 1_420]).to_office("a", &vec![0; len - 1_400]);
        let counts = if number == 0 { counts.opened("a") } else { counts };
        world.expect(&counts, |world| world.cloud("a").send(&big));
        let seen = one(reassembled(&world.office("a").received()));
        assert_eq!((seen.source.ip(), seen.hop_limit, seen.payload), (&ip("203.0.113.20"), 63, payload(len - 28)));
    }
    let fits = may_be_cut(job(1_420 - 28));
    cloud_sends(&mut world, &[fits], Counts::new());
}

#[test]
fn fragments_that_are_too_big_are_cut_once_more() {
    let mut world = World::new(75, [municipality("a", 2_101)]);
    let parts = cut(&job(4_000), 7, 1_500);
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1_500, 1_500, 1_068]);
    for order in [[0, 1, 2], [2, 1, 0]] {
        let arriving = parts.iter().fold(Counts::new(), |counts, part| counts.from_cloud(part));
        let pieces = [1_420, 100, 1_420, 100, 1_068].map(|len| vec![0; len]);
        let counts = pieces.iter().fold(arriving, |counts, piece| counts.to_office("a", piece)).generated().generated();
        let counts = counts.add("a.packets_fragmented", 2);
        let counts = if order[0] == 0 { counts.opened("a") } else { counts };
        world.expect(&counts, |world| order.iter().for_each(|part| world.cloud("a").send(&parts[*part])));
        assert_eq!(one(reassembled(&world.office("a").received())).payload, payload(4_000));
    }
}

#[test]
fn what_may_be_cut_goes_to_a_narrow_cloud_network_in_pieces_and_comes_back_whole() {
    let mut tenant = municipality("a", 2_101);
    tenant.attachments[0].mtu = 700;
    let mut world = World::new(76, [tenant]);
    world.cloud("a").answers = true;
    let big = may_be_cut(query(1_372));
    world.office("a").send(&big);
    world.settle();
    let arrived = world.cloud("a").received();
    assert_eq!(arrived.iter().map(Vec::len).collect::<Vec<_>>(), [700, 700, 40]);
    assert_eq!(one(reassembled(&arrived)).payload, payload(1_372));
    assert_eq!(one(world.office("a").received()).payload, payload(1_372));
    assert_eq!(world.counts().get("a.packets_fragmented"), 1);
}

#[test]
fn a_fragment_that_must_not_be_cut_is_told_the_mtu_and_only_the_first_one_is() {
    let mut world = World::new(77, [municipality("a", 2_101)]);
    let parts = cut(&job(4_000), 7, 1_500).into_iter().map(|part| edited(part, |part| part[6] |= 0x40)).collect::<Vec<_>>();
    let counts = Counts::new().from_cloud(&parts[0]).lost("a", DropReason::PacketTooBig).error_to_cloud("a", 576);
    world.expect(&counts, |world| world.cloud("a").send(&parts[0]));
    assert_eq!(one(world.cloud("a").received()).icmp, Some((3, 4, [0, 0, 0x05, 0x8c])));
    let counts = Counts::new().from_cloud(&parts[1]).lost("a", DropReason::PacketTooBig);
    world.expect(&counts, |world| world.cloud("a").send(&parts[1]));
    assert_eq!((world.cloud("a").received().len(), world.office("a").received().len()), (0, 0));
}

#[test]
fn a_later_fragment_meets_the_rule_that_its_ports_meet_and_opens_nothing_itself() {
    let mut world = World::new(78, [municipality("a", 2_101)]);
    let closed = cut(&udp(at(CLIENT), at("203.0.113.10:80"), &payload(2_000)), 7, 1_420);
    for part in &closed {
        let counts = Counts::new().from_office("a", part).lost("a", DropReason::ServicePortClosed);
        world.expect(&counts, |world| world.office("a").send(part));
    }
    // The first one is lost for another reason than its ports: those that follow have no session.
    let spent = cut(&edited(query(2_000), |packet| packet[8] = 1), 8, 1_420);
    let counts = Counts::new().from_office("a", &spent[0]).lost("a", DropReason::HopLimitExceeded).error_to_office("a", &[0; 576]);
    world.expect(&counts, |world| world.office("a").send(&spent[0]));
    let late = edited(spent[1].clone(), |packet| packet[8] = 64);
    let counts = Counts::new().from_office("a", &late).lost("a", DropReason::NoSession);
    world.expect(&counts, |world| world.office("a").send(&late));
    assert_eq!(world.cloud("a").received(), Vec::<Vec<u8>>::new());
}

#[test]
fn where_a_piece_is_lost_the_rest_of_its_packet_is_too() {
    let mut tenant = municipality("a", 2_101);
    tenant.attachments[0].mtu = 700;
    tenant.limits.sessions = nonzero(1);
    let mut world = World::new(79, [tenant]);
    office_sends(&mut world, &[query(64)], Counts::new().opened("a"));
    let big = may_be_cut(udp(at("198.51.100.17:40001"), at(SERVER), &payload(1_372)));
    let counts = Counts::new().from_office("a", &big).generated().add("a.packets_fragmented", 1);
    let counts = counts.lost("a", DropReason::SessionTableFull).lost("a", DropReason::SessionTableFull).error_to_office("a", &[0; 576]);
    world.expect(&counts, |world| world.office("a").send(&big));
    assert_eq!(world.cloud("a").received(), Vec::<Vec<u8>>::new());
}

#[test]
fn fragments_for_the_relays_own_address_are_refused_by_name() {
    let mut world = World::new(80, [municipality("a", 2_101)]);
    for part in cut(&ping(ip("10.10.0.20"), ip("10.254.1.2"), 7, &payload(2_000)), 7, 1_500) {
        let counts = Counts::new().from_cloud(&part).lost("a", DropReason::InnerFragment);
        world.expect(&counts, |world| world.cloud("a").send(&part));
    }
    assert_eq!(world.cloud("a").received(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_reload_and_a_removal_let_go_of_what_waits_and_touch_nobody_else() {
    let mut world = World::new(81, [municipality("a", 2_101), municipality("b", 2_102)]);
    let early = |tenant: &str| {
        let datagram = udp(at(CLIENT), at(SERVER), &Owner::new(tenant, MyNumber).payload(2_000));
        cut(&datagram, 7, 1_420)
    };
    let (a, b) = (early("a"), early("b"));
    for (tenant, parts) in [("a", &a), ("b", &b)] {
        let held = Counts::new().from_office(tenant, &parts[1]).add("worker.held", 1);
        world.expect(&held, |world| world.office(tenant).send(&parts[1]));
    }
    let lost = |reason| Counts::new().lost("a", reason).add("worker.held", -1);
    world.expect(&lost(DropReason::TenantReconfigured), |world| world.reload(|plan| plan.tenant("a").limits.sessions = nonzero(999)));
    // What is known of its first part is forgotten, too.
    world.office("a").send(&a[0]);
    world.settle();
    world.reload(|plan| plan.tenant("a").limits.sessions = nonzero(998));
    world.settle();
    let held = Counts::new().from_office("a", &a[1]).add("worker.held", 1);
    world.expect(&held, |world| world.office("a").send(&a[1]));
    world.expect(&lost(DropReason::TenantRemoved), |world| world.reload(|plan| plan.tenants.retain(|tenant| &*tenant.name == "b")));

    let counts = Counts::new().from_office("b", &b[0]).opened("b").to_cloud("b", &b[0]).to_cloud("b", &b[1]).add("worker.held", -1);
    world.expect(&counts, |world| world.office("b").send(&b[0]));
    assert_eq!(reassembled(&world.cloud("b").received()).len(), 1);
}

#[test]
fn fragments_go_through_ipsec_as_through_wireguard() {
    let mut world = World::new(82, [ipsec_municipality("a", 2_101)]);
    world.cloud("a").answers = true;
    cut(&query(4_000), 7, 1_420).iter().rev().for_each(|part| world.office("a").send(part));
    world.settle();
    let seen = one(reassembled(&world.cloud("a").received()));
    assert_eq!((seen.destination, seen.payload), (at("10.10.0.10:443"), payload(4_000)));
    let back = one(reassembled(&world.office("a").received()));
    assert_eq!((back.source, back.destination, back.payload), (at(SERVER), at(CLIENT), payload(4_000)));
}

#[test]
fn a_flood_of_fragments_costs_neither_whole_packets_nor_another_class_or_tenant_anything() {
    let mut world = World::new(83, [municipality("a", 2_101), municipality("b", 2_102)]);
    let documents =
        |tenant: &str, len| udp(at("198.51.100.25:5000"), at("10.10.4.7:443"), &Owner::new(tenant, LgwanConnected).payload(len));
    let residents = |tenant: &str, len| udp(at(CLIENT), at(SERVER), &Owner::new(tenant, MyNumber).payload(len));
    let flood = |id: u16, from: SocketAddrV4| placed(udp(from, at(SERVER), &payload(64)), id, 1_400, false);
    let mut sent = 0;
    for round in 0..20_u16 {
        // A host of mynumber floods, and its own class's whole packets and fragments in order pass between.
        (0..30).for_each(|number| world.office("a").send(&flood(round * 30 + number, at("198.51.100.18:40000"))));
        sent += 30;
        world.office("a").send(&residents("a", 64));
        cut(&residents("a", 2_000), round, 1_420).iter().for_each(|part| world.office("a").send(part));
        // The other class and the other tenant, last fragment first.
        for (tenant, datagram) in [("a", documents("a", 2_000)), ("b", residents("b", 2_000)), ("b", documents("b", 2_000))] {
            cut(&datagram, round, 1_420).iter().rev().for_each(|part| world.office(tenant).send(part));
        }
        world.office("b").send(&residents("b", 64));
        world.settle();
        let (at_a, at_b) = (reassembled(&world.cloud("a").received()), reassembled(&world.cloud("b").received()));
        assert_eq!((at_a.len(), at_b.len()), (3, 3), "round {round}");
    }
    let counts = world.counts();
    let (held, lost) = (counts.get("worker.held"), counts.get("a.drops.fragments_full"));
    assert!(held > 0 && lost > 0, "{held} {lost}");
    assert_eq!((held + lost, counts.get("worker.dropped")), (sent, lost), "nothing else was lost");
    world.run(Duration::from_secs(6));
    let counts = world.counts();
    assert_eq!((counts.get("worker.held"), counts.get("a.drops.fragment_timeout")), (0, held));
    assert_eq!(counts.get("worker.dropped"), sent);
}

#[test]
fn an_error_about_a_fragment_reaches_who_sent_it() {
    let mut world = World::new(84, [municipality("a", 2_101)]);
    let parts = cut(&query(2_000), 7, 1_420);
    let arrived = office_sends(&mut world, &parts, Counts::new().opened("a"));
    let seen = packets::read(&reassembled(&arrived)[0]).expect("sound");
    let error = icmp_message(ip("10.10.0.1"), *seen.source.ip(), (3, 4), [0, 0, 0x05, 0x14], &arrived[0][..548]);
    world.expect(&Counts::new().from_cloud(&error).to_office("a", &error), |world| world.cloud("a").send(&error));
    let told = one(world.office("a").received());
    assert_eq!((*told.destination.ip(), told.icmp), (ip("198.51.100.17"), Some((3, 4, [0, 0, 0x05, 0x14]))));
    let about_later = icmp_message(ip("10.10.0.1"), *seen.source.ip(), (3, 4), [0, 0, 0x05, 0x14], &arrived[1][..548]);
    let counts = Counts::new().from_cloud(&about_later).lost("a", DropReason::IcmpErrorMalformed);
    world.expect(&counts, |world| world.cloud("a").send(&about_later));
    // Its own length, wherever it begins.
    let part = fragment(&query(2_000), 9, (0, 512), true);
    assert_eq!(office_sends(&mut world, &[part], Counts::new()).len(), 1);
}
