//! A rekey loses nothing, wherever between packets its steps fall, whoever began it, and however the cables mix what is under way.

use dataplane::simulation::{Weather, World, ipsec_municipality};
use dataplane::time::Duration;
use dataplane::tunnel::esp::sa::OutboundUse;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::{both_ways, job, request, told};

/// Packets each way of one story.
const PACKETS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Began {
    Relay,
    Office,
}

/// Packets each way, with the steps of a rekey before packets `steps[0] <= steps[1] <= steps[2]`; all of them arrive, each once.
fn story(seed: u64, began: Began, steps: [usize; 3], weather: Weather) {
    let mut world = World::new(seed, [ipsec_municipality("a", 2_101)]);
    both_ways(&mut world, "a", 40_000);
    world.weather(0, weather, weather);
    let old = world.office("a").esp().relay_spis()[0];
    let agreement = world.agree("a", seed.is_multiple_of(2));
    let (mut came_to_cloud, mut came_to_office) = (0, 0);
    let mut step = 0;
    for number in 0..=PACKETS {
        while step < 3 && steps[step] == number {
            rekey(&mut world, began, step, &agreement);
            step += 1;
        }
        if number < PACKETS {
            world.office("a").send(&request("a", 40_000));
            world.cloud("a").send(&job("a", 50_000));
            world.settle();
            world.run(Duration::from_micros(300));
        }
        came_to_cloud += world.cloud("a").received().len();
        came_to_office += world.office("a").received().len();
    }
    world.run(Duration::from_millis(100));
    came_to_cloud += world.cloud("a").received().len();
    came_to_office += world.office("a").received().len();
    let words = format!("{began:?} {steps:?} seed {seed}: {:?} {:?}", world.reasons(), world.office("a").refused());
    assert_eq!((came_to_cloud, came_to_office, world.counts().get("worker.dropped")), (PACKETS, PACKETS, 0), "{words}");
    // What had been under way is there: now the old one can go.
    world.remove_sa("a", old);
    world.office("a").esp().remove(old);
    world.office("a").send(&request("a", 40_000));
    world.cloud("a").send(&job("a", 50_000));
    world.run(Duration::from_millis(100));
    assert_eq!((world.cloud("a").received().len(), world.office("a").received().len()), (1, 1), "{words}");
    assert_eq!(told(&mut world).get("SaHeard a"), Some(&2), "{words}");
}

/// One step of RFC 7296 section 2.8.
fn rekey(world: &mut World, began: Began, step: usize, agreement: &dataplane::simulation::esp_router::Agreement) {
    match (began, step) {
        // The relay answers: its SA stands before the answer leaves, and sends when the office has been heard on it.
        (Began::Office, 0) => {
            let pair = world.pair("a", agreement, OutboundUse::WhenHeard);
            world.install("a", pair).expect("room");
        }
        (Began::Office, 1) => world.office("a").esp().add(agreement.clone()),
        // The office answers: its SA stands; the relay's is used as soon as the answer is there.
        (Began::Relay, 0) => world.office("a").esp().add_inbound(agreement.clone()),
        (Began::Relay, 1) => {
            let pair = world.pair("a", agreement, OutboundUse::Now);
            world.install("a", pair).expect("room");
        }
        (Began::Relay, _) => world.office("a").esp().switch(agreement.relay_spi),
        (Began::Office, _) => world.switch_outbound("a", agreement.relay_spi),
    }
}

#[test]
fn a_rekey_loses_nothing_at_any_packet_boundary() {
    for began in [Began::Relay, Began::Office] {
        for first in 0..=PACKETS {
            for second in first..=PACKETS {
                for third in second..=PACKETS {
                    story(first as u64, began, [first, second, third], Weather::default());
                }
            }
        }
    }
}

#[test]
fn a_rekey_loses_nothing_while_cables_hold_packets_back_and_let_others_pass() {
    let mut random = SmallRng::seed_from_u64(1_130);
    let weather = Weather { delay: Duration::from_millis(20), ..Weather::default() };
    for seed in 0..150 {
        let mut steps: [usize; 3] = std::array::from_fn(|_| random.random_range(0..=PACKETS));
        steps.sort_unstable();
        story(seed, if seed % 2 == 0 { Began::Relay } else { Began::Office }, steps, weather);
    }
}

#[test]
fn an_office_may_rekey_a_hundred_times_without_a_loss() {
    let mut world = World::new(1_131, [ipsec_municipality("a", 2_101)]);
    for number in 0..100 {
        let old = *world.office("a").esp().relay_spis().last().expect("one that sends");
        let agreement = world.agree("a", number % 2 == 0);
        let pair = world.pair("a", &agreement, OutboundUse::WhenHeard);
        world.install("a", pair).expect("room");
        both_ways(&mut world, "a", 40_000);
        world.office("a").esp().add(agreement);
        both_ways(&mut world, "a", 40_000);
        world.remove_sa("a", old);
        world.office("a").esp().remove(old);
        both_ways(&mut world, "a", 40_000);
    }
    assert_eq!(world.counts().get("a/main.sa_installs"), 101);
    assert_eq!(told(&mut world).get("SaHeard a"), Some(&101));
}
