//! The classes of attempts, each with its number in the project's list, what is sent, and what must become of it.

mod access;
mod from_cloud;
mod from_office;
mod trunk;

use std::fmt;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{PortId, TrafficClass};
use dataplane::simulation::municipality::{ACCESS, AWS};

use crate::town::Town;

/// A class of hostile packets.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    /// Its number in the list of attempts.
    pub(crate) attempt: u8,
    pub(crate) what: &'static str,
    pub(crate) make: fn(&mut Pair<'_>) -> Attempt,
}

/// Who attacks whom. Everything is sent where the attacker can send it: through its tunnel, on its VLAN, on the access network.
pub(crate) struct Pair<'a> {
    pub(crate) attacker: &'a mut Town,
    pub(crate) victim: &'a mut Town,
}

/// One packet, and what must become of it.
pub(crate) struct Attempt {
    pub(crate) port: PortId,
    pub(crate) frame: Vec<u8>,
    /// Length of the packet that comes out of the attacker's tunnel, where one does.
    pub(crate) inner: Option<usize>,
    pub(crate) outcome: Outcome,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Lost, on the attacker's account.
    OfAttacker(DropReason),
    /// Lost, on the account of the victim, whose number it bore.
    OfVictim(DropReason),
    /// Lost, on the account of the port that it came by.
    OfPort(DropReason),
    /// It goes to the attacker's own cloud.
    AttackersCloud,
    /// It goes to the attacker's own office.
    AttackersOffice,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfAttacker(reason) => write!(f, "lost at the attacker: {}", reason.label()),
            Self::OfVictim(reason) => write!(f, "lost at the victim: {}", reason.label()),
            Self::OfPort(reason) => write!(f, "lost at the port: {}", reason.label()),
            Self::AttackersCloud => f.write_str("reached the attacker's own cloud"),
            Self::AttackersOffice => f.write_str("reached the attacker's own office"),
        }
    }
}

/// All classes.
pub(crate) fn all() -> Vec<Class> {
    [from_office::CLASSES, from_cloud::CLASSES, trunk::CLASSES, access::CLASSES].concat()
}

impl Pair<'_> {
    /// The attacker's canary.
    fn canary(&self, class: TrafficClass) -> Vec<u8> {
        self.attacker.canary(class).to_vec()
    }

    /// A packet through the attacker's tunnel, which comes out of it.
    fn through_tunnel(&mut self, packet: &[u8], outcome: Outcome) -> Attempt {
        Attempt { port: ACCESS, frame: self.attacker.sealed(packet), inner: Some(packet.len()), outcome }
    }

    /// A packet through the attacker's tunnel, in vain.
    fn office_fails(&mut self, packet: &[u8], reason: DropReason) -> Attempt {
        self.through_tunnel(packet, Outcome::OfAttacker(reason))
    }

    /// A packet with a header that cannot be read, through the attacker's tunnel. ESP needs it for its selectors, before the packet
    /// counts as having come out of the tunnel.
    fn header_fails(&mut self, packet: &[u8], reason: DropReason) -> Attempt {
        let attempt = self.office_fails(packet, reason);
        Attempt { inner: attempt.inner.filter(|_| !self.attacker.office.is_ipsec()), ..attempt }
    }

    /// A packet on the attacker's VLAN.
    fn on_vlan(&self, packet: &[u8], outcome: Outcome) -> Attempt {
        Attempt { port: AWS, frame: self.attacker.on_vlan(packet), inner: None, outcome }
    }

    /// A packet on the attacker's VLAN, in vain.
    fn cloud_fails(&self, packet: &[u8], reason: DropReason) -> Attempt {
        self.on_vlan(packet, Outcome::OfAttacker(reason))
    }
}

/// A frame on the trunk.
fn on_trunk(frame: Vec<u8>, outcome: Outcome) -> Attempt {
    Attempt { port: AWS, frame, inner: None, outcome }
}

/// A frame on the access network.
fn on_access(frame: Vec<u8>, outcome: Outcome) -> Attempt {
    Attempt { port: ACCESS, frame, inner: None, outcome }
}
