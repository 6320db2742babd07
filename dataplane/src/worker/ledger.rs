//! Where every packet's end is booked: the frames, and the conservation law over them.

use std::sync::Arc;

use crate::counters::{DropCounters, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::packet::{FramePool, Packet};

/// The free frames and the worker's books. Nothing else counts a packet's end.
pub(super) struct Ledger {
    pub(super) frames: FramePool,
    pub(super) counters: Arc<WorkerCounters>,
    /// The frame that the latest [`Self::blank`] lies in.
    #[cfg(feature = "simulation")]
    pub(super) last_blank: Option<u32>,
}

impl Ledger {
    pub(super) fn new(frames: FramePool, counters: Arc<WorkerCounters>) -> Self {
        Self {
            frames,
            counters,
            #[cfg(feature = "simulation")]
            last_blank: None,
        }
    }

    /// An empty packet for bytes that the relay is about to write; not booked before it is sent or dropped.
    pub(super) fn blank(&mut self) -> Option<Packet> {
        let blank = self.frames.take().map(Packet::new);
        #[cfg(feature = "simulation")]
        {
            self.last_blank = blank.as_ref().map(|packet| packet.frame().index());
        }
        blank
    }

    /// Give back a frame whose packet goes on in another frame, or that was never used.
    pub(super) fn release(&mut self, packet: Packet) {
        self.frames.put(packet.into_frame());
    }

    /// A NIC handed in packets.
    pub(super) fn received(&self, packets: u64) {
        self.counters.received.add(packets);
    }

    /// The relay made a packet of its own; it will be sent, held or dropped like any other.
    pub(super) fn generated(&self) {
        self.counters.generated.add(1);
    }

    /// A NIC took packets.
    pub(super) fn transmitted(&self, packets: u64) {
        self.counters.transmitted.add(packets);
    }

    /// A packet ended here on purpose.
    pub(super) fn absorbed(&mut self, packet: Packet) {
        self.counters.absorbed.add(packet.segments());
        self.release(packet);
    }

    /// A packet is lost: counted once for its reason, at the tenant or port that `drops` belongs to.
    pub(super) fn dropped(&mut self, packet: Packet, reason: DropReason, drops: &DropCounters) {
        self.lost(packet.segments(), reason, drops);
        self.release(packet);
    }

    /// As [`Self::dropped`], for a packet that waited.
    pub(super) fn dropped_held(&mut self, packet: Packet, reason: DropReason, drops: &DropCounters) {
        self.unhold_segments(packet.segments());
        self.dropped(packet, reason, drops);
    }

    /// Packets are lost that have no frame any more, or never had one.
    pub(super) fn lost(&self, packets: u64, reason: DropReason, drops: &DropCounters) {
        drops.add(reason, packets);
        self.counters.dropped.add(packets);
    }

    /// A packet starts to wait, for its next hop or for its turn.
    pub(super) fn hold(&self) {
        self.counters.held.set(self.counters.held.get() + 1);
    }

    /// As [`Self::hold`], for a packet that stands for so many.
    pub(super) fn hold_segments(&self, segments: u64) {
        self.counters.held.set(self.counters.held.get() + segments);
    }

    /// The end of [`Self::hold_segments`].
    pub(super) fn unhold_segments(&self, segments: u64) {
        self.counters.held.set(self.counters.held.get() - segments);
    }

    /// A packet waits no longer.
    pub(super) fn unhold(&self) {
        self.counters.held.set(self.counters.held.get() - 1);
    }
}
