//! The queues alone: shares, bounds, order, and that everything that goes in comes out once.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

fn rate(megabits: u64) -> RateConfig {
    RateConfig { guaranteed: NonZeroU64::new(megabits * 1_000_000), ceiling: None }
}

/// Queues of so many tenants of equal weight.
fn queues<T>(room: usize, tenants: u32) -> FairQueues<T> {
    let mut queues = FairQueues::new(room);
    (0..tenants).for_each(|tenant| queues.set_rate(tenant, RateConfig::default()));
    queues
}

fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}

const LONG: u32 = 1_420 + PACKET_COST;
const SHORT: u32 = 64 + PACKET_COST;

/// Serve `cost` a round while each tenant offers its packets: how much of each was served.
fn serve_rounds(queues: &mut FairQueues<u32>, offers: &[(u32, usize)], rounds: usize, budget: u32) -> Vec<f64> {
    let mut served = vec![0.0; offers.len()];
    for _ in 0..rounds {
        for (tenant, (cost, packets)) in (0u32..).zip(offers) {
            for _ in 0..*packets {
                let _ = queues.push(tenant, Lane::OfficeToCloud, *cost, *cost);
            }
        }
        let mut left = i64::from(budget);
        while left > 0 {
            let Some(Of { tenant, item: cost }) = queues.pop() else { break };
            left -= i64::from(cost);
            served[tenant as usize] += f64::from(cost);
        }
    }
    served
}

#[test]
fn a_queue_is_a_cache_line() {
    assert!(size_of::<Queue>() <= 64, "{} bytes", size_of::<Queue>());
}

#[test]
fn what_fits_into_a_batch_goes_straight_through_grouped_by_tenant() {
    let mut queues = queues(64, 3);
    for (order, tenant) in [2, 0, 2, 1, 0, 2].into_iter().enumerate() {
        assert_eq!(queues.push(tenant, Lane::OfficeToCloud, SHORT, order), None);
    }
    let out: Vec<(u32, usize)> = std::iter::from_fn(|| queues.pop()).map(|of| (of.tenant, of.item)).collect();
    assert_eq!(out, [(2, 0), (2, 2), (2, 5), (0, 1), (0, 4), (1, 3)]);
    assert!(queues.is_empty());
}

#[test]
fn a_flood_of_one_tenant_costs_the_others_no_packet_and_no_more_than_their_turn() {
    let mut queues = queues(1_024, 3);
    let mut served = 0;
    for round in 0..10_000_u32 {
        // Ten times what is served, and then the village.
        let mut lost = Vec::new();
        lost.extend((0..640).filter_map(|_| queues.push(0, Lane::OfficeToCloud, LONG, round)));
        lost.extend(queues.push(1, Lane::OfficeToCloud, LONG, round));
        assert!(lost.iter().all(|lost| lost.tenant == 0), "only who sends too much loses");
        for place in 0..64 {
            let of = queues.pop().expect("more than enough waits");
            if of.tenant == 1 {
                assert!(of.item == round && place <= 5, "at once, or after one turn of the other");
                served += 1;
            }
        }
    }
    assert_eq!(served, 10_000);
}

#[test]
fn every_local_government_gets_the_same_when_all_send_too_much() {
    // The uneven order of arrival is the worst there is: one after the other, each a burst.
    let mut queues = queues(8_192, 1_788);
    let offers: Vec<(u32, usize)> = (0..1_788).map(|tenant| if tenant % 2 == 0 { (LONG, 3) } else { (SHORT, 9) }).collect();
    let served = serve_rounds(&mut queues, &offers, 2_000, 64 * LONG);
    let index = jain(&served);
    assert!(index > 0.99, "Jain's index is {index}");
}

#[test]
fn a_hundred_floods_of_different_strength_get_equal_shares() {
    let mut queues = queues(2_048, 100);
    let offers: Vec<(u32, usize)> = (0..100).map(|tenant| (LONG, 2 + tenant % 10)).collect();
    let index = jain(&serve_rounds(&mut queues, &offers, 2_000, 64 * LONG));
    assert!(index > 0.99, "Jain's index is {index}");
}

#[test]
fn shares_follow_the_guaranteed_rates() {
    let mut queues = queues(2_048, 4);
    let guaranteed = [10, 20, 50, 120];
    (0u32..).zip(guaranteed).for_each(|(tenant, megabits)| queues.set_rate(tenant, rate(megabits)));
    let served = serve_rounds(&mut queues, &[(LONG, 200); 4], 10_000, 64 * LONG);
    let all: f64 = served.iter().sum();
    for (served, guaranteed) in served.iter().zip(guaranteed) {
        let ratio = served / all / (guaranteed as f64 / 200.0);
        assert!((0.95..1.05).contains(&ratio), "{guaranteed} of 200 Mbit/s: {ratio} of its share");
    }
}

#[test]
fn short_packets_are_no_way_to_more_than_a_share_of_the_cost() {
    let mut queues = queues(2_048, 2);
    let served = serve_rounds(&mut queues, &[(LONG, 200), (SHORT, 200)], 10_000, 64 * LONG);
    let ratio = served[0] / served[1];
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}

#[test]
fn what_one_tenant_leaves_the_others_get() {
    let mut queues = queues(2_048, 3);
    queues.set_rate(0, rate(10_000));
    // 100 cost units of 123,648 a round: far below its guarantee.
    let served = serve_rounds(&mut queues, &[(LONG, 1), (LONG, 200), (LONG, 200)], 1_000, 64 * LONG);
    assert_eq!(served[0], 1_000.0 * f64::from(LONG));
    let all: f64 = served.iter().sum();
    assert!(all >= 1_000.0 * f64::from(64 * LONG), "nothing is reserved for nobody");
}

#[test]
fn who_comes_and_goes_gets_no_more_than_who_stays() {
    // Tenant 0 always sends just when its queue is empty, to be fresh each time.
    let mut queues = queues(1_024, 2);
    let mut served = [0, 0];
    for _ in 0..100_000 {
        if queues.len_of(0) == 0 {
            (0..4).for_each(|_| assert_eq!(queues.push(0, Lane::OfficeToCloud, LONG, ()), None));
        }
        if queues.len_of(1) < 100 {
            assert_eq!(queues.push(1, Lane::OfficeToCloud, LONG, ()), None);
        }
        served[queues.pop().expect("something waits").tenant as usize] += 1;
    }
    assert!(served[0] <= served[1] * 11 / 10, "{served:?}");
}

#[test]
fn a_full_queue_loses_its_own_newcomer() {
    let mut queues = queues(8, 2);
    for number in 0..4 {
        assert_eq!(queues.push(0, Lane::OfficeToCloud, LONG, number), None);
    }
    let lost = Lost { tenant: 0, item: 4, reason: DropReason::TenantQueueFull };
    assert_eq!(queues.push(0, Lane::OfficeToCloud, LONG, 4), Some(lost));
    assert_eq!((queues.len_of(0), queues.len_of(1)), (4, 0));
}

#[test]
fn where_the_room_is_used_up_the_longest_queue_loses_and_not_the_newcomer() {
    let mut queues = queues(16, 6);
    for (tenant, packets) in [(0, 3), (1, 8), (2, 3), (3, 2)] {
        (0..packets).for_each(|number| assert_eq!(queues.push(tenant, Lane::OfficeToCloud, LONG, number), None));
    }
    for number in 0..4 {
        let lost = Lost { tenant: 1, item: number, reason: DropReason::QueuesFull };
        assert_eq!(queues.push(4 + number % 2, Lane::OfficeToCloud, LONG, 0), Some(lost));
    }
    assert_eq!(queues.len_of(1), 4);
}

#[test]
fn a_queue_may_be_longer_where_its_weight_is() {
    let mut queues = queues(24, 3);
    queues.set_rate(0, rate(80));
    (0..12).for_each(|_| assert_eq!(queues.push(0, Lane::OfficeToCloud, LONG, ()), None));
    (0..12).for_each(|_| assert_eq!(queues.push(1, Lane::OfficeToCloud, LONG, ()), None));
    let lost = queues.push(2, Lane::OfficeToCloud, LONG, ()).expect("no room");
    assert_eq!((lost.tenant, lost.reason), (1, DropReason::QueuesFull));
}

#[test]
fn where_everybody_has_one_packet_the_newcomer_is_lost() {
    let mut queues = queues(4, 5);
    (0..4).for_each(|tenant| assert_eq!(queues.push(tenant, Lane::OfficeToCloud, LONG, tenant), None));
    assert_eq!(queues.push(4, Lane::OfficeToCloud, LONG, 4), Some(Lost { tenant: 4, item: 4, reason: DropReason::QueuesFull }));
}

#[test]
fn towards_the_office_mynumber_goes_first_and_the_directions_take_turns() {
    let mut queues = queues(256, 1);
    for number in 0..20 {
        for lane in [Lane::LgwanConnectedToOffice, Lane::OfficeToCloud, Lane::MyNumberToOffice] {
            assert_eq!(queues.push(0, lane, 1, (lane, number)), None);
        }
    }
    let out: Vec<(Lane, u32)> = std::iter::from_fn(|| queues.pop()).map(|of| of.item).collect();
    let cloud: Vec<_> = out.iter().filter(|(lane, _)| *lane != Lane::OfficeToCloud).collect();
    assert!(cloud[..20].iter().all(|(lane, _)| *lane == Lane::MyNumberToOffice));
    assert!(cloud[20..].iter().all(|(lane, _)| *lane == Lane::LgwanConnectedToOffice));
    let runs: Vec<usize> = out.chunk_by(|a, b| (a.0 == Lane::OfficeToCloud) == (b.0 == Lane::OfficeToCloud)).map(<[_]>::len).collect();
    assert_eq!(runs, [8, 8, 8, 8, 8, 4, 16]);
}

#[test]
fn a_full_queue_loses_lgwan_connected_before_mynumber_and_the_longer_direction_before_both() {
    let mut queues = queues(8, 1);
    let mut push = |lane| queues.push(0, lane, 1, lane).map(|lost| lost.item);
    use Lane::{LgwanConnectedToOffice, MyNumberToOffice, OfficeToCloud};
    assert_eq!([MyNumberToOffice, LgwanConnectedToOffice, MyNumberToOffice, MyNumberToOffice].map(&mut push), [None; 4]);
    assert_eq!(push(MyNumberToOffice), Some(LgwanConnectedToOffice));
    assert_eq!(push(LgwanConnectedToOffice), Some(LgwanConnectedToOffice), "the newcomer itself");
    assert_eq!(push(OfficeToCloud), Some(MyNumberToOffice));
    assert_eq!(push(OfficeToCloud), Some(MyNumberToOffice));
    assert_eq!(push(OfficeToCloud), Some(OfficeToCloud));
    assert_eq!(push(MyNumberToOffice), Some(MyNumberToOffice));
}

#[test]
fn a_number_that_changes_hands_takes_nothing_along() {
    let mut queues = queues(64, 2);
    queues.set_rate(0, rate(500));
    (0..20).for_each(|number| assert_eq!(queues.push(0, Lane::OfficeToCloud, LONG, number), None));
    let mut gone = Vec::new();
    queues.drain(0, |item| gone.push(item));
    assert_eq!(gone, (0..20).collect::<Vec<_>>());
    queues.set_rate(0, RateConfig::default());
    let served = serve_rounds(&mut queues, &[(LONG, 20), (LONG, 20)], 1_000, 8 * LONG);
    assert!((0.95..1.05).contains(&(served[0] / served[1])), "{served:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Push { tenant: u32, lane: usize, cost: u32 },
    Pop,
    Drain(u32),
    Rate(u32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u32, 0..LANES, 1..70_000_u32).prop_map(|(tenant, lane, cost)| Step::Push { tenant, lane, cost }),
        3 => Just(Step::Pop),
        1 => (0..6_u32).prop_map(Step::Drain),
        1 => (0..6_u32, 1..200_000_u64).prop_map(|(tenant, megabits)| Step::Rate(tenant, megabits)),
    ]
}

/// What waits, as a list for each tenant and lane.
type Model = BTreeMap<(u32, usize), VecDeque<u64>>;

/// `item` was the oldest of one of the tenant's lanes.
fn take(model: &mut Model, tenant: u32, item: u64) -> usize {
    let lane = (0..LANES).find(|lane| model.get(&(tenant, *lane)).is_some_and(|list| list.front() == Some(&item)));
    let lane = lane.unwrap_or_else(|| panic!("{item} is not the oldest of any lane of {tenant}: {model:?}"));
    model.get_mut(&(tenant, lane)).expect("just found").pop_front();
    lane
}

proptest! {
    #[test]
    fn everything_comes_out_once_or_is_lost_once_in_the_order_of_its_lane(steps in prop::collection::vec(step(), 1..400), room in 2..40_usize) {
        let mut queues = queues(room, 6);
        let mut model = Model::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Push { tenant, lane, cost } => {
                    let (waiting, refused) = (queues.len(), queues.refuses(tenant, Lane::ALL[lane]));
                    let lost = queues.push(tenant, Lane::ALL[lane], cost, number);
                    let newcomer_lost = lost.as_ref().is_some_and(|lost| lost.item == number && lost.reason == DropReason::TenantQueueFull);
                    prop_assert_eq!(refused, newcomer_lost, "who asks first hears what would become of it");
                    model.entry((tenant, lane)).or_default().push_back(number);
                    if let Some(lost) = lost {
                        prop_assert!(waiting == room || lost.reason == DropReason::TenantQueueFull);
                        if lost.item == number {
                            model.get_mut(&(tenant, lane)).expect("just made").pop_back();
                        } else {
                            take(&mut model, lost.tenant, lost.item);
                        }
                    }
                }
                Step::Pop => match queues.pop() {
                    Some(of) => {
                        let lane = take(&mut model, of.tenant, of.item);
                        let mynumber = model.get(&(of.tenant, 1)).is_some_and(|list| !list.is_empty());
                        prop_assert!(lane != 2 || !mynumber, "mynumber goes first");
                    }
                    None => prop_assert!(model.values().all(VecDeque::is_empty)),
                },
                Step::Drain(tenant) => {
                    let mut out = Vec::new();
                    queues.drain(tenant, |item| out.push(item));
                    out.into_iter().for_each(|item| { take(&mut model, tenant, item); });
                    prop_assert_eq!(queues.len_of(tenant), 0);
                }
                Step::Rate(tenant, megabits) => queues.set_rate(tenant, rate(megabits)),
            }
            prop_assert_eq!(queues.len(), model.values().map(VecDeque::len).sum::<usize>());
            prop_assert!(queues.len() <= room);
        }
        while let Some(of) = queues.pop() {
            take(&mut model, of.tenant, of.item);
        }
        prop_assert!(model.values().all(VecDeque::is_empty), "nothing is left behind");
        prop_assert!(queues.is_idle(), "and nobody has a turn");
    }

    #[test]
    fn who_loses_for_want_of_room_has_at_least_two_thirds_of_the_longest(lengths in prop::collection::vec(0..40_u32, 2..12)) {
        let room: u32 = lengths.iter().sum();
        let mut queues = queues(room.max(2) as usize, u32::try_from(lengths.len()).expect("few") + 1);
        queues.most_per_tenant = u32::MAX;
        for (tenant, len) in (0u32..).zip(&lengths) {
            (0..*len).for_each(|_| assert!(queues.push(tenant, Lane::OfficeToCloud, 1, ()).is_none()));
        }
        let newcomer = u32::try_from(lengths.len()).expect("few");
        if let Some(lost) = queues.push(newcomer, Lane::OfficeToCloud, 1, ()) {
            let longest = lengths.iter().max().copied().unwrap_or(0);
            let of_loser = lengths.get(lost.tenant as usize).copied().unwrap_or(1);
            prop_assert!(of_loser * 3 >= longest * 2 || longest < 2, "{of_loser} of {longest}");
        }
    }
}
