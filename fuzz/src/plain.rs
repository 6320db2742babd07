//! Checksums and packets as plainly as they can be written: nothing of the relay's own `wire` is used.

use std::cell::RefCell;

use dataplane::packet::{FramePool, Packet};

/// Length of an IPv4 header without options.
pub(crate) const HEADER: usize = 20;
/// Shorter packets are filled up: header, and the first eight bytes behind it.
const SHORTEST: usize = HEADER + 8;

/// RFC 1071, one word after the other, each carry added at once.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        let sum = sum + (u32::from(pair[0]) << 8) + u32::from(pair.get(1).copied().unwrap_or(0));
        (sum & 0xffff) + (sum >> 16)
    });
    !u16::try_from(sum).expect("carries are added")
}

/// The word at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Whether the checksum behind the header of a whole packet is right. UDP may have none (RFC 768).
pub(crate) fn transport_is_valid(packet: &[u8]) -> bool {
    let body = &packet[HEADER..];
    match packet[9] {
        1 => checksum(body) == 0,
        6 => checksum(&[&pseudo_header(packet, body.len()), body].concat()) == 0,
        17 => {
            let datagram = &body[..usize::from(word(body, 4)).min(body.len())];
            word(body, 6) == 0 || checksum(&[&pseudo_header(packet, datagram.len()), datagram].concat()) == 0
        }
        _ => false,
    }
}

fn pseudo_header(packet: &[u8], len: usize) -> Vec<u8> {
    let len = u16::try_from(len).expect("a packet").to_be_bytes();
    [&packet[12..20], &[0, packet[9]], &len].concat()
}

/// An IPv4 packet of any bytes: version, lengths and checksums become right, all else stays as it came.
pub(crate) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut packet = bytes.to_vec();
    packet.resize(bytes.len().max(SHORTEST), 0);
    packet[0] = 0x45;
    match packet[9] {
        // An ICMP error: the header that it quotes is one.
        1 if matches!(packet[HEADER], 3 | 11 | 12) && packet.len() >= 2 * SHORTEST => {
            packet[SHORTEST] = 0x45;
            put_checksum(&mut packet[SHORTEST..SHORTEST + HEADER], 10);
        }
        6 => {
            packet.resize(packet.len().max(HEADER + 20), 0);
            let words = (packet.len() - HEADER) / 4;
            if !(5..=words).contains(&usize::from(packet[HEADER + 12] >> 4)) {
                packet[HEADER + 12] = 0x50;
            }
        }
        17 => {
            let len = u16::try_from(packet.len() - HEADER).expect("a packet");
            packet[HEADER + 4..HEADER + 6].copy_from_slice(&len.to_be_bytes());
        }
        _ => {}
    }
    let len = u16::try_from(packet.len()).expect("a packet");
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    put_checksum(&mut packet[..HEADER], 10);
    put_transport_checksum(&mut packet);
    packet
}

fn put_transport_checksum(packet: &mut [u8]) {
    let at = match packet[9] {
        1 => 2,
        6 => 16,
        17 => 6,
        _ => return,
    };
    if packet[9] == 1 {
        return put_checksum(&mut packet[HEADER..], at);
    }
    let pseudo = pseudo_header(packet, packet.len() - HEADER);
    packet[HEADER + at..HEADER + at + 2].fill(0);
    // Zero would mean that there is none; for TCP both zeros are right.
    let sum = match checksum(&[&pseudo, &packet[HEADER..]].concat()) {
        0 => 0xffff,
        sum => sum,
    };
    packet[HEADER + at..HEADER + at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Put the right checksum over `bytes` at `at` of them.
pub(crate) fn put_checksum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let sum = checksum(bytes);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

thread_local! {
    static POOL: RefCell<FramePool> = RefCell::new(FramePool::new(2).expect("memory for two frames"));
}

/// Do something with a packet in a frame that holds `bytes`, at most [`dataplane::packet::MAX_PACKET`] of them.
pub(crate) fn in_a_frame<T>(bytes: &[u8], act: impl FnOnce(&mut Packet) -> T) -> T {
    POOL.with_borrow_mut(|pool| {
        let frame = pool.take().expect("it was given back");
        let mut packet = Packet::copied(frame, bytes).unwrap_or_else(|_| panic!("{} bytes do not fit", bytes.len()));
        let done = act(&mut packet);
        pool.put(packet.into_frame());
        done
    })
}
