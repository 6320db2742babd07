//! Pairs come, overlap and go without a packet lost; numbers run out.

use super::*;

fn when_heard(spi: u32) -> SaPair {
    SaPair { outbound_use: OutboundUse::WhenHeard, ..pair(spi, |fill| gcm(256, fill)) }
}

#[test]
fn a_responders_new_pair_is_used_when_the_peer_was_heard_under_it_and_nothing_is_lost_meanwhile() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let late = two.datagram(&from_office(100));
    two.relay.install(&when_heard(0x2000), two.now).expect("room");
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x1001), "the old one goes on");
    assert!(!two.row(0x2000).in_use);

    two.router.install(&mirrored(&when_heard(0x2000)), two.now).expect("room");
    let datagram = two.datagram(&from_office(60));
    let (packet, done) = two.opened_from(&datagram, ROUTER.into()).expect("under the new keys");
    assert_eq!((packet, done.handshake_completed), (from_office(60), true));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
    assert!(two.row(0x2000).in_use && !two.row(0x1000).in_use);

    // A packet of the old pair that was under way arrives, and changes nothing.
    assert_eq!(two.opened(&late), Ok(from_office(100)));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
    assert!(two.relay.remove(Spi::new(0x1000).expect("SPI"), two.now));
    assert_eq!(two.opened(&late), Err(DropReason::EspSpiUnknown), "both directions at once");
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
}

#[test]
fn what_no_pair_in_use_carries_goes_with_a_new_pair_before_the_peer_was_heard_on_it() {
    let other_office = [Ipv4Addr::new(198, 51, 100, 32), Ipv4Addr::new(198, 51, 100, 47)];
    let other = SaPair { selectors: Box::new([any_of(other_office, FAR)]), ..when_heard(0x2000) };
    let to_the_other = packet(FAR[1], other_office[0], 50);
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    assert_eq!(two.through_relay(&to_the_other), Err(DropReason::TunnelSelectorMismatch));
    two.install(&other);
    assert_eq!(two.through_relay(&to_the_other).map(|(_, spi)| spi), Ok(0x2001));
    // One that carries both waits all the same for what the first one carries.
    let wide = SaPair { selectors: Box::new([any_of([OFFICE[0], other_office[1]], FAR)]), ..when_heard(0x3000) };
    two.install(&wide);
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x1001));
    assert!(two.relay.is_up(two.now));
}

#[test]
fn a_closed_pair_receives_what_is_under_way_and_sends_nothing_and_one_that_waits_takes_over() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let spi = |number| Spi::new(number).expect("SPI");
    let late = [two.datagram(&from_office(60)), two.datagram(&from_office(61))];
    assert_eq!(two.opened(&late[0]), Ok(from_office(60)));
    two.install(&when_heard(0x2000));
    assert!(two.relay.close_outbound(spi(0x1000), two.now));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
    assert_eq!(two.opened(&late[1]), Ok(from_office(61)));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001), "hearing it opens it no more");
    assert!(two.row(0x2000).in_use && !two.row(0x1000).in_use);
    assert!(two.relay.close_outbound(spi(0x2000), two.now) && !two.relay.close_outbound(spi(0x4000), two.now));
    assert_eq!(two.through_relay(&to_office(50)), Err(DropReason::TunnelDown));
    assert!(!two.relay.is_up(two.now) && two.relay.acquire(two.now), "then another pair is wanted");
}

#[test]
fn an_initiators_new_pair_is_used_at_once() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    two.install(&pair(0x2000, |fill| gcm(256, fill)));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
}

#[test]
fn switching_and_removing_go_back_to_the_pair_that_is_asked_for_or_left() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    two.install(&pair(0x2000, |fill| gcm(256, fill)));
    two.install(&when_heard(0x3000));
    let spi = |number| Spi::new(number).expect("SPI");
    assert!(two.relay.switch_outbound(spi(0x1000)));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x1001));
    assert!(two.relay.switch_outbound(spi(0x3000)), "before it was heard");
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x3001));
    assert!(two.relay.remove(spi(0x3000), two.now));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x1001));
    assert!(two.relay.remove(spi(0x1000), two.now));
    assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
    assert!(two.relay.remove(spi(0x2000), two.now));
    assert_eq!(two.through_relay(&to_office(50)), Err(DropReason::TunnelDown));
    assert!(!two.relay.remove(spi(0x2000), two.now) && !two.relay.switch_outbound(spi(0x2000)));
    assert!(!two.relay.move_peer(spi(0x2000), Encapsulation::Udp { peer: ROUTER }));
}

#[test]
fn sixteen_pairs_have_room_one_more_and_a_known_spi_have_not() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    for spi in 1..16 {
        two.install(&pair(0x1000 + spi * 16, |fill| gcm(256, fill)));
    }
    let more = pair(0x5000, |fill| gcm(256, fill));
    assert_eq!(two.relay.install(&more, two.now), Err(SaRefused::TooManyPairs));
    assert_eq!(two.relay.install(&pair(0x1000, |fill| gcm(256, fill)), two.now), Err(SaRefused::SpiTaken));
    assert!(two.relay.remove(Spi::new(0x1020).expect("SPI"), two.now));
    assert_eq!(two.relay.install(&more, two.now), Ok(()));
    assert_eq!(two.relay.inbound_spis().count(), 16);
}

#[test]
fn suites_and_selectors_that_cannot_be_are_refused() {
    let mut tunnel = EspTunnel::default();
    assert_eq!(tunnel.install(&pair(0x1000, |fill| gcm(192, fill)), Instant::ZERO), Err(SaRefused::Unsupported));
    let none = SaPair { selectors: Box::new([]), ..pair(0x1000, |fill| gcm(256, fill)) };
    assert_eq!(tunnel.install(&none, Instant::ZERO), Err(SaRefused::Unsupported));
    let selector = any_of(OFFICE, FAR);
    let with = |count| SaPair { selectors: vec![selector.clone(); count].into(), ..pair(0x1000, |fill| gcm(256, fill)) };
    assert_eq!(tunnel.install(&with(MAX_SELECTORS + 1), Instant::ZERO), Err(SaRefused::Unsupported));
    assert_eq!(tunnel.inbound_spis().count(), 0);
    assert_eq!(tunnel.install(&with(MAX_SELECTORS), Instant::ZERO), Ok(()));
}

#[test]
fn sequence_numbers_never_cycle() {
    for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        for suite in [gcm(256, 1), cbc(256, Integrity::HmacSha256_128, 1)] {
            let mut two = Two::with(&SaPair { esn, ..pair(0x1000, |_| suite.clone()) });
            *two.relay.pairs[0].as_mut().expect("a pair").sent() = last - 1;
            let datagram = sealed(&mut two.relay, &to_office(50), two.now).expect("the last number");
            assert_eq!(datagram[4..8], u32::MAX.to_be_bytes());
            assert_eq!(sealed(&mut two.relay, &to_office(50), two.now), Err(DropReason::TunnelDown), "not one more");
            assert_eq!(two.relay.next_notice(), Some(Notice::Expiring(Spi::new(0x1000).expect("SPI"))));
            assert!(!two.relay.is_up(two.now) && two.relay.acquire(two.now));
            // A successor takes over.
            two.install(&SaPair { esn, ..pair(0x2000, |_| suite.clone()) });
            assert_eq!(two.through_relay(&to_office(50)).map(|(_, spi)| spi), Ok(0x2001));
        }
    }
}

#[test]
fn extended_sequence_numbers_go_on_where_the_lower_half_wraps() {
    for suite in suites(3) {
        let mut two = Two::with(&SaPair { esn: true, ..pair(0x1000, |_| suite.clone()) });
        let datagrams: Vec<Vec<u8>> = ((1_u64 << 32) - 4..(1 << 32) + 4)
            .map(|sent| {
                *two.router.pairs[0].as_mut().expect("a pair").sent() = sent;
                two.datagram(&from_office(60))
            })
            .collect();
        assert_eq!(datagrams[4][4..8], 1_u32.to_be_bytes(), "only the lower half travels");
        // A new SA takes what is near the wrap for what was before its first packet; by then the peer has sent others.
        assert_eq!(two.opened(&datagrams[0]), Err(DropReason::TunnelDataReplayed));
        *two.router.pairs[0].as_mut().expect("a pair").sent() = 1 << 31;
        let before = two.datagram(&from_office(60));
        assert_eq!(two.opened(&before), Ok(from_office(60)));
        // The receiver stands at the highest number of the first half, then takes the others in disorder.
        for place in [0, 5, 3, 4, 1, 2, 7, 6] {
            assert_eq!(two.opened(&datagrams[place]), Ok(from_office(60)), "{place}, {}", suite.label());
            assert_eq!(two.opened(&datagrams[place]), Err(DropReason::TunnelDataReplayed));
        }
    }
}

#[test]
fn a_successor_is_asked_for_once_when_bytes_or_packets_of_either_direction_run_out() {
    let spi = Spi::new(0x1000).expect("SPI");
    for (soft, from_the_office) in [
        (Lifetime { packets: 3, ..Lifetime::UNBOUNDED }, false),
        (Lifetime { packets: 3, ..Lifetime::UNBOUNDED }, true),
        (Lifetime { bytes: 101, ..Lifetime::UNBOUNDED }, false),
        (Lifetime { bytes: 101, ..Lifetime::UNBOUNDED }, true),
    ] {
        let mut two = Two::with(&SaPair { soft, ..pair(0x1000, |fill| gcm(256, fill)) });
        let mut notices = Vec::new();
        for _ in 0..6 {
            if from_the_office {
                let datagram = two.datagram(&from_office(50));
                two.opened(&datagram).expect("authentic");
            } else {
                two.through_relay(&to_office(50)).expect("up");
            }
            notices.push(two.relay.next_notice().filter(|notice| *notice != Notice::Heard(spi)));
            assert_eq!(two.relay.next_notice().filter(|notice| *notice == Notice::Heard(spi)), None);
        }
        let expiring = Some(Notice::Expiring(spi));
        assert_eq!(notices.iter().position(|notice| *notice == expiring), Some(2), "{soft:?}");
        assert_eq!(notices.iter().flatten().count(), 1);
    }
}

#[test]
fn numbers_of_either_direction_near_their_end_ask_for_a_successor_whatever_the_lifetime_is() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    *two.router.pairs[0].as_mut().expect("a pair").sent() = u64::from(u32::MAX) - (1 << 28);
    let datagram = two.datagram(&from_office(50));
    two.opened(&datagram).expect("authentic");
    let spi = Spi::new(0x1000).expect("SPI");
    assert_eq!([two.relay.next_notice(), two.relay.next_notice()], [Some(Notice::Heard(spi)), Some(Notice::Expiring(spi))]);
}

#[test]
fn a_notice_that_found_no_way_is_told_again_and_one_of_a_removed_pair_is_not() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let datagram = two.datagram(&from_office(50));
    two.opened(&datagram).expect("authentic");
    let heard = Notice::Heard(Spi::new(0x1000).expect("SPI"));
    assert_eq!(two.relay.next_notice(), Some(heard));
    assert_eq!(two.relay.next_notice(), None);
    two.relay.tell_again(heard);
    assert_eq!(two.relay.next_notice(), Some(heard));
    assert!(two.relay.remove(Spi::new(0x1000).expect("SPI"), two.now));
    two.relay.tell_again(heard);
    assert_eq!(two.relay.next_notice(), None);
}
