//! Where each municipality's router was last heard, kept on disk so that a restarted relay can call it at once; and how new its last
//! WireGuard handshake was, so that one recorded before the restart is refused after it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::tunnel::wireguard::Tai64n;
use serde::{Deserialize, Serialize};

use crate::durable_file;

/// The file is written at most this often, so that a router that roams all the time does not wear a disk out.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// ... and where only handshakes are new, of which each router does one in two minutes, at most this often. One that was recorded
/// meanwhile is answered once more after a restart, to no effect.
pub const HANDSHAKES_INTERVAL: Duration = Duration::from_secs(300);

/// Initiations at start, a second. 100 handshakes cost a core about 3%, and 1,788 municipalities are called within 18 s.
pub const INITIATIONS_PER_SECOND: u32 = 100;

/// Tenant, then tunnel.
type Table = BTreeMap<String, BTreeMap<String, Seen>>;

/// What is known of a router.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Seen {
    /// Where it was last heard.
    peer: Option<SocketAddr>,
    /// The time stamp of its newest handshake, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handshake: Option<String>,
}

/// The last authenticated address of every tunnel, and the file they are in.
#[derive(Debug)]
pub struct Peers {
    path: PathBuf,
    table: Table,
    changed: bool,
    /// Handshakes are newer than in the file.
    aged: bool,
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
        Self { path: path.to_owned(), table: table.unwrap_or_default(), changed: false, aged: false, written: None }
    }

    /// A router proved to be at `peer`.
    pub fn moved(&mut self, tenant: &str, tunnel: &str, peer: SocketAddr) {
        let previous = self.seen(tenant, tunnel).peer.replace(peer);
        self.changed |= previous != Some(peer);
    }

    /// A handshake of a router's was answered.
    pub fn answered(&mut self, tenant: &str, tunnel: &str, timestamp: Tai64n) {
        self.seen(tenant, tunnel).handshake = Some(timestamp.to_string());
        self.aged = true;
    }

    fn seen(&mut self, tenant: &str, tunnel: &str) -> &mut Seen {
        self.table.entry(tenant.to_owned()).or_default().entry(tunnel.to_owned()).or_default()
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

    /// [`Self::save`], unless the last time was less than [`WRITE_INTERVAL`] or [`HANDSHAKES_INTERVAL`] ago. The caller calls it every
    /// second.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_when_due(&mut self, now: Instant) -> io::Result<()> {
        let passed = |interval| self.written.is_none_or(|written| now.duration_since(written) >= interval);
        let due = self.changed && passed(WRITE_INTERVAL) || self.aged && passed(HANDSHAKES_INTERVAL);
        if !due {
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
        if self.changed || self.aged {
            durable_file::replace_json(&self.path, &self.table)?;
            (self.changed, self.aged) = (false, false);
        }
        Ok(())
    }

    /// Every router whose address is known.
    #[must_use]
    pub fn known(&self) -> Vec<Known> {
        let tunnels = self.table.iter().flat_map(|(tenant, tunnels)| tunnels.iter().map(move |tunnel| (tenant, tunnel)));
        let known = |(tenant, (tunnel, seen)): (&String, (&String, &Seen))| {
            Some(Known {
                tenant: tenant.as_str().into(),
                tunnel: tunnel.as_str().into(),
                peer: seen.peer?,
                timestamp: seen.handshake.as_ref().and_then(|text| text.parse().ok()),
            })
        };
        tunnels.filter_map(known).collect()
    }
}

/// A router and where it was last heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Tenant.
    pub tenant: Arc<str>,
    /// Tunnel.
    pub tunnel: Arc<str>,
    /// Address and port.
    pub peer: SocketAddr,
    /// Of its newest handshake, where it speaks WireGuard.
    pub timestamp: Option<Tai64n>,
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
        let known = Known { tenant: "131016-chiyoda".into(), tunnel: "main".into(), peer: address("192.0.2.11:40000"), timestamp: None };
        assert_eq!(Peers::load(&path).known(), [known]);
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
        assert!(path.exists() && Peers::load(&path).known().is_empty());
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
    fn how_new_the_last_handshake_was_is_known_after_a_restart_and_written_every_five_minutes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        let mut peers = Peers::load(&path);
        let timestamp = |second: u8| Tai64n::from_bytes([0x40, 0, 0, 0, 0, 0, 0, second, 0, 0, 0, 0]);
        let start = Instant::now();
        let mut in_file = |second: u8, seconds: u64| {
            peers.answered("a", "main", timestamp(second));
            peers.save_when_due(start + Duration::from_secs(seconds)).expect("written or waited");
            Peers::load(&path).table["a"]["main"].handshake.clone()
        };
        let text = |second: u8| Some(timestamp(second).to_string());
        assert_eq!([in_file(1, 0), in_file(2, 10), in_file(3, 299), in_file(4, 300)], [text(1), text(1), text(1), text(4)]);
        assert!(Peers::load(&path).known().is_empty(), "a router is called where it has proved to be, and nowhere else");
        peers.moved("a", "main", address("192.0.2.10:51820"));
        peers.save_when_due(start + Duration::from_secs(310)).expect("written");
        let known = Peers::load(&path).known();
        assert_eq!((known.len(), known[0].timestamp), (1, Some(timestamp(4))));
    }

    #[test]
    fn a_time_stamp_that_cannot_be_read_costs_nothing_but_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        std::fs::write(&path, br#"{"a": {"main": {"peer": "192.0.2.10:51820", "handshake": "yesterday"}}}"#).expect("written");
        let known = Peers::load(&path).known();
        assert_eq!((known[0].peer, known[0].timestamp), (address("192.0.2.10:51820"), None));
    }

    #[test]
    fn an_unreadable_file_is_an_empty_list() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("peers.json");
        std::fs::write(&path, b"{\"a\":").expect("written");
        assert!(Peers::load(&path).known().is_empty());
    }
}
