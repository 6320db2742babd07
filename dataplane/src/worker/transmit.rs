//! The way out: from a packet that is ready to the port it leaves by.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{AttachmentId, EndpointId};
use crate::tenant::TenantTunnel;
use crate::time::Instant;
use crate::tunnel::{TenantId, Tunnel, TunnelKey, Way};
use crate::wire::underlay;
use crate::worker::port::Account;
use crate::worker::{LIVING, Worker, port};

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
        match tunnel.way() {
            Some(Way::Udp(peer)) => self.send_datagram(*endpoint, peer, ecn, packet, now),
            Some(Way::Esp(peer)) => self.send_esp(*endpoint, peer, ecn, packet, now),
            None => self.drop_at_tenant(key.tenant, packet, DropReason::TunnelPeerAddressUnknown),
        }
    }

    /// Put the outer headers around `packet` and send it over the endpoint's access network.
    pub(super) fn send_datagram(&mut self, endpoint: EndpointId, peer: SocketAddrV4, ecn: u8, packet: Packet, now: Instant) {
        let local = self.endpoints[usize::from(endpoint.0)].local.port();
        self.send_datagram_from(endpoint, local, peer, ecn, packet, now);
    }

    /// As [`Self::send_datagram`], from another port of the endpoint.
    pub(super) fn send_datagram_from(
        &mut self,
        endpoint: EndpointId,
        local_port: u16,
        peer: SocketAddrV4,
        ecn: u8,
        mut packet: Packet,
        now: Instant,
    ) {
        let local = *self.endpoints[usize::from(endpoint.0)].local.ip();
        let fits = underlay::push(&mut packet, SocketAddrV4::new(local, local_port), peer, ecn);
        self.send_outer(endpoint, *peer.ip(), fits, packet, now);
    }

    /// Send an ESP packet without UDP.
    fn send_esp(&mut self, endpoint: EndpointId, peer: Ipv4Addr, ecn: u8, mut packet: Packet, now: Instant) {
        let local = *self.endpoints[usize::from(endpoint.0)].local.ip();
        let fits = underlay::push_esp(&mut packet, local, peer, ecn);
        self.send_outer(endpoint, peer, fits, packet, now);
    }

    /// A packet with its outer headers, where they `fit`, leaves over the endpoint's access network.
    fn send_outer(&mut self, endpoint: EndpointId, peer: Ipv4Addr, fit: bool, packet: Packet, now: Instant) {
        let id = self.endpoints[usize::from(endpoint.0)].port;
        let port = &mut self.ports[usize::from(id.0)];
        let reason = match &mut self.access[usize::from(id.0)] {
            _ if !fit => DropReason::FrameTooBig,
            None => DropReason::NextHopUnresolved,
            Some(interface) => match interface.next_hop(peer) {
                None => DropReason::NextHopUnresolved,
                Some(next_hop) => return port::deliver(port, interface, next_hop, packet, Account::Port, &mut self.ledger, now),
            },
        };
        self.ledger.dropped(packet, reason, &port.counters.drops);
    }
}
