//! The memory of all queues: slots that are linked by number.

/// No slot, no queue.
pub(super) const NIL: u32 = u32::MAX;

/// First in, first out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NIL, last: NIL };
}

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    next: u32,
    cost: u32,
}

/// A fixed number of slots. The one that was freed last is used first: a small load stays within few cache lines.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    used: usize,
}

impl<T> Slab<T> {
    pub(super) fn new(room: usize) -> Self {
        let room = u32::try_from(room).unwrap_or(NIL - 1).min(NIL - 1);
        let slots = (1..=room).map(|next| Slot { item: None, next: if next == room { NIL } else { next }, cost: 0 });
        Self { slots: slots.collect(), free: if room == 0 { NIL } else { 0 }, used: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn room(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == NIL
    }

    /// Append to `list`.
    ///
    /// # Panics
    /// When the slab is full: ask first.
    pub(super) fn push(&mut self, list: &mut List, cost: u32, item: T) {
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.next;
        *slot = Slot { item: Some(item), next: NIL, cost };
        match list.last {
            NIL => list.first = index,
            last => self.slots[last as usize].next = index,
        }
        list.last = index;
        self.used += 1;
    }

    /// Take the oldest of `list`, with its cost.
    pub(super) fn pop(&mut self, list: &mut List) -> Option<(T, u32)> {
        let index = list.first;
        let slot = self.slots.get_mut(index as usize)?;
        let item = slot.item.take()?;
        let (next, cost) = (slot.next, slot.cost);
        slot.next = self.free;
        self.free = index;
        list.first = next;
        if next == NIL {
            list.last = NIL;
        }
        self.used -= 1;
        Some((item, cost))
    }
}
