//! Packets for tests, made and judged by etherparse, which shares no code with the relay.

use std::net::Ipv4Addr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{Ipv4HeaderSlice, PacketBuilder, TcpSlice, UdpSlice};

/// An address and a port, for brevity in tests.
pub(crate) type End = ([u8; 4], u16);

fn write(builder: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::new();
    builder(&mut packet);
    packet
}

/// A UDP datagram.
pub(crate) fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    write(|packet| PacketBuilder::ipv4(from.0, to.0, 64).udp(from.1, to.1).write(packet, payload).expect("fits"))
}

/// A segment with the flags in `flags`: S, A, F, R, P.
pub(crate) fn tcp(from: End, to: End, flags: &str, (sequence, acknowledgement): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, sequence, 64_000);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(acknowledgement),
            'F' => builder.fin(),
            'R' => builder.rst(),
            'P' => builder.psh(),
            other => panic!("no such flag: {other}"),
        };
    }
    write(|packet| builder.write(packet, payload).expect("fits"))
}

/// A SYN with these raw options, padded to whole words.
pub(crate) fn syn_with_options(from: End, to: End, options: &[u8]) -> Vec<u8> {
    let mut padded = options.to_vec();
    padded.resize(options.len().next_multiple_of(4), 0);
    let builder = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, 1_000, 64_000).syn();
    write(|packet| builder.options_raw(&padded).expect("at most 40 bytes").write(packet, &[]).expect("fits"))
}

/// An ICMP echo.
pub(crate) fn echo(from: [u8; 4], to: [u8; 4], request: bool, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(from, to, 64);
    let builder = if request { builder.icmpv4_echo_request(identifier, 1) } else { builder.icmpv4_echo_reply(identifier, 1) };
    write(|packet| builder.write(packet, payload).expect("fits"))
}

/// Any ICMP message: type, code, the 4 bytes behind the checksum, the rest.
pub(crate) fn icmp(from: [u8; 4], to: [u8; 4], type_and_code: (u8, u8), word: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let (kind, code) = type_and_code;
    let builder = PacketBuilder::ipv4(from, to, 64).icmpv4_raw(kind, code, word);
    write(|packet| builder.write(packet, rest).expect("fits"))
}

/// Put the right header checksum into a packet that a test has damaged elsewhere.
pub(crate) fn mend_header_checksum(packet: &mut [u8]) {
    // Not by etherparse: it forgets the reserved bit.
    packet[10..12].fill(0);
    let header_len = (usize::from(packet[0] & 0x0f) * 4).clamp(20, packet.len());
    let words = packet[..header_len].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    packet[10..12].copy_from_slice(&(!u16::try_from(sum).expect("16 bits")).to_be_bytes());
}

/// Assert that every checksum of a packet is what a full computation gives.
pub(crate) fn assert_checksums(packet: &[u8]) {
    let ip = Ipv4HeaderSlice::from_slice(packet).expect("an IPv4 header").to_header();
    assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "header checksum");
    let transport = &packet[ip.header_len()..usize::from(ip.total_len)];
    match ip.protocol.0 {
        6 => {
            let tcp = TcpSlice::from_slice(transport).expect("a TCP segment");
            let right = tcp.to_header().calc_checksum_ipv4(&ip, tcp.payload()).expect("fits");
            assert_eq!(tcp.checksum(), right, "TCP checksum");
        }
        17 => {
            let udp = UdpSlice::from_slice(transport).expect("a UDP datagram");
            if udp.checksum() != 0 {
                assert_eq!(udp.checksum(), udp.to_header().calc_checksum_ipv4(&ip, udp.payload()).expect("fits"), "UDP checksum");
            }
        }
        1 => {
            // Over the raw bytes: etherparse's types forget the bytes of an error's header that they know no use for.
            let sum = Sum16BitWords::new().add_slice(&transport[..2]).add_slice(&transport[4..]);
            assert_eq!(transport[2..4], sum.ones_complement().to_ne_bytes(), "ICMP checksum");
        }
        other => panic!("protocol {other}"),
    }
}

/// Source and destination address.
pub(crate) fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let ip = Ipv4HeaderSlice::from_slice(packet).expect("an IPv4 header");
    (ip.source_addr(), ip.destination_addr())
}
