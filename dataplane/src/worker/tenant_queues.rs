//! Between classification and processing: arrivals wait in their tenants' queues, and come out grouped by tenant.
//!
//! As long as a round brings no more than one batch, all of it goes on in the same round, and past the queues where they are empty:
//! there is nothing to share out. What waits is booked as held.

use crate::drop_reason::DropReason;
use crate::nic::BATCH;
use crate::packet::Packet;
use crate::router_config::{AttachmentId, TenantConfig, TrafficClass};
use crate::time::Instant;
use crate::tunnel::TenantId;
use crate::worker::Worker;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::destination_class::DestinationClasses;
use crate::worker::fairness::{FairQueues, Lane, Of, cost};

/// Packets worked on in one round while more than a batch waits: enough for prefetching and for one kick of a NIC to pay, and few
/// enough that whoever sends little does not wait long.
const CONGESTED: usize = BATCH / 2;

/// Every tenant's queue, and how to tell its classes apart.
pub(super) struct TenantQueues {
    fair: FairQueues<Arrival>,
    classes: Vec<DestinationClasses>,
}

impl TenantQueues {
    /// `free_frames` are those that are left when the NICs have theirs: half of them may wait here, the others are for packets to be
    /// decrypted into and to be sent.
    pub(super) fn new(free_frames: usize) -> Self {
        Self { fair: FairQueues::new(free_frames / 2), classes: Vec::new() }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.fair.len()
    }

    /// How many of one tenant wait.
    pub(super) fn len_of(&self, tenant: TenantId) -> usize {
        self.fair.len_of(tenant.0)
    }

    /// There is a tenant with this number, new or not as it was.
    pub(super) fn configure(&mut self, tenant: TenantId, config: &TenantConfig) {
        self.fair.set_rate(tenant.0, config.rate);
        let index = tenant.0 as usize;
        if index >= self.classes.len() {
            self.classes.resize_with(index + 1, DestinationClasses::default);
        }
        self.classes[index] = DestinationClasses::new(config);
    }

    /// Everything that waits for a tenant.
    pub(super) fn drain(&mut self, tenant: TenantId, mut take: impl FnMut(Packet)) {
        self.fair.drain(tenant.0, |arrival| take(arrival.packet));
    }

    /// The class of a packet from the cloud, where its tenant has two; else any.
    pub(super) fn class_towards_office(&self, tenant: TenantId, attachment: AttachmentId, packet: &[u8]) -> TrafficClass {
        match self.classes[tenant.0 as usize].lane(attachment, packet) {
            Lane::LgwanConnectedToOffice => TrafficClass::LgwanConnected,
            Lane::MyNumberToOffice | Lane::OfficeToCloud => TrafficClass::MyNumber,
        }
    }

    /// Towards the office the class shows in the destination. Where nothing waits there, or the tenant has one class only, it makes
    /// no difference and is not looked up: order is kept, since the lane of `mynumber` always goes before the other.
    fn lane(&self, arrival: &Arrival) -> Lane {
        let Origin::Cloud { tenant, attachment, .. } = arrival.origin else { return Lane::OfficeToCloud };
        let classes = &self.classes[tenant.0 as usize];
        if !classes.are_two() || self.fair.is_idle_towards_office(tenant.0) {
            return Lane::MyNumberToOffice;
        }
        classes.lane(attachment, arrival.packet.bytes())
    }
}

impl Worker {
    /// An arrival is worked on in this round where that is all there is; else it waits for its tenant's turn.
    pub(super) fn admit(&mut self, arrival: Arrival) {
        if self.arrivals.len() < BATCH && self.tenant_queues.fair.is_idle() {
            return self.arrivals.push(arrival);
        }
        self.share_out_round();
        self.enqueue(arrival);
    }

    /// The round brings more than a batch: what was to go straight through waits like everything else.
    fn share_out_round(&mut self) {
        if !self.arrivals.is_empty() {
            let mut arrivals = std::mem::take(&mut self.arrivals);
            arrivals.drain(..).for_each(|arrival| self.enqueue(arrival));
            self.arrivals = arrivals;
        }
    }

    /// Let an arrival wait for its tenant's turn. Where there is no room, whoever has more than its share loses a packet.
    fn enqueue(&mut self, arrival: Arrival) {
        let (tenant, lane) = (arrival.tenant(), self.tenant_queues.lane(&arrival));
        if self.tenant_queues.fair.refuses(tenant.0, lane) {
            return self.drop_at_tenant(tenant, arrival.packet, DropReason::TenantQueueFull);
        }
        let (bytes, segments) = (arrival.packet.len(), arrival.packet.segments());
        self.ledger.hold_segments(segments);
        let lost = self.tenant_queues.fair.push(tenant.0, lane, cost(bytes, segments), arrival);
        if let Some(lost) = lost {
            let packet = lost.item.packet;
            self.ledger.unhold_segments(packet.segments());
            self.drop_at_tenant(TenantId(lost.tenant), packet, lost.reason);
        }
    }

    /// Work on what waits: all of it where that is no more than a batch, else a part. The NICs' rings fill meanwhile, and they do not
    /// know whose packet they lose.
    pub(super) fn serve(&mut self, now: Instant) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let most = if self.tenant_queues.len() > BATCH { CONGESTED } else { BATCH };
        while arrivals.len() < most {
            let Some(Of { item: arrival, .. }) = self.tenant_queues.fair.pop() else { break };
            self.ledger.unhold_segments(arrival.packet.segments());
            arrivals.push(arrival);
        }
        self.process(&mut arrivals, now);
        self.arrivals = arrivals;
    }
}
