//! Several workers: each tenant has one owner, and whatever the queues bring, packets, frames of memory and counters come out right.
#![cfg(feature = "simulation")]

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TenantConfig, TrafficClass, Vlan, WorkerId};
use dataplane::simulation::municipality::{ACCESS, AWS};
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, at6, ipsec_municipality, municipality};
use dataplane::time::Duration;
use dataplane::wire::ethernet::{self, MacAddr};
use dataplane::worker::steering;

use TrafficClass::MyNumber;

/// A station of a cloud.
const STATION: MacAddr = MacAddr([6, 6, 6, 6, 6, 6]);
/// (workers, queues): no queue for the second; a queue each; more queues than workers; a third worker without a queue.
const SHAPES: [(usize, usize); 4] = [(2, 1), (2, 2), (2, 4), (3, 2)];

fn dimensions((workers, queues): (usize, usize)) -> Dimensions {
    Dimensions { frames: 1_024 * u32::try_from(workers).expect("few"), workers, queues, ..Dimensions::default() }
}

/// A name for each worker, so that each owns a tenant.
fn one_for_each(workers: usize) -> Vec<String> {
    let owned = |worker: usize| (0..).map(|n| format!("t{n}")).find(|name| steering::owner(name, workers).index() == worker);
    (0..workers).map(|worker| owned(worker).expect("names are many")).collect()
}

fn world_of(seed: u64, shape: (usize, usize)) -> (World, Vec<String>) {
    world_made_of(seed, shape, municipality)
}

fn world_made_of(seed: u64, shape: (usize, usize), make: fn(&str, u16) -> TenantConfig) -> (World, Vec<String>) {
    let names = one_for_each(shape.0);
    let tenants = (2_101u16..).zip(&names).map(|(vlan, name)| make(name, vlan));
    (World::with(seed, tenants, dimensions(shape)), names)
}

fn request(name: &str, port: u16) -> Vec<u8> {
    udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new(name, MyNumber).payload(64))
}

/// What the workers count about themselves is not in a test's hands here; everything else is exact.
fn without_workers(changes: &Counts) -> Counts {
    changes.clone().without("worker.")
}

/// A packet crosses and its answer comes back, with the counters of one worker and a relay that has one.
#[track_caller]
fn crosses(world: &mut World, name: &str, port: u16) {
    let packet = request(name, port);
    let before = world.counts();
    world.office(name).send(&packet);
    world.settle();
    let expected = Counts::new().opened(name).from_office(name, &packet).to_cloud(name, &packet);
    assert_eq!(without_workers(&world.counts().since(&before)), without_workers(&expected), "{name}");
    let received = world.cloud(name).received();
    assert_eq!(received.len(), 1);
    let seen = packets::read(&received[0]).expect("sound");
    let answer = udp(seen.destination, seen.source, &seen.payload);
    let before = world.counts();
    world.cloud(name).send(&answer);
    world.settle();
    let expected = Counts::new().from_cloud(&answer).to_office(name, &answer);
    assert_eq!(without_workers(&world.counts().since(&before)), without_workers(&expected), "{name}");
    assert_eq!(world.office(name).received().len(), 1);
}

#[test]
fn every_tenant_is_served_whatever_queue_its_frames_arrive_at() {
    for (seed, shape) in (900..).zip(SHAPES) {
        let (mut world, names) = world_of(seed, shape);
        for port in 40_000..40_020 {
            names.iter().for_each(|name| crosses(&mut world, name, port));
        }
        let handed: Vec<u64> = world.worker_counters().iter().map(|worker| worker.handed_over.get()).collect();
        assert!(handed.iter().sum::<u64>() > 5, "queues know nothing of tenants: {handed:?} of {shape:?}");
        assert_eq!(world.worker_counters().iter().map(|worker| worker.hand_off_full.get()).sum::<u64>(), 0);
    }
}

#[test]
fn equal_addresses_at_different_owners_never_meet() {
    let (mut world, names) = world_of(910, (2, 1));
    assert_eq!([world.owner(&names[0]), world.owner(&names[1])], [WorkerId(0), WorkerId(1)]);
    // Both open the same flow, seen from inside and from the cloud; each answer reaches its own office.
    for name in &names {
        world.office(name).send(&request(name, 41_000));
    }
    world.settle();
    for name in &names {
        let seen = packets::read(&world.cloud(name).received()[0]).expect("sound");
        assert!(seen.payload.starts_with(&Owner::new(name, MyNumber).payload(16)), "{name}'s own");
        let answer = udp(seen.destination, seen.source, &seen.payload);
        world.cloud(name).send(&answer);
    }
    world.settle();
    for name in &names {
        let received = world.office(name).received();
        assert_eq!(received.len(), 1, "one answer at {name}");
        let payload = packets::read(&received[0]).expect("sound").payload;
        assert!(payload.starts_with(&Owner::new(name, MyNumber).payload(16)));
    }
    // A message for the tunnel of one tenant, around a packet sealed by the other: the owner refuses it, no other worker sees it.
    let sealed = world.office(&names[1]).seal(&request(&names[1], 41_001)).expect("a session");
    let mut stolen = world.office(&names[0]).seal(&request(&names[0], 41_001)).expect("a session");
    stolen[16..].copy_from_slice(&sealed[16..]);
    let before = world.counts();
    let outer = world.office(&names[0]).outer;
    world.office(&names[0]).send_datagram(outer, stolen);
    world.settle();
    let changes = world.counts().since(&before);
    assert_eq!(changes.get(&format!("{}.drops.{}", names[0], DropReason::TunnelDataRejected.label())), 1);
    assert_eq!(changes.get("worker.dropped"), 1);
}

/// IPsec on every worker: an SPI finds its owner from whatever queue, and key exchange is answered by the owner.
#[test]
fn every_ipsec_tenant_is_served_whatever_queue_its_frames_arrive_at() {
    for (seed, shape) in (920..).zip([(1, 1), (2, 1), (2, 2), (2, 4), (4, 2)]) {
        let (mut world, names) = world_made_of(seed, shape, ipsec_municipality);
        for port in 40_000..40_020 {
            for name in &names {
                // As protocol 50, which has no port for a queue to go by, and in UDP.
                if port == 40_010 {
                    world.office(name).in_udp = false;
                    world.exchange_keys(name);
                }
                let dropped = world.counts().get("worker.dropped");
                world.office(name).send(&request(name, port));
                world.settle();
                let received = world.cloud(name).received();
                let seen = packets::read(received.first().expect("it arrived")).expect("sound");
                assert!(seen.payload.starts_with(&Owner::new(name, MyNumber).payload(16)), "{name}'s own");
                let answer = udp(seen.destination, seen.source, &seen.payload);
                world.cloud(name).send(&answer);
                world.settle();
                assert_eq!((world.office(name).received().len(), world.counts().get("worker.dropped")), (1, dropped), "{shape:?}");
            }
        }
        let handed: u64 = world.worker_counters().iter().map(|worker| worker.handed_over.get()).sum();
        assert_eq!(handed > 5, shape.0 > 1, "queues know nothing of tenants: {handed} of {shape:?}");
    }
}

/// An IPv6 frame on a VLAN is counted by the owner of its tenant, whatever queue it arrives at, and told to nobody.
#[test]
fn ipv6_on_a_vlan_is_refused_by_its_tenants_owner() {
    for (seed, shape) in (930..).zip(SHAPES) {
        let (mut world, names) = world_of(seed, shape);
        for name in &names {
            let frame = frame(world.cloud(name).vlan, STATION, MacAddr([0x33, 0x33, 0, 0, 0, 1]), ethernet::IPV6, &request(name, 40_000));
            let before = world.counts();
            world.inject(usize::from(AWS.0), frame.clone());
            world.settle();
            let expected = Counts::new().frame("aws", frame.len()).lost(name, DropReason::Ipv6Refused);
            assert_eq!(without_workers(&world.counts().since(&before)), without_workers(&expected), "{name} of {shape:?}");
        }
    }
}

/// Each worker has IPv6 neighbours of its own on the access network, and what one of them is told they all know: nobody takes the answer to
/// another's question for a lie.
#[test]
fn an_answer_to_any_workers_solicitation_is_good_for_all() {
    for (seed, shape) in (940..).zip(SHAPES) {
        let (names, dimensions) = (one_for_each(shape.0), Dimensions { ipv6: true, ..dimensions(shape) });
        let tenants = (2_101u16..).zip(&names).map(|(vlan, name)| municipality(name, vlan));
        let mut world = World::with(seed, tenants, dimensions);
        world.run(Duration::from_secs(1));
        let before = world.counts();
        assert_eq!((before.get("access.drops.nd_not_for_us"), before.get("access.drops.nd_conflict")), (0, 0), "{shape:?}");
        world.run(Duration::from_secs(10));
        assert_eq!(world.counts().since(&before).get("access.transmitted.packets"), 0, "{shape:?}: they all know the gateway");
    }
}

/// A cut-off takes effect at each tenant's owner.
#[test]
fn a_tenant_of_any_worker_is_cut_off_and_opened_again() {
    let (mut world, names) = world_of(911, (2, 2));
    for name in &names {
        crosses(&mut world, name, 42_000);
        world.reload(|plan| plan.tenant(name).isolated = true);
        let before = world.counts();
        world.office(name).send(&request(name, 42_000));
        world.settle();
        assert_eq!(world.counts().since(&before).get(&format!("{name}.drops.tenant_isolated")), 1);
        world.reload(|plan| plan.tenant(name).isolated = false);
        crosses(&mut world, name, 42_001);
    }
}

/// Frames wait on a ring while their tenant goes: they are lost by name, once, and none reaches whoever has its numbers now.
#[test]
fn a_tenant_that_is_removed_loses_what_is_on_the_rings_by_name() {
    let (mut world, names) = world_of(912, (2, 1));
    let gone = names[1].clone();
    crosses(&mut world, &gone, 43_000);
    let packet = request(&gone, 43_000);
    let count = 5;
    let before = world.counts();
    for _ in 0..count {
        let datagram = world.office(&gone).seal(&packet).expect("a session");
        let (outer, relay) = (world.office(&gone).outer, world.relay());
        let datagram = udp(outer, relay, &datagram);
        world.inject(0, frame(Vlan::Untagged, MacAddr([6, 0, 0, 0, 1, 10]), relay_mac(ACCESS), ethernet::IPV4, &datagram));
    }
    // The receiving worker knows the tenant still; its owner has heard of the change when the frames arrive.
    world.poll_one(0);
    world.reload(|plan| plan.tenants.retain(|tenant| *tenant.name != *gone));
    world.settle();
    let changes = world.counts().since(&before);
    assert_eq!(changes.get("access.drops.tunnel_receiver_unknown"), count, "{changes:?}");
    assert_eq!((changes.get("worker.dropped"), changes.get("aws.transmitted.packets")), (count, 0));
    crosses(&mut world, &names[0], 43_001);
}

#[test]
fn a_vlan_that_changes_owners_takes_no_frame_along() {
    let (mut world, names) = world_of(913, (2, 1));
    let vlan = world.cloud(&names[1]).vlan;
    crosses(&mut world, &names[1], 44_000);
    let answer = udp(at("10.10.0.10:443"), at("10.254.1.8:1024"), &Owner::new(&names[1], MyNumber).payload(64));
    let arrived = frame(vlan, MacAddr([4, 0, 0, 0, 0, 1]), relay_mac(AWS), ethernet::IPV4, &answer);
    let before = world.counts();
    world.inject(1, arrived);
    let (first, second) = (names[0].clone(), names[1].clone());
    world.poll_one(0);
    world.reload(|plan| {
        let attachments = [plan.tenant(&first).attachments.clone(), plan.tenant(&second).attachments.clone()];
        let [of_first, of_second] = attachments;
        plan.tenant(&first).attachments[0].vlan = of_second[0].vlan;
        plan.tenant(&second).attachments[0].vlan = of_first[0].vlan;
    });
    world.settle();
    let changes = world.counts().since(&before);
    assert_eq!(changes.get("aws.drops.vlan_unknown"), 1, "a handed frame is not handed again: {changes:?}");
}

#[test]
fn the_order_within_a_flow_is_kept_over_two_rings() {
    for (seed, shape) in (920..).zip(SHAPES) {
        let (mut world, names) = world_of(seed, shape);
        for name in &names {
            let numbers: Vec<u16> = (0..200).collect();
            for number in &numbers {
                let mut payload = Owner::new(name, MyNumber).payload(64);
                payload.extend(number.to_be_bytes());
                world.office(name).send(&udp(at("198.51.100.17:45000"), at("203.0.113.10:443"), &payload));
                // Some share a poll, some do not.
                if number % 7 == 0 {
                    world.settle();
                }
            }
            world.settle();
            let arrived: Vec<u16> = world
                .cloud(name)
                .received()
                .iter()
                .map(|packet| {
                    let payload = packets::read(packet).expect("sound").payload;
                    u16::from_be_bytes([payload[payload.len() - 2], payload[payload.len() - 1]])
                })
                .collect();
            assert_eq!(arrived, numbers, "{name} of {shape:?}");
        }
    }
}

/// One way only: what one worker receives another transmits, and each must get its frames of memory back.
#[test]
fn a_minute_of_one_way_load_starves_no_free_list() {
    for (seed, shape) in (930..).zip(SHAPES) {
        let (mut world, names) = world_of(seed, shape);
        names.iter().for_each(|name| crosses(&mut world, name, 46_000));
        let at_rest: Vec<usize> = world.audits().iter().map(|audit| audit.free).collect();
        let before = world.counts();
        let (mut sent, mut lowest) = (0, at_rest.clone());
        // 6,000 polls, 24 packets each time: several times the frames of each worker every second.
        for _ in 0..6_000 {
            for name in &names {
                let packet = request(name, 46_000);
                for _ in 0..8 {
                    world.office(name).send(&packet);
                    sent += 1;
                }
            }
            world.run(Duration::from_millis(10));
            names.iter().for_each(|name| drop(world.cloud(name).received()));
            for (lowest, audit) in lowest.iter_mut().zip(world.audits()) {
                *lowest = (*lowest).min(audit.free + audit.under_way);
            }
        }
        let changes = world.counts().since(&before);
        let forwarded: i64 = names.iter().map(|name| changes.get(&format!("{name}.office_to_cloud.packets"))).sum();
        assert_eq!((forwarded, changes.get("worker.dropped")), (sent, 0), "{shape:?}: {changes:?}");
        for (lowest, at_rest) in lowest.iter().zip(&at_rest) {
            assert!(lowest + 200 >= *at_rest, "{shape:?}: a free list sank from {at_rest} to {lowest}");
        }
    }
}

/// A message over IPv6 finds its tenant's owner from whatever queue, and the owner still knows where it came from.
#[test]
fn every_tenant_is_served_over_ipv6_whatever_queue_its_frames_arrive_at() {
    for (seed, shape) in (950..).zip(SHAPES) {
        let (names, dimensions) = (one_for_each(shape.0), Dimensions { ipv6: true, ..dimensions(shape) });
        let tenants = (2_101u16..).zip(&names).map(|(vlan, name)| municipality(name, vlan));
        let mut world = World::cold(seed, tenants, dimensions);
        for (number, name) in names.iter().enumerate() {
            world.office(name).outer6 = Some(at6(&format!("[2001:db8:{number}::10]:51820")));
        }
        world.bring_up();
        world.run(Duration::from_secs(1));
        let before = world.counts();
        for port in 40_000..40_020 {
            for (number, name) in names.iter().enumerate() {
                // Behind a NAT that gives it another port each time.
                world.office(name).outer6 = Some(at6(&format!("[2001:db8:{number}::10]:{port}")));
                world.office(name).send(&request(name, port));
                world.settle();
                let seen = packets::read(&world.cloud(name).received()[0]).expect("sound");
                let answer = udp(seen.destination, seen.source, &seen.payload);
                world.cloud(name).send(&answer);
                world.settle();
                assert_eq!(world.office(name).received().len(), 1, "{name} of {shape:?}");
            }
        }
        assert_eq!(world.counts().since(&before).get("worker.dropped"), 0, "{shape:?}");
        let handed: u64 = world.worker_counters().iter().map(|worker| worker.handed_over.get()).sum();
        assert!(handed > 5, "queues know nothing of tenants: {handed} of {shape:?}");
    }
}
