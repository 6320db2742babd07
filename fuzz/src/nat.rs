//! One tenant's translation, through lives of flows: no two flows meet, no port is given out too early, nothing ends too early or too late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;

use dataplane::drop_reason::DropReason;
use dataplane::nat::{Direction, Endpoint, Nat, NewFlow, PoolId, PoolKey, PoolKind, RuleId, Session, SessionId, Source};
use dataplane::router_config::{AttachmentId, Filtering, Limits, TrafficClass};
use dataplane::simulation::packets::{self, Segment};
use dataplane::time::Instant;
use dataplane::wire::inner::{Inner, Protocol};
use ipnetwork::Ipv4Network;

use crate::Input;
use crate::plain::{HEADER, checksum, transport_is_valid};

const GLOBAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
const PRINTER_SEEN_FROM: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
const PRINTER_IN_CLOUD: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 30);
const ATTACHMENT: AttachmentId = AttachmentId(0);
const KEY: PoolKey = PoolKey { class: TrafficClass::MyNumber, attachment: ATTACHMENT, kind: PoolKind::Office };
/// Limits of sessions stay small, so that tables fill.
const MOST_SESSIONS: u8 = 24;
const MOST_STEPS: usize = 200;
/// RFC 4787 REQ-5, and the relay's own quarantine, in seconds.
const UDP_SECONDS: u64 = 300;
const QUARANTINE_SECONDS: u64 = 120;

/// An inside or outside end of a mapping.
type End = (Protocol, Endpoint);
type Udp = (Endpoint, Endpoint);

/// A tenant's table, and beside it all that happened.
struct Life {
    nat: Nat,
    seconds: u64,
    pool: Vec<Ipv4Network>,
    pool_id: PoolId,
    /// So many sessions may be there.
    most: usize,
    /// Whose outside ends were whose when somebody looked last.
    mapped: BTreeMap<End, Endpoint>,
    /// Outside ends that are free, since when, and whose they were.
    freed: BTreeMap<End, (u64, Endpoint)>,
    /// When a packet of a UDP session came last.
    udp: BTreeMap<Udp, u64>,
}

/// Flows, answers, time and changes, step by step.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut life = Life::new(input.u8());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            return;
        }
        life.step(&mut input);
        life.look();
    }
}

fn limits(sessions: u8) -> Limits {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    let ports = number(if sessions & 0x20 == 0 { 1_000 } else { 4 });
    Limits { sessions: number(u32::from(sessions % MOST_SESSIONS) + 1), ports, new_sessions_per_second: number(20) }
}

fn pool(addresses: u8) -> Vec<Ipv4Network> {
    let text = ["10.254.1.8/32", "10.254.1.8/31", "10.254.1.9/32", "10.254.1.8/30"][usize::from(addresses % 4)];
    vec![text.parse().expect("a prefix")]
}

impl Life {
    fn new(how: u8) -> Self {
        let (limits, pool) = (limits(how), pool(how >> 6));
        let mut nat = Nat::new(limits, 42);
        let pool_id = nat.pool(KEY, &pool, Instant::from_secs(1_000));
        let most = limits.sessions.get() as usize;
        let (mapped, freed, udp) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { nat, seconds: 1_000, pool, pool_id, most, mapped, freed, udp }
    }

    fn now(&self) -> Instant {
        Instant::from_secs(self.seconds)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0..4 => self.office_sends(input),
            4 => self.printer_is_called(input),
            5 => {
                let seconds = u64::from(input.u8());
                self.seconds += if seconds < 128 { seconds } else { (seconds - 127) * 60 };
                self.nat.expire(self.now(), usize::MAX);
            }
            6 => {
                let rows: Vec<SessionId> = self.nat.rows(0).map(|(id, _)| id).collect();
                if let Some(id) = rows.get(usize::from(input.u8()) % rows.len().max(1)) {
                    self.nat.remove(*id, self.now());
                    self.forget_ended();
                }
            }
            _ => self.operator_changes(input.u8()),
        }
    }

    /// What ended because somebody wanted it to did not end too early. A TCP session between the same ends is another one.
    fn forget_ended(&mut self) {
        let udp = self.nat.rows(0).map(|(_, session)| session).filter(|session| session.protocol == Protocol::Udp);
        let rows: Vec<Udp> = udp.map(|session| (session.office, session.office_remote)).collect();
        self.udp.retain(|session, _| rows.contains(session));
    }

    fn operator_changes(&mut self, how: u8) {
        if how & 1 == 0 {
            let limits = limits(how >> 1);
            self.nat.set_limits(limits);
            self.most = self.nat.sessions_alive().max(limits.sessions.get() as usize);
            return;
        }
        self.pool = pool(how >> 1);
        let (now, pool) = (self.now(), &self.pool);
        self.pool_id = self.nat.pool(KEY, pool, now);
        self.nat.retain_pools(&[self.pool_id], now);
        let is_in_pool = |end: &Endpoint| pool.iter().any(|prefix| prefix.contains(end.addr));
        self.freed.retain(|(_, outside), _| is_in_pool(outside));
        self.mapped.retain(|_, outside| is_in_pool(outside));
        self.forget_ended();
    }

    fn office_sends(&mut self, input: &mut Input<'_>) {
        let (what, who, numbers) = (input.u8(), input.u8(), input.u8());
        let source = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 16 + (who & 3)), 40_000 + u16::from((who >> 2) & 3));
        let remote = SocketAddrV4::new(GLOBAL, 443 + u16::from((who >> 4) & 1));
        let packet = packet(what, numbers, source, remote, true);
        let inner = Inner::parse(&packet).expect("hosts send whole packets");
        let id = match self.nat.find_from_office(&inner) {
            Some(id) => id,
            None => match self.open(&self.flow_of(&inner), &inner) {
                Some(id) => id,
                None => return,
            },
        };
        let session = self.ends_of(id);
        let mut translated = packet.clone();
        let now = self.now();
        self.nat.translate_to_cloud(id, &mut translated, &inner, now);
        let there = self.arrives(&translated);
        assert_eq!((there.destination, Endpoint::new(there.source, there.source_port)), (PRIVATE, session.cloud_local));
        if inner.protocol == Protocol::Udp {
            self.udp.insert((session.office, session.office_remote), self.seconds);
        }
        if what & 0x80 != 0 {
            self.cloud_answers(what, numbers, &there, &inner, id);
        }
    }

    fn cloud_answers(&mut self, what: u8, numbers: u8, there: &Inner, sent: &Inner, id: SessionId) {
        let from = SocketAddrV4::new(there.destination, there.destination_port);
        let to = SocketAddrV4::new(there.source, there.source_port);
        let mut answer = packet((what & 3) | (numbers & 0x18), numbers, from, to, false);
        let inner = Inner::parse(&answer).expect("hosts send whole packets");
        let found = self.nat.find_from_cloud(ATTACHMENT, &inner);
        // RFC 9293 3.5: only while both sides may be opening does a bare SYN of the side that did not open belong to the connection.
        if inner.is_opening_syn() && found.is_none() {
            return;
        }
        assert_eq!(found, Some(id), "an answer finds its session");
        let now = self.now();
        self.nat.translate_to_office(id, &mut answer, &inner, now);
        let here = self.arrives(&answer);
        assert_eq!((here.source, here.destination), (sent.destination, sent.source));
        assert_eq!((here.source_port, here.destination_port), (sent.destination_port, sent.source_port));
    }

    /// A cloud host opens a flow to the office's printer, whose source stays one address.
    fn printer_is_called(&mut self, input: &mut Input<'_>) {
        let (what, who, numbers) = (input.u8(), input.u8(), input.u8());
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 20 + (who & 3)), 50_000 + u16::from((who >> 2) & 3));
        let packet = packet(what, numbers, from, SocketAddrV4::new(PRINTER_IN_CLOUD, 9_100), true);
        let inner = Inner::parse(&packet).expect("hosts send whole packets");
        if self.nat.find_from_cloud(ATTACHMENT, &inner).is_none() {
            let (source, destination) = ends(&inner);
            let flow = NewFlow {
                opened_by: Direction::CloudToOffice,
                begun_by: Direction::CloudToOffice,
                rule: RuleId::Callback(0),
                source,
                destination,
                translated_destination: Endpoint::new(Ipv4Addr::new(198, 51, 100, 17), destination.port),
                translated_source: Source::Fixed(PRINTER_SEEN_FROM),
                ..self.flow_of(&inner)
            };
            self.open(&flow, &inner);
        }
    }

    fn flow_of(&self, inner: &Inner) -> NewFlow {
        let (source, destination) = ends(inner);
        NewFlow {
            opened_by: Direction::OfficeToCloud,
            begun_by: Direction::OfficeToCloud,
            filtering: Filtering::default(),
            class: TrafficClass::MyNumber,
            rule: RuleId::Service(0),
            attachment: ATTACHMENT,
            protocol: inner.protocol,
            source,
            destination,
            translated_destination: Endpoint::new(PRIVATE, destination.port),
            translated_source: Source::Pool(self.pool_id),
        }
    }

    fn open(&mut self, flow: &NewFlow, inner: &Inner) -> Option<SessionId> {
        let (alive, now) = (self.nat.sessions_alive(), self.now());
        match self.nat.open(flow, 1, inner, now) {
            Ok(id) => Some(id),
            Err(reason) => {
                let full = reason == DropReason::SessionTableFull;
                assert!(!full || alive > 0, "an empty table is not full");
                let said = [
                    DropReason::TcpNotSyn,
                    DropReason::NoSession,
                    DropReason::SessionRateLimited,
                    DropReason::SessionConflict,
                    DropReason::PortLimitReached,
                    DropReason::PortsExhausted,
                ];
                assert!(full || said.contains(&reason), "{reason:?}");
                None
            }
        }
    }

    fn ends_of(&self, id: SessionId) -> Ends {
        Ends::of(self.nat.session(id))
    }

    fn arrives(&self, packet: &[u8]) -> Inner {
        assert!(checksum(&packet[..HEADER]) == 0 && transport_is_valid(packet), "{packet:02x?}");
        Inner::parse(packet).expect("a translated packet can be read")
    }

    /// What holds after every step.
    fn look(&mut self) {
        self.nat.expire(self.now(), usize::MAX);
        let rows: Vec<Ends> = self.nat.rows(0).map(|(_, session)| Ends::of(session)).collect();
        assert!(rows.len() == self.nat.sessions_alive() && rows.len() <= self.most, "{} of {}", rows.len(), self.most);
        let mut mapped: BTreeMap<End, Endpoint> = BTreeMap::new();
        let mut owners: BTreeMap<End, Endpoint> = BTreeMap::new();
        let mut at_cloud = BTreeSet::new();
        for row in &rows {
            assert!(at_cloud.insert((row.protocol, row.cloud_local, row.cloud_remote)), "two flows are one in the cloud");
            if row.opened_by == Direction::OfficeToCloud {
                assert!(self.pool.iter().any(|prefix| prefix.contains(row.cloud_local.addr)), "an address of the pool");
                let outside = *mapped.entry((row.protocol, row.office)).or_insert(row.cloud_local);
                assert_eq!(outside, row.cloud_local, "one inside end is one outside end (RFC 4787 REQ-1)");
                let owner = *owners.entry((row.protocol, row.cloud_local)).or_insert(row.office);
                assert_eq!(owner, row.office, "one outside end is one inside end");
            }
        }
        assert_eq!(mapped.len(), self.nat.mappings_alive());
        self.quarantine(&mapped, &owners);
        self.mapped = mapped;
        let (now, alive) = (self.seconds, |session: &Udp| {
            rows.iter().any(|row| row.protocol == Protocol::Udp && (row.office, row.office_remote) == *session)
        });
        self.udp.retain(|session, last| {
            assert_eq!(alive(session), *last + UDP_SECONDS > now, "a UDP session ends in its second");
            alive(session)
        });
    }

    fn quarantine(&mut self, mapped: &BTreeMap<End, Endpoint>, owners: &BTreeMap<End, Endpoint>) {
        for ((protocol, inside), outside) in &self.mapped {
            if mapped.get(&(*protocol, *inside)) != Some(outside) {
                self.freed.insert((*protocol, *outside), (self.seconds, *inside));
            }
        }
        for (outside, owner) in owners {
            if let Some((since, before)) = self.freed.remove(outside) {
                assert!(*owner == before || self.seconds >= since + QUARANTINE_SECONDS, "{outside:?} was free for too short a time");
            }
        }
    }
}

/// What a session is known by.
struct Ends {
    protocol: Protocol,
    opened_by: Direction,
    office: Endpoint,
    office_remote: Endpoint,
    cloud_local: Endpoint,
    cloud_remote: Endpoint,
}

impl Ends {
    fn of(session: &Session) -> Self {
        let Session { protocol, office, office_remote, cloud_local, cloud_remote, .. } = *session;
        Self { protocol, opened_by: session.opened_by(), office, office_remote, cloud_local, cloud_remote }
    }
}

fn ends(inner: &Inner) -> (Endpoint, Endpoint) {
    (Endpoint::new(inner.source, inner.source_port), Endpoint::new(inner.destination, inner.destination_port))
}

/// A packet as a host sends it; who answers sends an echo reply.
fn packet(what: u8, numbers: u8, from: SocketAddrV4, to: SocketAddrV4, asks: bool) -> Vec<u8> {
    let stream = (u32::from(numbers & 0x0f), u32::from(numbers >> 4));
    let segment = [Segment::Syn(Some(1_460)), Segment::Ack, Segment::Fin, Segment::Rst][usize::from((what >> 3) & 3)];
    match what & 3 {
        0 => packets::udp(from, to, b"datagram"),
        1 if asks => packets::ping(*from.ip(), *to.ip(), from.port(), b"echo"),
        1 => packets::pong(*from.ip(), *to.ip(), to.port(), b"echo"),
        _ => packets::tcp_at(from, to, segment, stream, if matches!(segment, Segment::Syn(_)) { b"" } else { b"segment" }),
    }
}
