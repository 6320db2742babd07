//! [`Packet`]: one frame of memory and the part of it that holds bytes.
//!
//! A packet never copies its bytes: stages move `start` and `end` inside the frame. A received packet leaves
//! [`HEADROOM`] bytes before its first byte, enough for any header the relay puts in front.

mod frames;

pub use frames::{FRAME_SIZE, Frame, FramePool, Umem};

/// Bytes kept free in front of a packet: Ethernet with two tags (22), outer IPv4 (20), UDP (8), tunnel header (16), and room to spare.
pub const HEADROOM: usize = 256;

/// The longest packet that fits into a frame behind its headroom.
pub const MAX_PACKET: usize = FRAME_SIZE - HEADROOM;

/// A place in a frame. Small, because packets are moved from stage to stage by the thousand.
type Offset = u16;

/// The bytes `start..end` of one frame, and how many packets of the wire they stand for.
///
/// Dropping a packet does not give its frame back: hand it to [`FramePool::put`] (only the worker's ledger does).
#[derive(Debug)]
#[must_use = "a packet that is not handed on loses its frame"]
pub struct Packet {
    frame: Frame,
    start: Offset,
    end: Offset,
    /// Wire packets this one stands for: 1, or more for a super-frame that the NIC segments.
    segments: u16,
}

impl Packet {
    /// An empty packet that leaves [`HEADROOM`] bytes in front.
    pub fn new(frame: Frame) -> Self {
        Self { frame, start: offset(HEADROOM), end: offset(HEADROOM), segments: 1 }
    }

    /// A packet over the bytes `start..start + len` of `frame`, as a NIC received it.
    ///
    /// # Panics
    /// When the range does not lie inside the frame: a NIC driver that does this is broken.
    pub fn received(frame: Frame, start: usize, len: usize) -> Self {
        assert!(start + len <= FRAME_SIZE, "a received packet lies inside its frame");
        Self { frame, start: offset(start), end: offset(start + len), segments: 1 }
    }

    /// A packet holding a copy of `bytes`, or the frame back where they do not fit.
    ///
    /// # Errors
    /// Gives the frame back when `bytes` is longer than [`MAX_PACKET`].
    pub fn copied(frame: Frame, bytes: &[u8]) -> Result<Self, Frame> {
        if bytes.len() > MAX_PACKET {
            return Err(frame);
        }
        let mut packet = Self::new(frame);
        packet.end = offset(HEADROOM + bytes.len());
        packet.bytes_mut().copy_from_slice(bytes);
        Ok(packet)
    }

    /// The packet's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.frame.bytes()[usize::from(self.start)..usize::from(self.end)]
    }

    /// The packet's bytes, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.frame.bytes_mut()[usize::from(self.start)..usize::from(self.end)]
    }

    /// Everything from the packet's first byte to the end of the frame: where a tunnel writes before it knows the length.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.frame.bytes_mut()[usize::from(self.start)..]
    }

    /// Keep only the bytes `by..by + len` counted from the packet's present first byte; may also grow into the spare room.
    ///
    /// Returns false, and changes nothing, where that lies outside the frame.
    #[must_use]
    pub fn set_range(&mut self, by: usize, len: usize) -> bool {
        let Some(start) = usize::from(self.start).checked_add(by) else { return false };
        let Some(end) = start.checked_add(len).filter(|end| *end <= FRAME_SIZE) else { return false };
        (self.start, self.end) = (offset(start), offset(end));
        true
    }

    /// Grow the packet by `len` bytes at its front; returns false, and changes nothing, where the headroom is used up.
    #[must_use]
    pub fn grow_front(&mut self, len: usize) -> bool {
        match usize::from(self.start).checked_sub(len) {
            Some(start) => {
                self.start = offset(start);
                true
            }
            None => false,
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// True where the packet has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Offset of the first byte inside the frame (a NIC needs it for its descriptor).
    #[must_use]
    pub fn start(&self) -> usize {
        self.start.into()
    }

    /// Wire packets this packet stands for.
    #[must_use]
    pub fn segments(&self) -> u64 {
        u64::from(self.segments)
    }

    /// The frame underneath.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Give the frame back, forgetting the bytes.
    pub fn into_frame(self) -> Frame {
        self.frame
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a frame is shorter than 64 KiB")]
const fn offset(at: usize) -> Offset {
    debug_assert!(at <= FRAME_SIZE);
    at as Offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_frame_and_three_short_numbers() {
        assert_eq!(size_of::<Packet>(), 24);
    }

    #[test]
    fn a_packet_cannot_be_moved_outside_its_frame() {
        let mut pool = FramePool::new(1).expect("one frame");
        let mut packet = Packet::copied(pool.take().expect("a frame"), b"0123456789").expect("fits");
        assert!(!packet.grow_front(HEADROOM + 1));
        assert!(!packet.set_range(0, FRAME_SIZE));
        assert!(!packet.set_range(usize::MAX, 1));
        assert_eq!(packet.bytes(), b"0123456789");
        assert!(packet.set_range(2, 3));
        assert_eq!(packet.bytes(), b"234");
        assert!(packet.grow_front(2));
        assert_eq!(packet.bytes(), b"01234");
        pool.put(packet.into_frame());
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn bytes_longer_than_a_frame_are_refused_and_the_frame_comes_back() {
        let mut pool = FramePool::new(1).expect("one frame");
        let frame = pool.take().expect("a frame");
        let back = Packet::copied(frame, &[0; MAX_PACKET + 1]).expect_err("too long");
        pool.put(back);
        assert_eq!(pool.free(), 1);
    }
}
