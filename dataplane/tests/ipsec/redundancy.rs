//! Two IPsec tunnels of one tenant: which of them sends, as SAs go and come back, and when a reload changes their order.

use dataplane::router_config::{Redundancy, TenantConfig, TunnelConfig, TunnelKind};
use dataplane::simulation::esp_router::Agreement;
use dataplane::simulation::municipality::IPSEC;
use dataplane::simulation::packets::{read, udp};
use dataplane::simulation::{World, ipsec_municipality};
use dataplane::tenant::Carries;
use dataplane::tunnel::esp::sa::{OutboundUse, Spi};
use dataplane::worker::control::{Command, Event, SnapshotRequest, SnapshotRows};

use crate::{job, request};

const TUNNELS: [&str; 2] = ["main", "backup"];

fn town(name: &str, vlan: u16, redundancy: Redundancy) -> TenantConfig {
    let mut town = ipsec_municipality(name, vlan);
    town.tunnels.push(TunnelConfig { name: "backup".into(), endpoint: IPSEC, mtu: 1_420, kind: TunnelKind::Ipsec });
    TenantConfig { redundancy, ..town }
}

/// A key exchange through this tunnel. The office has one router here, which is at the end of both: the SPI says which tunnel it sends over.
fn exchange_keys(world: &mut World, tenant: &str, tunnel: &str) -> Spi {
    let agreement: Agreement = world.agree(tenant, false);
    let pair = world.pair(tenant, &agreement, OutboundUse::Now);
    world.command(Command::InstallSa { id: 1_000, tenant: tenant.into(), tunnel: tunnel.into(), pair: Box::new(pair) });
    world.settle();
    let spi = agreement.relay_spi;
    world.office(tenant).esp().add(agreement);
    spi
}

/// A world in which `a` and its neighbour `b` have both tunnels, and the SPIs of `a`'s.
fn world(seed: u64, redundancy: Redundancy) -> (World, [Spi; 2]) {
    let mut world = World::new(seed, [town("a", 2_101, redundancy), town("b", 2_102, redundancy)]);
    let main = world.office("a").esp().relay_spis()[0];
    exchange_keys(&mut world, "b", "backup");
    let backup = exchange_keys(&mut world, "a", "backup");
    (world, [main, backup])
}

/// The office of `tenant` asks over the tunnel with this SPI, from this port; returns what the server answers.
fn asked(world: &mut World, tenant: &str, spi: Spi, port: u16) -> Vec<u8> {
    let question = request(tenant, port);
    world.office(tenant).esp().switch(spi);
    world.office(tenant).send(&question);
    world.settle();
    let [seen] = &world.cloud(tenant).received()[..] else { panic!("one question: {:?}", world.reasons()) };
    let seen = read(seen).expect("sound");
    udp(seen.destination, seen.source, &seen.payload)
}

/// Which tunnel a packet of the cloud goes by.
#[track_caller]
fn sent_by(world: &mut World, tenant: &str, packet: &[u8]) -> &'static str {
    let through = |world: &World| TUNNELS.map(|tunnel| world.counts().get(&format!("{tenant}/{tunnel}.transmitted.packets")));
    let before = through(world);
    world.cloud(tenant).send(packet);
    world.settle();
    assert_eq!(world.office(tenant).received().len(), 1, "{:?}", world.reasons());
    let after = through(world);
    TUNNELS[before.iter().zip(&after).position(|(before, after)| before != after).expect("one of them")]
}

fn carries(world: &mut World, tenant: &str) -> Vec<Carries> {
    while world.event().is_some() {}
    world.command(Command::Snapshot { id: 5, request: SnapshotRequest::Tunnels { tenant: Some(tenant.into()), from: 0 } });
    world.settle();
    let Some(Event::Snapshot { rows: SnapshotRows::Tunnels(rows), .. }) = world.event() else { panic!("an answer") };
    rows.iter().map(|row| row.carries).collect()
}

#[test]
fn a_session_whose_tunnel_lost_its_sas_goes_by_the_first_that_is_up_and_back_with_new_ones() {
    let (mut world, [main, backup]) = world(1_160, Redundancy::Both);
    let by_main = asked(&mut world, "a", main, 40_000);
    let by_backup = asked(&mut world, "a", backup, 40_001);
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), TUNNELS);
    assert_eq!(sent_by(&mut world, "a", &job("a", 50_000)), "main");
    assert_eq!(carries(&mut world, "a"), [Carries::AnswersAndRest, Carries::Answers]);

    // As dead peer detection does: its SAs go without a word of the peer.
    let command = Command::RemoveSa { tenant: "a".into(), tunnel: "backup".into(), inbound_spi: backup };
    world.command(command);
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), ["main", "main"]);
    assert_eq!(carries(&mut world, "a"), [Carries::Everything, Carries::Nothing]);
    exchange_keys(&mut world, "a", "backup");
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), TUNNELS);

    world.close_outbound("a", main);
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), ["backup", "backup"]);
    assert_eq!(sent_by(&mut world, "a", &job("a", 50_001)), "backup", "what the cloud begins");
    assert_eq!(carries(&mut world, "a"), [Carries::Nothing, Carries::Everything]);
    assert_eq!(carries(&mut world, "b"), [Carries::AnswersAndRest, Carries::Answers], "the neighbour's are as they were");
}

#[test]
fn with_prefer_the_other_one_stands_by_until_the_first_has_no_sa() {
    let (mut world, [main, backup]) = world(1_161, Redundancy::Prefer);
    let answer = asked(&mut world, "a", backup, 40_000);
    assert_eq!(sent_by(&mut world, "a", &answer), "main");
    assert_eq!(carries(&mut world, "a"), [Carries::Everything, Carries::Standby]);
    world.remove_sa("a", main);
    assert_eq!(sent_by(&mut world, "a", &answer), "backup");
    assert_eq!(carries(&mut world, "a"), [Carries::Nothing, Carries::Everything]);
}

#[test]
fn a_session_of_one_tenant_is_bound_to_no_tunnel_by_what_another_tenant_with_the_same_addresses_sends() {
    let (mut world, [main, backup]) = world(1_162, Redundancy::Both);
    let [b_main, b_backup] = world.office("b").esp().relay_spis()[..] else { panic!("two tunnels") };
    let of_a = asked(&mut world, "a", backup, 40_000);
    let of_b = asked(&mut world, "b", b_main, 40_000);
    for _ in 0..2 {
        assert_eq!((sent_by(&mut world, "a", &of_a), sent_by(&mut world, "b", &of_b)), ("backup", "main"));
    }
    asked(&mut world, "b", b_backup, 40_000);
    assert_eq!((sent_by(&mut world, "a", &of_a), sent_by(&mut world, "b", &of_b)), ("backup", "backup"));
    asked(&mut world, "a", main, 40_000);
    assert_eq!((sent_by(&mut world, "a", &of_a), sent_by(&mut world, "b", &of_b)), ("main", "backup"));
}

#[test]
fn a_reload_that_changes_the_order_of_the_tunnels_leaves_each_session_its_own() {
    let (mut world, [main, backup]) = world(1_163, Redundancy::Both);
    let by_main = asked(&mut world, "a", main, 40_000);
    let by_backup = asked(&mut world, "a", backup, 40_001);
    world.reload(|plan| plan.tenant("a").tunnels.reverse());
    world.settle();
    // Tunnels that moved are made anew, as others are.
    for tunnel in TUNNELS {
        exchange_keys(&mut world, "a", tunnel);
    }
    assert_eq!(carries(&mut world, "a"), [Carries::AnswersAndRest, Carries::Answers], "backup is the first now");
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), TUNNELS);
    assert_eq!(sent_by(&mut world, "a", &job("a", 50_000)), "backup");
    world.reload(|plan| plan.tenant("a").tunnels.truncate(1));
    assert_eq!([&by_main, &by_backup].map(|answer| sent_by(&mut world, "a", answer)), ["backup", "backup"], "main is gone");
}

#[test]
fn a_reload_from_both_to_prefer_and_back_holds_from_the_next_packet_on() {
    let (mut world, [_, backup]) = world(1_164, Redundancy::Both);
    let answer = asked(&mut world, "a", backup, 40_000);
    for (redundancy, tunnel) in [(Redundancy::Prefer, "main"), (Redundancy::Both, "backup")] {
        world.reload(|plan| plan.tenant("a").redundancy = redundancy);
        assert_eq!(sent_by(&mut world, "a", &answer), tunnel, "{redundancy:?}: no SA was lost");
    }
}
