//! A relay without traffic leaves the processor to others.

use std::thread;
use std::time::Duration;

use controlplane::demo::vlan::VlanTag;
use netns_tests::keys::random_public_key;
use netns_tests::plan::{Municipality, three_municipalities};
use netns_tests::relay::{Driver, Files, Relay, relay_among};
use netns_tests::topology::Lab;

/// All municipalities and prefectures of Japan.
const LOCAL_GOVERNMENTS: u16 = 1_788;
const MEASURED: Duration = Duration::from_secs(10);

/// The share of one core that the relay uses.
fn share_of_a_core(relay: &Relay) -> f64 {
    // What belongs to starting up is over by then.
    thread::sleep(Duration::from_secs(2));
    let before = relay.process.cpu_seconds();
    thread::sleep(MEASURED);
    (relay.process.cpu_seconds() - before) / MEASURED.as_secs_f64()
}

#[test]
fn with_three_tenants_an_idle_relay_takes_less_than_two_percent_of_a_core() {
    for driver in Driver::BOTH {
        let (_lab, relay) = relay_among(three_municipalities(), driver);
        let share = share_of_a_core(&relay);
        println!("{driver:?}: {:.2}% of a core", share * 100.0);
        assert!(share < 0.02, "{driver:?}: {:.2}% of a core", share * 100.0);
    }
}

#[test]
fn with_the_whole_country_an_idle_relay_takes_less_than_five_percent_of_a_core() {
    let lab = Lab::new(three_municipalities());
    let files = Files::write(&lab, Driver::AfXdp, 1500);
    lab.towns.iter().for_each(|town| files.put(&town.plan));
    for number in 4..=LOCAL_GOVERNMENTS {
        files.put(&silent_municipality(&lab.towns[0].plan, number));
    }
    let relay = Relay::start_with(&lab, files);
    lab.towns.iter().for_each(|town| town.router.call_relay());
    relay.wait_for_tunnels(3);
    assert_eq!(relay.show("tunnels").len(), usize::from(LOCAL_GOVERNMENTS));
    let share = share_of_a_core(&relay);
    println!("{:.2}% of a core", share * 100.0);
    assert!(share < 0.05, "{:.2}% of a core", share * 100.0);
}

/// A tenant that is configured, with a router that has never called.
fn silent_municipality(pattern: &Municipality, number: u16) -> Municipality {
    let mut town = pattern.clone();
    town.tenant = format!("{number:06}-town");
    town.vlan = VlanTag::Double { outer: 1 + number / 1000, inner: 1 + number % 1000 };
    town.keys.public = random_public_key();
    town
}
