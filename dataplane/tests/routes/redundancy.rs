//! Two tunnels of one tenant: what goes to the office by which of them, and what becomes of it when a router dies.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{Redundancy, TenantConfig, TrafficClass};
use dataplane::simulation::municipality::another_tunnel;
use dataplane::simulation::packets::{read, udp, unreachable};
use dataplane::simulation::{Counts, World, at, municipality};
use dataplane::time::Duration;

use crate::one;
use TrafficClass::MyNumber;

const SERVER: &str = "203.0.113.10:443";

fn town(name: &str, vlan: u16, redundancy: Redundancy) -> TenantConfig {
    let mut town = municipality(name, vlan);
    town.tunnels.push(another_tunnel(name, "backup"));
    TenantConfig { redundancy, ..town }
}

/// A world in which all tunnels of all tenants are up.
fn world(seed: u64, towns: impl IntoIterator<Item = TenantConfig>) -> World {
    let towns: Vec<TenantConfig> = towns.into_iter().collect();
    let names: Vec<_> = towns.iter().map(|town| town.name.clone()).collect();
    let mut world = World::new(seed, towns);
    names.iter().for_each(|name| world.add_router(name, "backup"));
    world
}

/// One flow of an office host to the shared server.
struct Flow {
    town: &'static str,
    question: Vec<u8>,
    /// What the server answers: it has been asked once.
    answer: Vec<u8>,
}

/// A host of `town` asks for the first time, from this port and over this tunnel.
fn opened(world: &mut World, town: &'static str, port: u16, tunnel: &str) -> Flow {
    let payload = world.office(town).payload(MyNumber, 64);
    let question = udp(at(&format!("198.51.100.17:{port}")), at(SERVER), &payload);
    let counts = Counts::new().from_office(town, &question).by(tunnel).to_cloud(town, &question).opened(town);
    world.expect(&counts, |world| world.office_by(town, tunnel).send(&question));
    let seen = one(world.cloud(town).received());
    Flow { town, question, answer: udp(seen.destination, seen.source, &payload) }
}

impl Flow {
    fn asks_by(&self, world: &mut World, tunnel: &str) {
        let counts = Counts::new().from_office(self.town, &self.question).by(tunnel).to_cloud(self.town, &self.question);
        world.expect(&counts, |world| world.office_by(self.town, tunnel).send(&self.question));
        one(world.cloud(self.town).received());
    }

    /// The server answers, and nothing else happens than that it comes by this tunnel.
    #[track_caller]
    fn is_answered_by(&self, world: &mut World, tunnel: &str) {
        let counts = Counts::new().from_cloud(&self.answer).to_office(self.town, &self.answer).by(tunnel);
        world.expect(&counts, |world| world.cloud(self.town).send(&self.answer));
        one(world.office_by(self.town, tunnel).received());
    }

    /// The server goes on answering until an answer comes by this tunnel; returns how long that took.
    fn answered_until_by(&self, world: &mut World, tunnel: &str) -> Duration {
        let begin = world.now();
        while world.office_by(self.town, tunnel).received().is_empty() {
            assert!(world.now() - begin < Duration::from_secs(60), "a dead router is not noticed");
            world.run(Duration::from_millis(250));
            world.cloud(self.town).send(&self.answer);
            world.settle();
        }
        world.now() - begin
    }
}

fn dies(world: &mut World, town: &str, tunnel: &str) {
    world.office_by(town, tunnel).is_dead = true;
}

/// The router is switched on again.
fn comes_back(world: &mut World, town: &str, tunnel: &str) {
    let router = world.office_by(town, tunnel);
    router.is_dead = false;
    router.restart();
    // Its library looks at the clock at a tick.
    world.run(Duration::from_millis(300));
    world.office_by(town, tunnel).connect();
    world.run(Duration::from_millis(300));
}

#[test]
fn the_preferred_tunnel_carries_everything_to_the_office_whatever_the_office_sends_over() {
    let mut world = world(70, [town("a", 2_101, Redundancy::Prefer)]);
    let [by_main, by_backup] = [opened(&mut world, "a", 40_000, "main"), opened(&mut world, "a", 40_001, "backup")];
    for flow in [&by_main, &by_backup] {
        flow.is_answered_by(&mut world, "main");
        flow.asks_by(&mut world, "backup");
        flow.is_answered_by(&mut world, "main");
    }
}

#[test]
fn with_both_an_answer_goes_by_the_tunnel_that_its_office_last_sent_over() {
    let mut world = world(71, [town("a", 2_101, Redundancy::Both)]);
    let [by_main, by_backup] = [opened(&mut world, "a", 40_000, "main"), opened(&mut world, "a", 40_001, "backup")];
    for _ in 0..2 {
        by_main.is_answered_by(&mut world, "main");
        by_backup.is_answered_by(&mut world, "backup");
    }
    // The town hall's routing changes its mind, one host after the other.
    by_main.asks_by(&mut world, "backup");
    by_main.is_answered_by(&mut world, "backup");
    by_backup.asks_by(&mut world, "main");
    by_backup.is_answered_by(&mut world, "main");
    by_main.is_answered_by(&mut world, "backup");
}

#[test]
fn with_both_an_icmp_error_about_what_the_office_sent_goes_by_the_tunnel_of_its_session() {
    let mut world = world(72, [town("a", 2_101, Redundancy::Both)]);
    let flow = opened(&mut world, "a", 40_000, "backup");
    flow.asks_by(&mut world, "backup");
    let payload = world.office("a").payload(MyNumber, 64);
    let answer = read(&flow.answer).expect("sound");
    let sent = udp(answer.destination, answer.source, &payload);
    let error = unreachable(*answer.source.ip(), *answer.destination.ip(), &sent);
    let counts = Counts::new().from_cloud(&error).to_office("a", &error).by("backup");
    world.expect(&counts, |world| world.cloud("a").send(&error));
    assert!(one(world.office_by("a", "backup").received()).icmp.is_some());
}

#[test]
fn with_both_what_the_cloud_begins_goes_by_the_first_tunnel_until_the_office_answers_by_another() {
    let mut world = world(73, [town("a", 2_101, Redundancy::Both)]);
    let payload = world.office("a").payload(MyNumber, 64);
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9101"), &payload);
    let begun = Counts::new().from_cloud(&job).to_office("a", &job).opened("a");
    world.expect(&begun, |world| world.cloud("a").send(&job));
    let seen = one(world.office("a").received());
    let more = |tunnel: &str| Counts::new().from_cloud(&job).to_office("a", &job).by(tunnel);
    world.expect(&more("main"), |world| world.cloud("a").send(&job));
    let status = udp(seen.destination, seen.source, &payload);
    let answered = Counts::new().from_office("a", &status).by("backup").to_cloud("a", &status);
    world.expect(&answered, |world| world.office_by("a", "backup").send(&status));
    world.expect(&more("backup"), |world| world.cloud("a").send(&job));
    // Another job is another session.
    let other = udp(at("10.10.0.20:50001"), at("10.254.1.30:9101"), &payload);
    let begun = Counts::new().from_cloud(&other).to_office("a", &other).opened("a");
    world.expect(&begun, |world| world.cloud("a").send(&other));
}

#[test]
fn where_the_preferred_router_dies_without_a_word_the_other_one_takes_over_and_gives_back() {
    let mut world = world(74, [town("a", 2_101, Redundancy::Prefer)]);
    let flow = opened(&mut world, "a", 40_000, "main");
    flow.is_answered_by(&mut world, "main");
    dies(&mut world, "a", "main");
    let noticed = flow.answered_until_by(&mut world, "backup");
    assert!((20..22).contains(&noticed.as_secs()), "15 s of silence, 5 s for the handshake: {noticed:?}");
    // It stays so, long after handshakes and keys have been given up.
    for _ in 0..20 {
        flow.asks_by(&mut world, "backup");
        flow.is_answered_by(&mut world, "backup");
        world.run(Duration::from_secs(15));
    }
    comes_back(&mut world, "a", "main");
    flow.is_answered_by(&mut world, "main");
}

#[test]
fn a_tunnel_that_sleeps_is_called_when_the_preferred_router_is_found_dead() {
    let mut world = world(78, [town("a", 2_101, Redundancy::Prefer)]);
    let flow = opened(&mut world, "a", 40_000, "main");
    // Nothing goes by the other one, until its keys have ended.
    for _ in 0..25 {
        flow.asks_by(&mut world, "main");
        flow.is_answered_by(&mut world, "main");
        world.run(Duration::from_secs(10));
    }
    dies(&mut world, "a", "main");
    let noticed = flow.answered_until_by(&mut world, "backup");
    assert!(noticed < Duration::from_secs(22), "{noticed:?}");
}

#[test]
fn with_both_the_sessions_of_a_dead_router_go_by_the_first_that_is_up_and_back_and_the_others_stay() {
    let mut world = world(75, [town("a", 2_101, Redundancy::Both)]);
    let [by_main, by_backup] = [opened(&mut world, "a", 40_000, "main"), opened(&mut world, "a", 40_001, "backup")];
    dies(&mut world, "a", "backup");
    let noticed = by_backup.answered_until_by(&mut world, "main");
    assert!(noticed < Duration::from_secs(22), "{noticed:?}");
    by_main.is_answered_by(&mut world, "main");
    by_backup.is_answered_by(&mut world, "main");
    comes_back(&mut world, "a", "backup");
    by_backup.is_answered_by(&mut world, "backup");
    by_main.is_answered_by(&mut world, "main");
    // Who has meanwhile been heard over the other one stays there.
    dies(&mut world, "a", "main");
    by_main.asks_by(&mut world, "backup");
    by_main.is_answered_by(&mut world, "backup");
    comes_back(&mut world, "a", "main");
    by_main.is_answered_by(&mut world, "backup");
}

#[test]
fn where_both_are_down_a_packet_is_refused_by_name_and_each_is_asked_for_a_handshake() {
    let mut world = world(76, [town("a", 2_101, Redundancy::Both)]);
    opened(&mut world, "a", 40_000, "backup");
    ["main", "backup"].iter().for_each(|tunnel| dies(&mut world, "a", tunnel));
    world.run(Duration::from_secs(200));
    let initiation = 148;
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9101"), &world.office("a").payload(MyNumber, 64));
    let refused = Counts::new().from_cloud(&job).lost("a", DropReason::TunnelDown).error_to_cloud("a", 28 + job.len());
    let asked = Counts::new().generated().datagram_sent(initiation).times(2);
    world.expect(&refused.and(&asked), |world| world.cloud("a").send(&job));
}

#[test]
fn a_tenant_whose_routers_die_changes_nothing_for_its_neighbour_with_the_same_addresses() {
    let mut world = world(77, [town("a", 2_101, Redundancy::Both), town("b", 2_102, Redundancy::Both)]);
    let a = opened(&mut world, "a", 40_000, "main");
    let b = opened(&mut world, "b", 40_000, "backup");
    a.asks_by(&mut world, "main");
    b.is_answered_by(&mut world, "backup");
    dies(&mut world, "a", "main");
    a.answered_until_by(&mut world, "backup");
    b.is_answered_by(&mut world, "backup");
    let before = world.counts().only(&["b"]);
    a.asks_by(&mut world, "backup");
    a.is_answered_by(&mut world, "backup");
    assert_eq!(world.counts().only(&["b"]), before, "not a counter of the neighbour's");
    b.asks_by(&mut world, "main");
    b.is_answered_by(&mut world, "main");
    a.is_answered_by(&mut world, "backup");
}
