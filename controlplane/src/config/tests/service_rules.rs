//! Services and callbacks.

use super::fixture::{NOTHING, problems_after};

const RELAY: &str = "relay.yaml";
const CHIYODA: &str = "tenants/chiyoda.yaml";
const CHUO: &str = "tenants/chuo.yaml";

#[test]
fn a_service_of_a_class_that_the_tenant_lacks() {
    let found = problems_after(&[(CHUO, "class: mynumber", "class: lgwan-connected")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:25 services[0].class: the tenant has no class `lgwan-connected`"]);
}

#[test]
fn a_service_on_a_cloud_that_is_not_there() {
    let found = problems_after(&[(CHUO, "class: mynumber, g", "class: mynumber, cloud: asw, g")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:42 services[0].cloud: there is no cloud `asw`"]);
}

#[test]
fn a_global_outside_shared_addresses() {
    let found = problems_after(&[(CHUO, "global: 203.0.113.10", "global: 203.0.113.64")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:43 services[0].global: 203.0.113.64 is outside shared_addresses"]);
}

#[test]
fn a_global_where_the_relay_shares_none() {
    let found = problems_after(&[
        (RELAY, "shared_addresses: [203.0.113.0/26]\n", ""),
        (CHIYODA, "global: 203.0.113.10, private: 10.10.0.10", "private: 10.10.0.10"),
        (CHIYODA, ", global: 203.0.113.10, private: 10.10.0.11, allow: ['tcp/10443:443']", ", private: 10.10.0.11, allow: [tcp/443]"),
        (CHIYODA, "as: 203.0.113.20, ", ""),
    ]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:43 services[0].global: 203.0.113.10 is outside shared_addresses: the relay file names none"]
    );
}

#[test]
fn a_global_in_conventional_lgwan() {
    let found = problems_after(&[
        (RELAY, "[203.0.113.0/26]", "[203.0.113.0/26, 192.0.2.0/25]"),
        (RELAY, "192.0.2.128/25", "192.0.2.64/26"),
        (CHUO, "global: 203.0.113.10", "global: 192.0.2.70"),
    ]);
    assert_eq!(
        found,
        [
            "error: relay.yaml:7:36 shared_addresses[1]: 192.0.2.0/25 overlaps conventional_lgwan 192.0.2.64/26",
            "error: tenants/chuo.yaml:8:43 services[0].global: 192.0.2.70 lies in conventional_lgwan 192.0.2.64/26"
        ]
    );
}

#[test]
fn a_kept_destination_in_conventional_lgwan() {
    let found = problems_after(&[(RELAY, "[192.0.2.128/25]", "[10.10.4.128/25]")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:13:52 services[2].private[0]: 10.10.4.0/24 lies in conventional_lgwan 10.10.4.128/25"]);
}

#[test]
fn a_global_that_is_an_office_address() {
    let found = problems_after(&[(CHUO, "[198.51.100.16/29]", "[198.51.100.16/29, 203.0.113.8/30]")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:43 services[0].global: 203.0.113.10 is one of the tenant's own office addresses 203.0.113.8/30"]
    );
}

#[test]
fn a_public_private_address() {
    let found = problems_after(&[(CHUO, "private: 10.10.0.10", "private: 198.18.0.1")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:66 services[0].private: 198.18.0.1 is not a private address"]);
}

#[test]
fn carrier_grade_shared_space_is_private() {
    let found = problems_after(&[(CHUO, "private: 10.10.0.10", "private: 100.64.0.10")]);
    assert_eq!(found, NOTHING);
}

#[test]
fn global_and_private_of_different_lengths() {
    let found = problems_after(&[(CHUO, "global: 203.0.113.10, private: 10.10.0.10", "global: 203.0.113.8/29, private: 10.10.0.8/30")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:68 services[0].private: 203.0.113.8/29 and 10.10.0.8/30 differ in length"]);
}

#[test]
fn more_globals_than_private_addresses() {
    let found = problems_after(&[(CHUO, "global: 203.0.113.10, private", "global: [203.0.113.10, 203.0.113.11], private")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:82 services[0].private: 1 private prefixes stand against 2 global ones"]);
}

#[test]
fn a_translated_port_where_the_destination_is_kept() {
    let found = problems_after(&[(CHIYODA, "allow: [tcp/443]", "allow: ['tcp/10443:443']")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:13:75 services[2].allow[0]: translates a port of a service that keeps its destination"]
    );
}

#[test]
fn two_services_at_one_global_and_port() {
    let found = problems_after(&[(CHIYODA, "'tcp/10443:443'", "tcp/400-500")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:12:83 services[1].allow[0]: tcp/400-500 of 203.0.113.10 is open to class `mynumber` already"]
    );
}

#[test]
fn one_service_that_opens_a_port_twice() {
    let found = problems_after(&[(CHUO, "[tcp/443, icmp]", "[tcp/443, tcp/443]")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:95 services[0].allow[1]: tcp/443 of 203.0.113.10 is open to class `mynumber` already"]);
}

#[test]
fn two_services_at_one_global_and_port_at_different_times() {
    let found = problems_after(&[
        (CHIYODA, "allow: ['tcp/10443:443']}", "allow: [tcp/443], valid_from: 2030-01-01}"),
        (CHIYODA, "icmp]}", "icmp], valid_until: 2029-12-31}"),
    ]);
    assert_eq!(found, NOTHING);
}

#[test]
fn two_services_at_one_global_and_port_on_one_shared_day() {
    let found = problems_after(&[
        (CHIYODA, "allow: ['tcp/10443:443']}", "allow: [tcp/443], valid_from: 2030-01-01}"),
        (CHIYODA, "icmp]}", "icmp], valid_until: 2030-01-01}"),
    ]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:12:83 services[1].allow[0]: tcp/443 of 203.0.113.10 is open to class `mynumber` already"]
    );
}

#[test]
fn two_globals_whose_replies_could_not_be_told_apart() {
    let found = problems_after(&[(CHIYODA, "203.0.113.10, private: 10.10.0.11", "203.0.113.11, private: 10.10.0.10")]);
    assert_eq!(
        found,
        [
            "error: tenants/chiyoda.yaml:12:83 services[1].allow[0]: leads to the same private address and port as tcp/443 of 203.0.113.10: their replies could not be told apart"
        ]
    );
}

#[test]
fn two_ports_whose_replies_could_not_be_told_apart() {
    let found = problems_after(&[(CHUO, "[tcp/443, icmp]", "[tcp/443, 'tcp/8443:443']")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:8:95 services[0].allow[1]: leads to the same private address and port as tcp/443 of 203.0.113.10: their replies could not be told apart"
        ]
    );
}

#[test]
fn a_rule_that_ends_before_it_begins() {
    let found = problems_after(&[(CHUO, "icmp]}", "icmp], valid_from: 2026-12-02, valid_until: 2026-12-01}")]);
    assert_eq!(found, ["error: tenants/chuo.yaml:8:139 services[0].valid_until: valid_until 2026-12-01 is before valid_from 2026-12-02"]);
}

#[test]
fn a_day_that_is_not_in_the_calendar() {
    let found = problems_after(&[(CHUO, "icmp]}", "icmp], valid_from: 2027-02-29}")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:8:114 services[0].valid_from: expected a date such as 2026-12-01 (in Japan, inclusive), found `2027-02-29`"
        ]
    );
}

#[test]
fn entries_of_allow_that_are_none() {
    let found = problems_after(&[(
        CHUO,
        "[tcp/443, icmp]",
        "[443, https, tcp/0, tcp/90-80, tcp/65536, sctp/80, 'tcp/1-2:3', '8080/tcp', tcp/+80]",
    )]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:8:86 services[0].allow[0]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found the number 443",
            "error: tenants/chuo.yaml:8:91 services[0].allow[1]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `https`",
            "error: tenants/chuo.yaml:8:98 services[0].allow[2]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `tcp/0`",
            "error: tenants/chuo.yaml:8:105 services[0].allow[3]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `tcp/90-80`",
            "error: tenants/chuo.yaml:8:116 services[0].allow[4]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `tcp/65536`",
            "error: tenants/chuo.yaml:8:127 services[0].allow[5]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `sctp/80`",
            "error: tenants/chuo.yaml:8:136 services[0].allow[6]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `tcp/1-2:3`",
            "error: tenants/chuo.yaml:8:149 services[0].allow[7]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `8080/tcp`",
            "error: tenants/chuo.yaml:8:161 services[0].allow[8]: expected tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp, found `tcp/+80`"
        ]
    );
}

#[test]
fn filterings_that_are_none() {
    let found = problems_after(&[(CHUO, "icmp]}", "icmp], filtering: address-depended}"), (CHUO, "source:", "filtering: 1\nsource:")]);
    assert_eq!(
        found,
        [
            "error: tenants/chuo.yaml:8:113 services[0].filtering: unknown filtering `address-depended`",
            "error: tenants/chuo.yaml:9:12 filtering: expected a filtering, found the number 1"
        ]
    );
}

#[test]
fn a_filtering_where_the_source_is_no_pool() {
    let found = problems_after(&[(CHUO, "icmp]}", "icmp], filtering: endpoint-independent}"), (CHUO, "{napt: [10.254.1.8/30]}", "keep")]);
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:8:113 services[0].filtering: filters nothing: the source of class `mynumber` is no `napt` pool"]
    );
    let found = problems_after(&[(CHUO, "source:", "filtering: endpoint-independent\nsource:"), (CHUO, "{napt: [10.254.1.8/30]}", "keep")]);
    assert_eq!(found, NOTHING, "the tenant's default speaks of the pools that there are");
}

#[test]
fn two_rules_of_one_name() {
    let found = problems_after(&[(CHIYODA, "name: 帳票", "name: 税")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:18:12 callbacks[0].name: the name `税` is taken by another service or callback"]);
}

#[test]
fn a_callback_to_a_host_of_another_class() {
    let found = problems_after(&[(CHIYODA, "office: 198.51.100.17", "office: 198.51.100.25")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:18:96 callbacks[0].office: 198.51.100.25 is no office address of class `mynumber`"]);
}

#[test]
fn a_callback_of_a_class_that_the_tenant_lacks() {
    let found = problems_after(&[(
        CHUO,
        "source:",
        "callbacks:\n  - {name: p, class: lgwan-connected, from: 10.10.0.20, office: 198.51.100.17, allow: tcp/515}\nsource:",
    )]);
    assert_eq!(found, ["error: tenants/chuo.yaml:10:22 callbacks[0].class: the tenant has no class `lgwan-connected`"]);
}

#[test]
fn a_callback_seen_as_an_address_outside_shared_addresses() {
    let found = problems_after(&[(CHIYODA, "as: 203.0.113.20", "as: 192.0.2.7")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:18:57 callbacks[0].as: 192.0.2.7 is outside shared_addresses"]);
}

#[test]
fn a_callback_seen_as_a_services_destination() {
    let found = problems_after(&[(CHIYODA, "as: 203.0.113.20", "as: 203.0.113.10")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:18:57 callbacks[0].as: 203.0.113.10 is the destination of a service"]);
}

#[test]
fn a_callback_to_a_services_address() {
    let found = problems_after(&[(CHIYODA, "to: 10.254.1.30", "to: 10.10.0.10")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:11:66 services[0].private: the service's address 10.10.0.10 overlaps the callback's `to` 10.10.0.10"]
    );
}

#[test]
fn a_callback_from_the_internet() {
    let found = problems_after(&[(CHIYODA, "from: [10.10.0.20]", "from: [8.8.8.8]")]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:18:40 callbacks[0].from[0]: 8.8.8.8 is not a private address"]);
}

#[test]
fn a_kept_caller_that_is_a_whole_subnet() {
    let found = problems_after(&[(CHIYODA, "from: [10.10.0.20], as: 203.0.113.20", "from: [10.10.0.16/28]")]);
    assert_eq!(
        found,
        ["error: tenants/chiyoda.yaml:18:40 callbacks[0].from[0]: 10.10.0.16/28 is more than one host, and the callback has no `as`"]
    );
}

#[test]
fn two_callbacks_at_one_address_and_port() {
    let found = problems_after(&[(
        CHIYODA,
        "allow: [tcp/515]}",
        "allow: [tcp/515]}\n  - {name: 連携, class: mynumber, from: 10.10.0.0/24, as: 203.0.113.20, to: 10.254.1.30, office: 198.51.100.18, allow: [tcp/515]}",
    )]);
    assert_eq!(found, ["error: tenants/chiyoda.yaml:19:119 callbacks[1].allow[0]: tcp at 10.254.1.30 leads to an office host already"]);
}

#[test]
fn two_callbacks_at_one_address_told_apart_by_port() {
    let found = problems_after(&[(
        CHIYODA,
        "allow: [tcp/515]}",
        "allow: [tcp/515]}\n  - {name: 連携, class: mynumber, from: 10.10.0.0/24, as: 203.0.113.20, to: 10.254.1.30, office: 198.51.100.18, allow: [tcp/21]}",
    )]);
    assert_eq!(found, NOTHING);
}
