//! The bare cipher: what WireGuard cannot do without, and nothing else. One copy from frame to frame, then open or seal in place.

use std::time::Duration;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::busy_time;
use crate::world::Direction;

/// As many as a worker has in its hands at one time.
const FRAMES: usize = dataplane::nic::BATCH;
const TAG: usize = 16;

/// ChaCha20-Poly1305 over packets of one size.
pub(crate) struct BareCipher {
    key: LessSafeKey,
    size: usize,
    plain: Vec<u8>,
    sealed: Vec<Vec<u8>>,
    out: Vec<Vec<u8>>,
    counter: u64,
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl BareCipher {
    pub(crate) fn new(size: usize) -> Self {
        let key = || LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes"));
        let plain = vec![0x5a; size];
        let sealed = (0..FRAMES as u64).map(|counter| {
            let mut packet = plain.clone();
            key().seal_in_place_append_tag(nonce(counter), Aad::empty(), &mut packet).expect("short enough");
            packet
        });
        Self { key: key(), size, sealed: sealed.collect(), out: vec![vec![0; size + TAG]; FRAMES], plain, counter: FRAMES as u64 }
    }

    /// How long `packets` take.
    pub(crate) fn spend(&mut self, direction: Direction, packets: usize) -> Duration {
        let start = busy_time();
        for index in 0..packets {
            match direction {
                Direction::OfficeToCloud => self.open(index % FRAMES),
                Direction::CloudToOffice => self.seal(index % FRAMES),
            }
        }
        busy_time() - start
    }

    fn open(&mut self, index: usize) {
        let out = &mut self.out[index];
        out.copy_from_slice(&self.sealed[index]);
        let opened = self.key.open_in_place(nonce(index as u64), Aad::empty(), out).expect("sealed with this key");
        assert_eq!(opened.len(), self.size);
    }

    fn seal(&mut self, index: usize) {
        let (data, tag_at) = self.out[index].split_at_mut(self.size);
        data.copy_from_slice(&self.plain);
        let tag = self.key.seal_in_place_separate_tag(nonce(self.counter), Aad::empty(), data).expect("short enough");
        tag_at.copy_from_slice(tag.as_ref());
        self.counter += 1;
    }
}
