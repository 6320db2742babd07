//! The thread around a worker: it alone reads the clock, and it alone sleeps.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer};

use crate::nic::Nic;
use crate::nic::wait::{Bell, pin_to_cpu, wait};
use crate::time::{Duration, Instant};
use crate::worker::control::{Command, Event};
use crate::worker::{Worker, WorkerParts};

/// How long a worker looks for more frames before it sleeps: shorter than a wake-up costs the sender.
const SPIN: Duration = Duration::from_micros(20);

/// The relay's clock, counted from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    since_1970: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { start: std::time::Instant::now(), since_1970 }
    }

    /// From 1970 to the start, as the machine's wall clock had it then.
    #[must_use]
    pub fn start_since_1970(&self) -> Duration {
        self.since_1970
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The control plane's hold on a running worker.
pub struct WorkerHandle {
    commands: Producer<Command>,
    events: Consumer<Event>,
    bell: Arc<Bell>,
    events_bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Box<dyn Nic>>>>,
    clock: Clock,
}

/// The worker's command ring is full; it does not keep up, or is gone.
#[derive(Debug, thiserror::Error)]
#[error("the worker does not take commands at the moment; try again")]
pub struct Busy;

/// Start a worker on a thread of its own. All workers of a relay go by the same clock.
///
/// # Errors
/// When the kernel gives no event descriptor or no thread.
pub fn spawn(parts: WorkerParts, clock: Clock) -> io::Result<WorkerHandle> {
    let bell = Arc::new(Bell::new()?);
    let events_bell = Arc::new(Bell::new()?);
    let stop = Arc::new(AtomicBool::new(false));
    let (their_bell, their_events_bell, their_stop) = (Arc::clone(&bell), Arc::clone(&events_bell), Arc::clone(&stop));
    let cpu = parts.cpu;
    parts.links.sleep_state().install(Arc::clone(&bell));
    let name = format!("worker-{}", parts.links.worker().0);
    let (worker, commands, events) = Worker::new(parts, clock.now());
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        if let Some(cpu) = cpu {
            pin_to_cpu(cpu);
        }
        run(worker, clock, &their_bell, &their_events_bell, &their_stop)
    })?;
    Ok(WorkerHandle { commands, events, bell, events_bell, stop, thread: Some(thread), clock })
}

fn run(mut worker: Worker, clock: Clock, bell: &Bell, events_bell: &Bell, stop: &AtomicBool) -> Vec<Box<dyn Nic>> {
    // The bell first: whoever has more queues than can be watched must still be woken by the others.
    let mut descriptors: Vec<RawFd> = vec![bell.descriptor()];
    descriptors.extend(worker.nics().filter_map(|nic| nic.readable()));
    let mut busy_until = clock.now() + SPIN;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let worked = worker.poll(now);
        if worker.has_told() {
            events_bell.ring();
        }
        if worked > 0 {
            busy_until = now + SPIN;
        } else if now >= busy_until {
            worker.nics().for_each(|nic| nic.prepare_sleep());
            if worker.may_sleep() {
                worker.count_sleep();
                let deadline = worker.next_deadline();
                wait(&descriptors, deadline.since(clock.now()));
                bell.silence();
            }
            worker.wake_up();
        }
    }
    worker.into_nics()
}

impl WorkerHandle {
    /// Send a command and wake the worker.
    ///
    /// # Errors
    /// [`Busy`] when the ring is full.
    pub fn send(&mut self, command: Command) -> Result<(), Busy> {
        self.commands.push(command).map_err(|_| Busy)?;
        self.bell.ring();
        Ok(())
    }

    /// Whether [`Self::send`] would find room: nobody else fills the ring.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.commands.slots() > 0
    }

    /// Wake the worker, for it to notice a new configuration at once.
    pub fn wake(&self) {
        self.bell.ring();
    }

    /// The next event, if there is one.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.pop().ok()
    }

    /// Rung whenever there is an event: wait for its descriptor, silence it, and take the events.
    #[must_use]
    pub fn events_bell(&self) -> &Arc<Bell> {
        &self.events_bell
    }

    /// The worker's time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The worker's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether the worker's thread still runs; it ends only by [`Self::stop`] or by a panic.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// End the worker and give back its NICs; `None` where its thread panicked.
    pub fn stop(mut self) -> Option<Vec<Box<dyn Nic>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.bell.ring();
        self.thread.take()?.join().ok()
    }
}
