//! What webpki keeps to itself: names, key usage, validity.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

use super::{CertificateError, LARGEST_CERTIFICATE};
use crate::identity::Identity;

/// All certificates of a PEM file, in its order; other blocks are skipped.
pub(super) fn from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let missing = CertificateError::NotPem { wanted: "certificate", label: "CERTIFICATE" };
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| missing.clone())?;
    if all.is_empty() { Err(missing) } else { Ok(all) }
}

/// One certificate, of at most [`LARGEST_CERTIFICATE`] octets.
pub(super) fn read(der: &[u8]) -> Result<Certificate, CertificateError> {
    if der.len() > LARGEST_CERTIFICATE {
        return Err(CertificateError::TooMuch);
    }
    Certificate::from_der(der).map_err(|_| CertificateError::NotUnderstood)
}

/// Its subject, as RFC 4514 writes it.
pub(super) fn subject(certificate: &Certificate) -> String {
    let subject = certificate.tbs_certificate().subject().to_string();
    // Only what can be printed: it came from outside and goes into tables.
    if subject.is_empty() { "a certificate without a subject".to_owned() } else { subject.escape_debug().to_string() }
}

/// First and last moment of its validity, as Unix time.
pub(super) fn validity(certificate: &Certificate) -> (Duration, Duration) {
    let validity = certificate.tbs_certificate().validity();
    (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration())
}

/// Whether key usage lets it sign an AUTH payload (RFC 4945 section 5.1.3.2). Without the extension everything is allowed.
pub(super) fn may_sign(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(usage) => usage.is_none_or(|(_, usage)| usage.digital_signature() || usage.non_repudiation()),
        Err(_) => false,
    }
}

/// Whether it may sign certificates (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let certificate = certificate.tbs_certificate();
    let basic = certificate.get_extension::<BasicConstraints>().ok().flatten().is_some_and(|(_, basic)| basic.ca);
    let usage = certificate.get_extension::<KeyUsage>();
    basic && usage.is_ok_and(|usage| usage.is_none_or(|(_, usage)| usage.key_cert_sign()))
}

/// Whether the certificate names `identity`: by its subject for a distinguished name, by a subjectAltName for everything else
/// (RFC 4945 section 3.1). No wildcards, and nothing is read out of the common name. A key-id has no place in a certificate.
pub(super) fn names(certificate: &Certificate, identity: &Identity) -> bool {
    if let Identity::DistinguishedName(der) = identity {
        return certificate.tbs_certificate().subject().to_der().is_ok_and(|subject| subject == *der);
    }
    let alternatives = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(alternatives)))) = alternatives else { return false };
    alternatives.iter().any(|alternative| match (alternative, identity) {
        (GeneralName::DnsName(name), Identity::Fqdn(fqdn)) => name.as_str().eq_ignore_ascii_case(fqdn),
        (GeneralName::Rfc822Name(name), Identity::Email(email)) => same_mailbox(name.as_str(), email),
        (GeneralName::IpAddress(address), Identity::Ipv4(ipv4)) => address.as_bytes() == ipv4.octets(),
        _ => false,
    })
}

/// RFC 5280 section 7.5: the part behind the @ without regard to case, the other exactly.
fn same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, domain)), Some((other_local, other_domain))) => local == other_local && domain.eq_ignore_ascii_case(other_domain),
        _ => false,
    }
}
