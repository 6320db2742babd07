//! A timer wheel: a list of slots for each coming second.
//!
//! An entry is looked at in the second it is scheduled for, at the latest one turn ahead; where its time has moved on meanwhile, it is
//! scheduled anew. So a packet that puts its session's end off touches nothing but the session, and a session is moved once a
//! timeout instead of once a second.

use super::table::Link;
use super::timeouts::Second;

/// Where an entry hangs: neighbours in its list, and which list that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, packed(2))]
pub(super) struct Place {
    pub(super) previous: Link,
    /// Also links vacant slots.
    pub(super) next: Link,
    pub(super) list: u16,
}

/// In no list.
const NO_LIST: u16 = u16::MAX;
/// Not an entry at all, but a slot for one.
const VACANT: u16 = u16::MAX - 1;

impl Place {
    pub(super) const NOWHERE: Self = Self { previous: 0, next: 0, list: NO_LIST };

    pub(super) const fn vacant(next: Link) -> Self {
        Self { previous: 0, next, list: VACANT }
    }

    /// Whether it is a place in a list.
    pub(super) const fn hangs(self) -> bool {
        self.list < VACANT
    }

    pub(super) const fn is_vacant(self) -> bool {
        self.list == VACANT
    }
}

/// Slots that can hang in a wheel.
pub(super) trait Hangs {
    fn place(&self) -> Place;
    fn set_place(&mut self, place: Place);
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[Link]>,
    /// The second that is looked at next; nothing is scheduled for an earlier one.
    cursor: Second,
    waiting: usize,
}

impl Wheel {
    /// A wheel of `seconds`.
    pub(super) fn new(seconds: u16) -> Self {
        Self { heads: vec![0; usize::from(seconds)].into(), cursor: Second::default(), waiting: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.heads.fill(0);
        self.waiting = 0;
    }

    const fn turn(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "made from 16 bits")]
        let turn = self.heads.len() as u32;
        turn
    }

    /// Hang `index` where `due`, which is after `now`, is; or at the end of the turn where that is sooner. A turn begins at the
    /// second that was not looked at yet, which may be long ago. From wherever it was.
    pub(super) fn schedule<T: Hangs>(&mut self, slots: &mut [T], index: u32, due: Second, now: Second) {
        self.unschedule(slots, index);
        if self.waiting == 0 {
            self.cursor = now;
        }
        let list = self.cursor.plus(due.seconds_since(self.cursor).min(self.turn() - 1)).modulo(self.turn());
        let next = std::mem::replace(&mut self.heads[usize::from(list)], index + 1);
        slots[index as usize].set_place(Place { previous: 0, next, list });
        if let Some(next) = next.checked_sub(1) {
            let slot = &mut slots[next as usize];
            slot.set_place(Place { previous: index + 1, ..slot.place() });
        }
        self.waiting += 1;
    }

    /// Take `index` down; nothing happens where it does not hang.
    pub(super) fn unschedule<T: Hangs>(&mut self, slots: &mut [T], index: u32) {
        let Place { previous, next, list } = slots[index as usize].place();
        if usize::from(list) >= self.heads.len() {
            return;
        }
        slots[index as usize].set_place(Place::NOWHERE);
        match previous.checked_sub(1) {
            Some(before) => {
                let slot = &mut slots[before as usize];
                slot.set_place(Place { next, ..slot.place() });
            }
            None => self.heads[usize::from(list)] = next,
        }
        if let Some(after) = next.checked_sub(1) {
            let slot = &mut slots[after as usize];
            slot.set_place(Place { previous, ..slot.place() });
        }
        self.waiting -= 1;
    }

    /// The second in which an entry at this place is looked at; `None` where it hangs nowhere.
    pub(super) fn scheduled(&self, place: Place) -> Option<Second> {
        let list = u32::from(place.list);
        (list < self.turn()).then(|| self.cursor.plus((list + self.turn() - u32::from(self.cursor.modulo(self.turn()))) % self.turn()))
    }

    /// One whose second has come by `now`.
    pub(super) fn due(&mut self, now: Second) -> Option<u32> {
        while self.waiting > 0 && self.cursor <= now {
            if let Some(index) = self.heads[usize::from(self.cursor.modulo(self.turn()))].checked_sub(1) {
                return Some(index);
            }
            self.cursor = self.cursor.plus(1);
        }
        None
    }

    /// The first second that has an entry to look at. Looks at the heads of the whole turn.
    pub(super) fn next(&self) -> Option<Second> {
        let seconds = (0..self.turn()).map(|ahead| self.cursor.plus(ahead));
        if self.waiting == 0 { None } else { seconds.into_iter().find(|second| self.heads[usize::from(second.modulo(self.turn()))] != 0) }
    }
}
