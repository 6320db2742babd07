//! The running relay as the control plane knows it: what is configured, what is cut off, who its workers are.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataplane::nat::PortHalf;
use dataplane::nic::NicDescription;
use dataplane::publish::{Publisher, Reader};
use dataplane::router_config::{RouterConfig, TunnelKind};
use time::OffsetDateTime;

use crate::clock;
use crate::compile::{Compiler, IkeCompiler};
use crate::config::{Loader, Problem, Severity};
use crate::ipsec::Ipsec;
use crate::isolation::{Isolation, Isolations, Scope, class_of};
use crate::peers::Peers;
use crate::port_half;
use crate::registry::{Changes, Registry};
use crate::setup::Setup;
use crate::workers::Workers;

/// A worker whose number of polls has not moved for so long is stuck; an idle one wakes far more often.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How long a change may take to reach every worker before the caller is told that it has not yet.
const ADOPTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The running relay.
pub struct Relay {
    /// The workers.
    pub workers: Workers,
    /// Key exchange for IPsec tunnels.
    pub ipsec: Ipsec,
    /// The ports' drivers, in the order of the configuration.
    pub nics: Vec<NicDescription>,
    /// When it started.
    pub started: OffsetDateTime,
    /// Reads relay.yaml and all it names; one reload at a time.
    pub(crate) loader: Arc<tokio::sync::Mutex<Loader>>,
    state: Mutex<State>,
    polls: Mutex<Vec<(u64, Instant)>>,
}

/// What changes while the relay runs.
#[derive(Debug)]
pub struct State {
    /// The accepted configuration.
    pub setup: Arc<Setup>,
    /// All counters.
    pub registry: Registry,
    /// What operators cut off.
    pub isolations: Isolations,
    /// Where routers were last heard.
    pub peers: Peers,
    /// Of the ports of pools, those that this run gives out first.
    pub port_half: PortHalf,
    /// Number of the published configuration.
    pub generation: u64,
    /// Whether the files were accepted when they were last read, and when that was.
    pub last_reload: (bool, OffsetDateTime),
    publisher: Publisher<RouterConfig>,
    compiler: Compiler,
    ike_compiler: IkeCompiler,
    ike_config: ike::Config,
    /// Unix time at which a rule becomes valid or stops being so.
    next_boundary: Option<i64>,
}

/// Why an operator's cut-off, or its end, was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum IsolationRefused {
    /// The configuration has no such tenant.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// The tenant has no such class.
    #[error("the class is `mynumber` or `lgwan-connected`")]
    NoSuchClass,
    /// The tenant has no such service or callback.
    #[error("the tenant has no service or callback of this name: see its file, or isolate the whole tenant")]
    NoSuchRule,
    /// Nothing of this scope is cut off.
    #[error("this is not isolated: `chukei show isolations` lists what is")]
    NotIsolated,
}

/// What a cut-off, or its end, came to.
#[derive(Debug)]
pub struct CutOff {
    /// Whether every worker obeys already.
    pub effective: bool,
    /// Why a restart would undo it. It is written anew every second until that succeeds.
    pub unsaved: Option<io::Error>,
}

impl State {
    /// Compile `setup` for the first time, with the cut-offs of earlier runs.
    ///
    /// # Errors
    /// When the state directory cannot be used, or its list of cut-offs not be read.
    pub fn start(setup: Setup, now: OffsetDateTime) -> io::Result<Self> {
        let directory = setup.model.state.clone();
        let about = |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        DirBuilder::new().recursive(true).mode(0o750).create(&directory).map_err(|error| about(error, &directory))?;
        let file = directory.join("isolations.json");
        let isolations = Isolations::load(&file).map_err(|error| about(error, &file))?;
        let mut registry = Registry::default();
        let mut compiler = Compiler::default();
        let mut router = compile(&setup, &mut compiler, &isolations, now);
        registry.attach(&mut router, now);
        let mut ike_compiler = IkeCompiler::default();
        let mut state = Self {
            next_boundary: compiler.next_boundary(),
            compiler,
            ike_config: setup.ike_config(&mut ike_compiler, now.unix_timestamp()),
            ike_compiler,
            setup: Arc::new(setup),
            registry,
            isolations,
            peers: Peers::load(&directory.join("peers.json")),
            port_half: port_half::take_turn(&directory.join("ports.json")),
            generation: 1,
            last_reload: (true, now),
            publisher: Publisher::new(router),
        };
        state.forget_removed_peers();
        Ok(state)
    }

    /// A worker's view of the configuration.
    #[must_use]
    pub fn reader(&self) -> Reader<RouterConfig> {
        self.publisher.reader()
    }

    /// The published configuration.
    #[must_use]
    pub fn router(&self) -> Arc<RouterConfig> {
        self.publisher.current()
    }

    /// Compile what is configured and cut off at `now`, and hand it to the workers.
    pub(crate) fn publish(&mut self, now: OffsetDateTime) -> Changes {
        let mut router = compile(&self.setup, &mut self.compiler, &self.isolations, now);
        let changes = self.registry.attach(&mut router, now);
        self.generation = self.publisher.publish(router);
        self.next_boundary = self.compiler.next_boundary();
        self.ike_config = self.setup.ike_config(&mut self.ike_compiler, now.unix_timestamp());
        changes
    }

    /// Publish a configuration that was loaded anew.
    pub(crate) fn replace(&mut self, setup: Setup, now: OffsetDateTime) -> Changes {
        self.setup = Arc::new(setup);
        let changes = self.publish(now);
        self.forget_removed_peers();
        changes
    }

    /// What key exchange works with, as it was compiled last.
    #[must_use]
    pub fn ike_config(&self) -> ike::Config {
        self.ike_config.clone()
    }

    /// What kind of tunnel this is; `None` where it is none of the configuration.
    #[must_use]
    pub fn kind_of(&self, tenant: &str, tunnel: &str) -> Option<TunnelKind> {
        let router = self.router();
        let entry = router.tenants.iter().find(|entry| *entry.config.name == *tenant)?;
        entry.config.tunnels.iter().find(|candidate| *candidate.name == *tunnel).map(|tunnel| tunnel.kind.clone())
    }

    fn forget_removed_peers(&mut self) {
        let router = self.router();
        let tunnels =
            router.tenants.iter().flat_map(|entry| entry.config.tunnels.iter().map(|tunnel| (&*entry.config.name, &*tunnel.name)));
        let tunnels: HashSet<(&str, &str)> = tunnels.collect();
        self.peers.retain(|tenant, tunnel| tunnels.contains(&(tenant, tunnel)));
    }

    /// Whether the configuration has what `scope` names.
    #[must_use]
    pub fn matches(&self, scope: &Scope) -> bool {
        self.check_scope(scope).is_ok()
    }

    /// A warning for each cut-off that matches nothing: what it closed may be open under another name.
    #[must_use]
    pub fn unmatched_isolations(&self) -> Vec<Problem> {
        let unmatched = self.isolations.list().iter().filter(|isolation| !self.matches(&isolation.scope));
        let warning = |isolation: &Isolation| Problem {
            severity: Severity::Warning,
            file: self.isolations.path().display().to_string(),
            line: 0,
            column: 0,
            path: String::new(),
            message: format!("the cut-off of {} matches nothing in the configuration", isolation.scope),
            help: Some("if it has another name now, `chukei isolate` that; `chukei reopen` ends this one".to_owned()),
        };
        unmatched.map(warning).collect()
    }

    fn check_scope(&self, scope: &Scope) -> Result<(), IsolationRefused> {
        let router = self.router();
        let entry = router.tenants.iter().find(|entry| *entry.config.name == *scope.tenant).ok_or(IsolationRefused::NoSuchTenant)?;
        if scope.class.as_deref().is_some_and(|class| class_of(class).is_none()) {
            return Err(IsolationRefused::NoSuchClass);
        }
        let Some(rule) = &scope.service else { return Ok(()) };
        let mut rules = entry.config.services.iter().map(|s| &s.name).chain(entry.config.callbacks.iter().map(|callback| &callback.name));
        rules.any(|name| **name == **rule).then_some(()).ok_or(IsolationRefused::NoSuchRule)
    }
}

/// Cut-offs are written into copies: what the compiler keeps is as the files say, and what a worker holds is never touched.
fn compile(setup: &Setup, compiler: &mut Compiler, isolations: &Isolations, now: OffsetDateTime) -> RouterConfig {
    let mut router = setup.compile(compiler, now.unix_timestamp());
    let concerned: HashSet<&str> = isolations.list().iter().map(|isolation| isolation.scope.tenant.as_str()).collect();
    for entry in router.tenants.iter_mut().filter(|entry| concerned.contains(&*entry.config.name)) {
        isolations.apply(Arc::make_mut(&mut entry.config));
    }
    router
}

impl Relay {
    /// A relay whose workers run.
    #[must_use]
    pub fn new(loader: Loader, state: State, workers: Workers, nics: Vec<NicDescription>) -> Self {
        let polls = workers.counters().iter().map(|counters| (counters.polls.get(), Instant::now())).collect();
        let ipsec = Ipsec::default();
        ipsec.configure(state.generation, state.ike_config());
        Self {
            workers,
            ipsec,
            nics,
            started: clock::now(),
            loader: Arc::new(tokio::sync::Mutex::new(loader)),
            state: Mutex::new(state),
            polls: Mutex::new(polls),
        }
    }

    /// What changes while the relay runs. Never hold it across an `await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cut off what `isolation` names; returns once every worker obeys, or it is clear that one does not yet.
    ///
    /// # Errors
    /// Why nothing was cut off.
    pub async fn isolate(&self, isolation: Isolation) -> Result<CutOff, IsolationRefused> {
        let (generation, unsaved) = {
            let mut state = self.state();
            state.check_scope(&isolation.scope)?;
            state.isolations.isolate(isolation);
            self.publish_and_save(&mut state)
        };
        Ok(CutOff { effective: self.adopted(generation).await, unsaved })
    }

    /// End the cut-off of `scope`; returns once every worker obeys, or it is clear that one does not yet.
    ///
    /// # Errors
    /// Why nothing was opened.
    pub async fn reopen(&self, scope: &Scope) -> Result<CutOff, IsolationRefused> {
        let (generation, unsaved) = {
            let mut state = self.state();
            if !state.isolations.reopen(scope) {
                return Err(IsolationRefused::NotIsolated);
            }
            self.publish_and_save(&mut state)
        };
        Ok(CutOff { effective: self.adopted(generation).await, unsaved })
    }

    /// The workers first: a cut-off must not wait for a disk, nor fail with a full one.
    fn publish_and_save(&self, state: &mut State) -> (u64, Option<io::Error>) {
        state.publish(clock::now());
        self.announce(state);
        let unsaved = state.isolations.save().err();
        if let Some(error) = &unsaved {
            let file = state.isolations.path().display();
            tracing::error!(%file, %error, "the list of cut-offs cannot be written: a restart would find the one before");
        }
        (state.generation, unsaved)
    }

    /// Have the workers notice what was published, and key exchange after them.
    pub(crate) fn announce(&self, state: &State) {
        self.workers.wake();
        self.ipsec.configure(state.generation, state.ike_config());
    }

    /// Wait until every worker works with `generation`, but not for ever.
    pub(crate) async fn adopted(&self, generation: u64) -> bool {
        self.workers.wake();
        let deadline = Instant::now() + ADOPTION_TIMEOUT;
        while !self.workers.adopted(generation) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Whether the configuration that was published is the one that forwards.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let generation = self.state().generation;
        self.workers.adopted(generation)
    }

    /// Whether every worker polled lately, and key exchange goes on.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ailment().is_none()
    }

    /// What is not as it has to be and does not mend itself, for people.
    #[must_use]
    pub fn ailment(&self) -> Option<&'static str> {
        if !self.workers_poll() {
            return Some("a worker has not polled for 10 s");
        }
        (!self.ipsec.is_alive()).then_some("key exchange for IPsec has stopped: tunnels go down one after the other as their SAs end")
    }

    fn workers_poll(&self) -> bool {
        // `tick` asks every second, so that the answer never rests on an observation of long ago.
        let now = Instant::now();
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        for ((seen, at), counters) in polls.iter_mut().zip(self.workers.counters()) {
            let current = counters.polls.get();
            if current != *seen {
                (*seen, *at) = (current, now);
            }
        }
        self.workers.are_running() && polls.iter().all(|(_, at)| now.duration_since(*at) < STUCK_AFTER)
    }

    /// What is due every second: rules that become valid or stop being so. The wall clock may jump, so it is read anew each time.
    pub fn tick(&self, now: OffsetDateTime) {
        if let Some(ailment) = self.ailment() {
            tracing::error!("{ailment}");
        }
        let mut state = self.state();
        state.publisher.free_retired();
        if !state.isolations.is_saved() && state.isolations.save().is_ok() {
            tracing::info!("the list of cut-offs is on disk again");
        }
        if state.next_boundary.is_some_and(|boundary| boundary <= now.unix_timestamp()) {
            let changes = state.publish(now);
            tracing::info!(tenants = ?changes.changed, generation = state.generation, "the validity of rules has changed");
            self.announce(&state);
        }
    }
}

#[cfg(test)]
mod tests;
