use crate::identity::Identity;

/// Why a certificate, an authority or a key cannot be used, with what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// No PEM block of the wanted kind, or a broken one.
    #[error("no {wanted} in PEM form was found; the file must have a block that begins with -----BEGIN {label}-----")]
    NotPem {
        /// What was looked for.
        wanted: &'static str,
        /// How its block begins.
        label: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("a certificate cannot be read as X.509 version 3; make it anew, for instance with OpenSSL")]
    NotUnderstood,
    /// The private key is of a kind that is not supported.
    #[error(
        "the private key is not supported; use ECDSA on P-256 or P-384, or RSA of 2,048 to 8,192 bits, unencrypted, as PKCS#8, SEC1 or PKCS#1"
    )]
    KeyNotSupported,
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate; give the key that the certificate was requested with")]
    KeyOfAnother,
    /// A certificate in the authorities' file is not an authority's.
    #[error("{subject} is not an authority; its certificate needs basicConstraints CA:TRUE, and keyCertSign if it has key usage")]
    NotAnAuthority {
        /// Subject of the certificate.
        subject: String,
    },
    /// More, or larger, than is looked at.
    #[error("too many certificates, or too large ones; at most 6 of 8,192 octets each are looked at: send no root certificate")]
    TooMuch,
    /// The peer sent none.
    #[error("the peer sent no certificate; let it send its own, and those between it and the authority")]
    NoneSent,
    /// No authority of this tenant signed it.
    #[error(
        "{subject} was not signed by an authority of this tenant; add its authority to authorities_file, or renew the certificate there"
    )]
    UnknownAuthority {
        /// Subject of the peer's certificate.
        subject: String,
    },
    /// Too late.
    #[error("a certificate in the chain of {subject} has expired; renew it")]
    Expired {
        /// Subject of the peer's certificate.
        subject: String,
    },
    /// Too early.
    #[error("a certificate in the chain of {subject} is not valid yet; compare the clocks of both sides")]
    NotYetValid {
        /// Subject of the peer's certificate.
        subject: String,
    },
    /// Something else about the chain.
    #[error("the chain of {subject} does not hold: {reason}")]
    BadChain {
        /// Subject of the peer's certificate.
        subject: String,
        /// In the words of the library that checks chains.
        reason: String,
    },
    /// Key usage or extended key usage forbid it.
    #[error(
        "{subject} may not be used for this; it needs digitalSignature if it has key usage, and ipsecIKE, serverAuth or clientAuth if it has extended key usage"
    )]
    WrongUse {
        /// Subject of the certificate.
        subject: String,
    },
    /// The certificate is somebody else's.
    #[error(
        "{subject} does not name the identity {identity}; issue it with that name as subjectAltName, or configure its subject as the identity"
    )]
    OtherIdentity {
        /// Subject of the peer's certificate.
        subject: String,
        /// What the peer says it is.
        identity: Identity,
    },
    /// A signature algorithm that is known, and not accepted.
    #[error(
        "it signs with {algorithm}, which is not accepted; use an ECDSA key on P-256 or P-384, or RSA-PSS with SHA-256 or better (strongSwan: auth = ike:rsa/pss-sha256)"
    )]
    SignatureRefused {
        /// Its name.
        algorithm: &'static str,
    },
    /// The signature is not one over this exchange with the certificate's key.
    #[error("its signature does not hold; compare its private key with its certificate")]
    BadSignature,
    /// The peer accepts no hash that our key can sign with.
    #[error("the peer accepts no signature that our key can make; it must allow RFC 7427 with SHA-256, SHA-384 or SHA-512")]
    NoCommonHash,
}
