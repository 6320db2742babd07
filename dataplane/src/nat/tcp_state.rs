//! The state of a TCP connection as one sees it in the middle of its way.
//!
//! ```text
//!            SYN of both sides acknowledged            FIN of both sides
//!  Opening ---------------------------------> Open ----------------------> Closed
//!     |                                       ^  |                            |
//!     | RST in the window                     |  | RST in the window          | SYN of the opener: Opening again
//!     v                                       |  v                            | (a port used anew, RFC 9293 3.6.1)
//!   Reset <---------------------------------- + Reset -- any other packet
//!                                                in the window: as before (RFC 7857 2.2)
//! ```
//!
//! A packet outside the window of its receiver changes nothing and refreshes nothing; it still travels on, since the receiver
//! answers it with the acknowledgement that RFC 9293 3.10.7.4 asks for. A FIN of one side leaves the connection open: the other
//! may go on sending for hours (RFC 6146 3.5.2.2).

use super::timeouts::TimeoutClass;
use super::types::Direction;
use crate::wire::inner::{Tcp, tcp_flags};

/// Bytes behind the acknowledged ones that may still be repeated, where no larger window was ever offered.
const LEAST_SLACK: u32 = 65_535;

/// What a packet does to its session's timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// Starts anew.
    Refresh,
    /// Goes on.
    Keep,
}

/// Bits of [`End::flags`].
mod flag {
    /// It sent a SYN.
    pub(super) const OPENED: u8 = 1;
    /// The other side acknowledged it.
    pub(super) const ACKNOWLEDGED: u8 = 1 << 1;
    /// It sent a FIN.
    pub(super) const FINISHED: u8 = 1 << 2;
    /// It opened the connection.
    pub(super) const OPENER: u8 = 1 << 3;
    /// Set in the opener: one of both sent a reset.
    pub(super) const RESET: u8 = 1 << 4;
}

/// What one side has sent, in 20 bytes: both ends and the session's counters share one cache line.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
struct End {
    /// First sequence number behind its SYN.
    start: u32,
    /// First sequence number that it has not sent yet.
    next: u32,
    /// What it expects from the other side next; zero until both sides sent a SYN.
    ack: u32,
    /// First sequence number that the other side may not send: the furthest right edge of a window it ever offered, counted from
    /// `ack`. So before both sides sent a SYN it is the window of its own, which is never scaled (RFC 7323 2.2).
    edge: u32,
    /// The largest window it ever offered, as it stood in the header. Unscaled ones do not count: see [`LEAST_SLACK`].
    max_window: u16,
    flags: u8,
    /// Shift count of its windows.
    scale: Scale,
}

/// Shift count of windows, at most 14, where a SYN named one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Scale(u8);

impl Scale {
    const NONE: Self = Self(u8::MAX);

    const fn shift(self) -> u8 {
        if self.0 == Self::NONE.0 { 0 } else { self.0 }
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self::NONE
    }
}

/// See the module.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Connection {
    ends: [End; 2],
}

/// How far `a` lies behind `b` in sequence space; negative where it lies before it.
const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// A number of bytes as a distance.
fn signed(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

impl Connection {
    /// The connection that this SYN of `opener` asks for.
    pub(super) fn new(opener: Direction, syn: &Tcp) -> Self {
        let mut connection = Self::default();
        connection.ends[opener as usize].flags = flag::OPENER;
        connection.ends[opener as usize].open(syn);
        connection
    }

    /// Which timer applies.
    pub(super) fn timeout(&self) -> TimeoutClass {
        if self.is_reset() || self.is_closed() {
            TimeoutClass::TcpClosing
        } else if self.is_open() {
            TimeoutClass::TcpEstablished
        } else {
            TimeoutClass::TcpOpening
        }
    }

    /// The state as tables spell it.
    pub(super) fn label(&self) -> &'static str {
        match self.timeout() {
            TimeoutClass::TcpEstablished if self.ends.iter().any(|end| end.has(flag::FINISHED)) => "half-closed",
            TimeoutClass::TcpEstablished => "established",
            TimeoutClass::TcpClosing if self.is_reset() => "reset",
            TimeoutClass::TcpClosing => "closing",
            _ => "opening",
        }
    }

    fn is_open(&self) -> bool {
        self.ends.iter().all(|end| end.has(flag::ACKNOWLEDGED))
    }

    fn is_reset(&self) -> bool {
        self.ends.iter().any(|end| end.has(flag::RESET))
    }

    fn is_opener(&self, side: Direction) -> bool {
        self.ends[side as usize].has(flag::OPENER)
    }

    fn set_reset(&mut self, reset: bool) {
        for end in &mut self.ends {
            end.set(flag::RESET, reset && end.has(flag::OPENER));
        }
    }

    fn is_closed(&self) -> bool {
        self.ends.iter().all(|end| end.has(flag::FINISHED))
    }

    /// Whether a bare SYN against the direction of opening may pass: only while both sides may be opening at the same time
    /// (RFC 9293 3.5). At any other time it would open a second connection that no rule allows.
    pub(super) fn admits_syn_from(&self, from: Direction) -> bool {
        self.is_opener(from) || self.timeout() == TimeoutClass::TcpOpening
    }

    /// Take a segment in.
    pub(super) fn segment(&mut self, from: Direction, tcp: &Tcp) -> Timer {
        let has = |flag| tcp.flags & flag != 0;
        if has(tcp_flags::RST) {
            return self.reset_by(from, tcp);
        }
        if has(tcp_flags::SYN) && !has(tcp_flags::ACK) {
            return self.syn(from, tcp);
        }
        if has(tcp_flags::SYN) && self.is_first_answer(from, tcp) {
            return self.syn_ack(from, tcp);
        }
        if !self.is_in_window(from, tcp) {
            return Timer::Keep;
        }
        self.advance(from, tcp);
        self.set_reset(false);
        Timer::Refresh
    }

    fn syn(&mut self, from: Direction, tcp: &Tcp) -> Timer {
        let [me, peer] = self.sides(from);
        let is_repeated = me.has(flag::OPENED) && me.start == tcp.sequence.wrapping_add(1);
        let starts_anew = self.is_opener(from) && (self.is_reset() || self.is_closed() || !peer.has(flag::OPENED));
        if starts_anew && (self.is_reset() || !is_repeated) {
            *self = Self::new(from, tcp);
            return Timer::Refresh;
        }
        if !me.has(flag::OPENED) {
            self.ends[from as usize].open(tcp);
            self.both_opened();
            return Timer::Refresh;
        }
        // A repeated SYN keeps an opening connection waiting, and tells nothing about an open one.
        if is_repeated && !self.is_open() { Timer::Refresh } else { Timer::Keep }
    }

    /// A SYN+ACK that says something new: the first one, or one with another sequence number of a responder that started again
    /// before the connection was open.
    fn is_first_answer(&self, from: Direction, tcp: &Tcp) -> bool {
        let me = &self.ends[from as usize];
        let starts_elsewhere = me.start != tcp.sequence.wrapping_add(1);
        !me.has(flag::OPENED) || (!self.is_opener(from) && !self.is_open() && starts_elsewhere)
    }

    fn syn_ack(&mut self, from: Direction, tcp: &Tcp) -> Timer {
        let [_, peer] = self.sides(from);
        // It acknowledges the SYN, and of data sent with it (RFC 7413) at most what was sent.
        let acknowledges = distance(tcp.acknowledgement, peer.start) >= 0 && distance(tcp.acknowledgement, peer.next) <= 0;
        if !peer.has(flag::OPENED) || !acknowledges {
            return Timer::Keep;
        }
        self.ends[from as usize].open(tcp);
        self.ends[from.reversed() as usize].set(flag::ACKNOWLEDGED, true);
        self.both_opened();
        let me = &mut self.ends[from as usize];
        (me.ack, me.edge) = (tcp.acknowledgement, tcp.acknowledgement.wrapping_add(u32::from(tcp.window)));
        self.set_reset(false);
        Timer::Refresh
    }

    /// Each side's SYN told the other where to begin and how much to send; windows are scaled only where both agree.
    fn both_opened(&mut self) {
        let [first, second] = self.ends;
        if !(first.has(flag::OPENED) && second.has(flag::OPENED)) {
            return;
        }
        let scaled = first.scale != Scale::NONE && second.scale != Scale::NONE;
        for (end, other) in self.ends.iter_mut().zip([second, first]) {
            end.scale = if scaled { end.scale } else { Scale::NONE };
            let window = end.edge.wrapping_sub(end.ack).min(u32::from(u16::MAX));
            end.ack = other.start;
            end.max_window = 0;
            end.edge = other.start.wrapping_add(window);
        }
    }

    /// RFC 7857 2.2: a reset is translated, and the session waits; one outside the window does not even do that. It never
    /// refreshes a timer, so a second one changes nothing.
    fn reset_by(&mut self, from: Direction, tcp: &Tcp) -> Timer {
        let [me, peer] = self.sides(from);
        let believable = if me.has(flag::OPENED) && peer.has(flag::OPENED) {
            let offered = distance(peer.edge, peer.ack).max(0);
            (0..=offered).contains(&distance(tcp.sequence, peer.ack))
        } else if me.has(flag::OPENED) {
            // The opener gives up before it heard anything.
            tcp.sequence == me.next || tcp.sequence == me.start
        } else {
            // RFC 9293 3.10.7.3: the answer to a SYN has to acknowledge it.
            let acknowledged = distance(tcp.acknowledgement, peer.start) >= 0 && distance(tcp.acknowledgement, peer.next) <= 0;
            tcp.flags & tcp_flags::ACK != 0 && peer.has(flag::OPENED) && acknowledged
        };
        if !believable || self.is_reset() || self.is_closed() {
            return Timer::Keep;
        }
        self.set_reset(true);
        Timer::Refresh
    }

    fn is_in_window(&self, from: Direction, tcp: &Tcp) -> bool {
        let [me, peer] = self.sides(from);
        if !me.has(flag::OPENED) || !peer.has(flag::OPENED) || tcp.flags & tcp_flags::ACK == 0 {
            return false;
        }
        let end = tcp.sequence.wrapping_add(length(tcp));
        // One byte beyond the edge is a probe of a closed window (RFC 9293 3.8.6.1).
        let not_beyond = distance(end, peer.edge) <= 1;
        let not_long_gone = distance(end, peer.ack) >= -signed(peer.slack());
        let behind = distance(tcp.acknowledgement, peer.next);
        not_beyond && not_long_gone && behind <= 0 && behind >= -signed(me.slack())
    }

    fn advance(&mut self, from: Direction, tcp: &Tcp) {
        let has = |flag| tcp.flags & flag != 0;
        let is_syn = has(tcp_flags::SYN);
        let me = &mut self.ends[from as usize];
        let end = tcp.sequence.wrapping_add(length(tcp));
        if distance(end, me.next) > 0 {
            me.next = end;
        }
        if distance(tcp.acknowledgement, me.ack) > 0 {
            me.ack = tcp.acknowledgement;
        }
        let window = if is_syn { u32::from(tcp.window) } else { u32::from(tcp.window) << me.scale.shift() };
        let edge = tcp.acknowledgement.wrapping_add(window);
        if distance(edge, me.edge) > 0 {
            me.edge = edge;
        }
        if !is_syn {
            me.max_window = me.max_window.max(tcp.window);
        }
        if has(tcp_flags::FIN) {
            me.set(flag::FINISHED, true);
        }
        let peer = &mut self.ends[from.reversed() as usize];
        if distance(tcp.acknowledgement, peer.start) >= 0 {
            peer.set(flag::ACKNOWLEDGED, true);
        }
    }

    /// Whether an ICMP error about a segment with this sequence number, sent in direction `sent`, can be meant for this connection:
    /// only data that is on its way can have caused one (RFC 5927 4.1).
    pub(super) fn has_in_flight(&self, sent: Direction, sequence: u32) -> bool {
        let [me, peer] = self.sides(sent);
        let oldest = if me.has(flag::OPENED) && peer.has(flag::OPENED) { peer.ack } else { me.start.wrapping_sub(1) };
        me.has(flag::OPENED) && (0..=distance(me.next, oldest).max(0)).contains(&distance(sequence, oldest))
    }

    const fn sides(&self, from: Direction) -> [End; 2] {
        [self.ends[from as usize], self.ends[from.reversed() as usize]]
    }
}

impl End {
    fn open(&mut self, syn: &Tcp) {
        *self = Self {
            start: syn.sequence.wrapping_add(1),
            next: syn.sequence.wrapping_add(length(syn)),
            ack: 0,
            edge: u32::from(syn.window),
            max_window: 0,
            flags: self.flags & (flag::ACKNOWLEDGED | flag::OPENER | flag::RESET) | flag::OPENED,
            scale: syn.window_scale.map_or(Scale::NONE, Scale),
        };
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    const fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// Bytes behind the acknowledged ones that may still be repeated.
    fn slack(&self) -> u32 {
        (u32::from(self.max_window) << self.scale.shift()).max(LEAST_SLACK)
    }
}

/// What a segment takes of the sequence space.
fn length(tcp: &Tcp) -> u32 {
    let flags = u32::from(tcp.flags & tcp_flags::SYN != 0) + u32::from(tcp.flags & tcp_flags::FIN != 0);
    u32::from(tcp.data_len) + flags
}

#[cfg(test)]
#[path = "tcp_state_tests.rs"]
mod tests;
