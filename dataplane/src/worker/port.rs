//! A port: the NIC, its transmit queue of this batch, and the way of a packet from its next hop onto the wire.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rtrb::Consumer;

use crate::counters::{DropCounters, PortShare};
use crate::drop_reason::DropReason;
use crate::link::{Interface, Ipv6Interface, Resolution};
use crate::nic::{BATCH, Nic};
use crate::packet::Packet;
use crate::router_config::Vlan;
use crate::time::Instant;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet, MacAddr};
use crate::wire::neighbor_discovery::Discovery;
use crate::worker::ledger::Ledger;
use crate::worker::transmit_handoff::{Finished, PortQueues, TransmitHandoff};

/// One NIC as the worker uses it.
pub(super) struct Port {
    /// This worker's queues; the first one transmits.
    pub(super) nics: Vec<Box<dyn Nic>>,
    pub(super) mac: MacAddr,
    pub(super) counters: Arc<PortShare>,
    queue: Vec<Packet>,
    /// Where packets leave when this worker has no queue here.
    to_other: Option<TransmitHandoff>,
    from_others: Vec<Consumer<Finished>>,
}

impl Port {
    pub(super) fn new(PortQueues { nics, mac, to_other, from_others }: PortQueues, counters: Arc<PortShare>) -> Self {
        Self { nics, mac, counters, queue: Vec::with_capacity(BATCH), to_other, from_others }
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
        self.send_own(&arp.bytes(), station, interface, ethernet::ARP, ledger);
    }

    /// Queue a message of neighbour discovery of the relay's own.
    pub(super) fn send_discovery(&mut self, message: &Discovery, station: MacAddr, interface: &Interface, ledger: &mut Ledger) {
        let (bytes, len) = message.bytes();
        self.send_own(&bytes[..len], station, interface, ethernet::IPV6, ledger);
    }

    fn send_own(&mut self, bytes: &[u8], station: MacAddr, interface: &Interface, ethertype: u16, ledger: &mut Ledger) {
        let Some(frame) = ledger.frames.take() else { return };
        match Packet::copied(frame, bytes) {
            Ok(packet) => {
                ledger.generated();
                self.send(packet, interface, station, ethertype, ledger);
            }
            Err(frame) => ledger.frames.put(frame),
        }
    }

    /// Hand the queue to the NIC, or to the worker that has one here; what it has no room for is lost.
    pub(super) fn flush(&mut self, ledger: &mut Ledger) {
        if self.queue.is_empty() {
            return;
        }
        let Some(nic) = self.nics.first_mut() else { return self.flush_to_other(ledger) };
        let (queued, bytes) = (self.queue.len(), total_bytes(&self.queue));
        let refused_before = nic.transmit_refused();
        nic.transmit(&mut ledger.frames, &mut self.queue);
        let refused = nic.transmit_refused() - refused_before;
        let sent = (queued - self.queue.len()) as u64 - refused;
        self.counters.transmitted.add(sent, bytes - total_bytes(&self.queue));
        ledger.transmitted(sent);
        ledger.lost(refused, DropReason::TransmitRefused, &self.counters.drops);
        for packet in self.queue.drain(..) {
            ledger.dropped(packet, DropReason::TransmitQueueFull, &self.counters.drops);
        }
    }

    fn flush_to_other(&mut self, ledger: &mut Ledger) {
        ledger
            .counters
            .handed_over
            .add(self.to_other.as_mut().map_or(0, |other| other.push(&mut self.queue, ledger.counters.generation.get())));
        for packet in self.queue.drain(..) {
            ledger.counters.hand_off_full.add(packet.segments());
            ledger.dropped(packet, DropReason::HandOffFull, &self.counters.drops);
        }
    }

    /// Queue what workers without a queue want transmitted here, a batch of each; returns how many packets that were. `is_access`: what
    /// carries no tag here is the relay's own, under whatever configuration it was made.
    pub(super) fn take_from_others(&mut self, is_access: bool, ledger: &mut Ledger) -> usize {
        let mut taken = 0;
        let generation = ledger.counters.generation.get();
        for from in 0..self.from_others.len() {
            for _ in 0..BATCH {
                let Ok(finished) = self.from_others[from].pop() else { break };
                taken += 1;
                ledger.counters.taken_over.add(finished.packet.segments());
                let is_own = || is_access && Ethernet::parse(finished.packet.bytes()).is_ok_and(|header| header.vlan == Vlan::Untagged);
                if finished.generation < generation && !is_own() {
                    ledger.dropped(finished.packet, DropReason::TenantRemoved, &self.counters.drops);
                    continue;
                }
                if self.queue.len() == BATCH {
                    self.flush(ledger);
                }
                self.queue.push(finished.packet);
            }
        }
        taken
    }

    pub(super) fn others_have_nothing(&self) -> bool {
        self.from_others.iter().all(Consumer::is_empty)
    }

    /// Packets on the rings from workers without a queue.
    #[cfg(feature = "simulation")]
    pub(super) fn under_way(&self) -> usize {
        self.from_others.iter().map(Consumer::slots).sum()
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

/// As [`deliver`], for an IPv6 packet.
pub(super) fn deliver6(
    port: &mut Port,
    interface: &mut Interface,
    next_hop: Ipv6Addr,
    packet: Packet,
    account: Account<'_>,
    ledger: &mut Ledger,
    now: Instant,
) {
    let Some(ipv6) = &mut interface.ipv6 else {
        return ledger.dropped(packet, DropReason::NextHopUnresolved, account.drops(port));
    };
    match ipv6.neighbors.resolve(next_hop, now) {
        Resolution::Known(station) => port.send(packet, interface, station, ethernet::IPV6, ledger),
        Resolution::Full => ledger.dropped(packet, DropReason::NeighborTableFull, account.drops(port)),
        Resolution::Unresolved => {
            match ipv6.neighbors.hold(next_hop, packet) {
                Some(displaced) => ledger.dropped(displaced, DropReason::NextHopUnresolved, account.drops(port)),
                None => ledger.hold(),
            }
            send_probes(port, interface, ledger, now);
        }
    }
}

/// A next hop has answered: send what waited for it.
pub(super) fn deliver_held(port: &mut Port, interface: &Interface, station: MacAddr, packet: Packet, ethertype: u16, ledger: &mut Ledger) {
    ledger.unhold();
    port.send(packet, interface, station, ethertype, ledger);
}

/// Send a packet straight back to the station it came from.
pub(super) fn reflect(port: &mut Port, interface: &Interface, station: MacAddr, packet: Packet, ethertype: u16, ledger: &mut Ledger) {
    port.send(packet, interface, station, ethertype, ledger);
}

/// Ask for the next hops that are due.
pub(super) fn send_probes(port: &mut Port, interface: &mut Interface, ledger: &mut Ledger, now: Instant) {
    while let Some(probe) = interface.neighbors.poll(now) {
        let (arp, station) = interface.request(probe, port.mac);
        port.send_arp(&arp, station, interface, ledger);
    }
    let own = port.mac;
    let next = |ipv6: &mut Ipv6Interface| ipv6.neighbors.poll(now).map(|probe| ipv6.solicitation(probe, own));
    while let Some((solicitation, station)) = interface.ipv6.as_deref_mut().and_then(next) {
        port.send_discovery(&solicitation, station, interface, ledger);
    }
}
