//! Proposals as people write them: `aes256-sha256-modp2048`, `aes256gcm16-prfsha384-ecp384`, several of a kind one after the other.

use std::fmt::{self, Display};
use std::str::FromStr;

use super::{ChildProposal, Ciphers, IkeProposal, Proposals};
use crate::transforms::{Encryption, Group, Integrity, Prf, UnknownAlgorithm};

/// Why words make no proposal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAProposal {
    /// A word is no algorithm of ours.
    #[error(transparent)]
    Unknown(#[from] UnknownAlgorithm),
    /// Encryption is missing.
    #[error("names no encryption; add one: aes256 or aes256gcm16")]
    NoEncryption,
    /// AES-GCM and AES-CBC.
    #[error("mixes AES-GCM with AES-CBC; make two proposals of it")]
    Mixed,
    /// AES-GCM with integrity.
    #[error("AES-GCM has its own integrity; leave the hash out, or write it prfsha256 or prfsha384")]
    IntegrityBesideAead,
    /// AES-CBC without integrity.
    #[error("names no integrity algorithm for AES-CBC; add one: sha256")]
    NoIntegrity,
    /// IKE needs a PRF.
    #[error("names no pseudo-random function; add one: prfsha256 or prfsha384")]
    NoPrf,
    /// IKE needs a group.
    #[error("names no Diffie-Hellman group; add one: modp2048, ecp256 or ecp384")]
    NoGroup,
    /// A Child SA negotiates no PRF.
    #[error("a Child SA negotiates no pseudo-random function; leave it out")]
    PrfOfChild,
}

#[derive(Default)]
struct Words {
    encryptions: Vec<Encryption>,
    integrity: Vec<Integrity>,
    prfs: Vec<Prf>,
    groups: Vec<Group>,
    esn: Vec<bool>,
}

impl Words {
    fn read(text: &str) -> Result<Self, UnknownAlgorithm> {
        let mut words = Self::default();
        for word in text.trim().to_ascii_lowercase().split('-') {
            match word {
                "esn" => words.esn.push(true),
                "noesn" => words.esn.push(false),
                word => words.read_algorithm(word)?,
            }
        }
        Ok(words)
    }

    fn read_algorithm(&mut self, word: &str) -> Result<(), UnknownAlgorithm> {
        if let Ok(prf) = word.parse() {
            self.prfs.push(prf);
        } else if let Ok(integrity) = word.parse() {
            self.integrity.push(integrity);
        } else if let Ok(group) = word.parse() {
            self.groups.push(group);
        } else {
            self.encryptions.push(word.parse()?);
        }
        Ok(())
    }

    fn ciphers(&self) -> Result<Ciphers, NotAProposal> {
        let aeads: Vec<_> =
            self.encryptions.iter().filter_map(|e| if let Encryption::Aead(aead) = e { Some(*aead) } else { None }).collect();
        let keys: Vec<_> =
            self.encryptions.iter().filter_map(|e| if let Encryption::AesCbc(key) = e { Some(*key) } else { None }).collect();
        match (aeads.is_empty(), keys.is_empty(), self.integrity.is_empty()) {
            (true, true, _) => Err(NotAProposal::NoEncryption),
            (false, false, _) => Err(NotAProposal::Mixed),
            (false, true, false) => Err(NotAProposal::IntegrityBesideAead),
            (true, false, true) => Err(NotAProposal::NoIntegrity),
            (false, true, true) => Ok(Ciphers::Aead(aeads)),
            (true, false, false) => Ok(Ciphers::AesCbc { keys, integrity: self.integrity.clone() }),
        }
    }
}

impl FromStr for IkeProposal {
    type Err = NotAProposal;

    fn from_str(text: &str) -> Result<Self, NotAProposal> {
        let mut words = Words::read(text)?;
        let ciphers = words.ciphers()?;
        if words.prfs.is_empty() {
            words.prfs = words.integrity.iter().copied().map(Prf::of_hash).collect();
        }
        match (words.prfs.is_empty(), words.groups.is_empty()) {
            (true, _) => Err(NotAProposal::NoPrf),
            (_, true) => Err(NotAProposal::NoGroup),
            (false, false) => Ok(Self { ciphers, prfs: words.prfs, groups: words.groups }),
        }
    }
}

/// A group demands perfect forward secrecy with it; without `esn` and `noesn` both are fine, 64 bits first.
impl FromStr for ChildProposal {
    type Err = NotAProposal;

    fn from_str(text: &str) -> Result<Self, NotAProposal> {
        let words = Words::read(text)?;
        let ciphers = words.ciphers()?;
        if !words.prfs.is_empty() {
            return Err(NotAProposal::PrfOfChild);
        }
        let esn = if words.esn.is_empty() { vec![true, false] } else { words.esn };
        Ok(Self { ciphers, groups: words.groups, esn })
    }
}

fn join(f: &mut fmt::Formatter<'_>, words: &[&dyn Display]) -> fmt::Result {
    for (index, word) in words.iter().enumerate() {
        write!(f, "{}{word}", if index == 0 { "" } else { "-" })?;
    }
    Ok(())
}

fn list<T: Display>(items: &[T]) -> impl Iterator<Item = &dyn Display> {
    items.iter().map(|item| item as &dyn Display)
}

impl Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encryptions: Vec<_> = self.ciphers.encryptions().collect();
        let of_hash: Vec<_> = self.ciphers.integrity().iter().copied().map(Prf::of_hash).collect();
        let prfs = if of_hash == self.prfs { &[][..] } else { &self.prfs };
        let words = list(&encryptions).chain(list(self.ciphers.integrity())).chain(list(prfs)).chain(list(&self.groups));
        join(f, &words.collect::<Vec<_>>())
    }
}

impl Display for ChildProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encryptions: Vec<_> = self.ciphers.encryptions().collect();
        let esn: &[&str] = match self.esn[..] {
            [true] => &["esn"],
            [false] => &["noesn"],
            _ => &[],
        };
        let words = list(&encryptions).chain(list(self.ciphers.integrity())).chain(list(&self.groups)).chain(list(esn));
        join(f, &words.collect::<Vec<_>>())
    }
}

impl Proposals {
    /// What we accept for an IKE SA, each in words.
    #[must_use]
    pub fn ike_words(&self) -> Vec<String> {
        self.ike.iter().map(IkeProposal::to_string).collect()
    }

    /// What we accept for a Child SA, each in words.
    #[must_use]
    pub fn child_words(&self) -> Vec<String> {
        self.child.iter().map(ChildProposal::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_read_and_written_as_people_write_them() {
        for text in [
            "aes256-sha256-modp2048",
            "aes256gcm16-prfsha384-ecp384",
            "aes256-aes128-sha256-sha512-modp2048-ecp256",
            "aes256-sha256-prfsha384-modp2048",
            "aes128gcm16-aes256gcm16-prfsha256-prfsha384-x25519",
        ] {
            assert_eq!(text.parse::<IkeProposal>().unwrap().to_string(), text);
        }
        for text in ["aes256gcm16", "aes256-sha256", "aes256-sha256-modp2048", "aes256gcm16-esn", "aes128-sha1-noesn"] {
            assert_eq!(text.parse::<ChildProposal>().unwrap().to_string(), text);
        }
        assert_eq!("AES256-SHA2_256-PRFSHA256-MODP2048".parse::<IkeProposal>().unwrap().to_string(), "aes256-sha256-modp2048");
    }

    #[test]
    fn words_that_make_no_proposal_say_what_is_wrong() {
        let ike = |text: &str| text.parse::<IkeProposal>().unwrap_err();
        assert_eq!(ike("sha256-modp2048"), NotAProposal::NoEncryption);
        assert_eq!(ike("aes256-aes256gcm16-sha256-modp2048"), NotAProposal::Mixed);
        assert_eq!(ike("aes256gcm16-sha256-modp2048"), NotAProposal::IntegrityBesideAead);
        assert_eq!(ike("aes256-modp2048"), NotAProposal::NoIntegrity);
        assert_eq!(ike("aes256gcm16-ecp384"), NotAProposal::NoPrf);
        assert_eq!(ike("aes256-sha256"), NotAProposal::NoGroup);
        assert_eq!(ike("aes256-sha256-modp1024"), NotAProposal::Unknown(UnknownAlgorithm("modp1024".into())));
        assert_eq!("aes256gcm16-prfsha384".parse::<ChildProposal>(), Err(NotAProposal::PrfOfChild));
        assert!("".parse::<IkeProposal>().is_err());
    }
}
