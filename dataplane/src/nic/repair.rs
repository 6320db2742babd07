//! What the kernel leaves undone on frames it shows to AF_PACKET: a VLAN tag taken out, a checksum not computed.

use crate::packet::Packet;

/// Bytes of the two MAC addresses, in front of the first tag or EtherType.
const MAC_ADDRESSES: usize = 12;
/// Bytes of a VLAN tag: TPID and TCI.
pub(super) const TAG: usize = 4;

/// Put a tag that the kernel (or the NIC) took out back behind the MAC addresses.
///
/// Returns false, and changes nothing, where the headroom is used up or the frame has no MAC addresses.
#[must_use]
pub(super) fn put_tag_back(packet: &mut Packet, tpid: u16, tci: u16) -> bool {
    if packet.len() < MAC_ADDRESSES || !packet.grow_front(TAG) {
        return false;
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(TAG..TAG + MAC_ADDRESSES, 0);
    bytes[MAC_ADDRESSES..MAC_ADDRESSES + 2].copy_from_slice(&tpid.to_be_bytes());
    bytes[MAC_ADDRESSES + 2..MAC_ADDRESSES + TAG].copy_from_slice(&tci.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;
    use crate::nic::offload::finish_checksum;
    use crate::packet::FramePool;

    fn udp_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [198, 51, 100, 7], 64)
            .udp(5000, 53)
            .write(&mut frame, payload)
            .expect("a frame");
        frame
    }

    fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
        [&frame[..12], &tags.concat(), &frame[12..]].concat()
    }

    #[test]
    fn a_checksum_is_finished_behind_no_one_and_two_tags() {
        for tags in [&[][..], &[[0x81, 0, 0, 5]], &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 9]]] {
            for payload in [&b"even"[..], b"odd"] {
                let correct = tagged(&udp_frame(payload), tags);
                let mut frame = correct.clone();
                let field = frame.len() - payload.len() - 2;
                frame[field..field + 2].copy_from_slice(&[0x12, 0x34]);
                assert!(finish_checksum(&mut frame));
                assert_eq!(frame, correct);
            }
        }
    }

    #[test]
    fn a_tcp_checksum_is_finished_and_padding_is_not_part_of_it() {
        let mut correct = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 3, 4);
        builder.write(&mut correct, b"").expect("a frame");
        correct.extend([0xaa; 6]);
        let mut frame = correct.clone();
        frame[14 + 20 + 16] ^= 0xff;
        assert!(finish_checksum(&mut frame));
        assert_eq!(frame, correct);
        let sliced = SlicedPacket::from_ethernet(&frame).expect("parses");
        assert!(matches!(sliced.transport, Some(TransportSlice::Tcp(_))));
    }

    #[test]
    fn fragments_short_frames_and_other_protocols_are_left_alone() {
        let mut fragment = udp_frame(b"x");
        fragment[14 + 6] = 0x20;
        let mut icmp = udp_frame(b"x");
        icmp[14 + 9] = 1;
        let mut lying = udp_frame(b"x");
        lying[14 + 3] = 0xff;
        let mut arp = udp_frame(b"x");
        arp[13] = 6;
        for frame in [fragment, icmp, lying, arp, udp_frame(b"x")[..20].to_vec(), vec![0; 13], Vec::new()] {
            let mut copy = frame.clone();
            assert!(!finish_checksum(&mut copy));
            assert_eq!(copy, frame);
        }
    }

    #[test]
    fn a_tag_is_put_back_where_it_was() {
        let mut pool = FramePool::new(1).expect("a frame");
        let plain = udp_frame(b"payload");
        let mut packet = Packet::copied(pool.take().expect("a frame"), &plain).expect("fits");
        assert!(put_tag_back(&mut packet, 0x8100, 0x2835));
        assert_eq!(packet.bytes(), tagged(&plain, &[[0x81, 0, 0x28, 0x35]]));
        pool.put(packet.into_frame());
    }

    #[test]
    fn a_frame_without_mac_addresses_gets_no_tag() {
        let mut pool = FramePool::new(1).expect("a frame");
        let mut packet = Packet::copied(pool.take().expect("a frame"), &[1; 11]).expect("fits");
        assert!(!put_tag_back(&mut packet, 0x8100, 1));
        assert_eq!(packet.bytes(), [1; 11]);
        pool.put(packet.into_frame());
    }
}
