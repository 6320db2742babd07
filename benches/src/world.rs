//! A relay and everybody around it, in memory: municipal routers behind one access gateway, a gateway on each tenant's VLAN.

mod soak;

use std::sync::Arc;
use std::time::Duration;

use dataplane::counters::{PortCounters, WorkerCounters};
pub(crate) use dataplane::nat::Direction;
use dataplane::nat::PortHalf;
use dataplane::nic::memory::{MemoryNic, MemoryWire};
use dataplane::nic::{BATCH, Nic};
use dataplane::packet::FramePool;
use dataplane::publish::Publisher;
use dataplane::router_config::{Limits, SecretKey, TenantEntry, Vlan};
use dataplane::time::Instant;
use dataplane::tunnel::Content;
use dataplane::tunnel::wireguard;
use dataplane::wire::ethernet::{self, Ethernet};
use dataplane::worker::control::{Command, Event};
use dataplane::worker::{Links, PortQueues, Worker, WorkerParts};
use rtrb::{Consumer, Producer};

use crate::busy_time;
use crate::frames::{arp_reply, source_and_mark};
use crate::office::{ACCESS_MAC, Office, TRUNK_MAC};
use crate::relay_config::{CLOUD_HOST, MTU, limits, office_host, router_config, tenant, tenant_of};
use crate::suite::Suite;

pub(crate) use soak::{Books, Soak};

/// A few milliseconds of traffic for each slot of a NIC's ring.
const FRAMES_PER_SLOT: u32 = 8;
const RING: usize = 1_024;

/// Which packets a load is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// Of sessions that are open, far from each other in memory.
    Known(Direction),
    /// Each the first one of a session.
    New,
}

impl Load {
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Known(direction) => direction,
            Self::New => Direction::OfficeToCloud,
        }
    }
}

pub(crate) struct World {
    /// The relay's time goes on while its worker is busy, as on a core of its own: timers come as often as they would there.
    time: Instant,
    worker: Worker,
    commands: Producer<Command>,
    events: Consumer<Event>,
    suite: Suite,
    entries: Vec<TenantEntry>,
    counters: Arc<WorkerCounters>,
    port_counters: Vec<Arc<PortCounters>>,
    access: MemoryWire,
    trunk: MemoryWire,
    offices: Vec<Office>,
    /// How long one batch of new sessions takes at the rate that the tenants' limits allow.
    opening: Duration,
    next: usize,
    lost_before: u64,
}

impl World {
    /// `tenants` municipalities, each with its tunnel up, and `sessions` open, spread evenly, at least one each. Beyond these, `more` can be opened.
    pub(crate) fn new(tenants: usize, sessions: usize, more: usize) -> Self {
        Self::with_ring(tenants, sessions, more, RING)
    }

    /// As [`Self::new`], with so many slots on each ring of the NICs.
    pub(crate) fn with_ring(tenants: usize, sessions: usize, more: usize, ring: usize) -> Self {
        Self::with_limits(Suite::ChaCha20Poly1305, tenants, sessions, limits((sessions + more).div_ceil(tenants)), ring)
    }

    /// As [`Self::new`], with tunnels of this suite.
    pub(crate) fn over(suite: Suite, tenants: usize, sessions: usize, more: usize) -> Self {
        Self::with_limits(suite, tenants, sessions, limits((sessions + more).div_ceil(tenants)), RING)
    }

    fn with_limits(suite: Suite, tenants: usize, sessions: usize, limits: Limits, ring: usize) -> Self {
        let time = Instant::from_secs(1);
        let relay_key = wireguard::generate().expect("random bytes");
        let keys: Vec<SecretKey> = (0..tenants).map(|_| wireguard::generate().expect("random bytes")).collect();
        let relay = wireguard::public_key(&relay_key);
        let offices = keys.iter().enumerate().map(|(number, key)| Office::new(suite, number, key, relay, time)).collect();
        let key = |number: usize| wireguard::public_key(&keys[number]);
        let entries: Vec<TenantEntry> = (0..tenants).map(|number| tenant(number, suite.tunnel(key(number)), limits)).collect();
        let config = router_config(suite.endpoint(relay_key), entries.clone());
        let port_counters = config.ports.iter().map(|port| Arc::clone(&port.counters)).collect();
        let config = Publisher::new(config);
        let mut pool = FramePool::new(FRAMES_PER_SLOT * u32::try_from(ring).expect("a small number")).expect("memory");
        make_resident(&mut pool);
        let (access_nic, access) = MemoryNic::new("access", ACCESS_MAC.0, MTU, ring, &mut pool);
        let (trunk_nic, trunk) = MemoryNic::new("trunk", TRUNK_MAC.0, MTU, ring, &mut pool);
        let nics: [Box<dyn Nic>; 2] = [Box::new(access_nic), Box::new(trunk_nic)];
        let ports = nics.map(PortQueues::from).into();
        let counters: Arc<WorkerCounters> = Arc::default();
        let links = Links::alone();
        let parts = WorkerParts {
            ports,
            links,
            pool,
            config: config.reader(),
            counters: Arc::clone(&counters),
            seed: 1,
            port_half: PortHalf::Even,
            cpu: None,
            start: Duration::ZERO,
        };
        let (worker, commands, events) = Worker::new(parts, time);
        let opening = Duration::from_secs(1) * u32::try_from(BATCH).expect("a small number")
            / (limits.new_sessions_per_second.get() * u32::try_from(tenants).expect("few enough"));
        let mut world = Self {
            time,
            worker,
            commands,
            events,
            suite,
            entries,
            counters,
            port_counters,
            access,
            trunk,
            offices,
            opening,
            next: 0,
            lost_before: 0,
        };
        // Until every gateway is known.
        for _ in 0..64 {
            world.step(Duration::from_millis(16));
        }
        for number in 0..tenants {
            world.connect(number);
        }
        world.open_sessions(sessions);
        world.lost_before = world.counters.dropped.get();
        world
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) fn tenants(&self) -> usize {
        self.offices.len()
    }

    /// Open sessions that the load walks.
    pub(crate) fn sessions(&self) -> usize {
        self.offices.iter().map(Office::open).sum()
    }

    /// Inner packets forwarded since the start.
    pub(crate) fn forwarded(&self, direction: Direction) -> u64 {
        let packets = |tenant: &TenantEntry| match direction {
            Direction::OfficeToCloud => tenant.counters.office_to_cloud.packets.get(),
            Direction::CloudToOffice => tenant.counters.cloud_to_office.packets.get(),
        };
        self.entries.iter().map(packets).sum()
    }

    /// Sessions opened since the start.
    pub(crate) fn opened(&self) -> u64 {
        self.entries.iter().map(|tenant| tenant.counters.sessions_opened.get()).sum()
    }

    /// Packets lost since all tunnels were up.
    pub(crate) fn lost(&self) -> u64 {
        self.counters.dropped.get() - self.lost_before
    }

    /// Frames with inner packets of `size` bytes, from one tenant after the other.
    pub(crate) fn load(&mut self, load: Load, size: usize, packets: usize) -> Vec<Vec<u8>> {
        if load == Load::New {
            // Time for the limits to allow the next ones.
            self.step(self.opening * u32::try_from(packets.div_ceil(BATCH)).expect("a small number"));
        }
        let now = self.time;
        let mut frames = Vec::with_capacity(packets);
        for _ in 0..packets {
            self.next = (self.next + 1) % self.offices.len();
            let office = &mut self.offices[self.next];
            frames.push(match load {
                Load::Known(Direction::OfficeToCloud) => office.next_datagram(size, now),
                Load::Known(Direction::CloudToOffice) => office.next_cloud_packet(size),
                Load::New => office.open_datagram(size, now),
            });
        }
        frames
    }

    /// Let the frames arrive, a batch at a time; returns how long the worker was busy with them.
    pub(crate) fn forward(&mut self, direction: Direction, frames: &[Vec<u8>]) -> Duration {
        let mut busy = Duration::ZERO;
        let mut batches = frames.chunks(BATCH);
        loop {
            let batch = batches.next();
            for frame in batch.unwrap_or_default() {
                let wire = if direction == Direction::OfficeToCloud { &mut self.access } else { &mut self.trunk };
                wire.inject(frame).expect("the ring has room for a batch");
            }
            let (received, spent) = self.poll();
            busy += spent;
            drain([&mut self.access, &mut self.trunk], |_, _| {});
            if batch.is_none() && received == 0 {
                return busy;
            }
        }
    }

    /// The worker's time.
    pub(crate) fn now(&self) -> Instant {
        self.time
    }

    /// Let time pass in which nothing happens.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.time = self.time + time;
    }

    /// Let one packet of an open session of this tenant arrive. False where the ring is full.
    pub(crate) fn arrive(&mut self, tenant: usize, direction: Direction, size: usize) -> bool {
        let office = &mut self.offices[tenant];
        match direction {
            Direction::OfficeToCloud => self.access.inject(&office.next_datagram(size, self.time)).is_ok(),
            Direction::CloudToOffice => self.trunk.inject(&office.next_cloud_packet(size)).is_ok(),
        }
    }

    /// One poll. Returns how many packets it received, or left waiting.
    pub(crate) fn poll_once(&mut self) -> usize {
        let (received, _) = self.poll();
        drain([&mut self.access, &mut self.trunk], |_, _| {});
        received
    }

    /// Inner packets of one tenant forwarded since the start.
    pub(crate) fn forwarded_of(&self, tenant: usize, direction: Direction) -> usize {
        let counters = &self.entries[tenant].counters;
        let traffic = match direction {
            Direction::OfficeToCloud => &counters.office_to_cloud,
            Direction::CloudToOffice => &counters.cloud_to_office,
        };
        usize::try_from(traffic.packets.get()).expect("a number of packets")
    }

    fn poll(&mut self) -> (usize, Duration) {
        let start = busy_time();
        let received = self.worker.poll(self.time);
        let spent = busy_time() - start;
        self.time = self.time + spent;
        (received, spent)
    }

    /// Let `time` pass, and the worker work. Returns the frames that are no ARP.
    fn step(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.time = self.time + time;
        let mut frames = Vec::new();
        for _ in 0..2 {
            self.worker.poll(self.time);
            drain([&mut self.access, &mut self.trunk], |frame, header| frames.push(frame[header.header_len..].to_vec()));
        }
        frames
    }

    /// SAs or a handshake, then one packet there and one back, looked at on both sides.
    fn connect(&mut self, number: usize) {
        if self.suite.is_ipsec() {
            self.install_pair(number);
        } else {
            self.shake_hands(number);
        }
        self.open_first_session(number);
    }

    fn install_pair(&mut self, number: usize) {
        let pair = self.suite.pair(u16::try_from(number).expect("few enough"), self.offices[number].router);
        let (tenant, tunnel) = (Arc::clone(&self.entries[number].config.name), "main".into());
        self.commands.push(Command::InstallSa { id: number as u64, tenant, tunnel, pair: Box::new(pair) }).expect("room");
        self.step(Duration::ZERO);
        let installed =
            std::iter::from_fn(|| self.events.pop().ok()).any(|event| matches!(event, Event::SaInstalled { outcome: Ok(()), .. }));
        assert!(installed, "the worker has the SA pair of tenant {number}");
    }

    fn shake_hands(&mut self, number: usize) {
        let now = self.time;
        let mut out = [0; 2_048];
        let office = &mut self.offices[number];
        let len = office.initiate(&mut out, now);
        self.access.inject(&office.outer(&out[..len])).expect("room");
        // The relay answers 500 unproved sources a second.
        let answers = self.step(Duration::from_millis(4));
        let [answer] = &answers[..] else { panic!("one answer to a handshake, not {}", answers.len()) };
        let office = &mut self.offices[number];
        let done = office.decapsulate(&answer[28..], &mut out, now).expect("the relay's answer");
        let Content::Reply { len } = done else { panic!("a handshake ends with a keepalive") };
        self.access.inject(&office.outer(&out[..len])).expect("room");
        self.step(Duration::ZERO);
    }

    fn open_first_session(&mut self, number: usize) {
        let now = self.time;
        self.access.inject(&self.offices[number].open_datagram(100, now)).expect("room");
        let arrived = self.step(Duration::ZERO);
        let [packet] = &arrived[..] else { panic!("one packet at the cloud, not {}", arrived.len()) };
        assert_eq!(packet[16..20], CLOUD_HOST.ip().octets());
        let (source, session) = source_and_mark(packet).expect("a whole packet");
        let office = &mut self.offices[number];
        office.saw(session, source);
        office.walk_all();

        self.trunk.inject(&office.next_cloud_packet(100)).expect("room");
        let arrived = self.step(Duration::ZERO);
        let [datagram] = &arrived[..] else { panic!("one datagram at the office, not {}", arrived.len()) };
        let mut out = [0; 2_048];
        let content = self.offices[number].decapsulate(&datagram[28..], &mut out, now).expect("the relay's data");
        assert_eq!(content, Content::Inner { len: 100 });
        assert_eq!(out[16..20], office_host(0).octets());
    }

    /// Open sessions, beyond the first of each tenant, until there are `count`: the smallest packets, a batch at a time.
    fn open_sessions(&mut self, count: usize) {
        let mut missing = count.saturating_sub(self.offices.len());
        while missing > 0 {
            let batch = missing.min(BATCH);
            missing -= batch;
            for frame in self.load(Load::New, 64, batch) {
                self.access.inject(&frame).expect("the ring has room for a batch");
            }
            while self.poll().0 > 0 {
                drain([&mut self.access, &mut self.trunk], |frame, header| learn(&mut self.offices, frame, header));
            }
        }
        self.offices.iter_mut().for_each(Office::walk_all);
        assert_eq!(self.sessions(), count.max(self.offices.len()), "all sessions were opened");
        assert!(self.offices.iter().all(Office::all_seen), "the first packet of each session reached the cloud");
    }
}

/// Write to every frame once: else the first burst would do so, and look like memory that grows.
fn make_resident(pool: &mut FramePool) {
    let mut frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    frames.iter_mut().for_each(|frame| frame.bytes_mut().fill(0));
    frames.into_iter().for_each(|frame| pool.put(frame));
}

/// Take what the relay transmitted, and answer its ARP.
fn drain(wires: [&mut MemoryWire; 2], mut see: impl FnMut(&[u8], &Ethernet)) {
    for wire in wires {
        let mut look = |frame: &[u8]| {
            let header = Ethernet::parse(frame).expect("the relay's frames are sound");
            if header.ethertype == ethernet::ARP {
                return arp_reply(&frame[header.header_len..], &header);
            }
            see(frame, &header);
            None
        };
        while let Some(answer) = wire.with_transmitted(|frame, _| look(frame)) {
            if let Some(answer) = answer {
                wire.inject(&answer).expect("room for an answer");
            }
        }
    }
}

/// A first packet at the cloud tells where its session is seen to come from.
fn learn(offices: &mut [Office], frame: &[u8], header: &Ethernet) {
    if let Vlan::Single(id) = header.vlan {
        let (source, session) = source_and_mark(&frame[header.header_len..]).expect("a whole packet");
        offices[tenant_of(id)].saw(session, source);
    }
}
