//! Sources, pools and what else the relay answers for on an attachment.

use super::fixture::{NOTHING, problems_after};

const RELAY: &str = "relay.yaml";
const CHIYODA: &str = "tenants/chiyoda.yaml";
const CHUO: &str = "tenants/chuo.yaml";

#[test]
fn a_class_whose_source_is_neither_translated_nor_kept() {
    let found = problems_after(&[(CHIYODA, "  lgwan-connected: {static: {198.51.100.25: 10.254.1.20}}\n", "")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:7:3 office.lgwan-connected: the source of class `lgwan-connected` is neither translated nor kept"]
    );
}

#[test]
fn a_source_of_a_class_that_the_tenant_lacks() {
    let found = problems_after(&[(CHUO, "{napt: [10.254.1.8/30]}", "{napt: [10.254.1.8/30]}, lgwan-connected: keep")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:45 source.lgwan-connected: the tenant has no class `lgwan-connected`"]);
}

#[test]
fn a_source_of_two_kinds() {
    let found = problems_after(&[(CHUO, "{napt: [10.254.1.8/30]}", "{napt: [10.254.1.8/30], keep: true}")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:20 source.mynumber: names 2 kinds of translation; exactly one is needed"]);
}

#[test]
fn a_source_of_no_kind() {
    let found = problems_after(&[(CHUO, "{napt: [10.254.1.8/30]}", "{}")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:20 source.mynumber: names 0 kinds of translation; exactly one is needed"]);
}

#[test]
fn a_source_for_a_cloud_that_is_not_there() {
    let found = problems_after(&[(CHUO, "{napt: [10.254.1.8/30]}", "{cloud: oci, napt: [10.254.1.8/30]}")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:28 source.mynumber.cloud: there is no cloud `oci`"]);
}

#[test]
fn two_sources_of_one_class_on_one_cloud() {
    let found = problems_after(&[(CHUO, "{napt: [10.254.1.8/30]}", "[{napt: [10.254.1.8/30]}, {napt: [10.254.1.12/30]}]")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:46 source.mynumber[1]: class `mynumber` has a source on this cloud already"]);
}

#[test]
fn a_service_on_a_cloud_for_which_its_class_has_no_source() {
    let found = problems_after(&[
        (RELAY, "ens5}", "ens5}\n  oci: {interface: ens6}"),
        (CHUO, "clouds: {", "clouds: {oci: {port: oci, vlan: 5, address: 10.9.0.2/30, gateway: 10.9.0.1}, "),
        (CHUO, "class: mynumber, g", "class: mynumber, cloud: oci, g"),
        (CHUO, "{napt:", "{cloud: aws, napt:"),
    ]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:25 services[0].class: the source of class `mynumber` is neither translated nor kept on cloud `oci`"]
    );
}

#[test]
fn rules_that_name_no_cloud_where_there_are_two() {
    let found = problems_after(&[
        (RELAY, "ens5}", "ens5}\n  oci: {interface: ens6}"),
        (CHUO, "clouds: {", "clouds: {oci: {port: oci, vlan: 5, address: 10.9.0.2/30, gateway: 10.9.0.1}, "),
    ]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:8:5 services[0]: names no cloud, and the tenant has 2",
            "error: tenants/chuo.yaml:9:20 source.mynumber: names no cloud, and the tenant has 2"
        ]
    );
}

#[test]
fn a_pool_that_holds_the_relays_own_address() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [10.254.1.2]")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:9:28 source.mynumber.napt[0]: the napt pool 10.254.1.2 holds 10.254.1.2, the relay's own address of the VLAN"
        ]
    );
}

#[test]
fn a_pool_that_holds_the_gateway() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [10.254.1.1]")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:9:28 source.mynumber.napt[0]: the napt pool 10.254.1.1 holds 10.254.1.1, the gateway of the VLAN"]
    );
}

#[test]
fn a_pool_that_holds_the_vlans_broadcast_address() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [10.254.1.6/31]")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:9:28 source.mynumber.napt[0]: the napt pool 10.254.1.6/31 holds 10.254.1.7, the network or broadcast address of the VLAN"
        ]
    );
}

#[test]
fn pool_addresses_inside_the_vlans_subnet_that_nobody_has() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [10.254.1.4/31]")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn a_static_target_that_is_the_gateway() {
    let found = problems_after(&[(CHIYODA, "25: 10.254.1.20", "25: 10.254.1.1")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:45 source.lgwan-connected.static[\"198.51.100.25\"]: the static target 10.254.1.1 holds 10.254.1.1, the gateway of the VLAN"
        ]
    );
}

#[test]
fn a_callback_to_the_relays_own_address() {
    let found = problems_after(&[(CHIYODA, "to: 10.254.1.30", "to: 10.254.1.2")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:18:75 callbacks[0].to: the callback's `to` 10.254.1.2 holds 10.254.1.2, the relay's own address of the VLAN"
        ]
    );
}

#[test]
fn a_pool_that_is_another_classs_static_target() {
    let found = problems_after(&[(CHIYODA, "25: 10.254.1.20", "25: 10.254.1.9")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:45 source.lgwan-connected.static[\"198.51.100.25\"]: the static target 10.254.1.9 overlaps the napt pool 10.254.1.8/30 of class `mynumber`"
        ]
    );
}

#[test]
fn a_callback_to_another_classs_pool() {
    let found = problems_after(&[(CHIYODA, "to: 10.254.1.30", "to: 10.254.1.20")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:18:75 callbacks[0].to: the callback's `to` 10.254.1.20 overlaps the static target 10.254.1.20 of class `lgwan-connected`"
        ]
    );
}

#[test]
fn a_callback_to_its_own_classs_pool() {
    let found = problems_after(&[(CHIYODA, "to: 10.254.1.30", "to: 10.254.1.10")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:18:75 callbacks[0].to: the callback's `to` 10.254.1.10 overlaps the napt pool 10.254.1.8/30"]
    );
}

#[test]
fn a_pool_that_is_public() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [203.0.113.40/30]")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:28 source.mynumber.napt[0]: 203.0.113.40/30 is not a private address"]);
}

#[test]
fn a_pool_larger_than_anybody_needs() {
    let found = problems_after(&[(CHUO, "napt: [10.254.1.8/30]", "napt: [10.128.0.0/16]")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:9:20 source.mynumber: the pool has 65536 addresses; at most 1024 are allowed"]);
}

#[test]
fn a_static_target_of_another_length() {
    let found = problems_after(&[(CHIYODA, "198.51.100.25: 10.254.1.20", "198.51.100.24/30: 10.254.1.16/29")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:48 source.lgwan-connected.static[\"198.51.100.24/30\"]: 198.51.100.24/30 and 10.254.1.16/29 differ in length"
        ]
    );
}

#[test]
fn a_static_entry_for_a_host_of_another_class() {
    let found = problems_after(&[(CHIYODA, "198.51.100.25: 10.254.1.20", "198.51.100.17: 10.254.1.20")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:30 source.lgwan-connected.static[\"198.51.100.17\"]: 198.51.100.17 is no office address of class `lgwan-connected`"
        ]
    );
}

#[test]
fn two_static_entries_for_one_host() {
    let found = problems_after(&[(CHIYODA, "198.51.100.25: 10.254.1.20", "198.51.100.24/30: 10.254.1.20/30, 198.51.100.25: 10.254.1.24")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:64 source.lgwan-connected.static[\"198.51.100.25\"]: 198.51.100.25 overlaps 198.51.100.24/30, which has a target already"
        ]
    );
}

#[test]
fn kept_office_addresses_that_hold_a_pool() {
    let found =
        problems_after(&[(CHIYODA, "[198.51.100.24/29]", "[10.254.1.8/29]"), (CHIYODA, "{static: {198.51.100.25: 10.254.1.20}}", "keep")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:16:20 source.lgwan-connected: the kept office prefix 10.254.1.8/29 overlaps the napt pool 10.254.1.8/30 of class `mynumber`"
        ]
    );
}

#[test]
fn a_hairpin_to_anything_but_the_pool_of_its_own_class() {
    let found = problems_after(&[(CHUO, "private: 10.10.0.10", "private: 10.254.1.9, hairpin: true")]);
    assert_eq!(found, NOTHING);
    let found = problems_after(&[(CHUO, "private: 10.10.0.10", "private: 10.10.0.10, hairpin: true")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:87 services[0].hairpin: 10.10.0.10 is not in a `napt` pool of class `mynumber` on this cloud"]
    );
    let found = problems_after(&[(CHIYODA, "private: [10.10.4.0/24]", "private: [10.254.1.8/30], hairpin: true")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:13:77 services[2].hairpin: 10.254.1.8/30 is not in a `napt` pool of class `lgwan-connected` on this cloud"
        ]
    );
}

#[test]
fn a_service_at_an_address_of_the_pool() {
    let found = problems_after(&[(CHUO, "private: 10.10.0.10", "private: 10.254.1.9")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:66 services[0].private: the service's address 10.254.1.9 overlaps the napt pool 10.254.1.8/30"]
    );
}

#[test]
fn a_service_that_holds_the_relays_own_address() {
    let found = problems_after(&[(CHIYODA, "[10.10.4.0/24]", "[10.254.0.0/16]")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:13:52 services[2].private[0]: the service's address 10.254.0.0/16 holds the relay's own address on the VLAN"
        ]
    );
}

#[test]
fn a_caller_at_an_address_of_a_callback() {
    let found = problems_after(&[(CHIYODA, "from: [10.10.0.20]", "from: [10.254.1.30]")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:18:40 callbacks[0].from[0]: the caller's address 10.254.1.30 overlaps the callback's `to` 10.254.1.30"
        ]
    );
}
