//! Bytes that nobody may see: wiped when dropped, never in `Debug`.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Key material of any kind.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Take over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Compare them in constant time only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A pre-shared key of any length, exactly as it stands in the key file (without its line end).
#[derive(Clone, Debug)]
pub struct Psk(Secret);

impl Psk {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes themselves. Compare them in constant time only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl PartialEq for Psk {
    /// Whether a reload changed the key: compares two of our own configurations, never a key with what a peer sent.
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_shows_itself_when_printed() {
        assert_eq!(format!("{:?}", Psk::new(b"hush".to_vec())), "Psk(Secret(4 bytes))");
    }
}
