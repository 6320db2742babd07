//! Keys for the demo's tunnels. They live in memory only.

use std::fmt;

use boringtun::x25519::{PublicKey, StaticSecret};
use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::error::DemoError;

/// One party's key pair.
#[derive(Clone)]
pub struct KeyPair {
    private: StaticSecret,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a new pair.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, DemoError> {
        Ok(Self::from_private(&*random_key()?))
    }

    /// The pair of a given private key.
    #[must_use]
    pub fn from_private(private: &[u8; 32]) -> Self {
        let private = StaticSecret::from(*private);
        Self { public: PublicKey::from(&private), private }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// The private half, for whoever hands it to the relay.
    #[must_use]
    pub fn private(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.private.to_bytes())
    }

    pub(crate) fn secret(&self) -> StaticSecret {
        self.private.clone()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// 32 random bytes: a private key or a preshared key.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn random_key() -> Result<Zeroizing<[u8; 32]>, DemoError> {
    let mut key = Zeroizing::new([0; 32]);
    let filled = OsRng.try_fill_bytes(&mut *key);
    filled.map_err(|error| DemoError::Invalid(format!("the operating system gives no random bytes: {error}")))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_differ_and_the_private_half_stays_out_of_debug() {
        let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert_eq!(KeyPair::from_private(&one.private()).public(), one.public());
        assert_eq!(format!("{one:?}"), "KeyPair { .. }");
    }
}
