//! Tenants' tunnels, classes and clouds, and what no two tenants may share.

use super::fixture::{NOTHING, problems_after};

const RELAY: &str = "relay.yaml";
const CHIYODA: &str = "tenants/chiyoda.yaml";
const CHUO: &str = "tenants/chuo.yaml";

#[test]
fn two_tenants_of_one_name() {
    let found = problems_after(&[(CHUO, "131024-chuo", "131016-chiyoda")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:1:9 tenant: the name `131016-chiyoda` is taken by another tenant"]);
}

#[test]
fn two_tenants_with_one_public_key() {
    let found = problems_after(&[(CHUO, "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", "cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8T8=")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:4:53 tunnels.main.wireguard.public_key: this public key is another tunnel's already"]);
}

#[test]
fn one_public_key_in_two_spellings_of_its_ignored_bit() {
    let found = problems_after(&[(CHUO, "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", "cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8b8=")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:4:53 tunnels.main.wireguard.public_key: this public key is another tunnel's already"]);
}

#[test]
fn two_tunnels_of_one_tenant_with_one_public_key() {
    let found = problems_after(&[(
        CHIYODA,
        "office:\n",
        "  spare: {endpoint: tokyo-a, wireguard: {public_key: cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8T8=}}\noffice:\n",
    )]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:5:54 tunnels.spare.wireguard.public_key: this public key is another tunnel's already"]);
}

#[test]
fn a_public_key_cut_short() {
    let found = problems_after(&[(CHUO, "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:4:53 tunnels.main.wireguard.public_key: is not a WireGuard public key: 43 characters, expected 44 of base64 that end in `=`"
        ]
    );
}

#[test]
fn a_public_key_of_zeros() {
    let found = problems_after(&[(CHUO, "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:4:53 tunnels.main.wireguard.public_key: is a point of low order: a tunnel with it would have no secret"]
    );
}

#[test]
fn the_relays_own_public_key_as_a_peer() {
    let found = problems_after(&[(CHUO, "cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:4:53 tunnels.main.wireguard.public_key: this is the relay's own public key"]);
}

#[test]
fn a_tunnel_to_an_endpoint_that_is_not_there() {
    let found = problems_after(&[(CHUO, "endpoint: tokyo-a", "endpoint: tokyo-b")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:4:20 tunnels.main.endpoint: there is no endpoint `tokyo-b`"]);
}

#[test]
fn a_tunnel_mtu_larger_than_the_port_carries() {
    let found = problems_after(&[(CHUO, "tokyo-a, w", "tokyo-a, mtu: 1441, w")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:4:34 tunnels.main.mtu: a tunnel MTU of 1441 does not fit the endpoint's port"]);
}

#[test]
fn a_tunnel_mtu_that_just_fits() {
    let found = problems_after(&[(CHUO, "tokyo-a, w", "tokyo-a, mtu: 1440, w")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn a_peer_at_the_relays_own_address() {
    let found = problems_after(&[(CHUO, "bhs=", "bhs=, endpoint_address: '192.0.2.1:51820'")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:4:117 tunnels.main.wireguard.endpoint_address: 192.0.2.1:51820 is the relay's own address"]
    );
}

#[test]
fn a_peer_at_a_loopback_address() {
    let found = problems_after(&[(CHUO, "bhs=", "bhs=, endpoint_address: '127.0.0.1:51820'")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:4:117 tunnels.main.wireguard.endpoint_address: 127.0.0.1 is or holds loopback (RFC 1122) addresses, which are never forwarded"
        ]
    );
}

#[test]
fn a_vlan_taken_twice_on_one_port() {
    let found = problems_after(&[(CHUO, "vlan: 2102", "vlan: 2101")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:6:33 clouds.aws.vlan: VLAN 2101 on port `aws` is taken"]);
}

#[test]
fn a_qinq_pair_taken_twice_on_one_port() {
    let found =
        problems_after(&[(CHIYODA, "vlan: 2101", "vlan: {outer: 100, inner: 7}"), (CHUO, "vlan: 2102", "vlan: {outer: 100, inner: 7}")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:6:33 clouds.aws.vlan: VLAN 100.7 on port `aws` is taken"]);
}

#[test]
fn one_inner_vlan_under_two_outer_ones() {
    let found =
        problems_after(&[(CHIYODA, "vlan: 2101", "vlan: {outer: 100, inner: 7}"), (CHUO, "vlan: 2102", "vlan: {outer: 101, inner: 7}")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn one_vlan_on_two_ports() {
    let found =
        problems_after(&[(RELAY, "ens5}", "ens5}\n  oci: {interface: ens6}"), (CHUO, "{port: aws, vlan: 2102", "{port: oci, vlan: 2101")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn vlan_ids_that_802_1q_reserves() {
    let found = problems_after(&[(CHIYODA, "vlan: 2101", "vlan: 0"), (CHUO, "vlan: 2102", "vlan: {outer: 4095, inner: 1}")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:9:26 clouds.aws.vlan: 0 is out of range: the VLAN id is 1 to 4094",
            "error: tenants/chuo.yaml:6:41 clouds.aws.vlan.outer: 4095 is out of range: the VLAN id is 1 to 4094"
        ]
    );
}

#[test]
fn a_cloud_on_a_port_that_is_not_there() {
    let found = problems_after(&[(CHUO, "port: aws", "port: azure")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:6:22 clouds.aws.port: there is no port `azure`"]);
}

#[test]
fn a_cloud_gateway_outside_the_vlans_subnet() {
    let found = problems_after(&[(CHUO, "gateway: 10.254.1.1", "gateway: 10.254.2.1")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:6:72 clouds.aws.gateway: the gateway 10.254.2.1 is outside the subnet 10.254.1.0/29 of the relay's address"
        ]
    );
}

#[test]
fn a_relay_address_that_is_the_vlans_network_address() {
    let found = problems_after(&[(CHUO, "10.254.1.2/29", "10.254.1.0/29")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:6:48 clouds.aws.address: 10.254.1.0/29 is the network or broadcast address of its own subnet"]
    );
}

#[test]
fn both_ends_of_a_31_are_addresses() {
    let found = problems_after(&[(CHUO, "10.254.1.2/29, gateway: 10.254.1.1", "10.254.1.2/31, gateway: 10.254.1.3")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn office_prefixes_that_two_classes_share() {
    let found = problems_after(&[(CHIYODA, "[198.51.100.24/29]", "[198.51.100.16/28]")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:7:21 office.lgwan-connected[0]: 198.51.100.16/28 overlaps 198.51.100.16/29 of class `mynumber`"]
    );
}

#[test]
fn an_unknown_class() {
    let found = problems_after(&[(CHIYODA, "  lgwan-connected: [", "  lgwan: [")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:7:3 office.lgwan: unknown class `lgwan`"]);
}

#[test]
fn a_loopback_office_prefix() {
    let found = problems_after(&[(CHUO, "[198.51.100.16/29]", "[198.51.100.16/29, 127.0.0.0/8]")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:5:39 office.mynumber[1]: 127.0.0.0/8 is or holds loopback (RFC 1122) addresses, which are never forwarded"
        ]
    );
}

#[test]
fn limits_out_of_range() {
    let found = problems_after(&[(CHUO, "source:", "limits: {sessions: 0, new_sessions_per_second: 5001}\nsource:")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:9:20 limits.sessions: 0 is out of range: the number of sessions is 1 to 200000",
            "error: tenants/chuo.yaml:9:48 limits.new_sessions_per_second: 5001 is out of range: the number of new sessions a second is 1 to 5000"
        ]
    );
    let found = problems_after(&[(CHUO, "source:", "limits: {sessions: 200001}\nsource:")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:20 limits.sessions: 200001 is out of range: the number of sessions is 1 to 200000"]);
    let found = problems_after(&[(CHUO, "source:", "limits: {ports: 0}\nsource:")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:17 limits.ports: 0 is out of range: the number of ports is 1 to 200000"]);
    let found = problems_after(&[(CHUO, "source:", "limits: {sessions: 200000, ports: 200000, new_sessions_per_second: 5000}\nsource:")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn rates_in_every_wrong_way() {
    let rate = |text: &str| problems_after(&[(CHUO, "source:", &format!("rate: {text}\nsource:"))]);
    let expected = "expected a rate such as 50Mbit (bit, kbit, Mbit or Gbit a second), found";
    let at = "error: tenants/chuo.yaml:9:";
    for text in
        ["{guaranteed: 50Mbit, ceiling: 500Mbit}", "{ceiling: 2Gbit}", "{guaranteed: 1500kbit}", "{guaranteed: 5Mbit, ceiling: 5000kbit}"]
    {
        assert_eq!(rate(text), NOTHING, "{text}");
    }
    assert_eq!(
        rate("{guaranteed: 50, ceiling: 5.5Gbit}"),
        [format!("{at}20 rate.guaranteed: {expected} the number 50"), format!("{at}33 rate.ceiling: {expected} `5.5Gbit`"),]
    );
    assert_eq!(
        rate("{guaranteed: 50 mbps, ceiling: 99kbit}"),
        [
            format!("{at}20 rate.guaranteed: {expected} `50 mbps`"),
            format!("{at}38 rate.ceiling: `99kbit` is out of range: a rate is 100kbit to 1000Gbit"),
        ]
    );
    assert_eq!(
        rate("{guaranteed: 2Gbit, ceiling: 500Mbit}"),
        [format!("{at}20 rate.guaranteed: the guaranteed 2Gbit are more than the ceiling of 500Mbit")]
    );
    assert_eq!(rate("{}"), [format!("{at}7 rate: names neither `guaranteed` nor `ceiling`")]);
    assert_eq!(rate("{guarantee: 5Mbit, ceiling: 5Mbit}"), [format!("{at}8 rate.guarantee: unknown key `guarantee`")]);
    assert_eq!(rate("50Mbit"), [format!("{at}7 rate: expected `rate` (a mapping of keys to values), found `50Mbit`")]);
}

#[test]
fn more_guaranteed_than_the_relay_carries() {
    let with = |capacity: &str| {
        problems_after(&[
            ("relay.yaml", "tenants:", &format!("capacity: {capacity}\ntenants:")),
            (CHUO, "source:", "rate: {guaranteed: 90Mbit}\nsource:"),
        ])
    };
    assert_eq!(with("100Mbit"), NOTHING, "90, and 10 for the one without");
    assert_eq!(
        with("99Mbit"),
        ["warning: relay.yaml:9:11 capacity: the tenants are guaranteed 100Mbit together, more than the relay carries"]
    );
}

#[test]
fn private_and_office_prefixes_of_two_tenants_may_overlap() {
    let found = problems_after(&[]);
    assert_eq!(found, NOTHING);
}
