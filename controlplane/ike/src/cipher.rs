//! What protects the SK payload: AES-GCM-16 (RFC 5282), or AES-CBC and then a HMAC over everything in front of the ICV
//! (RFC 7296 section 3.14). Where the octets lie in a message is the framing's business: [`Layout`].

#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce};
use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};
use rand::RngCore;
use zeroize::Zeroizing;

use crate::key_schedule::DirectionKeys;
use crate::message::protect::{Exhausted, Forged, Layout, Open, Overhead, Seal};
use crate::transforms::{Aead, AesKeyLength, Cipher, Integrity};

/// RFC 5282 section 3.1.
const GCM_IV_OCTETS: usize = 8;
/// RFC 5282 section 7.1: the salt in front of the IV makes the nonce.
const SALT_OCTETS: usize = 4;
/// Block of AES; the IV of AES-CBC is as long.
const AES_BLOCK_OCTETS: usize = 16;
/// RFC 5282 section 7.2: the 16-octet ICV.
const GCM_ICV_OCTETS: usize = 16;

/// Seals what we send in one IKE SA.
pub struct Sealer(Sealing);

enum Sealing {
    Gcm {
        key: Gcm,
        /// The IV of the next message: a counter never repeats under one key (RFC 5282 section 3.1).
        next_iv: u64,
    },
    Cbc(Box<Cbc<EncryptingKey>>),
}

/// Opens what the peer sends in one IKE SA.
pub struct Opener(Opening);

enum Opening {
    Gcm(Gcm),
    Cbc(Box<Cbc<DecryptingKey>>),
}

impl Sealer {
    /// With the keys of the direction that we send in.
    pub(crate) fn new(keys: &DirectionKeys) -> Self {
        Self(match keys.cipher() {
            Cipher::Aead(aead) => Sealing::Gcm { key: Gcm::new(aead, keys), next_iv: 0 },
            Cipher::AesCbc { key, integrity } => {
                let key = EncryptingKey::cbc(aes_key(key, keys)).expect("AES has a CBC mode");
                Sealing::Cbc(Box::new(Cbc { key, mac: Mac::new(integrity, keys) }))
            }
        })
    }
}

impl Seal for Sealer {
    fn overhead(&self) -> Overhead {
        match &self.0 {
            Sealing::Gcm { .. } => GCM_OVERHEAD,
            Sealing::Cbc(cbc) => cbc_overhead(&cbc.mac),
        }
    }

    fn seal(&mut self, message: &mut [u8], layout: &Layout, random: &mut dyn RngCore) -> Result<(), Exhausted> {
        match &mut self.0 {
            Sealing::Gcm { key, next_iv } => {
                let iv = next_iv.to_be_bytes();
                *next_iv = next_iv.checked_add(1).ok_or(Exhausted)?;
                message[layout.iv.clone()].copy_from_slice(&iv);
                key.seal(message, layout, iv);
            }
            Sealing::Cbc(cbc) => {
                let Cbc { key, mac } = &**cbc;
                // RFC 3602 section 2.1: unpredictable, so that nobody who chooses a plaintext learns another one.
                let mut iv = [0; AES_BLOCK_OCTETS];
                random.fill_bytes(&mut iv);
                message[layout.iv.clone()].copy_from_slice(&iv);
                let context = EncryptionContext::Iv128(FixedLength::from(iv));
                key.less_safe_encrypt(&mut message[layout.text.clone()], context).expect("the framing pads to whole blocks");
                let icv = mac.compute(&message[layout.associated.start..layout.text.end]);
                message[layout.icv.clone()].copy_from_slice(&icv.as_ref()[..mac.icv_octets]);
            }
        }
        Ok(())
    }
}

impl Opener {
    /// With the keys of the direction that the peer sends in.
    pub(crate) fn new(keys: &DirectionKeys) -> Self {
        Self(match keys.cipher() {
            Cipher::Aead(aead) => Opening::Gcm(Gcm::new(aead, keys)),
            Cipher::AesCbc { key, integrity } => {
                let key = DecryptingKey::cbc(aes_key(key, keys)).expect("AES has a CBC mode");
                Opening::Cbc(Box::new(Cbc { key, mac: Mac::new(integrity, keys) }))
            }
        })
    }
}

impl Open for Opener {
    fn overhead(&self) -> Overhead {
        match &self.0 {
            Opening::Gcm(_) => GCM_OVERHEAD,
            Opening::Cbc(cbc) => cbc_overhead(&cbc.mac),
        }
    }

    fn open(&self, message: &mut [u8], layout: &Layout) -> Result<(), Forged> {
        match &self.0 {
            Opening::Gcm(key) => key.open(message, layout),
            Opening::Cbc(cbc) => {
                let Cbc { key, mac } = &**cbc;
                let icv = mac.compute(&message[layout.associated.start..layout.text.end]);
                // Before anything is decrypted: what padding a forged message has is nobody's business (no padding oracle).
                constant_time::verify_slices_are_equal(&icv.as_ref()[..mac.icv_octets], &message[layout.icv.clone()])
                    .map_err(|_| Forged)?;
                let iv: [u8; AES_BLOCK_OCTETS] = message[layout.iv.clone()].try_into().map_err(|_| Forged)?;
                let context = DecryptionContext::Iv128(FixedLength::from(iv));
                key.decrypt(&mut message[layout.text.clone()], context).map(|_| ()).map_err(|_| Forged)
            }
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?})", Seal::overhead(self))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({:?})", Open::overhead(self))
    }
}

const GCM_OVERHEAD: Overhead = Overhead { iv: GCM_IV_OCTETS, block: 1, icv: GCM_ICV_OCTETS };

fn cbc_overhead(mac: &Mac) -> Overhead {
    Overhead { iv: AES_BLOCK_OCTETS, block: AES_BLOCK_OCTETS, icv: mac.icv_octets }
}

/// AES-GCM under one key and one salt.
struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_OCTETS]>,
}

impl Gcm {
    fn new(aead: Aead, keys: &DirectionKeys) -> Self {
        let algorithm = match aead {
            Aead::Aes128Gcm16 => &aead::AES_128_GCM,
            Aead::Aes256Gcm16 => &aead::AES_256_GCM,
        };
        let key = aead::UnboundKey::new(algorithm, keys.encryption()).expect("the key schedule cuts keys to length");
        Self { key: LessSafeKey::new(key), salt: Zeroizing::new(keys.salt().expect("a combined mode has a salt")) }
    }

    /// RFC 5282 section 4: salt and IV.
    fn nonce(&self, iv: [u8; GCM_IV_OCTETS]) -> Nonce {
        let mut nonce = [0; SALT_OCTETS + GCM_IV_OCTETS];
        nonce[..SALT_OCTETS].copy_from_slice(&*self.salt);
        nonce[SALT_OCTETS..].copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, message: &mut [u8], layout: &Layout, iv: [u8; GCM_IV_OCTETS]) {
        let (front, back) = message.split_at_mut(layout.text.start);
        let (text, icv) = back.split_at_mut(layout.text.len());
        let associated = Aad::from(&front[layout.associated.clone()]);
        let tag = self.key.seal_in_place_separate_tag(self.nonce(iv), associated, text).expect("a message is shorter than GCM's limit");
        icv.copy_from_slice(tag.as_ref());
    }

    fn open(&self, message: &mut [u8], layout: &Layout) -> Result<(), Forged> {
        let (front, back) = message.split_at_mut(layout.text.start);
        let iv = front[layout.iv.clone()].try_into().map_err(|_| Forged)?;
        let associated = Aad::from(&front[layout.associated.clone()]);
        self.key.open_in_place(self.nonce(iv), associated, back).map(|_| ()).map_err(|_| Forged)
    }
}

/// AES-CBC in one direction, and the MAC over it. In a box: the round keys and the two states of HMAC take 1.7 kB.
struct Cbc<K> {
    key: K,
    mac: Mac,
}

/// A truncated HMAC.
struct Mac {
    key: hmac::Key,
    icv_octets: usize,
}

impl Mac {
    fn new(integrity: Integrity, keys: &DirectionKeys) -> Self {
        let algorithm = match integrity {
            Integrity::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Integrity::HmacSha256_128 => hmac::HMAC_SHA256,
            Integrity::HmacSha384_192 => hmac::HMAC_SHA384,
            Integrity::HmacSha512_256 => hmac::HMAC_SHA512,
        };
        Self { key: hmac::Key::new(algorithm, keys.integrity()), icv_octets: integrity.icv_octets() }
    }

    fn compute(&self, data: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, data)
    }
}

fn aes_key(length: AesKeyLength, keys: &DirectionKeys) -> UnboundCipherKey {
    let algorithm = match length {
        AesKeyLength::Aes128 => &AES_128,
        AesKeyLength::Aes192 => &AES_192,
        AesKeyLength::Aes256 => &AES_256,
    };
    UnboundCipherKey::new(algorithm, keys.encryption()).expect("the key schedule cuts keys to length")
}
