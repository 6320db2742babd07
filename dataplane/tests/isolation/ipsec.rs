//! ESP under another's SPI, with another's keys, from another's address, or from another time; key exchange that names another's SA.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::key_exchange::everything;
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Counts, Owner, World, at, ipsec_municipality, municipality};
use dataplane::tunnel::esp::sa::{OutboundUse, SaRefused};

use crate::silence;
use TrafficClass::MyNumber;

/// Two tenants that share every address, and so have equal selectors on both sides.
fn twins(seed: u64) -> World {
    let mut world = World::new(seed, [ipsec_municipality("a", 2_101), ipsec_municipality("b", 2_102)]);
    for tenant in ["a", "b"] {
        reaches(&mut world, tenant);
    }
    world
}

fn packet(name: &str) -> Vec<u8> {
    udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new(name, MyNumber).payload(64))
}

fn sealed(world: &mut World, name: &str) -> Vec<u8> {
    world.office(name).seal(&packet(name)).expect("an SA")
}

/// Both ways, and nobody else gets anything (the laws look at what canaries say meanwhile).
#[track_caller]
fn reaches(world: &mut World, tenant: &str) {
    let dropped = world.counts().get("worker.dropped");
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new(tenant, MyNumber).payload(64));
    world.office(tenant).send(&packet(tenant));
    world.cloud(tenant).send(&job);
    world.settle();
    assert_eq!((world.cloud(tenant).received().len(), world.office(tenant).received().len()), (1, 1));
    assert_eq!(world.counts().get("worker.dropped"), dropped);
    silence(world);
}

/// The office of `from` sends this to the relay's port 4500, and it is lost at `at`.
#[track_caller]
fn fails(world: &mut World, from: &str, datagram: Vec<u8>, at: &str, reason: DropReason) {
    let source = world.office(from).outer;
    let counts = Counts::new().datagram(datagram.len()).lost(at, reason);
    world.expect(&counts, |world| world.office(from).send_datagram(source, datagram));
    silence(world);
}

#[test]
fn attempt_13_a_packet_under_the_spi_of_another_with_ones_own_keys_does_not_authenticate() {
    let mut world = twins(420);
    let (mut of_a, of_b) = (sealed(&mut world, "a"), sealed(&mut world, "b"));
    of_a[..4].copy_from_slice(&of_b[..4]);
    fails(&mut world, "a", of_a, "b", DropReason::TunnelDataRejected);
    reaches(&mut world, "b");
}

#[test]
fn a_forged_packet_moves_neither_the_window_nor_the_peer() {
    let mut world = twins(421);
    let mut far_ahead = sealed(&mut world, "a");
    far_ahead[4..8].copy_from_slice(&0xffff_0000_u32.to_be_bytes());
    fails(&mut world, "b", far_ahead, "a", DropReason::TunnelDataRejected);
    let mut bent = sealed(&mut world, "a");
    let last = bent.len() - 1;
    bent[last] ^= 1;
    fails(&mut world, "b", bent, "a", DropReason::TunnelDataRejected);
    reaches(&mut world, "a");
    assert_eq!(world.counts().get("a/main.roams"), 0);
}

#[test]
fn attempt_10_a_recorded_packet_is_refused_from_wherever_it_comes_again_and_moves_nobody() {
    let mut world = twins(422);
    let recorded = sealed(&mut world, "a");
    let source = world.office("a").outer;
    world.office("a").send_datagram(source, recorded.clone());
    world.settle();
    assert_eq!(world.cloud("a").received().len(), 1);
    fails(&mut world, "a", recorded.clone(), "a", DropReason::TunnelDataReplayed);
    fails(&mut world, "b", recorded.clone(), "a", DropReason::TunnelDataReplayed);
    let plain = world.office("b").outer;
    world.office("b").send_without_udp(*plain.ip(), recorded);
    world.settle();
    silence(&mut world);
    reaches(&mut world, "a");
    assert_eq!((world.counts().get("a.drops.tunnel_data_replayed"), world.counts().get("a/main.roams")), (3, 0));
}

#[test]
fn an_spi_that_was_removed_or_never_was_leads_to_nobody() {
    let mut world = twins(423);
    let stale = sealed(&mut world, "a");
    let old = world.office("a").esp().relay_spis()[0];
    world.exchange_keys("a");
    world.remove_sa("a", old);
    world.settle();
    fails(&mut world, "a", stale, "access", DropReason::EspSpiUnknown);
    reaches(&mut world, "a");
    reaches(&mut world, "b");
}

#[test]
fn a_flood_of_random_spis_costs_a_named_drop_each_while_traffic_runs() {
    let mut world = twins(424);
    let template = sealed(&mut world, "a");
    for round in 0..20_u32 {
        let counts = Counts::new().datagram(template.len()).lost("access", DropReason::EspSpiUnknown).times(40);
        world.expect(&counts, |world| {
            for number in 0..40_u32 {
                let mut forged = template.clone();
                forged[..4].copy_from_slice(&(0x1000 + round * 40 + number).wrapping_mul(0x9e37_79b1).to_be_bytes());
                world.office("b").send_datagram(at(&format!("198.18.7.{number}:9")), forged);
            }
        });
        reaches(&mut world, "a");
    }
}

#[test]
fn attempt_18_key_exchange_for_one_tenant_cannot_touch_the_sa_of_another() {
    let mut world = twins(425);
    let of_b = world.office("b").esp().relay_spis()[0];
    let before = world.counts();
    world.remove_sa("a", of_b);
    world.switch_outbound("a", of_b);
    world.close_outbound("a", of_b);
    let elsewhere = world.office("a").encapsulation();
    world.move_peer("a", of_b, elsewhere);
    let mut agreement = world.agree("a", false);
    agreement.relay_spi = of_b;
    let pair = world.pair("a", &agreement, OutboundUse::Now);
    assert_eq!(world.install("a", pair), Err(SaRefused::SpiTaken));
    assert_eq!(world.counts().since(&before), Counts::new());
    reaches(&mut world, "b");
    reaches(&mut world, "a");
}

/// Should key exchange ever let selectors be too wide, the tenant's own prefixes still decide.
#[test]
fn attempt_15_selectors_open_nothing_that_the_tenant_does_not_have() {
    let mut world = twins(426);
    let agreement = world.agree("a", false);
    let mut pair = world.pair("a", &agreement, OutboundUse::Now);
    pair.selectors = everything().into();
    world.install("a", pair).expect("room");
    world.office("a").esp().add(agreement);
    reaches(&mut world, "a");
    for (source, destination, reason) in [
        ("10.9.9.9:40000", "203.0.113.10:443", DropReason::SourceNotAdmitted),
        ("198.51.100.32:40000", "203.0.113.10:443", DropReason::SourceNotAdmitted),
        ("198.51.100.17:40000", "203.0.113.11:443", DropReason::DestinationUnknown),
        ("198.51.100.17:40000", "10.10.4.5:443", DropReason::ServiceOfOtherClass),
    ] {
        let inner = udp(at(source), at(destination), &Owner::new("a", MyNumber).payload(64));
        world.expect(&Counts::new().from_esp_office("a", &inner).lost("a", reason), |world| world.office("a").send(&inner));
        silence(&mut world);
    }
}

#[test]
fn a_source_outside_its_selectors_is_lost_before_any_rule_is_asked() {
    let mut world = twins(427);
    let inner = udp(at("198.51.100.32:40000"), at("203.0.113.10:443"), &Owner::new("a", MyNumber).payload(64));
    let datagram = world.office("a").seal(&inner).expect("an SA");
    fails(&mut world, "a", datagram, "a", DropReason::TunnelSelectorMismatch);
    reaches(&mut world, "a");
}

#[test]
fn a_cut_off_holds_for_ipsec_as_for_wireguard() {
    let mut world = twins(428);
    world.reload(|plan| plan.tenant("a").isolated = true);
    let inner = packet("a");
    world.expect(&Counts::new().from_esp_office("a", &inner).lost("a", DropReason::TenantIsolated), |world| world.office("a").send(&inner));
    silence(&mut world);
    reaches(&mut world, "b");
    world.reload(|plan| {
        plan.tenant("a").isolated = false;
        plan.tenant("a").isolated_classes[MyNumber as usize] = true;
    });
    world.expect(&Counts::new().from_esp_office("a", &inner).lost("a", DropReason::ClassIsolated), |world| world.office("a").send(&inner));
    silence(&mut world);
}

#[test]
fn esp_at_wireguards_port_and_wireguard_at_esps_reach_nobody() {
    let mut world = World::new(429, [ipsec_municipality("a", 2_101), municipality("b", 2_102)]);
    reaches(&mut world, "a");
    reaches(&mut world, "b");
    let (esp, wireguard) = (sealed(&mut world, "a"), sealed(&mut world, "b"));
    let source = world.office("a").outer;
    let listen = world.relay().port();
    for (port, datagram) in [(listen, esp), (4_500, wireguard)] {
        let before = world.counts();
        world.office("a").send_to_port(source, port, datagram);
        world.settle();
        let changes = world.counts().since(&before);
        assert_eq!((changes.get("worker.dropped"), changes.get("worker.received")), (1, 1), "{changes:?}");
        silence(&mut world);
    }
}
