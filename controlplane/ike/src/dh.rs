//! Diffie-Hellman as a task that somebody else runs: it is slow (milliseconds for MODP), so never inside the engine.
//!
//! MODP groups (RFC 3526) by crypto-bigint in constant time, elliptic curves (RFC 5903, RFC 8031) by aws-lc-rs. The peer's public
//! value is checked as RFC 6989 demands before anything is computed with it. Key pairs are used once: none is kept across exchanges,
//! so the reuse rules of RFC 6989 section 2.1 and RFC 7296 section 2.12 have nothing to forbid.

mod curve;
mod modp;
mod primes;
#[cfg(test)]
mod tests;

use crate::secret::Secret;
use crate::transforms::Group;

/// Private half of a key pair; its form depends on the group.
#[derive(Debug)]
pub struct DhPrivate(Secret);

impl DhPrivate {
    /// Of these bytes: a scalar or exponent, big-endian except for Curve25519, in the group's own length. A fake of
    /// [`DhTask::run`] may put anything in here.
    #[must_use]
    pub fn new(bytes: Secret) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for a fake that has to find its own key again.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// One job. [`DhTask::run`] does it; a test may put a fake in its place.
#[derive(Debug)]
pub enum DhTask {
    /// Initiator, first half: make a key pair.
    Generate {
        /// Group of the key pair.
        group: Group,
    },
    /// Initiator, second half: the shared secret with what the responder sent.
    Agree {
        /// Group of the key pair.
        group: Group,
        /// From [`DhOutcome::Generated`].
        private: DhPrivate,
        /// Contents of the responder's KE payload.
        peer_public: Vec<u8>,
    },
    /// Responder: make a key pair and the shared secret at once.
    Respond {
        /// Group that the initiator used.
        group: Group,
        /// Contents of the initiator's KE payload.
        peer_public: Vec<u8>,
    },
}

/// What came of a [`DhTask`].
#[derive(Debug)]
pub enum DhOutcome {
    /// Of [`DhTask::Generate`].
    Generated {
        /// To be handed to [`DhTask::Agree`].
        private: DhPrivate,
        /// Contents of our KE payload.
        public: Vec<u8>,
    },
    /// Of [`DhTask::Agree`].
    Agreed {
        /// `g^ir`, in the octets that RFC 7296 section 2.14 feeds into the PRF: MODP padded to the length of the modulus, ECP the
        /// x coordinate alone (RFC 5903 section 7).
        shared: Secret,
    },
    /// Of [`DhTask::Respond`].
    Responded {
        /// Contents of our KE payload.
        public: Vec<u8>,
        /// `g^ir`, as in [`DhOutcome::Agreed`].
        shared: Secret,
    },
    /// The peer's public value is not one of the group: wrong length, out of range, not on the curve, or of an order so small that
    /// the secret would be known to everybody (RFC 6989 section 2, RFC 7748 section 6.1).
    Refused,
    /// Nobody had time for it: too many jobs wait. It is nobody's fault, and nothing of it is answered: a peer sends its request again.
    /// [`DhTask::Agree`] should never come to this: the peer has made its half already, and it has to be undone there.
    Busy,
}

impl DhTask {
    /// Do it: pure but for the system's random numbers, and slow.
    ///
    /// # Panics
    /// When the system has no random numbers: no key made then would be a key.
    #[must_use]
    pub fn run(self) -> DhOutcome {
        match self {
            Self::Generate { group } => {
                let (private, public) = generate(group);
                DhOutcome::Generated { private, public }
            }
            Self::Agree { group, private, peer_public } => match agree(group, &private, &peer_public) {
                Some(shared) => DhOutcome::Agreed { shared },
                None => DhOutcome::Refused,
            },
            // The check of the length costs nothing and spares a forged message the cost of a key pair.
            Self::Respond { group, peer_public } if peer_public.len() == group.public_octets() => {
                let (private, public) = generate(group);
                match agree(group, &private, &peer_public) {
                    Some(shared) => DhOutcome::Responded { public, shared },
                    None => DhOutcome::Refused,
                }
            }
            Self::Respond { .. } => DhOutcome::Refused,
        }
    }
}

/// A private key and the contents of the KE payload that belongs to it.
fn generate(group: Group) -> (DhPrivate, Vec<u8>) {
    let (private, public) = match group {
        Group::Modp1536 => modp::GROUP_5.generate(),
        Group::Modp2048 => modp::GROUP_14.generate(),
        Group::Modp3072 => modp::GROUP_15.generate(),
        Group::Modp4096 => modp::GROUP_16.generate(),
        Group::Ecp256 => curve::P256.generate(),
        Group::Ecp384 => curve::P384.generate(),
        Group::Ecp521 => curve::P521.generate(),
        Group::Curve25519 => curve::X25519.generate(),
    };
    (DhPrivate::new(private), public)
}

/// The shared secret; `None` for a public value that is not one of the group.
fn agree(group: Group, private: &DhPrivate, peer_public: &[u8]) -> Option<Secret> {
    if peer_public.len() != group.public_octets() {
        return None;
    }
    let private = private.expose();
    match group {
        Group::Modp1536 => modp::GROUP_5.agree(private, peer_public),
        Group::Modp2048 => modp::GROUP_14.agree(private, peer_public),
        Group::Modp3072 => modp::GROUP_15.agree(private, peer_public),
        Group::Modp4096 => modp::GROUP_16.agree(private, peer_public),
        Group::Ecp256 => curve::P256.agree(private, peer_public),
        Group::Ecp384 => curve::P384.agree(private, peer_public),
        Group::Ecp521 => curve::P521.agree(private, peer_public),
        Group::Curve25519 => curve::X25519.agree(private, peer_public),
    }
}
