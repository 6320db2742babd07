//! An arrival's route, and what the route's verdict asks for. From here on each packet ends in exactly one place.

use std::net::SocketAddrV4;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::route::{self, Datagram, TunnelNews, Verdict};
use crate::router_config::{AttachmentId, EndpointId, TunnelId};
use crate::time::Instant;
use crate::tunnel::{TenantId, TunnelKey};
use crate::wire::ecn;
use crate::wire::ethernet::MacAddr;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::{LIVING, Worker, port};

impl Worker {
    /// Send arrivals through their routes, in their order.
    pub(super) fn process(&mut self, arrivals: &mut Vec<Arrival>, now: Instant) {
        for Arrival { packet, origin } in arrivals.drain(..) {
            match origin {
                Origin::Office { key, endpoint, source, ecn } => self.through_tunnel(key, endpoint, source, ecn, packet, now),
                Origin::Cloud { tenant, attachment, station } => self.through_vlan(tenant, attachment, packet, station, now),
            }
        }
    }

    /// A tunnel's message, data or handshake, without its outer headers.
    pub(super) fn through_tunnel(&mut self, key: TunnelKey, at: EndpointId, source: SocketAddrV4, ecn: u8, packet: Packet, now: Instant) {
        let Some(mut out) = self.ledger.blank() else {
            let port = self.endpoints[usize::from(at.0)].port;
            return self.drop_at_port(port, packet, DropReason::NoFreeFrame);
        };
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let datagram = Datagram { source, ecn, payload: packet.bytes() };
        let mut news = TunnelNews::default();
        let verdict = route::office_to_cloud(tenant, key.tunnel, datagram, &self.config.conventional_lgwan, &mut out, &mut news, now);
        self.finish_from_office(key, at, verdict, packet, source, out, now);
        self.tell(key, news);
    }

    /// Do what the route said with the datagram and with what came out of it.
    #[expect(clippy::too_many_arguments, reason = "both frames, both ends and the verdict; a struct would only be taken apart again")]
    fn finish_from_office(
        &mut self,
        key: TunnelKey,
        at: EndpointId,
        verdict: Result<Verdict, DropReason>,
        packet: Packet,
        source: SocketAddrV4,
        out: Packet,
        now: Instant,
    ) {
        match verdict {
            Ok(Verdict::ToCloud { attachment, next_hop }) => {
                self.ledger.release(packet);
                self.send_to_cloud(key.tenant, attachment, next_hop, out, now);
            }
            Ok(Verdict::ToSource) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.send_datagram(at, source, 0, out, now);
            }
            Ok(Verdict::Absorbed | Verdict::EchoReply | Verdict::ToOffice { .. }) => {
                self.ledger.absorbed(packet);
                self.ledger.release(out);
            }
            Err(reason) => {
                self.explain_to_office(key, reason, &out, now);
                self.ledger.release(out);
                self.drop_at_tenant(key.tenant, packet, reason);
            }
        }
    }

    /// A packet on a tenant's VLAN.
    fn through_vlan(&mut self, id: TenantId, attachment: AttachmentId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(mut out) = self.ledger.blank() else { return self.drop_at_tenant(id, packet, DropReason::NoFreeFrame) };
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let verdict = route::cloud_to_office(tenant, attachment, &mut packet, &self.config.conventional_lgwan, &mut out, now);
        match verdict {
            Ok(Verdict::ToOffice { tunnel }) => {
                let ecn = ecn::encapsulate(packet.bytes());
                self.ledger.release(packet);
                self.send_to_peer(TunnelKey { tenant: id, tunnel }, ecn, out, now);
            }
            Ok(Verdict::EchoReply) => {
                self.ledger.release(out);
                let interface = &tenant.attachments[usize::from(attachment.0)];
                port::reflect(&mut self.ports[usize::from(interface.port.0)], interface, station, packet, &mut self.ledger);
            }
            Ok(_) => {
                self.ledger.release(out);
                self.ledger.absorbed(packet);
            }
            Err(reason) => {
                self.ledger.release(out);
                if matches!(reason, DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown) {
                    self.initiate(TunnelKey { tenant: id, tunnel: TunnelId(0) }, now);
                }
                self.explain_to_cloud(id, attachment, reason, &packet, now);
                self.drop_at_tenant(id, packet, reason);
            }
        }
    }

    pub(super) fn drop_at_tenant(&mut self, id: TenantId, packet: Packet, reason: DropReason) {
        match self.tenants[id.0 as usize].as_deref() {
            Some(tenant) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
            None => unreachable!("{}", LIVING),
        }
    }
}
