//! One contender's world, the same for all but for the relay in its middle:
//!
//! ```text
//! office: host, its router   wan0 ====== access0  RELAY  cloud0 ------ trunk0  cloud: server
//! ```
//! The cables keep the kernel's own offload settings, unless the relay's driver needs them off. Towards chukei the cloud's end is a
//! VLAN, whose tag the kernel takes off and puts on; a peer's cable is plain, which spares it the tag.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use controlplane::demo::vlan::VlanTag;
use controlplane::demo::{Links, Namespace, in_namespace};
use netns_tests::keys::KeyPair;
use netns_tests::plan::{CLOUD_GATEWAY, Municipality, NAPT_POOL, RELAY_ON_VLAN, RESIDENTS};
use netns_tests::process::{Running, ip};

use crate::contender::{Contender, Release};
use crate::cpu::Processes;
use crate::line::{Client, Line};
use crate::relay::{chukei, peer};
use crate::strongswan::strongswan;

/// The relay's port towards the municipality.
pub(crate) const ACCESS_PORT: &str = "access0";
/// The relay's port towards the cloud.
pub(crate) const CLOUD_PORT: &str = "cloud0";
/// The far ends of both cables.
const OFFICE_END: &str = "wan0";
const CLOUD_END: &str = "trunk0";
/// How every peer moves packets.
const PEERS_MODE: &str = "TUN + nftables, cables as the kernel makes them";

/// A running relay with an office and a cloud. All of it goes when it is dropped, or with this process.
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) contender: Contender,
    pub(crate) release: Release,
    /// How it moves frames: for chukei the driver and mode it chose.
    pub(crate) mode: String,
    pub(crate) office: Namespace,
    pub(crate) cloud: Namespace,
    /// The municipality.
    pub(crate) town: Municipality,
    /// Its router, which is the same program in every world of a line.
    pub(crate) client: Client,
    pub(crate) server: Running,
    pub(crate) directory: PathBuf,
    relay: Box<dyn Relaying>,
    // An anonymous namespace lives as long as its handle.
    _middle: Namespace,
}

/// A relay that has been started.
pub(crate) trait Relaying {
    /// Its process.
    fn pid(&self) -> u32;
    /// What it has lost, where it says so.
    fn losses(&self) -> String;
}

impl World {
    /// Builds a world and waits until its tunnel is up.
    ///
    /// # Panics
    /// When the kernel refuses something or a program does not start; the message says which.
    pub(crate) fn build(contender: Contender, line: Line, number: usize, directory: &Path) -> Self {
        let directory = directory.join(format!("world{number}"));
        std::fs::create_dir(&directory).expect("create a directory");
        let name = contender.name();
        let [office, middle, cloud] = ["office", "relay", "cloud"].map(|place| namespace(&format!("{place} of {name}")));
        let town = line.town();
        cable((&middle, ACCESS_PORT), (&office, OFFICE_END));
        cable((&middle, CLOUD_PORT), (&cloud, CLOUD_END));
        furnish_office(&office, &town);
        furnish_cloud(&cloud);
        let keys = KeyPair::generate();
        let (relay, mode): (Box<dyn Relaying>, String) = match contender {
            Contender::Chukei(driver) => {
                let relay = chukei(&middle, &directory, &town, &keys, driver);
                let mode = relay.mode();
                end_cables_for(&office, &cloud, &town, &mode);
                (Box::new(relay), mode)
            }
            Contender::StrongSwan => (Box::new(strongswan(&middle, &directory, &town)), PEERS_MODE.to_owned()),
            peer_kind => (Box::new(peer(peer_kind, &middle, &directory, &town, &keys, number)), PEERS_MODE.to_owned()),
        };
        let client = Client::call(line, &office, &directory, &town, &keys);
        client.wait_until_up(&name);
        let server = Running::start(&cloud, &directory, "server", "iperf3", &["--server"]);
        Self { name, contender, release: contender.release(), mode, office, cloud, town, client, server, directory, relay, _middle: middle }
    }

    /// The processes whose time is told apart; `load` is whoever makes the load beside iperf3's server.
    pub(crate) fn processes(&self, load: u32) -> Processes {
        Processes { relay: self.relay.pid(), client: self.client.pid(), load: vec![load, self.server.pid()] }
    }

    /// The host in the office.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.town.counter()
    }

    pub(crate) fn losses(&self) -> String {
        self.relay.losses()
    }

    /// What the municipality's tunnel has carried: every inner packet, as neither router hands over larger ones. The same count
    /// in every world, whatever the relay makes of the packets.
    pub(crate) fn carried(&self) -> Carried {
        let read = || std::fs::read_to_string("/proc/thread-self/net/dev").expect("read /proc/thread-self/net/dev");
        let table = in_namespace(&self.office, read).unwrap_or_else(|error| panic!("{error}"));
        Carried::parse(&table, self.client.interface()).expect("the tunnel's line in /proc/net/dev")
    }
}

/// Packets and their bytes, IP header included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Carried {
    pub(crate) up_packets: u64,
    pub(crate) up_bytes: u64,
    pub(crate) down_packets: u64,
    pub(crate) down_bytes: u64,
}

impl Carried {
    /// /proc/net/dev: eight columns of receiving after the name, then eight of sending; bytes and packets come first in each.
    fn parse(table: &str, interface: &str) -> Option<Self> {
        let line = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
        let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
        let [down_bytes, down_packets, .., up_bytes, up_packets, _, _, _, _, _, _] = fields[..] else { return None };
        Some(Self { up_packets, up_bytes, down_packets, down_bytes })
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            up_packets: self.up_packets - before.up_packets,
            up_bytes: self.up_bytes - before.up_bytes,
            down_packets: self.down_packets - before.down_packets,
            down_bytes: self.down_bytes - before.down_bytes,
        }
    }

    pub(crate) const fn packets(self) -> u64 {
        self.up_packets + self.down_packets
    }

    pub(crate) const fn bytes(self) -> u64 {
        self.up_bytes + self.down_bytes
    }
}

fn namespace(name: &str) -> Namespace {
    let namespace = Namespace::create(name).unwrap_or_else(|error| panic!("{error}"));
    ip(&namespace, "link set lo up");
    namespace
}

/// A cable with the kernel's own offload settings.
fn cable((here, name): (&Namespace, &str), (there, peer): (&Namespace, &str)) {
    ip(here, &format!("link add name {name} type veth peer name {peer} netns {}", there.path()));
    for (namespace, end) in [(here, name), (there, peer)] {
        Links::of(namespace).and_then(|links| links.ipv6_off(end)).unwrap_or_else(|error| panic!("{error}"));
        ip(namespace, &format!("link set {end} up"));
    }
}

fn furnish_office(office: &Namespace, town: &Municipality) {
    ip(office, &format!("address add {}/24 dev {OFFICE_END}", town.router_address()));
    ip(office, &format!("address add {}/32 dev lo", town.counter()));
}

fn furnish_cloud(cloud: &Namespace) {
    ip(cloud, &format!("address add {CLOUD_GATEWAY}/30 dev {CLOUD_END}"));
    ip(cloud, &format!("address add {RESIDENTS}/32 dev lo"));
    ip(cloud, &format!("route add {NAPT_POOL} via {RELAY_ON_VLAN} src {RESIDENTS}"));
}

/// Sets the far ends of chukei's cables as its driver needs them: AF_XDP in copy mode takes no super-frames and no unfinished checksums.
fn end_cables_for(office: &Namespace, cloud: &Namespace, town: &Municipality, mode: &str) {
    let VlanTag::Single(vlan) = town.vlan else { panic!("the comparison uses one tag") };
    let set = || {
        let (office, cloud) = (Links::of(office)?, Links::of(cloud)?);
        if !takes_super_frames(mode) {
            office.offloads_off(OFFICE_END)?;
            cloud.offloads_off(CLOUD_END)?;
        }
        cloud.end_vlan(CLOUD_END, vlan)
    };
    set().unwrap_or_else(|error| panic!("{error}"));
}

/// Whether a mode, as `chukei show ports` tells it, deals in frames longer than the MTU.
pub(crate) fn takes_super_frames(mode: &str) -> bool {
    ["vnet_hdr", "segmentation", "gso", "offload"].iter().any(|word| mode.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tunnels_counters_are_read_from_its_own_line() {
        let table = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n    lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  wg1n0: 1000 10 0 0 0 0 0 0 3000 20 0 1 0 0 0 0\n";
        let carried = Carried::parse(table, "wg1n0").unwrap();
        assert_eq!(carried, Carried { up_packets: 20, up_bytes: 3000, down_packets: 10, down_bytes: 1000 });
        assert_eq!((carried.packets(), carried.bytes()), (30, 4000));
        assert_eq!(Carried::parse(table, "wg1"), None);
    }
}
