//! A reload changes what it was told to change, and nothing else.

use std::time::Duration;

use netns_tests::plan::{Municipality, SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{text_of, wait_until};
use netns_tests::relay::{Driver, Files, Relay, relay_among};
use netns_tests::topology::Lab;
use nix::sys::signal::Signal;

fn five_municipalities() -> Vec<Municipality> {
    let mut plans = three_municipalities();
    plans.push(Municipality::new("011002-sapporo", "札幌市", 4));
    plans.push(Municipality::new("473821-yonaguni", "与那国町", 5));
    plans
}

fn others_download_on_while_one_tenant_comes_one_changes_and_one_goes(driver: Driver) {
    let lab = Lab::new(five_municipalities());
    let [first, second, changed, removed, added] = lab.towns.as_slice() else { panic!("five towns") };
    let files = Files::write(&lab, driver, 1500);
    [first, second, changed, removed].iter().for_each(|town| files.put(&town.plan));
    let relay = Relay::start_with(&lab, files);
    lab.towns.iter().for_each(|town| town.router.call_relay());
    relay.wait_for_tunnels(4);
    let (_, whole) = lab.file("body", 30_000_000);
    let (body, tax) = (format!("http://{SHARED_GLOBAL}/files/body"), format!("http://{SHARED_GLOBAL}:443/who"));
    assert!(changed.counter().fetch(&tax).is_ok() && removed.counter().fetch(&tax).is_ok());
    let mut downloads = [first, second].map(|town| town.counter().start_download(lab.directory(), &town.plan.tenant, &body, 4_000_000));
    wait_until("the downloads have begun", Duration::from_secs(5), || downloads.iter().all(|download| download.progress() > 1_000_000));

    let mut narrower = changed.plan.clone();
    narrower.services[0] = narrower.services[0].replace("tcp/443, ", "");
    relay.files.put(&narrower);
    relay.files.remove(&removed.plan.tenant);
    relay.files.put(&added.plan);
    let generation = relay.generation();
    relay.process.signal(Signal::SIGHUP);
    relay.wait_for_generation_after(generation);
    added.router.call_relay();
    relay.wait_for_tunnels(4);

    assert!(downloads.iter_mut().all(netns_tests::traffic::Download::is_running), "the downloads ended before the reload");
    assert!(added.counter().fetch(&tax).is_ok(), "the new tenant is served");
    assert_eq!(changed.counter().fetch(&tax), Err(28), "the changed tenant's port is closed");
    assert!(changed.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok(), "its other port is open");
    assert_eq!(removed.counter().fetch(&tax), Err(28), "the removed tenant is gone");
    assert!(relay.show("tenants").iter().all(|row| row["tenant"] != removed.plan.tenant.as_str()));
    for download in downloads {
        let download = download.finish();
        assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    }
}

#[test]
fn others_download_on_while_one_tenant_comes_one_changes_and_one_goes_over_af_packet() {
    others_download_on_while_one_tenant_comes_one_changes_and_one_goes(Driver::AfPacket);
}

#[test]
fn others_download_on_while_one_tenant_comes_one_changes_and_one_goes_over_af_xdp() {
    others_download_on_while_one_tenant_comes_one_changes_and_one_goes(Driver::AfXdp);
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told_why() {
    let (lab, relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let town = &lab.towns[0];
    let (good, generation) = (town.plan.yaml(), relay.generation());
    relay.files.put_text(&town.plan.tenant, &good.replace("vlan: 2101", "vlan: 2102").replace("limits:", "limit:"));

    let refused = relay.command(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "the reload was accepted: {said}");
    for word in ["131016-chiyoda.yaml:", "2102", "limit"] {
        assert!(said.contains(word), "no word of {word}: {said}");
    }
    relay.process.signal(Signal::SIGHUP);
    wait_until("SIGHUP is refused as well", Duration::from_secs(5), || relay.metric("chukei_config_last_reload_successful") == Some(0.0));
    assert_eq!(relay.generation(), generation);
    for town in &lab.towns {
        assert!(town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok());
    }

    relay.files.put_text(&town.plan.tenant, &good);
    let said = text_of(&relay.command(&["reload"]), "chukei reload");
    assert!(said.contains("0 changed") && said.contains("3 left alone"), "{said}");
}
