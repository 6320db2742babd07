//! The configuration language: YAML files -> [`RelayConfigModel`], or every problem at once.
//!
//! Four steps, each in its own room: `source` (bytes -> text), `tree` (text -> nodes with
//! positions), `relay_file`/`tenant_file` (nodes -> values with positions) and `validate` (what
//! values mean to each other, across files); `resolve` then drops the positions. A step that fails
//! for one file or value goes on with the others, and what depends on a failed value stays silent.
//! `configs/README.md` describes the language.

mod bit_rate;
mod fields;
pub mod keys;
pub mod model;
mod problem;
mod relay_file;
mod resolve;
mod scalars;
mod source;
mod tenant_file;
mod tree;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use bit_rate::in_words as rate_in_words;
pub use keys::{KeyFileError, KeyKind, read_key};
pub use model::*;
pub use problem::{Problem, Severity};
pub use scalars::{IDENTIFIER_HELP, is_identifier};

use problem::{At, Problems};
use relay_file::RelayFile;
use tenant_file::TenantFile;

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
}

/// More files than any relay has tenants.
const MOST_TENANT_FILES: usize = 10_000;

/// All files as read, before anything is known about how they fit together.
#[derive(Debug)]
struct Files {
    relay_at: At,
    /// Paths in the files are relative to it.
    directory: PathBuf,
    relay: RelayFile,
    tenants: Vec<TenantFile>,
    /// A tenant file could not be read at all: names that nobody defines may stand in it.
    some_unreadable: bool,
}

impl Files {
    fn resolve_path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

/// Loads the relay file at `path` and the tenant files that it names.
pub fn load(path: &Path, purpose: Purpose) -> Loaded {
    let mut problems = Problems::default();
    let relay = read_files(path, &mut problems).and_then(|files| {
        validate::validate(&files, purpose, &mut problems);
        if problems.has_errors() {
            return None;
        }
        let relay = resolve::resolve(&files);
        if relay.is_none() {
            problems.error(&files.relay_at, "is refused without a reason; this is a fault of chukei: please report it");
        }
        relay
    });
    Loaded { relay, problems: problems.into_sorted() }
}

fn read_files(path: &Path, problems: &mut Problems) -> Option<Files> {
    let name: Rc<str> = path.display().to_string().into();
    let text = source::read(path, &name, problems)?;
    let root = tree::parse(&text, &name, problems)?;
    let relay = relay_file::read(&root, problems);
    let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut files = Files { relay_at: At::whole_file(&name), directory, relay, tenants: Vec::new(), some_unreadable: false };
    for path in tenant_paths(&files, problems) {
        match read_tenant(&path, problems) {
            Some(tenant) => files.tenants.push(tenant),
            None => files.some_unreadable = true,
        }
    }
    Some(files)
}

fn read_tenant(path: &Path, problems: &mut Problems) -> Option<TenantFile> {
    let name: Rc<str> = path.display().to_string().into();
    let text = source::read(path, &name, problems)?;
    let root = tree::parse(&text, &name, problems)?;
    Some(tenant_file::read(&root, problems))
}

/// Files that the glob `tenants` names, sorted.
fn tenant_paths(files: &Files, problems: &mut Problems) -> Vec<PathBuf> {
    let Some(glob) = files.relay.tenants.given() else {
        return Vec::new();
    };
    let directory = glob::Pattern::escape(&files.directory.to_string_lossy());
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
