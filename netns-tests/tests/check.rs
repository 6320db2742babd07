//! `chukei check` names every mistake at once, each with its line.

use std::fs;
use std::path::Path;
use std::process::Command;

use netns_tests::keys::{KeyPair, write_secret};
use netns_tests::process::finish;
use netns_tests::relay::binary;

/// Ten mistakes. Every `# 1` and so on ends the line that it is about.
const RELAY: &str = "\
relay: tokyo-1
ports:
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254, mtu: 1500}
  aws: {interface: ens5, mtu: 1500}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}
shared_addresses: [203.0.113.0/26]
tenants: tenants/*.yaml
";

const BROKEN: &str = "\
tenant: 131016-chiyoda
name: 千代田区
colour: green # 1 unknown key
tunnels:
  main: {endpoint: tokyo-a, wireguard: {public_key: \"KEY-A\"}}
office:
  mynumber: [198.51.100.16/29]
  internet: [198.51.100.40/29] # 2 unknown key
clouds:
  aws: {port: aws, vlan: many, address: 10.254.1.2/30, gateway: 10.254.1.1} # 3 wrong type
services:
  - name: 住民記録
    class: mynumber
    globl: 203.0.113.10 # 4 unknown key
    private: 10.10.0.10
    allow: [tcp/443]
  - {name: 外, class: mynumber, global: 203.0.113.99, private: 10.10.0.12, allow: [tcp/443]} # 6 outside shared_addresses
source:
  mynumber: {napt: [10.254.1.8/30]}
limits:
  sessions: plenty # 7 wrong type
";

const SECOND: &str = "\
tenant: 131024-chuo
name: 中央区
tunnels:
  main: {endpoint: tokyo-b, wireguard: {public_key: \"KEY-B\"}} # 8 no such endpoint
office:
  mynumber: [198.51.100.16/29]
clouds:
  aws: {port: aws, vlan: 2102, address: 10.254.1.2/29, gateway: 10.254.1.1}
services:
  - {name: 住民記録, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}
  - {name: 税, class: lgwan-connected, private: 10.10.0.11, allow: [tcp/443]} # 5 a class the tenant lacks
source:
  mynumber: {napt: [10.254.1.0/29]} # 9 over the VLAN's own addresses
";

const THIRD: &str = "\
tenant: 131032-minato
name: 港区
tunnels:
  main: {endpoint: tokyo-a, wireguard: {public_key: \"KEY-C\"}}
office:
  mynumber: [198.51.100.16/29]
clouds:
  aws: {port: aws, vlan: 2102, address: 10.254.1.2/29, gateway: 10.254.1.1} # 10 the VLAN is taken
services:
  - {name: 住民記録, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}
source:
  mynumber: {napt: [10.254.1.8/30]}
";

fn write(directory: &Path, name: &str, text: &str) {
    let text = ["KEY-A", "KEY-B", "KEY-C"].iter().fold(text.to_owned(), |text, key| text.replace(key, &KeyPair::generate().public));
    fs::write(directory.join(name), text).expect("write a file");
}

/// The places of the planted mistakes, as `check` has to name them: `FILE:LINE:`.
fn places() -> Vec<String> {
    let of = |name: &str, text: &str| -> Vec<String> {
        let marked = text.lines().enumerate().filter(|(_, line)| line.contains(" # "));
        marked.map(|(at, _)| format!("{name}:{}:", at + 1)).collect()
    };
    [of("131016.yaml", BROKEN), of("131024.yaml", SECOND), of("131032.yaml", THIRD)].concat()
}

#[test]
fn ten_mistakes_in_three_files_are_all_named_with_their_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let tenants = directory.path().join("tenants");
    fs::create_dir_all(&tenants).and_then(|()| fs::create_dir(directory.path().join("keys"))).expect("create directories");
    write_secret(&directory.path().join("keys/relay.key"), &KeyPair::generate().private);
    write(directory.path(), "relay.yaml", RELAY);
    for (name, text) in [("131016.yaml", BROKEN), ("131024.yaml", SECOND), ("131032.yaml", THIRD)] {
        write(&tenants, name, text);
    }
    let mut check = Command::new(binary());
    check.args(["check", "-c"]).arg(directory.path().join("relay.yaml"));
    let output = finish(check);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);

    assert!(!output.status.success(), "accepted:\n{said}");
    let places = places();
    assert_eq!(places.len(), 10);
    let missing: Vec<&String> = places.iter().filter(|place| !said.contains(*place)).collect();
    assert!(missing.is_empty(), "not named: {missing:?} in\n{said}");
}

#[test]
fn the_examples_pass_as_they_stand() {
    let mut check = Command::new(binary());
    check.args(["check", "-c"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/relay.yaml"));
    let output = finish(check);
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
