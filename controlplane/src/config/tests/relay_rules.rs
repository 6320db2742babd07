//! The relay file by itself.

use super::fixture::{NOTHING, problems_after};

const RELAY: &str = "relay.yaml";

#[test]
fn an_endpoint_on_a_port_that_is_not_there() {
    let found = problems_after(&[(RELAY, "port: access, w", "port: acess, w")]);
    assert_eq!(found, ["error: relay.yaml:6:27 endpoints[0].port: there is no port `acess`"]);
}

#[test]
fn an_endpoint_on_a_port_without_an_address() {
    let found = problems_after(&[(RELAY, ", address: 192.0.2.1/24, gateway: 192.0.2.254", "")]);
    assert_eq!(found, ["error: relay.yaml:6:27 endpoints[0].port: port `access` has no address for tunnels to end at"]);
}

#[test]
fn two_endpoints_on_one_udp_port() {
    let found = problems_after(&[(
        RELAY,
        "shared_addresses",
        "  - {name: tokyo-b, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}\nshared_addresses",
    )]);
    assert_eq!(found, ["error: relay.yaml:7:55 endpoints[1].wireguard.listen: UDP port 51820 is taken on port `access`"]);
}

#[test]
fn two_endpoints_of_one_name() {
    let found = problems_after(&[(
        RELAY,
        "shared_addresses",
        "  - {name: tokyo-a, port: access, wireguard: {listen: 51821, private_key_file: keys/relay.key}}\nshared_addresses",
    )]);
    assert_eq!(found, ["error: relay.yaml:7:12 endpoints[1].name: the name `tokyo-a` is taken by another endpoint"]);
}

#[test]
fn one_interface_for_two_ports() {
    let found = problems_after(&[(RELAY, "ens5", "ens4")]);
    assert_eq!(found, ["error: relay.yaml:4:20 ports.aws.interface: the interface ens4 is taken by port `access`"]);
}

#[test]
fn an_interface_name_that_the_kernel_refuses() {
    let found = problems_after(&[(RELAY, "ens5", "management-network")]);
    assert_eq!(
        found,
        [
            "error: relay.yaml:4:20 ports.aws.interface: expected the name of a network interface such as ens4 (at most 15 bytes), found `management-network`"
        ]
    );
}

#[test]
fn a_gateway_outside_the_ports_subnet() {
    let found = problems_after(&[(RELAY, "192.0.2.254", "192.0.3.254")]);
    assert_eq!(
        found,
        ["error: relay.yaml:3:61 ports.access.gateway: the gateway 192.0.3.254 is outside the subnet 192.0.2.0/24 of the relay's address"]
    );
}

#[test]
fn a_gateway_that_is_the_relay_itself() {
    let found = problems_after(&[(RELAY, "192.0.2.254", "192.0.2.1")]);
    assert_eq!(found, ["error: relay.yaml:3:61 ports.access.gateway: the gateway 192.0.2.1 is the relay's own address"]);
}

#[test]
fn a_gateway_without_an_address() {
    let found = problems_after(&[(RELAY, "{interface: ens5}", "{interface: ens5, gateway: 10.0.0.1}")]);
    assert_eq!(found, ["error: relay.yaml:4:35 ports.aws.gateway: a gateway without an address of the relay's own"]);
}

#[test]
fn an_address_that_is_the_subnets_broadcast() {
    let found = problems_after(&[(RELAY, "192.0.2.1/24", "192.0.2.255/24")]);
    assert_eq!(
        found,
        ["error: relay.yaml:3:38 ports.access.address: 192.0.2.255/24 is the network or broadcast address of its own subnet"]
    );
}

#[test]
fn an_address_without_its_prefix_length() {
    let found = problems_after(&[(RELAY, "192.0.2.1/24", "192.0.2.1")]);
    assert_eq!(
        found,
        [
            "error: relay.yaml:3:38 ports.access.address: expected an IPv4 address with its subnet's prefix length such as 192.0.2.1/24, found `192.0.2.1`"
        ]
    );
}

#[test]
fn an_mtu_that_cannot_carry_the_tunnel() {
    let found = problems_after(&[(RELAY, "192.0.2.254}", "192.0.2.254, mtu: 635}")]);
    assert_eq!(found, ["error: relay.yaml:3:79 ports.access.mtu: an MTU of 635 cannot carry the tunnels of endpoint `tokyo-a`"]);
}

#[test]
fn an_mtu_that_just_carries_the_tunnel() {
    let found = problems_after(&[(RELAY, "192.0.2.254}", "192.0.2.254, mtu: 636}")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn an_mtu_out_of_range() {
    let found = problems_after(&[(RELAY, "{interface: ens5}", "{interface: ens5, mtu: 100000}")]);
    assert_eq!(found, ["error: relay.yaml:4:31 ports.aws.mtu: 100000 is out of range: the MTU in bytes is 576 to 1770"]);
}

#[test]
fn an_unknown_driver() {
    let found = problems_after(&[(RELAY, "{interface: ens5}", "{interface: ens5, driver: xdp}")]);
    assert_eq!(found, ["error: relay.yaml:4:34 ports.aws.driver: unknown driver `xdp`"]);
}

#[test]
fn shared_addresses_inside_conventional_lgwan() {
    let found = problems_after(&[(RELAY, "[192.0.2.128/25]", "[203.0.113.32/27]")]);
    assert_eq!(found, ["error: relay.yaml:7:20 shared_addresses[0]: 203.0.113.0/26 overlaps conventional_lgwan 203.0.113.32/27"]);
}

#[test]
fn a_shared_block_with_host_bits() {
    let found = problems_after(&[(RELAY, "203.0.113.0/26", "203.0.113.1/26")]);
    assert_eq!(found, ["error: relay.yaml:7:20 shared_addresses[0]: 203.0.113.1/26 has bits set behind its prefix length"]);
}

#[test]
fn a_shared_block_of_multicast() {
    let found = problems_after(&[(RELAY, "[203.0.113.0/26]", "[203.0.113.0/26, 239.0.0.0/8]")]);
    assert_eq!(
        found,
        ["error: relay.yaml:7:36 shared_addresses[1]: 239.0.0.0/8 is or holds multicast (RFC 5771) addresses, which are never forwarded"]
    );
}

#[test]
fn every_address_there_is_as_shared_block() {
    let found = problems_after(&[(RELAY, "203.0.113.0/26", "0.0.0.0/0")]);
    assert_eq!(
        found,
        [
            "error: relay.yaml:7:20 shared_addresses[0]: 0.0.0.0/0 is or holds \"this network\" (RFC 1122) addresses, which are never forwarded"
        ]
    );
}

#[test]
fn a_metrics_address_without_a_port() {
    let found = problems_after(&[(RELAY, "tenants:", "metrics: {listen: 127.0.0.1}\ntenants:")]);
    assert_eq!(
        found,
        ["error: relay.yaml:9:19 metrics.listen: expected an address with a port such as \"127.0.0.1:9273\", found `127.0.0.1`"]
    );
}

#[test]
fn a_frame_count_out_of_range() {
    let found = problems_after(&[(RELAY, "tenants:", "frames: 10\ntenants:")]);
    assert_eq!(found, ["error: relay.yaml:9:9 frames: 10 is out of range: the number of 2 KiB frames is 1024 to 2097152"]);
}

#[test]
fn a_viewer_of_a_tenant_that_is_not_there() {
    let found = problems_after(&[(
        RELAY,
        "tenants:",
        "api: {socket: /run/s, viewers: [{name: a, uid: 1000, tenants: [131016-chioda]}]}\ntenants:",
    )]);
    assert_eq!(found, ["error: relay.yaml:9:64 api.viewers[0].tenants[0]: there is no tenant `131016-chioda`"]);
}

#[test]
fn a_viewer_with_a_role_and_tenants() {
    let found = problems_after(&[(
        RELAY,
        "tenants:",
        "api: {socket: /run/s, viewers: [{name: a, uid: 1000, role: auditor, tenants: [131024-chuo]}]}\ntenants:",
    )]);
    assert_eq!(found, ["error: relay.yaml:9:33 api.viewers[0]: a viewer has either a `role` or a list of `tenants`"]);
}

#[test]
fn a_viewer_that_may_see_nothing() {
    let found = problems_after(&[(RELAY, "tenants:", "api: {socket: /run/s, viewers: [{name: a, uid: 1000}]}\ntenants:")]);
    assert_eq!(found, ["error: relay.yaml:9:33 api.viewers[0]: a viewer has either a `role` or a list of `tenants`"]);
}

#[test]
fn two_viewers_with_one_user_and_one_name() {
    let found = problems_after(&[(
        RELAY,
        "tenants:",
        "api: {socket: /run/s, viewers: [{name: a, uid: 7, role: auditor}, {name: a, uid: 7, role: operator}]}\ntenants:",
    )]);
    assert_eq!(
        found,
        [
            "error: relay.yaml:9:74 api.viewers[1].name: the name `a` is taken by another viewer",
            "error: relay.yaml:9:82 api.viewers[1].uid: user 7 is another viewer already"
        ]
    );
}

#[test]
fn a_pattern_that_names_no_tenant_file() {
    let found = problems_after(&[(RELAY, "tenants/*.yaml", "tenant/*.yaml")]);
    assert_eq!(found, ["warning: relay.yaml:9:10 tenants: names no file: the relay has no tenants"]);
}

#[test]
fn a_relay_without_its_necessary_keys() {
    let found = problems_after(&[(RELAY, "relay: tokyo-1\n", ""), (RELAY, "tenants: tenants/*.yaml\n", "")]);
    assert_eq!(
        found,
        ["error: relay.yaml:1:1 relay: the key `relay` is missing", "error: relay.yaml:1:1 tenants: the key `tenants` is missing"]
    );
}

#[test]
fn a_name_that_no_metric_label_should_carry() {
    let found = problems_after(&[(RELAY, "relay: tokyo-1", "relay: 'tokyo 1'")]);
    assert_eq!(found, ["error: relay.yaml:1:8 relay: `tokyo 1` is not a name for commands and metrics"]);
}

#[test]
fn less_hardening_is_asked_for_by_name() {
    let found = problems_after(&[(RELAY, "shared_addresses", "hardening: 'off'\nshared_addresses")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("relay.yaml:7:12 hardening: ") && found[0].contains("required or best-effort"), "{found:?}");
    assert_eq!(problems_after(&[(RELAY, "shared_addresses", "hardening: best-effort\nshared_addresses")]), NOTHING);
}

#[test]
fn frames_that_leave_a_worker_nothing_to_work_with() {
    let found = problems_after(&[(RELAY, "shared_addresses", "workers: 2\nframes: 2047\nshared_addresses")]);
    assert_eq!(found, ["error: relay.yaml:8:9 frames: 2047 frames are too few for 2 workers"]);
    assert_eq!(problems_after(&[(RELAY, "shared_addresses", "workers: 2\nframes: 2048\nshared_addresses")]), NOTHING);
}
