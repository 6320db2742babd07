//! Every class of hostile packet, from every tenant against every other, at one real worker. All tenants share every address and port
//! number; each packet has exactly one outcome, changes exactly the counters that it must, and nothing leaves the relay but its owner's.
//!
//! | file | what is in it |
//! |---|---|
//! | [`attempts`] | the classes: what is sent, and what must become of it |
//! | [`country`] | the relay among all its tenants, and what is looked at after each packet |
//! | [`town`] | one tenant's both ends |
//! | [`books`] | all counters of one place |
//!
//! A run of a whole country: `CHUKEI_TENANTS=1000 cargo test --release -p dataplane --features simulation --test matrix -- --nocapture`.
#![cfg(feature = "simulation")]

mod attempts;
mod books;
mod country;
mod town;

use std::collections::{BTreeMap, BTreeSet};

use attempts::Outcome;
use country::Country;

/// Tenants of a run, unless `CHUKEI_TENANTS` says otherwise.
const TENANTS: usize = 50;
/// Each has a relay of its own, and its share of the attackers.
const THREADS: usize = 2;

#[test]
fn no_tenant_reaches_another_by_any_class_of_packet() {
    let tenants = std::env::var("CHUKEI_TENANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(TENANTS);
    // The virtual clock is one for each thread.
    let attack = |first: usize| move || attack(tenants, (first..tenants).step_by(THREADS));
    let threads: Vec<_> = (0..THREADS).map(|first| std::thread::spawn(attack(first))).collect();
    let mut outcomes = BTreeMap::new();
    for thread in threads {
        for (outcome, packets) in thread.join().expect("a packet had another outcome; it is named above") {
            *outcomes.entry(outcome).or_insert(0) += packets;
        }
    }
    let packets: u64 = outcomes.values().sum();
    let classes = attempts::all().len();
    println!("{tenants} tenants, {classes} classes, {packets} packets, no leak");
    outcomes.iter().for_each(|(outcome, packets)| println!("{packets:>12}  {outcome}"));
    assert_eq!(packets, (tenants * (tenants - 1) * classes) as u64);
}

/// Everything that `attackers` can do to everybody else; returns the outcomes.
fn attack(tenants: usize, attackers: impl Iterator<Item = usize>) -> BTreeMap<Outcome, u64> {
    let classes = attempts::all();
    let mut country = Country::new(tenants);
    let mut outcomes = BTreeMap::new();
    for attacker in attackers {
        for victim in (0..tenants).filter(|victim| *victim != attacker) {
            for class in &classes {
                *outcomes.entry(country.attempt(class, attacker, victim)).or_insert(0) += 1;
            }
        }
        country.check_everybody();
        country.let_time_pass();
    }
    outcomes
}

#[test]
fn there_are_forty_classes_at_least_and_each_says_one_thing() {
    let classes = attempts::all();
    assert!(classes.len() >= 40, "{} classes", classes.len());
    let names: BTreeSet<&str> = classes.iter().map(|class| class.what).collect();
    assert_eq!(names.len(), classes.len());
}
