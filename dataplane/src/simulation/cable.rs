//! A cable, one way, with its weather: what loses, doubles, bends, delays and reorders frames.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::time::{Duration, Instant};

/// How bad a cable is. The default is a perfect one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Weather {
    /// Of a thousand frames, so many are lost.
    pub loss: u32,
    /// Of a thousand frames, so many arrive twice.
    pub duplicate: u32,
    /// Of a thousand frames, so many have one bit flipped.
    pub corrupt: u32,
    /// Frames take from nothing to this long, each on its own: they overtake each other.
    pub delay: Duration,
}

/// One way of a cable.
#[derive(Debug, Default)]
pub struct Cable {
    /// Its weather from now on.
    pub weather: Weather,
    /// By time of arrival, then in the order they were sent.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
}

impl Cable {
    /// Send a frame.
    pub fn put(&mut self, frame: Vec<u8>, now: Instant, random: &mut SmallRng) {
        let mut happens = |per_mille: u32| per_mille > 0 && random.random_ratio(per_mille, 1_000);
        let (lost, doubled, bent) = (happens(self.weather.loss), happens(self.weather.duplicate), happens(self.weather.corrupt));
        if lost {
            return;
        }
        if doubled {
            self.enter(frame.clone(), now, random);
        }
        let mut frame = frame;
        if bent && !frame.is_empty() {
            let at = random.random_range(0..frame.len());
            frame[at] ^= 1 << random.random_range(0..8);
        }
        self.enter(frame, now, random);
    }

    fn enter(&mut self, frame: Vec<u8>, now: Instant, random: &mut SmallRng) {
        let longest = u64::try_from(self.weather.delay.as_nanos()).unwrap_or(u64::MAX);
        let delay = if longest == 0 { 0 } else { random.random_range(0..=longest) };
        self.sent += 1;
        self.under_way.insert((now + Duration::from_nanos(delay), self.sent), frame);
    }

    /// The next frame that has arrived by `now`.
    pub fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}
