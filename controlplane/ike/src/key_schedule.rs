//! The keys of IKE SAs (RFC 7296 sections 2.14 and 2.18) and of Child SAs (section 2.17).
//!
//! All of it is wiped when dropped and none of it is ever printed: see [`Secret`].

#[cfg(test)]
mod tests;

use crate::cipher::{Opener, Sealer};
use crate::secret::Secret;
use crate::transforms::{Cipher, IkeSuite, Prf};

/// RFC 4106 section 8.1, RFC 5282 section 7.1: the salt behind the key of AES-GCM.
const SALT_OCTETS: usize = 4;

/// What one exchange brought that makes the keys of an IKE SA.
#[derive(Clone, Copy, Debug)]
pub struct KeyInput<'a> {
    /// `g^ir`.
    pub shared: &'a Secret,
    /// `Ni`: the nonce of who began the exchange.
    pub nonce_i: &'a [u8],
    /// `Nr`.
    pub nonce_r: &'a [u8],
    /// `SPIi` of the IKE SA that is being made.
    pub spi_i: [u8; 8],
    /// `SPIr` of the IKE SA that is being made.
    pub spi_r: [u8; 8],
}

/// Which end of an SA we are: the one that began the exchange that made it, or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Original initiator of this SA.
    Initiator,
    /// Original responder of this SA.
    Responder,
}

/// The keys of one IKE SA.
#[derive(Clone, Debug)]
pub struct IkeKeys {
    prf: Prf,
    /// `SK_d`: what the keys of Child SAs and of the next IKE SA are derived from.
    d: Secret,
    /// `SK_ei` and `SK_ai`: protect what the original initiator sends.
    initiator: DirectionKeys,
    /// `SK_er` and `SK_ar`.
    responder: DirectionKeys,
    /// `SK_pi`.
    pi: Secret,
    /// `SK_pr`.
    pr: Secret,
}

/// The keys of one direction of an SA, in the lengths that their cipher wants: only the key schedule makes them.
#[derive(Clone, Debug)]
pub struct DirectionKeys {
    cipher: Cipher,
    encryption: Secret,
    integrity: Secret,
}

/// The keys of one Child SA.
#[derive(Clone, Debug)]
pub struct ChildKeys {
    /// Protects what the initiator of the exchange sends.
    pub initiator: DirectionKeys,
    /// Protects what its responder sends.
    pub responder: DirectionKeys,
}

impl IkeKeys {
    /// Of the first IKE SA with a peer: `SKEYSEED = prf(Ni | Nr, g^ir)` (section 2.14).
    #[must_use]
    pub fn initial(suite: IkeSuite, input: &KeyInput<'_>) -> Self {
        let nonces = Secret::new([input.nonce_i, input.nonce_r].concat());
        let seed = suite.prf.compute(nonces.expose(), &[input.shared.expose()]);
        Self::expand(suite, &seed, input)
    }

    /// Of the IKE SA that replaces this one: `SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)` with the PRF of the old SA, everything
    /// after it with the PRF of the new one (section 2.18).
    #[must_use]
    pub fn rekeyed(&self, suite: IkeSuite, input: &KeyInput<'_>) -> Self {
        let seed = self.prf.compute(self.d.expose(), &[input.shared.expose(), input.nonce_i, input.nonce_r]);
        Self::expand(suite, &seed, input)
    }

    /// `{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)`.
    fn expand(suite: IkeSuite, seed: &Secret, input: &KeyInput<'_>) -> Self {
        let IkeSuite { cipher, prf, .. } = suite;
        let (encryption, integrity) = (encryption_octets(cipher), integrity_octets(cipher));
        let octets = 3 * prf.octets() + 2 * (encryption + integrity);
        let stream = prf.plus(seed.expose(), &[input.nonce_i, input.nonce_r, &input.spi_i, &input.spi_r], octets);
        let mut stream = Stream(stream.expose());
        let d = stream.take(prf.octets());
        let (ai, ar) = (stream.take(integrity), stream.take(integrity));
        let (ei, er) = (stream.take(encryption), stream.take(encryption));
        let (pi, pr) = (stream.take(prf.octets()), stream.take(prf.octets()));
        let initiator = DirectionKeys { cipher, encryption: ei, integrity: ai };
        let responder = DirectionKeys { cipher, encryption: er, integrity: ar };
        Self { prf, d, initiator, responder, pi, pr }
    }

    /// Keys of a Child SA made under this IKE SA (section 2.17): `KEYMAT = prf+(SK_d, [g^ir (new)] | Ni | Nr)`, with the nonces of the
    /// exchange that makes it, and `shared` where that exchange had a Diffie-Hellman of its own (perfect forward secrecy).
    #[must_use]
    pub fn child(&self, cipher: Cipher, shared: Option<&Secret>, nonce_i: &[u8], nonce_r: &[u8]) -> ChildKeys {
        let (encryption, integrity) = (encryption_octets(cipher), integrity_octets(cipher));
        let shared = shared.map_or(&[][..], Secret::expose);
        let stream = self.prf.plus(self.d.expose(), &[shared, nonce_i, nonce_r], 2 * (encryption + integrity));
        let mut stream = Stream(stream.expose());
        let mut direction = || DirectionKeys { cipher, encryption: stream.take(encryption), integrity: stream.take(integrity) };
        let initiator = direction();
        ChildKeys { initiator, responder: direction() }
    }

    /// What protects our messages, and what opens the peer's, when we are `role` of this IKE SA.
    #[must_use]
    pub fn protection(&self, role: Role) -> (Sealer, Opener) {
        let (ours, theirs) = match role {
            Role::Initiator => (&self.initiator, &self.responder),
            Role::Responder => (&self.responder, &self.initiator),
        };
        (Sealer::new(ours), Opener::new(theirs))
    }

    /// The PRF of this IKE SA.
    #[must_use]
    pub fn prf(&self) -> Prf {
        self.prf
    }

    /// `SK_pi` or `SK_pr`: what the AUTH payload of `role` covers its identity with (section 2.15).
    #[must_use]
    pub fn sk_p(&self, role: Role) -> &Secret {
        match role {
            Role::Initiator => &self.pi,
            Role::Responder => &self.pr,
        }
    }
}

impl ChildKeys {
    /// (what protects our packets, what opens the peer's), when we are `role` of the exchange that made this Child SA.
    #[must_use]
    pub fn directions(self, role: Role) -> (DirectionKeys, DirectionKeys) {
        match role {
            Role::Initiator => (self.initiator, self.responder),
            Role::Responder => (self.responder, self.initiator),
        }
    }
}

impl DirectionKeys {
    /// The cipher that these keys are for.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Key of AES, without the salt.
    #[must_use]
    pub fn encryption(&self) -> &[u8] {
        &self.encryption.expose()[..aes_octets(self.cipher)]
    }

    /// The salt of AES-GCM; `None` for the other ciphers.
    #[must_use]
    pub fn salt(&self) -> Option<[u8; SALT_OCTETS]> {
        self.encryption.expose()[aes_octets(self.cipher)..].try_into().ok()
    }

    /// Key of the integrity transform; empty where the cipher has none.
    #[must_use]
    pub fn integrity(&self) -> &[u8] {
        self.integrity.expose()
    }
}

/// Key material that is cut off from the front.
struct Stream<'a>(&'a [u8]);

impl Stream<'_> {
    fn take(&mut self, octets: usize) -> Secret {
        let (front, rest) = self.0.split_at(octets);
        self.0 = rest;
        Secret::new(front.to_vec())
    }
}

fn aes_octets(cipher: Cipher) -> usize {
    cipher.encryption().key_length().octets()
}

/// Octets of `SK_e`: AES-GCM takes its salt from the key material as well.
fn encryption_octets(cipher: Cipher) -> usize {
    match cipher {
        Cipher::Aead(_) => aes_octets(cipher) + SALT_OCTETS,
        Cipher::AesCbc { .. } => aes_octets(cipher),
    }
}

fn integrity_octets(cipher: Cipher) -> usize {
    cipher.integrity().map_or(0, crate::transforms::Integrity::key_octets)
}

#[cfg(test)]
impl DirectionKeys {
    /// Keys that no key schedule made, for vectors.
    pub(crate) fn of(cipher: Cipher, encryption: Vec<u8>, integrity: Vec<u8>) -> Self {
        assert_eq!((encryption.len(), integrity.len()), (encryption_octets(cipher), integrity_octets(cipher)));
        Self { cipher, encryption: Secret::new(encryption), integrity: Secret::new(integrity) }
    }
}
