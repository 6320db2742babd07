//! Which algorithms a tenant may use.

use std::fmt;

use crate::transforms::{Cipher, EspSuite, Group, IkeSuite, Integrity, Prf};

/// The policy in force now: the caller has resolved `legacy-until: DATE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CryptoPolicy {
    /// AES, SHA-2, DH and ECDH over the NIST curves: what stands on the CRYPTREC list without doubt. X25519's place on it is not
    /// verified, so it stays out, as ChaCha20-Poly1305 does.
    Cryptrec,
    /// Everything preferred, X25519 too.
    Modern,
    /// Adds SHA-1 and MODP-1536 for one tenant whose peer has a fixed address.
    Legacy,
}

impl CryptoPolicy {
    /// Whether this PRF may be used. All of AES may, so there is no question for encryption.
    #[must_use]
    pub fn allows_prf(self, prf: Prf) -> bool {
        prf != Prf::HmacSha1 || self == Self::Legacy
    }

    /// Whether this integrity transform may be used.
    #[must_use]
    pub fn allows_integrity(self, integrity: Integrity) -> bool {
        integrity != Integrity::HmacSha1_96 || self == Self::Legacy
    }

    /// Whether this group may be used.
    #[must_use]
    pub fn allows_group(self, group: Group) -> bool {
        match group {
            Group::Modp1536 => self == Self::Legacy,
            Group::Curve25519 => self != Self::Cryptrec,
            _ => true,
        }
    }

    /// Whether this cipher may be used.
    #[must_use]
    pub fn allows_cipher(self, cipher: Cipher) -> bool {
        cipher.integrity().is_none_or(|integrity| self.allows_integrity(integrity))
    }

    /// Whether all of an IKE suite may be used.
    #[must_use]
    pub fn allows_ike(self, suite: &IkeSuite) -> bool {
        self.allows_cipher(suite.cipher) && self.allows_prf(suite.prf) && self.allows_group(suite.group)
    }

    /// Whether all of an ESP suite may be used.
    #[must_use]
    pub fn allows_esp(self, suite: &EspSuite) -> bool {
        self.allows_cipher(suite.cipher) && suite.group.is_none_or(|group| self.allows_group(group))
    }
}

impl fmt::Display for CryptoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cryptrec => "cryptrec",
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_and_modp1536_are_a_legacy_exception_only() {
        for policy in [CryptoPolicy::Cryptrec, CryptoPolicy::Modern] {
            assert!(!policy.allows_prf(Prf::HmacSha1) && !policy.allows_integrity(Integrity::HmacSha1_96));
            assert!(!policy.allows_group(Group::Modp1536) && policy.allows_group(Group::Modp2048));
        }
        let legacy = CryptoPolicy::Legacy;
        assert!(
            legacy.allows_prf(Prf::HmacSha1) && legacy.allows_integrity(Integrity::HmacSha1_96) && legacy.allows_group(Group::Modp1536)
        );
    }

    #[test]
    fn cryptrec_leaves_out_what_is_not_verified_to_be_on_the_list() {
        assert!(!CryptoPolicy::Cryptrec.allows_group(Group::Curve25519) && CryptoPolicy::Modern.allows_group(Group::Curve25519));
        assert!(CryptoPolicy::Cryptrec.allows_group(Group::Ecp384) && CryptoPolicy::Cryptrec.allows_group(Group::Modp2048));
    }
}
