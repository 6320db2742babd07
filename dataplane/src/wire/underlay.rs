//! The outer headers between municipality and relay: IPv4, and UDP or ESP behind it, without options and fragments.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::checksum::Sum;
use super::inner::{DESTINATION, HEADER_CHECKSUM, SOURCE};
use super::{read_address, read_u16, write_address, write_u16};
use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// Outer IPv4 and UDP headers, in bytes.
pub const HEADERS_LEN: usize = IPV4_LEN + UDP_LEN;
/// Outer IPv4 header, in bytes: where ESP without UDP starts.
pub const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;

/// Version 4, and five words: no options.
const VERSION_AND_LENGTH: u8 = 0x45;
/// Of the fragment word: "more fragments", and the offset.
const FRAGMENT: u16 = 0x3fff;
/// Of the upper byte of the fragment word.
const DONT_FRAGMENT: u8 = 0x40;

/// IP protocol numbers.
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ESP: u8 = 50;

/// Hop limit of everything the relay originates (RFC 1700's recommended default).
pub const HOP_LIMIT: u8 = 64;

/// A UDP datagram that arrived on an access port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Where it came from.
    pub source: SocketAddrV4,
    /// Where it was sent to.
    pub destination: SocketAddrV4,
    /// The outer header's ECN bits (RFC 3168).
    pub ecn: u8,
    /// Length of the UDP payload in bytes; it starts at [`HEADERS_LEN`].
    pub payload_len: usize,
}

/// An ESP packet without UDP (IP protocol 50) that arrived on an access port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainEsp {
    /// Where it came from.
    pub source: Ipv4Addr,
    /// The outer header's ECN bits (RFC 3168).
    pub ecn: u8,
    /// Length of the ESP packet in bytes; it starts at [`IPV4_LEN`].
    pub payload_len: usize,
}

/// What an outer packet turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outer {
    /// A UDP datagram.
    Udp(Datagram),
    /// ESP without UDP.
    Esp(PlainEsp),
    /// An ICMP message of this many bytes, the IPv4 header included.
    Icmp(usize),
}

/// Read an outer packet that should be for `own`. The UDP checksum is not verified: the tunnel's own authentication covers more.
///
/// # Errors
/// [`DropReason::OuterMalformed`], [`DropReason::OuterFragment`], [`DropReason::OuterNotForUs`] or
/// [`DropReason::OuterProtocolUnsupported`].
pub fn parse(bytes: &[u8], own: Ipv4Addr) -> Result<Outer, DropReason> {
    let header = bytes.first_chunk::<IPV4_LEN>().ok_or(DropReason::OuterMalformed)?;
    let total_len = usize::from(read_u16(header, 2));
    let sound = header[0] == VERSION_AND_LENGTH && (IPV4_LEN..=bytes.len()).contains(&total_len);
    let source = read_address(header, SOURCE);
    if !sound || !Sum::default().bytes(header).is_valid() || !is_host(source) {
        return Err(DropReason::OuterMalformed);
    }
    if read_u16(header, 6) & FRAGMENT != 0 {
        return Err(DropReason::OuterFragment);
    }
    if read_address(header, DESTINATION) != own {
        return Err(DropReason::OuterNotForUs);
    }
    let (payload, ecn) = (&bytes[IPV4_LEN..total_len], header[1] & 0b11);
    match header[9] {
        UDP => {
            let udp = payload.first_chunk::<UDP_LEN>().ok_or(DropReason::OuterMalformed)?;
            let [source_port, destination_port, udp_len] = [0, 2, 4].map(|at| read_u16(udp, at));
            let payload_len = usize::from(udp_len).checked_sub(UDP_LEN).ok_or(DropReason::OuterMalformed)?;
            if source_port == 0 || UDP_LEN + payload_len > payload.len() {
                return Err(DropReason::OuterMalformed);
            }
            let (source, destination) = (SocketAddrV4::new(source, source_port), SocketAddrV4::new(own, destination_port));
            Ok(Outer::Udp(Datagram { source, destination, ecn, payload_len }))
        }
        ESP => Ok(Outer::Esp(PlainEsp { source, ecn, payload_len: payload.len() })),
        ICMP => Ok(Outer::Icmp(total_len)),
        _ => Err(DropReason::OuterProtocolUnsupported),
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.octets()[0] >= 240 || address.octets()[0] == 0)
}

/// Put outer IPv4 and UDP headers in front of `packet`, with the ECN bits `ecn`. Returns false where they do not fit.
///
/// DF is set, so that a line with a smaller MTU says so instead of fragmenting. The UDP checksum is zero (RFC 768; the
/// tunnel authenticates the payload); with DF set the identification carries nothing (RFC 6864 section 4.1).
#[must_use]
pub fn push(packet: &mut Packet, source: SocketAddrV4, destination: SocketAddrV4, ecn: u8) -> bool {
    let Ok(udp_len) = u16::try_from(packet.len() + UDP_LEN) else { return false };
    if !packet.grow_front(UDP_LEN) {
        return false;
    }
    let header = &mut packet.bytes_mut()[..UDP_LEN];
    for (at, word) in [(0, source.port()), (2, destination.port()), (4, udp_len), (6, 0)] {
        write_u16(header, at, word);
    }
    push_ipv4(packet, UDP, *source.ip(), *destination.ip(), ecn)
}

/// As [`push`], for an ESP packet without UDP.
#[must_use]
pub fn push_esp(packet: &mut Packet, source: Ipv4Addr, destination: Ipv4Addr, ecn: u8) -> bool {
    push_ipv4(packet, ESP, source, destination, ecn)
}

fn push_ipv4(packet: &mut Packet, protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, ecn: u8) -> bool {
    let Ok(total_len) = u16::try_from(packet.len() + IPV4_LEN) else { return false };
    if !packet.grow_front(IPV4_LEN) {
        return false;
    }
    let [length_high, length_low] = total_len.to_be_bytes();
    let mut header = [0; IPV4_LEN];
    header[..10].copy_from_slice(&[VERSION_AND_LENGTH, ecn & 0b11, length_high, length_low, 0, 0, DONT_FRAGMENT, 0, HOP_LIMIT, protocol]);
    write_address(&mut header, SOURCE, source);
    write_address(&mut header, DESTINATION, destination);
    let checksum = Sum::default().bytes(&header).checksum();
    write_u16(&mut header, HEADER_CHECKSUM, checksum);
    packet.bytes_mut()[..IPV4_LEN].copy_from_slice(&header);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FramePool;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 40_000);

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let mut pool = FramePool::new(1).expect("memory");
        let mut packet = Packet::copied(pool.take().expect("a frame"), payload).expect("fits");
        assert!(push(&mut packet, PEER, SocketAddrV4::new(OWN, 51_820), 1));
        let bytes = packet.bytes().to_vec();
        pool.put(packet.into_frame());
        bytes
    }

    #[test]
    fn a_pushed_datagram_reads_back_and_an_independent_parser_agrees() {
        let bytes = datagram(b"hello");
        let Ok(Outer::Udp(read)) = parse(&bytes, OWN) else { panic!("a datagram") };
        assert_eq!((read.source, &bytes[HEADERS_LEN..][..read.payload_len], read.ecn), (PEER, &b"hello"[..], 1));
        let judged = etherparse::SlicedPacket::from_ip(&bytes).expect("etherparse reads it");
        assert!(matches!(judged.transport, Some(etherparse::TransportSlice::Udp(udp)) if udp.payload() == b"hello"));
    }

    #[test]
    fn a_pushed_esp_packet_reads_back_and_an_independent_parser_agrees() {
        let mut pool = FramePool::new(1).expect("memory");
        let mut packet = Packet::copied(pool.take().expect("a frame"), b"\0\0\x12\x34sequence").expect("fits");
        assert!(push_esp(&mut packet, *PEER.ip(), OWN, 2));
        let bytes = packet.bytes().to_vec();
        pool.put(packet.into_frame());
        let read = Outer::Esp(PlainEsp { source: *PEER.ip(), ecn: 2, payload_len: 12 });
        assert_eq!(parse(&bytes, OWN), Ok(read));
        let (judged, rest) = etherparse::Ipv4Header::from_slice(&bytes).expect("etherparse reads it");
        assert_eq!(
            (judged.protocol, judged.header_checksum, rest),
            (etherparse::IpNumber(50), judged.calc_header_checksum(), &bytes[20..])
        );
        assert!((0..bytes.len()).all(|len| parse(&bytes[..len], OWN) == Err(DropReason::OuterMalformed)), "every truncation");
    }

    #[test]
    fn every_truncation_and_every_lying_length_is_malformed() {
        let bytes = datagram(b"hello");
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len], OWN), Err(DropReason::OuterMalformed), "{len} bytes");
        }
        let mut lying = bytes;
        lying[25] += 1; // UDP length beyond the IP packet
        assert_eq!(parse(&lying, OWN), Err(DropReason::OuterMalformed));
    }

    #[test]
    fn a_flipped_header_bit_is_noticed() {
        for bit in 0..160 {
            let mut bytes = datagram(b"hello");
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes, OWN).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn bytes_behind_the_datagram_are_ignored() {
        let mut bytes = datagram(b"hi");
        bytes.resize(60, 0xaa);
        assert!(matches!(parse(&bytes, OWN), Ok(Outer::Udp(Datagram { payload_len: 2, .. }))));
    }
}
