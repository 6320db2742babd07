//! The demo's world around the relay:
//!
//! ```text
//! office 1 --lan0--hall1-+                                                        +-vlan1--eth0-- cloud 1
//! office 2 --lan0--hall2-+ access --access1--access0- RELAY -cloud0--trunk- carrier +-vlan2--eth0-- cloud 2
//! office 3 --lan0--hall3-+ (three routers)                               (splitter) +-vlan3--eth0-- cloud 3
//! ```
//!
//! The relay's two ports are up and carry nothing else. All of it goes when the value is dropped.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnetwork::Ipv4Network;

use super::canary::{CanaryTap, CanaryWatch};
use super::error::DemoError;
use super::ipsec_line::{IPSEC_PORT, IpsecSettings};
use super::links::{Links, MacAddress};
use super::municipality::{Router, RouterSettings};
use super::namespaces::Namespace;
use super::plan::{ACCESS_GATEWAY, Kind, Municipality, RELAY_ACCESS, RELAY_IDENTITY, RELAY_UDP_PORT, TUNNEL_MTU};
use super::raw_socket::RawSocket;
use super::trunk::Splitter;

/// The relay's port towards the municipalities, in [`Topology::relay`].
pub const ACCESS_PORT: &str = "access0";
/// The relay's port towards the clouds, in [`Topology::relay`].
pub const CLOUD_PORT: &str = "cloud0";
/// What both cables of the relay carry, in bytes.
const PORT_MTU: u32 = 1500;
/// The office's next hop. It stands on the office's cable only, so every office can have the same.
const HALL_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
/// First number of Ethernet addresses, by what they belong to.
const OFFICE_KIND: u8 = 1;
const HALL_KIND: u8 = 2;
const CLOUD_KIND: u8 = 3;

/// One municipality's places.
#[derive(Debug)]
pub struct Place {
    /// Who it is.
    pub municipality: Municipality,
    /// Where its desks and its printer are.
    pub office: Namespace,
    /// Where its servers are.
    pub cloud: Namespace,
    _tap: CanaryTap,
}

/// Everything around the relay.
pub struct Topology {
    /// The namespace that the relay runs in.
    pub relay: Namespace,
    /// The municipalities, in the order they were given.
    pub places: Vec<Place>,
    /// What was seen of canaries on the trunk and in the offices.
    pub watch: CanaryWatch,
    /// The far end of the cloud trunk.
    pub splitter: Splitter,
    access: Namespace,
    access_links: Links,
}

impl Topology {
    /// Builds the world for `municipalities`; their routers are not running yet.
    ///
    /// # Errors
    /// When the kernel refuses namespaces or interfaces.
    pub fn build(municipalities: &[Municipality]) -> Result<Self, DemoError> {
        let [relay, access, carrier] = [Namespace::create("relay")?, Namespace::create("access")?, Namespace::create("carrier")?];
        let [relay_links, access_links, carrier_links] = [Links::of(&relay)?, Links::of(&access)?, Links::of(&carrier)?];
        // For the relay's own metrics.
        relay_links.up("lo")?;
        cable((&relay_links, ACCESS_PORT), (&access_links, "access1"), PORT_MTU)?;
        cable((&relay_links, CLOUD_PORT), (&carrier_links, "trunk"), PORT_MTU)?;
        carrier_links.silence("trunk")?;
        for address in municipalities.iter().map(|one| one.router).chain([ACCESS_GATEWAY]) {
            access_links.add_address("access1", network(address, RELAY_ACCESS.1))?;
        }
        let owners = municipalities.iter().flat_map(|one| [one.canary(), one.lgwan_connected_canary()].map(|canary| (one.vlan, canary)));
        let watch = CanaryWatch::new(owners.collect());
        let mut places = Vec::with_capacity(municipalities.len());
        for (number, municipality) in (1..).zip(municipalities) {
            let office = build_office(number, municipality, &access_links)?;
            let cloud = build_cloud(number, municipality, &carrier_links)?;
            let tap = CanaryTap::start(&office, "lan0", municipality.vlan, &watch)?;
            places.push(Place { municipality: municipality.clone(), office, cloud, _tap: tap });
        }
        let names: Vec<_> = (1..=municipalities.len()).map(|number| format!("vlan{number}")).collect();
        let circuits: Vec<_> = municipalities.iter().zip(&names).map(|(one, name)| (one.vlan, name.as_str())).collect();
        let splitter = Splitter::start(&carrier, "trunk", &circuits, watch.observer())?;
        Ok(Self { relay, places, watch, splitter, access, access_links })
    }

    /// Starts all municipalities' routers, which call the relay at once. Start the relay first: a call that nobody answers
    /// is repeated only after five seconds.
    ///
    /// # Errors
    /// When a router's address is not to be had.
    pub fn start_routers(&self, relay_public_key: [u8; 32]) -> Result<Vec<Router>, DemoError> {
        // The relay may have taken its port down and up again.
        self.access_links.wait_running("access1")?;
        let relay = SocketAddrV4::new(RELAY_ACCESS.0, RELAY_UDP_PORT);
        let numbered = (1..).zip(&self.places);
        numbered.map(|(number, place)| self.start_router(number, &place.municipality, relay_public_key, relay)).collect()
    }

    /// Starts one municipality's router, which calls `relay` at once. `number` is its place in the order, from 1.
    ///
    /// # Errors
    /// When the router's address is not to be had.
    pub fn start_router(
        &self,
        number: u8,
        municipality: &Municipality,
        relay_public_key: [u8; 32],
        relay: SocketAddrV4,
    ) -> Result<Router, DemoError> {
        let lan = RawSocket::open(&self.access, &format!("hall{number}"))?;
        let ipsec = (municipality.kind == Kind::Ipsec).then(|| ipsec_settings(municipality));
        let port = if ipsec.is_some() { IPSEC_PORT } else { 0 };
        let relay = if ipsec.is_some() { SocketAddrV4::new(*relay.ip(), IPSEC_PORT) } else { relay };
        let settings = RouterSettings {
            name: municipality.tenant.clone(),
            keys: municipality.keys.clone(),
            peer_public_key: relay_public_key,
            preshared_key: Some(municipality.preshared_key.clone()),
            ipsec,
            local: SocketAddrV4::new(municipality.router, port),
            relay: Some(relay),
            persistent_keepalive_seconds: Some(25),
            gateway_mac: MacAddress::local(HALL_KIND, number),
            office_mac: MacAddress::local(OFFICE_KIND, number),
        };
        Router::start(&self.access, lan, &settings)
    }
}

fn ipsec_settings(municipality: &Municipality) -> IpsecSettings {
    let office = &municipality.office;
    IpsecSettings {
        identity: municipality.identity(),
        relay_identity: RELAY_IDENTITY.to_owned(),
        psk: municipality.preshared_text(),
        office: vec![office.mynumber, office.lgwan_connected],
        far: [office.register, office.documents, office.print_source].map(|address| network(address, 32)).to_vec(),
    }
}

/// An office: both desks and the printer are addresses of one host, whose next hop is the hall's router.
fn build_office(number: u8, municipality: &Municipality, access: &Links) -> Result<Namespace, DemoError> {
    let office = Namespace::create(&format!("office {}", municipality.tenant))?;
    let links = Links::of(&office)?;
    let hall = format!("hall{number}");
    cable((&links, "lan0"), (access, &hall), TUNNEL_MTU)?;
    access.silence(&hall)?;
    links.set_mac("lan0", MacAddress::local(OFFICE_KIND, number))?;
    for desk in [municipality.office.mynumber_desk, municipality.office.lgwan_connected_desk] {
        links.add_address("lan0", network(desk, 32))?;
    }
    links.add_neighbor("lan0", HALL_GATEWAY, MacAddress::local(HALL_KIND, number))?;
    links.add_route(network(HALL_GATEWAY, 32), None, "lan0")?;
    links.add_route(network(Ipv4Addr::UNSPECIFIED, 0), Some(HALL_GATEWAY), "lan0")?;
    Ok(office)
}

/// A cloud: router and servers are addresses of one host. It finds the relay by ARP, as a cloud would, and sends it
/// everything for the addresses that stand for the office.
fn build_cloud(number: u8, municipality: &Municipality, carrier: &Links) -> Result<Namespace, DemoError> {
    let cloud = Namespace::create(&format!("cloud {}", municipality.tenant))?;
    let links = Links::of(&cloud)?;
    let circuit = format!("vlan{number}");
    cable((&links, "eth0"), (carrier, &circuit), PORT_MTU)?;
    carrier.silence(&circuit)?;
    let plan = &municipality.cloud;
    links.set_mac("eth0", MacAddress::local(CLOUD_KIND, number))?;
    links.add_address("eth0", network(plan.gateway, plan.relay.prefix()))?;
    for server in [plan.register, plan.documents, plan.print_server] {
        links.add_address("eth0", network(server, 32))?;
    }
    links.add_route(network(Ipv4Addr::UNSPECIFIED, 0), Some(plan.relay.ip()), "eth0")?;
    Ok(cloud)
}

/// A cable with both ends up and running, and no IPv6 on it.
fn cable(left: (&Links, &str), right: (&Links, &str), mtu: u32) -> Result<(), DemoError> {
    left.0.veth_pair(left.1, right.0, right.1, mtu)?;
    for (links, name) in [left, right] {
        links.ipv6_off(name)?;
        links.up(name)?;
    }
    left.0.wait_running(left.1)?;
    right.0.wait_running(right.1)
}

fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Network {
    Ipv4Network::new(address, prefix).expect("the prefix lengths above are 32 at the most")
}

#[cfg(test)]
#[path = "topology_tests.rs"]
pub(super) mod tests;
