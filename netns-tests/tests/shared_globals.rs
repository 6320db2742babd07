//! "Several municipalities share global IP addresses": four readings of that sentence as four configurations of one story.

use netns_tests::canary;
use netns_tests::capture::{Capture, canaries};
use netns_tests::plan::{Municipality, RESIDENTS, SHARED_GLOBAL, route_offices, three_municipalities};
use netns_tests::relay::{Driver, relay_among};
use netns_tests::topology::TRUNK;

/// Every counter reaches its own cloud at `url`, seen by it as one of `sources`, and no circuit ever carries another tenant's data.
fn each_tenant_reaches_its_own_cloud_only(plans: Vec<Municipality>, url: &str, sources: &[&str], destination: &str) {
    let (lab, _relay) = relay_among(plans, Driver::AfPacket);
    let capture = Capture::start(&lab.trunk, lab.directory(), TRUNK);
    for town in lab.towns.iter().cycle().take(9) {
        let seen = town.counter().fetch(url).unwrap_or_else(|status| panic!("{}: curl ended with {status}", town.plan.tenant));
        let fields: Vec<&str> = seen.split_whitespace().collect();
        assert!(sources.iter().any(|source| fields[0] == format!("from={source}")), "the cloud saw {seen}");
        assert_eq!(fields[1..], [format!("to={destination}"), canary::mynumber(&town.plan.tenant)]);
    }
    let captured = capture.stop();
    captured.assert_checksums();
    for town in &lab.towns {
        let found: Vec<String> = canaries(&captured.on_circuit(town.plan.vlan)).into_iter().collect();
        assert_eq!(found, [canary::mynumber(&town.plan.tenant)], "on the circuit of {}", town.plan.tenant);
    }
    assert_eq!(captured.circuits(), lab.towns.iter().map(|town| Some(town.plan.vlan)).collect());
}

const POOL: [&str; 4] = ["10.254.1.8", "10.254.1.9", "10.254.1.10", "10.254.1.11"];

#[test]
fn reading_one_tenants_share_the_destination() {
    each_tenant_reaches_its_own_cloud_only(three_municipalities(), &format!("http://{SHARED_GLOBAL}/who"), &POOL, "10.10.0.10:80");
}

#[test]
fn reading_two_tenants_share_the_office_sources() {
    let first = &three_municipalities()[0];
    let same = |plan: Municipality| plan.with_offices(first.mynumber, first.lgwan_connected);
    let plans = three_municipalities().into_iter().map(same).collect();
    each_tenant_reaches_its_own_cloud_only(plans, &format!("http://{SHARED_GLOBAL}/who"), &POOL, "10.10.0.10:80");
}

#[test]
fn reading_three_nothing_is_translated_inside() {
    let first = &three_municipalities()[0];
    let untranslated = |plan: Municipality| {
        let mut plan = plan.with_offices(first.mynumber, first.lgwan_connected);
        plan.services = vec!["{name: 住民記録, class: mynumber, private: [10.10.0.0/24], allow: [tcp/80]}".to_owned()];
        plan.source_mynumber = "keep".to_owned();
        plan.source_lgwan_connected = "keep".to_owned();
        plan.callbacks.clear();
        route_offices(&mut plan);
        plan
    };
    let plans: Vec<_> = three_municipalities().into_iter().map(untranslated).collect();
    let office = plans[0].counter().to_string();
    each_tenant_reaches_its_own_cloud_only(plans, &format!("http://{RESIDENTS}/who"), &[&office], "10.10.0.10:80");
}

#[test]
fn reading_four_services_are_told_apart_by_port() {
    each_tenant_reaches_its_own_cloud_only(three_municipalities(), &format!("http://{SHARED_GLOBAL}:10443/who"), &POOL, "10.10.0.11:443");
}
