//! How long sessions live, by the RFC's timers. Times are whole seconds here, so a session ends on the dot.

use super::*;

/// Asserts that the only session lives for `seconds` without a packet, and no longer.
#[track_caller]
fn assert_lives(world: &mut World, seconds: u64) {
    assert_eq!(world.only_session().expires_in(world.now).as_secs(), seconds);
    let end = world.now + crate::time::Duration::from_secs(seconds);
    assert!(world.nat.next_deadline() <= end, "it is looked at in time");
    world.pass_seconds(seconds - 1);
    assert_eq!(world.counts(), (1, 1), "one second before its time");
    assert_eq!(world.nat.next_deadline(), end);
    world.pass_seconds(1);
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn a_udp_session_lives_5_minutes_and_packets_of_both_sides_refresh_it() {
    // RFC 4787 REQ-5 and REQ-6.
    let mut world = World::new();
    let port = world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens").port;
    world.pass_seconds(299);
    world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("is known");
    world.pass_seconds(299);
    world.cloud_sends(&samples::udp((PRIVATE, 53), (POOL, port), b"answer")).expect("is known");
    assert_lives(&mut world, 300);
}

#[test]
fn a_ping_session_lives_60_seconds() {
    // RFC 5508 REQ-2.
    let mut world = World::new();
    world.office_sends(&samples::echo(OFFICE, GLOBAL, true, 7, b"x")).expect("opens");
    assert_lives(&mut world, 60);
}

#[test]
fn a_connection_that_never_opens_lives_4_minutes() {
    // RFC 5382 REQ-5.
    let mut world = World::new();
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (1_000, 0), &[])).expect("opens");
    assert_lives(&mut world, 240);
}

#[test]
fn an_established_connection_lives_2_hours_and_4_minutes() {
    let mut world = World::new();
    world.tcp_established();
    assert_lives(&mut world, 7_440);
}

#[test]
fn a_connection_closed_by_one_side_stays_and_one_closed_by_both_goes_after_4_minutes() {
    let mut world = World::new();
    let port = world.tcp_established();
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "FA", (1_001, 5_001), &[])).expect("is known");
    assert_eq!(world.only_session().state_label(), "half-closed");
    world.pass_seconds(7_000);
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "PA", (5_001, 1_002), &[1; 50])).expect("is known");
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "FA", (5_051, 1_002), &[])).expect("is known");
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "A", (1_002, 5_052), &[])).expect("is known");
    assert_eq!(world.only_session().state_label(), "closing");
    assert_lives(&mut world, 240);
}

#[test]
fn a_reset_is_translated_and_shortens_the_timer_once() {
    // RFC 7857 2.2.
    let mut world = World::new();
    let port = world.tcp_established();
    let reset = samples::tcp((PRIVATE, 443), (POOL, port), "R", (5_001, 0), &[]);
    assert_eq!(world.cloud_sends(&reset), Ok(samples::tcp((GLOBAL, 443), (OFFICE, 40_000), "R", (5_001, 0), &[])));
    assert_eq!(world.only_session().state_label(), "reset");
    world.pass_seconds(100);
    world.cloud_sends(&reset).expect("is translated");
    assert_lives(&mut world, 140);
}

#[test]
fn a_packet_in_the_window_after_a_reset_brings_the_connection_back() {
    let mut world = World::new();
    let port = world.tcp_established();
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "R", (5_001, 0), &[])).expect("is known");
    world.pass_seconds(200);
    world.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "PA", (1_001, 5_001), &[1; 10])).expect("is known");
    assert_eq!(world.only_session().state_label(), "established");
    assert_lives(&mut world, 7_440);
}

#[test]
fn a_reset_outside_the_window_shortens_nothing() {
    let mut world = World::new();
    let port = world.tcp_established();
    for sequence in [5_000, 5_001 + 64_001, 0, 0x8000_0000, u32::MAX] {
        world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "R", (sequence, 0), &[])).expect("is translated");
        assert_eq!(world.only_session().state_label(), "established", "{sequence}");
    }
    assert_lives(&mut world, 7_440);
}

#[test]
fn a_packet_outside_the_window_refreshes_nothing() {
    let mut world = World::new();
    let port = world.tcp_established();
    world.pass_seconds(100);
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "PA", (5_001 + 100_000, 1_001), b"x")).expect("is translated");
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "PA", (5_001, 900_000), b"x")).expect("is translated");
    assert_lives(&mut world, 7_340);
}

#[test]
fn a_refused_connection_may_be_tried_again_from_the_same_port() {
    let mut world = World::new();
    let syn = |sequence| samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (sequence, 0), &[]);
    let port = Inner::parse(&world.office_sends(&syn(1_000)).expect("opens")).expect("valid").source_port;
    world.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "RA", (0, 1_001), &[])).expect("is known");
    assert_eq!(world.only_session().state_label(), "reset");
    world.pass_seconds(100);
    world.office_sends(&syn(77_000)).expect("is known");
    assert_eq!(world.only_session().state_label(), "opening");
    assert_lives(&mut world, 240);
}

#[test]
fn a_fraction_of_a_second_never_shortens_a_life() {
    let mut world = World::new();
    world.now = Instant::from_millis(1_000_500);
    world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens");
    assert_eq!(world.nat.expire(Instant::from_millis(1_300_500), 10), 0);
    assert_eq!(world.nat.expire(Instant::from_millis(1_301_000), 10), 1);
}

#[test]
fn a_budget_bounds_what_one_call_ends() {
    let mut world = World::new();
    for port in 2_000..2_010 {
        world.udp_source((OFFICE, port), (GLOBAL, 53)).expect("opens");
    }
    let later = world.now + crate::time::Duration::from_secs(300);
    assert_eq!(world.nat.expire(later, 4), 4);
    assert_eq!(world.counts(), (6, 6));
    assert_eq!(world.nat.expire(later, 100), 6);
    assert_eq!(world.nat.next_deadline(), later + crate::time::Duration::from_secs(120), "now the quarantines are next");
    world.nat.clear();
    assert_eq!(world.nat.next_deadline(), Instant::FAR_FUTURE);
}

#[test]
fn what_is_over_makes_room_for_new_sessions_however_seldom_somebody_cleans_up() {
    let mut world = World::with_limits(limits(100, 1_000));
    for round in 0..3 {
        for port in 0..100 {
            world.udp_source((OFFICE, 5_000 + round * 100 + port), (GLOBAL, 53)).expect("there is room");
        }
        assert_eq!(world.udp_source((OFFICE, 9_000), (GLOBAL, 53)), Err(DropReason::SessionTableFull));
        // Nobody calls `expire` meanwhile.
        world.now = world.now + crate::time::Duration::from_secs(300);
    }
}
