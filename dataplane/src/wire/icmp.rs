//! ICMP: errors that the relay makes itself, what a received error quotes, and the answer to an echo request.

use std::net::Ipv4Addr;

use super::checksum::{Delta, Sum};
use super::inner::{DESTINATION, HEADER_CHECKSUM, HEADER_LEN, Protocol, SOURCE, icmp_type, is_martian};
use super::underlay::HOP_LIMIT;
use super::{read_address, read_u16, read_u32, write_address, write_u16};
use crate::drop_reason::DropReason;

/// RFC 1812 4.3.2.3: as much of the original as fits without the error being longer than this.
const LONGEST_ERROR: usize = 576;
/// The ICMP header in front of what an error quotes.
const ICMP_HEADER: usize = 8;

/// The errors that the relay sends about packets it cannot forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpErrorKind {
    /// Too big, and DF is set (RFC 1191 4).
    FragmentationNeeded {
        /// The largest packet that would have passed, in bytes.
        next_hop_mtu: u16,
    },
    /// The time to live ran out (RFC 792).
    TimeExceeded,
    /// Unreachable host, and what the relay says when it has no state left to give (RFC 6888 REQ-11).
    HostUnreachable,
    /// Forbidden by policy (RFC 1812 5.2.7.1).
    AdministrativelyProhibited,
}

impl IcmpErrorKind {
    const fn type_and_code(self) -> [u8; 2] {
        match self {
            Self::FragmentationNeeded { .. } => [icmp_type::DESTINATION_UNREACHABLE, 4],
            Self::TimeExceeded => [icmp_type::TIME_EXCEEDED, 0],
            Self::HostUnreachable => [icmp_type::DESTINATION_UNREACHABLE, 1],
            Self::AdministrativelyProhibited => [icmp_type::DESTINATION_UNREACHABLE, 13],
        }
    }
}

/// Write an ICMP error about `original` into `out` and return its length.
///
/// `original` is the IPv4 packet as its sender sent it: call this before translating. `from` is the address that speaks.
///
/// Returns `None` where RFC 1812 4.3.2.7 forbids an error (about an ICMP error, a fragment that is not the first, a packet to or
/// from an address of no single host), where `original` is no IPv4 packet, or where `out` is too short.
pub fn icmp_error(out: &mut [u8], kind: IcmpErrorKind, from: Ipv4Addr, original: &[u8]) -> Option<usize> {
    if !may_cause_an_error(original) {
        return None;
    }
    let original = &original[..usize::from(read_u16(original, 2)).min(original.len())];
    let quoted = &original[..original.len().min(LONGEST_ERROR - HEADER_LEN - ICMP_HEADER)];
    let len = HEADER_LEN + ICMP_HEADER + quoted.len();
    let packet = out.get_mut(..len)?;
    packet.fill(0);
    packet[0] = 0x45;
    // RFC 1812 4.3.2.5: an error carries precedence 6, internetwork control.
    packet[1] = 0xc0;
    write_u16(packet, 2, u16::try_from(len).ok()?);
    packet[8] = HOP_LIMIT;
    packet[9] = Protocol::Icmp as u8;
    write_address(packet, SOURCE, from);
    write_address(packet, DESTINATION, read_address(original, SOURCE));
    let header_checksum = Sum::default().bytes(&packet[..HEADER_LEN]).checksum();
    write_u16(packet, HEADER_CHECKSUM, header_checksum);
    packet[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&kind.type_and_code());
    if let IcmpErrorKind::FragmentationNeeded { next_hop_mtu } = kind {
        write_u16(packet, HEADER_LEN + 6, next_hop_mtu);
    }
    packet[HEADER_LEN + ICMP_HEADER..].copy_from_slice(quoted);
    write_checksum(&mut packet[HEADER_LEN..]);
    Some(len)
}

/// RFC 1812 4.3.2.7.
fn may_cause_an_error(original: &[u8]) -> bool {
    let header_len = usize::from(original.first().copied().unwrap_or(0) & 0x0f) * 4;
    if header_len < HEADER_LEN || original.len() < header_len + ICMP_HEADER || original[0] >> 4 != 4 {
        return false;
    }
    if usize::from(read_u16(original, 2)) < header_len + ICMP_HEADER {
        return false;
    }
    let is_later_fragment = read_u16(original, 6) & 0x1fff != 0;
    let is_icmp = original[9] == Protocol::Icmp as u8;
    // Any type that is not a query could be an error we do not know: none gets an error.
    let is_query = matches!(original[header_len], icmp_type::ECHO_REPLY | icmp_type::ECHO_REQUEST | 13..=18);
    let is_one_hosts = !is_martian(read_address(original, SOURCE)) && !is_martian(read_address(original, DESTINATION));
    !is_later_fragment && (!is_icmp || is_query) && is_one_hosts
}

/// Turn an echo request that [`super::inner::Inner::parse`] accepted into its reply, in place. The time to live starts anew.
pub fn echo_reply(packet: &mut [u8]) {
    let (source, destination) = (read_address(packet, SOURCE), read_address(packet, DESTINATION));
    write_address(packet, SOURCE, destination);
    write_address(packet, DESTINATION, source);
    let old = read_u16(packet, 8);
    let new = u16::from(HOP_LIMIT) << 8 | old & 0xff;
    write_u16(packet, 8, new);
    // Swapping the addresses leaves the sum as it was.
    let header_checksum = Delta::default().word(old, new).apply(read_u16(packet, HEADER_CHECKSUM));
    write_u16(packet, HEADER_CHECKSUM, header_checksum);
    let old = read_u16(packet, HEADER_LEN);
    let new = u16::from(icmp_type::ECHO_REPLY) << 8;
    write_u16(packet, HEADER_LEN, new);
    let checksum = Delta::default().word(old, new).apply(read_u16(packet, HEADER_LEN + 2));
    write_u16(packet, HEADER_LEN + 2, checksum);
    let end = usize::from(read_u16(packet, 2)).min(packet.len());
    mend_checksum_of_zeros(&mut packet[HEADER_LEN..end]);
}

/// An echo reply may consist of nothing but zeros. The sum of RFC 1624 then comes out as the other zero of one's complement, which
/// a receiver would refuse: no other checksum covers data without a single bit set.
pub(crate) fn mend_checksum_of_zeros(message: &mut [u8]) {
    if message.iter().all(|byte| *byte == 0) {
        write_u16(message, 2, 0xffff);
    }
}

/// Put the right checksum into an ICMP message.
pub(crate) fn write_checksum(message: &mut [u8]) {
    write_u16(message, 2, 0);
    let checksum = Sum::default().bytes(message).checksum();
    write_u16(message, 2, checksum);
}

/// What an ICMP error quotes: the packet that caused it, as far as it is needed to find its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Source of the packet that caused the error.
    pub source: Ipv4Addr,
    /// Its destination.
    pub destination: Ipv4Addr,
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Its source port, or echo identifier.
    pub source_port: u16,
    /// Its destination port, or echo identifier.
    pub destination_port: u16,
    /// For an ICMP echo: request, else reply.
    pub echo_request: bool,
    /// For TCP: its sequence number.
    pub sequence: u32,
    /// Offset of the quoted IPv4 header in the whole packet.
    pub(crate) header: usize,
    /// Offset of the quoted transport header in the whole packet: behind the quoted header's options (RFC 5508 REQ-3 c).
    pub(crate) transport: usize,
    /// Where the quoted packet ends: at its own total length, at the length of RFC 4884, or at the end of the message.
    pub(crate) end: usize,
}

impl Quoted {
    /// Read what the ICMP error in `packet` quotes. [`super::inner::Inner::parse`] accepted the packet, of `total_len` bytes.
    ///
    /// The embedded transport checksum is not verified (RFC 5508 REQ-3 d): it covers bytes that are not quoted.
    ///
    /// # Errors
    /// `IcmpErrorMalformed` where it quotes too little, a broken header, a fragment without ports or another protocol;
    /// `IcmpErrorUnmatched` where it quotes an ICMP message that no session can have sent.
    pub fn parse(packet: &[u8], total_len: usize) -> Result<Self, DropReason> {
        const MALFORMED: DropReason = DropReason::IcmpErrorMalformed;
        let header = HEADER_LEN + ICMP_HEADER;
        let message = packet.get(..total_len).ok_or(MALFORMED)?;
        let quoted = message.get(header..).ok_or(MALFORMED)?;
        let header_len = usize::from(quoted.first().ok_or(MALFORMED)? & 0x0f) * 4;
        let well_formed = quoted[0] >> 4 == 4 && header_len >= HEADER_LEN && quoted.len() >= header_len + ICMP_HEADER;
        // RFC 5508 REQ-3 b: an embedded header whose checksum is wrong is no reason to believe the rest.
        if !well_formed || !Sum::default().bytes(&quoted[..header_len]).is_valid() || read_u16(quoted, 6) & 0x1fff != 0 {
            return Err(MALFORMED);
        }
        let end = quoted_len(message, quoted);
        if end < header_len + ICMP_HEADER {
            return Err(MALFORMED);
        }
        let protocol = Protocol::from_number(quoted[9]).ok_or(MALFORMED)?;
        let transport = &quoted[header_len..end];
        let (ports, echo_request) = match protocol {
            Protocol::Tcp | Protocol::Udp => ((read_u16(transport, 0), read_u16(transport, 2)), false),
            // An error about anything but an echo is about nothing that was ever translated.
            Protocol::Icmp if !matches!(transport[0], icmp_type::ECHO_REPLY | icmp_type::ECHO_REQUEST) => {
                return Err(DropReason::IcmpErrorUnmatched);
            }
            Protocol::Icmp => ((read_u16(transport, 4), read_u16(transport, 4)), transport[0] == icmp_type::ECHO_REQUEST),
        };
        Ok(Self {
            source: read_address(quoted, SOURCE),
            destination: read_address(quoted, DESTINATION),
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
            echo_request,
            sequence: read_u32(transport, 4),
            header,
            transport: header + header_len,
            end: header + end,
        })
    }
}

/// How many bytes of `quoted` are the packet that caused the error; extensions (RFC 4884) or padding may follow.
fn quoted_len(message: &[u8], quoted: &[u8]) -> usize {
    let own_len = usize::from(read_u16(quoted, 2));
    // RFC 4884 4: the length attribute counts 32-bit words and is zero where there are no extensions.
    let attribute = usize::from(message[HEADER_LEN + 5]) * 4;
    let limit = if attribute == 0 { quoted.len() } else { attribute.min(quoted.len()) };
    own_len.min(limit)
}

#[cfg(test)]
#[path = "icmp_tests.rs"]
mod tests;
