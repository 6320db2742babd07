//! SPIs of inbound Child SAs: which IKE SA stands behind each, and which may not be used again yet.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand::RngCore;

use crate::config::SpiSource;
use crate::message::IkeSpi;
use crate::time::Instant;

/// A packet of an old SA may still be under way, and the worker's filters remember an SPI this long.
const QUARANTINE: Duration = Duration::from_secs(9 * 60);
/// SPIs in quarantine at most; the oldest is released early when there are more.
const MAX_QUARANTINED: usize = 1 << 18;
/// Tries to find a free SPI: with a worker's space a thousandth full, a second try is rare already.
const TRIES: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Of this IKE SA.
    Live(IkeSpi),
    /// Nobody's any more.
    Quarantined,
}

/// All inbound SPIs in use or in quarantine.
#[derive(Default)]
pub(crate) struct Spis {
    uses: HashMap<u32, Use>,
    quarantine: VecDeque<(Instant, u32)>,
}

impl Spis {
    /// An SPI that nobody uses and nobody has used lately. `None` where the space is as good as full.
    pub(crate) fn draw(&mut self, source: SpiSource, owner: IkeSpi, random: &mut dyn RngCore, now: Instant) -> Option<u32> {
        self.release(now);
        let spi = (0..TRIES).filter_map(|_| source.draw(random.next_u32())).find(|spi| !self.uses.contains_key(spi))?;
        self.uses.insert(spi, Use::Live(owner));
        Some(spi)
    }

    /// The IKE SA behind a live SPI.
    pub(crate) fn owner(&self, spi: u32) -> Option<IkeSpi> {
        match self.uses.get(&spi) {
            Some(Use::Live(owner)) => Some(*owner),
            _ => None,
        }
    }

    /// Another IKE SA has inherited the Child SA.
    pub(crate) fn inherit(&mut self, spi: u32, owner: IkeSpi) {
        if let Some(entry @ Use::Live(_)) = self.uses.get_mut(&spi) {
            *entry = Use::Live(owner);
        }
    }

    /// The Child SA is gone.
    pub(crate) fn retire(&mut self, spi: u32, now: Instant) {
        if self.owner(spi).is_none() {
            return;
        }
        self.uses.insert(spi, Use::Quarantined);
        self.quarantine.push_back((now + QUARANTINE, spi));
        if self.quarantine.len() > MAX_QUARANTINED {
            self.release_oldest();
        }
    }

    fn release(&mut self, now: Instant) {
        while self.quarantine.front().is_some_and(|&(until, _)| until <= now) {
            self.release_oldest();
        }
    }

    fn release_oldest(&mut self) {
        if let Some((_, spi)) = self.quarantine.pop_front() {
            self.uses.remove(&spi);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.uses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn owner() -> IkeSpi {
        IkeSpi::new(7).unwrap()
    }

    #[test]
    fn an_spi_is_not_used_again_for_nine_minutes() {
        let mut random = StdRng::seed_from_u64(1);
        let mut spis = Spis::default();
        let source = SpiSource { prefix: 3, prefix_bits: 8 };
        let spi = spis.draw(source, owner(), &mut random, Instant::ZERO).unwrap();
        assert_eq!((spi >> 24, spis.owner(spi)), (3, Some(owner())));
        spis.retire(spi, Instant::ZERO);
        assert_eq!(spis.owner(spi), None);
        spis.draw(source, owner(), &mut random, Instant::from_secs(539)).unwrap();
        assert!(spis.uses.contains_key(&spi), "in quarantine");
        spis.draw(source, owner(), &mut random, Instant::from_secs(540)).unwrap();
        assert_eq!((spis.uses.contains_key(&spi), spis.len()), (false, 2));
    }

    #[test]
    fn retiring_twice_is_retiring_once() {
        let mut spis = Spis::default();
        let spi = spis.draw(SpiSource { prefix: 0, prefix_bits: 0 }, owner(), &mut StdRng::seed_from_u64(2), Instant::ZERO).unwrap();
        spis.retire(spi, Instant::ZERO);
        spis.retire(spi, Instant::ZERO);
        assert_eq!(spis.quarantine.len(), 1);
    }
}
