//! The lines of memory that a packet of a tenant will touch, asked for in three steps: each reads what the one before it asked for.

use crate::prefetch;
use crate::router_config::{AttachmentId, TunnelId};
use crate::tenant::Tenant;
use crate::tunnel::Tunnel;

impl Tenant {
    /// Hint that a packet of this tenant comes soon, first of three.
    pub(crate) fn prefetch(&self) {
        prefetch::whole(self);
    }

    /// Second of three; reads what the first asked for. A packet comes by a tunnel or by an attachment, and leaves by the other.
    pub(crate) fn prefetch_parts(&self, tunnel: Option<TunnelId>, attachment: Option<AttachmentId>) {
        let (tunnel, attachment) = (tunnel.unwrap_or(self.last_tunnel), attachment.unwrap_or(self.last_attachment));
        if let Some(slot) = self.tunnels.get(usize::from(tunnel.0)) {
            slot.tunnel.prefetch();
            prefetch::start(&slot.counters);
            prefetch::start(&slot.mtu);
        }
        if let Some(interface) = self.attachments.get(usize::from(attachment.0)) {
            prefetch::whole(interface);
        }
        self.policy.prefetch();
        prefetch::start(&self.counters.office_to_cloud);
        prefetch::start(&self.counters.cloud_to_office);
    }

    /// Last of three for a datagram from the office.
    pub(crate) fn prefetch_from_office(&self, tunnel: TunnelId, datagram: &[u8]) {
        if let Some(slot) = self.tunnels.get(usize::from(tunnel.0)) {
            slot.tunnel.prefetch_decapsulate(datagram);
            prefetch::start(&slot.counters.received);
        }
        if let Some(interface) = self.attachments.get(usize::from(self.last_attachment.0)) {
            interface.neighbors.prefetch();
        }
    }

    /// Last of three for a packet from the cloud.
    pub(crate) fn prefetch_from_cloud(&self) {
        if let Some(slot) = self.tunnels.get(usize::from(self.last_tunnel.0)) {
            slot.tunnel.prefetch_encapsulate();
            prefetch::start(&slot.counters.transmitted);
        }
    }
}
