//! Arrivals go through their routes in vectors: some are opened, and while the last of them are, memory brings the sessions of the
//! first. From here on each packet ends in exactly one place.

use std::net::SocketAddr;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::route::{self, Datagram, Opened, TunnelNews, Verdict};
use crate::router_config::{AttachmentId, EndpointId, TrafficClass};
use crate::time::Instant;
use crate::tunnel::{TenantId, TunnelKey};
use crate::wire::ecn;
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::inner::Inner;
use crate::worker::classify::{Arrival, Origin};
use crate::worker::{LIVING, Worker, port};

/// Packets that are opened before the first of them is forwarded: their headers stay in the first cache meanwhile.
pub(super) const VECTOR: usize = 8;

/// A packet whose headers were read: it stands between the halves of its route.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) packet: Packet,
    pub(super) inner: Inner,
    pub(super) from: OpenFrom,
    /// Where prefetching goes on.
    pub(super) hint: u32,
}

/// Which route it is on.
#[derive(Clone, Copy, Debug)]
pub(super) enum OpenFrom {
    Office {
        key: TunnelKey,
        class: TrafficClass,
    },
    /// With no station it is an office's packet, which turned back.
    Cloud {
        tenant: TenantId,
        attachment: AttachmentId,
        station: Option<MacAddr>,
    },
}

impl OpenFrom {
    /// The tenant it belongs to.
    pub(super) const fn tenant(self) -> TenantId {
        match self {
            Self::Office { key, .. } => key.tenant,
            Self::Cloud { tenant, .. } => tenant,
        }
    }
}

impl Worker {
    /// Send arrivals through their routes, in their order.
    pub(super) fn process(&mut self, arrivals: &mut Vec<Arrival>, now: Instant) {
        self.prefetch_first(arrivals);
        let mut vector = std::mem::take(&mut self.vector);
        let mut rest = arrivals.drain(..);
        loop {
            while vector.len() < VECTOR
                && let Some(arrival) = rest.next()
            {
                self.prefetch(rest.as_slice());
                if let Some(mut open) = self.open(arrival, now) {
                    open.hint = self.prefetch_session(&open);
                    vector.push(open);
                }
            }
            if vector.is_empty() {
                break;
            }
            vector.iter().for_each(|open| self.prefetch_found(open));
            let mut opened = vector.drain(..);
            while let Some(open) = opened.next() {
                self.prefetch_number(opened.as_slice());
                if open.inner.fragment.is_some() {
                    self.forward_fragment(open, now);
                } else {
                    self.forward(open.from, &open.inner, open.packet, now).ok();
                }
            }
        }
        self.vector = vector;
    }

    /// Send a packet through the second half of its route; one that is too big is cut, where that is allowed. The reason of a loss,
    /// which has been counted, is for who cut it.
    pub(super) fn forward(&mut self, from: OpenFrom, inner: &Inner, packet: Packet, now: Instant) -> Result<(), DropReason> {
        match from {
            OpenFrom::Office { key, class } => self.forward_to_cloud(key, class, inner, packet, now),
            OpenFrom::Cloud { tenant, attachment, station } => self.forward_to_office(tenant, attachment, inner, packet, station, now),
        }
    }

    fn open(&mut self, arrival: Arrival, now: Instant) -> Option<Open> {
        let Arrival { mut packet, origin } = arrival;
        match origin {
            Origin::Office { key, endpoint, source, ecn } => {
                let source = source.address(&mut packet);
                self.open_message(key, endpoint, source, ecn, packet, now)
            }
            Origin::Cloud { tenant, attachment, station } => match route::open_from_cloud(&mut packet) {
                Ok(inner) => Some(Open { packet, inner, from: OpenFrom::Cloud { tenant, attachment, station: Some(station) }, hint: 0 }),
                Err(reason) => {
                    self.lose_from_cloud(tenant, attachment, packet, reason, now);
                    None
                }
            },
        }
    }

    /// A tunnel's message, data or handshake, without its outer headers. `Some`: the packet that was in it.
    pub(super) fn open_message(
        &mut self,
        key: TunnelKey,
        at: EndpointId,
        source: SocketAddr,
        ecn: u8,
        message: Packet,
        now: Instant,
    ) -> Option<Open> {
        let Some(mut out) = self.ledger.blank() else {
            let port = self.endpoints[usize::from(at.0)].port;
            self.drop_at_port(port, message, DropReason::NoFreeFrame);
            return None;
        };
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let datagram = Datagram { source, ecn, payload: message.bytes() };
        let mut news = TunnelNews::default();
        let opened = route::open_from_office(tenant, key.tunnel, datagram, &mut out, &mut news, now);
        self.tell(key, news);
        match opened {
            Ok(Opened::Packet { inner, class }) => {
                self.ledger.release(message);
                return Some(Open { packet: out, inner, from: OpenFrom::Office { key, class }, hint: 0 });
            }
            Ok(Opened::Reply) => {
                self.ledger.absorbed(message);
                self.ledger.generated();
                self.send_datagram(at, source, 0, out, now);
            }
            Ok(Opened::Absorbed) => {
                self.ledger.absorbed(message);
                self.ledger.release(out);
            }
            Err(reason) => {
                self.explain_to_office(key, reason, &out, now);
                self.ledger.release(out);
                self.drop_at_tenant(key.tenant, message, reason);
            }
        }
        None
    }

    fn forward_to_cloud(
        &mut self,
        key: TunnelKey,
        class: TrafficClass,
        inner: &Inner,
        mut packet: Packet,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        match route::office_to_cloud(tenant, (key.tunnel, class), inner, &self.config.conventional_lgwan, &mut packet, now) {
            Ok(Verdict::ToCloud { attachment, next_hop }) => self.send_to_cloud(key.tenant, attachment, next_hop, packet, now),
            Ok(Verdict::TurnsBack { session }) => {
                let session = tenant.nat.session(session);
                let (attachment, inner) = (session.attachment, route::turned_back(session, inner));
                return self.forward_to_office(key.tenant, attachment, &inner, packet, None, now);
            }
            Ok(Verdict::EchoReply | Verdict::ToOffice { .. }) => self.ledger.absorbed(packet),
            Err(DropReason::PacketTooBig) if !inner.dont_fragment => {
                return self.forward_in_pieces(OpenFrom::Office { key, class }, inner, packet, now);
            }
            Err(reason) => {
                self.explain_to_office(key, reason, &packet, now);
                self.drop_at_tenant(key.tenant, packet, reason);
                return Err(reason);
            }
        }
        Ok(())
    }

    /// `station` sent it on the VLAN: with none it comes from the office itself, and turned back.
    fn forward_to_office(
        &mut self,
        id: TenantId,
        attachment: AttachmentId,
        inner: &Inner,
        mut packet: Packet,
        station: Option<MacAddr>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Some(mut out) = self.ledger.blank() else {
            self.drop_at_tenant(id, packet, DropReason::NoFreeFrame);
            return Err(DropReason::NoFreeFrame);
        };
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let verdict = route::cloud_to_office(tenant, attachment, inner, &mut packet, &self.config.conventional_lgwan, &mut out, now);
        match (verdict, station) {
            (Ok(Verdict::ToOffice { tunnel }), _) => {
                let ecn = ecn::encapsulate(packet.bytes());
                self.ledger.release(packet);
                self.send_to_peer(TunnelKey { tenant: id, tunnel }, ecn, out, now);
            }
            (Ok(Verdict::EchoReply), Some(station)) => {
                self.ledger.release(out);
                let interface = &tenant.attachments[usize::from(attachment.0)];
                let port = &mut self.ports[usize::from(interface.port.0)];
                port::reflect(port, interface, station, packet, ethernet::IPV4, &mut self.ledger);
            }
            (Ok(_), _) => {
                self.ledger.release(out);
                self.ledger.absorbed(packet);
            }
            (Err(DropReason::PacketTooBig), _) if !inner.dont_fragment => {
                self.ledger.release(out);
                return self.forward_in_pieces(OpenFrom::Cloud { tenant: id, attachment, station }, inner, packet, now);
            }
            (Err(reason), Some(_)) => {
                self.ledger.release(out);
                self.lose_from_cloud(id, attachment, packet, reason, now);
                return Err(reason);
            }
            // It bears its sender's address in the cloud by now, where no error must go.
            (Err(reason), None) => {
                self.ledger.release(out);
                self.drop_at_tenant(id, packet, reason);
                return Err(reason);
            }
        }
        Ok(())
    }

    fn lose_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, packet: Packet, reason: DropReason, now: Instant) {
        if matches!(reason, DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown) {
            // The first one's router may be the one that is dead.
            self.initiate_all(id, now);
        }
        self.explain_to_cloud(id, attachment, reason, &packet, now);
        self.drop_at_tenant(id, packet, reason);
    }

    pub(super) fn drop_at_tenant(&mut self, id: TenantId, packet: Packet, reason: DropReason) {
        match self.tenants[id.0 as usize].as_deref() {
            Some(tenant) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
            None => unreachable!("{}", LIVING),
        }
    }
}
