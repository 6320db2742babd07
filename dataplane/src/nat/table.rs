//! A bounded table whose entries are found by two keys and wait in a timer wheel.
//!
//! Everything is linked by index: nothing is allocated after construction, nothing is ever rehashed, and memory is touched only as
//! entries come to be used (slots and buckets are pushed one by one), so that 1,788 tenants with room for 20,000 sessions each cost
//! what their sessions cost.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::index::Index;
use super::timeouts::Second;
use super::wheel::{Hangs, Place, Wheel};
use crate::prefetch;

/// Index of a slot plus one; zero is "none", so that zeroed memory is empty.
pub(super) type Link = u32;

/// What a table holds. The keys of an entry must not change while it is in the table.
pub(super) trait Entry: Hangs + Clone {
    /// The entry's key for index `by`, 0 or 1: 16 bytes, the topmost bit zero.
    fn key(&self, by: usize) -> u128;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<T>,
    index: Index,
    wheel: Wheel,
    keyed: Keyed,
    vacant: Link,
    alive: usize,
    capacity: usize,
}

/// A hash that depends on the table's secret in each of its steps: nobody who does not know it can choose keys that collide.
pub(super) struct Keyed {
    seed: u64,
    shared: SharedSeed,
}

/// The secret stays out.
impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl Keyed {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(!seed) }
    }

    pub(super) fn hash(&self, key: u128) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u128(key);
        hasher.finish()
    }
}

impl<T: Entry> Table<T> {
    /// A table for at most `capacity` entries, with a timer wheel of `turn` seconds.
    pub(super) fn new(capacity: usize, turn: u16, seed: u64) -> Self {
        let capacity = capacity.min(u32::MAX as usize / 4);
        Self {
            slots: Vec::with_capacity(capacity),
            index: Index::new(2 * capacity),
            wheel: Wheel::new(turn),
            keyed: Keyed::new(seed),
            vacant: 0,
            alive: 0,
            capacity,
        }
    }

    /// Make room for `capacity` entries, where there is less. Allocates: only for a new configuration.
    pub(super) fn grow(&mut self, capacity: usize) {
        let capacity = capacity.min(u32::MAX as usize / 4);
        if capacity > self.capacity {
            self.slots.reserve_exact(capacity - self.slots.len());
            self.index.grow(2 * capacity);
            self.capacity = capacity;
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.index.clear();
        self.wheel.clear();
        (self.alive, self.vacant) = (0, 0);
    }

    pub(super) const fn len(&self) -> usize {
        self.alive
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize).filter(|slot| !slot.place().is_vacant())
    }

    /// The entry may be changed, but neither its keys nor its place.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize).filter(|slot| !slot.place().is_vacant())
    }

    /// The entries with their indices, from index `from` on.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        (from..).zip(self.slots.iter().skip(from as usize)).filter(|(_, slot)| !slot.place().is_vacant())
    }

    /// A hash of any number, keyed by the table's secret.
    pub(super) fn hash(&self, value: u128) -> u64 {
        self.keyed.hash(value)
    }

    #[expect(clippy::cast_possible_truncation, reason = "all bits of the hash are equally good")]
    fn hash_by(&self, by: usize, key: u128) -> u32 {
        self.keyed.hash(key | (by as u128) << 127) as u32
    }

    /// The entry whose key `by` is `key`.
    pub(super) fn find(&self, by: usize, key: u128) -> Option<u32> {
        self.index.find(self.hash_by(by, key), |slot| self.slots[slot as usize].key(by) == key)
    }

    /// Hint that a key will be looked up. Returns its hash, for [`Self::prefetch_entry`].
    pub(super) fn prefetch(&self, by: usize, key: u128) -> u32 {
        let hash = self.hash_by(by, key);
        self.index.prefetch(hash);
        hash
    }

    /// Hint that what a look-up will find will be used. Reads what [`Self::prefetch`] asked for.
    pub(super) fn prefetch_entry(&self, hash: u32) {
        if let Some(slot) = self.likely(hash) {
            prefetch::whole(slot);
        }
    }

    /// What a look-up will most likely find. Reads what [`Self::prefetch`] asked for.
    pub(super) fn likely(&self, hash: u32) -> Option<&T> {
        self.slots.get(self.index.likely(hash)? as usize)
    }

    /// Put an entry in; `None`, and the entry is lost, where the table is full.
    pub(super) fn insert(&mut self, mut entry: T) -> Option<u32> {
        entry.set_place(Place::NOWHERE);
        let hashes = [0, 1].map(|by| self.hash_by(by, entry.key(by)));
        let index = self.place(entry)?;
        if !self.index.insert(hashes[0], index) {
            self.vacate(index);
            return None;
        }
        if !self.index.insert(hashes[1], index) {
            self.index.remove(hashes[0], index);
            self.vacate(index);
            return None;
        }
        self.alive += 1;
        Some(index)
    }

    fn place(&mut self, entry: T) -> Option<u32> {
        if let Some(index) = self.vacant.checked_sub(1) {
            let slot = &mut self.slots[index as usize];
            self.vacant = slot.place().next;
            *slot = entry;
            return Some(index);
        }
        if self.slots.len() >= self.capacity {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(entry);
        Some(index)
    }

    fn vacate(&mut self, index: u32) {
        self.slots[index as usize].set_place(Place::vacant(self.vacant));
        self.vacant = index + 1;
    }

    /// Take an entry out of the table and of the wheel.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = self.get(index)?.clone();
        self.wheel.unschedule(&mut self.slots, index);
        for by in 0..2 {
            self.index.remove(self.hash_by(by, entry.key(by)), index);
        }
        self.vacate(index);
        self.alive -= 1;
        Some(entry)
    }

    /// Have [`Table::due`] name an entry in second `due`, which is after `now`, or sooner where that is more than a turn of the wheel
    /// away.
    pub(super) fn schedule(&mut self, index: u32, due: Second, now: Second) {
        self.wheel.schedule(&mut self.slots, index, due, now);
    }

    /// Let an entry wait for nothing; it stays in the table.
    pub(super) fn unschedule(&mut self, index: u32) {
        self.wheel.unschedule(&mut self.slots, index);
    }

    /// When an entry will be named by [`Table::due`].
    pub(super) fn scheduled(&self, index: u32) -> Option<Second> {
        self.wheel.scheduled(self.get(index)?.place())
    }

    /// An entry that may be due by `now`: the caller takes it out or schedules it anew.
    pub(super) fn due(&mut self, now: Second) -> Option<u32> {
        self.wheel.due(now)
    }

    /// When [`Table::due`] next names one.
    pub(super) fn next_due(&self) -> Option<Second> {
        self.wheel.next()
    }

    #[cfg(test)]
    pub(super) fn touched_bytes(&self) -> usize {
        self.slots.len() * size_of::<T>() + self.index.touched_bytes()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
