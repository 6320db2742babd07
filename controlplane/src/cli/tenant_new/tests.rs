use super::*;
use clap::Parser;

const RELAY: &str = "relay: test
ports:
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254, mtu: 1500}
  aws: {interface: ens5, mtu: 1500}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}
shared_addresses: [203.0.113.0/26]
tenants: tenants/*.yaml
";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    new: TenantNew,
}

fn relay() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["keys", "tenants"] {
        std::fs::create_dir(directory.path().join(name)).expect("made");
    }
    std::fs::write(directory.path().join("relay.yaml"), RELAY).expect("written");
    keygen::write_private_key(&directory.path().join("keys/relay.key")).expect("a key");
    directory
}

fn run(directory: &Path, tenant: &str, vlan: &str) -> anyhow::Result<String> {
    let path = |name: &str| directory.join(name).display().to_string();
    let (config, conf) = (path("relay.yaml"), path(&format!("{tenant}.conf")));
    let more =
        ["--name", "千代田区", "--mynumber", "198.51.100.16/29", "--cloud", "aws", "--address", "10.254.1.2/30", "--gateway", "10.254.1.1"];
    let line = ["new", tenant, "-c", &config, "--wg-quick", &conf, "--vlan", vlan];
    Line::parse_from(line.into_iter().chain(more)).new.run()?;
    Ok(std::fs::read_to_string(conf)?)
}

#[test]
fn the_tenant_file_passes_check_and_the_wg_quick_file_is_complete() {
    let directory = relay();
    let conf = run(directory.path(), "131016-chiyoda", "2101").expect("added");
    for line in ["Endpoint = 192.0.2.1:51820", "MTU = 1440", "PersistentKeepalive = 25", "AllowedIPs = 203.0.113.0/26"] {
        assert!(conf.lines().any(|has| has == line), "{line} in\n{conf}");
    }
    let allowed = conf.lines().position(|line| line.starts_with("AllowedIPs")).expect("there");
    let comment = conf.lines().nth(allowed - 1).expect("a line before it");
    assert!(comment.starts_with('#') && comment.contains("services without `global`") && comment.contains("callbacks without `as`"));
    let loaded = config::load(&directory.path().join("relay.yaml"), Purpose::Run);
    let relay = loaded.relay.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let key = conf.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).expect("a key");
    let private = Zeroizing::new({
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(key).expect("base64")
    });
    let private: [u8; 32] = private[..].try_into().expect("32 bytes");
    let config::TunnelKind::WireGuard { public_key, .. } = &relay.tenants[0].tunnels[0].kind else { panic!("another kind") };
    assert_eq!(keygen::public_key(&private), encoded(public_key).as_str(), "the two files belong together");
}

#[test]
fn each_class_gets_a_pool_of_its_own_since_two_classes_never_mix() {
    let directory = relay();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, conf) = (path("relay.yaml"), path("m.conf"));
    let words = "--name m --mynumber 198.51.100.16/29 --lgwan-connected 198.51.100.24/29 --cloud aws --vlan 2101 \
         --address 10.254.1.2/30 --gateway 10.254.1.1 --mynumber-napt 10.254.1.8/30 --lgwan-connected-napt 10.254.1.12/30";
    let line = ["new", "131032-minato", "-c", &config, "--wg-quick", &conf].into_iter().chain(words.split_whitespace());
    Line::parse_from(line).new.run().expect("added");
    let yaml = std::fs::read_to_string(path("tenants/131032-minato.yaml")).expect("written");
    assert!(yaml.contains("mynumber: {napt: [10.254.1.8/30]}") && yaml.contains("lgwan-connected: {napt: [10.254.1.12/30]}"), "{yaml}");
}

#[test]
fn a_tenant_that_exists_is_refused_and_nothing_of_it_is_touched() {
    let directory = relay();
    run(directory.path(), "131016-chiyoda", "2101").expect("added");
    let before = std::fs::read(directory.path().join("tenants/131016-chiyoda.yaml")).expect("there");
    let error = run(directory.path(), "131016-chiyoda", "2102").expect_err("exists").to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(std::fs::read(directory.path().join("tenants/131016-chiyoda.yaml")).expect("there"), before);
}

#[test]
fn a_tenant_that_would_not_pass_check_leaves_no_file_behind() {
    let directory = relay();
    run(directory.path(), "131016-chiyoda", "2101").expect("added");
    let error = run(directory.path(), "131024-chuo", "2101").expect_err("the VLAN is taken").to_string();
    assert!(error.contains("2101"), "{error}");
    for name in ["tenants/131024-chuo.yaml", "keys/131024-chuo.psk", "131024-chuo.conf"] {
        assert!(!directory.path().join(name).exists(), "{name}");
    }
    assert!(directory.path().join("keys/131016-chiyoda.psk").exists());
}

/// A relay with an IPsec endpoint as well, and the words of a tenant with a router of this kind.
fn ipsec(router: &str, more: &str) -> (tempfile::TempDir, anyhow::Result<()>) {
    let directory = relay();
    let endpoint = "endpoints:\n  - {name: ipsec, port: access, ipsec: {local_id: relay.example.jp}}\n";
    std::fs::write(directory.path().join("relay.yaml"), RELAY.replace("endpoints:\n", endpoint)).expect("written");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, conf) = (path("relay.yaml"), path("minato.conf"));
    let words = format!(
        "--name m --mynumber 198.51.100.48/29 --lgwan-connected 198.51.100.56/29 --cloud aws --vlan 2103 --address 10.254.1.2/30 \
         --gateway 10.254.1.1 {router} {more}"
    );
    let line = ["new", "131032-minato", "-c", &config, "--router-config", &conf].into_iter().chain(words.split_whitespace());
    let result = Line::try_parse_from(line).map_err(Into::into).and_then(|line| line.new.run());
    (directory, result)
}

#[test]
fn an_ipsec_tenant_passes_check_and_its_routers_file_has_the_same_key_and_is_secret() {
    use std::os::unix::fs::MetadataExt;
    let (directory, result) = ipsec("--router rtx", "--remote-id minato --peer 198.51.100.9");
    result.expect("added");
    let loaded = config::load(&directory.path().join("relay.yaml"), Purpose::Run);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let relay = loaded.relay.expect("valid");
    let TunnelKind::Ipsec(tunnel) = &relay.tenants[0].tunnels[0].kind else { panic!("no IPsec") };
    assert_eq!(tunnel.remote_id.to_string(), "minato");
    let psk = std::fs::read_to_string(directory.path().join("keys/131032-minato.psk")).expect("written");
    assert!(psk.trim_end().len() == 32 && psk.trim_end().bytes().all(|byte| byte.is_ascii_alphanumeric()), "every router takes it");
    let file = directory.path().join("minato.conf");
    assert_eq!(std::fs::metadata(&file).expect("written").mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("written");
    for line in [
        &format!("ipsec ike pre-shared-key 1 text {}", psk.trim_end()),
        "ipsec ike local name 1 minato fqdn",
        "ipsec ike local address 1 198.51.100.9",
        "ip route 203.0.113.0/26 gateway tunnel 1",
        "ip tunnel mtu 1406",
        "ip tunnel tcp mss limit 1366",
    ] {
        assert!(text.lines().any(|has| has.trim() == line), "{line} in\n{text}");
    }
}

#[test]
fn the_kind_of_router_and_the_kind_of_endpoint_belong_together() {
    let failed = |router: &str, more: &str| format!("{:#}", ipsec(router, more).1.expect_err("refused"));
    assert!(failed("--router rtx", "--endpoint tokyo-a").contains("is for WireGuard"));
    assert!(failed("", "--endpoint ipsec").contains("--router is rtx, ix, ios, fortigate or strongswan"));
    assert!(failed("--router rtx", "--public-key x").contains("cannot be used with"));
    assert!(failed("--router juniper", "").contains("possible values: rtx, ix, ios, fortigate, strongswan"));
    let (directory, result) = ipsec("--router fortigate", "--remote-id keyid:0x00ff");
    assert!(format!("{:#}", result.expect_err("refused")).contains("use a name"));
    for name in ["tenants/131032-minato.yaml", "keys/131032-minato.psk", "minato.conf"] {
        assert!(!directory.path().join(name).exists(), "{name} stays behind");
    }
}

#[test]
fn without_an_endpoint_named_the_only_one_of_the_kind_is_taken() {
    let (directory, result) = ipsec("--router strongswan", "");
    result.expect("added");
    let yaml = std::fs::read_to_string(directory.path().join("tenants/131032-minato.yaml")).expect("written");
    assert!(yaml.contains("endpoint: ipsec, ipsec: {remote_id: \"131032-minato\""), "{yaml}");
    run(directory.path(), "131016-chiyoda", "2101").expect("WireGuard has one as well");
}
