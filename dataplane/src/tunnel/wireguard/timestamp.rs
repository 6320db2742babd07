//! When a handshake was started, as its message says it: what was recorded cannot be played again.

use std::fmt;
use std::str::FromStr;

use crate::time::Duration;

/// A TAI64N label: seconds, of which 2^62 is 1970, and nanoseconds, big-endian, so that later ones are larger. Receivers compare labels of
/// one sender with each other only (whitepaper section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tai64n([u8; 12]);

/// 1970, and the leap seconds since 2017.
const EPOCH: u64 = (1 << 62) + 37;
/// Nanoseconds are told in steps of 2^24 (17 ms): finer ones would tell about the machine's clock.
const COARSE: u32 = !((1 << 24) - 1);
const NANOS_PER_SECOND: u32 = 1_000_000_000;

impl Tai64n {
    /// The label with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 12] {
        self.0
    }

    /// The label of a moment, counted from 1970, or the next after `last` where that is not larger.
    pub(super) fn after(last: Self, since_1970: Duration) -> Self {
        Self::of(EPOCH.saturating_add(since_1970.as_secs()), since_1970.subsec_nanos() & COARSE).max(last.next())
    }

    const fn of(seconds: u64, nanos: u32) -> Self {
        let mut bytes = [0; 12];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&seconds.to_be_bytes());
        back.copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }

    fn next(self) -> Self {
        let [a, b, c, d, e, f, g, h, nanos @ ..] = self.0;
        let (seconds, nanos) = (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes(nanos));
        if nanos + 1 < NANOS_PER_SECOND { Self::of(seconds, nanos + 1) } else { Self::of(seconds + 1, 0) }
    }
}

/// As 24 hexadecimal digits.
impl fmt::Display for Tai64n {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Tai64n {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tai64n({self})")
    }
}

/// Not 24 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a TAI64N label is written with 24 hexadecimal digits")]
pub struct NoTai64n;

impl FromStr for Tai64n {
    type Err = NoTai64n;

    fn from_str(text: &str) -> Result<Self, NoTai64n> {
        // A sign is no digit, though `from_str_radix` takes it for a part of the number.
        if text.len() != 24 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoTai64n);
        }
        let mut bytes = [0; 12];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NoTai64n)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_strictly_increase_even_where_the_clock_stands_still_or_goes_back() {
        let moment = Duration::new(1_700_000_000, 999_999_999);
        let mut last = Tai64n::default();
        for at in
            [moment, moment, moment, moment - Duration::from_secs(60), moment + Duration::from_millis(5), moment + Duration::from_secs(1)]
        {
            let label = Tai64n::after(last, at);
            assert!(label > last, "{label:?} after {last:?}");
            last = label;
        }
        let end = Tai64n::of(7, 999_999_999);
        assert_eq!(end.next(), Tai64n::of(8, 0));
    }

    #[test]
    fn a_label_says_its_second_and_hides_the_finer_part_of_the_nanoseconds() {
        let label = Tai64n::after(Tai64n::default(), Duration::new(0x1234_5678, 0x0123_4567));
        assert_eq!(label.to_string(), "400000001234569d01000000");
        assert_eq!((Tai64n::from_bytes(label.to_bytes()), label.to_string().parse()), (label, Ok(label)));
        for broken in ["", "400000001234569d0100000", "400000001234569d010000000", "+00000001234569d01000000", "40000000123456„01000000"]
        {
            assert_eq!(broken.parse::<Tai64n>(), Err(NoTai64n), "{broken}");
        }
    }
}
