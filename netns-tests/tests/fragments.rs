//! Datagrams that kernels cut and put together again, with the relay between them, and a flood of fragments that belong to nothing.

use netns_tests::canary;
use netns_tests::plan::{DOCUMENTS, PRINT_SERVER, PRINTER_INSIDE, SHARED_GLOBAL, three_municipalities};
use netns_tests::relay::{Driver, Drops, Relay, relay_among};
use netns_tests::topology::Town;
use netns_tests::traffic::Ping;

/// Fragments of a flood: as many datagrams as there are identifications.
const FLOOD: u16 = 60_000;
const TEN_MEGABYTES: usize = 10_000_000;

/// A question of so many bytes, and the same with the answer of the tenant's own name server.
fn asks(town: &Town, bytes: usize) {
    let question = "?".repeat(bytes);
    let expected = |canary: &str| Some(format!("{question}{canary}"));
    assert_eq!(town.counter().query((SHARED_GLOBAL, 53), &question), expected(&canary::mynumber(&town.plan.tenant)), "{bytes} bytes");
    assert_eq!(town.clerk().query((DOCUMENTS, 53), &question), expected(&canary::lgwan_connected(&town.plan.tenant)), "{bytes} bytes");
}

fn kernels_on_both_sides_understand_fragments(driver: Driver) {
    let (lab, relay) = relay_among(three_municipalities(), driver);
    for town in &lab.towns {
        let (counter, print_server) = (town.counter(), town.cloud_host(PRINT_SERVER));
        for payload in [1_393, 1_472, 3_000, 20_000, 65_507] {
            assert_eq!(counter.ping_in_fragments(SHARED_GLOBAL, payload), Ping::Answered, "{payload} bytes from the office");
            assert_eq!(print_server.ping_in_fragments(PRINTER_INSIDE, payload), Ping::Answered, "{payload} bytes from the cloud");
        }
        for bytes in [1_450, 8_000, 60_000] {
            asks(town, bytes);
        }
        assert_eq!(relay.drops(&town.plan.tenant), Drops::default(), "of {}", town.plan.tenant);
        assert!(fragmented(&relay, town) > 0.0, "a cloud host's packets are longer than the tunnel carries");
    }
}

fn fragmented(relay: &Relay, town: &Town) -> f64 {
    let series = format!("chukei_tenant_packets_fragmented_total{{tenant=\"{}\"}}", town.plan.tenant);
    relay.metric(&series).expect("the tenant's metric")
}

#[test]
fn kernels_on_both_sides_understand_fragments_over_af_packet() {
    kernels_on_both_sides_understand_fragments(Driver::AfPacket);
}

#[test]
fn kernels_on_both_sides_understand_fragments_over_af_xdp() {
    kernels_on_both_sides_understand_fragments(Driver::AfXdp);
}

fn a_flood_of_fragments_harms_no_download_and_no_other_class(driver: Driver) {
    let (lab, relay) = relay_among(three_municipalities(), driver);
    let (flooded, neighbour) = (&lab.towns[0], &lab.towns[1]);
    let (_, whole) = lab.file("body", TEN_MEGABYTES);
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    let downloads = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flooded.counter().flood_with_fragments(SHARED_GLOBAL, FLOOD));
        let downloads = [flooded, neighbour].map(|town| town.counter().download(&url));
        for town in [flooded, neighbour] {
            // What a NIC's ring loses, it loses of everybody: a question is asked again.
            let question = "?".repeat(8_000);
            let answer = (0..5).find_map(|_| town.clerk().query((DOCUMENTS, 53), &question));
            assert_eq!(answer, Some(format!("{question}{}", canary::lgwan_connected(&town.plan.tenant))), "the other class");
        }
        flood.join().expect("the flood ends");
        downloads
    });
    for download in downloads {
        assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    }
    let drops = relay.drops(&flooded.plan.tenant);
    assert!(drops.count("fragments_full") > 0, "{drops:?}");
    let of_the_flood = ["fragments_full", "fragment_timeout", "tenant_queue_full"];
    assert!(drops.0.keys().all(|reason| of_the_flood.contains(&reason.as_str())), "{drops:?}");
    assert_eq!(relay.drops(&neighbour.plan.tenant), Drops::default());
    println!("{driver:?}: {drops:?}");
}

#[test]
fn a_flood_of_fragments_harms_no_download_and_no_other_class_over_af_packet() {
    a_flood_of_fragments_harms_no_download_and_no_other_class(Driver::AfPacket);
}

#[test]
fn a_flood_of_fragments_harms_no_download_and_no_other_class_over_af_xdp() {
    a_flood_of_fragments_harms_no_download_and_no_other_class(Driver::AfXdp);
}
