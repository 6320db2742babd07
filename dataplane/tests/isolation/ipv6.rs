//! IPv6 inside, which `ipv6: refuse` refuses: one reason, on the account of whose tunnel or VLAN it came by.

use std::net::Ipv4Addr;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::municipality::AWS;
use dataplane::simulation::packets6::{at6, extended, icmp6, ip6, ipv6, udp6};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Owner, World, at, ip, packets};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::{cloud_fails, office_fails, silence, twins};
use TrafficClass::MyNumber;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// An option that only fills (RFC 8200 section 4.2), so that the header has eight bytes.
const FILLING: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

fn payload() -> Vec<u8> {
    Owner::new("a", MyNumber).payload(64)
}

fn datagram() -> Vec<u8> {
    udp6(at6("[2001:db8::17]:40000"), at6("[2001:db8::10]:443"), &payload())
}

/// A routing header of type 0 by way of `address` (RFC 5095: "MUST be processed as if it were unknown").
fn source_routed(by: Ipv4Addr) -> Vec<u8> {
    extended(&datagram(), ROUTING, &[&[2, 0, 1, 0, 0, 0, 0][..], &by.to_ipv6_mapped().octets()].concat())
}

/// Packets that get no answer: what stands behind their headers, or at their ends, could be anything.
fn silently_refused() -> Vec<Vec<u8>> {
    let chain = (0..20).fold(datagram(), |packet, _| extended(&packet, DESTINATION_OPTIONS, &FILLING));
    let from_to =
        |source: &str, destination: &str| udp6(at6(&format!("[{source}]:40000")), at6(&format!("[{destination}]:443")), &payload());
    let (host, server) = (ip6("2001:db8::17"), ip6("2001:db8::10"));
    let mut packets = vec![
        chain,
        extended(&datagram(), HOP_BY_HOP, &FILLING),
        // A jumbogram of no length (RFC 2675).
        extended(&datagram(), HOP_BY_HOP, &[0, 0xc2, 4, 0, 1, 0, 0]),
        source_routed(ip("10.10.0.10")),
        extended(&source_routed(ip("10.254.1.8")), HOP_BY_HOP, &FILLING),
        // The first fragment, a later one, and an atomic one (RFC 6946).
        extended(&datagram(), FRAGMENT, &[0, 0, 1, 0, 0, 0, 7]),
        extended(&datagram(), FRAGMENT, &[0, 0, 8, 0, 0, 0, 7]),
        extended(&datagram(), FRAGMENT, &[0, 0, 0, 0, 0, 0, 7]),
        from_to("::", "2001:db8::10"),
        from_to("::1", "2001:db8::10"),
        from_to("ff02::1", "2001:db8::10"),
        from_to("2001:db8::17", "ff02::1"),
        from_to("2001:db8::17", "::1"),
        // A router's advertisement, a neighbour's solicitation, a redirect, an error.
        icmp6(ip6("fe80::1"), ip6("ff02::1"), 255, &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        icmp6(host, server, 255, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &server.octets()].concat()),
        icmp6(host, server, 255, &[&[137, 0, 0, 0, 0, 0, 0, 0][..], &server.octets(), &host.octets()].concat()),
        icmp6(host, server, 64, &[&[1, 4, 0, 0, 0, 0, 0, 0][..], &datagram()].concat()),
    ];
    // Nothing, IPv4 inside, IPv6 inside, GRE, ESP, AH, shim6, and numbers of nobody.
    for next_header in [59, 4, 41, 47, 50, 51, 140, 253, 255] {
        packets.push(ipv6(host, server, (next_header, 64), &packets::udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload())));
    }
    packets
}

#[test]
fn attempt_34_ipv6_from_the_office_has_one_reason_whatever_stands_in_its_headers() {
    let mut world = twins(700);
    for packet in silently_refused() {
        office_fails(&mut world, "a", &packet, DropReason::Ipv6Refused);
    }
    // IPv4 in the clothes of IPv6: the first four bits decide, and nothing is read as the other.
    let mut disguised = packets::udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload());
    disguised[0] = 0x65;
    let payload_len = u16::try_from(disguised.len() - 40).expect("short");
    disguised[4..6].copy_from_slice(&payload_len.to_be_bytes());
    disguised[6] = 59;
    office_fails(&mut world, "a", &disguised, DropReason::Ipv6Refused);
    // The addresses of IPv4 hosts, mapped (RFC 4291 section 2.5.5.2), admit nobody; they are answered as any others.
    let mapped = |address: &str, port: u16| std::net::SocketAddrV6::new(ip(address).to_ipv6_mapped(), port, 0, 0);
    let packet = udp6(mapped("198.51.100.17", 40_000), mapped("203.0.113.10", 443), &payload());
    let answer = 40 + 8 + packet.len();
    let counts = Counts::new().from_office("a", &packet).lost("a", DropReason::Ipv6Refused).error_to_office("a", &vec![0; answer]);
    world.expect(&counts, |world| world.office("a").send(&packet));
    assert_eq!(world.office("a").received().len(), 1);
    silence(&mut world);
}

/// What an EtherType says and what a packet says are two things, and neither makes IPv4 of it.
#[test]
fn attempts_26_34_ipv6_on_a_vlan_is_refused_on_its_tenants_account() {
    let mut world = twins(701);
    let (vlan, station) = (world.cloud("a").vlan, world.cloud("a").mac);
    let us = relay_mac(AWS);
    let advertisement = icmp6(ip6("fe80::1"), ip6("ff02::1"), 255, &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    let job = packets::udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &payload());
    let groups = [us, MacAddr([0x33, 0x33, 0, 0, 0, 1]), MacAddr([0x33, 0x33, 0xff, 0, 0, 2])];
    for (destination, packet) in
        groups.into_iter().flat_map(|group| [datagram(), advertisement.clone(), job.clone(), vec![]].map(|p| (group, p)))
    {
        let frame = frame(vlan, station, destination, ethernet::IPV6, &packet);
        refused(&mut world, frame);
    }
    for packet in silently_refused().into_iter().chain([datagram()]) {
        cloud_fails(&mut world, "a", &packet, DropReason::Ipv6Refused);
        let frame = frame(vlan, station, us, ethernet::IPV6, &packet);
        refused(&mut world, frame);
    }
}

fn refused(world: &mut World, frame: Vec<u8>) {
    let counts = Counts::new().frame("aws", frame.len()).lost("a", DropReason::Ipv6Refused);
    world.expect(&counts, |world| world.inject(1, frame));
    silence(world);
}

#[test]
fn attempts_34_60_a_tenant_that_was_cut_off_hears_nothing_about_its_ipv6() {
    let mut world = twins(702);
    world.reload(|plan| plan.tenant("a").isolated = true);
    world.settle();
    office_fails(&mut world, "a", &datagram(), DropReason::Ipv6Refused);
}
