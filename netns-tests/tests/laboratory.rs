//! The laboratory by itself: with Linux in the relay's place, so that what the other tests find is the relay's doing.

use std::path::PathBuf;
use std::time::Duration;

use controlplane::demo::trunk::Splitter;
use controlplane::demo::{Links, Namespace};
use netns_tests::canary;
use netns_tests::capture::{Capture, canaries};
use netns_tests::keys::write_secret;
use netns_tests::plan::*;
use netns_tests::process::{Running, ip, must, wait_until};
use netns_tests::strongswan::{Connection, StrongSwan};
use netns_tests::topology::{ACCESS_PORT, CLOUD_PORT, Lab, TRUNK, cable};
use netns_tests::traffic::Ping;

#[test]
fn traffic_crosses_the_laboratory_when_linux_stands_in_for_the_relay() {
    let lab = Lab::new(vec![Municipality::new("131016-chiyoda", "千代田区", 1)]);
    let _linux = LinuxRelay::start(&lab);
    let town = &lab.towns[0];
    let counter = town.counter();
    town.router.call_relay();
    wait_until("a handshake", Duration::from_secs(10), || town.wireguard().latest_handshake() > 0);
    let capture = Capture::start(&lab.trunk, lab.directory(), TRUNK);

    let (path, sha256) = lab.file("body", 2_000_000);
    let download = counter.download(&format!("http://{SHARED_GLOBAL}/files/body"));
    assert_eq!((download.sha256, download.connections), (sha256.clone(), 1));
    let _ = counter.upload(&path, &format!("http://{SHARED_GLOBAL}/upload/body"));
    assert_eq!(netns_tests::topology::sha256(&town.servers.uploaded("body")), sha256);
    assert_eq!(counter.ping(SHARED_GLOBAL, 1412), Ping::Answered);
    let answer = counter.query((SHARED_GLOBAL, 53), "who?").expect("an answer");
    assert_eq!(answer, format!("who?{}", canary::mynumber("131016-chiyoda")));
    let report = town.iperf3(1, &[]);
    assert!(report["end"]["sum_received"]["bytes"].as_f64().expect("bytes") > 1e6, "{report}");

    let captured = capture.stop();
    captured.assert_checksums();
    assert_eq!(captured.circuits().into_iter().collect::<Vec<_>>(), [Some(town.plan.vlan)]);
    assert_eq!(canaries(&captured.frames).into_iter().collect::<Vec<_>>(), [canary::mynumber("131016-chiyoda")]);
    assert_eq!((lab.trunk_counts().unfinished_checksums, lab.trunk_counts().malformed), (0, 0));
}

#[test]
fn ipsec_crosses_the_laboratory_when_a_second_charon_stands_in_for_the_relay() {
    let lab = Lab::new(vec![Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec()]);
    let _linux = LinuxRelay::start(&lab);
    let town = &lab.towns[0];
    town.router.call_relay();
    let sas = town.strongswan().sas();
    assert!(sas.is_up(), "{}", sas.text());
    assert_eq!((sas.values("encr-alg"), sas.values("dh-group")), (vec!["AES_GCM_16", "AES_GCM_16"], vec!["ECP_384"]));

    let (_, sha256) = lab.file("body", 2_000_000);
    let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
    assert_eq!((download.sha256, download.connections), (sha256, 1));
    let answer = town.counter().query((SHARED_GLOBAL, 53), "who?").expect("an answer");
    assert_eq!(answer, format!("who?{}", canary::mynumber("131016-chiyoda")));

    town.strongswan().rekey_child();
    town.strongswan().rekey_ike();
    let rekeyed = || town.strongswan().sas().values("spi-in").first() != sas.values("spi-in").first();
    wait_until("a new pair of SAs", Duration::from_secs(5), rekeyed);
    assert!(town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok());
    town.strongswan().hang_up();
    wait_until("nothing stands", Duration::from_secs(5), || town.strongswan().sas().is_empty());
    assert_eq!(town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")), Err(28), "no way around the tunnel");
}

/// wireguard-go or charon, a tag splitter and nftables: one tenant's way through Linux.
struct LinuxRelay {
    _tunnel: Tunnel,
    _splitter: Splitter,
}

/// The relay's end of the line.
enum Tunnel {
    WireGuard { socket: PathBuf, _wireguard: Running },
    Ipsec(#[expect(dead_code, reason = "it runs until it is dropped")] StrongSwan),
}

impl LinuxRelay {
    fn start(lab: &Lab) -> Self {
        let (relay, plan) = (&lab.relay, &lab.towns[0].plan);
        ip(relay, &format!("address add {RELAY}/24 dev {ACCESS_PORT}"));
        // Linux would solicit IPv6 routers on the trunk; the relay must not, and other tests see to that.
        Links::of(relay).and_then(|links| links.ipv6_off(CLOUD_PORT)).expect("IPv6 off");
        let _tunnel = if plan.ipsec.is_some() { Self::ipsec(lab, plan) } else { Self::wireguard(lab, plan) };
        cable(relay, "near", relay, "vlan", 1500);
        let splitter = Splitter::start(relay, CLOUD_PORT, &[(plan.vlan, "near")], Box::new(|_| ())).expect("a splitter");
        ip(relay, &format!("address add {RELAY_ON_VLAN}/30 dev vlan"));
        ip(relay, &format!("route add 10.10.0.0/16 via {CLOUD_GATEWAY}"));
        forward(relay);
        Self { _tunnel, _splitter: splitter }
    }

    fn ipsec(lab: &Lab, plan: &Municipality) -> Tunnel {
        for own in ["203.0.113.1/32", "10.10.4.1/32"] {
            ip(&lab.relay, &format!("address add {own} dev lo"));
        }
        let swan = StrongSwan::start(&lab.relay, lab.directory(), "relay");
        swan.configure(&Connection::of(plan).mirrored());
        Tunnel::Ipsec(swan)
    }

    fn wireguard(lab: &Lab, plan: &Municipality) -> Tunnel {
        let interface = format!("wg{}relay", std::process::id());
        let wireguard = Running::start(&lab.relay, lab.directory(), "wireguard-go-relay", "wireguard-go", &["-f", &interface]);
        let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
        wait_until("wireguard-go's control socket", Duration::from_secs(10), || socket.exists());
        let configuration = lab.directory().join("relay-wireguard.conf");
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {LISTEN}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}, {}\n",
            lab.relay_keys.private, plan.keys.public, plan.mynumber, plan.lgwan_connected
        );
        write_secret(&configuration, &text);
        must(&lab.relay, "wg", &["setconf", &interface, configuration.to_str().expect("a path of text")]);
        ip(&lab.relay, &format!("link set {interface} mtu {INNER_MTU} up"));
        ip(&lab.relay, &format!("route add 198.51.100.0/24 dev {interface}"));
        Tunnel::WireGuard { socket, _wireguard: wireguard }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Self::WireGuard { socket, .. } = self {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn forward(relay: &Namespace) {
    relay.set_sysctl("net/ipv4/ip_forward", "1").expect("forwarding on");
    let rules = format!(
        "table ip nat {{\n  chain before {{ type nat hook prerouting priority -100; ip daddr {SHARED_GLOBAL} dnat to {RESIDENTS}; }}\n\
         \x20 chain after {{ type nat hook postrouting priority 100; oif \"vlan\" snat to 10.254.1.8; }}\n}}\n"
    );
    must(relay, "nft", &[&rules]);
}
