//! Algorithms as people write them, in the words that strongSwan and routers' documents use.

use std::fmt;
use std::str::FromStr;

use super::{Aead, AesKeyLength, Cipher, Encryption, EspSuite, Group, IkeSuite, Integrity, Prf};

/// A word that names no algorithm which could be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` names no algorithm that is built; known are aes256gcm16, aes256, sha256, prfsha256, modp2048, ecp384 and their kin")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Encryption {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        Ok(match word {
            "aes256gcm16" | "aes256gcm" => Self::Aead(Aead::Aes256Gcm16),
            "aes128gcm16" | "aes128gcm" => Self::Aead(Aead::Aes128Gcm16),
            "aes256" => Self::AesCbc(AesKeyLength::Aes256),
            "aes192" => Self::AesCbc(AesKeyLength::Aes192),
            "aes128" => Self::AesCbc(AesKeyLength::Aes128),
            _ => return Err(UnknownAlgorithm(word.to_owned())),
        })
    }
}

impl FromStr for Prf {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|prf| prf.to_string() == word).ok_or_else(|| UnknownAlgorithm(word.to_owned()))
    }
}

impl FromStr for Integrity {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        let word = word.strip_prefix("sha2_").map_or_else(|| word.to_owned(), |bits| format!("sha{bits}"));
        let word = if word == "sha" { "sha1" } else { word.as_str() };
        Self::ALL.into_iter().find(|integrity| integrity.to_string() == word).ok_or_else(|| UnknownAlgorithm(word.to_owned()))
    }
}

impl FromStr for Group {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        let word = if word == "curve25519" { "x25519" } else { word };
        Self::ALL.into_iter().find(|group| group.to_string() == word).ok_or_else(|| UnknownAlgorithm(word.to_owned()))
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesCbc(key) => write!(f, "aes{}", key.bits()),
            Self::Aead(aead) => write!(f, "aes{}gcm16", aead.key_length().bits()),
        }
    }
}

impl fmt::Display for Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1 => "prfsha1",
            Self::HmacSha256 => "prfsha256",
            Self::HmacSha384 => "prfsha384",
            Self::HmacSha512 => "prfsha512",
        })
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1_96 => "sha1",
            Self::HmacSha256_128 => "sha256",
            Self::HmacSha384_192 => "sha384",
            Self::HmacSha512_256 => "sha512",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modp1536 => "modp1536",
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::Ecp256 => "ecp256",
            Self::Ecp384 => "ecp384",
            Self::Ecp521 => "ecp521",
            Self::Curve25519 => "x25519",
        })
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aead(aead) => write!(f, "{}", Encryption::Aead(*aead)),
            Self::AesCbc { key, integrity } => write!(f, "{}-{integrity}", Encryption::AesCbc(*key)),
        }
    }
}

/// As people write it: `aes256gcm16-prfsha384-ecp384`, `aes256-sha256-modp2048`. The PRF is left out where it is the hash of the
/// integrity transform.
impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cipher)?;
        if self.cipher.integrity().map(Prf::of_hash) != Some(self.prf) {
            write!(f, "-{}", self.prf)?;
        }
        write!(f, "-{}", self.group)
    }
}

/// As people write it: `aes256gcm16`, `aes256-sha256-modp2048-esn`.
impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cipher)?;
        if let Some(group) = self.group {
            write!(f, "-{group}")?;
        }
        if self.esn { f.write_str("-esn") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_written_as_people_write_them() {
        let gcm = Cipher::Aead(Aead::Aes256Gcm16);
        let cbc = Cipher::AesCbc { key: AesKeyLength::Aes256, integrity: Integrity::HmacSha256_128 };
        let ike = |cipher, prf, group| IkeSuite { cipher, prf, group }.to_string();
        assert_eq!(ike(gcm, Prf::HmacSha384, Group::Ecp384), "aes256gcm16-prfsha384-ecp384");
        assert_eq!(ike(cbc, Prf::HmacSha256, Group::Modp2048), "aes256-sha256-modp2048");
        assert_eq!(ike(cbc, Prf::HmacSha384, Group::Modp2048), "aes256-sha256-prfsha384-modp2048");
        assert_eq!(EspSuite { cipher: cbc, group: Some(Group::Modp2048), esn: true }.to_string(), "aes256-sha256-modp2048-esn");
        assert_eq!(EspSuite { cipher: gcm, group: None, esn: false }.to_string(), "aes256gcm16");
    }

    #[test]
    fn every_word_is_read_back_and_some_have_a_second_spelling() {
        assert!(Group::ALL.into_iter().all(|group| group.to_string().parse() == Ok(group)));
        assert!(Prf::ALL.into_iter().all(|prf| prf.to_string().parse() == Ok(prf)));
        assert!(Integrity::ALL.into_iter().all(|integrity| integrity.to_string().parse() == Ok(integrity)));
        assert!(AesKeyLength::ALL.map(Encryption::AesCbc).into_iter().all(|aes| aes.to_string().parse() == Ok(aes)));
        assert_eq!("aes256gcm".parse(), Ok(Encryption::Aead(Aead::Aes256Gcm16)));
        assert_eq!("curve25519".parse(), Ok(Group::Curve25519));
        assert_eq!(("sha2_512".parse(), "sha".parse()), (Ok(Integrity::HmacSha512_256), Ok(Integrity::HmacSha1_96)));
    }

    #[test]
    fn weak_and_unknown_words_are_refused_by_name() {
        assert!("modp1024".parse::<Group>().unwrap_err().to_string().contains("`modp1024`"));
        assert!("3des".parse::<Encryption>().is_err() && "md5".parse::<Integrity>().is_err() && "prfmd5".parse::<Prf>().is_err());
    }
}
