//! A packet costs no heap allocation, whichever way it goes, nor does a session that opens or expires.
#![cfg(feature = "simulation")]

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{CountingAllocator, count, counted};
use dataplane::router_config::TrafficClass;
use dataplane::simulation::fragments::cut;
use dataplane::simulation::packets::{edited, ping, udp};
use dataplane::simulation::{Dimensions, Owner, World, at, ip, ipsec_municipality, municipality};
use dataplane::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Forwarded packets, both ways together.
const PACKETS: u64 = 1_000_000;
/// At once: less than a receive ring has slots.
const AT_ONCE: u64 = 50;

#[test]
fn the_allocator_counts_what_it_is_told_to() {
    count(true);
    let before = counted();
    drop(std::hint::black_box(vec![1_u8; 100]));
    count(false);
    assert_eq!(counted(), before + 1);
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert_eq!(counted(), before + 1);
}

#[test]
fn a_million_packets_both_ways_take_no_memory() {
    let mut world = World::new(600, [municipality("a", 2_101), municipality("b", 2_102)]);
    world.around_poll = Some(count);
    for tenant in ["a", "b"] {
        world.cloud(tenant).answers = true;
    }
    let packet = |tenant, port| {
        udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new(tenant, TrafficClass::MyNumber).payload(32))
    };
    let mut forwarded = 0;
    let mut round = 0;
    while forwarded < PACKETS {
        // A new session each 64 rounds, for as long as they last.
        let packets = ["a", "b"].map(|tenant| packet(tenant, 40_000 + round / 64));
        for packet in packets.iter().enumerate() {
            let office = world.office(["a", "b"][packet.0]);
            (0..AT_ONCE / 2).for_each(|_| office.send(packet.1));
        }
        world.settle();
        for tenant in ["a", "b"] {
            assert_eq!(world.office(tenant).received().len() as u64, AT_ONCE / 2, "every answer came");
            world.cloud(tenant).received();
        }
        forwarded += 2 * AT_ONCE;
        round += 1;
        if round % 8 == 0 {
            world.run(Duration::from_millis(10));
        }
    }
    assert_eq!(counted(), 0, "{} sessions were opened", world.counts().get("a.sessions_opened"));
    assert!(world.counts().get("a.sessions_opened") > 100);
}

/// IPsec in UDP and without it, and strangers' SPIs and IKE messages beyond their limit.
#[test]
fn ipsec_packets_both_ways_take_no_memory() {
    let mut world = World::new(603, [ipsec_municipality("a", 2_101), ipsec_municipality("b", 2_102)]);
    world.office("b").in_udp = false;
    world.exchange_keys("b");
    for tenant in ["a", "b"] {
        world.cloud(tenant).answers = true;
    }
    let stranger = at("198.18.0.9:500");
    let flood = |world: &mut World, messages: u32| {
        for _ in 0..messages {
            world.office("a").send_to_port(stranger, 500, vec![0x5a; 100]);
        }
        world.settle();
    };
    // What may go up takes memory.
    flood(&mut world, 40);
    world.around_poll = Some(count);
    let packet = |tenant, port| {
        udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new(tenant, TrafficClass::MyNumber).payload(32))
    };
    let mut forwarded = 0;
    let mut round = 0;
    while forwarded < PACKETS / 5 {
        for tenant in ["a", "b"] {
            let packet = packet(tenant, 40_000 + round / 64);
            (0..AT_ONCE / 2).for_each(|_| world.office(tenant).send(&packet));
        }
        world.settle();
        for tenant in ["a", "b"] {
            assert_eq!(world.office(tenant).received().len() as u64, AT_ONCE / 2, "every answer came");
            world.cloud(tenant).received();
        }
        world.office("a").send_to_port(stranger, 4_500, vec![0x77; 100]);
        flood(&mut world, 1);
        forwarded += 2 * AT_ONCE;
        round += 1;
    }
    assert_eq!(counted(), 0);
    assert!(world.counts().get("access.drops.ike_punt_limited") > 1_000);
    assert!(world.counts().get("access.drops.esp_spi_unknown") > 1_000);
}

#[test]
fn a_flood_that_waits_and_is_lost_takes_no_memory() {
    let roomy = Dimensions { frames: 4_096, ring: 512, ..Dimensions::default() };
    let mut world = World::cold(602, [municipality("a", 2_101), municipality("b", 2_102)], roomy);
    world.bring_up();
    let packet = |tenant| udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new(tenant, TrafficClass::MyNumber).payload(32));
    world.office("a").send(&packet("a"));
    world.office("b").send(&packet("b"));
    world.settle();
    world.around_poll = Some(count);
    for _ in 0..100 {
        (0..400).for_each(|_| world.office("a").send(&packet("a")));
        world.office("b").send(&packet("b"));
        world.step();
    }
    assert_eq!(counted(), 0);
    assert_eq!(world.counts().get("b.office_to_cloud.packets"), 101);
    assert!(world.counts().get("a.drops.tenant_queue_full") > 30_000);
}

/// In order, out of order, without their first one, overlapping; and packets that are cut.
#[test]
fn fragments_take_no_memory_but_the_first_of_each_lane() {
    let mut world = World::new(604, [municipality("a", 2_101)]);
    let query = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new("a", TrafficClass::MyNumber).payload(2_000));
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new("a", TrafficClass::MyNumber).payload(1_472));
    let round = |world: &mut World, id: u16| {
        for part in cut(&query, id, 1_420).iter().rev().chain(&cut(&query, id, 700)) {
            world.office("a").send(part);
        }
        world.office("a").send(&cut(&query, id.wrapping_add(30_000), 1_420)[1]);
        world.cloud("a").send(&edited(job.clone(), |packet| packet[6] &= !0x40));
        cut(&job, id, 1_500).iter().chain(&cut(&job, id, 700)).for_each(|part| world.cloud("a").send(part));
        world.settle();
        drop((world.office("a").received(), world.cloud("a").received()));
    };
    round(&mut world, 0);
    world.around_poll = Some(count);
    for id in 1..2_000 {
        round(&mut world, id);
        world.run(Duration::from_millis(5));
    }
    assert_eq!(counted(), 0);
    let counts = world.counts();
    assert!(counts.get("a.packets_fragmented") > 3_000, "{counts:?}");
    assert!(["fragments_full", "fragment_timeout"].iter().any(|reason| counts.get(&format!("a.drops.{reason}")) > 0), "{counts:?}");
}

#[test]
fn sessions_that_open_and_expire_take_no_memory() {
    let mut world = World::new(601, [municipality("a", 2_101)]);
    world.around_poll = Some(count);
    let payload = Owner::new("a", TrafficClass::MyNumber).payload(32);
    for identifier in 0..400 {
        world.office("a").send(&ping(ip("198.51.100.17"), ip("203.0.113.10"), identifier, &payload));
        world.run(Duration::from_millis(5));
    }
    world.run(Duration::from_millis(300));
    assert_eq!((world.sessions("a"), world.counts().get("a.sessions_opened")), (400, 400));
    // Echoes live for a minute; the handshake of the second minute, which does take memory, is not reached.
    world.run(Duration::from_secs(70));
    assert_eq!(world.sessions("a"), 0);
    assert_eq!(counted(), 0);
}
