//! Explicit congestion notification across a tunnel (RFC 6040): what the line below marks reaches the hosts above.

use crate::drop_reason::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::{read_u16, write_u16};

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// The ECN bits of the outer header for an inner packet (RFC 6040 section 4.1, normal mode: copied).
#[must_use]
pub fn encapsulate(packet: &[u8]) -> u8 {
    packet.get(1).map_or(NOT_ECT, |tos| tos & CE)
}

/// Combine the ECN bits of the outer header into the inner packet (RFC 6040 section 4.2, figure 4).
///
/// # Errors
/// [`DropReason::InnerEcnInvalid`] where the line marked congestion on a packet whose sender does not understand it.
pub fn decapsulate(packet: &mut [u8], outer: u8) -> Result<(), DropReason> {
    let inner = packet[1] & CE;
    let combined = match (inner, outer) {
        (NOT_ECT, CE) => return Err(DropReason::InnerEcnInvalid),
        (NOT_ECT | CE, _) => inner,
        (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        _ => inner,
    };
    if combined != inner {
        let old = read_u16(packet, 0);
        let new = old & !u16::from(CE) | u16::from(combined);
        write_u16(packet, 0, new);
        let sum = read_u16(packet, 10);
        write_u16(packet, 10, Delta::default().word(old, new).apply(sum));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;

    fn header(ecn: u8) -> [u8; 20] {
        let mut header = [0x45, 0xb8 | ecn, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = !Sum::default().bytes(&header).folded();
        write_u16(&mut header, 10, sum);
        header
    }

    #[test]
    fn the_table_of_rfc_6040_section_4_2_holds_for_all_sixteen_pairs() {
        // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer the same. `None` is a drop.
        let expected = [
            [Some(0b00), Some(0b00), Some(0b00), None],
            [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
            [Some(0b10), Some(0b01), Some(0b10), Some(0b11)],
            [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
        ];
        for (inner, row) in (0u8..).zip(expected) {
            for (outer, expected) in (0u8..).zip(row) {
                let mut packet = header(inner);
                let outcome = decapsulate(&mut packet, outer);
                assert_eq!(outcome.err(), expected.is_none().then_some(DropReason::InnerEcnInvalid), "{inner:02b} in {outer:02b}");
                if let Some(expected) = expected {
                    assert_eq!(packet[1], 0xb8 | expected, "{inner:02b} in {outer:02b}: DSCP stays");
                    assert_eq!(Sum::default().bytes(&packet).folded(), 0xffff, "checksum of {inner:02b} in {outer:02b}");
                }
            }
        }
    }
    #[test]
    fn outwards_congestion_bits_are_copied_and_the_dscp_stays_inside() {
        use crate::packet::{FramePool, Packet};
        use crate::wire::underlay;
        let ends = ("192.0.2.1:51820".parse().expect("an end"), "192.0.2.2:51820".parse().expect("an end"));
        let mut pool = FramePool::new(1).expect("memory");
        for bits in 0..4 {
            let mut packet = Packet::copied(pool.take().expect("a frame"), b"sealed").expect("fits");
            assert!(underlay::push(&mut packet, ends.0, ends.1, encapsulate(&header(bits))));
            assert_eq!(packet.bytes()[1], bits, "DSCP 0, ECN of the inner packet");
            pool.put(packet.into_frame());
        }
        assert_eq!(encapsulate(&[]), NOT_ECT);
    }
}
