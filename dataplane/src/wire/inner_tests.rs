use super::*;
use crate::wire::samples;
use proptest::prelude::*;

const FROM: samples::End = ([198, 51, 100, 17], 40_000);
const TO: samples::End = ([203, 0, 113, 10], 443);

/// A valid packet after `damage`, with its header checksum mended.
fn damaged(mut packet: Vec<u8>, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Inner, DropReason> {
    damage(&mut packet);
    samples::mend_header_checksum(&mut packet);
    Inner::parse(&packet)
}

fn udp() -> Vec<u8> {
    samples::udp(FROM, TO, b"payload")
}

fn tcp() -> Vec<u8> {
    samples::tcp(FROM, TO, "PA", (7, 9), b"payload")
}

#[test]
fn a_segment_is_read_once_and_whole() {
    let inner = Inner::parse(&tcp()).expect("valid");
    assert_eq!((inner.source, inner.source_port), (FROM.0.into(), FROM.1));
    assert_eq!((inner.destination, inner.destination_port), (TO.0.into(), TO.1));
    assert_eq!((inner.protocol, inner.hop_limit, inner.total_len, inner.dont_fragment), (Protocol::Tcp, 64, 47, true));
    let expected = Tcp { flags: 0x18, sequence: 7, acknowledgement: 9, window: 64_000, window_scale: None, data_len: 7 };
    assert_eq!(inner.payload, Payload::Tcp(expected));
}

#[test]
fn every_truncation_of_every_kind_of_packet_is_refused_without_a_panic() {
    for packet in [udp(), tcp(), samples::echo(FROM.0, TO.0, true, 7, b"payload"), samples::icmp(FROM.0, TO.0, (3, 1), [0; 4], &udp())] {
        assert!(Inner::parse(&packet).is_ok());
        for len in 0..packet.len() {
            assert_eq!(Inner::parse(&packet[..len]), Err(DropReason::InnerMalformed), "{len} bytes");
        }
    }
}

#[test]
fn bytes_behind_the_packet_do_not_belong_to_it() {
    let mut packet = udp();
    let inner = Inner::parse(&packet).expect("valid");
    packet.extend([0xff; 30]);
    assert_eq!(Inner::parse(&packet), Ok(inner));
}

#[test]
fn versions_other_than_4_are_told_apart() {
    let version_6 = (6, DropReason::Ipv6Refused);
    for (version, reason) in [0, 5, 15].map(|version| (version, DropReason::InnerNotIpv4)).into_iter().chain([version_6]) {
        let mut packet = udp();
        packet[0] = version << 4 | 5;
        assert_eq!(Inner::parse(&packet), Err(reason), "{version}");
    }
}

#[test]
fn a_wrong_header_checksum_is_refused() {
    let mut packet = udp();
    packet[11] ^= 1;
    assert_eq!(Inner::parse(&packet), Err(DropReason::InnerChecksumInvalid));
}

#[test]
fn a_header_length_that_lies_is_refused_and_options_too() {
    let mut packet = udp();
    packet[0] = 0x44;
    assert_eq!(Inner::parse(&packet), Err(DropReason::InnerMalformed));
    packet[0] = 0x4f;
    assert_eq!(Inner::parse(&packet), Err(DropReason::InnerMalformed), "60 bytes of header in 35");
    // A loose source route (type 131) of 4 bytes.
    let mut with_options = udp();
    with_options.splice(20..20, [131, 3, 4, 0]);
    let options = damaged(with_options, |packet| {
        packet[0] = 0x46;
        packet[3] += 4;
    });
    assert_eq!(options, Err(DropReason::InnerOptions));
}

#[test]
fn the_reserved_bit_is_not_looked_at_and_what_may_be_cut_but_was_not_is_whole() {
    // RFC 1812 4.2.2.3: no router may drop a packet for it.
    assert_eq!(damaged(udp(), |packet| packet[6] |= 0x80), Inner::parse(&udp()));
    let atomic = damaged(udp(), |packet| packet[6] = 0).expect("valid");
    assert_eq!((atomic.dont_fragment, atomic.fragment, atomic.is_later_fragment()), (false, None, false));
}

#[test]
fn addresses_of_no_single_host_are_refused() {
    for address in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [239, 1, 1, 1], [240, 0, 0, 1], [255, 255, 255, 255]] {
        let source = damaged(udp(), |packet| packet[12..16].copy_from_slice(&address));
        assert_eq!(source, Err(DropReason::InnerSourceInvalid), "{address:?}");
        let destination = damaged(udp(), |packet| packet[16..20].copy_from_slice(&address));
        assert_eq!(destination, Err(DropReason::InnerDestinationInvalid), "{address:?}");
    }
}

#[test]
fn protocols_inside_protocols_are_refused() {
    for protocol in [0, 4, 41, 47, 50, 51, 132, 255] {
        assert_eq!(damaged(udp(), |packet| packet[9] = protocol), Err(DropReason::InnerProtocolUnsupported), "{protocol}");
    }
}

#[test]
fn transport_lengths_that_lie_are_refused() {
    for words in [0u8, 4, 7, 15] {
        assert_eq!(damaged(tcp(), |packet| packet[32] = words << 4), Err(DropReason::InnerMalformed), "data offset {words}");
    }
    for length in [0u16, 7, 16, 0xffff] {
        let result = damaged(udp(), |packet| packet[24..26].copy_from_slice(&length.to_be_bytes()));
        assert_eq!(result, Err(DropReason::InnerMalformed), "UDP length {length}");
    }
    assert!(damaged(udp(), |packet| packet[25] = 8).is_ok(), "options behind a datagram (RFC 9868)");
}

#[test]
fn port_zero_is_no_port() {
    for packet in [udp(), tcp()] {
        for at in [20, 22] {
            assert_eq!(damaged(packet.clone(), |packet| packet[at..at + 2].fill(0)), Err(DropReason::InnerMalformed));
        }
    }
}

#[test]
fn icmp_messages_are_told_apart_and_their_checksum_is_verified() {
    let kind = |kind, code| {
        Inner::parse(&samples::icmp(FROM.0, TO.0, (kind, code), [0, 9, 0, 1], &[0; 28])).map(|inner| (inner.source_port, inner.payload))
    };
    assert_eq!(kind(8, 0), Ok((9, Payload::IcmpEcho { request: true })));
    assert_eq!(kind(0, 0), Ok((9, Payload::IcmpEcho { request: false })));
    assert_eq!(kind(8, 1), Ok((0, Payload::IcmpOther { kind: 8 })));
    for error in [3, 11, 12] {
        assert_eq!(kind(error, 2), Ok((0, Payload::IcmpError { kind: error, code: 2 })));
    }
    for other in [4, 5, 9, 10, 13, 17, 42] {
        assert_eq!(kind(other, 0), Ok((0, Payload::IcmpOther { kind: other })));
    }
    for at in 20..35 {
        let mut packet = samples::echo(FROM.0, TO.0, true, 7, b"payload");
        packet[at] ^= 0x10;
        assert_eq!(Inner::parse(&packet), Err(DropReason::IcmpChecksumInvalid), "byte {at}");
    }
}

#[test]
fn the_time_to_live_counts_down_to_one_and_no_further() {
    let mut packet = udp();
    for left in (1..64).rev() {
        assert_eq!(decrement_hop_limit(&mut packet), Ok(()));
        samples::assert_checksums(&packet);
        assert_eq!(packet[8], left);
    }
    let last = packet.clone();
    assert_eq!(decrement_hop_limit(&mut packet), Err(DropReason::HopLimitExceeded));
    assert_eq!(packet, last);
    packet[8] = 0;
    assert_eq!(decrement_hop_limit(&mut packet), Err(DropReason::HopLimitExceeded));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic_or_believe_a_length(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), mend: bool, protocol in 0..4usize) {
        if mend && bytes.len() >= 20 {
            bytes[0] = 0x45;
            let len = u16::try_from(bytes.len()).expect("short");
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[6] &= 0x40;
            bytes[7] = 0;
            bytes[9] = [1, 6, 17, bytes[9]][protocol];
            samples::mend_header_checksum(&mut bytes);
        }
        if let Ok(inner) = Inner::parse(&bytes) {
            prop_assert!(inner.total_len <= bytes.len());
            prop_assert!(usize::from(inner.tcp().map_or(0, |tcp| tcp.data_len)) + 20 <= inner.total_len);
        }
    }
}
