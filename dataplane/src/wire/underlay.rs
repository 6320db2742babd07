//! The outer headers between municipality and relay: IPv4 and UDP, without options and fragments.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{IpProtocol, Ipv4Packet, UdpPacket};

use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// Outer IPv4 and UDP headers, in bytes.
pub const HEADERS_LEN: usize = IPV4_LEN + UDP_LEN;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;

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

/// What an outer packet turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outer {
    /// A UDP datagram.
    Udp(Datagram),
    /// An ICMP message of this many bytes, the IPv4 header included.
    Icmp(usize),
}

/// Read an outer packet that should be for `own`. The UDP checksum is not verified: the tunnel's own authentication covers more.
///
/// # Errors
/// [`DropReason::OuterMalformed`], [`DropReason::OuterFragment`], [`DropReason::OuterNotForUs`] or
/// [`DropReason::OuterProtocolUnsupported`].
pub fn parse(bytes: &[u8], own: Ipv4Addr) -> Result<Outer, DropReason> {
    let ip = Ipv4Packet::new_checked(bytes).map_err(|_| DropReason::OuterMalformed)?;
    let options = usize::from(ip.header_len()) != IPV4_LEN;
    if ip.version() != 4 || options || !ip.verify_checksum() || !is_host(ip.src_addr()) {
        return Err(DropReason::OuterMalformed);
    }
    if ip.more_frags() || ip.frag_offset() != 0 {
        return Err(DropReason::OuterFragment);
    }
    if ip.dst_addr() != own {
        return Err(DropReason::OuterNotForUs);
    }
    match ip.next_header() {
        IpProtocol::Udp => {
            let payload = &bytes[IPV4_LEN..usize::from(ip.total_len())];
            let udp = UdpPacket::new_checked(payload).map_err(|_| DropReason::OuterMalformed)?;
            if udp.src_port() == 0 {
                return Err(DropReason::OuterMalformed);
            }
            Ok(Outer::Udp(Datagram {
                source: SocketAddrV4::new(ip.src_addr(), udp.src_port()),
                destination: SocketAddrV4::new(ip.dst_addr(), udp.dst_port()),
                ecn: ip.ecn(),
                payload_len: usize::from(udp.len()) - UDP_LEN,
            }))
        }
        IpProtocol::Icmp => Ok(Outer::Icmp(usize::from(ip.total_len()))),
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
    let (Ok(total_len), Ok(udp_len)) = (u16::try_from(packet.len() + HEADERS_LEN), u16::try_from(packet.len() + UDP_LEN)) else {
        return false;
    };
    if !packet.grow_front(HEADERS_LEN) {
        return false;
    }
    let (ip_bytes, udp_bytes) = packet.bytes_mut().split_at_mut(IPV4_LEN);
    ip_bytes.fill(0);
    let mut ip = Ipv4Packet::new_unchecked(ip_bytes);
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_ecn(ecn);
    ip.set_total_len(total_len);
    ip.set_dont_frag(true);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_next_header(IpProtocol::Udp);
    ip.set_src_addr(*source.ip());
    ip.set_dst_addr(*destination.ip());
    ip.fill_checksum();
    let mut udp = UdpPacket::new_unchecked(udp_bytes);
    udp.set_src_port(source.port());
    udp.set_dst_port(destination.port());
    udp.set_len(udp_len);
    udp.set_checksum(0);
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
