//! A new configuration under running traffic: who did not change notices nothing, who changed loses just what no longer fits, and
//! numbers that change hands take nothing of their former owner along.
#![cfg(feature = "simulation")]

use std::num::NonZeroU16;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{SecretKey, TrafficClass};
use dataplane::simulation::packets::{self, Seen, udp};
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, municipality, network};
use dataplane::time::Duration;
use dataplane::tunnel::wireguard;
use dataplane::worker::control::Event;

use TrafficClass::{LgwanConnected, MyNumber};

fn twins(seed: u64) -> World {
    World::new(seed, [municipality("a", 2_101), municipality("b", 2_102)])
}

fn residents(name: &str) -> Vec<u8> {
    udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new(name, MyNumber).payload(64))
}

fn documents(name: &str) -> Vec<u8> {
    udp(at("198.51.100.25:5000"), at("10.10.4.7:443"), &Owner::new(name, LgwanConnected).payload(64))
}

/// A packet crosses and its answer comes back; what the cloud host saw.
#[track_caller]
fn crosses(world: &mut World, tenant: &str, packet: &[u8], counts: Counts) -> Seen {
    world.expect(&counts.from_office(tenant, packet).to_cloud(tenant, packet), |world| world.office(tenant).send(packet));
    let seen = packets::read(&world.cloud(tenant).received()[0]).expect("sound");
    let answer = udp(seen.destination, seen.source, &seen.payload);
    world.expect(&Counts::new().from_cloud(&answer).to_office(tenant, &answer), |world| world.cloud(tenant).send(&answer));
    assert_eq!(world.office(tenant).received().len(), 1);
    seen
}

#[track_caller]
fn fails(world: &mut World, tenant: &str, packet: &[u8], reason: DropReason) {
    world.expect(&Counts::new().from_office(tenant, packet).lost(tenant, reason), |world| world.office(tenant).send(packet));
}

#[test]
fn a_tenant_that_did_not_change_keeps_its_tunnel_its_sessions_and_its_ports() {
    let mut world = twins(500);
    let before = crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    world.reload(|plan| {
        plan.tenant("b").services.clear();
        plan.tenants.push(municipality("c", 2_103));
        plan.tenants.swap(0, 2);
    });
    assert_eq!(crosses(&mut world, "a", &residents("a"), Counts::new()).source, before.source);
    fails(&mut world, "b", &residents("b"), DropReason::DestinationUnknown);
    world.office("c").connect();
    world.run(Duration::from_secs(1));
    crosses(&mut world, "c", &residents("c"), Counts::new().opened("c"));
}

#[test]
fn a_changed_rule_ends_its_own_sessions_and_no_others() {
    let mut world = twins(501);
    crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    let kept = crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").services[0].cloud_side = network("10.10.0.11/32"));
    fails(&mut world, "a", &residents("a"), DropReason::SessionRevoked);
    let moved = crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    assert_eq!(moved.destination, at("10.10.0.11:443"));
    assert_eq!(crosses(&mut world, "a", &documents("a"), Counts::new()).source, kept.source);
}

#[test]
fn a_service_that_is_added_or_moved_in_the_list_ends_nothing() {
    let mut world = twins(502);
    crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").services.swap(0, 1));
    crosses(&mut world, "a", &residents("a"), Counts::new());
    crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
}

#[test]
fn what_a_removed_tenant_left_under_way_arrives_nowhere_not_even_at_the_next_owner_of_its_vlan() {
    let mut world = twins(503);
    let seen = crosses(&mut world, "b", &documents("b"), Counts::new().opened("b"));
    let answer = udp(seen.destination, seen.source, &Owner::new("b", LgwanConnected).payload(64));
    let late = world.cloud("b").frame(dataplane::wire::ethernet::IPV4, &answer);
    let datagram = world.office("b").seal(&documents("b")).expect("a session");
    while world.event().is_some() {}

    world.reload(|plan| plan.tenants.retain(|tenant| &*tenant.name == "a"));
    let unknown = Counts::new().datagram(datagram.len()).lost("access", DropReason::TunnelReceiverUnknown);
    world.expect(&unknown, |world| world.office("b").send(&documents("b")));
    let unknown_vlan = Counts::new().frame("aws", late.len()).lost("aws", DropReason::VlanUnknown);
    world.expect(&unknown_vlan, |world| world.inject(1, late.clone()));
    assert!(matches!(world.event(), Some(Event::Retired(_))), "its tables are freed by somebody else");

    world.reload(|plan| plan.tenants.push(municipality("c", 2_102)));
    world.office("c").connect();
    world.run(Duration::from_secs(1));
    let foreign = Counts::new().frame("aws", late.len()).lost("c", DropReason::NoSession);
    world.expect(&foreign, |world| world.inject(1, late));
    world.expect(&unknown, |world| world.office("b").send(&documents("b")));
    crosses(&mut world, "c", &documents("c"), Counts::new().opened("c"));
    crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
}

#[test]
fn two_tenants_that_swap_their_vlans_in_one_reload_swap_nothing_else() {
    let mut world = twins(504);
    crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
    let old_cloud_of_a = world.cloud("a").vlan;
    world.reload(|plan| {
        let vlans = [plan.tenant("a").attachments[0].vlan, plan.tenant("b").attachments[0].vlan];
        plan.tenant("a").attachments[0].vlan = vlans[1];
        plan.tenant("b").attachments[0].vlan = vlans[0];
    });
    world.run(Duration::from_secs(1));
    assert_eq!(world.cloud("b").vlan, old_cloud_of_a);
    world.cloud("a").received();
    crosses(&mut world, "a", &documents("a"), Counts::new());
    crosses(&mut world, "b", &documents("b"), Counts::new().opened("b"));
}

#[test]
fn two_tenants_that_swap_their_keys_begin_anew_and_old_ciphertext_is_worth_nothing() {
    let mut world = twins(505);
    crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
    world.reload(|plan| {
        let kinds = [plan.tenant("a").tunnels[0].kind.clone(), plan.tenant("b").tunnels[0].kind.clone()];
        let [a, b] = kinds;
        plan.tenant("a").tunnels[0].kind = b;
        plan.tenant("b").tunnels[0].kind = a;
    });
    let old = documents("a");
    let counts = Counts::new().datagram(old.len() + 32).lost("access", DropReason::TunnelReceiverUnknown);
    world.expect(&counts, |world| world.office("a").send(&old));
    world.office("a").restart();
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    // The office that was a's speaks for b now, and the world's laws demand b's canary of it.
    let of_b = documents("b");
    world.expect(&Counts::new().from_office("b", &of_b).to_cloud("b", &of_b).opened("b"), |world| world.office("a").send(&of_b));
    assert_eq!(world.cloud("b").received().len(), 1);
}

#[test]
fn another_endpoint_beside_the_first_disturbs_no_tunnel_whether_it_comes_changes_or_goes() {
    let mut world = twins(510);
    crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    for port in [NonZeroU16::new(51_821), NonZeroU16::new(51_822), None] {
        world.reload(|plan| plan.spare_port = port);
        crosses(&mut world, "a", &residents("a"), Counts::new());
    }
}

#[test]
fn another_key_of_the_relay_ends_every_tunnel_and_no_session() {
    let mut world = twins(506);
    crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    let key = SecretKey([0x79; 32]);
    world.reload(|plan| plan.relay_key = key.clone());
    let old = residents("a");
    let counts = Counts::new().datagram(old.len() + 32).lost("access", DropReason::TunnelReceiverUnknown);
    world.expect(&counts, |world| world.office("a").send(&old));
    let stale = Counts::new().datagram(148).lost("access", DropReason::TunnelHandshakeMacInvalid);
    world.expect(&stale, |world| world.office("b").connect());
    world.office("a").trust(wireguard::public_key(&key));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    crosses(&mut world, "a", &residents("a"), Counts::new());
}

#[test]
fn a_packet_that_waits_for_its_next_hop_does_not_outlive_the_rules_that_let_it_through() {
    let tenants = [municipality("a", 2_101), municipality("b", 2_102)];
    let mut world = World::cold(507, tenants, Dimensions::default());
    world.cloud("a").stations.clear();
    world.bring_up();
    let packet = residents("a");
    world.office("a").send(&packet);
    world.settle();
    assert_eq!(world.counts().get("worker.held"), 1);
    let dropped = Counts::new().lost("a", DropReason::NextHopUnresolved).add("worker.held", -1);
    world.expect(&dropped, |world| world.reload(|plan| plan.tenant("a").isolated = true));
    world.office("b").send(&residents("b"));
    world.settle();
    assert_eq!(world.cloud("b").received().len(), 1);
}

#[test]
fn a_lower_limit_ends_no_session() {
    let mut world = twins(508);
    crosses(&mut world, "a", &residents("a"), Counts::new().opened("a"));
    crosses(&mut world, "a", &documents("a"), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").limits.sessions = dataplane::simulation::municipality::nonzero(1));
    crosses(&mut world, "a", &residents("a"), Counts::new());
    crosses(&mut world, "a", &documents("a"), Counts::new());
    let third = udp(at("198.51.100.17:40001"), at("203.0.113.10:443"), &Owner::new("a", MyNumber).payload(64));
    let error = vec![0; 28 + third.len()];
    let counts = Counts::new().from_office("a", &third).lost("a", DropReason::SessionTableFull).error_to_office("a", &error);
    world.expect(&counts, |world| world.office("a").send(&third));
}
