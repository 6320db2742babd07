//! Which queue is the longest, nearly, and in constant time: queues stand in classes by the logarithm of what waits in them.
//!
//! Two classes make a factor of two. A queue of a single packet stands in none, so that traffic without congestion seldom comes here.

use super::Queue;
use super::slab::NIL;

/// Class of a queue that is in none.
const NONE: u8 = u8::MAX;
const CLASSES: u8 = 128;
/// Class of a backlog of one at the usual weight: those of 2^17 times that weight are still above zero.
const FIRST: i32 = 34;

/// A queue's place among those of its class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Links {
    pub(super) const NONE: Self = Self { previous: NIL, next: NIL };
}

/// The class of a queue of `len` packets that cost `backlog`, at a weight of 2^`weight`.
pub(super) fn class(len: u32, backlog: u64, weight: i8) -> u8 {
    if len < 2 {
        return NONE;
    }
    let power = backlog.max(2).ilog2();
    let upper_half = backlog >> (power - 1) & 1;
    let class = FIRST + 2 * (signed(u64::from(power)) - i32::from(weight)) + signed(upper_half);
    u8::try_from(class.max(0)).unwrap_or(NONE).min(CLASSES - 1)
}

fn signed(n: u64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[derive(Debug)]
pub(super) struct LengthClasses {
    first: [u32; CLASSES as usize],
    /// A bit for each class that has a queue.
    occupied: u128,
}

impl LengthClasses {
    /// What a queue that has not been here yet is in.
    pub(super) const NONE: u8 = NONE;

    pub(super) fn new() -> Self {
        Self { first: [NIL; CLASSES as usize], occupied: 0 }
    }

    /// A queue of the highest class; `None` where none has more than one packet.
    pub(super) fn longest(&self) -> Option<u32> {
        let class = self.occupied.checked_ilog2()?;
        Some(self.first[class as usize])
    }

    /// Put a queue into `class`.
    pub(super) fn set(&mut self, index: u32, class: u8, queues: &mut [Queue]) {
        self.remove(index, queues);
        let next = match self.first.get_mut(usize::from(class)) {
            None => NIL,
            Some(first) => {
                self.occupied |= 1 << class;
                std::mem::replace(first, index)
            }
        };
        if let Some(queue) = queues.get_mut(next as usize) {
            queue.links.previous = index;
        }
        let queue = &mut queues[index as usize];
        queue.links = Links { previous: NIL, next };
        queue.class = class;
    }

    fn remove(&mut self, index: u32, queues: &mut [Queue]) {
        let Queue { links: Links { previous, next }, class, .. } = queues[index as usize];
        let Some(first) = self.first.get_mut(usize::from(class)) else { return };
        if let Some(queue) = queues.get_mut(next as usize) {
            queue.links.previous = previous;
        }
        if let Some(queue) = queues.get_mut(previous as usize) {
            queue.links.next = next;
            return;
        }
        *first = next;
        if next == NIL {
            self.occupied &= !(1 << class);
        }
    }
}
