//! The Security Association payload (RFC 7296 section 3.3): proposals and their transforms, as they were sent. What they mean is
//! decided in [`crate::proposals`].

use std::num::NonZeroU32;

use super::error::ParseError;
use super::header::IkeSpi;
use super::notify::PROTOCOL_ESP;
use super::reader::Reader;
use crate::transforms::{Encryption, Group, Integrity, Prf};

/// More proposals than any router sends.
pub const MAX_PROPOSALS: usize = 32;
/// Transforms of all proposals of one payload together.
pub const MAX_TRANSFORMS: usize = 255;

const PROTOCOL_IKE: u8 = 1;
/// Attribute type of the key length (section 3.3.5), in the form type/value.
const KEY_LENGTH: u16 = 0x8000 | 14;
/// Set where an attribute's value stands in place of its length.
const SHORT_FORM: u16 = 0x8000;
/// "Last Substruc": more proposals, or more transforms, follow.
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;

/// What a proposal is to protect, and the SPI of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protects {
    /// An IKE SA; the SPI stands where it is rekeyed.
    Ike(Option<IkeSpi>),
    /// A Child SA with ESP.
    Esp(NonZeroU32),
    /// AH, or something unheard of: never chosen.
    Other(u8),
}

/// Transform types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransformType {
    /// 1
    Encryption,
    /// 2
    PseudoRandomFunction,
    /// 3
    Integrity,
    /// 4
    KeyExchange,
    /// 5
    ExtendedSequenceNumbers,
    /// Such as the additional key exchanges of RFC 9370: a proposal with it is not chosen (section 3.3.6).
    Other(u8),
}

/// One transform, as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transform {
    /// Type.
    pub kind: TransformType,
    /// Transform ID within the type.
    pub id: u16,
    /// Key Length attribute, in bits.
    pub key_bits: Option<u16>,
    /// False where it has an attribute that we do not know: it is then passed over (section 3.3.6).
    pub understood: bool,
}

/// One proposal, as it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// 1 for the first, then one more each; the answer repeats that of the chosen one.
    pub number: u8,
    /// Protocol and SPI.
    pub protects: Protects,
    /// In the order in which they were sent.
    pub transforms: Vec<Transform>,
}

impl TransformType {
    const fn number(self) -> u8 {
        match self {
            Self::Encryption => 1,
            Self::PseudoRandomFunction => 2,
            Self::Integrity => 3,
            Self::KeyExchange => 4,
            Self::ExtendedSequenceNumbers => 5,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Encryption,
            2 => Self::PseudoRandomFunction,
            3 => Self::Integrity,
            4 => Self::KeyExchange,
            5 => Self::ExtendedSequenceNumbers,
            number => Self::Other(number),
        }
    }
}

impl Transform {
    /// A transform without attributes.
    #[must_use]
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_bits: None, understood: true }
    }

    /// Extended sequence numbers, or 32-bit ones.
    #[must_use]
    pub const fn extended_sequence_numbers(esn: bool) -> Self {
        Self::new(TransformType::ExtendedSequenceNumbers, esn as u16)
    }

    fn parse(reader: &mut Reader<'_>) -> Result<(Self, bool), ParseError> {
        let more = match reader.u8()? {
            0 => false,
            MORE_TRANSFORMS => true,
            _ => return Err(reader.malformed()),
        };
        reader.u8()?;
        let length = usize::from(reader.u16()?);
        let mut body = Reader::new(reader.take(length.checked_sub(4).ok_or(reader.malformed())?)?, "transform");
        let kind = TransformType::from_number(body.u8()?);
        body.u8()?;
        let mut transform = Self::new(kind, body.u16()?);
        while !body.is_empty() {
            transform.parse_attribute(&mut body)?;
        }
        Ok((transform, more))
    }

    fn parse_attribute(&mut self, body: &mut Reader<'_>) -> Result<(), ParseError> {
        let attribute = body.u16()?;
        let value = body.u16()?;
        if attribute & SHORT_FORM == 0 {
            body.take(usize::from(value))?;
        }
        if attribute == KEY_LENGTH && self.key_bits.is_none() {
            self.key_bits = Some(value);
        } else {
            self.understood = false;
        }
        Ok(())
    }

    fn write(&self, last: bool, out: &mut Vec<u8>) {
        let length: u8 = if self.key_bits.is_some() { 12 } else { 8 };
        out.extend_from_slice(&[if last { 0 } else { MORE_TRANSFORMS }, 0, 0, length, self.kind.number(), 0]);
        out.extend_from_slice(&self.id.to_be_bytes());
        if let Some(bits) = self.key_bits {
            out.extend_from_slice(&KEY_LENGTH.to_be_bytes());
            out.extend_from_slice(&bits.to_be_bytes());
        }
    }
}

impl From<Encryption> for Transform {
    fn from(encryption: Encryption) -> Self {
        let transform = Self::new(TransformType::Encryption, encryption.id());
        Self { key_bits: Some(encryption.key_length().bits()), ..transform }
    }
}

impl From<Prf> for Transform {
    fn from(prf: Prf) -> Self {
        Self::new(TransformType::PseudoRandomFunction, prf.id())
    }
}

impl From<Integrity> for Transform {
    fn from(integrity: Integrity) -> Self {
        Self::new(TransformType::Integrity, integrity.id())
    }
}

impl From<Group> for Transform {
    fn from(group: Group) -> Self {
        Self::new(TransformType::KeyExchange, group.number())
    }
}

impl Protects {
    fn parse(protocol: u8, spi: &[u8]) -> Result<Self, ParseError> {
        match (protocol, spi.len()) {
            (PROTOCOL_IKE, 0) => Ok(Self::Ike(None)),
            (PROTOCOL_IKE, 8) => {
                let spi = <[u8; 8]>::try_from(spi).map(u64::from_be_bytes).ok().and_then(IkeSpi::new);
                spi.map(|spi| Self::Ike(Some(spi))).ok_or(ParseError::Malformed("proposal: the SPI is zero"))
            }
            (PROTOCOL_ESP, 4) => {
                let spi = <[u8; 4]>::try_from(spi).map_or(0, u32::from_be_bytes);
                // RFC 4303 section 2.1: 0 to 255 never stand on the wire.
                let spi = NonZeroU32::new(spi).filter(|spi| spi.get() > 255);
                spi.map(Self::Esp).ok_or(ParseError::Malformed("proposal: the SPI is reserved"))
            }
            (PROTOCOL_IKE | PROTOCOL_ESP, _) => Err(ParseError::Malformed("proposal: the SPI has a wrong size")),
            (protocol, _) => Ok(Self::Other(protocol)),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Ike(None) => out.extend_from_slice(&[PROTOCOL_IKE, 0]),
            Self::Ike(Some(_)) => out.extend_from_slice(&[PROTOCOL_IKE, 8]),
            Self::Esp(_) => out.extend_from_slice(&[PROTOCOL_ESP, 4]),
            Self::Other(protocol) => out.extend_from_slice(&[protocol, 0]),
        }
    }
}

impl Proposal {
    fn parse(reader: &mut Reader<'_>) -> Result<(Self, bool), ParseError> {
        let more = match reader.u8()? {
            0 => false,
            MORE_PROPOSALS => true,
            _ => return Err(reader.malformed()),
        };
        reader.u8()?;
        let length = usize::from(reader.u16()?);
        let mut body = Reader::new(reader.take(length.checked_sub(4).ok_or(reader.malformed())?)?, "proposal");
        let number = body.u8()?;
        let protocol = body.u8()?;
        let spi_octets = usize::from(body.u8()?);
        let announced = usize::from(body.u8()?);
        let protects = Protects::parse(protocol, body.take(spi_octets)?)?;
        let mut transforms = Vec::with_capacity(announced);
        let mut more_transforms = announced > 0;
        while more_transforms {
            let transform;
            (transform, more_transforms) = Transform::parse(&mut body)?;
            transforms.push(transform);
        }
        if transforms.len() != announced {
            return Err(body.malformed());
        }
        body.end()?;
        Ok((Self { number, protects, transforms }, more))
    }

    fn write(&self, last: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[if last { 0 } else { MORE_PROPOSALS }, 0, 0, 0, self.number]);
        self.protects.write(out);
        out.push(u8::try_from(self.transforms.len()).unwrap_or(u8::MAX));
        match self.protects {
            Protects::Ike(Some(spi)) => out.extend_from_slice(&spi.octets()),
            Protects::Esp(spi) => out.extend_from_slice(&spi.get().to_be_bytes()),
            Protects::Ike(None) | Protects::Other(_) => {}
        }
        for (number, transform) in (1..).zip(&self.transforms) {
            transform.write(number == self.transforms.len(), out);
        }
        let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
        out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// All proposals of a payload: at least one, numbered 1, 2, 3 and so on.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Proposal>, ParseError> {
    let mut reader = Reader::new(body, "SA payload");
    let mut proposals = Vec::new();
    let mut transforms = 0;
    let mut more = true;
    while more {
        let proposal;
        (proposal, more) = Proposal::parse(&mut reader)?;
        transforms += proposal.transforms.len();
        if proposals.len() == MAX_PROPOSALS || transforms > MAX_TRANSFORMS {
            return Err(ParseError::Bound("proposals and transforms of an SA payload"));
        }
        proposals.push(proposal);
    }
    reader.end()?;
    // A choice is a single proposal that keeps the number it had in the offer.
    let in_order = proposals.len() == 1 || (1..).zip(&proposals).all(|(number, proposal)| proposal.number == number);
    if in_order { Ok(proposals) } else { Err(ParseError::Malformed("SA payload: proposals are numbered from 1")) }
}

/// The body of an SA payload. More than [`MAX_PROPOSALS`] or [`MAX_TRANSFORMS`] are nothing that we build.
pub(super) fn write(proposals: &[Proposal], out: &mut Vec<u8>) {
    for (number, proposal) in (1..).zip(proposals) {
        proposal.write(number == proposals.len(), out);
    }
}

#[cfg(test)]
#[path = "security_association/tests.rs"]
mod tests;
