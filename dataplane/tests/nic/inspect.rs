//! Looking at interfaces: everything there is to see of a veth pair, without changing it.

use dataplane::nic::inspect::{XdpFeatures, interface, interfaces, probe_af_xdp};
use dataplane::nic::{Driver, NicError};

use crate::support::{Station, in_own_network, output, sh, veth};

/// Everything that `ip` and `ethtool` show.
fn settings(name: &str) -> String {
    let settings = output(&format!("ip -details link show {name}; ip address show {name}; ethtool -k {name}; ethtool -l {name}"));
    // The carrier's timers count by themselves.
    settings.lines().filter(|line| !line.contains("valid_lft")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_veth_is_seen_as_it_is_and_left_as_it_was() {
    in_own_network("inspect::a_veth_is_seen_as_it_is_and_left_as_it_was", false, || {
        veth("near", "far");
        sh("ip link set near mtu 1600 up; ethtool -K near tso off; ip link add br0 type bridge");
        let before = settings("near");
        let facts = interface("near").expect("is there");
        assert_eq!((facts.name.as_str(), facts.mtu, facts.driver.as_deref()), ("near", 1600, Some("veth")));
        assert_eq!((facts.kind.as_deref(), facts.firmware.as_deref(), facts.rings), (Some("veth"), None, None));
        assert_eq!((facts.is_up, facts.is_running, facts.speed_mbit), (true, true, Some(10_000)));
        assert_eq!((facts.address, facts.route.as_deref(), facts.master.as_deref()), (None, None, None));
        assert_eq!((facts.listeners, facts.has_xdp_program), (0, false));
        let queues = facts.queues.expect("veth can be asked");
        let channels = output("ethtool -l near");
        let maximum = channels.lines().find_map(|line| line.strip_prefix("RX:")?.trim().parse().ok());
        assert_eq!((queues.receiving, queues.transmitting, Some(queues.most_receiving), queues.combined), (1, 1, maximum, false));
        assert!(!facts.is_on("tx-tcp-segmentation") && facts.is_on("tx-udp-segmentation") && facts.is_on("rx-vlan-hw-parse"));
        assert!(facts.feature("tx-tcp-segmentation").is_some_and(|feature| !feature.fixed));
        assert!(facts.feature("netns-local").is_none_or(|feature| feature.fixed), "{:?}", facts.features);
        assert!(facts.xdp.is_none_or(|xdp| xdp == XdpFeatures { native: true, zero_copy: false }), "{:?}", facts.xdp);
        assert_eq!(settings("near"), before);

        assert_eq!(interfaces().expect("a list"), ["far", "near", "br0"]);
        let missing = interface("nowhere").expect_err("no such interface");
        assert!(matches!(missing, NicError::Missing { .. }), "{missing}");
        let loopback = interface("lo").expect_err("no Ethernet");
        assert!(matches!(loopback, NicError::NotEthernet { .. }), "{loopback}");
    });
}

#[test]
fn who_uses_an_interface_is_seen() {
    in_own_network("inspect::who_uses_an_interface_is_seen", false, || {
        veth("near", "far");
        sh("ip link set near up; ip address add 192.0.2.1/24 dev near; ip link add br0 type bridge; ip link set far master br0");
        let near = interface("near").expect("is there");
        assert_eq!(near.address.map(|address| address.to_string()).as_deref(), Some("192.0.2.1"));
        assert_eq!(near.route.as_deref(), Some("192.0.2.0/24"));
        let far = interface("far").expect("is there");
        assert_eq!((far.master.as_deref(), far.listeners), (Some("br0"), 1), "a bridge receives everything");
    });
}

#[test]
fn af_xdp_is_tried_and_undone_and_a_running_relay_is_seen() {
    in_own_network("inspect::af_xdp_is_tried_and_undone_and_a_running_relay_is_seen", true, || {
        veth("near", "far");
        sh("ip link set near up");
        let before = settings("near");
        let probe = probe_af_xdp("near").expect("veth has AF_XDP");
        assert_eq!(probe.mode, "copy (native)");
        assert!(probe.reason.starts_with("no zero-copy"), "{}", probe.reason);
        assert_eq!(settings("near"), before);

        let station = Station::new("near", Driver::AfXdp);
        let facts = interface("near").expect("is there");
        assert!(facts.has_xdp_program && facts.listeners > 0, "{facts:?}");
        let refused = probe_af_xdp("near").expect_err("another program is attached");
        assert!(matches!(refused, NicError::Io { .. }), "{refused}");
        drop(station);
        sh("ip link set near up");
        assert!(!interface("near").expect("is there").has_xdp_program);
        assert_eq!(probe_af_xdp("near").expect("free again"), probe);
    });
}
