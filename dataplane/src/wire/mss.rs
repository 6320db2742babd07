//! The clamp on TCP's maximum segment size, and the walk over TCP options that it needs.

use super::checksum::Delta;
use super::inner::{HEADER_LEN, Inner, tcp_flags};
use super::{read_u16, write_u16};

/// End of option list (RFC 9293 3.2).
const END: u8 = 0;
/// No operation.
const NO_OPERATION: u8 = 1;
/// Maximum segment size; the option is 4 bytes long.
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// Window scale (RFC 7323 2.2); the option is 3 bytes long.
const WINDOW_SCALE: u8 = 3;
/// RFC 7323 2.3: a larger shift count counts as this.
const LARGEST_WINDOW_SCALE: u8 = 14;

/// Bytes of IPv4 and TCP header without options: what the MSS leaves out of the MTU (RFC 6691 2).
pub const HEADERS: u16 = 40;

/// Lower the MSS option of a SYN (or SYN+ACK) to `max`, so that no segment needs more than the tunnel carries.
///
/// A SYN without the option stays as it is: its sender's peer uses 536 (RFC 9293 3.7.1), which fits every tunnel. `packet` is the
/// one that `inner` was parsed from.
pub fn clamp(packet: &mut [u8], inner: &Inner, max: u16) {
    if inner.tcp().is_none_or(|tcp| tcp.flags & tcp_flags::SYN == 0) {
        return;
    }
    let Some(segment) = packet.get_mut(HEADER_LEN..inner.total_len) else { return };
    let header_len = usize::from(segment[12] >> 4) * 4;
    let Some(at) = find(&segment[20..header_len], MAXIMUM_SEGMENT_SIZE, 4).map(|offset| 20 + offset + 2) else { return };
    let old = read_u16(segment, at);
    if old <= max {
        return;
    }
    write_u16(segment, at, max);
    // An option may stand at an odd offset; then its bytes count the other way round in the sum.
    let delta = if at % 2 == 0 { Delta::default().word(old, max) } else { Delta::default().word(old.swap_bytes(), max.swap_bytes()) };
    let checksum = delta.apply(read_u16(segment, 16));
    write_u16(segment, 16, checksum);
}

/// The shift count of a window scale option among `options`.
pub(super) fn window_scale(options: &[u8]) -> Option<u8> {
    find(options, WINDOW_SCALE, 3).map(|offset| options[offset + 2].min(LARGEST_WINDOW_SCALE))
}

/// Offset of the first option of this kind and length. Lengths that lie end the walk.
fn find(options: &[u8], kind: u8, len: usize) -> Option<usize> {
    let mut offset = 0;
    while let Some(&found) = options.get(offset) {
        match found {
            END => return None,
            NO_OPERATION => offset += 1,
            _ => {
                let found_len = usize::from(*options.get(offset + 1)?);
                if found_len < 2 || offset + found_len > options.len() {
                    return None;
                }
                if found == kind && found_len == len {
                    return Some(offset);
                }
                offset += found_len;
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "mss_tests.rs"]
mod tests;
