//! What the loader makes of valid files: typed values, defaults, scale, and a second reader's opinion.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::problem::Problems;
use super::super::tree::{Node, Value};
use super::super::*;
use super::fixture::{CHUO, Fixture};

fn tenant(fixture: &Fixture, id: &str) -> Tenant {
    let loaded = fixture.load(Purpose::Check);
    let relay = loaded.relay.unwrap_or_else(|| panic!("{:#?}", loaded.problems));
    relay.tenant(id).expect("the tenant").clone()
}

fn network(text: &str) -> ipnetwork::Ipv4Network {
    text.parse().expect("a network")
}

#[test]
fn what_is_left_out_has_its_default() {
    let fixture = Fixture::new();
    let relay = fixture.load(Purpose::Run).relay.expect("valid");
    let cloud_port = &relay.ports[1];
    assert_eq!((cloud_port.mtu, cloud_port.driver, cloud_port.address), (1_500, Driver::Auto, None));
    assert_eq!(relay.state, Path::new("/var/lib/chukei"));
    assert_eq!((relay.frames, relay.metrics.clone(), relay.api.clone()), (None, None, None));
    let chuo = relay.tenant("131024-chuo").expect("there");
    assert_eq!(chuo.limits, Limits { sessions: 20_000, ports: 20_000, new_sessions_per_second: 500 });
    assert_eq!(chuo.tunnels[0].mtu, 1_440, "1,500 less 60 for WireGuard over IPv4");
    let EndpointKind::WireGuard { private_key_file, .. } = &relay.endpoints[0].kind else { panic!("another kind") };
    assert_eq!(*private_key_file, fixture.path("keys/relay.key"), "relative to the relay file");
}

#[test]
fn every_reading_of_a_rule_is_typed() {
    let chiyoda = tenant(&Fixture::new(), "131016-chiyoda");
    let tax = &chiyoda.services[1];
    assert_eq!(tax.allow, [Allow::Tcp(PortMapping { outside: 10_443..=10_443, inside: 443..=443 })]);
    let pair = TranslatedPrefix { global: network("203.0.113.10"), private: network("10.10.0.11") };
    assert_eq!(tax.destinations, ServiceDestinations::Translated(vec![pair]));
    assert_eq!(chiyoda.services[2].destinations, ServiceDestinations::Kept(vec![network("10.10.4.0/24")]));
    assert_eq!(chiyoda.services[0].allow[1], Allow::IcmpEcho);
    let only = AttachmentIndex(0);
    assert_eq!(chiyoda.source(Class::Mynumber, only), Some(&SourceTranslation::Napt(vec![network("10.254.1.8/30")])));
    let pair = StaticPair { office: network("198.51.100.25"), cloud: network("10.254.1.20") };
    assert_eq!(chiyoda.source(Class::LgwanConnected, only), Some(&SourceTranslation::Static(vec![pair])));
    assert_eq!(chiyoda.callbacks[0].called_address(), std::net::Ipv4Addr::new(10, 254, 1, 30));
    assert_eq!(chiyoda.attachment(only).vlan, Vlan::Single(2_101));
    assert_eq!(chiyoda.office_prefixes(Class::LgwanConnected), [network("198.51.100.24/29")]);
}

#[test]
fn a_service_filters_as_it_says_else_as_its_tenant_says_else_by_address() {
    let filtering = |fixture: &Fixture| tenant(fixture, "131024-chuo").services[0].filtering;
    assert_eq!(filtering(&Fixture::new()), Filtering::AddressDependent);
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "source:", "filtering: endpoint-independent\nsource:");
    assert_eq!(filtering(&fixture), Filtering::EndpointIndependent);
    let fixture = fixture.edit("tenants/chuo.yaml", "icmp]}", "icmp], filtering: address-and-port-dependent}");
    assert_eq!(filtering(&fixture), Filtering::AddressAndPortDependent);
}

#[test]
fn as_many_ports_as_sessions_unless_the_file_says_otherwise() {
    let limits = |text: &str| {
        tenant(&Fixture::new().edit("tenants/chuo.yaml", "source:", &format!("limits: {{{text}}}\nsource:")), "131024-chuo").limits
    };
    assert_eq!(limits("sessions: 7"), Limits { sessions: 7, ports: 7, new_sessions_per_second: 500 });
    assert_eq!(limits("sessions: 7, ports: 3"), Limits { sessions: 7, ports: 3, new_sessions_per_second: 500 });
}

#[test]
fn keep_stands_for_every_cloud_and_lists_name_theirs() {
    let fixture = Fixture::new()
        .edit("relay.yaml", "ens5}", "ens5}\n  oci: {interface: ens6}")
        .edit("tenants/chuo.yaml", "clouds: {", "clouds: {oci: {port: oci, vlan: 2102, address: 10.9.0.2/30, gateway: 10.9.0.1}, ")
        .edit("tenants/chuo.yaml", "class: mynumber, g", "class: mynumber, cloud: aws, g")
        .edit("tenants/chuo.yaml", "{napt: [10.254.1.8/30]}", "keep");
    let chuo = tenant(&fixture, "131024-chuo");
    assert_eq!(chuo.services[0].attachment, AttachmentIndex(1), "in the file's order");
    for attachment in [AttachmentIndex(0), AttachmentIndex(1)] {
        assert_eq!(chuo.source(Class::Mynumber, attachment), Some(&SourceTranslation::Keep));
    }
    let fixture = fixture.edit("tenants/chuo.yaml", ": keep", ": [{cloud: aws, keep: true}, {cloud: oci, napt: 10.9.0.8/30}]");
    let chuo = tenant(&fixture, "131024-chuo");
    assert_eq!(chuo.source(Class::Mynumber, AttachmentIndex(1)), Some(&SourceTranslation::Keep));
    assert_eq!(chuo.source(Class::Mynumber, AttachmentIndex(0)), Some(&SourceTranslation::Napt(vec![network("10.9.0.8/30")])));
}

#[test]
fn a_validity_begins_and_ends_at_midnight_in_japan() {
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "icmp]}", "icmp], valid_from: 2026-12-01, valid_until: 2027-03-31}");
    let validity = tenant(&fixture, "131024-chuo").services[0].governance.validity;
    // 2026-11-30T15:00:00Z and 2027-03-31T15:00:00Z.
    assert_eq!((validity.starts_at_unix(), validity.ends_at_unix()), (Some(1_796_050_800), Some(1_806_505_200)));
    assert!(!validity.holds_at_unix(1_796_050_799));
    assert!(validity.holds_at_unix(1_796_050_800));
    assert!(validity.holds_at_unix(1_806_505_199));
    assert!(!validity.holds_at_unix(1_806_505_200));
}

#[test]
fn viewers_are_operators_auditors_or_have_tenants() {
    let viewers = "api: {socket: /run/s, viewers: [{name: a, uid: 1, tenants: [131024-chuo]}, {name: b, uid: 2, role: auditor}]}\ntenants:";
    let relay = Fixture::new().edit("relay.yaml", "tenants:", viewers).load(Purpose::Check).relay.expect("valid");
    let api = relay.api.expect("given");
    assert_eq!(api.viewers[0].role, Role::Tenants(vec!["131024-chuo".into()]));
    assert_eq!(api.viewers[1], Viewer { name: "b".into(), uid: 2, role: Role::Auditor });
}

#[test]
fn every_municipality_of_japan_loads_in_two_seconds() {
    const TENANTS: u16 = 1_788;
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.path("tenants/chiyoda.yaml")).expect("there");
    let service = "  - {name: 業務0, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}\n";
    for number in 1..=TENANTS {
        let mut key = [7; 32];
        key[..2].copy_from_slice(&number.to_le_bytes());
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key);
        let mut services = String::new();
        for port in 1..=20 {
            services.push_str(
                &service
                    .replace("業務0", &format!("業務{port}"))
                    .replace("203.0.113.10", &format!("203.0.113.{}", port + 10))
                    .replace("10.10.0.10", &format!("10.10.0.{}", port + 10)),
            );
        }
        let text = CHUO
            .replace("131024-chuo", &format!("t{number}"))
            .replace("cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", &key)
            .replace("vlan: 2102", &format!("vlan: {number}"))
            .replace("source:", &format!("{services}source:"));
        fixture.write(&format!("tenants/{number}.yaml"), text);
    }
    std::fs::remove_file(fixture.path("tenants/chuo.yaml")).expect("there");
    let started = Instant::now();
    let loaded = fixture.load(Purpose::Check);
    let taken = started.elapsed();
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.relay.expect("valid").tenants.len(), usize::from(TENANTS));
    println!("{TENANTS} tenants in {taken:?}");
    // An unoptimised build on a busy machine is far slower than what people run.
    let allowed = if cfg!(debug_assertions) { Duration::from_secs(30) } else { Duration::from_secs(2) };
    assert!(taken < allowed, "{taken:?}");
}

/// The same tree, as another reader of YAML sees it.
fn same(ours: &Node, theirs: &serde_yaml::Value) -> bool {
    match (&ours.value, theirs) {
        (Value::Null, serde_yaml::Value::Null) => true,
        (Value::Bool(a), serde_yaml::Value::Bool(b)) => a == b,
        (Value::Integer(a), serde_yaml::Value::Number(b)) => b.as_i64() == Some(*a),
        (Value::Float(a), serde_yaml::Value::Number(b)) => b.as_f64() == Some(*a),
        (Value::Text(a), serde_yaml::Value::String(b)) => a == b,
        (Value::Sequence(a), serde_yaml::Value::Sequence(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Mapping(a), serde_yaml::Value::Mapping(b)) => {
            let entry = |(key, node): &(super::super::tree::Key, Node)| b.get(key.name.as_str()).is_some_and(|theirs| same(node, theirs));
            a.len() == b.len() && a.iter().all(entry)
        }
        _ => false,
    }
}

#[test]
fn another_yaml_reader_sees_the_same_values_in_the_examples() {
    let configs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs"));
    let tenants = std::fs::read_dir(configs.join("tenants")).expect("there").map(|entry| entry.expect("readable").path());
    let files: Vec<_> = tenants.chain([configs.join("relay.yaml")]).collect();
    assert!(files.len() >= 4);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let mut problems = Problems::default();
        let ours = super::super::tree::parse(&text, &"example".into(), &mut problems).expect("a tree");
        let theirs: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
        assert!(same(&ours, &theirs), "{}", file.display());
    }
}
