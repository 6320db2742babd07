//! The bare cipher: what a tunnel cannot do without, and nothing else. AEADs: one copy from frame to frame, then open or seal in place.
//! AES-CBC: from frame to frame, and the HMAC.

use std::time::Duration;

use crate::busy_time;
use crate::suite::Suite;
use crate::world::Direction;

mod aes_cbc;
mod aes_gcm;
mod chacha;

use aes_cbc::AesCbcHmac;
use aes_gcm::AesGcm;
use chacha::ChaCha;

/// As many as a worker has in its hands at one time.
const FRAMES: usize = dataplane::nic::BATCH;
/// Of all of them: tag or ICV.
const TAG: usize = 16;

/// One cipher, one size of packets.
trait Cipher {
    /// Bytes that a packet of `size` has when it is sealed.
    fn sealed_len(&self, size: usize) -> usize;
    /// Seal `plain` into `out`, which has the length of the sealed packet.
    fn seal(&self, counter: u64, plain: &[u8], out: &mut [u8]);
    /// Open `sealed` into `out`, which has its length.
    fn open(&self, counter: u64, sealed: &[u8], out: &mut [u8]);
}

/// A suite's cipher over packets of one size.
pub(crate) struct BareCipher {
    cipher: Box<dyn Cipher>,
    plain: Vec<u8>,
    sealed: Vec<Vec<u8>>,
    out: Vec<Vec<u8>>,
    counter: u64,
}

impl BareCipher {
    pub(crate) fn new(suite: Suite, size: usize) -> Self {
        let cipher: Box<dyn Cipher> = match suite {
            Suite::ChaCha20Poly1305 => Box::new(ChaCha::new()),
            Suite::Aes256Gcm => Box::new(AesGcm::new()),
            Suite::Aes256CbcSha256 => Box::new(AesCbcHmac::new()),
        };
        let (plain, len) = (vec![0x5a; size], cipher.sealed_len(size));
        let sealed = (0..FRAMES as u64).map(|counter| {
            let mut packet = vec![0; len];
            cipher.seal(counter, &plain, &mut packet);
            packet
        });
        Self { sealed: sealed.collect(), out: vec![vec![0; len]; FRAMES], plain, counter: FRAMES as u64, cipher }
    }

    /// How long `packets` take.
    pub(crate) fn spend(&mut self, direction: Direction, packets: usize) -> Duration {
        let start = busy_time();
        for index in 0..packets {
            let place = index % FRAMES;
            let out = &mut self.out[place];
            match direction {
                Direction::OfficeToCloud => self.cipher.open(place as u64, &self.sealed[place], out),
                Direction::CloudToOffice => {
                    self.cipher.seal(self.counter, &self.plain, out);
                    self.counter += 1;
                }
            }
        }
        busy_time() - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bare_cipher_opens_what_it_sealed_and_nothing_else() {
        for cipher in [Box::new(ChaCha::new()) as Box<dyn Cipher>, Box::new(AesGcm::new()), Box::new(AesCbcHmac::new())] {
            for size in [64, 512, 1_420] {
                let plain: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
                let (mut sealed, mut opened) = (vec![0; cipher.sealed_len(size)], vec![0; cipher.sealed_len(size)]);
                cipher.seal(7, &plain, &mut sealed);
                cipher.open(7, &sealed, &mut opened);
                assert_eq!(opened[..size], plain);
                sealed[size / 2] ^= 1;
                let forged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cipher.open(7, &sealed, &mut opened)));
                assert!(forged.is_err());
            }
        }
    }
}
