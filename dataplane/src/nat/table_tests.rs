use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Pair(u8, u8);

impl Entry for Pair {
    type Key = u8;

    fn key(&self, by: usize) -> u8 {
        if by == 0 { self.0 } else { self.1 }
    }
}

#[test]
fn a_full_table_takes_no_more_until_one_leaves_or_it_grows() {
    let mut table: Table<Pair, 1> = Table::new(2, 2, 1);
    assert_eq!(table.insert(Pair(1, 11)), Some(0));
    assert_eq!(table.insert(Pair(2, 12)), Some(1));
    assert_eq!(table.insert(Pair(3, 13)), None);
    assert_eq!(table.find(0, 3), None);
    assert_eq!(table.remove(0), Some(Pair(1, 11)));
    assert_eq!(table.remove(0), None);
    assert_eq!(table.insert(Pair(3, 13)), Some(0));
    table.grow(3);
    assert_eq!(table.insert(Pair(4, 14)), Some(2));
    assert_eq!(table.len(), 3);
}

#[test]
fn memory_is_not_touched_before_it_is_used() {
    let table: Table<Pair, 1> = Table::new(1 << 20, 1 << 20, 1);
    assert_eq!(table.slots.len(), 0, "slots are pushed as they are needed");
    assert!(table.slots.capacity() >= 1 << 20);
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_list_searched_from_its_beginning(steps in proptest::collection::vec((0u8..4, 0u8..40), 0..300)) {
        let mut table: Table<Pair, 2> = Table::new(20, 20, 7);
        // Entries in the order of the one list they wait in.
        let mut model: Vec<Pair> = Vec::new();
        for (step, number) in steps {
            let found = table.find(0, number);
            let place = model.iter().position(|pair| pair.0 == number);
            prop_assert_eq!(found.is_some(), place.is_some());
            prop_assert_eq!(table.find(1, number.wrapping_add(100)), found);
            match (step, found, place) {
                (0 | 1, None, _) => {
                    let pair = Pair(number, number.wrapping_add(100));
                    let index = table.insert(pair);
                    prop_assert_eq!(index.is_some(), model.len() < 20);
                    if let Some(index) = index {
                        table.move_to_end(index, 1);
                        model.push(pair);
                    }
                }
                (2, Some(index), Some(place)) => prop_assert_eq!(table.remove(index), Some(model.remove(place))),
                (3, Some(index), Some(place)) => {
                    table.move_to_end(index, 1);
                    let pair = model.remove(place);
                    model.push(pair);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.first(1).map(|(_, pair)| *pair), model.first().copied());
            prop_assert!(table.first(0).is_none());
            prop_assert_eq!(table.iter_from(0).count(), model.len());
        }
        while let Some((index, pair)) = table.first(1).map(|(index, pair)| (index, *pair)) {
            prop_assert_eq!(pair, model.remove(0));
            table.remove(index);
        }
        prop_assert!(model.is_empty());
    }
}
