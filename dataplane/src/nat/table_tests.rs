use std::collections::BTreeMap;

use super::*;
use crate::time::Instant;
use proptest::prelude::*;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Pair(u8, u8, Place);

fn pair(number: u8) -> Pair {
    Pair(number, number.wrapping_add(100), Place::NOWHERE)
}

impl Hangs for Pair {
    fn place(&self) -> Place {
        self.2
    }

    fn set_place(&mut self, place: Place) {
        self.2 = place;
    }
}

impl Entry for Pair {
    fn key(&self, by: usize) -> u128 {
        u128::from(if by == 0 { self.0 } else { self.1 })
    }
}

fn second(number: u64) -> Second {
    Second::at_or_before(Instant::from_secs(number))
}

#[test]
fn a_full_table_takes_no_more_until_one_leaves_or_it_grows() {
    let mut table: Table<Pair> = Table::new(2, 8, 1);
    assert_eq!(table.insert(pair(1)), Some(0));
    assert_eq!(table.insert(pair(2)), Some(1));
    assert_eq!(table.insert(pair(3)), None);
    assert_eq!(table.find(0, 3), None);
    assert_eq!(table.remove(0), Some(pair(1)));
    assert_eq!(table.remove(0), None);
    assert_eq!(table.insert(pair(3)), Some(0));
    table.grow(3);
    assert_eq!(table.insert(pair(4)), Some(2));
    assert_eq!(table.len(), 3);
    assert_eq!([1, 2, 3, 4].map(|key| table.find(0, key)), [None, Some(1), Some(0), Some(2)]);
}

#[test]
fn the_same_number_as_the_one_key_and_as_the_other_are_different_keys() {
    let mut table: Table<Pair> = Table::new(4, 8, 1);
    let index = table.insert(pair(1));
    assert_eq!((table.find(0, 1), table.find(1, 1)), (index, None));
    assert_eq!((table.find(0, 101), table.find(1, 101)), (None, index));
}

#[test]
fn memory_is_not_touched_before_it_is_used() {
    let table: Table<Pair> = Table::new(1 << 20, 8, 1);
    assert_eq!(table.touched_bytes(), 0, "slots and buckets are pushed as they are needed");
    assert!(table.slots.capacity() >= 1 << 20);
}

#[test]
fn tables_of_two_tenants_do_not_collide_alike() {
    // Whoever finds colliding keys in one table must not have found them for another, nor for the same after a restart.
    let [one, other]: [Table<Pair>; 2] = [1, 2].map(|seed| Table::new(4, 8, seed));
    let colliding: Vec<u128> = (0..20_000).filter(|key| one.hash(*key) & 0xff == 0).collect();
    assert!(colliding.len() > 40);
    let still = colliding.iter().filter(|key| other.hash(**key) & 0xff == 0).count();
    assert!(still * 8 < colliding.len(), "{still} of {} collide under another secret", colliding.len());
}

#[test]
fn an_entry_beyond_the_turn_of_the_wheel_is_looked_at_sooner_and_waits_on() {
    let mut table: Table<Pair> = Table::new(4, 8, 1);
    let index = table.insert(pair(1)).expect("room");
    table.schedule(index, second(1_020), second(1_000));
    assert_eq!(table.due(second(1_006)), None);
    assert_eq!((table.due(second(1_007)), table.next_due()), (Some(index), Some(second(1_007))));
    table.schedule(index, second(1_020), second(1_007));
    // Nobody looked for a long time: it is named once, and time has not gone backwards for it.
    assert_eq!(table.due(second(5_000)), Some(index));
    table.schedule(index, second(5_003), second(5_000));
    assert_eq!((table.due(second(5_002)), table.due(second(5_003))), (None, Some(index)));
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_list_searched_from_its_beginning(steps in proptest::collection::vec((0u8..5, 0u8..40, 1u64..12), 0..300)) {
        let mut table: Table<Pair> = Table::new(20, 16, 7);
        // What is there, and when it is due.
        let mut model: BTreeMap<u8, Option<u64>> = BTreeMap::new();
        let mut now = 1_000;
        for (step, number, ahead) in steps {
            let found = table.find(0, u128::from(number));
            prop_assert_eq!(found.is_some(), model.contains_key(&number));
            prop_assert_eq!(table.find(1, u128::from(number.wrapping_add(100))), found);
            match (step, found) {
                (0 | 1, None) => {
                    let index = table.insert(pair(number));
                    prop_assert_eq!(index.is_some(), model.len() < 20);
                    if index.is_some() {
                        model.insert(number, None);
                    }
                }
                (1, Some(index)) => {
                    table.unschedule(index);
                    model.insert(number, None);
                }
                (2, Some(index)) => {
                    prop_assert_eq!(table.remove(index).map(|pair| pair.0), Some(number));
                    model.remove(&number);
                }
                (3, Some(index)) => {
                    table.schedule(index, second(now + ahead), second(now));
                    prop_assert_eq!(table.scheduled(index), Some(second(now + ahead)));
                    model.insert(number, Some(now + ahead));
                }
                (4, _) => {
                    now += ahead;
                    while let Some(index) = table.due(second(now)) {
                        let due = table.remove(index).expect("is there").0;
                        prop_assert!(model.remove(&due).flatten().is_some_and(|due| due <= now));
                    }
                    prop_assert!(model.values().all(|due| due.is_none_or(|due| due > now)));
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.next_due(), model.values().flatten().min().map(|due| second(*due)));
            prop_assert_eq!(table.iter_from(0).count(), model.len());
        }
    }
}
