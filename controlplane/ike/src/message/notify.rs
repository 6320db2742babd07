//! The Notify payload (RFC 7296 section 3.10) and its types.

use std::fmt;
use std::num::NonZeroU32;

use super::error::ParseError;
use super::reader::Reader;

/// Notify message type. Errors lie below 16,384, statuses above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotifyType(pub u16);

macro_rules! notify_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl NotifyType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Its name in IANA's registry, where we know it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

notify_types! {
    /// RFC 7296 section 2.5.
    UNSUPPORTED_CRITICAL_PAYLOAD = 1;
    /// RFC 7296 section 2.21.
    INVALID_IKE_SPI = 4;
    /// RFC 7296 section 2.5.
    INVALID_MAJOR_VERSION = 5;
    /// RFC 7296 section 2.21.
    INVALID_SYNTAX = 7;
    /// RFC 7296 section 2.3.
    INVALID_MESSAGE_ID = 9;
    /// RFC 7296 section 1.5.
    INVALID_SPI = 11;
    /// RFC 7296 section 2.7.
    NO_PROPOSAL_CHOSEN = 14;
    /// RFC 7296 section 1.2; its data are the group that is wanted, two octets.
    INVALID_KE_PAYLOAD = 17;
    /// RFC 7296 section 2.21.2.
    AUTHENTICATION_FAILED = 24;
    /// RFC 7296 section 2.9.
    SINGLE_PAIR_REQUIRED = 34;
    /// RFC 7296 section 1.3.
    NO_ADDITIONAL_SAS = 35;
    /// RFC 7296 section 2.19.
    INTERNAL_ADDRESS_FAILURE = 36;
    /// RFC 7296 section 2.19.
    FAILED_CP_REQUIRED = 37;
    /// RFC 7296 section 2.9.
    TS_UNACCEPTABLE = 38;
    /// RFC 7296 section 2.9.
    INVALID_SELECTORS = 39;
    /// RFC 7296 section 2.25.
    TEMPORARY_FAILURE = 43;
    /// RFC 7296 section 2.25.
    CHILD_SA_NOT_FOUND = 44;
    /// RFC 7296 section 2.4.
    INITIAL_CONTACT = 16384;
    /// RFC 7296 section 3.10.1.
    SET_WINDOW_SIZE = 16385;
    /// RFC 7296 section 2.9.2.
    ADDITIONAL_TS_POSSIBLE = 16386;
    /// RFC 7296 section 2.22.
    IPCOMP_SUPPORTED = 16387;
    /// RFC 7296 section 2.23.
    NAT_DETECTION_SOURCE_IP = 16388;
    /// RFC 7296 section 2.23.
    NAT_DETECTION_DESTINATION_IP = 16389;
    /// RFC 7296 section 2.6.
    COOKIE = 16390;
    /// RFC 7296 section 1.3.1.
    USE_TRANSPORT_MODE = 16391;
    /// RFC 7296 section 3.10.1.
    HTTP_CERT_LOOKUP_SUPPORTED = 16392;
    /// RFC 7296 section 1.3.3.
    REKEY_SA = 16393;
    /// RFC 7296 section 1.3.1.
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394;
    /// RFC 7296 section 1.3.1.
    NON_FIRST_FRAGMENTS_ALSO = 16395;
    /// RFC 4555 section 3.3: seen, not built.
    MOBIKE_SUPPORTED = 16396;
    /// RFC 7383 section 2.3.
    IKEV2_FRAGMENTATION_SUPPORTED = 16430;
    /// RFC 7427 section 4; its data are hash algorithms, two octets each.
    SIGNATURE_HASH_ALGORITHMS = 16431;
    /// RFC 8784 section 3: seen, not built.
    USE_PPK = 16435;
    /// RFC 9242 section 3.1.
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438;
}

impl NotifyType {
    /// Error types; one that is unknown, in a response, means that the request failed (RFC 7296 section 3.10.1).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 < 16_384
    }
}

impl fmt::Debug for NotifyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NotifyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "notification {}", self.0),
        }
    }
}

/// Notify payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notify<'a> {
    /// Type.
    pub kind: NotifyType,
    /// SPI of the Child SA (ESP) that it is about, as its sender would write it in what it receives.
    pub esp_spi: Option<NonZeroU32>,
    /// Notification data.
    pub data: &'a [u8],
}

/// Protocol ID of ESP.
pub(super) const PROTOCOL_ESP: u8 = 3;
/// INITIAL_CONTACT of some senders carries both IKE SPIs; nothing carries more.
const LONGEST_SPI: usize = 16;

impl<'a> Notify<'a> {
    /// About the IKE SA.
    #[must_use]
    pub const fn new(kind: NotifyType, data: &'a [u8]) -> Self {
        Self { kind, esp_spi: None, data }
    }

    /// About the Child SA with this SPI.
    #[must_use]
    pub const fn of_child(kind: NotifyType, spi: NonZeroU32, data: &'a [u8]) -> Self {
        Self { kind, esp_spi: Some(spi), data }
    }

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(body, "Notify payload");
        let protocol = reader.u8()?;
        let spi_octets = usize::from(reader.u8()?);
        let kind = NotifyType(reader.u16()?);
        if spi_octets > LONGEST_SPI {
            return Err(ParseError::Bound("SPI of a Notify payload"));
        }
        let spi = reader.take(spi_octets)?;
        // Without an SPI the protocol must be ignored (section 3.10).
        let esp_spi = match <[u8; 4]>::try_from(spi) {
            Ok(spi) if protocol == PROTOCOL_ESP => NonZeroU32::new(u32::from_be_bytes(spi)),
            _ => None,
        };
        Ok(Self { kind, esp_spi, data: reader.rest() })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.esp_spi {
            Some(_) => out.extend_from_slice(&[PROTOCOL_ESP, 4]),
            None => out.extend_from_slice(&[0, 0]),
        }
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        if let Some(spi) = self.esp_spi {
            out.extend_from_slice(&spi.get().to_be_bytes());
        }
        out.extend_from_slice(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rekey_names_the_child_it_replaces() {
        let golden = [3, 4, 0x40, 0x09, 0xc0, 0x01, 0x02, 0x03];
        let notify = Notify::parse(&golden).unwrap();
        assert_eq!(notify, Notify::of_child(NotifyType::REKEY_SA, NonZeroU32::new(0xc001_0203).unwrap(), &[]));
        let mut out = Vec::new();
        notify.write(&mut out);
        assert_eq!(out, golden);
    }

    #[test]
    fn a_wrong_group_is_answered_with_the_right_one() {
        let golden = [0, 0, 0, 17, 0, 14];
        assert_eq!(Notify::parse(&golden).unwrap(), Notify::new(NotifyType::INVALID_KE_PAYLOAD, &[0, 14]));
        // Some peers write the protocol even where there is no SPI.
        assert_eq!(Notify::parse(&[1, 0, 0, 17, 0, 14]).unwrap(), Notify::new(NotifyType::INVALID_KE_PAYLOAD, &[0, 14]));
    }

    #[test]
    fn an_spi_longer_than_the_payload_or_than_any_spi_is_refused() {
        assert!(matches!(Notify::parse(&[3, 4, 0x40, 0x09, 1, 2, 3]), Err(ParseError::Malformed(_))));
        assert!(matches!(Notify::parse(&[3, 17, 0x40, 0x09]), Err(ParseError::Bound(_))));
        assert!(matches!(Notify::parse(&[3, 4, 0x40]), Err(ParseError::Malformed(_))));
        assert_eq!(Notify::parse(&[3, 4, 0x40, 0x09, 0, 0, 0, 0]).unwrap().esp_spi, None, "zero is no SPI");
    }

    #[test]
    fn types_have_names_and_errors_are_told_from_statuses() {
        assert_eq!(NotifyType(14).to_string(), "NO_PROPOSAL_CHOSEN");
        assert_eq!(NotifyType(8_191).to_string(), "notification 8191");
        assert!(NotifyType::TEMPORARY_FAILURE.is_error() && !NotifyType::INITIAL_CONTACT.is_error());
    }
}
