//! What machines see of the engine: numbers that only grow, and a few that say how much there is now.

use crate::failure::Failure;

/// Numbers over all peers.
#[derive(Clone, Default, Debug)]
pub struct Counters {
    /// IKE SAs that stand now.
    pub ike_sas: u64,
    /// Child SA pairs that stand now.
    pub child_sas: u64,
    /// Negotiations that no identity stands behind yet, now.
    pub half_open: u64,
    /// Datagrams handed in.
    pub received: u64,
    /// Messages handed out, retransmissions included.
    pub sent: u64,
    /// Cookies demanded (RFC 7296 section 2.6).
    pub cookies_sent: u64,
    /// Other Diffie-Hellman groups demanded (RFC 7296 section 2.7).
    pub invalid_ke_sent: u64,
    /// IKE SAs replaced.
    pub rekeys_ike: u64,
    /// Child SAs replaced.
    pub rekeys_child: u64,
    /// Our own requests sent again.
    pub retransmissions: u64,
    /// Requests of peers answered again from the cache.
    pub answered_again: u64,
    /// Datagrams dropped because they are no IKE messages.
    pub dropped_malformed: u64,
    /// Datagrams dropped because no SA has their SPIs.
    pub dropped_unknown_spi: u64,
    /// Datagrams dropped because their integrity check failed.
    pub dropped_not_authentic: u64,
    /// Datagrams dropped because their message id is outside the window.
    pub dropped_message_id: u64,
    /// SA_INIT requests dropped by the limits of RFC 8019.
    pub dropped_half_open: u64,
    /// Requests of peers to rekey that were put off because the peer asks too often.
    pub asked_too_often: u64,
    /// Negotiations that failed, by [`Failure`].
    pub failures: FailureCounts,
    /// Those of them whose other end had proven nothing: it may have been anybody.
    pub unproven_failures: FailureCounts,
}

/// One number a [`Failure`].
#[derive(Clone, Debug)]
pub struct FailureCounts([u64; Failure::ALL.len()]);

impl Default for FailureCounts {
    fn default() -> Self {
        Self([0; Failure::ALL.len()])
    }
}

impl FailureCounts {
    /// How often it happened.
    #[must_use]
    pub fn get(&self, failure: Failure) -> u64 {
        self.0[failure as usize]
    }

    /// All of them with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        Failure::ALL.iter().map(|&failure| (failure, self.get(failure)))
    }

    /// It happened once more.
    pub fn count(&mut self, failure: Failure) {
        self.0[failure as usize] += 1;
    }
}
