//! Which address and port a flow gets, and when another may have them.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn one_inside_endpoint_has_one_mapping_whatever_the_remote_end() {
    // RFC 4787 REQ-1, RFC 5382 REQ-1.
    let mut world = World::new();
    let first = world.udp_source((OFFICE, 5_000), (GLOBAL, 53));
    for remote in [(GLOBAL, 54), ([203, 0, 113, 11], 53), ([10, 9, 9, 9], 1)] {
        assert_eq!(world.udp_source((OFFICE, 5_000), remote), first);
    }
    assert_eq!(world.counts(), (4, 1));
    assert_ne!(world.udp_source((OFFICE, 5_001), (GLOBAL, 53)), first);
    assert_eq!(world.counts(), (5, 2));
}

#[test]
fn a_host_keeps_to_one_pool_address() {
    // RFC 4787 REQ-2, RFC 6888 REQ-2: paired pooling. Also REQ-3: the pool's parts need not be neighbours.
    let mut world = World::new();
    let prefixes = [network("10.254.1.8/30"), network("10.254.7.0/31")];
    world.nat.pool(office_pool(), &prefixes, world.now);
    let mut used = BTreeSet::new();
    for host in 0..64 {
        let addresses: BTreeSet<_> =
            (0..5).map(|n| world.udp_source(([198, 51, 100, host], 5_000 + n), (GLOBAL, 53)).expect("opens").addr).collect();
        assert_eq!(addresses.len(), 1);
        used.extend(addresses);
    }
    let all: BTreeSet<Ipv4Addr> = prefixes.iter().flat_map(|prefix| prefix.iter()).collect();
    assert_eq!(used, all, "64 hosts spread over all 6 addresses");
}

#[test]
fn ports_keep_their_class_and_cannot_be_guessed_from_the_inside_port() {
    // RFC 4787 REQ-3, RFC 6888 REQ-15.
    let mut world = World::new();
    let mut kept = 0;
    for port in 1_024..1_324 {
        let outside = world.udp_source((OFFICE, port), (GLOBAL, 53)).expect("opens").port;
        assert!(outside >= 1_024);
        kept += usize::from(outside == port);
    }
    assert!(kept < 5, "{kept} of 300 ports were kept");
    for port in [1, 53, 123, 1_023] {
        assert!((1..1_024).contains(&world.udp_source((OFFICE, port), (GLOBAL, 53)).expect("opens").port));
    }
}

#[test]
fn another_seed_means_other_ports() {
    let ports = |seed| {
        let mut world = World { nat: Nat::new(limits(100, 100), seed), ..World::new() };
        world.pool = world.nat.pool(office_pool(), &[network("10.254.1.8/32")], Instant::ZERO);
        (0..20).map(|n| world.udp_source((OFFICE, 5_000 + n), (GLOBAL, 53)).expect("opens").port).collect::<Vec<_>>()
    };
    assert_eq!(ports(1), ports(1));
    assert_ne!(ports(1), ports(2));
}

#[test]
fn all_low_ports_but_the_reserved_are_used_before_the_pool_is_exhausted() {
    let mut world = World::with_limits(limits(5_000, 5_000));
    world.nat.set_reserved_ports(&[600, 601, 500]);
    let mut given = BTreeSet::new();
    // 1,023 ports, less 179 and 500 (always) and 600 and 601.
    for n in 0..1_019u16 {
        let from = ([198, 51, 100, (n % 8) as u8], 1 + n / 8);
        assert!(given.insert(world.udp_source(from, (GLOBAL, 53)).expect("one is left").port));
    }
    assert!(given.is_disjoint(&BTreeSet::from([179, 500, 600, 601])));
    assert_eq!(world.udp_source((OFFICE, 1_000), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    assert!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).is_ok(), "high ports are another class");
    assert!(world.office_sends(&samples::tcp((OFFICE, 1_000), (GLOBAL, 53), "S", (1, 0), &[])).is_ok(), "TCP ports are others");
    assert_eq!(world.counts(), (1_021, 1_021));
}

#[test]
fn a_freed_port_goes_to_nobody_else_for_120_seconds() {
    // RFC 6888 REQ-8. The low ports are few: use them all up, free one, and see when it comes back.
    let mut world = World::with_limits(limits(5_000, 5_000));
    let low = |n: u16| ([198, 51, 100, (n % 8) as u8], 1 + n / 8);
    for n in 0..1_021 {
        world.udp_source(low(n), (GLOBAL, 53)).expect("one is left");
    }
    let freed = samples::udp(low(7), (GLOBAL, 53), b"x");
    let id = world.nat.find_from_office(&Inner::parse(&freed).expect("valid")).expect("is known");
    let endpoint = world.nat.session(id).cloud_local;
    world.nat.remove(id, world.now);
    assert_eq!(world.counts(), (1_020, 1_020));
    world.pass_seconds(119);
    assert_eq!(world.udp_source((OFFICE, 1_000), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    world.pass_seconds(1);
    assert_eq!(world.udp_source((OFFICE, 1_000), (GLOBAL, 53)), Ok(endpoint));
}

#[test]
fn the_same_inside_endpoint_gets_its_port_back_out_of_quarantine() {
    let mut world = World::new();
    let outside = world.udp_source((OFFICE, 5_000), (GLOBAL, 53));
    world.pass_seconds(300);
    assert_eq!(world.counts(), (0, 0));
    world.pass_seconds(119);
    assert_eq!(world.udp_source((OFFICE, 5_000), (GLOBAL, 99)), outside);
    world.pass_seconds(150);
    assert_eq!(world.counts(), (1, 1), "the old quarantine does not end the new session");
}

#[test]
fn two_classes_never_get_the_same_port_of_a_shared_address() {
    let mut world = World::with_limits(limits(5_000, 5_000));
    let other = PoolKey { class: TrafficClass::LgwanConnected, ..office_pool() };
    let other = world.nat.pool(other, &[network("10.254.1.8/32")], world.now);
    let first = world.pool;
    let mut given = BTreeSet::new();
    for n in 0..1_021u16 {
        world.pool = if n % 2 == 0 { first } else { other };
        assert!(given.insert(world.udp_source(([198, 51, 100, (n % 8) as u8], 1 + n / 8), (GLOBAL, 53)).expect("one is left").port));
    }
}

#[test]
fn a_reload_with_the_same_addresses_changes_nothing() {
    let mut world = World::new();
    let outside = world.udp_source((OFFICE, 5_000), (GLOBAL, 53));
    let again = world.nat.pool(office_pool(), &[network("10.254.1.8/32")], world.now);
    world.nat.retain_pools(&[again], world.now);
    assert_eq!(again, world.pool);
    assert_eq!(world.counts(), (1, 1));
    assert_eq!(world.udp_source((OFFICE, 5_000), (GLOBAL, 54)), outside);
}

#[test]
fn sessions_on_addresses_that_left_the_pool_end_and_new_ones_use_the_others() {
    let mut world = World::new();
    world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens");
    let pool = world.nat.pool(office_pool(), &[network("10.254.1.9/32")], world.now);
    assert_eq!((pool, world.counts()), (world.pool, (0, 0)));
    let outside = world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("opens");
    assert_eq!(outside.addr, Ipv4Addr::from([10, 254, 1, 9]), "not the old port out of quarantine");
    world.nat.retain_pools(&[], world.now);
    assert_eq!(world.counts(), (0, 0));
    assert_eq!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
}

#[test]
fn a_port_is_in_quarantine_also_when_its_address_moves_to_the_other_class() {
    let mut world = World::with_limits(limits(5_000, 5_000));
    for n in 0..1_021u16 {
        world.udp_source(([198, 51, 100, (n % 8) as u8], 1 + n / 8), (GLOBAL, 53)).expect("one is left");
    }
    world.nat.retain_pools(&[], world.now);
    assert_eq!(world.counts(), (0, 0));
    let other = PoolKey { class: TrafficClass::LgwanConnected, ..office_pool() };
    world.pool = world.nat.pool(other, &[network("10.254.1.8/32")], world.now);
    assert_eq!(world.udp_source((OFFICE, 1_000), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    world.pass_seconds(120);
    assert!(world.udp_source((OFFICE, 1_000), (GLOBAL, 53)).is_ok());
}

#[test]
fn a_source_is_told_from_another_after_a_reload() {
    let mut world = World::new();
    let packet = samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"x");
    world.office_sends(&packet).expect("opens");
    let id = world.nat.find_from_office(&Inner::parse(&packet).expect("valid")).expect("is known");
    let address = world.nat.session(id).cloud_local.addr;
    let other = world.nat.pool(PoolKey { attachment: AttachmentId(1), ..office_pool() }, &[network("10.254.1.8/32")], world.now);
    assert!(world.nat.has_source(id, Source::Pool(world.pool)));
    assert!(!world.nat.has_source(id, Source::Pool(other)));
    assert!(!world.nat.has_source(id, Source::Fixed(address)), "a fixed source keeps the port");
}

#[test]
fn a_session_is_known_again_by_the_flow_that_opened_it_a_ping_too() {
    let mut world = World::new();
    for packet in [samples::udp((OFFICE, 5_000), (GLOBAL, 53), b"x"), samples::echo(OFFICE, GLOBAL, true, 7, b"x")] {
        world.office_sends(&packet).expect("opens");
        let inner = Inner::parse(&packet).expect("valid");
        let id = world.nat.find_from_office(&inner).expect("is known");
        let flow = world.flow(&inner);
        assert!(world.nat.is_of_flow(id, &flow));
        assert!(!world.nat.is_of_flow(id, &NewFlow { class: TrafficClass::LgwanConnected, ..flow }));
        assert!(!world.nat.is_of_flow(id, &NewFlow { attachment: AttachmentId(1), ..flow }));
        let elsewhere = Endpoint { addr: [10, 10, 0, 99].into(), ..flow.translated_destination };
        assert!(!world.nat.is_of_flow(id, &NewFlow { translated_destination: elsewhere, ..flow }));
        assert!(!world.nat.is_of_flow(id, &NewFlow { translated_source: Source::Fixed(POOL.into()), ..flow }));
    }
}

#[test]
fn a_host_whose_address_is_full_gets_no_other_one_and_hosts_of_others_notice_nothing() {
    // RFC 6888 REQ-2: a host that appeared under two addresses would break what pairing is for.
    let mut world = World::with_limits(limits(10_000, 5_000));
    let prefixes = [network("10.254.1.8/31")];
    world.nat.pool(office_pool(), &prefixes, world.now);
    let low = |n: u16| ([198, 51, 100, (n % 200) as u8], 1 + n / 200);
    let mut addresses = BTreeMap::new();
    let refused = (0..4_000).find(|n| match world.udp_source(low(*n), (GLOBAL, 53)) {
        Ok(outside) => addresses.insert(low(*n).0, outside.addr).is_some_and(|before| before != outside.addr),
        Err(reason) => {
            assert_eq!(reason, DropReason::PortsExhausted);
            true
        }
    });
    let full = addresses[&low(refused.expect("2,042 low ports are less than 4,000")).0];
    let before = world.counts();
    let (own, other): (Vec<_>, Vec<_>) = addresses.iter().partition(|(_, address)| **address == full);
    assert_eq!(world.udp_source((*own[0].0, 1_000), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    assert_eq!(world.udp_source((*other[0].0, 1_000), (GLOBAL, 53)).map(|outside| outside.addr), Ok(*other[0].1));
    assert_eq!(world.counts(), (before.0 + 1, before.1 + 1));
}

/// The ports that a run with this half gives the first `hosts` flows at `now`.
fn run(half: PortHalf, now: u64, seed: u64, flows: u16) -> BTreeSet<u16> {
    let mut world = World { nat: Nat::new(limits(5_000, 5_000), seed), now: Instant::from_secs(now), ..World::new() };
    world.pool = world.nat.pool(office_pool(), &[network("10.254.1.8/32")], Instant::ZERO);
    world.nat.set_port_half(half);
    world.nat.remember_contacts();
    (0..flows).map(|n| world.udp_source((OFFICE, 1_024 + n), (GLOBAL, 53)).expect("opens").port).collect()
}

#[test]
fn a_restart_gives_out_no_port_of_the_run_before() {
    // RFC 6888 REQ-8, after a crash: whenever the one ended, and as soon as the other begins.
    for ended in [0, 119, 120, 100_000] {
        let before = run(PortHalf::Even, ended, 1, 2_000);
        let after = run(PortHalf::Even.other(), 0, 2, 2_000);
        assert_eq!((before.len(), after.len(), before.intersection(&after).count()), (2_000, 2_000, 0));
    }
}

#[test]
fn the_other_half_of_the_ports_waits_for_120_seconds_and_for_need() {
    let mut world = World { now: Instant::ZERO, ..World::with_limits(limits(5_000, 5_000)) };
    world.nat.set_port_half(PortHalf::Odd);
    let low = |n: u16| ([198, 51, 100, (n % 8) as u8], 1 + n / 8);
    // 512 odd ports below 1,024, less 179.
    for n in 0..511 {
        assert_eq!(world.udp_source(low(n), (GLOBAL, 53)).expect("one is left").port % 2, 1);
    }
    assert_eq!(world.udp_source(low(511), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    world.now = Instant::from_nanos(120_000_000_000 - 1);
    assert_eq!(world.udp_source(low(511), (GLOBAL, 53)), Err(DropReason::PortsExhausted));
    world.now = Instant::from_secs(120);
    assert_eq!(world.udp_source(low(511), (GLOBAL, 53)).expect("the other half").port % 2, 0);
    assert!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).expect("of the high ones its own half").port % 2 == 1);
    assert_eq!(world.counts(), (513, 513));
}

#[test]
fn more_ports_at_a_time_than_agreed_are_refused_and_a_port_in_use_serves_on() {
    // RFC 6888 REQ-4 and REQ-11.
    let most = |ports| Limits { ports: NonZeroU32::new(ports).expect("not zero"), ..limits(100, 100) };
    let mut world = World::with_limits(most(2));
    assert!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)).is_ok());
    assert!(world.udp_source((OFFICE, 5_001), (GLOBAL, 53)).is_ok());
    assert_eq!(world.udp_source((OFFICE, 5_002), (GLOBAL, 53)), Err(DropReason::PortLimitReached));
    assert_eq!(world.office_sends(&samples::echo(OFFICE, GLOBAL, true, 7, b"x")), Err(DropReason::PortLimitReached), "identifiers count");
    assert!(world.udp_source((OFFICE, 5_001), (GLOBAL, 54)).is_ok(), "one more session under a mapping");
    assert_eq!(world.counts(), (3, 2));
    world.pass_seconds(300);
    assert!(world.udp_source((OFFICE, 5_002), (GLOBAL, 53)).is_ok(), "what is in quarantine is not in use");
    assert!(world.udp_source((OFFICE, 5_001), (GLOBAL, 53)).is_ok());
    assert_eq!(world.udp_source((OFFICE, 5_000), (GLOBAL, 53)), Err(DropReason::PortLimitReached), "its old port is one too");
    world.nat.set_limits(most(1));
    assert_eq!(world.counts(), (2, 2), "a lowered limit ends nothing");
}

#[test]
fn a_connections_port_and_an_echos_identifier_have_one_mapping_whatever_the_remote_end_too() {
    // RFC 5382 REQ-1, RFC 5508 REQ-1.
    let mut world = World::new();
    let source = |packet: &[u8]| Inner::parse(packet).map(|inner| (inner.source, inner.source_port));
    let mut of_connections = BTreeSet::new();
    let mut of_echoes = BTreeSet::new();
    for remote in [GLOBAL, [203, 0, 113, 11], [10, 9, 9, 9]] {
        let syn = world.office_sends(&samples::tcp((OFFICE, 5_000), (remote, 443), "S", (1, 0), &[])).expect("opens");
        of_connections.insert(source(&syn).expect("valid"));
        let echo = world.office_sends(&samples::echo(OFFICE, remote, true, 7, b"x")).expect("opens");
        of_echoes.insert(source(&echo).expect("valid"));
    }
    assert_eq!((of_connections.len(), of_echoes.len(), world.counts()), (1, 1, (6, 2)));
}
