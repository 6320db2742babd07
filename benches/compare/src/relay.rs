//! Starting a relay: chukei, or a peer with the kernel's NAT behind it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use controlplane::demo::Namespace;
use netns_tests::keys::{KeyPair, write_secret};
use netns_tests::plan::{CLOUD_GATEWAY, INNER_MTU, LISTEN, Municipality, RELAY, RELAY_ON_VLAN, RESIDENTS, SHARED_GLOBAL};
use netns_tests::process::{Running, ip, must, output, text_of, wait_until};
use netns_tests::relay::{METRICS, binary, http_get};
use serde_json::Value;

use crate::contender::{Contender, Driver};
use crate::world::{ACCESS_PORT, CLOUD_PORT, Relaying};

/// From the start of a relay until it serves.
const READY: Duration = Duration::from_secs(20);
/// The cloud-side addresses behind which the office's hosts stand, as nftables writes them; chukei has the same as a prefix.
const POOL: &str = "10.254.1.8-10.254.1.11";
/// wireguard-go and those who follow it keep their control sockets here, for all namespaces.
const SOCKETS: &str = "/var/run/wireguard";

/// Starts chukei and waits until it is ready.
pub(crate) fn chukei(namespace: &Namespace, directory: &Path, town: &Municipality, keys: &KeyPair, driver: Driver) -> Chukei {
    let configuration = write_configuration(directory, town, keys, driver);
    let arguments = ["run", "-c", configuration.to_str().expect("a path of text")];
    let mut process = Running::start(namespace, directory, "relay", &binary(), &arguments);
    wait_until("chukei is ready (see relay.log)", READY, || {
        assert!(process.is_running(), "chukei ended:\n{}", process.log());
        http_get(namespace, "/readyz").0 == 200
    });
    Chukei { process, namespace: namespace.clone(), socket: directory.join("api.sock") }
}

fn write_configuration(directory: &Path, town: &Municipality, keys: &KeyPair, driver: Driver) -> PathBuf {
    let tenants = directory.join("tenants");
    for directory in [&tenants, &directory.join("state")] {
        fs::create_dir(directory).expect("create a directory");
    }
    write_secret(&directory.join("relay.key"), &keys.private);
    let endpoint = if let Some(ipsec) = &town.ipsec {
        fs::create_dir(directory.join("keys")).expect("create a directory");
        write_secret(&directory.join(format!("keys/{}.psk", town.tenant)), &ipsec.psk);
        format!("{{name: tokyo-ipsec, port: access, ipsec: {{local_id: {}}}}}", ipsec.relay_identity)
    } else {
        format!("{{name: tokyo-a, port: access, wireguard: {{listen: {LISTEN}, private_key_file: relay.key}}}}")
    };
    let (run, driver) = (directory.display(), driver.label());
    let yaml = format!(
        "relay: compare\nports:\n  access: {{interface: {ACCESS_PORT}, address: {RELAY}/24, driver: {driver}}}\n\
         \x20 aws: {{interface: {CLOUD_PORT}, driver: {driver}}}\n\
         endpoints:\n  - {endpoint}\n\
         shared_addresses: [203.0.113.0/26]\n\
         metrics: {{listen: \"{METRICS}\"}}\napi: {{socket: {run}/api.sock}}\nstate: {run}/state\ntenants: tenants/*.yaml\n"
    );
    let path = directory.join("relay.yaml");
    fs::write(&path, yaml).expect("write relay.yaml");
    fs::write(tenants.join("town.yaml"), town.yaml()).expect("write a tenant file");
    path
}

/// A running chukei.
pub(crate) struct Chukei {
    process: Running,
    namespace: Namespace,
    socket: PathBuf,
}

impl Chukei {
    /// Driver and mode of both ports, as it tells them.
    pub(crate) fn mode(&self) -> String {
        let of = |row: &Value| format!("{}, {}", row["driver"].as_str().unwrap_or("?"), row["mode"].as_str().unwrap_or("?"));
        let mut modes: Vec<String> = self.show("ports").iter().map(of).collect();
        modes.dedup();
        modes.join(" and ")
    }

    fn show(&self, what: &str) -> Vec<Value> {
        let socket = self.socket.to_str().expect("a path of text");
        let output = output(&self.namespace, READY, &binary(), &["show", what, "--json", "--socket", socket]);
        let text = text_of(&output, &format!("chukei show {what}"));
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("chukei show {what} --json: {error}\n{text}"));
        answer["rows"].as_array().cloned().unwrap_or_default()
    }
}

impl Relaying for Chukei {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn losses(&self) -> String {
        let of = |row: &Value| format!("{} {}", row["reason"].as_str().unwrap_or("?"), row["packets"]);
        let rows = self.show("drops");
        rows.iter().filter(|row| row["packets"] != 0).map(of).collect::<Vec<_>>().join(", ")
    }
}

/// Starts a peer's tunnel and the kernel's routing and NAT behind it.
pub(crate) fn peer(kind: Contender, namespace: &Namespace, directory: &Path, town: &Municipality, keys: &KeyPair, number: usize) -> Peer {
    let interface = format!("wg{}r{number}", std::process::id());
    let (program, arguments) = kind.command();
    furnish(namespace);
    let process = Running::start(namespace, directory, "relay", program, &[arguments, &[&*interface]].concat());
    let peer = Peer { process, socket: Path::new(SOCKETS).join(format!("{interface}.sock")) };
    wait_until(&format!("{program}'s control socket"), READY, || peer.socket.exists());
    let configuration = directory.join("relay.conf");
    write_secret(&configuration, &wireguard_configuration(town, keys));
    must(namespace, "wg", &["setconf", &interface, configuration.to_str().expect("a path of text")]);
    ip(namespace, &format!("link set {interface} mtu {INNER_MTU} up"));
    ip(namespace, &format!("route add {} dev {interface}", town.mynumber));
    translate(namespace, directory, &interface, town);
    peer
}

/// Gives the kernel in a peer's namespace its addresses and its route to the cloud, and has it forward.
pub(crate) fn furnish(namespace: &Namespace) {
    ip(namespace, &format!("address add {RELAY}/24 dev {ACCESS_PORT}"));
    ip(namespace, &format!("address add {RELAY_ON_VLAN}/30 dev {CLOUD_PORT}"));
    ip(namespace, &format!("route add {RESIDENTS} via {CLOUD_GATEWAY}"));
    namespace.set_sysctl("net/ipv4/ip_forward", "1").unwrap_or_else(|error| panic!("{error}"));
}

/// Has the kernel translate and filter what comes out of a peer's tunnel and goes into it.
pub(crate) fn translate(namespace: &Namespace, directory: &Path, tunnel: &str, town: &Municipality) {
    let rules = directory.join("rules.nft");
    fs::write(&rules, nat_rules(tunnel, town.mynumber.to_string().as_str())).expect("write rules.nft");
    must(namespace, "nft", &["-f", rules.to_str().expect("a path of text")]);
}

fn wireguard_configuration(town: &Municipality, keys: &KeyPair) -> String {
    format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {LISTEN}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}\n",
        keys.private, town.keys.public, town.mynumber
    )
}

/// What chukei does with the municipality's packets, as rules for the kernel: both translations, default deny with the same services
/// open, the MSS clamped to the tunnel.
fn nat_rules(tunnel: &str, office: &str) -> String {
    let (global, private): (Ipv4Addr, Ipv4Addr) = (SHARED_GLOBAL, RESIDENTS);
    format!(
        "table ip relay {{\n\
         \x20 chain destination {{ type nat hook prerouting priority dstnat; iifname {tunnel} ip daddr {global} dnat to {private}; }}\n\
         \x20 chain source {{ type nat hook postrouting priority srcnat; oifname {CLOUD_PORT} ip saddr {office} snat to {POOL}; }}\n\
         \x20 chain forward {{ type filter hook forward priority filter; policy drop;\n\
         \x20   tcp flags syn tcp option maxseg size set rt mtu\n\
         \x20   ct state established,related accept\n\
         \x20   iifname {tunnel} ip saddr {office} ip daddr {private} tcp dport {{ 80, 443, 5201 }} accept\n\
         \x20   iifname {tunnel} ip saddr {office} ip daddr {private} udp dport {{ 53, 5201 }} accept\n\
         \x20   iifname {tunnel} ip saddr {office} ip daddr {private} icmp type echo-request accept\n\
         \x20 }}\n}}\n"
    )
}

/// A running peer.
pub(crate) struct Peer {
    process: Running,
    socket: PathBuf,
}

impl Relaying for Peer {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn losses(&self) -> String {
        String::new()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_file(&self.socket);
    }
}
