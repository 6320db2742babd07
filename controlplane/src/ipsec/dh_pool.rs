//! Threads for Diffie-Hellman: milliseconds for MODP groups, in which the engine goes on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use ike::{DhJobId, DhOutcome, DhTask};

use super::Input;

/// Two, so that the slowest group of one negotiation does not hold up all others; the workers need the other cores.
const THREADS: usize = 2;

/// Jobs that may wait: some 2 s of MODP-2048 on two cores, which is longer than peers wait before they ask again.
///
/// The second half of an exchange of ours is taken beyond that: the peer has done its part and would be left with an SA that we cannot
/// make. There are no more of those than IKE SAs, as each has one request under way.
pub(super) const MOST_JOBS: usize = 1_024;

/// A small pool. Dropping it lets the threads end when their queue is empty.
pub(super) struct DhPool {
    jobs: Sender<(DhJobId, DhTask)>,
    waiting: Arc<AtomicUsize>,
}

impl DhPool {
    /// Start the threads; outcomes go to `inbox`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(inbox: &Sender<Input>) -> io::Result<Self> {
        let (pool, queue) = Self::without_threads();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let (queue, waiting, inbox) = (Arc::clone(&queue), Arc::clone(&pool.waiting), inbox.clone());
            std::thread::Builder::new().name(format!("ike-dh-{number}")).spawn(move || work(&queue, &waiting, &inbox))?;
        }
        Ok(pool)
    }

    pub(super) fn without_threads() -> (Self, Receiver<(DhJobId, DhTask)>) {
        let (jobs, queue) = channel();
        (Self { jobs, waiting: Arc::default() }, queue)
    }

    /// Have a job done. One that finds the queue full comes back.
    pub(super) fn submit(&self, job: DhJobId, task: DhTask) -> Result<(), DhJobId> {
        if self.waiting.load(Ordering::Relaxed) >= MOST_JOBS && !matches!(task, DhTask::Agree { .. }) {
            return Err(job);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send((job, task)).map_err(|refused| refused.0.0)
    }
}

fn work(queue: &Mutex<Receiver<(DhJobId, DhTask)>>, waiting: &AtomicUsize, inbox: &Sender<Input>) {
    loop {
        // The lock is held while waiting: the next thread waits for the lock instead of the queue.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, task)) = next else { return };
        waiting.fetch_sub(1, Ordering::Relaxed);
        if inbox.send(Input::DhDone(job, outcome_of(|| task.run()))).is_err() {
            return;
        }
    }
}

/// Every job has an outcome, also one that panics: its exchange would wait for ever, and the thread would be missing.
pub(super) fn outcome_of(run: impl FnOnce() -> DhOutcome) -> DhOutcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        tracing::error!("a Diffie-Hellman panicked; its message is above");
        DhOutcome::Busy
    })
}
