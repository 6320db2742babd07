//! Whether a file is what it was when it was last read, without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use time::OffsetDateTime;

/// Coarser than any file system's clock on which a configuration is kept.
const CLOCK_GRAIN_NANOS: i128 = 2_000_000_000;

/// Reads the wall clock; tests have one of their own.
pub(super) type WallClock = fn() -> OffsetDateTime;

/// What the file system says of a file, and when it said so.
///
/// The kernel sets `ctime` at every change of content, name or mode, and nobody can set it back. Two changes within one tick of its clock
/// look alike, so a file that was young when it was looked at is read again next time, as version control programs do. What this does not
/// see: a change after the machine's clock was set back, and file systems whose server keeps the times (a restart reads everything).
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    identity: [u64; 6],
    changed: [i128; 2],
    looked_at: i128,
}

impl Stamp {
    /// Of a file that is looked at now, before it is read.
    pub(super) fn new(metadata: &Metadata, clock: WallClock) -> Self {
        Self::at(metadata, clock().unix_timestamp_nanos())
    }

    fn at(metadata: &Metadata, looked_at: i128) -> Self {
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let owner = [u64::from(metadata.uid()), u64::from(metadata.gid())];
        Self {
            identity: [metadata.dev(), metadata.ino(), metadata.size(), u64::from(metadata.mode()), owner[0], owner[1]],
            changed: [nanos(metadata.mtime(), metadata.mtime_nsec()), nanos(metadata.ctime(), metadata.ctime_nsec())],
            looked_at,
        }
    }

    /// Whether the file that was stamped so is certainly the one that has `metadata` now.
    pub(super) fn still_holds(&self, metadata: &Metadata) -> bool {
        let now = Self::at(metadata, 0);
        let was_old = self.changed.iter().all(|changed| changed + CLOCK_GRAIN_NANOS <= self.looked_at);
        was_old && self.identity == now.identity && self.changed == now.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::fs;

    #[test]
    fn a_young_file_is_never_taken_for_unchanged_and_an_old_one_only_while_nothing_touches_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tenant.yaml");
        fs::write(&path, "tenant: a").expect("written");
        let metadata = || fs::metadata(&path).expect("there");
        assert!(!Stamp::new(&metadata(), clock::now).still_holds(&metadata()), "a change within the same tick would not show");
        let later = clock::now().unix_timestamp_nanos() + 3_000_000_000;
        let stamp = Stamp::at(&metadata(), later);
        assert!(stamp.still_holds(&metadata()));
        // Same size, and the modification time set back to what it was: the change time tells.
        let modified = metadata().modified().expect("a time");
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, "tenant: b").expect("written");
        fs::File::options().write(true).open(&path).expect("there").set_modified(modified).expect("set");
        assert_eq!(metadata().modified().expect("a time"), modified);
        assert!(!stamp.still_holds(&metadata()));
    }
}
