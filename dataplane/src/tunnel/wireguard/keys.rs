//! Curve25519 keys: making them, refusing the points that make every secret predictable, and whose they are.

use rand::TryRngCore;
use rand::rngs::OsRng;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};

use crate::router_config::SecretKey;

/// The relay at one of its ends, shared by all tunnels there.
pub(super) struct Identity {
    private: StaticSecret,
    public: [u8; 32],
}

impl Identity {
    pub(super) fn new(private: &SecretKey) -> Self {
        let private = StaticSecret::from(private.0);
        Self { public: PublicKey::from(&private).to_bytes(), private }
    }

    pub(super) const fn private(&self) -> &StaticSecret {
        &self.private
    }

    pub(super) const fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

/// Who may be at the other end of a tunnel.
pub(super) struct Peer {
    pub(super) public: [u8; 32],
    /// Zero where there is none (whitepaper section 5.2).
    pub(super) preshared: SecretKey,
    /// Of both static keys: it is the same for every handshake.
    pub(super) static_static: SharedSecret,
}

impl Peer {
    /// Costs a Diffie-Hellman.
    pub(super) fn new(own: &Identity, public: [u8; 32], preshared: Option<&SecretKey>) -> Self {
        let static_static = own.private.diffie_hellman(&PublicKey::from(public));
        Self { public, preshared: preshared.cloned().unwrap_or(SecretKey([0; 32])), static_static }
    }
}

/// A private key for one handshake; `None` where the operating system has no random bytes to give.
pub(super) fn ephemeral() -> Option<StaticSecret> {
    random().ok().map(|key| StaticSecret::from(key.0))
}

/// The public key that belongs to a private one.
#[must_use]
pub fn public_key(private: &SecretKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(private.0)).to_bytes()
}

/// A fresh private key from the operating system's generator.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub fn generate() -> std::io::Result<SecretKey> {
    let mut private = random()?;
    // Clamped as RFC 7748 section 5 has it, so that other tools show the same key.
    private.0[0] &= 248;
    private.0[31] = private.0[31] & 127 | 64;
    Ok(private)
}

/// A fresh preshared key.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub fn generate_preshared() -> std::io::Result<SecretKey> {
    random()
}

fn random() -> std::io::Result<SecretKey> {
    let mut key = SecretKey([0; 32]);
    OsRng
        .try_fill_bytes(&mut key.0)
        .map_err(|error| std::io::Error::other(format!("no random bytes from the operating system: {error}")))?;
    Ok(key)
}

/// The u coordinates whose multiples by a clamped scalar are all zero, with the two that are written other than modulo p
/// (RFC 7748 section 6.1; the points of order 1, 2, 4 and 8 on the curve and its twist).
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    with_first(1, [0; 32]),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
        0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
        0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    with_first(0xec, ALMOST_P),
    with_first(0xed, ALMOST_P),
    with_first(0xee, ALMOST_P),
];

/// The upper 31 bytes of p = 2^255 - 19.
const ALMOST_P: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f;
    bytes
};

const fn with_first(first: u8, mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[0] = first;
    bytes
}

/// Whether a Diffie-Hellman exchange with this public key gives the same result (zero) whatever the private key: such a key
/// proves nothing and must be refused (whitepaper section 5.4; RFC 7748 section 6.1).
#[must_use]
pub fn is_low_order(public: &[u8; 32]) -> bool {
    let mut reduced = *public;
    reduced[31] &= 0x7f;
    LOW_ORDER.contains(&reduced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_clamped_and_no_two_are_equal() {
        let (one, other) = (generate().expect("random bytes"), generate().expect("random bytes"));
        assert!(one != other);
        assert_eq!((one.0[0] & 7, one.0[31] & 0xc0), (0, 0x40));
        assert!(generate_preshared().expect("random bytes") != generate_preshared().expect("random bytes"));
    }

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        // RFC 7748 section 5.2: the iterated vector after one step, where scalar and coordinate are both 9 (the base point).
        let public = hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
        assert_eq!(public_key(&SecretKey(with_first(9, [0; 32]))), public);
    }

    #[test]
    fn low_order_points_are_known_however_they_are_written() {
        for point in LOW_ORDER {
            let mut high_bit = point;
            high_bit[31] |= 0x80;
            for point in [point, high_bit] {
                assert!(is_low_order(&point));
                // The claim itself: the shared secret is zero for any private key.
                let shared = StaticSecret::from(generate().expect("random bytes").0).diffie_hellman(&PublicKey::from(point));
                assert_eq!(shared.as_bytes(), &[0; 32]);
            }
        }
        assert!(!is_low_order(&public_key(&generate().expect("random bytes"))));
        assert!(!is_low_order(&with_first(9, [0; 32])), "the base point");
    }

    fn hex(text: &str) -> [u8; 32] {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
        }
        bytes
    }
}
