//! A relay and the routers of a whole country, in memory: two engines, one of which is the relay, the other all of the routers. The relay's
//! processor time is taken around every call to it and every Diffie-Hellman that it asks for; the routers' is nobody's concern.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use ::ike::proposals::Proposals;
use ::ike::{
    Authentication, Config, CryptoPolicy, DhJobId, DhTask, Effect, Endpoint, Engine, Identity, Initiate, Instant, LocalPort, NatT,
    PeerAddress, PeerConfig, PeerName, Psk, SpiSource,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::busy_time;

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The floor profile's lifetimes.
const IKE_LIFETIME: Duration = Duration::from_secs(28_800);
pub(super) const CHILD_LIFETIME: Duration = Duration::from_secs(3_600);
/// The routers let the relay do the rekeying, so that all of its cost is counted.
const ROUTERS_LIFETIME: Duration = Duration::from_secs(86_400);

/// What was measured of the relay.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Spent {
    /// Everything but Diffie-Hellman: messages, keys, authentication, tables.
    pub(super) engine: Duration,
    pub(super) diffie_hellman: Duration,
    pub(super) messages: u64,
}

/// Everybody.
pub(super) struct Country {
    pub(super) now: Instant,
    pub(super) spent: Spent,
    /// When the relay installed a Child SA.
    pub(super) installed: Vec<Instant>,
    relay: Engine,
    routers: Engine,
    names: Vec<PeerName>,
    to_relay: VecDeque<(SocketAddrV4, LocalPort, Vec<u8>)>,
    to_routers: VecDeque<(usize, LocalPort, Vec<u8>)>,
    jobs: VecDeque<(DhJobId, DhTask)>,
}

impl Country {
    /// `tenants` routers with PSKs of their own, nothing established yet.
    pub(super) fn new(tenants: usize, proposals: &Proposals) -> Self {
        let names = (0..tenants).map(name).collect();
        let addresses = (0..tenants).map(|number| Endpoint { address: address(number) }).collect();
        let peers = |of_relay: bool| (0..tenants).map(|number| Arc::new(peer(number, of_relay, proposals))).collect();
        let relay = Config { endpoints: vec![Endpoint { address: RELAY }], peers: peers(true) };
        let routers = Config { endpoints: addresses, peers: peers(false) };
        let engine = |config, seed| Engine::new(config, Box::new(StdRng::seed_from_u64(seed)), Instant::ZERO);
        Self {
            now: Instant::ZERO,
            spent: Spent::default(),
            installed: Vec::new(),
            relay: engine(relay, 1),
            routers: engine(routers, 2),
            names,
            to_relay: VecDeque::new(),
            to_routers: VecDeque::new(),
            jobs: VecDeque::new(),
        }
    }

    /// Every router begins in the same instant, as after a power cut. Ends when all stand, or after two minutes.
    pub(super) fn establish(&mut self) {
        for name in self.names.clone() {
            self.routers.initiate(&name, None, self.now);
        }
        self.settle();
        let end = self.now + Duration::from_secs(120);
        while self.child_sas() < self.names.len() as u64 && self.advance(end) {}
    }

    /// Let the time pass until `end`.
    pub(super) fn run_until(&mut self, end: Instant) {
        while self.advance(end) {}
    }

    /// Child SAs that stand at the relay.
    pub(super) fn child_sas(&self) -> u64 {
        self.relay.counters().child_sas
    }

    /// Numbers of the relay.
    pub(super) fn counters(&self) -> &::ike::Counters {
        self.relay.counters()
    }

    /// On to the next moment at which something is due; whether there was one before `end`.
    fn advance(&mut self, end: Instant) -> bool {
        let next = [self.relay.deadline(), self.routers.deadline()].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next < end) else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        self.at_relay(|relay| relay.tick(now));
        self.routers.tick(now);
        self.settle();
        true
    }

    /// Deliver until nobody has anything to say. Messages wait while a Diffie-Hellman is done, as on one core.
    fn settle(&mut self) {
        loop {
            self.hear_routers();
            if let Some((from, local, message)) = self.to_relay.pop_front() {
                let now = self.now;
                self.spent.messages += 1;
                self.at_relay(|relay| relay.datagram(0, local, from, &message, now));
            } else if let Some((job, task)) = self.jobs.pop_front() {
                let begin = busy_time();
                let outcome = task.run();
                self.spent.diffie_hellman += busy_time() - begin;
                let now = self.now;
                self.at_relay(|relay| relay.dh_done(job, outcome, now));
            } else if let Some((endpoint, local, message)) = self.to_routers.pop_front() {
                self.routers.datagram(endpoint, local, SocketAddrV4::new(RELAY, port(local)), &message, self.now);
            } else {
                return;
            }
        }
    }

    /// Call the relay, and take what it wants done. Both are its cost.
    fn at_relay(&mut self, call: impl FnOnce(&mut Engine)) {
        let begin = busy_time();
        call(&mut self.relay);
        while let Some(effect) = self.relay.next_effect() {
            match effect {
                Effect::Send { to, local, message, .. } => self.to_routers.push_back((number(*to.ip()), local, message)),
                Effect::DiffieHellman { job, task } => self.jobs.push_back((job, task)),
                Effect::Install { id, .. } => {
                    self.installed.push(self.now);
                    self.relay.sa_installed(id, Ok(()), self.now);
                }
                _ => {}
            }
        }
        self.spent.engine += busy_time() - begin;
    }

    fn hear_routers(&mut self) {
        while let Some(effect) = self.routers.next_effect() {
            match effect {
                Effect::Send { endpoint, local, message, .. } => {
                    self.to_relay.push_back((SocketAddrV4::new(address(endpoint), port(local)), local, message));
                }
                Effect::DiffieHellman { job, task } => self.routers.dh_done(job, task.run(), self.now),
                Effect::Install { id, .. } => self.routers.sa_installed(id, Ok(()), self.now),
                _ => {}
            }
        }
    }
}

fn port(local: LocalPort) -> u16 {
    match local {
        LocalPort::P500 => 500,
        LocalPort::P4500 => 4_500,
    }
}

/// 10.0.0.0 and on.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).expect("few enough"))
}

fn number(address: Ipv4Addr) -> usize {
    usize::try_from(address.to_bits() - 0x0a00_0000).expect("few enough")
}

fn name(number: usize) -> PeerName {
    PeerName { tenant: format!("town-{number:04}").into(), tunnel: "main".into() }
}

fn peer(number: usize, of_relay: bool, proposals: &Proposals) -> PeerConfig {
    let name = name(number);
    let (relay, router) = (Identity::Fqdn("relay".into()), Identity::Fqdn(name.tenant.to_string()));
    let (office, far) = ("10.20.0.0/16".parse().expect("a network"), "203.0.113.0/26".parse().expect("a network"));
    let key = Psk::new(format!("secret of {}", name.tenant).into_bytes());
    PeerConfig {
        endpoint: if of_relay { 0 } else { number },
        local_id: if of_relay { relay.clone() } else { router.clone() },
        remote_id: if of_relay { router } else { relay },
        authentication: Authentication::Psk { keys: vec![key] },
        address: if of_relay { PeerAddress::Any } else { PeerAddress::Fixed(RELAY) },
        initiate: if of_relay { Initiate::Never } else { Initiate::OnDemand },
        policy: CryptoPolicy::Modern,
        proposals: Some(proposals.clone()),
        office: vec![if of_relay { office } else { far }],
        far: vec![if of_relay { far } else { office }],
        dpd: Duration::ZERO,
        ike_lifetime: if of_relay { IKE_LIFETIME } else { ROUTERS_LIFETIME },
        child_lifetime: if of_relay { CHILD_LIFETIME } else { ROUTERS_LIFETIME },
        encapsulation: NatT::Auto,
        spi_space: SpiSource { prefix: 0, prefix_bits: 0 },
        name,
    }
}
