//! What one tenant's state tells or costs another: guessed, exhausted, handed on, or changed under packets on their way.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{SourceTranslation, TrafficClass};
use dataplane::simulation::municipality::nonzero;
use dataplane::simulation::packets::{self, Segment, tcp_at, udp};
use dataplane::simulation::{Counts, Owner, World, at, ipsec_municipality, municipality, network};
use dataplane::time::Duration;
use dataplane::tunnel::esp::sa::{OutboundUse, SaRefused};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use crate::{cloud_fails, cloud_reaches, office_fails, office_reaches, silence, twins};
use TrafficClass::MyNumber;

const SERVER: &str = "203.0.113.10:443";
const SERVER_INSIDE: &str = "10.10.0.10:443";

fn flow(name: &str, port: u16) -> Vec<u8> {
    udp(at(&format!("198.51.100.17:{port}")), at(SERVER), &Owner::new(name, MyNumber).payload(64))
}

/// Open these flows, thirty at a time; returns how the cloud sees each.
fn open(world: &mut World, name: &str, ports: impl IntoIterator<Item = u16>) -> Vec<SocketAddrV4> {
    let flows: Vec<Vec<u8>> = ports.into_iter().map(|port| flow(name, port)).collect();
    let mut seen = Vec::new();
    for flows in flows.chunks(30) {
        flows.iter().for_each(|flow| world.office(name).send(flow));
        world.settle();
        seen.extend(world.cloud(name).received().iter().map(|packet| packets::read(packet).expect("sound").source));
    }
    assert_eq!(seen.len(), flows.len());
    seen
}

#[test]
fn attempt_37_resets_and_syns_on_a_guessed_mapping_end_no_connection() {
    let mut world = twins(600);
    let (office, server, inside) = (at("198.51.100.17:40000"), at(SERVER), at(SERVER_INSIDE));
    let syn = tcp_at(office, server, Segment::Syn(Some(1_380)), (1_000, 0), &[]);
    let mapped = packets::read(&office_reaches(&mut world, "a", &syn, Counts::new().opened("a"))).expect("sound").source;
    cloud_reaches(&mut world, "a", &tcp_at(inside, mapped, Segment::SynAck(Some(1_380)), (5_000, 1_001), &[]), Counts::new());
    let data = tcp_at(office, server, Segment::Ack, (1_001, 5_001), &Owner::new("a", MyNumber).payload(32));
    office_reaches(&mut world, "a", &data, Counts::new());

    let beside = SocketAddrV4::new(*mapped.ip(), mapped.port() ^ 1);
    for segment in [Segment::Rst, Segment::Syn(None), Segment::SynAck(None), Segment::Ack, Segment::Fin] {
        for (source, destination) in [(at("10.10.0.11:443"), mapped), (at("10.10.0.10:444"), mapped), (inside, beside)] {
            cloud_fails(&mut world, "a", &tcp_at(source, destination, segment, (5_001, 1_001), &[]), DropReason::NoSession);
        }
        // The other tenant may guess all of it right.
        cloud_fails(&mut world, "b", &tcp_at(inside, mapped, segment, (5_001, 1_001), &[]), DropReason::NoSession);
    }
    // In the right place a SYN at the wrong time is no packet of the connection; a reset with wrong numbers travels on and counts for
    // nothing: five minutes later, which no reset connection sees, data still passes.
    cloud_fails(&mut world, "a", &tcp_at(inside, mapped, Segment::Syn(None), (7, 0), &[]), DropReason::NoSession);
    cloud_reaches(&mut world, "a", &tcp_at(inside, mapped, Segment::Rst, (90_000_000, 0), &[]), Counts::new());
    world.run(Duration::from_secs(300));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    office_reaches(&mut world, "a", &data, Counts::new());
}

#[test]
fn attempt_38_no_flow_ever_stands_on_a_port_that_the_relay_listens_on() {
    let mut tenant = municipality("a", 2_101);
    (tenant.limits.sessions, tenant.limits.ports) = (nonzero(5_000), nonzero(5_000));
    tenant.limits.new_sessions_per_second = nonzero(5_000);
    tenant.sources[0].translation = SourceTranslation::Napt(vec![network("10.254.1.8/32")]);
    let mut world = World::new(601, [tenant, municipality("b", 2_102)]);
    // Half of the ports rest after a start: they may be those of the run before.
    world.run(Duration::from_secs(121));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    // Ports below 1,024 become ports below 1,024, so that all of them can be used up.
    let seen = open(&mut world, "a", 1..=1_021);
    let ports: BTreeSet<u16> = seen.iter().map(|seen| seen.port()).collect();
    let given_out: BTreeSet<u16> = (1..1_024).filter(|port| !matches!(port, 179 | 500)).collect();
    assert_eq!(ports, given_out, "BGP's and IKE's ports are nobody's");
    for port in [179, 500, 3_784, 4_500, 4_784, 51_820] {
        let shadow = SocketAddrV4::new(*seen[0].ip(), port);
        cloud_fails(&mut world, "a", &udp(at(SERVER_INSIDE), shadow, &Owner::new("a", MyNumber).payload(64)), DropReason::NoSession);
        if port > 1_023 {
            assert_ne!(open(&mut world, "a", [port])[0].port(), port, "a port is never kept because it was asked for");
        }
    }
}

#[test]
fn attempt_39_what_a_tenant_sees_of_its_own_ports_tells_nothing_of_anothers() {
    let seen_by_b = |others: u16| {
        let mut world = twins(602);
        let of_a: BTreeSet<SocketAddrV4> = open(&mut world, "a", 40_000..40_000 + others).into_iter().collect();
        let of_b = open(&mut world, "b", 40_000..40_100);
        assert_eq!(of_a.len(), usize::from(others));
        of_b
    };
    assert_eq!(seen_by_b(0), seen_by_b(300));
    let differ = |seen: &[SocketAddrV4]| seen.iter().zip(40_000..).all(|(seen, port)| seen.port() != port);
    assert!(differ(&seen_by_b(0)));
}

#[test]
fn attempt_40_a_tenant_that_uses_up_its_sessions_and_its_rate_takes_none_of_anothers() {
    let mut greedy = municipality("b", 2_102);
    greedy.limits.sessions = nonzero(3);
    let mut world = World::new(603, [municipality("a", 2_101), greedy]);
    open(&mut world, "b", 40_000..40_003);
    for port in 40_003..40_060 {
        let packet = flow("b", port);
        // Its own hosts are told, and nobody else.
        let counts = Counts::new().from_office("b", &packet).lost("b", DropReason::SessionTableFull);
        world.expect(&counts.error_to_office("b", &vec![0; 28 + packet.len()]), |world| world.office("b").send(&packet));
        assert_eq!(world.office("b").received().len(), 1);
        office_reaches(&mut world, "a", &flow("a", port), Counts::new().opened("a"));
    }
}

#[test]
fn attempt_41_a_port_that_was_a_tenants_is_not_anothers_within_two_minutes() {
    let mut world = twins(604);
    let mapped = open(&mut world, "a", [40_000])[0];
    let late = udp(at(SERVER_INSIDE), mapped, &Owner::new("a", MyNumber).payload(64));
    cloud_reaches(&mut world, "a", &late, Counts::new());
    // The session ends with its rule, and its port rests.
    world.reload(|plan| plan.tenant("a").services[0].cloud_side = network("10.10.0.11/32"));
    office_fails(&mut world, "a", &flow("a", 40_000), DropReason::SessionRevoked);
    for second in 0..12 {
        world.run(Duration::from_secs(9));
        let anew: BTreeSet<SocketAddrV4> = open(&mut world, "a", (0..30).map(|port| 41_000 + second * 30 + port)).into_iter().collect();
        assert!(!anew.contains(&mapped), "given out again {} s later", (second + 1) * 9);
        cloud_fails(&mut world, "a", &late, DropReason::NoSession);
        // The other tenant has the same pool, and never the same table.
        open(&mut world, "b", (0..30).map(|port| 41_000 + second * 30 + port));
        cloud_fails(&mut world, "b", &udp(at("10.10.0.12:443"), mapped, &[0; 8]), DropReason::NoSession);
    }
}

#[test]
fn attempt_42_numbers_of_a_removed_tenant_lead_its_late_packets_nowhere() {
    let mut world = World::new(605, [municipality("a", 2_101), ipsec_municipality("b", 2_102), municipality("d", 2_104)]);
    let answer = |mapped| udp(at(SERVER_INSIDE), mapped, &Owner::new("b", MyNumber).payload(64));
    let late = answer(open(&mut world, "b", [40_000])[0]);
    let (esp, wireguard) = (world.office("b").seal(&flow("b", 40_000)), world.office("d").seal(&flow("d", 40_000)));
    let (esp, wireguard) = (esp.expect("an SA"), wireguard.expect("a session"));
    let spi = world.office("b").esp().relay_spis()[0];
    let on_the_wire = world.cloud("b").frame(dataplane::wire::ethernet::IPV4, &late);
    // Both go, and their VLANs are a newcomer's.
    world.reload(|plan| {
        plan.tenants.truncate(1);
        plan.tenants.push(ipsec_municipality("c", 2_102));
        plan.tenant("c").attachments.push(municipality("", 2_104).attachments.remove(0));
    });
    world.run(Duration::from_secs(1));
    world.cloud("c").arps();
    let mut agreement = world.agree("c", false);
    agreement.relay_spi = spi;
    let pair = world.pair("c", &agreement, OutboundUse::Now);
    assert_eq!(world.install("c", pair), Err(SaRefused::SpiTaken), "an SPI rests for nine minutes");
    world.exchange_keys("c");
    for (name, datagram, reason) in [("b", esp, DropReason::EspSpiUnknown), ("d", wireguard, DropReason::TunnelReceiverUnknown)] {
        let source = world.office(name).outer;
        let counts = Counts::new().datagram(datagram.len()).lost("access", reason);
        world.expect(&counts, |world| world.office(name).send_datagram(source, datagram));
    }
    let counts = Counts::new().frame("aws", on_the_wire.len()).lost("c", DropReason::NoSession);
    world.expect(&counts, |world| world.inject(1, on_the_wire));
    assert_eq!(world.office("c").received(), Vec::<Vec<u8>>::new());
}

#[test]
fn attempt_43_a_packet_on_its_way_while_the_configuration_changes_meets_the_new_one() {
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new("a", MyNumber).payload(64));
    let packet = flow("a", 40_000);
    let lost = |at, reason| Counts::new().from_office("a", &packet).lost(at, reason);
    for (what, change, expected) in [
        (
            "cut off",
            (|plan| plan.tenant("a").isolated = true) as fn(&mut dataplane::simulation::Plan),
            lost("a", DropReason::TenantIsolated),
        ),
        ("closed", |plan| drop(plan.tenant("a").services.remove(0)), lost("a", DropReason::SessionRevoked)),
        (
            "moved to the other class",
            |plan| plan.tenant("a").services[0].class = TrafficClass::LgwanConnected,
            lost("a", DropReason::SessionRevoked),
        ),
        (
            "removed",
            |plan| drop(plan.tenants.remove(0)),
            Counts::new().datagram(packet.len() + 32).lost("access", DropReason::TunnelReceiverUnknown),
        ),
    ] {
        let mut world = twins(606);
        open(&mut world, "a", [40_000]);
        let before = world.counts();
        world.office("a").send(&packet);
        world.reload(change);
        world.settle();
        let differences = world.counts().since(&before).differences(&expected);
        assert_eq!(differences, Vec::<String>::new(), "{what}");
        assert!(world.cloud("b").received().is_empty() && world.office("b").received().is_empty() && world.strays().is_empty());
    }
    // Under way on a VLAN that is another tenant's by now.
    let mut world = twins(607);
    let frame = world.cloud("a").frame(dataplane::wire::ethernet::IPV4, &job);
    let expected = Counts::new().frame("aws", frame.len()).lost("b", DropReason::CallbackNotAllowed);
    world.inject(1, frame);
    world.reload(|plan| plan.tenant("b").callbacks.clear());
    world.expect(&expected, |world| {
        world.reload(|plan| {
            let vlans = [plan.tenant("a").attachments[0].vlan, plan.tenant("b").attachments[0].vlan];
            plan.tenant("a").attachments[0].vlan = vlans[1];
            plan.tenant("b").attachments[0].vlan = vlans[0];
        });
    });
    silence(&mut world);
}
