//! ESP (RFC 4303) in tunnel mode: one [`EspTunnel`] a municipal router. Its SAs come and go by the control plane's commands.
//!
//! | file | what is in it |
//! |---|---|
//! | [`sa`] | SAs as plain data: what is negotiated and installed |
//! | `pair` | an SA pair at work |
//! | `suite`, `cbc` | ciphers over whole packets |
//! | `packet` | header, padding, next header |
//! | `selectors` | what a pair may carry |

use std::net::{SocketAddr, SocketAddrV4};

use self::packet::Traffic;
use self::pair::{Pair, Tell};
use self::sa::{Encapsulation, MAX_PAIRS, MAX_SELECTORS, SaPair, SaRefused, SaRow, Spi};
use super::{Content, Decapsulated, Tunnel, TunnelState, Way};
use crate::drop_reason::DropReason;
use crate::prefetch;
use crate::router_config::TunnelConfig;
use crate::time::{Duration, Instant};

mod cbc;
mod packet;
mod pair;
pub mod sa;
mod selectors;
mod suite;
#[cfg(test)]
mod tests;

/// Between two wishes for an SA.
const ACQUIRE_INTERVAL: Duration = Duration::from_secs(5);
/// RFC 3948 section 4: the default of the interval between keepalives ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// ... and what they are (section 2.3).
const KEEPALIVE: u8 = 0xff;
/// Of the suite that adds most, AES-CBC with HMAC-SHA-512-256: for a tunnel that has no SA yet.
const MAX_OVERHEAD: usize = suite::Geometry::cbc(sa::Integrity::HmacSha512_256).overhead();

/// What a tunnel has to tell the control plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The first packet was authenticated on this inbound SA.
    Heard(Spi),
    /// An SA of this pair has reached its soft lifetime.
    Expiring(Spi),
}

/// One tunnel to one municipal router: at most [`MAX_PAIRS`] SA pairs.
#[derive(Default)]
pub struct EspTunnel {
    /// For packets to the peer: those in use, the latest first; those that wait, the latest last; others. No gaps.
    pairs: [Option<Box<Pair>>; MAX_PAIRS],
    /// Their inbound SPIs, in the same places; 0 = none.
    spis: [u32; MAX_PAIRS],
    /// Some pair has something to tell.
    notices: bool,
    /// Of the last packet written.
    way: Option<Encapsulation>,
    last_sent: Instant,
    rank: u64,
    acquired_at: Option<Instant>,
    history: History,
}

/// What the tunnel tells about itself.
#[derive(Default)]
struct History {
    up: bool,
    changed_at: Option<Instant>,
    installed_at: Option<Instant>,
    heard_at: Option<Instant>,
    acquired: bool,
    remembered: Option<SocketAddr>,
}

/// Keys stay out.
impl std::fmt::Debug for EspTunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EspTunnel").field("spis", &self.spis).field("way", &self.way).finish_non_exhaustive()
    }
}

impl EspTunnel {
    /// A tunnel without SAs.
    #[must_use]
    pub fn new(_config: &TunnelConfig, now: Instant) -> Self {
        Self { last_sent: now, ..Self::default() }
    }

    /// Take over an SA pair.
    ///
    /// # Errors
    /// [`SaRefused::TooManyPairs`], [`SaRefused::SpiTaken`] where the tunnel has this inbound SPI, [`SaRefused::Unsupported`].
    pub fn install(&mut self, pair: &SaPair, now: Instant) -> Result<(), SaRefused> {
        if self.place(pair.inbound_spi.get()).is_some() {
            return Err(SaRefused::SpiTaken);
        }
        if pair.selectors.len() > MAX_SELECTORS {
            return Err(SaRefused::Unsupported);
        }
        let free = self.pairs.iter().position(Option::is_none).ok_or(SaRefused::TooManyPairs)?;
        self.rank += 1;
        self.pairs[free] = Some(Box::new(Pair::new(pair, self.rank, now).ok_or(SaRefused::Unsupported)?));
        self.history.installed_at = Some(now);
        self.pairs_changed(now);
        Ok(())
    }

    /// Send with the outbound SA of this pair from now on. False: there is none.
    pub fn switch_outbound(&mut self, inbound_spi: Spi) -> bool {
        let Some(place) = self.place(inbound_spi.get()) else { return false };
        self.rank += 1;
        if let Some(pair) = &mut self.pairs[place] {
            pair.enable(self.rank);
        }
        self.order();
        true
    }

    /// Send nothing more with this pair: it only receives, until it is removed. False: there is none.
    pub fn close_outbound(&mut self, inbound_spi: Spi, now: Instant) -> bool {
        let Some(place) = self.place(inbound_spi.get()) else { return false };
        if let Some(pair) = &mut self.pairs[place] {
            pair.close();
        }
        self.pairs_changed(now);
        true
    }

    /// Forget a pair, both directions. False: there is none.
    pub fn remove(&mut self, inbound_spi: Spi, now: Instant) -> bool {
        let Some(place) = self.place(inbound_spi.get()) else { return false };
        self.pairs[place] = None;
        self.pairs_changed(now);
        true
    }

    /// Send what this pair carries elsewhere. False: there is none.
    pub fn move_peer(&mut self, inbound_spi: Spi, to: Encapsulation) -> bool {
        let pair = self.place(inbound_spi.get()).and_then(|place| self.pairs[place].as_mut());
        pair.map(|pair| pair.encapsulation = to).is_some()
    }

    /// Whether to ask the control plane for an SA: a packet found none. True at most once each 5 s.
    pub fn acquire(&mut self, now: Instant) -> bool {
        let due = self.acquired_at.is_none_or(|at| now.since(at) >= ACQUIRE_INTERVAL);
        if due {
            self.acquired_at = Some(now);
            self.history.acquired = true;
        }
        due
    }

    /// What is to be told and was not yet, each once. What could not be told is put back by [`Self::tell_again`].
    pub fn next_notice(&mut self) -> Option<Notice> {
        if !self.notices {
            return None;
        }
        for pair in self.pairs.iter_mut().flatten() {
            let spi = pair.spi();
            for (tell, notice) in pair.news().into_iter().zip([Notice::Heard(spi), Notice::Expiring(spi)]) {
                if *tell == Tell::Due {
                    *tell = Tell::Done;
                    return Some(notice);
                }
            }
        }
        self.notices = false;
        None
    }

    /// The notice found no way: [`Self::next_notice`] will return it once more.
    pub fn tell_again(&mut self, notice: Notice) {
        let (Notice::Heard(spi) | Notice::Expiring(spi)) = notice;
        let place = self.place(spi.get());
        if let Some(pair) = place.and_then(|place| self.pairs[place].as_mut()) {
            let [heard, expiring] = pair.news();
            *(if matches!(notice, Notice::Heard(_)) { heard } else { expiring }) = Tell::Due;
            self.notices = true;
        }
    }

    /// The inbound SPIs of its pairs.
    pub fn inbound_spis(&self) -> impl Iterator<Item = Spi> + '_ {
        self.pairs.iter().flatten().map(|pair| pair.spi())
    }

    /// Its pairs as `show` has them.
    #[must_use]
    pub fn rows(&self) -> Vec<SaRow> {
        let current = self.current().map(Pair::spi);
        self.pairs.iter().flatten().map(|pair| pair.row(Some(pair.spi()) == current)).collect()
    }

    fn place(&self, spi: u32) -> Option<usize> {
        self.spis.iter().position(|known| *known == spi && spi != 0)
    }

    /// The pair that packets to the peer use, whatever their addresses.
    fn current(&self) -> Option<&Pair> {
        self.pairs[0]
            .as_deref()
            .filter(|pair| pair.usable())
            .or_else(|| self.pairs.iter().flatten().map(|pair| &**pair).find(|pair| pair.usable()))
    }

    fn pairs_changed(&mut self, now: Instant) {
        self.order();
        self.look_whether_up(now);
    }

    /// Put them in order again.
    fn order(&mut self) {
        self.pairs.sort_unstable_by_key(|pair| pair.as_ref().map_or((u8::MAX, 0), |pair| pair.order()));
        for (spi, pair) in self.spis.iter_mut().zip(&self.pairs) {
            *spi = pair.as_ref().map_or(0, |pair| pair.spi().get());
        }
    }

    fn look_whether_up(&mut self, now: Instant) {
        let up = self.current().is_some();
        if up != self.history.up {
            self.history.up = up;
            self.history.changed_at = Some(now);
        }
    }

    /// The peer has authenticated itself from `source` with its newest packet: its port or address is another one behind its NAT now (RFC
    /// 7296 section 2.23). All that went to the old place follows.
    fn follow(&mut self, place: usize, source: SocketAddr) -> bool {
        let SocketAddr::V4(source) = source else { return false };
        let known = self.pairs[place].as_ref().and_then(|pair| pair.udp_peer());
        // Port 0 is of protocol 50, whose peers do not move by themselves.
        let Some(known) = known.filter(|known| *known != source && source.port() != 0) else { return false };
        for pair in self.pairs.iter_mut().flatten().filter(|pair| pair.udp_peer() == Some(known)) {
            pair.encapsulation = Encapsulation::Udp { peer: source };
        }
        true
    }

    /// After a packet has authenticated.
    fn heard(&mut self, place: usize, now: Instant) -> bool {
        self.history.heard_at = Some(now);
        let Some(pair) = &mut self.pairs[place] else { return false };
        self.notices |= pair.expires();
        let first = pair.heard();
        if first {
            self.notices = true;
            self.pairs_changed(now);
        }
        first
    }

    fn down_reason(&self) -> &'static str {
        if self.pairs[0].is_some() {
            "its SAs carry nothing any more: the peer has deleted them, or their sequence numbers are used up (`chukei explain-ike`)"
        } else if self.history.heard_at.is_some() || self.history.installed_at.is_some() {
            "its SAs were deleted or expired and no new ones were negotiated: `chukei explain-ike` says what the peer proposed last"
        } else if self.history.acquired {
            "packets wait for an SA: the peer does not answer the relay's IKE messages or refuses them; `chukei explain-ike` says which"
        } else {
            "no SA was negotiated yet: check the peer's IKE configuration, UDP 500 and 4500 on the way, and `chukei explain-ike`"
        }
    }
}

const fn way(encapsulation: Encapsulation) -> Way {
    match encapsulation {
        Encapsulation::Udp { peer } => Way::Udp(SocketAddr::V4(peer)),
        Encapsulation::Ip { peer } => Way::Esp(peer),
    }
}

impl Tunnel for EspTunnel {
    /// `datagram` starts with the SPI. A `source` with port 0 is of IP protocol 50.
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, out: &mut [u8], now: Instant) -> Result<Decapsulated, DropReason> {
        let (spi, _) = packet::header(datagram).ok_or(DropReason::TunnelMessageMalformed)?;
        let place = self.place(spi).ok_or(DropReason::EspSpiUnknown)?;
        let Some(pair) = &mut self.pairs[place] else { return Err(DropReason::EspSpiUnknown) };
        let authentic = pair.open(datagram, out, now)?;
        // Even if what is inside is refused below, the peer has shown its keys.
        let handshake_completed = self.heard(place, now);
        let len = authentic.content?;
        let peer_moved = authentic.newest && self.follow(place, source);
        Ok(Decapsulated { content: Content::Inner { len }, peer_moved, handshake_completed })
    }

    fn encapsulate(&mut self, inner: &mut [u8], len: usize, out: &mut [u8], now: Instant) -> Result<usize, DropReason> {
        let traffic = Traffic::of(inner.get(..len).ok_or(DropReason::TunnelEncapsulateFailed)?)?;
        let mut reason = DropReason::TunnelDown;
        for pair in self.pairs.iter_mut().flatten().filter(|pair| pair.usable()) {
            if !pair.carries(&traffic) {
                reason = DropReason::TunnelSelectorMismatch;
                continue;
            }
            let total = pair.seal(inner, len, out).ok_or(DropReason::TunnelEncapsulateFailed)?;
            self.notices |= pair.expires();
            self.way = Some(pair.encapsulation);
            self.last_sent = now;
            return Ok(total);
        }
        Err(reason)
    }

    fn overhead(&self) -> usize {
        self.pairs.iter().flatten().map(|pair| pair.overhead()).max().unwrap_or(MAX_OVERHEAD)
    }

    /// Key exchange is the control plane's: see [`Self::acquire`].
    fn initiate(&mut self, _out: &mut [u8], _now: Instant) -> Option<usize> {
        None
    }

    /// A keepalive, where a NAT stands between and nothing else was sent.
    fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        self.look_whether_up(now);
        if now.since(self.last_sent) < KEEPALIVE_INTERVAL {
            return None;
        }
        let peer: SocketAddrV4 = self.current()?.udp_peer()?;
        *out.first_mut()? = KEEPALIVE;
        (self.way, self.last_sent) = (Some(Encapsulation::Udp { peer }), now);
        Some(1)
    }

    fn peer(&self) -> Option<SocketAddr> {
        let pair = self.current().or(self.pairs[0].as_deref());
        pair.map_or(self.history.remembered, |pair| match pair.encapsulation {
            Encapsulation::Udp { peer } => Some(peer.into()),
            Encapsulation::Ip { peer } => Some(SocketAddr::from((peer, 0))),
        })
    }

    fn way(&self) -> Option<Way> {
        self.way.map(way)
    }

    fn is_up(&self, _now: Instant) -> bool {
        self.current().is_some()
    }

    /// Whoever does not answer dead peer detection (RFC 7296 section 2.4) loses its SAs by the control plane's command.
    fn is_silent(&self) -> bool {
        false
    }

    fn prefetch(&self) {
        prefetch::whole(&self.pairs);
        prefetch::whole(&self.spis);
        prefetch::start(&self.last_sent);
        prefetch::start(&self.history);
    }

    fn prefetch_decapsulate(&self, datagram: &[u8]) {
        if let Some((spi, sequence)) = packet::header(datagram)
            && let Some(place) = self.place(spi)
            && let Some(pair) = &self.pairs[place]
        {
            pair.prefetch_open(sequence);
        }
    }

    fn prefetch_encapsulate(&self) {
        if let Some(pair) = &self.pairs[0] {
            pair.prefetch_seal();
        }
    }

    fn remember_peer(&mut self, peer: SocketAddr) {
        self.history.remembered = Some(peer);
    }

    fn state(&self, now: Instant) -> TunnelState {
        let (up, history) = (self.is_up(now), &self.history);
        TunnelState {
            up,
            changed_at: history.changed_at,
            handshake_at: history.installed_at,
            heard_at: history.heard_at,
            down_reason: if up { "" } else { self.down_reason() },
        }
    }

    fn kind(&self) -> &'static str {
        "ipsec"
    }
}
