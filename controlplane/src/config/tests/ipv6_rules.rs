//! What the files may say of IPv6.

use super::super::Purpose;
use super::fixture::{Fixture, NOTHING};

const RELAY: &str = "relay.yaml";
const CHUO: &str = "tenants/chuo.yaml";

#[test]
fn ipv6_inside_can_only_be_refused_and_the_remedy_says_so() {
    let with = |value: &str| Fixture::new().edit(CHUO, "name: 中央区\n", &format!("name: 中央区\nipv6: {value}\n"));
    assert_eq!(with("refuse").problems(), NOTHING);
    for (value, found) in
        [("translate", "`translate`"), ("true", "the word true (true or false)"), ("6", "the number 6"), ("[refuse]", "a list")]
    {
        let message = format!("expected refuse, which is what happens without this key too, found {found}");
        assert_eq!(with(value).problems(), [format!("error: tenants/chuo.yaml:3:7 ipv6: {message}")]);
        let help = "write `ipv6: refuse` or leave the key out: IPv6 of hosts is not translated yet";
        assert!(with(value).load(Purpose::Check).problems[0].to_string().contains(help));
    }
}

/// The access port with more keys.
fn access(more: &str) -> Fixture {
    Fixture::new().edit(RELAY, "gateway: 192.0.2.254}", &format!("gateway: 192.0.2.254, {more}}}"))
}

#[test]
fn a_port_and_a_cloud_may_have_an_ipv6_address_beside_the_other_one() {
    for more in [
        "address6: '2001:db8::1/64'",
        "address6: '2001:db8::1/64', gateway6: 'fe80::1'",
        "address6: 'fd00::5/127', gateway6: 'fd00::4'",
        "address6: '2001:db8::/128'",
    ] {
        assert_eq!(access(more).problems(), NOTHING, "{more}");
    }
    let relay = access("address6: '2001:db8::1/64', gateway6: 'fe80::1'")
        .edit(CHUO, "gateway: 10.254.1.1}", "gateway: 10.254.1.1, address6: 'fd00:1::2/64'}")
        .load(Purpose::Check)
        .relay
        .expect("nothing is wrong");
    let port = &relay.ports[0];
    assert_eq!(port.address6.map(|address| address.to_string()).as_deref(), Some("2001:db8::1/64"));
    assert_eq!(port.gateway6.map(|gateway| gateway.to_string()).as_deref(), Some("fe80::1"));
    let chuo = relay.tenant("131024-chuo").expect("there");
    assert_eq!(chuo.attachments[0].address6.map(|address| address.to_string()).as_deref(), Some("fd00:1::2/64"));
}

#[test]
fn addresses_that_no_relay_can_have() {
    for (address, message) in [
        ("2001:db8::1", "expected an IPv6 address with its subnet's prefix length such as 2001:db8::1/64, found `2001:db8::1`"),
        ("192.0.2.1/24", "expected an IPv6 address with its subnet's prefix length such as 2001:db8::1/64, found `192.0.2.1/24`"),
        ("2001:db8::1/129", "expected an IPv6 address with its subnet's prefix length such as 2001:db8::1/64, found `2001:db8::1/129`"),
        ("2001:db8::1/0", "expected an IPv6 address with its subnet's prefix length such as 2001:db8::1/64, found `2001:db8::1/0`"),
        ("fe80::1/64", "fe80::1 is link-local: tunnels and other networks cannot reach it"),
        ("2001:db8::/64", "2001:db8::/64 is the anycast address of all routers of its own subnet"),
        ("::1/128", "::1 is unspecified, loopback or an IPv4-compatible address, which no host has on a wire"),
        ("::ffff:192.0.2.1/128", "::ffff:192.0.2.1 is an IPv4 address in the form of IPv6, which no host has on a wire"),
        ("ff02::1/128", "ff02::1 is multicast, which no host has on a wire"),
    ] {
        let found = access(&format!("address6: '{address}'")).problems();
        assert_eq!(found, [format!("error: relay.yaml:3:84 ports.access.address6: {message}")]);
    }
}

#[test]
fn gateways_that_lead_nowhere_and_addresses_that_stand_alone() {
    let with = |gateway: &str| access(&format!("address6: '2001:db8::1/64', gateway6: '{gateway}'")).problems();
    let place = "error: relay.yaml:3:112 ports.access.gateway6:";
    assert_eq!(with("2001:db8::1"), [format!("{place} the gateway 2001:db8::1 is the relay's own address")]);
    let outside = "the gateway 2001:db8:1::1 is outside the subnet 2001:db8::/64 of the relay's address";
    assert_eq!(with("2001:db8:1::1"), [format!("{place} {outside}")]);
    assert_eq!(with("ff02::2"), [format!("{place} ff02::2 is multicast, which no host has on a wire")]);
    assert_eq!(with("192.0.2.254"), [format!("{place} expected an IPv6 address such as fe80::1, found `192.0.2.254`")]);
    let alone = access("gateway6: 'fe80::1'").problems();
    assert_eq!(alone, ["error: relay.yaml:3:84 ports.access.gateway6: an IPv6 gateway without an IPv6 address of the relay's own"]);
    let without_ipv4 = Fixture::new().edit(RELAY, "{interface: ens5}", "{interface: ens5, address6: '2001:db8::1/64'}").problems();
    assert_eq!(without_ipv4, ["error: relay.yaml:4:36 ports.aws.address6: an IPv6 address on a port without an IPv4 one"]);
}

#[test]
fn a_router_with_an_ipv6_address_needs_a_port_with_one() {
    let with = |address: &str, fixture: Fixture| fixture.edit(CHUO, "bhs=", &format!("bhs=, endpoint_address: '{address}'")).problems();
    let place = "error: tenants/chuo.yaml:4:117 tunnels.main.wireguard.endpoint_address:";
    let both = || access("address6: '2001:db8::1/64'");
    assert_eq!(with("[2001:db8:7::7]:51820", both()), NOTHING);
    assert_eq!(with("198.51.100.7:51820", both()), NOTHING);
    let lonely = "[2001:db8:7::7]:51820 is an IPv6 address, and the endpoint's port has none";
    assert_eq!(with("[2001:db8:7::7]:51820", Fixture::new()), [format!("{place} {lonely}")]);
    assert_eq!(with("[2001:db8::1]:51820", both()), [format!("{place} [2001:db8::1]:51820 is the relay's own address")]);
    let link_local = "fe80::7 is link-local: tunnels and other networks cannot reach it";
    assert_eq!(with("[fe80::7]:51820", both()), [format!("{place} {link_local}")]);
    let expected = "expected an address with a port such as \"198.51.100.7:51820\" or \"[2001:db8::7]:51820\", found `2001:db8::7`";
    assert_eq!(with("2001:db8::7", both()), [format!("{place} {expected}")]);
}

/// The router may change from one family to the other at any time.
#[test]
fn the_longer_headers_of_ipv6_leave_a_tunnel_twenty_bytes_less() {
    let mtu = |fixture: &Fixture| fixture.load(Purpose::Check).relay.expect("sound").tenant("131024-chuo").expect("there").tunnels[0].mtu;
    assert_eq!(mtu(&Fixture::new()), 1_440);
    assert_eq!(mtu(&access("address6: '2001:db8::1/64'")), 1_420);
    let explicit =
        |mtu: u16| access("address6: '2001:db8::1/64'").edit(CHUO, "{endpoint: tokyo-a,", &format!("{{endpoint: tokyo-a, mtu: {mtu},"));
    assert_eq!(explicit(1_420).problems(), NOTHING);
    let found = explicit(1_421).problems();
    assert_eq!(found, ["error: tenants/chuo.yaml:4:34 tunnels.main.mtu: a tunnel MTU of 1421 does not fit the endpoint's port"]);
}
