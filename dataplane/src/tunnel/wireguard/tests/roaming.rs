//! The tunnel follows its peer on what only the peer can have sent just now, and on nothing else.

use super::*;

#[test]
fn the_relay_follows_the_office_on_authenticated_data_and_reports_it_once() {
    let mut pair = Pair::up();
    assert_eq!(pair.relay.tunnel.peer(), Some(office_address()));
    for moved in [true, false] {
        let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
        assert_eq!(pair.relay.receive(&datagram, address(77), pair.now).expect("data").peer_moved, moved);
        assert_eq!(pair.relay.tunnel.peer(), Some(address(77)));
    }
}

#[test]
fn forged_and_replayed_data_moves_nobody() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    pair.relay.inner(&datagram, office_address(), pair.now);
    let heard_at = pair.relay.tunnel.state(pair.now).heard_at;
    pair.advance(Duration::from_secs(1));
    let mut forged = datagram.clone();
    forged[8] += 1;
    assert_eq!(pair.relay.receive(&datagram, address(66), pair.now), Err(DropReason::TunnelDataReplayed));
    assert_eq!(pair.relay.receive(&forged, address(66), pair.now), Err(DropReason::TunnelDataRejected));
    assert_eq!(pair.relay.tunnel.peer(), Some(office_address()));
    assert_eq!(pair.relay.tunnel.state(pair.now).heard_at, heard_at);
}

#[test]
fn a_handshake_recorded_before_a_restart_moves_nothing_and_brings_nothing_up() {
    let (relay_key, office_key) = (generate().expect("a key"), generate().expect("a key"));
    let mut office = end(&office_key, &relay_key, OFFICE, Some(relay_address()), None, None);
    let now = START + Duration::from_secs(1);
    let recorded = office.initiate(now);
    // The relay restarts, with the address it remembers.
    let mut relay = end(&relay_key, &office_key, RELAY, None, None, None);
    relay.tunnel.remember_peer(office_address());
    relay.reply(&recorded, address(66), now);
    assert_eq!(relay.tunnel.peer(), Some(office_address()));
    assert_eq!(relay.send(&ipv4(100), now), Err(DropReason::TunnelDown));
    let state = relay.tunnel.state(now);
    assert_eq!((state.up, state.heard_at, state.handshake_at), (false, None, None));
    assert!(state.down_reason.contains("preshared key"));
}

#[test]
fn a_cookie_reply_neither_roams_nor_counts_as_traffic_and_binds_to_the_last_first_mac() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    let mut cookie = vec![0; 64];
    // The relay is under load: the source has used up its share.
    let challenge = loop {
        match pair.relay.listener.inspect(&initiation, office_address(), &mut cookie, pair.now).expect("valid") {
            Inspected::Reply(len) => break cookie[..len].to_vec(),
            inspected => assert!(matches!(inspected, Inspected::Initiation)),
        }
    };
    let mut forged = challenge.clone();
    forged[40] ^= 1;
    assert_eq!(pair.office.receive(&forged, address(66), pair.now), Err(DropReason::TunnelCookieRejected));
    let accepted = pair.office.receive(&challenge, address(66), pair.now).expect("a cookie");
    assert_eq!((accepted.content, accepted.peer_moved), (Content::Absorbed, false));
    assert_eq!(pair.office.tunnel.peer(), Some(relay_address()));
    assert_eq!(pair.office.tunnel.state(pair.now).heard_at, None);
    assert_eq!(pair.office.receive(&challenge, relay_address(), pair.now), Err(DropReason::TunnelCookieRejected));
}

#[test]
fn a_remembered_address_gives_way_to_a_proved_one_but_not_the_other_way_round() {
    let mut pair = Pair::new();
    pair.relay.tunnel.remember_peer(address(9));
    assert_eq!(pair.relay.tunnel.peer(), Some(address(9)));
    pair.handshake();
    assert_eq!(pair.relay.tunnel.peer(), Some(office_address()));
    pair.relay.tunnel.remember_peer(address(9));
    assert_eq!(pair.relay.tunnel.peer(), Some(office_address()));
}
