//! What operators see of key exchange: states, explanations, counters. Plain copies; nothing here holds the engine up for longer
//! than it takes to make them.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use ike::{Negotiation, PeerName, PeerStatus};

use super::Ipsec;

/// What the driver counts beside the engine.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DriverCounters {
    /// Received messages dropped because the engine had too many to read.
    pub datagrams_dropped: u64,
    /// Messages to peers dropped because a worker had too many to send.
    pub messages_dropped: u64,
    /// Commands that wait for room on a worker's ring, now.
    pub commands_waiting: u64,
    /// Diffie-Hellman jobs that found the queue full.
    pub dh_refused: u64,
    /// Installations that a worker never answered.
    pub installs_unanswered: u64,
}

/// All counters of key exchange.
#[derive(Clone, Default, Debug)]
pub struct Counters {
    /// The engine's.
    pub engine: ike::Counters,
    /// The driver's.
    pub driver: DriverCounters,
}

impl Ipsec {
    /// One tunnel as it is now; `None` where it is no IPsec tunnel.
    #[must_use]
    pub fn status(&self, tenant: &str, tunnel: &str) -> Option<PeerStatus> {
        self.driver().engine.status(&name(tenant, tunnel))
    }

    /// All IPsec tunnels as they are now.
    #[must_use]
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.driver().engine.statuses()
    }

    /// The last negotiation about a tunnel.
    #[must_use]
    pub fn explain(&self, tenant: &str, tunnel: &str) -> Option<Negotiation> {
        self.driver().engine.explain(&name(tenant, tunnel))
    }

    /// The last negotiation with an address, also before an identity was known.
    #[must_use]
    pub fn explain_address(&self, address: Ipv4Addr) -> Option<Negotiation> {
        self.driver().engine.explain_address(address)
    }

    /// All counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let driver = self.driver();
        let dropped = self.dropped.load(Ordering::Relaxed);
        Counters { engine: driver.engine.counters().clone(), driver: DriverCounters { datagrams_dropped: dropped, ..driver.counters() } }
    }
}

fn name(tenant: &str, tunnel: &str) -> PeerName {
    PeerName { tenant: tenant.into(), tunnel: tunnel.into() }
}
