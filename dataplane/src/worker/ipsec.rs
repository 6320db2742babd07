//! Classification of what comes to an IPsec endpoint (RFC 3948 section 2): ESP by its SPI, and IKE for the control plane.
//!
//! A worker never looks into an IKE message. What a stranger sends costs two looks at buckets; memory is taken only for what is handed
//! up. Messages that may begin something new have a bucket apart from those that name an SA of the relay, so that a flood of the one
//! keeps nobody from the other.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::rate::{Rate, TokenBucket};
use crate::router_config::{EndpointId, PortId};
use crate::time::Instant;
use crate::tunnel::handshake_limit::{SourceLimiter, Verdict};
use crate::wire::underlay;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::control::{Event, IkePort};
use crate::worker::crossings::ForeignOrigin;
use crate::worker::source::Source;
use crate::worker::{RING, Worker};

/// RFC 3948 section 2.2: what stands before an IKE message on port 4500, where ESP has its SPI.
pub(super) const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// RFC 3948 section 2.3: the whole payload of a NAT keepalive.
pub(super) const NAT_KEEPALIVE: [u8; 1] = [0xff];
/// RFC 7296 section 3.1.
const IKE_HEADER: usize = 28;

/// IKE messages of one source: a rekey of everything after a restart, in fragments (RFC 7383), and retransmissions.
const PER_SOURCE: Rate = Rate::per_second(100).with_burst(32);
/// Messages with no SPI of the relay in them, from everybody: what the control plane can answer, and a ring's worth at once.
const BEGINNINGS: Rate = Rate::per_second(20_000).with_burst(256);
/// All other messages.
const CONTINUATIONS: Rate = Rate::per_second(20_000).with_burst(512);
/// This much of the ring is for everything else that a worker has to say.
const RESERVED: usize = RING / 4;

/// How many IKE messages are handed up.
pub(super) struct PuntLimits {
    sources: SourceLimiter,
    beginnings: TokenBucket,
    continuations: TokenBucket,
}

impl PuntLimits {
    pub(super) fn new() -> Self {
        Self { sources: SourceLimiter::with_rate(PER_SOURCE), beginnings: TokenBucket::FULL, continuations: TokenBucket::FULL }
    }

    fn allow(&mut self, source: SocketAddrV4, message: &[u8], now: Instant) -> bool {
        if self.sources.take(SocketAddr::V4(source), now) != Verdict::Allowed {
            return false;
        }
        // RFC 7296 section 3.1: the responder's SPI is zero in the first message of an initiator.
        if message[8..16] == [0; 8] { self.beginnings.take(BEGINNINGS, now) } else { self.continuations.take(CONTINUATIONS, now) }
    }
}

impl Worker {
    /// A UDP datagram to port 500 or 4500 of an IPsec endpoint. `packet` is its payload.
    pub(super) fn classify_ipsec(
        &mut self,
        id: PortId,
        at: EndpointId,
        local: IkePort,
        datagram: underlay::Datagram,
        mut packet: Packet,
        now: Instant,
    ) -> Option<Arrival> {
        let underlay::Datagram { source, ecn, payload_len, .. } = datagram;
        if local == IkePort::P4500 {
            match packet.bytes().first_chunk::<4>() {
                _ if packet.bytes() == NAT_KEEPALIVE => {
                    self.ledger.absorbed(packet);
                    return None;
                }
                None => return self.refuse(id, packet, DropReason::TunnelMessageMalformed),
                Some(&NON_ESP_MARKER) => {
                    let inside = packet.set_range(NON_ESP_MARKER.len(), payload_len - NON_ESP_MARKER.len());
                    debug_assert!(inside, "the marker was read from the packet");
                }
                Some(_) => return self.classify_esp(id, at, source, ecn, packet),
            }
        }
        self.punt_ike(id, at, local, source, packet, now);
        None
    }

    /// IP protocol 50. `packet` is its payload; a source port of 0 says that there was no UDP.
    pub(super) fn classify_plain_esp(&mut self, id: PortId, at: EndpointId, source: Ipv4Addr, ecn: u8, packet: Packet) -> Option<Arrival> {
        self.classify_esp(id, at, SocketAddrV4::new(source, 0), ecn, packet)
    }

    /// An ESP packet, whose SPI shows its owner.
    fn classify_esp(&mut self, id: PortId, at: EndpointId, source: SocketAddrV4, ecn: u8, packet: Packet) -> Option<Arrival> {
        let Some(spi) = packet.bytes().first_chunk().map(|spi| u32::from_be_bytes(*spi)) else {
            return self.refuse(id, packet, DropReason::TunnelMessageMalformed);
        };
        match self.steering.other_by_spi(spi) {
            None => self.arrival_of_sa(id, at, spi, source, ecn, packet),
            Some(owner) => {
                self.hand_over(owner, packet, id, ForeignOrigin::Esp { spi, source, ecn });
                None
            }
        }
    }

    /// As [`Self::arrival_of_sa`], for a packet that another worker received.
    pub(super) fn arrival_of_foreign_sa(&mut self, id: PortId, spi: u32, source: SocketAddrV4, ecn: u8, packet: Packet) -> Option<Arrival> {
        match self.ipsec_at[usize::from(id.0)] {
            Some(at) => self.arrival_of_sa(id, at, spi, source, ecn, packet),
            None => self.refuse(id, packet, DropReason::NoListener),
        }
    }

    fn arrival_of_sa(&mut self, id: PortId, at: EndpointId, spi: u32, source: SocketAddrV4, ecn: u8, packet: Packet) -> Option<Arrival> {
        match self.spis.find(at, spi) {
            Some(key) => Some(Arrival { packet, origin: Origin::Office { key, endpoint: at, source: Source::V4(source), ecn } }),
            None => self.refuse(id, packet, DropReason::EspSpiUnknown),
        }
    }

    /// Hand an IKE message up to the control plane, if it is within the limits and there is room.
    fn punt_ike(&mut self, id: PortId, endpoint: EndpointId, local_port: IkePort, from: SocketAddrV4, packet: Packet, now: Instant) {
        if packet.len() < IKE_HEADER {
            return self.drop_at_port(id, packet, DropReason::TunnelMessageMalformed);
        }
        if self.events.slots() <= RESERVED {
            return self.drop_at_port(id, packet, DropReason::IkePuntFull);
        }
        if !self.punt_limits.allow(from, packet.bytes(), now) {
            return self.drop_at_port(id, packet, DropReason::IkePuntLimited);
        }
        let told = self.tell_control_plane(Event::Ike { endpoint, local_port, from, message: packet.bytes().into() });
        debug_assert!(told.is_ok(), "the ring had room");
        self.ports[usize::from(id.0)].counters.ike_punted.add(1);
        self.ledger.absorbed(packet);
    }
}
