//! What the municipality and the relay speak, and the municipality's router for it: the same one in front of every relay.

use std::path::Path;
use std::time::Duration;

use controlplane::demo::Namespace;
use netns_tests::keys::KeyPair;
use netns_tests::plan::Municipality;
use netns_tests::process::wait_until;
use netns_tests::router::Router;
use netns_tests::strongswan::{Connection, StrongSwan};

use crate::report::{Target, Targets};

/// From the first call until the tunnel is up.
const UP: Duration = Duration::from_secs(20);
/// The relay's global addresses, as the municipality's selectors name them.
const GLOBALS: &str = "203.0.113.0/26";

/// The tunnel of one table: all of its contenders carry the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    Wireguard,
    Ipsec(Suite),
}

/// How ESP protects packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suite {
    /// AES-256-GCM with a tag of 16 bytes.
    AesGcm,
    /// AES-256-CBC and HMAC-SHA-256-128.
    AesCbcHmac,
}

impl Suite {
    pub(crate) const BOTH: [Self; 2] = [Self::AesGcm, Self::AesCbcHmac];

    /// As strongSwan spells the only proposal for ESP.
    const fn esp(self) -> &'static str {
        match self {
            Self::AesGcm => "aes256gcm16",
            Self::AesCbcHmac => "aes256-sha256",
        }
    }
}

impl Line {
    /// Short, for files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard",
            Self::Ipsec(Suite::AesGcm) => "gcm",
            Self::Ipsec(Suite::AesCbcHmac) => "cbc",
        }
    }

    /// For people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Wireguard => "WireGuard",
            Self::Ipsec(Suite::AesGcm) => "IPsec, ESP in UDP, AES-256-GCM",
            Self::Ipsec(Suite::AesCbcHmac) => "IPsec, ESP in UDP, AES-256-CBC + HMAC-SHA-256-128",
        }
    }

    /// The program that is the municipality's router.
    pub(crate) const fn client(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard-go",
            Self::Ipsec(_) => "strongSwan",
        }
    }

    /// WireGuard: the relay's process at a quarter of the fastest peer's, all of its work at a third, everything else better than
    /// every peer. IPsec with AES-256-GCM: the process at a sixth; the other suite is reported.
    pub(crate) const fn targets(self) -> Targets {
        match self {
            Self::Wireguard => Targets {
                more: Some(Target::Above(1.0)),
                less: Some(Target::Below(1.0)),
                relay: Some(Target::AtMost(0.25)),
                relaying: Some(Target::AtMost(1.0 / 3.0)),
            },
            Self::Ipsec(Suite::AesGcm) => Targets { more: None, less: None, relay: Some(Target::AtMost(1.0 / 6.0)), relaying: None },
            Self::Ipsec(Suite::AesCbcHmac) => Targets { more: None, less: None, relay: None, relaying: None },
        }
    }

    /// The municipality at the end of such a line.
    pub(crate) fn town(self) -> Municipality {
        let town = Municipality::new("131016-chiyoda", "千代田区", 1);
        let Self::Ipsec(suite) = self else { return town };
        let mut town = town.with_ipsec();
        town.ipsec.as_mut().expect("just added").esp = suite.esp().to_owned();
        town
    }
}

/// What strongSwan is told at the municipality's end; at the relay's end it is the same the other way round.
pub(crate) fn connection(town: &Municipality) -> Connection {
    let mut connection = Connection::of(town);
    // One pair of networks: the one that is measured.
    connection.local_networks = vec![town.mynumber.to_string()];
    connection.remote_networks = vec![GLOBALS.to_owned()];
    connection
}

/// The municipality's router.
pub(crate) enum Client {
    Wireguard(Router),
    Ipsec(StrongSwan),
}

impl Client {
    /// Starts the router and has it call the relay, which has to run.
    pub(crate) fn call(line: Line, office: &Namespace, directory: &Path, town: &Municipality, relay: &KeyPair) -> Self {
        match line {
            Line::Wireguard => {
                let router = Router::start(office, directory, town, &relay.public);
                router.call_relay();
                Self::Wireguard(router)
            }
            Line::Ipsec(_) => {
                let swan = StrongSwan::start(office, directory, "office");
                swan.configure(&connection(town));
                swan.call();
                Self::Ipsec(swan)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Wireguard(router) => router.pid(),
            Self::Ipsec(swan) => swan.pid(),
        }
    }

    /// The tunnel's interface. Neither router knows packets longer than its MTU.
    pub(crate) fn interface(&self) -> &str {
        match self {
            Self::Wireguard(router) => router.interface(),
            Self::Ipsec(_) => "ipsec0",
        }
    }

    pub(crate) fn wait_until_up(&self, relay: &str) {
        match self {
            Self::Wireguard(router) => wait_until(&format!("the tunnel to {relay} is up"), UP, || router.latest_handshake() > 0),
            Self::Ipsec(swan) => swan.wait_until_up(),
        }
    }
}
