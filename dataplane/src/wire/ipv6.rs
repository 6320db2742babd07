//! The IPv6 header (RFC 8200 section 3), and the checksum that upper layers take over parts of it.

use std::net::Ipv6Addr;

use super::checksum::Sum;
use super::{read_u16, write_u16};
use crate::drop_reason::DropReason;

/// Length of the header without extensions, in bytes.
pub const HEADER_LEN: usize = 40;
/// RFC 8200 section 5: every line carries packets of so many bytes.
pub const MINIMUM_MTU: usize = 1_280;

/// Offset of the length of what follows the header.
pub(crate) const PAYLOAD_LEN: usize = 4;
/// Offset of the next header.
pub(crate) const NEXT_HEADER: usize = 6;
/// Offset of the hop limit.
pub(crate) const HOP_LIMIT_AT: usize = 7;
/// Offset of the source address.
pub(crate) const SOURCE: usize = 8;
/// Offset of the destination address.
pub(crate) const DESTINATION: usize = 24;

/// Numbers of next headers (RFC 8200, RFC 4443), which are IP protocol numbers.
pub(crate) mod next_header {
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
}

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// What stands behind the header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// ECN bits (RFC 3168).
    pub ecn: u8,
    /// Bytes of the packet, the header included. The bytes it was read from may be more: Ethernet padding.
    pub total_len: usize,
}

impl Header {
    /// Read the header of `packet`.
    ///
    /// # Errors
    /// [`DropReason::OuterMalformed`] for bytes that end too early, another version, a length beyond the bytes, a source that is a group's or
    /// loopback, and a packet to `::`.
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let header = packet.first_chunk::<HEADER_LEN>().ok_or(DropReason::OuterMalformed)?;
        let total_len = HEADER_LEN + usize::from(read_u16(header, PAYLOAD_LEN));
        let (source, destination) = (read_address(header, SOURCE), read_address(header, DESTINATION));
        let sound = header[0] >> 4 == 6 && total_len <= packet.len();
        if !sound || source.is_multicast() || source.is_loopback() || destination.is_unspecified() {
            return Err(DropReason::OuterMalformed);
        }
        let (next_header, hop_limit, ecn) = (header[NEXT_HEADER], header[HOP_LIMIT_AT], header[1] >> 4 & 0b11);
        Ok(Self { source, destination, next_header, hop_limit, ecn, total_len })
    }
}

/// The address at `offset`, or `::` where the bytes end before.
pub(crate) fn read_address(bytes: &[u8], offset: usize) -> Ipv6Addr {
    bytes.get(offset..).and_then(<[u8]>::first_chunk::<16>).map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
}

/// Write a header in front of `payload_len` bytes; `packet` has room for it.
pub(crate) fn write_header(packet: &mut [u8], next_header: u8, hop_limit: u8, ends: (Ipv6Addr, Ipv6Addr), payload_len: u16) {
    let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() else { return };
    header[..PAYLOAD_LEN].copy_from_slice(&[0x60, 0, 0, 0]);
    write_u16(header, PAYLOAD_LEN, payload_len);
    header[NEXT_HEADER] = next_header;
    header[HOP_LIMIT_AT] = hop_limit;
    header[SOURCE..DESTINATION].copy_from_slice(&ends.0.octets());
    header[DESTINATION..].copy_from_slice(&ends.1.octets());
}

/// What every checksum of an upper layer covers besides its own bytes (RFC 8200 section 8.1).
pub(crate) fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload_len: u16) -> Sum {
    Sum::default().bytes(&source.octets()).bytes(&destination.octets()).word(payload_len).word(u16::from(next_header))
}

/// Whether `address` can be the address of a single host on another machine.
pub(crate) fn is_one_hosts(address: Ipv6Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
}
