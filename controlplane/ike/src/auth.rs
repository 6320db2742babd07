//! How the two sides prove who they are: what an AUTH payload covers (RFC 7296 section 2.15), and its proof by a pre-shared key.
//! Proof by a certificate is in [`crate::certificate`].

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::identity::Identity;
use crate::secret::{Psk, Secret};
use crate::transforms::Prf;

/// Numbers of authentication methods (RFC 7296 section 3.8, RFC 4754, RFC 7427).
pub mod method {
    /// Shared Key Message Integrity Code.
    pub const SHARED_KEY: u8 = 2;
    /// ECDSA with SHA-256 on the P-256 curve (RFC 4754): a signature of 64 octets.
    pub const ECDSA_256: u8 = 9;
    /// ECDSA with SHA-384 on the P-384 curve (RFC 4754): a signature of 96 octets.
    pub const ECDSA_384: u8 = 10;
    /// Digital Signature (RFC 7427): names its algorithm.
    pub const DIGITAL_SIGNATURE: u8 = 14;
}

/// RFC 7296 section 2.15, without a null terminator.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// Contents of an AUTH payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// See [`method`].
    pub method: u8,
    /// Authentication data.
    pub data: Vec<u8>,
}

/// What the AUTH payload of one side covers, `InitiatorSignedOctets` or `ResponderSignedOctets`:
/// its first message, the other side's nonce, and its own identity under a key that only the two of them have. So whoever sat in the
/// middle of IKE_SA_INIT, or weakened the proposals in it, is found out.
#[derive(Clone, Debug)]
pub struct SignedOctets(Vec<u8>);

impl SignedOctets {
    /// `first_message` is the last IKE_SA_INIT message that this side sent, from the IKE header on, without a non-ESP marker: after a
    /// COOKIE or INVALID_KE_PAYLOAD it is the one that got an answer. `nonce` is the contents of the other side's Nonce payload, `sk_p`
    /// this side's [`crate::key_schedule::IkeKeys::sk_p`].
    #[must_use]
    pub fn new(prf: Prf, first_message: &[u8], nonce: &[u8], sk_p: &Secret, identity: &Identity) -> Self {
        Self::with_identity_body(prf, first_message, nonce, sk_p, &identity.body())
    }

    /// As [`SignedOctets::new`], with the body of the ID payload exactly as it came: its reserved octets are covered as well.
    #[must_use]
    pub fn with_identity_body(prf: Prf, first_message: &[u8], nonce: &[u8], sk_p: &Secret, identity_body: &[u8]) -> Self {
        let maced_id = prf.compute(sk_p.expose(), &[identity_body]);
        Self([first_message, nonce, maced_id.expose()].concat())
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// `AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), octets)`.
#[must_use]
pub fn prove_by_psk(prf: Prf, key: &Psk, octets: &SignedOctets) -> Proof {
    Proof { method: method::SHARED_KEY, data: shared_key_mac(prf, key, octets).expose().to_vec() }
}

/// Which of `keys` the peer has used, by its index; `None` when it has used none of them. Several keys may be valid at the same time,
/// so that one can be changed at one end before the other.
///
/// Every key is tried, whichever matches, in constant time: an answer's delay tells nothing.
#[must_use]
pub fn psk_used(prf: Prf, keys: &[Psk], octets: &SignedOctets, method: u8, data: &[u8]) -> Option<usize> {
    let matches = |key| verify_slices_are_equal(shared_key_mac(prf, key, octets).expose(), data).is_ok();
    let used = keys.iter().map(matches).enumerate().fold(None, |used, (index, matches)| used.or(matches.then_some(index)));
    used.filter(|_| method == method::SHARED_KEY)
}

fn shared_key_mac(prf: Prf, key: &Psk, octets: &SignedOctets) -> Secret {
    let padded = prf.compute(key.expose(), &[KEY_PAD]);
    prf.compute(padded.expose(), &[octets.expose()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_hex::hex;

    const FIRST_MESSAGE: &[u8] = b"the first message of one side";
    const NONCE: &[u8] = b"nonce of the other side";

    fn octets(prf: Prf) -> SignedOctets {
        let sk_p = Secret::new((0..).take(prf.octets()).collect());
        SignedOctets::new(prf, FIRST_MESSAGE, NONCE, &sk_p, &Identity::Fqdn("chiyoda".into()))
    }

    fn key(text: &str) -> Psk {
        Psk::new(text.as_bytes().to_vec())
    }

    /// Calculated with Python's hmac from the formula of RFC 7296 section 2.15 alone; the second key is longer than a block of SHA-256.
    #[test]
    fn proof_by_a_shared_key_agrees_with_an_independent_calculation() {
        let of = |prf, key: &str| hex(&prove_by_psk(prf, &self::key(key), &octets(prf)).data);
        assert_eq!(of(Prf::HmacSha256, "correct horse"), "e31e9a64507fadf395c0e0c18e2c410f75432a196f796bfd0cd8f8c87d65f797");
        assert_eq!(of(Prf::HmacSha256, &"x".repeat(200)), "f0c32d44299dd6c87af5ad28fb9f81f9641921f7596a33e5f99083f4709b0271");
        assert_eq!(
            of(Prf::HmacSha384, "correct horse"),
            "747701b598b8cd9fc9b9e63091c4377ff0182d964c235fe4239baf5784f3c33ebf2b609613ccdaf9375912494c2a4c41"
        );
    }

    #[test]
    fn while_a_key_is_being_changed_both_are_valid_and_the_one_used_is_known() {
        let prf = Prf::HmacSha256;
        let keys = [key("new"), key("old")];
        for (index, used) in keys.iter().enumerate() {
            let proof = prove_by_psk(prf, used, &octets(prf));
            assert_eq!(psk_used(prf, &keys, &octets(prf), proof.method, &proof.data), Some(index));
        }
        let stranger = prove_by_psk(prf, &key("older"), &octets(prf));
        assert_eq!(psk_used(prf, &keys, &octets(prf), stranger.method, &stranger.data), None);
        assert_eq!(psk_used(prf, &[], &octets(prf), stranger.method, &stranger.data), None);
    }

    #[test]
    fn a_proof_is_of_one_message_one_nonce_one_identity_and_one_sa_only() {
        let prf = Prf::HmacSha256;
        let sk_p = Secret::new(vec![1; 32]);
        let chiyoda = Identity::Fqdn("chiyoda".into());
        let good = SignedOctets::new(prf, FIRST_MESSAGE, NONCE, &sk_p, &chiyoda);
        let proof = prove_by_psk(prf, &key("k"), &good);
        let verify = |octets: &SignedOctets| psk_used(prf, &[key("k")], octets, proof.method, &proof.data);
        assert_eq!(verify(&good), Some(0));
        for other in [
            SignedOctets::new(prf, b"a weaker proposal", NONCE, &sk_p, &chiyoda),
            SignedOctets::new(prf, FIRST_MESSAGE, b"another nonce", &sk_p, &chiyoda),
            SignedOctets::new(prf, FIRST_MESSAGE, NONCE, &Secret::new(vec![2; 32]), &chiyoda),
            SignedOctets::new(prf, FIRST_MESSAGE, NONCE, &sk_p, &Identity::Fqdn("minato".into())),
            SignedOctets::new(prf, FIRST_MESSAGE, NONCE, &sk_p, &Identity::KeyId(b"chiyoda".to_vec())),
            SignedOctets::with_identity_body(prf, FIRST_MESSAGE, NONCE, &sk_p, b"\x02\x00\x00\x01chiyoda"),
        ] {
            assert_eq!(verify(&other), None);
        }
    }

    #[test]
    fn a_proof_cut_short_or_under_another_method_proves_nothing() {
        let prf = Prf::HmacSha384;
        let keys = [key("k")];
        let proof = prove_by_psk(prf, &keys[0], &octets(prf));
        for data in [&[][..], &proof.data[..47], &[&proof.data[..], &[0]].concat()] {
            assert_eq!(psk_used(prf, &keys, &octets(prf), proof.method, data), None);
        }
        assert_eq!(psk_used(prf, &keys, &octets(prf), method::DIGITAL_SIGNATURE, &proof.data), None);
        assert_eq!(psk_used(prf, &keys, &octets(prf), proof.method, &proof.data), Some(0));
    }
}
