//! [`World`]: what moves.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rtrb::{Consumer, Producer};

use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::nic::memory::MemoryWire;
use crate::publish::Publisher;
use crate::router_config::{PortConfig, RouterConfig, TenantConfig, TenantEntry, TunnelKind, Vlan};
use crate::simulation::arrivals::{ACCESS_GATEWAY_MAC, access_mac};
use crate::simulation::cable::Cable;
use crate::simulation::faults::{Down, Peers};
use crate::simulation::municipality::{ACCESS, office_key, router_name};
use crate::simulation::office::Office;
use crate::simulation::plan::{self, Plan};
use crate::simulation::relay::{Dimensions, Relay, Start};
use crate::simulation::stations::{Cloud, frame, relay_mac};
use crate::simulation::wireguard_router;
use crate::time::{Duration, Instant};
use crate::tunnel::wireguard;
use crate::wire::ethernet::{self, Ethernet};
use crate::worker::Worker;
use crate::worker::control::{Command, Event};

/// The offices' routers look at their timers this often.
const OFFICE_TICK: Duration = Duration::from_millis(250);
/// More rounds than this at one moment are a storm.
const MAX_ROUNDS: usize = 10_000;
/// The world.
pub struct World {
    pub(super) seed: u64,
    /// Hosts send wrong transport checksums, which the relay carries on (false at the start).
    pub hosts_err: bool,
    /// Called with true right before each poll of the worker and with false right after it.
    pub around_poll: Option<fn(bool)>,
    pub(super) now: Instant,
    /// When the relay's process began: its own clock said zero.
    pub(super) zero: Instant,
    pub(super) start: Start,
    pub(super) has_restarted: bool,
    pub(super) dimensions: Dimensions,
    pub(super) random: SmallRng,
    pub(super) workers: Vec<Worker>,
    pub(super) commands: Vec<Producer<Command>>,
    pub(super) events: Vec<Consumer<Event>>,
    /// Events that a key exchange took off the rings.
    pub(super) told: VecDeque<Event>,
    pub(super) last_install: u64,
    pub(super) publisher: Publisher<RouterConfig>,
    pub(super) plan: Plan,
    pub(super) ports: Vec<PortConfig>,
    pub(super) tenants: Vec<TenantEntry>,
    /// Tenants that are gone: what was counted for them still counts.
    pub(super) former: Vec<TenantEntry>,
    /// Why earlier runs lost packets.
    pub(super) past_reasons: BTreeSet<DropReason>,
    /// On disk.
    pub(super) peers: Peers,
    pub(super) counters: Vec<Arc<WorkerCounters>>,
    /// By port and queue.
    pub(super) wires: Vec<Vec<MemoryWire>>,
    pub(super) to_relay: Vec<Cable>,
    pub(super) from_relay: Vec<Cable>,
    /// By port.
    pub(super) down: Vec<Option<Down>>,
    pub(super) offices: Vec<Office>,
    pub(super) clouds: Vec<Cloud>,
    /// What the relay sent to addresses of the access network where no office is.
    pub(super) strays: Vec<Vec<u8>>,
    /// The same of IPv6, what it says of its own accord included.
    pub(super) strays6: Vec<Vec<u8>>,
    /// Frame and address of the bytes of what the relay transmitted last on each port.
    pub(super) last_transmitted: Vec<Option<(u32, usize)>>,
    /// What the relay transmitted, where somebody wants to look at it later.
    pub(super) recorded: Option<Vec<Recorded>>,
    pub(super) delivered: u64,
    pub(super) collected: u64,
    next_office_tick: Instant,
}

/// A frame that the relay transmitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// When.
    pub at: Instant,
    /// Over which port.
    pub port: usize,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

impl World {
    /// A world in which every tunnel is up and every gateway is known. `CHUKEI_SEED` in the environment overrides the seed.
    #[must_use]
    pub fn new(seed: u64, tenants: impl IntoIterator<Item = TenantConfig>) -> Self {
        Self::with(seed, tenants, Dimensions::default())
    }

    /// As [`Self::new`], with a relay of these dimensions.
    #[must_use]
    pub fn with(seed: u64, tenants: impl IntoIterator<Item = TenantConfig>, dimensions: Dimensions) -> Self {
        let mut world = Self::cold(seed, tenants, dimensions);
        world.bring_up();
        world
    }

    /// A world in which nothing has happened yet.
    ///
    /// # Panics
    /// Where the machine has no memory left.
    #[must_use]
    pub fn cold(seed: u64, tenants: impl IntoIterator<Item = TenantConfig>, dimensions: Dimensions) -> Self {
        let seed = std::env::var("CHUKEI_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(seed);
        // Timers that compare with zero must not mistake the start for an event.
        let now = Instant::from_secs(1_000);
        let plan = Plan::new(tenants.into_iter().collect());
        let ports = plan::ports(dimensions.mtu);
        let ports = if dimensions.ipv6 { plan::with_ipv6(ports) } else { ports };
        let config = plan::compile(&plan, &ports, &[]);
        let tenants = config.tenants.clone();
        let publisher = Publisher::new(config);
        let mut random = SmallRng::seed_from_u64(seed);
        let start = Start::default();
        let Relay { workers, commands, events, counters, wires } = Relay::new(&ports, dimensions, &publisher, start, &mut random, now);
        let cables = || ports.iter().map(|_| Cable::default()).collect();
        let mut world = Self {
            seed,
            hosts_err: false,
            around_poll: None,
            now,
            zero: Instant::ZERO,
            start,
            has_restarted: false,
            dimensions,
            random,
            workers,
            commands,
            events,
            told: VecDeque::new(),
            last_install: 0,
            publisher,
            plan,
            tenants,
            former: Vec::new(),
            past_reasons: BTreeSet::new(),
            peers: Peers::new(),
            counters,
            wires,
            to_relay: cables(),
            from_relay: cables(),
            down: vec![None; ports.len()],
            offices: Vec::new(),
            clouds: Vec::new(),
            strays: Vec::new(),
            strays6: Vec::new(),
            last_transmitted: vec![None; ports.len()],
            recorded: None,
            delivered: 0,
            collected: 0,
            next_office_tick: now,
            ports,
        };
        world.settle_in();
        world
    }

    /// Let time pass until gateways are known, then every office connects.
    pub fn bring_up(&mut self) {
        self.run(Duration::from_millis(600));
        for index in 0..self.offices.len() {
            if self.offices[index].is_ipsec() {
                let name = self.offices[index].name.clone();
                self.exchange_keys(&name);
                self.send_keepalive(&name);
            } else {
                self.offices[index].connect();
            }
            self.run(Duration::from_millis(30));
        }
        self.run(Duration::from_millis(300));
        self.clouds.iter_mut().for_each(|cloud| drop((cloud.received(), cloud.received6(), cloud.arps())));
        self.strays6.clear();
        self.offices.iter_mut().for_each(|office| drop((office.received(), office.ike())));
    }

    /// One more router in a tenant's office, at the end of this WireGuard tunnel (`municipality::another_tunnel`); it connects at once.
    ///
    /// # Panics
    /// With too many routers.
    pub fn add_router(&mut self, tenant: &str, tunnel: &str) {
        let (number, relay) = (self.next_office_number(), wireguard::public_key(&self.plan.relay_key));
        let outer = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), 51_820);
        let mut office = Office::wireguard(tenant, &office_key(&router_name(tenant, tunnel)), relay, outer, u32::from(number));
        tunnel.clone_into(&mut office.tunnel);
        office.connect();
        self.offices.push(office);
        self.run(Duration::from_millis(30));
    }

    fn next_office_number(&self) -> u8 {
        u8::try_from(self.offices.len() + 10).expect("a few tenants")
    }

    /// Stations for tenants that have none yet: an office each, and a network for each VLAN.
    pub(super) fn settle_in(&mut self) {
        let relay = wireguard::public_key(&self.plan.relay_key);
        for tenant in &self.plan.tenants {
            if !self.offices.iter().any(|office| *office.name == *tenant.name) {
                let number = self.next_office_number();
                let outer = |port| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), port);
                self.offices.push(match tenant.tunnels[0].kind {
                    TunnelKind::WireGuard { .. } => {
                        Office::wireguard(&tenant.name, &office_key(&tenant.name), relay, outer(51_820), u32::from(number))
                    }
                    TunnelKind::Ipsec => Office::ipsec(&tenant.name, outer(4_500)),
                });
            }
            for attachment in &tenant.attachments {
                let is_it = |cloud: &&mut Cloud| cloud.port == attachment.port && cloud.vlan == attachment.vlan;
                match self.clouds.iter_mut().find(is_it) {
                    Some(cloud) if cloud.stations.contains(&attachment.gateway) => {}
                    Some(cloud) => cloud.stations.push(attachment.gateway),
                    None => self.clouds.push(Cloud::new(attachment.port, attachment.vlan, attachment.gateway)),
                }
            }
        }
    }

    /// Let time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.now < end {
            let cables = self.to_relay.iter().chain(&self.from_relay).filter_map(Cable::next);
            let deadlines = self.workers.iter().map(|worker| self.zero + worker.next_deadline().since(Instant::ZERO));
            let next = deadlines.chain(cables).chain([self.next_office_tick, end]).min().unwrap_or(end);
            self.jump(next.since(self.now).max(Duration::from_nanos(1)));
            self.settle();
        }
    }

    /// Move the clocks and nothing else.
    pub fn jump(&mut self, by: Duration) {
        self.now = self.now + by;
        wireguard_router::advance_clock(by);
    }

    /// The present moment by the relay's clock.
    pub(super) fn relay_now(&self) -> Instant {
        Instant::ZERO + self.now.since(self.zero)
    }

    /// Everything that happens at this moment, until nothing more does.
    ///
    /// # Panics
    /// When it never ends, or a law is broken.
    pub fn settle(&mut self) {
        if self.now >= self.next_office_tick {
            self.next_office_tick = self.now + OFFICE_TICK;
            self.offices.iter_mut().for_each(Office::tick);
        }
        for _ in 0..MAX_ROUNDS {
            if !self.step() {
                return;
            }
        }
        panic!("seed {}: a storm: packets beget packets without end", self.seed);
    }

    /// One round of everything, with one poll of each worker. False when nothing happened.
    pub fn step(&mut self) -> bool {
        let sent = self.stations_send();
        let delivered = self.deliver_to_relay();
        let around = self.around_poll.unwrap_or(|_| {});
        around(true);
        let now = self.relay_now();
        let polled: usize = self.workers.iter_mut().map(|worker| worker.poll(now)).sum();
        around(false);
        let collected = self.collect();
        let arrived = self.deliver_to_stations();
        self.check_laws();
        sent || delivered || polled > 0 || collected || arrived
    }

    /// Deliver what is on its way to the relay, and let one of its workers do a round.
    pub fn poll_one(&mut self, worker: usize) {
        self.stations_send();
        self.deliver_to_relay();
        let now = self.relay_now();
        self.workers[worker].poll(now);
        self.check_laws();
    }

    fn stations_send(&mut self) -> bool {
        let mut frames = Vec::new();
        let (relay, relay6) = (self.relay(), self.relay6());
        for office in &mut self.offices {
            for outgoing in office.outbox.drain(..) {
                let over_ipv6 = relay6.and_then(|relay| outgoing.packet6(relay));
                let (mac, ethertype, packet) = match over_ipv6 {
                    Some(packet) => (ACCESS_GATEWAY_MAC, ethernet::IPV6, packet),
                    None => (access_mac(*outgoing.source.ip()), ethernet::IPV4, outgoing.packet(*relay.ip())),
                };
                frames.push((ACCESS, frame(Vlan::Untagged, mac, relay_mac(ACCESS), ethertype, &packet)));
            }
        }
        for cloud in &mut self.clouds {
            frames.extend(cloud.outbox.drain(..).map(|frame| (cloud.port, frame)));
        }
        let sent = !frames.is_empty();
        for (port, frame) in frames {
            self.inject(usize::from(port.0), frame);
        }
        sent
    }

    fn deliver_to_relay(&mut self) -> bool {
        let before = self.delivered;
        for ((cable, queues), down) in self.to_relay.iter_mut().zip(&mut self.wires).zip(&self.down) {
            while let Some(frame) = cable.arrived(self.now) {
                if down.is_some() {
                    continue;
                }
                let queue = queue_of(&frame, queues.len());
                // A full receive ring loses frames before the relay sees them: the NIC counts those.
                if queues[queue].inject(&frame).is_ok() {
                    self.delivered += 1;
                }
            }
        }
        self.delivered != before
    }

    pub(super) fn collect(&mut self) -> bool {
        let before = self.collected;
        for port in (0..self.wires.len()).filter(|port| self.down[*port] != Some(Down::Stuck)) {
            let look = |bytes: &[u8], frame: u32| (bytes.to_vec(), (frame, bytes.as_ptr() as usize));
            while let Some((bytes, place)) = self.wires[port].iter_mut().find_map(|wire| wire.with_transmitted(look)) {
                self.collected += 1;
                self.last_transmitted[port] = Some(place);
                self.judge_transmitted(port, &bytes);
                if let Some(recorded) = &mut self.recorded {
                    recorded.push(Recorded { at: self.now, port, bytes: bytes.clone() });
                }
                self.from_relay[port].put(bytes, self.now, &mut self.random);
            }
        }
        self.collected != before
    }

    /// The name of the tenant whose tunnel an office's key belongs to now.
    pub(super) fn tenant_of_key(&self, key: [u8; 32]) -> Option<&str> {
        let has = |tenant: &&TenantConfig| {
            let is_its = |kind: &TunnelKind| matches!(kind, TunnelKind::WireGuard { public_key, .. } if *public_key == key);
            tenant.tunnels.iter().any(|tunnel| is_its(&tunnel.kind))
        };
        self.plan.tenants.iter().find(has).map(|tenant| &*tenant.name)
    }
}

/// Where a NIC puts a frame: by its addresses and ports, which are not a tenant's, and so that a flow stays in its queue.
fn queue_of(frame: &[u8], queues: usize) -> usize {
    let flow = match Ethernet::parse(frame) {
        Ok(header) if header.ethertype == ethernet::IPV4 => frame.get(header.header_len + 12..header.header_len + 24),
        Ok(header) if header.ethertype == ethernet::IPV6 => frame.get(header.header_len + 8..header.header_len + 44),
        _ => None,
    };
    let hash = flow.unwrap_or_default().iter().fold(0_usize, |hash, byte| (hash ^ usize::from(*byte)).wrapping_mul(0x0100_0193));
    (hash >> 8) % queues
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let profile = if cfg!(debug_assertions) { "" } else { " --release" };
            eprintln!("again with: CHUKEI_SEED={} cargo test{profile} -p dataplane --features simulation {test}", self.seed);
        }
    }
}
