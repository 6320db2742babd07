//! Addresses, ports and checksums there and back, and what is counted.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

#[test]
fn a_tcp_segment_gets_both_ends_translated_and_its_answer_comes_back_as_from_the_global_address() {
    let mut world = World::new();
    let out = world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (7, 0), &[])).expect("opens");
    let inner = Inner::parse(&out).expect("valid");
    assert_eq!((inner.source, inner.destination, inner.destination_port), (POOL.into(), PRIVATE.into(), 443));
    assert!(inner.source_port >= 1_024);
    let answer = samples::tcp((PRIVATE, 443), (POOL, inner.source_port), "SA", (9, 8), &[]);
    let back = world.cloud_sends(&answer).expect("is known");
    assert_eq!(back, samples::tcp((GLOBAL, 443), (OFFICE, 40_000), "SA", (9, 8), &[]));
    let session = world.only_session();
    assert_eq!((session.packets(), session.bytes()), ([1, 1], [40, 40]));
    assert_eq!(session.office_remote, end((GLOBAL, 443)));
    assert_eq!(session.cloud_remote, end((PRIVATE, 443)));
    assert_eq!(world.counts(), (1, 1));
}

#[test]
fn a_udp_datagram_without_checksum_leaves_without_one() {
    let mut world = World::new();
    let mut packet = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query");
    packet[26..28].fill(0);
    let out = world.office_sends(&packet).expect("opens");
    assert_eq!(out[26..28], [0, 0]);
}

#[test]
fn a_udp_checksum_that_becomes_zero_is_sent_as_ones() {
    let mut world = World::new();
    let port = world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens").port;
    // Choose a payload for which the translated datagram's sum is all ones: take what its checksum lacks.
    let translated = samples::udp((POOL, port), (PRIVATE, 53), &[0, 0]);
    let payload = [translated[26], translated[27]];
    let out = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 53), &payload)).expect("is known");
    assert_eq!(out[26..28], [0xff, 0xff]);
    let back = world.cloud_sends(&samples::udp((PRIVATE, 53), (POOL, port), &payload)).expect("is known");
    assert_eq!(back, samples::udp((GLOBAL, 53), (OFFICE, 5_000), &payload));
}

#[test]
fn an_echo_reply_of_nothing_but_zeros_keeps_a_checksum_that_receivers_accept() {
    let mut world = World::new();
    let request = world.office_sends(&samples::echo(OFFICE, GLOBAL, true, 0, &[])).expect("opens");
    let identifier = Inner::parse(&request).expect("valid").source_port;
    // Identifier and sequence number zero: the sum behind the type is zero as well.
    let [high, low] = identifier.to_be_bytes();
    let reply = samples::icmp(PRIVATE, POOL, (0, 0), [high, low, 0, 0], &[]);
    let reply = world.cloud_sends(&reply).expect("is known");
    assert_eq!(reply[20..28], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
}

#[test]
fn bytes_behind_the_ip_packet_are_left_alone() {
    let mut world = World::new();
    let mut packet = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query");
    packet.extend([0xaa; 9]);
    let inner = Inner::parse(&packet).expect("valid");
    let id = world.nat.open(&world.flow(&inner), 1, &inner, world.now).expect("opens");
    world.nat.translate_to_cloud(id, &mut packet, &inner, world.now);
    assert_eq!(packet[inner.total_len..], [0xaa; 9]);
    assert_eq!(world.only_session().bytes(), [inner.total_len as u64, 0]);
}

#[test]
fn a_kept_source_and_destination_leave_every_byte_as_it_was() {
    let mut world = World::new();
    let packet = samples::tcp((OFFICE, 40_000), (PRIVATE, 443), "S", (7, 0), b"early data");
    let inner = Inner::parse(&packet).expect("valid");
    let flow = NewFlow { translated_source: Source::Fixed(OFFICE.into()), ..world.flow(&inner) };
    let id = world.nat.open(&flow, 1, &inner, world.now).expect("opens");
    let mut translated = packet.clone();
    world.nat.translate_to_cloud(id, &mut translated, &inner, world.now);
    assert_eq!(translated, packet);
    assert_eq!(world.counts(), (1, 0));
}

#[test]
fn a_callback_reaches_the_office_from_the_global_source_and_its_answer_goes_back() {
    let mut world = World::new();
    let packet = samples::tcp((PRIVATE, 30_000), ([10, 254, 1, 30], 9_100), "S", (7, 0), &[]);
    let inner = Inner::parse(&packet).expect("valid");
    assert_eq!(world.nat.find_from_cloud(ATTACHMENT, &inner), None);
    let flow = World::callback(&inner, Source::Fixed([203, 0, 113, 20].into()));
    world.nat.open(&flow, 1, &inner, world.now).expect("opens");
    let arrived = world.cloud_sends(&packet).expect("is known");
    assert_eq!(arrived, samples::tcp(([203, 0, 113, 20], 30_000), (OFFICE, 9_100), "S", (7, 0), &[]));
    let answer = samples::tcp((OFFICE, 9_100), ([203, 0, 113, 20], 30_000), "SA", (9, 8), &[]);
    let back = world.office_sends(&answer).expect("is known");
    assert_eq!(back, samples::tcp(([10, 254, 1, 30], 9_100), (PRIVATE, 30_000), "SA", (9, 8), &[]));
    assert_eq!(world.counts(), (1, 0));
}

#[test]
fn two_cloud_hosts_with_the_same_port_share_a_callbacks_global_source_through_its_pool() {
    let mut world = World::new();
    let key = PoolKey { kind: PoolKind::Callback([203, 0, 113, 20].into()), ..office_pool() };
    let pool = world.nat.pool(key, &[network("203.0.113.20/32")], world.now);
    let mut seen = Vec::new();
    for host in [[10, 10, 0, 20], [10, 10, 0, 21]] {
        let packet = samples::tcp((host, 30_000), ([10, 254, 1, 30], 9_100), "S", (7, 0), &[]);
        let inner = Inner::parse(&packet).expect("valid");
        world.nat.open(&World::callback(&inner, Source::Pool(pool)), 1, &inner, world.now).expect("opens");
        let arrived = Inner::parse(&world.cloud_sends(&packet).expect("is known")).expect("valid");
        assert_eq!(arrived.source, Ipv4Addr::from([203, 0, 113, 20]));
        seen.push(arrived.source_port);
        let answer = samples::tcp((OFFICE, 9_100), ([203, 0, 113, 20], arrived.source_port), "SA", (9, 8), &[]);
        let back = world.office_sends(&answer).expect("is known");
        assert_eq!(samples::addresses(&back).1, Ipv4Addr::from(host));
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(world.counts(), (2, 2));
}

/// The identification of a packet of the office as it leaves.
fn identification(world: &mut World, packet: &[u8]) -> u16 {
    let inner = Inner::parse(packet).expect("valid");
    let id = world.nat.find_from_office(&inner).or_else(|| world.nat.open(&world.flow(&inner), 1, &inner, world.now).ok());
    let mut packet = packet.to_vec();
    world.nat.translate_to_cloud(id.expect("opens"), &mut packet, &inner, world.now);
    samples::assert_checksums(&packet);
    u16::from_be_bytes([packet[4], packet[5]])
}

/// A datagram of this host with this identification, with DF or without.
fn numbered(host: u8, number: u16, dont_fragment: bool) -> Vec<u8> {
    let mut packet = samples::udp(([198, 51, 100, host], 5_000), (GLOBAL, 53), b"x");
    packet[6] = if dont_fragment { 0x40 } else { 0 };
    number_again(&mut packet, &number.to_be_bytes());
    packet
}

#[test]
fn hosts_that_share_an_address_never_share_a_number_that_fragments_would_be_told_apart_by() {
    // RFC 6864 5.3.1: 60,000 packets in a row, of two hosts that both use one number all the time.
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..60_000 {
        assert!(seen.insert(identification(&mut world, &numbered([17, 18][n % 2], 7, false))), "packet {n}");
    }
}

#[test]
fn a_packet_that_nobody_cuts_or_whose_source_is_its_own_keeps_its_number() {
    let mut world = World::new();
    assert_eq!(identification(&mut world, &numbered(17, 7, true)), 7);
    let packet = numbered(18, 9, false);
    let inner = Inner::parse(&packet).expect("valid");
    let flow = NewFlow { translated_source: Source::Fixed(inner.source), ..world.flow(&inner) };
    world.nat.open(&flow, 1, &inner, world.now).expect("opens");
    assert_eq!(identification(&mut world, &packet), 9);
}

#[test]
fn a_super_frame_takes_a_number_for_each_packet_it_becomes() {
    let (from, to) = (Endpoint::new(POOL.into(), 1), Endpoint::new(PRIVATE.into(), 2));
    let mut numbers = crate::nat::identification::Identifications::new(&mut StdRng::seed_from_u64(1));
    let mut number = |packet: &mut [u8]| {
        numbers.number(packet, from, to, Protocol::Udp);
        samples::assert_checksums(packet);
        u16::from_be_bytes([packet[4], packet[5]])
    };
    let datagram = |payload: usize| samples::udp((POOL, 1), (PRIVATE, 2), &vec![0; payload]);
    let first = number(&mut datagram(40_000));
    assert_eq!(number(&mut datagram(10)), first.wrapping_add(75));
}

#[test]
fn a_fragment_keeps_the_number_that_its_datagram_has() {
    let mut world = World::new();
    let mut fragment = samples::udp(([198, 51, 100, 17], 5_000), (GLOBAL, 53), &[7; 8]);
    fragment[6] = 0x20;
    number_again(&mut fragment, &[0, 7]);
    assert_eq!(identification(&mut world, &fragment), 7);
}

fn any_end() -> impl Strategy<Value = End> {
    ((1u8..=126, any::<[u8; 3]>()), 1..=u16::MAX).prop_map(|((a, [b, c, d]), port)| ([a, b, c, d], port))
}

proptest! {
    #[test]
    fn there_and_back_restores_every_byte(from in any_end(), to in any_end(), payload in proptest::collection::vec(any::<u8>(), 0..60), kind in 0..3) {
        let mut world = World::new();
        let (packet, is_echo) = match kind {
            0 => (samples::udp(from, to, &payload), false),
            1 => (samples::tcp(from, to, "S", (1, 0), &payload), false),
            _ => (samples::echo(from.0, to.0, true, from.1, &payload), true),
        };
        let out = Inner::parse(&world.office_sends(&packet).expect("opens")).expect("valid");
        let (local, remote) = ((out.source.octets(), out.source_port), (out.destination.octets(), out.destination_port));
        // The remote end sends the same content back.
        let (answer, expected) = match kind {
            0 => (samples::udp(remote, local, &payload), samples::udp(to, from, &payload)),
            1 => (samples::tcp(remote, local, "SA", (9, 2), &payload), samples::tcp(to, from, "SA", (9, 2), &payload)),
            _ => (samples::echo(remote.0, local.0, false, local.1, &payload), samples::echo(to.0, from.0, false, from.1, &payload)),
        };
        prop_assert_eq!(world.cloud_sends(&answer).expect("is known"), expected);
        prop_assert_eq!(is_echo, out.protocol == Protocol::Icmp);
    }
}
