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

/// What a cable did to frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mishaps {
    /// Lost.
    pub lost: u64,
    /// Sent on twice.
    pub doubled: u64,
    /// With a bit flipped.
    pub bent: u64,
    /// Arrived after one that was sent later.
    pub overtaken: u64,
}

/// One way of a cable.
#[derive(Debug, Default)]
pub struct Cable {
    /// Its weather from now on.
    pub weather: Weather,
    /// By time of arrival, then in the order they were sent.
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    /// The latest one sent of those that have arrived.
    newest: u64,
    mishaps: Mishaps,
}

impl Cable {
    /// Send a frame.
    pub fn put(&mut self, frame: Vec<u8>, now: Instant, random: &mut SmallRng) {
        let mut happens = |per_mille: u32| per_mille > 0 && random.random_ratio(per_mille, 1_000);
        let (lost, doubled, bent) = (happens(self.weather.loss), happens(self.weather.duplicate), happens(self.weather.corrupt));
        if lost {
            self.mishaps.lost += 1;
            return;
        }
        if doubled {
            self.mishaps.doubled += 1;
            self.enter(frame.clone(), now, random);
        }
        let mut frame = frame;
        if bent && !frame.is_empty() {
            self.mishaps.bent += 1;
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
        let ((_, number), frame) = first.remove_entry();
        self.mishaps.overtaken += u64::from(number < self.newest);
        self.newest = self.newest.max(number);
        Some(frame)
    }

    /// It is pulled out: what is under way is lost.
    pub(super) fn clear(&mut self) {
        self.mishaps.lost += self.under_way.len() as u64;
        self.under_way.clear();
    }

    /// What it did to frames until now.
    #[must_use]
    pub fn mishaps(&self) -> Mishaps {
        self.mishaps
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}
