//! The secrets of a configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataplane::router_config::SecretKey;
use ike::certificate::{Authorities, OwnCertificate};

use crate::config::{Authentication, CertificateFiles, EndpointKind, KeyFileError, KeyStore, RelayConfigModel, TunnelKind};

/// The secrets of a configuration, read once, so that a cut-off or a date never depends on files.
#[derive(Debug, Default)]
pub struct Keys {
    /// WireGuard's: private and preshared.
    pub(super) wireguard: HashMap<PathBuf, SecretKey>,
    /// IPsec's preshared ones.
    pub(super) psks: HashMap<PathBuf, ike::Psk>,
    /// The relay's own.
    pub(super) own: HashMap<CertificateFiles, Arc<OwnCertificate>>,
    pub(super) authorities: HashMap<PathBuf, Arc<Authorities>>,
}

impl Keys {
    /// Every key file that `model` names, read by `store` or known to it.
    ///
    /// # Errors
    /// Every file that is refused, and why.
    pub fn read(model: &RelayConfigModel, store: &mut KeyStore) -> Result<Self, Vec<(PathBuf, KeyFileError)>> {
        let (mut keys, mut refused) = (Self::default(), Vec::new());
        for path in wireguard_files(model) {
            match store.read(path) {
                Ok(key) => drop(keys.wireguard.insert(path.to_owned(), SecretKey(*key))),
                Err(error) => refused.push((path.to_owned(), error)),
            }
        }
        for path in psk_files(model) {
            match store.read_psk(path) {
                Ok(psk) => drop(keys.psks.insert(path.to_owned(), ike::Psk::new(psk.to_vec()))),
                Err(error) => refused.push((path.to_owned(), error)),
            }
        }
        for (own, authorities) in certificate_files(model) {
            match store.own_certificate(own) {
                Ok(certificate) => drop(keys.own.insert(own.clone(), certificate)),
                Err(error) => refused.push((own.certificate.clone(), error)),
            }
            match store.authorities(authorities) {
                Ok(read) => drop(keys.authorities.insert(authorities.to_owned(), read)),
                Err(error) => refused.push((authorities.to_owned(), error)),
            }
        }
        if refused.is_empty() { Ok(keys) } else { Err(refused) }
    }

    /// The files of certificates in use, and the Unix time at which what is in them begins to expire.
    pub fn certificates(&self) -> impl Iterator<Item = (&Path, u64)> {
        let own = self.own.iter().map(|(files, certificate)| (files.certificate.as_path(), certificate.expires_at()));
        own.chain(self.authorities.iter().map(|(file, authorities)| (file.as_path(), authorities.expires_at())))
    }

    /// # Panics
    /// For a path that the model these keys were read for does not name.
    pub(super) fn wireguard(&self, path: &Path) -> SecretKey {
        self.wireguard.get(path).cloned().expect("every key file of the model was read with it")
    }

    /// # Panics
    /// For a path that the model these keys were read for does not name.
    pub(super) fn psk(&self, path: &Path) -> ike::Psk {
        self.psks.get(path).cloned().expect("every key file of the model was read with it")
    }

    /// # Panics
    /// For files that the model these keys were read for does not name.
    pub(super) fn certificate(&self, own: &CertificateFiles, authorities: &Path) -> ike::Authentication {
        let own = self.own.get(own).expect("every certificate of the model was read with it");
        let authorities = self.authorities.get(authorities).expect("every certificate of the model was read with it");
        ike::Authentication::Certificate { own: Arc::clone(own), authorities: Arc::clone(authorities) }
    }
}

pub(super) fn wireguard_files(model: &RelayConfigModel) -> impl Iterator<Item = &Path> {
    let endpoints = model.endpoints.iter().filter_map(|endpoint| match &endpoint.kind {
        EndpointKind::WireGuard { private_key_file, .. } => Some(private_key_file.as_path()),
        EndpointKind::Ipsec(_) => None,
    });
    let tunnels = model.tenants.iter().flat_map(|tenant| &tenant.tunnels);
    let preshared = tunnels.filter_map(|tunnel| match &tunnel.kind {
        TunnelKind::WireGuard { preshared_key_file, .. } => preshared_key_file.as_deref(),
        TunnelKind::Ipsec(_) => None,
    });
    endpoints.chain(preshared)
}

pub(super) fn psk_files(model: &RelayConfigModel) -> impl Iterator<Item = &Path> {
    let tunnels = model.tenants.iter().flat_map(|tenant| &tenant.tunnels);
    tunnels
        .flat_map(|tunnel| match &tunnel.kind {
            TunnelKind::Ipsec(ipsec) => match &ipsec.authentication {
                Authentication::Psk { file, previous } => [Some(file.as_path()), previous.as_deref()],
                Authentication::Certificate { .. } => [None, None],
            },
            TunnelKind::WireGuard { .. } => [None, None],
        })
        .flatten()
}

/// What tunnels with certificates name.
fn certificate_files(model: &RelayConfigModel) -> impl Iterator<Item = (&CertificateFiles, &Path)> {
    let tunnels = model.tenants.iter().flat_map(|tenant| &tenant.tunnels);
    tunnels.filter_map(|tunnel| match &tunnel.kind {
        TunnelKind::Ipsec(ipsec) => match &ipsec.authentication {
            Authentication::Certificate { own, authorities_file } => Some((own, authorities_file.as_path())),
            Authentication::Psk { .. } => None,
        },
        TunnelKind::WireGuard { .. } => None,
    })
}
