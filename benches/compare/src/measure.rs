//! The order of measuring: every contender in turn, so that a slow minute of the machine hits all of them.

use std::time::Duration;

use crate::cpu::{self, Look, Usage};
use crate::latency::{self, RoundTrips};
use crate::options::Plan;
use crate::search::{Search, Trial};
use crate::tcp::{self, Direction};
use crate::udp::Flow;
use crate::world::{Carried, World};

pub(crate) const STREAMS: [u32; 2] = [1, 4];
/// Payload of UDP datagrams in bytes: a question, and the largest that a cautious program sends through a tunnel.
pub(crate) const SIZES: [usize; 2] = [64, 1_372];
/// Where the search for a rate begins, in packets a second, for the two sizes.
const STARTS: [f64; 2] = [20_000.0, 15_000.0];
/// More of other people's work than this makes numbers of the whole machine worthless.
const BUSY: f64 = 0.10;
/// The load beside which round-trip times are taken: the way that most data goes, with the larger datagrams.
pub(crate) const HALF_LOAD: (Direction, usize) = (Direction::CloudToOffice, 1);

/// What was measured of one contender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// By direction, then by number of streams.
    pub(crate) tcp: [[Vec<tcp::Run>; 2]; 2],
    /// By direction, then by size: packets a second, and whether the sender had no more.
    pub(crate) udp: [[(f64, bool); 2]; 2],
    pub(crate) idle: Vec<RoundTrips>,
    pub(crate) half: Vec<Loaded>,
}

/// Round-trip times beside a load, and what that load cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) round_trips: RoundTrips,
    /// Packets a second that were sent.
    pub(crate) rate: f64,
    pub(crate) loss: f64,
    pub(crate) usage: Usage,
    pub(crate) carried: Carried,
}

/// Everything, and what has to be said about it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) results: Vec<Results>,
    /// Half of the slowest peer's rate, in packets a second.
    pub(crate) half_rate: f64,
    pub(crate) warnings: Vec<String>,
}

/// Measures all worlds.
pub(crate) fn all(worlds: &[World], plan: &Plan) -> Measured {
    let mut measured = Measured { results: vec![Results::default(); worlds.len()], half_rate: 0.0, warnings: Vec::new() };
    measured.look_around("TCP");
    for round in 0..plan.rounds {
        tcp_round(worlds, plan, round, &mut measured.results);
    }
    measured.look_around("UDP");
    for (direction, _) in Direction::BOTH.iter().enumerate() {
        for size in 0..SIZES.len() {
            udp_search(worlds, plan, direction, size, &mut measured.results);
        }
    }
    measured.half_rate = half_of_slowest(worlds, &measured.results);
    measured.look_around("round-trip times");
    for round in 0..plan.rounds {
        latency_round(worlds, plan, round, &mut measured);
    }
    measured
}

impl Measured {
    fn look_around(&mut self, before: &str) {
        let busy = cpu::busy_share(Duration::from_secs(1));
        if busy > BUSY {
            self.warnings.push(format!(
                "before {before} the machine was {:.0}% busy with other work: numbers of the whole machine, rates and times mean little",
                busy * 100.0
            ));
            eprintln!("warning: {}", self.warnings.last().expect("just added"));
        }
    }
}

/// The contenders' numbers, beginning with another one each time: who goes first is not always the same.
fn turns(worlds: &[World], round: usize) -> impl Iterator<Item = usize> {
    let count = worlds.len();
    (0..count).map(move |turn| (turn + round) % count)
}

fn tcp_round(worlds: &[World], plan: &Plan, round: usize, results: &mut [Results]) {
    for (way, direction) in Direction::BOTH.into_iter().enumerate() {
        for (case, streams) in STREAMS.into_iter().enumerate() {
            for turn in turns(worlds, round) {
                let number = (round * 2 + way) * 2 + case;
                let run = tcp::run(&worlds[turn], direction, streams, plan, number);
                let (rate, packets) = (run.bits_per_second / 1e6, run.carried.packets());
                eprintln!("{}: TCP x{streams} {}: {rate:.0} Mbit/s, {packets} packets", worlds[turn].name, direction.label());
                results[turn].tcp[way][case].push(run);
            }
        }
    }
}

fn udp_search(worlds: &[World], plan: &Plan, way: usize, size: usize, results: &mut [Results]) {
    let mut searches: Vec<Search> = worlds.iter().map(|_| Search::new(STARTS[size], plan.halvings)).collect();
    while searches.iter().any(|search| search.next().is_some()) {
        for (world, search) in worlds.iter().zip(&mut searches) {
            let Some(asked) = search.next() else { continue };
            let (trial, _) = Flow::open(world).stream(Direction::BOTH[way], SIZES[size], asked, plan.udp);
            search.record(trial);
            say_trial(world, way, size, trial);
        }
    }
    for (results, search) in results.iter_mut().zip(&searches) {
        results.udp[way][size] = search.result();
    }
}

fn say_trial(world: &World, way: usize, size: usize, trial: Trial) {
    let Trial { asked, sent, loss } = trial;
    let (direction, bytes) = (Direction::BOTH[way].label(), SIZES[size]);
    eprintln!("{}: UDP {bytes} bytes {direction}: {sent:.0} of {asked:.0} packets/s sent, {:.2}% lost", world.name, loss * 100.0);
}

fn half_of_slowest(worlds: &[World], results: &[Results]) -> f64 {
    let way = Direction::BOTH.iter().position(|way| *way == HALF_LOAD.0).expect("one of both");
    let peers = worlds.iter().zip(results).filter(|(world, _)| world.contender.is_peer());
    // One that lost packets at every rate says nothing about the others.
    let slowest = peers.map(|(_, results)| results.udp[way][HALF_LOAD.1].0).filter(|rate| *rate > 0.0).min_by(f64::total_cmp);
    slowest.unwrap_or(2.0 * STARTS[HALF_LOAD.1]) / 2.0
}

fn latency_round(worlds: &[World], plan: &Plan, round: usize, measured: &mut Measured) {
    for turn in turns(worlds, round) {
        let idle = latency::ask(&worlds[turn], plan.latency);
        eprintln!("{}: idle: p50 {:.0} us, p99 {:.0} us", worlds[turn].name, idle.p50, idle.p99);
        measured.results[turn].idle.push(idle);
    }
    for turn in turns(worlds, round) {
        let half = beside_load(&worlds[turn], measured.half_rate, plan.latency);
        let RoundTrips { p50, p99, .. } = half.round_trips;
        eprintln!("{}: at {:.0} packets/s: p50 {p50:.0} us, p99 {p99:.0} us, {:.2}% lost", worlds[turn].name, half.rate, half.loss * 100.0);
        measured.results[turn].half.push(half);
    }
}

/// Asks beside a load that begins before the first question and ends after the last.
fn beside_load(world: &World, rate: f64, time: Duration) -> Loaded {
    let margin = Duration::from_millis(400);
    let flow = Flow::open(world);
    let processes = world.processes(std::process::id());
    std::thread::scope(|scope| {
        let load = scope.spawn(|| flow.stream(HALF_LOAD.0, SIZES[HALF_LOAD.1], rate, time + 2 * margin).0);
        std::thread::sleep(margin / 2);
        let (look, carried) = (Look::at(&processes), world.carried());
        let round_trips = latency::ask(world, time);
        let (usage, carried) = (Look::at(&processes) - look, world.carried().since(carried));
        let trial = load.join().expect("the load's thread");
        Loaded { round_trips, rate: trial.sent, loss: trial.loss, usage, carried }
    })
}
