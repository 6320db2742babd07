//! Hash -> slot, one cache line a probe.
//!
//! A bucket is one line: seven hashes of 32 bits with their slots, and a link to an overflow bucket, which one in twenty needs. So a
//! search costs the bucket's line and then the slot's own, where the key is compared, and the line of hashes tells which slot to
//! fetch before anybody needs it.
//!
//! The index grows by one bucket at a time (linear hashing, Litwin 1980): an insertion that finds the buckets half full splits one of
//! them, whose turn it is, and moves at most its own entries. Nothing is ever rehashed as a whole, buckets in use lie side by side,
//! and those beyond are memory that was asked for and never touched.

use super::table::Link;
use crate::prefetch;

const ENTRIES: usize = 7;

/// Entries for each two buckets, on average: more would need overflow buckets, fewer would need more lines.
const FILL: usize = ENTRIES;

#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
struct Bucket {
    hashes: [u32; ENTRIES],
    links: [Link; ENTRIES],
    /// Overflow bucket, by index plus one; links the vacant ones as well.
    next: Link,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
    overflow: Vec<Bucket>,
    vacant: Link,
    entries: usize,
    /// The buckets' number, rounded up to a power of two, less one.
    mask: u32,
    most_buckets: usize,
    most_overflow: usize,
}

/// Buckets and overflow buckets for so many entries.
const fn dimensions(entries: usize) -> (usize, usize) {
    let buckets = entries * 2 / FILL + 1;
    (buckets, buckets / 4 + 2)
}

impl Index {
    /// An index of at most `entries`. Memory is asked for and not touched.
    pub(super) fn new(entries: usize) -> Self {
        let (most_buckets, most_overflow) = dimensions(entries);
        Self {
            buckets: Vec::with_capacity(most_buckets),
            overflow: Vec::with_capacity(most_overflow),
            vacant: 0,
            entries: 0,
            mask: 0,
            most_buckets,
            most_overflow,
        }
    }

    /// Make room for `entries`, where there is less. Allocates: only for a new configuration.
    pub(super) fn grow(&mut self, entries: usize) {
        let (buckets, overflow) = dimensions(entries);
        if buckets > self.most_buckets {
            self.buckets.reserve_exact(buckets - self.buckets.len());
            self.overflow.reserve_exact(overflow - self.overflow.len());
            (self.most_buckets, self.most_overflow) = (buckets, overflow);
        }
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        self.overflow.clear();
        (self.vacant, self.entries, self.mask) = (0, 0, 0);
    }

    #[cfg(test)]
    pub(super) const fn touched_bytes(&self) -> usize {
        (self.buckets.len() + self.overflow.len()) * size_of::<Bucket>()
    }

    /// The slot with this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut bucket = self.buckets.get(self.address(hash))?;
        loop {
            let mut candidates = bucket.matches(hash);
            while candidates != 0 {
                let place = candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                if let Some(slot) = bucket.links[place].checked_sub(1)
                    && is_it(slot)
                {
                    return Some(slot);
                }
            }
            bucket = self.overflow.get(bucket.next.checked_sub(1)? as usize)?;
        }
    }

    /// Hint that this hash will be looked up.
    pub(super) fn prefetch(&self, hash: u32) {
        if let Some(bucket) = self.buckets.get(self.address(hash)) {
            prefetch::start(bucket);
        }
    }

    /// The slot that a look-up will most likely find. Reads what [`Self::prefetch`] asked for.
    pub(super) fn likely(&self, hash: u32) -> Option<u32> {
        let bucket = self.buckets.get(self.address(hash))?;
        bucket.links.get(bucket.matches(hash).trailing_zeros() as usize)?.checked_sub(1)
    }

    /// Enter a slot; false where there is no room for it.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) -> bool {
        if self.entries * 2 >= self.buckets.len() * FILL && self.buckets.len() < self.most_buckets {
            self.split();
        }
        let done = self.put(self.address(hash), hash, slot + 1);
        self.entries += usize::from(done);
        done
    }

    /// Take a slot out.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let at = self.address(hash);
        let mut link = 0;
        while let Some(bucket) = self.bucket(at, link) {
            if let Some(place) = bucket.links.iter().position(|link| *link == slot + 1) {
                self.close_up(at, link, place);
                self.entries -= 1;
                return;
            }
            let next = bucket.next;
            if next == 0 {
                return;
            }
            link = next;
        }
    }

    /// Let the chain's last entry have the place of one that goes: only the last bucket has vacant places, and an overflow bucket goes
    /// back as soon as it is empty. Else each bucket that was ever full would keep one, until there are none left.
    fn close_up(&mut self, at: usize, hole: Link, place: usize) {
        let (mut before, mut last) = (0, 0);
        while let Some(next) = self.bucket(at, last).map(|bucket| bucket.next).filter(|next| *next != 0) {
            (before, last) = (last, next);
        }
        let Some(bucket) = self.bucket(at, last) else { return };
        let Some(end) = bucket.links.iter().rposition(|link| *link != 0) else { return };
        let entry = (bucket.hashes[end], bucket.links[end]);
        bucket.links[end] = 0;
        if (last, end) != (hole, place)
            && let Some(bucket) = self.bucket(at, hole)
        {
            (bucket.hashes[place], bucket.links[place]) = entry;
        }
        if end == 0
            && let Some(index) = last.checked_sub(1)
        {
            self.overflow[index as usize] = Bucket { next: self.vacant, ..Bucket::default() };
            self.vacant = last;
            self.bucket(at, before).into_iter().for_each(|bucket| bucket.next = 0);
        }
    }

    /// A bucket of the chain that begins at `at`: with link 0 its first.
    fn bucket(&mut self, at: usize, link: Link) -> Option<&mut Bucket> {
        match link.checked_sub(1) {
            Some(index) => self.overflow.get_mut(index as usize),
            None => self.buckets.get_mut(at),
        }
    }

    /// Where entries with this hash are: its low bits, one bit less for buckets that have not been split yet.
    const fn address(&self, hash: u32) -> usize {
        let address = (hash & self.mask) as usize;
        if address < self.buckets.len() { address } else { (hash & (self.mask >> 1)) as usize }
    }

    /// One bucket more: it gets what belongs there of the bucket whose turn it is.
    #[expect(clippy::cast_possible_truncation, reason = "a bucket's number has as many bits as a hash at most")]
    fn split(&mut self) {
        let new = self.buckets.len();
        self.buckets.push(Bucket::default());
        self.mask = ((new + 1).next_power_of_two() - 1) as u32;
        if new == 0 {
            return;
        }
        let half = self.mask >> 1;
        let old = new & half as usize;
        let mut moving = std::mem::take(&mut self.buckets[old]);
        // Nearly every bucket is alone, and its entries fit wherever they go.
        let mut halves = [(Bucket::default(), 0), (Bucket::default(), 0)];
        for (hash, link) in moving.hashes.into_iter().zip(moving.links) {
            if link != 0 {
                let (bucket, count) = &mut halves[usize::from(hash & (half + 1) != 0)];
                (bucket.hashes[*count], bucket.links[*count]) = (hash, link);
                *count += 1;
            }
        }
        (self.buckets[old], self.buckets[new]) = (halves[0].0, halves[1].0);
        while let Some(next) = moving.next.checked_sub(1) {
            moving = std::mem::replace(&mut self.overflow[next as usize], Bucket { next: self.vacant, ..Bucket::default() });
            self.vacant = next + 1;
            for (hash, link) in moving.hashes.into_iter().zip(moving.links) {
                if link != 0 {
                    // What was in use before is enough: each overflow bucket was given back before its entries are put anew.
                    let put = self.put(self.address(hash), hash, link);
                    debug_assert!(put, "a split needs no more overflow buckets than it frees");
                }
            }
        }
    }

    fn put(&mut self, at: usize, hash: u32, link: Link) -> bool {
        let Some(mut bucket) = self.buckets.get_mut(at) else { return false };
        let mut last = None;
        loop {
            if let Some(place) = bucket.links.iter().position(|link| *link == 0) {
                (bucket.hashes[place], bucket.links[place]) = (hash, link);
                return true;
            }
            let Some(next) = bucket.next.checked_sub(1) else { break };
            last = Some(next as usize);
            bucket = &mut self.overflow[next as usize];
        }
        let Some(fresh) = self.fresh_overflow() else { return false };
        let bucket = &mut self.overflow[fresh as usize];
        (bucket.hashes[0], bucket.links[0]) = (hash, link);
        match last {
            Some(last) => self.overflow[last].next = fresh + 1,
            None => self.buckets[at].next = fresh + 1,
        }
        true
    }

    fn fresh_overflow(&mut self) -> Option<u32> {
        if let Some(index) = self.vacant.checked_sub(1) {
            self.vacant = std::mem::take(&mut self.overflow[index as usize].next);
            return Some(index);
        }
        if self.overflow.len() >= self.most_overflow {
            return None;
        }
        self.overflow.push(Bucket::default());
        u32::try_from(self.overflow.len() - 1).ok()
    }
}

impl Bucket {
    /// A bit for each place with this hash; vacant places may be among them.
    fn matches(&self, hash: u32) -> u32 {
        (0..).zip(&self.hashes).fold(0, |found, (place, other)| found | u32::from(*other == hash) << place)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
