//! A second relay as a municipality's router: its endpoint calls the first one, and its "cloud" is the office.
//!
//! Seen from there everything is the other way round: behind the tunnel are the services, and what the office opens is a callback. No
//! NAT stands between, so ESP travels as protocol 50, which charon in user space cannot.

use std::fs;
use std::net::Ipv4Addr;

use controlplane::demo::trunk::QINQ_TRUNK_MTU;
use controlplane::demo::vlan::VlanTag;
use controlplane::demo::{Links, Namespace};

use crate::keys::write_secret;
use crate::plan::{Municipality, RELAY, SHARED_GLOBAL};
use crate::process::ip;
use crate::relay::{Driver, Files, METRICS, Relay};
use crate::topology::{ACCESS_PORT, CLOUD_PORT, Lab, namespace, relay_port};

/// The relay, as the hall's tenant.
pub const TENANT: &str = "tokyo-1";
/// The office's host at the counter, as its own network knows it.
pub const COUNTER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 17);
/// Where that host finds the shared services.
pub const SERVICES: Ipv4Addr = Ipv4Addr::new(10, 20, 255, 10);
/// Where a relay stands in the town hall: a line to the access network and a port into the office, each its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Where the router was, at its address.
    First,
    /// Beside it.
    Second,
}

/// The office's router before the first relay; the second one has the next four addresses, and so on.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 20, 254, 1);

impl Place {
    /// Its namespace, its end of the access network's cable, its directory.
    const fn name(self) -> &'static str {
        match self {
            Self::First => "hall",
            Self::Second => "hall-2",
        }
    }

    /// Its port's other end, in the office.
    const fn inside(self) -> &'static str {
        match self {
            Self::First => "hall0",
            Self::Second => "hall1",
        }
    }

    fn on_the_access_network(self, town: &Municipality) -> Ipv4Addr {
        match self {
            Self::First => town.router_address(),
            Self::Second => Ipv4Addr::from_bits(town.router_address().to_bits() + 100),
        }
    }

    /// The office's router, as this place sees it.
    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(GATEWAY.to_bits() + 4 * self as u32)
    }

    /// Its own address before the office's router.
    fn own(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.gateway().to_bits() + 1)
    }

    /// Has the office send to the services through this place from now on.
    pub fn carries_the_office(self, office: &Namespace) {
        ip(office, &format!("route replace {SERVICES}/32 via {} src {COUNTER}", self.own()));
    }
}

/// A tunnel of the hall's to the relay, under this name, which it calls at once: who it is, and whom it expects. `more` of its `ipsec:`
/// mapping.
#[must_use]
pub fn tunnel(name: &str, (identity, relay_identity): (&str, &str), more: &str) -> String {
    format!(
        "  {name}: {{endpoint: hall, ipsec: {{local_id: {identity}, remote_id: {relay_identity}, psk_file: keys/relay.psk, peer: {RELAY}, \
         initiate: always{more}}}}}\n"
    )
}

/// The hall's tenant file in the first place: the relay as its one tenant, with these tunnels.
#[must_use]
pub fn tenant(town: &Municipality, tunnels: &[String]) -> String {
    tenant_at(Place::First, town, tunnels)
}

fn tenant_at(place: Place, town: &Municipality, tunnels: &[String]) -> String {
    format!(
        "tenant: {TENANT}\nname: 中継\ntunnels:\n{}office:\n  mynumber: [{SHARED_GLOBAL}/32]\nsource:\n  mynumber: keep\n\
         clouds:\n  office: {{port: office, vlan: {}, address: {}/30, gateway: {}}}\n\
         callbacks:\n  - {{name: 住民記録, class: mynumber, from: [{COUNTER}/32], as: {}, to: {SERVICES}, office: {SHARED_GLOBAL}, \
         allow: [tcp/80, udp/53, icmp]}}\n",
        tunnels.concat(),
        town.vlan,
        place.own(),
        place.gateway(),
        town.counter()
    )
}

/// Takes the charon of the laboratory's first municipality away and puts a relay in its place, with these tunnels.
#[must_use]
pub fn in_place_of_the_router(lab: &mut Lab, driver: Driver, tunnels: &[String]) -> Relay {
    lab.towns[0].kill_router();
    ip(&lab.towns[0].office, "link delete wan0");
    let relay = stands_at(Place::First, lab, driver, tunnels);
    let office = &lab.towns[0].office;
    ip(office, &format!("address add {COUNTER}/32 dev lo"));
    Place::First.carries_the_office(office);
    relay
}

/// Puts another one beside it, with these tunnels.
#[must_use]
pub fn beside_the_first(lab: &Lab, driver: Driver, tunnels: &[String]) -> Relay {
    stands_at(Place::Second, lab, driver, tunnels)
}

fn stands_at(place: Place, lab: &Lab, driver: Driver, tunnels: &[String]) -> Relay {
    let (hall, town) = (namespace(place.name()), &lab.towns[0]);
    wire(place, lab, &hall, &town.office, town.plan.vlan);
    let directory = lab.directory().join(place.name());
    for folder in ["etc/tenants", "etc/keys", "state"] {
        fs::create_dir_all(directory.join(folder)).expect("create the hall's directories");
    }
    let ipsec = town.plan.ipsec.as_ref().expect("an IPsec municipality");
    write_secret(&directory.join("etc/keys/relay.psk"), &ipsec.psk);
    let (run, driver, router) = (directory.display(), driver.label(), place.on_the_access_network(&town.plan));
    let relay_yaml = format!(
        "relay: hall\nports:\n  access: {{interface: {ACCESS_PORT}, address: {router}/24, gateway: 192.0.2.254, driver: {driver}}}\n\
         \x20 office: {{interface: {CLOUD_PORT}, mtu: 1500, driver: {driver}}}\n\
         endpoints:\n  - {{name: hall, port: access, ipsec: {{local_id: {}}}}}\n\
         shared_addresses: [{}]\nmetrics: {{listen: \"{METRICS}\"}}\napi: {{socket: {run}/api.sock}}\nstate: {run}/state\n\
         tenants: tenants/*.yaml\n",
        ipsec.identity, town.plan.mynumber
    );
    let files = Files::at(directory.join("etc/relay.yaml"));
    fs::write(&files.relay_yaml, relay_yaml).expect("write the hall's relay.yaml");
    files.put_text(TENANT, &tenant_at(place, &town.plan, tunnels));
    Relay::start_in(&hall, &directory, files)
}

/// The hall's ports: one on the access network, and one into the office, whose kernel ends the VLAN.
fn wire(place: Place, lab: &Lab, hall: &Namespace, office: &Namespace, vlan: VlanTag) {
    let (name, inside) = (place.name(), place.inside());
    relay_port(hall, ACCESS_PORT, &lab.access, name, 1500);
    ip(&lab.access, &format!("link set {name} master lan0"));
    relay_port(hall, CLOUD_PORT, office, inside, QINQ_TRUNK_MTU);
    let VlanTag::Single(vlan) = vlan else { panic!("one tag, not {vlan}") };
    Links::of(office).and_then(|links| links.end_vlan(inside, vlan)).unwrap_or_else(|error| panic!("{error}"));
    ip(office, &format!("link set {inside} mtu 1500"));
    ip(office, &format!("address add {}/30 dev {inside}", place.gateway()));
}
