//! Attempts to reach what is another's. Each expects one exact drop reason and the exact change of all counters, and that nobody
//! receives anything; the laws of the simulation look for foreign canaries meanwhile. Numbers are those of the project's list of
//! attempts, whose table is the section "Isolation" of `CONFORMANCE.md`; 14, 16, 17 and 44-48 are the control plane's.
#![cfg(feature = "simulation")]

mod classes;
mod fragments;
mod inner;
mod ipsec;
mod ipv6;
mod link;
mod state;
mod tunnels;

use dataplane::drop_reason::DropReason;
use dataplane::simulation::{Counts, World, municipality};

/// Two tenants that share every address.
fn twins(seed: u64) -> World {
    World::new(seed, [municipality("a", 2_101), municipality("b", 2_102)])
}

/// Nobody has received anything that was not taken yet.
#[track_caller]
fn silence(world: &mut World) {
    for tenant in ["a", "b"] {
        assert_eq!(world.office(tenant).received(), Vec::<Vec<u8>>::new(), "office {tenant}");
        assert_eq!(world.cloud(tenant).received(), Vec::<Vec<u8>>::new(), "cloud {tenant}");
    }
    assert_eq!(world.strays(), Vec::<Vec<u8>>::new(), "nothing leaves the relay that the configuration does not name");
}

/// The office of `tenant` sends this in vain.
#[track_caller]
fn office_fails(world: &mut World, tenant: &str, packet: &[u8], reason: DropReason) {
    let counts = Counts::new().from_office(tenant, packet).lost(tenant, reason);
    world.expect(&counts, |world| world.office(tenant).send(packet));
    silence(world);
}

/// The cloud of `tenant` sends this in vain.
#[track_caller]
fn cloud_fails(world: &mut World, tenant: &str, packet: &[u8], reason: DropReason) {
    let counts = Counts::new().from_cloud(packet).lost(tenant, reason);
    world.expect(&counts, |world| world.cloud(tenant).send(packet));
    silence(world);
}

/// A frame arrives on the VLAN port in vain.
#[track_caller]
fn frame_fails(world: &mut World, frame: Vec<u8>, at: &str, reason: DropReason) {
    let counts = Counts::new().frame("aws", frame.len()).lost(at, reason);
    world.expect(&counts, |world| world.inject(1, frame));
    silence(world);
}

/// The office sends a packet that arrives; returns it as the cloud got it.
#[track_caller]
fn office_reaches(world: &mut World, tenant: &str, packet: &[u8], counts: Counts) -> Vec<u8> {
    world.expect(&counts.from_office(tenant, packet).to_cloud(tenant, packet), |world| world.office(tenant).send(packet));
    let mut received = world.cloud(tenant).received();
    assert_eq!(received.len(), 1);
    silence(world);
    received.remove(0)
}

/// The cloud sends a packet that arrives; returns it as the office got it.
#[track_caller]
fn cloud_reaches(world: &mut World, tenant: &str, packet: &[u8], counts: Counts) -> Vec<u8> {
    world.expect(&counts.from_cloud(packet).to_office(tenant, packet), |world| world.cloud(tenant).send(packet));
    let mut received = world.office(tenant).received();
    assert_eq!(received.len(), 1);
    silence(world);
    received.remove(0)
}
