//! Counters: written by one worker, read by anyone, without locks.
//!
//! A worker adds with a plain load and store (it is the only writer); readers see a recent value. The control plane owns the
//! arrays and lends them to the worker inside the configuration, so that a reload never loses a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::drop_reason::DropReason;
use crate::router_config::{MAX_WORKERS, WorkerId};

/// One number with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Add `n`. Only the owning worker may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replace the value (for gauges). Only the owning worker may call this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value of a moment ago.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn snapshot(&self) -> Self {
        Self(AtomicU64::new(self.get()))
    }
}

/// Lost packets by reason.
#[derive(Debug)]
pub struct DropCounters([Counter; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl DropCounters {
    /// Count `packets` lost for `reason`.
    pub fn add(&self, reason: DropReason, packets: u64) {
        self.0[reason as usize].add(packets);
    }

    /// Packets lost for `reason`.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].get()
    }

    /// The reasons that occurred, with their counts.
    pub fn occurred(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.get(*reason))).filter(|(_, count)| *count > 0)
    }

    /// Packets lost for whatever reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Packets and bytes that went one way.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: Counter,
    /// Bytes of the inner IP packets (ports count whole frames).
    pub bytes: Counter,
}

impl Traffic {
    /// Count packets and their bytes.
    pub fn add(&self, packets: u64, bytes: usize) {
        self.packets.add(packets);
        self.bytes.add(bytes as u64);
    }

    fn snapshot(&self) -> Self {
        Self { packets: self.packets.snapshot(), bytes: self.bytes.snapshot() }
    }
}

/// What the relay counts for one tenant.
#[derive(Debug, Default)]
pub struct TenantCounters {
    /// Forwarded from the office to the cloud, inner packets.
    pub office_to_cloud: Traffic,
    /// Forwarded from the cloud to the office, inner packets.
    pub cloud_to_office: Traffic,
    /// Lost after the tenant was known.
    pub drops: DropCounters,
    /// Sessions alive now (gauge).
    pub sessions: Counter,
    /// NAPT mappings alive now, those in quarantine not counted (gauge).
    pub mappings: Counter,
    /// Packets that wait for the tenant's turn, as at the last visit (gauge).
    pub queued: Counter,
    /// Sessions opened.
    pub sessions_opened: Counter,
    /// ICMP errors sent to the tenant's hosts on its own account.
    pub icmp_errors_sent: Counter,
    /// Inner packets that were too big for the way ahead and were cut into fragments.
    pub packets_fragmented: Counter,
}

impl TenantCounters {
    /// A copy of a moment ago, for which each counter is read once.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            office_to_cloud: self.office_to_cloud.snapshot(),
            cloud_to_office: self.cloud_to_office.snapshot(),
            drops: DropCounters(self.drops.0.each_ref().map(Counter::snapshot)),
            sessions: self.sessions.snapshot(),
            mappings: self.mappings.snapshot(),
            queued: self.queued.snapshot(),
            sessions_opened: self.sessions_opened.snapshot(),
            icmp_errors_sent: self.icmp_errors_sent.snapshot(),
            packets_fragmented: self.packets_fragmented.snapshot(),
        }
    }
}

/// What the relay counts for one tunnel.
#[derive(Debug, Default)]
pub struct TunnelCounters {
    /// Inner packets that came out of the tunnel.
    pub received: Traffic,
    /// Inner packets that went into the tunnel.
    pub transmitted: Traffic,
    /// Handshakes completed.
    pub handshakes: Counter,
    /// 1 while there is a session that can carry data (gauge).
    pub up: Counter,
    /// [`crate::time::Instant`] in nanoseconds of the last change of `up`; 0 = since the start (gauge).
    pub changed_at_nanos: Counter,
    /// [`crate::time::Instant`] in nanoseconds of the last completed handshake; 0 = never (gauge).
    pub handshake_at_nanos: Counter,
    /// [`crate::time::Instant`] in nanoseconds of the last authenticated packet; 0 = never (gauge).
    pub heard_at_nanos: Counter,
    /// Moves of the peer to another address or port.
    pub roams: Counter,
    /// SA pairs installed (IPsec).
    pub sa_installs: Counter,
}

impl TunnelCounters {
    /// A copy of a moment ago, for which each counter is read once.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            received: self.received.snapshot(),
            transmitted: self.transmitted.snapshot(),
            handshakes: self.handshakes.snapshot(),
            up: self.up.snapshot(),
            changed_at_nanos: self.changed_at_nanos.snapshot(),
            handshake_at_nanos: self.handshake_at_nanos.snapshot(),
            heard_at_nanos: self.heard_at_nanos.snapshot(),
            roams: self.roams.snapshot(),
            sa_installs: self.sa_installs.snapshot(),
        }
    }
}

/// What the relay counts for one port: a share for each worker, which is its only writer.
#[derive(Debug)]
pub struct PortCounters([Arc<PortShare>; MAX_WORKERS]);

impl Default for PortCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl PortCounters {
    /// What this worker counts.
    #[must_use]
    pub fn share(&self, worker: WorkerId) -> &Arc<PortShare> {
        &self.0[worker.index()]
    }

    /// What all workers counted until a moment ago, added up.
    #[must_use]
    pub fn sum(&self) -> PortShare {
        let sum = PortShare::default();
        for share in &self.0 {
            for (total, part) in [(&sum.received, &share.received), (&sum.transmitted, &share.transmitted)] {
                total.packets.add(part.packets.get());
                total.bytes.add(part.bytes.get());
            }
            share.drops.occurred().for_each(|(reason, packets)| sum.drops.add(reason, packets));
            sum.nic_receive_lost.add(share.nic_receive_lost.get());
            sum.ike_punted.add(share.ike_punted.get());
        }
        sum
    }
}

/// What one worker counts for one port.
#[derive(Debug, Default)]
// No cache line belongs to two workers; the processor fetches lines in pairs.
#[repr(align(128))]
pub struct PortShare {
    /// Frames received.
    pub received: Traffic,
    /// Frames handed to the NIC.
    pub transmitted: Traffic,
    /// Lost before a tenant was known, or on the way out for reasons of the port.
    pub drops: DropCounters,
    /// Frames the kernel or NIC lost before the relay saw them (gauge, from the NIC's statistics).
    pub nic_receive_lost: Counter,
    /// IKE messages handed up to the control plane.
    pub ike_punted: Counter,
}

/// What one worker counts about itself. The conservation law is
/// `received + generated + taken_over == transmitted + dropped + absorbed + held + handed_over`; over all workers, `handed_over` less
/// `taken_over` is what is on the rings between them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Packets that NICs handed in.
    pub received: Counter,
    /// Packets the relay made itself: handshakes, keepalives, ARP, ICMP errors.
    pub generated: Counter,
    /// Packets handed to a NIC.
    pub transmitted: Counter,
    /// Packets lost for a named reason.
    pub dropped: Counter,
    /// Packets that ended here on purpose: handshakes, ARP, keepalives, echo requests.
    pub absorbed: Counter,
    /// Packets waiting for a next hop, or for their turn (gauge).
    pub held: Counter,
    /// Packets given to another worker: to the owner of their tenant, or to one that can transmit on their port.
    pub handed_over: Counter,
    /// Packets that another worker gave to this one.
    pub taken_over: Counter,
    /// Packets, or news of a neighbour, for which another worker's ring had no room.
    pub hand_off_full: Counter,
    /// Times the worker looked for work.
    pub polls: Counter,
    /// Times the worker went to sleep.
    pub sleeps: Counter,
    /// Configuration generation the worker works with (gauge).
    pub generation: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_that_occurred_are_listed() {
        let drops = DropCounters::default();
        drops.add(DropReason::VlanUnknown, 2);
        drops.add(DropReason::NoSession, 1);
        let listed: Vec<_> = drops.occurred().collect();
        assert_eq!(listed, [(DropReason::VlanUnknown, 2), (DropReason::NoSession, 1)]);
        assert_eq!(drops.total(), 3);
    }

    #[test]
    fn a_ports_shares_add_up() {
        let port = PortCounters::default();
        for worker in [WorkerId(0), WorkerId(15)] {
            port.share(worker).received.add(2, 100);
            port.share(worker).drops.add(DropReason::NoListener, 1);
            port.share(worker).nic_receive_lost.set(4);
        }
        port.share(WorkerId(3)).transmitted.add(1, 60);
        let sum = port.sum();
        assert_eq!((sum.received.packets.get(), sum.received.bytes.get()), (4, 200));
        assert_eq!((sum.transmitted.packets.get(), sum.transmitted.bytes.get()), (1, 60));
        assert_eq!((sum.drops.get(DropReason::NoListener), sum.drops.total(), sum.nic_receive_lost.get()), (2, 2, 8));
    }
}
