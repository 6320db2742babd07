//! The configuration language: YAML files -> [`RelayConfigModel`], or every problem at once.
//!
//! Four steps, each in its own room: `source` (bytes -> text), `tree` (text -> nodes with
//! positions), `relay_file`/`tenant_file` (nodes -> values with positions) and `validate` (what
//! values mean to each other, across files); `resolve` then drops the positions. A step that fails
//! for one file or value goes on with the others, and what depends on a failed value stays silent.
//! [`Loader`] keeps what each file gave, so that a reload does all this for changed files only.
//! `configs/README.md` describes the language.

mod algorithms;
mod bit_rate;
mod distinguished_name;
mod esp_size;
mod fields;
mod ipsec_fields;
mod ipv6;
mod key_store;
pub mod keys;
mod loader;
pub mod model;
mod preshared;
mod problem;
mod relay_file;
mod resolve;
mod scalars;
mod source;
mod stamp;
mod tenant_file;
mod tree;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use algorithms::{Algorithm, Kind as AlgorithmKind, Proposal, Strength};
pub use bit_rate::in_words as rate_in_words;
pub use distinguished_name::DistinguishedName;
pub use key_store::KeyStore;
pub use keys::{KeyFileError, KeyKind, read_key};
pub use loader::{Effort, Loader};
pub use model::*;
pub use preshared::{PskError, read_psk};
pub use problem::{Problem, Severity};
pub use scalars::{IDENTIFIER_HELP, is_identifier};

use problem::{At, Problems};
use relay_file::RelayFile;

/// What the configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Missing key files are warnings: keys are made where the relay runs.
    Check,
    /// Missing key files are errors.
    Run,
}

/// What came out of the files.
#[derive(Debug)]
pub struct Loaded {
    /// `None` when there is an error among the problems.
    pub relay: Option<RelayConfigModel>,
    /// Sorted by file and line.
    pub problems: Vec<Problem>,
    /// How much of it was read.
    pub effort: Effort,
}

/// More files than any relay has tenants.
const MOST_TENANT_FILES: usize = 10_000;

/// The relay file as read, before anything is known about how it fits its tenants.
#[derive(Debug)]
struct RelaySide {
    at: At,
    /// Paths in the files are relative to it.
    directory: PathBuf,
    file: RelayFile,
}

impl RelaySide {
    fn resolve_path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

/// Every name of an algorithm that a proposal may hold, and of those that are refused by name.
pub fn algorithms() -> &'static [Algorithm] {
    &algorithms::ALGORITHMS
}

/// Loads the relay file at `path` and the tenant files that it names.
pub fn load(path: &Path, purpose: Purpose) -> Loaded {
    Loader::new(path, purpose).load()
}

/// The directory below which the files are that the glob `tenants` names, or will name.
fn tenant_directory(relay: &RelaySide) -> PathBuf {
    let pattern = relay.file.tenants.value().map(Path::new).and_then(Path::parent).unwrap_or(Path::new(""));
    let literal = |part: &std::path::Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    relay.directory.join(pattern.components().take_while(literal).collect::<PathBuf>())
}

/// Files that the glob `tenants` names, sorted.
fn tenant_paths(relay: &RelaySide, problems: &mut Problems) -> Vec<PathBuf> {
    let Some(glob) = relay.file.tenants.given() else {
        return Vec::new();
    };
    let directory = glob::Pattern::escape(&relay.directory.to_string_lossy());
    let pattern = if directory.is_empty() { glob.value.clone() } else { format!("{directory}/{}", glob.value) };
    // Editors leave hidden copies and locks beside what they edit.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let Ok(found) = glob::glob_with(&pattern, options) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for entry in found.take(MOST_TENANT_FILES + 1) {
        match entry {
            Ok(path) => paths.push(path),
            Err(error) => {
                problems.error(&glob.at, format!("{} cannot be read: {}", error.path().display(), error.error()));
            }
        }
    }
    if paths.len() > MOST_TENANT_FILES {
        problems.error(&glob.at, format!("names more than {MOST_TENANT_FILES} files"));
        paths.clear();
    } else if paths.is_empty() {
        problems.warning(&glob.at, "names no file: the relay has no tenants").help("`chukei tenant new` writes a tenant file");
    }
    paths
}
