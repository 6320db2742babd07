//! The relay's own IPv6 addresses: neighbour discovery and echo, on their own network, and nothing else.

use std::net::Ipv6Addr;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TenantConfig, Vlan};
use dataplane::simulation::municipality::{ACCESS, AWS};
use dataplane::simulation::packets6::{self, ICMPV6, Seen6, at6, icmp6, ip6, network6, ping6, read6, udp6};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Dimensions, World, municipality};
use dataplane::time::Duration;
use dataplane::wire::ethernet::{self, MacAddr};

const STATION: MacAddr = MacAddr([6, 0, 0, 0, 1, 50]);
/// Of a frame with one tag, and of one without.
const TAGGED: usize = 18;
const UNTAGGED: usize = 14;

fn town(name: &str, vlan: u16, address: &str) -> TenantConfig {
    let mut town = municipality(name, vlan);
    town.attachments[0].address6 = Some(network6(address));
    town
}

fn one(mut received: Vec<Vec<u8>>) -> Seen6 {
    assert_eq!(received.len(), 1, "one packet");
    read6(&received.remove(0)).expect("a sound packet")
}

/// The group that is asked for an address.
fn group(address: &str) -> (Ipv6Addr, MacAddr) {
    let [.., a, b, c] = ip6(address).octets();
    (Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]), MacAddr([0x33, 0x33, 0xff, a, b, c]))
}

/// A neighbour's question, from a station.
fn solicitation(source: &str, target: &str, station: MacAddr) -> Vec<u8> {
    let option = if source == "::" { vec![] } else { [&[1, 1][..], &station.0].concat() };
    icmp6(ip6(source), group(target).0, 255, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &ip6(target).octets(), &option].concat())
}

/// An answer, or what looks like one.
fn advertisement(flags: u8, source: &str, destination: &str, target: &str, station: MacAddr) -> Vec<u8> {
    let message = [&[136, 0, 0, 0, flags, 0, 0, 0][..], &ip6(target).octets(), &[2, 1], &station.0].concat();
    icmp6(ip6(source), ip6(destination), 255, &message)
}

fn on_access(destination: MacAddr, packet: &[u8]) -> Vec<u8> {
    frame(Vlan::Untagged, STATION, destination, ethernet::IPV6, packet)
}

#[test]
fn on_a_vlan_it_answers_for_its_address_and_refuses_all_other_ipv6() {
    let mut world = World::new(610, [town("a", 2_101, "fd00:1::2/64"), town("b", 2_102, "fd00:2::2/64")]);
    let (us, station) = (relay_mac(AWS), world.cloud("a").mac);
    for source in ["fd00:1::1", "fe80::1"] {
        let question = solicitation(source, "fd00:1::2", station);
        let answered = Counts::new().frame("aws", question.len() + TAGGED).absorbed().generated().sent("aws", 72 + TAGGED);
        world.expect(&answered, |world| world.cloud("a").send6(&question, group("fd00:1::2").1));
        let answer = one(world.cloud("a").received6());
        assert_eq!((answer.source, answer.destination, answer.hop_limit), (ip6("fd00:1::2"), ip6(source), 255));
        assert_eq!(answer.payload[..8], [136, 0, answer.payload[2], answer.payload[3], 0x60, 0, 0, 0], "solicited, override");
        assert_eq!(answer.payload[8..], [&ip6("fd00:1::2").octets()[..], &[2, 1], &us.0].concat());
    }
    let request = ping6(ip6("fd00:1::1"), ip6("fd00:1::2"), 9, b"hello");
    let answered = Counts::new().frame("aws", request.len() + TAGGED).sent("aws", request.len() + TAGGED);
    world.expect(&answered, |world| world.cloud("a").send6(&request, us));
    let reply = one(world.cloud("a").received6());
    assert_eq!((reply.source, reply.destination, reply.hop_limit), (ip6("fd00:1::2"), ip6("fd00:1::1"), 64));
    assert_eq!((reply.payload[0], &reply.payload[4..]), (129, &request[44..]));
    let udp = |source: &str, destination: &str| udp6(at6(source), at6(destination), b"?");
    let mut bent = request.clone();
    bent[50] ^= 1;
    for (packet, reason) in [
        (udp("[fd00:1::1]:4000", "[fd00:1::2]:53"), DropReason::RelayAddress),
        (icmp6(ip6("fd00:1::1"), ip6("fd00:1::2"), 64, &[129, 0, 0, 0, 0, 9, 0, 1]), DropReason::RelayAddress),
        (bent, DropReason::IcmpChecksumInvalid),
        (udp("[fd00:1::1]:4000", "[fd00:1::3]:53"), DropReason::Ipv6Refused),
        (ping6(ip6("fd00:1::1"), ip6("fd00:2::2"), 9, b"hello"), DropReason::Ipv6Refused),
        (ping6(ip6("fd00:1::1"), ip6("ff02::1"), 9, b"hello"), DropReason::Ipv6Refused),
    ] {
        let counts = Counts::new().frame("aws", packet.len() + TAGGED).lost("a", reason);
        world.expect(&counts, |world| world.cloud("a").send6(&packet, us));
    }
    // The other tenant's address is nobody's here.
    let question = solicitation("fd00:1::1", "fd00:2::2", station);
    let refused = Counts::new().frame("aws", question.len() + TAGGED).lost("a", DropReason::NdNotForUs);
    world.expect(&refused, |world| world.cloud("a").send6(&question, group("fd00:2::2").1));
    assert_eq!(world.cloud("a").received6().len() + world.cloud("b").received6().len(), 0);
}

#[test]
fn a_tenant_gets_a_hundred_echo_replies_a_second_and_none_when_it_was_cut_off() {
    let mut world = World::new(611, [town("a", 2_101, "fd00:1::2/64"), town("b", 2_102, "fd00:1::2/64")]);
    let request = ping6(ip6("fd00:1::1"), ip6("fd00:1::2"), 9, b"hello");
    let len = request.len() + TAGGED;
    let answered = Counts::new().frame("aws", len).sent("aws", len);
    let limited = Counts::new().frame("aws", len).lost("a", DropReason::HostEchoLimited);
    for (counts, times) in [(&answered, 50), (&answered, 50), (&limited, 20)] {
        let send = |world: &mut World| (0..times).for_each(|_| world.cloud("a").send6(&request, relay_mac(AWS)));
        world.expect(&counts.clone().times(times), send);
    }
    world.expect(&answered, |world| world.cloud("b").send6(&request, relay_mac(AWS)));
    world.reload(|plan| plan.tenant("b").isolated = true);
    let silent = Counts::new().frame("aws", len).lost("b", DropReason::TenantIsolated);
    world.expect(&silent, |world| world.cloud("b").send6(&request, relay_mac(AWS)));
}

/// What RFC 4861 would let a host believe, and what nobody may be made to believe (attempts 23 and 26, over again for IPv6).
#[test]
fn attempts_23_26_no_router_redirect_or_announcement_is_believed() {
    let mut world = World::new(612, [town("a", 2_101, "fd00:1::2/64")]);
    let (us, evil) = (relay_mac(AWS), world.cloud("a").mac);
    let options = [&[3, 4, 64, 0xc0][..], &[0xff; 8], &[0; 4], &ip6("fd00:6::").octets()].concat();
    let router = |kind: u8| {
        icmp6(ip6("fe80::66"), ip6("ff02::1"), 255, &[&[kind, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &options].concat())
    };
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &ip6("fd00:1::66").octets(), &ip6("fd00:1::1").octets()].concat();
    let with = |packet: Vec<u8>, at: usize, byte: u8| {
        let mut packet = packet;
        packet[at] = byte;
        packet
    };
    let far = with(solicitation("fd00:1::1", "fd00:1::2", evil), 7, 254);
    for (packet, reason) in [
        (router(133), DropReason::NdRefused),
        (router(134), DropReason::NdRefused),
        (icmp6(ip6("fe80::1"), ip6("fd00:1::2"), 255, &redirect), DropReason::NdRefused),
        (far, DropReason::NdMalformed),
        (solicitation("fd00:1::1", "fd00:1::2", MacAddr([6; 6])), DropReason::NdMalformed),
        (advertisement(0x20, "fd00:1::2", "ff02::1", "fd00:1::2", evil), DropReason::NdConflict),
        (advertisement(0x60, "fd00:1::1", "fd00:1::2", "fd00:1::2", evil), DropReason::NdConflict),
        (solicitation("fd00:1::2", "fd00:1::1", evil), DropReason::NdConflict),
        (advertisement(0x60, "fd00:1::1", "fd00:1::2", "fd00:1::1", evil), DropReason::NdNotForUs),
        (advertisement(0x20, "fd00:1::1", "ff02::1", "fd00:1::1", evil), DropReason::NdNotForUs),
        (solicitation("fd00:9::1", "fd00:1::2", evil), DropReason::NdNotForUs),
    ] {
        let counts = Counts::new().frame("aws", packet.len() + TAGGED).lost("a", reason);
        world.expect(&counts, |world| {
            world.cloud("a").send6(&packet, if packet[24] == 0xff { MacAddr([0x33, 0x33, 0, 0, 0, 1]) } else { us });
        });
    }
    assert_eq!(world.cloud("a").received6(), Vec::<Vec<u8>>::new());
    // Whoever looks for duplicates of the relay's address is told by the relay, and everybody with it.
    let probe = solicitation("::", "fd00:1::2", evil);
    let counts = Counts::new().frame("aws", probe.len() + TAGGED).absorbed().generated().sent("aws", 72 + TAGGED);
    world.expect(&counts, |world| world.cloud("a").send6(&probe, group("fd00:1::2").1));
    let told = one(world.cloud("a").received6());
    assert_eq!((told.destination, told.payload[4]), (ip6("ff02::1"), 0x20), "not solicited");
}

#[test]
fn at_its_start_it_looks_for_duplicates_announces_itself_and_finds_its_ipv6_gateway() {
    let dimensions = Dimensions { ipv6: true, ..Dimensions::default() };
    let mut world = World::cold(613, [town("a", 2_101, "fd00:1::2/64")], dimensions);
    world.run(Duration::from_millis(1_100));
    let seen = |packets: Vec<Vec<u8>>| packets.iter().map(|packet| read6(packet).expect("sound")).collect::<Vec<Seen6>>();
    let on_vlan = seen(world.cloud("a").received6());
    let said: Vec<_> = on_vlan.iter().map(|seen| (seen.source, seen.destination, seen.payload[0])).collect();
    let unspecified = Ipv6Addr::UNSPECIFIED;
    assert_eq!(said, [(unspecified, ip6("ff02::1:ff00:2"), 135), (ip6("fd00:1::2"), ip6("ff02::1"), 136)]);
    let on_access = seen(world.strays6());
    let said: Vec<_> = on_access.iter().map(|seen| (seen.source, seen.destination, seen.payload[0])).collect();
    let access = ip6("2001:db8:c0::1");
    assert_eq!(said, [(unspecified, ip6("ff02::1:ff00:1"), 135), (access, ip6("ff02::1"), 136)]);
    assert!(on_vlan.iter().chain(&on_access).all(|seen| (seen.next_header, seen.hop_limit) == (ICMPV6, 255)));
    // The gateway was asked for, and its answer is what the relay waited for: nothing was lost.
    assert_eq!(world.counts().get("access.drops.nd_not_for_us"), 0);
    let later = world.counts();
    world.run(Duration::from_secs(20));
    assert_eq!(world.counts().since(&later).get("access.transmitted.packets"), 0, "nobody asks again who was answered");
}

#[test]
fn its_access_address_answers_a_hundred_echo_requests_a_second_and_refuses_everything_else() {
    let dimensions = Dimensions { ipv6: true, ..Dimensions::default() };
    let mut world = World::with(614, [municipality("a", 2_101)], dimensions);
    world.run(Duration::from_secs(1));
    world.strays6();
    let us = relay_mac(ACCESS);
    let request = on_access(us, &ping6(ip6("2001:db8:c0::50"), ip6("2001:db8:c0::1"), 9, b"hello"));
    let answered = Counts::new().frame("access", request.len()).sent("access", request.len());
    let limited = Counts::new().frame("access", request.len()).lost("access", DropReason::HostEchoLimited);
    for (counts, times) in [(&answered, 50), (&answered, 50), (&limited, 20)] {
        world.expect(&counts.clone().times(times), |world| (0..times).for_each(|_| world.inject(0, request.clone())));
    }
    let reply = read6(&world.strays6()[0]).expect("sound");
    assert_eq!((reply.source, reply.destination, reply.payload[0]), (ip6("2001:db8:c0::1"), ip6("2001:db8:c0::50"), 129));
    let udp = |destination: &str| udp6(at6("[2001:db8:c0::50]:4000"), at6(destination), b"?");
    let question = solicitation("2001:db8:c0::50", "2001:db8:c0::1", STATION);
    let len = question.len() + UNTAGGED;
    let answered = Counts::new().frame("access", len).absorbed().generated().sent("access", 72 + UNTAGGED);
    world.expect(&answered, |world| world.inject(0, on_access(group("2001:db8:c0::1").1, &question)));
    for (packet, reason) in [
        (udp("[2001:db8:c0::2]:51820"), DropReason::OuterNotForUs),
        (packets6::ipv6(ip6("2001:db8:c0::50"), ip6("2001:db8:c0::1"), (6, 64), &[0; 20]), DropReason::OuterProtocolUnsupported),
        (udp("[2001:db8:c0::1]:53")[..47].to_vec(), DropReason::OuterMalformed),
        (advertisement(0x20, "fe80::7e", "ff02::1", "fe80::7e", STATION), DropReason::NdNotForUs),
        (advertisement(0x20, "2001:db8:c0::1", "ff02::1", "2001:db8:c0::1", STATION), DropReason::NdConflict),
    ] {
        let frame = on_access(us, &packet);
        world.expect(&Counts::new().frame("access", frame.len()).lost("access", reason), |world| world.inject(0, frame));
    }
    let mut world = World::new(615, [municipality("a", 2_101)]);
    let counts = Counts::new().frame("access", request.len()).lost("access", DropReason::Ipv6Unsupported);
    world.expect(&counts, |world| world.inject(0, request.clone()));
}
