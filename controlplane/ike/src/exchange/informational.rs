//! INFORMATIONAL (RFC 7296 section 1.4): Deletes, and the question whether the other end lives.

use std::num::NonZeroU32;

use crate::effect::Closed;
use crate::engine::core::Core;
use crate::failure::Failure;
use crate::message::{Delete, EspSpis, ExchangeType, NotifyType, Payload, Payloads};
use crate::sa::IkeSa;
use crate::sa::child::ChildState;
use crate::time::Instant;

use super::{Ours, Reply, child, create_child_sa, rekey_ike};

/// Ask whether the peer lives (section 2.4).
pub(crate) fn probe(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    sa.requests.prepare(Ours::Probe);
    core.request(sa, ExchangeType::Informational, &[], now);
}

/// The peer's request.
pub(crate) fn requested(core: &mut Core, sa: &mut IkeSa, payloads: &Payloads<'_>, reply: Reply, now: Instant) {
    let deleted: Vec<NonZeroU32> = payloads
        .deletes()
        .flat_map(|delete| match delete {
            Delete::Esp(spis) => spis.iter().collect::<Vec<_>>(),
            Delete::Ike | Delete::Other(_) => Vec::new(),
        })
        .collect();
    let ours: Vec<[u8; 4]> = deleted.into_iter().filter_map(|spi| delete_child(core, sa, spi, now)).map(u32::to_be_bytes).collect();
    let answer = if ours.is_empty() { Vec::new() } else { vec![Payload::Delete(Delete::Esp(EspSpis::new(&ours)))] };
    core.reply(sa, reply, &answer, now);
    if payloads.deletes().any(|delete| delete == Delete::Ike) {
        return rekey_ike::deleted_meanwhile(sa);
    }
    if payloads.notify(NotifyType::AUTHENTICATION_FAILED).is_some() {
        // The peer has found out only after our proof that it does not believe us (section 2.21.2).
        core.failed(sa, Failure::RejectedByPeer, "", now);
        sa.fate = Some(Closed::Failed);
        return;
    }
    if !ours.is_empty() {
        create_child_sa::plan_another(core, sa, now);
    }
}

/// The peer has deleted the Child SA that it receives with `spi`. Our SPI of it, unless we are deleting it ourselves (section 2.25.1).
fn delete_child(core: &mut Core, sa: &mut IkeSa, spi: NonZeroU32, now: Instant) -> Option<u32> {
    let child = sa.child_by_outbound(spi.get())?;
    let (inbound_spi, state) = (child.inbound_spi, child.state);
    if state == ChildState::Installing {
        return None;
    }
    let closing = matches!(sa.requests.exchange(), Some(Ours::DeleteChild(ours)) if *ours == inbound_spi);
    child::drop_child(core, sa, inbound_spi, true, now);
    (!closing).then_some(inbound_spi)
}
