//! The algorithms that can be negotiated, as types that cannot be wrong. Numbers are IANA's for IKEv2; what is not listed here is
//! not built, and a proposal that demands it cannot be chosen.
//!
//! Everything is declared from the most to the least preferred, so that `Ord` is the order of preference.

mod names;

pub use names::UnknownAlgorithm;
/// Key length of AES.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AesKeyLength {
    /// 256 bits.
    Aes256,
    /// 192 bits.
    Aes192,
    /// 128 bits.
    Aes128,
}

/// Combined-mode ciphers (RFC 5282 for IKE, RFC 4106 for ESP): they bring their own integrity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Aead {
    /// AES-256-GCM with a 16-octet ICV.
    Aes256Gcm16,
    /// AES-128-GCM with a 16-octet ICV.
    Aes128Gcm16,
}

/// Transform Type 1, with its key length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Encryption {
    /// `ENCR_AES_GCM_16` (20).
    Aead(Aead),
    /// `ENCR_AES_CBC` (12).
    AesCbc(AesKeyLength),
}

/// Transform Type 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Prf {
    /// `PRF_HMAC_SHA2_384` (6).
    HmacSha384,
    /// `PRF_HMAC_SHA2_512` (7).
    HmacSha512,
    /// `PRF_HMAC_SHA2_256` (5).
    HmacSha256,
    /// `PRF_HMAC_SHA1` (2). Legacy only.
    HmacSha1,
}

/// Transform Type 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Integrity {
    /// `AUTH_HMAC_SHA2_256_128` (12). First, because it is what the floor profile names and the cheapest.
    HmacSha256_128,
    /// `AUTH_HMAC_SHA2_384_192` (13).
    HmacSha384_192,
    /// `AUTH_HMAC_SHA2_512_256` (14).
    HmacSha512_256,
    /// `AUTH_HMAC_SHA1_96` (2). Legacy only.
    HmacSha1_96,
}

/// Transform Type 4, Diffie-Hellman groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// 384-bit random ECP group (20, RFC 5903).
    Ecp384,
    /// 256-bit random ECP group (19, RFC 5903).
    Ecp256,
    /// Curve25519 (31, RFC 8031).
    Curve25519,
    /// 521-bit random ECP group (21, RFC 5903).
    Ecp521,
    /// 2,048-bit MODP group (14, RFC 3526): the cheapest of the MODP groups that are good enough.
    Modp2048,
    /// 3,072-bit MODP group (15, RFC 3526).
    Modp3072,
    /// 4,096-bit MODP group (16, RFC 3526).
    Modp4096,
    /// 1,536-bit MODP group (5, RFC 3526). Legacy only.
    Modp1536,
}

/// Cipher of an IKE SA or of a Child SA: either a combined mode or encryption and integrity, never half of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cipher {
    /// Combined mode.
    Aead(Aead),
    /// AES-CBC, then a MAC over the ciphertext.
    AesCbc {
        /// Key length of AES.
        key: AesKeyLength,
        /// The MAC.
        integrity: Integrity,
    },
}

/// What protects an IKE SA.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IkeSuite {
    /// Cipher of the SK payload.
    pub cipher: Cipher,
    /// Pseudo-random function.
    pub prf: Prf,
    /// Diffie-Hellman group.
    pub group: Group,
}

/// What protects a Child SA.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EspSuite {
    /// Cipher of ESP.
    pub cipher: Cipher,
    /// Diffie-Hellman group of perfect forward secrecy; none in IKE_AUTH, and where the peer wants none.
    pub group: Option<Group>,
    /// Extended sequence numbers (64 bits).
    pub esn: bool,
}

impl AesKeyLength {
    /// All, the longest first.
    pub const ALL: [Self; 3] = [Self::Aes256, Self::Aes192, Self::Aes128];

    /// Bits of the key: what the Key Length attribute carries.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::Aes128 => 128,
            Self::Aes192 => 192,
            Self::Aes256 => 256,
        }
    }

    /// Octets of the key.
    #[must_use]
    pub const fn octets(self) -> usize {
        self.bits() as usize / 8
    }
}

impl Aead {
    /// Key length, without the salt of 4 octets (RFC 5282 section 7.1, RFC 4106 section 8.1).
    #[must_use]
    pub const fn key_length(self) -> AesKeyLength {
        match self {
            Self::Aes128Gcm16 => AesKeyLength::Aes128,
            Self::Aes256Gcm16 => AesKeyLength::Aes256,
        }
    }
}

impl Encryption {
    /// Transform ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::AesCbc(_) => 12,
            Self::Aead(_) => 20,
        }
    }

    /// Key length.
    #[must_use]
    pub const fn key_length(self) -> AesKeyLength {
        match self {
            Self::AesCbc(key) => key,
            Self::Aead(aead) => aead.key_length(),
        }
    }

    /// The one with this transform ID and Key Length attribute (AES has no default length: RFC 7296 section 3.3.5).
    #[must_use]
    pub fn from_wire(id: u16, key_bits: Option<u16>) -> Option<Self> {
        match (id, key_bits?) {
            (12, bits) => AesKeyLength::ALL.into_iter().find(|key| key.bits() == bits).map(Self::AesCbc),
            (20, 128) => Some(Self::Aead(Aead::Aes128Gcm16)),
            (20, 256) => Some(Self::Aead(Aead::Aes256Gcm16)),
            _ => None,
        }
    }
}

impl Prf {
    /// All, in the order of preference.
    pub const ALL: [Self; 4] = [Self::HmacSha384, Self::HmacSha512, Self::HmacSha256, Self::HmacSha1];

    /// Transform ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// The one with this transform ID.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|prf| prf.id() == id)
    }

    /// Octets of its output, which is also its preferred key length (RFC 4868 section 2.1.2).
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

impl Integrity {
    /// All, in the order of preference.
    pub const ALL: [Self; 4] = [Self::HmacSha256_128, Self::HmacSha384_192, Self::HmacSha512_256, Self::HmacSha1_96];

    /// Transform ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1_96 => 2,
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    /// The one with this transform ID.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|integrity| integrity.id() == id)
    }

    /// Octets of its key (RFC 4868 section 2.1.1, RFC 2404).
    #[must_use]
    pub const fn key_octets(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// Octets of the ICV.
    #[must_use]
    pub const fn icv_octets(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

impl Group {
    /// All, in the order of preference.
    pub const ALL: [Self; 8] =
        [Self::Ecp384, Self::Ecp256, Self::Curve25519, Self::Ecp521, Self::Modp2048, Self::Modp3072, Self::Modp4096, Self::Modp1536];

    /// Group number (Transform Type 4).
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::Curve25519 => 31,
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }

    /// Octets of Key Exchange Data in the KE payload (RFC 7296 section 3.4, RFC 5903 section 7, RFC 8031 section 3.2).
    #[must_use]
    pub const fn public_octets(self) -> usize {
        match self {
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::Curve25519 => 32,
        }
    }
}

impl Cipher {
    /// Of an encryption and an integrity transform; `None` where they do not make a cipher: combined modes have no integrity
    /// (RFC 5282 section 8), the others need one.
    #[must_use]
    pub const fn new(encryption: Encryption, integrity: Option<Integrity>) -> Option<Self> {
        match (encryption, integrity) {
            (Encryption::Aead(aead), None) => Some(Self::Aead(aead)),
            (Encryption::AesCbc(key), Some(integrity)) => Some(Self::AesCbc { key, integrity }),
            _ => None,
        }
    }

    /// Its encryption transform.
    #[must_use]
    pub const fn encryption(self) -> Encryption {
        match self {
            Self::Aead(aead) => Encryption::Aead(aead),
            Self::AesCbc { key, .. } => Encryption::AesCbc(key),
        }
    }

    /// Its integrity transform; combined modes have none.
    #[must_use]
    pub const fn integrity(self) -> Option<Integrity> {
        match self {
            Self::Aead(_) => None,
            Self::AesCbc { integrity, .. } => Some(integrity),
        }
    }
}

impl Prf {
    /// The PRF with the hash of `integrity`: what a proposal means that names no PRF.
    #[must_use]
    pub const fn of_hash(integrity: Integrity) -> Self {
        match integrity {
            Integrity::HmacSha1_96 => Self::HmacSha1,
            Integrity::HmacSha256_128 => Self::HmacSha256,
            Integrity::HmacSha384_192 => Self::HmacSha384,
            Integrity::HmacSha512_256 => Self::HmacSha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_survives_its_number() {
        for key in AesKeyLength::ALL {
            let encryption = Encryption::AesCbc(key);
            assert_eq!(Encryption::from_wire(encryption.id(), Some(key.bits())), Some(encryption));
        }
        for aead in [Aead::Aes128Gcm16, Aead::Aes256Gcm16] {
            assert_eq!(Encryption::from_wire(20, Some(aead.key_length().bits())), Some(Encryption::Aead(aead)));
        }
        assert!(Prf::ALL.into_iter().all(|prf| Prf::from_id(prf.id()) == Some(prf)));
        assert!(Integrity::ALL.into_iter().all(|integrity| Integrity::from_id(integrity.id()) == Some(integrity)));
        assert!(Group::ALL.into_iter().all(|group| Group::from_number(group.number()) == Some(group)));
    }

    #[test]
    fn aes_without_a_key_length_or_with_an_impossible_one_is_nothing() {
        for (id, bits) in [(12, None), (20, None), (12, Some(0)), (12, Some(512)), (20, Some(192)), (3, Some(192)), (3, None), (11, None)] {
            assert_eq!(Encryption::from_wire(id, bits), None, "{id} {bits:?}");
        }
    }

    #[test]
    fn weak_algorithms_have_no_type() {
        assert!([1, 2, 22, 23, 24].into_iter().all(|group| Group::from_number(group).is_none()), "MODP-768, -1024 and the RFC 5114 groups");
        assert!(Prf::from_id(1).is_none() && Integrity::from_id(1).is_none() && Integrity::from_id(0).is_none(), "MD5 and NONE");
    }

    #[test]
    fn a_combined_mode_takes_no_integrity_and_the_others_need_one() {
        let gcm = Encryption::Aead(Aead::Aes256Gcm16);
        let cbc = Encryption::AesCbc(AesKeyLength::Aes256);
        assert_eq!(Cipher::new(gcm, Some(Integrity::HmacSha256_128)), None);
        assert_eq!(Cipher::new(cbc, None), None);
        assert_eq!(Cipher::new(gcm, None).map(Cipher::encryption), Some(gcm));
        assert_eq!(Cipher::new(cbc, Some(Integrity::HmacSha256_128)).and_then(Cipher::integrity), Some(Integrity::HmacSha256_128));
    }
}
