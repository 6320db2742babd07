//! The way out: from a packet that is ready to the port it leaves by.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{AttachmentId, EndpointId};
use crate::tenant::TenantTunnel;
use crate::time::Instant;
use crate::tunnel::{TenantId, Tunnel, TunnelKey};
use crate::wire::underlay;
use crate::worker::port::Account;
use crate::worker::{Endpoint, LIVING, Worker, port};

impl Worker {
    /// Send a translated packet to the cloud.
    pub(super) fn send_to_cloud(&mut self, id: TenantId, attachment: AttachmentId, next_hop: Ipv4Addr, packet: Packet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        port::deliver(port, interface, next_hop, packet, Account::Tenant(&tenant.counters.drops), &mut self.ledger, now);
    }

    /// Send a tunnel's datagram to where its peer is.
    pub(super) fn send_to_peer(&mut self, key: TunnelKey, ecn: u8, packet: Packet, now: Instant) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref() else { unreachable!("{}", LIVING) };
        let TenantTunnel { tunnel, endpoint, .. } = &tenant.tunnels[usize::from(key.tunnel.0)];
        match tunnel.peer() {
            Some(SocketAddr::V4(peer)) => self.send_datagram(*endpoint, peer, ecn, packet, now),
            _ => self.drop_at_tenant(key.tenant, packet, DropReason::TunnelPeerAddressUnknown),
        }
    }

    /// Put the outer headers around `packet` and send it over the endpoint's access network.
    pub(super) fn send_datagram(&mut self, endpoint: EndpointId, peer: SocketAddrV4, ecn: u8, mut packet: Packet, now: Instant) {
        let Endpoint { port: id, local, .. } = self.endpoints[usize::from(endpoint.0)];
        let port = &mut self.ports[usize::from(id.0)];
        let reason = match &mut self.access[usize::from(id.0)] {
            _ if !underlay::push(&mut packet, local, peer, ecn) => DropReason::FrameTooBig,
            None => DropReason::NextHopUnresolved,
            Some(interface) => match interface.next_hop(*peer.ip()) {
                None => DropReason::NextHopUnresolved,
                Some(next_hop) => return port::deliver(port, interface, next_hop, packet, Account::Port, &mut self.ledger, now),
            },
        };
        self.ledger.dropped(packet, reason, &port.counters.drops);
    }
}
