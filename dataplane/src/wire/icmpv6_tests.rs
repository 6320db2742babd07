//! Tests of `icmpv6.rs`.

use etherparse::{IpNumber, Ipv6Header, PacketBuilder};

use super::*;

const HOST: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x17];
const SERVER: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(HOST, SERVER, 64).udp(40_000, 443).write(&mut packet, payload).expect("a packet");
    packet
}

#[test]
fn an_independent_parser_reads_the_refusal() {
    for len in [0, 1, 64, 1_182, 1_183, 1_184, 1_185, 1_400] {
        let original = udp(&vec![7; len]);
        let mut out = [0xee; 1_600];
        let written = administratively_prohibited(&mut out, 1_420, &original).expect("an error");
        assert_eq!(written, (48 + original.len()).min(1_280));
        let (header, message) = Ipv6Header::from_slice(&out[..written]).expect("a header");
        assert_eq!((header.source, header.destination, header.next_header), (SERVER, HOST, IpNumber::IPV6_ICMP));
        assert_eq!(usize::from(header.payload_length), message.len());
        let message = etherparse::Icmpv6Slice::from_slice(message).expect("a message");
        assert!(message.is_checksum_valid(SERVER, HOST), "{len}");
        assert_eq!((message.type_u8(), message.code_u8(), message.bytes5to8()), (1, 1, [0; 4]));
        assert_eq!(message.payload(), &original[..written - 48]);
    }
}

#[test]
fn it_is_no_longer_than_the_tunnel_carries_and_fits_where_it_is_written() {
    let original = udp(&[7; 1_000]);
    let mut out = [0; 1_600];
    assert_eq!(administratively_prohibited(&mut out, 576, &original), Some(576));
    assert_eq!(administratively_prohibited(&mut out, 47, &original), None);
    assert_eq!(administratively_prohibited(&mut out[..1_000], 1_280, &original), None);
}

#[test]
fn nothing_is_said_about_what_could_be_an_error_or_is_no_single_hosts() {
    let original = udp(&[7; 64]);
    let mut out = [0; 1_600];
    for next_header in (0..=255).filter(|next_header| ![6, 17].contains(next_header)) {
        let mut packet = original.clone();
        packet[NEXT_HEADER] = next_header;
        assert_eq!(administratively_prohibited(&mut out, 1_280, &packet), None, "{next_header}");
    }
    for kind in 0..=255 {
        let mut packet = original.clone();
        (packet[NEXT_HEADER], packet[HEADER_LEN]) = (next_header::ICMPV6, kind);
        assert_eq!(administratively_prohibited(&mut out, 1_280, &packet).is_some(), kind == ECHO_REQUEST, "{kind}");
    }
    for (at, first, rest) in
        [(SOURCE, 0, 0), (SOURCE, 0, 1), (SOURCE, 0xff, 1), (DESTINATION, 0, 0), (DESTINATION, 0, 1), (DESTINATION, 0xff, 2)]
    {
        let mut packet = original.clone();
        packet[at..at + 16].fill(0);
        (packet[at], packet[at + 15]) = (first, rest);
        assert_eq!(administratively_prohibited(&mut out, 1_280, &packet), None, "{first:x}..{rest:x} at {at}");
    }
    for len in 0..HEADER_LEN + ICMP_HEADER {
        assert_eq!(administratively_prohibited(&mut out, 1_280, &original[..len]), None, "{len} bytes");
    }
    let mut ipv4 = original;
    ipv4[0] = 0x45;
    assert_eq!(administratively_prohibited(&mut out, 1_280, &ipv4), None);
}
