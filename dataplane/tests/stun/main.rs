//! What a host of the office finds out about the relay's NAT by itself: behaviour discovery with STUN (RFC 5780), against a server with
//! two addresses in the cloud. The NAT is asked from outside only; what it says must be what RFC 4787 asks and the service's
//! configuration says.
#![cfg(feature = "simulation")]

mod discovery;
mod message;

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use dataplane::router_config::{Allow, Filtering, PortMap, ServiceConfig, TenantConfig, TrafficClass};
use dataplane::simulation::municipality::service;
use dataplane::simulation::packets::{self, udp, unreachable};
use dataplane::simulation::{World, at, ip, municipality, network};
use dataplane::time::Duration;

use discovery::{Behaviour, Discovery, OTHER, PRIMARY};
use message::Request;

/// A tenant with a STUN server: two addresses and two ports behind one service.
fn town(filtering: Filtering) -> TenantConfig {
    let mut config = municipality("a", 2_101);
    let ports = PortMap { from: 3_478..=3_479, to: 3_478 };
    let stun = service("stun", TrafficClass::MyNumber, "203.0.113.10/31", "10.10.0.10/31");
    config.services = vec![ServiceConfig { filtering, allow: vec![Allow::Udp(ports)], ..stun }];
    config
}

/// With a service that leads to the pool of its class, as `hairpin: true` makes it.
fn hairpinning(filtering: Filtering) -> TenantConfig {
    let mut config = town(filtering);
    let ports = PortMap { from: 1_024..=65_535, to: 1_024 };
    let pool = service("each other", TrafficClass::MyNumber, "10.254.1.8/30", "10.254.1.8/30");
    config.services.push(ServiceConfig { filtering, allow: vec![Allow::Udp(ports)], ..pool });
    config
}

fn client(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip("198.51.100.17"), port)
}

#[test]
fn a_stun_client_finds_endpoint_independent_mapping_and_the_filtering_that_the_service_says() {
    let filterings = [
        (Filtering::EndpointIndependent, Behaviour::EndpointIndependent),
        (Filtering::AddressDependent, Behaviour::AddressDependent),
        (Filtering::AddressAndPortDependent, Behaviour::AddressAndPortDependent),
    ];
    for (seed, (filtering, expected)) in (500..).zip(filterings) {
        let mut world = World::new(seed, [town(filtering)]);
        let mut discovery = Discovery::new(&mut world);
        // A port of its own for each question: what one asks opens what another would find closed.
        assert_eq!(discovery.filtering(client(40_000)), expected);
        assert_eq!(discovery.mapping(client(40_001)), Behaviour::EndpointIndependent, "under {filtering:?}");
        let mapped = discovery.mapped(client(40_002));
        assert!(network("10.254.1.8/30").contains(*mapped.ip()), "there is a NAT at all: {mapped}");
    }
}

#[test]
fn a_stun_client_finds_hairpinning_with_the_external_source_where_a_service_allows_it() {
    let mut world = World::new(510, [hairpinning(Filtering::EndpointIndependent)]);
    let mut discovery = Discovery::new(&mut world);
    let source = discovery.hairpin(client(40_001), client(40_000));
    assert_eq!(source, Some(discovery.mapped(client(40_001))), "RFC 4787 REQ-9 a");
    // RFC 4787 5: filtering applies to what turns back as well.
    let mut world = World::new(511, [hairpinning(Filtering::AddressDependent)]);
    assert_eq!(Discovery::new(&mut world).hairpin(client(40_001), client(40_000)), None);
    let mut world = World::new(512, [town(Filtering::EndpointIndependent)]);
    assert_eq!(Discovery::new(&mut world).hairpin(client(40_001), client(40_000)), None, "not without a service");
}

#[test]
fn a_stun_client_finds_a_lifetime_of_five_minutes_that_packets_of_its_own_prolong() {
    let mut world = World::new(520, [town(Filtering::AddressDependent)]);
    let mut discovery = Discovery::new(&mut world);
    // RFC 5780 4.6: halve what is not known yet, with a port for each attempt.
    let (mut alive, mut dead) = (0, 900);
    for attempt in 0..10 {
        let idle = (alive + dead) / 2;
        match discovery.lives(client(41_000 + 2 * attempt), client(41_001 + 2 * attempt), Duration::from_secs(idle)) {
            true => alive = idle,
            false => dead = idle,
        }
    }
    // A life is whole seconds, and the one that has begun counts.
    assert_eq!((alive, dead), (300, 301), "RFC 4787 REQ-5: at least two minutes, five recommended");
    // RFC 4787 REQ-6: what the client sends keeps its mapping, whichever server it sends to.
    let mapped = discovery.mapped(client(42_000));
    for server in [PRIMARY, OTHER, PRIMARY] {
        discovery.world.run(Duration::from_secs(200));
        let answer = discovery.ask(client(42_000), at(server), Request::default()).expect("an answer");
        assert_eq!(answer.mapped, mapped);
    }
    discovery.world.run(Duration::from_secs(290));
    assert!(discovery.reaches(client(42_000), client(42_001), mapped.port()));
}

#[test]
fn a_stun_client_keeps_its_mapping_through_errors_silence_of_one_server_and_its_own_return() {
    let mut world = World::new(530, [town(Filtering::AddressDependent)]);
    let mut discovery = Discovery::new(&mut world);
    let mapped = discovery.mapped(client(43_000));
    // RFC 4787 REQ-12: an error ends nothing.
    let about = udp(mapped, at("10.10.0.10:3478"), &[0; 40]);
    discovery.world.cloud("a").send(&unreachable(ip("10.10.0.10"), *mapped.ip(), &about));
    discovery.world.run(Duration::from_secs(1));
    let told = discovery.world.office("a").received();
    assert_eq!(packets::read(&told[0]).expect("sound").icmp, Some((3, 3, [0; 4])), "it was told");
    assert_eq!(discovery.mapped(client(43_000)), mapped);
    // One of two flows of the mapping ends by its timer, and the mapping stays with the other one.
    for _ in 0..4 {
        discovery.world.run(Duration::from_secs(200));
        assert_eq!(discovery.ask(client(43_000), at(OTHER), Request::default()).expect("an answer").mapped, mapped);
    }
    assert_eq!(discovery.mapped(client(43_000)), mapped);
    // RFC 6888 REQ-8 lets the endpoint that had a port have it back.
    discovery.world.run(Duration::from_secs(301));
    assert_eq!(discovery.mapped(client(43_000)), mapped);
}

#[test]
fn a_stun_client_finds_one_address_for_all_its_ports_and_no_order_in_them() {
    let mut world = World::new(540, [town(Filtering::AddressDependent)]);
    let mut discovery = Discovery::new(&mut world);
    let mapped: Vec<SocketAddrV4> = (44_000..44_060).map(|port| discovery.mapped(client(port))).collect();
    let addresses: BTreeSet<_> = mapped.iter().map(|mapped| *mapped.ip()).collect();
    assert_eq!(addresses.len(), 1, "RFC 4787 REQ-2: paired");
    let ports: BTreeSet<u16> = mapped.iter().map(SocketAddrV4::port).collect();
    assert_eq!((ports.len(), ports.first() >= Some(&1_024)), (60, true), "RFC 4787 REQ-3: nobody's twice, none a server's");
    let neighbours = mapped.windows(2).filter(|pair| pair[0].port().abs_diff(pair[1].port()) < 16).count();
    assert!(neighbours < 5, "RFC 7857 10: random, {mapped:?}");
    // The same port of another host is another one outside.
    let other = SocketAddrV4::new(ip("198.51.100.18"), 44_000);
    assert_ne!(discovery.mapped(other), mapped[0]);
}

#[test]
fn a_stun_client_finds_that_fragments_cross_both_ways() {
    // RFC 5780 4.7, RFC 4787 REQ-14.
    let mut world = World::new(550, [town(Filtering::AddressDependent)]);
    let padded = Request { padding: 3_000, ..Request::default() };
    let answer = Discovery::new(&mut world).ask(client(45_000), at(PRIMARY), padded).expect("an answer in fragments");
    assert_eq!(answer.padding, 3_000);
}
