//! Next hops and their station addresses: a bounded cache that learns only from answers to its own questions. One for each family of
//! addresses: ARP asks for those of IPv4, neighbour discovery for those of IPv6.
//!
//! Nothing unsolicited changes an entry (RFC 826 and RFC 4861 section 7.2.5 would let it): an announcement with another station only
//! makes the relay ask again, and where it asks one station, only that station answers. A next hop in use is asked again by unicast
//! before its entry grows old (RFC 1122 section 2.3.2.1), so a working path never waits. One packet waits for each unresolved next hop
//! (RFC 1122 section 2.3.2.2), the latest.

use std::net::Ipv4Addr;

use crate::packet::Packet;
use crate::prefetch;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::MacAddr;

/// An answer is good for this long before it is checked again. RFC 1122 section 2.3.2.1 asks for "on the order of a minute";
/// RFC 4861 section 10 calls it REACHABLE_TIME.
const REACHABLE: Duration = Duration::from_secs(30);
/// Between two questions for one next hop: RFC 1122 section 2.3.2.1 allows at most one a second;
/// RFC 4861's RETRANS_TIMER.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A next hop that nothing was sent to for so long makes room where the table is full.
const UNUSED: Duration = Duration::from_secs(60);
/// Unanswered questions in a row before a next hop counts as gone; then the relay asks only when somebody wants to go there.
const PROBES: u8 = 3;

/// Where an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborState {
    /// Asked, never answered.
    Incomplete,
    /// Answered lately.
    Reachable,
    /// Answered before; asked again by unicast, still in use.
    Probing,
}

impl NeighborState {
    /// The state as tables spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Probing => "probing",
        }
    }
}

#[derive(Debug)]
struct Entry<A> {
    address: A,
    mac: MacAddr,
    state: NeighborState,
    confirmed_at: Option<Instant>,
    due: Instant,
    asked_at: Option<Instant>,
    /// When something was last to be sent there.
    used_at: Instant,
    probes: u8,
    held: Option<Packet>,
}

/// What [`Neighbors::resolve`] knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The station to send to.
    Known(MacAddr),
    /// Asked, or about to be asked: hold the packet.
    Unresolved,
    /// No room to ask for one more next hop.
    Full,
}

/// A question to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe<A = Ipv4Addr> {
    /// The next hop asked for.
    pub target: A,
    /// The station asked; `None` asks all.
    pub station: Option<MacAddr>,
}

/// The next hops of one interface.
#[derive(Debug)]
pub struct Neighbors<A = Ipv4Addr> {
    entries: Vec<Entry<A>>,
    capacity: usize,
    due: Instant,
}

impl<A: Copy + Eq> Neighbors<A> {
    /// A cache of at most `capacity` next hops; it never allocates again.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), capacity, due: Instant::FAR_FUTURE }
    }

    /// Hint that [`Self::resolve`] will be called.
    pub(crate) fn prefetch(&self) {
        if let Some(first) = self.entries.first() {
            prefetch::whole(first);
        }
    }

    /// The station of `address`; starts to ask where it is not known.
    pub fn resolve(&mut self, address: A, now: Instant) -> Resolution {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.address == address) {
            entry.used_at = now;
            if entry.state != NeighborState::Incomplete {
                return Resolution::Known(entry.mac);
            }
            entry.due = entry.due.min(entry.asked_at.map_or(now, |at| at + PROBE_INTERVAL));
            self.due = self.due.min(entry.due);
            return Resolution::Unresolved;
        }
        if self.entries.len() == self.capacity && !self.forget_one_unused(now) {
            return Resolution::Full;
        }
        self.entries.push(Entry {
            address,
            mac: MacAddr::default(),
            state: NeighborState::Incomplete,
            confirmed_at: None,
            due: now,
            asked_at: None,
            used_at: now,
            probes: 0,
            held: None,
        });
        self.due = now;
        Resolution::Unresolved
    }

    /// An unresolved entry without a waiting packet makes room, else one that has not been used for long: floods of unanswered next
    /// hops must not push out those that work.
    fn forget_one_unused(&mut self, now: Instant) -> bool {
        let waits = |entry: &Entry<A>| entry.held.is_some();
        let in_vain = |entry: &Entry<A>| entry.state == NeighborState::Incomplete && entry.probes > 0 && !waits(entry);
        let long_unused = |entry: &Entry<A>| now - entry.used_at >= UNUSED && !waits(entry);
        let unused = self.entries.iter().position(in_vain).or_else(|| self.entries.iter().position(long_unused));
        unused.map(|index| self.entries.swap_remove(index)).is_some()
    }

    /// Let `packet` wait for `address`; gives back the packet that waited before, or this one where nobody asks for the address.
    pub fn hold(&mut self, address: A, packet: Packet) -> Option<Packet> {
        match self.entries.iter_mut().find(|entry| entry.address == address && entry.state == NeighborState::Incomplete) {
            Some(entry) => entry.held.replace(packet),
            None => Some(packet),
        }
    }

    /// `address` answered as `mac`. Returns whether it had been asked, and the packet that waited. While one station is asked by
    /// unicast, nobody else can answer for it: an announcement makes the relay ask, and must not be able to answer itself.
    pub fn answered(&mut self, address: A, mac: MacAddr, now: Instant) -> (bool, Option<Packet>) {
        match self.entries.iter_mut().find(|entry| entry.address == address && entry.awaits(mac)) {
            Some(entry) => {
                entry.mac = mac;
                entry.state = NeighborState::Reachable;
                entry.confirmed_at = Some(now);
                entry.due = now + REACHABLE;
                entry.probes = 0;
                (true, entry.held.take())
            }
            None => (false, None),
        }
    }

    /// Somebody announced `address` at `mac` without being asked: where that differs from what is known, ask again.
    pub fn doubted(&mut self, address: A, mac: MacAddr, now: Instant) {
        let known = self.entries.iter_mut().find(|entry| entry.address == address && entry.state == NeighborState::Reachable);
        if let Some(entry) = known.filter(|entry| entry.mac != mac) {
            entry.state = NeighborState::Probing;
            entry.due = now;
            self.due = now;
        }
    }

    /// The next question that is due, if any; call until it returns `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Probe<A>> {
        if now < self.due {
            return None;
        }
        let probe = self.entries.iter_mut().find(|entry| entry.due <= now).map(|entry| entry.probe(now));
        self.due = self.entries.iter().map(|entry| entry.due).min().unwrap_or(Instant::FAR_FUTURE);
        probe
    }

    /// When [`Self::poll`] has something to do.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Packets that wait here.
    #[cfg(feature = "simulation")]
    pub(crate) fn holding(&self) -> usize {
        self.entries.iter().filter(|entry| entry.held.is_some()).count()
    }

    /// Take out every waiting packet (the interface goes away).
    pub fn drain_held(&mut self) -> impl Iterator<Item = Packet> + '_ {
        self.entries.iter_mut().filter_map(|entry| entry.held.take())
    }

    /// A packet that waits for a next hop that has not answered [`PROBES`] questions: it has waited long enough.
    pub fn expired_held(&mut self) -> Option<Packet> {
        self.entries.iter_mut().find(|entry| entry.probes >= PROBES && entry.held.is_some()).and_then(|entry| entry.held.take())
    }

    /// All entries: address, station once known, state, last answer.
    pub fn rows(&self) -> impl Iterator<Item = (A, Option<MacAddr>, NeighborState, Option<Instant>)> + '_ {
        self.entries.iter().map(|entry| {
            let mac = (entry.state != NeighborState::Incomplete).then_some(entry.mac);
            (entry.address, mac, entry.state, entry.confirmed_at)
        })
    }
}

impl<A: Copy> Entry<A> {
    /// Whether `mac` was asked.
    fn awaits(&self, mac: MacAddr) -> bool {
        match self.state {
            NeighborState::Reachable => false,
            NeighborState::Probing => self.mac == mac,
            NeighborState::Incomplete => true,
        }
    }

    /// Ask once more: the known station first, everybody when it stays silent, and nobody when all do.
    fn probe(&mut self, now: Instant) -> Probe<A> {
        if self.state == NeighborState::Reachable {
            self.state = NeighborState::Probing;
        }
        if self.state == NeighborState::Probing && self.probes >= PROBES {
            self.state = NeighborState::Incomplete;
            self.probes = 0;
        }
        self.probes = self.probes.saturating_add(1);
        self.asked_at = Some(now);
        let given_up = self.state == NeighborState::Incomplete && self.probes >= PROBES;
        self.due = if given_up { Instant::FAR_FUTURE } else { now + PROBE_INTERVAL };
        let station = (self.state == NeighborState::Probing).then_some(self.mac);
        Probe { target: self.address, station }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FramePool;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 1);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const EVIL: MacAddr = MacAddr([2, 0, 0, 0, 0, 66]);

    fn resolved(now: Instant) -> Neighbors {
        let mut neighbors = Neighbors::new(2);
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: None }));
        assert!(neighbors.answered(GATEWAY, MAC, now).0);
        neighbors
    }

    #[test]
    fn an_unsolicited_announcement_changes_nothing_but_makes_the_relay_ask() {
        let now = Instant::from_secs(1);
        let mut neighbors = resolved(now);
        assert!(!neighbors.answered(GATEWAY, EVIL, now).0, "nobody asked");
        neighbors.doubted(GATEWAY, EVIL, now);
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Known(MAC));
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: Some(MAC) }));
        assert_eq!(neighbors.poll(now), None, "one question a second");
    }

    #[test]
    fn who_announces_a_next_hop_elsewhere_cannot_answer_for_it_while_the_known_station_is_asked() {
        let mut now = Instant::from_secs(1);
        let mut neighbors = resolved(now);
        neighbors.doubted(GATEWAY, EVIL, now);
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: Some(MAC) }));
        assert!(!neighbors.answered(GATEWAY, EVIL, now).0, "the question went to another station");
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Known(MAC));
        assert!(neighbors.answered(GATEWAY, MAC, now).0);

        // A next hop that really moved is silent at its old station, and then everybody is asked.
        neighbors.doubted(GATEWAY, EVIL, now);
        for _ in 0..PROBES {
            assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: Some(MAC) }));
            now = now + PROBE_INTERVAL;
        }
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: None }));
        assert!(neighbors.answered(GATEWAY, EVIL, now).0);
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Known(EVIL));
    }

    #[test]
    fn a_table_full_of_next_hops_that_work_makes_room_once_one_of_them_is_no_longer_used() {
        let now = Instant::from_secs(1);
        let mut neighbors = resolved(now);
        let [idle, new] = [2, 3].map(|last| Ipv4Addr::new(10, 254, 1, last));
        assert_eq!(neighbors.resolve(idle, now), Resolution::Unresolved);
        assert!(neighbors.answered(idle, EVIL, now).0);
        let later = now + UNUSED;
        assert_eq!(neighbors.resolve(GATEWAY, later), Resolution::Known(MAC));
        assert_eq!(neighbors.resolve(new, Instant::from_nanos(later.as_nanos() - 1)), Resolution::Full);
        assert_eq!(neighbors.resolve(new, later), Resolution::Unresolved);
        assert_eq!(neighbors.resolve(GATEWAY, later), Resolution::Known(MAC), "the one in use stays");
    }

    #[test]
    fn a_silent_next_hop_is_asked_by_unicast_and_then_by_everybody_and_traffic_stops() {
        let mut now = Instant::from_secs(1);
        let mut neighbors = resolved(now);
        now = now + REACHABLE;
        for _ in 0..PROBES {
            assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: Some(MAC) }));
            assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Known(MAC));
            now = now + PROBE_INTERVAL;
        }
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: None }));
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
    }

    #[test]
    fn a_next_hop_that_never_answers_is_asked_three_times_and_again_when_somebody_wants_it() {
        let mut neighbors = Neighbors::new(1);
        let mut now = Instant::ZERO;
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        for _ in 0..PROBES {
            assert!(neighbors.poll(now).is_some());
            assert!(neighbors.poll(now).is_none(), "one question a second");
            now = now + PROBE_INTERVAL;
        }
        assert_eq!(neighbors.due(), Instant::FAR_FUTURE);
        now = now + Duration::from_secs(3_600);
        assert_eq!(neighbors.poll(now), None);
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        assert_eq!(neighbors.poll(now), Some(Probe { target: GATEWAY, station: None }));
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        assert_eq!(neighbors.poll(now), None, "still one question a second");
    }

    #[test]
    fn the_latest_packet_waits_and_is_given_out_with_the_answer() {
        let mut pool = FramePool::new(2).expect("memory");
        let now = Instant::ZERO;
        let mut neighbors = Neighbors::new(1);
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Unresolved);
        let first = Packet::copied(pool.take().expect("a frame"), b"first").expect("fits");
        let second = Packet::copied(pool.take().expect("a frame"), b"second").expect("fits");
        assert!(neighbors.hold(GATEWAY, first).is_none());
        let displaced = neighbors.hold(GATEWAY, second).expect("only one waits");
        assert_eq!(displaced.bytes(), b"first");
        let (asked, held) = neighbors.answered(GATEWAY, MAC, now);
        assert!(asked);
        assert_eq!(held.expect("the second waited").bytes(), b"second");
    }

    #[test]
    fn a_full_table_keeps_the_next_hops_that_work() {
        let now = Instant::from_secs(1);
        let mut neighbors = resolved(now);
        let unused = |last| Ipv4Addr::new(10, 254, 1, last);
        assert_eq!(neighbors.resolve(unused(2), now), Resolution::Unresolved);
        assert_eq!(neighbors.resolve(unused(3), now), Resolution::Full, "the second has not even been asked for yet");
        assert!(neighbors.poll(now).is_some());
        assert_eq!(neighbors.resolve(unused(3), now), Resolution::Unresolved, "it makes room once asked in vain");
        assert_eq!(neighbors.resolve(GATEWAY, now), Resolution::Known(MAC));
    }
}
