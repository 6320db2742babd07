//! Key files, each read once until it changes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use ike::certificate::{Authorities, CertificateError, OwnCertificate};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::keys::{KeyFileError, read_certificates, read_key, read_private_key};
use super::model::CertificateFiles;
use super::preshared::read_psk;
use super::stamp::{Stamp, WallClock};
use crate::clock;

/// The keys that were read, erased when dropped or forgotten.
pub struct KeyStore {
    keys: Files<Zeroizing<[u8; 32]>>,
    psks: Files<Zeroizing<Vec<u8>>>,
    /// PEM of private keys.
    private_keys: Files<Zeroizing<Vec<u8>>>,
    /// PEM of certificates.
    certificates: Files<Vec<u8>>,
    own: HashMap<CertificateFiles, Read<OwnCertificate>>,
    authorities: HashMap<PathBuf, Read<Authorities>>,
    round: u64,
    clock: WallClock,
}

/// What files of this content give; the same content gives the same `Arc`.
struct Read<T> {
    content: ContentHash,
    value: Arc<T>,
    round: u64,
}

type ContentHash = [u8; 32];

impl Default for KeyStore {
    fn default() -> Self {
        Self::with_clock(clock::now)
    }
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyStore({} keys)", self.keys.0.len() + self.psks.0.len())
    }
}

impl KeyStore {
    pub(super) fn with_clock(clock: WallClock) -> Self {
        Self {
            keys: Files::default(),
            psks: Files::default(),
            private_keys: Files::default(),
            certificates: Files::default(),
            own: HashMap::new(),
            authorities: HashMap::new(),
            round: 0,
            clock,
        }
    }

    /// Another load begins: every file is looked at anew.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// The load is over: forget what nobody asked for.
    pub(super) fn end(&mut self) {
        self.keys.forget(self.round);
        self.psks.forget(self.round);
        self.private_keys.forget(self.round);
        self.certificates.forget(self.round);
        self.own.retain(|_, read| read.round == self.round);
        self.authorities.retain(|_, read| read.round == self.round);
    }

    /// The files that were read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.keys.0.keys().chain(self.psks.0.keys()).chain(self.private_keys.0.keys()).chain(self.certificates.0.keys());
        files.map(PathBuf::as_path)
    }

    /// What the wall clock shows.
    pub(super) fn now(&self) -> OffsetDateTime {
        (self.clock)()
    }

    /// The key in the file at `path`, as [`read_key`] reads it.
    ///
    /// # Errors
    /// As [`read_key`].
    pub fn read(&mut self, path: &Path) -> Result<&[u8; 32], KeyFileError> {
        self.keys.read(path, self.round, self.clock, read_key).map(|key| &**key)
    }

    /// The preshared key of IPsec in the file at `path`, as [`read_psk`] reads it.
    ///
    /// # Errors
    /// As [`read_psk`].
    pub fn read_psk(&mut self, path: &Path) -> Result<&[u8], KeyFileError> {
        self.psks.read(path, self.round, self.clock, read_psk).map(|psk| psk.as_slice())
    }

    /// The relay's certificate with its private key. Nobody but the owner may read the key; the certificate is public.
    ///
    /// # Errors
    /// What is wrong with one of the files, or with both together.
    pub fn own_certificate(&mut self, files: &CertificateFiles) -> Result<Arc<OwnCertificate>, KeyFileError> {
        let (round, clock) = (self.round, self.clock);
        let private_key = self.private_keys.read(&files.private_key, round, clock, read_private_key)?;
        let certificate = self.certificates.read(&files.certificate, round, clock, read_certificates)?;
        let content = hash(&[certificate, private_key]);
        remembered(&mut self.own, files, content, round, || OwnCertificate::from_pem(certificate, private_key))
    }

    /// The authorities in a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn authorities(&mut self, path: &Path) -> Result<Arc<Authorities>, KeyFileError> {
        let (round, clock) = (self.round, self.clock);
        let pem = self.certificates.read(path, round, clock, read_certificates)?;
        remembered(&mut self.authorities, path, hash(&[pem]), round, || Authorities::from_pem(pem))
    }
}

fn hash(parts: &[&[u8]]) -> ContentHash {
    let mut hash = Blake2b::<U32>::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn remembered<K, Q, T>(
    known: &mut HashMap<K, Read<T>>,
    key: &Q,
    content: ContentHash,
    round: u64,
    make: impl FnOnce() -> Result<T, CertificateError>,
) -> Result<Arc<T>, KeyFileError>
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    if let Some(read) = known.get_mut(key).filter(|read| read.content == content) {
        read.round = round;
        return Ok(Arc::clone(&read.value));
    }
    let value = Arc::new(make()?);
    known.insert(key.to_owned(), Read { content, value: Arc::clone(&value), round });
    Ok(value)
}

/// What stood in files when they were read last.
struct Files<T>(HashMap<PathBuf, Known<T>>);

struct Known<T> {
    stamp: Stamp,
    content: T,
    /// The load that looked at the file last: the others of the same load take its word.
    round: u64,
}

impl<T> Default for Files<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Files<T> {
    fn forget(&mut self, round: u64) {
        self.0.retain(|_, known| known.round == round);
    }

    fn read(&mut self, path: &Path, round: u64, clock: WallClock, read: fn(&Path) -> Result<T, KeyFileError>) -> Result<&T, KeyFileError> {
        if self.0.get(path).is_none_or(|known| known.round != round) {
            self.look(path, round, clock, read)?;
        }
        Ok(&self.0[path].content)
    }

    fn look(&mut self, path: &Path, round: u64, clock: WallClock, read: fn(&Path) -> Result<T, KeyFileError>) -> Result<(), KeyFileError> {
        // The link itself, not what it points at: links are refused.
        let metadata = fs::symlink_metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing,
            _ => KeyFileError::Io(error),
        })?;
        if let Some(known) = self.0.get_mut(path)
            && known.stamp.still_holds(&metadata)
        {
            known.round = round;
            return Ok(());
        }
        self.0.remove(path);
        let stamp = Stamp::new(&metadata, clock);
        let content = read(path)?;
        self.0.insert(path.to_owned(), Known { stamp, content, round });
        Ok(())
    }
}
