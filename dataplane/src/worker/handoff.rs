//! The rings between workers.
//!
//! Each ordered pair of workers has bounded rings of its own, so each has one writer and one reader and none has a lock:
//!
//! | ring | carries | when it is full |
//! |---|---|---|
//! | arrivals | frames whose tenant the other owns, before any cryptography | `hand_off_full` |
//! | home | frames of memory on the way to where they belong | never: it has room for all of them |
//! | news | what was heard of the neighbours on an access network | lost, and asked for again a second later |
//!
//! Frames that only have to be transmitted go by `transmit_handoff`. What one poll hands over is staged and pushed a batch at a time.
//! Whoever pushed wakes the other only where it sleeps ([`SleepState`]), so that no frame costs a system call while both are awake.

use std::sync::Arc;

use rand::TryRngCore;
use rand::rngs::OsRng;
use rtrb::{Consumer, Producer, RingBuffer};
use zeroize::Zeroizing;

use crate::nic::BATCH;
use crate::packet::{Frame, FramePool, Packet};
use crate::router_config::{PortId, WorkerId};
use crate::wire::arp::Arp;
use crate::wire::ethernet::MacAddr;
use crate::wire::neighbor_discovery::Discovery;
use crate::worker::crossings::ForeignOrigin;
use crate::worker::sleep_state::SleepState;

/// Most slots of a ring for packets: as many as a driver's receive ring holds for a moment's stall.
const PACKETS: usize = 1024;
/// A ring has no more slots than this part of all frames: a worker that stalls must not keep the memory of the others.
const PART_OF_FRAMES: usize = 16;
/// Slots of the ring for news: ARP and neighbour discovery are rare.
const NEWS: usize = 64;

/// A frame on its way to the worker that owns its tenant.
#[derive(Debug)]
pub(super) struct Crossing {
    pub(super) packet: Packet,
    /// Where it was received.
    pub(super) port: PortId,
    /// What the way in has learnt.
    pub(super) origin: ForeignOrigin,
}

/// What a worker heard about neighbours on an access network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    /// An ARP message.
    Arp(Arp),
    /// A message of neighbour discovery, and the station that sent it.
    Discovery(Discovery, MacAddr),
}

/// What one worker sends to another.
struct Outbox {
    arrivals: Producer<Crossing>,
    home: Producer<Frame>,
    news: Producer<(PortId, Heard)>,
    staged: Vec<Crossing>,
    sleep_state: Arc<SleepState>,
    /// Pushed since the other was last told: a packet or news, or a frame.
    pushed: bool,
    pushed_home: bool,
}

/// What one worker gets from another.
struct Inbox {
    arrivals: Consumer<Crossing>,
    home: Consumer<Frame>,
    news: Consumer<(PortId, Heard)>,
}

/// A worker's ends of the rings, and its place among all workers.
pub struct Links {
    worker: WorkerId,
    sleep_state: Arc<SleepState>,
    /// By number of the other worker; none at its own place.
    out: Vec<Option<Outbox>>,
    inboxes: Vec<Option<Inbox>>,
    slots: usize,
    cookie_seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("worker", &self.worker).field("workers", &self.out.len()).finish_non_exhaustive()
    }
}

/// The rings of one ordered pair. `frames` is how many frames have their home at the end of them.
fn pair(sleep_state: &Arc<SleepState>, slots: usize, frames: usize) -> (Outbox, Inbox) {
    let (arrivals, arrivals_out) = RingBuffer::new(slots);
    let (home, home_out) = RingBuffer::new(frames);
    let (news, news_out) = RingBuffer::new(NEWS);
    let outbox = Outbox {
        arrivals,
        home,
        news,
        staged: Vec::with_capacity(BATCH),
        sleep_state: Arc::clone(sleep_state),
        pushed: false,
        pushed_home: false,
    };
    (outbox, Inbox { arrivals: arrivals_out, home: home_out, news: news_out })
}

impl Links {
    /// The place of the only worker.
    ///
    /// # Panics
    /// Where the kernel has no randomness.
    #[must_use]
    pub fn alone() -> Self {
        Self::all(&[0]).pop().expect("one worker")
    }

    /// The places of as many workers as there are pools, in their order.
    ///
    /// # Panics
    /// As [`Self::alone`].
    #[must_use]
    pub fn between(pools: &[FramePool]) -> Vec<Self> {
        Self::all(&pools.iter().map(FramePool::total).collect::<Vec<usize>>())
    }

    fn all(frames: &[usize]) -> Vec<Self> {
        let workers = frames.len();
        let slots = PACKETS.min(frames.iter().sum::<usize>() / PART_OF_FRAMES).max(1);
        // One for all, so that a cookie of one worker is good at every other.
        let mut cookie_seed = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *cookie_seed).expect("the kernel has randomness");
        let sleep_states: Vec<Arc<SleepState>> = frames.iter().map(|_| Arc::default()).collect();
        let none = |_| (0..workers).map(|_| None).collect();
        let mut out: Vec<Vec<Option<Outbox>>> = (0..workers).map(none).collect();
        let mut inboxes: Vec<Vec<Option<Inbox>>> = (0..workers).map(|_| (0..workers).map(|_| None).collect()).collect();
        for from in 0..workers {
            for to in (0..workers).filter(|to| *to != from) {
                let (outbox, inbox) = pair(&sleep_states[to], slots, frames[to]);
                (out[from][to], inboxes[to][from]) = (Some(outbox), Some(inbox));
            }
        }
        let ends = sleep_states.into_iter().zip(out).zip(inboxes);
        let place = |(number, ((sleep_state, out), inboxes)): (u8, _)| Self {
            worker: WorkerId(number),
            sleep_state,
            out,
            inboxes,
            slots,
            cookie_seed: cookie_seed.clone(),
        };
        (0u8..).zip(ends).map(place).collect()
    }

    /// Which worker this is.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.out.len()
    }

    /// What all workers derive the secrets of their cookies from.
    pub(super) fn cookie_seed(&self) -> &[u8; 32] {
        &self.cookie_seed
    }

    /// Slots of a ring for packets.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn sleep_state(&self) -> &Arc<SleepState> {
        &self.sleep_state
    }

    /// Stage a frame for its owner. Returns whether the stage is full now.
    pub(super) fn stage(&mut self, to: WorkerId, crossing: Crossing) -> bool {
        let outbox = self.out[to.index()].as_mut().expect("nothing is handed to oneself, nor to a worker that does not exist");
        outbox.staged.push(crossing);
        outbox.staged.len() == BATCH
    }

    /// Tell every other worker; returns how many of them had no room.
    pub(super) fn spread(&mut self, port: PortId, heard: Heard) -> u64 {
        let mut full = 0;
        for outbox in self.out.iter_mut().flatten() {
            full += u64::from(outbox.news.push((port, heard)).is_err());
            outbox.pushed = true;
        }
        full
    }

    /// Push what is staged. What finds no room goes to `lost`; returns how many packets were handed over.
    pub(super) fn push(&mut self, mut lost: impl FnMut(PortId, Packet)) -> u64 {
        let mut handed = 0;
        for outbox in self.out.iter_mut().flatten().filter(|outbox| !outbox.staged.is_empty()) {
            handed += push_all(&mut outbox.arrivals, &mut outbox.staged, |crossing| crossing.packet.segments());
            outbox.staged.drain(..).for_each(|crossing| lost(crossing.port, crossing.packet));
            outbox.pushed = true;
        }
        handed
    }

    /// Wake whoever was given something since the last call, and sleeps.
    pub(super) fn rouse(&mut self) {
        for outbox in self.out.iter_mut().flatten() {
            if outbox.pushed || outbox.pushed_home {
                outbox.sleep_state.rouse(!outbox.pushed);
                (outbox.pushed, outbox.pushed_home) = (false, false);
            }
        }
    }

    /// Send the strays of `pool` home.
    pub(super) fn send_home(&mut self, pool: &mut FramePool) {
        for _ in 0..pool.strays().len() {
            let Some(frame) = pool.strays().pop() else { return };
            let home = pool.home_of(&frame);
            let outbox = self.out[home].as_mut().expect("a stray is another worker's");
            outbox.pushed_home = true;
            if let Err(rtrb::PushError::Full(frame)) = outbox.home.push(frame) {
                debug_assert!(false, "the ring has room for every frame of its home");
                pool.strays().push(frame);
                return;
            }
        }
    }

    /// Take in the frames that came home.
    pub(super) fn welcome(&mut self, pool: &mut FramePool) {
        for inbox in self.inboxes.iter_mut().flatten() {
            while let Ok(frame) = inbox.home.pop() {
                pool.put(frame);
            }
        }
    }

    /// Up to a batch of frames that worker `from` handed over.
    pub(super) fn arrivals(&mut self, from: usize, batch: &mut Vec<Crossing>) {
        if let Some(inbox) = &mut self.inboxes[from] {
            pop_batch(&mut inbox.arrivals, batch);
        }
    }

    /// What another worker heard, if anything is left.
    pub(super) fn news(&mut self) -> Option<(PortId, Heard)> {
        self.inboxes.iter_mut().flatten().find_map(|inbox| inbox.news.pop().ok())
    }

    /// Announce that this worker is about to sleep. False: there is mail after all, and it must not.
    pub(super) fn lie_down(&self, hungry: bool) -> bool {
        self.sleep_state.lie_down(hungry);
        let has_mail = |inbox: &Inbox| !inbox.arrivals.is_empty() || !inbox.news.is_empty() || (hungry && !inbox.home.is_empty());
        !self.inboxes.iter().flatten().any(has_mail)
    }

    /// Announce that this worker is awake.
    pub(super) fn get_up(&self) {
        self.sleep_state.get_up();
    }

    /// Packets on the rings towards this worker, and frames on their way home to it.
    #[cfg(feature = "simulation")]
    pub(super) fn under_way(&self) -> (usize, usize) {
        let inboxes = || self.inboxes.iter().flatten();
        let packets = inboxes().map(|inbox| inbox.arrivals.slots()).sum();
        (packets, inboxes().map(|inbox| inbox.home.slots()).sum())
    }
}

/// Push what there is room for; what is left stays staged. Returns how many packets that were.
pub(super) fn push_all<T>(ring: &mut Producer<T>, staged: &mut Vec<T>, segments: impl Fn(&T) -> u64) -> u64 {
    if staged.is_empty() {
        return 0;
    }
    let room = ring.slots().min(staged.len());
    let packets = staged[..room].iter().map(segments).sum();
    if let Ok(chunk) = ring.write_chunk_uninit(room) {
        chunk.fill_from_iter(staged.drain(..room));
    }
    packets
}

pub(super) fn pop_batch<T>(ring: &mut Consumer<T>, batch: &mut Vec<T>) {
    let waiting = ring.slots().min(BATCH);
    if waiting > 0
        && let Ok(chunk) = ring.read_chunk(waiting)
    {
        batch.extend(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::wait::{Bell, wait};
    use crate::router_config::Vlan;
    use crate::time::Duration;
    use crate::wire::ethernet::MacAddr;
    use std::os::fd::RawFd;

    fn crossing(pool: &mut FramePool) -> Crossing {
        let packet = Packet::new(pool.take().expect("a frame"));
        Crossing { packet, port: PortId(0), origin: ForeignOrigin::Vlan { vlan: Vlan::Untagged, station: MacAddr([2; 6]) } }
    }

    #[test]
    fn a_full_ring_loses_what_is_behind_and_nothing_twice() {
        let mut pools = FramePool::shared(4_096, 2).expect("frames");
        let mut links = Links::between(&pools);
        let mut lost = 0;
        let mut handed = 0;
        for _ in 0..1_100 {
            if links[0].stage(WorkerId(1), crossing(&mut pools[0])) {
                handed += links[0].push(|_, packet| {
                    lost += 1;
                    pools[0].put(packet.into_frame());
                });
            }
        }
        handed += links[0].push(|_, packet| {
            lost += 1;
            pools[0].put(packet.into_frame());
        });
        assert_eq!((handed, lost), (256, 1_100 - 256), "a sixteenth of all frames");
        let mut batch = Vec::with_capacity(BATCH);
        let mut taken = Vec::new();
        loop {
            links[1].arrivals(0, &mut batch);
            if batch.is_empty() {
                break;
            }
            taken.append(&mut batch);
        }
        let order: Vec<u32> = taken.iter().map(|crossing| crossing.packet.frame().index()).collect();
        assert_eq!(order, (0..256).collect::<Vec<u32>>(), "in order");
        taken.into_iter().for_each(|crossing| pools[1].put(crossing.packet.into_frame()));
        links[1].send_home(&mut pools[1]);
        links[0].welcome(&mut pools[0]);
        assert!(pools.iter_mut().all(|pool| pool.free() == pool.total() && pool.strays().is_empty()), "every frame is home again");
    }

    /// Two workers pass one packet to and fro, each asleep whenever it has nothing. A lost wake-up would end it: both sleep for a minute.
    #[test]
    fn no_wake_up_is_lost_when_both_sleep_at_every_chance() {
        const TURNS: u32 = 40_000;
        let mut pools = FramePool::shared(64, 2).expect("frames");
        let mut links = Links::between(&pools).into_iter();
        let (mut first, second) = (links.next().expect("two"), links.next().expect("two"));
        let bells: Vec<Arc<Bell>> = (0..2).map(|_| Arc::new(Bell::new().expect("a descriptor"))).collect();
        first.sleep_state().install(Arc::clone(&bells[0]));
        second.sleep_state().install(Arc::clone(&bells[1]));
        first.stage(WorkerId(1), crossing(&mut pools[0]));
        first.push(|_, _| panic!("there is room"));
        first.rouse();
        let bounce = |mut links: Links, bell: Arc<Bell>| {
            move || {
                let (descriptors, other): ([RawFd; 1], _) = ([bell.descriptor()], WorkerId(1 - links.worker().0));
                let (mut turns, mut slept) = (0, 0);
                let mut batch = Vec::with_capacity(BATCH);
                while turns < TURNS {
                    links.arrivals(other.index(), &mut batch);
                    let Some(packet) = batch.pop() else {
                        if links.lie_down(false) {
                            slept += 1;
                            wait(&descriptors, Duration::from_secs(60));
                            bell.silence();
                        }
                        links.get_up();
                        continue;
                    };
                    turns += 1;
                    links.stage(other, packet);
                    links.push(|_, _| panic!("there is room"));
                    links.rouse();
                }
                slept
            }
        };
        let threads = [std::thread::spawn(bounce(first, Arc::clone(&bells[0]))), std::thread::spawn(bounce(second, Arc::clone(&bells[1])))];
        let slept: u32 = threads.map(|thread| thread.join().expect("it ended")).iter().sum();
        assert!(slept > 100, "they slept {slept} times: the test tests nothing");
    }
}
