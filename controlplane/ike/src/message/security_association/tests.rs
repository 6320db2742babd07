use super::*;
use crate::transforms::AesKeyLength;

/// AES-CBC-256, PRF and integrity with SHA-256, MODP-2048.
const FLOOR: [u8; 44] = [
    0, 0, 0, 44, 1, 1, 0, 4, // proposal 1, IKE, no SPI, 4 transforms
    3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0, // ENCR_AES_CBC, 256 bits
    3, 0, 0, 8, 2, 0, 0, 5, // PRF_HMAC_SHA2_256
    3, 0, 0, 8, 3, 0, 0, 12, // AUTH_HMAC_SHA2_256_128
    0, 0, 0, 8, 4, 0, 0, 14, // 2048-bit MODP
];

fn round_trip(body: &[u8]) -> Vec<Proposal> {
    let proposals = parse(body).unwrap();
    let mut out = Vec::new();
    write(&proposals, &mut out);
    assert_eq!(out, body);
    proposals
}

#[test]
fn the_floor_profile_is_read_and_written_octet_for_octet() {
    let transforms = vec![
        Encryption::AesCbc(AesKeyLength::Aes256).into(),
        Prf::HmacSha256.into(),
        Integrity::HmacSha256_128.into(),
        Group::Modp2048.into(),
    ];
    assert_eq!(round_trip(&FLOOR), [Proposal { number: 1, protects: Protects::Ike(None), transforms }]);
}

#[test]
fn two_child_proposals_carry_their_spis() {
    let body = [
        2, 0, 0, 32, 1, 3, 4, 2, 0xc1, 2, 3, 4, 3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0, 0, 0, 0, 8, 5, 0, 0, 0, // GCM, no ESN
        0, 0, 0, 40, 2, 3, 4, 3, 0xc1, 2, 3, 4, 3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 0, 128, 3, 0, 0, 8, 3, 0, 0, 12, 0, 0, 0, 8, 5, 0, 0,
        1,
    ];
    let proposals = round_trip(&body);
    assert!(proposals.iter().all(|proposal| proposal.protects == Protects::Esp(NonZeroU32::new(0xc102_0304).unwrap())));
    assert_eq!(proposals[1].transforms[2], Transform::extended_sequence_numbers(true));
    assert_eq!(proposals[1].transforms[0].key_bits, Some(128));
}

#[test]
fn every_cut_and_every_trailing_octet_is_refused() {
    for length in 0..FLOOR.len() {
        assert!(parse(&FLOOR[..length]).is_err(), "{length}");
    }
    assert!(parse(&[&FLOOR[..], &[0]].concat()).is_err());
}

#[test]
fn counts_that_disagree_with_what_follows_are_refused() {
    for (at, value) in [(0, 2), (0, 1), (7, 3), (7, 5), (7, 0), (3, 43), (3, 45), (3, 3), (8, 0), (36, 3), (11, 4), (11, 3), (6, 8), (6, 4)]
    {
        let mut wrong = FLOOR;
        wrong[at] = value;
        assert!(parse(&wrong).is_err(), "octet {at} = {value}");
    }
}

#[test]
fn a_reserved_or_zero_spi_is_refused() {
    let proposal = |protocol, spi: &[u8]| {
        let spi_octets = u8::try_from(spi.len()).unwrap();
        parse(&[&[0, 0, 0, 8 + spi_octets, 1, protocol, spi_octets, 0], spi].concat())
    };
    assert!(proposal(3, &[0, 0, 0, 255]).is_err() && proposal(3, &[0; 4]).is_err() && proposal(1, &[0; 8]).is_err());
    assert!(proposal(3, &[0, 0, 1, 0]).is_ok() && proposal(1, &[1; 8]).is_ok());
    assert!(proposal(3, &[1; 8]).is_err() && proposal(1, &[1; 4]).is_err() && proposal(3, &[]).is_err());
    assert_eq!(proposal(2, &[1; 4]).unwrap()[0].protects, Protects::Other(2), "AH is passed over, not an error");
}

#[test]
fn an_unknown_attribute_costs_its_transform_and_nothing_else() {
    let body = [0, 0, 0, 28, 1, 1, 0, 1, 0, 0, 0, 20, 1, 0, 0, 12, 0x80, 14, 1, 0, 0, 99, 0, 4, 1, 2, 3, 4];
    let transform = parse(&body).unwrap()[0].transforms[0];
    assert_eq!((transform.key_bits, transform.understood), (Some(256), false));
    let twice = [0, 0, 0, 24, 1, 1, 0, 1, 0, 0, 0, 16, 1, 0, 0, 12, 0x80, 14, 1, 0, 0x80, 14, 0, 128];
    assert!(!parse(&twice).unwrap()[0].transforms[0].understood, "two key lengths are none");
    let cut = [0, 0, 0, 24, 1, 1, 0, 1, 0, 0, 0, 16, 1, 0, 0, 12, 0, 99, 0, 5, 1, 2, 3, 4];
    assert!(parse(&cut).is_err());
}

#[test]
fn more_proposals_or_transforms_than_anybody_sends_are_refused() {
    let mut many = Vec::new();
    for number in 1..=33 {
        many.extend_from_slice(&[if number == 33 { 0 } else { 2 }, 0, 0, 8, number, 1, 0, 0]);
    }
    assert!(matches!(parse(&many), Err(ParseError::Bound(_))));
    let transforms: Vec<u8> = (1..=128u8).flat_map(|number| [if number == 128 { 0 } else { 3 }, 0, 0, 8, 4, 0, 0, 14]).collect();
    let length = u16::try_from(8 + transforms.len()).unwrap().to_be_bytes();
    let proposal = |number, more| [&[more, 0, length[0], length[1], number, 1, 0, 128], transforms.as_slice()].concat();
    assert!(parse(&proposal(1, 0)).is_ok());
    assert!(matches!(parse(&[proposal(1, 2), proposal(2, 0)].concat()), Err(ParseError::Bound(_))));
}

#[test]
fn offers_are_numbered_from_one_and_a_choice_keeps_its_number() {
    let proposal = |number, more| [more, 0, 0, 8, number, 1, 0, 0];
    assert!(parse(&[proposal(1, 2), proposal(2, 0)].concat()).is_ok());
    assert!(parse(&[proposal(1, 2), proposal(3, 0)].concat()).is_err());
    assert!(parse(&[proposal(1, 2), proposal(1, 0)].concat()).is_err());
    assert_eq!(parse(&proposal(4, 0)).unwrap()[0].number, 4);
}
