//! The worker: the loop that owns NICs, tenants and tables.
//!
//! [`Worker::poll`] does one round: adopt a new configuration, obey commands, take what other workers hand over, empty the ports' rings,
//! find whose each frame is, send those whose turn it is through their routes, do a handshake, let time pass for what is due, transmit.
//! It reads no clock.
//!
//! | file | what is in it |
//! |---|---|
//! | `classify`, `attachments` | the way in: whose a frame is |
//! | [`fairness`] | bounded queues with deficit round robin, whatever waits in them |
//! | `tenant_queues`, `destination_class` | arrivals that wait in them for their tenants' turns, and of which class those for an office are |
//! | [`steering`] | which worker owns a tenant, and by what a frame shows it |
//! | `crossings`, `handoff` | frames that another worker owns, and the rings they go by |
//! | `transmit_handoff` | frames for a port where this worker has no queue |
//! | `sleep_state` | waking another worker |
//! | `dispatch` | an arrival's route, and what its verdict asks for |
//! | `fragments` | one packet that is not one datagram: fragments wait for their first one, and what is too big is cut |
//! | `prefetch` | what memory should bring meanwhile |
//! | `ipsec` | ESP by its SPI, IKE for the control plane |
//! | `ipv6` | neighbour discovery and echo of the relay's own IPv6 addresses; what else IPv6 brings |
//! | `security_associations` | what key exchange asks for, and what tunnels tell it |
//! | `handshakes` | what costs too much to be done between two packets |
//! | `source` | where a tunnel's message came from |
//! | `transmit`, `port` | the way out: outer headers, next hop, the NIC's queue |
//! | `icmp_errors` | telling a host why its packet was lost |
//! | `ledger` | every packet's end, and the conservation law |
//! | `audit` | feature `simulation`: where every frame of memory is |
//! | `housekeeping` | what is due: timers, probes, expiry |
//! | `adopt`, `difference` | taking over a configuration |
//! | [`control`], `snapshots` | commands and events; the rows of `show` |
//! | [`thread`] | the clock, and sleep |

mod adopt;
mod attachments;
#[cfg(feature = "simulation")]
mod audit;
mod classify;
pub mod control;
mod crossings;
mod destination_class;
mod difference;
mod dispatch;
pub mod fairness;
mod fragments;
mod handoff;
mod handshakes;
mod housekeeping;
mod icmp_errors;
mod ipsec;
mod ipv6;
mod ledger;
mod port;
mod prefetch;
mod security_associations;
mod sleep_state;
mod snapshots;
mod source;
pub mod steering;
mod tenant_queues;
pub mod thread;
mod transmit;
mod transmit_handoff;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rtrb::{Consumer, Producer};

use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::link::Interface;
use crate::nat::PortHalf;
use crate::nic::{BATCH, Nic};
use crate::packet::{FramePool, Packet};
use crate::publish::Reader;
use crate::rate::TokenBucket;
use crate::router_config::{EndpointId, PortId, RouterConfig};
use crate::tenant::{Places, Tenant};
use crate::time::{Duration, Instant};
use crate::tunnel::wireguard::WireGuardListener;
use crate::tunnel::{SpiTable, TenantId, TunnelTable};
use attachments::Attachments;
#[cfg(feature = "simulation")]
pub use audit::FrameAudit;
use classify::Arrival;
use control::{Command, Event};
use dispatch::Open;
use handoff::Crossing;
pub use handoff::Links;
use handshakes::Handshakes;
use ledger::Ledger;
use port::Port;
use steering::Steering;
use tenant_queues::TenantQueues;
pub use transmit_handoff::PortQueues;

/// Commands and events that may wait on their rings.
pub const RING: usize = 1024;

/// Batches taken from one port in one round. A round has to end, and to forward something, although a port brings more than that.
const MOST_BATCHES: usize = 16;

/// Both tables are changed together with the tenants, between two batches.
const LIVING: &str = "the tables of tunnels and attachments name living tenants only";

/// One of the relay's own ends of tunnels.
struct Endpoint {
    port: PortId,
    /// Where tunnels' messages come to; IPsec's in UDP. With WireGuard the same port of the IPv6 address, too, where there is one.
    local: SocketAddrV4,
    /// None where the endpoint speaks IPsec.
    listener: Option<WireGuardListener>,
}

/// Everything that one worker thread owns.
pub struct Worker {
    reader: Reader<RouterConfig>,
    config: Arc<RouterConfig>,
    ledger: Ledger,
    ports: Vec<Port>,
    /// The access network of each port that has an address.
    access: Vec<Option<Interface>>,
    endpoints: Vec<Endpoint>,
    /// The IPsec endpoint of each port, where there is one.
    ipsec_at: Vec<Option<EndpointId>>,
    tenants: Vec<Option<Box<Tenant>>>,
    names: HashMap<Arc<str>, TenantId, RandomState>,
    tunnels: TunnelTable,
    spis: SpiTable,
    attachments: Attachments,
    commands: Consumer<Command>,
    events: Producer<Event>,
    /// Events that must not be lost, and found the ring full.
    untold: VecDeque<Event>,
    /// Something is on the ring since the control plane was last woken.
    told: bool,
    punt_limits: ipsec::PuntLimits,
    batch: Vec<Packet>,
    arrivals: Vec<Arrival>,
    tenant_queues: TenantQueues,
    fragment_places: Places,
    vector: Vec<Open>,
    handshakes: Handshakes,
    steering: Steering,
    links: Links,
    crossings: Vec<Crossing>,
    housekeeping: housekeeping::Schedule,
    echoes: TokenBucket,
    port_half: PortHalf,
    seed: u64,
    /// From 1970 to [`Instant::ZERO`].
    start: Duration,
}

/// What a worker is made of.
pub struct WorkerParts {
    /// Its queues, in the order of [`RouterConfig::ports`].
    pub ports: Vec<PortQueues>,
    /// Its place among all workers.
    pub links: Links,
    /// The frames.
    pub pool: FramePool,
    /// Where configurations come from; one must have been published.
    pub config: Reader<RouterConfig>,
    /// The worker's counters.
    pub counters: Arc<WorkerCounters>,
    /// A secret random number of its own: ports, receiver indices and hash seeds are drawn from it.
    pub seed: u64,
    /// Of the ports of pools, those that this run of the relay gives out first.
    pub port_half: PortHalf,
    /// The processor to stay on.
    pub cpu: Option<usize>,
    /// From 1970 to [`Instant::ZERO`]: peers take a handshake with an older time stamp than one of the run before for a replay.
    pub start: Duration,
}

impl Worker {
    /// A worker, and the control plane's ends of its rings.
    ///
    /// # Panics
    /// When no configuration was published, or not each configured port was opened.
    #[must_use]
    pub fn new(parts: WorkerParts, now: Instant) -> (Self, Producer<Command>, Consumer<Event>) {
        let (commands_in, commands) = rtrb::RingBuffer::new(RING);
        let (events, events_out) = rtrb::RingBuffer::new(RING);
        let mut reader = parts.config;
        let (generation, config) = reader.changed().expect("a configuration is published before its worker starts");
        assert_eq!(parts.ports.len(), config.ports.len(), "each configured port was opened");
        let id = parts.links.worker();
        let steering = Steering::new(id, parts.links.workers());
        let ports = parts.ports.into_iter().zip(&config.ports);
        // Indices are seen by everybody on the way, ports by nobody but their tenant: the two come from different seeds.
        let mut seeds = StdRng::seed_from_u64(parts.seed);
        let free = parts.pool.free();
        let (tenant_queues, handshakes, fragment_places) = (TenantQueues::new(free), Handshakes::new(free), fragments::places(free));
        let mut worker = Self {
            reader,
            config: Arc::clone(&config),
            ledger: Ledger::new(parts.pool, parts.counters),
            ports: ports.map(|(queues, port)| Port::new(queues, Arc::clone(port.counters.share(id)))).collect(),
            access: adopt::access_interfaces(&config, id),
            endpoints: Vec::new(),
            ipsec_at: vec![None; config.ports.len()],
            tenants: Vec::new(),
            names: HashMap::with_hasher(RandomState::default()),
            tunnels: TunnelTable::new(steering.indices(), seeds.next_u64()),
            spis: SpiTable::default(),
            attachments: Attachments::default(),
            commands,
            events,
            untold: VecDeque::new(),
            told: false,
            punt_limits: ipsec::PuntLimits::new(),
            batch: Vec::with_capacity(BATCH),
            arrivals: Vec::with_capacity(BATCH),
            tenant_queues,
            fragment_places,
            vector: Vec::with_capacity(dispatch::VECTOR),
            handshakes,
            steering,
            links: parts.links,
            crossings: Vec::with_capacity(BATCH),
            housekeeping: housekeeping::Schedule::new(now),
            echoes: TokenBucket::FULL,
            port_half: parts.port_half,
            seed: seeds.next_u64(),
            start: parts.start,
        };
        worker.adopt(generation, config, now);
        (worker, commands_in, events_out)
    }

    /// One round. Returns how many frames it received and how many packets still wait for their turn: with none, there is time to
    /// sleep until [`Self::next_deadline`].
    pub fn poll(&mut self, now: Instant) -> usize {
        self.ledger.counters.polls.add(1);
        if let Some((generation, config)) = self.reader.changed() {
            self.adopt(generation, config, now);
        }
        while self.tell_what_waited()
            && let Ok(command) = self.commands.pop()
        {
            self.obey(command, now);
        }
        let mut received = self.take_over(now);
        for index in 0..self.ports.len() {
            for queue in 0..self.ports[index].nics.len() {
                received += self.receive(index, queue, now);
            }
        }
        self.serve(now);
        if self.handshakes.are_due(received + self.tenant_queues.len(), now) {
            // The packets of this round do not wait for it.
            self.flush();
            self.next_handshake(now);
        }
        self.keep_house(now);
        self.flush();
        self.serve_others();
        received + self.handshakes.len() + self.tenant_queues.len()
    }

    /// When [`Self::poll`] has something to do although no frame arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.housekeeping.next()
    }

    /// The NICs, for asking what there is to wait for.
    pub fn nics(&mut self) -> impl Iterator<Item = &mut Box<dyn Nic>> {
        self.ports.iter_mut().flat_map(|port| &mut port.nics)
    }

    /// Book that the worker goes to sleep.
    pub fn count_sleep(&self) {
        self.ledger.counters.sleeps.add(1);
    }

    /// End the worker and keep the NICs.
    #[must_use]
    pub fn into_nics(self) -> Vec<Box<dyn Nic>> {
        self.ports.into_iter().flat_map(|port| port.nics).collect()
    }

    /// Empty the ring of a port's queue: what it has no room for is lost whoever it belongs to, while here everybody loses what is his.
    fn receive(&mut self, index: usize, queue: usize, now: Instant) -> usize {
        let mut received = 0;
        for _ in 0..MOST_BATCHES {
            let packets = self.receive_batch(index, queue, now);
            received += packets;
            if packets < BATCH {
                break;
            }
        }
        received
    }

    /// Take a batch from a queue of a port, and find whose each frame is.
    fn receive_batch(&mut self, index: usize, queue: usize, now: Instant) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let port = &mut self.ports[index];
        let outcome = port.nics[queue].receive(&mut self.ledger.frames, &mut batch);
        let lost = [
            (outcome.too_big, DropReason::FrameTooBig),
            (outcome.malformed, DropReason::SuperFrameMalformed),
            (outcome.no_frame, DropReason::NoFreeFrame),
        ];
        for (lost, reason) in lost {
            if lost > 0 {
                self.ledger.received(lost as u64);
                self.ledger.lost(lost as u64, reason, &port.counters.drops);
            }
        }
        let (segments, bytes) = batch.iter().fold((0, 0), |(segments, bytes), packet| (segments + packet.segments(), bytes + packet.len()));
        self.ledger.received(segments);
        port.counters.received.add(segments, bytes);
        let id = PortId(u8::try_from(index).expect("ports are numbered by bytes"));
        let mut rest = batch.drain(..);
        while let Some(packet) = rest.next() {
            prefetch::ask_for_headers(rest.as_slice());
            if let Some(arrival) = self.classify(id, packet, now) {
                self.admit(arrival);
            }
        }
        drop(rest);
        self.batch = batch;
        outcome.packets
    }

    /// Hand what is ready to the NICs.
    fn flush(&mut self) {
        for port in &mut self.ports {
            port.flush(&mut self.ledger);
        }
    }
}
