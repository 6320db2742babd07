//! wireguard-go as a municipality's router, with the office's hosts behind it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use controlplane::demo::Namespace;

use crate::keys::write_secret;
use crate::plan::{INNER_MTU, LISTEN, Municipality, RELAY};
use crate::process::{Running, ip, must, wait_until};

/// wireguard-go's control sockets lie in one directory for all namespaces, so interface names have to differ.
static NEXT_INTERFACE: AtomicU32 = AtomicU32::new(0);

/// A running municipal router. The office's addresses are its own, on the loopback interface.
#[derive(Debug)]
pub struct Router {
    namespace: Namespace,
    directory: PathBuf,
    configuration: PathBuf,
    source: Ipv4Addr,
    interface: String,
    wireguard: Running,
}

impl Router {
    /// Starts the router of `town`, whose relay has the key `relay_key`, in a namespace that has the access network already.
    /// It has no peer before [`Router::call_relay`].
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, town: &Municipality, relay_key: &str) -> Self {
        let configuration = directory.join(format!("router-{}.conf", town.tenant));
        write_secret(&configuration, &wireguard_configuration(town, relay_key));
        let interface = format!("wg{}n{}", process::id(), NEXT_INTERFACE.fetch_add(1, Ordering::Relaxed));
        let wireguard = start_wireguard(namespace, directory, &interface);
        let router = Self {
            namespace: namespace.clone(),
            directory: directory.to_owned(),
            configuration,
            source: town.counter(),
            interface,
            wireguard,
        };
        router.bring_up();
        router
    }

    fn bring_up(&self) {
        wait_until("wireguard-go's control socket", Duration::from_secs(10), || self.socket().exists());
        ip(&self.namespace, &format!("link set {} mtu {INNER_MTU} up", self.interface));
        for destination in ["203.0.113.0/24", "10.0.0.0/8", "192.0.2.128/25", "198.51.100.0/24"] {
            ip(&self.namespace, &format!("route replace {destination} dev {} src {}", self.interface, self.source));
        }
    }

    /// Takes the relay as its peer and shakes hands with it at once, instead of at the next of its five-second retries.
    pub fn call_relay(&self) {
        must(&self.namespace, "wg", &["setconf", &self.interface, self.configuration.to_str().expect("a path of text")]);
    }

    /// The tunnel's interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The router's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.wireguard.pid()
    }

    /// Seconds since 1970 of the last handshake, 0 before the first.
    #[must_use]
    pub fn latest_handshake(&self) -> u64 {
        let text = must(&self.namespace, "wg", &["show", &self.interface, "latest-handshakes"]);
        text.split_whitespace().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
    }

    /// Takes another UDP source port, as behind a NAT box that forgot its mapping.
    pub fn change_port(&self, port: u16) {
        must(&self.namespace, "wg", &["set", &self.interface, "listen-port", &port.to_string()]);
    }

    /// Sets the tunnel's MTU, as a careless administrator would.
    pub fn set_mtu(&self, mtu: u16) {
        ip(&self.namespace, &format!("link set {} mtu {mtu}", self.interface));
    }

    /// Switches the router off without a word and on again, as after a power cut.
    pub fn power_cycle(&mut self) {
        self.wireguard.kill();
        let _ = fs::remove_file(self.socket());
        wait_until("the old tunnel interface is gone", Duration::from_secs(5), || {
            !ip(&self.namespace, "-brief link").contains(&self.interface)
        });
        self.wireguard = start_wireguard(&self.namespace, &self.directory, &self.interface);
        self.bring_up();
        self.call_relay();
    }

    fn socket(&self) -> PathBuf {
        Path::new("/var/run/wireguard").join(format!("{}.sock", self.interface))
    }
}

fn start_wireguard(namespace: &Namespace, directory: &Path, interface: &str) -> Running {
    Running::start(namespace, directory, interface, "wireguard-go", &["-f", interface])
}

fn wireguard_configuration(town: &Municipality, relay_key: &str) -> String {
    format!(
        "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {relay_key}\nEndpoint = {RELAY}:{LISTEN}\n\
         AllowedIPs = 0.0.0.0/0\nPersistentKeepalive = 25\n",
        town.keys.private
    )
}

impl Drop for Router {
    fn drop(&mut self) {
        self.wireguard.kill();
        let _ = fs::remove_file(self.socket());
    }
}
