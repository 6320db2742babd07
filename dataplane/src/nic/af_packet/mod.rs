//! AF_PACKET: a receive ring (TPACKET_V2) and `sendmmsg` on one socket. Works on every NIC and without privileges in a user namespace.
//!
//! Where a sender on the same machine, or the NIC, makes super-frames of up to 64 KiB, they are taken and cut into frames here, and
//! frames of one flow leave as one (`offload`). The ring's slots hold plain frames; what is longer waits whole in the socket's queue,
//! in the order of the slots that announce it (`PACKET_COPY_THRESH`), so that no slot has to be as large as a super-frame. V2 has one
//! slot a frame; the blocks of V3 cost a timer's delay at low rates.
//!
//! Frames are sent from where they lie, with one copy into the kernel. A transmit ring costs more on a veth, for short frames,
//! full ones and super-frames alike: where frames stay on the machine, the kernel copies what lies in a ring once more.

mod receive;
mod socket;
mod transmit;

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use libc::{SOL_PACKET, c_int};

pub(super) use self::socket::{AfPacketSocket, open_all};

use self::receive::Receiver;
use self::transmit::Transmitter;
use super::offload::coalesce::Kinds;
use super::{Nic, NicDescription, Received, SuperFrames, sys};
use crate::packet::{FramePool, Packet};

/// The driver: the receive ring mapped, and what it takes to send.
#[derive(Debug)]
pub(super) struct AfPacket {
    socket: AfPacketSocket,
    receiver: Receiver,
    transmitter: Transmitter,
    /// Frames the kernel had no slot for; reading its number resets it.
    ring_full: u64,
    description: NicDescription,
}

impl AfPacket {
    /// Map the ring of an open socket. Frames leave as super-frames of these kinds.
    pub(super) fn new(socket: AfPacketSocket, kinds: Kinds, description: NicDescription) -> io::Result<Self> {
        let receiver = Receiver::new(&socket)?;
        let transmitter = Transmitter::new(kinds);
        Ok(Self { socket, receiver, transmitter, ring_full: 0, description })
    }
}

impl Nic for AfPacket {
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received {
        self.receiver.receive(&self.socket, pool, batch)
    }

    fn transmit(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) {
        self.transmitter.transmit(&self.socket, pool, batch);
    }

    fn readable(&self) -> Option<RawFd> {
        Some(self.socket.fd.as_raw_fd())
    }

    fn prepare_sleep(&mut self) {
        // A link that went down leaves an error in the socket, which would end every sleep at once until somebody reads it.
        let _ = sys::get_option::<c_int>(&self.socket.fd, libc::SOL_SOCKET, libc::SO_ERROR);
    }

    /// The rings are the kernel's memory, frames are copied: none is ever held.
    fn held(&self) -> usize {
        0
    }

    fn receive_lost(&mut self) -> u64 {
        if let Ok(statistics) = sys::get_option::<libc::tpacket_stats>(&self.socket.fd, SOL_PACKET, libc::PACKET_STATISTICS) {
            self.ring_full += u64::from(statistics.tp_drops);
        }
        self.ring_full + self.receiver.lost
    }

    fn transmit_refused(&mut self) -> u64 {
        self.transmitter.refused
    }

    fn super_frames(&self) -> SuperFrames {
        SuperFrames { received: self.receiver.super_frames, transmitted: self.transmitter.super_frames }
    }

    fn description(&self) -> &NicDescription {
        &self.description
    }
}
