//! The relay's own addresses: echo and ARP, on their own network, and nothing else.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::Vlan;
use dataplane::simulation::municipality::ACCESS;
use dataplane::simulation::packets::{self, Segment, ping, tcp, udp};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, World, at, ip, municipality};
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::one;

const STATION: MacAddr = MacAddr([6, 0, 0, 0, 1, 50]);

fn on_access(packet: &[u8]) -> Vec<u8> {
    frame(Vlan::Untagged, STATION, relay_mac(ACCESS), ethernet::IPV4, packet)
}

fn question(sender_mac: MacAddr, sender: &str, target: &str) -> Arp {
    Arp { operation: Operation::Request, sender_mac, sender: ip(sender), target_mac: MacAddr::default(), target: ip(target) }
}

#[test]
fn its_address_on_a_vlan_answers_echo_requests_and_refuses_everything_else() {
    let mut world = World::new(40, [municipality("a", 2_101)]);
    let request = ping(ip("10.254.1.1"), ip("10.254.1.2"), 9, b"hello");
    let answered = Counts::new().from_cloud(&request).sent("aws", request.len() + 18);
    world.expect(&answered, |world| world.cloud("a").send(&request));
    let reply = one(world.cloud("a").received());
    assert_eq!((*reply.source.ip(), *reply.destination.ip(), reply.icmp.map(|icmp| icmp.0)), (ip("10.254.1.2"), ip("10.254.1.1"), Some(0)));
    assert_eq!((reply.hop_limit, &reply.payload[..]), (64, &b"hello"[..]));
    for other in [
        tcp(at("10.254.1.1:4000"), at("10.254.1.2:22"), Segment::Syn(None), &[]),
        udp(at("10.254.1.1:4000"), at("10.254.1.2:53"), b"?"),
        packets::pong(ip("10.254.1.1"), ip("10.254.1.2"), 9, b"hello"),
    ] {
        let counts = Counts::new().from_cloud(&other).lost("a", DropReason::RelayAddress);
        world.expect(&counts, |world| world.cloud("a").send(&other));
    }
}

#[test]
fn its_access_address_answers_a_hundred_echo_requests_a_second_and_refuses_everything_else() {
    let mut world = World::new(41, [municipality("a", 2_101)]);
    let request = on_access(&ping(ip("192.0.2.50"), ip("192.0.2.1"), 9, b"hello"));
    let answered = Counts::new().frame("access", request.len()).sent("access", request.len());
    let limited = Counts::new().frame("access", request.len()).lost("access", DropReason::HostEchoLimited);
    for (counts, times) in [(&answered, 50), (&answered, 50), (&limited, 20)] {
        world.expect(&counts.clone().times(times), |world| (0..times).for_each(|_| world.inject(0, request.clone())));
    }
    let reply = packets::read(&world.strays()[0]).expect("sound");
    assert_eq!((*reply.source.ip(), *reply.destination.ip()), (ip("192.0.2.1"), ip("192.0.2.50")));
    for (packet, reason) in [
        (udp(at("192.0.2.50:4000"), at("192.0.2.1:53"), b"?"), DropReason::NoListener),
        (tcp(at("192.0.2.50:4000"), at("192.0.2.1:9273"), Segment::Syn(None), &[]), DropReason::OuterProtocolUnsupported),
        (udp(at("192.0.2.50:4000"), at("192.0.2.2:51820"), b"?"), DropReason::OuterNotForUs),
        (udp(at("127.0.0.1:4000"), at("192.0.2.1:51820"), b"?"), DropReason::OuterMalformed),
    ] {
        let frame = on_access(&packet);
        world.expect(&Counts::new().frame("access", frame.len()).lost("access", reason), |world| world.inject(0, frame));
    }
}

#[test]
fn it_answers_arp_for_itself_and_for_what_it_translates_to_on_that_vlan_alone() {
    let mut world = World::new(42, [municipality("a", 2_101), municipality("b", 2_102)]);
    world.reload(|plan| plan.tenant("b").callbacks.clear());
    world.run(dataplane::time::Duration::from_millis(600));
    let gateway = world.cloud("a").mac;
    let answered = Counts::new().frame("aws", 46).absorbed().generated().sent("aws", 46);
    let refused = |tenant| Counts::new().frame("aws", 46).lost(tenant, DropReason::ArpNotForUs);
    world.cloud("a").arps();
    for target in ["10.254.1.2", "10.254.1.8", "10.254.1.11", "10.254.1.20", "10.254.1.30"] {
        world.expect(&answered, |world| world.cloud("a").send_arp(&question(gateway, "10.254.1.1", target), MacAddr::BROADCAST));
        let reply = world.cloud("a").arps().remove(0);
        assert_eq!((reply.sender, reply.sender_mac), (ip(target), relay_mac(dataplane::simulation::municipality::AWS)));
    }
    for target in ["10.254.1.3", "10.254.1.12", "203.0.113.10", "198.51.100.17", "192.0.2.1"] {
        world.expect(&refused("a"), |world| world.cloud("a").send_arp(&question(gateway, "10.254.1.1", target), MacAddr::BROADCAST));
    }
    // The printer's address is nobody's on the other VLAN.
    let gateway = world.cloud("b").mac;
    world.expect(&refused("b"), |world| world.cloud("b").send_arp(&question(gateway, "10.254.1.1", "10.254.1.30"), MacAddr::BROADCAST));
}

#[test]
fn at_its_start_it_announces_its_addresses_and_finds_the_gateways() {
    let mut world = World::cold(43, [municipality("a", 2_101)], dataplane::simulation::Dimensions::default());
    world.run(dataplane::time::Duration::from_millis(600));
    let arps = world.cloud("a").arps();
    let announced: Vec<_> = arps.iter().filter(|arp| arp.sender == arp.target).map(|arp| arp.sender).collect();
    let expected = ["10.254.1.2", "10.254.1.8", "10.254.1.9", "10.254.1.10", "10.254.1.11", "10.254.1.20", "10.254.1.21", "10.254.1.30"];
    assert_eq!(announced, expected.map(ip));
    assert!(arps.iter().any(|arp| arp.target == ip("10.254.1.1")), "it asks for the gateway before anybody needs it");
}
