//! How long sessions live without packets, and ports without sessions.
//!
//! Times are kept in whole seconds, rounded up: nothing ends before its RFC allows, and nothing lives more than a second longer.
//! The wheel turns by such seconds.

use crate::time::{Duration, Instant};
use crate::wire::inner::Protocol;

/// Sessions with the same timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimeoutClass {
    /// A connection that is not open on both sides yet.
    TcpOpening,
    /// An open connection; also one that a single side has closed, over which the other may go on sending (RFC 6146 3.5.2.2).
    TcpEstablished,
    /// A connection that both sides closed, or one side reset.
    TcpClosing,
    /// UDP.
    Udp,
    /// ICMP echo.
    IcmpQuery,
}

impl TimeoutClass {
    /// Where sessions of a protocol start.
    pub(super) const fn initial(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::TcpOpening,
            Protocol::Udp => Self::Udp,
            Protocol::Icmp => Self::IcmpQuery,
        }
    }

    /// Seconds without a packet after which a session of this class ends.
    pub(super) const fn seconds(self) -> u32 {
        match self {
            // RFC 5382 REQ-5: partially open connections at least 4 min; RFC 7857 2.1: a timer of its own.
            Self::TcpOpening => 4 * 60,
            // RFC 5382 REQ-5: at least 2 h 4 min.
            Self::TcpEstablished => (2 * 60 + 4) * 60,
            // RFC 5382 REQ-5 and RFC 7857 2.1, 2.2: 4 min after the close or the reset.
            Self::TcpClosing => 4 * 60,
            // RFC 4787 REQ-5: at least 2 min, by default 5 min or more.
            Self::Udp => 5 * 60,
            // RFC 5508 REQ-2: at least 60 s.
            Self::IcmpQuery => 60,
        }
    }
}

/// RFC 6888 REQ-8: seconds for which a port that was given back is given to nobody else.
pub(super) const QUARANTINE_SECONDS: u32 = 120;

/// A moment in whole seconds since the start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Second(u32);

impl Second {
    /// The next whole second at or after `now`. 32 bits last 136 years.
    pub(super) fn at_or_after(now: Instant) -> Self {
        Self(u32::try_from(now.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX))
    }

    /// The whole second at or before `now`.
    pub(super) fn at_or_before(now: Instant) -> Self {
        Self(u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX))
    }

    pub(super) const fn number(self) -> u32 {
        self.0
    }

    pub(super) const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Seconds since `earlier`; zero where it is not earlier.
    pub(super) const fn seconds_since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// Place in a turn of `seconds`, fewer than 65,536.
    #[expect(clippy::cast_possible_truncation, reason = "less than the turn")]
    pub(super) const fn modulo(self, seconds: u32) -> u16 {
        (self.0 % seconds) as u16
    }

    pub(super) const fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    pub(super) fn instant(self) -> Instant {
        Instant::ZERO + Duration::from_secs(u64::from(self.0))
    }
}
