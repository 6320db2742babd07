//! Election day: one tenant sends far more than the relay can carry, and the others notice nothing of it.
//!
//! The relay works on [`SERVED`] packets a round while more than that wait, so a round is the unit of time here: what a worker does
//! between two looks at its NICs.
#![cfg(feature = "simulation")]

use std::num::NonZeroU64;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TenantConfig, TrafficClass, Vlan, VlanId};
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, municipality};
use dataplane::time::Duration;

use TrafficClass::{LgwanConnected, MyNumber};

/// What a round serves when more than a batch waits.
const SERVED: usize = 32;
/// Ten times as much.
const FLOOD: usize = 10 * SERVED;
/// NICs whose rings hold a flood, and memory for queues.
const ROOMY: Dimensions = Dimensions { frames: 8_192, ring: 1_024, mtu: 1_500, workers: 1, queues: 1, ipv6: false };

fn world(seed: u64, tenants: impl IntoIterator<Item = TenantConfig>) -> World {
    let mut world = World::cold(seed, tenants, ROOMY);
    world.bring_up();
    world
}

fn city_and_village(seed: u64) -> World {
    world(seed, [municipality("city", 2_101), municipality("village", 2_102)])
}

fn residents(name: &str, port: u16) -> Vec<u8> {
    udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new(name, MyNumber).payload(64))
}

fn documents(name: &str) -> Vec<u8> {
    udp(at("198.51.100.25:5000"), at("10.10.4.7:443"), &Owner::new(name, LgwanConnected).payload(64))
}

/// What the cloud answers to `packet`, which opens its session.
fn answer(world: &mut World, name: &str, packet: &[u8]) -> Vec<u8> {
    world.office(name).send(packet);
    world.settle();
    let seen = packets::read(&world.cloud(name).received()[0]).expect("sound");
    udp(seen.destination, seen.source, &seen.payload)
}

fn flood_from_office(world: &mut World, name: &str) {
    let packet = residents(name, 40_000);
    (0..FLOOD).for_each(|_| world.office(name).send(&packet));
}

fn drops(world: &World, name: &str, reason: DropReason) -> i64 {
    world.counts().get(&format!("{name}.drops.{}", reason.label()))
}

fn waiting(world: &World) -> i64 {
    world.counts().get("worker.held")
}

/// Rounds until a packet of the village is out, sent into the flood as `disturb` makes it each round: one a packet when idle.
fn delays(world: &mut World, rounds: usize, mut disturb: impl FnMut(&mut World)) -> Vec<usize> {
    let packet = residents("village", 40_000);
    let (mut sent, mut delays) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        disturb(world);
        // A hundredth of what is served, and a little more.
        if round % 50 == 0 {
            world.office("village").send(&packet);
            sent.push(round);
        }
        world.step();
        let arrived = world.cloud("village").received().len();
        delays.extend(sent.drain(..arrived).map(|sent| round + 1 - sent));
        world.cloud("city").received();
        world.office("city").received();
    }
    assert!(sent.is_empty(), "{} packets of the village are lost or late", sent.len());
    delays
}

#[test]
fn ten_times_more_than_can_be_carried_costs_the_village_no_packet_and_no_round() {
    let mut world = city_and_village(900);
    let idle = delays(&mut world, 1_000, |_| {});
    let flooded = delays(&mut world, 1_000, |world| flood_from_office(world, "city"));
    assert!(idle.iter().all(|rounds| *rounds == 1));
    assert!(flooded.iter().all(|rounds| *rounds == 1), "{flooded:?}");
    assert_eq!(world.counts().get("access.nic_receive_lost"), 0);
    let lost = drops(&world, "city", DropReason::TenantQueueFull);
    assert!(lost > 900 * (FLOOD - SERVED) as i64 / 2, "{lost}: the city loses what is too much, by name");
    let forwarded = world.counts().get("city.office_to_cloud.packets");
    assert!(forwarded >= 999 * SERVED as i64, "{forwarded}: and gets all that the village leaves");
}

#[test]
fn a_flood_from_a_cloud_costs_nobody_else_anything_either() {
    let mut world = city_and_village(901);
    let back = answer(&mut world, "city", &residents("city", 40_000));
    let flooded = delays(&mut world, 500, |world| (0..FLOOD).for_each(|_| world.cloud("city").send(&back)));
    assert!(flooded.iter().all(|rounds| *rounds == 1), "{flooded:?}");
    assert!(drops(&world, "city", DropReason::TenantQueueFull) > 0);
}

#[test]
fn a_ring_full_of_forgeries_costs_nobody_anything() {
    let mut world = city_and_village(902);
    let mut forged = world.office("city").seal(&residents("city", 40_000)).expect("a session");
    forged[4..8].copy_from_slice(&[0x5a; 4]);
    let mut handshake = vec![0; 148];
    handshake[0] = 1;
    let flooded = delays(&mut world, 500, |world| {
        for number in 0..FLOOD / 2 {
            let source = at(&format!("198.18.{}.{}:9", number / 250, number % 250 + 1));
            world.office("city").send_datagram(source, forged.clone());
            world.office("city").send_datagram(source, handshake.clone());
        }
    });
    assert!(flooded.iter().all(|rounds| *rounds == 1), "{flooded:?}");
    let counts = world.counts();
    assert_eq!(counts.get("access.drops.tunnel_receiver_unknown"), 500 * FLOOD as i64 / 2);
    assert_eq!(counts.get("access.drops.tunnel_handshake_mac_invalid"), 500 * FLOOD as i64 / 2);
}

#[test]
fn forgeries_with_a_tenants_own_receiver_index_take_that_tenants_turns_and_no_others() {
    let mut world = city_and_village(903);
    let mut forged = world.office("city").seal(&residents("city", 40_000)).expect("a session");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let flooded = delays(&mut world, 500, |world| {
        (0..FLOOD).for_each(|_| world.office("city").send_datagram(at("198.18.1.1:9"), forged.clone()));
    });
    assert!(flooded.iter().all(|rounds| *rounds == 1), "{flooded:?}");
    assert!(drops(&world, "city", DropReason::TunnelDataRejected) >= 499 * SERVED as i64);
}

#[test]
fn what_everybody_gets_follows_the_guaranteed_rates_and_not_what_they_send() {
    let names: Vec<String> = (0..20).map(|number| format!("body-{number}")).collect();
    let tenants = (2_101..).zip(&names).map(|(vlan, name)| {
        let mut tenant = municipality(name, vlan);
        // Every second one has three times the usual weight.
        tenant.rate.guaranteed = NonZeroU64::new(if vlan % 2 == 0 { 30_000_000 } else { 10_000_000 });
        tenant
    });
    let mut world = world(904, tenants);
    let before = world.counts();
    for _ in 0..1_500 {
        for (number, name) in names.iter().enumerate() {
            let packet = residents(name, 40_000);
            (0..5 + number).for_each(|_| world.office(name).send(&packet));
        }
        world.step();
        names.iter().for_each(|name| drop(world.cloud(name).received()));
    }
    let changes = world.counts().since(&before);
    let shares: Vec<f64> = names.iter().map(|name| changes.get(&format!("{name}.office_to_cloud.packets")) as f64).collect();
    let all: f64 = shares.iter().sum();
    for (name, share) in names.iter().zip(&shares) {
        let number: u16 = name["body-".len()..].parse().expect("a number");
        let weight = if number % 2 == 1 { 3.0 } else { 1.0 };
        let ratio = share / all / (weight / 40.0);
        assert!((0.95..1.05).contains(&ratio), "{name}: {ratio} of its share");
    }
}

#[test]
fn towards_the_office_mynumber_passes_a_flood_of_the_tenants_other_class() {
    let mut world = city_and_village(905);
    let prints = answer(&mut world, "city", &residents("city", 40_000));
    let files = answer(&mut world, "city", &documents("city"));
    let before = world.counts();
    for _ in 0..300 {
        (0..FLOOD).for_each(|_| world.cloud("city").send(&files));
        world.cloud("city").send(&prints);
        world.step();
        let received = world.office("city").received();
        let mynumber = received.iter().filter(|packet| packets::read(packet).expect("sound").source == at("203.0.113.10:443")).count();
        assert_eq!(mynumber, 1, "in the round in which it came");
    }
    let changes = world.counts().since(&before);
    assert!(changes.get("city.drops.tenant_queue_full") > 0);
}

#[test]
fn order_is_kept_within_a_flow_whatever_else_waits() {
    let mut world = city_and_village(906);
    let prints = answer(&mut world, "city", &residents("city", 40_000));
    let files = answer(&mut world, "city", &documents("city"));
    let seen = [&prints, &files].map(|packet| packets::read(packet).expect("sound"));
    let numbered = |flow: usize, number: u16| {
        let mut payload = seen[flow].payload.clone();
        payload.extend(number.to_be_bytes());
        udp(seen[flow].source, seen[flow].destination, &payload)
    };
    let mut next = [0_u16; 2];
    let mut last = [None; 2];
    for round in 0..200 {
        let burst = if round % 40 < 10 { 60 } else { 7 };
        for _ in 0..burst {
            for flow in [1, 0] {
                let packet = numbered(flow, next[flow]);
                world.cloud("city").send(&packet);
                next[flow] += 1;
            }
        }
        world.step();
        for packet in world.office("city").received() {
            let packet = packets::read(&packet).expect("sound");
            let flow = usize::from(packet.source != at("203.0.113.10:443"));
            let tail = packet.payload.last_chunk::<2>().expect("a number");
            let number = Some(u16::from_be_bytes(*tail));
            assert!(number > last[flow], "flow {flow}: {number:?} after {:?}", last[flow]);
            last[flow] = number;
        }
    }
    assert!(last[0].is_some_and(|number| number > 1_000));
}

/// A flood, and one round of it served.
fn filled(seed: u64) -> (World, i64) {
    let mut world = city_and_village(seed);
    answer(&mut world, "city", &residents("city", 40_000));
    flood_from_office(&mut world, "city");
    world.step();
    let waiting = waiting(&world);
    assert_eq!(waiting, (FLOOD - SERVED) as i64);
    world.cloud("city").received();
    (world, waiting)
}

#[test]
fn what_waits_for_a_tenant_that_is_removed_is_lost_by_name_and_nothing_of_it_reaches_the_next_owner_of_its_number() {
    let (mut world, waiting) = filled(907);
    let removed = Counts::new().add("city.drops.tenant_removed", waiting).add("worker.dropped", waiting).add("worker.held", -waiting);
    world.expect(&removed, |world| {
        world.reload(|plan| {
            plan.tenants.retain(|tenant| &*tenant.name == "village");
            plan.tenants.push(municipality("town", 2_101));
        });
    });
    world.office("town").connect();
    world.run(Duration::from_secs(1));
    let packet = residents("town", 40_000);
    world.expect(&Counts::new().from_office("town", &packet).to_cloud("town", &packet).opened("town"), |world| {
        world.office("town").send(&packet);
    });
    assert_eq!(world.cloud("town").received().len(), 1);
}

#[test]
fn what_waits_for_a_tenant_that_is_cut_off_is_lost_under_that_name_at_its_turn() {
    let (mut world, waiting) = filled(908);
    let packet = residents("village", 40_000);
    world.reload(|plan| plan.tenant("city").isolated = true);
    world.office("village").send(&packet);
    world.settle();
    assert_eq!(drops(&world, "city", DropReason::TenantIsolated), waiting);
    assert_eq!((world.cloud("city").received().len(), world.cloud("village").received().len()), (0, 1));
}

#[test]
fn what_waits_survives_a_change_of_rules_and_not_one_of_tunnels_or_vlans() {
    let (mut world, waiting) = filled(909);
    world.reload(|plan| plan.tenant("city").services.swap(0, 1));
    world.settle();
    assert_eq!(world.cloud("city").received().len() as i64, waiting);

    let (mut world, waiting) = filled(910);
    world.reload(|plan| plan.tenant("city").attachments[0].vlan = Vlan::Single(VlanId::new(2_103).expect("usable")));
    world.settle();
    assert_eq!((drops(&world, "city", DropReason::TenantReconfigured), world.counts().get("worker.held")), (waiting, 0));

    let (mut world, waiting) = filled(911);
    world.reload(|plan| plan.relay_key = dataplane::router_config::SecretKey([0x79; 32]));
    world.settle();
    assert_eq!((drops(&world, "city", DropReason::TenantReconfigured), world.counts().get("worker.held")), (waiting, 0));
}

#[test]
fn what_waits_is_seen_in_the_tenants_gauge() {
    let mut world = city_and_village(912);
    for _ in 0..40 {
        flood_from_office(&mut world, "city");
        world.step();
        world.jump(Duration::from_millis(16));
    }
    assert!(world.queued("city") > 900, "{}", world.queued("city"));
    assert_eq!(world.queued("village"), 0);
}

/// Packets of 1,000 bytes, so many a millisecond, for a second: how many of each class came out.
fn a_second(world: &mut World, mynumber: impl Fn(u64) -> usize, lgwan_connected: impl Fn(u64) -> usize) -> [usize; 2] {
    let of = |source, destination, class| udp(at(source), at(destination), &Owner::new("city", class).payload(972));
    let packets = [of("198.51.100.17:40000", "203.0.113.10:443", MyNumber), of("198.51.100.25:5000", "10.10.4.7:443", LgwanConnected)];
    let mut passed = [0, 0];
    for millis in 0..1_000 {
        (0..lgwan_connected(millis)).for_each(|_| world.office("city").send(&packets[1]));
        (0..mynumber(millis)).for_each(|_| world.office("city").send(&packets[0]));
        world.run(Duration::from_millis(1));
        for packet in world.cloud("city").received() {
            let to = packets::read(&packet).expect("sound").destination;
            passed[usize::from(to != at("10.10.0.10:443"))] += 1;
        }
    }
    passed
}

#[test]
fn a_ceiling_holds_within_five_percent_and_what_is_more_is_lost_by_name() {
    let mut tenant = municipality("city", 2_101);
    tenant.rate.ceiling = NonZeroU64::new(8_000_000);
    let mut world = world(913, [tenant]);
    // 1,000 packets a second may pass.
    let passed = a_second(&mut world, |_| 2, |_| 0);
    assert!((950..=1_050).contains(&passed[0]), "{passed:?}");
    assert_eq!(drops(&world, "city", DropReason::RateCeiling), 2_000 - passed[0] as i64);
    world.reload(|plan| plan.tenant("city").rate.ceiling = NonZeroU64::new(16_000_000));
    let passed = a_second(&mut world, |_| 3, |_| 0);
    assert!((1_900..=2_100).contains(&passed[0]), "{passed:?}");
    world.reload(|plan| plan.tenant("city").rate.ceiling = None);
    assert_eq!(a_second(&mut world, |_| 3, |_| 0), [3_000, 0]);
}

#[test]
fn below_a_ceiling_mynumber_loses_nothing_to_a_flood_of_the_other_class() {
    let mut tenant = municipality("city", 2_101);
    tenant.rate.ceiling = NonZeroU64::new(8_000_000);
    let mut world = world(914, [tenant]);
    let passed = a_second(&mut world, |millis| usize::from(millis % 10 < 6), |_| 3);
    assert_eq!(passed[0], 600, "six tenths of the ceiling, all of it");
    assert!((350..=450).contains(&passed[1]), "{passed:?}: the rest is for the other class");
}

#[test]
fn a_ceiling_towards_the_office_is_another_one_than_towards_the_cloud() {
    let mut tenant = municipality("city", 2_101);
    tenant.rate.ceiling = NonZeroU64::new(8_000_000);
    let mut world = world(915, [tenant]);
    world.cloud("city").answers = true;
    let passed = a_second(&mut world, |_| 2, |_| 0);
    // What the ceiling let through to the cloud comes back as it is.
    assert_eq!(world.office("city").received().len(), passed[0]);
    assert_eq!(drops(&world, "city", DropReason::RateCeiling), 2_000 - passed[0] as i64);
}
