//! A day at the counter: name queries, printing from the cloud, services told apart by port, a circuit in QinQ.

use controlplane::demo::vlan::VlanTag;
use netns_tests::canary;
use netns_tests::cloud::Printer;
use netns_tests::plan::{
    DOCUMENTS, PRINT_SERVER, PRINT_SERVER_GLOBAL, PRINTER_INSIDE, RESIDENTS, SHARED_GLOBAL, STATIC_SOURCE, three_municipalities,
};
use netns_tests::relay::{Driver, Drops, relay_among};
use netns_tests::topology::sha256;
use netns_tests::traffic::Ping;

#[test]
fn short_queries_are_answered_by_the_asking_tenants_own_cloud() {
    for driver in Driver::BOTH {
        let (lab, _relay) = relay_among(three_municipalities(), driver);
        for town in lab.towns.iter().cycle().take(60) {
            let answer = town.counter().query((SHARED_GLOBAL, 53), "who?");
            assert_eq!(answer, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))), "over {driver:?}");
            let answer = town.clerk().query((DOCUMENTS, 53), "who?");
            assert_eq!(answer, Some(format!("who?{}", canary::lgwan_connected(&town.plan.tenant))), "over {driver:?}");
        }
    }
}

#[test]
fn the_cloud_prints_at_the_counter_and_reaches_nothing_else() {
    for driver in Driver::BOTH {
        let (lab, relay) = relay_among(three_municipalities(), driver);
        let town = &lab.towns[2];
        let printer = Printer::start(&town.office, town.plan.counter());
        let answer = town.cloud_host(PRINT_SERVER).say((PRINTER_INSIDE, 9100), b"certificate of residence").expect("a printer");
        assert_eq!(answer, b"printed");
        let (from, job) = printer.printed();
        assert_eq!((from.ip(), job.as_slice()), (PRINT_SERVER_GLOBAL.into(), &b"certificate of residence"[..]));

        let attempt =
            |from, to, port| relay.drops_during(&town.plan.tenant, || town.cloud_host(from).send_datagram((to, port), b"let me in"));
        let refused = Drops::of(&[("callback_not_allowed", 1)]);
        assert_eq!(attempt(PRINT_SERVER, PRINTER_INSIDE, 9100), refused, "another protocol");
        assert_eq!(attempt(RESIDENTS, PRINTER_INSIDE, 9100), refused, "another cloud host");
        assert!(town.cloud_host(PRINT_SERVER).say((PRINTER_INSIDE, 9101), b"x").is_err(), "another port");
        assert!(town.cloud_host(RESIDENTS).say((PRINTER_INSIDE, 9100), b"x").is_err(), "another cloud host");
        assert_eq!(lab.towns[0].cloud_host(PRINT_SERVER).ping(PRINTER_INSIDE, 56), Ping::Answered, "each tenant has its own printer");
    }
}

#[test]
fn two_services_behind_one_address_are_told_apart_by_their_port() {
    let (lab, _relay) = relay_among(three_municipalities(), Driver::AfXdp);
    let counter = lab.towns[0].counter();
    assert!(counter.fetch(&format!("http://{SHARED_GLOBAL}:80/who")).expect("the register").contains("to=10.10.0.10:80 "));
    assert!(counter.fetch(&format!("http://{SHARED_GLOBAL}:10443/who")).expect("the tax office").contains("to=10.10.0.11:443 "));
    let clerk = lab.towns[0].clerk().fetch(&format!("http://{DOCUMENTS}/who")).expect("the documents");
    assert!(clerk.starts_with(&format!("from={STATIC_SOURCE} to={DOCUMENTS}:80 ")), "{clerk}");
}

fn a_circuit_in_two_tags_carries_full_packets(driver: Driver) {
    let mut plans = three_municipalities();
    // The same inner tag twice, and an outer one that is also a single tag: only the pair names a circuit.
    plans[0].vlan = VlanTag::Double { outer: 100, inner: 2103 };
    plans[1].vlan = VlanTag::Double { outer: 2103, inner: 2103 };
    let (lab, _relay) = relay_among(plans, driver);
    // Before the relay took its ports over, their kernel may have said something.
    let before = lab.trunk_counts().unowned;
    for town in &lab.towns {
        let (_, whole) = lab.file("body", 5_000_000);
        let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
        assert_eq!(sha256(&download.body), whole);
        assert_eq!(town.counter().ping(SHARED_GLOBAL, 1412), Ping::Answered);
        assert!(
            town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).expect("an answer").contains(&canary::mynumber(&town.plan.tenant))
        );
    }
    assert_eq!(lab.trunk_counts().unowned, before, "frames on nobody's circuit");
}

#[test]
fn a_circuit_in_two_tags_carries_full_packets_over_af_packet() {
    a_circuit_in_two_tags_carries_full_packets(Driver::AfPacket);
}

#[test]
fn a_circuit_in_two_tags_carries_full_packets_over_af_xdp() {
    a_circuit_in_two_tags_carries_full_packets(Driver::AfXdp);
}
