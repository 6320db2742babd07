//! The Delete payload (RFC 7296 section 3.11).

use std::num::NonZeroU32;

use super::error::ParseError;
use super::notify::PROTOCOL_ESP;
use super::reader::Reader;

const PROTOCOL_IKE: u8 = 1;

/// What its sender has removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delete<'a> {
    /// The IKE SA that carries the payload.
    Ike,
    /// Child SAs, by the SPIs of the sender's inbound SAs.
    Esp(EspSpis<'a>),
    /// AH, which is not built: nothing of ours.
    Other(u8),
}

/// SPIs, four octets each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EspSpis<'a>(&'a [[u8; 4]]);

impl<'a> EspSpis<'a> {
    /// As they stand on the wire.
    #[must_use]
    pub const fn new(octets: &'a [[u8; 4]]) -> Self {
        Self(octets)
    }

    /// All that can be SPIs.
    pub fn iter(&self) -> impl Iterator<Item = NonZeroU32> + use<'a> {
        self.0.iter().filter_map(|spi| NonZeroU32::new(u32::from_be_bytes(*spi)))
    }
}

impl<'a> Delete<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(body, "Delete payload");
        let (protocol, spi_octets, count) = (reader.u8()?, usize::from(reader.u8()?), usize::from(reader.u16()?));
        let spis = reader.take(spi_octets * count)?;
        reader.end()?;
        match (protocol, spi_octets) {
            (PROTOCOL_IKE, 0) if count == 0 => Ok(Self::Ike),
            (PROTOCOL_ESP, 4) if count > 0 => Ok(Self::Esp(EspSpis(spis.as_chunks().0))),
            (PROTOCOL_IKE | PROTOCOL_ESP, _) => Err(ParseError::Malformed("Delete payload: SPI size and count")),
            (protocol, _) => Ok(Self::Other(protocol)),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ike => out.extend_from_slice(&[PROTOCOL_IKE, 0, 0, 0]),
            Self::Esp(EspSpis(spis)) => {
                out.extend_from_slice(&[PROTOCOL_ESP, 4]);
                out.extend_from_slice(&u16::try_from(spis.len()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend_from_slice(spis.as_flattened());
            }
            Self::Other(protocol) => out.extend_from_slice(&[*protocol, 0, 0, 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_written_octet_for_octet() {
        for golden in [&[1, 0, 0, 0][..], &[3, 4, 0, 2, 0xc1, 0, 0, 1, 0xc1, 0, 0, 2]] {
            let mut out = Vec::new();
            Delete::parse(golden).unwrap().write(&mut out);
            assert_eq!(out, golden);
        }
        let Delete::Esp(spis) = Delete::parse(&[3, 4, 0, 2, 0xc1, 0, 0, 1, 0, 0, 0, 0]).unwrap() else { panic!("ESP") };
        assert_eq!(spis.iter().map(NonZeroU32::get).collect::<Vec<_>>(), [0xc100_0001], "zero is no SPI");
    }

    #[test]
    fn sizes_and_counts_that_disagree_are_refused() {
        for body in [&[1, 0, 0, 1][..], &[1, 8, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[3, 4, 0, 0], &[3, 0, 0, 5], &[3, 4, 0, 2, 1, 1, 1, 1]] {
            assert!(Delete::parse(body).is_err(), "{body:?}");
        }
        assert!(Delete::parse(&[3, 4, 0, 1, 1, 1, 1, 1, 0]).is_err() && Delete::parse(&[3, 255, 255, 255]).is_err());
        assert_eq!(Delete::parse(&[2, 4, 0, 1, 1, 1, 1, 1]), Ok(Delete::Other(2)), "AH is nothing of ours");
    }
}
