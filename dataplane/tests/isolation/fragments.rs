//! Fragments that lie, and fragments that have the same name as another's.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::fragments::{cut, fragment, placed, reassembled};
use dataplane::simulation::packets::{self, Segment, edited, ping, tcp, too_big, udp};
use dataplane::simulation::{Counts, Owner, World, at, ip};

use crate::{cloud_fails, office_fails, office_reaches, silence, twins};
use TrafficClass::{LgwanConnected, MyNumber};

const CLIENT: &str = "198.51.100.17:40000";
const SERVER: &str = "203.0.113.10:443";
/// Behind the header of any packet: the longest datagram.
const LONGEST: usize = 65_515;

fn payload(name: &str, len: usize) -> Vec<u8> {
    Owner::new(name, MyNumber).payload(len)
}

fn query(name: &str) -> Vec<u8> {
    udp(at(CLIENT), at(SERVER), &payload(name, 1_200))
}

fn job(name: &str) -> Vec<u8> {
    udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &payload(name, 1_200))
}

/// Bytes `from..to` of a datagram, from the office and from the cloud; both are lost.
#[track_caller]
fn both_fail(world: &mut World, bytes: impl Fn(&[u8]) -> Vec<u8>, reason: DropReason) {
    office_fails(world, "a", &bytes(&query("a")), reason);
    cloud_fails(world, "a", &bytes(&job("a")), reason);
}

/// The office of `tenant` sends a fragment, which waits.
#[track_caller]
fn office_waits(world: &mut World, tenant: &str, packet: &[u8]) {
    let counts = Counts::new().from_office(tenant, packet).add("worker.held", 1);
    world.expect(&counts, |world| world.office(tenant).send(packet));
    silence(world);
}

#[test]
fn attempt_31_a_path_that_is_narrower_than_any_there_is() {
    let mut world = twins(120);
    let arrived = office_reaches(&mut world, "a", &query("a"), Counts::new().opened("a"));
    let pool = *packets::read(&arrived).expect("sound").source.ip();
    for mtu in [0, 1, 67, 68, 296, 575] {
        cloud_fails(&mut world, "a", &too_big(ip("10.10.0.1"), pool, mtu, &arrived[..548]), DropReason::IcmpMtuTooSmall);
    }
    // Nothing was learnt from any of them: what was carried before still is.
    office_reaches(&mut world, "a", &query("a"), Counts::new());
}

#[test]
fn attempt_32_a_first_fragment_that_hides_its_transport_header_or_a_later_one_that_would_change_it() {
    let mut world = twins(121);
    let syn = tcp(at(CLIENT), at(SERVER), Segment::Syn(Some(1_460)), &[]);
    for len in [8, 16] {
        office_fails(&mut world, "a", &fragment(&syn, 7, (0, len), true), DropReason::FragmentTiny);
    }
    for (offset, more) in [(8, false), (8, true), (16, false), (16, true)] {
        let rest = placed(tcp(at(CLIENT), at(SERVER), Segment::Rst, &payload("a", 20)), 7, offset, more);
        office_fails(&mut world, "a", &rest, DropReason::FragmentTiny);
    }
    both_fail(&mut world, |datagram| placed(datagram[..20].to_vec(), 7, 0, true), DropReason::FragmentMalformed);
    both_fail(&mut world, |datagram| placed(datagram[..20].to_vec(), 7, 64, false), DropReason::FragmentMalformed);
    both_fail(&mut world, |datagram| placed(datagram[..20 + 65].to_vec(), 7, 0, true), DropReason::FragmentMalformed);
}

#[test]
fn attempt_32_overlaps_teardrops_and_a_second_beginning() {
    let mut world = twins(122);
    let open = |world: &mut World| office_reaches(world, "a", &query("a"), Counts::new().opened("a"));
    open(&mut world);
    // (first, what overlaps it)
    let lies = [((0, 512), (504, 1_000, false)), ((0, 512), (0, 1_000, true)), ((0, 512), (0, 64, true)), ((0, 1_000), (8, 16, false))];
    for (id, (first, (from, to, more))) in (1..).zip(lies) {
        office_reaches(&mut world, "a", &fragment(&query("a"), id, first, true), Counts::new());
        office_fails(&mut world, "a", &fragment(&query("a"), id, (from, to), more), DropReason::FragmentOverlap);
        // The datagram has come to its end, whatever follows.
        office_fails(&mut world, "a", &fragment(&query("a"), id, (1_000, 1_208), false), DropReason::FragmentOverlap);
    }
    // The same range with other bytes, other ports even: only the first of the two is ever seen.
    office_reaches(&mut world, "a", &fragment(&query("a"), 9, (0, 512), true), Counts::new());
    let other = udp(at(CLIENT), at("203.0.113.10:22"), &payload("a", 1_200));
    office_fails(&mut world, "a", &fragment(&other, 9, (0, 512), true), DropReason::FragmentDuplicate);
    office_reaches(&mut world, "a", &fragment(&query("a"), 9, (512, 1_208), false), Counts::new());
    // And with a datagram of its own it is judged by its own ports.
    office_fails(&mut world, "a", &fragment(&other, 10, (0, 512), true), DropReason::ServicePortClosed);
}

#[test]
fn attempt_32_what_waits_dies_with_a_datagram_that_overlaps() {
    let mut world = twins(123);
    office_waits(&mut world, "a", &fragment(&query("a"), 7, (512, 1_000), true));
    office_waits(&mut world, "a", &fragment(&query("a"), 7, (1_000, 1_208), false));
    let teardrop = fragment(&query("a"), 7, (504, 520), true);
    let counts = Counts::new().from_office("a", &teardrop).add("worker.held", -2);
    let counts = (0..3).fold(counts, |counts, _| counts.lost("a", DropReason::FragmentOverlap));
    world.expect(&counts, |world| world.office("a").send(&teardrop));
    office_fails(&mut world, "a", &fragment(&query("a"), 7, (0, 504), true), DropReason::FragmentOverlap);
}

#[test]
fn attempt_33_datagrams_beyond_65535_bytes_and_fragments_that_are_whole() {
    let mut world = twins(124);
    for (offset, len) in [(65_512, 4), (65_512, 200), (65_528, 8), (65_000, 520)] {
        let lie = |datagram: &[u8]| placed(datagram[..20 + len].to_vec(), 7, offset, false);
        both_fail(&mut world, lie, DropReason::FragmentMalformed);
        let lie = |datagram: &[u8]| placed(datagram[..20 + len.next_multiple_of(8)].to_vec(), 7, offset, true);
        both_fail(&mut world, lie, DropReason::FragmentMalformed);
    }
    // The longest ping there is passes, and is not one byte shorter than it was sent.
    let most = LONGEST - 8;
    let longest = ping(ip("198.51.100.17"), ip("203.0.113.10"), 7, &payload("a", most));
    let parts = cut(&longest, 7, 1_420);
    let mut received = Vec::new();
    for part in &parts {
        world.office("a").send(part);
        world.settle();
        received.extend(world.cloud("a").received());
    }
    let whole = reassembled(&received);
    assert_eq!(packets::read(&whole[0]).expect("sound").payload.len(), most);
    // RFC 6864 4: a datagram that was not cut is atomic, or might have been; both are whole.
    for flags in [0x00, 0x40] {
        let atomic = edited(query("a"), |packet| packet[6..8].copy_from_slice(&[flags, 0]));
        let counts = if flags == 0 { Counts::new().opened("a") } else { Counts::new() };
        office_reaches(&mut world, "a", &atomic, counts);
    }
}

#[test]
fn fragments_of_two_tenants_with_equal_addresses_and_equal_identification_never_meet() {
    let mut world = twins(125);
    let parts = |name: &str| cut(&query(name), 7, 700);
    let (a, b) = (parts("a"), parts("b"));
    office_waits(&mut world, "a", &a[1]);
    // B's first fragment completes nothing of A's, and A's that waits is none of B's.
    office_reaches(&mut world, "b", &b[0], Counts::new().opened("b"));
    office_waits(&mut world, "b", &placed(b[1].clone(), 8, 680, false));
    office_reaches(&mut world, "b", &b[1], Counts::new());
    let counts = Counts::new().from_office("a", &a[0]).opened("a").to_cloud("a", &a[0]).to_cloud("a", &a[1]).add("worker.held", -1);
    world.expect(&counts, |world| world.office("a").send(&a[0]));
    let whole = reassembled(&world.cloud("a").received());
    assert_eq!(packets::read(&whole[0]).expect("sound").payload, payload("a", 1_200));
    silence(&mut world);
}

#[test]
fn an_overlap_in_one_tenant_ends_no_datagram_of_another() {
    let mut world = twins(126);
    office_reaches(&mut world, "a", &fragment(&query("a"), 7, (0, 512), true), Counts::new().opened("a"));
    office_reaches(&mut world, "b", &fragment(&query("b"), 7, (0, 512), true), Counts::new().opened("b"));
    office_fails(&mut world, "b", &fragment(&query("b"), 7, (0, 504), true), DropReason::FragmentOverlap);
    office_reaches(&mut world, "a", &fragment(&query("a"), 7, (512, 1_208), false), Counts::new());
    office_fails(&mut world, "b", &fragment(&query("b"), 7, (512, 1_208), false), DropReason::FragmentOverlap);
}

#[test]
fn fragments_of_two_classes_or_directions_with_equal_identification_never_meet() {
    let mut world = twins(127);
    let documents = udp(at("198.51.100.25:5000"), at("10.10.4.7:443"), &Owner::new("a", LgwanConnected).payload(1_200));
    let (ours, theirs) = (cut(&query("a"), 7, 700), cut(&documents, 7, 700));
    office_waits(&mut world, "a", &ours[1]);
    office_reaches(&mut world, "a", &theirs[0], Counts::new().opened("a"));
    office_reaches(&mut world, "a", &theirs[1], Counts::new());
    // A host in the cloud names the office's datagram, addresses and all: it has no first fragment here.
    let forged = placed(ours[1].clone(), 7, 680, false);
    let counts = Counts::new().from_cloud(&forged).add("worker.held", 1);
    world.expect(&counts, |world| world.cloud("a").send(&forged));
    silence(&mut world);
    let counts = Counts::new().from_office("a", &ours[0]).opened("a").to_cloud("a", &ours[0]).to_cloud("a", &ours[1]);
    world.expect(&counts.add("worker.held", -1), |world| world.office("a").send(&ours[0]));
    assert_eq!(reassembled(&world.cloud("a").received()).len(), 1);
    silence(&mut world);
}

#[test]
fn attempt_60_fragments_of_a_tenant_that_was_isolated_do_not_even_wait() {
    let mut world = twins(128);
    office_waits(&mut world, "a", &cut(&query("a"), 7, 700)[1]);
    let lost = Counts::new().lost("a", DropReason::TenantReconfigured).add("worker.held", -1);
    world.expect(&lost, |world| world.reload(|plan| plan.tenant("a").isolated = true));
    both_fail(&mut world, |datagram| cut(datagram, 7, 700)[1].clone(), DropReason::TenantIsolated);
    both_fail(&mut world, |datagram| cut(datagram, 7, 700)[0].clone(), DropReason::TenantIsolated);
}
