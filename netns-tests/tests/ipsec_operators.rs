//! What operators do with IPsec municipalities: change their keys, and hand out configurations that work as they are.

use netns_tests::canary;
use netns_tests::keys::{preshared_key, write_secret};
use netns_tests::plan::{Municipality, SHARED_GLOBAL};
use netns_tests::process::must;
use netns_tests::relay::{Driver, Files, Relay, binary, relay_among};
use netns_tests::strongswan::{Connection, Credentials};
use netns_tests::topology::{Lab, Town};

fn works(town: &Town) -> bool {
    town.counter().query((SHARED_GLOBAL, 53), "who?") == Some(format!("who?{}", canary::mynumber(&town.plan.tenant)))
}

fn ipsec_row(relay: &Relay) -> serde_json::Value {
    relay.show("tunnels")[0]["ipsec"].clone()
}

#[test]
fn a_preshared_key_is_changed_without_an_interruption_and_everybody_sees_who_has_which() {
    let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let (lab, relay) = relay_among(vec![town], Driver::AfXdp);
    let town = &lab.towns[0];
    let (old, new) = (format!("psk_file: keys/{}.psk", town.plan.tenant), preshared_key());
    assert_eq!(ipsec_row(&relay)["psk"], "new");
    let spi = ipsec_row(&relay)["sas"][0]["inbound_spi"].clone();

    // The relay knows both keys; the router has the old one.
    write_secret(&relay.files.key_file("next.psk"), &new);
    let yaml = town.plan.yaml();
    let both = yaml.replace(&old, &format!("psk_file: keys/next.psk, previous_{old}"));
    assert_ne!(both, yaml);
    relay.files.put_text(&town.plan.tenant, &both);
    let generation = relay.generation();
    relay.must(&["reload"]);
    relay.wait_for_generation_after(generation);
    let row = ipsec_row(&relay);
    assert_eq!((&row["psk"], &row["sas"][0]["inbound_spi"]), (&"previous".into(), &spi), "nothing was interrupted: {row}");
    assert!(relay.must(&["show", "tunnels"]).contains("previous key"));
    let metric = format!("chukei_tunnel_previous_psk{{tenant=\"{}\",tunnel=\"main\"}}", town.plan.tenant);
    assert_eq!((relay.metric(&metric), works(town)), (Some(1.0), true));

    // The municipality's administrator types the new one.
    let mut connection = Connection::of(&town.plan);
    connection.credentials = Credentials::Psk(new);
    town.strongswan().hang_up();
    town.strongswan().configure(&connection);
    town.strongswan().call();
    assert_eq!((ipsec_row(&relay)["psk"].clone(), relay.metric(&metric), works(town)), ("new".into(), Some(0.0), true));

    // The old one is withdrawn, and opens nothing any more.
    let spi = ipsec_row(&relay)["sas"][0]["inbound_spi"].clone();
    relay.files.put_text(&town.plan.tenant, &yaml.replace(&old, "psk_file: keys/next.psk"));
    let generation = relay.generation();
    relay.must(&["reload"]);
    relay.wait_for_generation_after(generation);
    assert_eq!((ipsec_row(&relay)["sas"][0]["inbound_spi"].clone(), works(town)), (spi, true));
    town.strongswan().hang_up();
    town.strongswan().configure(&Connection::of(&town.plan));
    assert!(!town.strongswan().try_to_call().status.success(), "the old key");
    let error = &ipsec_row(&relay)["last_error"];
    assert_eq!((&error["reason"], &error["proven"]), (&"authentication_failed".into(), &false.into()), "{error}");
}

#[test]
fn the_configuration_that_a_new_municipality_is_handed_works_as_it_is() {
    let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let lab = Lab::new(vec![town]);
    let town = &lab.towns[0];
    // Another tenant's file, as a relay without any is none; its router is away.
    let files = Files::write(&lab, Driver::AfXdp, 1500);
    files.put(&Municipality::new("133078-hinohara", "檜原村", 3).with_ipsec());
    let relay = Relay::start_with(&lab, files);

    let (tenant, plan) = (town.plan.tenant.as_str(), &town.plan);
    let (swanctl, config) = (lab.directory().join("swanctl.conf"), relay.files.relay_yaml.display().to_string());
    let (mynumber, lgwan_connected, vlan) = (plan.mynumber.to_string(), plan.lgwan_connected.to_string(), plan.vlan.to_string());
    let arguments = [
        &["tenant", "new", tenant, "-c", &config, "--name", "千代田区", "--endpoint", "tokyo-ipsec", "--router", "strongswan"][..],
        &["--mynumber", &mynumber, "--lgwan-connected", &lgwan_connected, "--cloud", "aws", "--vlan", &vlan],
        &["--address", "10.254.1.2/30", "--gateway", "10.254.1.1", "--mynumber-napt", "10.254.1.8/30"],
        &["--lgwan-connected-napt", "10.254.1.20/32", "--router-config", swanctl.to_str().expect("a path of text")],
    ]
    .concat();
    must(&lab.relay, &binary(), &arguments);
    let yaml = std::fs::read_to_string(relay.files.tenant_file(tenant)).expect("the tenant's file");
    let services: String = plan.services.iter().map(|service| format!("  - {service}\n")).collect();
    relay.files.put_text(tenant, &format!("{yaml}services:\n{services}"));
    let generation = relay.generation();
    relay.must(&["reload"]);
    relay.wait_for_generation_after(generation);

    town.strongswan().configure_from(&swanctl);
    town.strongswan().call();
    assert!(works(town));
    let row = relay.show("tunnels").into_iter().find(|row| row["tenant"] == tenant).expect("a tunnel");
    assert_eq!((&row["state"], &row["ipsec"]["psk"]), (&"up".into(), &"new".into()), "{row}");
    assert_eq!(row["ipsec"]["suite"], "aes256gcm16-prfsha384-ecp384", "the best that the relay and the file have in common");
}
