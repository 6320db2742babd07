//! Binding an AF_XDP socket: memory, rings, queue; the best mode that driver and kernel offer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{SOL_XDP, c_int, xdp_desc};

use super::program::Attachment;
use super::ring::{ConsumerRing, ProducerRing};
use crate::nic::sys;
use crate::packet::{FRAME_SIZE, Umem};

/// Entries of each ring. Fill and receive ring as deep as the deepest burst expected; completions never exceed transmissions.
pub(super) const FILL_ENTRIES: u32 = 2048;
const RECEIVE_ENTRIES: u32 = 2048;
const TRANSMIT_ENTRIES: u32 = 1024;
const COMPLETION_ENTRIES: u32 = 1024;
/// Room for the socket buffers of a whole transmit ring in copy mode.
const SEND_BUFFER: c_int = 8 << 20;

/// A bound socket.
#[derive(Debug)]
pub(in crate::nic) struct AfXdpSocket {
    pub(super) fd: OwnedFd,
    pub(super) attachment: Attachment,
    pub(super) zero_copy: bool,
    /// Why it is no better mode.
    pub(super) reason: String,
}

/// A socket that registered the memory of all frames. Later ports share its registration, where they have the same mode.
#[derive(Debug)]
pub(in crate::nic) struct Registration {
    fd: OwnedFd,
    zero_copy: bool,
}

/// Where a socket is bound, and how the XDP program is attached there.
#[derive(Clone, Copy, Debug)]
pub(in crate::nic) struct Place<'a> {
    pub(in crate::nic) interface: u32,
    pub(in crate::nic) queue: u32,
    pub(in crate::nic) attachment: Attachment,
    /// Why it is not attached better; may be empty.
    pub(in crate::nic) reason: &'a str,
}

/// A new socket, with neither memory nor rings: what needs the privilege.
pub(in crate::nic) fn new_socket() -> io::Result<OwnedFd> {
    let fd = sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0)?;
    sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER)
        .or_else(|_| sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER))?;
    Ok(fd)
}

impl AfXdpSocket {
    /// Bind a new socket to a queue: zero-copy where the driver offers it, else copying, where `may_copy` says so. Returns its rings
    /// beside it. It receives when the XDP program knows of it.
    pub(in crate::nic) fn bind(
        place: Place<'_>,
        umem: &Umem,
        registrations: &mut Vec<Registration>,
        mut new_socket: impl FnMut() -> io::Result<OwnedFd>,
        may_copy: bool,
    ) -> io::Result<(Self, Rings)> {
        let Place { attachment, reason, .. } = place;
        let mut reason = reason.to_owned();
        let zero_copy = match attachment {
            Attachment::Native => bind(new_socket()?, place, umem, registrations, true),
            // The program sees frames only after they were copied into socket buffers.
            Attachment::Generic => Err(io::Error::new(io::ErrorKind::Unsupported, "generic XDP always copies")),
        };
        let ((fd, rings), zero_copy) = match zero_copy {
            Ok(bound) => (bound, true),
            Err(error) if !may_copy => return Err(error),
            Err(error) => {
                reason += &format!("no zero-copy: {error}");
                (bind(new_socket()?, place, umem, registrations, false)?, false)
            }
        };
        if zero_copy {
            reason += "the best there is";
        }
        Ok((Self { fd, attachment, zero_copy, reason }, rings))
    }

    /// The bound socket.
    pub(in crate::nic) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// The four rings of a socket, mapped.
#[derive(Debug)]
pub(in crate::nic) struct Rings {
    pub(super) fill: ProducerRing<u64>,
    pub(super) received: ConsumerRing<xdp_desc>,
    pub(super) transmit: ProducerRing<xdp_desc>,
    pub(super) completed: ConsumerRing<u64>,
}

impl Rings {
    /// Map the rings of a socket that is not bound yet: Linux 6.1 maps those of a bound one no more (EBUSY).
    fn map(fd: &OwnedFd) -> io::Result<Self> {
        let offsets: libc::xdp_mmap_offsets = sys::get_option(fd, SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let page = |offset: u64| libc::off_t::try_from(offset).map_err(io::Error::other);
        Ok(Self {
            fill: ProducerRing::map(fd, page(libc::XDP_UMEM_PGOFF_FILL_RING)?, offsets.fr, FILL_ENTRIES)?,
            received: ConsumerRing::map(fd, libc::XDP_PGOFF_RX_RING, offsets.rx, RECEIVE_ENTRIES)?,
            transmit: ProducerRing::map(fd, libc::XDP_PGOFF_TX_RING, offsets.tx, TRANSMIT_ENTRIES)?,
            completed: ConsumerRing::map(fd, page(libc::XDP_UMEM_PGOFF_COMPLETION_RING)?, offsets.cr, COMPLETION_ENTRIES)?,
        })
    }
}

/// Bind `fd` in this mode, on the memory that an earlier port registered in the same mode, or its own registration of it.
///
/// The kernel gives a shared registration one mode for all. Two registrations of the same memory (one a mode) have the same
/// addresses, so frames move between all ports all the same.
fn bind(
    fd: OwnedFd,
    place: Place<'_>,
    umem: &Umem,
    registrations: &mut Vec<Registration>,
    zero_copy: bool,
) -> io::Result<(OwnedFd, Rings)> {
    let shared = registrations.iter().find(|registration| registration.zero_copy == zero_copy);
    if shared.is_none() {
        register(&fd, umem)?;
    }
    sys::set_option(&fd, SOL_XDP, libc::XDP_UMEM_FILL_RING, &FILL_ENTRIES)?;
    sys::set_option(&fd, SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &COMPLETION_ENTRIES)?;
    sys::set_option(&fd, SOL_XDP, libc::XDP_RX_RING, &RECEIVE_ENTRIES)?;
    sys::set_option(&fd, SOL_XDP, libc::XDP_TX_RING, &TRANSMIT_ENTRIES)?;
    let rings = Rings::map(&fd)?;
    let mode = if zero_copy { libc::XDP_ZEROCOPY } else { libc::XDP_COPY };
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).expect("a small constant"),
        // A shared registration brings its mode along and takes no other flag.
        sxdp_flags: if shared.is_some() { libc::XDP_SHARED_UMEM } else { mode | libc::XDP_USE_NEED_WAKEUP },
        sxdp_ifindex: place.interface,
        sxdp_queue_id: place.queue,
        sxdp_shared_umem_fd: shared.map_or(0, |shared| u32::try_from(shared.fd.as_raw_fd()).expect("a descriptor")),
    };
    sys::bind(&fd, &address)?;
    if shared.is_none() {
        registrations.push(Registration { fd: fd.try_clone()?, zero_copy });
    }
    Ok((fd, rings))
}

fn register(fd: &OwnedFd, umem: &Umem) -> io::Result<()> {
    let registration = libc::xdp_umem_reg {
        addr: umem.base().addr() as u64,
        len: umem.len() as u64,
        chunk_size: u32::try_from(FRAME_SIZE).expect("a small constant"),
        // The kernel leaves 256 bytes in front of every received packet by itself: as many as `HEADROOM`.
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    sys::set_option(fd, SOL_XDP, libc::XDP_UMEM_REG, &registration)
}
