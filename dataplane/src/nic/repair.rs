//! What the kernel leaves undone on frames it shows to AF_PACKET: a VLAN tag taken out, a checksum not computed.

use crate::packet::Packet;

/// Bytes of the two MAC addresses, in front of the first tag or EtherType.
const MAC_ADDRESSES: usize = 12;
/// Bytes of a VLAN tag: TPID and TCI.
pub(super) const TAG: usize = 4;
const ETHERTYPE_IPV4: [u8; 2] = 0x0800u16.to_be_bytes();
const TPID_8021Q: [u8; 2] = 0x8100u16.to_be_bytes();
const TPID_8021AD: [u8; 2] = 0x88a8u16.to_be_bytes();
const TCP: u8 = 6;
const UDP: u8 = 17;

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

/// Compute the TCP or UDP checksum of an IPv4 packet behind up to two tags.
///
/// A sender on the same machine leaves it to a NIC that never comes. Returns false, and changes nothing, where the frame is
/// anything else: the checks further on will find the checksum wrong.
pub(super) fn finish_checksum(frame: &mut [u8]) -> bool {
    let Some(start) = ipv4_start(frame) else { return false };
    let packet = &mut frame[start..];
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return false;
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let is_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    let protocol = packet[9];
    let Some(field) = (match protocol {
        TCP => Some(16),
        UDP => Some(6),
        _ => None,
    }) else {
        return false;
    };
    // The kernel finishes a checksum before it cuts a packet into fragments.
    if is_fragment || header < 20 || total > packet.len() || total < header + field + 2 {
        return false;
    }
    let pseudo_header = sum(&packet[12..20]) + u64::from(protocol) + (total - header) as u64;
    let segment = &mut packet[header..total];
    segment[field..field + 2].fill(0);
    let checksum = !fold(pseudo_header + sum(segment));
    // RFC 768: a computed zero is sent as all ones, as zero means that there is none.
    let checksum = if checksum == 0 && protocol == UDP { 0xffff } else { checksum };
    segment[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// Where the IPv4 header begins, behind up to two tags.
fn ipv4_start(frame: &[u8]) -> Option<usize> {
    let mut offset = MAC_ADDRESSES;
    for _ in 0..=2 {
        let ethertype: [u8; 2] = frame.get(offset..offset + 2)?.try_into().ok()?;
        match ethertype {
            ETHERTYPE_IPV4 => return Some(offset + 2),
            TPID_8021Q | TPID_8021AD => offset += TAG,
            _ => return None,
        }
    }
    None
}

/// RFC 1071: the sum of 16-bit words, an odd last byte padded with zero.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |last| u64::from(*last) << 8);
    words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>() + odd
}

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;
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
