//! What is not the peer's, or not whole, never comes through and changes nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::*;

/// All that a packet from outside could change.
fn untouched(two: &Two) -> (u64, Option<Instant>, Option<SocketAddr>) {
    let row = two.row(0x1000);
    (row.received.0, row.heard_at, two.relay.peer())
}

#[test]
fn a_packet_cut_at_any_length_is_refused_by_every_suite() {
    for suite in suites(0) {
        for esn in [false, true] {
            let mut two = Two::with(&SaPair { esn, ..pair(0x1000, |_| suite.clone()) });
            let whole = two.datagram(&from_office(61));
            let before = untouched(&two);
            for len in 0..whole.len() {
                assert!(two.opened(&whole[..len]).is_err(), "{} of {} bytes of {}", len, whole.len(), suite.label());
            }
            assert_eq!(untouched(&two), before);
            assert_eq!(two.opened(&whole), Ok(from_office(61)), "{}", suite.label());
        }
    }
}

#[test]
fn a_bit_flipped_in_any_byte_never_passes_and_moves_no_window() {
    for suite in suites(0) {
        for esn in [false, true] {
            let mut two = Two::with(&SaPair { esn, ..pair(0x1000, |_| suite.clone()) });
            let good = two.datagram(&from_office(61));
            let before = untouched(&two);
            for place in 0..good.len() {
                let mut bad = good.clone();
                bad[place] ^= 1 << (place % 8);
                let refused = two.opened_from(&bad, SocketAddr::from(([203, 0, 113, 99], 9)));
                assert!(refused.is_err(), "byte {place} of {}", suite.label());
            }
            assert_eq!(untouched(&two), before);
            // The forged sequence numbers, far ahead among them, have moved nothing.
            assert_eq!(two.opened(&good), Ok(from_office(61)));
        }
    }
}

#[test]
fn bytes_behind_the_packet_are_no_part_of_it() {
    for suite in suites(0) {
        let mut two = Two::with(&pair(0x1000, |_| suite.clone()));
        let mut datagram = two.datagram(&from_office(61));
        datagram.extend([0; 16]);
        assert_eq!(two.opened(&datagram), Err(DropReason::TunnelDataRejected), "{}", suite.label());
    }
}

#[test]
fn noise_of_any_length_is_refused() {
    for suite in suites(0) {
        let mut two = Two::with(&pair(0x1000, |_| suite.clone()));
        for len in 0..200 {
            let mut noise: Vec<u8> = (0..=u8::MAX).cycle().step_by(151).skip(len).take(len).collect();
            if let Some(spi) = noise.get_mut(..4) {
                spi.copy_from_slice(&0x1000_u32.to_be_bytes());
            }
            assert!(two.opened(&noise).is_err(), "{len}");
        }
        assert_eq!(two.relay.state(two.now).heard_at, None);
    }
}

#[test]
fn keys_of_one_pair_open_nothing_that_names_another() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    two.install(&pair(0x2000, |fill| gcm(256, fill + 2)));
    let mut datagram = two.datagram(&from_office(61));
    assert_eq!(datagram[..4], 0x2000_u32.to_be_bytes(), "the newest pair is used");
    datagram[..4].copy_from_slice(&0x1000_u32.to_be_bytes());
    assert_eq!(two.opened(&datagram), Err(DropReason::TunnelDataRejected));
    // Equal keys would not help: the SPI is authenticated as well.
    let mut same = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    same.install(&pair(0x2000, |fill| gcm(256, fill)));
    let mut datagram = same.datagram(&from_office(61));
    datagram[..4].copy_from_slice(&0x1000_u32.to_be_bytes());
    assert_eq!(same.opened(&datagram), Err(DropReason::TunnelDataRejected));
    datagram[..4].copy_from_slice(&0x3000_u32.to_be_bytes());
    assert_eq!(same.opened(&datagram), Err(DropReason::EspSpiUnknown));
    datagram[..4].fill(0);
    assert_eq!(same.opened(&datagram), Err(DropReason::EspSpiUnknown), "SPI 0 is nobody's");
}

/// A packet that the peer authenticated, with whatever inside: payload, padding, pad length, next header.
fn authentic(plain: &[u8], sequence: u32) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).expect("256 bits"));
    let header = [0x1000_u32.to_be_bytes(), sequence.to_be_bytes()].concat();
    let iv = u64::from(sequence).to_be_bytes();
    let nonce = Nonce::try_assume_unique_for_key(&[&[1, 1, 2, 3][..], &iv].concat()).expect("twelve bytes");
    let mut body = plain.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut body).expect("short enough");
    [&header[..], &iv, &body].concat()
}

#[test]
fn what_is_wrong_inside_an_authentic_packet_has_a_name_and_counts_as_heard() {
    let inner = from_office(30);
    let with = |trailer: &[u8]| [&inner[..], trailer].concat();
    let cases = [
        (with(&[0, 4]), Ok(30)),
        (with(&[1, 2, 3, 4, 4, 4]), Ok(30)),
        (with(&[1, 2, 3, 5, 4, 4]), Err(DropReason::EspPaddingInvalid)),
        (with(&[0, 0, 0, 0, 4, 4]), Err(DropReason::EspPaddingInvalid)),
        (with(&[255, 4]), Err(DropReason::EspPaddingInvalid)),
        (with(&[0, 59]), Err(DropReason::EspDummy)),
        (with(&[0, 41]), Err(DropReason::Ipv6Refused)),
        (with(&[0, 17]), Err(DropReason::TunnelNextHeaderUnsupported)),
        (vec![7, 7, 0, 59], Err(DropReason::EspDummy)),
        (vec![1, 2, 2, 4], Err(DropReason::InnerMalformed)),
        (vec![0x60, 1, 1, 4], Err(DropReason::Ipv6Refused)),
    ];
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    for (number, (plain, expected)) in (1..).zip(&cases) {
        two.now = two.now + Duration::from_secs(1);
        let result = two.opened(&authentic(plain, number)).map(|packet| packet.len());
        assert_eq!(result, *expected, "{plain:?}");
        assert_eq!(two.row(0x1000).heard_at, Some(two.now));
        assert_eq!(two.opened(&authentic(plain, number)).map(|packet| packet.len()), Err(DropReason::TunnelDataReplayed));
    }
    assert_eq!(two.row(0x1000).received, (cases.len() as u64, 60));
}

#[test]
fn a_ciphertext_that_is_no_multiple_of_the_alignment_is_not_even_tried() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    for extra in 1..4 {
        let plain = [&from_office(30 + extra)[..], &[0, 4]].concat();
        let expected = Err(DropReason::TunnelMessageMalformed);
        assert_eq!(two.opened(&authentic(&plain, 1)), expected, "RFC 4303 section 2.4: four bytes");
    }
}

#[test]
fn an_output_buffer_that_is_too_short_is_refused_both_ways() {
    let mut two = Two::with(&pair(0x1000, |fill| gcm(256, fill)));
    let datagram = two.datagram(&from_office(100));
    let mut short = [0; 80];
    let result = two.relay.decapsulate(&datagram, ROUTER.into(), &mut short, two.now);
    assert_eq!(result, Err(DropReason::TunnelMessageMalformed));
    let result = two.relay.encapsulate(&mut to_office(100), 100, &mut short, two.now);
    assert_eq!(result, Err(DropReason::TunnelEncapsulateFailed));
    let result = two.relay.encapsulate(&mut to_office(100), 101, &mut [0; 200], two.now);
    assert_eq!(result, Err(DropReason::TunnelEncapsulateFailed), "a length beyond the packet");
    assert_eq!(two.opened(&datagram), Ok(from_office(100)), "it was not marked as seen");
}
