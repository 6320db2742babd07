//! What the cloud may begin, and hosts of one office that reach each other under their addresses in the cloud.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{Allow, Filtering, PortMap, RuleState, ServiceConfig, SourceTranslation, TenantConfig, TrafficClass};
use dataplane::simulation::fragments::{cut, reassembled};
use dataplane::simulation::municipality::service;
use dataplane::simulation::packets::{self, Seen, Segment, edited, udp, unreachable};
use dataplane::simulation::{Counts, Owner, World, at, ip, municipality, network};
use dataplane::time::Duration;

use crate::one;
use TrafficClass::{LgwanConnected, MyNumber};

const HOST: &str = "198.51.100.17:40000";

/// UDP ports, as the office uses them, and what the first becomes.
fn ports(from: std::ops::RangeInclusive<u16>, to: u16) -> Vec<Allow> {
    vec![Allow::Udp(PortMap { from, to })]
}

/// A tenant whose service opens 100 ports of a global, which are others at the private host; both classes are behind pools.
fn town(name: &str, vlan: u16, filtering: Filtering) -> TenantConfig {
    let mut config = municipality(name, vlan);
    config.services[0].allow = ports(2_000..=2_099, 3_000);
    config.services.iter_mut().for_each(|service| service.filtering = filtering);
    config.sources[1].translation = SourceTranslation::Napt(vec![network("10.254.1.16/30")]);
    config
}

fn payload(class: TrafficClass) -> Vec<u8> {
    Owner::new("a", class).payload(64)
}

fn residents(port: u16) -> Vec<u8> {
    udp(at(HOST), at(&format!("203.0.113.10:{port}")), &payload(MyNumber))
}

/// The office sends and the cloud gets it; the endpoint that it came from.
#[track_caller]
fn office_reaches(world: &mut World, packet: &[u8], counts: Counts) -> Seen {
    world.expect(&counts.from_office("a", packet).to_cloud("a", packet), |world| world.office("a").send(packet));
    one(world.cloud("a").received())
}

/// The cloud sends and the office gets it.
#[track_caller]
fn cloud_reaches(world: &mut World, packet: &[u8], counts: Counts) -> Seen {
    world.expect(&counts.from_cloud(packet).to_office("a", packet), |world| world.cloud("a").send(packet));
    one(world.office("a").received())
}

#[track_caller]
fn cloud_fails(world: &mut World, packet: &[u8], reason: DropReason) {
    world.expect(&Counts::new().from_cloud(packet).lost("a", reason), |world| world.cloud("a").send(packet));
    assert!(world.office("a").received().is_empty());
}

#[track_caller]
fn office_fails(world: &mut World, packet: &[u8], reason: DropReason) {
    world.expect(&Counts::new().from_office("a", packet).lost("a", reason), |world| world.office("a").send(packet));
    assert!(world.cloud("a").received().is_empty() && world.office("a").received().is_empty());
}

/// From the cloud to where a packet of the office came from.
fn back(from: &str, seen: &Seen) -> Vec<u8> {
    udp(at(from), seen.source, &payload(MyNumber))
}

#[test]
fn a_host_that_was_contacted_may_send_first_from_the_ports_of_the_service_and_no_others() {
    let mut world = World::new(900, [town("a", 2_101, Filtering::AddressDependent), town("b", 2_102, Filtering::EndpointIndependent)]);
    let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
    assert_eq!(seen.destination, at("10.10.0.10:3000"));
    let arrived = cloud_reaches(&mut world, &back("10.10.0.10:3099", &seen), Counts::new().opened("a"));
    assert_eq!((arrived.source, arrived.destination), (at("203.0.113.10:2099"), at(HOST)));
    // It is the session that the office would have opened.
    let answered = office_reaches(&mut world, &residents(2_099), Counts::new());
    assert_eq!((answered.source, answered.destination), (seen.source, at("10.10.0.10:3099")));
    for stranger in ["10.10.0.10:2999", "10.10.0.10:3100", "10.10.0.11:3000", "10.10.4.7:443"] {
        cloud_fails(&mut world, &back(stranger, &seen), DropReason::NoSession);
    }
    // Of the other tenant, which lets anybody in, nobody has a mapping there.
    let guess = udp(at("10.10.0.10:3099"), seen.source, &Owner::new("b", MyNumber).payload(64));
    let counts = Counts::new().from_cloud(&guess).lost("b", DropReason::NoSession);
    world.expect(&counts, |world| world.cloud("b").send(&guess));
}

#[test]
fn endpoint_independent_filtering_opens_a_mapping_to_all_hosts_of_the_service_and_none_of_the_other_class() {
    let mut config = town("a", 2_101, Filtering::EndpointIndependent);
    (config.services[0].office_side, config.services[0].cloud_side) = (network("203.0.113.0/28"), network("10.10.0.0/28"));
    let mut world = World::new(901, [config]);
    let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
    let arrived = cloud_reaches(&mut world, &back("10.10.0.13:3001", &seen), Counts::new().opened("a"));
    assert_eq!(arrived.source, at("203.0.113.13:2001"));
    // 10.10.4.7:443 is a service too, of the other class.
    for stranger in ["10.10.0.16:3001", "10.10.4.7:443", "10.10.0.13:2001"] {
        cloud_fails(&mut world, &back(stranger, &seen), DropReason::NoSession);
    }
}

#[test]
fn a_syn_that_nobody_asked_for_gets_no_answer_and_the_office_may_open_the_same_connection() {
    // RFC 5382 REQ-4: silence, for longer than 6 s; what the office sends meanwhile opens as if nothing had been.
    let mut config = town("a", 2_101, Filtering::AddressDependent);
    config.services[0].allow = vec![Allow::Tcp(PortMap { from: 2_000..=2_099, to: 3_000 })];
    let other = ServiceConfig { allow: config.services[0].allow.clone(), ..service("other", MyNumber, "203.0.113.11/32", "10.10.0.11/32") };
    config.services.push(other);
    let mut world = World::new(910, [config]);
    let syn = |to: &str| packets::tcp_at(at(HOST), at(to), Segment::Syn(None), (100, 0), &[]);
    let seen = office_reaches(&mut world, &syn("203.0.113.10:2000"), Counts::new().opened("a"));
    let unsolicited = packets::tcp_at(at("10.10.0.11:3000"), seen.source, Segment::Syn(None), (7, 0), &[]);
    // The exact counters say that nothing was answered.
    cloud_fails(&mut world, &unsolicited, DropReason::NoSession);
    let seen = office_reaches(&mut world, &syn("203.0.113.11:2000"), Counts::new().opened("a"));
    assert_eq!(seen.destination, at("10.10.0.11:3000"));
    world.run(Duration::from_secs(10));
    assert!(world.cloud("a").received().is_empty() && world.office("a").received().is_empty());
}

#[test]
fn a_mapping_of_an_isolated_class_or_service_lets_nobody_in() {
    let mut world = World::new(902, [town("a", 2_101, Filtering::EndpointIndependent)]);
    let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").isolated_classes[MyNumber as usize] = true);
    cloud_fails(&mut world, &back("10.10.0.10:3001", &seen), DropReason::ClassIsolated);
    world.reload(|plan| {
        plan.tenant("a").isolated_classes[MyNumber as usize] = false;
        plan.tenant("a").services[0].state = RuleState::Isolated;
    });
    cloud_fails(&mut world, &back("10.10.0.10:3001", &seen), DropReason::ServiceIsolated);
    world.reload(|plan| plan.tenant("a").services[0].state = RuleState::OutsideValidity);
    cloud_fails(&mut world, &back("10.10.0.10:3001", &seen), DropReason::RuleNotValidNow);
    world.reload(|plan| plan.tenant("a").isolated = true);
    cloud_fails(&mut world, &back("10.10.0.10:3001", &seen), DropReason::TenantIsolated);
    // What is counted is published every now and then.
    world.run(Duration::from_secs(2));
    assert_eq!(world.sessions("a"), 1);
}

#[test]
fn what_filtering_let_in_ends_with_the_service_and_with_the_filter() {
    for filters_only in [true, false] {
        let mut world = World::new(903, [town("a", 2_101, Filtering::EndpointIndependent)]);
        let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
        let (silent, answered) = (back("10.10.0.10:3001", &seen), back("10.10.0.10:3002", &seen));
        cloud_reaches(&mut world, &silent, Counts::new().opened("a"));
        cloud_reaches(&mut world, &answered, Counts::new().opened("a"));
        office_reaches(&mut world, &residents(2_002), Counts::new());
        world.reload(|plan| match filters_only {
            true => plan.tenant("a").services[0].filtering = Filtering::AddressAndPortDependent,
            false => plan.tenant("a").services[0].allow = ports(2_000..=2_000, 3_000),
        });
        cloud_fails(&mut world, &silent, DropReason::SessionRevoked);
        cloud_fails(&mut world, &silent, DropReason::NoSession);
        if filters_only {
            cloud_reaches(&mut world, &answered, Counts::new());
        } else {
            cloud_fails(&mut world, &answered, DropReason::SessionRevoked);
        }
        cloud_reaches(&mut world, &back("10.10.0.10:3000", &seen), Counts::new());
    }
}

#[test]
fn an_unrelated_reload_ends_nothing_that_was_let_in() {
    let mut world = World::new(904, [town("a", 2_101, Filtering::AddressDependent)]);
    let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
    let silent = back("10.10.0.10:3001", &seen);
    cloud_reaches(&mut world, &silent, Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").services.swap(0, 1));
    cloud_reaches(&mut world, &silent, Counts::new());
    cloud_reaches(&mut world, &back("10.10.0.10:3002", &seen), Counts::new().opened("a"));
}

#[test]
fn a_host_that_moved_to_the_other_class_is_reached_through_no_mapping_of_its_old_one() {
    let mut world = World::new(905, [town("a", 2_101, Filtering::EndpointIndependent)]);
    let seen = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").office.iter_mut().for_each(|office| office.class = LgwanConnected));
    cloud_fails(&mut world, &back("10.10.0.10:3001", &seen), DropReason::NoSession);
}

/// With a service that leads to the pool of its class.
fn hairpinning(filtering: Filtering) -> TenantConfig {
    let mut config = town("a", 2_101, filtering);
    let to_pool = ServiceConfig {
        filtering,
        allow: ports(1_024..=65_535, 1_024),
        ..service("each other", MyNumber, "10.254.1.8/30", "10.254.1.8/30")
    };
    config.services.push(to_pool);
    config
}

/// A packet out of the tunnel that goes back into it.
fn turned_back(packet: &[u8]) -> Counts {
    and_turned_back(Counts::new(), packet)
}

fn and_turned_back(counts: Counts, packet: &[u8]) -> Counts {
    counts
        .from_office("a", packet)
        .add("a.office_to_cloud.packets", 1)
        .add("a.office_to_cloud.bytes", packet.len() as i64)
        .to_office("a", packet)
}

fn beside(port: u16) -> String {
    format!("198.51.100.18:{port}")
}

#[test]
fn hosts_of_one_class_reach_each_other_under_their_addresses_in_the_cloud() {
    // RFC 4787 REQ-9 and RFC 5382 REQ-8: with the external source.
    let mut world = World::new(906, [hairpinning(Filtering::EndpointIndependent)]);
    let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
    let second = udp(at(&beside(50_000)), at("203.0.113.10:2000"), &payload(MyNumber));
    let second = office_reaches(&mut world, &second, Counts::new().opened("a")).source;
    let hello = udp(at(&beside(50_000)), first, &payload(MyNumber));
    world.expect(&turned_back(&hello).opened("a").opened("a"), |world| world.office("a").send(&hello));
    let arrived = one(world.office("a").received());
    assert_eq!((arrived.source, arrived.destination), (second, at(HOST)));
    let answer = udp(at(HOST), second, &payload(MyNumber));
    world.expect(&turned_back(&answer), |world| world.office("a").send(&answer));
    let received = world.office("a").received();
    let seen = packets::read(&received[0]).expect("sound");
    assert_eq!((seen.source, seen.destination), (first, at(&beside(50_000))));
    // RFC 5508 REQ-7: an error about it turns back as well.
    let error = unreachable(ip("198.51.100.18"), *first.ip(), &received[0]);
    world.expect(&turned_back(&error), |world| world.office("a").send(&error));
    let error = world.office("a").received();
    assert_eq!((&error[0][12..16], &error[0][16..20]), (&second.ip().octets()[..], &[198, 51, 100, 17][..]));
    assert!(world.cloud("a").received().is_empty());
}

#[test]
fn by_address_each_of_two_hosts_has_to_send_before_the_other_is_let_in() {
    let mut world = World::new(907, [hairpinning(Filtering::AddressDependent)]);
    let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
    let second = udp(at(&beside(50_000)), at("203.0.113.10:2000"), &payload(MyNumber));
    let second = office_reaches(&mut world, &second, Counts::new().opened("a")).source;
    let hello = udp(at(&beside(50_000)), first, &payload(MyNumber));
    let in_vain =
        Counts::new().from_office("a", &hello).add("a.office_to_cloud.packets", 1).add("a.office_to_cloud.bytes", hello.len() as i64);
    world.expect(&in_vain.opened("a").lost("a", DropReason::NoSession), |world| world.office("a").send(&hello));
    let answer = udp(at(HOST), second, &payload(MyNumber));
    // The session of the hello is the other half of it.
    world.expect(&turned_back(&answer).opened("a"), |world| world.office("a").send(&answer));
    world.expect(&turned_back(&hello), |world| world.office("a").send(&hello));
    assert_eq!(world.office("a").received().len(), 2);
}

#[test]
fn nothing_turns_back_without_a_service_across_classes_or_to_a_port_that_nobody_has() {
    let mut world = World::new(908, [town("a", 2_101, Filtering::EndpointIndependent)]);
    let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
    let hello = udp(at(&beside(50_000)), first, &payload(MyNumber));
    office_fails(&mut world, &hello, DropReason::DestinationUnknown);
    let across = udp(at("198.51.100.25:5000"), first, &payload(LgwanConnected));
    office_fails(&mut world, &across, DropReason::DestinationUnknown);
    let mut world = World::new(909, [hairpinning(Filtering::EndpointIndependent)]);
    let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
    let across = udp(at("198.51.100.25:5000"), first, &payload(LgwanConnected));
    office_fails(&mut world, &across, DropReason::ServiceOfOtherClass);
    let nobody = udp(at(&beside(50_000)), at("10.254.1.11:60001"), &payload(MyNumber));
    let counts =
        Counts::new().from_office("a", &nobody).add("a.office_to_cloud.packets", 1).add("a.office_to_cloud.bytes", nobody.len() as i64);
    world.expect(&counts.opened("a").lost("a", DropReason::NoSession), |world| world.office("a").send(&nobody));
    assert!(world.cloud("a").received().is_empty() && world.office("a").received().is_empty());
}

#[test]
fn a_datagram_in_fragments_turns_back_as_a_whole_one_does() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(911, [hairpinning(Filtering::EndpointIndependent)]);
        let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
        let bytes = Owner::new("a", MyNumber).payload(2_000);
        let parts = cut(&udp(at(&beside(50_000)), first, &bytes), 7, 1_420);
        let counts = parts.iter().fold(Counts::new().opened("a").opened("a"), |counts, part| and_turned_back(counts, part));
        world.expect(&counts, |world| order.iter().for_each(|part| world.office("a").send(&parts[*part])));
        let arrived = world.office("a").received();
        let seen = one(reassembled(&arrived));
        assert_eq!((seen.destination, seen.hop_limit, seen.payload), (at(HOST), 62, bytes), "{order:?}");
        assert!(network("10.254.1.8/30").contains(*seen.source.ip()), "the address of the sender in the cloud");
        assert!(world.cloud("a").received().is_empty());
    }
}

#[test]
fn what_may_be_cut_turns_back_in_pieces() {
    let mut config = hairpinning(Filtering::EndpointIndependent);
    config.attachments[0].mtu = 700;
    let mut world = World::new(912, [config]);
    let first = office_reaches(&mut world, &residents(2_000), Counts::new().opened("a")).source;
    let bytes = Owner::new("a", MyNumber).payload(1_000);
    let whole = edited(udp(at(&beside(50_000)), first, &bytes), |packet| packet[6] &= !0x40);
    world.office("a").send(&whole);
    world.settle();
    let arrived = world.office("a").received();
    assert_eq!(arrived.iter().map(Vec::len).collect::<Vec<_>>(), [700, 348]);
    assert_eq!(one(reassembled(&arrived)).payload, bytes);
    assert_eq!((world.counts().get("a.packets_fragmented"), world.counts().get("worker.dropped")), (1, 0));
}
