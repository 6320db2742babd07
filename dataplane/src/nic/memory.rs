//! A NIC of memory, for tests, benches and the simulation: its other end is a [`MemoryWire`] that puts frames in and takes frames out.
//!
//! It works as AF_XDP does: four bounded rings carry [`Frame`]s themselves, so the worker's side copies nothing and allocates
//! nothing. The bytes are copied once on the wire's side, where a real NIC would do it by DMA.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use super::{BATCH, Nic, NicDescription, Received};
use crate::packet::{Frame, FramePool, MAX_PACKET, Packet};

/// What the wire could not hand over.
#[derive(Default, Debug)]
struct Losses {
    /// Frames injected while every ring slot was taken, since the start.
    ring_full: AtomicU64,
    /// Frames longer than [`MAX_PACKET`], not yet reported by [`Nic::receive`].
    too_big: AtomicU64,
    /// The NIC takes frames for transmission and sends none.
    refuses: AtomicBool,
}

/// The worker's end.
#[derive(Debug)]
pub struct MemoryNic {
    empty: Producer<Frame>,
    received: Consumer<Packet>,
    transmitted: Producer<Packet>,
    completed: Consumer<Frame>,
    held: usize,
    refused: u64,
    losses: Arc<Losses>,
    description: NicDescription,
}

/// The cable's end.
#[derive(Debug)]
pub struct MemoryWire {
    empty: Consumer<Frame>,
    received: Producer<Packet>,
    transmitted: Consumer<Packet>,
    completed: Producer<Frame>,
    losses: Arc<Losses>,
}

/// A frame the relay transmitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmitted {
    /// Its bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Which frame of memory it lay in.
    pub frame: u32,
}

/// A frame did not find room in the NIC's receive ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the receive ring is full: let the worker receive first")]
pub struct WireFull;

impl MemoryNic {
    /// A NIC and its cable, with receive and transmit rings of `depth` frames each; takes up to `depth` frames from `pool` at once.
    pub fn new(interface: &str, mac: [u8; 6], mtu: u16, depth: usize, pool: &mut FramePool) -> (Self, MemoryWire) {
        let (empty_in, empty_out) = RingBuffer::new(depth);
        let (received_in, received_out) = RingBuffer::new(depth);
        let (transmitted_in, transmitted_out) = RingBuffer::new(depth);
        // The wire never holds more than the transmit ring's frames, so a completion always finds room.
        let (completed_in, completed_out) = RingBuffer::new(depth);
        let losses = Arc::new(Losses::default());
        let description = NicDescription {
            driver: "memory",
            mode: "zero-copy".into(),
            reason: "a NIC of memory, for tests".into(),
            interface: interface.into(),
            mac,
            mtu,
        };
        let mut nic = Self {
            empty: empty_in,
            received: received_out,
            transmitted: transmitted_in,
            completed: completed_out,
            held: 0,
            refused: 0,
            losses: Arc::clone(&losses),
            description,
        };
        nic.lend_empty(pool);
        let wire = MemoryWire { empty: empty_out, received: received_in, transmitted: transmitted_out, completed: completed_in, losses };
        (nic, wire)
    }

    /// Keep `depth` frames with the wire, empty or filled.
    fn lend_empty(&mut self, pool: &mut FramePool) {
        while !self.empty.is_full() {
            let Some(frame) = pool.take() else { return };
            if let Err(rtrb::PushError::Full(frame)) = self.empty.push(frame) {
                pool.put(frame);
                return;
            }
            self.held += 1;
        }
    }

    fn complete(&mut self, pool: &mut FramePool) {
        while let Ok(frame) = self.completed.pop() {
            self.held -= 1;
            pool.put(frame);
        }
    }
}

impl Nic for MemoryNic {
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received {
        self.complete(pool);
        let mut packets = 0;
        while packets < BATCH {
            let Ok(packet) = self.received.pop() else { break };
            self.held -= 1;
            packets += 1;
            batch.push(packet);
        }
        self.lend_empty(pool);
        let too_big = self.losses.too_big.swap(0, Ordering::Relaxed);
        Received { packets, too_big: usize::try_from(too_big).unwrap_or(usize::MAX), no_frame: 0, malformed: 0 }
    }

    fn transmit(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) {
        self.complete(pool);
        if self.losses.refuses.load(Ordering::Relaxed) {
            self.refused += batch.iter().map(Packet::segments).sum::<u64>();
            batch.drain(..).for_each(|packet| pool.put(packet.into_frame()));
            return;
        }
        let taken = batch.len().min(self.transmitted.slots());
        for packet in batch.drain(..taken) {
            match self.transmitted.push(packet) {
                Ok(()) => self.held += 1,
                Err(rtrb::PushError::Full(packet)) => pool.put(packet.into_frame()),
            }
        }
    }

    fn readable(&self) -> Option<RawFd> {
        None
    }

    fn held(&self) -> usize {
        self.held
    }

    fn receive_lost(&mut self) -> u64 {
        self.losses.ring_full.load(Ordering::Relaxed)
    }

    fn transmit_refused(&mut self) -> u64 {
        self.refused
    }

    fn description(&self) -> &NicDescription {
        &self.description
    }
}

impl MemoryWire {
    /// Let a frame arrive at the NIC. One longer than [`MAX_PACKET`] is lost and counted as too big, as a NIC does.
    ///
    /// # Errors
    /// [`WireFull`] when the ring is full; the NIC counts it as lost.
    pub fn inject(&mut self, bytes: &[u8]) -> Result<(), WireFull> {
        if bytes.len() > MAX_PACKET {
            self.losses.too_big.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // Without room for the packet its frame would have nowhere to go.
        let frame = if self.received.is_full() { None } else { self.empty.pop().ok() };
        let Some(packet) = frame.and_then(|frame| Packet::copied(frame, bytes).ok()) else {
            self.losses.ring_full.fetch_add(1, Ordering::Relaxed);
            return Err(WireFull);
        };
        self.received.push(packet).map_err(|_| WireFull)
    }

    /// From now on the NIC takes frames and sends none, as the kernel does on an interface that is down; or it sends again.
    pub fn refuse(&mut self, refuses: bool) {
        self.losses.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Take the next frame that the relay transmitted.
    pub fn transmitted(&mut self) -> Option<Transmitted> {
        self.with_transmitted(|bytes, frame| Transmitted { bytes: bytes.to_vec(), frame })
    }

    /// As [`Self::transmitted`], but without allocation: look at the bytes and the number of the frame they lie in.
    pub fn with_transmitted<T>(&mut self, look: impl FnOnce(&[u8], u32) -> T) -> Option<T> {
        if self.completed.is_full() {
            return None;
        }
        let packet = self.transmitted.pop().ok()?;
        let seen = look(packet.bytes(), packet.frame().index());
        let returned = self.completed.push(packet.into_frame());
        debug_assert!(returned.is_ok(), "room was checked above");
        Some(seen)
    }

    /// Frames that wait to be taken by [`Self::transmitted`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.transmitted.slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn a_frame_crosses_without_leaving_its_memory() {
        let mut pool = FramePool::new(16).expect("frames");
        let (mut nic, mut wire) = MemoryNic::new("mem0", MAC, 1500, 4, &mut pool);
        wire.inject(b"hello").expect("room");
        let mut batch = Vec::with_capacity(BATCH);
        assert_eq!(nic.receive(&mut pool, &mut batch).packets, 1);
        let frame = batch[0].frame().index();
        assert_eq!(batch[0].bytes(), b"hello");
        nic.transmit(&mut pool, &mut batch);
        assert_eq!(wire.transmitted(), Some(Transmitted { bytes: b"hello".to_vec(), frame }));
        assert_eq!(wire.transmitted(), None);
        assert_eq!(nic.receive(&mut pool, &mut batch).packets, 0);
        assert_eq!(pool.free() + nic.held(), pool.total());
    }

    #[test]
    fn a_nic_that_refuses_gives_the_frames_back_and_counts_them() {
        let mut pool = FramePool::new(8).expect("frames");
        let (mut nic, mut wire) = MemoryNic::new("mem0", MAC, 1500, 2, &mut pool);
        let mut batch = vec![Packet::copied(pool.take().expect("a frame"), b"hello").expect("it fits")];
        wire.refuse(true);
        nic.transmit(&mut pool, &mut batch);
        assert_eq!((batch.len(), nic.transmit_refused(), wire.waiting(), pool.free() + nic.held()), (0, 1, 0, pool.total()));
        wire.refuse(false);
        batch.push(Packet::copied(pool.take().expect("a frame"), b"again").expect("it fits"));
        nic.transmit(&mut pool, &mut batch);
        assert_eq!((nic.transmit_refused(), wire.transmitted().expect("sent").bytes), (1, b"again".to_vec()));
    }

    #[test]
    fn full_rings_lose_by_name_and_keep_what_they_cannot_take() {
        let mut pool = FramePool::new(16).expect("frames");
        let (mut nic, mut wire) = MemoryNic::new("mem0", MAC, 1500, 2, &mut pool);
        wire.inject(b"1").expect("room");
        wire.inject(b"2").expect("room");
        assert_eq!(wire.inject(b"3"), Err(WireFull));
        wire.inject(&[0; MAX_PACKET + 1]).expect("lost on the way, not refused");
        let mut batch = Vec::with_capacity(BATCH);
        let received = nic.receive(&mut pool, &mut batch);
        assert_eq!((received.packets, received.too_big, nic.receive_lost()), (2, 1, 1));
        wire.inject(b"4").expect("room again");
        nic.receive(&mut pool, &mut batch);
        nic.transmit(&mut pool, &mut batch);
        assert_eq!(batch.len(), 1, "a transmit ring of two leaves the third");
        assert_eq!(wire.waiting(), 2);
        assert_eq!(wire.transmitted().expect("first").bytes, b"1");
        nic.transmit(&mut pool, &mut batch);
        assert!(batch.is_empty());
        assert_eq!([wire.transmitted(), wire.transmitted()].map(|frame| frame.expect("sent").bytes), [b"2".to_vec(), b"4".to_vec()]);
        nic.transmit(&mut pool, &mut batch);
        assert_eq!(pool.free() + nic.held(), pool.total());
    }
}
