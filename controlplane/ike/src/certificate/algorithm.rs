//! Signature algorithms: in certificates, and in AUTH payloads (RFC 7427, RFC 4754).

use std::fmt;

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
};
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use webpki::EndEntityCert;

use crate::auth::method;

/// One signature algorithm with one kind of key.
pub(super) struct Algorithm {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verifier: &'static dyn signature::VerificationAlgorithm,
}

const fn algorithm(
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verifier: &'static dyn signature::VerificationAlgorithm,
) -> Algorithm {
    Algorithm { key, signature, verifier }
}

/// In AUTH payloads: ECDSA and RSA-PSS.
static IN_AUTH: [Algorithm; 7] = [
    algorithm(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, &ECDSA_P256_SHA256_ASN1),
    algorithm(alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, &ECDSA_P256_SHA384_ASN1),
    algorithm(alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, &ECDSA_P384_SHA256_ASN1),
    algorithm(alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, &ECDSA_P384_SHA384_ASN1),
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
];

/// In certificates besides: what authorities sign with until today. Never with SHA-1.
static IN_CERTIFICATES_ONLY: [Algorithm; 3] = [
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
    algorithm(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
];

/// RFC 4754: both numbers one behind the other, without DER.
static ECDSA_256_FIXED: Algorithm = algorithm(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, &ECDSA_P256_SHA256_FIXED);
static ECDSA_384_FIXED: Algorithm = algorithm(alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, &ECDSA_P384_SHA384_FIXED);

/// What certificates may be signed with.
pub(super) fn in_certificates() -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    IN_AUTH.iter().chain(&IN_CERTIFICATES_ONLY).map(|algorithm| algorithm as _).collect()
}

/// Whether an AUTH payload of `method` with `data` is a signature over `octets` with the key of `certificate`.
pub(super) fn proves(certificate: &CertificateDer<'_>, octets: &[u8], method: u8, data: &[u8]) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let verifies = |algorithm: &Algorithm, signature: &[u8]| certificate.verify_signature(algorithm, octets, signature).is_ok();
    match method {
        method::ECDSA_256 => verifies(&ECDSA_256_FIXED, data),
        method::ECDSA_384 => verifies(&ECDSA_384_FIXED, data),
        method::DIGITAL_SIGNATURE => {
            // RFC 7427 section 3: one octet of length, the AlgorithmIdentifier, the signature. The identifier is compared octet by
            // octet: nothing that a peer could write in another way is ever interpreted.
            let Some((&length, rest)) = data.split_first() else { return false };
            let Some((named, signature)) = rest.split_at_checked(length.into()) else { return false };
            IN_AUTH.iter().any(|algorithm| identifier(&algorithm.signature) == named && verifies(algorithm, signature))
        }
        _ => false,
    }
}

/// Name of the algorithm that an AUTH payload is signed with, where it is one that people use and that is not accepted.
pub(super) fn refused(method: u8, data: &[u8]) -> Option<&'static str> {
    /// RSA Digital Signature, in RFC 7296 with SHA-1.
    const RSA_SHA1: u8 = 1;
    /// ECDSA on P-521 (RFC 4754).
    const ECDSA_521: u8 = 11;
    /// What AlgorithmIdentifiers begin with: PKCS#1 v1.5 with each hash (RFC 7427 appendix A.1), ECDSA with SHA-1 (A.3), Ed25519 (RFC 8420).
    const NAMED: [(&[u8], &str); 5] = [
        (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA PKCS#1 v1.5 and SHA-1"),
        (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01", "RSA PKCS#1 v1.5"),
        (b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01", "RSA PKCS#1 v1.5"),
        (b"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA and SHA-1"),
        (b"\x30\x05\x06\x03\x2b\x65\x70", "Ed25519"),
    ];
    match method {
        RSA_SHA1 => Some("RSA PKCS#1 v1.5 and SHA-1"),
        ECDSA_521 => Some("ECDSA on P-521"),
        method::DIGITAL_SIGNATURE => {
            NAMED.iter().find(|(begin, _)| data.get(1..).is_some_and(|data| data.starts_with(begin))).map(|named| named.1)
        }
        _ => None,
    }
}

/// The DER encoding of an AlgorithmIdentifier: pki-types keeps them without the SEQUENCE around them.
fn identifier(algorithm: &AlgorithmIdentifier) -> Vec<u8> {
    /// SEQUENCE, constructed.
    const SEQUENCE: u8 = 0x30;
    let content = algorithm.as_ref();
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).expect("these identifiers have at most 67 octets");
    [&[SEQUENCE, length][..], content].concat()
}

/// Authentication data of a Digital Signature (RFC 7427 section 3).
pub(super) fn digital_signature(algorithm: &AlgorithmIdentifier, signature: &[u8]) -> Vec<u8> {
    let named = identifier(algorithm);
    let length = u8::try_from(named.len()).expect("an identifier is short");
    [&[length][..], &named, signature].concat()
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.verifier, public_key).verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.verifier)
    }
}

/// Hash functions that one side accepts in signatures: contents of the SIGNATURE_HASH_ALGORITHMS notification (RFC 7427 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SignatureHashes {
    /// SHA2-256 (2).
    pub sha256: bool,
    /// SHA2-384 (3).
    pub sha384: bool,
    /// SHA2-512 (4).
    pub sha512: bool,
}

impl SignatureHashes {
    /// What we accept.
    pub const OURS: Self = Self { sha256: true, sha384: true, sha512: true };

    /// From the notification's data; hashes that are not known here, SHA-1 among them, are left out.
    #[must_use]
    pub fn from_wire(data: &[u8]) -> Self {
        let has = |number: u16| data.chunks_exact(2).any(|pair| pair == number.to_be_bytes());
        Self { sha256: has(2), sha384: has(3), sha512: has(4) }
    }

    /// The notification's data.
    #[must_use]
    pub fn to_wire(self) -> Vec<u8> {
        let numbers = [(2_u16, self.sha256), (3, self.sha384), (4, self.sha512)];
        numbers.into_iter().filter(|(_, has)| *has).flat_map(|(number, _)| number.to_be_bytes()).collect()
    }
}
