//! Full load through the real drivers for as long as one likes: memory stays where it was, and what the cables brought is accounted for.
//!
//! 20 s a driver; `CHUKEI_SOAK_MINUTES=10 netns-tests/run soak` takes ten minutes each.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use controlplane::demo::Namespace;
use netns_tests::plan::{Municipality, SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{ip, wait_until};
use netns_tests::relay::{Driver, Relay, http_get, relay_among};
use netns_tests::topology::{Lab, RELAY_CABLE, TRUNK};
use serde_json::Value;

const SHORT: Duration = Duration::from_secs(20);
/// Session tables are full by then, and rings and queues have seen their first burst.
const WARM_UP: Duration = Duration::from_secs(10);
/// What the process may grow by after the warm-up, beside its frames, whose number is fixed.
const MOST_GROWTH_KIB: u64 = 4_096;
/// One run of iperf3.
const BURST_SECONDS: u8 = 8;
/// Between two datagrams that open a session each: more a second than the tenant may have.
const CHURN: Duration = Duration::from_millis(1);

fn length() -> Duration {
    let minutes = env::var("CHUKEI_SOAK_MINUTES").ok().map(|text| text.parse::<u64>().expect("CHUKEI_SOAK_MINUTES is a number"));
    minutes.map_or(SHORT, |minutes| Duration::from_secs(60 * minutes))
}

/// Both sides of the conservation law, and what the ports and the far ends of their cables counted.
#[derive(Clone, Copy, Debug)]
struct Books {
    came: u64,
    ended: u64,
    /// Frames that the ports handed to the relay, or that NIC and kernel lost before it.
    received_and_lost: u64,
    transmitted: u64,
    /// Frames that the far ends put onto the two cables, and that they took off them.
    sent_by_cables: u64,
    arrived_at_cables: u64,
}

impl Books {
    /// Read when nothing moves any more: twice the same.
    fn of(lab: &Lab, relay: &Relay) -> Self {
        let mut last = Self::read(lab, relay);
        wait_until("the relay and its cables are still", Duration::from_secs(20), || {
            std::thread::sleep(Duration::from_millis(200));
            let now = Self::read(lab, relay);
            let still = (now.came, now.sent_by_cables, now.arrived_at_cables) == (last.came, last.sent_by_cables, last.arrived_at_cables);
            last = now;
            still
        });
        last
    }

    fn read(lab: &Lab, relay: &Relay) -> Self {
        let (status, page) = http_get(&lab.relay, "/metrics");
        assert_eq!(status, 200);
        let worker = |name: &str| sum(&page, &format!("chukei_worker_{name}"), "");
        let cables = [cable(&lab.access, RELAY_CABLE), cable(&lab.trunk, TRUNK)];
        // What the page holds by now may have a packet more than the ports' rows have: they are read when all is still.
        let lost: u64 = relay.show("ports").iter().filter_map(|row| row["nic_receive_lost"].as_u64()).sum();
        Self {
            came: worker("received_packets_total") + worker("generated_packets_total"),
            ended: ["transmitted_packets_total", "dropped_packets_total", "absorbed_packets_total", "held_packets"]
                .iter()
                .map(|name| worker(name))
                .sum(),
            received_and_lost: worker("received_packets_total") + lost,
            transmitted: worker("transmitted_packets_total"),
            sent_by_cables: cables.iter().map(|cable| cable.0).sum(),
            arrived_at_cables: cables.iter().map(|cable| cable.1).sum(),
        }
    }

    fn since(self, before: &Self) -> Self {
        Self {
            came: self.came - before.came,
            ended: self.ended - before.ended,
            received_and_lost: self.received_and_lost - before.received_and_lost,
            transmitted: self.transmitted - before.transmitted,
            sent_by_cables: self.sent_by_cables - before.sent_by_cables,
            arrived_at_cables: self.arrived_at_cables - before.arrived_at_cables,
        }
    }
}

/// The sum of all series of a metric whose labels contain `label`.
fn sum(page: &str, name: &str, label: &str) -> u64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let values: Vec<f64> = page.lines().filter_map(of).collect();
    assert!(!values.is_empty(), "/metrics has no {name}");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters below 2^53")]
    let total = values.iter().sum::<f64>() as u64;
    total
}

/// Frames that one end of a cable has sent and received.
fn cable(namespace: &Namespace, interface: &str) -> (u64, u64) {
    let text = ip(namespace, &format!("-json -statistics link show {interface}"));
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let packets = |way: &str| report[0]["stats64"][way]["packets"].as_u64().unwrap_or_else(|| panic!("no {way} packets: {text}"));
    (packets("tx"), packets("rx"))
}

/// Memory of the process beside frames and rings, which are as many as the configuration says and are kept out of core dumps (`dd`).
fn resident_kib(relay: &Relay) -> u64 {
    let path = format!("/proc/{}/smaps", relay.process.pid());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut total, mut latest) = (0, 0);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            latest = rest.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of KiB");
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            total += if flags.split_whitespace().any(|flag| flag == "dd") { 0 } else { latest };
        }
    }
    assert!(total > 0, "{path} shows nothing");
    total
}

/// Two towns transfer all they can, one each way; a third opens sessions faster than it may.
fn load(lab: &Lab, length: Duration) {
    let (end, over) = (Instant::now() + length, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (town, options) in lab.towns.iter().zip([&["--reverse"][..], &[]]) {
            scope.spawn(move || {
                while Instant::now() < end {
                    let report = town.iperf3(BURST_SECONDS, options);
                    assert!(report["end"]["sum_received"]["bytes"].as_u64() > Some(100_000), "{report:#}");
                }
            });
        }
        let (town, over) = (&lab.towns[2], &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                town.counter().send_datagram((SHARED_GLOBAL, 53), b"a new session");
                std::thread::sleep(CHURN);
            }
        });
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        over.store(true, Ordering::Relaxed);
    });
}

fn a_relay_at_full_load_grows_no_memory_and_loses_nothing_uncounted(driver: Driver) {
    let mut plans = three_municipalities();
    plans.iter_mut().for_each(|plan: &mut Municipality| "{sessions: 500, new_sessions_per_second: 500}".clone_into(&mut plan.limits));
    let (lab, mut relay) = relay_among(plans, driver);
    load(&lab, WARM_UP);
    let (before, warm) = (Books::of(&lab, &relay), resident_kib(&relay));
    load(&lab, length());
    let (books, grown) = (Books::of(&lab, &relay), resident_kib(&relay).saturating_sub(warm));
    assert!(relay.process.is_running(), "the relay ended");
    assert_eq!(books.came, books.ended, "received + generated == transmitted + dropped + absorbed + held: {books:#?}");
    let moved = books.since(&before);
    println!(
        "{driver:?}: {moved:?}; memory {warm} KiB, {grown} KiB more; lost {:?}",
        relay.show("drops").iter().map(|row| (row["reason"].to_string(), row["packets"].as_u64())).collect::<Vec<_>>()
    );
    assert!(moved.came > 10_000, "that was no load: {moved:?}");
    assert_eq!(moved.sent_by_cables, moved.received_and_lost, "each frame put on a cable was received, or is counted as lost by the port");
    match driver {
        Driver::AfXdp => assert_eq!(moved.transmitted, moved.arrived_at_cables, "each frame transmitted was taken off a cable"),
        // A super-frame is one frame on the cable and several packets in the books.
        Driver::AfPacket | Driver::Auto => {
            assert!(moved.transmitted >= moved.arrived_at_cables, "no frame on a cable that nobody transmitted: {moved:?}");
        }
    }
    assert!(grown <= MOST_GROWTH_KIB, "{grown} KiB more than the {warm} KiB after the warm-up; {MOST_GROWTH_KIB} KiB are allowed");
}

#[test]
fn a_relay_at_full_load_grows_no_memory_and_loses_nothing_uncounted_over_af_packet() {
    a_relay_at_full_load_grows_no_memory_and_loses_nothing_uncounted(Driver::AfPacket);
}

#[test]
fn a_relay_at_full_load_grows_no_memory_and_loses_nothing_uncounted_over_af_xdp() {
    a_relay_at_full_load_grows_no_memory_and_loses_nothing_uncounted(Driver::AfXdp);
}
