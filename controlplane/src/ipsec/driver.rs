//! The engine and what is owed to it: every installation and every job gets its answer, also when nobody gives one.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::mpsc::Sender;
use std::time::Duration;

use dataplane::tunnel::esp::sa::{SaRefused, Spi};
use dataplane::worker::control::{Command, Event};
use dataplane::worker::steering;
use ike::{ChildSa, DhOutcome, Effect, Engine, InstallId, InstallRefused, Instant, PeerName, Report};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Input;
use super::dh_pool::DhPool;
use super::log::ReportLog;
use super::outbox::Outbox;
use super::translate;
use super::view::DriverCounters;
use crate::workers::Workers;

/// A worker that has not answered an installation by then does not: the peer has given its request up.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon a full ring, or workers that have not adopted a configuration, are looked at again.
pub(super) const RETRY: Duration = Duration::from_millis(1);

/// Waiting for longer would leave removed tenants their SAs; by then a worker is stuck, which `/healthz` says.
const ADOPTION_TIMEOUT: Duration = Duration::from_secs(3);

/// An SA pair on its way to its worker.
struct Installing {
    peer: PeerName,
    inbound_spi: u32,
}

/// A configuration that waits for the workers.
struct Deferred {
    generation: u64,
    config: ike::Config,
    until: Instant,
}

/// The engine with everything between it and the threads around it.
pub(super) struct Driver {
    pub(super) engine: Engine,
    inbox: Sender<Input>,
    pool: Option<DhPool>,
    outbox: Outbox,
    workers: usize,
    installing: HashMap<InstallId, Installing>,
    /// When each of them is given up, in the order of time; some have been answered meanwhile.
    given_up: VecDeque<(Instant, InstallId)>,
    deferred: Option<Deferred>,
    /// Peers to be called as soon as the engine knows them; at most one call for each peer that the previous run knew.
    calls: Vec<(PeerName, SocketAddrV4)>,
    moved: Vec<(PeerName, SocketAddrV4)>,
    log: ReportLog,
    counters: DriverCounters,
}

impl Driver {
    /// A driver without peers. Jobs report to `inbox`.
    pub(super) fn new(inbox: Sender<Input>) -> Self {
        Self {
            engine: Engine::new(ike::Config::default(), Box::new(StdRng::from_os_rng()), Instant::ZERO),
            inbox,
            pool: None,
            outbox: Outbox::default(),
            workers: 0,
            installing: HashMap::new(),
            given_up: VecDeque::new(),
            deferred: None,
            calls: Vec::new(),
            moved: Vec::new(),
            log: ReportLog::default(),
            counters: DriverCounters::default(),
        }
    }

    /// Tell the engine.
    pub(super) fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Event(event) => self.event(event, now),
            Input::DhDone(job, outcome) => self.engine.dh_done(job, outcome, now),
            Input::Configure { generation, config } => {
                // A newer one takes the place of one that still waits: it is about all peers.
                self.deferred = Some(Deferred { generation, config, until: now + ADOPTION_TIMEOUT });
            }
            Input::Call(peer, address) => self.calls.push((peer, address)),
            Input::Stop => {
                self.deferred = None;
                self.engine.configure(ike::Config::default(), now);
            }
        }
    }

    fn event(&mut self, event: Event, now: Instant) {
        let engine = &mut self.engine;
        match event {
            Event::Ike { endpoint, local_port, from, message } => {
                engine.datagram(usize::from(endpoint.0), translate::local_port(local_port), from, &message, now);
            }
            Event::SaInstalled { id, outcome } => self.installed(InstallId(id), outcome.map_err(Some), now),
            Event::Acquire { tenant, tunnel } => engine.initiate(&PeerName { tenant, tunnel }, None, now),
            Event::SaExpiring { inbound_spi, .. } => engine.sa_expiring(inbound_spi.get(), now),
            Event::SaHeard { inbound_spi, .. } => engine.sa_heard(inbound_spi.get(), now),
            Event::SasLost { inbound_spis, .. } => {
                engine.sas_lost(&inbound_spis.iter().map(|spi| spi.get()).collect::<Vec<_>>(), now);
            }
            Event::PeerMoved { tenant, tunnel, peer: SocketAddr::V4(peer) } => engine.esp_moved(&PeerName { tenant, tunnel }, peer, now),
            Event::PeerMoved { .. } | Event::HandshakeAnswered { .. } | Event::Snapshot { .. } | Event::Retired(_) => {}
        }
    }

    /// Do what is due and carry out what the engine wants, as far as there is room.
    pub(super) fn settle(&mut self, workers: &Workers, now: Instant) {
        self.workers = workers.count();
        self.configure_when_adopted(workers, now);
        self.call_when_configured(now);
        self.give_up_installations(now);
        if self.engine.deadline().is_some_and(|deadline| deadline <= now) {
            self.engine.tick(now);
        }
        if self.workers > 0 {
            while let Some(effect) = self.engine.next_effect() {
                self.carry_out(effect, now);
            }
        }
        self.outbox.flush(workers);
    }

    /// How long nothing is due.
    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        let retry = (self.deferred.is_some() || self.outbox.len() > 0).then_some(now + RETRY);
        let installs = self.given_up.front().map(|(at, _)| *at);
        let due = [retry, installs, self.engine.deadline()].into_iter().flatten().min();
        due.map(|due| due.since(now))
    }

    /// Start the threads for Diffie-Hellman.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start_pool(&mut self) -> std::io::Result<()> {
        self.pool = Some(DhPool::start(&self.inbox)?);
        Ok(())
    }

    /// Peers that have proven to be somewhere since the last time.
    pub(super) fn take_moved(&mut self) -> Vec<(PeerName, SocketAddrV4)> {
        std::mem::take(&mut self.moved)
    }

    /// Whether a configuration waits for the workers.
    #[cfg(test)]
    pub(super) fn is_deferring(&self) -> bool {
        self.deferred.is_some()
    }

    /// Peers that wait to be called.
    #[cfg(test)]
    pub(super) fn waiting_calls(&self) -> usize {
        self.calls.len()
    }

    /// Installations that are still looked at.
    #[cfg(test)]
    pub(super) fn waiting_installs(&self) -> usize {
        self.given_up.len()
    }

    /// Whether everything has left.
    pub(super) fn is_done(&self) -> bool {
        self.outbox.len() == 0
    }

    /// What the driver counts itself.
    pub(super) fn counters(&self) -> DriverCounters {
        DriverCounters { messages_dropped: self.outbox.dropped, commands_waiting: self.outbox.len() as u64, ..self.counters.clone() }
    }

    fn configure_when_adopted(&mut self, workers: &Workers, now: Instant) {
        let ready = |deferred: &mut Deferred| deferred.until <= now || workers.adopted(deferred.generation);
        if let Some(Deferred { config, .. }) = self.deferred.take_if(ready) {
            self.engine.configure(config, now);
        }
    }

    /// The engine forgets a call of somebody it does not know yet.
    fn call_when_configured(&mut self, now: Instant) {
        if self.deferred.is_none() {
            self.calls.drain(..).for_each(|(peer, address)| self.engine.initiate(&peer, Some(address), now));
        }
    }

    fn give_up_installations(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.given_up.front() {
            let answered = !self.installing.contains_key(&id);
            if !answered && at > now {
                break;
            }
            self.given_up.pop_front();
            if !answered {
                self.counters.installs_unanswered += 1;
                self.installed(id, Err(None), now);
            }
        }
    }

    /// `None` as the reason is a worker's silence.
    fn installed(&mut self, id: InstallId, outcome: Result<(), Option<SaRefused>>, now: Instant) {
        // An answer that comes after it was given up finds nothing: the removal is on its way already.
        let Some(Installing { peer, inbound_spi, .. }) = self.installing.remove(&id) else { return };
        let outcome = outcome.map_err(|refused| {
            let why = refused.map_or_else(|| "the worker did not answer".to_owned(), |refused| refused.to_string());
            tracing::warn!(tenant = %peer.tenant, tunnel = %peer.tunnel, why, "an SA was not installed");
            if refused.is_none() {
                self.remove(peer, inbound_spi);
            }
            refused.map_or(InstallRefused::Busy, translate::refusal)
        });
        self.engine.sa_installed(id, outcome, now);
    }

    pub(super) fn carry_out(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Send { endpoint, local, to, message } => {
                let (endpoint, local_port) = (translate::endpoint(endpoint), translate::ike_port(local));
                self.send(to, Command::SendIke { endpoint, local_port, to, message: message.into_boxed_slice() });
            }
            Effect::SendKeepalive { endpoint, to } => {
                self.send(to, Command::SendKeepalive { endpoint: translate::endpoint(endpoint), to });
            }
            Effect::DiffieHellman { job, task } => {
                let refused = self.pool.as_ref().map_or(Err(job), |pool| pool.submit(job, task));
                if let Err(job) = refused {
                    self.counters.dh_refused += 1;
                    self.engine.dh_done(job, DhOutcome::Busy, now);
                }
            }
            Effect::Install { id, peer, sa } => self.install(id, peer, &sa, now),
            Effect::SwitchOutbound { peer: PeerName { tenant, tunnel }, inbound_spi } => {
                if let Some(inbound_spi) = Spi::new(inbound_spi) {
                    self.command(Command::SwitchOutbound { tenant, tunnel, inbound_spi });
                }
            }
            Effect::CloseOutbound { peer: PeerName { tenant, tunnel }, inbound_spi } => {
                if let Some(inbound_spi) = Spi::new(inbound_spi) {
                    self.command(Command::CloseOutbound { tenant, tunnel, inbound_spi });
                }
            }
            Effect::Remove { peer, inbound_spi } => self.remove(peer, inbound_spi),
            Effect::MovePeer { peer: PeerName { tenant, tunnel }, inbound_spi, to } => {
                if let Some(inbound_spi) = Spi::new(inbound_spi) {
                    self.command(Command::MovePeer { tenant, tunnel, inbound_spi, to: translate::encapsulation(to) });
                }
            }
            Effect::Report(report) => {
                if let Report::IkeEstablished { peer, address: to, .. } | Report::PeerMoved { peer, to } = &report {
                    self.moved.push((peer.clone(), *to));
                }
                self.log.write(&report, now);
            }
        }
    }

    fn install(&mut self, id: InstallId, peer: PeerName, sa: &ChildSa, now: Instant) {
        let Some(pair) = translate::sa_pair(sa) else {
            tracing::error!(tenant = %peer.tenant, tunnel = %peer.tunnel, "key exchange made an SA that no worker can hold");
            self.engine.sa_installed(id, Err(InstallRefused::Busy), now);
            return;
        };
        let PeerName { tenant, tunnel } = peer.clone();
        self.installing.insert(id, Installing { peer, inbound_spi: sa.inbound_spi });
        self.given_up.push_back((now + INSTALL_TIMEOUT, id));
        self.command(Command::InstallSa { id: id.0, tenant, tunnel, pair: Box::new(pair) });
    }

    fn remove(&mut self, PeerName { tenant, tunnel }: PeerName, inbound_spi: u32) {
        if let Some(inbound_spi) = Spi::new(inbound_spi) {
            self.command(Command::RemoveSa { tenant, tunnel, inbound_spi });
        }
    }

    fn command(&mut self, command: Command) {
        let owner = command.tenant().map_or(0, |tenant| steering::owner(tenant, self.workers.max(1)).index());
        self.outbox.push(owner, command);
    }

    /// Any worker may send; one peer's messages leave by one worker, in their order.
    fn send(&mut self, to: SocketAddrV4, command: Command) {
        let peer = usize::try_from(to.ip().to_bits()).unwrap_or_default();
        self.outbox.push(peer % self.workers.max(1), command);
    }
}
