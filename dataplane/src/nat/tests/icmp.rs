//! ICMP errors about translated packets, both ways (RFC 5508 4).

use super::*;
use proptest::prelude::*;

const ROUTER: [u8; 4] = [10, 10, 255, 1];
const OFFICE_ROUTER: [u8; 4] = [198, 51, 100, 30];
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const TOO_BIG: (u8, u8) = (3, 4);

impl World {
    /// An error of the cloud; returns it as the office gets it, and asserts that no session noticed.
    fn cloud_complains(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let inner = Inner::parse(packet)?;
        let before = self.state();
        let mut translated = packet.to_vec();
        let result = self.nat.icmp_error_to_office(ATTACHMENT, &mut translated, &inner);
        assert_eq!(self.state(), before, "an error neither refreshes nor ends anything (RFC 5508 REQ-6)");
        self.judged(packet, translated, result)
    }

    /// An error of the office; returns it as the cloud gets it.
    fn office_complains(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let inner = Inner::parse(packet)?;
        let before = self.state();
        let mut translated = packet.to_vec();
        let result = self.nat.icmp_error_to_cloud(&mut translated, &inner);
        assert_eq!(self.state(), before, "an error neither refreshes nor ends anything (RFC 5508 REQ-6)");
        self.judged(packet, translated, result)
    }

    fn judged(&self, before: &[u8], after: Vec<u8>, result: Result<SessionId, DropReason>) -> Result<Vec<u8>, DropReason> {
        match result {
            Ok(_) => {
                samples::assert_checksums(&after);
                Ok(after)
            }
            Err(reason) => {
                assert_eq!(after, before, "a refused error stays as it was");
                Err(reason)
            }
        }
    }

    fn state(&self) -> Vec<(SessionId, crate::time::Duration, [u64; 2], &'static str)> {
        self.nat.rows(0).map(|(id, session)| (id, session.expires_in(self.now), session.packets(), session.state_label())).collect()
    }
}

#[test]
fn an_error_of_the_cloud_host_arrives_as_one_of_the_global_address_about_what_the_office_sent() {
    let mut world = World::new();
    let sent = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query");
    let left = world.office_sends(&sent).expect("opens");
    world.pass_seconds(10);
    let error = world.cloud_complains(&samples::icmp(PRIVATE, POOL, PORT_UNREACHABLE, [0; 4], &left)).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, PORT_UNREACHABLE, [0; 4], &sent));
}

#[test]
fn a_router_in_the_cloud_speaks_with_the_address_that_the_office_knows() {
    let mut world = World::new();
    let sent = samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (7, 0), &[]);
    let left = world.office_sends(&sent).expect("opens");
    // RFC 792: the header and 8 bytes; the TCP checksum is not among them.
    let error = world.cloud_complains(&samples::icmp(ROUTER, POOL, (11, 0), [0; 4], &left[..28])).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, (11, 0), [0; 4], &sent[..28]));
}

#[test]
fn an_error_about_a_ping_gets_its_identifier_back() {
    let mut world = World::new();
    let sent = samples::echo(OFFICE, GLOBAL, true, 77, b"abcdefgh");
    let left = world.office_sends(&sent).expect("opens");
    let error = world.cloud_complains(&samples::icmp(ROUTER, POOL, (3, 1), [0; 4], &left)).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, (3, 1), [0; 4], &sent));
    let identifier = Inner::parse(&left).expect("valid").source_port;
    let about_a_reply = samples::echo(POOL, PRIVATE, false, identifier, b"abcdefgh");
    let refused = world.cloud_complains(&samples::icmp(ROUTER, POOL, (3, 1), [0; 4], &about_a_reply));
    assert_eq!(refused, Err(DropReason::IcmpErrorUnmatched), "the office sent requests only");
}

#[test]
fn an_error_of_the_office_goes_to_the_cloud_host_as_from_the_pool() {
    // RFC 5508 REQ-5.
    let mut world = World::new();
    let port = world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens").port;
    let answer = samples::udp((PRIVATE, 53), (POOL, port), b"answer");
    let arrived = world.cloud_sends(&answer).expect("is known");
    for sender in [OFFICE, OFFICE_ROUTER] {
        let error = world.office_complains(&samples::icmp(sender, GLOBAL, PORT_UNREACHABLE, [0; 4], &arrived)).expect("is known");
        assert_eq!(error, samples::icmp(POOL, PRIVATE, PORT_UNREACHABLE, [0; 4], &answer));
    }
}

#[test]
fn extensions_behind_the_quote_stay_where_they_are() {
    // RFC 4884: 128 bytes of quote (32 words), then extensions.
    let mut world = World::new();
    let sent = samples::udp((OFFICE, 5_000), (GLOBAL, 53), &[b'q'; 200]);
    let left = world.office_sends(&sent).expect("opens");
    let extension = [0x20, 0, 0xdf, 0xff, 0, 4, 1, 1];
    let quote = |packet: &[u8]| [&packet[..128], &extension].concat();
    let error = world.cloud_complains(&samples::icmp(ROUTER, POOL, (11, 0), [0, 32, 0, 0], &quote(&left))).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, (11, 0), [0, 32, 0, 0], &quote(&sent)));
    let short = samples::icmp(ROUTER, POOL, (11, 0), [0, 6, 0, 0], &quote(&left));
    assert_eq!(world.cloud_complains(&short), Err(DropReason::IcmpErrorMalformed), "24 bytes hold no ports");
}

#[test]
fn options_in_the_quoted_header_are_stepped_over() {
    // RFC 5508 REQ-3 c: a router of the cloud may have added a timestamp or a security label.
    let mut world = World::new();
    let sent = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query");
    let with_options = |mut packet: Vec<u8>| {
        packet.splice(20..20, [1, 1, 1, 0]);
        (packet[0], packet[3]) = (0x46, packet[3] + 4);
        samples::mend_header_checksum(&mut packet);
        packet
    };
    let left = with_options(world.office_sends(&sent).expect("opens"));
    let error = world.cloud_complains(&samples::icmp(ROUTER, POOL, (3, 1), [0; 4], &left)).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, (3, 1), [0; 4], &with_options(sent)));
}

#[test]
fn an_error_about_somebody_elses_packet_is_unmatched() {
    let mut world = World::new();
    let left = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query")).expect("opens");
    let port = Inner::parse(&left).expect("valid").source_port;
    let quotes = [
        samples::udp((POOL, port ^ 1), (PRIVATE, 53), b"query"),
        samples::udp((POOL, port), (PRIVATE, 54), b"query"),
        samples::udp((POOL, port), ([10, 10, 0, 11], 53), b"query"),
        samples::tcp((POOL, port), (PRIVATE, 53), "S", (7, 0), &[]),
        samples::icmp(POOL, PRIVATE, (3, 1), [0; 4], &left),
    ];
    for quote in quotes {
        let error = samples::icmp(ROUTER, POOL, PORT_UNREACHABLE, [0; 4], &quote);
        assert_eq!(world.cloud_complains(&error), Err(DropReason::IcmpErrorUnmatched));
    }
    let to_another = samples::icmp(ROUTER, [10, 254, 1, 9], PORT_UNREACHABLE, [0; 4], &left);
    assert_eq!(world.cloud_complains(&to_another), Err(DropReason::IcmpErrorUnmatched), "it goes to another than it quotes");
    let wrong_way = samples::icmp(OFFICE, GLOBAL, PORT_UNREACHABLE, [0; 4], &left);
    assert_eq!(world.office_complains(&wrong_way), Err(DropReason::IcmpErrorUnmatched));
}

#[test]
fn an_error_that_quotes_wrongly_is_malformed() {
    let mut world = World::new();
    let left = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query")).expect("opens");
    for len in 0..28 {
        let error = samples::icmp(ROUTER, POOL, PORT_UNREACHABLE, [0; 4], &left[..len]);
        assert_eq!(world.cloud_complains(&error), Err(DropReason::IcmpErrorMalformed), "{len} bytes");
    }
    // Version, header length, checksum, fragment offset, protocol, and a total length too short for ports.
    for (at, value, mend) in [(0, 0x65, true), (0, 0x44, false), (11, left[11] ^ 1, false), (7, 9, true), (9, 47, true), (3, 27, true)] {
        let mut quote = left.clone();
        quote[at] = value;
        if mend {
            samples::mend_header_checksum(&mut quote);
        }
        let error = samples::icmp(ROUTER, POOL, PORT_UNREACHABLE, [0; 4], &quote);
        assert_eq!(world.cloud_complains(&error), Err(DropReason::IcmpErrorMalformed), "byte {at}");
    }
}

#[test]
fn fragmentation_needed_is_believed_from_576_bytes_on() {
    let mut world = World::new();
    let sent = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query");
    let left = world.office_sends(&sent).expect("opens");
    for mtu in [0u16, 68, 575] {
        let [high, low] = mtu.to_be_bytes();
        let error = samples::icmp(ROUTER, POOL, TOO_BIG, [0, 0, high, low], &left);
        assert_eq!(world.cloud_complains(&error), Err(DropReason::IcmpMtuTooSmall), "MTU {mtu}");
    }
    let error = world.cloud_complains(&samples::icmp(ROUTER, POOL, TOO_BIG, [0, 0, 2, 64], &left)).expect("is known");
    assert_eq!(error, samples::icmp(GLOBAL, OFFICE, TOO_BIG, [0, 0, 2, 64], &sent));
}

#[test]
fn an_error_about_a_sequence_number_that_is_not_on_its_way_is_a_forgery() {
    // RFC 5927 4.1.
    let mut world = World::new();
    let port = world.tcp_established();
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "PA", (1_001, 5_001), &[7; 100])).expect("is known");
    let mut about = |sequence| {
        let quote = samples::tcp((POOL, port), (PRIVATE, 443), "PA", (sequence, 5_001), &[7; 100]);
        world.cloud_complains(&samples::icmp(ROUTER, POOL, TOO_BIG, [0, 0, 4, 0], &quote)).map(|_| ())
    };
    assert_eq!(about(1_001), Ok(()));
    assert_eq!(about(1_101), Ok(()));
    assert_eq!(about(1_000), Err(DropReason::IcmpErrorUnmatched));
    assert_eq!(about(1_102), Err(DropReason::IcmpErrorUnmatched));
    assert_eq!(about(0x8000_0000), Err(DropReason::IcmpErrorUnmatched));
}

#[test]
fn a_message_that_is_no_error_is_refused() {
    let mut world = World::new();
    let left = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query")).expect("opens");
    let redirect = samples::icmp(ROUTER, POOL, (5, 1), [10, 0, 0, 1], &left);
    assert_eq!(world.cloud_complains(&redirect), Err(DropReason::IcmpTypeRefused));
    assert_eq!(world.office_complains(&redirect), Err(DropReason::IcmpTypeRefused));
}

proptest! {
    #[test]
    fn no_quote_does_harm(quote in proptest::collection::vec(any::<u8>(), 0..80), word: [u8; 4], kind in prop_oneof![Just(3u8), Just(11), Just(12)], damage: bool) {
        let mut world = World::new();
        let left = world.office_sends(&samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"query")).expect("opens");
        let quote = if damage { left.iter().zip(quote.iter().chain(std::iter::repeat(&0))).map(|(a, b)| if b % 16 == 1 { a ^ b } else { *a }).collect() } else { quote };
        let _ = world.cloud_complains(&samples::icmp(ROUTER, POOL, (kind, 0), word, &quote));
        prop_assert_eq!(world.counts(), (1, 1));
    }
}
