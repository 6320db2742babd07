//! Random worlds: whatever hosts, strangers, cables and operators do, the laws of `simulation::laws` hold after every step. Each
//! packet ends in one place, each frame comes back, each drop has a reason, and nobody sees another's bytes.
#![cfg(feature = "simulation")]

mod chaos;
mod ipsec;
mod ipv6;

use std::collections::BTreeSet;

use dataplane::drop_reason::DropReason;

/// Worlds of a run, unless `CHUKEI_WORLDS` says otherwise.
const WORLDS: u64 = 2_500;

#[test]
fn in_every_world_the_laws_hold() {
    if let Ok(seed) = std::env::var("CHUKEI_SEED") {
        chaos::live(seed.parse().expect("CHUKEI_SEED is a number"));
        return;
    }
    let worlds = std::env::var("CHUKEI_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(WORLDS);
    let threads = 2;
    // The virtual clock is one for each thread.
    let lives = |first: u64| move || (first..worlds).step_by(threads).flat_map(chaos::live).collect::<BTreeSet<DropReason>>();
    let handles: Vec<_> = (0..2).map(|first| std::thread::spawn(lives(first))).collect();
    let mut reasons = BTreeSet::new();
    for handle in handles {
        reasons.extend(handle.join().expect("a world broke a law; its seed is above"));
    }
    // A world in which nothing goes wrong would prove nothing.
    let missing: Vec<_> = DropReason::ALL.iter().filter(|reason| !reasons.contains(*reason)).map(|reason| reason.label()).collect();
    println!("{worlds} worlds, {} reasons; these never happened: {missing:?}", reasons.len());
    assert!(worlds < WORLDS || missing.len() <= 10, "these never happened: {missing:?}");
}
