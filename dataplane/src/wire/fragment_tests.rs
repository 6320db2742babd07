use super::*;
use crate::wire::inner::HEADER_LEN;
use crate::wire::samples;
use proptest::prelude::*;

const FROM: samples::End = ([198, 51, 100, 17], 40_000);
const TO: samples::End = ([203, 0, 113, 10], 443);

/// `packet` with other flags and offset, and what is behind its header.
fn part(packet: &[u8], flags: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = [&packet[..HEADER_LEN], body].concat();
    let len = u16::try_from(packet.len()).expect("short");
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    samples::mend_header_checksum(&mut packet);
    packet
}

fn parsed(packet: &[u8], flags: u16, body: &[u8]) -> Result<Inner, DropReason> {
    Inner::parse(&part(packet, flags, body))
}

#[test]
fn a_first_fragment_has_ports_and_a_later_one_only_says_where_it_lies() {
    let udp = samples::udp(FROM, TO, &[7; 100]);
    let first = parsed(&udp, MORE, &udp[20..60]).expect("a first fragment");
    assert_eq!((first.source_port, first.destination_port, first.payload), (40_000, 443, Payload::Udp));
    assert_eq!(first.fragment, Some(Fragment { id: 0, offset: 0, more: true }));
    assert!(!first.is_later_fragment());
    let later = parsed(&udp, 5, &udp[60..]).expect("a later fragment");
    assert_eq!((later.source_port, later.destination_port, later.payload), (0, 0, Payload::Continued));
    assert_eq!(later.fragment, Some(Fragment { id: 0, offset: 40, more: false }));
    assert!(later.is_later_fragment());
    let whole = continued(&first, &later);
    assert_eq!((whole.source_port, whole.destination_port, whole.payload), (40_000, 443, Payload::Udp));
    assert_eq!((whole.fragment, whole.total_len), (later.fragment, later.total_len));
}

#[test]
fn a_first_fragment_without_its_whole_transport_header_is_refused() {
    let tcp = samples::syn_with_options(FROM, TO, &[2, 4, 5, 0xb4]);
    for len in [8, 16] {
        assert_eq!(parsed(&tcp, MORE, &tcp[20..20 + len]), Err(DropReason::FragmentTiny), "{len} of 24");
    }
    assert!(parsed(&tcp, MORE, &tcp[20..44]).is_ok());
    let mut short = tcp.clone();
    short[32] = 0x40;
    assert_eq!(parsed(&tcp, MORE, &short[20..44]), Err(DropReason::InnerMalformed), "a header of 16 bytes");
    let udp = samples::udp(FROM, TO, &[7; 100]);
    assert!(parsed(&udp, MORE, &udp[20..28]).is_ok(), "all of a UDP header");
    let echo = samples::echo(FROM.0, TO.0, true, 9, &[7; 100]);
    assert_eq!(parsed(&echo, MORE, &echo[20..28]).map(|inner| inner.source_port), Ok(9));
}

#[test]
fn a_fragment_that_begins_inside_a_tcp_header_is_refused() {
    let tcp = samples::tcp(FROM, TO, "A", (1, 1), &[7; 100]);
    for (offset, expected) in [(1, Err(DropReason::FragmentTiny)), (2, Err(DropReason::FragmentTiny)), (3, Ok(24))] {
        let offset_of = |inner: Inner| inner.fragment.expect("a fragment").offset;
        assert_eq!(parsed(&tcp, MORE | offset, &[0; 32]).map(offset_of), expected);
        assert_eq!(parsed(&tcp, offset, &[0; 32]).map(offset_of), expected);
    }
    let udp = samples::udp(FROM, TO, &[7; 100]);
    assert!(parsed(&udp, 1, &[0; 32]).is_ok(), "behind a UDP header");
}

#[test]
fn lengths_that_no_fragment_has_are_refused() {
    let udp = samples::udp(FROM, TO, &[7; 100]);
    for (flags, len) in [(MORE, 0), (5, 0), (MORE | 5, 7), (MORE | 5, 9), (MORE, 12)] {
        assert_eq!(parsed(&udp, flags, &vec![7; len]), Err(DropReason::FragmentMalformed), "{flags:#x} with {len}");
    }
    assert!(parsed(&udp, 5, &[7]).is_ok(), "the last one may have any length");
    // 65,535 bytes with the header: the last unit begins at 65,512.
    assert!(parsed(&udp, 8_189, &[7; 3]).is_ok());
    for (flags, len) in [(8_189, 4), (8_190, 1), (8_191, 1), (8_000, 1_516), (MORE | 8_189, 8)] {
        assert_eq!(parsed(&udp, flags, &vec![7; len]), Err(DropReason::FragmentMalformed), "{flags:#x} with {len}");
    }
}

#[test]
fn of_icmp_only_echoes_come_in_fragments_and_their_checksum_covers_all_of_them() {
    let echo = samples::echo(FROM.0, TO.0, true, 9, &[7; 100]);
    assert_eq!(parsed(&echo, MORE, &echo[20..60]).map(|inner| inner.payload), Ok(Payload::IcmpEcho { request: true }));
    for (kind, code) in [(3, 4), (11, 0), (12, 0), (5, 1), (8, 1), (13, 0)] {
        let message = samples::icmp(FROM.0, TO.0, (kind, code), [0; 4], &[7; 100]);
        assert_eq!(parsed(&message, MORE, &message[20..60]), Err(DropReason::IcmpTypeRefused), "{kind} {code}");
    }
}

#[test]
fn a_udp_length_below_its_header_and_port_zero_are_refused_in_a_fragment_too() {
    let udp = samples::udp(FROM, TO, &[7; 100]);
    for (at, value) in [(20, [0, 0]), (22, [0, 0]), (24, [0, 7])] {
        let mut broken = udp.clone();
        broken[at..at + 2].copy_from_slice(&value);
        assert_eq!(parsed(&udp, MORE, &broken[20..60]), Err(DropReason::InnerMalformed), "{at}");
    }
}

#[test]
fn the_rest_of_a_segment_follows_its_start_in_sequence_space_and_opens_nothing() {
    let tcp = samples::tcp(FROM, TO, "SFA", (u32::MAX - 9, 77), &[7; 100]);
    let first = parsed(&tcp, MORE, &tcp[20..60]).expect("a first fragment");
    let later = continued(&first, &parsed(&tcp, 5, &tcp[60..]).expect("a later fragment"));
    let segment = later.tcp().expect("TCP");
    // 20 bytes of data stand in the first 40.
    assert_eq!((segment.sequence, segment.data_len, segment.acknowledgement), (10, 80, 77));
    assert_eq!(segment.flags, tcp_flags::ACK | tcp_flags::FIN);
    assert!(!later.is_opening_syn());
}

/// What `pieces` makes of a packet, as bytes.
fn cut(packet: &[u8], id: u16, mtu: u16) -> Vec<Vec<u8>> {
    let inner = Inner::parse(packet).expect("valid");
    let piece = |(range, piece): Piece| {
        let mut bytes = [&packet[..HEADER_LEN], &packet[HEADER_LEN..][range]].concat();
        write_header(&mut bytes, &piece);
        bytes
    };
    pieces(&inner, id, mtu).map(piece).collect()
}

/// The bytes behind all headers, put together.
fn joined(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        // A packet that needs no cutting is whole, and begins at its beginning.
        let begin = Inner::parse(packet).expect("valid").fragment.map_or(0, |fragment| usize::from(fragment.offset));
        let end = begin + packet.len() - HEADER_LEN;
        bytes.resize(bytes.len().max(end), 0);
        bytes[begin..end].copy_from_slice(&packet[HEADER_LEN..]);
    }
    bytes
}

#[test]
fn the_pieces_of_a_packet_fit_follow_each_other_and_are_all_of_it() {
    let mut udp = samples::udp(FROM, TO, &(0..=255).cycle().take(1_472).collect::<Vec<u8>>());
    udp[6] = 0;
    samples::mend_header_checksum(&mut udp);
    for (mtu, lengths) in [(1_499, vec![1_492, 28]), (1_420, vec![1_420, 100]), (576, vec![572, 572, 396]), (1_500, vec![1_500])] {
        let pieces = cut(&udp, 0x1234, mtu);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        assert_eq!(joined(&pieces), udp[20..]);
        let fragments: Vec<Fragment> = pieces.iter().filter_map(|piece| Inner::parse(piece).expect("valid").fragment).collect();
        assert!(fragments.iter().all(|fragment| fragment.id == 0x1234) || pieces.len() == 1);
        assert!(fragments.iter().rev().skip(1).all(|fragment| fragment.more) && !fragments.last().is_some_and(|last| last.more));
    }
}

#[test]
fn the_pieces_of_a_fragment_keep_its_name_its_place_and_what_follows_it() {
    let udp = samples::udp(FROM, TO, &[7; 1_472]);
    let mut middle = part(&udp, MORE | 185, &[9; 1_480]);
    write_id(&mut middle, 0xbeef);
    let fragments: Vec<Fragment> = cut(&middle, 1, 1_420).iter().filter_map(|piece| Inner::parse(piece).expect("valid").fragment).collect();
    let id = 0xbeef;
    assert_eq!(fragments, [Fragment { id, offset: 1_480, more: true }, Fragment { id, offset: 2_880, more: true }]);
}

#[test]
fn the_first_piece_of_a_segment_stands_for_all_of_it_and_the_others_repeat_nothing_new() {
    let mut tcp = samples::tcp(FROM, TO, "AF", (1_000, 77), &[7; 1_460]);
    tcp[6] = 0;
    samples::mend_header_checksum(&mut tcp);
    let inner = Inner::parse(&tcp).expect("valid");
    let segments: Vec<Tcp> = pieces(&inner, 1, 1_420).filter_map(|(_, piece)| piece.tcp().copied()).collect();
    assert_eq!(Some(&segments[0]), inner.tcp());
    assert_eq!((segments[1].sequence, segments[1].data_len), (1_000 + 1_380, 80));
    assert_eq!(segments.len(), 2);
}

#[test]
fn another_identification_leaves_the_header_valid() {
    let mut packet = part(&samples::udp(FROM, TO, &[7; 100]), MORE, &[0, 1, 0, 1, 0, 200, 0, 0]);
    for id in [0, 1, 0xffff, 0x1234] {
        write_id(&mut packet, id);
        assert_eq!(Inner::parse(&packet).expect("a valid checksum").fragment.map(|fragment| fragment.id), Some(id));
    }
}

proptest! {
    #[test]
    fn a_packet_cut_twice_is_still_all_of_it(len in 1_usize..1_473, first in 100_u16..1_500, second in 68_u16..1_500) {
        let mut udp = samples::udp(FROM, TO, &(0..=255).cycle().take(len).collect::<Vec<u8>>());
        udp[6] = 0;
        samples::mend_header_checksum(&mut udp);
        let pieces = cut(&udp, 7, first);
        let again: Vec<Vec<u8>> = pieces.iter().flat_map(|piece| cut(piece, 8, second)).collect();
        let whole = Inner::parse(&again[0]).expect("valid").fragment.is_none_or(|fragment| fragment.offset == 0 && !fragment.more);
        if !whole || again.len() > 1 {
            prop_assert_eq!(joined(&again), &udp[20..]);
        }
        prop_assert!(again.iter().all(|piece| piece.len() <= usize::from(second)));
        prop_assert!(again.iter().all(|piece| piece.len() <= usize::from(first)));
    }

    #[test]
    fn no_bytes_whatsoever_make_a_fragment_panic(flags: u16, protocol in 0_usize..3, body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let packet = [samples::udp(FROM, TO, &[]), samples::tcp(FROM, TO, "S", (1, 0), &[]), samples::echo(FROM.0, TO.0, true, 1, &[])];
        if let Ok(inner) = parsed(&packet[protocol], flags, &body) {
            let _ = continued(&inner, &inner);
            prop_assert!(pieces(&inner, 1, 576).count() >= usize::from(inner.total_len > HEADER_LEN));
        }
    }
}
