//! Prefetching ahead of processing: the lines of memory that the arrivals behind the present one will touch.
//!
//! Everything of a tenant is found through pointers, so its lines are asked for in three steps, each of which reads what the one
//! before it asked for. A wrong guess costs speed only.

use crate::router_config::{AttachmentId, TunnelId};
use crate::worker::Worker;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::dispatch::{Open, OpenFrom};

/// How many arrivals ahead each step is: far enough for memory, near enough for the first cache to keep it.
const TENANT: usize = 6;
const PARTS: usize = 4;
const LAST: usize = 2;

impl Worker {
    /// What the first arrivals need.
    pub(super) fn prefetch_first(&self, arrivals: &[Arrival]) {
        arrivals.iter().take(TENANT).for_each(|arrival| self.prefetch_tenant(arrival));
        arrivals.iter().take(PARTS).for_each(|arrival| self.prefetch_parts(arrival));
        arrivals.iter().take(LAST).for_each(|arrival| self.prefetch_last(arrival));
    }

    /// What the arrivals behind the present one need, one of each distance.
    pub(super) fn prefetch(&self, behind: &[Arrival]) {
        if let Some(arrival) = behind.get(TENANT - 1) {
            self.prefetch_tenant(arrival);
        }
        if let Some(arrival) = behind.get(PARTS - 1) {
            self.prefetch_parts(arrival);
        }
        if let Some(arrival) = behind.get(LAST - 1) {
            self.prefetch_last(arrival);
        }
    }

    /// What a packet between the halves of its route needs: where its session is written down, and then, `found`, the session.
    pub(super) fn prefetch_session(&self, open: &Open, found: bool) {
        let id = match open.from {
            OpenFrom::Office { key, .. } => key.tenant,
            OpenFrom::Cloud { tenant, .. } => tenant,
        };
        let Some(Some(tenant)) = self.tenants.get(id.0 as usize) else { return };
        match open.from {
            OpenFrom::Office { .. } => tenant.nat.prefetch_from_office(&open.inner, found),
            OpenFrom::Cloud { attachment, .. } => tenant.nat.prefetch_from_cloud(attachment, &open.inner, found),
        }
    }

    fn prefetch_tenant(&self, arrival: &Arrival) {
        if let Some(Some(tenant)) = self.tenants.get(arrival.tenant().0 as usize) {
            tenant.prefetch();
        }
    }

    fn prefetch_parts(&self, arrival: &Arrival) {
        if let Some(Some(tenant)) = self.tenants.get(arrival.tenant().0 as usize) {
            match arrival.origin {
                Origin::Office { key, .. } => tenant.prefetch_parts(key.tunnel, AttachmentId(0)),
                Origin::Cloud { attachment, .. } => tenant.prefetch_parts(TunnelId(0), attachment),
            }
        }
    }

    fn prefetch_last(&self, arrival: &Arrival) {
        if let Some(Some(tenant)) = self.tenants.get(arrival.tenant().0 as usize) {
            match arrival.origin {
                Origin::Office { key, .. } => tenant.prefetch_from_office(key.tunnel, arrival.packet.bytes()),
                Origin::Cloud { .. } => tenant.prefetch_from_cloud(),
            }
        }
    }
}
