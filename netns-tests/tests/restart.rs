//! The relay dies, or is asked to go: traffic is back soon, and the ports are left as they were found.

use std::fs;
use std::time::{Duration, Instant};

use controlplane::demo::Namespace;
use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{kill_process, must, wait_until};
use netns_tests::relay::{Driver, Files, Relay, relay_among};
use netns_tests::topology::{ACCESS_PORT, CLOUD_PORT, Lab};
use nix::sys::signal::Signal;

/// How often an office asks again while the relay is away.
const RETRY: Duration = Duration::from_millis(200);
/// From the end of a killed relay until its ports are as they were.
const GIVEN_BACK: Duration = Duration::from_secs(5);

fn after_a_crash_under_a_download_traffic_is_back_within_three_seconds(driver: Driver) {
    let (lab, mut relay) = relay_among(three_municipalities(), driver);
    let (_, whole) = lab.file("body", 100_000_000);
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    wait_for_saved_endpoints(&lab);
    let download = lab.towns[0].counter().start_download(lab.directory(), "interrupted", &url, 10_000_000);
    wait_until("the download has begun", Duration::from_secs(5), || download.progress() > 1_000_000);

    let crash = Instant::now();
    relay.crash_and_restart();
    for town in &lab.towns {
        while town.counter().query_within(RETRY, (SHARED_GLOBAL, 53), "back?").is_none() {
            assert!(crash.elapsed() < Duration::from_secs(20), "never back:\n{}", relay.process.log());
        }
    }
    let gap = crash.elapsed();
    println!("{driver:?}: back after {gap:?}");
    assert!(gap < Duration::from_secs(3), "all three tenants were back only after {gap:?}");
    download.abandon();
    assert_eq!(lab.towns[0].counter().download(&url).sha256, whole);
}

/// The relay writes the endpoints that it has heard at most every ten seconds.
fn wait_for_saved_endpoints(lab: &Lab) {
    let saved = |address: &str| {
        let files = fs::read_dir(lab.directory().join("state")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| text.contains(address))
    };
    for town in &lab.towns {
        let address = format!("{}:", town.plan.router_address());
        wait_until(&format!("the endpoint of {} is on disk", town.plan.tenant), Duration::from_secs(15), || saved(&address));
    }
}

#[test]
fn after_a_crash_under_a_download_traffic_is_back_within_three_seconds_over_af_packet() {
    after_a_crash_under_a_download_traffic_is_back_within_three_seconds(Driver::AfPacket);
}

#[test]
fn after_a_crash_under_a_download_traffic_is_back_within_three_seconds_over_af_xdp() {
    after_a_crash_under_a_download_traffic_is_back_within_three_seconds(Driver::AfXdp);
}

fn a_relay_that_is_asked_to_go_leaves_its_ports_as_it_found_them(driver: Driver) {
    let lab = Lab::new(three_municipalities());
    let found = state_of_ports(&lab.relay);
    let files = Files::write(&lab, driver, 1500);
    lab.towns.iter().for_each(|town| files.put(&town.plan));
    let mut relay = Relay::start_with(&lab, files);
    assert_ne!(state_of_ports(&lab.relay), found, "a running relay silences its ports");
    relay.terminate();
    assert_eq!(state_of_ports(&lab.relay), found);

    // After a crash the launcher gives them back, whether or not anybody starts the relay again.
    relay.start_again();
    relay.wait_until_ready();
    relay.process.kill();
    wait_until("the launcher gives the ports back", GIVEN_BACK, || state_of_ports(&lab.relay) == found);

    // Without the launcher the relay is at an end, and the next run knows what the ports were before.
    relay.start_again();
    relay.wait_until_ready();
    kill_process(relay.launcher(), Signal::SIGKILL);
    let ended = relay.process.wait(Duration::from_secs(5));
    assert!(!ended.success(), "a relay without its ports is no success");
    assert!(relay.process.log().contains("the launcher has ended"), "{}", relay.process.log());
    relay.start_again();
    relay.wait_until_ready();
    relay.terminate();
    assert_eq!(state_of_ports(&lab.relay), found);
}

/// Offloads, flags, programs, filter rules and the kernel's settings of both ports.
fn state_of_ports(relay: &Namespace) -> String {
    let of_port = |port: &str| {
        let link = must(relay, "ip", &["-details", "link", "show", port]);
        let tc = must(relay, "tc", &["filter", "show", "dev", port, "ingress"]);
        let qdisc = must(relay, "tc", &["qdisc", "show", "dev", port]);
        let offloads = must(relay, "ethtool", &["-k", port]);
        let settings = format!("grep -s . /proc/sys/net/ipv4/conf/{port}/arp* /proc/sys/net/ipv6/conf/{port}/disable_ipv6");
        [link, tc, qdisc, offloads, must(relay, "sh", &["-c", &settings])].concat()
    };
    [of_port(ACCESS_PORT), of_port(CLOUD_PORT), must(relay, "nft", &["list", "ruleset"])].concat()
}

#[test]
fn a_relay_that_is_asked_to_go_leaves_its_ports_as_it_found_them_over_af_packet() {
    a_relay_that_is_asked_to_go_leaves_its_ports_as_it_found_them(Driver::AfPacket);
}

#[test]
fn a_relay_that_is_asked_to_go_leaves_its_ports_as_it_found_them_over_af_xdp() {
    a_relay_that_is_asked_to_go_leaves_its_ports_as_it_found_them(Driver::AfXdp);
}
