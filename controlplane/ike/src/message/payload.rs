//! Payloads and the chain they make (RFC 7296 section 3.2).

use super::delete::Delete;
use super::error::ParseError;
use super::notify::Notify;
use super::reader::Reader;
use super::security_association::{self, Proposal};
use super::traffic_selector::{self, TrafficSelector};

/// Payloads of one chain. IKE_AUTH with certificates has about fifteen.
pub const MAX_PAYLOADS: usize = 48;
/// RFC 7296 section 2.10.
pub const MIN_NONCE_OCTETS: usize = 16;
/// RFC 7296 section 2.10.
pub const MAX_NONCE_OCTETS: usize = 256;
/// Key Exchange Data of MODP-8192 have 1,024 octets, of ML-KEM-1024 1,568.
const MAX_KEY_EXCHANGE_OCTETS: usize = 2_048;

/// Bit of the generic header: a receiver that does not know the payload must refuse the message.
const CRITICAL: u8 = 0x80;
/// Octets of the generic payload header.
pub(super) const GENERIC_HEADER_OCTETS: usize = 4;

/// Payload types (IANA).
pub mod payload_type {
    #![allow(missing_docs, reason = "the names of RFC 7296 section 3.2")]
    pub const NONE: u8 = 0;
    pub const SA: u8 = 33;
    pub const KE: u8 = 34;
    pub const IDI: u8 = 35;
    pub const IDR: u8 = 36;
    pub const CERT: u8 = 37;
    pub const CERTREQ: u8 = 38;
    pub const AUTH: u8 = 39;
    pub const NONCE: u8 = 40;
    pub const NOTIFY: u8 = 41;
    pub const DELETE: u8 = 42;
    pub const VENDOR: u8 = 43;
    pub const TSI: u8 = 44;
    pub const TSR: u8 = 45;
    pub const SK: u8 = 46;
    pub const CP: u8 = 47;
    pub const EAP: u8 = 48;
    pub const SKF: u8 = 53;
}

/// One payload. Octets are borrowed from the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// SA (33).
    SecurityAssociation(Vec<Proposal>),
    /// KE (34).
    KeyExchange {
        /// Group number, known or not.
        group: u16,
        /// Public value.
        data: &'a [u8],
    },
    /// IDi (35).
    IdInitiator(Id<'a>),
    /// IDr (36).
    IdResponder(Id<'a>),
    /// CERT (37): encoding (4 is X.509, signature) and data.
    Certificate {
        /// Certificate encoding.
        encoding: u8,
        /// Certificate data.
        data: &'a [u8],
    },
    /// CERTREQ (38): encoding and, for X.509, SHA-1 hashes of authorities' public keys, 20 octets each.
    CertificateRequest {
        /// Certificate encoding.
        encoding: u8,
        /// Certification authority.
        data: &'a [u8],
    },
    /// AUTH (39).
    Authentication {
        /// 1 RSA signature, 2 shared key MIC, 9 to 11 ECDSA, 14 digital signature (RFC 7427).
        method: u8,
        /// Authentication data.
        data: &'a [u8],
    },
    /// Ni or Nr (40), 16 to 256 octets.
    Nonce(&'a [u8]),
    /// N (41).
    Notify(Notify<'a>),
    /// D (42).
    Delete(Delete<'a>),
    /// V (43).
    VendorId(&'a [u8]),
    /// TSi (44).
    TrafficSelectorsInitiator(Vec<TrafficSelector>),
    /// TSr (45).
    TrafficSelectorsResponder(Vec<TrafficSelector>),
    /// CP (47): read over; there are no addresses to hand out to a router.
    Configuration(&'a [u8]),
}

/// Identification payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id<'a> {
    /// ID type: 1 IPv4 address, 2 FQDN, 3 mail address, 9 distinguished name, 11 key id.
    pub kind: u8,
    /// Identification data.
    pub data: &'a [u8],
    /// The payload behind its generic header, as it was sent: what AUTH covers (section 2.15).
    pub body: &'a [u8],
}

impl<'a> Id<'a> {
    /// Of a body: type, three reserved octets, data.
    ///
    /// # Errors
    /// [`ParseError::Malformed`] where the data are missing.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(body, "ID payload");
        let kind = reader.u8()?;
        reader.take(3)?;
        let data = reader.rest();
        if data.is_empty() { Err(ParseError::Malformed("ID payload")) } else { Ok(Self { kind, data, body }) }
    }
}

impl<'a> Payload<'a> {
    /// `None` for what is skipped: an unknown payload that is not critical.
    fn parse(kind: u8, critical: bool, body: &'a [u8]) -> Result<Option<Self>, ParseError> {
        let encoded = |what| {
            let (encoding, data) = body.split_first().ok_or(ParseError::Malformed(what))?;
            Ok((*encoding, data))
        };
        Ok(Some(match kind {
            payload_type::SA => Self::SecurityAssociation(security_association::parse(body)?),
            payload_type::KE => key_exchange(body)?,
            payload_type::IDI => Self::IdInitiator(Id::parse(body)?),
            payload_type::IDR => Self::IdResponder(Id::parse(body)?),
            payload_type::CERT => encoded("CERT payload").map(|(encoding, data)| Self::Certificate { encoding, data })?,
            payload_type::CERTREQ => encoded("CERTREQ payload").map(|(encoding, data)| Self::CertificateRequest { encoding, data })?,
            payload_type::AUTH => authentication(body)?,
            payload_type::NONCE if (MIN_NONCE_OCTETS..=MAX_NONCE_OCTETS).contains(&body.len()) => Self::Nonce(body),
            payload_type::NONCE => return Err(ParseError::Malformed("nonce: 16 to 256 octets")),
            payload_type::NOTIFY => Self::Notify(Notify::parse(body)?),
            payload_type::DELETE => Self::Delete(Delete::parse(body)?),
            payload_type::VENDOR => Self::VendorId(body),
            payload_type::TSI => Self::TrafficSelectorsInitiator(traffic_selector::parse(body)?),
            payload_type::TSR => Self::TrafficSelectorsResponder(traffic_selector::parse(body)?),
            payload_type::CP => Self::Configuration(body),
            kind if critical => return Err(ParseError::UnsupportedCritical(kind)),
            _ => return Ok(None),
        }))
    }

    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::SecurityAssociation(_) => payload_type::SA,
            Self::KeyExchange { .. } => payload_type::KE,
            Self::IdInitiator(_) => payload_type::IDI,
            Self::IdResponder(_) => payload_type::IDR,
            Self::Certificate { .. } => payload_type::CERT,
            Self::CertificateRequest { .. } => payload_type::CERTREQ,
            Self::Authentication { .. } => payload_type::AUTH,
            Self::Nonce(_) => payload_type::NONCE,
            Self::Notify(_) => payload_type::NOTIFY,
            Self::Delete(_) => payload_type::DELETE,
            Self::VendorId(_) => payload_type::VENDOR,
            Self::TrafficSelectorsInitiator(_) => payload_type::TSI,
            Self::TrafficSelectorsResponder(_) => payload_type::TSR,
            Self::Configuration(_) => payload_type::CP,
        }
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::SecurityAssociation(proposals) => security_association::write(proposals, out),
            Self::KeyExchange { group, data } => {
                out.extend_from_slice(&group.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(data);
            }
            Self::IdInitiator(id) | Self::IdResponder(id) => out.extend_from_slice(id.body),
            Self::Certificate { encoding, data } | Self::CertificateRequest { encoding, data } => {
                out.push(*encoding);
                out.extend_from_slice(data);
            }
            Self::Authentication { method, data } => {
                out.extend_from_slice(&[*method, 0, 0, 0]);
                out.extend_from_slice(data);
            }
            Self::Nonce(data) | Self::VendorId(data) | Self::Configuration(data) => out.extend_from_slice(data),
            Self::Notify(notify) => notify.write(out),
            Self::Delete(delete) => delete.write(out),
            Self::TrafficSelectorsInitiator(selectors) | Self::TrafficSelectorsResponder(selectors) => {
                traffic_selector::write(selectors, out);
            }
        }
    }

    /// With its generic header, in front of a payload of type `next`.
    pub(super) fn write(&self, next: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[next, 0, 0, 0]);
        self.write_body(out);
        // What overflows is longer than any message may be, which the writer of the message refuses.
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn key_exchange(body: &[u8]) -> Result<Payload<'_>, ParseError> {
    let mut reader = Reader::new(body, "KE payload");
    let group = reader.u16()?;
    reader.take(2)?;
    match reader.rest() {
        [] => Err(ParseError::Malformed("KE payload")),
        data if data.len() > MAX_KEY_EXCHANGE_OCTETS => Err(ParseError::Bound("KE payload")),
        data => Ok(Payload::KeyExchange { group, data }),
    }
}

fn authentication(body: &[u8]) -> Result<Payload<'_>, ParseError> {
    let mut reader = Reader::new(body, "AUTH payload");
    let method = reader.u8()?;
    reader.take(3)?;
    Ok(Payload::Authentication { method, data: reader.rest() })
}

/// A link of a chain before its body is understood.
pub(super) struct Link<'a> {
    pub(super) kind: u8,
    pub(super) critical: bool,
    /// Type of the payload behind it; for SK and SKF, of the first one inside.
    pub(super) next: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Link<'a> {
    pub(super) fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let next = reader.u8()?;
        let critical = reader.u8()? & CRITICAL != 0;
        let length = usize::from(reader.u16()?);
        let body = reader.take(length.checked_sub(GENERIC_HEADER_OCTETS).ok_or(reader.malformed())?)?;
        Ok(Self { kind, critical, next, body })
    }
}

/// The payloads of one chain, each understood. What may stand only once does, so that there is no first and second opinion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payloads<'a> {
    list: Vec<Payload<'a>>,
    links: usize,
}

impl<'a> Payloads<'a> {
    /// The payloads of a decrypted SK payload: `bytes` begin with one of type `first`.
    ///
    /// # Errors
    /// Anything but a chain that ends exactly with the octets.
    pub fn parse(first: u8, bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut payloads = Self::default();
        let mut reader = Reader::new(bytes, "chain of payloads");
        let mut kind = first;
        while kind != payload_type::NONE {
            let link = Link::read(kind, &mut reader)?;
            kind = link.next;
            payloads.add(&link)?;
        }
        reader.end()?;
        Ok(payloads)
    }

    pub(super) fn list(&self) -> &[Payload<'a>] {
        &self.list
    }

    pub(super) fn add(&mut self, link: &Link<'a>) -> Result<(), ParseError> {
        self.links += 1;
        if self.links > MAX_PAYLOADS {
            return Err(ParseError::Bound("payloads of a message"));
        }
        if matches!(link.kind, payload_type::SK | payload_type::SKF) {
            return Err(ParseError::Malformed("chain of payloads: protection inside protection"));
        }
        let Some(payload) = Payload::parse(link.kind, link.critical, link.body)? else { return Ok(()) };
        if stands_once(link.kind) && self.list.iter().any(|other| other.kind() == link.kind) {
            return Err(ParseError::Twice(link.kind));
        }
        self.list.push(payload);
        Ok(())
    }
}

const fn stands_once(kind: u8) -> bool {
    use payload_type::{AUTH, IDI, IDR, KE, NONCE, SA, TSI, TSR};
    matches!(kind, SA | KE | IDI | IDR | AUTH | NONCE | TSI | TSR)
}

/// Write a chain: the type of its first payload, and its octets.
pub(super) fn write_chain(payloads: &[Payload<'_>], out: &mut Vec<u8>) {
    for (index, payload) in payloads.iter().enumerate() {
        payload.write(payloads.get(index + 1).map_or(payload_type::NONE, Payload::kind), out);
    }
}
