//! Data messages: where they are decrypted to, what is refused, what is never kept.

use super::*;

fn with_counter(datagram: &[u8], counter: u64) -> Vec<u8> {
    let mut changed = datagram.to_vec();
    changed[8..16].copy_from_slice(&counter.to_le_bytes());
    changed
}

#[test]
fn packets_of_every_size_arrive_as_they_were_sent_both_ways() {
    let mut pair = Pair::up();
    for len in [20, 21, 28, 35, 36, 576, 1_404, 1_419, 1_420] {
        let packet = ipv4(len);
        let datagram = pair.office.send(&packet, pair.now).expect("up");
        assert_eq!(pair.relay.inner(&datagram, office_address(), pair.now), packet);
        let datagram = pair.relay.send(&packet, pair.now).expect("up");
        assert_eq!(pair.office.inner(&datagram, relay_address(), pair.now), packet);
    }
}

#[test]
fn the_payload_is_decrypted_straight_into_the_transmit_frame_and_the_receive_frame_is_left_alone() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(1_000), pair.now).expect("up");
    let received = datagram.clone();
    let decapsulated = pair.relay.receive(&datagram, office_address(), pair.now).expect("data");
    assert_eq!(decapsulated.content, Content::Inner { len: 1_000 });
    assert_eq!(pair.relay.out[..1_000], ipv4(1_000)[..], "at the first byte of the output");
    assert_eq!(datagram, received);
}

#[test]
fn buffers_that_are_too_short_are_refused_and_nothing_panics() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(1_000), pair.now).expect("up");
    for short in [0, 16, 147, datagram.len() - 1] {
        let mut out = vec![0; short];
        assert_eq!(pair.relay.tunnel.decapsulate(&datagram, office_address(), &mut out, pair.now), Err(DropReason::FrameTooBig));
        let mut out = vec![0; short.min(1_031)];
        let encapsulated = pair.relay.tunnel.encapsulate(&mut ipv4(1_000), 1_000, &mut out, pair.now);
        assert_eq!(encapsulated, Err(DropReason::TunnelEncapsulateFailed), "{short}");
    }
    let mut out = vec![0; datagram.len()];
    assert!(pair.relay.tunnel.decapsulate(&datagram, office_address(), &mut out, pair.now).is_ok(), "the same message, not a replay");
    assert_eq!(pair.relay.tunnel.encapsulate(&mut ipv4(40), 41, &mut [0; 2_048], pair.now), Err(DropReason::TunnelEncapsulateFailed));
    assert_eq!(pair.relay.tunnel.initiate(&mut [0; 147], pair.now), None);
    assert_eq!(pair.relay.tunnel.tick(&mut [0; 147], pair.now), None);
    for len in 0..200 {
        let _ = pair.relay.tunnel.decapsulate(&vec![4; len], office_address(), &mut out, pair.now);
    }
}

#[test]
fn an_inner_packet_has_the_length_its_header_claims_and_never_more_than_came() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4_claiming(100, 60), pair.now).expect("up");
    assert_eq!(pair.relay.inner(&datagram, office_address(), pair.now).len(), 60);
    // Shorter than its own header: only a parser can tell, and the route has one.
    let datagram = pair.office.send(&ipv4_claiming(100, 7), pair.now).expect("up");
    assert_eq!(pair.relay.inner(&datagram, office_address(), pair.now).len(), 7);
    for broken in [ipv4_claiming(100, 1_000), vec![0x45; 19], vec![0x00; 64], vec![0x60; 39]] {
        let datagram = pair.office.send(&broken, pair.now).expect("up");
        assert_eq!(pair.relay.receive(&datagram, office_address(), pair.now), Err(DropReason::InnerMalformed));
    }
}

#[test]
fn a_counter_at_the_end_of_its_range_is_refused_before_it_can_empty_the_replay_window() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    pair.relay.inner(&datagram, office_address(), pair.now);
    for counter in [u64::MAX, u64::MAX - 1, 0xffff_ffff_ffff_dfff] {
        let end = with_counter(&datagram, counter);
        assert_eq!(pair.relay.receive(&end, office_address(), pair.now), Err(DropReason::TunnelCounterExhausted));
    }
    let last = with_counter(&datagram, 0xffff_ffff_ffff_dffe);
    assert_eq!(pair.relay.receive(&last, office_address(), pair.now), Err(DropReason::TunnelDataRejected), "allowed, but not authentic");
    assert_eq!(pair.relay.receive(&datagram, office_address(), pair.now), Err(DropReason::TunnelDataReplayed), "still known");
}

#[test]
fn a_message_is_accepted_once_in_any_order_and_a_forged_one_moves_no_window() {
    let mut pair = Pair::up();
    let datagrams: Vec<Vec<u8>> = (0..40).map(|_| pair.office.send(&ipv4(100), pair.now).expect("up")).collect();
    let mut forged = with_counter(&datagrams[39], 1 << 40);
    forged[20] ^= 1;
    assert_eq!(pair.relay.receive(&forged, office_address(), pair.now), Err(DropReason::TunnelDataRejected));
    for datagram in datagrams.iter().rev() {
        pair.relay.inner(datagram, office_address(), pair.now);
    }
    for datagram in &datagrams {
        assert_eq!(pair.relay.receive(datagram, office_address(), pair.now), Err(DropReason::TunnelDataReplayed));
    }
}

#[test]
fn nothing_is_kept_for_a_tunnel_without_a_session() {
    let mut pair = Pair::new();
    assert_eq!(pair.relay.send(&ipv4(100), pair.now), Err(DropReason::TunnelPeerAddressUnknown));
    for _ in 0..1_000 {
        assert_eq!(pair.office.send(&ipv4(100), pair.now), Err(DropReason::TunnelDown));
    }
    pair.handshake();
    assert_eq!(pair.office.tick(pair.now), None, "nothing was queued");
    assert!(pair.office.send(&ipv4(100), pair.now).is_ok());
}

#[test]
fn packets_are_padded_to_16_with_zeros_but_not_beyond_the_mtu() {
    let mut pair = Pair::up();
    for (len, padded) in [(20, 32), (32, 32), (33, 48), (1_404, 1_408), (1_409, 1_420), (1_420, 1_420)] {
        assert_eq!(pair.relay.send(&ipv4(len), pair.now).expect("up").len(), padded + 32, "{len}");
    }
    let mut inner = ipv4(20);
    inner.extend([0xaa; 20]);
    pair.relay.tunnel.encapsulate(&mut inner, 20, &mut [0; 2_048], pair.now).expect("up");
    assert_eq!((&inner[20..32], &inner[32..]), (&[0; 12][..], &[0xaa; 8][..]), "what was in the frame before does not leave");
    let without_room = pair.relay.tunnel.encapsulate(&mut ipv4(20), 20, &mut [0; 2_048], pair.now);
    assert_eq!(without_room, Ok(52));
}

#[test]
fn a_message_for_a_session_that_never_was_is_refused() {
    let mut pair = Pair::up();
    let mut datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    datagram[4] = datagram[4].wrapping_add(8);
    assert_eq!(pair.relay.receive(&datagram, office_address(), pair.now), Err(DropReason::TunnelDataRejected));
}

#[test]
fn keys_are_not_used_at_180_seconds_even_before_the_next_tick() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    let end = pair.relay.tunnel.state(pair.now).handshake_at.expect("up") + Duration::from_secs(180);
    assert_eq!(pair.relay.tunnel.decapsulate(&datagram, office_address(), &mut [0; 2_048], end), Err(DropReason::TunnelDataRejected));
    assert_eq!(pair.relay.send(&ipv4(100), end), Err(DropReason::TunnelDown));
    let state = pair.relay.tunnel.state(end + Duration::from_secs(60));
    assert_eq!((state.up, state.changed_at), (false, Some(end)), "down since the keys ended, not since somebody asked");
    assert!(state.down_reason.starts_with("idle"));
}

#[test]
fn the_window_spans_8_128_messages_to_the_last_one() {
    let mut pair = Pair::up();
    // Handshake keepalives are 0; what follows counts up.
    let datagrams: Vec<Vec<u8>> = (0..8_200).map(|_| pair.office.send(&ipv4(40), pair.now).expect("up")).collect();
    let newest = datagrams.len() - 1;
    pair.relay.inner(&datagrams[newest], office_address(), pair.now);
    let oldest = newest - 8_127;
    assert_eq!(pair.relay.receive(&datagrams[oldest - 1], office_address(), pair.now), Err(DropReason::TunnelDataReplayed), "too old");
    for late in [oldest, oldest + 1, newest - 1] {
        pair.relay.inner(&datagrams[late], office_address(), pair.now);
        assert_eq!(pair.relay.receive(&datagrams[late], office_address(), pair.now), Err(DropReason::TunnelDataReplayed), "{late} again");
    }
    for datagram in &datagrams[oldest + 2..newest - 1] {
        pair.relay.inner(datagram, office_address(), pair.now);
    }
    for datagram in &datagrams {
        assert_eq!(pair.relay.receive(datagram, office_address(), pair.now), Err(DropReason::TunnelDataReplayed));
    }
}

#[test]
fn the_last_counter_is_used_once_each_way_and_then_the_session_is_over() {
    let mut pair = Pair::up();
    *pair.office.tunnel.sessions.current().expect("up").counter() = 0xffff_ffff_ffff_dffe;
    let last = pair.office.send(&ipv4(100), pair.now).expect("one is left");
    assert_eq!(last[8..16], 0xffff_ffff_ffff_dffe_u64.to_le_bytes());
    assert_eq!(pair.office.send(&ipv4(100), pair.now), Err(DropReason::TunnelDown));
    assert!(!pair.office.tunnel.is_up(pair.now));
    assert_eq!(pair.relay.inner(&last, office_address(), pair.now), ipv4(100));
    assert_eq!(pair.relay.receive(&last, office_address(), pair.now), Err(DropReason::TunnelDataReplayed));
    // Both ends want another session, whoever began this one.
    pair.advance(Duration::from_secs(6));
    assert_eq!(pair.office.tick(pair.now), Some(148));
}

#[test]
fn nothing_of_a_message_that_fails_moves_the_window_the_peer_or_the_timers() {
    let mut pair = Pair::up();
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    for at in 16..datagram.len() {
        let mut flipped = datagram.clone();
        flipped[at] ^= 0x10;
        assert_eq!(pair.relay.receive(&flipped, address(66), pair.now), Err(DropReason::TunnelDataRejected), "byte {at}");
    }
    for len in 32..datagram.len() {
        assert_eq!(pair.relay.receive(&datagram[..len], address(66), pair.now), Err(DropReason::TunnelDataRejected), "{len} bytes");
    }
    assert_eq!(pair.relay.tunnel.peer(), Some(office_address()));
    pair.relay.inner(&datagram, office_address(), pair.now);
}
