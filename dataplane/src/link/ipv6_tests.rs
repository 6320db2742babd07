//! Tests of `ipv6.rs`.

use super::*;
use crate::link::Resolution;
use crate::packet::FramePool;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const EVIL: MacAddr = MacAddr([2, 0, 0, 0, 0, 66]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn interface() -> Ipv6Interface {
    Ipv6Interface::new("2001:db8:1::2/64".parse().expect("a network"), Some(ip("fe80::1")), 4)
}

fn question(source: &str, target: &str) -> Discovery {
    let destination = solicited_node(ip(target));
    let station = (source != "::").then_some(GATEWAY_MAC);
    Discovery { kind: Kind::Solicitation, source: ip(source), destination, target: ip(target), station }
}

fn answer(target: &str, destination: &str) -> Discovery {
    let kind = Kind::Advertisement { solicited: true };
    Discovery { kind, source: ip(target), destination: ip(destination), target: ip(target), station: Some(GATEWAY_MAC) }
}

#[test]
fn it_answers_for_its_address_to_whoever_is_on_the_link_and_for_nothing_else() {
    let mut interface = interface();
    for (source, target, answered) in [
        ("2001:db8:1::1", "2001:db8:1::2", true),
        ("fe80::1", "2001:db8:1::2", true),
        ("2001:db8:2::1", "2001:db8:1::2", false),
        ("2001:db8:1::1", "2001:db8:1::3", false),
        // The same solicited-node group, another address.
        ("2001:db8:1::1", "fe80::2", false),
    ] {
        let outcome = interface.discover(&question(source, target), GATEWAY_MAC, OWN, Instant::ZERO);
        let Ok(DiscoveryOutcome::Reply(reply, to)) = outcome else {
            assert_eq!((outcome.err(), answered), (Some(DropReason::NdNotForUs), false), "{target} for {source}");
            continue;
        };
        assert!(answered, "{target} for {source}");
        let kind = Kind::Advertisement { solicited: true };
        let us = ip("2001:db8:1::2");
        assert_eq!(reply, Discovery { kind, source: us, destination: ip(source), target: us, station: Some(OWN) });
        assert_eq!(to, GATEWAY_MAC);
    }
}

#[test]
fn a_probe_for_duplicates_of_its_address_is_answered_to_everybody() {
    let outcome = interface().discover(&question("::", "2001:db8:1::2"), EVIL, OWN, Instant::ZERO);
    let Ok(DiscoveryOutcome::Reply(reply, to)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((reply.kind, reply.destination), (Kind::Advertisement { solicited: false }, ALL_NODES));
    assert_eq!(to, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
}

#[test]
fn a_station_that_claims_its_address_is_a_conflict() {
    for claim in [answer("2001:db8:1::2", "2001:db8:1::2"), answer("2001:db8:1::2", "ff02::1"), question("2001:db8:1::2", "fe80::1")] {
        assert_eq!(interface().discover(&claim, EVIL, OWN, Instant::ZERO).err(), Some(DropReason::NdConflict), "{claim:?}");
    }
}

#[test]
fn an_advertisement_counts_only_when_it_was_asked_for_and_is_addressed_to_us() {
    let mut interface = interface();
    let (now, gateway) = (Instant::ZERO, ip("fe80::1"));
    let reply = answer("fe80::1", "2001:db8:1::2");
    assert_eq!(interface.discover(&reply, GATEWAY_MAC, OWN, now).err(), Some(DropReason::NdNotForUs), "nobody asked");
    assert_eq!(interface.neighbors.resolve(gateway, now), Resolution::Unresolved);
    let unasked = Discovery { kind: Kind::Advertisement { solicited: false }, ..reply };
    assert_eq!(interface.discover(&unasked, EVIL, OWN, now).err(), Some(DropReason::NdNotForUs));
    assert!(matches!(interface.discover(&reply, GATEWAY_MAC, OWN, now), Ok(DiscoveryOutcome::Absorbed)));
    assert_eq!(interface.neighbors.resolve(gateway, now), Resolution::Known(GATEWAY_MAC));
    // Who announces it elsewhere makes the relay ask the station that it knows, and nobody else may answer.
    assert!(interface.discover(&unasked, EVIL, OWN, now).is_err());
    let probe = interface.neighbors.poll(now).expect("it asks");
    let (solicitation, to) = interface.solicitation(probe, OWN);
    assert_eq!((solicitation.destination, to), (gateway, GATEWAY_MAC));
    assert_eq!(interface.discover(&reply, EVIL, OWN, now).err(), Some(DropReason::NdNotForUs));
    assert_eq!(interface.neighbors.resolve(gateway, now), Resolution::Known(GATEWAY_MAC));
}

#[test]
fn it_asks_the_group_of_an_unknown_next_hop_and_finds_what_is_elsewhere_behind_its_gateway() {
    let interface = interface();
    let probe = Probe { target: ip("2001:db8:1::abcd:ef12"), station: None };
    let (solicitation, to) = interface.solicitation(probe, OWN);
    assert_eq!((solicitation.destination, to), (ip("ff02::1:ffcd:ef12"), MacAddr([0x33, 0x33, 0xff, 0xcd, 0xef, 0x12])));
    assert_eq!((solicitation.source, solicitation.station), (ip("2001:db8:1::2"), Some(OWN)));
    assert_eq!(interface.next_hop(ip("2001:db8:1::77")), Some(ip("2001:db8:1::77")));
    assert_eq!(interface.next_hop(ip("2001:db8:2::77")), Some(ip("fe80::1")));
}

#[test]
fn at_its_start_it_probes_for_duplicates_and_then_announces_itself() {
    let mut interface = interface();
    let (probe, to) = interface.next_announcement(OWN).expect("a probe");
    assert_eq!((probe.kind, probe.source, probe.station), (Kind::Solicitation, Ipv6Addr::UNSPECIFIED, None));
    assert_eq!((probe.destination, probe.target), (ip("ff02::1:ff00:2"), ip("2001:db8:1::2")));
    assert_eq!(to, MacAddr([0x33, 0x33, 0xff, 0, 0, 2]));
    let (announcement, to) = interface.next_announcement(OWN).expect("an announcement");
    assert_eq!((announcement.kind, announcement.destination), (Kind::Advertisement { solicited: false }, ALL_NODES));
    assert_eq!((announcement.station, to), (Some(OWN), MacAddr([0x33, 0x33, 0, 0, 0, 1])));
    assert_eq!(interface.next_announcement(OWN), None);
    assert_eq!(self::interface().without_announcements().next_announcement(OWN), None);
}

#[test]
fn what_is_for_another_address_or_no_packet_at_all_is_refused() {
    let mut pool = FramePool::new(1).expect("memory");
    let mut packet = [0; 56];
    let ends = (ip("2001:db8:1::1"), ip("2001:db8:1::3"));
    crate::wire::ipv6::write_header(&mut packet, 17, 64, ends, 16);
    let mut received = |bytes: &[u8]| {
        let mut packet = Packet::copied(pool.take().expect("a frame"), bytes).expect("fits");
        let outcome = interface().receive(&mut packet, GATEWAY_MAC).map(|outcome| matches!(outcome, Ipv6Outcome::ForUs(_)));
        pool.put(packet.into_frame());
        outcome
    };
    assert_eq!(received(&packet), Err(DropReason::OuterNotForUs));
    assert_eq!(received(&packet[..55]), Err(DropReason::OuterMalformed));
    packet[39] = 2;
    assert_eq!(received(&packet), Ok(true));
}
