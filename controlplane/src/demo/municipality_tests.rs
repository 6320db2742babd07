//! A whole tunnel between two of these routers, with real traffic through it.

use std::net::Ipv4Addr;

use super::*;
use crate::demo::canary::Canary;
use crate::demo::links::Links;
use crate::demo::test_support::as_root;
use crate::demo::traffic::{Body, Client, FileServer, NameServer, PingOutcome, Printer, ping, tcp, udp};

const SECONDS: Duration = Duration::from_secs(10);
const GATEWAY_MAC: MacAddress = MacAddress::local(1, 0xfe);
const HOST_MAC: MacAddress = MacAddress::local(1, 1);
const OFFICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 17);
const CLOUD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const TUNNEL_MTU: u32 = 1420;

/// A host in a namespace of its own, a router's namespace beside it, and the cable between them.
struct Site {
    host: Namespace,
    router: Namespace,
}

impl Site {
    fn build(name: &str, address: Ipv4Addr) -> Self {
        let (host, router) = (Namespace::create(name).unwrap(), Namespace::create(&format!("{name} router")).unwrap());
        let (links, router_links) = (Links::of(&host).unwrap(), Links::of(&router).unwrap());
        links.veth_pair("lan0", &router_links, "lan1", TUNNEL_MTU).unwrap();
        links.set_mac("lan0", HOST_MAC).unwrap();
        links.ipv6_off("lan0").unwrap();
        router_links.silence("lan1").unwrap();
        links.add_address("lan0", format!("{address}/32").parse().unwrap()).unwrap();
        links.up("lan0").unwrap();
        router_links.up("lan1").unwrap();
        links.wait_running("lan0").unwrap();
        let gateway = Ipv4Addr::new(169, 254, 0, 1);
        links.add_neighbor("lan0", gateway, GATEWAY_MAC).unwrap();
        links.add_route(format!("{gateway}/32").parse().unwrap(), None, "lan0").unwrap();
        links.add_route("0.0.0.0/0".parse().unwrap(), Some(gateway), "lan0").unwrap();
        Self { host, router }
    }
}

struct World {
    office: Site,
    cloud: Site,
    calling: Router,
    called: Router,
}

fn settings(name: &str, keys: &KeyPair, peer: &KeyPair, local: &str, relay: Option<&str>) -> RouterSettings {
    RouterSettings {
        name: name.to_owned(),
        keys: keys.clone(),
        peer_public_key: peer.public(),
        preshared_key: Some(Zeroizing::new([9; 32])),
        ipsec: None,
        local: local.parse().unwrap(),
        relay: relay.map(|relay| relay.parse().unwrap()),
        persistent_keepalive_seconds: Some(25),
        gateway_mac: GATEWAY_MAC,
        office_mac: HOST_MAC,
    }
}

/// An office and a cloud, a router each, and the underlay between the routers.
fn world() -> World {
    let (office, cloud) = (Site::build("office", OFFICE), Site::build("cloud", CLOUD));
    let (west, east) = (Links::of(&office.router).unwrap(), Links::of(&cloud.router).unwrap());
    west.veth_pair("wan0", &east, "wan1", 1500).unwrap();
    west.add_address("wan0", "192.0.2.11/24".parse().unwrap()).unwrap();
    west.add_address("wan0", "192.0.2.12/24".parse().unwrap()).unwrap();
    east.add_address("wan1", "192.0.2.1/24".parse().unwrap()).unwrap();
    west.up("wan0").unwrap();
    east.up("wan1").unwrap();
    west.wait_running("wan0").unwrap();
    let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let lan = |site: &Site| RawSocket::open(&site.router, "lan1").unwrap();
    let called = settings("called", &theirs, &ours, "192.0.2.1:51820", None);
    let called = Router::start(&cloud.router, lan(&cloud), &called).unwrap();
    let calling = settings("calling", &ours, &theirs, "192.0.2.11:0", Some("192.0.2.1:51820"));
    let calling = Router::start(&office.router, lan(&office), &calling).unwrap();
    assert!(calling.wait_up(SECONDS), "{:?}", calling.state());
    World { office, cloud, calling, called }
}

fn client(site: &Site, source: Ipv4Addr) -> Client {
    Client { namespace: site.host.clone(), source, timeout: SECONDS }
}

fn canary() -> Canary {
    Canary::of("131016-chiyoda/mynumber")
}

#[test]
fn a_download_and_an_upload_cross_the_tunnel_unharmed() {
    as_root("demo::municipality::tests::a_download_and_an_upload_cross_the_tunnel_unharmed", || {
        let world = world();
        let address = SocketAddrV4::new(CLOUD, 443);
        let _server = FileServer::start(&world.cloud.host, address, &canary(), 7).unwrap();
        let body = Body::new(canary(), 7, 3_000_001);
        let office = client(&world.office, OFFICE);
        let down = tcp::download(&office, address, &body).unwrap();
        assert!(down.sha256_ok, "{down:?}");
        assert_eq!(down.bytes, body.length());
        let up = tcp::upload(&office, address, &Body::new(canary(), 8, 1_000_001)).unwrap();
        assert!(up.sha256_ok, "{up:?}");
        let other = tcp::download(&office, address, &Body::new(canary(), 6, 10_000)).unwrap();
        assert!(!other.sha256_ok, "another body passed for the expected one");
        let state = world.calling.state();
        assert!(state.received_bytes > body.length(), "{state:?}");
        assert_eq!((state.refused, world.called.state().refused), (0, 0));
    });
}

#[test]
fn questions_and_print_jobs_cross_the_tunnel() {
    as_root("demo::municipality::tests::questions_and_print_jobs_cross_the_tunnel", || {
        let world = world();
        let _names = NameServer::start(&world.cloud.host, SocketAddrV4::new(CLOUD, 53), &canary()).unwrap();
        let office = client(&world.office, OFFICE);
        assert!(udp::ask(&office, SocketAddrV4::new(CLOUD, 53), &canary()).unwrap());
        assert!(!udp::ask(&office, SocketAddrV4::new(CLOUD, 53), &Canary::of("somebody else")).unwrap());

        let printer = Printer::start(&world.office.host, SocketAddrV4::new(OFFICE, 9100)).unwrap();
        let body = Body::new(canary(), 3, 200_000);
        tcp::print(&client(&world.cloud, CLOUD), SocketAddrV4::new(OFFICE, 9100), &body).unwrap();
        let job = printer.take_job().unwrap();
        assert_eq!(printer.take_job(), None);
        assert_eq!((job.bytes, job.sha256, job.from.ip()), (200_000, body.sha256(), CLOUD.into()));
    });
}

#[test]
fn pings_are_answered_up_to_the_mtu() {
    as_root("demo::municipality::tests::pings_are_answered_up_to_the_mtu", || {
        let world = world();
        let office = client(&world.office, OFFICE);
        for payload in [0, 56, 1392] {
            let outcome = ping(&office, CLOUD, &canary(), payload).unwrap();
            assert!(outcome.is_reply(), "{payload} bytes: {outcome:?}");
        }
        assert_eq!(ping(&office, CLOUD, &canary(), 1393).unwrap(), PingOutcome::TooLong);
        let hurried = Client { timeout: Duration::from_millis(200), ..office };
        assert_eq!(ping(&hurried, Ipv4Addr::new(203, 0, 113, 99), &canary(), 56).unwrap(), PingOutcome::Lost);
    });
}

#[test]
fn a_router_that_moves_takes_its_tunnel_along() {
    as_root("demo::municipality::tests::a_router_that_moves_takes_its_tunnel_along", || {
        let world = world();
        let office = client(&world.office, OFFICE);
        assert!(ping(&office, CLOUD, &canary(), 56).unwrap().is_reply());
        assert_eq!(world.called.state().peer.unwrap().ip(), Ipv4Addr::new(192, 0, 2, 11));
        world.calling.roam("192.0.2.12:4500".parse().unwrap()).unwrap();
        assert!(ping(&office, CLOUD, &canary(), 56).unwrap().is_reply());
        assert_eq!(world.called.state().peer.unwrap(), "192.0.2.12:4500".parse().unwrap());
        assert!(world.calling.roam("203.0.113.250:1".parse().unwrap()).is_err(), "an address that is not its own");
        assert!(ping(&office, CLOUD, &canary(), 56).unwrap().is_reply());
    });
}

#[test]
fn a_stranger_neither_gets_in_nor_draws_the_tunnel_to_itself() {
    as_root("demo::municipality::tests::a_stranger_neither_gets_in_nor_draws_the_tunnel_to_itself", || {
        let world = world();
        let relay_side = world.called.state().peer;
        let stranger = KeyPair::generate().unwrap();
        let links = Links::of(&world.office.router).unwrap();
        links.veth_pair("stray0", &links, "stray1", 1500).unwrap();
        let lan = RawSocket::open(&world.office.router, "stray0").unwrap();
        // It knows where to call, but not the key of the one it calls.
        let guess = settings("stranger", &stranger, &stranger, "192.0.2.12:0", Some("192.0.2.1:51820"));
        let stranger = Router::start(&world.office.router, lan, &guess).unwrap();
        assert!(!stranger.wait_up(Duration::from_millis(300)));
        assert_eq!(world.called.state().refused, 1);
        assert_eq!(world.called.state().peer, relay_side);
        assert!(ping(&client(&world.office, OFFICE), CLOUD, &canary(), 56).unwrap().is_reply());
    });
}
