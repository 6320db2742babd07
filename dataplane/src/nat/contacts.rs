//! Which remote addresses an inside endpoint sends to: what address-dependent filtering asks (RFC 4787 section 5).
//!
//! A contact lives as long as a session in which the office has sent to the address, from the mapping that it belongs to. There are
//! no more contacts than sessions, so there is always room for one.

use super::index::Index;
use super::table::{Keyed, Link};

#[derive(Debug)]
struct Contact {
    /// The mapping; of a vacant slot the next one, as a [`Link`].
    mapping: u32,
    remote: u32,
    /// Zero: vacant.
    sessions: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Contacts {
    slots: Vec<Contact>,
    index: Index,
    keyed: Keyed,
    vacant: Link,
}

impl Contacts {
    /// Without room for any: most tenants filter otherwise.
    pub(super) fn new(seed: u64) -> Self {
        Self { slots: Vec::new(), index: Index::new(0), keyed: Keyed::new(seed), vacant: 0 }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.slots.capacity() > 0
    }

    /// Make room for `capacity` contacts, where there is less. Allocates: only for a new configuration.
    pub(super) fn grow(&mut self, capacity: usize) {
        self.slots.reserve_exact(capacity.saturating_sub(self.slots.len()));
        self.index.grow(capacity);
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.index.clear();
        self.vacant = 0;
    }

    #[expect(clippy::cast_possible_truncation, reason = "all bits of the hash are equally good")]
    fn hash(&self, mapping: u32, remote: u32) -> u32 {
        self.keyed.hash(u128::from(mapping) << 32 | u128::from(remote)) as u32
    }

    fn find(&self, mapping: u32, remote: u32) -> Option<u32> {
        let is_it = |slot: u32| self.slots.get(slot as usize).is_some_and(|contact| (contact.mapping, contact.remote) == (mapping, remote));
        self.index.find(self.hash(mapping, remote), is_it)
    }

    /// Whether the office sends to `remote` from the mapping.
    pub(super) fn contains(&self, mapping: u32, remote: u32) -> bool {
        self.find(mapping, remote).is_some()
    }

    /// One session more sends from the mapping to `remote`.
    pub(super) fn add(&mut self, mapping: u32, remote: u32) {
        if let Some(slot) = self.find(mapping, remote) {
            self.slots[slot as usize].sessions += 1;
            return;
        }
        let slot = self.vacant.checked_sub(1).unwrap_or(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let entered = self.index.insert(self.hash(mapping, remote), slot);
        debug_assert!(entered, "there is room for a contact of every session");
        if entered {
            self.place(slot, Contact { mapping, remote, sessions: 1 });
        }
    }

    fn place(&mut self, slot: u32, contact: Contact) {
        match self.slots.get_mut(slot as usize) {
            Some(vacant) => {
                self.vacant = vacant.mapping;
                *vacant = contact;
            }
            None => self.slots.push(contact),
        }
    }

    /// One session less does.
    pub(super) fn release(&mut self, mapping: u32, remote: u32) {
        let Some(slot) = self.find(mapping, remote) else { return };
        let contact = &mut self.slots[slot as usize];
        contact.sessions -= 1;
        if contact.sessions == 0 {
            contact.mapping = self.vacant;
            self.vacant = slot + 1;
            self.index.remove(self.hash(mapping, remote), slot);
        }
    }
}
