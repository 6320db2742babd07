//! Packets through SAs, in UDP and without it.

use dataplane::drop_reason::DropReason;
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Counts, at};
use dataplane::tunnel::esp::sa::{Encapsulation, OutboundUse};

use crate::{both_ways, job, only, request, told, twins};

#[test]
fn a_packet_crosses_both_ways_and_every_counter_says_so() {
    let mut world = twins(1_100);
    told(&mut world);
    let (request, job) = (request("a", 40_000), job("a", 50_000));
    // The first packet on an SA counts as a completed handshake.
    let counts = Counts::new().from_esp_office("a", &request).to_cloud("a", &request).opened("a").add("a/main.handshakes", 1);
    world.expect(&counts, |world| world.office("a").send(&request));
    world.expect(&Counts::new().from_cloud(&job).to_esp_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    assert_eq!((world.cloud("a").received().len(), world.office("a").received().len()), (1, 1));
    assert_eq!(told(&mut world), only([("SaHeard a", 1)]));
    assert_eq!(world.counts().get("a/main.sa_installs"), 1);
}

#[test]
fn esp_travels_without_udp_where_no_nat_stands_between() {
    let mut world = twins(1_101);
    world.office("a").in_udp = false;
    world.exchange_keys("a");
    for port in 40_000..40_020 {
        both_ways(&mut world, "a", port);
        both_ways(&mut world, "b", port);
    }
    // 14 + 20 + 28 less than as a UDP datagram with the same payload.
    let job = job("a", 41_000);
    let counts = world.counts();
    world.cloud("a").send(&job);
    world.settle();
    let changes = world.counts().since(&counts);
    let esp = 8 + 8 + (job.len() + 2).next_multiple_of(4) + 16;
    assert_eq!(changes.get("access.transmitted.bytes"), i64::try_from(14 + 20 + esp).expect("short"));
}

/// RFC 7296 section 2.23: whoever does UDP encapsulation takes both.
#[test]
fn what_comes_in_the_other_encapsulation_is_taken_and_moves_nobody() {
    let mut world = twins(1_102);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    let sealed = world.office("a").seal(&request("a", 40_000)).expect("an SA");
    let source = *world.office("a").outer.ip();
    world.office("b").send_without_udp(source, sealed);
    world.settle();
    assert_eq!(world.cloud("a").received().len(), 1);
    both_ways(&mut world, "a", 40_001);
    world.run(dataplane::time::Duration::from_secs(1));
    assert_eq!(told(&mut world), only([]), "nobody moved");
}

#[test]
fn the_relay_follows_a_router_whose_nat_gave_it_another_port() {
    let mut world = twins(1_103);
    both_ways(&mut world, "a", 40_000);
    world.run(dataplane::time::Duration::from_secs(1));
    told(&mut world);
    world.office("a").outer = at("198.18.0.7:61000");
    world.office("a").send(&request("a", 40_000));
    world.run(dataplane::time::Duration::from_secs(1));
    assert_eq!(world.cloud("a").received().len(), 1);
    assert_eq!(told(&mut world), only([("PeerMoved a 198.18.0.7:61000", 1)]));
    both_ways(&mut world, "a", 40_001);
    assert_eq!(world.counts().get("a/main.roams"), 1);
}

#[test]
fn an_authenticated_ike_message_from_elsewhere_moves_the_relays_end_before_any_data_comes() {
    let mut world = twins(1_104);
    both_ways(&mut world, "a", 40_000);
    let spi = world.office("a").esp().relay_spis()[0];
    world.office("a").outer = at("198.18.0.7:61000");
    world.move_peer("a", spi, Encapsulation::Udp { peer: at("198.18.0.7:61000") });
    world.settle();
    world.cloud("a").send(&job("a", 40_000));
    world.settle();
    assert_eq!(world.office("a").received().len(), 1);
    world.office("a").in_udp = false;
    world.move_peer("a", spi, world_peer());
    world.settle();
    world.office("a").outer = at("192.0.2.10:4500");
    world.cloud("a").send(&job("a", 40_000));
    world.settle();
    assert_eq!(world.office("a").received().len(), 1);
}

fn world_peer() -> Encapsulation {
    Encapsulation::Ip { peer: *at("192.0.2.10:4500").ip() }
}

#[test]
fn dummies_transport_mode_and_broken_padding_have_names_and_open_nothing() {
    let mut world = twins(1_105);
    both_ways(&mut world, "a", 40_000);
    let packet = request("a", 40_000);
    let aligned = request_of(packet.len().next_multiple_of(4) + 2);
    for (next_header, padding, reason) in [
        (59, None, DropReason::EspDummy),
        (17, None, DropReason::TunnelNextHeaderUnsupported),
        (41, None, DropReason::Ipv6Refused),
        // The second pad octet is 7 where RFC 4303 section 2.4 says 2.
        (4, Some(&[1, 7, 3, 4, 4][..]), DropReason::EspPaddingInvalid),
        // More padding than packet.
        (4, Some(&[255][..]), DropReason::EspPaddingInvalid),
    ] {
        let before = world.counts();
        let inner = if padding.is_some() { &aligned } else { &packet };
        let inner = if padding.is_some_and(|padding| padding.len() == 5) { &inner[..inner.len()] } else { &inner[..] };
        let sealed = world.office("a").esp().seal_oddly(next_header, inner, padding);
        let source = world.office("a").outer;
        world.office("a").send_datagram(source, sealed);
        world.settle();
        let changes = world.counts().since(&before);
        assert_eq!(changes.get(&format!("a.drops.{}", reason.label())), 1, "{next_header} {padding:?}: {changes:?}");
        assert_eq!(world.cloud("a").received().len(), 0);
    }
    both_ways(&mut world, "a", 40_001);
}

/// A request whose packet has `len` bytes.
fn request_of(len: usize) -> Vec<u8> {
    udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &vec![0x20; len - 28])
}

#[test]
fn extended_sequence_numbers_carry_on_where_32_bits_end() {
    let mut world = twins(1_106);
    let agreement = world.agree("a", true);
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    world.install("a", pair).expect("room");
    world.office("a").esp().add(agreement);
    both_ways(&mut world, "a", 40_000);
    // In two steps: a receiver cannot tell a leap over half the numbers from an old packet.
    for leap in [1 << 31, (1 << 31) - 16] {
        world.office("a").esp().skip(leap);
        both_ways(&mut world, "a", 40_000);
    }
    for port in 40_001..40_020 {
        both_ways(&mut world, "a", port);
    }
}

#[test]
fn a_packet_outside_the_selectors_of_its_sa_is_lost_by_name_in_both_directions() {
    let mut world = twins(1_107);
    both_ways(&mut world, "a", 40_000);
    let outside = udp(at("198.51.100.17:40000"), at("203.0.113.99:443"), &[0; 20]);
    let counts = Counts::new().datagram(8 + 8 + 52 + 16).lost("a", DropReason::TunnelSelectorMismatch);
    world.expect(&counts, |world| world.office("a").send(&outside));
    // The only SA that is left covers another prefix than the printer's.
    let spi = world.office("a").esp().relay_spis()[0];
    let agreement = world.agree("a", false);
    let mut pair = world.pair("a", &agreement, OutboundUse::Now);
    pair.selectors =
        pair.selectors.iter().filter(|selector| !selector.far.contains(&dataplane::simulation::ip("203.0.113.20"))).cloned().collect();
    world.install("a", pair).expect("room");
    world.remove_sa("a", spi);
    world.settle();
    let job = job("a", 40_000);
    world.expect(&Counts::new().from_cloud(&job).lost("a", DropReason::TunnelSelectorMismatch), |world| world.cloud("a").send(&job));
}
