//! One worker against two, each on a thread of its own, with the same two queues on each port and the same tenants.
//!
//! `anywhere`: a frame arrives at a queue that knows nothing of its tenant's owner, so half of all frames are handed over. `at-owner`:
//! nothing is. The cost of a slice is the processor time of the thread that had more to do, polls that found something: what bounds the
//! rate on a machine without other guests. It leaves out the time in which one waits for the other. The clock on the wall, which shows
//! that too, and whoever else uses the machine, stands beside it.

use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataplane::counters::WorkerCounters;
use dataplane::nat::{Direction, PortHalf};
use dataplane::nic::memory::{MemoryNic, MemoryWire};
use dataplane::nic::{BATCH, Nic};
use dataplane::packet::FramePool;
use dataplane::publish::Publisher;
use dataplane::router_config::{SecretKey, TenantEntry};
use dataplane::time::Instant;
use dataplane::tunnel::Content;
use dataplane::tunnel::wireguard;
use dataplane::wire::ethernet::{self, Ethernet};
use dataplane::worker::{Links, PortQueues, Worker, WorkerParts, steering};
use serde::Serialize;

use crate::busy_time;
use crate::cipher::BareCipher;
use crate::frames::{arp_reply, source_and_mark};
use crate::office::{ACCESS_MAC, Office, TRUNK_MAC};
use crate::path::{LARGE, MIDDLE, SMALL, median};
use crate::relay_config::{MTU, limits, router_config, tenant};
use crate::suite::Suite::ChaCha20Poly1305 as WIREGUARD;
use crate::suite::wireguard_peer;

const WORKERS: usize = 2;
/// Queues of each port, whatever the number of workers.
const QUEUES: usize = 2;
/// Half of them for each of two owners.
const TENANTS: usize = 64;
const FRAMES: u32 = 32_768;
const RING: usize = 2_048;
/// Packets of a slice: 1 to 3 ms.
const SLICE: usize = 24 * BATCH;
const WARM_UP: usize = 4;
const ROUNDS: usize = 41;
/// A slice that does not end is no number.
const LONGEST_POLLS: usize = 10_000_000;

/// One case's medians.
#[derive(Serialize)]
pub(crate) struct Row {
    case: &'static str,
    suite: &'static str,
    direction: &'static str,
    size: usize,
    tenants: usize,
    sessions: usize,
    workers: usize,
    /// `anywhere` or `at-owner`.
    arrival: &'static str,
    /// Of the busier thread's processor time.
    ns_per_packet: f64,
    aead_ns_per_packet: f64,
    ratio: f64,
    /// Of the clock on the wall, others on the machine included.
    wall_ns_per_packet: f64,
    /// Packets a second against one worker: median of the ratios of slices measured in turn; by processor time, and by the wall's clock.
    speedup: f64,
    wall_speedup: f64,
}

/// Run every case.
pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut one, mut two) = (Fleet::new(1), Fleet::new(WORKERS));
    for arrival in ["anywhere", "at-owner"] {
        for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
            for size in [SMALL, MIDDLE, LARGE] {
                rows.extend(compare(&mut one, &mut two, arrival, direction, size));
            }
        }
    }
    rows
}

/// The table for people.
pub(crate) fn print_table(rows: &[Row]) {
    println!(
        "\n{:<10} {:<16} {:>5} {:>8} {:>10} {:>10} {:>9} {:>6} {:>8} {:>8}",
        "arrival", "direction", "bytes", "workers", "ns/packet", "wall ns", "AEAD ns", "ratio", "speedup", "(wall)"
    );
    for row in rows {
        println!(
            "{:<10} {:<16} {:>5} {:>8} {:>10.0} {:>10.0} {:>9.0} {:>6.2} {:>8.2} {:>8.2}",
            row.arrival,
            row.direction,
            row.size,
            row.workers,
            row.ns_per_packet,
            row.wall_ns_per_packet,
            row.aead_ns_per_packet,
            row.ratio,
            row.speedup,
            row.wall_speedup
        );
    }
}

fn compare(one: &mut Fleet, two: &mut Fleet, arrival: &'static str, direction: Direction, size: usize) -> [Row; 2] {
    let mut cipher = BareCipher::new(WIREGUARD, size);
    let mut samples: [Vec<[f64; 2]>; 2] = [Vec::new(), Vec::new()];
    let mut bare = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let spent = [&mut *one, &mut *two].map(|fleet| fleet.slice(arrival, direction, size));
        let cipher = nanos(cipher.spend(direction, SLICE));
        if round >= WARM_UP {
            samples.iter_mut().zip(spent).for_each(|(samples, (busy, wall))| samples.push([nanos(busy), nanos(wall)]));
            bare.push(cipher);
        }
    }
    let column = |fleet: usize, kind: usize| samples[fleet].iter().map(|sample| sample[kind]).collect::<Vec<f64>>();
    let speedup =
        |fleet: usize, kind: usize| median(column(0, kind).iter().zip(column(fleet, kind)).map(|(one, more)| one / more).collect());
    [0, 1].map(|fleet| Row {
        case: "workers",
        suite: WIREGUARD.label(),
        direction: direction.label(),
        size,
        tenants: TENANTS,
        sessions: TENANTS,
        workers: [1, WORKERS][fleet],
        arrival,
        ns_per_packet: median(column(fleet, 0)),
        aead_ns_per_packet: median(bare.clone()),
        ratio: median(column(fleet, 0).iter().zip(&bare).map(|(ours, bare)| ours / bare).collect()),
        wall_ns_per_packet: median(column(fleet, 1)),
        speedup: speedup(fleet, 0),
        wall_speedup: speedup(fleet, 1),
    })
}

fn nanos(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e9 / SLICE as f64
}

/// A relay of one or several workers, and everybody around it.
struct Fleet {
    time: Instant,
    workers: Vec<Worker>,
    counters: Vec<Arc<WorkerCounters>>,
    /// By queue.
    access: Vec<MemoryWire>,
    trunk: Vec<MemoryWire>,
    offices: Vec<Office>,
    /// The queue that belongs to each office's owner when there are two.
    owners: Vec<usize>,
}

/// Numbers of tenants, in turn of each of two owners.
fn numbers() -> Vec<usize> {
    let of = |owner: usize| (0..).filter(move |number| steering::owner(&tenant_name(*number), WORKERS).index() == owner);
    of(0).zip(of(1)).flat_map(|(first, second)| [first, second]).take(TENANTS).collect()
}

fn tenant_name(number: usize) -> String {
    tenant(number, wireguard_peer([1; 32]), limits(1)).config.name.to_string()
}

impl Fleet {
    fn new(count: usize) -> Self {
        let time = Instant::from_secs(1);
        let relay_key = wireguard::generate().expect("random bytes");
        let relay = wireguard::public_key(&relay_key);
        let numbers = numbers();
        let keys: Vec<SecretKey> = numbers.iter().map(|_| wireguard::generate().expect("random bytes")).collect();
        let offices = numbers.iter().zip(&keys).map(|(number, key)| Office::new(WIREGUARD, *number, key, relay, time)).collect();
        let entry = |(number, key): (&usize, &SecretKey)| tenant(*number, wireguard_peer(wireguard::public_key(key)), limits(64));
        let entries: Vec<TenantEntry> = numbers.iter().zip(&keys).map(entry).collect();
        let owners = numbers.iter().map(|number| steering::owner(&tenant_name(*number), WORKERS).index()).collect();
        let config = Publisher::new(router_config(WIREGUARD.endpoint(relay_key), entries));
        let mut pools = FramePool::shared(FRAMES, count).expect("memory");
        let links = Links::between(&pools);
        let mut wires = [Vec::new(), Vec::new()];
        let nics = [("access", ACCESS_MAC), ("trunk", TRUNK_MAC)].into_iter().zip(&mut wires).map(|((name, mac), wires)| {
            let mut of_workers: Vec<Vec<Box<dyn Nic>>> = pools.iter().map(|_| Vec::new()).collect();
            for queue in 0..QUEUES {
                let (nic, wire) = MemoryNic::new(name, mac.0, MTU, RING, &mut pools[queue % count]);
                of_workers[queue % count].push(Box::new(nic));
                wires.push(wire);
            }
            of_workers
        });
        let dealt = PortQueues::deal(nics.collect(), &links);
        let counters: Vec<Arc<WorkerCounters>> = links.iter().map(|_| Arc::default()).collect();
        let parts = dealt.into_iter().zip(pools).zip(links).zip(&counters);
        let workers = parts.map(|(((ports, pool), links), counters)| {
            let parts = WorkerParts {
                ports,
                links,
                pool,
                config: config.reader(),
                counters: Arc::clone(counters),
                seed: 1,
                port_half: PortHalf::Even,
                cpu: None,
                start: Duration::ZERO,
            };
            Worker::new(parts, time).0
        });
        let workers = workers.collect();
        let [access, trunk] = wires;
        let mut fleet = Self { time, workers, counters, access, trunk, offices, owners };
        for _ in 0..64 {
            fleet.step(Duration::from_millis(16));
        }
        (0..TENANTS).for_each(|number| fleet.connect(number));
        fleet
    }

    /// Let `time` pass, and the workers work in turn. Returns the frames that are no ARP.
    fn step(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.time = self.time + time;
        let mut frames = Vec::new();
        for _ in 0..4 {
            for worker in &mut self.workers {
                worker.poll(self.time);
            }
            for wire in self.access.iter_mut().chain(&mut self.trunk) {
                while let Some(answer) = wire.with_transmitted(|frame, _| {
                    let header = Ethernet::parse(frame).expect("the relay's frames are sound");
                    if header.ethertype == ethernet::ARP {
                        return arp_reply(&frame[header.header_len..], &header);
                    }
                    frames.push(frame[header.header_len..].to_vec());
                    None
                }) {
                    answer.into_iter().for_each(|answer| wire.inject(&answer).expect("room"));
                }
            }
        }
        frames
    }

    fn connect(&mut self, number: usize) {
        let mut out = [0; 2_048];
        let office = &mut self.offices[number];
        let len = office.initiate(&mut out, self.time);
        self.access[0].inject(&office.outer(&out[..len])).expect("room");
        let answers = self.step(Duration::from_millis(4));
        let [answer] = &answers[..] else { panic!("one answer to a handshake, not {}", answers.len()) };
        let office = &mut self.offices[number];
        let done = office.decapsulate(&answer[28..], &mut out, self.time).expect("the relay's answer");
        let Content::Reply { len } = done else { panic!("a handshake ends with a keepalive") };
        self.access[0].inject(&office.outer(&out[..len])).expect("room");
        self.step(Duration::ZERO);
        self.access[0].inject(&self.offices[number].open_datagram(100, self.time)).expect("room");
        let arrived = self.step(Duration::ZERO);
        let [packet] = &arrived[..] else { panic!("one packet at the cloud, not {}", arrived.len()) };
        let (source, session) = source_and_mark(packet).expect("a whole packet");
        self.offices[number].saw(session, source);
        self.offices[number].walk_all();
    }

    fn transmitted(counters: &[Arc<WorkerCounters>]) -> u64 {
        counters.iter().map(|counters| counters.transmitted.get()).sum()
    }

    /// A slice of packets waits in the queues, then all workers begin. Returns the busier thread's processor time, and the time until
    /// all packets were transmitted.
    fn slice(&mut self, arrival: &str, direction: Direction, size: usize) -> (Duration, Duration) {
        self.step(Duration::from_millis(20));
        for number in (0..TENANTS).cycle().take(SLICE) {
            let office = &mut self.offices[number];
            let (frame, wires) = match direction {
                Direction::OfficeToCloud => (office.next_datagram(size, self.time), &mut self.access),
                Direction::CloudToOffice => (office.next_cloud_packet(size), &mut self.trunk),
            };
            // Two tenants of one owner and then of the other come to each queue.
            let queue = if arrival == "anywhere" { number / 2 % QUEUES } else { self.owners[number] };
            wires[queue].inject(&frame).expect("the ring has room for a slice");
        }
        let lost_before: u64 = self.counters.iter().map(|counters| counters.dropped.get()).sum();
        let (counters, now) = (&self.counters, self.time);
        let end = Self::transmitted(counters) + SLICE as u64;
        let (ready, go) = (Barrier::new(self.workers.len() + 1), AtomicBool::new(false));
        let work = |worker: &mut Worker| {
            ready.wait();
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            let mut busy = Duration::ZERO;
            for _ in 0..LONGEST_POLLS {
                let start = busy_time();
                if worker.poll(now) > 0 {
                    // Looking for work in vain is waiting: for the other worker, or for a processor that a stranger has.
                    busy += busy_time() - start;
                } else if Self::transmitted(counters) >= end {
                    break;
                }
            }
            (busy, wall_time())
        };
        let spent: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
            let threads: Vec<_> = self.workers.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
            ready.wait();
            let start = wall_time();
            go.store(true, Ordering::Release);
            threads.into_iter().map(|thread| thread.join().expect("a worker")).map(|(busy, end)| (busy, end - start)).collect()
        });
        let forwarded = self.step(Duration::ZERO).len();
        let lost: u64 = self.counters.iter().map(|counters| counters.dropped.get()).sum();
        assert_eq!((forwarded, lost - lost_before), (SLICE, 0), "every packet is forwarded, none is lost");
        let most = |pick: fn(&(Duration, Duration)) -> Duration| spent.iter().map(pick).max().expect("a worker");
        (most(|spent| spent.0), most(|spent| spent.1))
    }
}

fn wall_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).expect("a time since the start")
}
