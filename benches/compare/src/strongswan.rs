//! strongSwan in the relay's place: charon with ESP in user space (`kernel-libipsec`), and the kernel's routing and NAT behind it.

use std::path::Path;

use controlplane::demo::Namespace;
use netns_tests::plan::Municipality;
use netns_tests::process::ip;
use netns_tests::strongswan::StrongSwan;

use crate::line::connection;
use crate::relay::{furnish, translate};
use crate::world::Relaying;

/// charon's TUN.
const TUNNEL: &str = "ipsec0";
/// `kernel-libipsec` wants an address of its own inside the networks of its side.
const OWN: &str = "203.0.113.1/32";

/// Starts strongSwan for the municipality, which calls by itself.
pub(crate) fn strongswan(namespace: &Namespace, directory: &Path, town: &Municipality) -> Charon {
    furnish(namespace);
    ip(namespace, &format!("address add {OWN} dev lo"));
    let swan = StrongSwan::start(namespace, directory, "relay");
    swan.configure(&connection(town).mirrored());
    translate(namespace, directory, TUNNEL, town);
    Charon(swan)
}

/// A running strongSwan.
pub(crate) struct Charon(StrongSwan);

impl Relaying for Charon {
    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn losses(&self) -> String {
        String::new()
    }
}
