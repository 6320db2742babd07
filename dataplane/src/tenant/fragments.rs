//! Virtual reassembly (RFC 4787 REQ-14, RFC 6888 REQ-1): fragments travel on as they are; what is put together is what is known of them.
//!
//! The first fragment of a datagram names the ports. It goes through its route like a whole packet, and those that follow go through
//! the same route with the same ports, so that each is admitted, translated and counted by the same rules. Those that come before it
//! wait for it, and own frames meanwhile.
//!
//! Each direction and class of a tenant has a lane of its own: so many datagrams, so many packets that wait. When all are in use the
//! oldest give way, for most datagrams are complete within microseconds. Of the [`Places`] that are free at the moment, over all
//! tenants, a lane may take a quarter: who is flooded leaves some to the others, and the more lanes are, the fewer each has. Fragments
//! in order need no place at all.
//!
//! A lane's memory is taken when its first fragment comes, and never again.

mod datagram;

use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{AttachmentId, TrafficClass};
use crate::time::{Duration, Instant};
use crate::wire::fragment::{self, Fragment};
use crate::wire::inner::{Inner, Protocol};
use datagram::Datagram;

/// How long a datagram may take to be complete. Its fragments are sent at once, and a receiver waits 15 s (RFC 791 3.2) or longer.
const LIFETIME: Duration = Duration::from_secs(5);
/// Incomplete datagrams of a lane.
const MOST_DATAGRAMS: usize = 32;
/// Packets of a lane that wait: the longest datagram, last fragment first, in an inner packet's usual size.
const MOST_WAITING: usize = 64;
/// A lane may have this part of the places that are free.
const SHARE: usize = 4;

/// Frames that may wait for first fragments at one worker, its tenants' together.
#[derive(Debug)]
pub struct Places {
    free: usize,
}

impl Places {
    /// So many.
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self { free: places }
    }
}

/// Where a fragment comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentOrigin {
    /// The cloud network; `None` for an office.
    pub attachment: Option<AttachmentId>,
    /// The class of its flow.
    pub class: TrafficClass,
}

impl FragmentOrigin {
    const fn lane(self) -> usize {
        self.attachment.is_some() as usize * TrafficClass::COUNT + self.class as usize
    }
}

/// What the fragments of one datagram have in common, in one lane (RFC 791 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    attachment: Option<AttachmentId>,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    id: u16,
    protocol: Protocol,
}

impl Key {
    fn new(origin: FragmentOrigin, inner: &Inner, fragment: Fragment) -> Self {
        let Inner { source, destination, protocol, .. } = *inner;
        Self { attachment: origin.attachment, source, destination, id: fragment.id, protocol }
    }
}

/// A packet that waits for the first fragment of its datagram.
#[derive(Debug)]
struct Waiting {
    key: Key,
    inner: Inner,
    packet: Packet,
}

#[derive(Debug)]
struct Lane {
    /// The oldest first.
    datagrams: Vec<(Key, Datagram)>,
    /// In order of arrival.
    waiting: Vec<Waiting>,
}

/// The fragments of one tenant.
#[derive(Debug)]
pub struct Fragments {
    lanes: [Option<Box<Lane>>; 2 * TrafficClass::COUNT],
    /// The last identification that each lane gave.
    ids: [u16; 2 * TrafficClass::COUNT],
}

/// A packet that may go through its route, with the ports of its datagram.
pub type Passing = (Packet, Inner);

impl Fragments {
    /// None. `seed` must be a secret random number of this tenant alone: identifications begin there.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The generator is a cipher: what everybody sees here tells nothing about what else the seed decides.
        let mut random = StdRng::seed_from_u64(seed);
        Self { lanes: Default::default(), ids: std::array::from_fn(|_| random.random()) }
    }

    /// Another identification for a datagram that is translated: hosts that become one address may use the same ones (RFC 6864 5.3.1,
    /// RFC 7857 9). Each lane counts for itself, so that nobody learns from them what the other class sends.
    pub fn next_id(&mut self, origin: FragmentOrigin) -> u16 {
        next(&mut self.ids[origin.lane()])
    }

    /// A fragment arrives. Returned are those that may go on now, where it does: with it, call [`Self::next_waiting`] until there is
    /// none. Else it waits, or was lost by `lose`, as others may be instead of it.
    pub fn take_in(
        &mut self,
        origin: FragmentOrigin,
        packet: Packet,
        inner: &Inner,
        places: &mut Places,
        now: Instant,
        mut lose: impl FnMut(Packet, DropReason),
    ) -> Option<Passing> {
        let Some(fragment) = inner.fragment else { return Some((packet, *inner)) };
        let key = Key::new(origin, inner, fragment);
        let lane = self.lanes[origin.lane()].get_or_insert_with(|| Box::new(Lane::new()));
        let datagram = lane.datagram(key, &mut self.ids[origin.lane()], places, now, &mut lose);
        if let Err(reason) = datagram.add(inner, fragment) {
            if datagram.is_given_up() {
                lane.lose_waiting(key, reason, places, &mut lose);
            }
            lose(packet, reason);
            return None;
        }
        match datagram.continued(inner) {
            Some(whole) => Some(renamed(packet, whole)),
            None => {
                lane.wait(Waiting { key, inner: *inner, packet }, places, lose);
                None
            }
        }
    }

    /// The next packet that waited for the datagram of `inner`, which arrived just now; after the last one, what is complete is
    /// forgotten.
    pub fn next_waiting(&mut self, origin: FragmentOrigin, inner: &Inner, places: &mut Places) -> Option<Passing> {
        let key = Key::new(origin, inner, inner.fragment?);
        let lane = self.lanes[origin.lane()].as_deref_mut()?;
        let place = lane.place(key)?;
        let datagram = &lane.datagrams[place].1;
        if let Some(waiting) = lane.waiting.iter().position(|waiting| waiting.key == key) {
            let whole = datagram.continued(&lane.waiting[waiting].inner)?;
            places.free += 1;
            return Some(renamed(lane.waiting.remove(waiting).packet, whole));
        }
        if datagram.is_complete() {
            lane.datagrams.remove(place);
        }
        None
    }

    /// Give up what took too long.
    pub fn expire(&mut self, places: &mut Places, now: Instant, mut lose: impl FnMut(Packet, DropReason)) {
        for lane in self.lanes.iter_mut().flatten() {
            while let Some(key) = lane.expired(now) {
                lane.give_up(key, DropReason::FragmentTimeout, places, &mut lose);
            }
        }
    }

    /// Forget all of them: what was known of them may no longer hold.
    pub fn clear(&mut self, reason: DropReason, places: &mut Places, mut lose: impl FnMut(Packet, DropReason)) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.datagrams.clear();
            places.free += lane.waiting.len();
            lane.waiting.drain(..).for_each(|waiting| lose(waiting.packet, reason));
        }
    }

    /// Packets that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.iter().flatten().map(|lane| lane.waiting.len()).sum()
    }
}

fn next(id: &mut u16) -> u16 {
    *id = id.wrapping_add(1);
    *id
}

/// The packet under the identification that its datagram has on the other side.
fn renamed(mut packet: Packet, inner: Inner) -> Passing {
    if let Some(fragment) = inner.fragment {
        fragment::write_id(packet.bytes_mut(), fragment.id);
    }
    (packet, inner)
}

impl Lane {
    fn new() -> Self {
        Self { datagrams: Vec::with_capacity(MOST_DATAGRAMS), waiting: Vec::with_capacity(MOST_WAITING) }
    }

    fn place(&self, key: Key) -> Option<usize> {
        self.datagrams.iter().position(|(other, _)| *other == key)
    }

    fn expired(&self, now: Instant) -> Option<Key> {
        self.datagrams.first().filter(|(_, datagram)| now.since(datagram.begun) >= LIFETIME).map(|(key, _)| *key)
    }

    /// The datagram with this key, begun where there is none, or only one that is too old.
    fn datagram(
        &mut self,
        key: Key,
        last_id: &mut u16,
        places: &mut Places,
        now: Instant,
        lose: &mut impl FnMut(Packet, DropReason),
    ) -> &mut Datagram {
        let known = self.place(key);
        if known.is_some_and(|place| now.since(self.datagrams[place].1.begun) >= LIFETIME) {
            self.give_up(key, DropReason::FragmentTimeout, places, lose);
        } else if let Some(place) = known {
            return &mut self.datagrams[place].1;
        }
        if self.datagrams.len() == MOST_DATAGRAMS {
            self.give_up(self.datagrams[0].0, DropReason::FragmentsFull, places, lose);
        }
        let place = self.datagrams.len();
        self.datagrams.push((key, Datagram::new(next(last_id), now)));
        &mut self.datagrams[place].1
    }

    /// Let a packet wait, in the place of the oldest where there is none left.
    fn wait(&mut self, packet: Waiting, places: &mut Places, mut lose: impl FnMut(Packet, DropReason)) {
        while self.waiting.len() >= MOST_WAITING.min(places.free / SHARE) {
            let oldest = self.waiting.first().map(|waiting| waiting.key);
            self.give_up(oldest.unwrap_or(packet.key), DropReason::FragmentsFull, places, &mut lose);
            if oldest.is_none_or(|oldest| oldest == packet.key) {
                return lose(packet.packet, DropReason::FragmentsFull);
            }
        }
        places.free -= 1;
        self.waiting.push(packet);
    }

    /// Forget a datagram. What waited for it is lost.
    fn give_up(&mut self, key: Key, reason: DropReason, places: &mut Places, lose: &mut impl FnMut(Packet, DropReason)) {
        if let Some(place) = self.place(key) {
            self.datagrams.remove(place);
        }
        self.lose_waiting(key, reason, places, lose);
    }

    fn lose_waiting(&mut self, key: Key, reason: DropReason, places: &mut Places, lose: &mut impl FnMut(Packet, DropReason)) {
        for waiting in self.waiting.extract_if(.., |waiting| waiting.key == key) {
            places.free += 1;
            lose(waiting.packet, reason);
        }
    }
}

#[cfg(test)]
mod tests;
