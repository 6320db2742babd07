//! Routers that are wrong, greedy, dead or restarted, and NAT between: each harms nobody but itself, and is back as soon as it can be.

use std::time::Duration;

use controlplane::demo::{Links, Namespace};
use netns_tests::canary;
use netns_tests::keys::preshared_key;
use netns_tests::plan::{Municipality, RELAY, SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{ip, must, wait_until};
use netns_tests::relay::{Driver, Drops, Relay, relay_among};
use netns_tests::strongswan::{Connection, Credentials};
use netns_tests::topology::{Lab, Town, cable};

/// Three IPsec municipalities with the same office networks, in front of the same global addresses: only the SA tells them apart.
fn three_alike() -> Vec<Municipality> {
    let mut towns: Vec<Municipality> = three_municipalities().into_iter().map(Municipality::with_ipsec).collect();
    let (mynumber, lgwan_connected) = (towns[0].mynumber, towns[0].lgwan_connected);
    towns.iter_mut().for_each(|town| *town = town.clone().with_offices(mynumber, lgwan_connected));
    towns[2].ipsec.as_mut().expect("IPsec").more.push("dpd: 5".to_owned());
    towns
}

fn works(town: &Town) -> bool {
    town.counter().query((SHARED_GLOBAL, 53), "who?") == Some(format!("who?{}", canary::mynumber(&town.plan.tenant)))
}

fn row(relay: &Relay, tenant: &str) -> serde_json::Value {
    relay.show("tunnels").into_iter().find(|row| row["tenant"] == tenant).expect("a tunnel")
}

/// The router calls with what a careless or hostile administrator typed, and fails.
fn is_refused(relay: &Relay, town: &Town, why: &str, answer: &str, change: impl FnOnce(&mut Connection)) {
    let mut connection = Connection::of(&town.plan);
    change(&mut connection);
    town.strongswan().hang_up();
    town.strongswan().configure(&connection);
    let before = town.strongswan().log().len();
    assert!(!town.strongswan().try_to_call().status.success(), "{why}: a tunnel came of it");
    let log = town.strongswan().log();
    assert!(log[before..].contains(answer), "{why}: no {answer} in\n{}", &log[before..]);
    assert_eq!(row(relay, &town.plan.tenant)["state"], "down", "{why}");
    town.strongswan().hang_up();
}

#[test]
fn who_is_not_who_it_says_gets_nothing_and_takes_nothing_from_anybody_and_a_dead_router_is_noticed() {
    let (mut lab, relay) = relay_among(three_alike(), Driver::AfXdp);
    lab.towns.iter().for_each(|town| assert!(works(town), "{} with the same selectors as its neighbours", town.plan.tenant));
    lab.towns[2].kill_router();
    let (town, neighbour) = (&lab.towns[0], &lab.towns[1]);
    let spis = neighbour.strongswan().sas().values("spi-in").join(" ");
    let neighbours_identity = Connection::of(&neighbour.plan).local_id;

    is_refused(&relay, town, "a wrong key", "AUTHENTICATION_FAILED", |connection| {
        connection.credentials = Credentials::Psk(preshared_key());
    });
    is_refused(&relay, town, "nobody's identity", "AUTHENTICATION_FAILED", |connection| {
        connection.local_id = "nobody.example.jp".to_owned();
    });
    // With INITIAL_CONTACT in it, which charon sends each time.
    is_refused(&relay, town, "the neighbour's identity", "AUTHENTICATION_FAILED", |connection| connection.local_id = neighbours_identity);
    is_refused(&relay, town, "selectors elsewhere", "TS_UNACCEPTABLE", |connection| {
        connection.remote_networks = vec!["203.0.113.128/25".to_owned()];
    });
    assert_eq!(neighbour.strongswan().sas().values("spi-in").join(" "), spis, "the neighbour noticed nothing");
    assert_eq!(relay.drops_during(&neighbour.plan.tenant, || assert!(works(neighbour))), Drops::default());

    let mut greedy = Connection::of(&town.plan);
    (greedy.local_networks, greedy.remote_networks) = (vec!["0.0.0.0/0".to_owned()], vec!["0.0.0.0/0".to_owned()]);
    town.strongswan().configure(&greedy);
    town.strongswan().call();
    let narrowed = town.strongswan().sas();
    assert!(works(town) && works(neighbour), "each reaches its own cloud");
    assert!(!narrowed.text().contains("0.0.0.0/0"), "narrowed to the tenant's prefixes: {}", narrowed.text());

    let dead = &lab.towns[2].plan.tenant;
    wait_until("the dead router is noticed", Duration::from_secs(90), || row(&relay, dead)["state"] == "down");
}

fn restarts_on_either_side_are_healed(driver: Driver) {
    let (mut lab, mut relay) = relay_among(three_alike(), driver);
    let tenant = lab.towns[0].plan.tenant.clone();
    lab.towns[0].power_cycle_router();
    lab.towns[0].router.call_relay();
    assert!(works(&lab.towns[0]) && works(&lab.towns[1]), "the router is back");
    wait_until("the SAs of before are gone", Duration::from_secs(15), || {
        row(&relay, &tenant)["ipsec"]["sas"].as_array().is_some_and(|sas| sas.len() == 1)
    });

    // A restart in order: the routers are told, and called.
    relay.terminate();
    wait_until("the router was told", Duration::from_secs(5), || lab.towns[1].strongswan().log().contains("received DELETE for IKE_SA"));
    relay.start_again();
    everybody_is_called(&lab, "after a restart");
    // A crash: nobody is told anything.
    relay.crash_and_restart();
    everybody_is_called(&lab, "after a crash");
}

fn everybody_is_called(lab: &Lab, when: &str) {
    for town in &lab.towns {
        wait_until(&format!("{} works {when}", town.plan.tenant), Duration::from_secs(20), || works(town));
        assert!(town.strongswan().log().contains(&format!("{RELAY} is initiating an IKE_SA")), "it was called {when}");
    }
}

#[test]
fn restarts_on_either_side_are_healed_over_af_packet() {
    restarts_on_either_side_are_healed(Driver::AfPacket);
}

#[test]
fn restarts_on_either_side_are_healed_over_af_xdp() {
    restarts_on_either_side_are_healed(Driver::AfXdp);
}

/// A box that masquerades what comes from `town`, which keeps nothing but a private address.
fn put_behind_nat(lab: &Lab, town: &Town) -> Namespace {
    let nat = Namespace::create("nat").expect("a namespace");
    cable(&nat, "inside", &town.office, "lan0", 1500);
    cable(&lab.access, "natport", &nat, "outside", 1500);
    ip(&lab.access, "link set natport master lan0");
    for (namespace, address) in
        [(&nat, "10.99.0.1/24 dev inside"), (&nat, "192.0.2.77/24 dev outside"), (&town.office, "10.99.0.2/24 dev lan0")]
    {
        ip(namespace, &format!("address add {address}"));
    }
    Links::of(&town.office).and_then(|links| links.down("wan0")).unwrap_or_else(|error| panic!("{error}"));
    ip(&town.office, "route add default via 10.99.0.1");
    nat.set_sysctl("net/ipv4/ip_forward", "1").expect("forwarding on");
    must(&nat, "nft", &["table ip nat { chain after { type nat hook postrouting priority 100; oif \"outside\" masquerade; }; }"]);
    nat
}

#[test]
fn a_router_behind_nat_works_and_is_followed_when_its_mapping_moves() {
    let (lab, relay) = relay_among(three_alike(), Driver::AfPacket);
    let town = &lab.towns[0];
    town.strongswan().hang_up();
    let nat = put_behind_nat(&lab, town);
    let mut connection = Connection::of(&town.plan);
    connection.local_address = "10.99.0.2".parse().expect("an address");
    connection.more.push("encap = no".to_owned());
    town.strongswan().configure(&connection);
    town.strongswan().call();
    let peer = || row(&relay, &town.plan.tenant)["peer"].as_str().unwrap_or_default().to_owned();
    assert!(works(town) && peer().starts_with("192.0.2.77:"), "{}", peer());

    let (_, whole) = lab.file("body", 6_000_000);
    let download = town.counter().start_download(lab.directory(), "moved", &format!("http://{SHARED_GLOBAL}/files/body"), 1_000_000);
    wait_until("the download has begun", Duration::from_secs(5), || download.progress() > 500_000);
    // An address that goes takes its mappings with it.
    ip(&nat, "address add 192.0.2.78/24 dev outside");
    ip(&nat, "address del 192.0.2.77/24 dev outside");
    ip(&nat, "address replace 192.0.2.78/24 dev outside");
    wait_until("the relay follows", Duration::from_secs(10), || works(town) && peer().starts_with("192.0.2.78:"));
    let download = download.finish();
    assert_eq!((download.sha256, download.connections), (whole, 1));
}
