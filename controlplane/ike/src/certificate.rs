//! Certificates: the relay's own, and the authorities that a tenant's peer is checked against (RFC 4945, RFC 7427).
//!
//! Paths are built and checked by webpki. What it leaves to its caller is here: whether an authority is one and is valid itself, key
//! usage, and whether the certificate names the identity that the peer claims.
//!
//! Gap: revocation (CRL, OCSP) is not looked at. A router that is lost is locked out by taking its tunnel out of the configuration.

mod algorithm;
mod authorities;
mod error;
mod own;
mod reading;
#[cfg(test)]
mod tests;

pub use algorithm::SignatureHashes;
pub use authorities::{Authorities, PeerCertificate};
pub use error::CertificateError;
pub use own::OwnCertificate;

/// Certificate encoding "X.509 Certificate - Signature" of CERT and CERTREQ payloads (RFC 7296 section 3.6).
pub const X509_SIGNATURE: u8 = 4;

/// Certificates of one peer that are looked at. A router sends its own and one or two above it.
pub const MOST_CERTIFICATES: usize = 6;

/// Octets of one certificate. With RSA keys of 4,096 bits they have 1,500 to 2,500.
pub const LARGEST_CERTIFICATE: usize = 8_192;
