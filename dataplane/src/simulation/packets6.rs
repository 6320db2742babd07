//! IPv6 packets as hosts make and read them, by the letters of RFC 8200 and RFC 4443 and without the relay's own `wire`.

use std::net::{Ipv6Addr, SocketAddrV6};

use ipnetwork::Ipv6Network;

/// Length of an IPv6 header without extensions.
pub const IPV6_LEN: usize = 40;
/// Next header of UDP.
pub const UDP: u8 = 17;
/// Next header of ICMPv6.
pub const ICMPV6: u8 = 58;

/// An address and port, from text. Panics on anything else: only tests call it.
#[must_use]
pub fn at6(text: &str) -> SocketAddrV6 {
    text.parse().expect("[address]:port")
}

/// An address, from text.
#[must_use]
pub fn ip6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

/// A prefix, from text.
#[must_use]
pub fn network6(text: &str) -> Ipv6Network {
    text.parse().expect("an IPv6 prefix")
}

/// A packet with this payload behind its header.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, (next_header, hop_limit): (u8, u8), payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, next_header, hop_limit][..], &source.octets(), &destination.octets(), payload].concat()
}

/// A UDP packet.
#[must_use]
pub fn udp6(source: SocketAddrV6, destination: SocketAddrV6, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("short");
    let words = [source.port(), destination.port(), len, 0].map(u16::to_be_bytes).concat();
    let datagram = [&words[..], payload].concat();
    summed(*source.ip(), *destination.ip(), (UDP, 64), datagram, 6)
}

/// An ICMPv6 message, given from its type on; its checksum is put in.
#[must_use]
pub fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    summed(source, destination, (ICMPV6, hop_limit), message.to_vec(), 2)
}

/// An echo request.
#[must_use]
pub fn ping6(source: Ipv6Addr, destination: Ipv6Addr, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = identifier.to_be_bytes();
    icmp6(source, destination, 64, &[&[128, 0, 0, 0, high, low, 0, 1][..], payload].concat())
}

/// `packet` with an extension header behind its first: `kind`, and what stands in it behind its next header.
#[must_use]
pub fn extended(packet: &[u8], kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let next = std::mem::replace(&mut bytes[6], kind);
    bytes.splice(IPV6_LEN..IPV6_LEN, [&[next][..], rest].concat());
    let [high, low] = u16::try_from(bytes.len() - IPV6_LEN).expect("short").to_be_bytes();
    (bytes[4], bytes[5]) = (high, low);
    bytes
}

fn summed(source: Ipv6Addr, destination: Ipv6Addr, headers: (u8, u8), mut payload: Vec<u8>, at: usize) -> Vec<u8> {
    let sum = checksum(source, destination, headers.0, &payload);
    // RFC 8200 section 8.1: a UDP checksum of zero is sent as 0xffff.
    let sum = if sum == 0 && headers.0 == UDP { 0xffff } else { sum };
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, headers, &payload)
}

/// RFC 1071 over the pseudo-header of RFC 8200 section 8.1 and the payload: zero where the payload holds its own, right, checksum.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> u16 {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let covered = [&source.octets()[..], &destination.octets(), &len, &[0, 0, 0, next_header], payload].concat();
    let words = covered.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum = words.fold(0, |sum: u32, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    u16::try_from(!sum & 0xffff).expect("16 bits")
}

/// What a host sees of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen6 {
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// What stands behind the header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// From the transport header on.
    pub payload: Vec<u8>,
}

/// Read a UDP or ICMPv6 packet and verify its checksum.
///
/// # Errors
/// What is wrong with it.
pub fn read6(packet: &[u8]) -> Result<Seen6, String> {
    if packet.len() < IPV6_LEN || packet[0] != 0x60 {
        return Err("no IPv6 header".into());
    }
    let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let payload = packet.get(IPV6_LEN..IPV6_LEN + len).ok_or("the payload's length")?;
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen bytes"));
    let (source, destination, next_header) = (address(8), address(24), packet[6]);
    if !matches!(next_header, UDP | ICMPV6) {
        return Err(format!("next header {next_header}"));
    }
    if next_header == UDP && payload.get(6..8) == Some(&[0, 0]) {
        return Err("no UDP checksum".into());
    }
    if checksum(source, destination, next_header, payload) != 0 {
        return Err("the checksum".into());
    }
    Ok(Seen6 { source, destination, next_header, hop_limit: packet[7], payload: payload.to_vec() })
}

/// The two ends and the payload of a sound UDP packet.
#[must_use]
pub fn datagram(packet: &[u8]) -> Option<(SocketAddrV6, SocketAddrV6, Vec<u8>)> {
    let seen = read6(packet).ok().filter(|seen| seen.next_header == UDP)?;
    let port = |at: usize| u16::from_be_bytes([seen.payload[at], seen.payload[at + 1]]);
    let ends = (SocketAddrV6::new(seen.source, port(0), 0, 0), SocketAddrV6::new(seen.destination, port(2), 0, 0));
    Some((ends.0, ends.1, seen.payload[8..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_independent_parser_reads_what_hosts_send() {
        let packet = udp6(at6("[2001:db8::1]:5"), at6("[2001:db8::2]:53"), b"odd");
        let seen = etherparse::SlicedPacket::from_ip(&packet).expect("sound");
        let Some(etherparse::TransportSlice::Udp(udp)) = &seen.transport else { panic!("UDP") };
        let header = etherparse::Ipv6Header::from_slice(&packet).expect("a header").0;
        let right = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).expect("short");
        assert_eq!((udp.checksum(), udp.payload()), (right, &b"odd"[..]));
        assert_eq!(read6(&packet).map(|seen| seen.next_header), Ok(UDP));
        let rh0 = extended(&packet, 43, &[2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let seen = etherparse::SlicedPacket::from_ip(&rh0).expect("sound");
        assert!(seen.transport.is_some(), "the datagram is still found behind the routing header");
    }
}
