//! `chukei run`: start-up, signals, shutdown.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use dataplane::counters::WorkerCounters;
use dataplane::nic::wait::Bell;
use dataplane::router_config::TunnelKind;
use dataplane::worker::WorkerParts;
use dataplane::worker::control::{Command, Event};
use dataplane::worker::thread::{self, Clock, WorkerHandle};
use ike::PeerName;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Loader, Problem, RelayConfigModel};
use crate::hardening::privileges::{self, User};
use crate::launcher::Launcher;
use crate::peers::{INITIATIONS_PER_SECOND, Known};
use crate::ports::{Ports, WorkerShare};
use crate::relay::{Relay, State};
use crate::sd_notify::Notifier;
use crate::setup::{Accepted, Setup};
use crate::workers::{NoAnswer, WorkerLink, Workers};
use crate::{api, clock, hardening, ipsec, metrics_server, reload};

/// A configuration that will be as wrong at the next start: nobody needs to try again by itself.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has errors:\n{}", .0.join("\n"))]
pub struct ConfigurationRefused(Vec<String>);

/// As whom the relay runs, and who opens its ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The user it becomes; whoever started it without one.
    pub user: Option<String>,
    /// The socket of a launcher that is a service of its own; without it the relay starts one.
    pub launcher: Option<PathBuf>,
}

/// Run the relay until SIGTERM or SIGINT, without a privilege from before the first file is read, and confined before the first packet.
///
/// # Errors
/// Why it could not start, or go on.
pub fn run(path: &Path, start: &Start) -> anyhow::Result<()> {
    let user = start.user.as_deref().map(User::named).transpose()?;
    let launcher = match &start.launcher {
        Some(socket) => Launcher::connect(socket)?,
        None => Launcher::start(start.user.as_deref())?,
    };
    privileges::give_up(user.as_ref())?;
    let (loader, setup) = load(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { serve(loader, setup, Some(launcher), signalled()?, |_| ()).await })
}

/// Ends with SIGTERM or SIGINT.
fn signalled() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// A relay on a thread of another program, for `chukei demo`. Dropping it stops it and gives its ports back.
pub struct Embedded {
    relay: Arc<Relay>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// The relay.
    #[must_use]
    pub fn relay(&self) -> &Arc<Relay> {
        &self.relay
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // A relay that has ended by itself hears nothing.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Start the relay on a thread of its own, in the caller's network namespace, and return when it carries traffic. The process opens the
/// ports itself and confines nothing: it is another program's.
///
/// # Errors
/// Why it could not start.
pub fn start_embedded(path: &Path) -> anyhow::Result<Embedded> {
    let path = path.to_owned();
    let (stop, stopped) = oneshot::channel();
    let (ready, started) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
        let refused = ready.clone();
        let body = || -> anyhow::Result<()> {
            let (loader, setup) = load(&path)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let ready = move |relay| drop(ready.send(Ok(relay)));
            runtime.block_on(serve(loader, setup, None, async { drop(stopped.await) }, ready))
        };
        if let Err(error) = body() {
            tracing::error!("{error:#}");
            drop(refused.send(Err(error)));
        }
    })?;
    let relay = started.recv().context("the relay's thread has ended")??;
    Ok(Embedded { relay, stop: Some(stop), thread: Some(thread) })
}

fn load(path: &Path) -> anyhow::Result<(Loader, Setup)> {
    let mut loader = Setup::loader(path);
    let Accepted { setup, warnings, .. } = Setup::load(&mut loader).map_err(|problems| refusal(&problems))?;
    reload::log_problems(&warnings);
    Ok((loader, setup))
}

fn refusal(problems: &[Problem]) -> ConfigurationRefused {
    ConfigurationRefused(problems.iter().map(Problem::to_string).collect())
}

/// Until `stop` is ready. `ready` hears of the relay when its worker runs. With a launcher the process is the relay's alone, and confined.
async fn serve(
    loader: Loader,
    setup: Setup,
    launcher: Option<Launcher>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Arc<Relay>),
) -> anyhow::Result<()> {
    let notifier = Notifier::from_environment();
    // From here on SIGHUP asks for a reload; before, it would end the process, and with ports taken over it must not.
    let hangup = signal(SignalKind::hangup())?;
    // What can fail without touching a NIC comes first.
    let listeners = Listeners::bind(&setup.model).await?;
    let state = State::start(setup, clock::now()).context("the directory `state` of relay.yaml")?;
    reload::log_problems(&state.unmatched_isolations());
    let model = &state.setup.model;
    let ports = Ports::open(model, launcher.as_ref())?;
    let (shares, descriptions, give_back) = ports.into_parts();
    let ended = launcher.map(|launcher| confine(&launcher, model, &loader)).transpose()?;
    let workers = Workers::new(spawn_workers(shares, &state)?);
    let relay = Arc::new(Relay::new(loader, state, workers, descriptions));
    listeners.serve(&relay);
    ipsec::start(&relay).context("start key exchange")?;
    tokio::spawn(pump(Arc::clone(&relay)));
    tokio::spawn(call_known_peers(Arc::clone(&relay)));
    tokio::spawn(save_peers(Arc::clone(&relay)));

    ready(Arc::clone(&relay));

    let ended = tokio::select! {
        ended = until_broken(&relay, &notifier, hangup) => ended,
        () = until_ended(ended) => Err(anyhow!("the launcher has ended, and the ports are no longer the relay's")),
        () = stop => Ok(()),
    };
    notifier.stopping();
    shut_down(&relay);
    give_back.restore();
    tracing::info!("stopped; the ports are as they were");
    ended
}

/// The last moment before packets: from here on this process gets nothing new. Returns what hears of the launcher's end.
fn confine(launcher: &Launcher, model: &RelayConfigModel, loader: &Loader) -> anyhow::Result<oneshot::Receiver<()>> {
    launcher.seal().context("the launcher")?;
    hardening::confine(model, loader)?;
    Ok(launcher.ended()?)
}

/// Never, where the relay has no launcher.
async fn until_ended(launcher: Option<oneshot::Receiver<()>>) {
    match launcher {
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
}

/// A thread for each share.
fn spawn_workers(shares: Vec<WorkerShare>, state: &State) -> anyhow::Result<Vec<Box<dyn WorkerLink>>> {
    let clock = Clock::start();
    let spawn = |WorkerShare { ports, pool, links }| -> anyhow::Result<Box<dyn WorkerLink>> {
        let counters: Arc<WorkerCounters> = Arc::default();
        let (config, seed) = (state.reader(), secret_seed()?);
        let port_half = state.port_half;
        let parts = WorkerParts {
            ports,
            links,
            pool,
            config,
            counters: Arc::clone(&counters),
            seed,
            port_half,
            cpu: None,
            start: clock.start_since_1970(),
        };
        let handle = thread::spawn(parts, clock).context("start a worker")?;
        Ok(Box::new(Linked { handle, counters }))
    };
    shares.into_iter().map(spawn).collect()
}

/// Everything the relay listens on besides its ports.
struct Listeners {
    metrics: Option<TcpListener>,
    api: Option<UnixListener>,
}

impl Listeners {
    async fn bind(model: &RelayConfigModel) -> anyhow::Result<Self> {
        let mut listeners = Self { metrics: None, api: None };
        if let Some(metrics) = &model.metrics {
            let listen: SocketAddr = metrics.listen;
            listeners.metrics = Some(TcpListener::bind(listen).await.with_context(|| format!("`metrics.listen` {listen}"))?);
        }
        if let Some(api) = &model.api {
            listeners.api = Some(api::bind(&api.socket).with_context(|| format!("`api.socket` {}", api.socket.display()))?);
        }
        Ok(listeners)
    }

    fn serve(self, relay: &Arc<Relay>) {
        if let Some(listener) = self.metrics {
            tokio::spawn(metrics_server::serve(listener, Arc::clone(relay)));
        }
        if let Some(listener) = self.api {
            tokio::spawn(api::serve(listener, Arc::clone(relay)));
        }
    }
}

/// Port numbers and indices are drawn from it, so nobody may guess it.
fn secret_seed() -> anyhow::Result<u64> {
    Ok(OsRng.try_next_u64()?)
}

/// The worker as [`Workers`] knows it.
struct Linked {
    handle: WorkerHandle,
    counters: Arc<WorkerCounters>,
}

impl WorkerLink for Linked {
    fn send(&mut self, command: Command) -> Result<(), NoAnswer> {
        self.handle.send(command).map_err(|_busy| NoAnswer::Full)
    }

    fn events_bell(&self) -> Option<Arc<Bell>> {
        Some(Arc::clone(self.handle.events_bell()))
    }

    fn has_room(&self) -> bool {
        self.handle.has_room()
    }

    fn next_event(&mut self) -> Option<Event> {
        self.handle.try_next()
    }

    fn now(&self) -> dataplane::time::Instant {
        self.handle.now()
    }

    fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    fn wake(&self) {
        self.handle.wake();
    }

    fn is_running(&self) -> bool {
        self.handle.is_running()
    }

    fn stop(self: Box<Self>) {
        if self.handle.stop().is_none() {
            tracing::error!("a worker panicked; its message is above");
        }
    }
}

async fn pump(relay: Arc<Relay>) {
    relay.workers.pump(|event| heard(&relay, event)).await;
}

fn heard(relay: &Relay, event: Event) {
    match &event {
        Event::PeerMoved { tenant, tunnel, peer } => relay.state().peers.moved(tenant, tunnel, *peer),
        Event::HandshakeAnswered { tenant, tunnel, timestamp } => relay.state().peers.answered(tenant, tunnel, *timestamp),
        _ => {}
    }
    relay.ipsec.event(event);
}

/// Routers keep talking to the sessions of the previous run for minutes; a call makes them start anew at once.
async fn call_known_peers(relay: Arc<Relay>) {
    let calls = relay.state().peers.known();
    tracing::info!(routers = calls.len(), "calling the routers of the previous run");
    let mut pace = interval(Duration::from_secs(1) / INITIATIONS_PER_SECOND);
    for Known { tenant, tunnel, peer, timestamp } in calls {
        pace.tick().await;
        let kind = relay.state().kind_of(&tenant, &tunnel);
        match (kind, peer) {
            (Some(TunnelKind::Ipsec), SocketAddr::V4(peer)) => relay.ipsec.call(PeerName { tenant, tunnel }, peer),
            (Some(TunnelKind::WireGuard { .. }), peer) => {
                if relay.workers.send(Command::Initiate { tenant, tunnel, peer, timestamp }).is_err() {
                    tracing::debug!("a router was not called: the worker is busy");
                }
            }
            // A reload took it away meanwhile.
            (None | Some(TunnelKind::Ipsec), _) => {}
        }
    }
}

async fn save_peers(relay: Arc<Relay>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        warn_if_lost(relay.state().peers.save_when_due(Instant::now()));
    }
}

fn warn_if_lost(saved: io::Result<()>) {
    if let Err(error) = saved {
        tracing::warn!(%error, "the peers' addresses were not kept: after a restart the relay waits for the routers to call");
    }
}

/// SIGHUP, the watchdog and rules that become valid, until a dead worker ends it.
async fn until_broken(relay: &Arc<Relay>, notifier: &Notifier, mut hangup: Signal) -> anyhow::Result<()> {
    let generation = relay.state().generation;
    if !relay.adopted(generation).await {
        bail!("a worker has not adopted the configuration");
    }
    notifier.ready(&status(relay));
    tracing::info!(status = status(relay), "ready");
    let mut seconds = interval(Duration::from_secs(1));
    let mut watchdog = interval(notifier.watchdog_interval().unwrap_or(Duration::from_secs(3_600)));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notifier.reloading();
                // The refusal is in the log; whoever wants it as an answer uses `chukei reload`.
                let _ = relay.reload("SIGHUP").await;
                notifier.ready(&status(relay));
            }
            _ = seconds.tick() => {
                relay.tick(clock::now());
                if !relay.workers.are_running() {
                    bail!("a worker has ended by itself; its message is above");
                }
            }
            _ = watchdog.tick() => if relay.is_alive() {
                notifier.watchdog();
            }
        }
    }
}

fn status(relay: &Relay) -> String {
    let state = relay.state();
    format!("{}: configuration {}, {} tenants", state.setup.model.name, state.generation, state.setup.model.tenants.len())
}

fn shut_down(relay: &Relay) {
    relay.ipsec.stop();
    relay.workers.take_events(|event| heard(relay, event));
    warn_if_lost(relay.state().peers.save());
    relay.workers.take().into_iter().for_each(WorkerLink::stop);
    if let Some(api) = &relay.state().setup.model.api {
        // A socket that stays is taken away by the next start.
        let _ = std::fs::remove_file(&api.socket);
    }
}
