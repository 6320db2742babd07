//! ICMP errors that the relay sends: to the host whose packet was lost, where ICMP has a word for the reason.

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::route;
use crate::router_config::AttachmentId;
use crate::tenant::Tenant;
use crate::time::Instant;
use crate::tunnel::{TenantId, TunnelKey};
use crate::wire::icmp::{self, IcmpErrorKind};
use crate::wire::icmpv6;
use crate::wire::inner::Inner;
use crate::worker::Worker;

impl Worker {
    /// Tell an office host why its packet was lost, where ICMP has a word for it. `lost` is the untranslated inner packet.
    pub(super) fn explain_to_office(&mut self, key: TunnelKey, reason: DropReason, lost: &Packet, now: Instant) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref() else { return };
        if reason == DropReason::Ipv6Refused {
            // Nothing has admitted it yet; who is cut off hears nothing.
            if tenant.admit_tenant().is_ok() {
                let longest = usize::from(tenant.inner_mtu());
                self.send_error_to_office(
                    key,
                    Tenant::may_send_icmpv6,
                    |out| icmpv6::administratively_prohibited(out, longest, lost.bytes()),
                    now,
                );
            }
            return;
        }
        let mtu = tenant.smallest_cloud_mtu();
        let Ok(inner) = Inner::parse(lost.bytes()) else { return };
        let Some(kind) = icmp_error_for(reason, &inner, mtu) else { return };
        // The destination speaks for itself: WireGuard at the office lets in only sources that it sends to (AllowedIPs), and the
        // relay's own address is none of them.
        self.send_error_to_office(
            key,
            Tenant::may_send_icmp_error,
            |out| icmp::icmp_error(out, kind, inner.destination, lost.bytes()),
            now,
        );
    }

    /// Send what `write` writes, if anything, through the tunnel, on the tenant's account, where it still `may`.
    fn send_error_to_office(
        &mut self,
        key: TunnelKey,
        may: fn(&mut Tenant, Instant) -> bool,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
        now: Instant,
    ) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let Some(mut plain) = self.ledger.blank() else { return };
        let Some(mut out) = self.ledger.blank() else { return self.ledger.release(plain) };
        let written = write(plain.spare_mut());
        let sent = written.is_some_and(|len| plain.set_range(0, len))
            && may(tenant, now)
            && route::encapsulate(tenant, key.tunnel, &mut plain, &mut out, now).is_ok();
        self.ledger.release(plain);
        if !sent {
            return self.ledger.release(out);
        }
        tenant.counters.icmp_errors_sent.add(1);
        self.ledger.generated();
        self.send_to_peer(key, 0, out, now);
    }

    /// Tell a cloud host why its packet was lost, where ICMP has a word for it. `lost` is the untranslated packet.
    pub(super) fn explain_to_cloud(&mut self, id: TenantId, attachment: AttachmentId, reason: DropReason, lost: &Packet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { return };
        let Ok(inner) = Inner::parse(lost.bytes()) else { return };
        let Some(kind) = icmp_error_for(reason, &inner, tenant.inner_mtu()) else { return };
        let interface = &tenant.attachments[usize::from(attachment.0)];
        let (from, next_hop) = (interface.address(), interface.next_hop(inner.source));
        let Some(mut out) = self.ledger.blank() else { return };
        let written = icmp::icmp_error(out.spare_mut(), kind, from, lost.bytes());
        let sent = written.is_some_and(|len| out.set_range(0, len)) && tenant.may_send_icmp_error(now);
        match next_hop {
            Some(next_hop) if sent => {
                tenant.counters.icmp_errors_sent.add(1);
                self.ledger.generated();
                self.send_to_cloud(id, attachment, next_hop, out, now);
            }
            _ => self.ledger.release(out),
        }
    }
}

/// What ICMP says about a loss: RFC 792, RFC 1191, and RFC 6888 REQ-11 for exhausted tables. The rest is lost in silence.
fn icmp_error_for(reason: DropReason, lost: &Inner, mtu: u16) -> Option<IcmpErrorKind> {
    match reason {
        // RFC 1191 section 4: only a sender that forbade fragments asks to be told.
        DropReason::PacketTooBig if lost.dont_fragment => Some(IcmpErrorKind::FragmentationNeeded { next_hop_mtu: mtu }),
        DropReason::HopLimitExceeded => Some(IcmpErrorKind::TimeExceeded),
        DropReason::SessionTableFull | DropReason::SessionRateLimited | DropReason::PortLimitReached | DropReason::PortsExhausted => {
            Some(IcmpErrorKind::HostUnreachable)
        }
        DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown => Some(IcmpErrorKind::HostUnreachable),
        _ => None,
    }
}
