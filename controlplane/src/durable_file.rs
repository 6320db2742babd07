//! Files that survive `kill -9` and a power cut: a reader finds the old content or the new, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replace `path` by `content`, readable by its owner only: write beside it, flush to disk, rename, flush the directory.
///
/// # Errors
/// What the file system says; the old content is still there then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = temporary(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => create(&beside, content, 0o600)?,
    }
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

/// Write a file that must not exist yet, with permissions `mode`.
///
/// # Errors
/// `AlreadyExists` where there is one, else what the file system says.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// [`replace`] with JSON.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut content = serde_json::to_vec_pretty(value)?;
    content.push(b'\n');
    replace(path, &content)
}

/// The value in a JSON file; `None` where there is no file.
///
/// # Errors
/// What the file system says, or `InvalidData` where the file holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same name each time, so that a killed run's leftover does not stay for ever.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_run_killed_while_writing_leaves_the_old_content_and_the_next_write_heals() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        replace_json(&path, &["old"]).expect("written");
        fs::write(temporary(&path), b"[\"ne").expect("half of a write");
        assert_eq!(read_json::<Vec<String>>(&path).expect("whole"), Some(vec!["old".to_owned()]));
        replace_json(&path, &["new"]).expect("written over the leftover");
        assert_eq!(read_json::<Vec<String>>(&path).expect("whole"), Some(vec!["new".to_owned()]));
        assert!(!temporary(&path).exists());
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_file_is_none_and_a_broken_one_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.json");
        assert_eq!(read_json::<Vec<String>>(&path).expect("no file is no error"), None);
        fs::write(&path, b"{").expect("written");
        assert!(read_json::<Vec<String>>(&path).is_err());
    }

    #[test]
    fn create_never_writes_over_anything() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("relay.key");
        create(&path, b"first", 0o600).expect("new");
        let error = create(&path, b"second", 0o600).expect_err("exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("there"), b"first");
    }
}
