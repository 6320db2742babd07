//! Reassembly of fragmented messages (RFC 7383 section 2.6). Only fragments whose ICV was right come here.

use super::MAX_MESSAGE_OCTETS;
use super::error::ParseError;
use super::payload::payload_type;
use crate::time::{Duration, Instant};

/// Octets of an IKE message that goes in one datagram of 1,280 octets: without the IPv4 and UDP headers and the non-ESP marker.
/// RFC 7383 section 2.5.1 advises 1,280 for IPv6; it passes every access line in use.
pub const FRAGMENT_OCTETS: usize = 1_280 - 20 - 8 - 4;
/// Fragments of one message: [`MAX_MESSAGE_OCTETS`] in pieces as small as some routers make them (576 octets of IP) are 32.
pub const MAX_FRAGMENTS: u16 = 64;
/// How long the first fragments wait for the last ones; retransmissions come within seconds.
pub const REASSEMBLY_TIME: Duration = Duration::from_secs(30);

/// Number and total of one fragment: 1 <= number <= total <= [`MAX_FRAGMENTS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    number: u16,
    total: u16,
}

impl Fragment {
    pub(super) const fn new(number: u16, total: u16) -> Result<Self, ParseError> {
        if total > MAX_FRAGMENTS {
            return Err(ParseError::Bound("fragments of a message"));
        }
        if number == 0 || number > total {
            return Err(ParseError::Malformed("SKF payload: fragment number"));
        }
        Ok(Self { number, total })
    }

    /// From 1.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// How many there are.
    #[must_use]
    pub const fn total(self) -> u16 {
        self.total
    }
}

/// For the writer, which counts them itself.
pub(super) const fn numbered(number: u16, total: u16) -> Fragment {
    Fragment { number, total }
}

/// The payloads of a message, put together again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassembled {
    /// Type of the first payload.
    pub first: u8,
    /// The payloads; for [`super::Payloads::parse`].
    pub plaintext: Vec<u8>,
}

/// Fragments of one message of one IKE SA: of the request, or of the response, that is awaited. The owner makes a new one when the
/// message ID moves on.
#[derive(Clone, Debug, Default)]
pub struct Reassembly {
    /// One place for each; empty when nothing has come.
    pieces: Vec<Option<Box<[u8]>>>,
    message_id: u32,
    first: u8,
    octets: usize,
    missing: usize,
    since: Instant,
}

impl Reassembly {
    /// Nothing has come yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: Vec::new(), message_id: 0, first: payload_type::NONE, octets: 0, missing: 0, since: Instant::ZERO }
    }

    /// Whether a fragment is worth decrypting: not one that is here already, nor one of an older, coarser cutting.
    #[must_use]
    pub fn wants(&self, message_id: u32, fragment: Fragment) -> bool {
        if self.pieces.is_empty() || message_id != self.message_id {
            return true;
        }
        match usize::from(fragment.total).cmp(&self.pieces.len()) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => self.pieces[usize::from(fragment.number) - 1].is_none(),
        }
    }

    /// Take in an authenticated fragment. The message, once it is complete.
    ///
    /// A larger total means that the sender cuts smaller and begins anew: what is here is thrown away (RFC 7383 section 2.6).
    ///
    /// # Errors
    /// [`ParseError::Bound`] where the message grows beyond [`MAX_MESSAGE_OCTETS`]; all its fragments are gone then.
    pub fn add(
        &mut self,
        message_id: u32,
        fragment: Fragment,
        first: u8,
        plaintext: &[u8],
        now: Instant,
    ) -> Result<Option<Reassembled>, ParseError> {
        if !self.wants(message_id, fragment) {
            return Ok(None);
        }
        if self.message_id != message_id || self.pieces.len() != usize::from(fragment.total) {
            self.clear();
            self.pieces.resize(usize::from(fragment.total), None);
            (self.message_id, self.missing, self.since) = (message_id, self.pieces.len(), now);
        }
        if self.octets + plaintext.len() > MAX_MESSAGE_OCTETS {
            self.clear();
            return Err(ParseError::Bound("octets of a fragmented message"));
        }
        if fragment.number == 1 {
            self.first = first;
        }
        self.pieces[usize::from(fragment.number) - 1] = Some(plaintext.into());
        self.octets += plaintext.len();
        self.missing -= 1;
        if self.missing > 0 {
            return Ok(None);
        }
        let plaintext = self.pieces.iter().flatten().flatten().copied().collect();
        let whole = Reassembled { first: self.first, plaintext };
        self.clear();
        Ok(Some(whole))
    }

    /// When what is here is given up; `None` when nothing is.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.pieces.is_empty()).then_some(self.since + REASSEMBLY_TIME)
    }

    /// Throw everything away.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Octets held.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(1);

    fn add(reassembly: &mut Reassembly, number: u16, total: u16, plaintext: &[u8]) -> Option<Reassembled> {
        reassembly.add(7, Fragment::new(number, total).unwrap(), if number == 1 { 35 } else { 0 }, plaintext, NOW).unwrap()
    }

    #[test]
    fn fragments_in_any_order_and_repeated_make_the_message_once() {
        let mut reassembly = Reassembly::new();
        assert_eq!(add(&mut reassembly, 3, 3, b"e"), None);
        assert_eq!(add(&mut reassembly, 1, 3, b"ab"), None);
        assert_eq!(add(&mut reassembly, 3, 3, b"X"), None, "a duplicate changes nothing");
        assert!(!reassembly.wants(7, Fragment::new(1, 3).unwrap()) && reassembly.wants(7, Fragment::new(2, 3).unwrap()));
        assert_eq!(add(&mut reassembly, 2, 3, b"cd"), Some(Reassembled { first: 35, plaintext: b"abcde".to_vec() }));
        assert_eq!((reassembly.octets(), reassembly.deadline()), (0, None));
    }

    #[test]
    fn a_larger_total_begins_anew_and_a_smaller_one_is_late() {
        let mut reassembly = Reassembly::new();
        add(&mut reassembly, 1, 2, b"abc");
        assert_eq!(add(&mut reassembly, 2, 3, b"b"), None);
        assert_eq!(reassembly.octets(), 1, "the coarser pieces are gone");
        assert!(!reassembly.wants(7, Fragment::new(2, 2).unwrap()));
        assert_eq!(add(&mut reassembly, 2, 2, b"def"), None);
        add(&mut reassembly, 1, 3, b"a");
        assert_eq!(add(&mut reassembly, 3, 3, b"c").unwrap().plaintext, b"abc");
    }

    #[test]
    fn another_message_takes_the_place_of_an_unfinished_one() {
        let mut reassembly = Reassembly::new();
        add(&mut reassembly, 1, 2, b"abc");
        let second = Fragment::new(2, 2).unwrap();
        assert_eq!(reassembly.add(8, second, 0, b"z", NOW), Ok(None));
        assert_eq!(reassembly.octets(), 1);
    }

    #[test]
    fn numbers_beyond_the_total_and_totals_beyond_the_bound_are_refused() {
        for (number, total) in [(0, 1), (2, 1), (0, 0), (65, 65), (1, u16::MAX)] {
            assert!(Fragment::new(number, total).is_err(), "{number}/{total}");
        }
        assert!(Fragment::new(64, 64).is_ok());
    }

    #[test]
    fn more_octets_than_a_message_may_have_throw_all_away() {
        let mut reassembly = Reassembly::new();
        let big = vec![0; MAX_MESSAGE_OCTETS / 2];
        add(&mut reassembly, 1, 3, &big);
        add(&mut reassembly, 2, 3, &big);
        assert!(reassembly.add(7, Fragment::new(3, 3).unwrap(), 0, &[0], NOW).is_err());
        assert_eq!((reassembly.octets(), reassembly.deadline()), (0, None));
    }

    #[test]
    fn what_never_completes_has_an_end() {
        let mut reassembly = Reassembly::new();
        assert_eq!(reassembly.deadline(), None);
        add(&mut reassembly, 1, 2, b"abc");
        assert_eq!(reassembly.deadline(), Some(NOW + REASSEMBLY_TIME));
        let later = NOW + REASSEMBLY_TIME / 2;
        reassembly.add(7, Fragment::new(1, 2).unwrap(), 35, b"abc", later).unwrap();
        assert_eq!(reassembly.deadline(), Some(NOW + REASSEMBLY_TIME), "a duplicate prolongs nothing");
    }
}
