//! Which receiver indices are whose: with several workers, the owner of a tunnel stands in the top bits of its sessions' indices, so that
//! whoever receives a message knows where it belongs without a table. One worker has all indices, and all their bits are drawn at random.

use rand::Rng;

use crate::router_config::{MAX_WORKERS, WorkerId};

/// The receiver indices that one worker gives out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexSpace {
    worker: WorkerId,
    /// Bits below the owner's number.
    free_bits: u32,
}

impl IndexSpace {
    /// Those of an only worker.
    pub const ALL: Self = Self { worker: WorkerId(0), free_bits: u32::BITS };

    /// The indices of `worker`, which is one of `workers`.
    ///
    /// # Panics
    /// For a worker that is none of them, or more workers than [`MAX_WORKERS`].
    #[must_use]
    pub fn of(worker: WorkerId, workers: usize) -> Self {
        assert!(worker.index() < workers && workers <= MAX_WORKERS, "{worker:?} is one of {workers} workers");
        let owner_bits = workers.next_power_of_two().trailing_zeros();
        Self { worker, free_bits: u32::BITS - owner_bits }
    }

    /// The worker whose number stands in `index`; there may be none of this number.
    #[must_use]
    pub fn owner_of(self, index: u32) -> WorkerId {
        // With all bits free nothing is left of it.
        WorkerId(u8::try_from(u64::from(index) >> self.free_bits).unwrap_or(u8::MAX))
    }

    /// An index of this worker, drawn from `random`; never zero.
    #[must_use]
    pub fn draw(self, random: &mut impl Rng) -> u32 {
        let own = u32::MAX >> (u32::BITS - self.free_bits);
        let owner = u64::from(self.worker.0) << self.free_bits;
        // The owner's number stands above the free bits, so that it fits.
        #[allow(clippy::cast_possible_truncation)]
        let owner = owner as u32;
        owner | random.random_range(1..=own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn every_index_names_its_owner_and_its_other_bits_stay_unpredictable() {
        for workers in 1..=MAX_WORKERS {
            for worker in (0u8..).take(workers).map(WorkerId) {
                let space = IndexSpace::of(worker, workers);
                let mut random = StdRng::seed_from_u64(u64::from(worker.0));
                let indices: Vec<u32> = (0..400).map(|_| space.draw(&mut random)).collect();
                assert!(indices.iter().all(|index| *index > 0));
                assert!(indices.iter().all(|index| space.owner_of(*index) == worker), "{worker:?} of {workers}");
                for bit in 0..space.free_bits {
                    let set = indices.iter().filter(|index| *index >> bit & 1 == 1).count();
                    assert!((120..280).contains(&set), "bit {bit} is set in {set} of 400 indices of {worker:?} of {workers}");
                }
            }
        }
    }

    #[test]
    fn one_worker_has_all_bits_for_itself_and_sixteen_leave_twenty_eight() {
        assert_eq!(IndexSpace::of(WorkerId(0), 1), IndexSpace::ALL);
        assert_eq!((IndexSpace::of(WorkerId(2), 3).free_bits, IndexSpace::of(WorkerId(15), 16).free_bits), (30, 28));
        assert_eq!(IndexSpace::of(WorkerId(0), 3).owner_of(u32::MAX), WorkerId(3), "an owner that does not exist");
        assert_eq!(IndexSpace::of(WorkerId(0), 1).owner_of(u32::MAX), WorkerId(0));
    }
}
