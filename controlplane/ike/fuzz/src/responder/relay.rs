//! The relay with three tenants, one of which, the victim, has its IKE SA and its Child SA already.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use ike::dh::DhPrivate;
use ike::{
    Authentication, ChildSa, Config, CryptoPolicy, DhJobId, DhOutcome, DhTask, Effect, Endpoint, Engine, Identity, Initiate, InstallId,
    InstallRefused, Instant, LocalPort, NatT, PeerAddress, PeerConfig, PeerName, PeerState, Psk, Secret, SpiSource,
};
use ipnetwork::Ipv4Network;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Input;

/// Whose SAs nobody else touches.
pub(crate) struct Victim {
    pub(crate) tenant: &'static str,
}

pub(crate) const VICTIM: Victim = Victim { tenant: "office-2" };
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VICTIM_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 12);
/// Before any lifetime of the victim's ends.
const LAST: Instant = Instant::from_secs(900);

pub(crate) struct Relay {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) install_outcome: Result<(), InstallRefused>,
    /// Diffie-Hellman and installations wait until this is over.
    pub(crate) hold_back: bool,
    /// What the relay has sent since the last look.
    pub(crate) sent: VecDeque<(SocketAddrV4, Vec<u8>)>,
    /// Installed pairs and whose they are.
    pairs: BTreeMap<u32, Arc<str>>,
    seen: Vec<Vec<u8>>,
    waiting: Vec<Job>,
    publics: u8,
    victim_stands: bool,
}

enum Job {
    DiffieHellman(DhJobId, DhTask),
    Install(InstallId, PeerName, Box<ChildSa>),
}

fn name(office: u8) -> PeerName {
    PeerName { tenant: format!("office-{office}").into(), tunnel: "main".into() }
}

pub(crate) fn identity(office: u8) -> Identity {
    Identity::Fqdn(format!("office-{office}"))
}

pub(crate) fn psk(office: u8) -> Psk {
    Psk::new(format!("secret of {office}").into_bytes())
}

fn networks(text: &str) -> Vec<Ipv4Network> {
    vec![text.parse().expect("a network")]
}

fn office(office: u8) -> PeerConfig {
    PeerConfig {
        name: name(office),
        endpoint: 0,
        local_id: Identity::Fqdn("relay".into()),
        remote_id: identity(office),
        authentication: Authentication::Psk { keys: vec![psk(office), Psk::new(b"older".to_vec())] },
        address: if office == 3 { PeerAddress::Fixed(Ipv4Addr::new(198, 51, 100, 13)) } else { PeerAddress::Any },
        initiate: if office == 3 { Initiate::OnDemand } else { Initiate::Never },
        policy: if office == 3 { CryptoPolicy::Legacy } else { CryptoPolicy::Modern },
        proposals: None,
        office: networks(&format!("10.{office}.0.0/16")),
        far: networks("203.0.113.0/26"),
        dpd: Duration::from_secs(if office == 2 { 0 } else { 10 }),
        ike_lifetime: Duration::from_secs(28_800),
        child_lifetime: Duration::from_secs(3_600),
        encapsulation: NatT::Auto,
        spi_space: SpiSource { prefix: 0, prefix_bits: 0 },
    }
}

fn config(address: Ipv4Addr, peers: Vec<PeerConfig>) -> Config {
    Config { endpoints: vec![Endpoint { address }], peers: peers.into_iter().map(Arc::new).collect() }
}

impl Relay {
    /// The relay, once the victim has made its SAs.
    pub(crate) fn with_victim() -> Self {
        let engine = |seed, config| Engine::new(config, Box::new(StdRng::seed_from_u64(seed)), Instant::ZERO);
        let mut relay = Self {
            engine: engine(1, config(RELAY, vec![office(1), office(2), office(3)])),
            now: Instant::ZERO,
            install_outcome: Ok(()),
            hold_back: false,
            sent: VecDeque::new(),
            pairs: BTreeMap::new(),
            seen: Vec::new(),
            waiting: Vec::new(),
            publics: 0,
            victim_stands: false,
        };
        let ours = office(2);
        let theirs = PeerConfig {
            local_id: ours.remote_id.clone(),
            remote_id: ours.local_id.clone(),
            address: PeerAddress::Fixed(RELAY),
            initiate: Initiate::Always,
            office: ours.far.clone(),
            far: ours.office.clone(),
            ..ours
        };
        relay.meet(engine(2, config(VICTIM_ADDRESS, vec![theirs])));
        relay.victim_stands();
        relay.victim_stands = true;
        relay
    }

    /// Carry datagrams between the relay and the victim until nobody says anything any more.
    fn meet(&mut self, mut office: Engine) {
        let mut pairs = Vec::new();
        for _ in 0..20 {
            office.tick(self.now);
            while let Some(effect) = office.next_effect() {
                match effect {
                    Effect::Send { local, message, .. } => {
                        let port = if local == LocalPort::P500 { 500 } else { 4500 };
                        self.seen.push(message.clone());
                        self.engine.datagram(0, local, SocketAddrV4::new(VICTIM_ADDRESS, port), &message, self.now);
                    }
                    Effect::DiffieHellman { job, task } => office.dh_done(job, self.fake(task), self.now),
                    Effect::Install { id, sa, .. } => {
                        pairs.push(sa.inbound_spi);
                        office.sa_installed(id, Ok(()), self.now);
                    }
                    _ => {}
                }
            }
            self.carry_out();
            while let Some((to, message)) = self.sent.pop_front() {
                let local = if to.port() == 500 { LocalPort::P500 } else { LocalPort::P4500 };
                office.datagram(0, local, SocketAddrV4::new(RELAY, to.port()), &message, self.now);
            }
            self.now = self.now + Duration::from_millis(10);
        }
        assert_eq!(pairs.len(), 1, "the victim has its pair");
    }

    pub(crate) fn datagram(&mut self, (local, from): (LocalPort, SocketAddrV4), message: &[u8]) {
        if self.seen.len() < 64 {
            self.seen.push(message.to_vec());
        }
        self.engine.datagram(0, local, from, message, self.now);
    }

    /// Send again what anybody has sent before, with one octet changed or none.
    pub(crate) fn replay(&mut self, from: (LocalPort, SocketAddrV4), which: usize, at: u16, change: u8) {
        let mut message = self.seen[which % self.seen.len()].clone();
        if let Some(length) = std::num::NonZeroUsize::new(message.len()) {
            message[usize::from(at) % length] ^= change;
        }
        self.engine.datagram(0, from.0, from.1, &message, self.now);
    }

    /// Begin with tenant 3.
    pub(crate) fn call(&mut self) {
        self.engine.initiate(&name(3), None, self.now);
        self.carry_out();
    }

    /// Let time pass, at most until [`LAST`].
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = (self.now + time).min(LAST);
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= self.now) {
            self.engine.tick(self.now);
            assert!(self.engine.deadline() != Some(deadline), "a deadline that is over comes again");
            self.carry_out();
        }
    }

    /// Events of a worker about a pair of tenants 1 or 3, and wishes to begin.
    pub(crate) fn worker_says(&mut self, input: &mut Input<'_>) {
        let which = usize::from(input.u8());
        let own: Vec<u32> = self.pairs.iter().filter(|(_, tenant)| &***tenant != VICTIM.tenant).map(|(spi, _)| *spi).collect();
        let own = own.get(which % own.len().max(1)).copied().unwrap_or(255);
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 14), 4500);
        match input.u8() % 6 {
            0 => self.engine.sa_expiring(own, self.now),
            1 => self.engine.sa_heard(own, self.now),
            2 => self.engine.sas_lost(&[own], self.now),
            3 => self.engine.esp_moved(&name(1), elsewhere, self.now),
            4 => self.engine.initiate(&name(3), None, self.now),
            _ => self.engine.initiate(&name(1), Some(elsewhere), self.now),
        }
    }

    /// Everything the engine wants, and a look at each of its wishes.
    pub(crate) fn carry_out(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "no end of effects");
            let Some(effect) = self.engine.next_effect() else {
                if self.hold_back || self.waiting.is_empty() {
                    break;
                }
                let job = self.waiting.remove(0);
                self.finish(job);
                continue;
            };
            match effect {
                Effect::Send { to, message, .. } => {
                    assert!(message.len() <= ike::message::MAX_MESSAGE_OCTETS);
                    if self.seen.len() < 64 {
                        self.seen.push(message.clone());
                    }
                    self.sent.push_back((to, message));
                    self.sent.truncate(64);
                }
                Effect::DiffieHellman { job, task } => self.waiting.push(Job::DiffieHellman(job, task)),
                Effect::Install { id, peer, sa } => {
                    self.check_pair(&peer, &sa);
                    self.waiting.push(Job::Install(id, peer, sa));
                }
                Effect::Remove { peer, inbound_spi } => {
                    self.not_the_victims(&peer);
                    self.pairs.remove(&inbound_spi);
                }
                Effect::SwitchOutbound { peer, .. } | Effect::CloseOutbound { peer, .. } | Effect::MovePeer { peer, .. } => {
                    self.not_the_victims(&peer)
                }
                Effect::SendKeepalive { .. } | Effect::Report(_) => {}
            }
        }
    }

    fn not_the_victims(&self, peer: &PeerName) {
        assert!(!self.victim_stands || &*peer.tenant != VICTIM.tenant, "somebody else's doing reached the victim");
    }

    /// What a tenant gets is its own: prefixes, bounded and not empty.
    fn check_pair(&self, peer: &PeerName, sa: &ChildSa) {
        self.not_the_victims(peer);
        let number: u8 = peer.tenant.strip_prefix("office-").and_then(|number| number.parse().ok()).expect("an office");
        let config = office(number);
        assert!((1..=32).contains(&sa.selectors.len()) && sa.inbound_spi > 255 && sa.outbound_spi > 255);
        for selector in &sa.selectors {
            let within = |network: &Ipv4Network, start, end| network.contains(start) && network.contains(end);
            assert!(within(&config.office[0], *selector.office.start(), *selector.office.end()), "wider than the office");
            assert!(within(&config.far[0], *selector.far.start(), *selector.far.end()), "wider than the far side");
        }
    }

    fn finish(&mut self, job: Job) {
        match job {
            Job::DiffieHellman(job, task) => {
                let outcome = self.fake(task);
                self.engine.dh_done(job, outcome, self.now);
            }
            Job::Install(id, peer, sa) => {
                if self.install_outcome.is_ok() {
                    assert!(self.pairs.insert(sa.inbound_spi, peer.tenant).is_none(), "one SPI, one pair");
                }
                self.engine.sa_installed(id, self.install_outcome, self.now);
            }
        }
    }

    /// The secret is both public values, so that whoever sees them can compute it. A value of an odd length is refused.
    fn fake(&mut self, task: DhTask) -> DhOutcome {
        self.publics = self.publics.wrapping_add(1);
        let public = vec![self.publics; 32];
        match task {
            DhTask::Generate { .. } => DhOutcome::Generated { private: DhPrivate::new(Secret::new(public.clone())), public },
            DhTask::Agree { peer_public, .. } | DhTask::Respond { peer_public, .. } if peer_public.len() % 2 == 1 => DhOutcome::Refused,
            DhTask::Agree { private, peer_public, .. } => DhOutcome::Agreed { shared: shared(private.expose(), &peer_public) },
            DhTask::Respond { peer_public, .. } => DhOutcome::Responded { shared: shared(&public, &peer_public), public },
        }
    }

    /// Nothing waits any longer.
    pub(crate) fn settle(&mut self) {
        self.hold_back = false;
        self.carry_out();
        self.pass(Duration::from_secs(40));
        self.carry_out();
        let counters = self.engine.counters();
        assert!(counters.half_open <= 8_192);
    }

    pub(crate) fn victim_stands(&self) {
        let status = self.engine.status(&name(2)).expect("configured");
        assert_eq!((status.state, status.children.len()), (PeerState::Up, 1), "the victim's SAs stand");
    }
}

pub(crate) fn shared(one: &[u8], other: &[u8]) -> Secret {
    Secret::new([one.min(other), one.max(other)].concat())
}
