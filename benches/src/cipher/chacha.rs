//! ChaCha20-Poly1305 of ring, the one that the data plane uses.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{Cipher, TAG};

pub(super) struct ChaCha(LessSafeKey);

impl ChaCha {
    pub(super) fn new() -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes")))
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Cipher for ChaCha {
    fn sealed_len(&self, size: usize) -> usize {
        size + TAG
    }

    fn seal(&self, counter: u64, plain: &[u8], out: &mut [u8]) {
        let (data, tag_at) = out.split_at_mut(plain.len());
        data.copy_from_slice(plain);
        let tag = self.0.seal_in_place_separate_tag(nonce(counter), Aad::empty(), data).expect("short enough");
        tag_at.copy_from_slice(tag.as_ref());
    }

    fn open(&self, counter: u64, sealed: &[u8], out: &mut [u8]) {
        out.copy_from_slice(sealed);
        self.0.open_in_place(nonce(counter), Aad::empty(), out).expect("sealed with this key");
    }
}
