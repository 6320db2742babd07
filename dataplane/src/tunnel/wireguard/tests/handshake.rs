//! Handshakes: who gets in, who is limited, and what a tunnel says when nobody does.

use super::*;
use crate::tunnel::AnyTunnel;
use crate::tunnel::handshake_limit::PER_SOURCE_BURST;

#[test]
fn a_handshake_from_either_side_brings_the_tunnel_up() {
    let mut pair = Pair::new();
    let before = pair.relay.tunnel.state(pair.now);
    assert_eq!((before.up, before.changed_at), (false, None));
    assert!(before.down_reason.contains("never been heard"));
    assert!(before.down_reason.ends_with("`public_key` in the tenant file (`chukei show drops`: tunnel_peer_unknown)"));
    pair.handshake();
    for end in [&pair.relay, &pair.office] {
        let state = end.tunnel.state(pair.now);
        assert!(state.up && state.handshake_at.is_some() && state.changed_at == state.handshake_at && state.down_reason.is_empty());
    }
    // From the relay's side, as after a restart with a remembered address.
    let mut pair = Pair::new();
    pair.relay.tunnel.remember_peer(office_address());
    let initiation = pair.relay.initiate(pair.now);
    let response = pair.office.reply(&initiation, relay_address(), pair.now);
    let completed = pair.relay.receive(&response, office_address(), pair.now).expect("a response");
    assert!(completed.handshake_completed && pair.relay.tunnel.state(pair.now).up);
    assert_eq!(completed.content, Content::Reply { len: 32 }, "a keepalive, so that the office may send");
}

#[test]
fn the_listener_finds_the_session_by_its_index_and_the_peer_by_its_key() {
    let mut pair = Pair::new();
    let (mut reply, now) = ([0; 64], pair.now);
    let initiation = pair.office.initiate(now);
    let office_key = pair.office.listener.public_key();
    let inspected = pair.relay.listener.inspect(&initiation, office_address(), &mut reply, now);
    assert_eq!(inspected, Ok(Inspected::Initiation));
    assert_eq!(pair.relay.listener.initiator(&initiation), Ok(office_key));
    assert_eq!(data_index(&initiation), None);
    let response = pair.relay.reply(&initiation, office_address(), now);
    let inspected = pair.office.listener.inspect(&response, relay_address(), &mut reply, now);
    assert_eq!(inspected, Ok(Inspected::HandshakeResponse { index: OFFICE }));
    let keepalive = pair.office.reply(&response, relay_address(), now);
    let inspected = pair.relay.listener.inspect(&keepalive, office_address(), &mut reply, now);
    assert_eq!((inspected, data_index(&keepalive)), (Ok(Inspected::Data { index: RELAY }), Some(RELAY)));
}

#[test]
fn an_endpoint_is_silent_unless_the_first_mac_is_right() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    let stranger = generate().expect("a key");
    let mut other = end(&stranger, &stranger, 1, None, None, None);
    assert_eq!(other.receive(&initiation, office_address(), pair.now), Err(DropReason::TunnelHandshakeMacInvalid));
    for at in [5, 20, 60, 100, 116, 131] {
        let mut changed = initiation.clone();
        changed[at] ^= 1;
        assert_eq!(pair.relay.receive(&changed, office_address(), pair.now), Err(DropReason::TunnelHandshakeMacInvalid), "byte {at}");
    }
    assert_eq!(pair.relay.receive(&initiation[..147], office_address(), pair.now), Err(DropReason::TunnelMessageMalformed));
    assert_eq!(pair.relay.receive(&[], office_address(), pair.now), Err(DropReason::TunnelMessageMalformed));
    pair.relay.reply(&initiation, office_address(), pair.now);
}

#[test]
fn a_key_of_low_order_is_refused_before_any_diffie_hellman() {
    use blake2::digest::{FixedOutput, Mac};
    let mut pair = Pair::new();
    let mut initiation = pair.office.initiate(pair.now);
    initiation[8..40].fill(0);
    // Whoever knows the relay's public key can make the first MAC.
    use blake2::Digest;
    let key = blake2::Blake2s256::new().chain_update(b"mac1----").chain_update(pair.relay.listener.public_key()).finalize();
    let mac = <blake2::Blake2sMac<blake2::digest::consts::U16> as Mac>::new_from_slice(&key).expect("32 bytes");
    let mac1: [u8; 16] = mac.chain_update(&initiation[..116]).finalize_fixed().into();
    initiation[116..132].copy_from_slice(&mac1);
    assert_eq!(pair.relay.receive(&initiation, office_address(), pair.now), Err(DropReason::TunnelHandshakeRejected));
}

#[test]
fn a_replayed_handshake_is_refused_and_costs_the_peer_nothing() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    pair.relay.reply(&initiation, office_address(), pair.now);
    pair.advance(Duration::from_millis(20));
    for _ in 0..100 {
        let replayed = pair.relay.tunnel.decapsulate(&initiation, address(66), &mut [0; 2_048], pair.now);
        assert_eq!(replayed, Err(DropReason::TunnelHandshakeRejected));
    }
    pair.advance(Duration::from_secs(6));
    let fresh = pair.office.initiate_again(pair.now);
    pair.relay.reply(&fresh, office_address(), pair.now);
}

#[test]
fn one_peer_gets_fifty_handshakes_a_second_at_most() {
    let mut pair = Pair::new();
    let mut answered = 0;
    for _ in 0..200 {
        pair.advance(Duration::from_millis(5));
        let initiation = pair.office.initiate_again(pair.now);
        match pair.relay.decapsulate(&initiation, office_address(), pair.now) {
            Ok(_) => answered += 1,
            Err(reason) => assert_eq!(reason, DropReason::TunnelHandshakeLimited),
        }
    }
    assert_eq!(answered, 50);
}

#[test]
fn a_source_beyond_its_share_proves_its_address_and_port_and_is_limited_all_the_same() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    let mut out = [0; 64];
    for _ in 0..PER_SOURCE_BURST {
        let inspected = pair.relay.listener.inspect(&initiation, office_address(), &mut out, pair.now).expect("within its share");
        assert!(matches!(inspected, Inspected::Initiation));
    }
    assert_eq!(pair.relay.listener.inspect(&initiation, office_address(), &mut out, pair.now), Ok(Inspected::Reply(64)));
    let no_room = pair.relay.listener.inspect(&initiation, office_address(), &mut [0; 63], pair.now);
    assert_eq!(no_room, Err(DropReason::TunnelHandshakeLimited));
    assert_eq!(pair.office.receive(&out, relay_address(), pair.now).expect("a cookie").content, Content::Absorbed);

    let proving = pair.office.initiate_again(pair.now);
    let mut other_port = office_address();
    other_port.set_port(1);
    // Use up the share of the other port's address as well: it is the same one.
    assert_eq!(pair.relay.listener.inspect(&proving, other_port, &mut out, pair.now), Ok(Inspected::Reply(64)), "the cookie is for a port");
    let taken = (0..20)
        .filter(|_| matches!(pair.relay.listener.inspect(&proving, office_address(), &mut out, pair.now), Ok(Inspected::Initiation)))
        .count();
    assert_eq!(taken, PER_SOURCE_BURST as usize);
    assert_eq!(pair.relay.listener.inspect(&proving, office_address(), &mut out, pair.now), Err(DropReason::TunnelHandshakeLimited));
    // Two minutes later the cookie is worth nothing.
    pair.now = pair.now + Duration::from_secs(120);
    let late = pair.relay.listener.inspect(&proving, office_address(), &mut out, pair.now);
    assert!(matches!(late, Ok(Inspected::Initiation)), "as a source without a cookie");
    for _ in 1..PER_SOURCE_BURST {
        let _ = pair.relay.listener.inspect(&proving, office_address(), &mut out, pair.now);
    }
    assert_eq!(pair.relay.listener.inspect(&proving, office_address(), &mut out, pair.now), Ok(Inspected::Reply(64)));
}

#[test]
fn a_flood_of_forged_sources_is_asked_for_cookies_and_shuts_nobody_out_who_has_one() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    let (mut out, mut worked_on) = ([0; 64], 0);
    for forged in 0..5_000_u32 {
        let source = SocketAddr::from(((0x0a00_0000 + forged).to_be_bytes(), 1));
        match pair.relay.listener.inspect(&initiation, source, &mut out, pair.now).expect("valid") {
            Inspected::Reply(_) => {}
            _ => worked_on += 1,
        }
    }
    assert_eq!(worked_on, 2_000, "the burst");
    assert_eq!(pair.relay.listener.inspect(&initiation, office_address(), &mut out, pair.now), Ok(Inspected::Reply(64)));
    assert_eq!(pair.office.receive(&out, relay_address(), pair.now).expect("a cookie").content, Content::Absorbed);
    let proving = pair.office.initiate_again(pair.now);
    pair.advance(Duration::from_millis(10));
    pair.relay.reply(&proving, office_address(), pair.now);
}

#[test]
fn another_preshared_key_brings_nothing_up_and_both_ends_say_what_to_compare() {
    let mut pair = Pair::with(&Setting { relay_psk: Some([1; 32]), office_psk: Some([2; 32]), ..Setting::default() });
    let initiation = pair.office.initiate(pair.now);
    let response = pair.relay.reply(&initiation, office_address(), pair.now);
    assert_eq!(pair.office.receive(&response, relay_address(), pair.now), Err(DropReason::TunnelHandshakeRejected));
    for end in [&pair.relay, &pair.office] {
        let state = end.tunnel.state(pair.now);
        assert!(!state.up && state.down_reason.contains("preshared key"));
    }
    let mut pair = Pair::with(&Setting { relay_psk: Some([1; 32]), office_psk: Some([1; 32]), ..Setting::default() });
    pair.handshake();
    assert!(pair.relay.tunnel.state(pair.now).up);
}

#[test]
fn a_response_that_does_not_verify_clears_nothing() {
    let mut pair = Pair::new();
    let initiation = pair.office.initiate(pair.now);
    let response = pair.relay.reply(&initiation, office_address(), pair.now);
    let mut broken = response.clone();
    broken[50] ^= 1;
    let rejected = pair.office.tunnel.decapsulate(&broken, relay_address(), &mut [0; 2_048], pair.now);
    assert_eq!(rejected, Err(DropReason::TunnelHandshakeRejected));
    assert!(pair.office.receive(&response, relay_address(), pair.now).expect("the true one").handshake_completed);
}

#[test]
fn the_responder_sends_nothing_before_the_peers_first_data_however_often_the_handshake_is_begun() {
    let mut pair = Pair::new();
    pair.relay.tunnel.remember_peer(office_address());
    for round in 0..20 {
        pair.advance(Duration::from_secs(6));
        let initiation = pair.office.initiate_again(pair.now);
        pair.relay.reply(&initiation, office_address(), pair.now);
        assert_eq!(pair.relay.send(&ipv4(100), pair.now), Err(DropReason::TunnelDown), "round {round}");
    }
}

#[test]
fn previous_and_current_keys_overlap_without_loss() {
    let mut pair = Pair::up();
    let under_old_keys: Vec<Vec<u8>> = (0..3).map(|_| pair.office.send(&ipv4(100), pair.now).expect("up")).collect();
    pair.advance(Duration::from_secs(6));
    let initiation = pair.office.initiate_again(pair.now);
    let response = pair.relay.reply(&initiation, office_address(), pair.now);
    // Not proved yet: the relay goes on under the old keys, and the office takes it.
    let datagram = pair.relay.send(&ipv4(200), pair.now).expect("still up");
    pair.office.inner(&datagram, relay_address(), pair.now);
    let keepalive = pair.office.reply(&response, relay_address(), pair.now);
    pair.relay.inner(&under_old_keys[0], office_address(), pair.now);
    assert!(pair.relay.receive(&keepalive, office_address(), pair.now).expect("a keepalive").handshake_completed);
    let datagram = pair.relay.send(&ipv4(200), pair.now).expect("up");
    pair.office.inner(&datagram, relay_address(), pair.now);
    for late in &under_old_keys[1..] {
        pair.relay.inner(late, office_address(), pair.now);
    }
}

#[test]
fn initiations_are_paced_and_need_an_address() {
    let mut pair = Pair::new();
    let mut out = [0; 148];
    assert_eq!(pair.relay.tunnel.initiate(&mut out, pair.now), None, "nowhere to send it");
    pair.relay.tunnel.remember_peer(office_address());
    assert_eq!(pair.relay.tunnel.initiate(&mut out, pair.now), Some(148));
    for _ in 0..1_000 {
        assert_eq!(pair.relay.tunnel.initiate(&mut out, pair.now), None);
    }
    let mut up = Pair::up();
    assert_eq!(up.relay.tunnel.initiate(&mut out, up.now), None, "there is a session");
}

#[test]
fn nothing_secret_is_printed() {
    let pair = Pair::with(&Setting { relay_psk: Some([0xab; 32]), ..Setting::default() });
    let printed = format!("{:?} {:?} {:?}", pair.relay.listener, pair.relay.tunnel, AnyTunnel::WireGuard(pair.office.tunnel));
    assert!(printed.contains("WireGuardTunnel"));
    // Two bytes of it in a row: one alone also occurs in a public key now and then.
    assert!(!printed.contains("171, 171") && !printed.to_lowercase().contains("abab"), "{printed}");
    assert!(!printed.to_lowercase().contains("preshared"), "{printed}");
}
