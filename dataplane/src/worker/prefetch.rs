//! Prefetching ahead of processing: the lines of memory that the arrivals behind the present one will touch.
//!
//! Everything of a tenant is found through pointers, so its lines are asked for in three steps, each of which reads what the one
//! before it asked for. A wrong guess costs speed only.

use crate::nat::Direction;
use crate::packet::Packet;
use crate::prefetch;
use crate::tenant::Tenant;
use crate::worker::Worker;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::dispatch::{Open, OpenFrom};

/// How many arrivals ahead each step is: far enough for memory, near enough for the first cache to keep it.
const TENANT: usize = 6;
const PARTS: usize = 4;
const LAST: usize = 2;
/// How many packets ahead their numbers are, once their sessions are near.
const NUMBER: usize = 2;
/// How many received frames ahead their headers are, which nobody has touched since the NIC wrote them.
const HEADERS: usize = 6;

/// The headers of what was received behind the present frame.
pub(super) fn ask_for_headers(behind: &[Packet]) {
    if let Some(packet) = behind.get(HEADERS - 1) {
        prefetch::start(packet.bytes());
    }
}

impl Worker {
    /// What the first arrivals need.
    pub(super) fn prefetch_first(&self, arrivals: &[Arrival]) {
        (0..TENANT).for_each(|place| self.prefetch_at(arrivals, place, ask_for_tenant));
        (0..PARTS).for_each(|place| self.prefetch_at(arrivals, place, ask_for_parts));
        (0..LAST).for_each(|place| self.prefetch_at(arrivals, place, ask_for_last));
    }

    /// What the arrivals behind the present one need, one of each distance.
    pub(super) fn prefetch(&self, behind: &[Arrival]) {
        self.prefetch_at(behind, TENANT - 1, ask_for_tenant);
        self.prefetch_at(behind, PARTS - 1, ask_for_parts);
        self.prefetch_at(behind, LAST - 1, ask_for_last);
    }

    /// One step for the arrival at `place`, unless the one before it asked for the same.
    fn prefetch_at(&self, arrivals: &[Arrival], place: usize, step: impl FnOnce(&Tenant, &Arrival)) {
        let Some(arrival) = arrivals.get(place) else { return };
        let before = place.checked_sub(1).and_then(|before| arrivals.get(before));
        if before.is_some_and(|before| before.goes_the_same_way(arrival)) {
            return;
        }
        if let Some(Some(tenant)) = self.tenants.get(arrival.tenant().0 as usize) {
            step(tenant, arrival);
        }
    }

    /// What a packet between the halves of its route needs, where its session is written down; [`Self::prefetch_found`] goes on there.
    pub(super) fn prefetch_session(&self, open: &Open) -> u32 {
        match (self.tenant_between(open), open.from) {
            (None, _) => 0,
            (Some(tenant), OpenFrom::Office { .. }) => tenant.nat.prefetch_from_office(&open.inner),
            (Some(tenant), OpenFrom::Cloud { attachment, .. }) => tenant.nat.prefetch_from_cloud(attachment, &open.inner),
        }
    }

    /// The session itself.
    pub(super) fn prefetch_found(&self, open: &Open) {
        if let Some(tenant) = self.tenant_between(open) {
            tenant.nat.prefetch_found(open.hint);
        }
    }

    /// The counter that numbers the packet, where somebody may cut it.
    pub(super) fn prefetch_number(&self, behind: &[Open]) {
        let Some(open) = behind.get(NUMBER - 1).filter(|open| !open.inner.dont_fragment) else { return };
        let direction = match open.from {
            OpenFrom::Office { .. } => Direction::OfficeToCloud,
            OpenFrom::Cloud { .. } => Direction::CloudToOffice,
        };
        if let Some(tenant) = self.tenant_between(open) {
            tenant.nat.prefetch_number(open.hint, direction, &open.inner);
        }
    }

    fn tenant_between(&self, open: &Open) -> Option<&Tenant> {
        let id = match open.from {
            OpenFrom::Office { key, .. } => key.tenant,
            OpenFrom::Cloud { tenant, .. } => tenant,
        };
        self.tenants.get(id.0 as usize)?.as_deref()
    }
}

fn ask_for_tenant(tenant: &Tenant, _: &Arrival) {
    tenant.prefetch();
}

fn ask_for_parts(tenant: &Tenant, arrival: &Arrival) {
    match arrival.origin {
        Origin::Office { key, .. } => tenant.prefetch_parts(Some(key.tunnel), None),
        Origin::Cloud { attachment, .. } => tenant.prefetch_parts(None, Some(attachment)),
    }
}

fn ask_for_last(tenant: &Tenant, arrival: &Arrival) {
    match arrival.origin {
        Origin::Office { key, .. } => tenant.prefetch_from_office(key.tunnel, arrival.packet.bytes()),
        Origin::Cloud { .. } => tenant.prefetch_from_cloud(),
    }
}
