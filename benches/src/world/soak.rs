//! Full load without end: both directions, sessions that come and go, tunnels that rekey, and books on every packet.

use std::num::NonZeroU32;
use std::time::Duration;

use dataplane::nic::BATCH;
use dataplane::nic::memory::MemoryWire;
use dataplane::router_config::Limits;
use dataplane::time::Instant;
use dataplane::tunnel::Content;
use dataplane::wire::ethernet::{self, Ethernet};

use super::{RING, World, learn};
use crate::frames::arp_reply;
use crate::office::Office;
use crate::suite::Suite;

const TENANTS: usize = 16;
/// Each tenant's table is full within seconds, and stays full.
const SESSIONS: u32 = 4_000;
const NEW_SESSIONS_A_SECOND: u32 = 1_000;
/// More sessions than a tenant may have: they come and go, and some are refused.
const CYCLE: usize = 6_000;
/// An acknowledgement, a small answer, the largest.
const SIZES: [usize; 3] = [64, 512, 1_420];
/// Of so many datagrams one belongs to the next session of the cycle, the others to the latest few.
const CHURN: usize = 8;
/// How often the municipal routers look at their timers.
const TICK: Duration = Duration::from_millis(100);
/// `protocol` of an IPv4 header: what an ICMP error of the relay is not.
const UDP: u8 = 17;

/// What went in, and what came out where it belongs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    /// Frames put on either cable.
    pub(crate) injected: u64,
    /// Frames taken off either cable.
    pub(crate) collected: u64,
    /// Data packets sent by offices and clouds.
    pub(crate) sent: u64,
    /// Those that reached the other side.
    pub(crate) arrived: u64,
    /// Handshakes and keepalives of the routers, and answers to ARP: the relay keeps them, or loses them by name.
    pub(crate) others: u64,
    /// Datagrams of the relay that a router could not open.
    pub(crate) unreadable: u64,
}

/// A world at full load.
pub(crate) struct Soak {
    world: World,
    /// The relay's time when the wall's clock showed `started`.
    base: Instant,
    started: std::time::Instant,
    next_tick: Duration,
    round: usize,
    tally: Tally,
}

/// The totals of the relay's books.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Books {
    pub(crate) tally: Tally,
    pub(crate) received: u64,
    pub(crate) generated: u64,
    pub(crate) transmitted: u64,
    pub(crate) dropped: u64,
    /// By the reasons of tenants and ports.
    pub(crate) dropped_by_reason: u64,
    pub(crate) absorbed: u64,
    pub(crate) held: u64,
    pub(crate) opened: u64,
    pub(crate) sessions: u64,
    pub(crate) handshakes: u64,
}

impl Soak {
    pub(crate) fn new() -> Self {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let limits = Limits { sessions: number(SESSIONS), ports: number(SESSIONS), new_sessions_per_second: number(NEW_SESSIONS_A_SECOND) };
        let world = World::with_limits(Suite::ChaCha20Poly1305, TENANTS, TENANTS, limits, RING);
        let books = books_of(&world, Tally::default());
        let others = books.absorbed + books.dropped;
        let tally = Tally { injected: books.received, collected: books.transmitted, others, ..Tally::default() };
        Self { base: world.time, world, started: std::time::Instant::now(), next_tick: Duration::ZERO, round: 0, tally }
    }

    /// Full load until `end` after the start, then nothing until all is still.
    pub(crate) fn load_until(&mut self, end: Duration) {
        while self.started.elapsed() < end {
            self.tick_routers();
            self.inject_batch();
            self.poll();
        }
        while self.poll() {}
    }

    pub(crate) fn books(&self) -> Books {
        books_of(&self.world, self.tally)
    }

    /// Whether every tenant has as many sessions as it may have.
    pub(crate) fn is_full(&self, books: &Books) -> bool {
        books.sessions == self.world.entries.len() as u64 * u64::from(SESSIONS)
    }

    /// Data packets lost since the start, by reason.
    pub(crate) fn losses(&self) -> Vec<(&'static str, u64)> {
        let mut losses: Vec<(&'static str, u64)> = Vec::new();
        for (reason, count) in self.world.entries.iter().flat_map(|tenant| tenant.counters.drops.occurred()) {
            match losses.iter_mut().find(|(label, _)| *label == reason.label()) {
                Some((_, total)) => *total += count,
                None => losses.push((reason.label(), count)),
            }
        }
        losses
    }

    fn now(&mut self) -> Instant {
        let now = self.base + self.started.elapsed();
        self.world.time = self.world.time.max(now);
        self.world.time
    }

    fn tick_routers(&mut self) {
        if self.started.elapsed() < self.next_tick {
            return;
        }
        self.next_tick += TICK;
        let now = self.now();
        let mut out = [0; 2_048];
        for office in &mut self.world.offices {
            if let Some(len) = office.tick(&mut out, now) {
                inject(&mut self.world.access, &office.outer(&out[..len]), &mut self.tally);
                self.tally.others += 1;
            }
        }
    }

    fn inject_batch(&mut self) {
        let now = self.now();
        let world = &mut self.world;
        for _ in 0..BATCH {
            self.round += 1;
            let round = self.round;
            let turn = round / TENANTS;
            let office = &mut world.offices[round % TENANTS];
            let size = SIZES[turn % SIZES.len()];
            let newest = turn / CHURN % CYCLE;
            let session = if turn.is_multiple_of(CHURN) { newest } else { newest.saturating_sub(turn % CHURN) };
            let answer = if turn.is_multiple_of(2) { office.cloud_packet_of(session, size) } else { None };
            let (wire, frame) = match answer {
                Some(frame) => (&mut world.trunk, frame),
                None => (&mut world.access, office.datagram_of(session, size, now)),
            };
            inject(wire, &frame, &mut self.tally);
            self.tally.sent += 1;
        }
    }

    /// Let the relay work and everybody take what arrives; whether there was anything.
    fn poll(&mut self) -> bool {
        let now = self.now();
        let World { worker, access, trunk, offices, .. } = &mut self.world;
        let received = worker.poll(now);
        let before = self.tally.collected;
        collect(trunk, &mut self.tally, |frame, header, tally| {
            // A packet's mark is too far back for the smallest of ICMP errors, so look at the protocol first.
            if frame[header.header_len + 9] == UDP {
                learn(offices, frame, header);
                tally.arrived += 1;
            }
            None
        });
        collect(access, &mut self.tally, |frame, header, tally| at_router(offices, &frame[header.header_len..], now, tally));
        received > 0 || self.tally.collected > before
    }
}

fn inject(wire: &mut MemoryWire, frame: &[u8], tally: &mut Tally) {
    wire.inject(frame).expect("the ring has room for a batch");
    tally.injected += 1;
}

/// Take what the relay transmitted; what `see` returns is sent back.
fn collect(wire: &mut MemoryWire, tally: &mut Tally, mut see: impl FnMut(&[u8], &Ethernet, &mut Tally) -> Option<Vec<u8>>) {
    loop {
        let look = |frame: &[u8], _| {
            tally.collected += 1;
            let header = Ethernet::parse(frame).expect("the relay's frames are sound");
            if header.ethertype == ethernet::ARP { arp_reply(&frame[header.header_len..], &header) } else { see(frame, &header, tally) }
        };
        let Some(answer) = wire.with_transmitted(look) else { return };
        if let Some(answer) = answer {
            inject(wire, &answer, tally);
            tally.others += 1;
        }
    }
}

/// A datagram of the relay at the router it is for: returns the router's answer to a handshake.
fn at_router(offices: &mut [Office], packet: &[u8], now: Instant, tally: &mut Tally) -> Option<Vec<u8>> {
    let number = usize::from(u16::from_be_bytes([packet[18], packet[19]]));
    let office = &mut offices[number];
    let mut out = [0; 2_048];
    match office.decapsulate(&packet[28..], &mut out, now) {
        Ok(Content::Inner { .. }) => {
            tally.arrived += u64::from(out[9] == UDP);
            None
        }
        Ok(Content::Reply { len }) => Some(office.outer(&out[..len])),
        Ok(Content::Absorbed) => None,
        Err(_) => {
            tally.unreadable += 1;
            None
        }
    }
}

fn books_of(world: &World, tally: Tally) -> Books {
    let counters = &world.counters;
    let sum = |of: fn(&dataplane::counters::TenantCounters) -> u64| world.entries.iter().map(|tenant| of(&tenant.counters)).sum();
    Books {
        tally,
        received: counters.received.get(),
        generated: counters.generated.get(),
        transmitted: counters.transmitted.get(),
        dropped: counters.dropped.get(),
        dropped_by_reason: sum(|tenant| tenant.drops.total())
            + world.port_counters.iter().map(|port| port.sum().drops.total()).sum::<u64>(),
        absorbed: counters.absorbed.get(),
        held: counters.held.get(),
        opened: sum(|tenant| tenant.sessions_opened.get()),
        sessions: sum(|tenant| tenant.sessions.get()),
        handshakes: world.entries.iter().flat_map(|tenant| &tenant.tunnel_counters).map(|tunnel| tunnel.handshakes.get()).sum(),
    }
}
