//! Many mistakes in several files at once: all of them are named, none hides another.

use super::fixture::Fixture;

const BROKEN_TENANT: &str = "\
tenant: 131024-chuo
name: 中央区
tunnles: {}
tunnels:
  main: {endpoint: tokyo-a, mtu: large, wireguard: {public_key: cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=, psk: a}}
office: {mynumber: [198.51.100.16/29]}
clouds: {aws: {port: aws, vlan: 2101, address: 10.254.1.2/30, gateway: 10.254.1.1}}
services:
  - {name: 住民記録, class: mynumber, global: 203.0.113.99, private: 10.10.0.10, allow: [tcp/443], color: red}
  - {name: 税, class: lgwan-connected, global: 203.0.113.10, private: 10.10.0.11, allow: {tcp: 443}}
source: {mynumber: {napt: [10.254.1.2/32]}}
";

#[test]
fn ten_mistakes_are_all_named_with_their_lines() {
    let fixture = Fixture::new().edit("relay.yaml", "interface: ens5", "interface: ens4");
    fixture.write("tenants/chuo.yaml", BROKEN_TENANT);
    assert_eq!(
        fixture.problems(),
        [
            "error: relay.yaml:4:20 ports.aws.interface: the interface ens4 is taken by port `access`",
            "error: tenants/chuo.yaml:3:1 tunnles: unknown key `tunnles`",
            "error: tenants/chuo.yaml:5:34 tunnels.main.mtu: expected the tunnel's MTU in bytes, a number from 576 to 1710, found `large`",
            "error: tenants/chuo.yaml:5:111 tunnels.main.wireguard.psk: unknown key `psk`",
            "error: tenants/chuo.yaml:7:33 clouds.aws.vlan: VLAN 2101 on port `aws` is taken",
            "error: tenants/chuo.yaml:9:43 services[0].global: 203.0.113.99 is outside shared_addresses",
            "error: tenants/chuo.yaml:9:96 services[0].color: unknown key `color`",
            "error: tenants/chuo.yaml:10:22 services[1].class: the tenant has no class `lgwan-connected`",
            "error: tenants/chuo.yaml:10:89 services[1].allow: expected a value or a list of values, found a mapping",
            "error: tenants/chuo.yaml:11:28 source.mynumber.napt[0]: the napt pool 10.254.1.2 holds 10.254.1.2, the relay's own address of the VLAN",
        ]
    );
}

#[test]
fn a_problem_reads_the_same_for_people_and_programs() {
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "services:", "servces:");
    let problem = &fixture.load(super::super::Purpose::Check).problems[0];
    let file = fixture.path("tenants/chuo.yaml").display().to_string();
    assert_eq!(problem.to_string(), format!("error: {file}:7:1 servces: unknown key `servces`\n  help: did you mean `services`?"));
    let json = serde_json::to_value(problem).expect("plain data");
    let expected = serde_json::json!({
        "severity": "error", "file": file, "line": 7, "column": 1, "path": "servces",
        "message": "unknown key `servces`", "help": "did you mean `services`?",
    });
    assert_eq!(json, expected);
}

#[test]
fn a_broken_value_does_not_accuse_its_neighbours() {
    let fixture = Fixture::new().edit("relay.yaml", "  aws: {interface: ens5}", "  aws: ens5").edit(
        "tenants/chiyoda.yaml",
        "  lgwan-connected: [198",
        "  lgwan: [198",
    );
    assert_eq!(
        fixture.problems(),
        [
            "error: relay.yaml:4:8 ports.aws: expected a port (a mapping of keys to values), found `ens5`",
            "error: tenants/chiyoda.yaml:7:3 office.lgwan: unknown class `lgwan`",
        ]
    );
}
