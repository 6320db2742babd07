//! Key files, each read once until it changes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keys::{KeyFileError, read_key};
use super::stamp::{Stamp, WallClock};
use crate::clock;

/// The keys that were read, erased when dropped or forgotten.
pub struct KeyStore {
    known: HashMap<PathBuf, Known>,
    round: u64,
    clock: WallClock,
}

impl Default for KeyStore {
    fn default() -> Self {
        Self::with_clock(clock::now)
    }
}

struct Known {
    stamp: Stamp,
    key: Zeroizing<[u8; 32]>,
    /// The load that looked at the file last: the others of the same load take its word.
    round: u64,
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyStore({} keys)", self.known.len())
    }
}

impl KeyStore {
    pub(super) fn with_clock(clock: WallClock) -> Self {
        Self { known: HashMap::new(), round: 0, clock }
    }

    /// Another load begins: every file is looked at anew.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// The load is over: forget what nobody asked for.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
    }

    /// The key in the file at `path`, as [`read_key`] reads it.
    ///
    /// # Errors
    /// As [`read_key`].
    pub fn read(&mut self, path: &Path) -> Result<&[u8; 32], KeyFileError> {
        let round = self.round;
        if self.known.get(path).is_none_or(|known| known.round != round) {
            self.look(path)?;
        }
        Ok(&self.known[path].key)
    }

    fn look(&mut self, path: &Path) -> Result<(), KeyFileError> {
        // The link itself, not what it points at: links are refused.
        let metadata = fs::symlink_metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing,
            _ => KeyFileError::Io(error),
        })?;
        if let Some(known) = self.known.get_mut(path)
            && known.stamp.still_holds(&metadata)
        {
            known.round = self.round;
            return Ok(());
        }
        self.known.remove(path);
        let stamp = Stamp::new(&metadata, self.clock);
        let key = read_key(path)?;
        self.known.insert(path.to_owned(), Known { stamp, key, round: self.round });
        Ok(())
    }
}
