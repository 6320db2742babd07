//! The thread around the driver: it alone waits.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::driver::RETRY;
use super::{Input, Ipsec, translate};
use crate::relay::Relay;

/// Inputs that are taken before what came of them is carried out, so that a flood does not hold an answer up.
const MOST_INPUTS: usize = 64;

/// How long the last words to all peers may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Start key exchange for `relay`, whose workers run. [`Ipsec::stop`] ends it.
///
/// # Errors
/// When the system gives no thread.
pub fn start(relay: &Arc<Relay>) -> io::Result<()> {
    let unopened = relay.ipsec.unopened.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(inbox) = unopened else { return Ok(()) };
    relay.ipsec.driver().start_pool()?;
    let held = Arc::clone(relay);
    let thread = std::thread::Builder::new().name("ike".to_owned()).spawn(move || run(&held, &inbox))?;
    *relay.ipsec.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(())
}

fn run(relay: &Relay, inbox: &Receiver<Input>) {
    let ipsec = &relay.ipsec;
    loop {
        let idle = ipsec.driver().idle(now(relay));
        let first = match idle.map_or_else(|| inbox.recv().map_err(|_| RecvTimeoutError::Disconnected), |idle| inbox.recv_timeout(idle)) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let inputs = first.into_iter().chain(inbox.try_iter()).take(MOST_INPUTS);
        ipsec.busy(Some(Instant::now()));
        let stop = ipsec.work(relay, inputs);
        ipsec.busy(None);
        if stop {
            return farewell(relay);
        }
    }
}

/// Everything that tells peers leaves, but not for ever.
fn farewell(relay: &Relay) {
    let end = Instant::now() + FAREWELL;
    while !relay.ipsec.driver().is_done() && Instant::now() < end {
        std::thread::sleep(RETRY);
        relay.ipsec.work(relay, std::iter::empty());
    }
}

fn now(relay: &Relay) -> ike::Instant {
    translate::instant(relay.workers.clocks().worker)
}

impl Ipsec {
    /// One batch; true when it was the last.
    fn work(&self, relay: &Relay, inputs: impl Iterator<Item = Input>) -> bool {
        let clocks = relay.workers.clocks();
        let (mut driver, now) = (self.driver(), translate::instant(clocks.worker));
        // Certificates are valid from when to when; the wall clock may be set at any time.
        driver.engine.set_unix_time(translate::unix_time(clocks.wall), now);
        let mut stop = false;
        for input in inputs {
            if matches!(input, Input::Event(dataplane::worker::control::Event::Ike { .. })) {
                self.datagrams.fetch_sub(1, Ordering::Relaxed);
            }
            stop |= matches!(input, Input::Stop);
            driver.take(input, now);
        }
        driver.settle(&relay.workers, now);
        let moved = driver.take_moved();
        // Never both locks at once: a scrape takes them in the other order.
        drop(driver);
        if !moved.is_empty() {
            let peers = &mut relay.state().peers;
            moved.iter().for_each(|(peer, address)| peers.moved(&peer.tenant, &peer.tunnel, (*address).into()));
        }
        stop
    }
}
