//! Our Deletes (RFC 7296 sections 1.4.1 and 3.11).

use crate::effect::Closed;
use crate::engine::core::Core;
use crate::message::{Delete, EspSpis, ExchangeType, Payload};
use crate::sa::child::ChildState;
use crate::sa::{IkeSa, Phase};
use crate::time::Instant;

use super::{Ours, child, create_child_sa};

/// Delete a Child SA.
pub(crate) fn begin_child(core: &mut Core, sa: &mut IkeSa, inbound_spi: u32, now: Instant) {
    let Some(child) = sa.child_by_inbound(inbound_spi) else { return };
    if child.is_installed() {
        child.state = ChildState::Deleting;
    }
    sa.requests.prepare(Ours::DeleteChild(inbound_spi));
    let spi = [inbound_spi.to_be_bytes()];
    core.request(sa, ExchangeType::Informational, &[Payload::Delete(Delete::Esp(EspSpis::new(&spi)))], now);
}

/// The peer has let go of a Child SA that we delete.
pub(crate) fn child_answered(core: &mut Core, sa: &mut IkeSa, inbound_spi: u32, now: Instant) {
    child::drop_child(core, sa, inbound_spi, false, now);
    create_child_sa::plan_another(core, sa, now);
}

/// Delete the IKE SA.
pub(crate) fn begin_ike(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    sa.requests.prepare(Ours::DeleteIke);
    core.request(sa, ExchangeType::Informational, &[Payload::Delete(Delete::Ike)], now);
}

/// The peer has let go of the IKE SA that we delete, or does not answer to that any more.
pub(crate) fn ike_answered(sa: &mut IkeSa) {
    sa.fate = Some(if matches!(sa.phase, Phase::Replaced) { Closed::Replaced } else { Closed::ByUs });
}

/// A last word that no answer is awaited to.
pub(crate) fn say_goodbye(core: &mut Core, sa: &mut IkeSa, payloads: &[Payload<'_>], now: Instant) {
    core.release_draft(sa, now);
    sa.requests.prepare(Ours::DeleteIke);
    core.request(sa, ExchangeType::Informational, payloads, now);
}
