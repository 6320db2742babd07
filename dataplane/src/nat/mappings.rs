//! The upper layer: inside endpoint -> pool endpoint, whatever the remote end (RFC 4787 REQ-1, RFC 5382 REQ-1: endpoint-independent).
//!
//! A mapping lives as long as a session uses it. Then its port is in quarantine: the entry stays in the table, so that no one else
//! gets the port, until [`QUARANTINE_SECONDS`] are over. The same inside endpoint gets its old port back meanwhile.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use ipnetwork::Ipv4Network;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::pool::{Pool, Ports, port_class};
use super::table::{Entry, Table};
use super::timeouts::{QUARANTINE_SECONDS, Second};
use super::types::{Endpoint, PoolId, PoolKey, PoolKind, PortHalf};
use super::wheel::{Hangs, Place};
use crate::drop_reason::DropReason;
use crate::router_config::{AttachmentId, TrafficClass};
use crate::time::Instant;
use crate::wire::inner::Protocol;

/// Ports of each half looked at for one new mapping, one after the other from a random one (RFC 6056 3.3.1). All 1,023 low ports are
/// covered; of the high ones a free one is missed only where fewer than one in some hundred is free, and a full pool costs a flood
/// little.
const PROBES: u32 = 512;

/// The pool of a mapping whose address left its pool: found by nobody, it only keeps its port from being reused.
const NO_POOL: PoolId = PoolId(u16::MAX);

const BY_INSIDE: usize = 0;
const BY_OUTSIDE: usize = 1;

/// The wheel's turn: longer than the quarantine.
const TURN_SECONDS: u16 = 128;

/// Which side sees the outside endpoint: two pools on one side may share an address, so its ports are one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Side(u16);

impl Side {
    const fn cloud(attachment: AttachmentId) -> Self {
        Self(attachment.0 as u16)
    }

    const fn of(key: PoolKey) -> Self {
        match key.kind {
            PoolKind::Office => Self::cloud(key.attachment),
            PoolKind::Callback(_) => Self(u16::MAX),
        }
    }
}

/// Half a cache line.
#[derive(Clone, Debug)]
#[repr(C)]
struct Mapping {
    inside: Endpoint,
    outside: Endpoint,
    pool: PoolId,
    side: Side,
    protocol: Protocol,
    /// It hangs in the wheel while it is in quarantine, and only then.
    place: Place,
    /// Sessions under it; in quarantine the second in which that ends.
    sessions_or_end: u32,
}

/// Protocol, pool or side, endpoint: 72 bits.
fn key(space: u16, protocol: Protocol, endpoint: Endpoint) -> u128 {
    u128::from(protocol as u8) << 64 | u128::from(space) << 48 | u128::from(endpoint.bits())
}

impl Hangs for Mapping {
    fn place(&self) -> Place {
        self.place
    }

    fn set_place(&mut self, place: Place) {
        self.place = place;
    }
}

impl Entry for Mapping {
    fn key(&self, by: usize) -> u128 {
        match by {
            BY_INSIDE => key(self.pool.0, self.protocol, self.inside),
            _ => key(self.side.0, self.protocol, self.outside),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mappings {
    table: Table<Mapping>,
    pools: Vec<Option<Pool>>,
    ports: Ports,
    /// RFC 6888 REQ-15: ports must not be guessable, so the generator is a cipher (ChaCha), and the tenant's own.
    random: StdRng,
    in_quarantine: usize,
}

impl Mappings {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let table = Table::new(capacity, TURN_SECONDS, random.random());
        Self { table, pools: Vec::new(), ports: Ports::new(), random, in_quarantine: 0 }
    }

    pub(super) fn grow(&mut self, capacity: usize) {
        self.table.grow(capacity);
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.in_quarantine = 0;
    }

    /// The tenant's generator.
    pub(super) const fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// Whether `address` is one of a pool that office hosts of `class` appear from in the cloud of this attachment.
    pub(super) fn gives_out(&self, class: TrafficClass, attachment: AttachmentId, address: Ipv4Addr) -> bool {
        let key = PoolKey { class, attachment, kind: PoolKind::Office };
        self.pools.iter().flatten().any(|pool| pool.key == key && pool.contains(address))
    }

    pub(super) const fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// Mappings that sessions use.
    pub(super) const fn alive(&self) -> usize {
        self.table.len() - self.in_quarantine
    }

    /// The pool with this key, made where there is none. Its addresses become `networks`; the second value tells whether that
    /// changed an existing pool.
    pub(super) fn pool(&mut self, key: PoolKey, networks: &[Ipv4Network]) -> (PoolId, bool) {
        let found = self.pools.iter().position(|pool| pool.as_ref().is_some_and(|pool| pool.key == key));
        let place = found.or_else(|| self.pools.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.pools.push(None);
            self.pools.len() - 1
        });
        let is_same = self.pools[place].as_ref().is_some_and(|pool| pool.networks() == networks);
        if !is_same {
            self.pools[place] = Some(Pool::new(key, networks));
        }
        // A tenant has at most two pools an attachment and class; the control plane bounds attachments to a byte.
        (PoolId(u16::try_from(place).unwrap_or(NO_POOL.0)), found.is_some() && !is_same)
    }

    /// Forget all pools but these.
    pub(super) fn retain_pools(&mut self, keep: &[PoolId]) {
        for (place, pool) in self.pools.iter_mut().enumerate() {
            if !keep.iter().any(|id| usize::from(id.0) == place) {
                *pool = None;
            }
        }
    }

    /// True where the mapping's address still belongs to its pool.
    pub(super) fn is_in_its_pool(&self, index: u32) -> bool {
        let Some(mapping) = self.table.get(index) else { return false };
        let pool = self.pools.get(usize::from(mapping.pool.0)).and_then(Option::as_ref);
        pool.is_some_and(|pool| pool.contains(mapping.outside.addr))
    }

    /// True where the mapping was made from this pool, and its address is still one of the pool's.
    pub(super) fn is_of_pool(&self, index: u32, pool: PoolId) -> bool {
        self.table.get(index).is_some_and(|mapping| mapping.pool == pool) && self.is_in_its_pool(index)
    }

    /// After pools changed and the sessions on addresses that went away were removed: make sure that nobody is mapped to them again.
    pub(super) fn disown_stale(&mut self, now: Instant) {
        let mut from = 0;
        while let Some(index) = self.next_stale(from) {
            from = index + 1;
            let Some(mapping) = self.table.remove(index) else { continue };
            let end = Second::from_number(mapping.sessions_or_end);
            // The slot just vacated is the one that is taken.
            if let Some(index) = self.table.insert(Mapping { pool: NO_POOL, ..mapping }) {
                self.table.schedule(index, end, Second::at_or_before(now));
            }
        }
    }

    fn next_stale(&self, from: u32) -> Option<u32> {
        let is_stale =
            |(index, mapping): &(u32, &Mapping)| mapping.place.hangs() && mapping.pool != NO_POOL && !self.is_in_its_pool(*index);
        self.table.iter_from(from).find(is_stale).map(|(index, _)| index)
    }

    /// The mapping in use behind an endpoint that the cloud of this attachment sees, with the inside endpoint and the pool's key.
    pub(super) fn behind(&self, attachment: AttachmentId, protocol: Protocol, outside: Endpoint) -> Option<(u32, Endpoint, PoolKey)> {
        let index = self.table.find(BY_OUTSIDE, key(Side::cloud(attachment).0, protocol, outside))?;
        let mapping = self.table.get(index).filter(|mapping| !mapping.place.hangs())?;
        let pool = self.pools.get(usize::from(mapping.pool.0))?.as_ref()?;
        Some((index, mapping.inside, pool.key))
    }

    /// The mapping of an inside endpoint, where there is one in use.
    pub(super) fn of_inside(&self, pool: PoolId, protocol: Protocol, inside: Endpoint) -> Option<u32> {
        let index = self.table.find(BY_INSIDE, key(pool.0, protocol, inside))?;
        self.table.get(index).is_some_and(|mapping| !mapping.place.hangs()).then_some(index)
    }

    /// The outside endpoint of a mapping in use.
    pub(super) fn outside(&self, index: u32) -> Option<Endpoint> {
        self.table.get(index).map(|mapping| mapping.outside)
    }

    /// The mapping of an inside endpoint, made where there is none, with one session more under it: of `most` mappings in use.
    ///
    /// # Errors
    /// `PortLimitReached`, and `PortsExhausted` where the host's pool address has no free port; existing mappings are never evicted
    /// (RFC 6888 REQ-11).
    pub(super) fn acquire(
        &mut self,
        pool: PoolId,
        protocol: Protocol,
        inside: Endpoint,
        most: NonZeroU32,
        now: Instant,
    ) -> Result<u32, DropReason> {
        let known = self.table.find(BY_INSIDE, key(pool.0, protocol, inside));
        let is_in_use = |index: u32| self.table.get(index).is_some_and(|mapping| !mapping.place.hangs());
        if !known.is_some_and(is_in_use) && self.alive() >= most.get() as usize {
            return Err(DropReason::PortLimitReached);
        }
        if let Some(index) = known {
            self.use_again(index);
            return Ok(index);
        }
        let (side, outside) = self.free_endpoint(pool, protocol, inside, now).ok_or(DropReason::PortsExhausted)?;
        let mapping = Mapping { inside, outside, pool, side, protocol, place: Place::NOWHERE, sessions_or_end: 1 };
        // The table holds all sessions and all that two minutes can free; only a lowered rate limit lets it fill up.
        self.table.insert(mapping).ok_or(DropReason::SessionTableFull)
    }

    fn use_again(&mut self, index: u32) {
        let Some(mapping) = self.table.get_mut(index) else { return };
        if mapping.place.hangs() {
            mapping.sessions_or_end = 1;
            self.in_quarantine -= 1;
            self.table.unschedule(index);
        } else {
            mapping.sessions_or_end += 1;
        }
    }

    fn free_endpoint(&mut self, pool: PoolId, protocol: Protocol, inside: Endpoint, now: Instant) -> Option<(Side, Endpoint)> {
        let pool = self.pools.get(usize::from(pool.0))?.as_ref()?;
        let side = Side::of(pool.key);
        let addr = pool.address_for(self.table.hash(inside.addr.to_bits().into()))?;
        let class = port_class(protocol, inside.port);
        let halves = self.ports.halves(now);
        halves.iter().find_map(|half| self.free_port(side, protocol, addr, &class, *half)).map(|outside| (side, outside))
    }

    fn free_port(
        &mut self,
        side: Side,
        protocol: Protocol,
        addr: Ipv4Addr,
        class: &RangeInclusive<u16>,
        half: PortHalf,
    ) -> Option<Endpoint> {
        let first = *class.start() + u16::from(!half.contains(*class.start()));
        let span = u32::from(*class.end() - first) / 2 + 1;
        let start = self.random.random_range(0..span);
        (0..span.min(PROBES)).find_map(|step| {
            let port = first + 2 * u16::try_from((start + step) % span).ok()?;
            let outside = Endpoint { addr, port };
            self.is_free(side, protocol, outside).then_some(outside)
        })
    }

    /// Neither the relay's own, nor in use, nor in quarantine.
    fn is_free(&self, side: Side, protocol: Protocol, outside: Endpoint) -> bool {
        !self.ports.are_reserved(protocol, outside.port) && self.table.find(BY_OUTSIDE, key(side.0, protocol, outside)).is_none()
    }

    /// A session of the mapping ended; with the last one its quarantine begins.
    pub(super) fn release(&mut self, index: u32, now: Instant) {
        let Some(mapping) = self.table.get_mut(index) else { return };
        debug_assert!(!mapping.place.hangs(), "a session holds it");
        mapping.sessions_or_end -= 1;
        if mapping.sessions_or_end == 0 {
            let end = Second::at_or_after(now).plus(QUARANTINE_SECONDS);
            mapping.sessions_or_end = end.number();
            self.in_quarantine += 1;
            self.table.schedule(index, end, Second::at_or_before(now));
        }
    }

    /// When the next quarantine ends.
    pub(super) fn next_deadline(&self) -> Instant {
        self.table.next_due().map_or(Instant::FAR_FUTURE, Second::instant)
    }

    /// Look at one quarantine, and end it where it is over; false where there is none to look at.
    pub(super) fn expire_one(&mut self, now: Instant) -> bool {
        let second = Second::at_or_before(now);
        let Some(index) = self.table.due(second) else { return false };
        match self.table.get(index).map(|mapping| Second::from_number(mapping.sessions_or_end)) {
            Some(end) if end > second => self.table.schedule(index, end, second),
            _ => {
                self.in_quarantine -= 1;
                self.table.remove(index);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_half_a_cache_line() {
        assert_eq!(size_of::<Mapping>(), 32);
    }
}
