use super::*;

fn plan<'a>(office: &'a [Ipv4Network], far: &'a [Ipv4Network], relay_id: &'a Identity, router_id: &'a Identity) -> Plan<'a> {
    Plan {
        tenant: "131032-minato",
        relay: "tokyo-1",
        relay_address: [192, 0, 2, 1].into(),
        relay_id,
        router_id,
        router_address: None,
        psk: "not-a-secret-but-an-example",
        office,
        far,
        mtu: 1_406,
    }
}

fn networks(list: &[&str]) -> Vec<Ipv4Network> {
    list.iter().map(|network| network.parse().expect("a prefix")).collect()
}

fn text(router: Router) -> String {
    let (relay_id, router_id) = (Identity::Fqdn("relay.example.jp".into()), Identity::Fqdn("minato".into()));
    let (office, far) = (networks(&["198.51.100.48/28"]), networks(&["203.0.113.0/26"]));
    plan(&office, &far, &relay_id, &router_id).text(router).expect("expressible").to_string()
}

#[test]
fn yamaha_rtx() {
    insta::assert_snapshot!(text(Router::Rtx));
}

#[test]
fn nec_ix() {
    insta::assert_snapshot!(text(Router::Ix));
}

#[test]
fn cisco_ios_xe() {
    insta::assert_snapshot!(text(Router::Ios));
}

#[test]
fn fortigate() {
    insta::assert_snapshot!(text(Router::Fortigate));
}

#[test]
fn strongswan() {
    insta::assert_snapshot!(text(Router::Strongswan));
}

#[test]
fn every_router_gets_key_identities_mtu_mss_and_every_prefix() {
    let (relay_id, router_id) = (Identity::Ipv4([192, 0, 2, 1].into()), Identity::KeyId(b"minato-2".to_vec()));
    let (office, far) = (networks(&["198.51.100.48/29", "198.51.100.64/29"]), networks(&["203.0.113.0/26", "10.10.4.0/24"]));
    for router in Router::value_variants() {
        let text = plan(&office, &far, &relay_id, &router_id).text(*router).expect("expressible");
        for word in ["not-a-secret-but-an-example", "192.0.2.1", "1366", "203.0.113.0", "10.10.4.0"] {
            assert!(text.contains(word), "{router:?}: {word}\n{}", *text);
        }
        assert!(*router == Router::Strongswan || text.contains("1406"), "{router:?}: the MTU");
        let pairs = match router {
            Router::Ios => text.matches(" permit ip ").count(),
            Router::Fortigate => text.matches("set src-subnet").count(),
            _ => 4,
        };
        assert_eq!(pairs, 4, "{router:?}: each office prefix with each far one");
    }
}

#[test]
fn more_phase_2s_than_the_relay_holds_while_all_are_rekeyed_are_refused_with_a_remedy() {
    let (relay_id, router_id) = (Identity::Fqdn("relay.example.jp".into()), Identity::Fqdn("minato".into()));
    let office = networks(&["198.51.100.0/29", "198.51.100.16/29", "198.51.100.32/29"]);
    let far = networks(&["203.0.113.0/28", "203.0.113.32/28", "203.0.113.64/28"]);
    let of = |office: &[Ipv4Network], router| plan(office, &far, &relay_id, &router_id).text(router);
    let text = of(&office[..2], Router::Fortigate).expect("six of eight");
    assert_eq!(text.matches("set src-subnet").count(), 6);
    let error = of(&office, Router::Fortigate).expect_err("nine").to_string();
    assert!(error.contains("makes 9") && error.contains("neighbouring addresses"), "{error}");
    assert!(of(&office, Router::Rtx).is_ok(), "others put all prefixes into one pair");
}

#[test]
fn what_a_router_cannot_say_is_refused_with_what_it_can() {
    let (relay_id, router_id) = (Identity::Fqdn("relay.example.jp".into()), Identity::KeyId(vec![0, 255]));
    let error = plan(&[], &[], &relay_id, &router_id).text(Router::Rtx).expect_err("bytes").to_string();
    assert!(error.contains("keyid:0x00ff") && error.contains("use a name"), "{error}");
}
