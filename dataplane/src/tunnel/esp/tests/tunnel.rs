//! What goes in comes out, to where the peer is; and what the tunnel tells about itself.

use super::*;

#[test]
fn packets_of_every_length_come_through_every_suite_both_ways_within_the_overhead() {
    for suite in suites(7) {
        for esn in [false, true] {
            let mut two = Two::with(&SaPair { esn, ..pair(0x1000, |_| suite.clone()) });
            let overhead = two.relay.overhead();
            let mut most = 0;
            for len in (20..100).chain([511, 512, 1_400, 1_419, 1_420, 1_421]) {
                let datagram = two.datagram(&from_office(len));
                most = most.max(datagram.len() - len);
                assert_eq!(two.opened(&datagram), Ok(from_office(len)), "{len} bytes of {}", suite.label());
                assert_eq!(two.through_relay(&to_office(len)).map(|(packet, _)| packet), Ok(to_office(len)));
            }
            assert_eq!(most, overhead, "{}: what it may add, and does for some length", suite.label());
            let row = two.row(0x1000);
            assert_eq!((row.received, row.suite), (row.transmitted, suite.label()));
        }
    }
    assert_eq!(EspTunnel::default().overhead(), 8 + 16 + 17 + 32, "without an SA: that of the largest suite");
}

#[test]
fn what_stands_behind_the_inner_packet_is_carried_and_is_the_routes_to_cut() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    // RFC 4303 section 2.7: 500 bytes that hide that the packet has 50.
    let padded = [from_office(50), vec![0; 500]].concat();
    let datagram = two.datagram(&padded);
    assert_eq!(two.opened(&datagram), Ok(padded.clone()));
    assert_eq!(padded[2..4], 50_u16.to_be_bytes());
}

#[test]
fn the_overhead_is_the_largest_of_all_pairs() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    assert_eq!(two.relay.overhead(), 8 + 8 + 5 + 16);
    two.install(&pair(0x2000, |fill| cbc(256, Integrity::HmacSha256_128, fill)));
    assert_eq!(two.relay.overhead(), 8 + 16 + 17 + 16);
}

#[test]
fn the_same_packet_twice_is_a_replay_and_a_late_one_within_the_window_is_not() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let datagrams: Vec<Vec<u8>> = (0..2_000).map(|_| two.datagram(&from_office(40))).collect();
    for place in [1_999, 100, 99, 16, 5] {
        let expected = if place > 15 { Ok(from_office(40)) } else { Err(DropReason::TunnelDataReplayed) };
        assert_eq!(two.opened(&datagrams[place]), expected, "{place}");
        assert_eq!(two.opened(&datagrams[place]), Err(DropReason::TunnelDataReplayed));
    }
}

#[test]
fn what_the_selectors_of_its_own_pair_do_not_allow_is_refused_whatever_another_pair_allows() {
    let other_office = [Ipv4Addr::new(198, 51, 100, 32), Ipv4Addr::new(198, 51, 100, 47)];
    let narrow = pair(0x1000, |fill| gcm(256, fill));
    let other = SaPair { selectors: Box::new([any_of(other_office, FAR)]), ..pair(0x2000, |fill| gcm(256, fill)) };
    let mut two = Two::with(&narrow);
    two.install(&other);
    // Each direction finds the pair that carries its packet, the newest or not.
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x1001));
    let to_other = packet(FAR[1], other_office[0], 50);
    assert_eq!(two.through_relay(&to_other).map(|(_, spi)| spi), Ok(0x2001));
    assert_eq!(two.through_relay(&packet(FAR[1], Ipv4Addr::new(10, 0, 0, 1), 50)), Err(DropReason::TunnelSelectorMismatch));
    assert_eq!(two.through_relay(&from_office(50)), Err(DropReason::TunnelSelectorMismatch), "in the wrong direction");

    // A router whose pair allows more than what was negotiated.
    let mut liar = EspTunnel::default();
    let wide = SaPair {
        selectors: Box::new([any_of([Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST], [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST])]),
        ..mirrored(&narrow)
    };
    liar.install(&wide, two.now).expect("room");
    for bad in [packet(other_office[0], FAR[0], 50), packet(OFFICE[0], Ipv4Addr::new(203, 0, 113, 64), 50), to_office(50)] {
        let datagram = sealed(&mut liar, &bad, two.now).expect("it lets everything through");
        assert_eq!(two.opened(&datagram), Err(DropReason::TunnelSelectorMismatch));
        assert_eq!(two.opened(&datagram), Err(DropReason::TunnelDataReplayed), "it has authenticated");
    }
    let good = sealed(&mut liar, &from_office(50), two.now).expect("up");
    assert_eq!(two.opened(&good), Ok(from_office(50)));
}

#[test]
fn the_peer_moves_with_its_newest_authentic_packet_only() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    two.install(&SaPair { outbound_use: OutboundUse::WhenHeard, ..pair(0x2000, |fill| gcm(256, fill)) });
    let spi = |number| Spi::new(number).expect("SPI");
    assert!(two.router.switch_outbound(spi(0x1001)));
    let elsewhere = SocketAddr::from(([192, 0, 2, 77], 61_000));
    let (early, late) = (two.datagram(&from_office(40)), two.datagram(&from_office(40)));
    let mut forged = late.clone();
    forged[30] ^= 1;
    assert!(two.opened_from(&forged, elsewhere).is_err());
    assert_eq!(two.relay.peer(), Some(ROUTER.into()));
    assert!(two.opened_from(&late, elsewhere).is_ok_and(|(_, done)| done.peer_moved));
    assert_eq!(two.relay.peer(), Some(elsewhere));
    // Delayed on the old way: authentic, but older.
    assert!(two.opened_from(&early, ROUTER.into()).is_ok_and(|(_, done)| !done.peer_moved));
    assert_eq!(two.relay.peer(), Some(elsewhere));
    assert!(two.opened_from(&late, ROUTER.into()).is_err(), "a replay moves nobody");
    // The other pair of the same peer has followed.
    let there = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 77), 61_000);
    assert!(two.relay.rows().iter().all(|row| row.encapsulation == Encapsulation::Udp { peer: there }));
    two.through_relay(&to_office(40)).expect("up");
    assert_eq!(two.relay.way(), Some(Way::Udp(there.into())));
}

#[test]
fn a_peer_of_protocol_50_stays_where_it_was_negotiated_until_it_is_moved() {
    let peer = Ipv4Addr::new(192, 0, 2, 11);
    let mut two = Two::with(&SaPair { encapsulation: Encapsulation::Ip { peer }, ..pair(0x1000, |fill| gcm(256, fill)) });
    let datagram = two.datagram(&from_office(40));
    let (_, done) = two.opened_from(&datagram, SocketAddr::from(([192, 0, 2, 77], 0))).expect("authentic");
    assert!(!done.peer_moved);
    two.through_relay(&to_office(40)).expect("up");
    assert_eq!((two.relay.way(), two.relay.peer()), (Some(Way::Esp(peer)), Some(SocketAddr::from((peer, 0)))));
    let spi = Spi::new(0x1000).expect("SPI");
    assert!(two.relay.move_peer(spi, Encapsulation::Udp { peer: ROUTER }));
    two.through_relay(&to_office(40)).expect("up");
    assert_eq!(two.relay.way(), Some(Way::Udp(ROUTER.into())));
    // In UDP now, but this one came as protocol 50.
    let datagram = two.datagram(&from_office(40));
    let (_, done) = two.opened_from(&datagram, SocketAddr::from(([192, 0, 2, 77], 0))).expect("authentic");
    assert!(!done.peer_moved);
}

#[test]
fn a_keepalive_goes_out_after_twenty_idle_seconds_behind_a_nat_only() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let mut out = [0; 200];
    let start = two.now;
    two.through_relay(&to_office(40)).expect("up");
    assert_eq!(two.relay.tick(&mut out, start + Duration::from_millis(19_999)), None);
    assert_eq!(two.relay.tick(&mut out, start + KEEPALIVE_INTERVAL), Some(1));
    assert_eq!((out[0], two.relay.way()), (0xff, Some(Way::Udp(ROUTER.into()))));
    assert_eq!(two.relay.tick(&mut out, start + KEEPALIVE_INTERVAL + Duration::from_secs(19)), None);
    assert_eq!(two.relay.tick(&mut out, start + 2 * KEEPALIVE_INTERVAL), Some(1));
    assert!(two.relay.move_peer(Spi::new(0x1000).expect("SPI"), Encapsulation::Ip { peer: *ROUTER.ip() }));
    assert_eq!(two.relay.tick(&mut out, start + 9 * KEEPALIVE_INTERVAL), None);
    assert_eq!(EspTunnel::default().tick(&mut out, start + KEEPALIVE_INTERVAL), None, "nobody to send it to");
}

#[test]
fn an_sa_is_wished_for_at_most_once_each_five_seconds() {
    let mut tunnel = EspTunnel::default();
    let mut out = [0; 200];
    assert_eq!(tunnel.encapsulate(&mut to_office(40), 40, &mut out, Instant::ZERO), Err(DropReason::TunnelDown));
    let wishes = (0..12_000).filter(|ms| tunnel.acquire(Instant::from_millis(*ms))).count();
    assert_eq!(wishes, 3);
}

#[test]
fn the_state_tells_since_when_it_is_up_and_why_it_is_not() {
    let mut tunnel = EspTunnel::default();
    let reason = |tunnel: &EspTunnel| tunnel.state(Instant::ZERO).down_reason;
    let never = reason(&tunnel);
    assert!(never.contains("explain-ike"));
    assert!(tunnel.acquire(Instant::ZERO));
    assert_ne!(reason(&tunnel), never);
    let at = Instant::from_secs(7);
    tunnel.install(&SaPair { outbound_use: OutboundUse::WhenHeard, ..pair(0x1000, |fill| gcm(256, fill)) }, at).expect("room");
    let state = tunnel.state(at);
    assert_eq!((state.up, state.changed_at, state.handshake_at), (true, Some(at), Some(at)), "there is no other pair to wait for");
    let mut router = EspTunnel::default();
    router.install(&mirrored(&pair(0x1000, |fill| gcm(256, fill))), at).expect("room");
    let datagram = sealed(&mut router, &from_office(40), at).expect("up");
    let heard_at = Instant::from_secs(9);
    assert!(opened(&mut tunnel, &datagram, ROUTER.into(), heard_at).is_ok());
    let state = tunnel.state(heard_at);
    assert_eq!((state.up, state.changed_at, state.heard_at, state.down_reason), (true, Some(at), Some(heard_at), ""));
    let gone_at = Instant::from_secs(20);
    assert!(tunnel.close_outbound(Spi::new(0x1000).expect("SPI"), gone_at));
    assert!(!tunnel.is_up(gone_at) && reason(&tunnel).contains("carry nothing any more"), "{}", reason(&tunnel));
    assert!(tunnel.remove(Spi::new(0x1000).expect("SPI"), gone_at));
    let state = tunnel.state(gone_at);
    assert_eq!((state.up, state.changed_at, state.heard_at), (false, Some(gone_at), Some(heard_at)));
    assert!(state.down_reason.contains("deleted or expired"), "{}", state.down_reason);
}

#[test]
fn where_the_peer_was_before_a_restart_is_shown_until_it_has_an_sa() {
    let mut tunnel = EspTunnel::default();
    let before = SocketAddr::from(([192, 0, 2, 77], 61_000));
    tunnel.remember_peer(before);
    assert_eq!(tunnel.peer(), Some(before));
    tunnel.install(&pair(0x1000, |fill| gcm(256, fill)), Instant::ZERO).expect("room");
    assert_eq!(tunnel.peer(), Some(ROUTER.into()));
}

#[test]
fn nothing_of_a_key_is_printed() {
    let mut tunnel = EspTunnel::default();
    tunnel.install(&pair(0x1000, |_| gcm(256, 0xab)), Instant::ZERO).expect("room");
    let printed = format!("{tunnel:?}");
    assert!(printed.contains("4096") && !printed.contains("171, 171"), "{printed}");
}
