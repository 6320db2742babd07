use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

#[test]
fn a_bucket_is_one_cache_line() {
    assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
}

#[test]
fn an_index_touches_no_memory_before_it_is_used_and_then_what_it_needs() {
    let mut index = Index::new(200_000);
    assert_eq!(index.touched_bytes(), 0);
    for slot in 0..1_000u32 {
        assert!(index.insert(slot.wrapping_mul(0x9e37_79b9), slot));
    }
    assert!(index.touched_bytes() < 1_000 * 24, "{} bytes for 1,000 entries", index.touched_bytes());
}

#[test]
fn entries_that_all_collide_are_found_and_leave_and_too_many_are_refused() {
    let mut index = Index::new(100);
    let room = (0..1_000).take_while(|slot| index.insert(7, *slot)).count();
    // All of them in one chain: its first bucket and all overflow buckets.
    assert_eq!(room, ENTRIES * (1 + dimensions(100).1));
    let count = u32::try_from(room).expect("few");
    for slot in 0..count {
        assert_eq!(index.find(7, |other| other == slot), Some(slot));
    }
    assert_eq!(index.find(8, |_| true), None);
    // From the middle of the chain, and the place is taken again.
    index.remove(7, count / 2);
    assert_eq!(index.find(7, |other| other == count / 2), None);
    assert!(index.insert(7, 5_000));
    assert!(!index.insert(7, 5_001));
    assert_eq!(index.find(7, |other| other == 5_000), Some(5_000));
    for slot in (0..count).chain([5_000]) {
        index.remove(7, slot);
    }
    assert_eq!((index.entries, index.find(7, |_| true)), (0, None));
}

#[test]
fn a_full_index_of_honest_hashes_has_room_for_every_entry() {
    let entries = 50_000;
    let mut index = Index::new(entries as usize);
    for slot in 0..entries {
        assert!(index.insert(scattered(slot), slot), "{slot}");
    }
    let buckets = index.buckets.len() + index.overflow.len();
    assert!(index.overflow.len() * 10 < buckets, "{} of {buckets} are overflow buckets", index.overflow.len());
    for slot in 0..entries {
        assert_eq!(index.find(scattered(slot), |other| other == slot), Some(slot));
    }
}

#[test]
fn entries_that_come_and_go_for_days_use_up_no_overflow_bucket() {
    let entries = 5_000;
    let mut index = Index::new(entries as usize);
    for slot in 0..entries {
        assert!(index.insert(scattered(slot), slot));
    }
    // The table stays full; who lives long and who goes at once is as random as the hashes.
    let mut present: Vec<u32> = (0..entries).collect();
    for number in entries..200 * entries {
        let place = &mut present[scattered(!number) as usize % entries as usize];
        index.remove(scattered(*place), *place);
        *place = number;
        assert!(index.insert(scattered(number), number), "after {number} entries there is no room for {entries}");
    }
    assert!(index.overflow.len() * 10 < index.buckets.len(), "{} of {}", index.overflow.len(), index.buckets.len());
    assert!(present.iter().all(|slot| index.find(scattered(*slot), |other| other == *slot) == Some(*slot)));
    for slot in present {
        index.remove(scattered(slot), slot);
    }
    let vacant = std::iter::successors(index.vacant.checked_sub(1), |link| index.overflow[*link as usize].next.checked_sub(1)).count();
    assert_eq!((index.entries, vacant), (0, index.overflow.len()), "an empty index has given all of them back");
}

/// A hash without structure (the finalizer of MurmurHash3).
fn scattered(number: u32) -> u32 {
    let mut hash = number ^ number >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

proptest! {
    #[test]
    fn the_index_agrees_with_a_map_also_where_hashes_collide(
        steps in proptest::collection::vec((any::<bool>(), 0u32..200, prop_oneof![0u32..3, Just(u32::MAX), any::<u32>()]), 0..600),
    ) {
        let mut index = Index::new(400);
        let mut model = BTreeMap::new();
        for (insert, slot, hash) in steps {
            match (insert, model.get(&slot)) {
                (true, None) => {
                    prop_assert!(index.insert(hash, slot));
                    model.insert(slot, hash);
                }
                (false, Some(hash)) => {
                    index.remove(*hash, slot);
                    model.remove(&slot);
                }
                _ => {}
            }
            prop_assert_eq!(index.entries, model.len());
            prop_assert_eq!(index.find(hash, |other| other == slot), model.get(&slot).filter(|other| **other == hash).map(|_| slot));
        }
        for (slot, hash) in &model {
            prop_assert_eq!(index.find(*hash, |other| other == *slot), Some(*slot));
        }
    }
}
