//! Keys that are replaced under downloads: not one packet is lost, whoever begins.

use std::time::Duration;

use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::wait_until;
use netns_tests::relay::{Driver, Drops, relay_among};
use netns_tests::strongswan::Connection;
use netns_tests::topology::Town;

/// How long each download takes: several rekeys of every kind.
const SECONDS: u32 = 26;
const BYTES_PER_SECOND: u32 = 500_000;

/// Lifetimes in seconds; 0 is never. Two IKE SAs' worth of rekeys at once is more than that peer can do (it sticks by itself), so
/// one side replaces the IKE SA, and both replace Child SAs.
#[derive(Clone, Copy)]
struct Lives {
    relay_child: u32,
    relay_ike: u32,
    router_child: u32,
    router_ike: u32,
}

/// How many IKE SAs charon has seen replaced, and how many Child SAs made.
fn established(town: &Town) -> [usize; 2] {
    let log = town.strongswan().log();
    let lines = |what: [&str; 2]| log.lines().filter(|line| what.iter().all(|what| line.contains(what))).count();
    [lines(["IKE_SA relay[", "] rekeyed between"]), lines(["CHILD_SA office{", "} established"])]
}

fn keys_are_replaced_under_downloads_without_a_loss(driver: Driver, lives: [Lives; 3]) {
    let plan = |(plan, lives): (netns_tests::plan::Municipality, &Lives)| {
        let mut plan = plan.with_ipsec();
        let lasting = |seconds, never| if seconds == 0 { never } else { seconds };
        let (ike, child) = (lasting(lives.relay_ike, 28_800), lasting(lives.relay_child, 3_600));
        plan.ipsec.as_mut().expect("IPsec").more.push(format!("lifetimes: {{ike: {ike}, child: {child}}}"));
        plan
    };
    let (lab, relay) = relay_among(three_municipalities().into_iter().zip(&lives).map(plan).collect(), driver);
    for (town, lives) in lab.towns.iter().zip(&lives) {
        let mut connection = Connection::of(&town.plan);
        (connection.rekey_child, connection.rekey_ike) = (lives.router_child, lives.router_ike);
        town.strongswan().hang_up();
        town.strongswan().configure(&connection);
        town.strongswan().call();
    }

    let (_, whole) = lab.file("body", (SECONDS * BYTES_PER_SECOND) as usize);
    let before: Vec<_> = lab.towns.iter().map(|town| (relay.drops(&town.plan.tenant), established(town))).collect();
    let port_drops = relay.port_drops();
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    let start = |town: &Town| town.counter().start_download(lab.directory(), &town.plan.tenant, &url, BYTES_PER_SECOND);
    let downloads: Vec<_> = lab.towns.iter().map(start).collect();
    for (((town, download), lives), (drops, rekeys)) in lab.towns.iter().zip(downloads).zip(&lives).zip(&before) {
        let download = download.finish();
        assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
        assert_eq!(relay.drops(&town.plan.tenant).since(drops), Drops::default(), "{} lost in rekeys", town.plan.tenant);
        let after = established(town);
        let [ike, child] = [after[0] - rekeys[0], after[1] - rekeys[1]];
        println!("{driver:?}: {}: {ike} IKE SAs and {child} Child SAs replaced in {:.0} s", town.plan.tenant, download.seconds);
        assert!(child >= 3, "{child} Child SAs replaced");
        assert!(if lives.relay_ike + lives.router_ike > 0 { ike >= 2 } else { ike == 0 }, "{ike} IKE SAs replaced");
    }
    assert_eq!(relay.port_drops().since(&port_drops), Drops::default(), "an SPI that nobody knows any more, for one");
    for town in &lab.towns {
        wait_until("old SAs are gone", Duration::from_secs(15), || town.strongswan().sas().children() <= 2);
    }
}

#[test]
fn keys_are_replaced_by_either_side_under_downloads_without_a_loss_over_af_xdp() {
    let by_both = Lives { relay_child: 12, relay_ike: 0, router_child: 6, router_ike: 0 };
    let ike_by_router = Lives { router_ike: 10, ..by_both };
    let ike_by_relay = Lives { relay_ike: 10, ..by_both };
    keys_are_replaced_under_downloads_without_a_loss(Driver::AfXdp, [by_both, ike_by_router, ike_by_relay]);
}

#[test]
fn keys_are_replaced_by_either_side_under_downloads_without_a_loss_over_af_packet() {
    let by_both = Lives { relay_child: 6, relay_ike: 0, router_child: 12, router_ike: 0 };
    let ike_by_router = Lives { router_ike: 10, ..by_both };
    let ike_by_relay = Lives { relay_ike: 10, ..by_both };
    keys_are_replaced_under_downloads_without_a_loss(Driver::AfPacket, [by_both, ike_by_router, ike_by_relay]);
}
