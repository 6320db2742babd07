use std::path::Path;

use dataplane::router_config::SecretKey;

use super::*;
use crate::config::{self, KeyFileError, KeyStore, Purpose};

/// The model of a relay file with one tenant file.
fn model(tenant: &str) -> RelayConfigModel {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).expect("written");
    write("tenant.yaml", &format!("tenant: 131016-chiyoda\nname: 千代田区\n{tenant}"));
    write(
        "relay.yaml",
        "relay: test
ports:
  aws: {interface: ens5, mtu: 1600}
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254, mtu: 1500}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: relay.key}}
shared_addresses: [203.0.113.0/26]
conventional_lgwan: [192.0.2.128/25]
tenants: tenant.yaml
",
    );
    let loaded = config::load(&directory.path().join("relay.yaml"), Purpose::Check);
    loaded.relay.unwrap_or_else(|| panic!("{:#?}", loaded.problems))
}

fn some_keys(model: &RelayConfigModel) -> Keys {
    let wireguard = keys::wireguard_files(model).map(|path| (path.to_owned(), SecretKey([7; 32]))).collect();
    let psks = keys::psk_files(model).map(|path| (path.to_owned(), ike::Psk::new(path.display().to_string().into_bytes()))).collect();
    Keys { wireguard, psks, ..Keys::default() }
}

fn compiled_at(model: &RelayConfigModel, now: i64) -> RouterConfig {
    compile(model, &some_keys(model), now)
}

fn tenant(yaml: &str) -> Arc<TenantConfig> {
    Arc::clone(&compiled_at(&model(yaml), 0).tenants[0].config)
}

const BASE: &str = r#"
tunnels: {main: {endpoint: tokyo-a, wireguard: {public_key: "cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8T8=", persistent_keepalive: 25}}}
office: {mynumber: [198.51.100.16/29], lgwan-connected: [198.51.100.24/29]}
clouds: {aws: {port: aws, vlan: {outer: 100, inner: 2101}, address: 10.254.1.2/30, gateway: 10.254.1.1}}
source: {mynumber: {napt: [10.254.1.8/30]}, lgwan-connected: {static: {198.51.100.26: 10.254.1.21, 198.51.100.25: 10.254.1.20}}}
"#;

#[test]
fn names_become_numbers_and_a_qinq_attachment_has_its_ports_mtu_without_two_tags() {
    let router = compiled_at(&model(BASE), 0);
    let tenant = &router.tenants[0].config;
    assert_eq!(router.endpoints[0].port, PortId(1));
    assert_eq!(router.conventional_lgwan.len(), 1);
    let attachment = &tenant.attachments[0];
    assert_eq!((attachment.port, attachment.mtu), (PortId(0), 1592), "the port's 1,600 without the 8 bytes of two tags");
    let double = compiled::Vlan::Double { outer: vlan_id(100), inner: vlan_id(2101) };
    assert_eq!(attachment.vlan, double);
    assert_eq!(tenant.tunnels[0].mtu, 1440, "the access port's 1,500 without WireGuard's 60");
    assert_eq!(router.tenants[0].tunnel_counters.len(), tenant.tunnels.len());
    let classes: Vec<TrafficClass> = tenant.office.iter().map(|office| office.class).collect();
    assert_eq!(classes, [TrafficClass::MyNumber, TrafficClass::LgwanConnected]);
}

#[test]
fn static_translations_are_sorted_by_the_office_address() {
    let tenant = tenant(BASE);
    let compiled::SourceTranslation::Static(hosts) = &tenant.sources[1].translation else { panic!("static") };
    let expected = [([198, 51, 100, 25], [10, 254, 1, 20]), ([198, 51, 100, 26], [10, 254, 1, 21])];
    assert_eq!(hosts[..], expected.map(|(office, cloud)| (office.into(), cloud.into())));
}

#[test]
fn a_service_told_apart_by_its_port_keeps_both_ports_and_a_kept_destination_both_sides() {
    let services = r#"services:
  - {name: 税, class: mynumber, global: 203.0.113.10, private: 10.10.0.11, allow: ["tcp/10443:443", udp/5000-5003, icmp]}
  - {name: 文書管理, class: lgwan-connected, private: [10.10.4.0/24, 10.10.6.0/24], allow: [tcp/443]}
"#;
    let tenant = tenant(&format!("{BASE}{services}"));
    let [tax, documents, more_documents] = &tenant.services[..] else { panic!("{:?}", tenant.services) };
    let map = |from, to| compiled::PortMap { from, to };
    assert_eq!(
        tax.allow,
        [compiled::Allow::Tcp(map(10_443..=10_443, 443)), compiled::Allow::Udp(map(5_000..=5_003, 5_000)), compiled::Allow::IcmpEcho]
    );
    assert_eq!((tax.office_side.to_string(), tax.cloud_side.to_string()), ("203.0.113.10/32".into(), "10.10.0.11/32".into()));
    assert_eq!(documents.office_side, documents.cloud_side);
    assert_eq!(more_documents.office_side.to_string(), "10.10.6.0/24");
}

#[test]
fn a_callback_without_as_shows_each_host_by_its_own_address() {
    let callbacks = "callbacks:
  - {name: 帳票印刷, class: mynumber, from: [10.10.0.20/31], as: 203.0.113.20, to: 10.254.1.30, office: 198.51.100.17, allow: [tcp/9100]}
  - {name: 照会, class: mynumber, from: [10.10.0.22, 10.10.0.23], to: 10.254.1.31, office: 198.51.100.18, allow: [tcp/515]}
";
    let tenant = tenant(&format!("{BASE}{callbacks}"));
    let seen: Vec<(&str, String)> = tenant.callbacks.iter().map(|rule| (&*rule.name, rule.source.to_string())).collect();
    assert_eq!(seen, [("帳票印刷", "203.0.113.20".into()), ("照会", "10.10.0.22".into()), ("照会", "10.10.0.23".into())]);
}

#[test]
fn every_key_file_is_read_once_and_a_refused_one_is_named() {
    let model = model(BASE);
    let refused = Keys::read(&model, &mut KeyStore::default()).expect_err("the directory is gone");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0.ends_with("relay.key") && matches!(refused[0].1, KeyFileError::Missing));
}

#[test]
fn the_examples_compile() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/relay.yaml");
    let loaded = config::load(&examples, Purpose::Check);
    let model = loaded.relay.unwrap_or_else(|| panic!("{:#?}", loaded.problems));
    let router = compiled_at(&model, time::macros::datetime!(2026-12-01 09:00 +9).unix_timestamp());
    assert_eq!(router.tenants.len(), model.tenants.len());
    assert!(router.tenants.iter().all(|tenant| !tenant.config.services.is_empty()));
}

#[test]
fn the_port_of_the_metrics_is_reserved() {
    let mut model = model(BASE);
    assert!(compiled_at(&model, 0).reserved_ports.is_empty());
    model.metrics = Some(crate::config::Metrics { listen: "127.0.0.1:9273".parse().expect("an address") });
    assert_eq!(compiled_at(&model, 0).reserved_ports, [9_273]);
}
