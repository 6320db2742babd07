//! The relay of a simulated world: real workers over NICs of memory.

use std::sync::Arc;

use rand::RngCore;
use rand::rngs::SmallRng;
use rtrb::{Consumer, Producer};

use crate::counters::WorkerCounters;
use crate::nat::PortHalf;
use crate::nic::Nic;
use crate::nic::memory::{MemoryNic, MemoryWire};
use crate::packet::FramePool;
use crate::publish::Publisher;
use crate::router_config::{PortConfig, PortId, RouterConfig};
use crate::simulation::stations::relay_mac;
use crate::time::{Duration, Instant};
use crate::worker::control::{Command, Event};
use crate::worker::{Links, PortQueues, Worker, WorkerParts};

/// How much memory a world's relay has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dimensions {
    /// Frames of memory.
    pub frames: u32,
    /// Slots of each ring of each NIC.
    pub ring: usize,
    /// MTU of the ports.
    pub mtu: u16,
    /// Workers, which share the frames.
    pub workers: usize,
    /// Queues of each NIC, dealt out to the workers in turn.
    pub queues: usize,
    /// The relay has an IPv6 address on the access network, too.
    pub ipv6: bool,
}

impl Default for Dimensions {
    fn default() -> Self {
        Self { frames: 512, ring: 64, mtu: 1_500, workers: 1, queues: 1, ipv6: false }
    }
}

/// What a run of the relay finds at its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Start {
    /// Of the ports of pools, those that it gives out first.
    pub port_half: PortHalf,
    /// From 1970 to its start, as the machine's wall clock has it.
    pub since_1970: Duration,
}

/// The workers, and what those outside hold of them.
pub struct Relay {
    /// The workers.
    pub workers: Vec<Worker>,
    /// Commands to each worker.
    pub commands: Vec<Producer<Command>>,
    /// Events of each worker.
    pub events: Vec<Consumer<Event>>,
    /// What each worker counts about itself.
    pub counters: Vec<Arc<WorkerCounters>>,
    /// The cables' ends of the NICs, by port and queue.
    pub wires: Vec<Vec<MemoryWire>>,
}

impl Relay {
    /// Workers with NICs of memory, which read what `publisher` has published. Their secrets come from `random`.
    ///
    /// # Panics
    /// Where the machine has no memory left.
    pub fn new(
        ports: &[PortConfig],
        dimensions: Dimensions,
        publisher: &Publisher<RouterConfig>,
        found: Start,
        random: &mut SmallRng,
        now: Instant,
    ) -> Self {
        let mut pools = FramePool::shared(dimensions.frames, dimensions.workers).expect("memory for frames");
        let links = Links::between(&pools);
        let (mut nics, mut wires) = (Vec::new(), Vec::new());
        for (number, port) in (0u8..).zip(ports) {
            let mac = relay_mac(PortId(number));
            let mut of_workers: Vec<Vec<Box<dyn Nic>>> = pools.iter().map(|_| Vec::new()).collect();
            let mut of_queues = Vec::new();
            for queue in 0..dimensions.queues {
                let worker = queue % pools.len();
                let (nic, wire) = MemoryNic::new(&port.name, mac.0, dimensions.mtu, dimensions.ring, &mut pools[worker]);
                of_workers[worker].push(Box::new(nic));
                of_queues.push(wire);
            }
            nics.push(of_workers);
            wires.push(of_queues);
        }
        let mut relay = Self { workers: Vec::new(), commands: Vec::new(), events: Vec::new(), counters: Vec::new(), wires };
        for ((ports, pool), links) in PortQueues::deal(nics, &links).into_iter().zip(pools).zip(links) {
            let counters = Arc::new(WorkerCounters::default());
            let (config, seed) = (publisher.reader(), random.next_u64());
            let parts = WorkerParts {
                ports,
                links,
                pool,
                config,
                counters: Arc::clone(&counters),
                seed,
                port_half: found.port_half,
                cpu: None,
                start: found.since_1970,
            };
            let (worker, commands, events) = Worker::new(parts, now);
            relay.workers.push(worker);
            relay.commands.push(commands);
            relay.events.push(events);
            relay.counters.push(counters);
        }
        relay
    }
}
