//! The last negotiation with each address and each peer, for people: what was proposed, what we accept, why it failed.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::failure::Failure;
use crate::status::{LastError, Negotiation};
use crate::time::Instant;

/// Addresses remembered; the one that was heard first is forgotten first.
const MAX_ADDRESSES: usize = 256;
/// Lines of one negotiation: a peer that tries for days must not fill the memory.
const MAX_STEPS: usize = 24;
/// Suites and selectors remembered of one offer.
pub(crate) const MAX_LINES: usize = 16;

/// The last negotiation with each of the last [`MAX_ADDRESSES`] addresses.
#[derive(Default)]
pub(crate) struct Negotiations {
    by_address: HashMap<Ipv4Addr, Negotiation>,
    order: VecDeque<Ipv4Addr>,
}

impl Negotiations {
    /// A negotiation begins: what is known of the last one with this address is forgotten.
    pub(crate) fn begin(&mut self, address: SocketAddrV4, initiator: bool, now: Instant) -> &mut Negotiation {
        if !self.by_address.contains_key(address.ip()) {
            if self.order.len() == MAX_ADDRESSES
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_address.remove(&oldest);
            }
            self.order.push_back(*address.ip());
        }
        let negotiation = Negotiation {
            at: now,
            address,
            peer: None,
            initiator,
            claimed: None,
            proposed: Vec::new(),
            accepted: Vec::new(),
            child_proposed: Vec::new(),
            child_accepted: Vec::new(),
            selectors_proposed: Vec::new(),
            steps: Vec::new(),
            error: None,
        };
        let entry = self.by_address.entry(*address.ip()).or_insert_with(|| negotiation.clone());
        *entry = negotiation;
        entry
    }

    /// Write down what happens in the last negotiation with an address, where it is still remembered.
    pub(crate) fn note(&mut self, address: SocketAddrV4, write: impl FnOnce(&mut Negotiation)) {
        if let Some(negotiation) = self.by_address.get_mut(address.ip()) {
            write(negotiation);
        }
    }

    /// One step further.
    pub(crate) fn step(&mut self, address: SocketAddrV4, step: impl Into<String>) {
        self.note(address, |negotiation| {
            if negotiation.steps.len() < MAX_STEPS {
                negotiation.steps.push(step.into());
            }
        });
    }

    /// It failed.
    pub(crate) fn failed(
        &mut self,
        address: SocketAddrV4,
        failure: Failure,
        detail: &str,
        remedy: Option<String>,
        proven: bool,
        now: Instant,
    ) -> LastError {
        let words = if detail.is_empty() { failure.words().to_owned() } else { format!("{}: {detail}", failure.words()) };
        let error = LastError { at: now, failure, words, remedy: remedy.unwrap_or_else(|| failure.remedy().to_owned()), proven };
        self.note(address, |negotiation| negotiation.error = Some(error.clone()));
        error
    }

    /// The last negotiation with an address.
    pub(crate) fn get(&self, address: Ipv4Addr) -> Option<&Negotiation> {
        self.by_address.get(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_addresses_are_remembered() {
        let mut negotiations = Negotiations::default();
        for number in 0..300 {
            negotiations.begin(SocketAddrV4::new(Ipv4Addr::from(number), 500), false, Instant::ZERO);
        }
        assert_eq!(negotiations.by_address.len(), MAX_ADDRESSES);
        assert!(negotiations.get(Ipv4Addr::from(43)).is_none() && negotiations.get(Ipv4Addr::from(44)).is_some());
    }

    #[test]
    fn a_peer_that_tries_for_days_fills_no_memory() {
        let mut negotiations = Negotiations::default();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 500);
        negotiations.begin(address, true, Instant::ZERO);
        (0..1_000).for_each(|_| negotiations.step(address, "again"));
        assert_eq!(negotiations.get(*address.ip()).unwrap().steps.len(), MAX_STEPS);
    }
}
