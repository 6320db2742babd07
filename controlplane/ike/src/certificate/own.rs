use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, alg_id};
use x509_cert::Certificate;
use zeroize::Zeroize;

use super::algorithm::{SignatureHashes, digital_signature};
use super::{CertificateError, MOST_CERTIFICATES, reading};
use crate::auth::{Proof, SignedOctets, method};
use crate::identity::Identity;

/// The relay's own certificate chain with its private key.
pub struct OwnCertificate {
    chain: Vec<CertificateDer<'static>>,
    certificate: Certificate,
    key: Key,
}

/// A private key. aws-lc wipes it when it is dropped.
enum Key {
    Ecdsa256 {
        /// For RFC 7427: the signature in DER.
        der: EcdsaKeyPair,
        /// For RFC 4754: both numbers one behind the other.
        fixed: EcdsaKeyPair,
    },
    Ecdsa384 {
        der: EcdsaKeyPair,
        fixed: EcdsaKeyPair,
    },
    Rsa(RsaKeyPair),
}

impl OwnCertificate {
    /// Of two PEM files: the relay's certificate with those between it and the authority behind it, and its private key (PKCS#8, SEC1
    /// or PKCS#1, unencrypted).
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn from_pem(certificates: &[u8], private_key: &[u8]) -> Result<Self, CertificateError> {
        let chain = reading::from_pem(certificates)?;
        if chain.len() > MOST_CERTIFICATES {
            return Err(CertificateError::TooMuch);
        }
        let certificate = reading::read(&chain[0])?;
        if !reading::may_sign(&certificate) {
            return Err(CertificateError::WrongUse { subject: reading::subject(&certificate) });
        }
        let missing = CertificateError::NotPem { wanted: "private key", label: "PRIVATE KEY" };
        let mut der = PrivateKeyDer::from_pem_slice(private_key).map_err(|_| missing)?;
        let key = Key::new(&der);
        der.zeroize();
        let key = key?;
        let public = certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        if key.public() != public {
            return Err(CertificateError::KeyOfAnother);
        }
        Ok(Self { chain, certificate, key })
    }

    /// Contents of the CERT payloads with encoding [`super::X509_SIGNATURE`], our own first (RFC 7296 section 3.6).
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(|certificate| &**certificate)
    }

    /// When it expires, as Unix time in seconds.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        reading::validity(&self.certificate).1.as_secs()
    }

    /// Its subject, as RFC 4514 writes it.
    #[must_use]
    pub fn subject(&self) -> String {
        reading::subject(&self.certificate)
    }

    /// Whether it names `identity`. A peer would refuse a certificate that does not name who we say we are.
    #[must_use]
    pub fn names(&self, identity: &Identity) -> bool {
        reading::names(&self.certificate, identity)
    }

    /// An AUTH payload over `octets`. `accepted` is what the peer's SIGNATURE_HASH_ALGORITHMS said; `None` where it sent none and so does
    /// not know RFC 7427: then ECDSA is signed as RFC 4754 has it, and RSA cannot be (RFC 7296 would have it with SHA-1).
    ///
    /// # Errors
    /// The peer accepts no hash that the key can sign with.
    pub fn prove(&self, octets: &SignedOctets, accepted: Option<SignatureHashes>) -> Result<Proof, CertificateError> {
        let message = octets.expose();
        match (&self.key, accepted) {
            (Key::Ecdsa256 { der, .. }, Some(SignatureHashes { sha256: true, .. })) => named(&alg_id::ECDSA_SHA256, &ecdsa(der, message)),
            (Key::Ecdsa384 { der, .. }, Some(SignatureHashes { sha384: true, .. })) => named(&alg_id::ECDSA_SHA384, &ecdsa(der, message)),
            (Key::Ecdsa256 { fixed, .. }, None) => Ok(Proof { method: method::ECDSA_256, data: ecdsa(fixed, message) }),
            (Key::Ecdsa384 { fixed, .. }, None) => Ok(Proof { method: method::ECDSA_384, data: ecdsa(fixed, message) }),
            (Key::Rsa(key), Some(accepted)) => {
                let (encoding, algorithm) = match accepted {
                    SignatureHashes { sha256: true, .. } => (&RSA_PSS_SHA256, alg_id::RSA_PSS_SHA256),
                    SignatureHashes { sha384: true, .. } => (&RSA_PSS_SHA384, alg_id::RSA_PSS_SHA384),
                    SignatureHashes { sha512: true, .. } => (&RSA_PSS_SHA512, alg_id::RSA_PSS_SHA512),
                    SignatureHashes { .. } => return Err(CertificateError::NoCommonHash),
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("the modulus has room for the padding");
                named(&algorithm, &signature)
            }
            _ => Err(CertificateError::NoCommonHash),
        }
    }
}

fn ecdsa(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).expect("the system has random numbers").as_ref().to_vec()
}

fn named(algorithm: &AlgorithmIdentifier, signature: &[u8]) -> Result<Proof, CertificateError> {
    Ok(Proof { method: method::DIGITAL_SIGNATURE, data: digital_signature(algorithm, signature) })
}

impl Key {
    fn new(key: &PrivateKeyDer<'_>) -> Result<Self, CertificateError> {
        let der = key.secret_der();
        let ecdsa = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, der);
        if let Ok(key) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            let fixed = ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| CertificateError::KeyNotSupported)?;
            return Ok(Self::Ecdsa256 { der: key, fixed });
        }
        if let Ok(key) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            let fixed = ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| CertificateError::KeyNotSupported)?;
            return Ok(Self::Ecdsa384 { der: key, fixed });
        }
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map_err(|_| CertificateError::KeyNotSupported)?;
        Ok(Self::Rsa(rsa))
    }

    /// The public key, as a certificate's subjectPublicKey carries it.
    fn public(&self) -> &[u8] {
        match self {
            Self::Ecdsa256 { der, .. } | Self::Ecdsa384 { der, .. } => der.public_key().as_ref(),
            Self::Rsa(key) => key.public_key().as_ref(),
        }
    }
}

/// The private key is determined by the certificate.
impl PartialEq for OwnCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for OwnCertificate {}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate({}, until {})", self.subject(), self.expires_at())
    }
}
