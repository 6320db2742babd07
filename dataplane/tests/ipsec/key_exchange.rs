//! Commands of key exchange, and what tunnels tell it.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{EndpointId, TunnelConfig, TunnelKind, WorkerId};
use dataplane::simulation::municipality::IPSEC;
use dataplane::simulation::{Counts, Dimensions, World, ipsec_municipality, municipality};
use dataplane::time::Duration;
use dataplane::tunnel::esp::sa::{Lifetime, MAX_PAIRS, OutboundUse, SaRefused, Spi, SpiSpace};
use dataplane::worker::control::{Command, Event, SnapshotRequest, SnapshotRows};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{both_ways, job, only, request, told, twins};

fn cold(seed: u64) -> World {
    let mut world = World::cold(seed, [ipsec_municipality("a", 2_101)], Dimensions::default());
    world.run(Duration::from_millis(600));
    world.cloud("a").received();
    world
}

#[test]
fn a_packet_that_finds_no_sa_asks_for_one_every_five_seconds_at_most() {
    let mut world = cold(1_120);
    for _ in 0..20 {
        world.cloud("a").send(&job("a", 40_000));
        world.run(Duration::from_millis(200));
    }
    assert_eq!(told(&mut world), only([("Acquire a", 1)]));
    assert_eq!((world.counts().get("a.drops.tunnel_down"), world.counts().get("a.sessions_opened")), (20, 0));
    assert_eq!(world.counts().get("a.icmp_errors_sent"), 20, "the sender is told");
    world.run(Duration::from_secs(2));
    world.cloud("a").send(&job("a", 40_000));
    world.settle();
    assert_eq!(told(&mut world), only([("Acquire a", 1)]));
    world.cloud("a").received();
    world.exchange_keys("a");
    both_ways(&mut world, "a", 40_000);
    assert_eq!(told(&mut world), only([("SaHeard a", 1)]));
}

#[test]
fn the_first_packet_on_an_sa_is_told_once_and_a_soft_lifetime_too() {
    let mut world = twins(1_121);
    told(&mut world);
    let agreement = world.agree("a", false);
    let mut pair = world.pair("a", &agreement, OutboundUse::Now);
    pair.soft = Lifetime { packets: 10, bytes: u64::MAX };
    world.install("a", pair).expect("room");
    world.office("a").esp().add(agreement.clone());
    for port in 40_000..40_009 {
        both_ways(&mut world, "a", port);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(told(&mut world), only([("SaHeard a", 1)]), "nine packets each way");
    for port in 40_000..40_009 {
        both_ways(&mut world, "a", port);
        world.run(Duration::from_millis(300));
    }
    let expiring = std::iter::from_fn(|| world.event()).collect::<Vec<_>>();
    let [Event::SaExpiring { inbound_spi, .. }] = &expiring[..] else { panic!("told once: {expiring:?}") };
    assert_eq!(*inbound_spi, agreement.relay_spi);
}

#[test]
fn an_sa_that_cannot_stand_is_refused_with_a_reason_and_changes_nothing() {
    let mut world = World::new(1_122, [ipsec_municipality("a", 2_101), municipality("w", 2_102)]);
    let agreement = world.agree("a", false);
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    let before = world.counts();
    assert_eq!(world.install("nobody", pair.clone()), Err(SaRefused::NoSuchTunnel));
    assert_eq!(world.install("w", pair.clone()), Err(SaRefused::NoSuchTunnel), "it speaks WireGuard");
    let mut many = pair.clone();
    many.selectors = vec![pair.selectors[0].clone(); 33].into();
    assert_eq!(world.install("a", many), Err(SaRefused::Unsupported));
    assert_eq!(world.counts().since(&before), Counts::new());
    // What was refused does not keep its SPI from being used.
    assert_eq!(world.install("a", pair.clone()), Ok(()));
    assert_eq!(world.install("a", pair), Err(SaRefused::SpiTaken));
    for _ in 0..MAX_PAIRS - 2 {
        world.exchange_keys("a");
    }
    let agreement = world.agree("a", false);
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    assert_eq!(world.install("a", pair.clone()), Err(SaRefused::TooManyPairs));
    let oldest = world.office("a").esp().relay_spis()[0];
    world.remove_sa("a", oldest);
    assert_eq!(world.install("a", pair), Ok(()));
    world.office("a").esp().add(agreement);
    both_ways(&mut world, "a", 40_000);
}

#[test]
fn an_sa_goes_to_the_worker_that_its_spi_names_or_to_nobody() {
    let dimensions = Dimensions { workers: 2, queues: 2, frames: 2_048, ..Dimensions::default() };
    let mut world = World::with(1_123, [ipsec_municipality("a", 2_101)], dimensions);
    let owner = world.owner("a");
    let other = SpiSpace::of(WorkerId(1 - owner.0), 2).draw(&mut StdRng::seed_from_u64(1));
    let mut agreement = world.agree("a", false);
    agreement.relay_spi = other;
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    assert_eq!(world.install("a", pair), Err(SaRefused::NotMine));
    both_ways(&mut world, "a", 40_000);
}

#[test]
fn a_removed_sa_is_gone_in_both_directions_and_its_spi_rests() {
    let mut world = twins(1_124);
    both_ways(&mut world, "a", 40_000);
    let old = world.office("a").esp().relay_spis()[0];
    world.remove_sa("a", old);
    world.settle();
    let request = request("a", 40_000);
    let counts = Counts::new().datagram(8 + 8 + (request.len() + 2).next_multiple_of(4) + 16).lost("access", DropReason::EspSpiUnknown);
    world.expect(&counts, |world| world.office("a").send(&request));
    world.cloud("a").send(&job("a", 40_000));
    world.settle();
    assert_eq!(world.counts().get("a.drops.tunnel_down"), 1);
    // Nobody gets the number for nine minutes.
    let mut agreement = world.agree("b", false);
    agreement.relay_spi = old;
    let pair = world.pair("b", &agreement, OutboundUse::Now);
    assert_eq!(world.install("b", pair.clone()), Err(SaRefused::SpiTaken));
    world.run(Duration::from_secs(541));
    assert_eq!(world.install("b", pair), Ok(()));
}

#[test]
fn of_two_tunnels_the_first_usable_one_carries_what_goes_to_the_office() {
    let mut tenant = ipsec_municipality("a", 2_101);
    tenant.tunnels.push(TunnelConfig { name: "backup".into(), endpoint: IPSEC, mtu: 1_420, kind: TunnelKind::Ipsec });
    let mut world = World::with(1_125, [tenant], Dimensions::default());
    let main = world.office("a").esp().relay_spis()[0];
    both_ways(&mut world, "a", 40_000);
    let agreement = world.agree("a", false);
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    world.command(Command::InstallSa { id: 1, tenant: "a".into(), tunnel: "backup".into(), pair: Box::new(pair) });
    world.office("a").esp().add(agreement.clone());
    both_ways(&mut world, "a", 40_001);
    let through = |world: &World| ["main", "backup"].map(|tunnel| world.counts().get(&format!("a/{tunnel}.transmitted.packets")));
    assert_eq!(through(&world), [2, 0]);
    world.remove_sa("a", main);
    world.settle();
    both_ways(&mut world, "a", 40_002);
    assert_eq!(through(&world), [2, 1]);
    world.exchange_keys("a");
    both_ways(&mut world, "a", 40_003);
    assert_eq!(through(&world), [3, 1], "the first one is back");
    told(&mut world);
    world.command(Command::RemoveSa { tenant: "a".into(), tunnel: "backup".into(), inbound_spi: agreement.relay_spi });
    let main = *world.office("a").esp().relay_spis().last().expect("the new one");
    world.remove_sa("a", main);
    world.settle();
    world.cloud("a").send(&job("a", 40_000));
    world.settle();
    assert_eq!(told(&mut world), only([("Acquire a", 2)]), "any of them would do");
}

#[test]
fn a_snapshot_shows_each_sa_and_which_one_sends() {
    let mut world = twins(1_126);
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    let newer = world.exchange_keys("a");
    both_ways(&mut world, "a", 40_000);
    told(&mut world);
    world.command(Command::Snapshot { id: 5, request: SnapshotRequest::Tunnels { tenant: Some("a".into()), from: 0 } });
    world.settle();
    let Some(Event::Snapshot { rows: SnapshotRows::Tunnels(rows), .. }) = world.event() else { panic!("an answer") };
    let [row] = &rows[..] else { panic!("one tunnel: {rows:?}") };
    assert_eq!((row.kind, row.up, row.peer, row.sas.len()), ("ipsec", true, Some(world.office("a").outer.into()), 2));
    let in_use: Vec<_> = row.sas.iter().filter(|sa| sa.in_use).collect();
    let [sa] = &in_use[..] else { panic!("one sends: {in_use:?}") };
    assert_eq!((sa.inbound_spi, sa.outbound_spi, sa.suite), (newer.relay_spi.get(), newer.own_spi, "aes256gcm16"));
    let len = request("a", 40_000).len() as u64;
    assert_eq!((sa.received, sa.transmitted), ((1, len), (1, len)));
}

#[test]
fn commands_about_what_is_gone_do_nothing() {
    let mut world = twins(1_127);
    let spi = Spi::new(0x1234).expect("not reserved");
    let before = world.counts();
    for tenant in ["a", "nobody"] {
        world.remove_sa(tenant, spi);
        world.switch_outbound(tenant, spi);
        let to = world.office("b").encapsulation();
        world.move_peer(tenant, spi, to);
    }
    world.settle();
    assert_eq!(world.counts().since(&before), Counts::new());
    both_ways(&mut world, "a", 40_000);
    assert_eq!(EndpointId(1), IPSEC);
}
