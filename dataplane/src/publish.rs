//! Handing a new configuration to running workers without a lock on their path.
//!
//! The publisher keeps every value it ever handed out until no worker holds it any more, so that freeing (which may take
//! milliseconds for 1,788 tenants) never happens on a worker's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

#[derive(Debug)]
struct Shared<T> {
    value: ArcSwap<T>,
    generation: AtomicU64,
}

/// The writing side: one, in the control plane.
#[derive(Debug)]
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    retired: Vec<Arc<T>>,
}

/// The reading side: one for each worker.
#[derive(Debug, Clone)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Publisher<T> {
    /// Start with `value` as generation 1.
    pub fn new(value: T) -> Self {
        let shared = Shared { value: ArcSwap::from_pointee(value), generation: AtomicU64::new(1) };
        Self { shared: Arc::new(shared), retired: Vec::new() }
    }

    /// A reader that has not seen any generation yet.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader { shared: Arc::clone(&self.shared), seen: 0 }
    }

    /// Make `value` the current one and return its generation; frees what no reader holds any more.
    pub fn publish(&mut self, value: T) -> u64 {
        self.retired.push(self.shared.value.swap(Arc::new(value)));
        let generation = self.shared.generation.fetch_add(1, Ordering::Release) + 1;
        self.free_retired();
        generation
    }

    /// The current value.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.shared.value.load_full()
    }

    /// Free what no reader holds any more; returns how many old values are still held.
    pub fn free_retired(&mut self) -> usize {
        self.retired.retain(|value| Arc::strong_count(value) > 1);
        self.retired.len()
    }
}

impl<T> Reader<T> {
    /// The newest value, if it is newer than what this reader got last.
    pub fn changed(&mut self) -> Option<(u64, Arc<T>)> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.seen {
            return None;
        }
        self.seen = generation;
        Some((generation, self.shared.value.load_full()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_each_generation_once_and_the_publisher_frees_the_old_one() {
        let mut publisher = Publisher::new("first");
        let mut reader = publisher.reader();
        let (generation, first) = reader.changed().expect("never read before");
        assert_eq!((generation, *first), (1, "first"));
        assert!(reader.changed().is_none());

        assert_eq!(publisher.publish("second"), 2);
        assert_eq!(publisher.free_retired(), 1, "the reader still holds the first");
        let (generation, second) = reader.changed().expect("published");
        assert_eq!((generation, *second), (2, "second"));
        drop(first);
        assert_eq!(publisher.free_retired(), 0);
    }
}
