//! Why octets are no message.

use super::notify::NotifyType;

/// What is wrong with the octets. Says where, for the person who reads `explain-ike`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Shorter than an IKE header, or the header's length is not the datagram's.
    #[error("the datagram is not as long as its IKE header says")]
    Length,
    /// RFC 7296 section 2.5: a higher major version is answered with `INVALID_MAJOR_VERSION`.
    #[error("major version {0}: only IKEv2 is spoken here; switch the peer to IKEv2")]
    MajorVersion(u8),
    /// A bound of ours or of the RFC, named.
    #[error("too many or too long: {0}")]
    Bound(&'static str),
    /// RFC 7296 section 2.5: an unknown payload that must not be skipped.
    #[error("payload type {0} is critical and unknown")]
    UnsupportedCritical(u8),
    /// A part ends before what it must contain, or contains what it must not.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A payload that may stand once stands twice.
    #[error("payload type {0} stands twice")]
    Twice(u8),
}

impl ParseError {
    /// What the peer is told, in a response only and never outside the protection that the message had (RFC 7296 section 2.21);
    /// its notification data are [`ParseError::notification_data`].
    #[must_use]
    pub const fn notification(self) -> NotifyType {
        match self {
            Self::MajorVersion(_) => NotifyType::INVALID_MAJOR_VERSION,
            Self::UnsupportedCritical(_) => NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
            _ => NotifyType::INVALID_SYNTAX,
        }
    }

    /// One octet, the type of the payload, where RFC 7296 section 2.5 wants it named; the version we speak for another version.
    #[must_use]
    pub fn notification_data(self) -> Vec<u8> {
        match self {
            Self::UnsupportedCritical(kind) => vec![kind],
            Self::MajorVersion(_) => vec![super::header::VERSION],
            _ => Vec::new(),
        }
    }
}
