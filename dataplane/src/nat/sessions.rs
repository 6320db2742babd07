//! The lower layer: one entry a flow, found from both sides, with its connection's state and its timer.
//!
//! Filtering is address-and-port-dependent for now: a packet from the cloud needs a session with exactly its remote end, one that
//! matches only a mapping is dropped as `NoSession` (RFC 4787 REQ-8 allows it as the strict choice).

use super::table::{Entry, Table};
use super::tcp_state::{Connection, Timer};
use super::timeouts::{Second, TimeoutClass};
use super::translate::Rewrite;
use super::types::{Direction, Endpoint, RuleId};
use crate::router_config::{AttachmentId, TrafficClass};
use crate::time::{Duration, Instant};
use crate::wire::inner::{Inner, Payload, Protocol};

const BY_OFFICE: usize = 0;
const BY_CLOUD: usize = 1;

/// One flow.
#[derive(Clone, Debug)]
pub struct Session {
    /// Class.
    pub class: TrafficClass,
    /// The rule it was opened by.
    pub rule: RuleId,
    /// The attachment it goes over.
    pub attachment: AttachmentId,
    /// Protocol.
    pub protocol: Protocol,
    /// Who opened it.
    pub opened_by: Direction,
    /// Generation of the rules it was last checked against.
    pub generation: u32,
    /// The office's end, as the office sees it.
    pub office: Endpoint,
    /// The remote end, as the office sees it.
    pub office_remote: Endpoint,
    /// The office's end, as the cloud sees it.
    pub cloud_local: Endpoint,
    /// The remote end, as the cloud sees it.
    pub cloud_remote: Endpoint,
    /// When it was opened.
    pub opened_at: Instant,
    /// Packets, by [`Direction`].
    pub packets: [u64; 2],
    /// Bytes of IP packets, by [`Direction`].
    pub bytes: [u64; 2],
    /// The mapping it uses, where its source comes from a pool.
    pub(super) mapping: Option<u32>,
    pub(super) connection: Option<Connection>,
    pub(super) rewrites: [Rewrite; 2],
    timeout: TimeoutClass,
    refreshed: Second,
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
            class: new.class,
            rule: new.rule,
            attachment: new.attachment,
            protocol,
            opened_by: new.opened_by,
            generation: new.generation,
            office,
            office_remote,
            cloud_local,
            cloud_remote,
            opened_at: now,
            packets: [0; 2],
            bytes: [0; 2],
            mapping: new.mapping,
            connection: new.connection,
            rewrites: [
                Rewrite::new(protocol, (office, office_remote), (cloud_local, cloud_remote)),
                Rewrite::new(protocol, (cloud_remote, cloud_local), (office_remote, office)),
            ],
            timeout: TimeoutClass::initial(protocol),
            refreshed: Second::at_or_after(now),
        }
    }

    /// State of a TCP connection, else `-`.
    #[must_use]
    pub fn state_label(&self) -> &'static str {
        self.connection.as_ref().map_or("-", Connection::label)
    }

    /// How long it lives on if no packet comes.
    #[must_use]
    pub fn expires_in(&self, now: Instant) -> Duration {
        self.deadline().since(now)
    }

    fn deadline(&self) -> Instant {
        self.refreshed.plus(self.timeout.seconds()).instant()
    }

    /// A session is open in one direction: an echo request, or a SYN at an unfit time, against it is not its packet.
    fn admits(&self, from: Direction, inner: &Inner) -> bool {
        match inner.payload {
            Payload::IcmpEcho { request } => request == (from == self.opened_by),
            Payload::Tcp(_) if inner.is_opening_syn() => self.connection.is_none_or(|connection| connection.admits_syn_from(from)),
            Payload::Tcp(_) | Payload::Udp => true,
            Payload::IcmpError { .. } | Payload::IcmpOther { .. } => false,
        }
    }
}

/// Protocol and space in the upper word, two endpoints: 112 bits and the space.
fn key(space: u8, protocol: Protocol, local: Endpoint, remote: Endpoint) -> u128 {
    u128::from(space) << 104 | u128::from(protocol as u8) << 96 | u128::from(local.bits()) << 48 | u128::from(remote.bits())
}

impl Entry for Session {
    type Key = u128;

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
    table: Table<Session, { TimeoutClass::COUNT }>,
}

impl Sessions {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { table: Table::new(capacity, capacity, seed) }
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
        let list = session.timeout as u8;
        let index = self.table.insert(session)?;
        self.table.move_to_end(index, list);
        Some(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Session> {
        self.table.remove(index)
    }

    /// A packet of the session passes: count it, follow the connection, start the timer anew.
    ///
    /// Packets of both directions refresh (RFC 4787 REQ-6 demands it of outbound ones and allows it of inbound ones): a session is
    /// bound to its remote end, so nobody else can keep it alive, and one-way flows from the cloud live on.
    pub(super) fn pass(&mut self, index: u32, direction: Direction, inner: &Inner, now: Instant) {
        let Some(session) = self.table.get_mut(index) else { return };
        session.packets[direction as usize] += 1;
        session.bytes[direction as usize] += inner.total_len as u64;
        if let (Some(connection), Payload::Tcp(tcp)) = (&mut session.connection, &inner.payload)
            && connection.segment(direction, tcp) == Timer::Keep
        {
            return;
        }
        let timeout = session.connection.as_ref().map_or(session.timeout, Connection::timeout);
        let second = Second::at_or_after(now);
        if timeout != session.timeout || second != session.refreshed {
            (session.timeout, session.refreshed) = (timeout, second);
            self.table.move_to_end(index, timeout as u8);
        }
    }

    /// A session that is due.
    pub(super) fn due(&self, now: Instant) -> Option<u32> {
        self.firsts().find(|(_, session)| session.deadline() <= now).map(|(index, _)| index)
    }

    /// When the next session is due.
    pub(super) fn next_deadline(&self) -> Instant {
        self.firsts().map(|(_, session)| session.deadline()).min().unwrap_or(Instant::FAR_FUTURE)
    }

    fn firsts(&self) -> impl Iterator<Item = (u32, &Session)> {
        TimeoutClass::ALL.into_iter().filter_map(|class| self.table.first(class as usize))
    }
}

/// Source and destination of a packet.
pub(super) const fn ends(inner: &Inner) -> (Endpoint, Endpoint) {
    (Endpoint::new(inner.source, inner.source_port), Endpoint::new(inner.destination, inner.destination_port))
}
