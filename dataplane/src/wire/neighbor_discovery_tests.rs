//! Tests of `neighbor_discovery.rs`.

use super::*;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 66]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn question() -> Discovery {
    let (source, target) = (ip("2001:db8::1"), ip("2001:db8::2"));
    Discovery { kind: Kind::Solicitation, source, destination: solicited_node(target), target, station: Some(STATION) }
}

fn answer() -> Discovery {
    let kind = Kind::Advertisement { solicited: true };
    Discovery { kind, source: ip("fe80::1"), destination: ip("2001:db8::2"), target: ip("2001:db8::1"), station: Some(STATION) }
}

fn parse(packet: &[u8]) -> Result<Discovery, DropReason> {
    let header = ipv6::Header::parse(packet).expect("a header");
    Discovery::parse(&packet[..header.total_len], &header, STATION)
}

fn written(message: &Discovery) -> Vec<u8> {
    let (bytes, len) = message.bytes();
    bytes[..len].to_vec()
}

/// Change a message and put the right checksum in again.
fn changed(message: &Discovery, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = written(message);
    change(&mut packet);
    let len = u16::try_from(packet.len() - HEADER_LEN).expect("short");
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    let ends = (ipv6::read_address(&packet, 8), ipv6::read_address(&packet, 24));
    icmpv6::write_checksum(&mut packet, ends);
    packet
}

#[test]
fn what_is_written_reads_back_and_an_independent_parser_finds_its_checksum_right() {
    let probe = Discovery { source: Ipv6Addr::UNSPECIFIED, station: None, ..question() };
    let announcement = Discovery { kind: Kind::Advertisement { solicited: false }, destination: ALL_NODES, ..answer() };
    for message in [question(), answer(), probe, announcement] {
        let packet = written(&message);
        assert_eq!(parse(&packet), Ok(message));
        let (header, rest) = etherparse::Ipv6Header::from_slice(&packet).expect("a header");
        assert_eq!((header.hop_limit, usize::from(header.payload_length)), (255, rest.len()));
        let judged = etherparse::Icmpv6Slice::from_slice(rest).expect("a message");
        assert!(judged.is_checksum_valid(header.source, header.destination));
        assert!(is_discovery(&packet));
    }
}

#[test]
fn what_came_from_another_network_or_is_damaged_is_discarded() {
    for message in [question(), answer()] {
        for hop_limit in [0, 1, 64, 254] {
            let mut packet = written(&message);
            packet[7] = hop_limit;
            assert_eq!(parse(&packet), Err(DropReason::NdMalformed), "hop limit {hop_limit}");
        }
        for bit in 0..(message.bytes().1 - HEADER_LEN) * 8 {
            let mut packet = written(&message);
            packet[HEADER_LEN + bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&packet).is_err(), "bit {bit}");
        }
        for len in 0..message.bytes().1 - HEADER_LEN {
            let packet = changed(&message, |packet| packet.truncate(HEADER_LEN + len.max(2) + 2));
            let whole = packet.len() == written(&message).len() - OPTION || packet.len() == written(&message).len();
            assert_eq!(parse(&packet).is_ok(), whole, "{len} bytes");
        }
    }
}

#[test]
fn the_letter_of_rfc_4861_sections_7_1_1_and_7_1_2() {
    let refused = [
        changed(&question(), |packet| packet[HEADER_LEN + 1] = 1),
        // A target that is a group's.
        changed(&question(), |packet| packet[HEADER_LEN + 8] = 0xff),
        changed(&answer(), |packet| packet[HEADER_LEN + 8] = 0xff),
        // An option of length zero, and one that is longer than the rest.
        changed(&question(), |packet| packet[HEADER_LEN + FIXED + 1] = 0),
        changed(&question(), |packet| packet[HEADER_LEN + FIXED + 1] = 2),
        // A probe for duplicates with an option, or to somebody.
        changed(&question(), |packet| packet[8..24].fill(0)),
        written(&Discovery { source: Ipv6Addr::UNSPECIFIED, station: None, destination: ip("2001:db8::2"), ..question() }),
        // "Solicited" to a group; from nobody.
        written(&Discovery { destination: ALL_NODES, ..answer() }),
        written(&Discovery { source: Ipv6Addr::UNSPECIFIED, ..answer() }),
        // In the name of another station.
        written(&Discovery { station: Some(OTHER), ..question() }),
        written(&Discovery { station: Some(OTHER), ..answer() }),
    ];
    for packet in refused {
        assert_eq!(parse(&packet), Err(DropReason::NdMalformed), "{packet:02x?}");
    }
    // Unknown options are skipped (section 4.6).
    let more = changed(&question(), |packet| packet.extend([200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(parse(&more), Ok(question()));
}

#[test]
fn routers_and_redirects_are_refused_by_name() {
    for kind in [133, 134, 137] {
        let packet = changed(&question(), |packet| packet[HEADER_LEN] = kind);
        assert!(is_discovery(&packet));
        assert_eq!(parse(&packet), Err(DropReason::NdRefused));
    }
    for other in (0..=255).filter(|kind| !(133..=137).contains(kind)) {
        assert!(!is_discovery(&changed(&question(), |packet| packet[HEADER_LEN] = other)));
    }
}

#[test]
fn groups_are_those_of_rfc_4291_and_rfc_2464() {
    assert_eq!(solicited_node(ip("4037::1:800:200e:8c6c")), ip("ff02::1:ff0e:8c6c"));
    assert_eq!(group_mac(ip("ff02::1:ff0e:8c6c")), MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    assert!(group_mac(ALL_NODES).is_ipv6_multicast());
}
