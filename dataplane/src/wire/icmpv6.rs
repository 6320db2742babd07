//! ICMPv6 (RFC 4443): the error that tells a host that its packet was refused, and the answer to an echo request.

use std::net::Ipv6Addr;

use super::checksum::Delta;
use super::ipv6::{
    self, DESTINATION, HEADER_LEN, MINIMUM_MTU, NEXT_HEADER, SOURCE, is_one_hosts, next_header, pseudo_header, read_address, write_header,
};
use super::underlay::HOP_LIMIT;
use super::{read_u16, write_u16};
use crate::drop_reason::DropReason;

/// The ICMPv6 header in front of what an error quotes.
const ICMP_HEADER: usize = 8;

/// ICMPv6 types.
const DESTINATION_UNREACHABLE: u8 = 1;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Write "communication with destination administratively prohibited" (RFC 4443 section 3.1) about `original` into `out`, and return its
/// length, which is at most `longest` bytes and what every line carries (section 2.4 c). The destination speaks.
///
/// Returns `None` where section 2.4 e forbids an error, or might: about anything that is not plainly TCP, UDP or an echo request
/// between two hosts. Extension headers are not looked through: what is behind them could be an error.
pub fn administratively_prohibited(out: &mut [u8], longest: usize, original: &[u8]) -> Option<usize> {
    if !may_cause_an_error(original) {
        return None;
    }
    let room = longest.min(MINIMUM_MTU).checked_sub(HEADER_LEN + ICMP_HEADER)?;
    let quoted = &original[..original.len().min(room)];
    let packet = out.get_mut(..HEADER_LEN + ICMP_HEADER + quoted.len())?;
    let payload_len = u16::try_from(ICMP_HEADER + quoted.len()).ok()?;
    let ends = (read_address(original, DESTINATION), read_address(original, SOURCE));
    write_header(packet, next_header::ICMPV6, HOP_LIMIT, ends, payload_len);
    packet[HEADER_LEN..HEADER_LEN + ICMP_HEADER].copy_from_slice(&[DESTINATION_UNREACHABLE, 1, 0, 0, 0, 0, 0, 0]);
    packet[HEADER_LEN + ICMP_HEADER..].copy_from_slice(quoted);
    write_checksum(packet, ends);
    Some(packet.len())
}

fn may_cause_an_error(original: &[u8]) -> bool {
    if original.len() < HEADER_LEN + ICMP_HEADER || original[0] >> 4 != 6 {
        return false;
    }
    let asks = match original[NEXT_HEADER] {
        next_header::TCP | next_header::UDP => true,
        next_header::ICMPV6 => original[HEADER_LEN] == ECHO_REQUEST,
        _ => false,
    };
    asks && [SOURCE, DESTINATION].iter().all(|at| is_one_hosts(read_address(original, *at)))
}

/// Turn an echo request with `header` into its reply, in place (RFC 4443 section 4.2). `packet` is without padding. The hop limit starts
/// anew.
///
/// # Errors
/// [`DropReason::IcmpChecksumInvalid`], and [`DropReason::RelayAddress`] for anything else than an echo request of a single host.
pub fn echo_reply(packet: &mut [u8], header: &ipv6::Header) -> Result<(), DropReason> {
    let message = packet.get(HEADER_LEN..).filter(|message| message.len() >= ICMP_HEADER).ok_or(DropReason::RelayAddress)?;
    if !is_valid(header, message) {
        return Err(DropReason::IcmpChecksumInvalid);
    }
    if message[..2] != [ECHO_REQUEST, 0] || !is_one_hosts(header.source) {
        return Err(DropReason::RelayAddress);
    }
    packet[ipv6::HOP_LIMIT_AT] = HOP_LIMIT;
    packet[SOURCE..DESTINATION].copy_from_slice(&header.destination.octets());
    packet[DESTINATION..HEADER_LEN].copy_from_slice(&header.source.octets());
    packet[HEADER_LEN] = ECHO_REPLY;
    // Swapping the addresses leaves the sum as it was.
    let [old, new] = [ECHO_REQUEST, ECHO_REPLY].map(|kind| u16::from(kind) << 8);
    let checksum = Delta::default().word(old, new).apply(read_u16(packet, HEADER_LEN + 2));
    write_u16(packet, HEADER_LEN + 2, checksum);
    Ok(())
}

/// Whether `message`, which stands behind `header`, holds its right checksum.
pub(crate) fn is_valid(header: &ipv6::Header, message: &[u8]) -> bool {
    let Ok(len) = u16::try_from(message.len()) else { return false };
    pseudo_header(header.source, header.destination, next_header::ICMPV6, len).bytes(message).is_valid()
}

/// Put the right checksum into the ICMPv6 message behind the header of `packet`, between `ends`.
pub(crate) fn write_checksum(packet: &mut [u8], ends: (Ipv6Addr, Ipv6Addr)) {
    let message = &mut packet[HEADER_LEN..];
    write_u16(message, 2, 0);
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let checksum = pseudo_header(ends.0, ends.1, next_header::ICMPV6, len).bytes(message).checksum();
    write_u16(message, 2, checksum);
}

#[cfg(test)]
#[path = "icmpv6_tests.rs"]
mod tests;
