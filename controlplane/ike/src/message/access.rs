//! What the exchanges ask a chain of payloads for.

use super::delete::Delete;
use super::notify::{Notify, NotifyType};
use super::payload::{Id, Payload, Payloads};
use super::security_association::Proposal;
use super::traffic_selector::TrafficSelector;

macro_rules! only {
    ($($(#[$doc:meta])* $name:ident -> $type:ty: $pattern:pat => $value:expr;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> Option<$type> {
            self.iter().find_map(|payload| match payload {
                $pattern => Some($value),
                _ => None,
            })
        })*
    };
}

impl<'a> Payloads<'a> {
    /// All, in their order; unknown ones are left out.
    pub fn iter(&self) -> std::slice::Iter<'_, Payload<'a>> {
        self.list().iter()
    }

    only! {
        /// Proposals of the SA payload.
        proposals -> &[Proposal]: Payload::SecurityAssociation(proposals) => proposals.as_slice();
        /// Group and public value of the KE payload.
        key_exchange -> (u16, &'a [u8]): Payload::KeyExchange { group, data } => (*group, *data);
        /// Nonce, without its header: what the key schedule takes.
        nonce -> &'a [u8]: Payload::Nonce(nonce) => *nonce;
        /// IDi.
        id_initiator -> Id<'a>: Payload::IdInitiator(id) => *id;
        /// IDr.
        id_responder -> Id<'a>: Payload::IdResponder(id) => *id;
        /// Method and data of the AUTH payload.
        authentication -> (u8, &'a [u8]): Payload::Authentication { method, data } => (*method, *data);
        /// TSi.
        selectors_initiator -> &[TrafficSelector]: Payload::TrafficSelectorsInitiator(selectors) => selectors.as_slice();
        /// TSr.
        selectors_responder -> &[TrafficSelector]: Payload::TrafficSelectorsResponder(selectors) => selectors.as_slice();
    }

    /// The first notification of a type.
    #[must_use]
    pub fn notify(&self, kind: NotifyType) -> Option<Notify<'a>> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// The first notification that is an error, known or unknown.
    #[must_use]
    pub fn error(&self) -> Option<Notify<'a>> {
        self.notifies().find(|notify| notify.kind.is_error())
    }

    /// All notifications.
    pub fn notifies(&self) -> impl Iterator<Item = Notify<'a>> {
        self.iter().filter_map(|payload| if let Payload::Notify(notify) = payload { Some(*notify) } else { None })
    }

    /// All Delete payloads.
    pub fn deletes(&self) -> impl Iterator<Item = Delete<'a>> {
        self.iter().filter_map(|payload| if let Payload::Delete(delete) = payload { Some(*delete) } else { None })
    }

    /// Encoding and data of all CERT payloads; the first is the end entity's.
    pub fn certificates(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        self.iter()
            .filter_map(|payload| if let Payload::Certificate { encoding, data } = payload { Some((*encoding, *data)) } else { None })
    }

    /// All vendor IDs.
    pub fn vendor_ids(&self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter_map(|payload| if let Payload::VendorId(data) = payload { Some(*data) } else { None })
    }
}
