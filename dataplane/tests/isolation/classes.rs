//! The two classes of one tenant, and what an operator cut off.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{RuleState, TrafficClass};
use dataplane::simulation::packets::{udp, unreachable};
use dataplane::simulation::{Counts, Owner, at, ip};

use crate::{cloud_fails, cloud_reaches, office_fails, office_reaches, twins};
use TrafficClass::{LgwanConnected, MyNumber};

fn packet(class: TrafficClass, source: &str, destination: &str) -> Vec<u8> {
    udp(at(source), at(destination), &Owner::new("a", class).payload(64))
}

fn residents() -> Vec<u8> {
    packet(MyNumber, "198.51.100.17:40000", "203.0.113.10:443")
}

fn documents() -> Vec<u8> {
    packet(LgwanConnected, "198.51.100.25:5000", "10.10.4.7:443")
}

fn job() -> Vec<u8> {
    packet(MyNumber, "10.10.0.20:50000", "10.254.1.30:9100")
}

#[test]
fn attempts_51_52_a_host_of_one_class_and_a_service_of_the_other() {
    let mut world = twins(200);
    office_fails(&mut world, "a", &packet(MyNumber, "198.51.100.17:40000", "10.10.4.7:443"), DropReason::ServiceOfOtherClass);
    office_fails(&mut world, "a", &packet(LgwanConnected, "198.51.100.25:40000", "203.0.113.10:443"), DropReason::ServiceOfOtherClass);
    // A session of the right class opens nothing for the other.
    office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    office_fails(&mut world, "a", &packet(LgwanConnected, "198.51.100.25:40000", "203.0.113.10:443"), DropReason::ServiceOfOtherClass);
}

#[test]
fn attempts_53_54_calls_and_hairpins_across_the_classes() {
    let mut world = twins(201);
    cloud_fails(&mut world, "a", &packet(LgwanConnected, "10.10.4.7:443", "10.254.1.30:9100"), DropReason::CallbackNotAllowed);
    cloud_fails(&mut world, "a", &packet(MyNumber, "10.10.0.20:50000", "10.254.1.30:22"), DropReason::CallbackNotAllowed);
    cloud_fails(&mut world, "a", &packet(MyNumber, "10.10.0.20:50000", "10.254.1.20:9100"), DropReason::NoSession);
    cloud_fails(&mut world, "a", &packet(MyNumber, "10.10.0.20:50000", "198.51.100.17:9100"), DropReason::CallbackNotAllowed);
    cloud_fails(&mut world, "a", &packet(MyNumber, "10.10.0.20:50000", "10.10.4.7:443"), DropReason::CallbackNotAllowed);
    office_fails(&mut world, "a", &packet(MyNumber, "198.51.100.17:40000", "198.51.100.25:443"), DropReason::DestinationUnknown);
    office_fails(&mut world, "a", &packet(LgwanConnected, "198.51.100.25:40000", "203.0.113.20:9100"), DropReason::DestinationUnknown);
    // A mapping alone lets nobody else in.
    let arrived = office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    let mapped = dataplane::simulation::packets::read(&arrived).expect("sound").source;
    for stranger in ["10.10.4.7:443", "10.10.0.10:444", "10.10.0.20:443"] {
        let guess = udp(at(stranger), mapped, &Owner::new("a", MyNumber).payload(64));
        cloud_fails(&mut world, "a", &guess, DropReason::NoSession);
    }
}

#[test]
fn attempt_55_an_error_of_one_class_about_a_flow_of_the_other() {
    let mut world = twins(202);
    let arrived = cloud_reaches(&mut world, "a", &job(), Counts::new().opened("a"));
    let error = unreachable(ip("198.51.100.25"), ip("203.0.113.20"), &arrived);
    office_fails(&mut world, "a", &error, DropReason::IcmpErrorUnmatched);
}

#[test]
fn attempt_56_a_prefix_that_changes_its_class_takes_no_session_along() {
    let mut world = twins(203);
    office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").office.iter_mut().for_each(|office| office.class = LgwanConnected));
    office_fails(&mut world, "a", &residents(), DropReason::SessionRevoked);
    office_fails(&mut world, "a", &residents(), DropReason::ServiceOfOtherClass);
}

#[test]
fn attempt_60_an_isolated_tenant_is_cut_off_at_the_next_packet_both_ways_and_its_twin_is_not() {
    let mut world = twins(204);
    office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    cloud_reaches(&mut world, "a", &job(), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").isolated = true);
    office_fails(&mut world, "a", &residents(), DropReason::TenantIsolated);
    cloud_fails(&mut world, "a", &job(), DropReason::TenantIsolated);
    let of_b = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new("b", MyNumber).payload(64));
    office_reaches(&mut world, "b", &of_b, Counts::new().opened("b"));
    world.reload(|plan| plan.tenant("a").isolated = false);
    office_reaches(&mut world, "a", &residents(), Counts::new());
    cloud_reaches(&mut world, "a", &job(), Counts::new());
}

#[test]
fn attempt_60_an_isolated_class_leaves_the_other_class_alone() {
    let mut world = twins(205);
    office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    cloud_reaches(&mut world, "a", &job(), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").isolated_classes[MyNumber as usize] = true);
    office_fails(&mut world, "a", &residents(), DropReason::ClassIsolated);
    cloud_fails(&mut world, "a", &job(), DropReason::ClassIsolated);
    office_reaches(&mut world, "a", &documents(), Counts::new().opened("a"));
}

#[test]
fn attempt_60_an_isolated_service_and_an_isolated_callback() {
    let mut world = twins(206);
    office_reaches(&mut world, "a", &residents(), Counts::new().opened("a"));
    cloud_reaches(&mut world, "a", &job(), Counts::new().opened("a"));
    world.reload(|plan| {
        plan.tenant("a").services[0].state = RuleState::Isolated;
        plan.tenant("a").callbacks[0].state = RuleState::Isolated;
    });
    for _ in 0..2 {
        office_fails(&mut world, "a", &residents(), DropReason::ServiceIsolated);
        cloud_fails(&mut world, "a", &job(), DropReason::ServiceIsolated);
    }
    office_reaches(&mut world, "a", &documents(), Counts::new().opened("a"));
    world.reload(|plan| plan.tenant("a").services[0].state = RuleState::OutsideValidity);
    office_fails(&mut world, "a", &residents(), DropReason::RuleNotValidNow);
}
