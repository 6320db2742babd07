//! Random lives of UDP sessions against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

/// What was configured: most sessions, and so most of those that the cloud begins.
const LIMIT: u32 = 12;

/// Last byte of the host's address, port.
type Inside = (u8, u16);
/// Last byte of the address in the cloud, port.
type Remote = (u8, u16);

#[derive(Clone, Debug)]
enum Step {
    Send { inside: Inside, remote: Remote },
    CloudSends { inside: Inside, remote: Remote },
    Remove { which: proptest::sample::Index },
    Wait { seconds: u64 },
}

fn inside() -> impl Strategy<Value = Inside> {
    (0u8..3, prop_oneof![Just(5u16), 5_000u16..5_004])
}

fn remote() -> impl Strategy<Value = Remote> {
    (20u8..22, 50u16..53)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (inside(), remote()).prop_map(|(inside, remote)| Step::Send { inside, remote }),
        4 => (inside(), remote()).prop_map(|(inside, remote)| Step::CloudSends { inside, remote }),
        1 => any::<proptest::sample::Index>().prop_map(|which| Step::Remove { which }),
        2 => prop_oneof![1u64..30, 100u64..140, 290u64..310].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn filtering() -> impl Strategy<Value = Filtering> {
    prop_oneof![Just(Filtering::EndpointIndependent), Just(Filtering::AddressDependent), Just(Filtering::AddressAndPortDependent)]
}

#[derive(Clone, Copy)]
struct Life {
    /// Its last packet that counts.
    last: u64,
    begun_by_cloud: bool,
    office_sent: bool,
}

#[derive(Default)]
struct Model {
    sessions: BTreeMap<(Inside, Remote), Life>,
    /// inside -> (outside, when its last session ended).
    mappings: BTreeMap<Inside, (Endpoint, Option<u64>)>,
}

impl Model {
    fn end(&mut self, session: (Inside, Remote), now: u64) {
        self.sessions.remove(&session);
        if !self.sessions.keys().any(|(inside, _)| *inside == session.0) {
            self.mappings.get_mut(&session.0).expect("has a mapping").1 = Some(now);
        }
    }

    fn expire(&mut self, now: u64) {
        let due: Vec<_> = self.sessions.iter().filter(|(_, life)| life.last + 300 <= now).map(|(session, _)| *session).collect();
        due.into_iter().for_each(|session| self.end(session, now));
        self.mappings.retain(|_, (_, freed)| freed.is_none_or(|freed| freed + 120 > now));
    }

    /// When the next session or quarantine ends.
    fn next(&self) -> Option<u64> {
        let sessions = self.sessions.values().map(|life| life.last + 300);
        sessions.chain(self.mappings.values().filter_map(|(_, freed)| freed.map(|freed| freed + 120))).min()
    }

    fn alive(&self) -> (usize, usize) {
        (self.sessions.len(), self.mappings.values().filter(|(_, freed)| freed.is_none()).count())
    }

    fn office_sends(&mut self, inside: Inside, remote: Remote, outside: Endpoint, now: u64) {
        self.mappings.insert(inside, (outside, None));
        let life = Life { last: now, begun_by_cloud: false, office_sent: true };
        self.sessions.entry((inside, remote)).and_modify(|life| (life.last, life.office_sent) = (now, true)).or_insert(life);
    }

    /// RFC 4787 section 5, and what keeps the cloud from filling the table.
    fn cloud_sends(&mut self, filtering: Filtering, inside: Inside, remote: Remote, now: u64) -> Result<(), DropReason> {
        if let Some(life) = self.sessions.get_mut(&(inside, remote)) {
            life.last = if life.office_sent { now } else { life.last };
            return Ok(());
        }
        let has_mapping = self.mappings.get(&inside).is_some_and(|(_, freed)| freed.is_none());
        let is_contact = |((whose, other), life): (&(Inside, Remote), &Life)| *whose == inside && other.0 == remote.0 && life.office_sent;
        let passes = match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.sessions.iter().any(is_contact),
            Filtering::AddressAndPortDependent => false,
        };
        if !has_mapping || !passes {
            return Err(DropReason::NoSession);
        }
        let begun = self.sessions.values().filter(|life| life.begun_by_cloud).count();
        if begun >= LIMIT as usize / 4 || self.sessions.len() >= LIMIT as usize {
            return Err(DropReason::SessionTableFull);
        }
        self.sessions.insert((inside, remote), Life { last: now, begun_by_cloud: true, office_sent: false });
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn sessions_mappings_filters_and_quarantine_follow_the_model(
        steps in proptest::collection::vec(step(), 1..120),
        filtering in filtering(),
        mut now in prop_oneof![Just(0u64), Just(1_000)],
        half in prop_oneof![Just(PortHalf::Even), Just(PortHalf::Odd)],
    ) {
        let mut world = World { filtering, now: Instant::from_secs(now), ..World::with_limits(limits(LIMIT, 1_000)) };
        world.nat.set_port_half(half);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Wait { seconds } => {
                    now += seconds;
                    world.pass_seconds(seconds);
                    model.expire(now);
                }
                Step::Remove { which } => {
                    let rows: Vec<_> = world.nat.rows(0).map(|(id, session)| (id, session.office, session.cloud_remote)).collect();
                    if rows.is_empty() {
                        continue;
                    }
                    let (id, office, remote) = rows[which.index(rows.len())];
                    world.nat.remove(id, world.now);
                    model.end(((office.addr.octets()[3], office.port), (remote.addr.octets()[3], remote.port)), now);
                }
                Step::Send { inside, remote } => {
                    let sent = world.udp_source(([198, 51, 100, inside.0], inside.1), ([10, 10, 0, remote.0], remote.1));
                    if model.sessions.len() >= LIMIT as usize && !model.sessions.contains_key(&(inside, remote)) {
                        prop_assert_eq!(sent, Err(DropReason::SessionTableFull));
                        continue;
                    }
                    let outside = sent.expect("there is room");
                    // Nobody needs the other half: the next run of the relay finds it untouched.
                    prop_assert!(half.contains(outside.port));
                    match model.mappings.get(&inside) {
                        Some((known, _)) => prop_assert_eq!(outside, *known),
                        None => prop_assert!(model.mappings.values().all(|(taken, _)| *taken != outside), "{outside:?} is taken or in quarantine"),
                    }
                    model.office_sends(inside, remote, outside, now);
                }
                Step::CloudSends { inside, remote } => {
                    let Some((outside, _)) = model.mappings.get(&inside) else { continue };
                    let packet = samples::udp(([10, 10, 0, remote.0], remote.1), (outside.addr.octets(), outside.port), b"x");
                    prop_assert_eq!(world.cloud_begins(&packet).map(drop), model.cloud_sends(filtering, inside, remote, now));
                }
            }
            prop_assert_eq!(world.counts(), model.alive());
            prop_assert_eq!(world.nat.rows(0).count(), model.sessions.len());
            prop_assert_eq!(world.nat.sessions.let_in(), model.sessions.values().filter(|life| life.begun_by_cloud).count());
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
