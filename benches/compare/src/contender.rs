//! Who is measured: the relay, and what stands in its place.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use netns_tests::relay::binary;
use serde::Serialize;

/// Set by `benches/compare/run` where it has built the relay from the working tree, so that the tree's commit is the relay's.
const WORKING_TREE: &str = "CHUKEI_FROM_WORKING_TREE";

/// strongSwan's daemon, where Debian puts what is not for a shell's path.
const CHARON: &str = "/usr/lib/ipsec/charon";

/// The NIC driver that the relay is told to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    Auto,
    AfXdp,
    AfPacket,
}

impl Driver {
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>, String> {
        match text {
            "auto" => Ok(vec![Self::Auto]),
            "af_xdp" => Ok(vec![Self::AfXdp]),
            "af_packet" => Ok(vec![Self::AfPacket]),
            "both" => Ok(vec![Self::AfXdp, Self::AfPacket]),
            other => Err(format!("unknown driver {other}: auto, af_xdp, af_packet or both")),
        }
    }

    /// As relay.yaml spells it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::AfXdp => "af_xdp",
            Self::AfPacket => "af_packet",
        }
    }
}

/// One column of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contender {
    Chukei(Driver),
    WireguardGo,
    Boringtun,
    Gotatun,
    /// Against which the relay's IPsec is measured; the others speak WireGuard.
    StrongSwan,
}

/// Which release was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Release {
    pub(crate) version: String,
    /// When that version was published, as a day; a sentence where nobody says.
    pub(crate) date: String,
    pub(crate) note: String,
}

impl Contender {
    pub(crate) const PEERS: [Self; 3] = [Self::WireguardGo, Self::Boringtun, Self::Gotatun];

    pub(crate) fn peer(name: &str) -> Result<Self, String> {
        let known = Self::PEERS.into_iter().find(|peer| peer.name() == name);
        known.ok_or_else(|| format!("unknown peer {name}: wireguard-go, boringtun-cli or gotatun-cli"))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Chukei(Driver::Auto) => "chukei".to_owned(),
            Self::Chukei(driver) => format!("chukei {}", driver.label()),
            Self::WireguardGo => "wireguard-go".to_owned(),
            Self::Boringtun => "boringtun-cli".to_owned(),
            Self::Gotatun => "gotatun-cli".to_owned(),
            Self::StrongSwan => "strongSwan".to_owned(),
        }
    }

    pub(crate) const fn is_peer(&self) -> bool {
        !matches!(self, Self::Chukei(_))
    }

    /// The program of a peer and its arguments, before the interface's name. All stay in the foreground and say only errors; how
    /// many threads they start is left to them.
    pub(crate) const fn command(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Chukei(_) => ("chukei", &["run", "-c"]),
            Self::WireguardGo => ("wireguard-go", &["-f"]),
            Self::Boringtun => ("boringtun-cli", &["-f", "--disable-drop-privileges"]),
            Self::Gotatun => ("gotatun", &["-f", "--disable-drop-privileges", "-v", "error"]),
            Self::StrongSwan => (CHARON, &[]),
        }
    }

    /// Asks the program which release it is.
    ///
    /// # Panics
    /// When the program is not installed; `benches/compare/run` installs it.
    pub(crate) fn release(&self) -> Release {
        match self {
            Self::Chukei(_) => Release {
                version: last_word(&first_line(&binary(), &["--version"])),
                date: match env::var_os(WORKING_TREE) {
                    Some(_) => tool("git", &["log", "-1", "--format=%cs (commit %h)"]).unwrap_or_else(|| "no git history".to_owned()),
                    None => "a build that was given (CHUKEI_BIN)".to_owned(),
                },
                note: String::new(),
            },
            Self::WireguardGo => {
                let version = last_word(&first_line("wireguard-go", &["--version"]));
                let date = date_in(&version).unwrap_or_else(|| "date unknown".to_owned());
                // Segmentation offload on the TUN came with the releases of 2023.
                let note = if date.as_str() < "2023" { "the distribution's package, from before its segmentation offload" } else { "" };
                Release { version, date, note: note.to_owned() }
            }
            Self::Boringtun => of_registry("boringtun-cli", &first_line("boringtun-cli", &["--version"])),
            Self::Gotatun => of_registry("gotatun-cli", &first_line("gotatun", &["--version"])),
            Self::StrongSwan => {
                let package = tool("dpkg-query", &["--show", "--showformat=${Version}", "strongswan-charon"]);
                let note = package.map(|version| format!("the distribution's package {version}, kernel-libipsec")).unwrap_or_default();
                Release { version: last_word(&first_line(CHARON, &["--version"])), date: "date unknown".to_owned(), note }
            }
        }
    }
}

fn of_registry(package: &str, said: &str) -> Release {
    let version = last_word(said);
    let date = published(package, &version).unwrap_or_else(|| "date unknown".to_owned());
    Release { version, date, note: String::new() }
}

/// Programs say `name 1.2.3`.
fn last_word(said: &str) -> String {
    said.split_whitespace().last().unwrap_or_default().to_owned()
}

/// The day on which a version was published, from the copy of the registry's index that cargo made when it installed the package.
fn published(package: &str, version: &str) -> Option<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    let inside = format!(".cache/{}/{}/{package}", &package[..2], &package[2..4]);
    let registries = fs::read_dir(home.join("registry/index")).ok()?;
    registries.flatten().find_map(|registry| {
        let bytes = fs::read(registry.path().join(&inside)).ok()?;
        day_in_index(&String::from_utf8_lossy(&bytes), version)
    })
}

/// Entries of the index are JSON objects, one for each version, with zero bytes between them.
fn day_in_index(index: &str, version: &str) -> Option<String> {
    index.split('\0').filter_map(|entry| serde_json::from_str::<serde_json::Value>(entry).ok()).find_map(|entry| {
        let day = (entry["vers"] == version).then(|| entry["pubtime"].as_str())??;
        Some(day.get(..10)?.to_owned())
    })
}

/// A day that stands as eight digits in a version: `v0.0.20220316`.
fn date_in(version: &str) -> Option<String> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 8)?;
    Some(format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]))
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    tool(program, arguments).unwrap_or_else(|| panic!("{program} does not run: start this through benches/compare/run, which installs it"))
}

/// The first line that a program prints, if it can be run.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_release_is_read_from_its_version_or_from_the_index() {
        assert_eq!(date_in("wireguard-go v0.0.20220316").as_deref(), Some("2022-03-16"));
        assert_eq!(date_in("wireguard-go 0.1").as_deref(), None);
        let entry = |version: &str, time: &str| format!("{version}\0{{\"vers\":\"{version}\",\"pubtime\":\"{time}\"}}\0");
        let index = ["\u{3}etag\0", &entry("0.7.0", "2026-01-15T01:02:10Z"), &entry("0.7.1", "2026-05-01T22:59:42Z")].concat();
        assert_eq!(day_in_index(&index, "0.7.1").as_deref(), Some("2026-05-01"));
        assert_eq!(day_in_index(&index, "0.8.0"), None);
    }

    #[test]
    fn every_peer_is_found_by_its_name() {
        for peer in Contender::PEERS {
            assert_eq!(Contender::peer(&peer.name()), Ok(peer));
            assert!(peer.is_peer());
        }
    }
}
