//! Worst input first; then: what is joined and cut again is what it was.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::coalesce::{Group, Kinds, LONGEST, MOST_SEGMENTS, Plan};
use super::segment::{Malformed, Segments};
use super::{Layout, MOST_HEADERS, VNET_HEADER, VnetHeader};
use crate::nic::BATCH;
use crate::packet::{FramePool, HEADROOM, MAX_PACKET, Packet};

const NO_TAG: &[[u8; 4]] = &[];
const ONE_TAG: &[[u8; 4]] = &[[0x81, 0, 0x08, 0x35]];
const TWO_TAGS: &[[u8; 4]] = &[[0x88, 0xa8, 0, 100], [0x81, 0, 0x08, 0x35]];

/// A TCP segment of a flow that is told by its source port.
#[derive(Clone, Debug)]
struct Tcp {
    tags: &'static [[u8; 4]],
    port: u16,
    sequence: u32,
    ack: u32,
    push: bool,
    payload: Vec<u8>,
}

impl Tcp {
    fn new(sequence: u32, length: usize) -> Self {
        let payload = (0..length).map(|at| (at as u32).wrapping_add(sequence) as u8).collect();
        Self { tags: NO_TAG, port: 40_000, sequence, ack: 77, push: false, payload }
    }

    fn frame(&self) -> Vec<u8> {
        let mut builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 63)
            .tcp(self.port, 443, self.sequence, 501)
            .ack(self.ack)
            .options_raw(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6])
            .expect("a timestamp");
        if self.push {
            builder = builder.psh();
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, &self.payload).expect("a frame");
        tagged(&frame, self.tags)
    }
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(port, 51_820);
    builder.write(&mut frame, payload).expect("a frame");
    frame
}

fn without_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let header = Layout::of(&frame).expect("UDP").header;
    frame[header + 6..header + 8].fill(0);
    frame
}

fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

/// Plan for these frames, and put every group together as the kernel would see it.
fn joined(frames: &[Vec<u8>], kinds: Kinds) -> Vec<(VnetHeader, Vec<u8>)> {
    let mut pool = FramePool::new(BATCH as u32).expect("memory");
    let batch: Vec<Packet> = frames.iter().map(|frame| Packet::copied(pool.take().expect("a frame"), frame).expect("fits")).collect();
    let mut plan = Plan::new();
    plan.make(&batch, kinds, |_| true);
    let assemble = |group: &Group| {
        let mut headers = [0; VNET_HEADER + MOST_HEADERS];
        let Some((length, payload)) = group.write_headers(batch[group.first].bytes(), &mut headers) else {
            return (VnetHeader::default(), batch[group.first].bytes().to_vec());
        };
        let mut bytes = headers[VNET_HEADER..length].to_vec();
        plan.members(group).for_each(|number| bytes.extend_from_slice(&batch[number].bytes()[payload..]));
        (VnetHeader::from_bytes(headers[..VNET_HEADER].try_into().expect("a header")), bytes)
    };
    let joined = plan.groups().iter().map(assemble).collect();
    batch.into_iter().for_each(|packet| pool.put(packet.into_frame()));
    joined
}

/// The frames a super-frame stands for.
fn cut(frame: &[u8], vnet: VnetHeader) -> Result<Vec<Vec<u8>>, Malformed> {
    if vnet.gso_type == VnetHeader::GSO_NONE {
        return Ok(vec![frame.to_vec()]);
    }
    let mut pool = FramePool::new(1).expect("memory");
    let mut segments = Segments::of(frame, vnet)?;
    let mut frames = Vec::new();
    while segments.left() > 0 {
        let mut packet = Packet::new(pool.take().expect("a frame"));
        let left = segments.left();
        segments.write_next(frame, &mut packet);
        assert_eq!((segments.left(), packet.start()), (left - 1, HEADROOM));
        frames.push(packet.bytes().to_vec());
        pool.put(packet.into_frame());
    }
    Ok(frames)
}

fn there_and_back(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    joined(frames, Kinds::ALL).iter().flat_map(|(vnet, frame)| cut(frame, *vnet).expect("well formed")).collect()
}

fn sizes(frames: &[Vec<u8>]) -> Vec<usize> {
    joined(frames, Kinds::ALL).iter().map(|(vnet, frame)| cut(frame, *vnet).expect("well formed").len()).collect()
}

fn vnet(gso_type: u8, gso_size: u16) -> VnetHeader {
    VnetHeader { flags: VnetHeader::NEEDS_CSUM, gso_type, gso_size, ..VnetHeader::default() }
}

fn super_frame(tags: &'static [[u8; 4]], length: usize) -> Vec<u8> {
    Tcp { tags, push: true, ..Tcp::new(u32::MAX - 2_000, length) }.frame()
}

#[test]
fn super_frames_that_cannot_be_cut_are_refused_by_name() {
    let tcp = super_frame(ONE_TAG, 5_000);
    let right = vnet(VnetHeader::GSO_TCPV4, 1_400);
    assert_eq!(cut(&tcp, right).map(|frames| frames.len()), Ok(4));
    let ip = 18;
    let with = |at: usize, value: u8| {
        let mut frame = tcp.clone();
        frame[at] = value;
        frame
    };
    let biggest = (MAX_PACKET - 18 - 52) as u16;
    let cases = [
        ("a segment of no bytes", tcp.clone(), VnetHeader { gso_size: 0, ..right }),
        ("a segment too long for a frame", tcp.clone(), VnetHeader { gso_size: biggest + 1, ..right }),
        ("TCP over IPv6", tcp.clone(), VnetHeader { gso_type: 4, ..right }),
        ("fragments of UDP", tcp.clone(), VnetHeader { gso_type: 3, ..right }),
        ("a type of the future", tcp.clone(), VnetHeader { gso_type: 99, ..right }),
        ("TCP said to be UDP", tcp.clone(), vnet(VnetHeader::GSO_UDP_L4, 1_400)),
        ("UDP said to be TCP", udp(1, &[0; 3_000]), right),
        ("not IPv4", with(ip, 0x65), right),
        ("an IPv4 header shorter than 20 bytes", with(ip, 0x44), right),
        ("IPv4 options beyond the frame", with(ip, 0x4f)[..60].to_vec(), right),
        ("a fragment", with(ip + 6, 0x20), right),
        ("ICMP", with(ip + 9, 1), right),
        ("a TCP header shorter than 20 bytes", with(ip + 20 + 12, 0x40), right),
        ("longer than it says", with(ip + 2, 0x12), right),
        ("shorter than it says", tcp[..tcp.len() - 1].to_vec(), right),
        ("three tags", tagged(&tcp, TWO_TAGS), right),
        ("nothing", Vec::new(), right),
        ("MAC addresses", tcp[..12].to_vec(), right),
    ];
    for (what, frame, vnet) in cases {
        assert_eq!(cut(&frame, vnet), Err(Malformed), "{what}");
    }
    assert_eq!(cut(&tcp, VnetHeader { gso_size: biggest, ..right }).map(|frames| frames[0].len()), Ok(MAX_PACKET));
}

#[test]
fn no_bytes_whatever_make_the_cutter_panic() {
    let frame = super_frame(TWO_TAGS, 3_000);
    for length in 0..frame.len().min(120) {
        for gso_type in [VnetHeader::GSO_TCPV4, VnetHeader::GSO_UDP_L4] {
            assert_eq!(cut(&frame[..length], vnet(gso_type, 1_000)), Err(Malformed), "{length} bytes");
        }
    }
}

#[test]
fn each_segment_has_its_own_lengths_numbers_flags_and_checksums() {
    const FIN_PSH_ACK_CWR: u8 = 0x99;
    for tags in [NO_TAG, ONE_TAG, TWO_TAGS] {
        let mut frame = super_frame(tags, 3_500);
        let layout = Layout::of(&frame).expect("TCP");
        frame[layout.header + 13] = FIN_PSH_ACK_CWR;
        frame[layout.ip + 4..layout.ip + 6].copy_from_slice(&[0xff, 0xff]);
        let frames = cut(&frame, vnet(VnetHeader::GSO_TCPV4 | VnetHeader::GSO_ECN, 1_448)).expect("well formed");
        let mut payload = Vec::new();
        for (number, one) in frames.iter().enumerate() {
            let own = Layout::of(one).expect("TCP");
            assert!(own.checksums_are_right(one) && own.end == one.len());
            assert_eq!(super::word(one, own.ip + 4), 0xffffu16.wrapping_add(number as u16));
            assert_eq!(super::long(one, own.header + 4), (u32::MAX - 2_000).wrapping_add(1_448 * number as u32));
            assert_eq!(one[..own.ip], frame[..layout.ip], "the same cable, tags and stations");
            payload.extend_from_slice(&one[own.payload..]);
        }
        let flags: Vec<u8> = frames.iter().map(|frame| frame[layout.header + 13]).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19], "CWR on the first, FIN and PSH on the last");
        assert_eq!(payload, frame[layout.payload..]);
    }
}

#[test]
fn a_bulk_transfer_leaves_as_super_frames_within_every_limit() {
    let mut sequence = 1;
    let mut frames = Vec::new();
    for number in 0..BATCH {
        let mut segment = Tcp { tags: ONE_TAG, push: number == BATCH - 1, ..Tcp::new(sequence, 1_368) };
        segment.payload[0] = number as u8;
        frames.push(segment.frame());
        sequence += 1_368;
    }
    let groups = joined(&frames, Kinds::ALL);
    assert_eq!(groups.iter().map(|(_, bytes)| (bytes.len() - 18 - 52) / 1_368).collect::<Vec<_>>(), [47, 17]);
    for (vnet, bytes) in &groups {
        assert!(bytes.len() <= LONGEST);
        assert_eq!((vnet.gso_type, vnet.gso_size, vnet.flags), (VnetHeader::GSO_TCPV4, 1_368, VnetHeader::NEEDS_CSUM));
        assert_eq!((vnet.hdr_len, vnet.csum_start, vnet.csum_offset), (18 + 52, 18 + 20, 16), "behind the tag");
    }
    let flags = |bytes: &[u8]| bytes[18 + 20 + 13];
    assert_eq!((flags(&groups[0].1), flags(&groups[1].1)), (0x10, 0x18));
    let small: Vec<Vec<u8>> = (0..BATCH).map(|number| udp(5, &[number as u8; 8])).collect();
    assert_eq!(sizes(&small), [MOST_SEGMENTS]);
}

#[test]
fn datagrams_of_a_tunnel_leave_as_one_and_get_the_checksum_they_lacked() {
    let frames: Vec<Vec<u8>> = [1_400, 1_400, 1_400, 90].map(|length| without_checksum(udp(51_820, &vec![7; length]))).into();
    let groups = joined(&frames, Kinds::ALL);
    let [(vnet, bytes)] = &groups[..] else { panic!("one super-frame, got {}", groups.len()) };
    assert_eq!((vnet.gso_type, vnet.gso_size, vnet.csum_offset), (VnetHeader::GSO_UDP_L4, 1_400, 6));
    let back = cut(bytes, *vnet).expect("well formed");
    for (one, frame) in back.iter().zip(&frames) {
        assert!(Layout::of(one).expect("UDP").checksums_are_right(one));
        assert_eq!(without_identification(&without_checksum(one.clone())), without_identification(frame));
    }
    assert_eq!(joined(&frames, Kinds { udp: false, ..Kinds::ALL }).len(), 4, "not where the machine cannot cut them");
    assert_eq!(joined(&frames, Kinds { tcp: false, ..Kinds::ALL }).len(), 1);
}

#[test]
fn two_tenants_never_share_a_super_frame() {
    let other_tag: &'static [[u8; 4]] = &[[0x81, 0, 0x08, 0x36]];
    let other_inner: &'static [[u8; 4]] = &[[0x88, 0xa8, 0, 100], [0x81, 0, 0x08, 0x36]];
    let other_outer: &'static [[u8; 4]] = &[[0x88, 0xa8, 0, 101], [0x81, 0, 0x08, 0x35]];
    let stacks = [NO_TAG, ONE_TAG, TWO_TAGS, other_tag, other_inner, other_outer];
    // The same addresses and ports everywhere, and sequence numbers that would fit.
    let frames: Vec<Vec<u8>> = (0..48).map(|n| Tcp { tags: stacks[n % 6], ..Tcp::new(1_000 * (n / 6) as u32, 1_000) }.frame()).collect();
    let groups = joined(&frames, Kinds::ALL);
    assert_eq!(groups.len(), 6, "each tenant has its own");
    for ((_, bytes), tags) in groups.iter().zip(stacks) {
        assert_eq!(bytes[12..12 + tags.len() * 4], tags.concat());
        assert_eq!(bytes.len(), 14 + tags.len() * 4 + 52 + 8_000);
    }
    // Tunnels differ in their peer's port at least.
    let datagrams: Vec<Vec<u8>> = (0..40).map(|n| udp(40_000 + n % 4, &[n as u8; 500])).collect();
    assert_eq!(sizes(&datagrams), [10; 4]);
}

#[test]
fn what_a_receiver_could_tell_apart_is_not_joined() {
    let first = Tcp::new(5_000, 1_000);
    let second = Tcp::new(6_000, 1_000);
    assert_eq!(sizes(&[first.frame(), second.frame()]), [2]);
    let with = |at: usize, value: u8| {
        let mut frame = second.frame();
        frame[14 + at] = value;
        let layout = Layout::of(&frame);
        if let Some(layout) = layout {
            layout.set_ip_checksum(&mut frame);
            layout.set_checksum(&mut frame, layout.end);
        }
        frame
    };
    let cases = [
        ("a gap", Tcp::new(6_001, 1_000).frame()),
        ("the same bytes again", first.frame()),
        ("a longer segment", Tcp::new(6_000, 1_001).frame()),
        ("no payload", Tcp::new(6_000, 0).frame()),
        ("another acknowledgement", Tcp { ack: 78, ..second.clone() }.frame()),
        ("another TOS", with(1, 3)),
        ("another TTL", with(8, 62)),
        ("SYN", with(20 + 13, 0x12)),
        ("FIN", with(20 + 13, 0x11)),
        ("RST", with(20 + 13, 0x14)),
        ("URG", with(20 + 13, 0x30)),
        ("congestion told back", with(20 + 13, 0x50)),
        ("another window", with(20 + 15, 9)),
        ("another timestamp", with(20 + 27, 9)),
        ("a fragment", with(6, 0x20)),
        ("padding", [second.frame(), vec![0; 3]].concat()),
    ];
    for (what, frame) in cases {
        assert_eq!(sizes(&[first.frame(), frame]), [1, 1], "{what}");
    }
    let mut push = first.clone();
    push.push = true;
    assert_eq!(sizes(&[push.frame(), second.frame()]), [1, 1], "PSH in the middle would move to the end");
}

#[test]
fn a_damaged_packet_stays_alone_and_damaged() {
    let sound: Vec<Vec<u8>> = (0..4).map(|number| Tcp::new(1_000 * number, 1_000).frame()).collect();
    for (damaged, expected) in [(0, vec![1, 3]), (1, vec![1, 1, 2]), (3, vec![3, 1])] {
        for at in [30, 500] {
            let mut frames = sound.clone();
            let last = frames[damaged].len() - 1;
            frames[damaged][if at == 500 { last } else { 14 + 10 }] ^= 0x40;
            assert_eq!(sizes(&frames), expected, "frame {damaged}");
            let back = there_and_back(&frames);
            assert_eq!(back[damaged], frames[damaged], "nothing heals it");
            assert_eq!(back.len(), frames.len());
        }
    }
}

#[test]
fn frames_of_a_flow_keep_their_order_also_around_those_that_cannot_be_joined() {
    let fin = |sequence| {
        let mut frame = Tcp::new(sequence, 0).frame();
        frame[14 + 20 + 13] = 0x11;
        frame
    };
    let frames = [Tcp::new(0, 100).frame(), Tcp::new(100, 100).frame(), fin(200), Tcp::new(200, 100).frame(), Tcp::new(300, 100).frame()];
    assert_eq!(sizes(&frames), [2, 1, 2]);
    let back: Vec<Vec<u8>> = there_and_back(&frames).iter().map(|frame| without_identification(frame)).collect();
    assert_eq!(back, frames);
}

/// One frame of one of three flows: TCP with one tag, TCP with two, UDP.
fn any_frame() -> impl Strategy<Value = (usize, usize, bool, bool)> {
    (0..3usize, prop_oneof![Just(1_000usize), Just(1_000), Just(1_000), 1..1_000usize], proptest::bool::weighted(0.1), any::<bool>())
}

proptest! {
    #[test]
    fn what_is_joined_and_cut_again_is_what_it_was(choices in proptest::collection::vec(any_frame(), 1..BATCH)) {
        let mut sequences = [0u32, u32::MAX - 9_000, 0];
        let mut frames = Vec::new();
        for (flow, length, odd, push) in choices {
            let sequence = sequences[flow].wrapping_add(u32::from(odd));
            sequences[flow] = sequence.wrapping_add(length as u32);
            frames.push(match flow {
                2 => udp(7, &vec![sequence as u8; length]),
                _ => Tcp { tags: [ONE_TAG, TWO_TAGS][flow], push: push && odd, ..Tcp::new(sequence, length) }.frame(),
            });
        }
        let back = there_and_back(&frames);
        // Flows may overtake each other, frames of a flow may not. The builder sets DF: identifications mean nothing.
        let of_flow = |frames: &[Vec<u8>], tags: usize| -> Vec<Vec<u8>> {
            let of_flow = frames.iter().filter(|frame| Layout::of(frame).expect("IPv4").ip == 14 + 4 * tags);
            of_flow.map(|frame| without_identification(frame)).collect()
        };
        for tags in 0..3 {
            prop_assert_eq!(of_flow(&back, tags), of_flow(&frames, tags));
        }
    }

    #[test]
    fn hostile_frames_are_neither_joined_wrongly_nor_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..70usize) {
        let mut frame = Tcp { tags: ONE_TAG, ..Tcp::new(1_000, 60) }.frame();
        let end = frame.len().min(at + bytes.len());
        frame[at..end].copy_from_slice(&bytes[..end - at]);
        let frames = [Tcp { tags: ONE_TAG, ..Tcp::new(940, 60) }.frame(), frame.clone(), bytes.clone()];
        let back = there_and_back(&frames);
        let means_nothing = |frame: &[u8]| Layout::of(frame).is_some_and(|layout| frame[layout.ip + 6] & 0x40 != 0 && layout.checksums_are_right(frame));
        let normal = |frame: &Vec<u8>| if means_nothing(frame) { without_identification(frame) } else { frame.clone() };
        prop_assert_eq!(back.iter().map(normal).collect::<Vec<_>>(), frames.iter().map(normal).collect::<Vec<_>>());
        let _ = cut(&frame, vnet(VnetHeader::GSO_TCPV4, 9));
        let _ = cut(&bytes, vnet(VnetHeader::GSO_UDP_L4, 1));
    }
}

fn without_identification(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let layout = Layout::of(&frame).expect("IPv4");
    frame[layout.ip + 4..layout.ip + 6].fill(0);
    layout.set_ip_checksum(&mut frame);
    frame
}
