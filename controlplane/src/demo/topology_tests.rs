//! The world without the relay: a stand-in that translates nothing connects each tunnel with its VLAN.

use std::time::{Duration, Instant};

use super::*;
use crate::demo::namespaces::in_namespace;
use crate::demo::plan::{TCP_PORT, municipalities};
use crate::demo::test_support::as_root;
use crate::demo::traffic::{Body, Client, FileServer, ping, tcp};
use crate::demo::vlan::VlanTag;
use crate::demo::wireguard_keys::KeyPair;

const SECONDS: Duration = Duration::from_secs(10);

/// One router for each tenant at the relay's address (a port each), and a splitter that gives it its tag.
pub(in crate::demo) struct StandIn {
    _routers: Vec<Router>,
    _splitter: Splitter,
    pub(in crate::demo) ports: Vec<SocketAddrV4>,
}

pub(in crate::demo) fn start_stand_in(topology: &Topology, keys: &KeyPair) -> StandIn {
    let links = Links::of(&topology.relay).unwrap();
    links.add_address(ACCESS_PORT, network(RELAY_ACCESS.0, RELAY_ACCESS.1)).unwrap();
    links.silence(CLOUD_PORT).unwrap();
    let mut stand_in = (Vec::new(), Vec::new(), Vec::new());
    for (number, place) in (1..).zip(&topology.places) {
        let (inner, outer) = (format!("in{number}"), format!("out{number}"));
        cable((&links, &inner), (&links, &outer), PORT_MTU).unwrap();
        links.silence(&inner).unwrap();
        links.silence(&outer).unwrap();
        let (plan, mac) = (&place.municipality, MacAddress::local(9, number));
        Links::of(&place.cloud).unwrap().add_neighbor("eth0", plan.cloud.relay.ip(), mac).unwrap();
        let local = SocketAddrV4::new(RELAY_ACCESS.0, RELAY_UDP_PORT + u16::from(number));
        let settings = RouterSettings {
            name: format!("stand-in {number}"),
            keys: keys.clone(),
            peer_public_key: plan.keys.public(),
            preshared_key: Some(plan.preshared_key.clone()),
            ipsec: None,
            local,
            relay: None,
            persistent_keepalive_seconds: None,
            gateway_mac: mac,
            office_mac: MacAddress::local(CLOUD_KIND, number),
        };
        stand_in.0.push(Router::start(&topology.relay, RawSocket::open(&topology.relay, &inner).unwrap(), &settings).unwrap());
        stand_in.1.push((plan.vlan, outer));
        stand_in.2.push(local);
    }
    let circuits: Vec<(VlanTag, &str)> = stand_in.1.iter().map(|(tag, name)| (*tag, name.as_str())).collect();
    let splitter = Splitter::start(&topology.relay, CLOUD_PORT, &circuits, Box::new(|_| ())).unwrap();
    StandIn { _routers: stand_in.0, _splitter: splitter, ports: stand_in.2 }
}

/// Three municipalities of which no address is translated: all three have the same register address. All speak WireGuard, as the
/// stand-in does.
pub(in crate::demo) fn untranslated() -> Vec<Municipality> {
    let mut all = municipalities().unwrap();
    for one in &mut all {
        one.kind = Kind::WireGuard;
        one.cloud.register = one.office.register;
        one.cloud.documents = one.office.documents;
        one.cloud.print_server = one.office.print_source;
        one.cloud.printer = one.office.mynumber_desk;
    }
    all
}

#[test]
fn three_tunnels_lead_to_three_clouds_with_one_and_the_same_address() {
    as_root("demo::topology::tests::three_tunnels_lead_to_three_clouds_with_one_and_the_same_address", || {
        let topology = Topology::build(&untranslated()).unwrap();
        let keys = KeyPair::generate().unwrap();
        let stand_in = start_stand_in(&topology, &keys);
        let mut routers = Vec::new();
        for ((number, place), relay) in (1..).zip(&topology.places).zip(&stand_in.ports) {
            routers.push(topology.start_router(number, &place.municipality, keys.public(), *relay).unwrap());
        }
        assert!(routers.iter().all(|router| router.wait_up(SECONDS)));
        let mut servers = Vec::new();
        for (seed, place) in (1..).zip(&topology.places) {
            let address = SocketAddrV4::new(place.municipality.cloud.register, TCP_PORT);
            servers.push(FileServer::start(&place.cloud, address, &place.municipality.canary(), seed).unwrap());
        }
        for (seed, place) in (1..).zip(&topology.places) {
            let plan = &place.municipality;
            let desk = Client { namespace: place.office.clone(), source: plan.office.mynumber_desk, timeout: SECONDS };
            let register = SocketAddrV4::new(plan.office.register, TCP_PORT);
            let body = Body::new(plan.canary(), seed, 1_000_000);
            assert!(tcp::download(&desk, register, &body).unwrap().sha256_ok, "{}", plan.tenant);
            assert!(tcp::upload(&desk, register, &body).unwrap().sha256_ok, "{}", plan.tenant);
            assert!(ping(&desk, *register.ip(), &plan.canary(), 1392).unwrap().is_reply(), "{}", plan.tenant);
        }
        let seen = topology.watch.sightings();
        assert_eq!(seen.foreign, 0, "{:?}", seen.first_foreign);
        // A million bytes each way are 700 full packets each, seen on the trunk and, one way, in the office.
        assert!(seen.own.values().all(|&frames| frames > 2_000), "{seen:?}");
        let counts = topology.splitter.counts();
        assert_eq!((counts.malformed, counts.not_sent, counts.unfinished_checksums, counts.unowned.len()), (0, 0, 0, 0));
    });
}

#[test]
fn the_watch_sees_what_strays_into_another_municipality() {
    as_root("demo::topology::tests::the_watch_sees_what_strays_into_another_municipality", || {
        let topology = Topology::build(&untranslated()).unwrap();
        let keys = KeyPair::generate().unwrap();
        let stand_in = start_stand_in(&topology, &keys);
        let plan = &topology.places[0].municipality;
        let router = topology.start_router(1, plan, keys.public(), stand_in.ports[0]).unwrap();
        assert!(router.wait_up(SECONDS));
        // The desk of the first sends what only the second has.
        let desk = Client { namespace: topology.places[0].office.clone(), source: plan.office.mynumber_desk, timeout: SECONDS };
        let outcome = ping(&desk, plan.office.register, &topology.places[1].municipality.canary(), 56).unwrap();
        assert!(outcome.is_reply());
        // The request on the trunk, the answer on the trunk and in the office (where the watch may be a moment behind).
        let deadline = Instant::now() + SECONDS;
        while topology.watch.sightings().foreign < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(topology.watch.sightings().foreign, 3);
    });
}

#[test]
fn nothing_is_left_when_the_topology_is_dropped() {
    as_root("demo::topology::tests::nothing_is_left_when_the_topology_is_dropped", || {
        let topology = Topology::build(&municipalities().unwrap()).unwrap();
        let (relay, office) = (topology.relay.clone(), topology.places[0].office.clone());
        drop(topology);
        // The handles kept the namespaces; the cables went with the namespaces of their other ends.
        let interfaces = |namespace| {
            let list = in_namespace(namespace, || std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
            list.lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + SECONDS;
        while (interfaces(&relay).len() > 1 || interfaces(&office).len() > 1) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((interfaces(&relay), interfaces(&office)), (vec!["lo".to_owned()], vec!["lo".to_owned()]));
    });
}
