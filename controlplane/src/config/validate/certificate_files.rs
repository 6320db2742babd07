//! Files of certificates: the relay's own, and those of authorities. What time does to them is a warning, not an error: one expired
//! certificate must not keep the changes of all other tenants out.

use std::collections::HashSet;
use std::path::PathBuf;

use time::{Duration, OffsetDateTime};

use super::super::fields::{Field, Spanned};
use super::super::ipsec_fields::IpsecEndpointEntry;
use super::super::keys::KeyFileError;
use super::super::model::CertificateFiles;
use super::super::problem::{At, Problems};
use super::super::{KeyStore, Purpose, RelaySide};
use super::Tenants;

/// Time to ask an authority for another certificate.
const RENEWAL: Duration = Duration::days(30);

pub(super) fn check(side: &RelaySide, tenants: &Tenants<'_>, purpose: Purpose, keys: &mut KeyStore, problems: &mut Problems) {
    let mut checks = Checks { side, purpose, keys, seen: HashSet::new() };
    for endpoint in side.file.endpoints.entries().iter().filter_map(|entry| entry.value.ipsec.value()) {
        checks.own(endpoint, problems);
        if let Some(file) = endpoint.authorities_file.given() {
            checks.authorities(&Spanned { value: side.resolve_path(&file.value), at: file.at.clone() }, problems);
        }
    }
    for tunnel in tenants.facts.iter().flat_map(|tenant| &tenant.ipsec) {
        if let Some(file) = &tunnel.authorities_file {
            checks.authorities(file, problems);
        }
    }
}

struct Checks<'a> {
    side: &'a RelaySide,
    purpose: Purpose,
    keys: &'a mut KeyStore,
    seen: HashSet<PathBuf>,
}

impl Checks<'_> {
    fn own(&mut self, endpoint: &IpsecEndpointEntry, problems: &mut Problems) {
        let (Some(certificate), Some(private_key)) = (endpoint.certificate_file.given(), endpoint.private_key_file.given()) else { return };
        let files = CertificateFiles {
            certificate: self.side.resolve_path(&certificate.value),
            private_key: self.side.resolve_path(&private_key.value),
        };
        match self.keys.own_certificate(&files) {
            Ok(own) => {
                self.check_expiry(&certificate.at, &files.certificate, own.expires_at(), problems);
                if let Field::Given(identity) = &endpoint.local_id
                    && !own.names(&crate::compile::ike_identity(&identity.value))
                {
                    problems
                        .warning(
                            &identity.at,
                            format!("the certificate of {} does not name `{}`: routers refuse it", own.subject(), identity.value),
                        )
                        .help("issue it with that name as subjectAltName, or write its subject here");
                }
            }
            Err(error) => {
                let of_key = matches!(error, KeyFileError::Mode(_) | KeyFileError::Owner { .. }) || !files.private_key.exists();
                let (at, file) = if of_key { (&private_key.at, &files.private_key) } else { (&certificate.at, &files.certificate) };
                self.report(&error, at, file, problems);
            }
        }
    }

    fn authorities(&mut self, file: &Spanned<PathBuf>, problems: &mut Problems) {
        if !self.seen.insert(file.value.clone()) {
            return;
        }
        match self.keys.authorities(&file.value) {
            Ok(authorities) => self.check_expiry(&file.at, &file.value, authorities.expires_at(), problems),
            Err(error) => self.report(&error, &file.at, &file.value, problems),
        }
    }

    fn check_expiry(&self, at: &At, file: &std::path::Path, expires_at: u64, problems: &mut Problems) {
        let now = self.keys.now();
        let Some(expires) = i64::try_from(expires_at).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()) else { return };
        let day = expires.to_offset(crate::clock::JAPAN).date();
        if expires <= now {
            problems.warning(at, format!("{}: has expired on {day}", file.display())).help("ask its authority for another one");
        } else if expires - now < RENEWAL {
            problems.warning(at, format!("{}: expires on {day}", file.display())).help("ask its authority for another one in time");
        }
    }

    fn report(&self, error: &KeyFileError, at: &At, file: &std::path::Path, problems: &mut Problems) {
        let message = match error {
            KeyFileError::Missing => format!("{}: the file does not exist", file.display()),
            error => format!("{}: {error}", file.display()),
        };
        let help = match error {
            KeyFileError::Missing => "put it there, in PEM form; paths are relative to the relay file".to_owned(),
            KeyFileError::Mode(_) => format!("chmod 600 {}", super::super::keys::shell_word(file)),
            KeyFileError::Owner { expected, .. } => format!("chown {expected} {}", super::super::keys::shell_word(file)),
            _ => "`openssl x509 -in FILE -text` and `openssl pkey -in FILE -text` show what is in it".to_owned(),
        };
        match (error, self.purpose) {
            (KeyFileError::Missing, Purpose::Check) => problems.warning(at, message).help(help),
            _ => problems.error(at, message).help(help),
        }
    }
}
