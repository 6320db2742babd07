//! What was recorded is not played again, not even to a relay that has restarted.

use super::*;

/// An office, and a way to make the relay anew.
struct Restarting {
    relay_key: SecretKey,
    office_key: SecretKey,
    office: End,
}

impl Restarting {
    fn new() -> Self {
        let (relay_key, office_key) = (generate().expect("a key"), generate().expect("a key"));
        let office = end(&office_key, &relay_key, OFFICE, Some(relay_address()), None, None);
        Self { relay_key, office_key, office }
    }

    fn relay(&self) -> End {
        end(&self.relay_key, &self.office_key, RELAY, None, None, None)
    }
}

#[test]
fn a_handshake_recorded_before_a_restart_is_refused_after_it_where_its_time_was_remembered() {
    let mut town = Restarting::new();
    let now = START + Duration::from_secs(1);
    let mut relay = town.relay();
    let recorded = town.office.initiate(now);
    relay.reply(&recorded, office_address(), now);
    let remembered = relay.tunnel.untold_timestamp().expect("news");
    assert_eq!(relay.tunnel.untold_timestamp(), Some(remembered), "until somebody has it");
    relay.tunnel.timestamp_told();
    assert_eq!(relay.tunnel.untold_timestamp(), None);

    let mut relay = town.relay();
    relay.tunnel.remember_timestamp(remembered);
    for source in [office_address(), address(66)] {
        assert_eq!(relay.receive(&recorded, source, now), Err(DropReason::TunnelHandshakeRejected));
    }
    assert_eq!(relay.tunnel.untold_timestamp(), None);
    let fresh = town.office.initiate_again(now);
    relay.reply(&fresh, office_address(), now);
    assert!(relay.tunnel.untold_timestamp() > Some(remembered));
}

#[test]
fn an_older_memory_never_takes_back_what_the_peer_has_shown_since() {
    let mut town = Restarting::new();
    let now = START + Duration::from_secs(1);
    let mut relay = town.relay();
    let (first, second) = (town.office.initiate_again(now), town.office.initiate_again(now));
    relay.reply(&second, office_address(), now);
    relay.tunnel.remember_timestamp(Tai64n::default());
    let later = now + Duration::from_secs(1);
    for old in [&first, &second] {
        assert_eq!(relay.receive(old, office_address(), later), Err(DropReason::TunnelHandshakeRejected));
    }
}

#[test]
fn initiations_of_one_moment_have_different_times_and_a_later_run_of_the_relay_later_ones() {
    let mut town = Restarting::new();
    let now = START + Duration::from_secs(1);
    let mut relay = town.relay();
    let mut last = None;
    for count in 1..=20 {
        let initiation = town.office.initiate_again(now);
        relay.reply(&initiation, office_address(), now + Duration::from_millis(60 * count));
        assert!(relay.tunnel.untold_timestamp() > last);
        last = relay.tunnel.untold_timestamp();
    }
    // The office starts again: its own time begins anew, 1970 is further away.
    let started = START.since(Instant::ZERO) + Duration::from_secs(2);
    let listener = WireGuardListener::sharing_cookies(&town.office_key, &[0; 32], started);
    let config = config(&town.relay_key, Some(relay_address()), None, None);
    let mut restarted = End { tunnel: WireGuardTunnel::new(&listener, &config, OFFICE, Instant::ZERO), ..town.office };
    let initiation = restarted.initiate_again(Instant::ZERO);
    relay.reply(&initiation, office_address(), now + Duration::from_secs(2));
    assert!(relay.tunnel.untold_timestamp() > last);
}
