//! What a tenant's translation does, seen from outside: packets in, packets and drop reasons out.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use super::*;
use crate::router_config::{Filtering, TrafficClass};
use crate::wire::samples::{self, End};

mod filtering;
mod icmp;
mod let_in;
mod lifetimes;
mod model;
mod pools;
mod rewriting;

const OFFICE: [u8; 4] = [198, 51, 100, 17];
const GLOBAL: [u8; 4] = [203, 0, 113, 10];
const PRIVATE: [u8; 4] = [10, 10, 0, 10];
const POOL: [u8; 4] = [10, 254, 1, 8];
const ATTACHMENT: AttachmentId = AttachmentId(0);

/// One tenant's translation with the rules of the example configuration in brief: the global address stands for the private one,
/// and one class's sources come from one pool.
struct World {
    nat: Nat,
    pool: PoolId,
    filtering: Filtering,
    now: Instant,
}

fn limits(sessions: u32, per_second: u32) -> Limits {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    Limits { sessions: number(sessions), ports: number(sessions), new_sessions_per_second: number(per_second) }
}

fn network(text: &str) -> Ipv4Network {
    text.parse().expect("a prefix")
}

fn office_pool() -> PoolKey {
    PoolKey { class: TrafficClass::MyNumber, attachment: ATTACHMENT, kind: PoolKind::Office }
}

fn end(end: End) -> Endpoint {
    Endpoint::new(end.0.into(), end.1)
}

/// Give a translated packet the identification that it was sent with: only tests of identifications look at them.
fn number_again(packet: &mut [u8], number: &[u8]) {
    packet[4..6].copy_from_slice(number);
    samples::mend_header_checksum(packet);
}

impl World {
    fn new() -> Self {
        Self::with_limits(limits(1_000, 1_000))
    }

    fn with_limits(limits: Limits) -> Self {
        let mut nat = Nat::new(limits, 42);
        let pool = nat.pool(office_pool(), &[network("10.254.1.8/32")], Instant::ZERO);
        nat.remember_contacts();
        Self { nat, pool, filtering: Filtering::AddressDependent, now: Instant::from_secs(1_000) }
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.now = self.now + crate::time::Duration::from_secs(seconds);
        self.nat.expire(self.now, usize::MAX);
    }

    /// The flow that the rules make of an office packet: the destination moves from `GLOBAL` to `PRIVATE`, the port stays.
    fn flow(&self, inner: &Inner) -> NewFlow {
        let (source, destination) = sessions::ends(inner);
        let translated = if destination.addr == Ipv4Addr::from(GLOBAL) { PRIVATE.into() } else { destination.addr };
        NewFlow {
            opened_by: Direction::OfficeToCloud,
            begun_by: Direction::OfficeToCloud,
            filtering: self.filtering,
            class: TrafficClass::MyNumber,
            rule: RuleId::Service(0),
            attachment: ATTACHMENT,
            protocol: inner.protocol,
            source,
            destination,
            translated_destination: Endpoint::new(translated, destination.port),
            translated_source: Source::Pool(self.pool),
        }
    }

    /// The flow that a callback makes of a cloud packet to any port of `POOL`'s neighbour .30: it goes to `OFFICE`, seen from .20.
    fn callback(inner: &Inner, source: Source) -> NewFlow {
        let (from, to) = sessions::ends(inner);
        NewFlow {
            opened_by: Direction::CloudToOffice,
            begun_by: Direction::CloudToOffice,
            filtering: Filtering::AddressAndPortDependent,
            class: TrafficClass::MyNumber,
            rule: RuleId::Callback(0),
            attachment: ATTACHMENT,
            protocol: inner.protocol,
            source: from,
            destination: to,
            translated_destination: Endpoint::new(OFFICE.into(), to.port),
            translated_source: source,
        }
    }

    /// Send a packet of the office; returns it as the cloud gets it.
    fn office_sends(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let inner = Inner::parse(packet)?;
        let id = match self.nat.find_from_office(&inner) {
            Some(id) => id,
            None => self.nat.open(&self.flow(&inner), 1, &inner, self.now)?,
        };
        let mut packet = packet.to_vec();
        let number = packet[4..6].to_vec();
        self.nat.translate_to_cloud(id, &mut packet, &inner, self.now);
        samples::assert_checksums(&packet);
        number_again(&mut packet, &number);
        Ok(packet)
    }

    /// Send a packet of the cloud, which opens nothing; returns it as the office gets it.
    fn cloud_sends(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let inner = Inner::parse(packet)?;
        let id = self.nat.find_from_cloud(ATTACHMENT, &inner).ok_or(DropReason::NoSession)?;
        let mut packet = packet.to_vec();
        let number = packet[4..6].to_vec();
        self.nat.translate_to_office(id, &mut packet, &inner, self.now);
        samples::assert_checksums(&packet);
        number_again(&mut packet, &number);
        Ok(packet)
    }

    /// The flow that the rules make of a cloud packet to a mapping: what the office would open by sending the other way.
    fn flow_towards(&self, inside: Endpoint, remote: Endpoint) -> NewFlow {
        let seen = if remote.addr == Ipv4Addr::from(PRIVATE) { GLOBAL.into() } else { remote.addr };
        NewFlow {
            opened_by: Direction::OfficeToCloud,
            begun_by: Direction::CloudToOffice,
            filtering: self.filtering,
            class: TrafficClass::MyNumber,
            rule: RuleId::Service(0),
            attachment: ATTACHMENT,
            protocol: Protocol::Udp,
            source: inside,
            destination: Endpoint::new(seen, remote.port),
            translated_destination: remote,
            translated_source: Source::Pool(self.pool),
        }
    }

    /// Send a packet of the cloud, which may begin a session where filtering lets it; returns it as the office gets it.
    fn cloud_begins(&mut self, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let inner = Inner::parse(packet)?;
        if self.nat.find_from_cloud(ATTACHMENT, &inner).is_none() {
            let (class, inside) = self.nat.inside_of(ATTACHMENT, &inner).ok_or(DropReason::NoSession)?;
            assert_eq!(class, TrafficClass::MyNumber);
            let flow = NewFlow { protocol: inner.protocol, ..self.flow_towards(inside, sessions::ends(&inner).0) };
            if !self.nat.lets_in(&flow) {
                return Err(DropReason::NoSession);
            }
            self.nat.open(&flow, 1, &inner, self.now)?;
        }
        self.cloud_sends(packet)
    }

    /// Send a UDP datagram from this office port; returns the pool endpoint it left from.
    fn udp_source(&mut self, from: End, to: End) -> Result<Endpoint, DropReason> {
        let packet = self.office_sends(&samples::udp(from, to, b"x"))?;
        let inner = Inner::parse(&packet)?;
        Ok(Endpoint::new(inner.source, inner.source_port))
    }

    /// Open a TCP connection from `OFFICE` port 40,000 to `GLOBAL` port 443; returns the pool port. The office's sequence numbers
    /// start at 1,000 and the cloud's at 5,000; both have sent nothing but their SYN.
    fn tcp_established(&mut self) -> u16 {
        let syn = self.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "S", (1_000, 0), &[])).expect("opens");
        let port = Inner::parse(&syn).expect("valid").source_port;
        self.cloud_sends(&samples::tcp((PRIVATE, 443), (POOL, port), "SA", (5_000, 1_001), &[])).expect("answers");
        self.office_sends(&samples::tcp((OFFICE, 40_000), (GLOBAL, 443), "A", (1_001, 5_001), &[])).expect("acknowledges");
        assert_eq!(self.only_session().state_label(), "established");
        port
    }

    fn only_session(&self) -> &Session {
        let mut rows = self.nat.rows(0);
        let (_, session) = rows.next().expect("a session");
        assert!(rows.next().is_none(), "only one session");
        session
    }

    fn counts(&self) -> (usize, usize) {
        (self.nat.sessions_alive(), self.nat.mappings_alive())
    }
}
