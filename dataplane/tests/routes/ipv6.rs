//! IPv6 inside: refused, and the sender told so.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets6::{ICMPV6, Seen6, at6, icmp6, ip6, ipv6, ping6, read6, udp6};
use dataplane::simulation::{Counts, World, ipsec_municipality, municipality};
use dataplane::time::Duration;

use TrafficClass::MyNumber;

/// IPv6 and ICMPv6 header, and as much of the original as RFC 4443 section 2.4 (c) allows.
fn error_len(original: usize) -> usize {
    (48 + original).min(1_280)
}

/// The office sends a packet and is told that it was refused.
fn told(world: &mut World, packet: &[u8]) -> Seen6 {
    let error = vec![0; error_len(packet.len())];
    let counts = Counts::new().from_office("a", packet).lost("a", DropReason::Ipv6Refused).error_to_office("a", &error);
    world.expect(&counts, |world| world.office("a").send(packet));
    let mut received = world.office("a").received();
    assert_eq!(received.len(), 1);
    read6(&received.remove(0)).expect("sound")
}

#[test]
fn an_ipv6_packet_of_the_office_is_answered_as_prohibited_by_where_it_went() {
    let mut world = World::new(600, [municipality("a", 2_101)]);
    let (host, server) = (ip6("2001:db8::17"), ip6("2001:db8::10"));
    let payload = world.office("a").payload(MyNumber, 64);
    let long = world.office("a").payload(MyNumber, 1_372);
    let segment = [&[0x9c, 0x40, 1, 0xbb][..], &[0; 8], &[0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat();
    for packet in [
        udp6(at6("[2001:db8::17]:40000"), at6("[2001:db8::10]:443"), &payload),
        udp6(at6("[2001:db8::17]:40000"), at6("[2001:db8::10]:443"), &long),
        ping6(host, server, 9, &payload),
        ipv6(host, server, (6, 64), &segment),
    ] {
        let told = told(&mut world, &packet);
        assert_eq!((told.source, told.destination, told.next_header, told.hop_limit), (server, host, ICMPV6, 64));
        assert_eq!(told.payload[..2], [1, 1], "destination unreachable, administratively prohibited");
        assert_eq!(told.payload[4..8], [0; 4]);
        let quoted = &told.payload[8..];
        assert_eq!((quoted, told.payload.len() + 40), (&packet[..quoted.len()], error_len(packet.len())));
    }
}

#[test]
fn no_error_is_sent_about_an_error_and_not_more_than_a_hundred_a_second() {
    let mut world = World::new(601, [municipality("a", 2_101)]);
    let packet = ping6(ip6("2001:db8::17"), ip6("2001:db8::10"), 9, b"hello");
    let error = icmp6(ip6("2001:db8::17"), ip6("2001:db8::10"), 64, &[&[3, 0, 0, 0, 0, 0, 0, 0][..], &packet].concat());
    let silent = |packet: &[u8]| Counts::new().from_office("a", packet).lost("a", DropReason::Ipv6Refused);
    world.expect(&silent(&error), |world| world.office("a").send(&error));
    for _ in 0..100 {
        told(&mut world, &packet);
    }
    world.expect(&silent(&packet).times(20), |world| (0..20).for_each(|_| world.office("a").send(&packet)));
    world.run(Duration::from_secs(1));
    told(&mut world, &packet);
}

/// No SA of the relay carries IPv6, so there is no way for an answer either.
#[test]
fn ipv6_in_esp_has_the_same_reason_and_no_answer() {
    let mut world = World::new(602, [ipsec_municipality("a", 2_101)]);
    let packet = ping6(ip6("2001:db8::17"), ip6("2001:db8::10"), 9, b"hello");
    let before = world.counts();
    for next_header in [4, 41] {
        let sealed = world.office("a").esp().seal_oddly(next_header, &packet, None);
        let outer = world.office("a").outer;
        world.office("a").send_datagram(outer, sealed);
        world.settle();
    }
    let changes = world.counts().since(&before);
    assert_eq!((changes.get("a.drops.ipv6_refused"), changes.get("worker.dropped"), changes.get("worker.transmitted")), (2, 2, 0));
}
