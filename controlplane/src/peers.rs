//! Where each municipality's router was last heard, kept on disk so that a restarted relay can call it at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::worker::control::Command;

use crate::durable_file;

/// The file is written at most this often, so that a router that roams all the time does not wear a disk out.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// Initiations at start, a second. 100 handshakes cost a core about 3%, and 1,788 municipalities are called within 18 s.
pub const INITIATIONS_PER_SECOND: u32 = 100;

/// Tenant, then tunnel -> address.
type Table = BTreeMap<String, BTreeMap<String, SocketAddr>>;

/// The last authenticated address of every tunnel, and the file they are in.
#[derive(Debug)]
pub struct Peers {
    path: PathBuf,
    table: Table,
    changed: bool,
    written: Option<Instant>,
}

impl Peers {
    /// Read the file. One that cannot be understood is an empty list: the routers will call by themselves.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let table = durable_file::read_json(path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the list of last peer addresses is unreadable; waiting for the routers to call");
            None
        });
        Self { path: path.to_owned(), table: table.unwrap_or_default(), changed: false, written: None }
    }

    /// A router proved to be at `peer`.
    pub fn moved(&mut self, tenant: &str, tunnel: &str, peer: SocketAddr) {
        let previous = self.table.entry(tenant.to_owned()).or_default().insert(tunnel.to_owned(), peer);
        self.changed |= previous != Some(peer);
    }

    /// Forget tunnels that the configuration no longer has.
    pub fn retain(&mut self, mut configured: impl FnMut(&str, &str) -> bool) {
        let before: usize = self.table.values().map(BTreeMap::len).sum();
        self.table.retain(|tenant, tunnels| {
            tunnels.retain(|tunnel, _| configured(tenant, tunnel));
            !tunnels.is_empty()
        });
        let after: usize = self.table.values().map(BTreeMap::len).sum();
        self.changed |= before != after;
    }

    /// [`Self::save`], unless the last time was less than [`WRITE_INTERVAL`] ago. The caller calls it every second.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_when_due(&mut self, now: Instant) -> io::Result<()> {
        let due = self.written.is_none_or(|written| now.duration_since(written) >= WRITE_INTERVAL);
        if !due || !self.changed {
            return Ok(());
        }
        self.written = Some(now);
        self.save()
    }

    /// Write the file if anything changed since the last time.
    ///
    /// # Errors
    /// What the file system says; the next call tries again.
    pub fn save(&mut self) -> io::Result<()> {
        if self.changed {
            durable_file::replace_json(&self.path, &self.table)?;
            self.changed = false;
        }
        Ok(())
    }

    /// The commands that call every known router.
    #[must_use]
    pub fn initiations(&self) -> Vec<Command> {
        let tunnels = self.table.iter().flat_map(|(tenant, tunnels)| tunnels.iter().map(move |tunnel| (tenant, tunnel)));
        tunnels
            .map(|(tenant, (tunnel, peer))| Command::Initiate {
                tenant: Arc::from(tenant.as_str()),
                tunnel: Arc::from(tunnel.as_str()),
                peer: *peer,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_restarted_relay_calls_every_router_where_it_was_last_heard() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        let mut peers = Peers::load(&path);
        peers.moved("131016-chiyoda", "main", address("192.0.2.10:51820"));
        peers.moved("131016-chiyoda", "main", address("192.0.2.11:40000"));
        peers.save().expect("written");
        let calls = Peers::load(&path).initiations();
        let [Command::Initiate { tenant, tunnel, peer }] = &calls[..] else { panic!("one call, not {calls:?}") };
        assert_eq!((&**tenant, &**tunnel, *peer), ("131016-chiyoda", "main", address("192.0.2.11:40000")));
    }

    #[test]
    fn nothing_new_is_not_written_again_and_removed_tunnels_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        let mut peers = Peers::load(&path);
        peers.moved("a", "main", address("192.0.2.10:51820"));
        peers.save().expect("written");
        std::fs::remove_file(&path).expect("there");
        peers.moved("a", "main", address("192.0.2.10:51820"));
        peers.save().expect("nothing to write");
        assert!(!path.exists());
        peers.retain(|tenant, _| tenant != "a");
        peers.save().expect("written");
        assert!(path.exists() && Peers::load(&path).initiations().is_empty());
    }

    #[test]
    fn a_change_is_written_at_once_and_the_next_one_ten_seconds_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        let mut peers = Peers::load(&path);
        let start = Instant::now();
        let mut wrote = |port: u16, seconds: u64| {
            peers.moved("a", "main", ([192, 0, 2, 10], port).into());
            peers.save_when_due(start + Duration::from_secs(seconds)).expect("written or waited");
            std::fs::read_to_string(&path).expect("there").contains(&format!(":{port}"))
        };
        assert_eq!([wrote(1, 0), wrote(2, 1), wrote(3, 9), wrote(4, 10), wrote(5, 11)], [true, false, false, true, false]);
    }

    #[test]
    fn an_unreadable_file_is_an_empty_list() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        std::fs::write(&path, b"{\"a\":").expect("written");
        assert!(Peers::load(&path).initiations().is_empty());
    }
}
