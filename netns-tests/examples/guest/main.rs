//! The relay in a QEMU guest, between a municipality and its cloud on the host; `netns-tests/guest/run` makes what it needs.
//!
//! ```text
//!  office+router -- bridge -- access0 = br = TAP ==[ guest: access0  RELAY  cloud0 ]== TAP = br = cloud0 -- trunk0 --split-- cloud
//! ```

mod machine;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netns_tests::plan::{LISTEN, Municipality, RELAY, SHARED_GLOBAL};
use netns_tests::process::{eventually, ip, must};
use netns_tests::relay::{Driver, Files};
use netns_tests::topology::{ACCESS_PORT, CLOUD_PORT, Lab};
use netns_tests::traffic::Ping;
use serde_json::Value;

use machine::Guest;

/// NICs that QEMU plays, as its `-device` calls them.
const NICS: [&str; 2] = ["virtio-net-pci", "e1000e"];
const FILE_BYTES: usize = 5_000_000;
/// The guest's processor is an interpreter.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// One line of the table.
struct Cell {
    nic: String,
    asked: &'static str,
    /// What `show ports` says of both ports.
    got: String,
    outcome: Result<String, String>,
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let nics: Vec<&str> =
        NICS.into_iter().filter(|nic| asked.is_empty() || asked.iter().any(|name| nic.starts_with(name.as_str()))).collect();
    if nics.is_empty() {
        eprintln!("usage: netns-tests/guest/run [{}]", NICS.join("|"));
        return ExitCode::FAILURE;
    }
    let started = Instant::now();
    let cells: Vec<Cell> = nics.iter().flat_map(|nic| on_nic(nic)).collect();
    println!("\n{:<15} {:<10} {:<42} RESULT", "NIC", "ASKED FOR", "GOT (access, trunk)");
    for cell in &cells {
        let outcome = match &cell.outcome {
            Ok(text) => format!("ok: {text}"),
            Err(text) => format!("FAILED: {text}"),
        };
        println!("{:<15} {:<10} {:<42} {outcome}", cell.nic, cell.asked, cell.got);
    }
    println!("({:.0} s)", started.elapsed().as_secs_f64());
    if cells.iter().all(|cell| cell.outcome.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Boots a guest with two NICs of this kind, and tries both drivers in it.
fn on_nic(nic: &str) -> Vec<Cell> {
    let lab = Lab::new(vec![Municipality::new("131016-chiyoda", "千代田区", 1)]);
    let files = Files::write(&lab, Driver::AfPacket, 1500);
    files.put(&lab.towns[0].plan);
    let _ = lab.file("body", FILE_BYTES);
    for (tap, port) in [(machine::ACCESS_TAP, ACCESS_PORT), (machine::CLOUD_TAP, CLOUD_PORT)] {
        bridge(&lab, tap, port);
    }
    let failed = |asked, error: &str| Cell { nic: nic.into(), asked, got: "-".into(), outcome: Err(error.to_owned()) };
    let mut guest = match Guest::boot(&lab, nic, &files.relay_yaml) {
        Ok(guest) => guest,
        Err(error) => return Driver::BOTH.map(|driver| failed(driver.label(), &error)).into(),
    };
    println!("{nic}: the guest is up after {:.0} s", guest.boot_seconds);
    let doctor = guest.command("doctor");
    if let Err(error) = judge_doctor(nic, &doctor) {
        return vec![failed("doctor", &error)];
    }
    let mut cells = Vec::new();
    for driver in Driver::BOTH {
        let asked = driver.label();
        let (got, outcome) = with_driver(&mut guest, &lab, driver);
        cells.push(Cell { nic: nic.into(), asked, got, outcome });
    }
    guest.off();
    cells
}

/// A TAP for the guest, joined to the laboratory's cable by a bridge that only forwards.
fn bridge(lab: &Lab, tap: &str, port: &str) {
    let bridge = format!("br-{tap}");
    for command in [
        format!("tuntap add {tap} mode tap"),
        format!("link add {bridge} type bridge mcast_snooping 0"),
        format!("link set {tap} master {bridge}"),
        format!("link set {port} master {bridge}"),
        format!("link set {tap} up"),
        format!("link set {bridge} up"),
    ] {
        ip(&lab.relay, &command);
    }
    // The guest leaves checksums and segmentation to a TAP that takes them; on the laboratory's cable frames are whole.
    must(&lab.relay, "ethtool", &["-K", port, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
}

/// `doctor` in the guest sees the NICs and nothing that keeps the relay from starting.
fn judge_doctor(nic: &str, answer: &Result<String, String>) -> Result<(), String> {
    // Its exit status says whether there are problems; the report itself says which.
    let (Ok(text) | Err(text)) = answer;
    let report: Value = serde_json::from_str(text).map_err(|error| format!("doctor: {error}: {text}"))?;
    let driver = if nic.starts_with("virtio") { "virtio_net" } else { nic };
    let rows = report["interfaces"].as_array().ok_or("doctor names no interfaces")?;
    if rows.len() != 2 || rows.iter().any(|row| row["driver"] != driver) {
        return Err(format!("doctor: not two NICs with {driver}: {rows:?}"));
    }
    let of = |subject: &str, about: &str| {
        let found = report["findings"].as_array().into_iter().flatten().find(|row| row["subject"] == subject && row["about"] == about);
        found.map(|row| format!("{} {}", row["found"].as_str().unwrap_or("?"), row["advice"].as_str().unwrap_or(""))).unwrap_or_default()
    };
    for about in ["device", "link", "queues", "rings", "offloads", "xdp", "driver"] {
        println!("{nic}: doctor: {about:<9} {}", of(ACCESS_PORT, about));
    }
    for row in report["findings"].as_array().into_iter().flatten().filter(|row| row["verdict"] != "ok") {
        println!("{nic}: doctor: {}: {} {}: {}", row["verdict"], row["subject"], row["about"], row["found"]);
    }
    if report["ok"] == true { Ok(()) } else { Err("doctor: it found problems".into()) }
}

/// Starts the relay with a driver, and sends traffic both ways.
fn with_driver(guest: &mut Guest, lab: &Lab, driver: Driver) -> (String, Result<String, String>) {
    if let Err(error) = guest.command(&format!("start {}", driver.label())) {
        return ("-".into(), Err(format!("the relay did not start: {error}")));
    }
    let got = guest.rows("ports").map_or_else(|error| error, |rows| rows.iter().map(port_mode).collect::<Vec<_>>().join(", "));
    let outcome = catch_unwind(AssertUnwindSafe(|| traffic(guest, lab)));
    let outcome = outcome.unwrap_or_else(|_| Err("see above".into())).and_then(|text| checked(&got, driver).map(|()| text));
    if outcome.is_err() {
        let (Ok(log) | Err(log)) = guest.command("log");
        eprintln!("the relay's log with {}:\n{log}", driver.label());
    }
    let stopped = guest.command("stop").map(|_| ());
    (got, outcome.and_then(|text| stopped.map(|()| text)))
}

fn port_mode(row: &Value) -> String {
    format!("{} {}", row["driver"].as_str().unwrap_or("?"), row["mode"].as_str().unwrap_or("?"))
}

fn checked(got: &str, driver: Driver) -> Result<(), String> {
    if got.matches(driver.label()).count() == 2 { Ok(()) } else { Err(format!("the ports got {got}")) }
}

/// Ping, a page, and a file each way, through the guest's relay.
fn traffic(guest: &mut Guest, lab: &Lab) -> Result<String, String> {
    let town = &lab.towns[0];
    town.router.call_relay();
    let is_up = |guest: &mut Guest| guest.rows("tunnels").is_ok_and(|rows| rows.iter().any(|row| row["state"] == "up"));
    eventually(HANDSHAKE, || is_up(guest).then_some(())).ok_or_else(|| format!("no tunnel to {RELAY}:{LISTEN} after {HANDSHAKE:?}"))?;
    let counter = town.counter();
    // The first one may find a next hop that is not known yet.
    eventually(Duration::from_secs(10), || (counter.ping(SHARED_GLOBAL, 56) == Ping::Answered).then_some(()))
        .ok_or("no ping is answered")?;
    let large = counter.ping(SHARED_GLOBAL, 1_412);
    if large != Ping::Answered {
        return Err(format!("a ping of full size: {large:?}"));
    }
    let page = counter.fetch(&format!("http://{SHARED_GLOBAL}/who")).map_err(|code| format!("no page: curl ended with {code}"))?;
    if !page.contains("from=10.254.1.") {
        return Err(format!("the page does not show the tenant's pool: {page}"));
    }
    let (path, whole) = lab.file("body", FILE_BYTES);
    let download = counter.download(&format!("http://{SHARED_GLOBAL}/files/body"));
    if download.sha256 != whole {
        return Err("the download differs".into());
    }
    let upload = counter.upload(&path, &format!("http://{SHARED_GLOBAL}/upload/body"));
    if netns_tests::topology::sha256(&town.servers.uploaded("body")) != whole {
        return Err("the upload differs".into());
    }
    let drops = guest.rows("drops")?;
    let lost: BTreeMap<&str, u64> = drops.iter().filter_map(|row| Some((row["reason"].as_str()?, row["packets"].as_u64()?))).collect();
    let megabytes = FILE_BYTES / 1_000_000;
    Ok(format!("ping, page, {megabytes} MB down in {:.1} s, up in {:.1} s; lost {lost:?}", download.seconds, upload.seconds))
}
