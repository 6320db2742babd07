//! What the cloud may begin under a mapping that the office made (RFC 4787 REQ-8, RFC 5382 REQ-3).
//!
//! Filtering says who may send first, never what may talk to what: the session that begins is the very one that the office would open by
//! sending first, under the same rule, so that no packet ever travels between ends that no rule opens, and a reload judges all sessions
//! alike. The tenant finds that flow (`tenant`); here stands whether its first packet may be the cloud's.
//!
//! What is let in has bounds of its own, a quarter of the tenant's: however much a cloud host begins, the office can open sessions.

use super::types::{Direction, Endpoint, NewFlow, Source};
use super::{Nat, sessions};
use crate::drop_reason::DropReason;
use crate::rate::Rate;
use crate::router_config::{AttachmentId, Filtering, TrafficClass};
use crate::time::Instant;
use crate::wire::inner::{Inner, Payload};

/// Of sessions, and of new sessions a second, one in so many may be begun by the cloud under services.
const LET_IN: u32 = 4;

impl Nat {
    /// The office's endpoint, and the class of its pool, behind the destination of a packet that belongs to no session and could begin
    /// one: a datagram of UDP, or a SYN. Only in `napt` pools are there mappings; other translations are opened by callbacks.
    #[must_use]
    pub fn inside_of(&self, attachment: AttachmentId, inner: &Inner) -> Option<(TrafficClass, Endpoint)> {
        let (remote, outside) = sessions::ends(inner);
        let begins = inner.is_opening_syn() || inner.payload == Payload::Udp;
        // A SYN that its own session does not admit begins no other one.
        if !begins || self.sessions.at_cloud(attachment, inner.protocol, outside, remote).is_some() {
            return None;
        }
        let (_, inside, key) = self.mappings.behind(attachment, inner.protocol, outside)?;
        Some((key.class, inside))
    }

    /// Whether the filtering of the flow's service lets the cloud send first: to a mapping that the flow would use.
    #[must_use]
    pub fn lets_in(&self, flow: &NewFlow) -> bool {
        let Source::Pool(pool) = flow.translated_source else { return false };
        let mapping = self.mappings.of_inside(pool, flow.protocol, flow.source);
        mapping.is_some_and(|mapping| self.passes_filter(mapping, flow))
    }

    pub(super) fn passes_filter(&self, mapping: u32, flow: &NewFlow) -> bool {
        match flow.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.sessions.has_contacted(mapping, flow.translated_destination),
            Filtering::AddressAndPortDependent => false,
        }
    }

    /// Limits of sessions, and of new ones a second.
    pub(super) fn may_open(&mut self, flow: &NewFlow, now: Instant) -> Result<(), DropReason> {
        let (most, rate) = (self.limits.sessions.get(), self.limits.new_sessions_per_second.get());
        let is_let_in = flow.opened_by == Direction::OfficeToCloud && flow.begun_by == Direction::CloudToOffice;
        let is_full = is_let_in && self.sessions.let_in() >= most.div_ceil(LET_IN) as usize;
        if is_full || self.sessions.len() >= most as usize {
            return Err(DropReason::SessionTableFull);
        }
        let (bucket, rate) = if is_let_in { (&mut self.letting_in, rate.div_ceil(LET_IN)) } else { (&mut self.opening, rate) };
        if bucket.take(Rate::per_second(rate), now) { Ok(()) } else { Err(DropReason::SessionRateLimited) }
    }
}
