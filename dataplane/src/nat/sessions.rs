//! The lower layer: one entry a flow, found from both sides, and looked at when its timer says so.
//!
//! A packet needs a session with exactly its remote end. One from the cloud that has none may begin one, where the filtering of a
//! service lets it (`filtering`).

use super::contacts::Contacts;
use super::session::{NewSession, Session, number};
use super::table::{Entry, Table};
use super::tcp_state::Timer;
use super::timeouts::Second;
use super::translate::Rewrite;
use super::types::{Direction, Endpoint, RuleId};
use crate::router_config::{AttachmentId, Filtering, TunnelId};
use crate::time::Instant;
use crate::wire::inner::{Inner, Protocol};

const BY_OFFICE: usize = 0;
const BY_CLOUD: usize = 1;

/// The wheel's turn: longer than all timeouts but that of an established connection, which is looked at once a turn.
const TURN_SECONDS: u16 = 512;

/// Protocol and space in the upper word, two endpoints: 112 bits and the space.
fn key(space: u8, protocol: Protocol, local: Endpoint, remote: Endpoint) -> u128 {
    u128::from(space) << 104 | u128::from(protocol as u8) << 96 | u128::from(local.bits()) << 48 | u128::from(remote.bits())
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
    contacts: Contacts,
    /// Sessions that the cloud began under a service.
    let_in: usize,
    capacity: usize,
}

impl Sessions {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { table: Table::new(capacity, TURN_SECONDS, seed), contacts: Contacts::new(!seed), let_in: 0, capacity }
    }

    pub(super) fn grow(&mut self, capacity: usize) {
        self.table.grow(capacity);
        self.capacity = self.capacity.max(capacity);
        if self.contacts.has_room() {
            self.remember_contacts();
        }
    }

    /// Make room for a contact of each session.
    pub(super) fn remember_contacts(&mut self) {
        self.contacts.grow(self.capacity);
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.contacts.clear();
        self.let_in = 0;
    }

    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    /// Those that the cloud began under a service.
    pub(super) const fn let_in(&self) -> usize {
        self.let_in
    }

    pub(super) fn get(&self, index: u32) -> Option<&Session> {
        self.table.get(index)
    }

    /// Whether the office sends to `remote` from the mapping, by a session that filtering asks for.
    pub(super) fn has_contacted(&self, mapping: u32, remote: Endpoint) -> bool {
        self.contacts.contains(mapping, remote.addr.to_bits())
    }

    /// The present rules would open the session anew, by `rule`, which is of the same kind.
    pub(super) fn confirm(&mut self, index: u32, rule: RuleId, filtering: Filtering, generation: u32) {
        let Some(session) = self.table.get_mut(index) else { return };
        (session.rule, session.generation) = (number(rule), generation);
        let before = session.contact();
        session.filter_by(filtering);
        let after = session.contact();
        if before != after {
            before.into_iter().for_each(|(mapping, remote)| self.contacts.release(mapping, remote));
            after.into_iter().for_each(|(mapping, remote)| self.contacts.add(mapping, remote));
        }
    }

    /// Written only where it is another one than before: the line stays clean.
    pub(super) fn set_tunnel(&mut self, index: u32, tunnel: TunnelId) {
        if let Some(session) = self.table.get_mut(index)
            && session.tunnel() != tunnel
        {
            session.origin.set_tunnel(tunnel);
        }
    }

    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &Session)> {
        self.table.iter_from(from)
    }

    /// Hint that [`Self::find_from_office`] comes: what is returned goes into [`Self::prefetch_found`].
    pub(super) fn prefetch_from_office(&self, inner: &Inner) -> u32 {
        let (source, destination) = ends(inner);
        self.table.prefetch(BY_OFFICE, key(0, inner.protocol, source, destination))
    }

    /// As [`Self::prefetch_from_office`], for [`Self::find_from_cloud`].
    pub(super) fn prefetch_from_cloud(&self, attachment: AttachmentId, inner: &Inner) -> u32 {
        let (source, destination) = ends(inner);
        self.table.prefetch(BY_CLOUD, key(attachment.0, inner.protocol, destination, source))
    }

    /// Hint that the session itself will be used. Reads what the first hint asked for.
    pub(super) fn prefetch_found(&self, hash: u32) {
        self.table.prefetch_entry(hash);
    }

    /// What the packet will most likely become. Reads what the second hint asked for.
    pub(super) fn likely_rewrite(&self, hash: u32, direction: Direction) -> Option<Rewrite> {
        Some(self.table.likely(hash)?.rewrite(direction))
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
        let (deadline, contact, was_let_in) = (session.deadline(), session.contact(), session.origin.was_let_in());
        let index = self.table.insert(session)?;
        self.table.schedule(index, deadline, Second::at_or_before(now));
        contact.into_iter().for_each(|(mapping, remote)| self.contacts.add(mapping, remote));
        self.let_in += usize::from(was_let_in);
        Some(index)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Session> {
        let session = self.table.remove(index)?;
        session.contact().into_iter().for_each(|(mapping, remote)| self.contacts.release(mapping, remote));
        self.let_in -= usize::from(session.origin.was_let_in());
        Some(session)
    }

    /// A packet of the session passes: count it, follow the connection, start the timer anew. Returns what becomes of the packet.
    ///
    /// Packets of both directions refresh (RFC 4787 REQ-6 demands it of outbound ones and allows it of inbound ones): a session is
    /// bound to its remote end, so nobody else can keep it alive, and one-way flows from the cloud live on. But what the cloud began
    /// under a service's filtering, the office keeps alive: the cloud alone would hold a port that the office has long done with.
    pub(super) fn pass(&mut self, index: u32, direction: Direction, inner: &Inner, now: Instant) -> Option<Rewrite> {
        let session = self.table.get_mut(index)?;
        session.packets[direction as usize].add(1);
        session.bytes[direction as usize].add(inner.total_len as u64);
        let rewrite = session.rewrite(direction);
        let tcp = inner.tcp().filter(|_| session.protocol == Protocol::Tcp);
        let timer = tcp.map_or(Timer::Refresh, |tcp| session.connection.segment(direction, tcp));
        if session.office_is_silent() {
            if direction == Direction::CloudToOffice {
                return Some(rewrite);
            }
            session.origin.hear_office();
            session.contact().into_iter().for_each(|(mapping, remote)| self.contacts.add(mapping, remote));
        }
        if timer == Timer::Refresh {
            session.refreshed = Second::at_or_after(now);
            // Without a connection the timeout never changes: the session only ends later than the wheel believes.
            if tcp.is_some() {
                let deadline = session.deadline();
                self.bring_forward(index, deadline, now);
            }
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
