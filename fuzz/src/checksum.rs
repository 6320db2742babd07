//! The Internet checksum, whole and by what changed, against the plain one.

use dataplane::wire::checksum::{Delta, Sum};

use crate::Input;
use crate::plain::{self, word};

/// Words that change, and the bytes around them.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let changes: Vec<(u16, u16)> = (0..input.u8() % 8).map(|_| (input.u16(), input.u16())).collect();
    let split = usize::from(input.u16());
    let mut bytes = input.rest().to_vec();
    assert_eq!(Sum::default().bytes(&bytes).checksum(), plain::checksum(&bytes));
    // In two parts, the first of them even.
    let split = split.min(bytes.len()) & !1;
    let (front, back) = bytes.split_at(split);
    assert_eq!(Sum::default().bytes(front).bytes(back).checksum(), plain::checksum(&bytes));
    if bytes.len() < 4 {
        return;
    }
    plain::put_checksum(&mut bytes, 0);
    assert!(Sum::default().bytes(&bytes).is_valid());
    let words = bytes.len() / 2 - 1;
    let mut delta = Delta::NONE;
    for (place, new) in changes {
        let at = 2 + usize::from(place) % words * 2;
        delta = delta.word(word(&bytes, at), new);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
    // Of all zeros nothing is a sum but zero itself, which no header can be.
    if bytes[2..].iter().any(|byte| *byte != 0) {
        let old = word(&bytes, 0);
        bytes[..2].copy_from_slice(&delta.apply(old).to_be_bytes());
        assert_eq!(plain::checksum(&bytes), 0, "changed: {bytes:02x?}");
        assert!(Sum::default().bytes(&bytes).is_valid());
        assert_eq!(delta.apply_udp(0), 0, "no checksum stays none");
        assert!(old == 0 || delta.apply_udp(old) != 0, "a checksum stays one");
    }
}
