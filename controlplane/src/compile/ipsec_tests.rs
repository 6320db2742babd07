//! What key exchange is told, from files to [`ike::Config`].

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::compile::Keys;
use crate::config::{Loaded, Loader, Purpose};

const RELAY: &str = "relay: test
ports:
  aws: {interface: ens5}
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254}
endpoints:
  - {name: wg, port: access, wireguard: {listen: 51820, private_key_file: relay.key}}
  - {name: ipsec, port: access, ipsec: {local_id: relay.example.jp}}
shared_addresses: [203.0.113.0/26]
workers: 3
tenants: '*-tenant.yaml'
";

const TENANT: &str = "tenant: 131016-chiyoda
name: 千代田区
tunnels: {main: {endpoint: ipsec, ipsec: {remote_id: chiyoda, psk_file: a.psk}}}
office: {mynumber: [198.51.100.16/29], lgwan-connected: [198.51.100.24/29]}
clouds: {aws: {port: aws, vlan: 2101, address: 10.254.1.2/29, gateway: 10.254.1.1}}
services:
  - {name: a, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}
  - {name: b, class: mynumber, global: 203.0.113.11, private: 10.10.0.11, allow: [tcp/443]}
  - {name: c, class: lgwan-connected, private: [10.10.4.0/24], allow: [tcp/443]}
source: {mynumber: {napt: [10.254.1.8/30]}, lgwan-connected: keep}
callbacks:
  - {name: d, class: mynumber, from: [10.10.0.20], as: 203.0.113.20, to: 10.254.1.20, office: 198.51.100.17, allow: [tcp/515]}
";

struct Relay {
    directory: tempfile::TempDir,
    loader: Loader,
    compiler: IkeCompiler,
}

impl Relay {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let loader = Loader::new(&directory.path().join("relay.yaml"), Purpose::Run);
        let relay = Self { directory, loader, compiler: IkeCompiler::default() };
        relay.write("relay.yaml", RELAY);
        relay.write("a-tenant.yaml", TENANT);
        relay.write_key("relay.key", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=");
        relay.write_key("a.psk", "a long secret of Chiyoda");
        relay
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).expect("written");
    }

    fn write_key(&self, name: &str, content: &str) {
        use std::io::Write;
        let _ = fs::remove_file(self.path().join(name));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path().join(name)).expect("new");
        writeln!(file, "{content}").expect("written");
    }

    fn edit(&self, old: &str, new: &str) {
        let content = fs::read_to_string(self.path().join("a-tenant.yaml")).expect("there");
        assert_eq!(content.matches(old).count(), 1, "{old}");
        self.write("a-tenant.yaml", &content.replace(old, new));
    }

    fn config_at(&mut self, now: i64) -> ike::Config {
        let Loaded { relay, problems, .. } = self.loader.load();
        let model = relay.unwrap_or_else(|| panic!("{problems:#?}"));
        let keys = Keys::read(&model, self.loader.keys()).expect("all keys");
        self.compiler.compile(&model, &keys, now)
    }

    fn peer(&mut self) -> ike::PeerConfig {
        let config = self.config_at(0);
        assert_eq!(config.peers.len(), 1);
        ike::PeerConfig::clone(&config.peers[0])
    }
}

fn words(prefixes: &[Ipv4Network]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn five_lines_become_a_peer_with_its_tenants_prefixes_and_its_workers_spis() {
    let mut relay = Relay::new();
    let config = relay.config_at(0);
    assert_eq!(config.endpoints[1].address, Ipv4Addr::new(192, 0, 2, 1), "numbers are the data plane's");
    let peer = relay.peer();
    assert_eq!((&*peer.name.tenant, &*peer.name.tunnel, peer.endpoint), ("131016-chiyoda", "main", 1));
    assert_eq!((peer.local_id, peer.remote_id), (ike::Identity::Fqdn("relay.example.jp".into()), ike::Identity::Fqdn("chiyoda".into())));
    assert_eq!((peer.address, peer.initiate, peer.policy), (ike::PeerAddress::Any, ike::Initiate::OnDemand, ike::CryptoPolicy::Modern));
    assert_eq!((peer.proposals, peer.encapsulation), (None, ike::NatT::Auto));
    assert_eq!(words(&peer.office), ["198.51.100.16/28"], "two neighbours are one prefix");
    assert_eq!(words(&peer.far), ["10.10.4.0/24", "203.0.113.10/31", "203.0.113.20/32"], "what the office sees, and no more");
    assert_eq!([peer.dpd, peer.ike_lifetime, peer.child_lifetime], [30, 28_800, 3_600].map(Duration::from_secs));
    let space = dataplane::tunnel::esp::sa::SpiSpace::of(steering::owner("131016-chiyoda", 3), 3);
    for random in [0x1234_5678, u32::MAX, 0x0001_0000] {
        let spi = peer.spi_space.draw(random).and_then(dataplane::tunnel::esp::sa::Spi::new).expect("an SPI");
        assert!(space.holds(spi), "{spi:?} belongs to another worker");
    }
}

#[test]
fn both_keys_are_valid_while_one_is_replaced_the_new_one_first() {
    let mut relay = Relay::new();
    relay.write_key("old.psk", "the one from last year, long");
    relay.edit("psk_file: a.psk", "psk_file: a.psk, previous_psk_file: old.psk");
    let ike::Authentication::Psk { keys } = relay.peer().authentication else { panic!("keys") };
    let texts: Vec<&[u8]> = keys.iter().map(ike::Psk::expose).collect();
    assert_eq!(texts, [&b"a long secret of Chiyoda"[..], b"the one from last year, long"]);
}

#[test]
fn an_unchanged_peer_is_the_very_same_and_a_new_key_makes_it_another() {
    let mut relay = Relay::new();
    let first = relay.config_at(0);
    assert!(Arc::ptr_eq(&first.peers[0], &relay.config_at(1).peers[0]));
    relay.write_key("a.psk", "another secret of Chiyoda");
    let second = relay.config_at(2);
    assert!(!Arc::ptr_eq(&first.peers[0], &second.peers[0]));
    relay.edit("name: 千代田区", "name: ちよだく");
    assert!(!Arc::ptr_eq(&second.peers[0], &relay.config_at(3).peers[0]), "its file changed; whether that matters is not judged here");
}

#[test]
fn a_dated_exception_ends_by_itself_at_midnight_in_japan() {
    let mut relay = Relay::new();
    let legacy = "psk_file: a.psk, peer: 198.51.100.7, crypto_policy: {legacy-until: 2999-03-31}, proposals: {ike: [aes128-sha1-modp1536, aes256-sha256-modp2048]}";
    relay.edit("psk_file: a.psk", legacy);
    let end = 32_479_887_600;
    let before = relay.config_at(end - 1);
    assert_eq!(before.peers[0].policy, ike::CryptoPolicy::Legacy);
    assert_eq!(before.peers[0].address, ike::PeerAddress::Fixed([198, 51, 100, 7].into()));
    assert_eq!(before.peers[0].initiate, ike::Initiate::Always);
    let ike = |config: &ike::Config| config.peers[0].proposals.as_ref().map(ike::Proposals::ike_words).unwrap_or_default();
    assert_eq!(ike(&before), ["aes128-sha1-modp1536", "aes256-sha256-modp2048"]);
    let after = relay.config_at(end);
    assert_eq!(after.peers[0].policy, ike::CryptoPolicy::Modern);
    assert_eq!(ike(&after), ["aes256-sha256-modp2048"]);
}

#[test]
fn more_addresses_than_an_sa_has_selectors_for_are_the_operators_block() {
    let mut relay = Relay::new();
    let services: String = (0..32)
        .map(|n| format!("  - {{name: s{n}, class: mynumber, global: 203.0.113.{}, private: 10.10.1.{n}, allow: [tcp/443]}}\n", 2 * n + 1))
        .collect();
    let old = "  - {name: a, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}\n  - {name: b, class: mynumber, global: 203.0.113.11, private: 10.10.0.11, allow: [tcp/443]}\n";
    relay.edit(old, &services);
    assert_eq!(words(&relay.peer().far), ["10.10.4.0/24", "203.0.113.0/26"]);
}

#[test]
fn prefixes_are_joined_without_adding_an_address() {
    let join = |list: &[&str]| words(&joined(list.iter().map(|prefix| prefix.parse().expect("a prefix")).collect()));
    assert_eq!(join(&["10.0.0.3/32", "10.0.0.0/32", "10.0.0.2/32", "10.0.0.1/32"]), ["10.0.0.0/30"]);
    assert_eq!(join(&["10.0.0.1/32", "10.0.0.2/32"]), ["10.0.0.1/32", "10.0.0.2/32"], "neighbours, but not halves of one prefix");
    assert_eq!(join(&["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"]), ["10.0.0.0/8"]);
    assert_eq!(join(&["0.0.0.0/1", "128.0.0.0/1"]), ["0.0.0.0/0"]);
    assert!(join(&[]).is_empty());
}

#[test]
fn every_algorithm_that_the_files_may_name_is_one_that_key_exchange_knows() {
    use crate::config::{Algorithm, AlgorithmKind, Strength};
    let usable = crate::config::algorithms().iter().filter(|algorithm| !matches!(algorithm.strength, Strength::Refused(_)));
    for Algorithm { keyword, kind, strength, .. } in usable {
        let text = match kind {
            AlgorithmKind::Aead => format!("{keyword}-prfsha256-modp2048"),
            AlgorithmKind::Encryption => format!("{keyword}-sha256-modp2048"),
            AlgorithmKind::Integrity => format!("aes256-{keyword}-prfsha256-modp2048"),
            AlgorithmKind::Prf => format!("aes256-sha256-{keyword}-modp2048"),
            AlgorithmKind::Group => format!("aes256-sha256-{keyword}"),
        };
        let proposal: ike::proposals::IkeProposal = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let allowed = |policy| !ike::Proposals::within(policy, std::slice::from_ref(&proposal), &[]).ike().is_empty();
        let expected = match strength {
            Strength::Cryptrec => [true, true, true],
            Strength::Modern => [false, true, true],
            _ => [false, false, true],
        };
        let policies = [ike::CryptoPolicy::Cryptrec, ike::CryptoPolicy::Modern, ike::CryptoPolicy::Legacy];
        assert_eq!(policies.map(allowed), expected, "{keyword}");
    }
}
