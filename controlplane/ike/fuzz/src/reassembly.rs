//! Reassembly against a model that keeps everything: what comes out is the pieces in their order, and the bounds hold at every step.

use std::collections::BTreeMap;

use ike::Instant;
use ike::message::{Fragment, MAX_FRAGMENTS, MAX_MESSAGE_OCTETS, Message, Reassembly};

use crate::Input;

/// A fragment can only be made by reading one.
fn fragment(number: u16, total: u16) -> Option<Fragment> {
    let mut message = vec![0; 28];
    message[7] = 1;
    (message[16], message[17], message[18]) = (53, 0x20, 37);
    message.extend_from_slice(&[0, 0, 0, 8]);
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&total.to_be_bytes());
    message[27] = 36;
    let parsed = Message::parse(&message);
    let good = number >= 1 && number <= total && total <= MAX_FRAGMENTS;
    assert_eq!(parsed.is_ok(), good);
    parsed.ok()?.protected?.fragment
}

/// Operations of seven octets each.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut reassembly = Reassembly::new();
    let mut model: (u32, u16, BTreeMap<u16, Vec<u8>>) = (0, 0, BTreeMap::new());
    while !input.is_empty() {
        let (id, number, total) = (u32::from(input.u8() & 3), u16::from(input.u8()), u16::from(input.u8()));
        let (length, filling) = (usize::from(input.u16()), input.u8());
        let now = Instant::from_secs(u64::from(input.u8()));
        let Some(fragment) = fragment(number, total) else { continue };
        let piece = vec![filling; length.min(MAX_MESSAGE_OCTETS)];
        let wanted = reassembly.wants(id, fragment);
        let expected = expect(&mut model, id, number, total, &piece);
        assert_eq!(wanted, expected.wanted);
        match reassembly.add(id, fragment, 35, &piece, now) {
            Err(_) => assert!(expected.too_long),
            Ok(whole) => {
                assert!(!expected.too_long);
                assert_eq!(whole.map(|whole| whole.plaintext), expected.whole);
            }
        }
        assert!(reassembly.octets() <= MAX_MESSAGE_OCTETS);
        assert_eq!(reassembly.octets(), model.2.values().map(Vec::len).sum::<usize>());
        assert_eq!(reassembly.deadline().is_some(), !model.2.is_empty());
    }
}

struct Expected {
    wanted: bool,
    too_long: bool,
    whole: Option<Vec<u8>>,
}

fn expect(model: &mut (u32, u16, BTreeMap<u16, Vec<u8>>), id: u32, number: u16, total: u16, piece: &[u8]) -> Expected {
    let same = model.0 == id && !model.2.is_empty();
    let wanted = !same || total > model.1 || (total == model.1 && !model.2.contains_key(&number));
    let mut expected = Expected { wanted, too_long: false, whole: None };
    if !wanted {
        return expected;
    }
    if !same || total > model.1 {
        *model = (id, total, BTreeMap::new());
    }
    if model.2.values().map(Vec::len).sum::<usize>() + piece.len() > MAX_MESSAGE_OCTETS {
        model.2.clear();
        expected.too_long = true;
        return expected;
    }
    model.2.insert(number, piece.to_vec());
    if model.2.len() == usize::from(total) {
        expected.whole = Some(model.2.values().flatten().copied().collect());
        model.2.clear();
    }
    expected
}
