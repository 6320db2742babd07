//! Address translation of one tenant, in two layers: mappings (endpoint-independent), and sessions under them.
//!
//! A tenant owns one [`Nat`]; there is no table in which two tenants' flows meet. Everything is sans-IO: packets are slices that are
//! rewritten in place, time is an argument, and nothing is allocated after construction except for a new configuration.
//!
//! | file | what is in it |
//! |---|---|
//! | `types` | endpoints, flows, ids |
//! | `mappings`, `pool` | inside endpoint -> pool endpoint; quarantine of freed ports |
//! | `sessions`, `session`, `origin` | one entry a flow; what is in it; how it came to be, and the way back to its office |
//! | `filtering`, `contacts` | what the cloud may begin; whom the office sends to |
//! | `tcp_state` | what a connection's segments mean for its timer |
//! | `timeouts` | the RFCs' timers |
//! | `translate`, `icmp_errors`, `identification` | what is written into packets |
//! | `table`, `index`, `wheel` | the bounded table under both layers: slots, how they are found, when they are looked at |
//!
//! Not built: application-layer gateways (RFC 4787 REQ-10 and RFC 5382 REQ-6 want them off; their absence is what defeats NAT
//! slipstreaming), port control (PCP).

mod contacts;
mod filtering;
mod icmp_errors;
mod identification;
mod index;
mod mappings;
mod origin;
mod pool;
mod session;
mod sessions;
mod table;
mod tcp_state;
mod timeouts;
mod translate;
mod types;
mod wheel;

pub use session::Session;
pub use types::{Direction, Endpoint, NewFlow, PoolId, PoolKey, PoolKind, PortHalf, RuleId, SessionId, Source};

use ipnetwork::Ipv4Network;

use crate::drop_reason::DropReason;
use crate::rate::TokenBucket;
use crate::router_config::{AttachmentId, Limits, TunnelId};
use crate::time::Instant;
use crate::wire::inner::{Inner, Payload, Protocol};
use identification::Identifications;
use mappings::Mappings;
use session::NewSession;
use sessions::Sessions;
use tcp_state::Connection;
use timeouts::QUARANTINE_SECONDS;
use translate::Rewrite;

/// What ends before a new session opens: more than one session adds, so that ends keep up with any rate of beginnings.
const EXPIRE_BEFORE_OPEN: usize = 4;

/// Mappings and sessions of one tenant.
#[derive(Debug)]
pub struct Nat {
    sessions: Sessions,
    /// Apart: only packets that open a session need them.
    mappings: Box<Mappings>,
    /// Apart: only packets without DF need them.
    identifications: Box<Identifications>,
    limits: Limits,
    /// New sessions (RFC 6888 REQ-4).
    opening: TokenBucket,
    /// Those that filtering lets the cloud begin.
    letting_in: TokenBucket,
}

impl Nat {
    /// Empty tables for these limits. `seed` must be a secret random number of this tenant alone: port choice and hashing hang on it.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        let (sessions, mappings) = capacities(limits);
        let mut mappings = Mappings::new(mappings, seed);
        Self {
            sessions: Sessions::new(sessions, seed.rotate_left(32)),
            identifications: Box::new(Identifications::new(mappings.random())),
            mappings: Box::new(mappings),
            limits,
            opening: TokenBucket::FULL,
            letting_in: TokenBucket::FULL,
        }
    }

    /// New limits after a reload. Sessions beyond a lowered limit live on; only new ones are refused (RFC 6888 REQ-11).
    pub fn set_limits(&mut self, limits: Limits) {
        let (sessions, mappings) = capacities(limits);
        self.sessions.grow(sessions);
        self.mappings.grow(mappings);
        self.limits = limits;
    }

    /// TCP and UDP ports that no pool gives out from now on, besides IKE's, BGP's and BFD's: those that the relay listens on (port
    /// shadowing).
    pub fn set_reserved_ports(&mut self, ports: &[u16]) {
        self.mappings.ports_mut().reserve(ports);
    }

    /// Make room for the contacts that address-dependent filtering asks for. Allocates: for a new configuration only, and none that filters
    /// otherwise needs it.
    pub fn remember_contacts(&mut self) {
        self.sessions.remember_contacts();
    }

    /// The half of the ports that this run of the relay gives out first, and alone in its first two minutes.
    pub fn set_port_half(&mut self, half: PortHalf) {
        self.mappings.ports_mut().take_first(half);
    }

    /// The pool with this key, made where there is none, with these addresses. The same key keeps its mappings; sessions whose
    /// address left the pool end. Allocates: for a new configuration only.
    pub fn pool(&mut self, key: PoolKey, addresses: &[Ipv4Network], now: Instant) -> PoolId {
        let (id, changed) = self.mappings.pool(key, addresses);
        if changed {
            self.drop_stale(now);
        }
        id
    }

    /// Forget every pool but these, with the sessions over them: the last step of a new configuration.
    pub fn retain_pools(&mut self, keep: &[PoolId], now: Instant) {
        self.mappings.retain_pools(keep);
        self.drop_stale(now);
    }

    fn drop_stale(&mut self, now: Instant) {
        let mut from = 0;
        while let Some(index) = self.next_stale(from) {
            from = index + 1;
            self.remove(SessionId(index), now);
        }
        self.mappings.disown_stale(now);
    }

    fn next_stale(&self, from: u32) -> Option<u32> {
        let is_stale = |session: &Session| session.mapping().is_some_and(|mapping| !self.mappings.is_in_its_pool(mapping));
        self.sessions.iter_from(from).find(|(_, session)| is_stale(session)).map(|(index, _)| index)
    }

    /// Hint that [`Nat::find_from_office`] comes, for where the session is written down. What is returned goes into
    /// [`Nat::prefetch_found`] some packets later.
    pub(crate) fn prefetch_from_office(&self, inner: &Inner) -> u32 {
        self.sessions.prefetch_from_office(inner)
    }

    /// As [`Nat::prefetch_from_office`], for [`Nat::find_from_cloud`].
    pub(crate) fn prefetch_from_cloud(&self, attachment: AttachmentId, inner: &Inner) -> u32 {
        self.sessions.prefetch_from_cloud(attachment, inner)
    }

    /// Hint that the session itself will be used.
    pub(crate) fn prefetch_found(&self, hash: u32) {
        self.sessions.prefetch_found(hash);
    }

    /// Hint that a packet without DF will get its number. Reads what [`Nat::prefetch_found`] asked for.
    pub(crate) fn prefetch_number(&self, hash: u32, direction: Direction, inner: &Inner) {
        if let Some(rewrite) = self.sessions.likely_rewrite(hash, direction) {
            self.identifications.prefetch(rewrite.source, rewrite.destination, inner.protocol);
        }
    }

    /// The session of a packet from the office. ICMP errors have none of their own: see [`Nat::icmp_error_to_cloud`].
    #[must_use]
    pub fn find_from_office(&self, inner: &Inner) -> Option<SessionId> {
        self.sessions.find_from_office(inner).map(SessionId)
    }

    /// The session of a packet from the cloud. A mapping alone does not let a packet in (see `sessions`).
    #[must_use]
    pub fn find_from_cloud(&self, attachment: AttachmentId, inner: &Inner) -> Option<SessionId> {
        self.sessions.find_from_cloud(attachment, inner).map(SessionId)
    }

    /// The session.
    ///
    /// # Panics
    /// When it ended since it was found.
    #[must_use]
    pub fn session(&self, id: SessionId) -> &Session {
        self.sessions.get(id.0).expect("a session is used in the batch in which it was found")
    }

    /// Whether the session's source is translated as `source` says.
    fn has_source(&self, id: SessionId, source: Source) -> bool {
        let session = self.session(id);
        let translated = match session.opened_by() {
            Direction::OfficeToCloud => session.cloud_local,
            Direction::CloudToOffice => session.office_remote,
        };
        match (source, session.mapping()) {
            (Source::Fixed(addr), None) => translated.addr == addr,
            (Source::Pool(pool), Some(mapping)) => self.mappings.is_of_pool(mapping, pool),
            (Source::Fixed(_), Some(_)) | (Source::Pool(_), None) => false,
        }
    }

    /// Whether opening `flow` now would give this very session: class, attachment, translated destination and source. A reload asks
    /// it before it lets a session live on. The ports of an echo are identifiers, which no rule speaks of. What the cloud began, and the
    /// office has not answered, must still be let in.
    #[must_use]
    pub fn is_of_flow(&self, id: SessionId, flow: &NewFlow) -> bool {
        let session = self.session(id);
        let destination = match flow.opened_by {
            Direction::OfficeToCloud => session.cloud_remote,
            Direction::CloudToOffice => session.office,
        };
        let same_port = session.protocol == Protocol::Icmp || destination.port == flow.translated_destination.port;
        (session.opened_by(), session.class, session.attachment, session.protocol)
            == (flow.opened_by, flow.class, flow.attachment, flow.protocol)
            && destination.addr == flow.translated_destination.addr
            && same_port
            && self.has_source(id, flow.translated_source)
            && (!session.office_is_silent() || session.mapping().is_some_and(|mapping| self.passes_filter(mapping, flow)))
    }

    /// The rules of this generation would open the session anew, as `flow`, whose rule may have moved in its list.
    pub fn confirm(&mut self, id: SessionId, flow: &NewFlow, generation: u32) {
        self.sessions.confirm(id.0, flow.rule, flow.filtering, generation);
    }

    /// The way back to this session's office is `tunnel` from now on.
    pub fn set_tunnel(&mut self, id: SessionId, tunnel: TunnelId) {
        self.sessions.set_tunnel(id.0, tunnel);
    }

    /// The tunnels have other numbers than before. Looks at every session: for a new configuration only.
    pub fn renumber_tunnels(&mut self, number: impl Fn(TunnelId) -> TunnelId) {
        let next = |sessions: &Sessions, from| sessions.iter_from(from).next().map(|(index, session)| (index, session.tunnel()));
        let mut from = 0;
        while let Some((index, tunnel)) = next(&self.sessions, from) {
            from = index + 1;
            self.sessions.set_tunnel(index, number(tunnel));
        }
    }

    /// End a session, and with the last one its mapping: the port's quarantine begins. Nothing happens where it ended before.
    pub fn remove(&mut self, id: SessionId, now: Instant) {
        if let Some(mapping) = self.sessions.remove(id.0).and_then(|session| session.mapping()) {
            self.mappings.release(mapping, now);
        }
    }

    /// Open a session for the packet `inner`, which [`Nat::find_from_office`] or [`Nat::find_from_cloud`] did not know. The packet
    /// itself is then translated, and counted, like every other.
    ///
    /// # Errors
    /// `TcpNotSyn`, `NoSession` (an echo reply to nothing, a fragment that is not the first), `IcmpTypeRefused`, `SessionTableFull`,
    /// `SessionRateLimited`, `PortLimitReached`, `PortsExhausted`, `SessionConflict`. Existing sessions are never evicted (RFC 6888
    /// REQ-11).
    pub fn open(&mut self, flow: &NewFlow, generation: u32, inner: &Inner, now: Instant) -> Result<SessionId, DropReason> {
        let connection = connection_of(flow.begun_by, inner)?;
        self.expire(now, EXPIRE_BEFORE_OPEN);
        self.may_open(flow, now)?;
        let (mapping, source) = self.translated_source(flow, now)?;
        let is_hairpin = self.mappings.gives_out(flow.class, flow.attachment, flow.translated_destination.addr);
        let new = NewSession { is_hairpin, ..new_session(flow, source, mapping, connection, generation) };
        let opened = self.insert(&new, now);
        if let (Err(_), Some(mapping)) = (opened, mapping) {
            self.mappings.release(mapping, now);
        }
        opened
    }

    fn translated_source(&mut self, flow: &NewFlow, now: Instant) -> Result<(Option<u32>, Endpoint), DropReason> {
        match flow.translated_source {
            Source::Fixed(addr) => Ok((None, Endpoint { addr, port: flow.source.port })),
            Source::Pool(pool) => {
                let mapping = self.mappings.acquire(pool, flow.protocol, flow.source, self.limits.ports, now)?;
                let outside = self.mappings.outside(mapping).ok_or(DropReason::PortsExhausted)?;
                Ok((Some(mapping), outside))
            }
        }
    }

    fn insert(&mut self, new: &NewSession, now: Instant) -> Result<SessionId, DropReason> {
        let at_office = self.sessions.at_office(new.protocol, new.office, new.office_remote);
        let at_cloud = self.sessions.at_cloud(new.attachment, new.protocol, new.cloud_local, new.cloud_remote);
        if at_office.is_some() || at_cloud.is_some() {
            return Err(DropReason::SessionConflict);
        }
        self.sessions.insert(new, now).map(SessionId).ok_or(DropReason::SessionTableFull)
    }

    /// Rewrite a packet of the session for the cloud: addresses, ports or identifier, checksums. Counts it, follows the TCP state,
    /// starts the timer anew. `inner` was parsed from `packet`, which is changed nowhere but in its time to live or MSS since.
    pub fn translate_to_cloud(&mut self, id: SessionId, packet: &mut [u8], inner: &Inner, now: Instant) {
        self.translate(Direction::OfficeToCloud, id, packet, inner, now);
    }

    /// Rewrite a packet of the session for the office, like [`Nat::translate_to_cloud`].
    pub fn translate_to_office(&mut self, id: SessionId, packet: &mut [u8], inner: &Inner, now: Instant) {
        self.translate(Direction::CloudToOffice, id, packet, inner, now);
    }

    fn translate(&mut self, direction: Direction, id: SessionId, packet: &mut [u8], inner: &Inner, now: Instant) {
        if let Some(rewrite) = self.sessions.pass(id.0, direction, inner, now) {
            let packet = &mut packet[..inner.total_len];
            // Ports and checksum stand in the first fragment, and the checksum changes by what changes there.
            if inner.is_later_fragment() {
                rewrite.apply_addresses(packet);
            } else {
                rewrite.apply_to_packet(packet, inner.protocol);
            }
            // The fragments of a datagram have got a number in common.
            let may_be_cut = !inner.dont_fragment && inner.fragment.is_none();
            if may_be_cut && self.session(id).mapping().is_some() {
                self.identifications.number(packet, rewrite.source, rewrite.destination, inner.protocol);
            }
        }
    }

    /// End sessions and quarantines that are due, looking at `budget` of them at most; returns how many sessions ended.
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        let mut ended = 0;
        for _ in 0..budget {
            match self.sessions.look_at_one(now) {
                Some(Some(index)) => {
                    self.remove(SessionId(index), now);
                    ended += 1;
                }
                Some(None) => {}
                None if self.mappings.expire_one(now) => {}
                None => break,
            }
        }
        ended
    }

    /// When [`Nat::expire`] next has something to look at, before which nothing ends; [`Instant::FAR_FUTURE`] where nothing lives.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.sessions.next_look().min(self.mappings.next_deadline())
    }

    /// Sessions alive.
    #[must_use]
    pub fn sessions_alive(&self) -> usize {
        self.sessions.len()
    }

    /// Mappings that sessions use; those in quarantine are not counted.
    #[must_use]
    pub fn mappings_alive(&self) -> usize {
        self.mappings.alive()
    }

    /// End all sessions and forget all mappings, quarantined ones too; pools stay. For a tenant that is removed: ports that a
    /// living tenant may use again at once must go through [`Nat::remove`].
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.mappings.clear();
    }

    /// The sessions from place `from` on (0, or [`SessionId::index`] + 1 of the last one seen), in the order of their places.
    pub fn rows(&self, from: u32) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter_from(from).map(|(index, session)| (SessionId(index), session))
    }
}

/// Entries of the two tables. Mappings also wait in quarantine: whatever was alive two minutes ago, and whatever was opened since.
fn capacities(limits: Limits) -> (usize, usize) {
    let sessions = limits.sessions.get() as usize;
    let per_second = limits.new_sessions_per_second.get() as usize;
    // One second more for the burst, one for times that are rounded up.
    (sessions, sessions + per_second * (QUARANTINE_SECONDS as usize + 2))
}

/// The state of the connection that the first packet opens, for TCP.
fn connection_of(opener: Direction, inner: &Inner) -> Result<Option<Connection>, DropReason> {
    match &inner.payload {
        _ if inner.is_later_fragment() => Err(DropReason::NoSession),
        Payload::Tcp(tcp) if inner.is_opening_syn() => Ok(Some(Connection::new(opener, tcp))),
        Payload::Tcp(_) => Err(DropReason::TcpNotSyn),
        Payload::Udp | Payload::IcmpEcho { request: true } => Ok(None),
        Payload::IcmpEcho { request: false } | Payload::Continued => Err(DropReason::NoSession),
        Payload::IcmpError { .. } | Payload::IcmpOther { .. } => Err(DropReason::IcmpTypeRefused),
    }
}

/// Put the four ends of a flow where they belong, whoever opened it.
fn new_session(flow: &NewFlow, source: Endpoint, mapping: Option<u32>, connection: Option<Connection>, generation: u32) -> NewSession {
    let destination = match flow.protocol {
        // An echo has one identifier for both ends.
        Protocol::Icmp => Endpoint::new(flow.translated_destination.addr, source.port),
        Protocol::Tcp | Protocol::Udp => flow.translated_destination,
    };
    let (office, office_remote, cloud_local, cloud_remote) = match flow.opened_by {
        Direction::OfficeToCloud => (flow.source, flow.destination, source, destination),
        Direction::CloudToOffice => (destination, source, flow.destination, flow.source),
    };
    NewSession {
        class: flow.class,
        rule: flow.rule,
        attachment: flow.attachment,
        protocol: flow.protocol,
        opened_by: flow.opened_by,
        begun_by: flow.begun_by,
        filtering: flow.filtering,
        is_hairpin: false,
        generation,
        office,
        office_remote,
        cloud_local,
        cloud_remote,
        mapping,
        connection,
    }
}

#[cfg(test)]
mod tests;
