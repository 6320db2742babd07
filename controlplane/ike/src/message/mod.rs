//! IKE messages (RFC 7296 section 3): octets to types that cannot be wrong, and back. Reading borrows; writing goes into a `Vec`.
//!
//! ```text
//! datagram -> Message::parse -> header, payloads in the clear, Protected? -> open(Open) -> Payloads::parse -> payloads
//!                                                               fragment  -> Reassembly --^
//! payloads -> write -> octets              payloads -> write_protected(Seal) -> one message, or its fragments
//! ```

mod access;
mod delete;
mod encrypted;
mod error;
mod fragment;
mod header;
mod notify;
mod payload;
pub mod protect;
mod reader;
mod security_association;
mod traffic_selector;

pub use delete::{Delete, EspSpis};
pub use encrypted::{OpenError, Opened, Protected, WriteError, write_protected};
pub use error::ParseError;
pub use fragment::{FRAGMENT_OCTETS, Fragment, MAX_FRAGMENTS, REASSEMBLY_TIME, Reassembled, Reassembly};
pub use header::{ExchangeType, HEADER_OCTETS, Header, IkeSpi};
pub use notify::{Notify, NotifyType};
pub use payload::{Id, MAX_NONCE_OCTETS, MAX_PAYLOADS, MIN_NONCE_OCTETS, Payload, Payloads, payload_type};
pub use security_association::{MAX_PROPOSALS, MAX_TRANSFORMS, Proposal, Protects, Transform, TransformType};
pub use traffic_selector::{Ipv4Selector, TrafficSelector};

use payload::{Link, write_chain};
use reader::Reader;

/// Octets of a message, or of all fragments of one. RFC 7296 section 2 asks for 3,000; a chain of three RSA certificates has 5,000.
pub const MAX_MESSAGE_OCTETS: usize = 16_384;

/// A message as it came: what stands in the clear, and where the protected part lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// IKE header.
    pub header: Header,
    /// Payloads outside any protection: all of IKE_SA_INIT. In front of an SK payload they are nothing to act upon.
    pub payloads: Payloads<'a>,
    /// The SK or SKF payload that ends the message.
    pub protected: Option<Protected>,
}

impl<'a> Message<'a> {
    /// Read a datagram (without the non-ESP marker).
    ///
    /// # Errors
    /// Anything but one whole IKEv2 message whose chain of payloads ends exactly with the datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        if datagram.len() > MAX_MESSAGE_OCTETS {
            return Err(ParseError::Bound("octets of a message"));
        }
        let (header, mut kind) = Header::parse(datagram)?;
        let mut message = Self { header, payloads: Payloads::default(), protected: None };
        let mut reader = Reader::new(&datagram[HEADER_OCTETS..], "chain of payloads");
        while kind != payload_type::NONE {
            let link = Link::read(kind, &mut reader)?;
            if matches!(kind, payload_type::SK | payload_type::SKF) {
                // SK is the last payload of its message, whatever its header names as the next: that is inside (section 3.14).
                message.protected = Some(Protected::parse(&link, datagram.len())?);
                break;
            }
            kind = link.next;
            message.payloads.add(&link)?;
        }
        reader.end()?;
        Ok(message)
    }
}

/// A message in the clear: IKE_SA_INIT, and what is answered to strangers.
///
/// # Errors
/// [`WriteError::TooLong`] beyond [`MAX_MESSAGE_OCTETS`].
pub fn write(header: &Header, payloads: &[Payload<'_>]) -> Result<Vec<u8>, WriteError> {
    let mut message = Vec::with_capacity(512);
    header.write(payloads.first().map_or(payload_type::NONE, Payload::kind), &mut message);
    write_chain(payloads, &mut message);
    if message.len() > MAX_MESSAGE_OCTETS {
        return Err(WriteError::TooLong);
    }
    header::set_length(&mut message);
    Ok(message)
}

#[cfg(test)]
mod tests;
