//! Town halls whose routers speak IPsec: strongSwan shakes hands with the relay in every suite that it may use, and traffic flows.

use netns_tests::canary;
use netns_tests::cloud::Printer;
use netns_tests::plan::{DOCUMENTS, Municipality, PRINT_SERVER, PRINTER_INSIDE, SHARED_GLOBAL, three_municipalities};
use netns_tests::relay::{Driver, Drops, Relay, relay_among};
use netns_tests::strongswan::Connection;
use netns_tests::topology::{Lab, Town};

/// 千代田区 with AES-GCM, 横浜市 with WireGuard, 檜原村 with AES-CBC, as most routers have it.
fn a_mixed_country() -> Vec<Municipality> {
    let [chiyoda, yokohama, hinohara] = three_municipalities().try_into().expect("three");
    let mut hinohara = hinohara.with_ipsec();
    let ipsec = hinohara.ipsec.as_mut().expect("IPsec");
    (ipsec.ike, ipsec.esp) = ("aes256-sha256-modp2048".to_owned(), "aes256-sha256".to_owned());
    vec![chiyoda.with_ipsec(), yokohama, hinohara]
}

fn ipsec_and_wireguard_municipalities_work_side_by_side_and_lose_nothing(driver: Driver) {
    let (lab, relay) = relay_among(a_mixed_country(), driver);
    let (path, whole) = lab.file("body", 20_000_000);
    for town in &lab.towns {
        let lost = relay.drops_during(&town.plan.tenant, || {
            let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
            assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1), "{}", town.plan.tenant);
            let _ = town.counter().upload(&path, &format!("http://{SHARED_GLOBAL}/upload/body"));
            assert_eq!(netns_tests::topology::sha256(&town.servers.uploaded("body")), whole, "{}", town.plan.tenant);
            println!("{driver:?}: {}: {:.1} s", town.plan.tenant, download.seconds);
        });
        assert_eq!(lost, Drops::default(), "{}", town.plan.tenant);
        both_classes_and_the_printer_work(town);
    }
    assert_eq!(lab.towns[0].strongswan().sas().values("encr-alg"), ["AES_GCM_16", "AES_GCM_16"]);
    let sas = lab.towns[2].strongswan().sas();
    assert_eq!((sas.values("encr-alg"), sas.values("dh-group")), (vec!["AES_CBC", "AES_CBC"], vec!["MODP_2048"]));
    assert_eq!(sas.values("integ-alg"), ["HMAC_SHA2_256_128", "HMAC_SHA2_256_128"]);
    assert_eq!(relay.port_drops(), Drops::default());
}

fn both_classes_and_the_printer_work(town: &Town) {
    let register = town.counter().query((SHARED_GLOBAL, 53), "who?");
    assert_eq!(register, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))));
    let documents = town.clerk().query((DOCUMENTS, 53), "who?");
    assert_eq!(documents, Some(format!("who?{}", canary::lgwan_connected(&town.plan.tenant))));
    let printer = Printer::start(&town.office, town.plan.counter());
    let answer = town.cloud_host(PRINT_SERVER).say((PRINTER_INSIDE, 9100), b"certificate of residence").expect("a printer");
    assert_eq!((answer.as_slice(), printer.printed().1.as_slice()), (&b"printed"[..], &b"certificate of residence"[..]));
}

#[test]
fn ipsec_and_wireguard_municipalities_work_side_by_side_and_lose_nothing_over_af_packet() {
    ipsec_and_wireguard_municipalities_work_side_by_side_and_lose_nothing(Driver::AfPacket);
}

#[test]
fn ipsec_and_wireguard_municipalities_work_side_by_side_and_lose_nothing_over_af_xdp() {
    ipsec_and_wireguard_municipalities_work_side_by_side_and_lose_nothing(Driver::AfXdp);
}

/// One municipality whose router starts with whatever a test gives it.
fn one_town(proposal: [&str; 2]) -> (Lab, Relay) {
    let mut town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let ipsec = town.ipsec.as_mut().expect("IPsec");
    (ipsec.ike, ipsec.esp) = (proposal[0].to_owned(), proposal[1].to_owned());
    relay_among(vec![town], Driver::AfXdp)
}

fn call_again(town: &Town, ike: &str, esp: &str) {
    let mut connection = Connection::of(&town.plan);
    (connection.ike, connection.esp) = (ike.to_owned(), esp.to_owned());
    town.strongswan().hang_up();
    town.strongswan().configure(&connection);
    town.strongswan().call();
    let answer = town.counter().query((SHARED_GLOBAL, 53), "who?");
    assert_eq!(answer, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))), "{ike} {esp}");
}

#[test]
fn every_suite_of_the_floor_and_of_the_preferred_profile_shakes_hands_and_carries_traffic() {
    let (lab, relay) = one_town(["aes256gcm16-prfsha384-ecp384", "aes256gcm16"]);
    let town = &lab.towns[0];
    let suites = [
        ("aes256-sha256-modp2048", "aes256-sha256", "MODP_2048"),
        ("aes128-sha256-modp3072", "aes128-sha256", "MODP_3072"),
        ("aes256-sha384-ecp256", "aes256-sha384", "ECP_256"),
        ("aes256-sha512-ecp384", "aes256-sha512", "ECP_384"),
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384", "ECP_384"),
        ("aes128gcm16-prfsha256-ecp256", "aes128gcm16", "ECP_256"),
        ("aes256gcm16-prfsha256-x25519", "aes256gcm16-x25519", "CURVE_25519"),
    ];
    for (ike, esp, group) in suites {
        call_again(town, ike, esp);
        assert_eq!(town.strongswan().sas().values("dh-group").first(), Some(&group));
    }
    assert_eq!(relay.drops(&town.plan.tenant), Drops::default());
}

#[test]
fn a_router_that_begins_with_another_group_is_asked_for_ours_and_one_that_has_no_other_is_refused_with_a_remedy() {
    let (lab, relay) = one_town(["aes256gcm16-prfsha256-x25519", "aes256gcm16"]);
    let town = &lab.towns[0];
    // As a Yamaha RTX does: MODP-1024 first, MODP-2048 behind it, all in one proposal.
    call_again(town, "aes256-sha256-modp1024-modp2048", "aes256-sha256");
    assert_eq!(town.strongswan().sas().values("dh-group").first(), Some(&"MODP_2048"));
    assert!(town.strongswan().log().contains("peer didn't accept DH group MODP_1024, it requested MODP_2048"), "INVALID_KE_PAYLOAD");

    let mut connection = Connection::of(&town.plan);
    connection.ike = "aes256-sha256-modp1024".to_owned();
    town.strongswan().hang_up();
    town.strongswan().configure(&connection);
    assert!(!town.strongswan().try_to_call().status.success(), "MODP-1024 alone");
    assert!(town.strongswan().sas().is_empty() && town.strongswan().log().contains("received NO_PROPOSAL_CHOSEN"));
    // The operator is told, by the tenant and by the address, though nobody has proven anything.
    let row = &relay.show("tunnels")[0];
    let error = &row["ipsec"]["last_error"];
    assert_eq!((&row["state"], &error["reason"], &error["proven"]), (&"down".into(), &"no_ike_proposal".into(), &false.into()), "{row}");
    assert!(error["remedy"].as_str().is_some_and(|remedy| remedy.contains("modp2048")), "{error}");
    let address = town.plan.router_address().to_string();
    for who in [&["explain-ike", town.plan.tenant.as_str()][..], &["explain-ike", "--peer", &address]] {
        let explained = relay.must(who);
        for line in ["IKE proposed", "MODP-1024", "IKE accepted", "remedy", "modp2048"] {
            assert!(explained.contains(line), "{who:?}: no {line} in\n{explained}");
        }
    }
    let failures =
        format!("chukei_tunnel_ike_failures_total{{tenant=\"{}\",tunnel=\"main\",reason=\"no_ike_proposal\"}}", town.plan.tenant);
    assert_eq!(relay.metric(&failures), None, "blamed on nobody");
    assert!(relay.metric("chukei_ike_unproven_failures_total{reason=\"no_ike_proposal\"}").is_some_and(|count| count > 0.0));
}
