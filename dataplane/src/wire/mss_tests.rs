use super::*;
use crate::wire::samples;
use proptest::prelude::*;

const FROM: samples::End = ([198, 51, 100, 17], 40_000);
const TO: samples::End = ([203, 0, 113, 10], 443);

fn mss(value: u16) -> [u8; 4] {
    let [high, low] = value.to_be_bytes();
    [2, 4, high, low]
}

fn clamped(packet: &[u8], max: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let inner = Inner::parse(&packet).expect("valid");
    clamp(&mut packet, &inner, max);
    samples::assert_checksums(&packet);
    packet
}

#[test]
fn a_larger_mss_is_lowered_and_a_smaller_one_kept() {
    let syn = |value| samples::syn_with_options(FROM, TO, &mss(value));
    assert_eq!(clamped(&syn(1_460), 1_380), syn(1_380));
    assert_eq!(clamped(&syn(1_380), 1_380), syn(1_380));
    assert_eq!(clamped(&syn(536), 1_380), syn(536));
}

#[test]
fn an_mss_at_an_odd_offset_is_found_and_its_checksum_holds() {
    let syn = |value| samples::syn_with_options(FROM, TO, &[&[1], &mss(value)[..], &[3, 3, 7]].concat());
    assert_eq!(clamped(&syn(1_460), 1_380), syn(1_380));
    assert_eq!(Inner::parse(&syn(1_460)).expect("valid").tcp().expect("TCP").window_scale, Some(7));
}

#[test]
fn only_a_syn_is_looked_at() {
    let data = samples::tcp(FROM, TO, "A", (1, 2), &[2, 4, 0xff, 0xff]);
    assert_eq!(clamped(&data, 536), data);
    let plain = samples::tcp(FROM, TO, "S", (1, 0), &[2, 4, 0xff, 0xff]);
    assert_eq!(clamped(&plain, 536), plain);
}

#[test]
fn option_lengths_that_lie_end_the_walk_and_change_nothing() {
    for options in
        [&[2u8, 0, 5, 0xb4][..], &[2, 1, 5, 0xb4], &[2, 3, 5, 0xb4], &[2, 40, 5, 0xb4], &[8, 255, 2, 4], &[1, 1, 1, 2], &[0, 2, 4, 9]]
    {
        let syn = samples::syn_with_options(FROM, TO, options);
        assert_eq!(clamped(&syn, 100), syn, "{options:?}");
    }
}

#[test]
fn a_window_scale_beyond_14_counts_as_14() {
    assert_eq!(window_scale(&[3, 3, 200, 0]), Some(14));
    assert_eq!(window_scale(&[3, 4, 1, 0]), None);
    assert_eq!(window_scale(&[3, 3]), None);
}

proptest! {
    #[test]
    fn any_options_are_walked_without_harm(options in proptest::collection::vec(any::<u8>(), 0..=40), max: u16) {
        let syn = samples::syn_with_options(FROM, TO, &options);
        let after = clamped(&syn, max);
        prop_assert_eq!(after.len(), syn.len());
        prop_assert!(after.iter().zip(&syn).filter(|(a, b)| a != b).count() <= 4);
    }
}
