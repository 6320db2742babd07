//! Tunnels over IPv6: the same tunnel, whatever its datagrams travel by.

use std::net::{Ipv6Addr, SocketAddrV6};

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TrafficClass, Vlan};
use dataplane::simulation::municipality::ACCESS;
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::packets6::{self, at6, extended, udp6};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, ip, ipsec_municipality, municipality};
use dataplane::time::Duration;
use dataplane::wire::ethernet::{self, MacAddr};

use TrafficClass::MyNumber;

const ROUTER: &str = "[2001:db8:c0::10]:51820";
/// The station that leads to all routers of other networks.
const ROUTERS_STATION: MacAddr = MacAddr([6, 0, 0, 0, 0, 126]);
const RELAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc0, 0, 0, 0, 0, 1);
/// What an IPv6 header has more than one of IPv4.
const MORE: i64 = 20;

fn ipv6() -> Dimensions {
    Dimensions { ipv6: true, ..Dimensions::default() }
}

/// A world whose office has only ever been heard over IPv6.
fn world_over_ipv6(seed: u64) -> World {
    let mut world = World::cold(seed, [municipality("a", 2_101)], ipv6());
    world.office("a").outer6 = Some(at6(ROUTER));
    world.bring_up();
    world.run(Duration::from_secs(1));
    world
}

fn request(port: u16) -> Vec<u8> {
    udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new("a", MyNumber).payload(64))
}

/// A packet crosses, its answer comes back, and every counter says what it says over IPv4, but for the longer headers.
fn crosses(world: &mut World, port: u16, more: i64) {
    let packet = request(port);
    let counts = Counts::new().from_office("a", &packet).to_cloud("a", &packet).opened("a").add("access.received.bytes", more);
    world.expect(&counts, |world| world.office("a").send(&packet));
    let seen = packets::read(&world.cloud("a").received().remove(0)).expect("sound");
    let answer = udp(seen.destination, seen.source, &seen.payload);
    let counts = Counts::new().from_cloud(&answer).to_office("a", &answer).add("access.transmitted.bytes", more);
    world.expect(&counts, |world| world.cloud("a").send(&answer));
    assert_eq!(world.office("a").received().len(), 1);
}

#[test]
fn a_tunnel_over_ipv6_carries_what_one_over_ipv4_does() {
    let mut world = world_over_ipv6(620);
    for port in 40_000..40_003 {
        crosses(&mut world, port, MORE);
    }
    assert_eq!(world.counts().get("a/main.handshakes"), 1);
    // A full-sized packet fits into what the line carries: 1,420 + 32 + 48.
    let payload = world.office("a").payload(MyNumber, 1_392);
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
    world.office("a").send(&packet);
    world.settle();
    let arrived = packets::read(&world.cloud("a").received().remove(0)).expect("sound");
    let answer = udp(arrived.destination, arrived.source, &arrived.payload);
    world.record();
    world.cloud("a").send(&answer);
    world.settle();
    let frames = world.recorded();
    assert_eq!(frames.iter().map(|frame| frame.bytes.len()).collect::<Vec<_>>(), [14 + 1_500]);
    assert_eq!(world.office("a").received().len(), 1);
}

#[test]
fn congestion_marks_cross_over_ipv6_too() {
    let mut world = world_over_ipv6(621);
    let capable = packets::edited(request(40_000), |packet| packet[1] = 0b10);
    let sealed = world.office("a").seal(&capable).expect("a session");
    let mut marked = udp6(at6(ROUTER), SocketAddrV6::new(RELAY, 51_820, 0, 0), &sealed);
    marked[1] |= 0b11 << 4;
    world.inject(0, frame(Vlan::Untagged, ROUTERS_STATION, relay_mac(ACCESS), ethernet::IPV6, &marked));
    world.settle();
    let arrived = world.cloud("a").received().remove(0);
    assert_eq!(arrived[1] & 0b11, 0b11, "congestion experienced");
    let seen = packets::read(&arrived).expect("sound");
    let answer = packets::edited(udp(seen.destination, seen.source, &seen.payload), |packet| packet[1] = 0b10);
    world.record();
    world.cloud("a").send(&answer);
    world.settle();
    assert_eq!(world.recorded()[0].bytes[15], 0b10 << 4, "the traffic class of the outer header");
}

#[test]
fn the_relay_follows_an_office_from_one_family_to_the_other_and_back() {
    let mut world = World::with(622, [municipality("a", 2_101)], ipv6());
    world.run(Duration::from_secs(1));
    crosses(&mut world, 40_000, 0);
    for (port, outer6, more) in
        [(40_001, Some(at6("[2001:db8:77::5]:4444")), MORE), (40_002, Some(at6("[2001:db8:78::5]:51820")), MORE), (40_003, None, 0)]
    {
        world.office("a").outer6 = outer6;
        let packet = request(port);
        let roams = Counts::new().add("a/main.roams", 1).from_office("a", &packet).to_cloud("a", &packet).opened("a");
        world.expect(&roams.add("access.received.bytes", more), |world| world.office("a").send(&packet));
        world.cloud("a").received();
        crosses(&mut world, port + 100, more);
    }
    // What does not authenticate moves nobody.
    let mut forged = world.office("a").seal(&request(41_000)).expect("a session");
    *forged.last_mut().expect("bytes") ^= 1;
    let packet = udp6(at6("[2001:db8:66::6]:6"), SocketAddrV6::new(RELAY, 51_820, 0, 0), &forged);
    inject(&mut world, &packet, "a", DropReason::TunnelDataRejected);
    crosses(&mut world, 41_001, 0);
}

fn inject(world: &mut World, packet: &[u8], at: &str, reason: DropReason) {
    let frame = frame(Vlan::Untagged, ROUTERS_STATION, relay_mac(ACCESS), ethernet::IPV6, packet);
    world.expect(&Counts::new().frame("access", frame.len()).lost(at, reason), |world| world.inject(0, frame));
}

#[test]
fn what_no_router_sends_is_refused_by_name() {
    let mut world = world_over_ipv6(623);
    let sealed = world.office("a").seal(&request(40_000)).expect("a session");
    let relay = |port| SocketAddrV6::new(RELAY, port, 0, 0);
    let sound = udp6(at6(ROUTER), relay(51_820), &sealed);
    let without_checksum = [&sound[..46], &[0, 0], &sound[48..]].concat();
    for (packet, reason) in [
        (without_checksum, DropReason::OuterMalformed),
        (udp6(at6("[fe80::10]:51820"), relay(51_820), &sealed), DropReason::OuterMalformed),
        (udp6(SocketAddrV6::new(ip("192.0.2.10").to_ipv6_mapped(), 51_820, 0, 0), relay(51_820), &sealed), DropReason::OuterMalformed),
        (extended(&sound, 44, &[0, 0, 1, 0, 0, 0, 7]), DropReason::OuterFragment),
        (extended(&sound, 0, &[0, 1, 4, 0, 0, 0, 0]), DropReason::OuterProtocolUnsupported),
        (extended(&sound, 43, &[0, 0, 0, 0, 0, 0, 0]), DropReason::OuterProtocolUnsupported),
        (packets6::ipv6(*at6(ROUTER).ip(), RELAY, (50, 64), &sealed), DropReason::OuterProtocolUnsupported),
        (udp6(at6(ROUTER), relay(51_821), &sealed), DropReason::NoListener),
        (udp6(at6(ROUTER), relay(4_500), &sealed), DropReason::NoListener),
        (udp6(at6(ROUTER), relay(51_820), &[0; 32]), DropReason::TunnelMessageMalformed),
    ] {
        inject(&mut world, &packet, "access", reason);
    }
    inject_arrives(&mut world, &sound);
}

/// The packet itself was good all the time.
fn inject_arrives(world: &mut World, packet: &[u8]) {
    let frame = frame(Vlan::Untagged, ROUTERS_STATION, relay_mac(ACCESS), ethernet::IPV6, packet);
    world.inject(0, frame);
    world.settle();
    assert_eq!(world.cloud("a").received().len(), 1);
}

#[test]
fn an_ipsec_endpoint_does_not_answer_over_ipv6() {
    let mut world = World::with(624, [municipality("a", 2_101), ipsec_municipality("b", 2_102)], ipv6());
    world.run(Duration::from_secs(1));
    for port in [500, 4_500] {
        let packet = udp6(at6(ROUTER), SocketAddrV6::new(RELAY, port, 0, 0), &[0x20; 64]);
        inject(&mut world, &packet, "access", DropReason::NoListener);
    }
}

/// One site has 2^64 addresses to send from: they share what one source gets.
#[test]
fn handshakes_from_all_addresses_of_one_64_share_one_limit() {
    let mut world = world_over_ipv6(625);
    let before = world.counts();
    for host in 0..40u16 {
        let initiation = world.office("a").initiation();
        let source = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, host, 0, 0, 1), 51_820, 0, 0);
        let packet = udp6(source, SocketAddrV6::new(RELAY, 51_820, 0, 0), &initiation);
        world.inject(0, frame(Vlan::Untagged, ROUTERS_STATION, relay_mac(ACCESS), ethernet::IPV6, &packet));
    }
    world.settle();
    let answers = world.strays6();
    let lengths = |len: usize| answers.iter().filter(|packet| packet.len() == 48 + len).count();
    // Five are worked on; of these one may be answered, as a peer's time stamps must grow. The others are asked for a cookie.
    assert_eq!(lengths(64), 35, "{:?}", world.counts().since(&before));
    assert!(lengths(92) <= 5);
}
