//! File -> text: bounded, UTF-8, and free of characters that mislead people or the parser.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::keys::new_directory;
use super::problem::{At, Problems};

/// 100 times the size of a tenant with 100 services.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// Reads a configuration file; `None` when a problem was added.
pub(super) fn read(path: &Path, file: &Arc<str>, problems: &mut Problems) -> Option<String> {
    let bytes = look(path).and_then(|_| bytes(path)).map_err(|error| error.report(file, problems)).ok()?;
    decode(bytes, file, problems)
}

/// Why a file gives no bytes.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(std::io::Error),
    NotAFile,
    TooLarge,
}

impl ReadError {
    pub(super) fn report(&self, file: &Arc<str>, problems: &mut Problems) {
        let whole = At::whole_file(file);
        match self {
            ReadError::Io(error) => problems
                .error(&whole, format!("cannot be read: {error}{}", new_directory(error)))
                .help("give the relay file's path, and let this user read it and the tenant files"),
            ReadError::NotAFile => problems.error(&whole, "is not a regular file").help("give a YAML file"),
            ReadError::TooLarge => problems
                .error(&whole, format!("is larger than {LARGEST_FILE_BYTES} bytes"))
                .help("a tenant file describes one tenant; split what belongs to several"),
        }
    }
}

/// What the file system says of a configuration file. Asked before opening: opening a FIFO would wait for a writer.
pub(super) fn look(path: &Path) -> Result<Metadata, ReadError> {
    let metadata = fs::metadata(path).map_err(ReadError::Io)?;
    if metadata.is_file() { Ok(metadata) } else { Err(ReadError::NotAFile) }
}

/// The content of a file that was looked at.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(ReadError::Io)?;
    file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() as u64 > LARGEST_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    Ok(bytes)
}

/// Bytes -> text, with every misleading byte named.
pub(super) fn decode(bytes: Vec<u8>, file: &Arc<str>, problems: &mut Problems) -> Option<String> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let head = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            problems.error(&end_of(&head, file), "is not UTF-8").help("save the file as UTF-8 (it may be Shift_JIS or UTF-16)");
            return None;
        }
    };
    if text.starts_with('\u{feff}') {
        problems.error(&position(file, 1, 1), "starts with a byte order mark").help("save the file as UTF-8 without BOM");
        return None;
    }
    let before = problems.count();
    refuse_control_characters(&text, file, problems);
    (problems.count() == before).then_some(text)
}

fn refuse_control_characters(text: &str, file: &Arc<str>, problems: &mut Problems) {
    for (line, content) in (1..).zip(text.split('\n')) {
        let content = content.strip_suffix('\r').unwrap_or(content);
        let mut indentation = true;
        for (column, c) in (1..).zip(content.chars()) {
            indentation &= c == ' ' || c == '\t';
            if c == '\t' && indentation {
                problems.error(&position(file, line, column), "is indented with a tab").help("indent with spaces");
                break;
            }
            if c.is_control() && c != '\t' {
                problems
                    .error(&position(file, line, column), format!("holds the control character U+{:04X}", u32::from(c)))
                    .help("remove it");
            }
        }
    }
}

fn position(file: &Arc<str>, line: u32, column: u32) -> At {
    At { file: Arc::clone(file), line, column, path: None }
}

fn end_of(head: &str, file: &Arc<str>) -> At {
    let line = head.matches('\n').count() + 1;
    let column = head.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    position(file, u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
