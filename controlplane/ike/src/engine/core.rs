//! Everything of the engine but the IKE SAs themselves: an exchange works on one IKE SA and on this.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::{CryptoRng, RngCore};

use crate::config::{Endpoint, PeerConfig, PeerName};
use crate::counters::Counters;
use crate::dh::DhTask;
use crate::effect::{ChildSa, Closed, DhJobId, Effect, InstallId, LocalPort, Report};
use crate::exchange::{Ours, Reply, Task, Wanted};
use crate::failure::Failure;
use crate::message::{ExchangeType, IkeSpi, Payload, write_protected};
use crate::sa::IkeSa;
use crate::time::Instant;

use super::negotiations::Negotiations;
use super::peer::{PeerId, Peers};
use super::spis::Spis;
use super::timers::{Timer, Timers};

/// What happens to other IKE SAs than the one that is being worked on, afterwards.
pub(crate) enum Deferred {
    /// A new IKE SA enters the tables.
    Insert(Box<IkeSa>),
    /// An IKE SA inherits the Child SAs of another, which waits for its Delete.
    Inherit { from: IkeSpi, to: IkeSpi },
    /// An IKE SA has something to ask.
    Want(IkeSpi, Wanted),
    /// An IKE SA that is one too many ends then, whatever the peer does.
    GiveUp(IkeSpi, Instant),
    /// An IKE SA has been authenticated: what of the peer's older ones?
    Authenticated { spi: IkeSpi, initial_contact: bool },
}

/// A negotiation that failed.
pub(crate) struct Failed {
    /// Whose it is, or is said or believed to be.
    pub(crate) peer: Option<PeerId>,
    /// The peer has proven who it is, or we have called it.
    pub(crate) proven: bool,
    pub(crate) address: SocketAddrV4,
    pub(crate) failure: Failure,
    /// What exactly.
    pub(crate) detail: String,
    /// One that fits better than the failure's own.
    pub(crate) remedy: Option<String>,
}

/// Jobs under way at most: a bound that only a driver which loses outcomes could reach.
const MAX_JOBS: usize = 1 << 16;
/// Of strangers' IKE_SA_INIT under way at most: half of what a pool takes that lets some 1,000 wait.
const MAX_STRANGERS_JOBS: usize = 512;
/// Octets of our nonces: half a block of every PRF at least (RFC 7296 section 2.10).
const NONCE_OCTETS: usize = 32;

/// Everything but the IKE SAs.
pub(crate) struct Core {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) peers: Peers,
    pub(crate) random: Box<dyn CryptoRng + Send>,
    pub(crate) counters: Counters,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) timers: Timers,
    pub(crate) spis: Spis,
    pub(crate) negotiations: Negotiations,
    pub(crate) deferred: VecDeque<Deferred>,
    /// Unix time at `Instant::ZERO`, for the validity of certificates.
    pub(crate) started_at: Duration,
    jobs: HashMap<u64, (IkeSpi, Task)>,
    /// Of them those that strangers have caused.
    strangers_jobs: usize,
    next_job: u64,
}

impl Core {
    pub(crate) fn new(random: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            endpoints: Vec::new(),
            peers: Peers::default(),
            random,
            counters: Counters::default(),
            effects: VecDeque::new(),
            timers: Timers::default(),
            spis: Spis::default(),
            negotiations: Negotiations::default(),
            deferred: VecDeque::new(),
            started_at: Duration::ZERO,
            jobs: HashMap::new(),
            strangers_jobs: 0,
            next_job: 0,
        }
    }

    /// Seconds since 1970, for the validity of certificates.
    pub(crate) fn unix_time(&self, now: Instant) -> Duration {
        self.started_at + now.since(Instant::ZERO)
    }

    /// A fresh nonce.
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; NONCE_OCTETS];
        self.random.fill_bytes(&mut nonce);
        nonce
    }

    /// A fresh SPI for an IKE SA: 64 random bits never meet.
    pub(crate) fn ike_spi(&mut self) -> IkeSpi {
        loop {
            if let Some(spi) = IkeSpi::new(self.random.next_u64()) {
                return spi;
            }
        }
    }

    /// Configuration of the peer behind an IKE SA.
    pub(crate) fn config(&self, sa: &IkeSa) -> Option<std::sync::Arc<PeerConfig>> {
        self.peers.get(sa.peer?).map(|peer| std::sync::Arc::clone(&peer.config))
    }

    /// Name of the peer behind an IKE SA.
    pub(crate) fn name(&self, sa: &IkeSa) -> Option<PeerName> {
        self.peers.get(sa.peer?).map(|peer| peer.config.name.clone())
    }

    /// Let a Diffie-Hellman be done; `task` says how `sa` goes on.
    pub(crate) fn diffie_hellman(&mut self, sa: &IkeSa, dh: DhTask, task: Task) {
        if let Some(job) = self.job(sa, task) {
            self.effects.push_back(Effect::DiffieHellman { job: DhJobId(job), task: dh });
        }
    }

    /// Let a worker install a pair; `task` says how `sa` goes on.
    pub(crate) fn install(&mut self, sa: &IkeSa, peer: PeerName, pair: ChildSa, task: Task) {
        if let Some(job) = self.job(sa, task) {
            self.effects.push_back(Effect::Install { id: InstallId(job), peer, sa: Box::new(pair) });
        }
    }

    fn job(&mut self, sa: &IkeSa, task: Task) -> Option<u64> {
        if self.jobs.len() == MAX_JOBS {
            return None;
        }
        self.next_job += 1;
        self.strangers_jobs += usize::from(matches!(task, Task::TheirInit(_)));
        self.jobs.insert(self.next_job, (sa.spi, task));
        Some(self.next_job)
    }

    /// What was to go on when this job is done.
    pub(crate) fn take_job(&mut self, job: u64) -> Option<(IkeSpi, Task)> {
        let job = self.jobs.remove(&job)?;
        self.strangers_jobs -= usize::from(matches!(job.1, Task::TheirInit(_)));
        Some(job)
    }

    /// Whether strangers have had enough begun: what is left is for those who have proven who they are.
    pub(crate) fn strangers_wait(&self) -> bool {
        self.strangers_jobs >= MAX_STRANGERS_JOBS
    }

    /// Send packets somewhere.
    pub(crate) fn send(&mut self, endpoint: usize, local: LocalPort, to: SocketAddrV4, packets: &[Vec<u8>]) {
        for packet in packets {
            self.counters.sent += 1;
            self.effects.push_back(Effect::Send { endpoint, local, to, message: packet.clone() });
        }
    }

    /// Send the request in preparation under the protection of `sa`.
    pub(crate) fn request(&mut self, sa: &mut IkeSa, exchange: ExchangeType, payloads: &[Payload<'_>], now: Instant) {
        let id = sa.requests.id();
        let Some(packets) = self.seal(sa, exchange, false, id, payloads) else { return };
        self.send(sa.path.endpoint, sa.path.local, sa.path.remote, &packets);
        sa.last_sent = now;
        sa.requests.sent(packets, now);
    }

    /// Answer a request under the protection of `sa`, and keep the answer for retransmissions.
    pub(crate) fn reply(&mut self, sa: &mut IkeSa, reply: Reply, payloads: &[Payload<'_>], now: Instant) {
        let Some(packets) = self.seal(sa, reply.exchange, true, reply.message_id, payloads) else { return };
        self.send(sa.path.endpoint, reply.local, reply.to, &packets);
        sa.last_sent = now;
        sa.responses.answered(reply.message_id, packets);
    }

    fn seal(&mut self, sa: &mut IkeSa, exchange: ExchangeType, response: bool, id: u32, payloads: &[Payload<'_>]) -> Option<Vec<Vec<u8>>> {
        let header = sa.header(exchange, response, id);
        let protection = sa.protection.as_mut()?;
        let sealed = write_protected(&header, payloads, sa.fragmentation, &mut protection.sealer, &mut self.random);
        // Used-up keys, or certificates too long for any message: neither gets better by trying again.
        sealed.map_err(|_| sa.fate = Some(Closed::Failed)).ok()
    }

    /// A negotiation failed: count it, remember it for people, and plan the next try.
    pub(crate) fn failed(&mut self, sa: &IkeSa, failure: Failure, detail: impl Into<String>, now: Instant) {
        self.failed_by(sa, failure, detail.into(), None, now);
    }

    /// The same with a remedy that fits better than the failure's own.
    pub(crate) fn failed_by(&mut self, sa: &IkeSa, failure: Failure, detail: String, remedy: Option<String>, now: Instant) {
        // An IKE SA is somebody's when we have begun it, or after the peer's proof.
        let proven = sa.peer.is_some();
        self.failed_with(Failed { peer: sa.peer, proven, address: sa.path.remote, failure, detail, remedy }, now);
    }

    /// The same for a negotiation that has no IKE SA, or whose IKE SA is nobody's yet.
    ///
    /// What nobody has proven to be a peer's doing counts on the relay alone, as anybody can forge an address and say any name. It is
    /// shown at the peer while nothing stands, when it most probably is about its router.
    pub(crate) fn failed_with(&mut self, failed: Failed, now: Instant) {
        let Failed { peer, proven, address, failure, detail, remedy } = failed;
        self.counters.failures.count(failure);
        if !proven {
            self.counters.unproven_failures.count(failure);
        }
        let error = self.negotiations.failed(address, failure, &detail, remedy, proven, now);
        let remedy = error.remedy.clone();
        let negotiation = self.negotiations.get(*address.ip()).cloned();
        let peer = peer.and_then(|id| self.peers.get_mut(id)).map(|peer| {
            if proven {
                peer.failures.count(failure);
            }
            if proven || peer.pairs == 0 {
                peer.last_error = Some(error);
                peer.negotiation = negotiation;
            }
            peer.config.name.clone()
        });
        self.effects.push_back(Effect::Report(Report::Failed { peer, proven, address, failure, detail, remedy }));
    }

    /// An IKE SA is over: the SPI that its request in flight has drawn is free.
    pub(crate) fn release_draft(&mut self, sa: &mut IkeSa, now: Instant) {
        if let Some(Ours::Auth(draft) | Ours::Child(draft)) = sa.requests.finish() {
            self.spis.retire(draft.inbound_spi, now);
        }
    }

    /// Remove a pair from the worker at once.
    pub(crate) fn remove_pair(&mut self, name: &PeerName, inbound_spi: u32, now: Instant) {
        self.spis.retire(inbound_spi, now);
        self.effects.push_back(Effect::Remove { peer: name.clone(), inbound_spi });
    }

    /// Arm the timer of a peer anew.
    pub(crate) fn arm_peer(&mut self, id: PeerId) {
        let deadline = self.peers.get(id).and_then(super::peer::Peer::deadline);
        self.timers.set(Timer::Peer(id), deadline);
    }
}
