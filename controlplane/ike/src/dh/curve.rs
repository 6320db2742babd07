//! Elliptic curve groups: ECP of RFC 5903 and Curve25519 of RFC 8031, by aws-lc-rs.

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};

use crate::secret::Secret;

/// Group 19.
pub(super) static P256: Curve = Curve { algorithm: &agreement::ECDH_P256, point: Point::Uncompressed };
/// Group 20.
pub(super) static P384: Curve = Curve { algorithm: &agreement::ECDH_P384, point: Point::Uncompressed };
/// Group 21.
pub(super) static P521: Curve = Curve { algorithm: &agreement::ECDH_P521, point: Point::Uncompressed };
/// Group 31.
pub(super) static X25519: Curve = Curve { algorithm: &agreement::X25519, point: Point::Montgomery };

/// What SEC 1 section 2.3.3 puts before both coordinates, and RFC 5903 section 7 leaves out.
const SEC1_UNCOMPRESSED: u8 = 4;

/// How a public value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Both coordinates, one behind the other.
    Uncompressed,
    /// The u coordinate, little-endian.
    Montgomery,
}

/// A curve.
pub(super) struct Curve {
    algorithm: &'static Algorithm,
    point: Point,
}

impl Curve {
    /// A key pair.
    pub(super) fn generate(&self) -> (Secret, Vec<u8>) {
        let key = PrivateKey::generate(self.algorithm).expect("the system has random numbers");
        let private = match self.point {
            Point::Uncompressed => AsBigEndian::<EcPrivateKeyBin>::as_be_bytes(&key).map(|bytes| bytes.as_ref().to_vec()),
            Point::Montgomery => AsBigEndian::<Curve25519SeedBin>::as_be_bytes(&key).map(|bytes| bytes.as_ref().to_vec()),
        };
        (Secret::new(private.expect("a key just made can be written")), self.public(&key))
    }

    /// The public value of `key`, as a KE payload carries it.
    fn public(&self, key: &PrivateKey) -> Vec<u8> {
        let public = key.compute_public_key().expect("a private key has a public one");
        match self.point {
            Point::Uncompressed => public.as_ref()[1..].to_vec(),
            Point::Montgomery => public.as_ref().to_vec(),
        }
    }

    /// The shared secret: the x coordinate, or u.
    pub(super) fn agree(&self, private: &[u8], peer_public: &[u8]) -> Option<Secret> {
        let key = PrivateKey::from_private_key(self.algorithm, private).ok()?;
        let mut encoded = Vec::with_capacity(1 + peer_public.len());
        if self.point == Point::Uncompressed {
            encoded.push(SEC1_UNCOMPRESSED);
        }
        encoded.extend_from_slice(peer_public);
        // RFC 6989 section 2.3: aws-lc refuses coordinates out of range and points that are not on the curve.
        let peer = UnparsedPublicKey::new(self.algorithm, encoded);
        let shared = agreement::agree(&key, peer, (), |shared| Ok(Secret::new(shared.to_vec()))).ok()?;
        // RFC 8031 section 2.3, RFC 7748 section 6.1: a point of small order gives zero, whoever's the key. The test runs over all octets.
        (shared.expose().iter().fold(0, |all, octet| all | octet) != 0).then_some(shared)
    }
}

#[cfg(test)]
impl Curve {
    /// The public value that belongs to `private`.
    pub(super) fn public_of(&self, private: &[u8]) -> Vec<u8> {
        self.public(&PrivateKey::from_private_key(self.algorithm, private).expect("a private key"))
    }
}
