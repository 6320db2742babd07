//! AF_XDP: the NIC's frames in the relay's own memory, past the kernel's network stack.
//!
//! What it cannot do: see a VLAN tag that a NIC took out, or finish a checksum that a sender on the same machine left to its NIC. The
//! takeover switches these offloads off on the port; at the far end of a veth pair its owner has to (`ethtool -K IF tx off txvlan off`).
#![expect(unsafe_code, reason = "claims the frames that the kernel gives back")]

mod program;
mod ring;
mod socket;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use libc::{SOL_XDP, xdp_desc};

pub(super) use program::Attached;
pub use program::Attachment;
pub(super) use socket::{AfXdpSocket, Place, Registration, Rings, new_socket};

use self::ring::{ConsumerRing, ProducerRing};
use super::{BATCH, Nic, NicDescription, Received, sys};
use crate::packet::{FRAME_SIZE, Frame, FramePool, Packet, Umem};

/// The kernel sends this many frames a call in copy mode; a batch takes two calls, and one more tells that it is done.
const KICKS: usize = BATCH / 32 + 1;

/// Frames that a port must at least be able to lend to the kernel: with fewer every burst finds an empty fill ring.
pub(super) const LEAST_FRAMES: usize = 2 * BATCH;

/// The driver: the rings mapped, and the frames lent through them.
#[derive(Debug)]
pub(super) struct AfXdp {
    fill: ProducerRing<u64>,
    received: ConsumerRing<xdp_desc>,
    transmit: ProducerRing<xdp_desc>,
    completed: ConsumerRing<u64>,
    /// Frames in fill and receive ring, and how many there shall be.
    lent_to_receive: usize,
    lend_to_receive: usize,
    /// Frames in transmit and completion ring.
    lent_to_transmit: usize,
    transmit_refused: u64,
    socket: AfXdpSocket,
    /// After the socket, so that the kernel is done with the memory before it goes.
    umem: Arc<Umem>,
    description: NicDescription,
}

impl AfXdp {
    /// Lend the kernel up to `lend` frames to receive into.
    pub(super) fn new(socket: AfXdpSocket, rings: Rings, lend: usize, pool: &mut FramePool, description: NicDescription) -> Self {
        let Rings { fill, received, transmit, completed } = rings;
        let mut driver = Self {
            fill,
            received,
            transmit,
            completed,
            lent_to_receive: 0,
            lend_to_receive: lend.min(socket::FILL_ENTRIES as usize),
            lent_to_transmit: 0,
            transmit_refused: 0,
            socket,
            umem: Arc::clone(pool.umem()),
            description,
        };
        driver.refill(pool);
        driver
    }

    /// Keep the fill ring deep: every loss ever seen came from an empty one.
    fn refill(&mut self, pool: &mut FramePool) {
        let before = self.lent_to_receive;
        while self.lent_to_receive < self.lend_to_receive && !self.fill.is_full() {
            let Some(frame) = pool.take() else { break };
            let pushed = self.fill.push(frame.lend());
            debug_assert!(pushed, "room was checked above");
            self.lent_to_receive += 1;
        }
        if self.lent_to_receive != before {
            self.fill.publish();
        }
        if self.fill.needs_wakeup() {
            sys::wake_receive(self.socket.fd.as_raw_fd());
        }
    }

    /// Take back the frames whose transmission has ended.
    fn complete(&mut self, pool: &mut FramePool) {
        while let Some(address) = self.completed.pop() {
            // SAFETY: lent in `transmit`; the kernel returns each address once, when it is done with the frame.
            if let Some(frame) = unsafe { self.umem.claim(address) } {
                pool.put(frame);
                self.lent_to_transmit -= 1;
            }
        }
        self.completed.release();
    }

    /// Tell the kernel to send, if it has to be told and has not sent everything.
    fn kick(&mut self) {
        for _ in 0..KICKS {
            if self.transmit.is_drained() || !self.transmit.needs_wakeup() {
                return;
            }
            match sys::kick(self.socket.fd.as_raw_fd()) {
                // It has sent its share and there is more.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Told, or busy, or down: what is left goes by itself or with the next call.
                Ok(()) | Err(_) => return,
            }
        }
    }

    fn claim(&self, descriptor: xdp_desc) -> Option<Packet> {
        let start = usize::try_from(descriptor.addr).ok()? % FRAME_SIZE;
        // SAFETY: lent in `refill`; the kernel returns each frame once, with a packet in it.
        let frame: Frame = unsafe { self.umem.claim(descriptor.addr) }?;
        Some(Packet::received(frame, start, descriptor.len as usize))
    }
}

impl AfXdpSocket {
    /// The mode as [`NicDescription::mode`] spells it.
    pub(super) fn mode(&self) -> String {
        let attachment = match self.attachment {
            Attachment::Native => "native",
            Attachment::Generic => "generic",
        };
        if self.zero_copy { "zero-copy".into() } else { format!("copy ({attachment})") }
    }

    /// Why it is no better mode.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

impl Nic for AfXdp {
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received {
        self.complete(pool);
        self.kick();
        let mut received = Received::default();
        while received.packets < BATCH {
            let Some(descriptor) = self.received.pop() else { break };
            if let Some(packet) = self.claim(descriptor) {
                self.lent_to_receive -= 1;
                received.packets += 1;
                batch.push(packet);
            }
        }
        if received.packets > 0 {
            self.received.release();
        }
        self.refill(pool);
        received
    }

    fn transmit(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) {
        self.complete(pool);
        let taken = batch.len().min(self.transmit.room());
        for packet in batch.drain(..taken) {
            // The kernel skips an empty descriptor and never gives its frame back.
            if packet.is_empty() {
                self.transmit_refused += 1;
                pool.put(packet.into_frame());
                continue;
            }
            let (start, len) = (packet.start() as u64, u32::try_from(packet.len()).expect("a frame is small"));
            let pushed = self.transmit.push(xdp_desc { addr: packet.into_frame().lend() + start, len, options: 0 });
            debug_assert!(pushed, "room was asked for above");
            self.lent_to_transmit += 1;
        }
        if taken > 0 {
            self.transmit.publish();
        }
        self.kick();
        self.complete(pool);
    }

    fn readable(&self) -> Option<RawFd> {
        Some(self.socket.fd.as_raw_fd())
    }

    fn prepare_sleep(&mut self) {
        self.kick();
        if self.fill.needs_wakeup() {
            sys::wake_receive(self.socket.fd.as_raw_fd());
        }
    }

    fn held(&self) -> usize {
        self.lent_to_receive + self.lent_to_transmit
    }

    fn receive_lost(&mut self) -> u64 {
        let statistics = sys::get_option::<libc::xdp_statistics>(&self.socket.fd, SOL_XDP, libc::XDP_STATISTICS);
        statistics.map_or(0, |statistics| statistics.rx_dropped + statistics.rx_ring_full)
    }

    fn transmit_refused(&mut self) -> u64 {
        self.transmit_refused
    }

    fn description(&self) -> &NicDescription {
        &self.description
    }
}
