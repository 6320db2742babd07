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
    interface: String,
    wireguard: Running,
}

impl Router {
    /// Starts the router of `town`, whose relay has the key `relay_key`, in a namespace that has the access network already.
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, town: &Municipality, relay_key: &str) -> Self {
        let interface = format!("wg{}n{}", process::id(), NEXT_INTERFACE.fetch_add(1, Ordering::Relaxed));
        let wireguard = Running::start(namespace, directory, &format!("wireguard-go-{}", town.tenant), "wireguard-go", &["-f", &interface]);
        let router = Self { namespace: namespace.clone(), directory: directory.to_owned(), interface, wireguard };
        wait_until("wireguard-go's control socket", Duration::from_secs(10), || router.socket().exists());
        router.configure(town, relay_key);
        router
    }

    fn configure(&self, town: &Municipality, relay_key: &str) {
        let configuration = format!(
            "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {relay_key}\nEndpoint = {RELAY}:{LISTEN}\n\
             AllowedIPs = 0.0.0.0/0\nPersistentKeepalive = 25\n",
            town.keys.private
        );
        let path = self.directory.join(format!("{}.conf", self.interface));
        write_secret(&path, &configuration);
        must(&self.namespace, "wg", &["setconf", &self.interface, path.to_str().expect("a path of text")]);
        ip(&self.namespace, &format!("link set {} mtu {INNER_MTU} up", self.interface));
        for destination in ["203.0.113.0/24", "10.0.0.0/8", "192.0.2.128/25", "198.51.100.0/24"] {
            ip(&self.namespace, &format!("route replace {destination} dev {} src {}", self.interface, town.counter()));
        }
    }

    /// The tunnel's interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
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

    /// Adds a preshared key.
    pub fn use_preshared_key(&self, relay_key: &str, key: &str) {
        let path = self.directory.join(format!("{}.psk", self.interface));
        write_secret(&path, key);
        must(&self.namespace, "wg", &["set", &self.interface, "peer", relay_key, "preshared-key", path.to_str().expect("a path of text")]);
    }

    /// Sends inner packets whatever their destination through the tunnel.
    pub fn route(&self, destination: &str, source: Ipv4Addr) {
        ip(&self.namespace, &format!("route replace {destination} dev {} src {source}", self.interface));
    }

    /// Switches the router off without a word, as a power cut would.
    pub fn power_cut(&mut self) {
        self.wireguard.kill();
        wait_until("the tunnel interface is gone", Duration::from_secs(5), || {
            !ip(&self.namespace, "-brief link").contains(&self.interface)
        });
        let _ = fs::remove_file(self.socket());
    }

    fn socket(&self) -> PathBuf {
        Path::new("/var/run/wireguard").join(format!("{}.sock", self.interface))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.wireguard.kill();
        let _ = fs::remove_file(self.socket());
    }
}
