//! Pseudo-random functions: HMAC (RFC 2104, RFC 4868) and prf+ (RFC 7296 section 2.13).

use aws_lc_rs::hmac;

use crate::secret::Secret;
use crate::transforms::Prf;

/// RFC 7296 section 2.13: the counter of prf+ is one octet, from 1 to 255.
const MOST_BLOCKS: usize = 255;

impl Prf {
    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    /// `prf(key, data)`, where `data` are the parts one behind the other.
    #[must_use]
    pub fn compute(self, key: &[u8], data: &[&[u8]]) -> Secret {
        compute(&hmac::Key::new(self.algorithm(), key), data)
    }

    /// The first `octets` of `prf+(key, seed)`, where `seed` are the parts one behind the other.
    ///
    /// # Panics
    /// For more than 255 blocks: prf+ is not defined there, and no suite needs a tenth of it.
    #[must_use]
    pub fn plus(self, key: &[u8], seed: &[&[u8]], octets: usize) -> Secret {
        assert!(octets <= MOST_BLOCKS * self.octets(), "prf+ ends after 255 blocks");
        let key = hmac::Key::new(self.algorithm(), key);
        // With room for the whole, so that no half of it stays behind when it grows.
        let mut stream = Vec::with_capacity(octets.next_multiple_of(self.octets()));
        let mut previous = Secret::new(Vec::new());
        for counter in 1..=u8::MAX {
            if stream.len() >= octets {
                break;
            }
            let mut data = vec![previous.expose()];
            data.extend_from_slice(seed);
            let counter = [counter];
            data.push(&counter);
            previous = compute(&key, &data);
            stream.extend_from_slice(previous.expose());
        }
        stream.truncate(octets);
        Secret::new(stream)
    }
}

fn compute(key: &hmac::Key, data: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(key);
    for part in data {
        context.update(part);
    }
    Secret::new(context.sign().as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_hex::{hex, unhex};

    /// RFC 4231 section 4.3 (test case 2), and RFC 2202 section 3 for SHA-1: a key shorter than the hash.
    #[test]
    fn hmac_agrees_with_the_published_vectors() {
        let of = |prf: Prf| hex(prf.compute(b"Jefe", &[b"what do ya want ", b"for nothing?"]).expose());
        assert_eq!(of(Prf::HmacSha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(of(Prf::HmacSha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(of(Prf::HmacSha384), "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
        assert_eq!(
            of(Prf::HmacSha512),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    /// RFC 4231 section 4.7 (test case 6): pre-shared keys may be longer than a block of the hash.
    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        let key = [0xaa; 131];
        let of = |prf: Prf| hex(prf.compute(&key, &[b"Test Using Larger Than Block-Size Key - Hash Key First"]).expose());
        assert_eq!(of(Prf::HmacSha256), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        assert!(of(Prf::HmacSha512).starts_with("80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"));
    }

    /// The definition of RFC 7296 section 2.13, block by block.
    #[test]
    fn prf_plus_chains_its_blocks_and_counts_them() {
        for prf in Prf::ALL {
            let first = prf.compute(b"key", &[b"seed", &[1]]);
            let second = prf.compute(b"key", &[first.expose(), b"seed", &[2]]);
            let third = prf.compute(b"key", &[second.expose(), b"seed", &[3]]);
            let whole = [first.expose(), second.expose(), third.expose()].concat();
            for octets in [0, 1, prf.octets() - 1, prf.octets(), prf.octets() + 1, 3 * prf.octets()] {
                assert_eq!(prf.plus(b"key", &[b"se", b"ed"], octets).expose(), &whole[..octets], "{prf} {octets}");
            }
        }
        assert_eq!(unhex("00ff"), [0, 255]);
    }

    #[test]
    #[should_panic(expected = "prf+ ends after 255 blocks")]
    fn prf_plus_does_not_begin_again_after_its_last_block() {
        let _ = Prf::HmacSha256.plus(b"key", &[b"seed"], 255 * 32 + 1);
    }
}
