//! Two workers behind real drivers: AF_PACKET gives each a socket, and AF_XDP on a veth of one queue leaves the second without any.

use netns_tests::canary;
use netns_tests::plan::{DOCUMENTS, SHARED_GLOBAL, three_municipalities};
use netns_tests::relay::{Driver, Files, Relay, http_get};
use netns_tests::topology::{Lab, sha256};

/// The sum of a metric over the workers.
fn of_workers(lab: &Lab, metric: &str) -> (usize, f64) {
    let page = http_get(&lab.relay, "/metrics").1;
    let start = format!("{metric}{{worker=");
    let values = page.lines().filter(|line| line.starts_with(&start)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value))
}

fn a_day_with_two_workers(driver: Driver) {
    let lab = Lab::new(three_municipalities());
    let files = Files::write(&lab, driver, 1500).with_workers(2);
    lab.towns.iter().for_each(|town| files.put(&town.plan));
    let relay = Relay::start_with(&lab, files);
    lab.towns.iter().for_each(|town| town.router.call_relay());
    relay.wait_for_tunnels(lab.towns.len());
    for town in lab.towns.iter().cycle().take(60) {
        let answer = town.counter().query((SHARED_GLOBAL, 53), "who?");
        assert_eq!(answer, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))), "over {driver:?}");
        let answer = town.clerk().query((DOCUMENTS, 53), "who?");
        assert_eq!(answer, Some(format!("who?{}", canary::lgwan_connected(&town.plan.tenant))), "over {driver:?}");
    }
    let (_, whole) = lab.file("body", 10_000_000);
    for town in &lab.towns {
        let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
        assert_eq!(sha256(&download.body), whole, "over {driver:?}");
    }
    for town in &lab.towns {
        relay.must(&["isolate", &town.plan.tenant, "--reason", "practice"]);
        assert_eq!(town.counter().query((SHARED_GLOBAL, 53), "who?"), None, "cut off at its owner, over {driver:?}");
        relay.must(&["reopen", &town.plan.tenant]);
        assert!(town.counter().query((SHARED_GLOBAL, 53), "who?").is_some());
    }
    let (workers, handed_over) = of_workers(&lab, "chukei_worker_handed_over_packets_total");
    assert_eq!(workers, 2);
    assert!(handed_over > 0.0, "frames arrive without regard to their owner, over {driver:?}");
    assert_eq!(of_workers(&lab, "chukei_worker_hand_off_full_total").1, 0.0, "over {driver:?}");
}

#[test]
fn two_workers_serve_every_town_over_af_packet() {
    a_day_with_two_workers(Driver::AfPacket);
}

#[test]
fn two_workers_serve_every_town_over_af_xdp() {
    a_day_with_two_workers(Driver::AfXdp);
}
