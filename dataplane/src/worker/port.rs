//! A port: the NIC, its transmit queue of this batch, and the way of a packet from its next hop onto the wire.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::counters::{DropCounters, PortCounters};
use crate::drop_reason::DropReason;
use crate::link::{Interface, Resolution};
use crate::nic::{BATCH, Nic};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, MacAddr};
use crate::worker::ledger::Ledger;

/// One NIC as the worker uses it.
pub(super) struct Port {
    pub(super) nic: Box<dyn Nic>,
    pub(super) mac: MacAddr,
    pub(super) counters: Arc<PortCounters>,
    queue: Vec<Packet>,
}

impl Port {
    pub(super) fn new(nic: Box<dyn Nic>, counters: Arc<PortCounters>) -> Self {
        let mac = MacAddr(nic.description().mac);
        Self { nic, mac, counters, queue: Vec::with_capacity(BATCH) }
    }

    /// Put an Ethernet header on `packet` and queue it.
    fn send(&mut self, mut packet: Packet, interface: &Interface, station: MacAddr, ethertype: u16, ledger: &mut Ledger) {
        if !ethernet::push(&mut packet, interface.vlan, self.mac, station, ethertype) {
            return ledger.dropped(packet, DropReason::FrameTooBig, &self.counters.drops);
        }
        if self.queue.len() == BATCH {
            self.flush(ledger);
        }
        self.queue.push(packet);
    }

    /// Queue an ARP message of the relay's own.
    pub(super) fn send_arp(&mut self, arp: &Arp, station: MacAddr, interface: &Interface, ledger: &mut Ledger) {
        let Some(frame) = ledger.frames.take() else { return };
        match Packet::copied(frame, &arp.bytes()) {
            Ok(packet) => {
                ledger.generated();
                self.send(packet, interface, station, ethernet::ARP, ledger);
            }
            Err(frame) => ledger.frames.put(frame),
        }
    }

    /// Hand the queue to the NIC; what it has no room for is lost.
    pub(super) fn flush(&mut self, ledger: &mut Ledger) {
        if self.queue.is_empty() {
            return;
        }
        let (queued, bytes) = (self.queue.len(), total_bytes(&self.queue));
        let refused_before = self.nic.transmit_refused();
        self.nic.transmit(&mut ledger.frames, &mut self.queue);
        let refused = self.nic.transmit_refused() - refused_before;
        let sent = (queued - self.queue.len()) as u64 - refused;
        self.counters.transmitted.add(sent, bytes - total_bytes(&self.queue));
        ledger.transmitted(sent);
        ledger.lost(refused, DropReason::TransmitRefused, &self.counters.drops);
        for packet in self.queue.drain(..) {
            ledger.dropped(packet, DropReason::TransmitQueueFull, &self.counters.drops);
        }
    }
}

/// Whose loss it is when a packet does not leave.
#[derive(Clone, Copy)]
pub(super) enum Account<'a> {
    /// A tenant's.
    Tenant(&'a DropCounters),
    /// The port's that it was to leave by.
    Port,
}

impl<'a> Account<'a> {
    fn drops(self, port: &'a Port) -> &'a DropCounters {
        match self {
            Self::Tenant(drops) => drops,
            Self::Port => &port.counters.drops,
        }
    }
}

fn total_bytes(queue: &[Packet]) -> usize {
    queue.iter().map(Packet::len).sum()
}

/// Send an IPv4 packet to `next_hop` over `interface`, or let it wait until the next hop is known.
pub(super) fn deliver(
    port: &mut Port,
    interface: &mut Interface,
    next_hop: Ipv4Addr,
    packet: Packet,
    account: Account<'_>,
    ledger: &mut Ledger,
    now: Instant,
) {
    match interface.neighbors.resolve(next_hop, now) {
        Resolution::Known(station) => port.send(packet, interface, station, ethernet::IPV4, ledger),
        Resolution::Full => ledger.dropped(packet, DropReason::NeighborTableFull, account.drops(port)),
        Resolution::Unresolved => {
            match interface.neighbors.hold(next_hop, packet) {
                Some(displaced) => ledger.dropped(displaced, DropReason::NextHopUnresolved, account.drops(port)),
                None => ledger.hold(),
            }
            send_probes(port, interface, ledger, now);
        }
    }
}

/// A next hop has answered: send what waited for it.
pub(super) fn deliver_held(port: &mut Port, interface: &Interface, station: MacAddr, packet: Packet, ledger: &mut Ledger) {
    ledger.unhold();
    port.send(packet, interface, station, ethernet::IPV4, ledger);
}

/// Send an IPv4 packet straight back to the station it came from.
pub(super) fn reflect(port: &mut Port, interface: &Interface, station: MacAddr, packet: Packet, ledger: &mut Ledger) {
    port.send(packet, interface, station, ethernet::IPV4, ledger);
}

/// Ask for the next hops that are due.
pub(super) fn send_probes(port: &mut Port, interface: &mut Interface, ledger: &mut Ledger, now: Instant) {
    while let Some(probe) = interface.neighbors.poll(now) {
        let (arp, station) = interface.request(probe, port.mac);
        port.send_arp(&arp, station, interface, ledger);
    }
}
