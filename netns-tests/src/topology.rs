//! The laboratory: access network, municipal routers, trunk and clouds around the relay's two ports, each in a namespace.
//!
//! ```text
//!  office+router 1 --+                                          +-- cloud 1
//!  office+router 2 --+-- access network -- RELAY -- trunk --split-- cloud 2
//!  office+router 3 --+      (bridge)     access0  cloud0        +-- cloud 3
//! ```
//! Namespaces are anonymous and programs die with the test, so nothing stays behind, even when a test is killed.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use controlplane::demo::trunk::{QINQ_TRUNK_MTU, Splitter, TrunkCounts};
use controlplane::demo::vlan::VlanTag;
use controlplane::demo::{Links, Namespace};
use ipnetwork::Ipv4Network;
use nix::unistd::Uid;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cloud::{Cloud, iperf3_listener};
use crate::keys::KeyPair;
use crate::plan::{CLOUD_GATEWAY, DOCUMENTS, Municipality, PRINT_SERVER, RELAY_ON_VLAN, RESIDENTS, SHARED_GLOBAL, TAX};
use crate::process::{ip, must, wait_until};
use crate::router::Router;
use crate::strongswan::{Connection, StrongSwan};
use crate::traffic::Host;

/// MTU of the access network and of the clouds, in bytes.
const MTU: u32 = 1500;
/// The relay's port towards the municipalities.
pub const ACCESS_PORT: &str = "access0";
/// The relay's port towards the clouds.
pub const CLOUD_PORT: &str = "cloud0";
/// The far end of the relay's access port, on the access network's bridge.
pub const RELAY_CABLE: &str = "relay";
/// The far end of the trunk.
pub const TRUNK: &str = "trunk0";

/// Everything around the relay. Dropping it ends every program and, with the last handle, every namespace.
pub struct Lab {
    /// Municipalities with router, office and cloud.
    pub towns: Vec<Town>,
    /// Where the relay's ports are.
    pub relay: Namespace,
    /// Where the far end of the trunk is.
    pub trunk: Namespace,
    /// The relay's WireGuard key.
    pub relay_keys: KeyPair,
    /// None where the trunk ends in the cloud itself.
    splitter: Option<Splitter>,
    /// The access network. An anonymous namespace lives as long as its handle, and its cables with it.
    pub access: Namespace,
    directory: tempfile::TempDir,
}

/// One municipality: a namespace for its router and its office's hosts, another for its cloud.
#[derive(Debug)]
pub struct Town {
    /// What it was built from.
    pub plan: Municipality,
    /// Its router, which speaks WireGuard or IPsec.
    pub router: TownRouter,
    /// Its systems on the cloud.
    pub servers: Cloud,
    /// The office's and the router's namespace.
    pub office: Namespace,
    /// The cloud's namespace.
    pub cloud: Namespace,
}

/// What stands in the town hall.
#[derive(Debug)]
pub enum TownRouter {
    /// wireguard-go.
    WireGuard(Router),
    /// charon.
    StrongSwan(StrongSwan),
}

impl TownRouter {
    fn start(office: &Namespace, directory: &Path, plan: &Municipality, relay_keys: &KeyPair) -> Self {
        if plan.ipsec.is_none() {
            return Self::WireGuard(Router::start(office, directory, plan, &relay_keys.public));
        }
        let swan = StrongSwan::start(office, directory, &plan.tenant);
        swan.configure(&Connection::of(plan));
        Self::StrongSwan(swan)
    }

    /// Calls the relay at once.
    pub fn call_relay(&self) {
        match self {
            Self::WireGuard(router) => router.call_relay(),
            Self::StrongSwan(swan) => swan.call(),
        }
    }
}

impl Town {
    /// The router of a WireGuard municipality.
    #[must_use]
    pub fn wireguard(&self) -> &Router {
        let TownRouter::WireGuard(router) = &self.router else { panic!("{} has no WireGuard router", self.plan.tenant) };
        router
    }

    /// The router of an IPsec municipality.
    #[must_use]
    pub fn strongswan(&self) -> &StrongSwan {
        let TownRouter::StrongSwan(swan) = &self.router else { panic!("{} has no IPsec router", self.plan.tenant) };
        swan
    }

    /// Switches an IPsec router off without a word.
    pub fn kill_router(&mut self) {
        let TownRouter::StrongSwan(swan) = &mut self.router else { panic!("{} has no IPsec router", self.plan.tenant) };
        swan.kill();
    }

    /// Switches the router off without a word and on again, as after a power cut.
    pub fn power_cycle_router(&mut self) {
        match &mut self.router {
            TownRouter::WireGuard(router) => router.power_cycle(),
            TownRouter::StrongSwan(swan) => swan.power_cycle(),
        }
    }

    /// The host at the counter: class `mynumber`.
    #[must_use]
    pub fn counter(&self) -> Host<'_> {
        Host::new(&self.office, self.plan.counter())
    }

    /// The clerk's host: class `lgwan-connected`.
    #[must_use]
    pub fn clerk(&self) -> Host<'_> {
        Host::new(&self.office, self.plan.documents_clerk())
    }

    /// iperf3 from the counter to the shared address for `seconds`; its JSON report. Its server is ready for the next client then.
    #[must_use]
    pub fn iperf3(&self, seconds: u8, more: &[&str]) -> Value {
        let used = iperf3_listener(&self.cloud);
        let report = self.counter().iperf3(SHARED_GLOBAL, seconds, more);
        wait_until("iperf3's server listens anew", Duration::from_secs(10), || {
            let listener = iperf3_listener(&self.cloud);
            listener.is_some() && listener != used
        });
        report
    }

    /// A host of the cloud.
    #[must_use]
    pub fn cloud_host(&self, address: Ipv4Addr) -> Host<'_> {
        Host::new(&self.cloud, address)
    }
}

static NEXT_LAB: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Builds the laboratory for these municipalities. The relay is started apart, by [`crate::relay::Relay::start`], and need not
    /// know all of them from the beginning.
    #[must_use]
    pub fn new(plans: Vec<Municipality>) -> Self {
        assert!(
            Uid::effective().is_root(),
            "namespace tests make network namespaces and take over interfaces: run them as root, see netns-tests/run"
        );
        let number = NEXT_LAB.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix(&format!("chukei-lab{number}-")).tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("files")).expect("create a directory");
        let [relay, access, trunk] = ["relay", "access", "trunk"].map(namespace);
        wire_relay(&relay, &access, &trunk, true);
        let relay_keys = KeyPair::generate();
        let clouds: Vec<Namespace> = plans.iter().map(|plan| wire_cloud(&trunk, plan)).collect();
        let splitter = Some(start_splitter(&trunk, &plans));
        let build = |(plan, cloud): (Municipality, Namespace)| {
            let office = wire_office(&access, &plan);
            let router = TownRouter::start(&office, directory.path(), &plan, &relay_keys);
            let servers = Cloud::start(&cloud, directory.path(), &directory.path().join("files"), &plan.tenant);
            Town { plan, router, servers, office, cloud }
        };
        let towns = plans.into_iter().zip(clouds).map(build).collect();
        Self { towns, relay, trunk, relay_keys, access, splitter, directory }
    }

    /// A laboratory of one municipality with a single tag, whose cables keep the kernel's own offloads: the super-frames of hosts reach
    /// the relay, and the relay's reach the hosts. The VLAN ends in the cloud's kernel, as a splitter would carry frames one by one.
    #[must_use]
    pub fn with_offloads(plan: Municipality) -> Self {
        let directory = tempfile::Builder::new().prefix("chukei-lab-").tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("files")).expect("create a directory");
        let [relay, access, cloud] = ["relay", "access", "cloud"].map(namespace);
        wire_relay(&relay, &access, &cloud, false);
        furnish_cloud(&cloud, TRUNK, &plan);
        let VlanTag::Single(vlan) = plan.vlan else { panic!("one tag, not {}", plan.vlan) };
        Links::of(&cloud).and_then(|links| links.end_vlan(TRUNK, vlan)).unwrap_or_else(|error| panic!("{error}"));
        ip(&cloud, &format!("link set {TRUNK} mtu {MTU}"));
        let relay_keys = KeyPair::generate();
        let office = wire_office(&access, &plan);
        let port = format!("town{}", plan.number);
        let ends = [(&relay, ACCESS_PORT), (&access, "relay"), (&relay, CLOUD_PORT), (&cloud, TRUNK), (&access, &port), (&office, "wan0")];
        for (namespace, end) in ends {
            let on = ["tx", "on", "tso", "on", "gso", "on", "gro", "on", "tx-udp-segmentation", "on"];
            must(namespace, "ethtool", &[&["-K", end][..], &on].concat());
        }
        let router = TownRouter::start(&office, directory.path(), &plan, &relay_keys);
        let servers = Cloud::start(&cloud, directory.path(), &directory.path().join("files"), &plan.tenant);
        let towns = vec![Town { plan, router, servers, office, cloud: cloud.clone() }];
        Self { towns, relay, trunk: cloud, relay_keys, access, splitter: None, directory }
    }

    /// The laboratory's directory: configuration, keys, logs, captures.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the trunk's far end has carried.
    #[must_use]
    pub fn trunk_counts(&self) -> TrunkCounts {
        self.splitter.as_ref().map(Splitter::counts).unwrap_or_default()
    }

    /// A file of `bytes` bytes that look random, which every cloud's web server hands out as `/files/NAME`; its SHA-256 in hexadecimal.
    #[must_use]
    pub fn file(&self, name: &str, bytes: usize) -> (PathBuf, String) {
        let path = self.directory.path().join("files").join(name);
        let body = noise(bytes);
        fs::File::create(&path).and_then(|mut file| file.write_all(&body)).expect("write a file of noise");
        (path, sha256(&body))
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that neither repeat nor compress (xorshift64).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut body = Vec::with_capacity(bytes + 8);
    while body.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend(state.to_le_bytes());
    }
    body.truncate(bytes);
    body
}

pub(crate) fn namespace(name: &str) -> Namespace {
    let namespace = Namespace::create(name).unwrap_or_else(|error| panic!("{error}"));
    ip(&namespace, "link set lo up");
    namespace
}

/// A cable without offloads, up at both ends, on which the kernel says nothing of its own about IPv6: every packet is a test's.
pub fn cable(namespace: &Namespace, name: &str, peer: &Namespace, peer_name: &str, mtu: u32) {
    let make = || {
        let (here, there) = (Links::of(namespace)?, Links::of(peer)?);
        here.veth_pair(name, &there, peer_name, mtu)?;
        here.ipv6_off(name)?;
        there.ipv6_off(peer_name)?;
        here.up(name)?;
        there.up(peer_name)
    };
    make().unwrap_or_else(|error| panic!("{error}"));
}

/// A port of the relay: the relay's end is left as an operator would leave it, for the relay to take over.
pub(crate) fn relay_port(relay: &Namespace, name: &str, peer: &Namespace, peer_name: &str, mtu: u32) {
    let make = || {
        let (here, there) = (Links::of(relay)?, Links::of(peer)?);
        here.veth_pair(name, &there, peer_name, mtu)?;
        there.ipv6_off(peer_name)?;
        here.up(name)?;
        there.up(peer_name)
    };
    make().unwrap_or_else(|error| panic!("{error}"));
    must(relay, "ethtool", &["-K", name, "tx", "on", "gro", "on", "gso", "on"]);
}

fn wire_relay(relay: &Namespace, access: &Namespace, trunk: &Namespace, has_splitter: bool) {
    // A bridge that snoops joins 224.0.0.106 (RFC 4286) and tells it to all its ports by IGMP, a random while later.
    ip(access, "link add lan0 type bridge mcast_snooping 0");
    Links::of(access).and_then(|links| links.ipv6_off("lan0")).unwrap_or_else(|error| panic!("{error}"));
    ip(access, "link set lan0 up");
    relay_port(relay, ACCESS_PORT, access, RELAY_CABLE, MTU);
    ip(access, &format!("link set {RELAY_CABLE} master lan0"));
    relay_port(relay, CLOUD_PORT, trunk, TRUNK, QINQ_TRUNK_MTU);
    if has_splitter {
        quiet(trunk, TRUNK);
    }
}

/// Ends of cables that only the splitter serves: the kernel answers no ARP there.
fn quiet(namespace: &Namespace, name: &str) {
    Links::of(namespace).and_then(|links| links.silence(name)).unwrap_or_else(|error| panic!("{error}"));
}

fn wire_office(access: &Namespace, plan: &Municipality) -> Namespace {
    let office = namespace(&format!("office{}", plan.number));
    let port = format!("town{}", plan.number);
    cable(access, &port, &office, "wan0", MTU);
    ip(access, &format!("link set {port} master lan0"));
    ip(&office, &format!("address add {}/24 dev wan0", plan.router_address()));
    for host in [plan.counter(), plan.documents_clerk()] {
        ip(&office, &format!("address add {host}/32 dev lo"));
    }
    office
}

fn wire_cloud(trunk: &Namespace, plan: &Municipality) -> Namespace {
    let cloud = namespace(&format!("cloud{}", plan.number));
    cable(trunk, &circuit(plan), &cloud, "eth0", MTU);
    quiet(trunk, &circuit(plan));
    furnish_cloud(&cloud, "eth0", plan);
    cloud
}

/// Addresses of the cloud's hosts, and the way to the relay.
fn furnish_cloud(cloud: &Namespace, interface: &str, plan: &Municipality) {
    ip(cloud, &format!("address add {CLOUD_GATEWAY}/30 dev {interface}"));
    for host in [RESIDENTS, TAX, PRINT_SERVER, DOCUMENTS] {
        ip(cloud, &format!("address add {host}/32 dev lo"));
    }
    for prefix in &plan.cloud_routes {
        route_to_relay(cloud, *prefix);
    }
}

/// Has the cloud route `prefix` to the relay.
pub fn route_to_relay(cloud: &Namespace, prefix: Ipv4Network) {
    ip(cloud, &format!("route replace {prefix} via {RELAY_ON_VLAN} src {RESIDENTS}"));
}

fn circuit(plan: &Municipality) -> String {
    format!("circuit{}", plan.number)
}

fn start_splitter(trunk: &Namespace, plans: &[Municipality]) -> Splitter {
    let names: Vec<String> = plans.iter().map(circuit).collect();
    let circuits: Vec<_> = plans.iter().zip(&names).map(|(plan, name)| (plan.vlan, name.as_str())).collect();
    Splitter::start(trunk, TRUNK, &circuits, Box::new(|_| ())).unwrap_or_else(|error| panic!("{error}"))
}
