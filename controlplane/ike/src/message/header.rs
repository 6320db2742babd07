//! The IKE header (RFC 7296 section 3.1).

use std::fmt;
use std::num::NonZeroU64;

use super::error::ParseError;
use super::reader::Reader;

/// Octets of the header.
pub const HEADER_OCTETS: usize = 28;
/// Major version 2, minor version 0.
pub(super) const VERSION: u8 = 0x20;

const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;

/// SPI of an IKE SA, chosen by one of its ends. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(NonZeroU64);

impl IkeSpi {
    /// Zero is no SPI.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// As it stands on the wire and in the key schedule.
    #[must_use]
    pub const fn octets(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Exchange types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExchangeType {
    /// 34
    IkeSaInit,
    /// 35
    IkeAuth,
    /// 36
    CreateChildSa,
    /// 37
    Informational,
    /// 43, RFC 9242
    IkeIntermediate,
    /// Not built.
    Other(u8),
}

impl ExchangeType {
    /// IANA's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::IkeSaInit => 34,
            Self::IkeAuth => 35,
            Self::CreateChildSa => 36,
            Self::Informational => 37,
            Self::IkeIntermediate => 43,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            34 => Self::IkeSaInit,
            35 => Self::IkeAuth,
            36 => Self::CreateChildSa,
            37 => Self::Informational,
            43 => Self::IkeIntermediate,
            number => Self::Other(number),
        }
    }
}

/// The header without version, next payload and length, which follow from the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Chosen by the original initiator of the IKE SA.
    pub initiator_spi: IkeSpi,
    /// Chosen by the responder; none in the first request.
    pub responder_spi: Option<IkeSpi>,
    /// Exchange.
    pub exchange: ExchangeType,
    /// Flag I: the sender is the original initiator of the IKE SA.
    pub from_initiator: bool,
    /// Flag R: a response, not a request.
    pub response: bool,
    /// Message ID.
    pub message_id: u32,
}

impl Header {
    /// Read the header of `datagram` and the type of its first payload. The length must be that of the datagram.
    ///
    /// # Errors
    /// [`ParseError::Length`], [`ParseError::MajorVersion`], or a zero initiator's SPI as [`ParseError::Malformed`].
    pub fn parse(datagram: &[u8]) -> Result<(Self, u8), ParseError> {
        let header = datagram.first_chunk::<HEADER_OCTETS>().ok_or(ParseError::Length)?;
        let mut reader = Reader::new(header, "IKE header");
        let initiator_spi = IkeSpi::new(u64::from_be_bytes(reader.array()?));
        let responder_spi = IkeSpi::new(u64::from_be_bytes(reader.array()?));
        let next_payload = reader.u8()?;
        // A minor version above ours is read as ours (section 2.5).
        let version = reader.u8()?;
        if version >> 4 != VERSION >> 4 {
            return Err(ParseError::MajorVersion(version >> 4));
        }
        let exchange = ExchangeType::from_number(reader.u8()?);
        let flags = reader.u8()?;
        let message_id = reader.u32()?;
        if reader.u32()? as usize != datagram.len() {
            return Err(ParseError::Length);
        }
        let from_initiator = flags & FLAG_INITIATOR != 0;
        let response = flags & FLAG_RESPONSE != 0;
        let initiator_spi = initiator_spi.ok_or(ParseError::Malformed("IKE header: the initiator's SPI is zero"))?;
        Ok((Self { initiator_spi, responder_spi, exchange, from_initiator, response, message_id }, next_payload))
    }

    /// The header in front of payloads of which the first has type `next_payload`; the length is put in by [`set_length`].
    pub(super) fn write(&self, next_payload: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.initiator_spi.octets());
        out.extend_from_slice(&self.responder_spi.map_or([0; 8], IkeSpi::octets));
        let initiator = if self.from_initiator { FLAG_INITIATOR } else { 0 };
        let response = if self.response { FLAG_RESPONSE } else { 0 };
        out.extend_from_slice(&[next_payload, VERSION, self.exchange.number(), initiator | response]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
    }
}

/// Put the length of a finished message into its header.
pub(super) fn set_length(message: &mut [u8]) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[HEADER_OCTETS - 4..HEADER_OCTETS].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [u8; 28] = [
        0x86, 0x43, 0x30, 0xac, 0x30, 0xe6, 0x56, 0x4d, 0, 0, 0, 0, 0, 0, 0, 0, // SPIs
        33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 28,
    ];

    #[test]
    fn a_first_request_is_read_and_written_octet_for_octet() {
        let (header, next) = Header::parse(&GOLDEN).unwrap();
        assert_eq!((header.initiator_spi.get(), header.responder_spi, next), (0x8643_30ac_30e6_564d, None, 33));
        assert_eq!((header.exchange, header.from_initiator, header.response, header.message_id), (ExchangeType::IkeSaInit, true, false, 0));
        let mut out = Vec::new();
        header.write(next, &mut out);
        set_length(&mut out);
        assert_eq!(out, GOLDEN);
    }

    #[test]
    fn a_length_that_is_not_the_datagrams_is_refused() {
        let mut longer = GOLDEN.to_vec();
        longer.push(0);
        assert_eq!(Header::parse(&longer), Err(ParseError::Length));
        assert_eq!(Header::parse(&GOLDEN[..27]), Err(ParseError::Length));
        let mut zero = GOLDEN;
        zero[27] = 0;
        assert_eq!(Header::parse(&zero), Err(ParseError::Length));
    }

    #[test]
    fn ikev1_is_named_and_a_minor_version_is_not_our_business() {
        let mut other = GOLDEN;
        other[17] = 0x10;
        assert_eq!(Header::parse(&other), Err(ParseError::MajorVersion(1)));
        other[17] = 0x2f;
        assert!(Header::parse(&other).is_ok());
    }

    #[test]
    fn a_zero_initiators_spi_is_refused() {
        let mut zero = GOLDEN;
        zero[..8].fill(0);
        assert!(matches!(Header::parse(&zero), Err(ParseError::Malformed(_))));
    }
}
