//! A bounded table whose entries are found by two keys and wait in one of several lists.
//!
//! Everything is linked by index: nothing is allocated after construction, nothing is ever rehashed, and memory is touched only as
//! entries come to be used (bucket heads are zeroed pages, slots are pushed to the slab one by one), so that 1,788 tenants with
//! room for 20,000 sessions each cost what their sessions cost.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;

/// What a table holds. The keys of an entry must not change while it is in the table.
pub(super) trait Entry {
    /// A key; the two keys of an entry are told apart by `by`.
    type Key: Copy + Eq + Hash;

    /// The entry's key for index `by`, 0 or 1.
    fn key(&self, by: usize) -> Self::Key;
}

/// Index of a slot plus one; zero is "none", so that zeroed memory is empty.
type Link = u32;

const NO_LIST: u8 = u8::MAX;

#[derive(Debug)]
struct Slot<T> {
    entry: Option<T>,
    /// The next slot in the same bucket, by index.
    chain: [Link; 2],
    /// Neighbours in the list; `next` also links vacant slots.
    previous: Link,
    next: Link,
    list: u8,
}

#[derive(Clone, Copy, Default, Debug)]
struct List {
    first: Link,
    last: Link,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<T, const LISTS: usize> {
    slots: Vec<Slot<T>>,
    capacity: usize,
    alive: usize,
    vacant: Link,
    buckets: [Vec<Link>; 2],
    lists: [List; LISTS],
    hasher: FixedState,
}

impl<T: Entry, const LISTS: usize> Table<T, LISTS> {
    /// A table for at most `capacity` entries, of which about `usual` are to be found fast.
    pub(super) fn new(capacity: usize, usual: usize, seed: u64) -> Self {
        let capacity = capacity.min(u32::MAX as usize - 1);
        let buckets = (usual.next_power_of_two() / 2).max(16);
        Self {
            slots: Vec::with_capacity(capacity),
            capacity,
            alive: 0,
            vacant: 0,
            buckets: [vec![0; buckets], vec![0; buckets]],
            lists: [List::default(); LISTS],
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Make room for `capacity` entries, where there is less. Allocates: only for a new configuration.
    pub(super) fn grow(&mut self, capacity: usize) {
        let capacity = capacity.min(u32::MAX as usize - 1);
        if capacity > self.capacity {
            self.slots.reserve_exact(capacity - self.slots.len());
            self.capacity = capacity;
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.alive = 0;
        self.vacant = 0;
        self.lists = [List::default(); LISTS];
        for buckets in &mut self.buckets {
            buckets.fill(0);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.alive
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.entry.as_mut()
    }

    /// The entries with their indices, from index `from` on.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        (from..).zip(self.slots.iter().skip(from as usize)).filter_map(|(index, slot)| Some((index, slot.entry.as_ref()?)))
    }

    /// A hash of anything, keyed by the table's seed.
    pub(super) fn hash(&self, value: impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// The entry whose key `by` is `key`.
    pub(super) fn find(&self, by: usize, key: T::Key) -> Option<u32> {
        let mut link = self.buckets[by][self.bucket(key)];
        while link != 0 {
            let slot = &self.slots[link as usize - 1];
            if slot.entry.as_ref().is_some_and(|entry| entry.key(by) == key) {
                return Some(link - 1);
            }
            link = slot.chain[by];
        }
        None
    }

    /// Put an entry in; `None`, and the entry is lost, where the table is full.
    pub(super) fn insert(&mut self, entry: T) -> Option<u32> {
        let keys = [entry.key(0), entry.key(1)];
        let slot = Slot { entry: Some(entry), chain: [0; 2], previous: 0, next: 0, list: NO_LIST };
        let index = self.place(slot)?;
        for (by, key) in keys.into_iter().enumerate() {
            let bucket = self.bucket(key);
            self.slots[index as usize].chain[by] = self.buckets[by][bucket];
            self.buckets[by][bucket] = index + 1;
        }
        self.alive += 1;
        Some(index)
    }

    fn place(&mut self, slot: Slot<T>) -> Option<u32> {
        if self.vacant != 0 {
            let index = self.vacant - 1;
            self.vacant = self.slots[index as usize].next;
            self.slots[index as usize] = slot;
            return Some(index);
        }
        if self.slots.len() >= self.capacity {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(slot);
        Some(index)
    }

    /// Take an entry out of the table and of its list.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        self.get(index)?;
        self.unlink(index);
        let entry = self.slots[index as usize].entry.take()?;
        for by in 0..2 {
            self.unchain(by, entry.key(by), index);
        }
        self.slots[index as usize].next = self.vacant;
        self.vacant = index + 1;
        self.alive -= 1;
        Some(entry)
    }

    fn unchain(&mut self, by: usize, key: T::Key, index: u32) {
        let after = self.slots[index as usize].chain[by];
        let bucket = self.bucket(key);
        let mut link = self.buckets[by][bucket];
        if link == index + 1 {
            self.buckets[by][bucket] = after;
            return;
        }
        while link != 0 {
            let slot = &mut self.slots[link as usize - 1];
            if slot.chain[by] == index + 1 {
                slot.chain[by] = after;
                return;
            }
            link = slot.chain[by];
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low bits anyway")]
    fn bucket(&self, key: T::Key) -> usize {
        self.hash(key) as usize & (self.buckets[0].len() - 1)
    }

    /// The entry that has waited longest in `list`.
    pub(super) fn first(&self, list: usize) -> Option<(u32, &T)> {
        let index = self.lists[list].first.checked_sub(1)?;
        Some((index, self.get(index)?))
    }

    /// Put an entry at the end of `list`, from wherever it was.
    pub(super) fn move_to_end(&mut self, index: u32, list: u8) {
        self.unlink(index);
        let last = std::mem::replace(&mut self.lists[usize::from(list)].last, index + 1);
        match last.checked_sub(1) {
            Some(before) => self.slots[before as usize].next = index + 1,
            None => self.lists[usize::from(list)].first = index + 1,
        }
        let slot = &mut self.slots[index as usize];
        (slot.previous, slot.next, slot.list) = (last, 0, list);
    }

    /// Take an entry out of its list; it stays in the table.
    pub(super) fn unlink(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (previous, next, list) = (slot.previous, slot.next, slot.list);
        if list == NO_LIST {
            return;
        }
        (slot.previous, slot.next, slot.list) = (0, 0, NO_LIST);
        match previous.checked_sub(1) {
            Some(before) => self.slots[before as usize].next = next,
            None => self.lists[usize::from(list)].first = next,
        }
        match next.checked_sub(1) {
            Some(after) => self.slots[after as usize].previous = previous,
            None => self.lists[usize::from(list)].last = previous,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
