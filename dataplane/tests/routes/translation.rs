//! Addresses and ports, both ways, in each reading of "shared global addresses".

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{
    Allow, AttachmentId, CallbackConfig, PortMap, RuleState, ServiceConfig, SourceConfig, SourceTranslation, TrafficClass,
};
use dataplane::simulation::municipality::{pairs, service};
use dataplane::simulation::packets::{self, Seen, Segment, tcp, udp};
use dataplane::simulation::{Counts, World, at, ip, municipality, network};

use crate::one;
use TrafficClass::{LgwanConnected, MyNumber};

/// An office packet and its answer cross; returns what the cloud host saw. `expected` is the destination there.
fn there_and_back(world: &mut World, tenant: &str, class: TrafficClass, source: &str, destination: &str, expected: &str) -> Seen {
    let payload = world.office(tenant).payload(class, 100);
    let packet = udp(at(source), at(destination), &payload);
    let counts = Counts::new().from_office(tenant, &packet).to_cloud(tenant, &packet).opened(tenant);
    world.expect(&counts, |world| world.office(tenant).send(&packet));
    let seen = one(world.cloud(tenant).received());
    assert_eq!((seen.destination, seen.hop_limit, &seen.payload), (at(expected), 63, &payload));

    let answer = udp(seen.destination, seen.source, &payload);
    let counts = Counts::new().from_cloud(&answer).to_office(tenant, &answer);
    world.expect(&counts, |world| world.cloud(tenant).send(&answer));
    let back = one(world.office(tenant).received());
    assert_eq!((back.source, back.destination, back.hop_limit, back.payload), (at(destination), at(source), 63, payload));
    seen
}

#[test]
fn one_global_leads_each_tenant_to_its_own_host_although_everything_else_is_the_same_too() {
    let mut world = World::new(1, [municipality("a", 2_101), municipality("b", 2_102), municipality("c", 2_103)]);
    for tenant in ["a", "b", "c"] {
        let seen = there_and_back(&mut world, tenant, MyNumber, "198.51.100.17:40000", "203.0.113.10:443", "10.10.0.10:443");
        assert!(network("10.254.1.8/30").contains(*seen.source.ip()), "from the pool: {}", seen.source);
        assert!(seen.source.port() >= 1_024, "a port of the same class as the office's");
    }
    for tenant in ["a", "b", "c"] {
        assert_eq!(world.cloud(tenant).received(), Vec::<Vec<u8>>::new(), "nobody got anything else");
    }
}

#[test]
fn a_static_source_keeps_its_port_and_a_service_without_a_global_its_destination() {
    let mut world = World::new(2, [municipality("a", 2_101), municipality("b", 2_102)]);
    let seen = there_and_back(&mut world, "b", LgwanConnected, "198.51.100.25:5000", "10.10.4.7:443", "10.10.4.7:443");
    assert_eq!(seen.source, at("10.254.1.20:5000"));
    let seen = there_and_back(&mut world, "b", LgwanConnected, "198.51.100.26:5000", "10.10.4.7:443", "10.10.4.7:443");
    assert_eq!(seen.source, at("10.254.1.21:5000"));
}

#[test]
fn without_any_inner_translation_packets_arrive_as_they_were_sent() {
    let mut tenant = municipality("a", 2_101);
    tenant.sources = vec![SourceConfig { class: MyNumber, attachment: AttachmentId(0), translation: SourceTranslation::Keep }];
    tenant.services = vec![service("all", MyNumber, "10.10.0.0/16", "10.10.0.0/16")];
    tenant.callbacks.clear();
    let mut world = World::new(3, [tenant]);
    let seen = there_and_back(&mut world, "a", MyNumber, "198.51.100.17:40000", "10.10.77.1:443", "10.10.77.1:443");
    assert_eq!(seen.source, at("198.51.100.17:40000"));
}

#[test]
fn a_prefix_of_globals_is_translated_host_by_host() {
    let mut tenant = municipality("a", 2_101);
    tenant.services = vec![service("block", MyNumber, "203.0.113.32/28", "10.20.0.32/28")];
    let mut world = World::new(4, [tenant]);
    there_and_back(&mut world, "a", MyNumber, "198.51.100.17:40000", "203.0.113.45:443", "10.20.0.45:443");
}

#[test]
fn services_behind_one_global_are_told_apart_by_port() {
    let mut tenant = municipality("a", 2_101);
    let by_port = |name: &str, outside: u16, private: &str| {
        let mut service = service(name, MyNumber, "203.0.113.10/32", private);
        service.allow = vec![Allow::Udp(PortMap { from: outside..=outside, to: 443 })];
        service
    };
    tenant.services = vec![by_port("residents", 443, "10.10.0.10/32"), by_port("tax", 10_443, "10.10.0.11/32")];
    let mut world = World::new(5, [tenant]);
    let residents = there_and_back(&mut world, "a", MyNumber, "198.51.100.17:40000", "203.0.113.10:443", "10.10.0.10:443");
    let tax = there_and_back(&mut world, "a", MyNumber, "198.51.100.17:40000", "203.0.113.10:10443", "10.10.0.11:443");
    assert_eq!(residents.source, tax.source, "one mapping for one office endpoint (RFC 4787 REQ-1)");
}

#[test]
fn a_callback_reaches_the_printer_and_its_answers_go_back_but_nothing_else_of_the_office() {
    let mut world = World::new(6, [municipality("a", 2_101), municipality("b", 2_102)]);
    let payload = world.office("a").payload(MyNumber, 64);
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9101"), &payload);
    let counts = Counts::new().from_cloud(&job).to_office("a", &job).opened("a");
    world.expect(&counts, |world| world.cloud("a").send(&job));
    let seen = one(world.office("a").received());
    assert_eq!((seen.destination, *seen.source.ip(), seen.payload), (at("198.51.100.17:19101"), ip("203.0.113.20"), payload.clone()));

    let status = udp(seen.destination, seen.source, &payload);
    world.expect(&Counts::new().from_office("a", &status).to_cloud("a", &status), |world| world.office("a").send(&status));
    let back = one(world.cloud("a").received());
    assert_eq!((back.source, back.destination, back.payload), (at("10.254.1.30:9101"), at("10.10.0.20:50000"), payload));
    assert!(world.office("b").received().is_empty());
}

#[test]
fn two_tenants_may_use_the_same_office_addresses_towards_the_same_static_cloud_addresses() {
    let tenant = |name, vlan| {
        let mut tenant = municipality(name, vlan);
        tenant.sources.retain(|source| source.class == MyNumber);
        tenant.sources[0].translation = pairs(&[("198.51.100.17", "10.254.1.9")]);
        tenant
    };
    let mut world = World::new(7, [tenant("a", 2_101), tenant("b", 2_102)]);
    for tenant in ["a", "b"] {
        let seen = there_and_back(&mut world, tenant, MyNumber, "198.51.100.17:40000", "203.0.113.10:443", "10.10.0.10:443");
        assert_eq!(seen.source, at("10.254.1.9:40000"));
    }
}

#[test]
fn a_tcp_connection_lives_from_its_syn_to_its_end() {
    let mut world = World::new(8, [municipality("a", 2_101)]);
    world.cloud("a").answers = true;
    let (client, server) = (at("198.51.100.17:40000"), at("203.0.113.10:443"));
    let data = world.office("a").payload(MyNumber, 1_000);
    let segment = |segment, numbers, payload: &[u8]| packets::tcp_at(client, server, segment, numbers, payload);
    let syn = segment(Segment::Syn(None), (100, 0), &[]);
    let syn_ack = segment(Segment::SynAck(Some(1_460)), (0, 0), &[]);
    let counts = Counts::new().from_office("a", &syn).to_cloud("a", &syn).opened("a").from_cloud(&syn_ack).to_office("a", &syn_ack);
    world.expect(&counts, |world| world.office("a").send(&syn));
    let request = segment(Segment::Ack, (101, 1), &data);
    let crossing = Counts::new().from_office("a", &request).to_cloud("a", &request).from_cloud(&request).to_office("a", &request);
    world.expect(&crossing, |world| world.office("a").send(&request));
    let fin = segment(Segment::Fin, (1_101, 1_001), &[]);
    let crossing = Counts::new().from_office("a", &fin).to_cloud("a", &fin).from_cloud(&fin).to_office("a", &fin);
    world.expect(&crossing, |world| world.office("a").send(&fin));
    let received: Vec<Seen> = world.office("a").received().iter().map(|packet| packets::read(packet).expect("sound")).collect();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|seen| (seen.source, seen.destination) == (server, client)));
    assert_eq!(received[1].payload, data);
}

#[test]
fn the_maximum_segment_size_is_lowered_to_what_the_tunnel_carries_both_ways_and_never_raised() {
    let mut world = World::new(9, [municipality("a", 2_101)]);
    for (number, (said, heard)) in (0u16..).zip([(1_460, 1_380), (1_380, 1_380), (1_200, 1_200), (65_535, 1_380)]) {
        let syn = tcp(at(&format!("198.51.100.17:{}", 40_000 + number)), at("203.0.113.10:443"), Segment::Syn(Some(said)), &[]);
        world.expect(&Counts::new().from_office("a", &syn).to_cloud("a", &syn).opened("a"), |world| world.office("a").send(&syn));
        let seen = one(world.cloud("a").received());
        assert_eq!(seen.mss, Some(heard));
        let answer = tcp(seen.destination, seen.source, Segment::SynAck(Some(said)), &[]);
        world.expect(&Counts::new().from_cloud(&answer).to_office("a", &answer), |world| world.cloud("a").send(&answer));
        assert_eq!(one(world.office("a").received()).mss, Some(heard));
    }
}

#[test]
fn of_two_rules_for_one_destination_the_one_in_force_opens_it_wherever_it_stands_in_the_file() {
    let mut tenant = municipality("a", 2_101);
    let old = ServiceConfig { state: RuleState::OutsideValidity, ..service("until-march", MyNumber, "203.0.113.10/32", "10.10.0.10/32") };
    tenant.services = vec![old, service("from-april", MyNumber, "203.0.113.10/32", "10.10.0.11/32")];
    let printer = tenant.callbacks[0].clone();
    tenant.callbacks = vec![CallbackConfig { state: RuleState::OutsideValidity, office: ip("198.51.100.18"), ..printer.clone() }, printer];
    let mut world = World::new(10, [tenant]);
    there_and_back(&mut world, "a", MyNumber, "198.51.100.17:40000", "203.0.113.10:443", "10.10.0.11:443");
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &world.office("a").payload(MyNumber, 64));
    world.expect(&Counts::new().from_cloud(&job).to_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    assert_eq!(one(world.office("a").received()).destination, at("198.51.100.17:19100"));

    // Without one in force, a cut-off is the reason to tell, wherever it stands.
    world.reload(|plan| {
        let services = &mut plan.tenant("a").services;
        (services[0].state, services[1].state) = (RuleState::Isolated, RuleState::OutsideValidity);
    });
    world.settle();
    let packet = udp(at("198.51.100.18:40000"), at("203.0.113.10:443"), &world.office("a").payload(MyNumber, 64));
    let cut_off = Counts::new().from_office("a", &packet).lost("a", DropReason::ServiceIsolated);
    world.expect(&cut_off, |world| world.office("a").send(&packet));
}
