//! What is known of one datagram that comes in fragments.

use crate::drop_reason::DropReason;
use crate::time::Instant;
use crate::wire::fragment::{Fragment, continued};
use crate::wire::inner::{HEADER_LEN, Inner};

/// Fragments of one datagram: 65,535 bytes in packets of 1,044. More are refused.
const MOST_FRAGMENTS: usize = 64;

/// Bytes of a datagram, without headers: the first, and the first behind them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Range {
    start: u16,
    end: u16,
}

/// See the module. Every range that was seen is remembered, so that no receiver ever has a byte from here to choose from two.
#[derive(Debug)]
pub(super) struct Datagram {
    /// When its first fragment to arrive did.
    pub(super) begun: Instant,
    /// Its identification on the other side.
    id: u16,
    /// The first fragment.
    start: Option<Inner>,
    /// Where it ends, once the last fragment was seen.
    end: Option<u16>,
    seen: [Range; MOST_FRAGMENTS],
    count: usize,
    bytes: usize,
    given_up: bool,
}

impl Datagram {
    /// One of which nothing is known. `id` is its identification on the other side.
    pub(super) fn new(id: u16, now: Instant) -> Self {
        Self { begun: now, id, start: None, end: None, seen: [Range::default(); MOST_FRAGMENTS], count: 0, bytes: 0, given_up: false }
    }

    /// Enter a fragment.
    ///
    /// # Errors
    /// `FragmentDuplicate`: it is here already, and only its copy is lost. `FragmentOverlap` and `FragmentsFull`: the datagram is
    /// given up, as RFC 5722 has it for IPv6.
    pub(super) fn add(&mut self, inner: &Inner, fragment: Fragment) -> Result<(), DropReason> {
        if self.given_up {
            return Err(DropReason::FragmentOverlap);
        }
        let len = inner.total_len - HEADER_LEN;
        let end = usize::from(fragment.offset) + len;
        let range = Range { start: fragment.offset, end: u16::try_from(end).map_err(|_| DropReason::FragmentMalformed)? };
        let seen = &self.seen[..self.count];
        if seen.contains(&range) {
            return Err(DropReason::FragmentDuplicate);
        }
        let overlaps = seen.iter().any(|other| range.start < other.end && other.start < range.end);
        let beyond_end = self.end.is_some_and(|end| range.end > end || !fragment.more);
        let end_before = !fragment.more && seen.iter().any(|other| other.end > range.end);
        if overlaps || beyond_end || end_before {
            self.given_up = true;
            return Err(DropReason::FragmentOverlap);
        }
        let Some(place) = self.seen.get_mut(self.count) else {
            self.given_up = true;
            return Err(DropReason::FragmentsFull);
        };
        *place = range;
        self.count += 1;
        self.bytes += len;
        if !fragment.more {
            self.end = Some(range.end);
        }
        if fragment.offset == 0 {
            self.start = Some(*inner);
        }
        Ok(())
    }

    /// `inner`, one of its fragments, with the ports of the first one, which has come, and the datagram's name on the other side.
    pub(super) fn continued(&self, inner: &Inner) -> Option<Inner> {
        let start = self.start.as_ref()?;
        let inner = if inner.is_later_fragment() { continued(start, inner) } else { *inner };
        Some(Inner { fragment: inner.fragment.map(|fragment| Fragment { id: self.id, ..fragment }), ..inner })
    }

    /// Whether every byte of it was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| usize::from(end) == self.bytes)
    }

    /// Whether what follows of it is lost.
    pub(super) const fn is_given_up(&self) -> bool {
        self.given_up
    }
}
