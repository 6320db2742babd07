//! A relay and some offices, each an [`Engine`], with a bad cable between them and a clock of their own. Everything follows from a seed.
//!
//! Diffie-Hellman is a fake (the secret is both public values), done after a moment, in any order. ESP is a model: every so often each
//! end sends a packet on the pair that a worker would take, and the other end must have that SPI with the same keys.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test uses a part of it")]

mod cable;
mod config;
mod pairs;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddrV4;
use std::time::Duration;

use ike::{DhOutcome, DhTask, Effect, Engine, Failure, InstallId, Instant, LocalPort, PeerName, Report, Secret};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

pub use cable::{Cable, Impairment, Nat};
pub use config::*;
pub use pairs::{Hosts, Pairs};

/// One end: the relay is node 0.
pub struct Node {
    pub engine: Engine,
    pub pairs: Pairs,
    pub reports: Vec<Report>,
}

enum Event {
    Datagram { to: usize, local: LocalPort, from: SocketAddrV4, message: Vec<u8> },
    DhDone { node: usize, job: ike::DhJobId, outcome: DhOutcome },
    Installed { node: usize, id: InstallId, peer: PeerName, sa: Box<ike::ChildSa> },
    Packet { to: usize, spi: u32, keys: Vec<u8>, sent_by: (usize, PeerName) },
    Traffic,
}

pub struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    pub cable: Cable,
    pub random: StdRng,
    /// Packets of the ESP model that found no pair at a node.
    pub lost: Vec<u64>,
    /// Packets that a node had no pair for.
    pub unsent: Vec<u64>,
    /// Offices that have had a pair at both ends.
    pub met: Vec<bool>,
    pub delivered: u64,
    /// No packets: only IKE.
    pub silent: bool,
    /// Print what the engines want: `IKE_TRACE=1`.
    trace: bool,
    /// Everything that was sent, for tests that look at it or replay it.
    pub captured: Vec<(usize, SocketAddrV4, LocalPort, Vec<u8>)>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
}

impl World {
    /// The relay with `relay`'s configuration, and an office for each of `offices`.
    pub fn new(seed: u64, relay: ike::Config, offices: Vec<ike::Config>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let configs = std::iter::once(relay).chain(offices);
        let nodes: Vec<Node> = configs
            .map(|config| {
                let engine = Engine::new(config, Box::new(StdRng::seed_from_u64(random.next_u64())), Instant::ZERO);
                Node { engine, pairs: Pairs::default(), reports: Vec::new() }
            })
            .collect();
        let cable = Cable::perfect(nodes.len());
        let lost = vec![0; nodes.len()];
        let mut world = Self {
            now: Instant::ZERO,
            nodes,
            cable,
            random,
            unsent: lost.clone(),
            met: vec![false; lost.len()],
            lost,
            delivered: 0,
            silent: false,
            trace: std::env::var_os("IKE_TRACE").is_some(),
            captured: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
        };
        world.schedule(TRAFFIC_EVERY, Event::Traffic);
        world
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + after, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    /// Live until `until`; `check` looks at the world after every step.
    pub fn run_until(&mut self, until: Instant, mut check: impl FnMut(&Self)) {
        loop {
            for node in 0..self.nodes.len() {
                self.drain(node);
            }
            check(self);
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let deadline = self.nodes.iter().filter_map(|node| node.engine.deadline()).min();
            let Some(next) = event.into_iter().chain(deadline).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            for node in &mut self.nodes {
                node.engine.tick(self.now);
            }
            while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= self.now) {
                let Some(Reverse((_, number))) = self.queue.pop() else { break };
                if let Some(event) = self.events.remove(&number) {
                    self.happen(event);
                }
            }
        }
        self.now = until;
    }

    /// Live for `time`.
    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| {});
    }

    /// Carry out what an engine wants.
    pub fn drain(&mut self, node: usize) {
        while let Some(effect) = self.nodes[node].engine.next_effect() {
            if self.trace {
                self.show(node, &effect);
            }
            match effect {
                Effect::Send { endpoint: _, local, to, message } => self.send(node, local, to, &message),
                Effect::SendKeepalive { .. } => {}
                Effect::DiffieHellman { job, task } => {
                    let outcome = fake_diffie_hellman(task, &mut self.random);
                    let after = Duration::from_micros(self.random.random_range(0..20_000));
                    self.schedule(after, Event::DhDone { node, job, outcome });
                }
                Effect::Install { id, peer, sa } => {
                    let after = Duration::from_micros(self.random.random_range(0..5_000));
                    self.schedule(after, Event::Installed { node, id, peer, sa });
                }
                Effect::SwitchOutbound { peer, inbound_spi } => self.nodes[node].pairs.switch(&peer, inbound_spi),
                Effect::CloseOutbound { peer, inbound_spi } => self.nodes[node].pairs.close(&peer, inbound_spi),
                Effect::Remove { peer, inbound_spi } => self.nodes[node].pairs.remove(&peer, inbound_spi),
                Effect::MovePeer { peer, inbound_spi, to } => self.nodes[node].pairs.move_peer(&peer, inbound_spi, to),
                Effect::Report(report) => self.nodes[node].reports.push(report),
            }
        }
    }

    fn show(&self, node: usize, effect: &Effect) {
        let at = self.now.as_nanos() / 1_000_000;
        match effect {
            Effect::Send { to, message, .. } => {
                let flags = (message[18], message[19], &message[20..24], &message[..2], &message[8..10]);
                eprintln!(
                    "{at:>8} ms node {node} sends to {to}: exchange {} flags {:02x} id {:?} spis {:02x?} {:02x?}",
                    flags.0, flags.1, flags.2, flags.3, flags.4
                );
            }
            Effect::DiffieHellman { .. } => {}
            Effect::Install { peer: _, sa, .. } => {
                eprintln!("{at:>8} ms node {node} installs {:08x} / {:08x} {:?}", sa.inbound_spi, sa.outbound_spi, sa.outbound_use);
            }
            Effect::Remove { inbound_spi, .. } => eprintln!("{at:>8} ms node {node} removes {inbound_spi:08x}"),
            Effect::SwitchOutbound { inbound_spi, .. } => eprintln!("{at:>8} ms node {node} switches to {inbound_spi:08x}"),
            Effect::CloseOutbound { inbound_spi, .. } => eprintln!("{at:>8} ms node {node} sends nothing on {inbound_spi:08x}"),
            other => eprintln!("{at:>8} ms node {node}: {other:?}"),
        }
    }

    fn send(&mut self, node: usize, local: LocalPort, to: SocketAddrV4, message: &[u8]) {
        self.captured.push((node, to, local, message.to_vec()));
        for (after, arrival) in self.cable.carry(node, local, to, message, &mut self.random) {
            let cable::Arrival { to, local, from, message } = arrival;
            self.schedule(after, Event::Datagram { to, local, from, message });
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Datagram { to, local, from, message } => {
                self.nodes[to].engine.datagram(0, local, from, &message, now);
                self.drain(to);
            }
            Event::DhDone { node, job, outcome } => self.nodes[node].engine.dh_done(job, outcome, now),
            Event::Installed { node, id, peer, sa } => {
                let outcome = self.nodes[node].pairs.install(&peer, *sa);
                self.nodes[node].engine.sa_installed(id, outcome, now);
                self.drain(node);
            }
            Event::Packet { to, spi, keys, sent_by } => self.packet(to, spi, &keys, &sent_by),
            Event::Traffic => self.traffic(),
        }
    }

    /// The relay and each office send one packet to each other, from the moment on when both have had a pair.
    fn traffic(&mut self) {
        self.schedule(TRAFFIC_EVERY, Event::Traffic);
        let offices = if self.silent { 1..1 } else { 1..self.nodes.len() };
        for office in offices {
            let ways = [(0, office, office_name(office)), (office, 0, relay_name())];
            self.met[office] |= ways.iter().all(|(from, _, peer)| self.nodes[*from].pairs.outbound(peer, hosts(*from)).is_some());
            if !self.met[office] {
                continue;
            }
            for (from, to, peer) in ways {
                let Some((spi, keys)) = self.nodes[from].pairs.outbound(&peer, hosts(from)) else {
                    self.unsent[from] += 1;
                    continue;
                };
                let after = Duration::from_micros(self.random.random_range(1_000..40_000));
                self.schedule(after, Event::Packet { to, spi, keys, sent_by: (from, peer) });
            }
        }
    }

    fn packet(&mut self, to: usize, spi: u32, keys: &[u8], sent_by: &(usize, PeerName)) {
        match self.nodes[to].pairs.receive(spi, keys, hosts(to)) {
            Some((owner, first)) => {
                // Whoever sent it, it belongs to the tenant of that tunnel.
                let expected = if to == 0 { office_name(sent_by.0) } else { relay_name() };
                assert_eq!(owner, expected, "a packet arrived in another tenant");
                self.delivered += 1;
                if first {
                    self.nodes[to].engine.sa_heard(spi, self.now);
                }
            }
            None => {
                if self.trace {
                    eprintln!("{:>8} ms node {to} knows no {spi:08x}", self.now.as_nanos() / 1_000_000);
                }
                self.lost[to] += 1;
            }
        }
    }

    /// How often a failure was reported at a node.
    pub fn failures(&self, node: usize, failure: Failure) -> usize {
        let of = |report: &&Report| matches!(report, Report::Failed { failure: found, .. } if *found == failure);
        self.nodes[node].reports.iter().filter(of).count()
    }
}

/// The two hosts that talk, as the selectors of `node` see them.
fn hosts(node: usize) -> Hosts {
    if node == 0 { (OFFICE_HOST, FAR_HOST) } else { (FAR_HOST, OFFICE_HOST) }
}

/// The secret is both public values, in order: whoever has swapped one of them on the way gets another.
fn fake_diffie_hellman(task: DhTask, random: &mut StdRng) -> DhOutcome {
    let mut public = vec![0; 32];
    random.fill_bytes(&mut public);
    let shared = |one: &[u8], other: &[u8]| Secret::new([one.min(other), one.max(other)].concat());
    match task {
        DhTask::Generate { .. } => DhOutcome::Generated { private: ike::dh::DhPrivate::new(Secret::new(public.clone())), public },
        DhTask::Agree { private, peer_public, .. } => DhOutcome::Agreed { shared: shared(private.expose(), &peer_public) },
        DhTask::Respond { peer_public, .. } => DhOutcome::Responded { shared: shared(&public, &peer_public), public },
    }
}
