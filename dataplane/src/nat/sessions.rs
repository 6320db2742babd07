//! The lower layer: one entry a flow, found from both sides, with its connection's state and its timer.
//!
//! Filtering is address-and-port-dependent for now: a packet from the cloud needs a session with exactly its remote end, one that
//! matches only a mapping is dropped as `NoSession` (RFC 4787 REQ-8 allows it as the strict choice).

use std::num::NonZeroU32;

use super::table::{Entry, Table};
use super::tcp_state::{Connection, Timer};
use super::timeouts::{Second, TimeoutClass};
use super::translate::{Deltas, Rewrite};
use super::types::{Direction, Endpoint, RuleId};
use super::wheel::{Hangs, Place};
use crate::router_config::{AttachmentId, TrafficClass};
use crate::time::{Duration, Instant};
use crate::wire::inner::{Inner, Payload, Protocol};

const BY_OFFICE: usize = 0;
const BY_CLOUD: usize = 1;

/// The wheel's turn: longer than all timeouts but that of an established connection, which is looked at once a turn.
const TURN_SECONDS: u16 = 512;

/// One flow, in two cache lines: what it takes to find and to rewrite a packet of it, and what it takes to follow it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Session {
    /// The office's end, as the office sees it.
    pub office: Endpoint,
    /// The remote end, as the office sees it.
    pub office_remote: Endpoint,
    /// The office's end, as the cloud sees it.
    pub cloud_local: Endpoint,
    /// The remote end, as the cloud sees it.
    pub cloud_remote: Endpoint,
    /// By [`Direction`].
    deltas: [Deltas; 2],
    /// Class.
    pub class: TrafficClass,
    /// The attachment it goes over.
    pub attachment: AttachmentId,
    /// Protocol.
    pub protocol: Protocol,
    /// Who opened it.
    pub opened_by: Direction,
    /// Generation of the rules it was last checked against.
    pub generation: u32,
    refreshed: Second,
    opened_at: Second,
    /// One more than the mapping's number.
    mapping: Option<NonZeroU32>,
    place: Place,
    /// A service where the office opened it, else a callback.
    rule: u16,
    /// All zeros where it is no TCP.
    connection: Connection,
    /// By [`Direction`].
    packets: [Count; 2],
    bytes: [Count; 2],
}

/// A counter of 48 bits: it wraps after 281 terabytes.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, packed(2))]
struct Count {
    low: u32,
    high: u16,
}

impl Count {
    const fn get(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "48 bits are what there is room for")]
    const fn add(&mut self, number: u64) {
        let sum = self.get() + number;
        *self = Self { low: sum as u32, high: (sum >> 32) as u16 };
    }
}

/// What a session is made of.
pub(super) struct NewSession {
    pub(super) class: TrafficClass,
    pub(super) rule: RuleId,
    pub(super) attachment: AttachmentId,
    pub(super) protocol: Protocol,
    pub(super) opened_by: Direction,
    pub(super) generation: u32,
    pub(super) office: Endpoint,
    pub(super) office_remote: Endpoint,
    pub(super) cloud_local: Endpoint,
    pub(super) cloud_remote: Endpoint,
    pub(super) mapping: Option<u32>,
    pub(super) connection: Option<Connection>,
}

impl Session {
    fn new(new: &NewSession, now: Instant) -> Self {
        let NewSession { protocol, office, office_remote, cloud_local, cloud_remote, .. } = *new;
        Self {
            office,
            office_remote,
            cloud_local,
            cloud_remote,
            deltas: [
                Deltas::new(protocol, (office, office_remote), (cloud_local, cloud_remote)),
                Deltas::new(protocol, (cloud_remote, cloud_local), (office_remote, office)),
            ],
            class: new.class,
            attachment: new.attachment,
            protocol,
            opened_by: new.opened_by,
            generation: new.generation,
            refreshed: Second::at_or_after(now),
            opened_at: Second::at_or_before(now),
            mapping: new.mapping.and_then(|mapping| NonZeroU32::new(mapping + 1)),
            place: Place::NOWHERE,
            rule: number(new.rule),
            connection: new.connection.unwrap_or_default(),
            packets: Default::default(),
            bytes: Default::default(),
        }
    }

    /// The rule it was opened by.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        match self.opened_by {
            Direction::OfficeToCloud => RuleId::Service(self.rule),
            Direction::CloudToOffice => RuleId::Callback(self.rule),
        }
    }

    /// The present rules would open it anew, by `rule`, which is of the same kind.
    pub(super) fn confirm(&mut self, rule: RuleId, generation: u32) {
        (self.rule, self.generation) = (number(rule), generation);
    }

    /// The mapping it uses, where its source comes from a pool.
    pub(super) fn mapping(&self) -> Option<u32> {
        self.mapping.map(|mapping| mapping.get() - 1)
    }

    /// The state of its connection, where it is TCP.
    pub(super) fn connection(&self) -> Option<&Connection> {
        (self.protocol == Protocol::Tcp).then_some(&self.connection)
    }

    /// What becomes of its packets in this direction.
    pub(super) const fn rewrite(&self, direction: Direction) -> Rewrite {
        let (source, destination) = match direction {
            Direction::OfficeToCloud => (self.cloud_local, self.cloud_remote),
            Direction::CloudToOffice => (self.office_remote, self.office),
        };
        Rewrite { source, destination, deltas: self.deltas[direction as usize] }
    }

    /// Packets, by [`Direction`].
    #[must_use]
    pub fn packets(&self) -> [u64; 2] {
        self.packets.map(Count::get)
    }

    /// Bytes of IP packets, by [`Direction`].
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        self.bytes.map(Count::get)
    }

    /// How long ago it was opened, at most a second too much.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.opened_at.instant())
    }

    /// State of a TCP connection, else `-`.
    #[must_use]
    pub fn state_label(&self) -> &'static str {
        self.connection().map_or("-", Connection::label)
    }

    /// How long it lives on if no packet comes.
    #[must_use]
    pub fn expires_in(&self, now: Instant) -> Duration {
        self.deadline().instant().since(now)
    }

    fn deadline(&self) -> Second {
        let timeout = self.connection().map_or(TimeoutClass::initial(self.protocol), Connection::timeout);
        self.refreshed.plus(timeout.seconds())
    }

    /// A session is open in one direction: an echo request, or a SYN at an unfit time, against it is not its packet.
    fn admits(&self, from: Direction, inner: &Inner) -> bool {
        match inner.payload {
            Payload::IcmpEcho { request } => request == (from == self.opened_by),
            Payload::Tcp(_) if inner.is_opening_syn() => self.connection().is_none_or(|connection| connection.admits_syn_from(from)),
            Payload::Tcp(_) | Payload::Udp => true,
            Payload::IcmpError { .. } | Payload::IcmpOther { .. } => false,
        }
    }
}

/// Protocol and space in the upper word, two endpoints: 112 bits and the space.
fn key(space: u8, protocol: Protocol, local: Endpoint, remote: Endpoint) -> u128 {
    u128::from(space) << 104 | u128::from(protocol as u8) << 96 | u128::from(local.bits()) << 48 | u128::from(remote.bits())
}

const fn number(rule: RuleId) -> u16 {
    match rule {
        RuleId::Service(number) | RuleId::Callback(number) => number,
    }
}

impl Hangs for Session {
    fn place(&self) -> Place {
        self.place
    }

    fn set_place(&mut self, place: Place) {
        self.place = place;
    }
}

impl Entry for Session {
    fn key(&self, by: usize) -> u128 {
        match by {
            BY_OFFICE => key(0, self.protocol, self.office, self.office_remote),
            _ => key(self.attachment.0, self.protocol, self.cloud_local, self.cloud_remote),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Table<Session>,
}

impl Sessions {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { table: Table::new(capacity, TURN_SECONDS, seed) }
    }

    pub(super) fn grow(&mut self, capacity: usize) {
        self.table.grow(capacity);
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Session> {
        self.table.get(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.table.get_mut(index)
    }

    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &Session)> {
        self.table.iter_from(from)
    }

    /// Hint that [`Self::find_from_office`] comes: first for where the session is written down, then, `found`, for the session.
    pub(super) fn prefetch_from_office(&self, inner: &Inner, found: bool) {
        let (source, destination) = ends(inner);
        self.prefetch(BY_OFFICE, key(0, inner.protocol, source, destination), found);
    }

    /// As [`Self::prefetch_from_office`], for [`Self::find_from_cloud`].
    pub(super) fn prefetch_from_cloud(&self, attachment: AttachmentId, inner: &Inner, found: bool) {
        let (source, destination) = ends(inner);
        self.prefetch(BY_CLOUD, key(attachment.0, inner.protocol, destination, source), found);
    }

    fn prefetch(&self, by: usize, key: u128, found: bool) {
        if found {
            self.table.prefetch_entry(by, key);
        } else {
            self.table.prefetch(by, key);
        }
    }

    pub(super) fn find_from_office(&self, inner: &Inner) -> Option<u32> {
        let (source, destination) = ends(inner);
        let index = self.at_office(inner.protocol, source, destination)?;
        self.get(index)?.admits(Direction::OfficeToCloud, inner).then_some(index)
    }

    pub(super) fn find_from_cloud(&self, attachment: AttachmentId, inner: &Inner) -> Option<u32> {
        let (source, destination) = ends(inner);
        let index = self.at_cloud(attachment, inner.protocol, destination, source)?;
        self.get(index)?.admits(Direction::CloudToOffice, inner).then_some(index)
    }

    pub(super) fn at_office(&self, protocol: Protocol, office: Endpoint, remote: Endpoint) -> Option<u32> {
        self.table.find(BY_OFFICE, key(0, protocol, office, remote))
    }

    pub(super) fn at_cloud(&self, attachment: AttachmentId, protocol: Protocol, local: Endpoint, remote: Endpoint) -> Option<u32> {
        self.table.find(BY_CLOUD, key(attachment.0, protocol, local, remote))
    }

    /// Put a session in; `None` where the table is full.
    pub(super) fn insert(&mut self, new: &NewSession, now: Instant) -> Option<u32> {
        let session = Session::new(new, now);
        let deadline = session.deadline();
        let index = self.table.insert(session)?;
        self.table.schedule(index, deadline, Second::at_or_before(now));
        Some(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Session> {
        self.table.remove(index)
    }

    /// A packet of the session passes: count it, follow the connection, start the timer anew. Returns what becomes of the packet.
    ///
    /// Packets of both directions refresh (RFC 4787 REQ-6 demands it of outbound ones and allows it of inbound ones): a session is
    /// bound to its remote end, so nobody else can keep it alive, and one-way flows from the cloud live on.
    pub(super) fn pass(&mut self, index: u32, direction: Direction, inner: &Inner, now: Instant) -> Option<Rewrite> {
        let session = self.table.get_mut(index)?;
        session.packets[direction as usize].add(1);
        session.bytes[direction as usize].add(inner.total_len as u64);
        let rewrite = session.rewrite(direction);
        match &inner.payload {
            Payload::Tcp(tcp) if session.protocol == Protocol::Tcp => {
                if session.connection.segment(direction, tcp) == Timer::Refresh {
                    session.refreshed = Second::at_or_after(now);
                    let deadline = session.deadline();
                    self.bring_forward(index, deadline, now);
                }
            }
            // Its timeout never changes, so it only ends later than the wheel believes.
            _ => session.refreshed = Second::at_or_after(now),
        }
        Some(rewrite)
    }

    /// A connection that closes ends earlier than it would have while it was open.
    fn bring_forward(&mut self, index: u32, deadline: Second, now: Instant) {
        if self.table.scheduled(index).is_none_or(|scheduled| deadline < scheduled) {
            self.table.schedule(index, deadline, Second::at_or_before(now));
        }
    }

    /// Look at one session whose turn it is by the wheel: `Some(Some(_))` is due, `Some(None)` lives on, `None`: there is none.
    pub(super) fn look_at_one(&mut self, now: Instant) -> Option<Option<u32>> {
        let second = Second::at_or_before(now);
        let index = self.table.due(second)?;
        let deadline = self.table.get(index)?.deadline();
        if deadline <= second {
            return Some(Some(index));
        }
        self.table.schedule(index, deadline, second);
        Some(None)
    }

    /// When there is a session to look at; none ends before.
    pub(super) fn next_look(&self) -> Instant {
        self.table.next_due().map_or(Instant::FAR_FUTURE, Second::instant)
    }
}

/// Source and destination of a packet.
pub(super) const fn ends(inner: &Inner) -> (Endpoint, Endpoint) {
    (Endpoint::new(inner.source, inner.source_port), Endpoint::new(inner.destination, inner.destination_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_session_is_two_cache_lines_and_a_lookup_and_a_rewrite_need_the_first() {
        assert_eq!((size_of::<Session>(), align_of::<Session>()), (128, 64));
        assert!(offset_of!(Session, rule) < 64, "what stands before the connection is in the first line");
        assert_eq!(offset_of!(Session, connection), 64);
    }

    #[test]
    fn a_counter_of_48_bits_carries_into_its_upper_half() {
        let mut count = Count::default();
        for number in [u64::from(u32::MAX), 1, 1 << 40, 3] {
            count.add(number);
        }
        assert_eq!(count.get(), (1 << 32) + (1 << 40) + 3);
    }
}
