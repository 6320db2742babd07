//! A pre-shared key is changed: first the relay knows both, then the router has the new one, then the old one is withdrawn.

mod world;

use std::time::Duration;

use ike::{Authentication, PeerState, Psk};
use world::*;

fn keys(texts: &[&str]) -> Authentication {
    Authentication::Psk { keys: texts.iter().map(|text| Psk::new(text.as_bytes().to_vec())).collect() }
}

/// The relay reads its files again.
fn reload(world: &mut World, of_office: &[&str]) {
    let mut at_relay = office_at_relay(1);
    at_relay.authentication = keys(of_office);
    let now = world.now;
    world.nodes[0].engine.configure(config(0, vec![at_relay]), now);
    world.run(Duration::from_secs(2));
}

fn office_takes(world: &mut World, key: &str) {
    let mut at_office = relay_at_office(1);
    at_office.authentication = keys(&[key]);
    let now = world.now;
    world.nodes[1].engine.configure(config(1, vec![at_office]), now);
    world.run(Duration::from_secs(10));
}

/// State, when the IKE SA that stands was established, and which key the peer proved itself with.
fn office(world: &World) -> (PeerState, Option<usize>) {
    let status = world.nodes[0].engine.status(&office_name(1)).expect("configured");
    (status.state, status.ike.and_then(|ike| ike.psk_index))
}

fn with_the_old_key() -> World {
    let mut at_relay = office_at_relay(1);
    at_relay.authentication = keys(&["old"]);
    let mut at_office = relay_at_office(1);
    at_office.authentication = keys(&["old"]);
    let mut world = World::new(1, config(0, vec![at_relay]), vec![config(1, vec![at_office])]);
    world.run(Duration::from_secs(2));
    assert_eq!(office(&world), (PeerState::Up, Some(0)));
    world
}

#[test]
fn a_new_key_beside_the_old_one_disturbs_nobody_and_the_old_one_is_still_shown_as_the_one_in_use() {
    let mut world = with_the_old_key();
    let installed = world.nodes[0].pairs.len();
    reload(&mut world, &["new", "old"]);
    assert_eq!(office(&world), (PeerState::Up, Some(1)), "the old key stands second now");
    assert_eq!((world.nodes[0].pairs.len(), installed), (1, 1));
    assert_eq!(world.lost, [0, 0]);
    // The router has the new one.
    office_takes(&mut world, "new");
    assert_eq!(office(&world), (PeerState::Up, Some(0)));
    reload(&mut world, &["new"]);
    assert_eq!(office(&world), (PeerState::Up, Some(0)), "nobody uses the old one any more");
}

#[test]
fn whoever_proved_itself_with_a_key_that_is_withdrawn_is_out() {
    let mut world = with_the_old_key();
    reload(&mut world, &["new", "old"]);
    reload(&mut world, &["new"]);
    let (state, _) = office(&world);
    assert_ne!(state, PeerState::Up);
    assert_eq!(world.nodes[0].pairs.len(), 0);
    office_takes(&mut world, "new");
    assert_eq!(office(&world), (PeerState::Up, Some(0)));
}
