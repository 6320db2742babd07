//! Both ends replace the same SA at once (RFC 7296 section 2.8.1 and 2.8.2): of the two new ones, the one whose exchange had the
//! lowest of the four nonces is one too many, and who made it deletes it. The other one's maker deletes the old SA.

use crate::message::IkeSpi;
use crate::sa::IkeSa;
use crate::sa::child::ChildState;
use crate::time::Instant;

use super::{Ours, Wanted};

/// The peer asks to replace Child SA `old` by `new`, made with `nonces`. While we are replacing it as well, remember both.
pub(crate) fn peer_replaces(sa: &mut IkeSa, old: u32, new: u32, nonces: (&[u8], &[u8])) {
    if let Some(Ours::Child(draft)) = sa.requests.exchange_mut()
        && draft.replaces == Some(old)
    {
        draft.rival = Some((new, nonces.0.min(nonces.1).to_vec()));
    } else if let Some(child) = sa.child_by_inbound(old) {
        child.overtaken = true;
    }
}

/// The peer's replacement of Child SA `old` has failed: ours to do.
pub(crate) fn peer_has_failed(sa: &mut IkeSa, old: Option<u32>, again: Instant) {
    if let Some(child) = old.and_then(|old| sa.child_by_inbound(old)) {
        child.overtaken = false;
        child.rekey_at = again;
    }
}

/// The peer has replaced Child SA `old`, and will delete it. While we are replacing it as well, nothing is decided yet.
pub(crate) fn peer_has_replaced(sa: &mut IkeSa, old: u32, until: Instant) {
    let ours = matches!(sa.requests.exchange(), Some(Ours::Child(draft)) if draft.replaces == Some(old));
    if !ours {
        replaced(sa, old, until);
    }
}

/// Whether the peer's replacement of a Child SA prevails over ours, which was made with `lowest_nonce`.
pub(crate) fn peer_prevails(rival: Option<&(u32, Vec<u8>)>, lowest_nonce: &[u8]) -> bool {
    rival.is_some_and(|(_, theirs)| lowest_nonce < theirs.as_slice())
}

/// We have replaced Child SA `old` by `new`: delete `old`, unless the peer's replacement of it prevails.
pub(crate) fn we_have_replaced(sa: &mut IkeSa, old: u32, new: u32, rival: Option<&(u32, Vec<u8>)>, until: Instant) {
    let lowest = sa.child_by_inbound(new).map(|child| child.lowest_nonce.clone()).unwrap_or_default();
    let (loser, other) = if peer_prevails(rival, &lowest) { (new, Some(old)) } else { (old, rival.map(|(spi, _)| *spi)) };
    sa.requests.want(Wanted::DeleteChild(loser));
    replaced(sa, loser, until);
    if let Some(other) = other {
        replaced(sa, other, until);
    }
}

/// Our replacement of Child SA `old` has failed: the peer's stands, if there is one. True then.
pub(crate) fn we_have_failed(sa: &mut IkeSa, old: u32, rival: Option<(u32, Vec<u8>)>, until: Instant) -> bool {
    let stands = rival.is_some_and(|(spi, _)| sa.child_by_inbound(spi).is_some());
    if stands {
        replaced(sa, old, until);
    }
    stands
}

fn replaced(sa: &mut IkeSa, spi: u32, until: Instant) {
    let Some(child) = sa.child_by_inbound(spi) else { return };
    match child.state {
        ChildState::Live => child.state = ChildState::Replaced,
        ChildState::Installing => child.redundant = true,
        ChildState::Replaced | ChildState::Deleting | ChildState::NeverStood => return,
    }
    child.expires_at = child.expires_at.min(until);
}

/// Of two IKE SAs that replace the same one, ours and the peer's: which one inherits?
pub(crate) fn heir(ours: (IkeSpi, &[u8]), theirs: (IkeSpi, &[u8])) -> IkeSpi {
    if ours.1 < theirs.1 { theirs.0 } else { ours.0 }
}
