//! What may open a session, and what a session lets through.

use super::*;

#[test]
fn the_first_packet_of_a_connection_must_be_a_bare_syn() {
    let mut world = World::new();
    for flags in ["A", "SA", "R", "F", "FA", "PA", "SF", "SR", ""] {
        let packet = samples::tcp((OFFICE, 40_000), (GLOBAL, 443), flags, (7, 9), &[]);
        assert_eq!(world.office_sends(&packet), Err(DropReason::TcpNotSyn), "{flags}");
    }
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn another_remote_end_does_not_get_in_through_a_mapping() {
    let mut world = World::new();
    let port = world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens").port;
    let known = samples::udp((PRIVATE, 53), (POOL, port), b"answer");
    assert!(world.cloud_sends(&known).is_ok());
    for (from, to) in [((PRIVATE, 54), (POOL, port)), (([10, 10, 0, 11], 53), (POOL, port)), ((PRIVATE, 53), (POOL, port ^ 1))] {
        assert_eq!(world.cloud_sends(&samples::udp(from, to, b"guess")), Err(DropReason::NoSession));
    }
    let inner = Inner::parse(&known).expect("valid");
    assert_eq!(world.nat.find_from_cloud(AttachmentId(1), &inner), None, "the other attachment is another network");
    assert_eq!(world.only_session().packets(), [1, 1]);
}

#[test]
fn the_cloud_cannot_ping_back_through_the_session_of_a_ping() {
    let mut world = World::new();
    let request = world.office_sends(&samples::echo(OFFICE, GLOBAL, true, 77, b"abc")).expect("opens");
    let identifier = Inner::parse(&request).expect("valid").source_port;
    let reversed = samples::echo(PRIVATE, POOL, true, identifier, b"abc");
    assert_eq!(world.cloud_sends(&reversed), Err(DropReason::NoSession));
    let reply = world.cloud_sends(&samples::echo(PRIVATE, POOL, false, identifier, b"abc")).expect("is known");
    assert_eq!(reply, samples::echo(GLOBAL, OFFICE, false, 77, b"abc"));
    assert_eq!(world.office_sends(&samples::echo(OFFICE, GLOBAL, false, 77, b"abc")), Err(DropReason::NoSession));
    assert_eq!(world.only_session().packets(), [1, 1]);
}

#[test]
fn a_session_opened_by_the_office_lets_no_connection_be_opened_by_the_cloud() {
    let mut world = World::new();
    let port = world.tcp_established();
    let syn = samples::tcp((PRIVATE, 443), (POOL, port), "S", (90_000, 0), &[]);
    assert_eq!(world.cloud_sends(&syn), Err(DropReason::NoSession));
    assert_eq!(world.only_session().state_label(), "established");
}

#[test]
fn both_ends_may_open_at_the_same_time() {
    // RFC 5382 REQ-2: simultaneous open.
    let mut world = World::new();
    let syn = world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (1_000, 0), &[])).expect("opens");
    let port = Inner::parse(&syn).expect("valid").source_port;
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "S", (5_000, 0), &[])).expect("passes");
    assert_eq!(world.only_session().state_label(), "opening");
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "SA", (1_000, 5_001), &[])).expect("passes");
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "SA", (5_000, 1_001), &[])).expect("passes");
    assert_eq!(world.only_session().state_label(), "established");
    assert_eq!(world.counts(), (1, 1));
}

#[test]
fn a_full_table_refuses_new_sessions_and_keeps_the_old_ones() {
    // RFC 6888 REQ-11.
    let mut world = World::with_limits(limits(2, 100));
    assert!(world.udp_source((OFFICE, 1_025), (GLOBAL, 53)).is_ok());
    assert!(world.udp_source((OFFICE, 1_026), (GLOBAL, 53)).is_ok());
    assert_eq!(world.udp_source((OFFICE, 1_027), (GLOBAL, 53)), Err(DropReason::SessionTableFull));
    assert!(world.udp_source((OFFICE, 1_025), (GLOBAL, 53)).is_ok());
    assert_eq!(world.counts(), (2, 2));
    world.nat.set_limits(limits(3, 100));
    assert!(world.udp_source((OFFICE, 1_027), (GLOBAL, 53)).is_ok());
    world.nat.set_limits(limits(1, 100));
    assert!(world.udp_source((OFFICE, 1_026), (GLOBAL, 53)).is_ok(), "a lowered limit ends nothing");
    assert_eq!(world.counts(), (3, 3));
}

#[test]
fn more_new_sessions_a_second_than_allowed_are_refused() {
    // RFC 6888 REQ-4.
    let mut world = World::with_limits(limits(100, 5));
    let opened = (0..20).filter(|n| world.udp_source((OFFICE, 2_000 + n), (GLOBAL, 53)).is_ok()).count();
    assert_eq!(opened, 5);
    assert_eq!(world.udp_source((OFFICE, 3_000), (GLOBAL, 53)), Err(DropReason::SessionRateLimited));
    world.pass_seconds(1);
    assert!(world.udp_source((OFFICE, 3_000), (GLOBAL, 53)).is_ok());
    assert_eq!(world.counts(), (6, 6));
}

#[test]
fn two_destinations_that_become_one_conflict_instead_of_mixing() {
    let mut world = World::new();
    assert!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).is_ok());
    // The same private server, addressed without translation.
    assert_eq!(world.udp_source((OFFICE, 5_000), (PRIVATE, 53)), Err(DropReason::SessionConflict));
    assert_eq!(world.counts(), (1, 1));
    assert!(world.udp_source((OFFICE, 5_001), (PRIVATE, 53)).is_ok(), "another port is another flow");
    assert_eq!(world.counts(), (2, 2));
}

#[test]
fn only_an_echo_request_opens_an_icmp_session() {
    let mut world = World::new();
    assert_eq!(world.office_sends(&samples::echo(OFFICE, GLOBAL, false, 7, &[])), Err(DropReason::NoSession));
    for kind in [5, 9, 10, 13, 17] {
        let packet = samples::icmp(OFFICE, GLOBAL, (kind, 0), [0; 4], &[0; 12]);
        assert_eq!(world.office_sends(&packet), Err(DropReason::IcmpTypeRefused), "type {kind}");
    }
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn removing_a_session_twice_does_no_more_than_once() {
    let mut world = World::new();
    let packet = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"x");
    world.office_sends(&packet).expect("opens");
    let id = world.nat.find_from_office(&Inner::parse(&packet).expect("valid")).expect("is known");
    let flow = NewFlow { rule: RuleId::Service(3), ..world.flow(&Inner::parse(&packet).expect("valid")) };
    world.nat.confirm(id, &flow, 9);
    assert_eq!((world.nat.session(id).generation, world.nat.session(id).rule()), (9, RuleId::Service(3)));
    world.nat.remove(id, world.now);
    world.nat.remove(id, world.now);
    assert_eq!(world.counts(), (0, 0));
    assert_eq!(world.nat.rows(0).count(), 0);
}

#[test]
fn a_payload_full_of_addresses_passes_as_it_is_and_opens_nothing() {
    // RFC 4787 REQ-10, RFC 5382 REQ-6: what an application-layer gateway would read, and be tricked by (NAT slipstreaming).
    let mut world = World::new();
    let port = world.tcp_established();
    let payloads: [&[u8]; 3] = [
        b"PORT 198,51,100,17,31,144\r\n",
        b"REGISTER sip:x SIP/2.0\r\nContact: <sip:198.51.100.17:8080;transport=tcp>\r\n\r\n",
        b"\x04\x01SETUP 198.51.100.17 8080",
    ];
    let mut sequence = 1_001;
    for payload in payloads {
        let sent = samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "PA", (sequence, 5_001), payload);
        let arrived = world.office_sends(&sent).expect("is known");
        assert_eq!(&arrived[40..], payload);
        sequence += u32::try_from(payload.len()).expect("short");
    }
    let call = samples::tcp(([10, 10, 0, 99], 6_000), (POOL, port), "S", (1, 0), &[]);
    assert_eq!(world.cloud_begins(&call), Err(DropReason::NoSession));
    assert_eq!(world.cloud_begins(&samples::tcp((PRIVATE, 20), (POOL, 8_080), "S", (1, 0), &[])), Err(DropReason::NoSession));
    assert_eq!(world.counts(), (1, 1));
}
