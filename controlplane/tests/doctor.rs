//! `chukei doctor` on a cable that the test lays: what it prints, what it exits with, and that it needs no privilege to look.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `chukei doctor ARGUMENTS` in a network namespace of its own, with a veth pair `near` - `far` and what `prepare` does to it.
fn doctor(prepare: &str, arguments: &str) -> Output {
    let script = format!(
        "ip link add near type veth peer name far; ip link set near up; ip link set far up; {prepare}\n\
         exec \"$0\" doctor {arguments}"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--user", "--map-root-user", "--", "sh", "-ec", &script, env!("CARGO_BIN_EXE_chukei")]);
    unshare.output().expect("unshare of util-linux; an ordinary user needs `sysctl user.max_user_namespaces` above 0")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn findings(report: &Value, subject: &str) -> Vec<(String, String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("text").to_owned();
    let all = report["findings"].as_array().expect("findings").iter().filter(|finding| finding["subject"] == subject);
    all.map(|finding| (text(finding, "about"), text(finding, "verdict"), text(finding, "found"))).collect()
}

fn verdict<'a>(findings: &'a [(String, String, String)], about: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|finding| finding.0 == about).unwrap_or_else(|| panic!("nothing about {about}: {findings:#?}"));
    (&found.1, &found.2)
}

#[test]
fn a_port_that_cannot_be_one_is_a_problem_with_exit_code_1_and_the_command_that_mends_it() {
    let prepare = "ip link set far mtu 576; ip address add 192.0.2.1/24 dev near";
    let output = doctor(prepare, "--json near far nowhere");
    let report = json(&output);
    assert_eq!((output.status.code(), &report["ok"], report["problems"].as_u64()), (Some(1), &Value::Bool(false), Some(3)));
    assert_eq!(verdict(&findings(&report, "near"), "use"), ("problem", "carries 192.0.2.1"));
    assert_eq!(verdict(&findings(&report, "far"), "mtu"), ("problem", "576"));
    assert_eq!(findings(&report, "nowhere"), [("interface".to_owned(), "problem".to_owned(), "cannot be a port".to_owned())]);
    let commands: Vec<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|f| f["verdict"] == "problem")
        .filter_map(|f| f["command"].as_str())
        .collect();
    assert_eq!(commands, ["ip link set dev far mtu 1500"], "nobody locks himself out by a pasted command");

    let table = doctor(prepare, "near far nowhere");
    let text = String::from_utf8_lossy(&table.stdout);
    assert_eq!(table.status.code(), Some(1));
    assert!(text.contains("\n        ip link set dev far mtu 1500\n") && text.contains("\n3 problems, "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 160), "{text}");
}

#[test]
fn a_cable_is_described_and_what_the_kernel_uses_is_no_problem_until_it_is_named_as_a_port() {
    let output = doctor("ip address add 192.0.2.1/24 dev near", "--json");
    let report = json(&output);
    assert_eq!((output.status.code(), report["problems"].as_u64()), (Some(0), Some(0)), "{report:#}");
    let near = findings(&report, "near");
    assert_eq!(verdict(&near, "use"), ("ok", "carries 192.0.2.1: the kernel's, such as for management"));
    assert_eq!(verdict(&near, "device"), ("ok", "veth"));
    assert_eq!(verdict(&near, "link"), ("ok", "up, 10000 Mbit/s"));
    assert_eq!(verdict(&near, "rings"), ("ok", "without a setting"));
    assert!(verdict(&near, "offloads").1.starts_with("on: rx tx tso tx-udp-segmentation gso"), "{near:#?}");
    let far = report["interfaces"].as_array().expect("interfaces").iter().find(|row| row["interface"] == "far").expect("far");
    assert_eq!((&far["driver"], &far["mtu"], &far["running"]), (&"veth".into(), &1500.into(), &true.into()));
    assert_eq!(far["auto"], Value::Null, "nobody asked for a driver");
}

#[test]
fn what_may_not_be_seen_is_said_and_is_no_problem() {
    // Root of a user namespace only: the kernel lets it make cables and packet sockets, but attach no program.
    let output = doctor("", "--json near");
    let report = json(&output);
    let near = findings(&report, "near");
    let (xdp, driver) = (verdict(&near, "xdp"), verdict(&near, "driver"));
    assert_eq!((xdp.0, driver.0, output.status.code()), ("unseen", "ok", Some(0)), "{near:#?}");
    assert!(report["unseen"].as_u64() > Some(0));
}

#[test]
fn the_ports_of_a_configuration_are_examined_and_a_bad_one_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, "relay: tokyo-1\n").expect("write");
    let output = doctor("", &format!("--json --config {}", path.display()));
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1));
    let machine = findings(&report, "machine");
    assert_eq!(verdict(&machine, "configuration").0, "problem");

    let tenants = directory.path().join("tenants");
    std::fs::create_dir(&tenants).expect("a directory");
    let yaml = "relay: tokyo-1\nports:\n  access: {interface: near, address: 192.0.2.1/24, gateway: 192.0.2.254, driver: af_packet}\n  aws: {interface: gone}\n\
                endpoints:\n  - {name: a, port: access, wireguard: {listen: 51820, private_key_file: relay.key}}\nframes: 1048576\ntenants: tenants/*.yaml\n";
    std::fs::write(&path, yaml).expect("write");
    let report = json(&doctor("", &format!("--json --config {}", path.display())));
    assert_eq!((verdict(&findings(&report, "machine"), "key_files").0, report["problems"].as_u64()), ("problem", Some(2)), "{report:#}");

    let key = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.path().join("relay.key"));
    writeln!(key.expect("a file"), "{}A=", "B".repeat(42)).expect("write");
    let output = doctor("", &format!("--json --config {}", path.display()));
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(verdict(&findings(&report, "near"), "driver").1.split(';').next(), Some("the configuration asks for af_packet"));
    assert_eq!(verdict(&findings(&report, "gone"), "interface").0, "problem");
    assert_eq!(report["problems"], 1, "{report:#}");
    let command = report["findings"].as_array().expect("findings").iter().find(|f| f["about"] == "huge_pages").expect("one");
    assert!(command["command"].is_null() || command["command"] == "sysctl -w vm.nr_hugepages=1024", "{command}");
}
