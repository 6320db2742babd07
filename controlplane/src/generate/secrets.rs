//! Keys that follow from a seed, so that a load test finds the routers' keys without keeping them. They protect nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Where everything that is chosen comes from.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

/// 32 bytes as key files hold them.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// The text of a key file.
    #[must_use]
    pub fn base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }

    /// The X25519 public key that belongs to it, in base64.
    #[must_use]
    pub fn public(&self) -> String {
        STANDARD.encode(PublicKey::from(&StaticSecret::from(*self.0)).as_bytes())
    }
}

impl Seed {
    /// The private key of `owner`.
    #[must_use]
    pub fn private_key(&self, owner: &str) -> Key {
        Key(Zeroizing::new(self.bytes("private key", owner)))
    }

    /// The preshared key of `owner`'s tunnel.
    #[must_use]
    pub fn preshared_key(&self, owner: &str) -> Key {
        Key(Zeroizing::new(self.bytes("preshared key", owner)))
    }

    /// A number below `choices` for one question about `owner`.
    #[must_use]
    pub fn choose(&self, question: &str, owner: &str, choices: u8) -> u8 {
        self.bytes(question, owner)[0] % choices.max(1)
    }

    fn bytes(&self, purpose: &str, owner: &str) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"chukei generate: for load tests only\0");
        hash.update(self.0.to_be_bytes());
        // No purpose holds a zero, so that no two pairs are written alike.
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(owner.as_bytes());
        hash.finalize().into()
    }
}
