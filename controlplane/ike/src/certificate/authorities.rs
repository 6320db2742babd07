use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, RequiredEkuNotFoundContext};
use x509_cert::Certificate;
use x509_cert::der::Encode;

use super::{CertificateError, MOST_CERTIFICATES, algorithm, reading};
use crate::auth::SignedOctets;
use crate::identity::Identity;

/// The authorities whose certificates a peer may show.
#[derive(Clone)]
pub struct Authorities(Vec<Authority>);

#[derive(Clone)]
struct Authority {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    not_before: Duration,
    not_after: Duration,
    /// RFC 7296 section 3.7: SHA-1 of its SubjectPublicKeyInfo. It only helps the peer to choose; nothing is decided by it.
    key_hash: Vec<u8>,
}

/// A peer's certificate whose chain has been checked: the key in it is that of the identity that was asked for.
#[derive(Clone)]
pub struct PeerCertificate {
    der: CertificateDer<'static>,
    not_after: Duration,
}

impl Authorities {
    /// Of all certificates in a PEM file.
    ///
    /// # Errors
    /// No certificate in it, or one that is not an authority's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        reading::from_pem(pem)?.into_iter().map(Authority::new).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all of `others` are among these: whoever was vouched for by one of them still is.
    #[must_use]
    pub fn include(&self, others: &Self) -> bool {
        others.0.iter().all(|other| self.0.iter().any(|authority| authority.der == other.der))
    }

    /// When the first of them expires, as Unix time in seconds.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.0.iter().map(|authority| authority.not_after.as_secs()).min().unwrap_or(0)
    }

    /// Certification Authority field of a CERTREQ payload with encoding [`super::X509_SIGNATURE`].
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        self.0.iter().flat_map(|authority| &authority.key_hash).copied().collect()
    }

    /// Check the certificates that a peer sent, its own first, at `now` (Unix time): signatures up to one of these authorities,
    /// validity, basic constraints, name constraints, key usage and extended key usage of each, and that the first one names `identity`.
    ///
    /// # Errors
    /// The first thing that does not hold, in words.
    pub fn check(&self, sent: &[&[u8]], identity: &Identity, now: Duration) -> Result<PeerCertificate, CertificateError> {
        let Some((own, above)) = sent.split_first() else { return Err(CertificateError::NoneSent) };
        if sent.len() > MOST_CERTIFICATES {
            return Err(CertificateError::TooMuch);
        }
        let certificate = reading::read(own)?;
        let subject = reading::subject(&certificate);
        let above = above.iter().map(|der| reading::read(der).map(|read| (read, *der))).collect::<Result<Vec<_>, _>>()?;
        // webpki does not look at key usage, so an intermediate without keyCertSign is not even offered to it.
        let above: Vec<CertificateDer<'_>> =
            above.into_iter().filter(|(read, _)| reading::is_authority(read)).map(|(_, der)| CertificateDer::from(der)).collect();
        let der = CertificateDer::from(*own);
        self.check_path(&der, &above, now).map_err(|error| path_error(&error, subject.clone()))?;
        if !reading::may_sign(&certificate) {
            return Err(CertificateError::WrongUse { subject });
        }
        if !reading::names(&certificate, identity) {
            return Err(CertificateError::OtherIdentity { subject, identity: identity.clone() });
        }
        Ok(PeerCertificate { der: der.into_owned(), not_after: reading::validity(&certificate).1 })
    }

    fn check_path(&self, der: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: Duration) -> Result<(), webpki::Error> {
        let valid = |authority: &&Authority| (authority.not_before..=authority.not_after).contains(&now);
        let anchors: Vec<TrustAnchor<'_>> = self.0.iter().filter(valid).map(|authority| authority.anchor.clone()).collect();
        let time = UnixTime::since_unix_epoch(now);
        if anchors.is_empty() {
            let not_after = self.0.iter().map(|authority| authority.not_after).max().unwrap_or_default();
            let not_before = self.0.iter().map(|authority| authority.not_before).min().unwrap_or_default();
            return Err(if now < not_before {
                webpki::Error::CertNotValidYet { time, not_before: UnixTime::since_unix_epoch(not_before) }
            } else {
                webpki::Error::CertExpired { time, not_after: UnixTime::since_unix_epoch(not_after) }
            });
        }
        let certificate = EndEntityCert::try_from(der)?;
        certificate.verify_for_usage(&algorithm::in_certificates(), &anchors, above, time, IkeUse, None, None).map(|_| ())
    }
}

impl Authority {
    fn new(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let certificate = reading::read(&der)?;
        if !reading::is_authority(&certificate) {
            return Err(CertificateError::NotAnAuthority { subject: reading::subject(&certificate) });
        }
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| CertificateError::NotUnderstood)?.to_owned();
        let (not_before, not_after) = reading::validity(&certificate);
        let key_hash = key_hash(&certificate)?;
        Ok(Self { anchor, not_before, not_after, key_hash, der })
    }
}

fn key_hash(certificate: &Certificate) -> Result<Vec<u8>, CertificateError> {
    let key = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|_| CertificateError::NotUnderstood)?;
    Ok(digest(&SHA1_FOR_LEGACY_USE_ONLY, &key).as_ref().to_vec())
}

fn path_error(error: &webpki::Error, subject: String) -> CertificateError {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired { subject },
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotYetValid { subject },
        webpki::Error::UnknownIssuer => CertificateError::UnknownAuthority { subject },
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::WrongUse { subject },
        other => CertificateError::BadChain { subject, reason: other.to_string() },
    }
}

impl PeerCertificate {
    /// Check that an AUTH payload of `method` with `data` is this certificate's signature over `octets`.
    ///
    /// # Errors
    /// [`CertificateError::SignatureRefused`] or [`CertificateError::BadSignature`].
    pub fn check_signature(&self, octets: &SignedOctets, method: u8, data: &[u8]) -> Result<(), CertificateError> {
        if algorithm::proves(&self.der, octets.expose(), method, data) {
            return Ok(());
        }
        Err(match algorithm::refused(method, data) {
            Some(algorithm) => CertificateError::SignatureRefused { algorithm },
            None => CertificateError::BadSignature,
        })
    }

    /// When it expires, as Unix time in seconds.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.not_after.as_secs()
    }
}

/// RFC 4945 section 5.1.3.12, and what is found in the field: no extended key usage at all, any, IKE's own, or a server's or client's.
struct IkeUse;

impl IkeUse {
    /// id-kp-ipsecIKE, 1.3.6.1.5.5.7.3.17.
    const IPSEC_IKE: &'static [u8] = &[43, 6, 1, 5, 5, 7, 3, 17];
    /// IKE's own; id-kp-serverAuth, id-kp-clientAuth; anyExtendedKeyUsage, 2.5.29.37.0.
    const ACCEPTED: [KeyPurposeId<'static>; 4] = [
        KeyPurposeId::new(Self::IPSEC_IKE),
        KeyPurposeId::new(&[43, 6, 1, 5, 5, 7, 3, 1]),
        KeyPurposeId::new(&[43, 6, 1, 5, 5, 7, 3, 2]),
        KeyPurposeId::new(&[85, 29, 37, 0]),
    ];
}

impl ExtendedKeyUsageValidator for IkeUse {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if Self::ACCEPTED.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = webpki::KeyUsage::required_if_present(Self::IPSEC_IKE);
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|authority| &authority.der).eq(other.0.iter().map(|authority| &authority.der))
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificate(until {})", self.expires_at())
    }
}
