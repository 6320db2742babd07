//! How one worker wakes another: only where that one sleeps, and never too late.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crate::nic::wait::Bell;

/// Whether a worker sleeps, and how to wake it.
///
/// No wake-up is lost: the sleeper writes its state, then looks at its rings; the other writes to a ring, then looks at the state. With
/// a fence between the two on either side, at least one of them sees what the other wrote.
#[derive(Debug, Default)]
pub(super) struct SleepState {
    state: AtomicU8,
    bell: OnceLock<Arc<Bell>>,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
/// Asleep, and short of frames to receive into: those that come home wake it, too.
const HUNGRY: u8 = 2;

impl SleepState {
    /// From now on this bell wakes the worker.
    pub(super) fn install(&self, bell: Arc<Bell>) {
        // A second bell is never installed: a worker has one thread.
        let _ = self.bell.set(bell);
    }

    /// The worker is about to sleep. It has to look at its rings once more before it does.
    pub(super) fn lie_down(&self, hungry: bool) {
        self.state.store(if hungry { HUNGRY } else { ASLEEP }, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker is awake and will look at its rings.
    pub(super) fn get_up(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Something was pushed for the worker: wake it if it sleeps. Frames alone are of use to a hungry one only.
    pub(super) fn rouse(&self, frames_alone: bool) {
        fence(Ordering::SeqCst);
        let state = self.state.load(Ordering::Relaxed);
        if (state == HUNGRY || (state == ASLEEP && !frames_alone))
            && self.state.swap(AWAKE, Ordering::Relaxed) != AWAKE
            && let Some(bell) = self.bell.get()
        {
            bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_is_woken_and_frames_alone_wake_only_a_hungry_one() {
        let state = SleepState::default();
        let bell = Arc::new(Bell::new().expect("a descriptor"));
        state.install(Arc::clone(&bell));
        let rung = || {
            let rung = bell.is_rung();
            bell.silence();
            rung
        };
        state.rouse(false);
        assert!(!rung(), "it is awake");
        state.lie_down(false);
        state.rouse(true);
        assert!(!rung(), "it has frames enough");
        state.rouse(false);
        assert!(rung());
        state.rouse(false);
        assert!(!rung(), "once is enough");
        state.lie_down(true);
        state.rouse(true);
        assert!(rung(), "it is short of frames");
    }
}
