//! One SA pair at work: keys, counters, the replay window. What a packet touches stands together.

use std::net::SocketAddrV4;

use super::packet::{Traffic, header, payload_len};
use super::sa::{Encapsulation, Lifetime, OutboundUse, SaPair, SaRow, Spi};
use super::selectors::Selectors;
use super::suite::{NotOpened, Opener, Sealer, Sequence};
use crate::drop_reason::DropReason;
use crate::prefetch;
use crate::time::Instant;
use crate::tunnel::replay_window::ReplayWindow;

/// Of sequence numbers without extension, and with it: what a packet of the last number would be followed by is another SA.
const LAST: u64 = u32::MAX as u64;
const LAST_EXTENDED: u64 = u64::MAX;
/// Our own choice: four lines of cache, 1,984 packets. RFC 4303 section 3.4.3 wants 32 at least and 64 usually.
const WINDOW_WORDS: usize = 32;
/// Our own choice: with so many numbers left (a sixteenth) a successor is asked for, whatever the soft lifetime says.
const SUCCESSOR_BEFORE: u64 = 1 << 28;

/// What went one way.
#[derive(Clone, Copy, Default, Debug)]
struct Traffics {
    packets: u64,
    bytes: u64,
}

impl Traffics {
    fn add(&mut self, len: usize) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(len as u64);
    }

    const fn reached(&self, soft: &Lifetime) -> bool {
        self.packets >= soft.packets || self.bytes >= soft.bytes
    }
}

/// See the module. In a box of its own, so that its place in memory stays.
#[repr(C, align(64))]
pub(super) struct Pair {
    // What every packet to the office touches.
    /// Of the last packet sent; 0 before the first.
    sent_sequence: u64,
    last_sequence: u64,
    outbound_spi: u32,
    extended: bool,
    outbound: Outbound,
    expiring: Tell,
    heard: Tell,
    pub(super) encapsulation: Encapsulation,
    soft: Lifetime,
    transmitted: Traffics,
    selectors: Selectors,
    // What every packet from the office touches, beside the soft lifetime and the selectors.
    received: Traffics,
    heard_at: Option<Instant>,
    window: ReplayWindow<WINDOW_WORDS>,
    sealer: Sealer,
    opener: Opener,
    // What is shown.
    inbound_spi: Spi,
    /// Order in which pairs were installed or switched to.
    rank: u64,
    suite: &'static str,
    installed_at: Instant,
}

/// What becomes of packets to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outbound {
    /// They use it.
    InUse,
    /// They use it where no pair in use carries them: the peer may not have it yet, and those have nothing to lose.
    Waiting,
    /// They do not use it any more: the peer has forgotten it, and what it sent before may still arrive.
    Closed,
}

/// Something that is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tell {
    NotYet,
    Due,
    Done,
}

impl Tell {
    fn due(&mut self) -> bool {
        let first = *self == Self::NotYet;
        if first {
            *self = Self::Due;
        }
        first
    }
}

/// A packet that the peer, who has the keys, sent.
pub(super) struct Authentic {
    /// Length of the inner packet, or why it is refused all the same.
    pub(super) content: Result<usize, DropReason>,
    /// It has the highest sequence number yet.
    pub(super) newest: bool,
}

impl Pair {
    /// `None`: a suite that is not done, or no selector.
    pub(super) fn new(pair: &SaPair, rank: u64, now: Instant) -> Option<Self> {
        let last_sequence = if pair.esn { LAST_EXTENDED } else { LAST };
        Some(Self {
            sent_sequence: 0,
            last_sequence,
            outbound_spi: pair.outbound_spi,
            extended: pair.esn,
            outbound: if pair.outbound_use == OutboundUse::Now { Outbound::InUse } else { Outbound::Waiting },
            expiring: Tell::NotYet,
            heard: Tell::NotYet,
            encapsulation: pair.encapsulation,
            soft: pair.soft,
            transmitted: Traffics::default(),
            selectors: Selectors::new(&pair.selectors)?,
            received: Traffics::default(),
            heard_at: None,
            window: ReplayWindow::default(),
            sealer: Sealer::new(&pair.outbound)?,
            opener: Opener::new(&pair.inbound)?,
            inbound_spi: pair.inbound_spi,
            rank,
            suite: pair.outbound.label(),
            installed_at: now,
        })
    }

    /// Its inbound SPI.
    pub(super) const fn spi(&self) -> Spi {
        self.inbound_spi
    }

    /// Decrypt and authenticate; only then the window moves. `datagram` has this pair's SPI.
    ///
    /// The order of checks is that of RFC 4303 section 3.4: replay, integrity, then what is inside, then the selectors of this very pair
    /// (RFC 4301 section 5.2).
    pub(super) fn open(&mut self, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<Authentic, DropReason> {
        let (_, lower) = header(datagram).ok_or(DropReason::TunnelMessageMalformed)?;
        let number = if self.extended { self.window.infer(lower) } else { Some(u64::from(lower)) };
        let number = number.filter(|number| self.window.check(*number).is_ok()).ok_or(DropReason::TunnelDataReplayed)?;
        let plain = self.opener.open(Sequence { number, extended: self.extended }, datagram, out).map_err(|why| match why {
            NotOpened::Malformed => DropReason::TunnelMessageMalformed,
            NotOpened::Forged => DropReason::TunnelDataRejected,
        })?;
        let newest = self.window.mark(number);
        self.heard_at = Some(now);
        let content = self.content(&out[..plain]);
        self.received.add(*content.as_ref().unwrap_or(&0));
        Ok(Authentic { content, newest })
    }

    fn content(&self, plain: &[u8]) -> Result<usize, DropReason> {
        let len = payload_len(plain)?;
        if self.selectors.allow_from_office(&Traffic::of(&plain[..len])?) { Ok(len) } else { Err(DropReason::TunnelSelectorMismatch) }
    }

    /// A packet has authenticated: the peer has the outbound SA's other end. True where that is news.
    pub(super) fn heard(&mut self) -> bool {
        if self.outbound == Outbound::Waiting && self.heard == Tell::NotYet {
            self.outbound = Outbound::InUse;
        }
        self.heard.due()
    }

    /// Whether packets to the peer may use it: not closed, and not at the end of its sequence numbers.
    pub(super) fn usable(&self) -> bool {
        self.outbound != Outbound::Closed && self.sent_sequence < self.last_sequence
    }

    /// Its place among the pairs of its tunnel, for packets to the peer: the lowest comes first.
    pub(super) fn order(&self) -> (u8, u64) {
        match self.outbound {
            Outbound::InUse if self.usable() => (0, u64::MAX - self.rank),
            // The peer most probably has the one that has waited longest.
            Outbound::Waiting if self.usable() => (1, self.rank),
            _ => (2, self.rank),
        }
    }

    /// Use it from now on for packets to the peer, before all others.
    pub(super) fn enable(&mut self, rank: u64) {
        self.outbound = Outbound::InUse;
        self.rank = rank;
    }

    /// Use it no more for packets to the peer.
    pub(super) fn close(&mut self) {
        self.outbound = Outbound::Closed;
    }

    /// Whether its selectors let this packet through to the office.
    pub(super) fn carries(&self, packet: &Traffic) -> bool {
        self.selectors.allow_to_office(packet)
    }

    /// Encrypt `inner[..len]`. The caller has asked [`Self::usable`].
    pub(super) fn seal(&mut self, inner: &mut [u8], len: usize, out: &mut [u8]) -> Option<usize> {
        let number = self.sent_sequence.checked_add(1).filter(|number| *number <= self.last_sequence)?;
        // Spent, whatever comes of it: a number never goes out twice.
        self.sent_sequence = number;
        let sequence = Sequence { number, extended: self.extended };
        let total = self.sealer.seal(self.outbound_spi, sequence, inner, len, out)?;
        self.transmitted.add(len);
        Some(total)
    }

    /// Whether its soft lifetime has come to an end in either direction. True once.
    pub(super) fn expires(&mut self) -> bool {
        let soft = self.transmitted.reached(&self.soft) || self.received.reached(&self.soft);
        // What the peer sent and did not arrive has used up numbers, too.
        let numbers = self.sent_sequence.max(self.window.highest()) >= self.last_sequence - SUCCESSOR_BEFORE;
        (soft || numbers) && self.expiring.due()
    }

    /// What is to be told: heard, expiring.
    pub(super) fn news(&mut self) -> [&mut Tell; 2] {
        [&mut self.heard, &mut self.expiring]
    }

    /// Bytes more than the inner packet, at most.
    pub(super) fn overhead(&self) -> usize {
        self.sealer.geometry().overhead()
    }

    /// Where the peer is, in UDP.
    pub(super) const fn udp_peer(&self) -> Option<SocketAddrV4> {
        match self.encapsulation {
            Encapsulation::Udp { peer } => Some(peer),
            Encapsulation::Ip { .. } => None,
        }
    }

    pub(super) fn row(&self, in_use: bool) -> SaRow {
        SaRow {
            inbound_spi: self.inbound_spi.get(),
            outbound_spi: self.outbound_spi,
            suite: self.suite,
            esn: self.extended,
            encapsulation: self.encapsulation,
            in_use,
            installed_at: self.installed_at,
            heard_at: self.heard_at,
            received: (self.received.packets, self.received.bytes),
            transmitted: (self.transmitted.packets, self.transmitted.bytes),
        }
    }

    /// Hint that a packet of the peer with this lower half of a sequence number will be opened.
    pub(super) fn prefetch_open(&self, lower: u32) {
        self.prefetch_front();
        self.window.prefetch(lower);
        prefetch::whole(&self.opener);
    }

    /// Hint that a packet will be sealed.
    pub(super) fn prefetch_seal(&self) {
        self.prefetch_front();
        prefetch::whole(&self.sealer);
    }

    /// What packets of both directions touch.
    fn prefetch_front(&self) {
        prefetch::start(&self.sent_sequence);
        prefetch::start(&self.soft);
        prefetch::whole(&self.selectors);
        prefetch::whole(&self.received);
        prefetch::start(&self.window);
    }

    #[cfg(test)]
    pub(super) fn sent(&mut self) -> &mut u64 {
        &mut self.sent_sequence
    }
}
