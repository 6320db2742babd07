//! Inner packets that claim, want or smuggle what is not theirs.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{OfficePrefix, TrafficClass};
use dataplane::simulation::municipality::service;
use dataplane::simulation::packets::{self, edited, icmp_message, other, ping, too_big, udp, unreachable};
use dataplane::simulation::{Counts, Owner, World, at, ip, municipality, network};

use crate::{cloud_fails, cloud_reaches, office_fails, office_reaches, twins};
use TrafficClass::{LgwanConnected, MyNumber};

const SERVER: &str = "203.0.113.10:443";

fn payload(name: &str) -> Vec<u8> {
    Owner::new(name, MyNumber).payload(64)
}

fn from(source: &str) -> Vec<u8> {
    udp(at(&format!("{source}:40000")), at(SERVER), &payload("a"))
}

fn to(destination: &str) -> Vec<u8> {
    udp(at("198.51.100.17:40000"), at(destination), &payload("a"))
}

#[test]
fn attempts_1_2_57_a_source_that_is_no_office_host_of_the_tenant() {
    let mut second = municipality("b", 2_102);
    second.office = vec![OfficePrefix { prefix: network("198.51.100.64/29"), class: MyNumber }];
    let mut world = World::new(100, [municipality("a", 2_101), second]);
    for source in
        ["198.51.100.65", "198.51.100.15", "198.51.100.32", "10.254.1.1", "10.254.1.2", "192.0.2.1", "203.0.113.10", "192.168.1.5"]
    {
        office_fails(&mut world, "a", &from(source), DropReason::SourceNotAdmitted);
    }
}

#[test]
fn attempt_3_addresses_that_no_host_has() {
    let mut world = twins(101);
    for address in ["127.0.0.1", "224.0.0.1", "239.255.255.255", "255.255.255.255", "0.0.0.0", "0.1.2.3", "240.0.0.1"] {
        office_fails(&mut world, "a", &from(address), DropReason::InnerSourceInvalid);
        office_fails(&mut world, "a", &to(&format!("{address}:443")), DropReason::InnerDestinationInvalid);
        let call = udp(at(&format!("{address}:50000")), at("10.254.1.30:9100"), &payload("a"));
        cloud_fails(&mut world, "a", &call, DropReason::InnerSourceInvalid);
        let call = udp(at("10.10.0.20:50000"), at(&format!("{address}:9100")), &payload("a"));
        cloud_fails(&mut world, "a", &call, DropReason::InnerDestinationInvalid);
    }
}

#[test]
fn attempt_4_a_wide_prefix_of_one_tenant_over_a_narrow_one_of_another() {
    let mut wide = municipality("b", 2_102);
    wide.office = vec![OfficePrefix { prefix: network("198.51.0.0/16"), class: MyNumber }];
    let mut world = World::new(102, [municipality("a", 2_101), wide]);
    let packet = udp(at("198.51.100.17:40000"), at(SERVER), &payload("b"));
    office_reaches(&mut world, "b", &packet, Counts::new().opened("b"));
}

#[test]
fn attempts_5_6_7_58_59_destinations_that_are_none_of_the_tenants_services() {
    let mut second = municipality("b", 2_102);
    second.services.push(service("only b", MyNumber, "203.0.113.50/32", "10.10.9.9/32"));
    let mut world = World::new(103, [municipality("a", 2_101), second]);
    for destination in [
        "10.10.0.10:443",    // the private address itself
        "10.254.1.8:443",    // a pool
        "10.254.1.1:443",    // a gateway
        "203.0.113.50:443",  // another tenant's service
        "203.0.113.20:9100", // the printer's source
        "192.0.2.1:9273",    // the relay
        "10.254.1.2:443",
        "8.8.8.8:53", // the Internet
        "198.51.100.18:443",
    ] {
        office_fails(&mut world, "a", &to(destination), DropReason::DestinationUnknown);
    }
    office_fails(&mut world, "a", &to("203.0.113.10:22"), DropReason::ServicePortClosed);
    office_fails(&mut world, "a", &to("192.0.2.200:443"), DropReason::ConventionalLgwan);
}

#[test]
fn attempt_8_two_tenants_with_the_very_same_flow_on_both_sides() {
    let mut world = twins(104);
    let flow = |name: &str| udp(at("198.51.100.25:5000"), at("10.10.4.7:443"), &Owner::new(name, LgwanConnected).payload(64));
    let answer = |name: &str| udp(at("10.10.4.7:443"), at("10.254.1.20:5000"), &Owner::new(name, LgwanConnected).payload(64));
    cloud_fails(&mut world, "b", &answer("b"), DropReason::NoSession);
    office_reaches(&mut world, "a", &flow("a"), Counts::new().opened("a"));
    // What is an answer on one VLAN is nothing on the other.
    cloud_fails(&mut world, "b", &answer("b"), DropReason::NoSession);
    office_reaches(&mut world, "b", &flow("b"), Counts::new().opened("b"));
    cloud_reaches(&mut world, "a", &answer("a"), Counts::new());
    cloud_reaches(&mut world, "b", &answer("b"), Counts::new());
}

#[test]
fn attempts_28_29_31_errors_about_flows_that_are_not_theirs_or_hardly_anything() {
    let mut world = twins(105);
    let arrived = office_reaches(&mut world, "b", &udp(at("198.51.100.17:40000"), at(SERVER), &payload("b")), Counts::new().opened("b"));
    let seen = packets::read(&arrived).expect("sound");
    let pool = *seen.source.ip();
    let router = ip("10.10.0.1");
    let foreign = edited(arrived.clone(), |packet| packet.truncate(28));
    cloud_fails(&mut world, "a", &unreachable(router, pool, &foreign), DropReason::IcmpErrorUnmatched);
    cloud_fails(&mut world, "a", &too_big(router, pool, 1_300, &foreign), DropReason::IcmpErrorUnmatched);
    // On the right VLAN, but not as a host may say it.
    let error = |about: &[u8]| unreachable(router, pool, about);
    cloud_fails(&mut world, "b", &error(&arrived[..27]), DropReason::IcmpErrorMalformed);
    cloud_fails(&mut world, "b", &error(&[]), DropReason::IcmpErrorMalformed);
    cloud_fails(&mut world, "b", &error(&error(&arrived)), DropReason::IcmpErrorUnmatched);
    cloud_fails(&mut world, "b", &unreachable(router, ip("10.254.1.20"), &arrived), DropReason::IcmpErrorUnmatched);
    let broken_quote = {
        let mut quote = arrived.clone();
        quote[10] ^= 1;
        quote
    };
    cloud_fails(&mut world, "b", &error(&broken_quote), DropReason::IcmpErrorMalformed);
    for mtu in [0, 67, 68, 575] {
        cloud_fails(&mut world, "b", &too_big(router, pool, mtu, &arrived), DropReason::IcmpMtuTooSmall);
    }
    cloud_reaches(&mut world, "b", &too_big(router, pool, 576, &arrived), Counts::new());
    let optional = edited(error(&arrived), with_options);
    cloud_fails(&mut world, "b", &optional, DropReason::InnerOptions);
    let mut bent = error(&arrived);
    bent[22] ^= 1;
    cloud_fails(&mut world, "b", &bent, DropReason::IcmpChecksumInvalid);
}

#[test]
fn attempt_30_redirects_and_other_kinds_of_icmp() {
    let mut world = twins(106);
    office_reaches(&mut world, "a", &ping(ip("198.51.100.17"), ip("203.0.113.10"), 7, &payload("a")), Counts::new().opened("a"));
    for kind in [(5, 1), (9, 0), (13, 0), (17, 0), (8, 1)] {
        let message = |source, destination| icmp_message(ip(source), ip(destination), kind, [0; 4], &payload("a"));
        office_fails(&mut world, "a", &message("198.51.100.17", "203.0.113.10"), DropReason::IcmpTypeRefused);
        cloud_fails(&mut world, "a", &message("10.10.0.20", "10.254.1.30"), DropReason::IcmpTypeRefused);
        cloud_fails(&mut world, "a", &message("10.10.0.1", "10.254.1.20"), DropReason::NoSession);
    }
}

/// A loose source route (RFC 791 3.1) and the end of the list.
fn with_options(packet: &mut Vec<u8>) {
    packet[0] = 0x47;
    packet.splice(20..20, [131, 7, 4, 10, 10, 0, 10, 0]);
    let len = u16::try_from(packet.len()).expect("short");
    packet[2..4].copy_from_slice(&len.to_be_bytes());
}

#[test]
fn attempts_34_35_source_routes_and_tunnels_in_tunnels() {
    let mut world = twins(108);
    office_fails(&mut world, "a", &edited(to(SERVER), with_options), DropReason::InnerOptions);
    for protocol in [0, 2, 4, 41, 43, 44, 47, 50, 51, 89, 132, 255] {
        let (office, cloud) = (ip("198.51.100.17"), ip("203.0.113.10"));
        office_fails(&mut world, "a", &other(office, cloud, protocol, &to(SERVER)), DropReason::InnerProtocolUnsupported);
        let call = other(ip("10.10.0.20"), ip("10.254.1.30"), protocol, &to(SERVER));
        cloud_fails(&mut world, "a", &call, DropReason::InnerProtocolUnsupported);
    }
    office_fails(&mut world, "a", &to("203.0.113.10:51820"), DropReason::ServicePortClosed);
}

#[test]
fn attempt_36_lengths_that_disagree_carry_nothing_along() {
    let mut world = twins(109);
    office_reaches(&mut world, "a", &to(SERVER), Counts::new().opened("a"));
    let claims_more = edited(to(SERVER), |packet| packet[25] += 1);
    office_fails(&mut world, "a", &claims_more, DropReason::InnerMalformed);
    let call = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &payload("a"));
    let claims_more = edited(call.clone(), |packet| packet[3] += 1);
    cloud_fails(&mut world, "a", &claims_more, DropReason::InnerMalformed);
    // What stands behind the packet, as padding of a frame does, stays behind: here it is another's.
    let padded = [&call[..], &payload("b")].concat();
    let counts = Counts::new().frame("aws", padded.len() + 18).opened("a").to_office("a", &call);
    world.expect(&counts, |world| world.cloud("a").send(&padded));
    assert_eq!(world.office("a").received().remove(0).len(), call.len());
}
