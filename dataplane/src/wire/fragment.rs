//! Fragments of inner packets (RFC 791 3.2): where one lies in its datagram, and how a packet is cut.

use std::ops::Range;

use super::checksum::{Delta, Sum};
use super::inner::{HEADER_CHECKSUM, HEADER_LEN, Inner, Payload, Protocol, Tcp, icmp_type, parse_ports, parse_tcp, tcp_flags};
use super::{read_u16, write_u16};
use crate::drop_reason::DropReason;

/// Offset of the identification.
const ID: usize = 4;
/// Offset of the flags and the fragment offset.
pub(super) const FLAGS: usize = 6;
/// "More fragments" of the flags.
const MORE: u16 = 0x2000;
/// The fragment offset beside the flags, in units of eight bytes.
const OFFSET: u16 = 0x1fff;
/// What is zero in a packet that is whole.
pub(super) const NOT_WHOLE: u16 = MORE | OFFSET;
/// Every fragment but the last carries a multiple of so many bytes.
const UNIT: usize = 8;
/// Most bytes behind the header of a datagram.
const LONGEST: usize = 65_535 - HEADER_LEN;
/// A TCP header without options; that of UDP and the start of ICMP are one unit.
const TCP_HEADER: usize = 20;

/// Where a fragment lies in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Identification: the same in all fragments of a datagram.
    pub id: u16,
    /// Bytes of the datagram before it, headers left out.
    pub offset: u16,
    /// It is not the last one.
    pub more: bool,
}

impl Fragment {
    /// That of a packet which is not whole, with `flags` and offset in one word and `len` bytes behind its header.
    ///
    /// # Errors
    /// `FragmentMalformed`: empty, of no whole number of units although more follow, or beyond the end of any datagram.
    /// `FragmentTiny`: it begins inside a transport header (RFC 1858 3.2, RFC 3128).
    pub(super) fn parse(packet: &[u8], flags: u16, protocol: Protocol, len: usize) -> Result<Self, DropReason> {
        let (offset, more) = (usize::from(flags & OFFSET) * UNIT, flags & MORE != 0);
        if len == 0 || more && !len.is_multiple_of(UNIT) || offset + len > LONGEST {
            return Err(DropReason::FragmentMalformed);
        }
        if protocol == Protocol::Tcp && (1..TCP_HEADER).contains(&offset) {
            return Err(DropReason::FragmentTiny);
        }
        let offset = u16::try_from(offset).map_err(|_| DropReason::FragmentMalformed)?;
        Ok(Self { id: read_u16(packet, ID), offset, more })
    }

    /// Ports and payload of a fragment, as far as it has them. The first one has its whole transport header (RFC 1858 3.1).
    ///
    /// # Errors
    /// `FragmentTiny`, `InnerMalformed`, and `IcmpTypeRefused`: no ICMP message but an echo is so long that it has to be cut.
    pub(super) fn parse_transport(self, protocol: Protocol, transport: &[u8]) -> Result<(u16, u16, Payload), DropReason> {
        if self.offset > 0 {
            return Ok((0, 0, Payload::Continued));
        }
        match protocol {
            Protocol::Tcp if transport.len() < TCP_HEADER || transport.len() < usize::from(transport[12] >> 4) * 4 => {
                Err(DropReason::FragmentTiny)
            }
            Protocol::Tcp => parse_tcp(transport),
            // It was read that it has a unit at least. A UDP length says how long the whole datagram is.
            Protocol::Udp if usize::from(read_u16(transport, 4)) < UNIT => Err(DropReason::InnerMalformed),
            Protocol::Udp => parse_ports(transport).map(|(source, destination)| (source, destination, Payload::Udp)),
            // The checksum covers what is not here; the receiver verifies it over all.
            Protocol::Icmp => match (transport[0], transport[1]) {
                (kind @ (icmp_type::ECHO_REPLY | icmp_type::ECHO_REQUEST), 0) => {
                    let identifier = read_u16(transport, 4);
                    Ok((identifier, identifier, Payload::IcmpEcho { request: kind == icmp_type::ECHO_REQUEST }))
                }
                _ => Err(DropReason::IcmpTypeRefused),
            },
        }
    }
}

/// `later`, with what only the start of its datagram says: ports, and for TCP where in the stream it lies.
#[must_use]
pub fn continued(start: &Inner, later: &Inner) -> Inner {
    let payload = match start.payload {
        Payload::Tcp(tcp) => Payload::Tcp(continued_segment(start, &tcp, later)),
        other => other,
    };
    Inner { source_port: start.source_port, destination_port: start.destination_port, payload, ..*later }
}

/// The bytes of `later` as a segment of their own. Only the start opens or resets a connection.
fn continued_segment(start: &Inner, tcp: &Tcp, later: &Inner) -> Tcp {
    let transport_header = start.total_len - HEADER_LEN - usize::from(tcp.data_len);
    let behind_header = offset(later).saturating_sub(offset(start) + transport_header);
    Tcp {
        flags: tcp.flags & (tcp_flags::ACK | tcp_flags::FIN),
        sequence: tcp.sequence.wrapping_add(u32::try_from(behind_header).unwrap_or(0)),
        data_len: u16::try_from(later.total_len - HEADER_LEN).unwrap_or(0),
        ..*tcp
    }
}

fn offset(inner: &Inner) -> usize {
    inner.fragment.map_or(0, |fragment| usize::from(fragment.offset))
}

/// A piece of a packet: which bytes behind its header, and its headers as [`Inner`].
pub type Piece = (Range<usize>, Inner);

/// The pieces, of `mtu` bytes at most, that a packet is cut into: a whole one, whose fragments are then called `id`, or a fragment,
/// whose name stays (RFC 791 3.2). `mtu` leaves room for a unit at least.
pub fn pieces(inner: &Inner, id: u16, mtu: u16) -> impl Iterator<Item = Piece> + use<> {
    let inner = *inner;
    let whole = inner.fragment.unwrap_or(Fragment { id, offset: 0, more: false });
    let len = inner.total_len - HEADER_LEN;
    let step = usize::from(mtu).saturating_sub(HEADER_LEN).max(UNIT) / UNIT * UNIT;
    (0..len).step_by(step).map(move |start| {
        let end = len.min(start + step);
        let offset = whole.offset + u16::try_from(start).unwrap_or(u16::MAX);
        let fragment = Fragment { offset, more: whole.more || end < len, ..whole };
        let piece = Inner { total_len: HEADER_LEN + end - start, fragment: Some(fragment), ..inner };
        // The first piece stands for all of a segment: its connection sees it once.
        (start..end, if start == 0 { piece } else { continued(&inner, &piece) })
    })
}

/// Make the header at the start of `packet`, a copy of that of the packet which is cut, the header of this piece.
pub fn write_header(packet: &mut [u8], piece: &Inner) {
    let Some(fragment) = piece.fragment else { return };
    write_u16(packet, 2, u16::try_from(piece.total_len).unwrap_or(u16::MAX));
    write_u16(packet, ID, fragment.id);
    let more = if fragment.more { MORE } else { 0 };
    write_u16(packet, FLAGS, more | (fragment.offset / 8));
    write_u16(packet, HEADER_CHECKSUM, 0);
    let checksum = Sum::default().bytes(&packet[..HEADER_LEN]).checksum();
    write_u16(packet, HEADER_CHECKSUM, checksum);
}

/// Call the datagram of a packet by another identification.
pub fn write_id(packet: &mut [u8], id: u16) {
    let checksum = Delta::default().word(read_u16(packet, ID), id).apply(read_u16(packet, HEADER_CHECKSUM));
    write_u16(packet, HEADER_CHECKSUM, checksum);
    write_u16(packet, ID, id);
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
