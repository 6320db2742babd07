//! The outer headers over IPv6: UDP, without extension headers. As [`super::underlay`], with a checksum that IPv6 does not do without.

use std::net::{Ipv6Addr, SocketAddrV6};

use super::checksum::Sum;
use super::ipv6::{self, HEADER_LEN, Header, is_one_hosts, next_header, pseudo_header, write_header};
use super::underlay::HOP_LIMIT;
use super::{read_u16, write_u16};
use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// Outer IPv6 and UDP headers, in bytes.
pub const HEADERS_LEN: usize = HEADER_LEN + UDP_LEN;
const UDP_LEN: usize = 8;
/// Next header of a fragment (RFC 8200 section 4.5).
const FRAGMENT: u8 = 44;

/// A UDP datagram for the relay. It starts at [`HEADERS_LEN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Where it came from.
    pub source: SocketAddrV6,
    /// The port it was sent to.
    pub destination_port: u16,
    /// The outer header's ECN bits (RFC 3168).
    pub ecn: u8,
    /// Length of the UDP payload in bytes.
    pub payload_len: usize,
}

/// Read a packet with `header`, which is for the relay.
///
/// The UDP checksum is not verified, only its presence (RFC 8200 section 8.1): the tunnel's own authentication covers the payload. Header
/// bytes that no link noticed to be damaged can do what they can with IPv4's ports: an authenticated message makes the relay answer to a
/// wrong address until the next one comes.
///
/// # Errors
/// [`DropReason::OuterMalformed`], also for an address that no single host on another network has, [`DropReason::OuterFragment`],
/// [`DropReason::OuterProtocolUnsupported`].
pub fn parse(packet: &[u8], header: &Header) -> Result<Datagram, DropReason> {
    match header.next_header {
        next_header::UDP => {}
        FRAGMENT => return Err(DropReason::OuterFragment),
        _ => return Err(DropReason::OuterProtocolUnsupported),
    }
    let payload = packet.get(HEADER_LEN..header.total_len).ok_or(DropReason::OuterMalformed)?;
    let udp = payload.first_chunk::<UDP_LEN>().ok_or(DropReason::OuterMalformed)?;
    let [source_port, destination_port, udp_len, checksum] = [0, 2, 4, 6].map(|at| read_u16(udp, at));
    let payload_len = usize::from(udp_len).checked_sub(UDP_LEN).ok_or(DropReason::OuterMalformed)?;
    if source_port == 0 || checksum == 0 || UDP_LEN + payload_len > payload.len() || !is_peer(header.source) {
        return Err(DropReason::OuterMalformed);
    }
    let source = SocketAddrV6::new(header.source, source_port, 0, 0);
    Ok(Datagram { source, destination_port, ecn: header.ecn, payload_len })
}

/// Whether a municipal router can have this address: no link-local one, which means nothing beyond the link, and no IPv4 in the form of IPv6.
fn is_peer(address: Ipv6Addr) -> bool {
    is_one_hosts(address) && !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none()
}

/// The source of a datagram whose headers were cut off and still stand in front of its payload, as [`parse`] accepted them.
#[must_use]
pub fn source_in_front_of(payload: &mut Packet) -> Option<SocketAddrV6> {
    let len = payload.len();
    if !payload.grow_front(HEADERS_LEN) {
        return None;
    }
    let headers = payload.bytes();
    let source = SocketAddrV6::new(ipv6::read_address(headers, ipv6::SOURCE), read_u16(headers, HEADER_LEN), 0, 0);
    let back = payload.set_range(HEADERS_LEN, len);
    debug_assert!(back, "where it was");
    Some(source)
}

/// Put outer IPv6 and UDP headers in front of `packet`, with the ECN bits `ecn`. Returns false where they do not fit.
#[must_use]
pub fn push(packet: &mut Packet, source: SocketAddrV6, destination: SocketAddrV6, ecn: u8) -> bool {
    let Ok(udp_len) = u16::try_from(packet.len() + UDP_LEN) else { return false };
    // The payload is ciphertext, fresh from the cipher and in the first cache: there is no older sum to start from.
    let payload = Sum::default().bytes(packet.bytes()).folded();
    if !packet.grow_front(HEADERS_LEN) {
        return false;
    }
    let headers = &mut packet.bytes_mut()[..HEADERS_LEN];
    let ends = (*source.ip(), *destination.ip());
    write_header(headers, next_header::UDP, HOP_LIMIT, ends, udp_len);
    headers[1] = (ecn & 0b11) << 4;
    let sum = pseudo_header(ends.0, ends.1, next_header::UDP, udp_len);
    let sum = sum.word(source.port()).word(destination.port()).word(udp_len).word(payload);
    // RFC 8200 section 8.1: one that comes out as zero is sent as 0xffff.
    let checksum = if sum.checksum() == 0 { 0xffff } else { sum.checksum() };
    for (at, word) in [(0, source.port()), (2, destination.port()), (4, udp_len), (6, checksum)] {
        write_u16(headers, HEADER_LEN + at, word);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FramePool;

    const OWN: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 51_820, 0, 0);
    const PEER: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0x5, 0, 0, 0, 0, 0x11), 40_000, 0, 0);

    fn datagram(payload: &[u8], source: SocketAddrV6) -> Vec<u8> {
        let mut pool = FramePool::new(1).expect("memory");
        let mut packet = Packet::copied(pool.take().expect("a frame"), payload).expect("fits");
        assert!(push(&mut packet, source, OWN, 1));
        let bytes = packet.bytes().to_vec();
        pool.put(packet.into_frame());
        bytes
    }

    fn parsed(bytes: &[u8]) -> Result<Datagram, DropReason> {
        parse(bytes, &Header::parse(bytes)?)
    }

    #[test]
    fn a_pushed_datagram_reads_back_and_an_independent_parser_finds_its_checksum_right() {
        for len in [0, 1, 2, 3, 4, 5, 31, 32, 1_451, 1_452] {
            let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
            let bytes = datagram(&payload, PEER);
            let read = parsed(&bytes).expect("a datagram");
            assert_eq!((read.source, read.destination_port, read.ecn, read.payload_len), (PEER, 51_820, 1, len));
            assert_eq!(&bytes[HEADERS_LEN..], payload);
            let (header, _) = etherparse::Ipv6Header::from_slice(&bytes).expect("a header");
            let udp = etherparse::UdpHeader::from_slice(&bytes[HEADER_LEN..]).expect("a header").0;
            assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv6(&header, &payload), "{len} bytes");
            assert_eq!(header.hop_limit, 64);
        }
    }

    /// Two bytes that bring the sum to 0xffff, and so the checksum to zero.
    #[test]
    fn a_checksum_of_zero_is_sent_as_ones() {
        let sum = datagram(&[0, 0], PEER)[HEADER_LEN + 6..][..2].to_vec();
        let bytes = datagram(&sum, PEER);
        assert_eq!(bytes[HEADER_LEN + 6..][..2], [0xff, 0xff]);
        assert!(parsed(&bytes).is_ok());
    }

    #[test]
    fn every_truncation_and_every_lying_length_is_malformed() {
        let bytes = datagram(b"hello", PEER);
        for len in 0..bytes.len() {
            assert_eq!(parsed(&bytes[..len]), Err(DropReason::OuterMalformed), "{len} bytes");
        }
        for (at, byte) in [(HEADER_LEN + 5, 14), (HEADER_LEN + 5, 7), (5, 7), (0, 0x40)] {
            let mut lying = bytes.clone();
            lying[at] = byte;
            assert_eq!(parsed(&lying), Err(DropReason::OuterMalformed), "{byte} at {at}");
        }
        let padded = [&bytes[..], &[0xaa; 20]].concat();
        assert_eq!(parsed(&padded), parsed(&bytes));
    }

    #[test]
    fn what_has_no_checksum_no_port_or_no_peers_address_is_malformed() {
        let mut bytes = datagram(b"hello", PEER);
        bytes[HEADER_LEN + 6..][..2].fill(0);
        assert_eq!(parsed(&bytes), Err(DropReason::OuterMalformed));
        for source in ["[::]:5", "[::1]:5", "[ff02::1]:5", "[fe80::1]:5", "[::ffff:192.0.2.1]:5", "[2001:db8::5]:0"] {
            let bytes = datagram(b"hello", source.parse().expect("an address"));
            assert_eq!(parsed(&bytes), Err(DropReason::OuterMalformed), "{source}");
        }
    }

    #[test]
    fn fragments_and_other_headers_are_told_apart() {
        let bytes = datagram(b"hello", PEER);
        for kind in (0..=255).filter(|kind| *kind != next_header::UDP) {
            let mut other = bytes.clone();
            other[ipv6::NEXT_HEADER] = kind;
            let reason = if kind == FRAGMENT { DropReason::OuterFragment } else { DropReason::OuterProtocolUnsupported };
            assert_eq!(parsed(&other), Err(reason), "{kind}");
        }
    }

    #[test]
    fn the_source_is_found_again_in_front_of_the_payload() {
        let mut pool = FramePool::new(1).expect("memory");
        let bytes = datagram(b"hello", PEER);
        let mut packet = Packet::copied(pool.take().expect("a frame"), &bytes).expect("fits");
        assert!(packet.set_range(HEADERS_LEN, 5));
        assert_eq!(source_in_front_of(&mut packet), Some(PEER));
        assert_eq!(packet.bytes(), b"hello");
    }
}
