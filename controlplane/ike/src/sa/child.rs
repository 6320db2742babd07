//! One Child SA: a pair of ESP SAs.

use crate::effect::Selector;
use crate::message::TrafficSelector;
use crate::time::Instant;
use crate::transforms::EspSuite;

/// How far a Child SA is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChildState {
    /// The worker has not acknowledged it yet.
    Installing,
    /// Traffic may flow.
    Live,
    /// A newer one stands; its maker will delete this one.
    Replaced,
    /// Our Delete is under way.
    Deleting,
    /// The peer has it, and no worker of ours: only our Delete is to come.
    NeverStood,
}

/// One Child SA.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    /// Drawn by us.
    pub(crate) inbound_spi: u32,
    /// Drawn by the peer.
    pub(crate) outbound_spi: u32,
    pub(crate) suite: EspSuite,
    pub(crate) selectors: Vec<Selector>,
    /// What was agreed on, (office side, our side): a rekeying asks for the same (RFC 7296 section 2.9.2).
    pub(crate) agreed: (Vec<TrafficSelector>, Vec<TrafficSelector>),
    pub(crate) state: ChildState,
    /// The lowest nonce of the exchange that made it (section 2.8.1).
    pub(crate) lowest_nonce: Vec<u8>,
    /// The worker has lost it: there is nothing to remove there.
    pub(crate) lost: bool,
    /// The peer has it as well: we asked for it, or something was heard on it.
    pub(crate) confirmed: bool,
    /// The peer is replacing it: we do not begin to.
    pub(crate) overtaken: bool,
    /// It was replaced before the worker had it: it never becomes [`ChildState::Live`].
    pub(crate) redundant: bool,
    pub(crate) made: Instant,
    pub(crate) rekey_at: Instant,
    /// When it is gone, whatever the peer says.
    pub(crate) expires_at: Instant,
    /// When its outbound direction is used even though nothing has been heard on it.
    pub(crate) switch_at: Option<Instant>,
}

impl Child {
    /// A worker holds it.
    pub(crate) fn is_installed(&self) -> bool {
        !matches!(self.state, ChildState::Installing | ChildState::NeverStood)
    }

    /// It carries traffic, or will.
    pub(crate) fn serves(&self) -> bool {
        !matches!(self.state, ChildState::Deleting | ChildState::NeverStood)
    }

    /// True where some packet may go through either.
    pub(crate) fn shares_traffic_with(&self, other: &Self) -> bool {
        self.selectors.iter().any(|selector| other.selectors.iter().any(|other| selector.meets(other)))
    }

    /// When something about it is due.
    pub(crate) fn deadline(&self) -> Instant {
        let rekey = if self.state == ChildState::Live { self.rekey_at } else { Instant::FAR_FUTURE };
        rekey.min(self.expires_at).min(self.switch_at.unwrap_or(Instant::FAR_FUTURE))
    }
}
