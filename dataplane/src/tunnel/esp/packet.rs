//! The bytes of an ESP packet (RFC 4303 section 2): what stands before the IV, and what stands behind the payload.

use crate::drop_reason::DropReason;
use crate::wire::{read_u16, read_u32};

/// SPI and sequence number.
pub(super) const HEADER: usize = 8;
/// Pad length and next header.
pub(super) const TRAILER: usize = 2;
/// The payload is an IPv4 packet: tunnel mode.
const NEXT_IPV4: u8 = 4;
/// It is an IPv6 packet.
const NEXT_IPV6: u8 = 41;
/// RFC 4303 section 2.6: dummy traffic, to be discarded without prejudice.
const NEXT_NONE: u8 = 59;
/// Of AES.
pub(super) const BLOCK: usize = 16;

/// SPI and lower half of the sequence number of a datagram that is long enough for them.
pub(super) fn header(datagram: &[u8]) -> Option<(u32, u32)> {
    (datagram.len() >= HEADER).then(|| (read_u32(datagram, 0), read_u32(datagram, 4)))
}

/// Padding, its length and the next header: what follows a payload.
pub(super) struct Trailer {
    bytes: [u8; BLOCK + TRAILER],
    len: usize,
}

impl Trailer {
    /// That of an IPv4 packet of `len` bytes, so that the whole is a multiple of `align`, 4 or [`BLOCK`].
    pub(super) fn new(len: usize, align: usize) -> Self {
        let padding = (align - (len + TRAILER) % align) % align;
        // RFC 4303 section 2.4: 1, 2, 3 ...
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0];
        // Less than a block.
        #[allow(clippy::cast_possible_truncation)]
        let count = padding as u8;
        bytes[padding] = count;
        bytes[padding + 1] = NEXT_IPV4;
        Self { bytes, len: padding + TRAILER }
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Length of the IPv4 packet at the front of a decrypted and authenticated payload.
///
/// # Errors
/// `EspDummy`; `Ipv6Refused`; `TunnelNextHeaderUnsupported` for anything else but an IP packet; `EspPaddingInvalid` where the padding is longer than what is
/// there or is not 1, 2, 3 ... (RFC 4303 section 2.4: "SHOULD inspect").
pub(super) fn payload_len(plain: &[u8]) -> Result<usize, DropReason> {
    let [rest @ .., padding, next_header] = plain else { return Err(DropReason::EspPaddingInvalid) };
    let len = rest.len().checked_sub(usize::from(*padding)).ok_or(DropReason::EspPaddingInvalid)?;
    if !rest[len..].iter().zip(1..=u8::MAX).all(|(byte, expected)| *byte == expected) {
        return Err(DropReason::EspPaddingInvalid);
    }
    match *next_header {
        NEXT_IPV4 => Ok(len),
        NEXT_IPV6 => Err(DropReason::Ipv6Refused),
        NEXT_NONE => Err(DropReason::EspDummy),
        _ => Err(DropReason::TunnelNextHeaderUnsupported),
    }
}

/// What selectors look at (RFC 4301 section 4.4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Traffic {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) protocol: u8,
    /// Source and destination; `None` where the protocol has none, or the packet is a fragment.
    pub(super) ports: Option<(u16, u16)>,
}

impl Traffic {
    /// That of an IPv4 packet.
    ///
    /// # Errors
    /// `Ipv6Refused`, `InnerNotIpv4`, `InnerMalformed`.
    pub(super) fn of(packet: &[u8]) -> Result<Self, DropReason> {
        let first = *packet.first().ok_or(DropReason::InnerMalformed)?;
        match first >> 4 {
            4 => {}
            6 => return Err(DropReason::Ipv6Refused),
            _ => return Err(DropReason::InnerNotIpv4),
        }
        let header = usize::from(first & 0xf) * 4;
        if header < 20 || packet.len() < header {
            return Err(DropReason::InnerMalformed);
        }
        let protocol = packet[9];
        // TCP and UDP; later fragments have no ports.
        let has_ports = matches!(protocol, 6 | 17) && read_u16(packet, 6) & 0x1fff == 0 && packet.len() >= header + 4;
        let ports = has_ports.then(|| (read_u16(packet, header), read_u16(packet, header + 2)));
        Ok(Self { source: read_u32(packet, 12), destination: read_u32(packet, 16), protocol, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_fills_up_to_the_alignment_and_reads_back() {
        for align in [4, BLOCK] {
            for len in 0..100 {
                let trailer = Trailer::new(len, align);
                assert_eq!((len + trailer.bytes().len()) % align, 0);
                assert!(trailer.bytes().len() < align + TRAILER, "no more than needed");
                let plain = [&vec![0xee; len][..], trailer.bytes()].concat();
                assert_eq!(payload_len(&plain), Ok(len));
            }
        }
    }

    #[test]
    fn padding_beyond_the_packet_or_of_other_bytes_is_refused() {
        for plain in [&[][..], &[4], &[1, 4], &[1, 2, 3, 4, 4], &[0, 1, 4], &[2, 1, 2, 4], &[255, 4], &[1, 2, 4, 3, 4]] {
            assert_eq!(payload_len(plain), Err(DropReason::EspPaddingInvalid), "{plain:?}");
        }
        let mut longest: Vec<u8> = (1..=255).collect();
        longest.extend([255, 4]);
        assert_eq!(payload_len(&longest), Ok(0), "RFC 4303: up to 255 bytes");
        longest[200] ^= 1;
        assert_eq!(payload_len(&longest), Err(DropReason::EspPaddingInvalid));
    }

    #[test]
    fn next_headers_other_than_ipv4_are_told_apart() {
        assert_eq!(payload_len(&[7, 0, 59]), Err(DropReason::EspDummy));
        assert_eq!(payload_len(&[7, 0, 41]), Err(DropReason::Ipv6Refused));
        for other in (0..=255).filter(|next| ![NEXT_IPV4, NEXT_IPV6, NEXT_NONE].contains(next)) {
            assert_eq!(payload_len(&[7, 0, other]), Err(DropReason::TunnelNextHeaderUnsupported), "{other}");
        }
    }

    #[test]
    fn ports_are_read_where_there_are_some_and_a_fragment_has_none() {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[9] = 17;
        packet[20..24].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        assert_eq!(Traffic::of(&packet).map(|traffic| traffic.ports), Ok(Some((0x1234, 0x5678))));
        assert_eq!(Traffic::of(&packet[..23]).map(|traffic| traffic.ports), Ok(None), "cut short");
        packet[7] = 1;
        assert_eq!(Traffic::of(&packet).map(|traffic| traffic.ports), Ok(None), "a fragment");
        packet[0] = 0x46;
        assert!(Traffic::of(&packet).is_ok());
        for (first, len) in [(0x46, 23), (0x45, 19), (0x44, 28), (0x4f, 28)] {
            packet[0] = first;
            assert_eq!(Traffic::of(&packet[..len]), Err(DropReason::InnerMalformed), "{first:x} in {len}");
        }
        for (first, reason) in [(0x65, DropReason::Ipv6Refused), (0x55, DropReason::InnerNotIpv4)] {
            packet[0] = first;
            assert_eq!(Traffic::of(&packet), Err(reason));
        }
        assert_eq!(Traffic::of(&[]), Err(DropReason::InnerMalformed));
    }
}
