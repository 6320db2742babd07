//! AES-256-GCM of the library that the data plane uses; over the packet alone, without ESP's trailer, with ESP's associated data.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{Cipher, TAG};

pub(super) struct AesGcm(LessSafeKey);

impl AesGcm {
    pub(super) fn new() -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes")))
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// SPI and extended sequence number.
fn associated_data(counter: u64) -> Aad<[u8; 12]> {
    let mut data = [9; 12];
    data[4..].copy_from_slice(&counter.to_be_bytes());
    Aad::from(data)
}

impl Cipher for AesGcm {
    fn sealed_len(&self, size: usize) -> usize {
        size + TAG
    }

    fn seal(&self, counter: u64, plain: &[u8], out: &mut [u8]) {
        let (data, tag_at) = out.split_at_mut(plain.len());
        data.copy_from_slice(plain);
        let tag = self.0.seal_in_place_separate_tag(nonce(counter), associated_data(counter), data).expect("short enough");
        tag_at.copy_from_slice(tag.as_ref());
    }

    fn open(&self, counter: u64, sealed: &[u8], out: &mut [u8]) {
        out.copy_from_slice(sealed);
        self.0.open_in_place(nonce(counter), associated_data(counter), out).expect("sealed with this key");
    }
}
