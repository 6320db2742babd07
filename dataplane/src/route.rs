//! THE packet path: two straight-line functions, in the order of the wire.
//!
//! ```text
//! office ==tunnel==> decapsulate -> admit -> policy, session -> NAT to cloud  -> MTU, hop limit -> VLAN ==> cloud
//! office <==tunnel== encapsulate <- MTU, hop limit <- NAT to office <- session, policy <- admit <- VLAN <== cloud
//! ```
//! When a route begins, the worker has resolved the tenant, by tunnel or by port and VLAN. From here only `&mut Tenant` is in
//! reach. Each route has two halves: [`open_from_office`] and [`open_from_cloud`] find out what the packet is, and while the worker
//! does that with the next few, memory brings what [`office_to_cloud`] and [`cloud_to_office`] look it up in. A stage returns
//! `Err(DropReason)` and nothing else; frames are the worker's, a route never owns one. A fragment comes here with the ports of its
//! datagram, and a packet that is too big once more in pieces: `worker/fragments.rs` sees to both.

use std::net::{Ipv4Addr, SocketAddr};

use ipnetwork::Ipv4Network;

use crate::drop_reason::DropReason;
use crate::host;
use crate::nat::{Direction, Session, SessionId};
use crate::packet::Packet;
use crate::router_config::{AttachmentId, TrafficClass, TunnelId};
use crate::tenant::Tenant;
use crate::time::Instant;
use crate::tunnel::{Content, Tunnel};
use crate::wire::inner::{Inner, decrement_hop_limit};
use crate::wire::{ecn, mss};

/// IPv4 and TCP headers without options: what an MSS leaves out of an MTU (RFC 6691 section 2).
const TCP_HEADERS: u16 = 40;

/// What a route leaves behind in `out`, and where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A translated packet for the cloud.
    ToCloud {
        /// The VLAN it goes onto.
        attachment: AttachmentId,
        /// The station after the relay.
        next_hop: Ipv4Addr,
    },
    /// A packet of the office for another endpoint of the same class, translated as if for the cloud: it takes the second route from here.
    TurnsBack {
        /// The session that translated it.
        session: SessionId,
    },
    /// A datagram with a translated packet inside, for the municipality.
    ToOffice {
        /// The tunnel it goes through.
        tunnel: TunnelId,
    },
    /// The received packet became the answer of the relay's own address.
    EchoReply,
}

/// What came out of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// A packet of an office host, admitted to its class.
    Packet {
        /// Its headers.
        inner: Inner,
        /// Its class.
        class: TrafficClass,
    },
    /// The tunnel's own answer, for where the datagram came from.
    Reply,
    /// Nothing: it was for the tunnel itself.
    Absorbed,
}

/// A tunnel's datagram without its outer headers.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Where it came from.
    pub source: SocketAddr,
    /// ECN bits of the outer header.
    pub ecn: u8,
    /// The UDP payload.
    pub payload: &'a [u8],
}

/// What a tunnel reports beside its packet.
#[derive(Clone, Copy, Default, Debug)]
pub struct TunnelNews {
    /// The peer is at another address than before.
    pub peer_moved: bool,
    /// A handshake completed.
    pub handshake_completed: bool,
}

/// From a tunnel: `out` receives the decrypted packet, its one move.
///
/// # Errors
/// The reason why the datagram, or the packet inside it, is lost. The untranslated packet is then still in `out`.
pub fn open_from_office(
    tenant: &mut Tenant,
    tunnel: TunnelId,
    datagram: Datagram<'_>,
    out: &mut Packet,
    news: &mut TunnelNews,
    now: Instant,
) -> Result<Opened, DropReason> {
    match decapsulate(tenant, tunnel, datagram, out, news, now)? {
        Content::Inner { .. } => {}
        Content::Reply { .. } => return Ok(Opened::Reply),
        Content::Absorbed => return Ok(Opened::Absorbed),
    }
    let inner = Inner::parse(out.bytes())?;
    trim(out, &inner)?;
    ecn::decapsulate(out.bytes_mut(), datagram.ecn)?;
    let class = tenant.admit(&inner)?;
    Ok(Opened::Packet { inner, class })
}

/// To a VLAN: `out` holds the packet that [`open_from_office`] opened, and is translated in place.
///
/// # Errors
/// The reason why the packet is lost. It is then still untranslated.
pub fn office_to_cloud(
    tenant: &mut Tenant,
    (tunnel, class): (TunnelId, TrafficClass),
    inner: &Inner,
    conventional_lgwan: &[Ipv4Network],
    out: &mut Packet,
    now: Instant,
) -> Result<Verdict, DropReason> {
    still_has_hops(inner)?;
    mss::clamp(out.bytes_mut(), inner, tenant.inner_mtu().saturating_sub(TCP_HEADERS));

    let id = if inner.is_icmp_error() {
        tenant.icmp_error_to_cloud(class, out.bytes_mut(), inner, conventional_lgwan, now)?
    } else {
        let flow = tenant.flow_from_office(class, inner, conventional_lgwan, now)?;
        fits(inner, tenant.cloud_mtu(tenant.attachment_of(&flow)))?;
        tenant.admit_rate(Direction::OfficeToCloud, class, inner.total_len, now)?;
        let session = tenant.session_of(flow, inner, now)?;
        tenant.hear_over(session, tunnel);
        tenant.nat.translate_to_cloud(session, out.bytes_mut(), inner, now);
        session
    };
    decrement_hop_limit(out.bytes_mut())?;

    let session = tenant.nat.session(id);
    if session.is_hairpin() {
        tenant.counters.office_to_cloud.add(1, out.len());
        return Ok(Verdict::TurnsBack { session: id });
    }
    let (attachment, destination) = (session.attachment, session.cloud_remote.addr);
    let next_hop = tenant.next_hop(attachment, destination)?;
    tenant.counters.office_to_cloud.add(1, out.len());
    Ok(Verdict::ToCloud { attachment, next_hop })
}

/// What a packet that turns back is, when its session has translated it for the cloud. A later fragment does not say so itself.
#[must_use]
pub fn turned_back(session: &Session, inner: &Inner) -> Inner {
    let hop_limit = inner.hop_limit.saturating_sub(1);
    let (from, to) = (session.cloud_local, session.cloud_remote);
    let inner = Inner { source: from.addr, destination: to.addr, hop_limit, ..*inner };
    if inner.is_icmp_error() { inner } else { Inner { source_port: from.port, destination_port: to.port, ..inner } }
}

/// From a VLAN: what the packet is.
///
/// # Errors
/// The reason why the packet is lost.
pub fn open_from_cloud(packet: &mut Packet) -> Result<Inner, DropReason> {
    let inner = Inner::parse(packet.bytes())?;
    trim(packet, &inner)?;
    Ok(inner)
}

/// Into a tunnel. The packet, which [`open_from_cloud`] opened, is translated in place; `out` receives the datagram: its one move.
///
/// # Errors
/// The reason why the packet is lost. It is then still untranslated.
pub fn cloud_to_office(
    tenant: &mut Tenant,
    attachment: AttachmentId,
    inner: &Inner,
    packet: &mut Packet,
    conventional_lgwan: &[Ipv4Network],
    out: &mut Packet,
    now: Instant,
) -> Result<Verdict, DropReason> {
    tenant.admit_tenant()?;
    if inner.destination == tenant.attachments[usize::from(attachment.0)].address() {
        return host::answer(packet.bytes_mut(), inner).map(|()| Verdict::EchoReply);
    }
    still_has_hops(inner)?;

    let tunnel = if inner.is_icmp_error() {
        let session = tenant.icmp_error_to_office(attachment, packet.bytes_mut(), inner, conventional_lgwan, now)?;
        tenant.return_tunnel(Some(session), now)
    } else {
        let flow = tenant.flow_from_cloud(attachment, inner, conventional_lgwan, now)?;
        let tunnel = tenant.return_tunnel(flow.session(), now);
        fits(inner, tenant.tunnels[usize::from(tunnel.0)].mtu)?;
        tenant.ready(tunnel, now)?;
        tenant.admit_rate(Direction::CloudToOffice, tenant.class_of(&flow), inner.total_len, now)?;
        let session = tenant.session_of(flow, inner, now)?;
        mss::clamp(packet.bytes_mut(), inner, tenant.inner_mtu().saturating_sub(TCP_HEADERS));
        tenant.nat.translate_to_office(session, packet.bytes_mut(), inner, now);
        tunnel
    };
    decrement_hop_limit(packet.bytes_mut())?;
    encapsulate(tenant, tunnel, packet, out, now)?;
    tenant.counters.cloud_to_office.add(1, packet.len());
    Ok(Verdict::ToOffice { tunnel })
}

/// Decrypt into `out`, and count what came out.
fn decapsulate(
    tenant: &mut Tenant,
    tunnel: TunnelId,
    datagram: Datagram<'_>,
    out: &mut Packet,
    news: &mut TunnelNews,
    now: Instant,
) -> Result<Content, DropReason> {
    let slot = &mut tenant.tunnels[usize::from(tunnel.0)];
    let done = slot.tunnel.decapsulate(datagram.payload, datagram.source, out.spare_mut(), now)?;
    *news = TunnelNews { peer_moved: done.peer_moved, handshake_completed: done.handshake_completed };
    if let Content::Inner { len } | Content::Reply { len } = done.content
        && !out.set_range(0, len)
    {
        return Err(DropReason::FrameTooBig);
    }
    if let Content::Inner { len } = done.content {
        slot.counters.received.add(1, len);
    }
    Ok(done.content)
}

/// Encrypt `packet` into `out`, and count what went in. Also the way of ICMP errors that the relay makes for the office.
pub(crate) fn encapsulate(
    tenant: &mut Tenant,
    tunnel: TunnelId,
    packet: &mut Packet,
    out: &mut Packet,
    now: Instant,
) -> Result<(), DropReason> {
    let slot = &mut tenant.tunnels[usize::from(tunnel.0)];
    let inner_len = packet.len();
    let len = slot.tunnel.encapsulate(packet.spare_mut(), inner_len, out.spare_mut(), now)?;
    slot.counters.transmitted.add(1, inner_len);
    if out.set_range(0, len) { Ok(()) } else { Err(DropReason::FrameTooBig) }
}

/// Cut what stands behind the packet: padding of Ethernet or of the tunnel.
fn trim(packet: &mut Packet, inner: &Inner) -> Result<(), DropReason> {
    if packet.set_range(0, inner.total_len) { Ok(()) } else { Err(DropReason::InnerMalformed) }
}

fn still_has_hops(inner: &Inner) -> Result<(), DropReason> {
    if inner.hop_limit > 1 { Ok(()) } else { Err(DropReason::HopLimitExceeded) }
}

fn fits(inner: &Inner, mtu: u16) -> Result<(), DropReason> {
    if inner.total_len <= usize::from(mtu) { Ok(()) } else { Err(DropReason::PacketTooBig) }
}
