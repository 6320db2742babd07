//! The control plane's end of the rings to the workers: commands down, events up, and who waits for which snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::counters::WorkerCounters;
use dataplane::nic::wait::{Bell, wait};
use dataplane::time::Instant;
use dataplane::worker::control::{Command, Event, SnapshotRequest, SnapshotRows};
use dataplane::worker::steering;
use tokio::sync::{Notify, oneshot};

use crate::clock::{self, Clocks};

/// A worker that has not answered by then is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long events may lie in the ring while nobody waits for an answer.
const IDLE_INTERVAL: Duration = Duration::from_millis(200);

/// How often the rings are looked at while somebody waits.
const WAITING_INTERVAL: Duration = Duration::from_millis(1);

/// A worker as the control plane sees it; tests have one of their own.
pub trait WorkerLink: Send {
    /// Put a command on the ring.
    ///
    /// # Errors
    /// When there is no room: try again later.
    fn send(&mut self, command: Command) -> Result<(), NoAnswer>;

    /// Rings when there are events; `None` where they have to be looked for.
    fn events_bell(&self) -> Option<Arc<Bell>> {
        None
    }

    /// Whether [`Self::send`] would find room.
    fn has_room(&self) -> bool {
        true
    }

    /// Wake the worker, for it to notice a new configuration at once.
    fn wake(&self) {}

    /// Whether the worker's thread still runs.
    fn is_running(&self) -> bool {
        true
    }

    /// End the worker; its drivers are gone when this returns.
    fn stop(self: Box<Self>) {}

    /// The next event.
    fn next_event(&mut self) -> Option<Event>;

    /// Now, as the worker counts time.
    fn now(&self) -> Instant;

    /// What the worker counts about itself.
    fn counters(&self) -> &Arc<WorkerCounters>;
}

/// The answer to one part of a snapshot.
struct Answer {
    rows: SnapshotRows,
    next: Option<u64>,
}

#[derive(Default)]
struct Waiting {
    next_id: u64,
    senders: HashMap<u64, oneshot::Sender<Answer>>,
}

/// All workers.
pub struct Workers {
    links: Mutex<Vec<Box<dyn WorkerLink>>>,
    waiting: Mutex<Waiting>,
    wake: Arc<Notify>,
}

/// A worker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The ring of commands is full.
    #[error("a worker does not take commands at the moment: try again in a second")]
    Full,
    /// Nothing came back in time.
    #[error("a worker did not answer within 3 s: see /healthz, and restart the relay if it stays so")]
    Timeout,
}

impl Workers {
    /// The control plane's end of these workers.
    #[must_use]
    pub fn new(links: Vec<Box<dyn WorkerLink>>) -> Self {
        Self { links: Mutex::new(links), waiting: Mutex::default(), wake: Arc::default() }
    }

    fn links(&self) -> MutexGuard<'_, Vec<Box<dyn WorkerLink>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many workers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.links().len()
    }

    /// The same moment on both clocks.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        let worker = self.links().first().map_or(Instant::ZERO, |link| link.now());
        Clocks { wall: clock::now(), worker }
    }

    /// What each worker counts about itself.
    #[must_use]
    pub fn counters(&self) -> Vec<Arc<WorkerCounters>> {
        self.links().iter().map(|link| Arc::clone(link.counters())).collect()
    }

    /// Whether every worker works with generation `generation` or a newer one.
    #[must_use]
    pub fn adopted(&self, generation: u64) -> bool {
        self.links().iter().all(|link| link.counters().generation.get() >= generation)
    }

    /// Send a command to the worker that owns its tenant; one about no tenant to the first.
    ///
    /// # Errors
    /// When its ring is full.
    pub fn send(&self, command: Command) -> Result<(), NoAnswer> {
        let mut links = self.links();
        let worker = match command.tenant() {
            Some(tenant) if !links.is_empty() => steering::owner(tenant, links.len()).index(),
            _ => 0,
        };
        links.get_mut(worker).map_or(Err(NoAnswer::Full), |link| link.send(command))
    }

    /// Send a command to this worker; it comes back when there is no room for it, or no such worker any more.
    pub(crate) fn send_to(&self, worker: usize, command: Command) -> Result<(), Command> {
        let mut links = self.links();
        let Some(link) = links.get_mut(worker).filter(|link| link.has_room()) else { return Err(command) };
        // Nobody else has written to the ring meanwhile.
        let sent = link.send(command);
        debug_assert!(sent.is_ok(), "there was room");
        Ok(())
    }

    /// Have every worker notice a new configuration at once.
    pub fn wake(&self) {
        self.links().iter().for_each(|link| link.wake());
    }

    /// Whether every worker's thread still runs.
    #[must_use]
    pub fn are_running(&self) -> bool {
        self.links().iter().all(|link| link.is_running())
    }

    /// End the relay's use of the workers and give their handles back.
    #[must_use]
    pub fn take(&self) -> Vec<Box<dyn WorkerLink>> {
        std::mem::take(&mut *self.links())
    }

    /// Ask every worker and collect all rows.
    ///
    /// # Errors
    /// When a worker cannot be asked or does not answer.
    pub async fn snapshot<R>(
        &self,
        request: impl Fn(u64) -> SnapshotRequest,
        rows_of: impl Fn(SnapshotRows) -> Vec<R>,
    ) -> Result<Vec<R>, NoAnswer> {
        let mut all = Vec::new();
        for worker in 0..self.count() {
            let mut from = 0;
            loop {
                let answer = self.ask(worker, request(from)).await?;
                all.extend(rows_of(answer.rows));
                match answer.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(all)
    }

    async fn ask(&self, worker: usize, request: SnapshotRequest) -> Result<Answer, NoAnswer> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting();
            waiting.next_id += 1;
            let id = waiting.next_id;
            waiting.senders.insert(id, sender);
            id
        };
        let sent = self.links()[worker].send(Command::Snapshot { id, request });
        let answer = match sent {
            Ok(()) => {
                self.wake.notify_one();
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, receiver).await;
                answer.ok().and_then(Result::ok).ok_or(NoAnswer::Timeout)
            }
            Err(full) => Err(full),
        };
        self.waiting().senders.remove(&id);
        answer
    }

    /// Take events off the rings for ever. A task of its own runs this.
    pub async fn pump(&self, on_event: impl Fn(Event)) {
        let bells: Vec<Arc<Bell>> = self.links().iter().filter_map(|link| link.events_bell()).collect();
        if !bells.is_empty() {
            pass_on(bells, &self.wake);
        }
        loop {
            self.take_events(&on_event);
            let idle = self.waiting().senders.is_empty();
            let interval = if idle { IDLE_INTERVAL } else { WAITING_INTERVAL };
            // Waking up early is harmless: an empty ring costs one load.
            let _ = tokio::time::timeout(interval, self.wake.notified()).await;
        }
    }

    /// Take what is on the rings now. Answers to snapshots go to who waits for them, all else goes to `on_event`.
    pub fn take_events(&self, on_event: impl Fn(Event)) {
        for link in self.links().iter_mut() {
            while let Some(event) = link.next_event() {
                match event {
                    Event::Snapshot { id, rows, next, .. } => self.answered(id, Answer { rows, next }),
                    Event::Retired(tenant) => drop(tenant),
                    event => on_event(event),
                }
            }
        }
    }

    fn answered(&self, id: u64, answer: Answer) {
        if let Some(sender) = self.waiting().senders.remove(&id) {
            // Whoever asked may have gone away meanwhile.
            let _ = sender.send(answer);
        }
    }
}

/// Wake the pump whenever a worker rings, until the relay is gone. A thread, as the runtime has no safe way to watch a descriptor that
/// it does not own.
fn pass_on(bells: Vec<Arc<Bell>>, wake: &Arc<Notify>) {
    let wake = Arc::downgrade(wake);
    let body = move || {
        let descriptors: Vec<_> = bells.iter().map(|bell| bell.descriptor()).collect();
        while wake.strong_count() > 0 {
            wait(&descriptors, dataplane::time::Duration::from_secs(1));
            // Silenced before the rings are read: what is told from here on rings again.
            bells.iter().for_each(|bell| bell.silence());
            let _ = wake.upgrade().map(|wake| wake.notify_one());
        }
    };
    if let Err(error) = std::thread::Builder::new().name("events".to_owned()).spawn(body) {
        tracing::warn!(%error, "no thread for the workers' bells: their events wait up to 200 ms");
    }
}
