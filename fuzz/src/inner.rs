//! Inner packets: what is read stands there, what is changed keeps its checksums, what is cut is whole again when put together, and what
//! the relay answers can be read.

use dataplane::drop_reason::DropReason;
use dataplane::simulation::fragments::Reassembly;
use dataplane::wire::icmp::{IcmpErrorKind, Quoted, echo_reply, icmp_error};
use dataplane::wire::inner::{Inner, Payload, decrement_hop_limit};
use dataplane::wire::{ecn, fragment, mss};

use crate::Input;
use crate::plain::{HEADER, checksum, mended, transport_is_valid, word};

/// A line's MTU is no smaller (RFC 791 3.2).
const SMALLEST_MTU: u16 = 68;

/// How to treat a packet, and its bytes: as they come, or made into an IPv4 packet.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (how, mtu) = (input.u8(), input.u16().max(SMALLEST_MTU));
    let rest = input.rest();
    let rest = &rest[..rest.len().min(9_000)];
    let packet = if how & 1 == 0 { rest.to_vec() } else { mended(rest) };
    errors_about(&packet, how, mtu);
    let Ok(inner) = Inner::parse(&packet) else { return };
    let packet = &packet[..inner.total_len];
    stands_there(packet, &inner);
    changes_keep_checksums(packet, &inner, how, mtu);
    pieces_are_the_whole(packet, &inner, mtu);
    if inner.is_icmp_error()
        && let Ok(quoted) = Quoted::parse(packet, inner.total_len)
    {
        let header = &packet[HEADER + 8..];
        assert_eq!((quoted.source.octets(), quoted.destination.octets()), (octets(header, 12), octets(header, 16)));
    }
}

fn octets(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes[at..at + 4].try_into().expect("four")
}

fn stands_there(packet: &[u8], inner: &Inner) {
    assert!(packet[0] == 0x45 && checksum(&packet[..HEADER]) == 0 && inner.total_len == usize::from(word(packet, 2)));
    assert_eq!((inner.source.octets(), inner.destination.octets()), (octets(packet, 12), octets(packet, 16)));
    assert_eq!((inner.protocol as u8, inner.hop_limit), (packet[9], packet[8]));
    let flags = word(packet, 6);
    assert_eq!((inner.fragment.is_some(), inner.dont_fragment), (flags & 0x3fff != 0, flags & 0x4000 != 0));
    if let Some(fragment) = inner.fragment {
        let seen = (fragment.id, fragment.offset, fragment.more);
        assert_eq!(seen, (word(packet, 4), (flags & 0x1fff) * 8, flags & 0x2000 != 0));
    }
    match inner.payload {
        Payload::Tcp(tcp) => {
            let header_len = inner.total_len - HEADER - usize::from(tcp.data_len);
            assert_eq!(header_len, usize::from(packet[HEADER + 12] >> 4) * 4);
            assert!(tcp.window_scale.is_none_or(|scale| scale <= 14));
        }
        Payload::IcmpError { .. } | Payload::IcmpOther { .. } => assert_eq!((inner.source_port, inner.destination_port), (0, 0)),
        Payload::Udp | Payload::IcmpEcho { .. } | Payload::Continued => {}
    }
    if matches!(inner.payload, Payload::Tcp(_) | Payload::Udp) {
        assert_eq!((inner.source_port, inner.destination_port), (word(packet, HEADER), word(packet, HEADER + 2)));
        assert!(inner.source_port != 0 && inner.destination_port != 0);
    }
}

fn changes_keep_checksums(packet: &[u8], inner: &Inner, how: u8, mtu: u16) {
    let is_whole = inner.fragment.is_none();
    let was_valid = is_whole && transport_is_valid(packet);
    let mut changed = packet.to_vec();
    match decrement_hop_limit(&mut changed) {
        Ok(()) => assert_eq!(changed[8], packet[8] - 1),
        Err(reason) => assert!(reason == DropReason::HopLimitExceeded && changed == packet),
    }
    if ecn::decapsulate(&mut changed, how >> 6).is_ok() {
        assert_eq!(changed[1] & 0xfc, packet[1] & 0xfc, "only two bits of it are congestion's");
    }
    if is_whole {
        mss::clamp(&mut changed, inner, mtu - mss::HEADERS.min(mtu));
        fragment::write_id(&mut changed, mtu);
        assert_eq!(word(&changed, 4), mtu);
    }
    assert_eq!(checksum(&changed[..HEADER]), 0);
    assert!(!was_valid || transport_is_valid(&changed), "{packet:02x?} became {changed:02x?}");
    if is_whole && matches!(inner.payload, Payload::IcmpEcho { request: true }) {
        echo_reply(&mut changed);
        let reply = Inner::parse(&changed).expect("a reply can be read");
        assert_eq!((reply.source, reply.destination, reply.source_port), (inner.destination, inner.source, inner.source_port));
        assert_eq!(reply.payload, Payload::IcmpEcho { request: false });
    }
}

fn pieces_are_the_whole(packet: &[u8], inner: &Inner, mtu: u16) {
    if inner.fragment.is_some() || packet.len() <= usize::from(mtu) {
        return;
    }
    let mut reassembly = Reassembly::default();
    let mut whole = None;
    for (range, piece) in fragment::pieces(inner, 7, mtu) {
        assert!(whole.is_none(), "the last piece completes it");
        let mut bytes = [&packet[..HEADER], &packet[HEADER..][range]].concat();
        fragment::write_header(&mut bytes, &piece);
        assert!(bytes.len() <= usize::from(mtu) && checksum(&bytes[..HEADER]) == 0);
        whole = reassembly.take(&bytes).expect("pieces do not overlap");
    }
    assert_eq!(whole.expect("nothing is missing")[HEADER..], packet[HEADER..]);
}

/// Whatever a packet is: an error about it can be read and quotes it, and there is none about an error.
fn errors_about(packet: &[u8], how: u8, mtu: u16) {
    let kind = match (how >> 1) & 3 {
        0 => IcmpErrorKind::TimeExceeded,
        1 => IcmpErrorKind::HostUnreachable,
        2 => IcmpErrorKind::AdministrativelyProhibited,
        _ => IcmpErrorKind::FragmentationNeeded { next_hop_mtu: mtu },
    };
    let mut out = [0; 576];
    let Some(len) = icmp_error(&mut out, kind, [10, 254, 1, 2].into(), packet) else { return };
    let error = Inner::parse(&out[..len]).expect("an error can be read");
    assert!(error.is_icmp_error() && error.total_len == len);
    assert_eq!(out[28..len], packet[..len - 28], "quoted as it came");
    let mut about_it = [0; 576];
    assert_eq!(icmp_error(&mut about_it, kind, [10, 254, 1, 2].into(), &out[..len]), None, "no error about an error");
}
