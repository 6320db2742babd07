//! What crosses between workers: a frame on its way to the owner of its tenant, one on its way to a port, a frame of memory on its way
//! home, and what neighbours told.
//!
//! A frame is handed over once: where the owner does not know it (it works with another configuration, for a moment), it is lost there
//! by name. Numbers of tenants mean nothing to another worker, so a crossing carries what the frame itself says.

use std::net::SocketAddrV4;

use crate::drop_reason::DropReason;
use crate::link::{ArpOutcome, DiscoveryOutcome};
use crate::nic::BATCH;
use crate::packet::Packet;
use crate::router_config::{PortId, Vlan, WorkerId};
use crate::time::Instant;
use crate::wire::ethernet::{self, MacAddr};
use crate::worker::classify::{Arrival, Envelope, Origin};
use crate::worker::handoff::{Crossing, Heard};
use crate::worker::handshakes::{Handshake, Named};
use crate::worker::port::{self, Port};
use crate::worker::source::Source;
use crate::worker::{MOST_BATCHES, Worker};

/// What the way in has learnt of a frame that another worker owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ForeignOrigin {
    /// A tunnel's message, without its outer headers.
    Tunnel { index: u32, envelope: Envelope },
    /// An ESP packet, without its outer headers; a source port of 0 says that there was no UDP.
    Esp { spi: u32, source: SocketAddrV4, ecn: u8 },
    /// An answer to a handshake, which the listener let through.
    Response { index: u32, envelope: Envelope },
    /// A handshake that the listener let through; the public key that it names stands behind the message.
    Initiation { source: Source, local_port: u16 },
    /// A packet on a tenant's VLAN, without its Ethernet header.
    Vlan { vlan: Vlan, station: MacAddr },
    /// An ARP message on a tenant's VLAN, without its Ethernet header.
    Arp { vlan: Vlan, station: MacAddr },
    /// An IPv6 packet on a tenant's VLAN, without its Ethernet header.
    Ipv6 { vlan: Vlan, station: MacAddr },
}

impl Worker {
    /// Give a frame to the worker that owns its tenant.
    pub(super) fn hand_over(&mut self, to: WorkerId, packet: Packet, port: PortId, origin: ForeignOrigin) {
        if self.links.stage(to, Crossing { packet, port, origin }) {
            self.push_to_others();
        }
    }

    /// Give a handshake to the worker that owns the tenant with this public key.
    pub(super) fn hand_over_initiation(&mut self, to: WorkerId, handshake: Handshake, peer: &[u8; 32]) {
        let Handshake { mut packet, port, source, local_port, .. } = handshake;
        let len = packet.len();
        let grown = packet.set_range(0, len + peer.len());
        debug_assert!(grown, "a handshake is short");
        packet.bytes_mut()[len..].copy_from_slice(peer);
        self.hand_over(to, packet, port, ForeignOrigin::Initiation { source: Source::of(source), local_port });
    }

    /// Push what is staged for the others.
    fn push_to_others(&mut self) {
        let Self { links, ledger, ports, .. } = self;
        let handed = links.push(|port, packet| {
            ledger.counters.hand_off_full.add(packet.segments());
            ledger.dropped(packet, DropReason::HandOffFull, &ports[usize::from(port.0)].counters.drops);
        });
        ledger.counters.handed_over.add(handed);
    }

    /// Let the others have what this round made for them, and wake those who sleep.
    pub(super) fn serve_others(&mut self) {
        if self.links.workers() > 1 {
            self.push_to_others();
            self.links.send_home(&mut self.ledger.frames);
            self.links.rouse();
        }
    }

    /// Take what the others have for this worker: frames of memory, news, frames to transmit, and frames that it owns, which wait for
    /// their tenants' turns. Returns how much that was, frames of memory not counted.
    pub(super) fn take_over(&mut self, now: Instant) -> usize {
        if self.links.workers() == 1 {
            return 0;
        }
        self.links.welcome(&mut self.ledger.frames);
        let ports = self.ports.iter_mut().zip(&self.access);
        let mut taken: usize = ports.map(|(port, access)| port.take_from_others(access.is_some(), &mut self.ledger)).sum();
        while let Some((port, heard)) = self.links.news() {
            taken += 1;
            self.hear(port, &heard, now);
        }
        for from in 0..self.links.workers() {
            for _ in 0..MOST_BATCHES {
                let crossings = self.take_crossings(from, now);
                taken += crossings;
                if crossings < BATCH {
                    break;
                }
            }
        }
        taken
    }

    /// A batch of frames from one other worker.
    fn take_crossings(&mut self, from: usize, now: Instant) -> usize {
        let mut crossings = std::mem::take(&mut self.crossings);
        self.links.arrivals(from, &mut crossings);
        let taken = crossings.len();
        for crossing in crossings.drain(..) {
            self.ledger.counters.taken_over.add(crossing.packet.segments());
            if let Some(arrival) = self.receive_crossing(crossing, now) {
                self.admit(arrival);
            }
        }
        self.crossings = crossings;
        taken
    }

    /// As `classify`, for a frame of which another worker has read what it could.
    fn receive_crossing(&mut self, Crossing { mut packet, port: id, origin }: Crossing, now: Instant) -> Option<Arrival> {
        match origin {
            ForeignOrigin::Tunnel { index, envelope } => self.arrival_of_tunnel(id, index, envelope, packet),
            ForeignOrigin::Esp { spi, source, ecn } => self.arrival_of_foreign_sa(id, spi, source, ecn, packet),
            ForeignOrigin::Vlan { vlan, station } => match self.attachments.get((id, vlan)) {
                Some((tenant, attachment)) => Some(Arrival { packet, origin: Origin::Cloud { tenant, attachment, station } }),
                None => self.refuse(id, packet, DropReason::VlanUnknown),
            },
            ForeignOrigin::Arp { vlan, station } => {
                match self.attachments.get((id, vlan)) {
                    Some((tenant, attachment)) => self.arp_from_cloud(tenant, attachment, packet, station, now),
                    None => self.drop_at_port(id, packet, DropReason::VlanUnknown),
                }
                None
            }
            ForeignOrigin::Ipv6 { vlan, station } => {
                match self.attachments.get((id, vlan)) {
                    Some((tenant, attachment)) => self.ipv6_from_cloud(tenant, attachment, packet, station, now),
                    None => self.drop_at_port(id, packet, DropReason::VlanUnknown),
                }
                None
            }
            ForeignOrigin::Response { index, envelope: Envelope { source, local_port, .. } } => {
                let source = source.address(&mut packet);
                self.wait_for_turn(Handshake { packet, port: id, source, local_port, named: Named::Index(index) });
                None
            }
            ForeignOrigin::Initiation { source, local_port } => {
                self.receive_initiation(id, source, local_port, packet);
                None
            }
        }
    }

    fn receive_initiation(&mut self, port: PortId, source: Source, local_port: u16, mut packet: Packet) {
        let Some((message, peer)) = packet.bytes().split_last_chunk::<32>().map(|(message, peer)| (message.len(), *peer)) else {
            return self.drop_at_port(port, packet, DropReason::TunnelMessageMalformed);
        };
        let shortened = packet.set_range(0, message);
        debug_assert!(shortened, "shorter than it was");
        let source = source.address(&mut packet);
        self.wait_for_turn(Handshake { packet, port, source, local_port, named: Named::Peer(peer) });
    }

    /// Another worker got a message about neighbours on an access network: what it answered or asked is worth the same here.
    fn hear(&mut self, id: PortId, heard: &Heard, now: Instant) {
        let port = &mut self.ports[usize::from(id.0)];
        let Some(interface) = &mut self.access[usize::from(id.0)] else { return };
        // Whoever asked the relay has been answered by the worker that was asked.
        let resolved = match heard {
            Heard::Arp(arp) => match interface.receive_arp(arp, port.mac, now) {
                Ok(ArpOutcome::Resolved(station, held)) => Some((station, held, ethernet::IPV4)),
                _ => None,
            },
            Heard::Discovery(message, station) => {
                let ipv6 = interface.ipv6.as_mut();
                match ipv6.map(|ipv6| ipv6.discover(message, *station, port.mac, now)) {
                    Some(Ok(DiscoveryOutcome::Resolved(station, held))) => Some((station, held, ethernet::IPV6)),
                    _ => None,
                }
            }
        };
        if let Some((station, held, ethertype)) = resolved {
            port::deliver_held(port, interface, station, held, ethertype, &mut self.ledger);
        }
    }

    /// Whether this worker may sleep. From then on the others wake it; [`Self::wake_up`] ends that.
    pub fn may_sleep(&mut self) -> bool {
        // A worker that has not even the frames for a batch waits for those that come home.
        let hungry = self.ledger.frames.free() < 2 * BATCH;
        self.links.workers() == 1 || (self.links.lie_down(hungry) && self.ports.iter().all(Port::others_have_nothing))
    }

    /// The worker is awake.
    pub fn wake_up(&mut self) {
        self.links.get_up();
    }
}
