//! Fairness between tenants: bounded queues of what was received, served by deficit round robin in units of cost.
//!
//! Whose a packet is shows without any cryptography (receiver index, VLAN), so a tenant that sends ten times what the relay can
//! carry loses its own packets here, before they cost anything, and the village beside it notices nothing. What fits into one
//! batch goes straight through, grouped by tenant.
//!
//! - The turns are those of RFC 8290 section 4: deficit round robin, where a tenant that had nothing waiting goes first for one
//!   quantum. A quantum is cost, not packets: bytes, and a fixed part for everything that a packet costs whatever its length. It
//!   is in proportion to the tenant's `rate.guaranteed`.
//! - All queues share one room, and no tenant may have more than a half of it. Where the room is used up, the tenant whose queue is
//!   longest for its weight loses the oldest packet that it can best do without; not the newcomer. Where a tenant's own queue is
//!   full, the newcomer is lost: its frame is in the cache still, and is the next one that the NIC fills.
//! - Inside a tenant the two directions take turns, and towards the office `mynumber` goes before `lgwan-connected`. Order within
//!   a lane is kept. What comes from the office is encrypted still: nobody can know its class here.
//!
//! Generic over what waits; no clock, no NIC. Nothing is allocated but for a tenant with a higher number than any before.

mod length_classes;
mod slab;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;

use crate::drop_reason::DropReason;
use crate::router_config::RateConfig;
use length_classes::{LengthClasses, Links};
use slab::{List, NIL, Slab};

/// What a packet costs besides its bytes, in bytes: NAT, headers, tables, and the fixed part of the cipher. One of 64 bytes takes
/// about 0.4 us of a worker, one of 1,420 bytes 1.3 us: 0.66 ns a byte, and 0.36 us that are the same for both.
const PACKET_COST: u32 = 512;

/// The quantum of a tenant that has no guaranteed rate: four packets of full length, or fourteen of the shortest. Longer ones
/// share a tunnel's cache lines among more packets; shorter ones let the others wait less.
const QUANTUM: u32 = 8_192;

/// Packets that one direction of a tenant may have in a row while the other one waits.
const RUN: u8 = 8;

/// Bound of one tenant's packets, whatever the room: more would only be late.
const MOST_PER_TENANT: u32 = 4_096;

/// Lanes of a tenant.
const LANES: usize = 3;

/// Where in its tenant's queue a packet waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// From the office: encrypted, so of a class that nobody knows yet.
    OfficeToCloud = 0,
    /// From the cloud, of class `mynumber`; or of any class where nothing of the tenant waits.
    MyNumberToOffice = 1,
    /// From the cloud, of class `lgwan-connected`.
    LgwanConnectedToOffice = 2,
}

impl Lane {
    const ALL: [Self; LANES] = [Self::OfficeToCloud, Self::MyNumberToOffice, Self::LgwanConnectedToOffice];
}

/// Something that waits, or waited, and its tenant.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub struct Of<T> {
    /// Number of the tenant.
    pub tenant: u32,
    /// What waits.
    pub item: T,
}

/// What was lost to make room.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub struct Lost<T> {
    /// Whose it was.
    pub tenant: u32,
    /// What it was; possibly the newcomer itself.
    pub item: T,
    /// [`DropReason::TenantQueueFull`] or [`DropReason::QueuesFull`].
    pub reason: DropReason,
}

/// Where a queue stands in the round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// Nowhere.
    Idle,
    /// Among those that had nothing waiting: before all others, until its first quantum is used.
    Fresh,
    /// In the round.
    Waiting,
}

/// One tenant's queue: a cache line.
#[derive(Debug)]
struct Queue {
    lanes: [List; LANES],
    len: [u16; LANES],
    /// What everything that waits costs.
    backlog: u64,
    /// What it may still use in this turn; below zero it has overdrawn the next one.
    deficit: i32,
    quantum: u32,
    next_turn: u32,
    links: Links,
    class: u8,
    /// Binary logarithm of the weight.
    weight: i8,
    turn: Turn,
    /// Whether the cloud's direction is the one being served, and packets of it in a row.
    serves_cloud: bool,
    run: u8,
}

impl Queue {
    fn new() -> Self {
        Self {
            lanes: [List::EMPTY; LANES],
            len: [0; LANES],
            backlog: 0,
            deficit: 0,
            quantum: QUANTUM,
            next_turn: NIL,
            links: Links::NONE,
            class: LengthClasses::NONE,
            weight: 0,
            turn: Turn::Idle,
            serves_cloud: false,
            run: 0,
        }
    }

    fn len(&self) -> u32 {
        self.len.iter().copied().map(u32::from).sum()
    }

    fn len_of(&self, lane: Lane) -> u32 {
        self.len[lane as usize].into()
    }

    /// The lane whose turn it is; the queue is not empty.
    fn next_lane(&mut self) -> Lane {
        let from_office = self.len_of(Lane::OfficeToCloud) > 0;
        let from_cloud = self.len() > self.len_of(Lane::OfficeToCloud);
        let serves_cloud = if from_office && from_cloud { self.serves_cloud != (self.run >= RUN) } else { from_cloud };
        self.run = if serves_cloud == self.serves_cloud { self.run.saturating_add(1) } else { 1 };
        self.serves_cloud = serves_cloud;
        if !serves_cloud {
            Lane::OfficeToCloud
        } else if self.len_of(Lane::MyNumberToOffice) > 0 {
            Lane::MyNumberToOffice
        } else {
            Lane::LgwanConnectedToOffice
        }
    }

    /// The lane that loses where something of this tenant has to go: of the longer direction, and there `lgwan-connected` first.
    /// `newcomer` is the lane of a packet that counts although it does not wait yet.
    fn losing_lane(&self, newcomer: Option<Lane>) -> Lane {
        let mut len = self.len.map(u32::from);
        if let Some(lane) = newcomer {
            len[lane as usize] += 1;
        }
        let [office_to_cloud, mynumber, lgwan_connected] = len;
        if office_to_cloud >= mynumber + lgwan_connected {
            Lane::OfficeToCloud
        } else if lgwan_connected > 0 {
            Lane::LgwanConnectedToOffice
        } else {
            Lane::MyNumberToOffice
        }
    }
}

/// The queues of one worker's tenants.
#[derive(Debug)]
pub struct FairQueues<T> {
    slab: Slab<T>,
    queues: Vec<Queue>,
    fresh: Round,
    waiting: Round,
    longest: LengthClasses,
    most_per_tenant: u32,
}

/// Queues in the order of their turns.
#[derive(Debug)]
struct Round {
    first: u32,
    last: u32,
}

impl Round {
    const EMPTY: Self = Self { first: NIL, last: NIL };

    fn push(&mut self, index: u32, queues: &mut [Queue]) {
        queues[index as usize].next_turn = NIL;
        match self.last {
            NIL => self.first = index,
            last => queues[last as usize].next_turn = index,
        }
        self.last = index;
    }

    fn pop(&mut self, queues: &[Queue]) {
        self.first = queues[self.first as usize].next_turn;
        if self.first == NIL {
            self.last = NIL;
        }
    }
}

/// What a packet of `bytes` that stands for `segments` costs.
#[must_use]
pub fn cost(bytes: usize, segments: u64) -> u32 {
    let fixed = segments.saturating_mul(PACKET_COST.into());
    u32::try_from(fixed.saturating_add(bytes as u64)).map_or(MAX_COST, |cost| cost.min(MAX_COST))
}

/// More than a super-frame of 64 KiB in segments of 64 bytes costs.
const MAX_COST: u32 = 1 << 20;

impl<T> FairQueues<T> {
    /// Queues with `room` for so many in all, of which one tenant may have a half.
    #[must_use]
    pub fn new(room: usize) -> Self {
        let slab = Slab::new(room.max(2));
        let most_per_tenant = (slab.room() / 2).min(MOST_PER_TENANT);
        Self { slab, queues: Vec::new(), fresh: Round::EMPTY, waiting: Round::EMPTY, longest: LengthClasses::new(), most_per_tenant }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// Whether nothing waits and no tenant has a turn: whatever comes next is the first in its round.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.fresh.first == NIL && self.waiting.first == NIL
    }

    /// How many of one tenant wait.
    #[must_use]
    pub fn len_of(&self, tenant: u32) -> usize {
        self.queues.get(tenant as usize).map_or(0, |queue| queue.len() as usize)
    }

    /// Whether nothing of this tenant waits to go to its office.
    #[must_use]
    pub fn is_idle_towards_office(&self, tenant: u32) -> bool {
        self.queues.get(tenant as usize).is_none_or(|queue| queue.len() == queue.len_of(Lane::OfficeToCloud))
    }

    /// There is a tenant with this number, and this is its rate. What waits goes on waiting.
    pub fn set_rate(&mut self, tenant: u32, rate: RateConfig) {
        let index = tenant as usize;
        if index >= self.queues.len() {
            self.queues.resize_with(index + 1, Queue::new);
        }
        let quantum = quantum(rate);
        let queue = &mut self.queues[index];
        queue.quantum = quantum;
        queue.deficit = queue.deficit.min(signed(quantum));
        queue.weight = logarithm(quantum) - logarithm(QUANTUM);
        self.classify(tenant);
    }

    /// Whether one more packet of this lane would be lost itself, its tenant's queue being full: [`Self::push`] would return it as
    /// [`DropReason::TenantQueueFull`]. Cheaper to ask than to push.
    #[must_use]
    pub fn refuses(&self, tenant: u32, lane: Lane) -> bool {
        let queue = &self.queues[tenant as usize];
        queue.len() >= self.most_per_tenant && queue.losing_lane(Some(lane)) == lane
    }

    /// Let `item` wait. Returns what was lost for it, where there is no room: something of whoever has more than its share.
    ///
    /// # Panics
    /// For a tenant that has no [`Self::set_rate`].
    pub fn push(&mut self, tenant: u32, lane: Lane, cost: u32, item: T) -> Option<Lost<T>> {
        let (loser, reason) = if self.queues[tenant as usize].len() >= self.most_per_tenant {
            (Some(tenant), DropReason::TenantQueueFull)
        } else if self.slab.is_full() {
            (Some(self.longest.longest().unwrap_or(tenant)), DropReason::QueuesFull)
        } else {
            (None, DropReason::QueuesFull)
        };
        let lost = match loser {
            None => None,
            Some(loser) => match self.take_from(loser, (loser == tenant).then_some(lane)) {
                Some(lost) => Some(Lost { tenant: loser, item: lost, reason }),
                None => return Some(Lost { tenant, item, reason }),
            },
        };
        self.append(tenant, lane, cost, item);
        lost
    }

    fn append(&mut self, tenant: u32, lane: Lane, cost: u32, item: T) {
        let cost = cost.min(MAX_COST);
        let queue = &mut self.queues[tenant as usize];
        if queue.len() == 0 {
            // Who comes first goes first.
            queue.serves_cloud = lane != Lane::OfficeToCloud;
            queue.run = 0;
        }
        self.slab.push(&mut queue.lanes[lane as usize], cost, item);
        queue.len[lane as usize] += 1;
        queue.backlog += u64::from(cost);
        if queue.turn == Turn::Idle {
            queue.turn = Turn::Fresh;
            queue.deficit = signed(queue.quantum);
            self.fresh.push(tenant, &mut self.queues);
        }
        self.classify(tenant);
    }

    /// The oldest packet of the lane that loses; `None` where that is the newcomer's own.
    fn take_from(&mut self, loser: u32, newcomer: Option<Lane>) -> Option<T> {
        let lane = self.queues[loser as usize].losing_lane(newcomer);
        if newcomer == Some(lane) {
            return None;
        }
        self.take(loser, lane).map(|(item, _)| item)
    }

    fn take(&mut self, tenant: u32, lane: Lane) -> Option<(T, u32)> {
        let queue = &mut self.queues[tenant as usize];
        let (item, cost) = self.slab.pop(&mut queue.lanes[lane as usize])?;
        queue.len[lane as usize] -= 1;
        queue.backlog -= u64::from(cost);
        self.classify(tenant);
        Some((item, cost))
    }

    /// The next packet: as many in a row are of one tenant as its turn allows.
    pub fn pop(&mut self) -> Option<Of<T>> {
        loop {
            let (tenant, turn) = match (self.fresh.first, self.waiting.first) {
                (NIL, NIL) => return None,
                (NIL, tenant) => (tenant, Turn::Waiting),
                (tenant, _) => (tenant, Turn::Fresh),
            };
            let queue = &mut self.queues[tenant as usize];
            if queue.len() == 0 {
                // RFC 8290 section 4.2: once around before it may be fresh again, else it would be so with every packet.
                let next = if turn == Turn::Fresh { Turn::Waiting } else { Turn::Idle };
                self.move_on(tenant, turn, next);
            } else if queue.deficit <= 0 {
                queue.deficit += signed(queue.quantum);
                self.move_on(tenant, turn, Turn::Waiting);
            } else {
                let lane = queue.next_lane();
                let (item, cost) = self.take(tenant, lane)?;
                self.queues[tenant as usize].deficit -= signed(cost);
                return Some(Of { tenant, item });
            }
        }
    }

    /// Take out everything that waits for a tenant.
    pub fn drain(&mut self, tenant: u32, mut take: impl FnMut(T)) {
        if self.len_of(tenant) == 0 {
            return;
        }
        for lane in Lane::ALL {
            while let Some((item, _)) = self.take(tenant, lane) {
                take(item);
            }
        }
    }

    fn move_on(&mut self, tenant: u32, from: Turn, to: Turn) {
        if from == Turn::Fresh {
            self.fresh.pop(&self.queues);
        } else {
            self.waiting.pop(&self.queues);
        }
        self.queues[tenant as usize].turn = to;
        if to == Turn::Waiting {
            self.waiting.push(tenant, &mut self.queues);
        }
    }

    /// Note how long a queue is now, for its weight.
    fn classify(&mut self, tenant: u32) {
        let queue = &self.queues[tenant as usize];
        let class = length_classes::class(queue.len(), queue.backlog, queue.weight);
        if class != queue.class {
            self.longest.set(tenant, class, &mut self.queues);
        }
    }
}

fn quantum(rate: RateConfig) -> u32 {
    let guaranteed = rate.guaranteed.map_or(RateConfig::USUAL_WEIGHT, NonZeroU64::get);
    let quantum = u128::from(guaranteed) * u128::from(QUANTUM) / u128::from(RateConfig::USUAL_WEIGHT);
    // Small enough for a signed deficit, and not so small that its turns come and go for nothing.
    u32::try_from(quantum).unwrap_or(u32::MAX).clamp(QUANTUM / 64, 1 << 30)
}

fn logarithm(n: u32) -> i8 {
    i8::try_from(n.max(1).ilog2()).unwrap_or(i8::MAX)
}

fn signed(cost: u32) -> i32 {
    i32::try_from(cost).unwrap_or(i32::MAX)
}
