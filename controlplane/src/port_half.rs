//! Which half of the pools' ports a run of the relay gives out first, kept on disk so that the next one takes the other.
//!
//! A port that is given back rests for two minutes (RFC 6888 REQ-8), also one that the previous run had given out when it ended, however it
//! ended: its sessions are lost, and packets for them are still on their way. A bit is enough to know which ports these are, and no clock
//! is asked, which may have been put back meanwhile.

use std::io;
use std::path::Path;

use dataplane::nat::PortHalf;
use serde::{Deserialize, Serialize};

use crate::durable_file;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Half {
    Even,
    Odd,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// The half of the run that wrote it.
    first: Half,
}

/// The half for the run that begins: on disk when this returns, so before anything is given out.
///
/// A file that cannot be read or written keeps no relay from starting. The ports of the previous run may then come back at once.
#[must_use]
pub fn take_turn(path: &Path) -> PortHalf {
    let previous = durable_file::read_json(path).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "which ports the previous run used is unreadable: some may be given out again at once");
        None
    });
    let half = match previous {
        Some(Content { first: Half::Even }) => PortHalf::Odd,
        Some(Content { first: Half::Odd }) | None => PortHalf::Even,
    };
    if let Err(error) = keep(path, half) {
        tracing::warn!(path = %path.display(), %error, "which ports this run uses was not kept: the next one may give some out again at once");
    }
    half
}

fn keep(path: &Path, half: PortHalf) -> io::Result<()> {
    let first = match half {
        PortHalf::Even => Half::Even,
        PortHalf::Odd => Half::Odd,
    };
    durable_file::replace_json(path, &Content { first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn runs_take_turns_however_the_one_before_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ports.json");
        let runs: Vec<PortHalf> = (0..4).map(|_| take_turn(&path)).collect();
        assert_eq!(runs, [PortHalf::Even, PortHalf::Odd, PortHalf::Even, PortHalf::Odd]);
        fs::write(path.with_file_name("ports.json.new"), b"{\"fi").expect("a run killed while it wrote");
        assert_eq!(take_turn(&path), PortHalf::Even);
    }

    #[test]
    fn a_file_that_is_broken_or_cannot_be_written_keeps_no_relay_from_starting() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ports.json");
        fs::write(&path, b"{\"first\": \"third\"}").expect("written");
        assert_eq!(take_turn(&path), PortHalf::Even);
        assert_eq!(take_turn(&path), PortHalf::Odd, "healed");
        let nowhere = directory.path().join("gone/ports.json");
        assert_eq!([take_turn(&nowhere), take_turn(&nowhere)], [PortHalf::Even, PortHalf::Even]);
    }
}
