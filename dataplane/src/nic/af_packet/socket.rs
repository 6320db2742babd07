//! Opening the socket: the part that needs the privilege.

use std::io;
use std::os::fd::OwnedFd;

use libc::{SOL_PACKET, c_int, tpacket_req};

use super::super::interface::Interface;
use super::super::sys;

/// Bytes of a slot, the kernel's headers of up to 92 bytes included: room for more than a packet that fits behind its headroom.
pub(super) const SLOT: usize = 2048;
/// Slots of the receive ring: 25 ms of a gigabit of full frames, 4 MiB.
pub(super) const SLOTS: usize = 2048;
/// Bytes the kernel allocates at a time: a whole number of pages on every architecture.
const BLOCK: usize = 1 << 16;
/// Bytes of frames longer than a slot that may wait in the socket: 250 super-frames (the kernel doubles it).
const RECEIVE_BUFFER: c_int = 8 << 20;
/// Room for the bookkeeping of all frames in flight at once.
const SEND_BUFFER: c_int = 8 << 20;

/// A socket with its ring set up and bound, and what it is bound to.
#[derive(Debug)]
pub(in crate::nic) struct AfPacketSocket {
    pub(in crate::nic) fd: OwnedFd,
    pub(in crate::nic) interface: Interface,
}

/// Open `count` sockets on an interface that share what arrives, each flow whole at one of them. The hash is of addresses and
/// ports and the same both ways. In the moment between a socket's bind and its joining it receives what the others do, too.
pub(in crate::nic) fn open_all(interface: u32, count: usize) -> io::Result<Vec<OwnedFd>> {
    let sockets = (0..count).map(|_| open(interface)).collect::<io::Result<Vec<OwnedFd>>>()?;
    if let [first, others @ ..] = &sockets[..]
        && !others.is_empty()
    {
        // The kernel finds a number for the group that nobody else has. A group does not heed its sockets' PACKET_IGNORE_OUTGOING.
        let flags = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
        let join = |socket: &OwnedFd, group: u32| sys::set_option(socket, SOL_PACKET, libc::PACKET_FANOUT, &group);
        join(first, (flags | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16)?;
        let group: u32 = sys::get_option(first, SOL_PACKET, libc::PACKET_FANOUT)?;
        others.iter().try_for_each(|socket| join(socket, group & 0xffff | flags << 16))?;
    }
    Ok(sockets)
}

/// Open and bind a socket on an interface. From now on it receives; nothing is read before [`AfPacket::new`](super::AfPacket::new).
fn open(interface: u32) -> io::Result<OwnedFd> {
    // Protocol 0 receives nothing: no frame of another interface may slip in before the bind.
    let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let set = |name: c_int, value: c_int| sys::set_option(&fd, SOL_PACKET, name, &value);
    set(libc::PACKET_VERSION, c_int::try_from(libc::tpacket_versions::TPACKET_V2 as u32).map_err(io::Error::other)?)?;
    // In front of each frame the kernel says, and is told, what is left to do. Not with `PACKET_QDISC_BYPASS`: a super-frame that a
    // NIC cannot send whole would be dropped there, and is cut by the kernel on the usual way.
    set(libc::PACKET_VNET_HDR, 1)?;
    // A frame longer than its slot waits whole in the socket's queue.
    set(libc::PACKET_COPY_THRESH, 1)?;
    // Own transmissions must not come back as received ones.
    set(libc::PACKET_IGNORE_OUTGOING, 1)?;
    buffer(&fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    buffer(&fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)?;
    sys::set_option(&fd, SOL_PACKET, libc::PACKET_RX_RING, &ring())?;
    bind(&fd, interface)?;
    Ok(fd)
}

/// The size of a buffer, beyond the system's limit where that is allowed.
fn buffer(fd: &OwnedFd, force: c_int, ask: c_int, bytes: c_int) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_SOCKET, force, &bytes).or_else(|_| sys::set_option(fd, libc::SOL_SOCKET, ask, &bytes))
}

fn ring() -> tpacket_req {
    let number = |value: usize| u32::try_from(value).expect("a small constant");
    tpacket_req {
        tp_block_size: number(BLOCK),
        tp_block_nr: number(SLOTS * SLOT / BLOCK),
        tp_frame_size: number(SLOT),
        tp_frame_nr: number(SLOTS),
    }
}

fn bind(fd: &OwnedFd, index: u32) -> io::Result<()> {
    let all = u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be();
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("a small constant"),
        sll_protocol: all,
        sll_ifindex: c_int::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    sys::bind(fd, &address)
}
