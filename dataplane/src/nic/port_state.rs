//! What a takeover changed on an interface: kept in a file, so that the next start can undo what a killed run could not.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ethtool::{Channels, Offload};

/// First line of the file; another version is not read.
const FORMAT: &str = "chukei port state 1";

/// An interface as it was before the takeover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PortState {
    /// Number of the interface: one of the same name made later is another one.
    pub(super) index: u32,
    /// Network namespace it was in (its inode number), as index and name repeat in others.
    pub(super) namespace: u64,
    /// It was up.
    pub(super) up: bool,
    /// The kernel spoke ARP on it.
    pub(super) arp: bool,
    /// `disable_ipv6` was set; `None` on a kernel without IPv6.
    pub(super) ipv6_disabled: Option<bool>,
    /// Offloads that were on, in the order to switch them on again.
    pub(super) offloads: Vec<Offload>,
    /// Queues, where the takeover changes them.
    pub(super) channels: Option<Channels>,
}

/// The inode of this thread's network namespace.
pub(super) fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

impl PortState {
    /// Write the file in one step: it is never seen half.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(self.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }

    /// Read the file; `None` where there is none, or one that cannot be understood (it is of no use then).
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|text| Self::from_text(&text)),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FORMAT}\nindex {}\nnamespace {}\nup {}\narp {}\n", self.index, self.namespace, self.up, self.arp);
        if let Some(disabled) = self.ipv6_disabled {
            let _ = writeln!(text, "ipv6-disabled {disabled}");
        }
        for offload in &self.offloads {
            let _ = writeln!(text, "offload {}", offload.name);
        }
        if let Some(channels) = self.channels {
            let _ = writeln!(text, "channels-rx {}\nchannels-tx {}\nchannels-combined {}", channels.rx, channels.tx, channels.combined);
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return None;
        }
        let pairs: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let find = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let channels = match (find("channels-rx"), find("channels-tx"), find("channels-combined")) {
            (Some(rx), Some(tx), Some(combined)) => {
                Some(Channels { rx: rx.parse().ok()?, tx: tx.parse().ok()?, combined: combined.parse().ok()? })
            }
            _ => None,
        };
        Some(Self {
            index: find("index")?.parse().ok()?,
            namespace: find("namespace")?.parse().ok()?,
            up: find("up")?.parse().ok()?,
            arp: find("arp")?.parse().ok()?,
            ipv6_disabled: find("ipv6-disabled").and_then(|value| value.parse().ok()),
            offloads: pairs.iter().filter(|(name, _)| *name == "offload").filter_map(|(_, value)| Offload::named(value)).collect(),
            channels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::ethtool::OFFLOADS;

    fn state() -> PortState {
        PortState {
            index: 7,
            namespace: 4_026_531_840,
            up: false,
            arp: true,
            ipv6_disabled: Some(false),
            offloads: vec![OFFLOADS[0], OFFLOADS[3]],
            channels: Some(Channels { rx: 0, tx: 2, combined: 4 }),
        }
    }

    #[test]
    fn what_was_changed_survives_the_file() {
        for state in [state(), PortState { ipv6_disabled: None, offloads: Vec::new(), channels: None, ..state() }] {
            assert_eq!(PortState::from_text(&state.to_text()), Some(state));
        }
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_version_is_not_believed() {
        let text = state().to_text();
        assert_eq!(PortState::from_text(&text[..FORMAT.len() + 12]), None);
        assert_eq!(PortState::from_text(&text.replace("state 1", "state 2")), None);
        assert_eq!(PortState::from_text(""), None);
    }
}
