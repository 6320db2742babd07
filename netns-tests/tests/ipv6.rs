//! IPv6: tunnels over it, the relay's own addresses beside Linux's neighbour discovery, and hosts that may not use it inside.

use std::time::Duration;

use controlplane::demo::Namespace;
use netns_tests::plan::{CLOUD_GATEWAY, LISTEN, Municipality, RELAY6, SHARED_GLOBAL};
use netns_tests::process::{ip, must, output, wait_until};
use netns_tests::relay::{Driver, Files, Relay};
use netns_tests::topology::{Lab, Town, sha256};
use netns_tests::traffic::Ping;

/// What the longer headers leave of 1,500 bytes.
const MTU_OVER_IPV6: u16 = 1420;
const ROUTER: &str = "2001:db8:c0::11";
const RELAY_ON_VLAN6: &str = "fd00:1::2";

/// Has the kernel speak IPv6 on an interface, under this address and at once.
fn speak_ipv6(namespace: &Namespace, interface: &str, address: &str) {
    must(namespace, "sysctl", &["-qw", &format!("net.ipv6.conf.{interface}.disable_ipv6=0")]);
    ip(namespace, &format!("-6 address add {address}/64 dev {interface} nodad"));
}

/// One municipality around a relay with IPv6 addresses, its tunnel up over IPv4.
fn relay_with_ipv6(driver: Driver) -> (Lab, Relay) {
    let lab = Lab::new(vec![Municipality::new("131016-chiyoda", "千代田区", 1)]);
    let files = Files::write(&lab, driver, 1500).with_ipv6();
    let plan = &lab.towns[0].plan;
    let gateway = format!("gateway: {CLOUD_GATEWAY}");
    files.put_text(&plan.tenant, &plan.yaml().replace(&gateway, &format!("{gateway}, address6: \"{RELAY_ON_VLAN6}/64\"")));
    let relay = Relay::start_with(&lab, files);
    let town = &lab.towns[0];
    town.wireguard().set_mtu(MTU_OVER_IPV6);
    town.router.call_relay();
    relay.wait_for_tunnels(1);
    speak_ipv6(&town.office, "wan0", ROUTER);
    (lab, relay)
}

fn set_endpoint(lab: &Lab, town: &Town, endpoint: &str) {
    must(&town.office, "wg", &["set", town.wireguard().interface(), "peer", &lab.relay_keys.public, "endpoint", endpoint]);
}

fn peer(relay: &Relay) -> String {
    relay.show("tunnels")[0]["peer"].as_str().unwrap_or_default().to_owned()
}

/// One ping of this many bytes; whether it was answered, and what was said.
fn ping6(namespace: &Namespace, destination: &str) -> (bool, String) {
    let output = output(namespace, Duration::from_secs(10), "ping", &["-6", "-n", "-c", "1", "-W", "3", destination]);
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn a_tunnel_moves_to_ipv6_and_carries_everything(driver: Driver) {
    let (lab, relay) = relay_with_ipv6(driver);
    let town = &lab.towns[0];
    let (answered, said) = ping6(&town.office, &RELAY6.to_string());
    assert!(answered, "the kernel finds the relay by neighbour discovery: {said}");
    set_endpoint(&lab, town, &format!("[{RELAY6}]:{LISTEN}"));
    wait_until("the relay follows to IPv6", Duration::from_secs(10), || {
        town.counter().query((SHARED_GLOBAL, 53), "who?").is_some() && peer(&relay).starts_with(&format!("[{ROUTER}]:"))
    });
    let (_, whole) = lab.file("body", 10_000_000);
    let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
    assert_eq!(sha256(&download.body), whole);
    assert_eq!(town.counter().ping(SHARED_GLOBAL, MTU_OVER_IPV6 - 28), Ping::Answered, "a full packet");
    // What the kernel tells routers about its groups (MLD) is for another address; nothing of the tunnel was refused.
    let lost = relay.port_drops();
    for reason in ["outer_malformed", "outer_fragment", "outer_protocol_unsupported", "no_listener", "nd_malformed", "nd_conflict"] {
        assert_eq!(lost.count(reason), 0, "{lost:?}");
    }
    // And back.
    set_endpoint(&lab, town, &format!("192.0.2.1:{LISTEN}"));
    wait_until("the relay follows to IPv4", Duration::from_secs(10), || {
        town.counter().query((SHARED_GLOBAL, 53), "who?").is_some() && peer(&relay).starts_with("192.0.2.11:")
    });
}

#[test]
fn a_tunnel_moves_to_ipv6_and_carries_everything_over_af_packet() {
    a_tunnel_moves_to_ipv6_and_carries_everything(Driver::AfPacket);
}

#[test]
fn a_tunnel_moves_to_ipv6_and_carries_everything_over_af_xdp() {
    a_tunnel_moves_to_ipv6_and_carries_everything(Driver::AfXdp);
}

#[test]
fn a_handshake_over_ipv6_brings_a_tunnel_up_that_nobody_ever_heard_over_ipv4() {
    let lab = Lab::new(vec![Municipality::new("131016-chiyoda", "千代田区", 1)]);
    let files = Files::write(&lab, Driver::AfPacket, 1500).with_ipv6();
    files.put(&lab.towns[0].plan);
    let relay = Relay::start_with(&lab, files);
    let town = &lab.towns[0];
    speak_ipv6(&town.office, "wan0", ROUTER);
    town.wireguard().set_mtu(MTU_OVER_IPV6);
    ip(&town.office, "address del 192.0.2.11/24 dev wan0");
    town.router.call_relay();
    set_endpoint(&lab, town, &format!("[{RELAY6}]:{LISTEN}"));
    wait_until("the tunnel is up", Duration::from_secs(20), || town.counter().query((SHARED_GLOBAL, 53), "who?").is_some());
    assert!(peer(&relay).starts_with(&format!("[{ROUTER}]:")));
    let neighbors = relay.show("neighbors");
    assert!(neighbors.iter().any(|row| row["address"] == ROUTER && row["state"] == "reachable"), "{neighbors:?}");
}

#[test]
fn an_office_host_with_ipv6_is_told_at_once_that_it_is_prohibited() {
    let (lab, relay) = relay_with_ipv6(Driver::AfPacket);
    let town = &lab.towns[0];
    let interface = town.wireguard().interface();
    must(&town.office, "wg", &["set", interface, "peer", &lab.relay_keys.public, "allowed-ips", "0.0.0.0/0,::/0"]);
    speak_ipv6(&town.office, interface, "fd00:5::17");
    ip(&town.office, &format!("-6 route add 2001:db8:5::/64 dev {interface} src fd00:5::17"));
    let drops = relay.drops_during(&town.plan.tenant, || {
        let (answered, said) = ping6(&town.office, "2001:db8:5::10");
        assert!(!answered && said.contains("Administratively prohibited"), "{said}");
    });
    // Beside the ping the kernel solicits routers and reports its groups.
    assert!(drops.count("ipv6_refused") >= 1, "{drops:?}");
    assert_eq!(drops.0.len(), 1, "{drops:?}");
    assert_eq!(town.counter().ping(SHARED_GLOBAL, 56), Ping::Answered);
}

#[test]
fn the_relays_address_on_a_vlan_is_found_by_the_clouds_kernel_and_forwards_nothing() {
    let (lab, relay) = relay_with_ipv6(Driver::AfXdp);
    let town = &lab.towns[0];
    speak_ipv6(&town.cloud, "eth0", "fd00:1::1");
    let (answered, said) = ping6(&town.cloud, RELAY_ON_VLAN6);
    assert!(answered, "{said}");
    ip(&town.cloud, &format!("-6 route add 2001:db8:5::/64 via {RELAY_ON_VLAN6}"));
    let before = relay.drops(&town.plan.tenant).count("ipv6_refused");
    let (answered, said) = ping6(&town.cloud, "2001:db8:5::17");
    assert!(!answered, "{said}");
    assert!(relay.drops(&town.plan.tenant).count("ipv6_refused") > before);
    assert_eq!(relay.drops(&town.plan.tenant).count("nd_conflict"), 0);
}
