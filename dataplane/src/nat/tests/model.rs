//! Random lives of UDP sessions against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Send { host: u8, port: u16, remote: u16 },
    Remove { which: proptest::sample::Index },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..3, prop_oneof![Just(5u16), 5_000u16..5_004], 50u16..53).prop_map(|(host, port, remote)| Step::Send { host, port, remote }),
        1 => any::<proptest::sample::Index>().prop_map(|which| Step::Remove { which }),
        2 => prop_oneof![1u64..30, 100u64..140, 290u64..310].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

type Inside = (u8, u16);

#[derive(Default)]
struct Model {
    /// (inside, remote port) -> last packet.
    sessions: BTreeMap<(Inside, u16), u64>,
    /// inside -> (outside, when its last session ended).
    mappings: BTreeMap<Inside, (Endpoint, Option<u64>)>,
}

impl Model {
    fn end(&mut self, session: (Inside, u16), now: u64) {
        self.sessions.remove(&session);
        if !self.sessions.keys().any(|(inside, _)| *inside == session.0) {
            self.mappings.get_mut(&session.0).expect("has a mapping").1 = Some(now);
        }
    }

    fn expire(&mut self, now: u64) {
        let due: Vec<_> = self.sessions.iter().filter(|(_, last)| **last + 300 <= now).map(|(session, _)| *session).collect();
        due.into_iter().for_each(|session| self.end(session, now));
        self.mappings.retain(|_, (_, freed)| freed.is_none_or(|freed| freed + 120 > now));
    }

    /// When the next session or quarantine ends.
    fn next(&self) -> Option<u64> {
        let sessions = self.sessions.values().map(|last| last + 300);
        sessions.chain(self.mappings.values().filter_map(|(_, freed)| freed.map(|freed| freed + 120))).min()
    }

    fn alive(&self) -> (usize, usize) {
        (self.sessions.len(), self.mappings.values().filter(|(_, freed)| freed.is_none()).count())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sessions_mappings_and_quarantine_follow_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let limit = 12;
        let mut world = World::with_limits(limits(limit, 1_000));
        let mut model = Model::default();
        let mut now = 1_000;
        for step in steps {
            match step {
                Step::Wait { seconds } => {
                    now += seconds;
                    world.pass_seconds(seconds);
                    model.expire(now);
                }
                Step::Remove { which } => {
                    let rows: Vec<_> = world.nat.rows(0).map(|(id, session)| (id, session.office, session.office_remote.port)).collect();
                    if rows.is_empty() {
                        continue;
                    }
                    let (id, office, remote) = rows[which.index(rows.len())];
                    world.nat.remove(id, world.now);
                    model.end(((office.addr.octets()[3], office.port), remote), now);
                }
                Step::Send { host, port, remote } => {
                    let sent = world.udp_source(([198, 51, 100, host], port), (GLOBAL, remote));
                    let inside = (host, port);
                    if model.sessions.len() >= limit as usize && !model.sessions.contains_key(&(inside, remote)) {
                        prop_assert_eq!(sent, Err(DropReason::SessionTableFull));
                        continue;
                    }
                    let outside = sent.expect("there is room");
                    match model.mappings.get(&inside) {
                        Some((known, _)) => prop_assert_eq!(outside, *known),
                        None => prop_assert!(model.mappings.values().all(|(taken, _)| *taken != outside), "{outside:?} is taken or in quarantine"),
                    }
                    model.mappings.insert(inside, (outside, None));
                    model.sessions.insert((inside, remote), now);
                }
            }
            prop_assert_eq!(world.counts(), model.alive());
            prop_assert_eq!(world.nat.rows(0).count(), model.sessions.len());
            // Nothing is looked at too late.
            let next = model.next().map_or(Instant::FAR_FUTURE, Instant::from_secs);
            prop_assert!(world.nat.next_deadline() <= next);
        }
        // And everything ends in its second.
        while let Some(next) = model.next() {
            // Of a step after which nobody looked, something may be over already.
            if next > now {
                world.pass_seconds(next - 1 - now);
                prop_assert_eq!((world.counts(), world.nat.next_deadline()), (model.alive(), Instant::from_secs(next)));
                world.pass_seconds(1);
                now = next;
            } else {
                world.pass_seconds(0);
            }
            model.expire(now);
            prop_assert_eq!(world.counts(), model.alive());
        }
        prop_assert_eq!(world.nat.next_deadline(), Instant::FAR_FUTURE);
    }
}
