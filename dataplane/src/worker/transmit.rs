//! The way out: from a packet that is ready to the port it leaves by.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{AttachmentId, EndpointId};
use crate::tenant::TenantTunnel;
use crate::time::Instant;
use crate::tunnel::{TenantId, Tunnel, TunnelKey, Way};
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::{underlay, underlay6};
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
    pub(super) fn send_datagram(&mut self, endpoint: EndpointId, peer: SocketAddr, ecn: u8, packet: Packet, now: Instant) {
        let local = self.endpoints[usize::from(endpoint.0)].local.port();
        self.send_datagram_from(endpoint, local, peer, ecn, packet, now);
    }

    /// As [`Self::send_datagram`], from another port of the endpoint.
    pub(super) fn send_datagram_from(
        &mut self,
        endpoint: EndpointId,
        local_port: u16,
        peer: SocketAddr,
        ecn: u8,
        mut packet: Packet,
        now: Instant,
    ) {
        match peer {
            SocketAddr::V4(peer) => {
                let local = *self.endpoints[usize::from(endpoint.0)].local.ip();
                let fits = underlay::push(&mut packet, SocketAddrV4::new(local, local_port), peer, ecn);
                self.send_outer(endpoint, *peer.ip(), fits, packet, now);
            }
            SocketAddr::V6(peer) => self.send_outer6(endpoint, local_port, peer, ecn, packet, now),
        }
    }

    /// Put IPv6 headers around `packet` and send it, where the endpoint's port has an IPv6 address (a reload may have taken it).
    fn send_outer6(&mut self, endpoint: EndpointId, local_port: u16, peer: SocketAddrV6, ecn: u8, mut packet: Packet, now: Instant) {
        let id = self.endpoints[usize::from(endpoint.0)].port;
        let port = &mut self.ports[usize::from(id.0)];
        let interface = self.access[usize::from(id.0)].as_mut();
        let way = interface.and_then(|interface| {
            let ipv6 = interface.ipv6.as_ref()?;
            let (local, next_hop) = (ipv6.address(), ipv6.next_hop(*peer.ip())?);
            Some((interface, local, next_hop))
        });
        let reason = match way {
            None => DropReason::NextHopUnresolved,
            Some((interface, local, next_hop)) => {
                if underlay6::push(&mut packet, SocketAddrV6::new(local, local_port, 0, 0), peer, ecn) {
                    return port::deliver6(port, interface, next_hop, packet, Account::Port, &mut self.ledger, now);
                }
                DropReason::FrameTooBig
            }
        };
        self.ledger.dropped(packet, reason, &port.counters.drops);
    }

    /// Answer somebody who has proved nothing, at the station that the question came from: an address that may be forged must not cost a
    /// place among the neighbours.
    pub(super) fn answer_stranger(&mut self, endpoint: EndpointId, peer: SocketAddr, station: MacAddr, mut packet: Packet) {
        let (local, id) = (self.endpoints[usize::from(endpoint.0)].local, self.endpoints[usize::from(endpoint.0)].port);
        let port = &mut self.ports[usize::from(id.0)];
        let sent = self.access[usize::from(id.0)].as_ref().and_then(|interface| {
            let (fits, ethertype) = match peer {
                SocketAddr::V4(peer) => (underlay::push(&mut packet, local, peer, 0), ethernet::IPV4),
                SocketAddr::V6(peer) => {
                    let local = SocketAddrV6::new(interface.ipv6.as_ref()?.address(), local.port(), 0, 0);
                    (underlay6::push(&mut packet, local, peer, 0), ethernet::IPV6)
                }
            };
            fits.then_some((interface, ethertype))
        });
        match sent {
            Some((interface, ethertype)) => port::reflect(port, interface, station, packet, ethertype, &mut self.ledger),
            None => self.ledger.dropped(packet, DropReason::FrameTooBig, &port.counters.drops),
        }
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
