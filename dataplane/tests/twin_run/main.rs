//! The twin run: each seed is lived through twice, once with a hostile tenant beside a well-behaved one and once without it. What the
//! well-behaved one gets out of the relay is the same, byte for byte and at the same moments: the frames on its VLAN, and the packets
//! that its office decrypts.
//!
//! What tenants do share is left out by construction, and each has tests of its own: the NICs' rings, the frames of memory and the time
//! of a worker (`tests/fairness.rs`: here the hostile tenant sends less than fits), the 500 handshakes a second of sources that have
//! proved nothing (`tests/bounds.rs` and `tunnel/handshake_limit.rs`), and echo requests to the relay itself. Nothing is left out
//! because it differs: a tenant's random choices come from its own generator. (The seeds of these are dealt out in the order of the
//! configuration, in which the quiet tenant comes first.)
//!
//! A run of many seeds: `CHUKEI_TWINS=10000 cargo test --release -p dataplane --features simulation --test twin_run`.
#![cfg(feature = "simulation")]

mod hostile;
mod quiet;

use dataplane::router_config::TenantConfig;
use dataplane::simulation::{Counts, Dimensions, Recorded, World, ipsec_municipality, municipality};
use dataplane::time::{Duration, Instant};
use dataplane::wire::ethernet::Ethernet;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use hostile::Hostile;
use quiet::Quiet;

/// Seeds of a run, unless `CHUKEI_TWINS` says otherwise.
const SEEDS: u64 = 300;
const THREADS: u8 = 2;
/// What each of the two does in a life.
const ACTIONS: usize = 40;
/// An Ethernet header with one tag.
const TAGGED: usize = 18;
/// The well-behaved tenant and the hostile one.
const QUIET: &str = "a";
const HOSTILE: &str = "b";

/// What is lost under the quiet tenant's number although somebody else sent it: no packet of its own.
const FORGERIES: [&str; 4] =
    ["a.drops.tunnel_data_replayed", "a.drops.tunnel_data_rejected", "a.drops.tunnel_handshake_rejected", "a.drops.tunnel_cookie_rejected"];

/// All that the quiet tenant gets, and is counted.
#[derive(PartialEq, Eq, Debug)]
struct Observed {
    /// Frames on its VLAN, by moment and flow.
    frames: Vec<(Instant, Vec<u8>)>,
    /// Packets in its office, by step and flow.
    packets: Vec<Vec<Vec<u8>>>,
    counts: Counts,
}

#[test]
fn a_hostile_tenant_changes_no_byte_of_what_another_one_gets() {
    if let Ok(seed) = std::env::var("CHUKEI_SEED") {
        compare(seed.parse().expect("CHUKEI_SEED is a number"));
        return;
    }
    let seeds = std::env::var("CHUKEI_TWINS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    // The virtual clock is one for each thread.
    let lives = |first: u8| move || (u64::from(first)..seeds).step_by(usize::from(THREADS)).map(compare).sum::<i64>();
    let threads: Vec<_> = (0..THREADS).map(|first| std::thread::spawn(lives(first))).collect();
    let hostile: i64 = threads.into_iter().map(|thread| thread.join().expect("two lives differ; the seed is above")).sum();
    println!("{seeds} seeds, each lived twice; {hostile} hostile frames, no difference");
    assert!(hostile > 1_000 * i64::try_from(seeds).expect("fewer"), "{hostile} hostile frames are hardly any");
}

#[test]
fn a_twin_run_would_notice_a_difference() {
    let ((mut one, _), (other, _)) = (live(7, false), live(7, true));
    assert!(one == other);
    assert!(one.frames.len() > 20 && one.packets.concat().len() > 20, "a quiet tenant that does nothing proves nothing");
    let last = one.frames.last_mut().expect("frames");
    last.1[20] ^= 1;
    assert!(one != other);
    assert!(live(8, false).0 != other, "another seed is another life");
}

/// Live `seed` twice; returns how many frames the relay received more with the hostile tenant.
fn compare(seed: u64) -> i64 {
    let ((alone, received_alone), (beside, received_beside)) = (live(seed, false), live(seed, true));
    let again = format!("again with: CHUKEI_SEED={seed} cargo test -p dataplane --features simulation --test twin_run");
    let differ = |place: usize| alone.frames.get(place) != beside.frames.get(place);
    let first = (0..alone.frames.len().max(beside.frames.len())).find(|place| differ(*place));
    if let Some(place) = first {
        panic!("frame {place} on the VLAN: {:02x?} alone, {:02x?} beside; {again}", alone.frames.get(place), beside.frames.get(place));
    }
    assert!(alone.packets == beside.packets, "packets in the office differ; {again}");
    let differences = beside.counts.differences(&alone.counts);
    assert!(differences.is_empty(), "counters differ: {differences:?}; {again}");
    received_beside - received_alone
}

/// One life of the quiet tenant, the hostile one beside it or not there at all. Also returns the frames that the relay received.
fn live(seed: u64, is_beside: bool) -> (Observed, i64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let quiet = config(QUIET, 2_101, &mut random);
    let hostile = config(HOSTILE, 2_102, &mut random);
    let workers = random.random_range(1..=2);
    let tenants = if is_beside { vec![quiet, hostile] } else { vec![quiet] };
    let mut world = World::cold(seed, tenants, Dimensions { frames: 4_096, ring: 512, workers, ..Dimensions::default() });
    // The hostile tenant's tunnel must not decide which endpoints there are.
    world.reload(|plan| plan.ipsec = true);
    world.hosts_err = true;
    world.run(Duration::from_millis(600));
    bring_up(&mut world, QUIET);
    if is_beside {
        bring_up(&mut world, HOSTILE);
    }
    world.run(Duration::from_millis(300));
    world.office(QUIET).answers = true;
    world.cloud(QUIET).answers = true;
    world.record();

    let mut quiet = Quiet::new(seed);
    let mut hostile = is_beside.then(|| Hostile::new(seed));
    let mut packets = Vec::new();
    for _ in 0..ACTIONS {
        let pause = quiet.pause();
        if let Some(hostile) = &mut hostile {
            hostile.act(&mut world, &quiet.seen);
        }
        quiet.act(&mut world);
        if let Some(hostile) = &mut hostile {
            hostile.act(&mut world, &quiet.seen);
        }
        world.run(pause);
        packets.push(by_flow(world.office(QUIET).received()));
    }
    world.run(Duration::from_secs(1));
    let vlan = world.cloud(QUIET).vlan;
    let is_its = |frame: &Recorded| Ethernet::parse(&frame.bytes).is_ok_and(|header| header.vlan == vlan);
    let mut frames: Vec<(Instant, Vec<u8>)> = world.recorded().into_iter().filter(is_its).map(|frame| (frame.at, frame.bytes)).collect();
    frames.sort_by_key(|(at, frame)| (*at, flow(&frame[TAGGED..])));
    let counts = FORGERIES.iter().fold(world.counts(), |counts, forgery| counts.without(forgery));
    let received = counts.get("worker.received");
    (Observed { frames, packets, counts: counts.only(&[&format!("{QUIET}."), &format!("{QUIET}/")]) }, received)
}

/// The packets of one step, flow by flow: each flow keeps its order. Which of two flows comes first hangs on whether the worker has
/// somebody else to serve as well, and its time is shared.
fn by_flow(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.sort_by_key(|packet| flow(packet));
    packets
}

/// Protocol, addresses, and what stands where ports would.
fn flow(packet: &[u8]) -> (u8, [u8; 12]) {
    (packet[9], packet[12..24].try_into().expect("twelve bytes"))
}

fn config(name: &str, vlan: u16, random: &mut SmallRng) -> TenantConfig {
    if random.random_ratio(1, 2) { ipsec_municipality(name, vlan) } else { municipality(name, vlan) }
}

/// Takes no time, so that the hostile tenant's tunnel moves no clock.
fn bring_up(world: &mut World, name: &str) {
    if world.office(name).is_ipsec() {
        world.exchange_keys(name);
        world.send_keepalive(name);
    } else {
        world.office(name).connect();
    }
    world.settle();
}
