//! NIC drivers: frames in, frames out, nothing decided.
//!
//! [`open_ports`] takes interfaces over and starts the best driver each of them has; [`memory`] needs no interface at all.

mod af_packet;
mod af_xdp;
mod error;
mod ethtool;
mod ingress_drop;
pub mod inspect;
mod interface;
pub mod memory;
mod messages;
mod netlink;
mod offload;
mod open;
mod port_state;
mod repair;
mod sys;
mod taken;
mod takeover;
pub mod wait;

pub use error::{MAX_MTU, NicError};
pub use interface::Interface;
pub use open::{Driver, OpenPort, PortSpec, TakeOver, open_ports, open_ports_with};
pub use taken::{Attachment, PacketSockets, TakenPort, XdpQueues};
pub use takeover::take_over;

use std::os::fd::RawFd;

use crate::packet::{FramePool, Packet};

/// Packets a worker takes from a NIC, or hands to it, at one time.
pub const BATCH: usize = 64;

/// What one call of [`Nic::receive`] brought.
#[derive(Clone, Copy, Default, Debug)]
pub struct Received {
    /// Packets pushed to the batch.
    pub packets: usize,
    /// Frames that were longer than a frame of memory, and are lost.
    pub too_big: usize,
    /// Frames that found no free frame of memory, and are lost.
    pub no_frame: usize,
    /// Super-frames that cannot be cut into frames, and are lost.
    pub malformed: usize,
}

/// One port: a queue pair of a NIC.
///
/// A driver owns the frames it has lent to the kernel; everything it is not using at the moment belongs to the worker's pool.
pub trait Nic: Send {
    /// Move up to [`BATCH`] received frames to the end of `batch`, which has room for them, and give the kernel empty frames from `pool` instead.
    ///
    /// Frames come with finished checksums where the driver can finish them, and with their VLAN tags in place.
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received;

    /// Hand packets from the front of `batch` to the kernel, as many as it has room for, and kick it; what it did not take stays in `batch`.
    ///
    /// Frames whose transmission has ended go back to `pool` here and in [`Nic::receive`].
    fn transmit(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>);

    /// The descriptor that becomes readable when frames arrive; `None` for a NIC of memory.
    fn readable(&self) -> Option<RawFd>;

    /// Tell the kernel that the worker is about to sleep, or that it is awake (a driver that needs neither ignores it).
    fn prepare_sleep(&mut self) {}

    /// Frames the driver holds, lent to the kernel or not: pool + held + in flight is the number of all frames.
    fn held(&self) -> usize;

    /// Frames that kernel or NIC lost before the relay saw them, since the port was opened.
    fn receive_lost(&mut self) -> u64;

    /// Frames that the driver took for transmission and the kernel does not send, since the port was opened.
    fn transmit_refused(&mut self) -> u64 {
        0
    }

    /// Super-frames since the port was opened; their segments are counted as packets elsewhere.
    fn super_frames(&self) -> SuperFrames {
        SuperFrames::default()
    }

    /// What `show ports` says.
    fn description(&self) -> &NicDescription;
}

/// How many frames crossed the port that stood for several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SuperFrames {
    /// Cut into packets by the driver.
    pub received: u64,
    /// Joined from packets by the driver.
    pub transmitted: u64,
}

/// Which driver a port got, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NicDescription {
    /// `af_xdp`, `af_packet` or `memory`.
    pub driver: &'static str,
    /// `zero-copy` or `copy`; with AF_XDP also how the program is attached, `copy (native)` or `copy (generic)`, and with AF_PACKET
    /// whether frames leave as super-frames: `copy (offload)`.
    pub mode: String,
    /// Why this driver and mode and no better one, in a sentence.
    pub reason: String,
    /// The interface, as the kernel names it.
    pub interface: String,
    /// The port's MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet the port carries.
    pub mtu: u16,
}
