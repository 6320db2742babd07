//! The bytes that a transfer carries: the same for the same seed, and never without the tenant's canary.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::demo::canary::Canary;

/// SHA-256 of a body.
pub type Sha256Digest = [u8; 32];

/// The canary stands at the start of each block. A block and a canary together are shorter than a full packet's payload, so
/// every full packet has a whole one.
const BLOCK: usize = 1024;
/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// A body of pseudo-random bytes with a canary in every kilobyte.
#[derive(Debug, Clone)]
pub struct Body {
    canary: Canary,
    seed: u64,
    length: u64,
}

impl Body {
    /// A body of `length` bytes. Its canary must be shorter than 300 bytes, or full packets without one come up.
    #[must_use]
    pub fn new(canary: Canary, seed: u64, length: u64) -> Self {
        debug_assert!(canary.as_bytes().len() < 300);
        Self { canary, seed, length }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its SHA-256.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        // Reading from memory cannot fail.
        digest_of(self.reader(), u64::MAX).map_or([0; 32], |(_, digest)| digest)
    }

    /// Reads it from its start.
    #[must_use]
    pub fn reader(&self) -> BodyReader {
        let reader = BodyReader { canary: self.canary.clone(), state: self.seed, left: self.length, block: [0; BLOCK], at: BLOCK };
        debug_assert!(reader.canary.as_bytes().len() < BLOCK);
        reader
    }
}

/// Reads a [`Body`].
#[derive(Debug)]
pub struct BodyReader {
    canary: Canary,
    state: u64,
    left: u64,
    block: [u8; BLOCK],
    at: usize,
}

impl BodyReader {
    fn next_block(&mut self) {
        for word in self.block.chunks_exact_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&split_mix(self.state).to_le_bytes());
        }
        let canary = self.canary.as_bytes();
        self.block[..canary.len()].copy_from_slice(canary);
        self.at = 0;
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == BLOCK {
            self.next_block();
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(BLOCK - self.at).min(left);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: u64) -> u64 {
    let a = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

/// Reads up to `limit` bytes and says how many there were and what their SHA-256 is.
pub(super) fn digest_of(source: impl Read, limit: u64) -> io::Result<(u64, Sha256Digest)> {
    let (mut hash, mut total, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    let mut source = source.take(limit);
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return Ok((total, hash.finalize().into())),
            Ok(count) => {
                hash.update(&chunk[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::*;

    fn bytes(seed: u64, length: u64) -> Vec<u8> {
        let mut all = Vec::new();
        Body::new(Canary::of("131016-chiyoda"), seed, length).reader().read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn a_body_is_as_long_as_asked_and_the_same_for_the_same_seed() {
        assert_eq!(bytes(1, 5000).len(), 5000);
        assert_eq!(bytes(1, 5000), bytes(1, 5000));
        assert_ne!(bytes(1, 5000), bytes(2, 5000));
        assert_eq!(bytes(1, 5000)[..3000], bytes(1, 3000));
    }

    #[test]
    fn every_stretch_as_long_as_a_full_packet_has_a_whole_canary() {
        let all = bytes(3, 20_000);
        for start in 0..all.len() - 1200 {
            assert!(memmem::find(&all[start..start + 1200], b"CANARY{131016-chiyoda}").is_some(), "from byte {start}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let body = Body::new(Canary::of("131016-chiyoda"), 1, 3000);
        assert_eq!(body.sha256()[..], Sha256::digest(bytes(1, 3000))[..]);
        // FIPS 180-4's own example, so that the two are not wrong together.
        let abc = digest_of(&b"abc"[..], 3).unwrap();
        assert_eq!((abc.0, abc.1[..4].to_vec()), (3, vec![0xba, 0x78, 0x16, 0xbf]));
    }
}
