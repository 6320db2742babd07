//! Which lines of the library's tunnel a data message touches: eight of 173, so that they can be prefetched.
//!
//! The library's fields are private. These are their places in boringtun 0.7.1, as `rustc -Zprint-type-sizes` tells them. Nothing
//! depends on them but speed; where the library's type has another size they are not used at all, and a test says so.

use boringtun::noise::Tunn;

use crate::prefetch;

/// Bytes of the type that the places below are for.
const TUNN: usize = 11_040;
/// Sessions stand at the beginning, eight of them.
const SESSION: usize = 1_264;
const SESSIONS: usize = 8;

/// In a session. A key begins with its 32 bytes and ends with its algorithm.
const OPENING_KEY: [usize; 2] = [0, 528];
/// The first word of a session tells whether there is one.
const SEALING_KEY: [usize; 3] = [0, 544, 1_072];
const SENDING_COUNTER: usize = 1_088;
const REPLAY_WINDOW: [usize; 3] = [1_096, 1_160, 1_224];
const INDICES: usize = 1_248;

/// Behind the sessions.
const TIMERS: [usize; 3] = [10_144, 10_192, 10_240];
const TIMER_FLAGS: usize = 10_440;
const TOTALS: usize = 11_000;

const KNOWN: bool = size_of::<Tunn>() == TUNN;

/// A message is about to be opened under the session `index`.
pub(super) fn prefetch_opening(tunn: &Tunn, index: u32) {
    let session = SESSION * (index as usize % SESSIONS);
    prefetch_places(tunn, OPENING_KEY.iter().chain(&REPLAY_WINDOW).chain(&[INDICES]).map(|place| session + place));
}

/// A packet is about to be sealed under the session `index`.
pub(super) fn prefetch_sealing(tunn: &Tunn, index: u32) {
    let session = SESSION * (index as usize % SESSIONS);
    prefetch_places(tunn, SEALING_KEY.iter().chain(&[SENDING_COUNTER, INDICES]).map(|place| session + place));
}

fn prefetch_places(tunn: &Tunn, of_session: impl Iterator<Item = usize>) {
    if KNOWN {
        let start: *const u8 = std::ptr::from_ref(tunn).cast();
        for place in of_session.chain(TIMERS).chain([TIMER_FLAGS, TOTALS, TUNN - 1]) {
            prefetch::line(start.wrapping_add(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_library_that_is_built_in() {
        // In a build with a mocked clock its moments are smaller, and nothing is prefetched.
        let mocked = cfg!(feature = "simulation");
        assert!(KNOWN || mocked, "the library's tunnel has {} bytes now: read the places anew", size_of::<Tunn>());
        assert!(SESSION * SESSIONS <= TIMERS[0] && INDICES < SESSION && TOTALS < TUNN);
    }
}
