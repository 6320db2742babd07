//! Key files: 32 secret bytes as base64 (what `wg genkey` prints), readable by their owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::preshared::PskError;

const ENCODED_LENGTH: usize = 44;

/// Why a key file is refused. Never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the key file does not exist")]
    Missing,
    #[error("is not a regular file (symbolic links are refused as well)")]
    NotAFile,
    #[error("has mode {0:04o}: others than its owner may use it")]
    Mode(u32),
    #[error("belongs to user {found}, not to {expected} who runs this program")]
    Owner { found: u32, expected: u32 },
    #[error("does not hold one key: expected 44 characters of base64 that end in `=`")]
    Content,
    #[error("holds a key of zeros, which is no secret")]
    Zero,
    #[error("{0}")]
    Psk(#[from] PskError),
    #[error("{0}")]
    Certificate(#[from] ike::certificate::CertificateError),
    #[error("cannot be read: {0}{hint}", hint = new_directory(.0))]
    Io(io::Error),
}

/// What else may be behind a permission denied: a relay that runs has confined itself.
pub(super) fn new_directory(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; a reload reads only directories that the start read: for a file in another one, restart the relay"
        }
        _ => "",
    }
}

/// Reads one key; refuses files that others than the owner may use.
///
/// # Errors
/// Says what is wrong with the file, without its content.
pub fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    read_key_of(path, rustix::process::geteuid().as_raw())
}

/// [`read_key`] for a given user.
pub(super) fn read_key_of(path: &Path, user: u32) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    // One byte more than a key with its line end (CR LF at most), so that anything longer shows.
    decode(&read_secret(path, user, ENCODED_LENGTH + 3)?)
}

/// At most `limit` bytes of a file that nobody but `user` may use.
pub(super) fn read_secret(path: &Path, user: u32, limit: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(KeyFileError::Io)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyFileError::Mode(metadata.mode() & 0o7777));
    }
    if metadata.uid() != user {
        return Err(KeyFileError::Owner { found: metadata.uid(), expected: user });
    }
    read_bounded(file, limit)
}

/// Chains of certificates with the longest keys are far smaller.
const LONGEST_PEM_BYTES: usize = 256 * 1024;

/// A private key in PEM, which nobody else may use.
pub(super) fn read_private_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    read_secret(path, rustix::process::geteuid().as_raw(), LONGEST_PEM_BYTES)
}

/// Certificates in PEM: public, whoever may read or owns them.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let file = open(path)?;
    if !file.metadata().map_err(KeyFileError::Io)?.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    Ok(read_bounded(file, LONGEST_PEM_BYTES)?.to_vec())
}

/// Checks are made on what was opened, not on a name that may point elsewhere a moment later;
/// O_NONBLOCK keeps a FIFO from holding the program up.
fn open(path: &Path) -> Result<File, KeyFileError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => KeyFileError::Missing,
        Some(libc::ELOOP | libc::ENXIO) => KeyFileError::NotAFile,
        _ => KeyFileError::Io(error),
    })
}

fn read_bounded(mut file: File, limit: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mut buffer = Zeroizing::new(vec![0; limit]);
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KeyFileError::Io(error)),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn decode(content: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let encoded = content.strip_suffix(b"\n").unwrap_or(content);
    let encoded = encoded.strip_suffix(b"\r").unwrap_or(encoded);
    if encoded.len() != ENCODED_LENGTH {
        return Err(KeyFileError::Content);
    }
    let mut decoded = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(encoded, &mut *decoded).map_err(|_| KeyFileError::Content)?;
    let mut key = Zeroizing::new([0; 32]);
    if length != key.len() {
        return Err(KeyFileError::Content);
    }
    key.copy_from_slice(&decoded[..32]);
    if key.iter().all(|byte| *byte == 0) {
        return Err(KeyFileError::Zero);
    }
    Ok(key)
}

/// What a key file is for, which decides how it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Private,
    Preshared,
}

impl KeyKind {
    /// The command that makes such a file, as messages show it.
    pub fn keygen_command(self, path: &Path) -> String {
        let path = shell_word(path);
        match self {
            KeyKind::Private => format!("chukei keygen {path}"),
            KeyKind::Preshared => format!("chukei keygen --psk {path}"),
        }
    }
}

/// A path as one word of a command to paste.
pub(super) fn shell_word(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = path.chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c));
    if plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
