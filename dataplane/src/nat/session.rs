//! A session: one flow, with its connection's state and its timer.

use std::num::NonZeroU32;

use super::origin::Origin;
use super::tcp_state::Connection;
use super::timeouts::{Second, TimeoutClass};
use super::translate::{Deltas, Rewrite};
use super::types::{Direction, Endpoint, RuleId};
use super::wheel::{Hangs, Place};
use crate::router_config::{AttachmentId, Filtering, TrafficClass, TunnelId};
use crate::time::{Duration, Instant};
use crate::wire::inner::{Inner, Payload, Protocol};

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
    pub(super) origin: Origin,
    /// Generation of the rules it was last checked against.
    pub generation: u32,
    pub(super) refreshed: Second,
    opened_at: Second,
    /// One more than the mapping's number.
    mapping: Option<NonZeroU32>,
    place: Place,
    /// A service where the office opened it, else a callback.
    pub(super) rule: u16,
    /// All zeros where it is no TCP.
    pub(super) connection: Connection,
    /// By [`Direction`].
    pub(super) packets: [Count; 2],
    pub(super) bytes: [Count; 2],
}

/// A counter of 48 bits: it wraps after 281 terabytes.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, packed(2))]
pub(super) struct Count {
    low: u32,
    high: u16,
}

impl Count {
    const fn get(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "48 bits are what there is room for")]
    pub(super) const fn add(&mut self, number: u64) {
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
    pub(super) begun_by: Direction,
    pub(super) filtering: Filtering,
    pub(super) is_hairpin: bool,
    pub(super) generation: u32,
    pub(super) office: Endpoint,
    pub(super) office_remote: Endpoint,
    pub(super) cloud_local: Endpoint,
    pub(super) cloud_remote: Endpoint,
    pub(super) mapping: Option<u32>,
    pub(super) connection: Option<Connection>,
}

impl Session {
    pub(super) fn new(new: &NewSession, now: Instant) -> Self {
        let NewSession { protocol, office, office_remote, cloud_local, cloud_remote, .. } = *new;
        let mut session = Self {
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
            origin: Origin::new(new.opened_by, new.begun_by, new.is_hairpin),
            generation: new.generation,
            refreshed: Second::at_or_after(now),
            opened_at: Second::at_or_before(now),
            mapping: new.mapping.and_then(|mapping| NonZeroU32::new(mapping + 1)),
            place: Place::NOWHERE,
            rule: number(new.rule),
            connection: new.connection.unwrap_or_default(),
            packets: Default::default(),
            bytes: Default::default(),
        };
        session.filter_by(new.filtering);
        session
    }

    /// By whose rule it stands: a service, which the office may use, or a callback.
    #[must_use]
    pub const fn opened_by(&self) -> Direction {
        self.origin.opened_by()
    }

    /// Who sent its first packet: the opener, or the cloud where a service's filtering let it.
    #[must_use]
    pub const fn begun_by(&self) -> Direction {
        self.origin.begun_by()
    }

    /// Its remote end in the cloud is an endpoint of the tenant's own pool: another host of the office.
    #[must_use]
    pub const fn is_hairpin(&self) -> bool {
        self.origin.is_hairpin()
    }

    /// The tunnel that the office last sent over, where [`super::Nat::set_tunnel`] is told; before that the first one.
    #[must_use]
    pub const fn tunnel(&self) -> TunnelId {
        self.origin.tunnel()
    }

    /// The cloud began it under a service, and the office has not sent in it.
    pub(super) const fn office_is_silent(&self) -> bool {
        self.origin.office_is_silent()
    }

    /// Have it count as a contact where its service filters by address. Echo requests come from nobody but their session's own end.
    pub(super) fn filter_by(&mut self, filtering: Filtering) {
        let counts = filtering == Filtering::AddressDependent && self.mapping.is_some() && self.protocol != Protocol::Icmp;
        self.origin.count_as_contact(counts);
    }

    /// The mapping and the remote address in the cloud, where filtering knows them as a contact.
    pub(super) fn contact(&self) -> Option<(u32, u32)> {
        let mapping = self.mapping().filter(|_| self.origin.is_contact())?;
        Some((mapping, self.cloud_remote.addr.to_bits()))
    }

    /// The rule it was opened by.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        match self.opened_by() {
            Direction::OfficeToCloud => RuleId::Service(self.rule),
            Direction::CloudToOffice => RuleId::Callback(self.rule),
        }
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

    pub(super) fn deadline(&self) -> Second {
        let timeout = self.connection().map_or(TimeoutClass::initial(self.protocol), Connection::timeout);
        self.refreshed.plus(timeout.seconds())
    }

    /// A session is open in one direction: an echo request, or a SYN at an unfit time, against it is not its packet.
    pub(super) fn admits(&self, from: Direction, inner: &Inner) -> bool {
        match inner.payload {
            Payload::IcmpEcho { request } => request == (from == self.opened_by()),
            Payload::Tcp(_) if inner.is_opening_syn() => self.connection().is_none_or(|connection| connection.admits_syn_from(from)),
            Payload::Tcp(_) | Payload::Udp => true,
            Payload::IcmpError { .. } | Payload::IcmpOther { .. } | Payload::Continued => false,
        }
    }
}

pub(super) const fn number(rule: RuleId) -> u16 {
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
