//! What only a privileged process can do for a port, apart from the drivers, which run without privileges on what it gives them.
//!
//! A driver registers its memory, maps its rings and binds by itself, on a socket that was made for it: Linux asks for a capability when
//! an AF_XDP or AF_PACKET socket is made, and never again. The memory stays the driver's own, which a registration pins by the address
//! space of the caller, and Linux 6.1 maps the rings of an AF_XDP socket only until it is bound: both have to happen on this side.

use std::io;
use std::os::fd::OwnedFd;

use super::error::NicError;
use super::interface::Interface;

pub use super::af_xdp::Attachment;

/// An interface taken from the kernel. Dropping it gives the interface back; [`TakenPort::restore`] also says what went wrong.
///
/// Drop the drivers that run on it first.
pub trait TakenPort: Send {
    /// The interface.
    fn interface(&self) -> &Interface;

    /// Whether TCP segmentation offload was on when the interface was taken.
    fn had_super_frames(&self) -> bool;

    /// Make the interface fit for AF_XDP: offloads off, a queue for each of `workers` where it has as many, the XDP program attached,
    /// and the interface up.
    ///
    /// # Errors
    /// What the interface cannot do.
    fn prepare_xdp(&mut self, workers: u32) -> Result<XdpQueues, NicError>;

    /// A new AF_XDP socket, with neither memory nor rings.
    ///
    /// # Errors
    /// What the kernel says.
    fn xdp_socket(&mut self) -> io::Result<OwnedFd>;

    /// Let the XDP program give the frames of `queue` to a bound socket.
    ///
    /// # Errors
    /// What the kernel says; `NotConnected` before [`Self::prepare_xdp`].
    fn hook(&mut self, queue: u32, socket: &OwnedFd) -> io::Result<()>;

    /// Make the interface fit for AF_PACKET, and open `count` sockets that share what arrives, each with a receive ring to be mapped. An
    /// XDP program of an earlier attempt is detached.
    ///
    /// # Errors
    /// What the interface or the kernel cannot do.
    fn packet_sockets(&mut self, count: usize) -> Result<PacketSockets, NicError>;

    /// Give the interface back as it was.
    ///
    /// # Errors
    /// The first setting that could not be restored; the others are. What was changed stays noted then, for the next start to try again.
    fn restore(self: Box<Self>) -> Result<(), NicError>;
}

/// An interface prepared for AF_XDP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpQueues {
    /// Its receive queues: a socket is to be bound to each.
    pub queues: u32,
    /// How the program is attached.
    pub attachment: Attachment,
    /// Why no better, as the beginning of a sentence; empty where there is no better.
    pub reason: String,
}

/// An interface prepared for AF_PACKET.
#[derive(Debug)]
pub struct PacketSockets {
    /// Bound, each with its ring.
    pub sockets: Vec<OwnedFd>,
    /// Whether the interface takes super-frames.
    pub super_frames: bool,
}
