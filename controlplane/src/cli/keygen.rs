//! `chukei keygen`: keys that only their owner can read.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{output, write_new};

/// `chukei keygen`.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// The file to write; it must not exist yet.
    file: PathBuf,
    /// A preshared key, which both ends of a tunnel get, instead of a private key.
    #[arg(long)]
    psk: bool,
}

impl Keygen {
    /// Write the key; print the public key of a private one.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if self.psk {
            let key = random_key()?;
            write_key(&self.file, &key)
        } else {
            Ok(output::print(&write_private_key(&self.file)?)?)
        }
    }
}

/// Make a private key in `file` and return its public key in base64.
pub(super) fn write_private_key(file: &Path) -> anyhow::Result<String> {
    let key = random_key()?;
    write_key(file, &key)?;
    Ok(public_key(&key))
}

/// The X25519 public key of a private one, in base64.
pub(super) fn public_key(private: &[u8; 32]) -> String {
    STANDARD.encode(PublicKey::from(&StaticSecret::from(*private)).as_bytes())
}

/// 32 bytes from the kernel's generator.
pub(super) fn random_key() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").context("/dev/urandom")?, &mut *key)?;
    Ok(key)
}

/// Write a key in base64, mode 0600, into a file that does not exist yet.
pub(super) fn write_key(file: &Path, key: &[u8; 32]) -> anyhow::Result<()> {
    let mut text = Zeroizing::new(STANDARD.encode(key));
    text.push('\n');
    write_new(file, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_key;

    #[test]
    fn a_private_key_is_readable_by_its_owner_only_and_its_public_key_is_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("relay.key");
        let public = write_private_key(&file).expect("written");
        let key = read_key(&file).expect("mode 0600 and one key");
        assert_eq!(public, public_key(&key));
    }

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        // RFC 7748 section 6.1, Bob.
        let private: [u8; 32] = [
            0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e, 0xe6, 0x6f, 0x3b, 0xb1, 0x29, 0x26,
            0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb,
        ];
        assert_eq!(public_key(&private), "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
    }

    #[test]
    fn a_missing_directory_is_told_with_what_to_do() {
        let error = Keygen { file: "/nonexistent/relay.key".into(), psk: false }.run().expect_err("no directory");
        assert!(format!("{error:#}").contains("mkdir -p"), "{error:#}");
    }

    #[test]
    fn a_key_that_exists_is_never_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("x.psk");
        Keygen { file: file.clone(), psk: true }.run().expect("new");
        let first = std::fs::read(&file).expect("there");
        assert!(Keygen { file: file.clone(), psk: true }.run().is_err());
        assert_eq!(std::fs::read(&file).expect("there"), first);
    }
}
