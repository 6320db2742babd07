//! Key exchange for IPsec tunnels: the [`ike::Engine`] between the workers' rings and a pool for Diffie-Hellman.
//!
//! ```text
//! worker --Event--> pump --Input--> thread "ike": Driver { Engine } --Effect--> outbox --Command--> worker
//!                                       ^                |
//!                                       +---- DhPool <---+
//! ```
//! The engine has a thread of its own, so that a flood of handshakes makes neither `chukei show` nor a scrape wait. It reads the
//! workers' clock once a batch. What operators see of it is in [`view`].
//!
//! | block | what it is |
//! |---|---|
//! | `driver` | inputs to calls of the engine, effects to commands, jobs and log lines |
//! | `outbox` | commands that wait for room on a worker's ring, in their order |
//! | `dh_pool` | threads for Diffie-Hellman |
//! | `log` | what the log says of negotiations, bounded under a flood |
//! | `translate` | the engine's SAs in the data plane's types |
//! | [`view`] | states, explanations and counters |

mod dh_pool;
mod driver;
mod log;
mod outbox;
#[cfg(test)]
mod tests;
mod thread;
pub(crate) mod translate;
pub mod view;

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::worker::control::Event;
use ike::{DhJobId, DhOutcome, PeerName};

use driver::Driver;
pub use thread::start;

/// IKE messages that may wait for the engine: as many as a worker's ring of events holds. More are dropped and counted, and their
/// senders ask again.
const MOST_DATAGRAMS: usize = 1_024;

/// The thread that works on one batch for so long is stuck: one takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What the engine's thread is told.
enum Input {
    /// From a worker.
    Event(Event),
    /// From the pool.
    DhDone(DhJobId, DhOutcome),
    /// Work with this configuration as soon as every worker works with this generation.
    Configure { generation: u64, config: ike::Config },
    /// Call a router of the previous run.
    Call(PeerName, SocketAddrV4),
    /// Tell all peers, and end.
    Stop,
}

/// The relay's hold on key exchange. The thread behind it is started by [`start`]; before that everything waits in the inbox.
pub struct Ipsec {
    inbox: Sender<Input>,
    /// Until the thread takes it.
    unopened: Mutex<Option<Receiver<Input>>>,
    driver: Arc<Mutex<Driver>>,
    datagrams: Arc<AtomicUsize>,
    dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Since when the thread is busy with the same batch.
    busy_since: Mutex<Option<Instant>>,
}

impl Default for Ipsec {
    fn default() -> Self {
        let (inbox, unopened) = mpsc::channel();
        Self {
            driver: Arc::new(Mutex::new(Driver::new(inbox.clone()))),
            inbox,
            unopened: Mutex::new(Some(unopened)),
            datagrams: Arc::default(),
            dropped: AtomicU64::new(0),
            thread: Mutex::default(),
            busy_since: Mutex::default(),
        }
    }
}

impl Ipsec {
    /// An event of a worker that key exchange has to know of. Datagrams beyond [`MOST_DATAGRAMS`] are dropped here.
    pub fn event(&self, event: Event) {
        if matches!(event, Event::Ike { .. }) {
            if self.datagrams.load(Ordering::Relaxed) >= MOST_DATAGRAMS {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.datagrams.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(Input::Event(event));
    }

    /// Work with `config` once every worker has adopted `generation`: an SA of a new tenant must find its tunnel. Peers that are gone
    /// are told so.
    pub fn configure(&self, generation: u64, config: ike::Config) {
        self.tell(Input::Configure { generation, config });
    }

    /// Call a router where it was last heard, in the previous run.
    pub fn call(&self, peer: PeerName, address: SocketAddrV4) {
        self.tell(Input::Call(peer, address));
    }

    /// Tell every peer that its SAs end, and end the thread.
    ///
    /// A Delete and not silence (RFC 7296 section 1.4.1), although a restart follows most of the time. The relay calls every router
    /// that it can reach within seconds of its start, so for those it makes no difference. But a router behind a NAT or with a second
    /// tunnel can only act by itself: told, it calls again or takes the other tunnel at once; not told, it sends into the dark until
    /// its own dead peer detection, which is 30 s on most routers and off on a Yamaha RTX.
    pub fn stop(&self) {
        self.tell(Input::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of key exchange panicked; its message is above");
        }
    }

    /// Whether the thread, where there is one, still does its work.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ended = self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(JoinHandle::is_finished);
        let busy_since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        !ended && busy_since.is_none_or(|since| since.elapsed() < STUCK_AFTER)
    }

    fn busy(&self, since: Option<Instant>) {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn tell(&self, input: Input) {
        // Fails when the thread has ended; then nobody needs to know.
        let _ = self.inbox.send(input);
    }

    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
