//! Random worlds under faults: whatever hosts, strangers, cables, NICs, clocks, processes and operators do, the laws of
//! `simulation::laws` hold after every step. Each packet ends in one place, each frame comes back, each drop has a reason, and nobody
//! sees another's bytes; and when it is over, everybody is served again.
//!
//! Many worlds: `CHUKEI_WORLDS=100000 cargo test --release -p dataplane --features simulation --test conservation -- --nocapture`.
//! A world that breaks a law prints the command that lives through it again.
#![cfg(feature = "simulation")]

mod chaos;
mod faults;
mod ipsec;
mod ipv6;
mod packets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dataplane::drop_reason::DropReason;
use faults::{FULL, Fault};

/// Worlds of a run, unless `CHUKEI_WORLDS` says otherwise.
const WORLDS: u64 = 2_500;
/// What a panic in a world names, for `cargo test` to find it again.
const SELF: &str = "--test conservation in_every_world_the_laws_hold";

/// Ends all other threads' worlds where one of them broke a law: a hundred thousand take hours.
struct StopAll(Arc<AtomicU64>);

impl Drop for StopAll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(u64::MAX / 2, Ordering::Relaxed);
        }
    }
}

#[test]
fn in_every_world_the_laws_hold() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")));
    let (first, worlds) = number("CHUKEI_SEED").map_or((0, number("CHUKEI_WORLDS").unwrap_or(WORLDS)), |seed| (seed, seed + 1));
    let next = Arc::new(AtomicU64::new(first));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let live = |next: Arc<AtomicU64>| {
        move || {
            let _stop = StopAll(Arc::clone(&next));
            let (mut reasons, mut faults) = (BTreeSet::new(), BTreeSet::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= worlds {
                    return (reasons, faults);
                }
                let (why, what) = chaos::live(seed);
                reasons.extend(why);
                faults.extend(what);
            }
        }
    };
    // The virtual clock is one for each thread.
    let start = |_| std::thread::Builder::new().name(SELF.into()).spawn(live(Arc::clone(&next))).expect("a thread");
    let handles: Vec<_> = (0..threads).map(start).collect();
    let (mut reasons, mut faults) = (BTreeSet::new(), BTreeSet::new());
    for handle in handles {
        let (why, what) = handle.join().expect("a world broke a law; the command that lives through it again stands above");
        reasons.extend(why);
        faults.extend(what);
    }
    if worlds - first >= WORLDS {
        report(worlds, &reasons, &faults);
    }
}

/// A run in which nothing goes wrong would prove nothing.
fn report(worlds: u64, reasons: &BTreeSet<DropReason>, faults: &BTreeSet<Fault>) {
    let missing: Vec<_> = DropReason::ALL.iter().filter(|reason| !reasons.contains(*reason)).map(|reason| reason.label()).collect();
    println!("{worlds} worlds, {} kinds of faults, {} reasons for losses; these never happened: {missing:?}", faults.len(), reasons.len());
    assert!(missing.len() <= 10, "these never happened: {missing:?}");
    let dead: Vec<_> = Fault::ALL.iter().filter(|fault| !faults.contains(*fault)).collect();
    assert!(dead.is_empty(), "these faults never happened: {dead:?}");
    let never_full: Vec<_> = FULL.iter().filter(|reason| !reasons.contains(*reason)).map(|reason| reason.label()).collect();
    assert!(never_full.is_empty(), "these were never full: {never_full:?}");
}
