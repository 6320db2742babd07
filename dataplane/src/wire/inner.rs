//! [`Inner`]: all that the relay must know of an inner IPv4 packet, read once and checked.
//!
//! Nothing later on the packet's way reads a length or an offset from the packet again.

use std::net::Ipv4Addr;

use super::checksum::{Delta, Sum};
use super::fragment::{FLAGS, Fragment, NOT_WHOLE};
use super::{mss, read_address, read_u16, read_u32, write_u16};
use crate::drop_reason::DropReason;

/// Length of every inner IPv4 header that is let through: options are refused. Also the offset of the transport header.
pub const HEADER_LEN: usize = 20;

/// Offset of the header checksum (RFC 791 3.1).
pub(crate) const HEADER_CHECKSUM: usize = 10;
/// Offset of the source address.
pub(crate) const SOURCE: usize = 12;
/// Offset of the destination address.
pub(crate) const DESTINATION: usize = 16;
/// Offset of the time to live.
const HOP_LIMIT: usize = 8;

/// The transport protocols that are translated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// ICMP: the value is the IP protocol number, as in all of them.
    Icmp = 1,
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

impl Protocol {
    /// `tcp`, `udp` or `icmp`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The protocol with this IP protocol number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// An inner packet that was checked: its lengths lie inside the bytes it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source port; the identifier of an ICMP echo; 0 for any other ICMP message.
    pub source_port: u16,
    /// Destination port; the identifier of an ICMP echo; 0 for any other ICMP message.
    pub destination_port: u16,
    /// Time to live.
    pub hop_limit: u8,
    /// "Don't fragment" is set.
    pub dont_fragment: bool,
    /// Where it lies in its datagram, if it is not all of it.
    pub fragment: Option<Fragment>,
    /// Bytes of the IP packet. The bytes it was read from may be more (Ethernet padding, tunnel padding): cut them.
    pub total_len: usize,
    /// What only one protocol has.
    pub payload: Payload,
}

/// What only one protocol has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp,
    /// An ICMP echo request or reply.
    IcmpEcho {
        /// Request, else reply.
        request: bool,
    },
    /// An ICMP error (destination unreachable, time exceeded, parameter problem); what it quotes is read by
    /// [`super::icmp::Quoted::parse`].
    IcmpError {
        /// ICMP type: 3, 11 or 12.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Any other ICMP message: `IcmpTypeRefused` where it would be translated.
    IcmpOther {
        /// ICMP type.
        kind: u8,
    },
    /// A fragment that is not the first: ports, and all else, stand in the first one (see [`super::fragment::continued`]).
    Continued,
}

/// The header of a TCP segment, as far as a connection's state needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// Flags, see [`tcp_flags`].
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// Acknowledgement number; only meaningful with [`tcp_flags::ACK`].
    pub acknowledgement: u32,
    /// The window as it stands in the header, not scaled.
    pub window: u16,
    /// Shift count of the window scale option of a SYN, at most 14 (RFC 7323 2.3).
    pub window_scale: Option<u8>,
    /// Bytes of data.
    pub data_len: u16,
}

/// Bits of [`Tcp::flags`] (RFC 9293 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

/// ICMP types (RFC 792).
pub(crate) mod icmp_type {
    pub(crate) const ECHO_REPLY: u8 = 0;
    pub(crate) const DESTINATION_UNREACHABLE: u8 = 3;
    pub(crate) const ECHO_REQUEST: u8 = 8;
    pub(crate) const TIME_EXCEEDED: u8 = 11;
    pub(crate) const PARAMETER_PROBLEM: u8 = 12;
}

impl Inner {
    /// Read and check a packet, whole or a fragment. `packet` may be longer than the IP packet in it, never shorter.
    ///
    /// # Errors
    /// The reason to drop it: one of the `Inner` stage, `Ipv6Refused`, `IcmpChecksumInvalid`, or for a fragment `IcmpTypeRefused`.
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        // A lone IPv6 or garbage byte is not worth telling apart from a truncated IPv4 packet.
        let header = packet.first_chunk::<HEADER_LEN>().ok_or(DropReason::InnerMalformed)?;
        let (total_len, flags) = check_header(header, packet)?;
        let (source, destination) = (read_address(header, SOURCE), read_address(header, DESTINATION));
        if is_martian(source) {
            return Err(DropReason::InnerSourceInvalid);
        }
        if is_martian(destination) {
            return Err(DropReason::InnerDestinationInvalid);
        }
        let protocol = Protocol::from_number(header[9]).ok_or(DropReason::InnerProtocolUnsupported)?;
        let transport = &packet[HEADER_LEN..total_len];
        let fragment = if flags & NOT_WHOLE == 0 { None } else { Some(Fragment::parse(packet, flags, protocol, transport.len())?) };
        let (source_port, destination_port, payload) = match (fragment, protocol) {
            (Some(fragment), _) => fragment.parse_transport(protocol, transport)?,
            (None, Protocol::Tcp) => parse_tcp(transport)?,
            (None, Protocol::Udp) => parse_udp(transport)?,
            (None, Protocol::Icmp) => parse_icmp(transport)?,
        };
        Ok(Self {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            hop_limit: header[HOP_LIMIT],
            dont_fragment: flags & 0x4000 != 0,
            fragment,
            total_len,
            payload,
        })
    }

    /// The TCP header, where it is a TCP segment.
    #[must_use]
    pub const fn tcp(&self) -> Option<&Tcp> {
        match &self.payload {
            Payload::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// True for a TCP segment that may open a connection: SYN alone of the flags that steer one.
    #[must_use]
    pub const fn is_opening_syn(&self) -> bool {
        use tcp_flags::{ACK, FIN, RST, SYN};
        matches!(self.payload, Payload::Tcp(Tcp { flags, .. }) if flags & (SYN | ACK | RST | FIN) == SYN)
    }

    /// True for a fragment that is not the first of its datagram.
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Some(Fragment { offset: 1.., .. }))
    }

    /// True for an ICMP error.
    #[must_use]
    pub const fn is_icmp_error(&self) -> bool {
        matches!(self.payload, Payload::IcmpError { .. })
    }
}

/// Everything of the IPv4 header that can be wrong, except addresses and protocol. Returns the packet's length, and its flags with the
/// fragment offset. The header's fixed part is read without a check for each field.
fn check_header(header: &[u8; HEADER_LEN], packet: &[u8]) -> Result<(usize, u16), DropReason> {
    match header[0] >> 4 {
        4 => {}
        6 => return Err(DropReason::Ipv6Refused),
        _ => return Err(DropReason::InnerNotIpv4),
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(read_u16(header, 2));
    if header_len < HEADER_LEN || total_len < header_len || total_len > packet.len() {
        return Err(DropReason::InnerMalformed);
    }
    let sum = Sum::default().bytes(header);
    let sum = if header_len > HEADER_LEN { sum.bytes(&packet[HEADER_LEN..header_len]) } else { sum };
    if !sum.is_valid() {
        return Err(DropReason::InnerChecksumInvalid);
    }
    if header_len > HEADER_LEN {
        return Err(DropReason::InnerOptions);
    }
    // RFC 1812 4.2.2.3: a router must not look at the reserved bit.
    Ok((total_len, read_u16(header, FLAGS)))
}

/// Addresses that no single host may send from or be sent to (RFC 1122 3.2.1.3, RFC 6890).
pub(crate) fn is_martian(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 0 | 127 | 224..=255)
}

/// Ports of TCP and UDP; zero is no port (RFC 6335 6), and a datagram that wants no answer has no business here.
pub(super) fn parse_ports(transport: &[u8]) -> Result<(u16, u16), DropReason> {
    match (read_u16(transport, 0), read_u16(transport, 2)) {
        (0, _) | (_, 0) => Err(DropReason::InnerMalformed),
        ports => Ok(ports),
    }
}

pub(super) fn parse_tcp(segment: &[u8]) -> Result<(u16, u16, Payload), DropReason> {
    let header = segment.first_chunk::<20>().ok_or(DropReason::InnerMalformed)?;
    let (source_port, destination_port) = parse_ports(header)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < 20 || header_len > segment.len() {
        return Err(DropReason::InnerMalformed);
    }
    let flags = header[13];
    let options = &segment[20..header_len];
    let tcp = Tcp {
        flags,
        sequence: read_u32(header, 4),
        acknowledgement: read_u32(header, 8),
        window: read_u16(header, 14),
        window_scale: if flags & tcp_flags::SYN == 0 { None } else { mss::window_scale(options) },
        data_len: u16::try_from(segment.len() - header_len).map_err(|_| DropReason::InnerMalformed)?,
    };
    Ok((source_port, destination_port, Payload::Tcp(tcp)))
}

fn parse_udp(datagram: &[u8]) -> Result<(u16, u16, Payload), DropReason> {
    let header = datagram.first_chunk::<8>().ok_or(DropReason::InnerMalformed)?;
    // Bytes behind the datagram's own length are UDP options (RFC 9868) and travel along.
    let length = usize::from(read_u16(header, 4));
    if length < 8 || length > datagram.len() {
        return Err(DropReason::InnerMalformed);
    }
    let (source_port, destination_port) = parse_ports(header)?;
    Ok((source_port, destination_port, Payload::Udp))
}

fn parse_icmp(message: &[u8]) -> Result<(u16, u16, Payload), DropReason> {
    if message.len() < 8 {
        return Err(DropReason::InnerMalformed);
    }
    if !Sum::default().bytes(message).is_valid() {
        return Err(DropReason::IcmpChecksumInvalid);
    }
    let (kind, code) = (message[0], message[1]);
    match kind {
        icmp_type::ECHO_REPLY | icmp_type::ECHO_REQUEST if code == 0 => {
            let identifier = read_u16(message, 4);
            Ok((identifier, identifier, Payload::IcmpEcho { request: kind == icmp_type::ECHO_REQUEST }))
        }
        icmp_type::DESTINATION_UNREACHABLE | icmp_type::TIME_EXCEEDED | icmp_type::PARAMETER_PROBLEM => {
            Ok((0, 0, Payload::IcmpError { kind, code }))
        }
        _ => Ok((0, 0, Payload::IcmpOther { kind })),
    }
}

/// Take one from the time to live of a packet that [`Inner::parse`] accepted.
///
/// # Errors
/// `HopLimitExceeded` where nothing would be left (RFC 1812 5.3.1); the packet stays as it was.
pub fn decrement_hop_limit(packet: &mut [u8]) -> Result<(), DropReason> {
    /// Whatever the time to live is, with the protocol beside it: one from the upper byte of a word.
    const ONE_LESS: Delta = Delta::NONE.word(0x0100, 0);
    let header = packet.first_chunk_mut::<HEADER_LEN>().ok_or(DropReason::HopLimitExceeded)?;
    if header[HOP_LIMIT] < 2 {
        return Err(DropReason::HopLimitExceeded);
    }
    header[HOP_LIMIT] -= 1;
    let checksum = ONE_LESS.apply(read_u16(header, HEADER_CHECKSUM));
    write_u16(header, HEADER_CHECKSUM, checksum);
    Ok(())
}

#[cfg(test)]
#[path = "inner_tests.rs"]
mod tests;
