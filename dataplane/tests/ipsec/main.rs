//! IPsec at the worker: what comes to an endpoint, what key exchange asks for, rekeys at any moment, reloads. Ciphers have their tests
//! beside them; here the office's end is another implementation (`simulation::esp_router`).
#![cfg(feature = "simulation")]

mod key_exchange;
mod punting;
mod redundancy;
mod rekey;
mod reloads;
mod traffic;

use std::collections::BTreeMap;

use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Owner, World, at, ipsec_municipality};
use dataplane::worker::control::Event;

/// A world with the municipalities `a` and `b`, alike in everything, each with an SA pair.
fn twins(seed: u64) -> World {
    World::new(seed, [ipsec_municipality("a", 2_101), ipsec_municipality("b", 2_102)])
}

/// From the office of `tenant` to a service.
fn request(tenant: &str, port: u16) -> Vec<u8> {
    udp(at(&format!("198.51.100.17:{port}")), at("203.0.113.10:443"), &Owner::new(tenant, TrafficClass::MyNumber).payload(64))
}

/// From the cloud of `tenant` to its printer.
fn job(tenant: &str, port: u16) -> Vec<u8> {
    udp(at(&format!("10.10.0.20:{port}")), at("10.254.1.30:9100"), &Owner::new(tenant, TrafficClass::MyNumber).payload(64))
}

/// All events that wait, how many of each kind: `Acquire a`, `SaHeard b`.
fn told(world: &mut World) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    while let Some(event) = world.event() {
        let words = match event {
            Event::Acquire { tenant, .. } => format!("Acquire {tenant}"),
            Event::SaHeard { tenant, .. } => format!("SaHeard {tenant}"),
            Event::SaExpiring { tenant, .. } => format!("SaExpiring {tenant}"),
            Event::SasLost { tenant, inbound_spis, .. } => format!("SasLost {tenant} {}", inbound_spis.len()),
            Event::PeerMoved { tenant, peer, .. } => format!("PeerMoved {tenant} {peer}"),
            Event::HandshakeAnswered { tenant, .. } => format!("HandshakeAnswered {tenant}"),
            Event::Ike { local_port, .. } => format!("Ike {}", local_port.number()),
            Event::SaInstalled { .. } => "SaInstalled".to_owned(),
            Event::Retired(_) => "Retired".to_owned(),
            Event::Snapshot { .. } => "Snapshot".to_owned(),
        };
        *told.entry(words).or_default() += 1;
    }
    told
}

/// `told` of these.
fn only<const N: usize>(events: [(&str, usize); N]) -> BTreeMap<String, usize> {
    events.into_iter().map(|(words, times)| (words.to_owned(), times)).collect()
}

/// A packet crosses both ways, and nothing is lost.
#[track_caller]
fn both_ways(world: &mut World, tenant: &str, port: u16) {
    let dropped = world.counts().get("worker.dropped");
    world.office(tenant).send(&request(tenant, port));
    world.cloud(tenant).send(&job(tenant, port));
    world.settle();
    assert_eq!((world.cloud(tenant).received().len(), world.office(tenant).received().len()), (1, 1), "{:?}", world.reasons());
    assert_eq!(world.counts().get("worker.dropped"), dropped, "{:?}", world.reasons());
}
