//! Nothing of a tenant, and nothing of a class, is ever seen where it does not belong; every attempt has its exact reason.

use std::net::Ipv4Addr;

use netns_tests::canary;
use netns_tests::capture::{Capture, canaries};
use netns_tests::plan::{DOCUMENTS, PRINTER_INSIDE, RELAY_ON_VLAN, RESIDENTS, SHARED_GLOBAL, STATIC_SOURCE, three_municipalities};
use netns_tests::process::ip;
use netns_tests::relay::{Driver, Drops, Relay, relay_among};
use netns_tests::topology::{Lab, TRUNK, Town};
use netns_tests::traffic::Host;

fn three_tenants_at_work_leave_no_trace_on_each_others_circuits(driver: Driver) {
    let (lab, _relay) = relay_among(three_municipalities(), driver);
    let trunk = Capture::start(&lab.trunk, lab.directory(), TRUNK);
    for town in lab.towns.iter().cycle().take(15) {
        work(&lab, town);
    }
    let captured = trunk.stop();
    captured.assert_checksums();
    assert_eq!(captured.circuits(), lab.towns.iter().map(|town| Some(town.plan.vlan)).collect());
    for town in &lab.towns {
        let own = [canary::lgwan_connected(&town.plan.tenant), canary::mynumber(&town.plan.tenant)];
        assert_eq!(canaries(&captured.on_circuit(town.plan.vlan)).into_iter().collect::<Vec<_>>(), own);
    }
}

/// Both classes send and fetch something with their canary in it.
fn work(lab: &Lab, town: &Town) {
    let (mynumber, lgwan_connected) = (canary::mynumber(&town.plan.tenant), canary::lgwan_connected(&town.plan.tenant));
    assert!(town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).expect("an answer").contains(&mynumber));
    assert!(town.clerk().fetch(&format!("http://{DOCUMENTS}/who")).expect("an answer").contains(&lgwan_connected));
    town.counter().query((SHARED_GLOBAL, 53), &mynumber).expect("an answer");
    town.clerk().query((DOCUMENTS, 53), &lgwan_connected).expect("an answer");
    let (path, _) = lab.file("small", 200_000);
    let _ = town.counter().upload(&path, &format!("http://{SHARED_GLOBAL}/upload/small"));
}

#[test]
fn three_tenants_at_work_leave_no_trace_on_each_others_circuits_over_af_packet() {
    three_tenants_at_work_leave_no_trace_on_each_others_circuits(Driver::AfPacket);
}

#[test]
fn three_tenants_at_work_leave_no_trace_on_each_others_circuits_over_af_xdp() {
    three_tenants_at_work_leave_no_trace_on_each_others_circuits(Driver::AfXdp);
}

#[test]
fn between_the_classes_of_one_tenant_nothing_passes() {
    let (lab, relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let town = &lab.towns[0];
    let trunk = Capture::start(&lab.trunk, lab.directory(), TRUNK);
    work(&lab, town);
    let (mynumber, lgwan_connected) = (canary::mynumber(&town.plan.tenant), canary::lgwan_connected(&town.plan.tenant));
    let other_class = Drops::of(&[("service_of_other_class", 3)]);
    assert_eq!(three_datagrams(&relay, town, town.counter(), DOCUMENTS, 53, &mynumber), other_class);
    assert_eq!(three_datagrams(&relay, town, town.clerk(), SHARED_GLOBAL, 53, &lgwan_connected), other_class);
    assert_eq!(town.counter().fetch(&format!("http://{DOCUMENTS}/who")), Err(28), "no answer at all");
    assert_eq!(town.clerk().fetch(&format!("http://{SHARED_GLOBAL}/who")), Err(28), "no answer at all");

    let frames = trunk.stop().on_circuit(town.plan.vlan);
    let (documents, register): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|frame| mentions(frame, STATIC_SOURCE) || mentions(frame, DOCUMENTS));
    assert_eq!(canaries(&documents).into_iter().collect::<Vec<_>>(), [lgwan_connected]);
    assert_eq!(canaries(&register).into_iter().collect::<Vec<_>>(), [mynumber]);
}

/// True when an Ethernet frame carries an IPv4 packet from or to `address`.
fn mentions(frame: &[u8], address: Ipv4Addr) -> bool {
    let octets = address.octets();
    frame.get(12..14) == Some(&[0x08, 0x00]) && (frame.get(26..30) == Some(&octets) || frame.get(30..34) == Some(&octets))
}

fn three_datagrams(relay: &Relay, town: &Town, host: Host<'_>, to: Ipv4Addr, port: u16, payload: &str) -> Drops {
    relay.drops_during(&town.plan.tenant, || (0..3).for_each(|_| host.send_datagram((to, port), payload.as_bytes())))
}

#[test]
fn every_refusal_has_its_own_reason_and_touches_no_other_counter() {
    let (lab, relay) = relay_among(three_municipalities(), Driver::AfXdp);
    let (town, neighbour) = (&lab.towns[0], &lab.towns[1]);
    let intruder = Ipv4Addr::new(198, 51, 100, 200);
    for address in [intruder, neighbour.plan.counter()] {
        ip(&town.office, &format!("address add {address}/32 dev lo"));
    }
    let before = (relay.drops(&neighbour.plan.tenant), relay.port_drops());
    let office = |from: Ipv4Addr, to: Ipv4Addr, port| three_datagrams(&relay, town, Host::new(&town.office, from), to, port, "let me in");
    let cloud = |to: Ipv4Addr, port| three_datagrams(&relay, town, town.cloud_host(RESIDENTS), to, port, "let me in");
    let counter = town.plan.counter();
    let only = |reason| Drops::of(&[(reason, 3)]);

    assert_eq!(office(counter, SHARED_GLOBAL, 54), only("service_port_closed"));
    assert_eq!(office(counter, Ipv4Addr::new(203, 0, 113, 11), 53), only("destination_unknown"));
    assert_eq!(office(counter, RESIDENTS, 53), only("destination_unknown"), "the private address is not the office's to name");
    assert_eq!(office(counter, Ipv4Addr::new(192, 0, 2, 130), 53), only("conventional_lgwan"));
    assert_eq!(office(intruder, SHARED_GLOBAL, 53), only("source_not_admitted"));
    assert_eq!(office(neighbour.plan.counter(), SHARED_GLOBAL, 53), only("source_not_admitted"), "another tenant's office address");
    assert_eq!(cloud(PRINTER_INSIDE, 9100), only("callback_not_allowed"));
    assert_eq!(cloud(RELAY_ON_VLAN, 9273), only("relay_address"));
    assert_eq!(cloud(Ipv4Addr::new(10, 254, 1, 9), 40000), only("no_session"));

    let after = (relay.drops(&neighbour.plan.tenant), relay.port_drops());
    assert_eq!(after, before, "others lost nothing: {:#?}", relay.show("drops"));
    assert_eq!(relay.tenant(&town.plan.tenant)["sessions"], 0, "no refusal left a session");
}
