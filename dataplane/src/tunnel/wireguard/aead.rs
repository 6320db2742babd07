//! ChaCha20-Poly1305 (RFC 8439), ring's: assembly that needs nothing of a key but its 32 bytes. A key therefore is 32 bytes beside the
//! counters that it goes with, is erased where it stands, and comes with the lines of its session when they are prefetched.
//!
//! The payload moves once, from the caller's frame into the other one, and what moves it is part of the pass over it: the copy warms the
//! lines that the cipher reads and writes next.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of a key.
pub(super) const KEY: usize = 32;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// Whitepaper section 5.4: 32 zero bits, then the counter, little-endian.
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// There is no key schedule: this copies 32 bytes.
fn cipher(key: &[u8; KEY]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// Encrypt `plain` into `out`, and put the tag behind it. `None`: `out` has another length than both together. The caller never gives the
/// same counter twice for a key.
pub(super) fn seal(key: &[u8; KEY], counter: u64, associated: &[u8], plain: &[u8], out: &mut [u8]) -> Option<()> {
    let (body, tag) = out.split_at_mut_checked(plain.len())?;
    let tag: &mut [u8; TAG] = tag.try_into().ok()?;
    body.copy_from_slice(plain);
    let made = cipher(key)?.seal_in_place_separate_tag(nonce(counter), Aad::from(associated), body).ok()?;
    tag.copy_from_slice(made.as_ref());
    Some(())
}

/// Authenticate `sealed` and decrypt it into `out`, which is as long as what was sealed. `None`: it is not from whoever has the key; what
/// is in `out` then is of no use.
pub(super) fn open(key: &[u8; KEY], counter: u64, associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Option<()> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    if out.len() != body.len() {
        return None;
    }
    out.copy_from_slice(body);
    cipher(key)?.open_in_place_separate_tag(nonce(counter), Aad::from(associated), (*tag).into(), out, 0..).ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::aead::AeadInPlace;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    #[test]
    fn what_is_sealed_is_what_another_library_seals() {
        let key = [0x42; KEY];
        for (len, counter) in [(0, 0), (1, 1), (16, 255), (64, 1 << 40), (1_420, u64::MAX)] {
            let plain: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).expect("below 251")).collect();
            let mut sealed = vec![0; len + TAG];
            seal(&key, counter, b"header", &plain, &mut sealed).expect("the right length");
            let mut theirs = plain.clone();
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&counter.to_le_bytes());
            let tag = ChaCha20Poly1305::new(&key.into()).encrypt_in_place_detached(&nonce.into(), b"header", &mut theirs).expect("short");
            assert_eq!(sealed, [&theirs[..], &tag[..]].concat());
            let mut opened = vec![0; len];
            assert_eq!(open(&key, counter, b"header", &sealed, &mut opened), Some(()));
            assert_eq!(opened, plain);
        }
    }

    #[test]
    fn nothing_opens_with_another_key_counter_header_tag_or_length() {
        let (key, other) = ([1; KEY], [2; KEY]);
        let mut sealed = [0; 20 + TAG];
        seal(&key, 7, b"a", &[5; 20], &mut sealed).expect("the right length");
        let mut out = [0; 20];
        assert_eq!(open(&other, 7, b"a", &sealed, &mut out), None);
        assert_eq!(open(&key, 8, b"a", &sealed, &mut out), None);
        assert_eq!(open(&key, 7, b"b", &sealed, &mut out), None);
        assert_eq!(open(&key, 7, b"a", &sealed[..35], &mut out[..19]), None);
        assert_eq!(open(&key, 7, b"a", &sealed, &mut [0; 21]), None);
        assert_eq!(open(&key, 7, b"a", &sealed[..15], &mut []), None);
        assert_eq!(seal(&key, 7, b"a", &[5; 20], &mut [0; 35]), None);
        for at in 0..sealed.len() {
            let mut flipped = sealed;
            flipped[at] ^= 1;
            assert_eq!(open(&key, 7, b"a", &flipped, &mut out), None, "byte {at}");
        }
        assert_eq!(open(&key, 7, b"a", &sealed, &mut out), Some(()));
    }
}
