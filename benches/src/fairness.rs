//! Election day: one tenant offers ten times what the relay can carry, another a hundredth of it. What does that cost the other?
//!
//! Time is the worker's own: it goes on by the processor time of each poll, and packets arrive in it when they are due, whether the
//! worker keeps up or not. What finds no room on the NIC's ring is lost like everything else.

use std::collections::VecDeque;
use std::time::Duration;

use dataplane::time::Instant;
use serde::Serialize;

use crate::path::{LARGE, MIDDLE, median};
use crate::world::{Direction, Load, World};

/// Slots of a NIC's ring, as drivers have them by default.
const RING: usize = 2_048;
const CITY: usize = 0;
const VILLAGE: usize = 1;
/// What the city offers, as multiples of what the relay carries.
const OFFERED: [u32; 2] = [2, 10];
/// Packets of the village in one measurement: 20 of them are beyond the 99th percentile.
const SAMPLES: usize = 2_000;
/// Odd, so that there is a middle one.
const ROUNDS: usize = 3;

/// What the village notices.
#[derive(Serialize)]
pub(crate) struct Row {
    case: &'static str,
    pub(crate) direction: &'static str,
    pub(crate) size: usize,
    /// Capacity, measured in the same run: nanoseconds a packet.
    pub(crate) ns_per_packet: f64,
    /// What the city offers, as a multiple of the capacity.
    pub(crate) offered: f64,
    /// Of the village, in percent.
    pub(crate) lost_percent: f64,
    /// Of the city, which has to lose nine of ten.
    pub(crate) city_lost_percent: f64,
    /// From due on the ring to handed to the other NIC, 99th percentile: alone, and beside the city.
    pub(crate) idle_p99_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_ratio: f64,
    /// The same in polls of the worker.
    pub(crate) idle_p99_polls: usize,
    pub(crate) p99_polls: usize,
}

/// One packet under way.
struct Sent {
    at: Instant,
    poll: usize,
}

#[derive(Default)]
struct Seen {
    delays: Vec<Duration>,
    polls: Vec<usize>,
    lost: usize,
    city_sent: usize,
    city_arrived: usize,
}

/// Both directions.
pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
        for size in [MIDDLE, LARGE] {
            rows.extend(OFFERED.map(|offered| measure(direction, size, offered)));
        }
    }
    rows
}

fn measure(direction: Direction, size: usize, offered: u32) -> Row {
    let mut world = World::with_ring(2, 2, 0, RING);
    let capacity = capacity(&mut world, direction, size);
    let load = |flood| Offered { direction, size, capacity, flood };
    let idle = village(&mut world, load(None));
    assert_eq!(idle.lost, 0, "a village that is alone loses nothing");
    let flooded: Vec<Seen> = (0..ROUNDS).map(|_| village(&mut world, load(Some(capacity / offered)))).collect();
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    let of_all = |pick: fn(&Seen) -> usize| flooded.iter().map(pick).sum::<usize>();
    let (idle_p99, p99) = (p99_us(&idle), median(flooded.iter().map(p99_us).collect()));
    Row {
        case: "fairness",
        direction: direction.label(),
        size,
        ns_per_packet: capacity.as_secs_f64() * 1e9,
        offered: offered.into(),
        lost_percent: percent(of_all(|seen| seen.lost), ROUNDS * SAMPLES),
        city_lost_percent: 100.0 - percent(of_all(|seen| seen.city_arrived), of_all(|seen| seen.city_sent)),
        idle_p99_us: idle_p99,
        p99_us: p99,
        p99_ratio: p99 / idle_p99,
        idle_p99_polls: percentile(idle.polls.clone()),
        p99_polls: flooded.iter().map(|seen| percentile(seen.polls.clone())).max().unwrap_or(0),
    }
}

/// What a packet costs when both tenants send full batches.
fn capacity(world: &mut World, direction: Direction, size: usize) -> Duration {
    const SLICE: usize = 1_024;
    let spent = (0..21).map(|_| {
        let frames = world.load(Load::Known(direction), size, SLICE);
        world.forward(direction, &frames).as_secs_f64() / SLICE as f64
    });
    Duration::from_secs_f64(median(spent.collect()))
}

/// What the two send.
#[derive(Clone, Copy)]
struct Offered {
    direction: Direction,
    size: usize,
    capacity: Duration,
    /// Between two packets of the city.
    flood: Option<Duration>,
}

/// Let the village send its hundredth, and the city what it likes.
fn village(world: &mut World, offered: Offered) -> Seen {
    let Offered { direction, size, capacity, flood } = offered;
    let interval = capacity * 100;
    let (mut seen, mut under_way) = (Seen::default(), VecDeque::new());
    let (mut village_due, mut city_due) = (world.now() + interval, world.now());
    let (mut poll, mut sent, mut waiting) = (0, 0, 0);
    while sent < SAMPLES || waiting > 0 {
        if flood.is_none() && waiting == 0 {
            // Nothing to do: time goes on to the next packet.
            world.pass(village_due.since(world.now()));
        }
        while sent < SAMPLES && world.now() >= village_due.min(city_due) {
            match flood.filter(|_| city_due <= village_due) {
                Some(flood) => {
                    // One that finds the ring full is lost there.
                    world.arrive(CITY, direction, size);
                    seen.city_sent += 1;
                    city_due = city_due + flood;
                }
                None if world.now() < village_due => break,
                None => {
                    if world.arrive(VILLAGE, direction, size) {
                        under_way.push_back(Sent { at: village_due, poll });
                    }
                    sent += 1;
                    village_due = village_due + interval;
                }
            }
        }
        let before = [CITY, VILLAGE].map(|tenant| world.forwarded_of(tenant, direction));
        waiting = world.poll_once();
        poll += 1;
        let arrived = [CITY, VILLAGE].map(|tenant| world.forwarded_of(tenant, direction) - before[tenant]);
        seen.city_arrived += arrived[CITY];
        for Sent { at, poll: from } in under_way.drain(..arrived[VILLAGE]) {
            seen.delays.push(world.now().since(at));
            seen.polls.push(poll - from);
        }
    }
    seen.lost = SAMPLES - seen.delays.len();
    seen
}

fn p99_us(seen: &Seen) -> f64 {
    percentile(seen.delays.clone()).as_secs_f64() * 1e6
}

/// The 99th.
fn percentile<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len() * 99 / 100).copied().unwrap_or_default()
}

pub(crate) fn print(rows: &[Row]) {
    println!("One tenant offers a multiple of what the relay carries, another a hundredth of it: what the other one notices.");
    println!(
        "{:<16} {:>5} {:>7} {:>10} {:>12} {:>10} {:>10} {:>10} {:>6} {:>11} {:>6}",
        "direction", "bytes", "offered", "ns/packet", "other loses", "it loses", "idle p99", "p99", "ratio", "idle polls", "polls"
    );
    for row in rows {
        println!(
            "{:<16} {:>5} {:>6.0}x {:>10.0} {:>11.3}% {:>9.1}% {:>7.1} us {:>7.1} us {:>6.1} {:>11} {:>6}",
            row.direction,
            row.size,
            row.offered,
            row.ns_per_packet,
            row.lost_percent,
            row.city_lost_percent,
            row.idle_p99_us,
            row.p99_us,
            row.p99_ratio,
            row.idle_p99_polls,
            row.p99_polls
        );
    }
}
