//! AF_PACKET: a receive and a transmit ring (TPACKET_V2) on one socket. Works on every NIC and without privileges in a user namespace.
//!
//! Frames are copied between the kernel's ring and the relay's frames, once each way. V2 has one slot a frame, which is all this
//! driver needs; the blocks of V3 save space with small frames and cost a timer's delay at low rates.
//!
//! Not done yet: super-frames. A sender on the same machine that leaves segmentation to its NIC (a veth with `tso` or `gso` on) makes
//! frames of up to 64 KiB, which are counted as too big; at its end, `ethtool -K IF tso off gso off`.
#![expect(unsafe_code, reason = "reads and writes ring slots shared with the kernel")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{SOL_PACKET, c_int, tpacket_req, tpacket2_hdr};

use super::interface::Interface;
use super::repair::{TAG, finish_checksum, put_tag_back};
use super::sys::{self, Mapping};
use super::{BATCH, Nic, NicDescription, Received};
use crate::packet::{Frame, FramePool, Packet};

/// Bytes of a slot, the kernel's header of up to 82 bytes included: room for more than a packet that fits behind its headroom.
const SLOT: usize = 2048;
/// Bytes the kernel allocates at a time: a whole number of pages on every architecture.
const BLOCK: usize = 1 << 16;
/// Slots of the receive ring: 60 ms of a gigabit of full frames, 4 MiB.
const RECEIVE_SLOTS: usize = 2048;
/// Slots of the transmit ring.
const TRANSMIT_SLOTS: usize = 1024;
/// Where a frame to be sent begins in its slot (`TPACKET2_HDRLEN - sizeof(struct sockaddr_ll)`).
const TRANSMIT_DATA: usize = 32;
/// Room for the bookkeeping of all slots of the transmit ring in flight at once.
const SEND_BUFFER: c_int = 8 << 20;

/// A socket with its rings set up and bound: what needs the privilege to open.
#[derive(Debug)]
pub(super) struct AfPacketSocket {
    fd: OwnedFd,
    interface: Interface,
}

impl AfPacketSocket {
    /// Open `count` sockets on `interface` that share what arrives, each flow whole at one of them. The hash is of addresses and
    /// ports and the same both ways. In the moment between a socket's bind and its joining it receives what the others do, too.
    pub(super) fn open_all(interface: &Interface, count: usize) -> io::Result<Vec<Self>> {
        let sockets = (0..count).map(|_| Self::open(interface)).collect::<io::Result<Vec<Self>>>()?;
        if let [first, others @ ..] = &sockets[..]
            && !others.is_empty()
        {
            // The kernel finds a number for the group that nobody else has. A group does not heed its sockets' PACKET_IGNORE_OUTGOING.
            let flags = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
            let join = |socket: &Self, group: u32| sys::set_option(&socket.fd, SOL_PACKET, libc::PACKET_FANOUT, &group);
            join(first, (flags | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16)?;
            let group: u32 = sys::get_option(&first.fd, SOL_PACKET, libc::PACKET_FANOUT)?;
            others.iter().try_for_each(|socket| join(socket, group & 0xffff | flags << 16))?;
        }
        Ok(sockets)
    }

    /// Open and bind a socket on `interface`. From now on it receives; nothing is read before [`AfPacket::new`].
    pub(super) fn open(interface: &Interface) -> io::Result<Self> {
        // Protocol 0 receives nothing: no frame of another interface may slip in before the bind.
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let set = |name: c_int, value: c_int| sys::set_option(&fd, SOL_PACKET, name, &value);
        set(libc::PACKET_VERSION, c_int::try_from(libc::tpacket_versions::TPACKET_V2 as u32).map_err(io::Error::other)?)?;
        // Own transmissions must not come back as received ones.
        set(libc::PACKET_IGNORE_OUTGOING, 1)?;
        set(libc::PACKET_QDISC_BYPASS, 1)?;
        // A frame that the kernel refuses must not block those behind it; `AfPacket::transmit` checks and counts before.
        set(libc::PACKET_LOSS, 1)?;
        sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER)
            .or_else(|_| sys::set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER))?;
        sys::set_option(&fd, SOL_PACKET, libc::PACKET_RX_RING, &ring(RECEIVE_SLOTS))?;
        sys::set_option(&fd, SOL_PACKET, libc::PACKET_TX_RING, &ring(TRANSMIT_SLOTS))?;
        bind(&fd, interface.index)?;
        Ok(Self { fd, interface: interface.clone() })
    }
}

fn ring(slots: usize) -> tpacket_req {
    let number = |value: usize| u32::try_from(value).expect("a small constant");
    tpacket_req {
        tp_block_size: number(BLOCK),
        tp_block_nr: number(slots * SLOT / BLOCK),
        tp_frame_size: number(SLOT),
        tp_frame_nr: number(slots),
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

/// One ring slot: the kernel's header and the bytes behind it. Its status says who owns the rest.
#[derive(Clone, Copy)]
struct Slot(NonNull<u8>);

impl Slot {
    fn status(&self) -> &AtomicU32 {
        // SAFETY: `tp_status` is the first field of the header, aligned to the slot; kernel and process both access it atomically.
        unsafe { AtomicU32::from_ptr(self.0.as_ptr().cast()) }
    }

    fn header(&self) -> &tpacket2_hdr {
        // SAFETY: the caller saw in `status` (acquire) that the slot is ours, so nobody writes the other fields.
        unsafe { self.0.cast().as_ref() }
    }

    /// The `len` bytes at `offset` of a slot that is ours.
    fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset + len <= SLOT, "the kernel writes inside the slot");
        // SAFETY: inside the slot, which is ours.
        unsafe { std::slice::from_raw_parts(self.0.add(offset).as_ptr(), len) }
    }

    /// Put a frame into a transmit slot that is ours.
    fn fill(&mut self, frame: &[u8]) {
        assert!(TRANSMIT_DATA + frame.len() <= SLOT, "a frame fits into a slot");
        let length = u32::try_from(frame.len()).expect("a frame is small");
        // SAFETY: `tp_len` follows the status inside the slot, which is ours until the status changes.
        unsafe { self.0.add(size_of::<u32>()).cast::<u32>().write(length) };
        // SAFETY: the slot has room for it, as asserted, and ring and frame are different memory.
        unsafe { self.0.add(TRANSMIT_DATA).as_ptr().copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
    }
}

/// The driver: the rings mapped, and where in them we are.
#[derive(Debug)]
pub(super) struct AfPacket {
    socket: AfPacketSocket,
    rings: Mapping,
    next_receive: usize,
    next_transmit: usize,
    /// Slots filled whose frames the kernel had not taken at the last kick.
    unsent: bool,
    receive_lost: u64,
    transmit_refused: u64,
    description: NicDescription,
}

impl AfPacket {
    /// Map the rings of an open socket.
    pub(super) fn new(socket: AfPacketSocket, description: NicDescription) -> io::Result<Self> {
        let rings = Mapping::shared(&socket.fd, (RECEIVE_SLOTS + TRANSMIT_SLOTS) * SLOT, 0)?;
        Ok(Self { socket, rings, next_receive: 0, next_transmit: 0, unsent: false, receive_lost: 0, transmit_refused: 0, description })
    }

    fn slot(&self, number: usize) -> Slot {
        Slot(self.rings.at::<[u8; SLOT]>(number * SLOT).cast())
    }

    fn kick(&mut self) {
        // The first error may be an old one of the socket, from when the link was down; asking reports and clears it. A second one
        // (no buffer, link still down) leaves frames in the ring for the next call.
        let fd = self.socket.fd.as_raw_fd();
        self.unsent = sys::kick(fd).or_else(|_| sys::kick(fd)).is_err();
    }

    /// The longest frame the kernel sends on this interface; only one 802.1Q tag does not count.
    fn longest(&self, frame: &[u8]) -> usize {
        let tag = if frame.get(12..14) == Some(&[0x81, 0x00]) { TAG } else { 0 };
        usize::try_from(self.socket.interface.mtu).unwrap_or(usize::MAX).saturating_add(14 + tag)
    }
}

/// Copy the frame of a received slot into a frame of memory, whole as it was on the wire; the frame back where it is too long.
fn copy_out(slot: Slot, status: u32, frame: Frame) -> Result<Packet, Frame> {
    let header = slot.header();
    let len = header.tp_len as usize;
    // Where a tag comes back in front, the headroom shall be whole even so.
    let tag = if status & libc::TP_STATUS_VLAN_VALID != 0 { TAG } else { 0 };
    let mut packet = Packet::new(frame);
    // A frame longer than the slot was cut: `tp_snaplen` is shorter than `tp_len`.
    if header.tp_snaplen != header.tp_len || !packet.set_range(tag, len) {
        return Err(packet.into_frame());
    }
    packet.bytes_mut().copy_from_slice(slot.bytes(usize::from(header.tp_mac), len));
    if status & libc::TP_STATUS_CSUMNOTREADY != 0 {
        finish_checksum(packet.bytes_mut());
    }
    if status & libc::TP_STATUS_VLAN_VALID != 0 {
        let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { header.tp_vlan_tpid } else { 0x8100 };
        if !put_tag_back(&mut packet, tpid, header.tp_vlan_tci) {
            return Err(packet.into_frame());
        }
    }
    Ok(packet)
}

impl Nic for AfPacket {
    fn receive(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received {
        if self.unsent {
            self.kick();
        }
        let mut received = Received::default();
        for _ in 0..BATCH {
            let slot = self.slot(self.next_receive);
            let status = slot.status().load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                break;
            }
            match pool.take().map(|frame| copy_out(slot, status, frame)) {
                Some(Ok(packet)) => {
                    received.packets += 1;
                    batch.push(packet);
                }
                Some(Err(frame)) => {
                    received.too_big += 1;
                    pool.put(frame);
                }
                None => received.no_frame += 1,
            }
            slot.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next_receive = (self.next_receive + 1) % RECEIVE_SLOTS;
        }
        received
    }

    fn transmit(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>) {
        let mut taken = 0;
        for packet in batch.iter() {
            if packet.len() > self.longest(packet.bytes()) {
                self.transmit_refused += 1;
            } else {
                let mut slot = self.slot(RECEIVE_SLOTS + self.next_transmit);
                if slot.status().load(Ordering::Acquire) != libc::TP_STATUS_AVAILABLE {
                    break;
                }
                slot.fill(packet.bytes());
                slot.status().store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
                self.next_transmit = (self.next_transmit + 1) % TRANSMIT_SLOTS;
                self.unsent = true;
            }
            taken += 1;
        }
        batch.drain(..taken).for_each(|packet| pool.put(packet.into_frame()));
        if self.unsent {
            self.kick();
        }
    }

    fn readable(&self) -> Option<RawFd> {
        Some(self.socket.fd.as_raw_fd())
    }

    fn prepare_sleep(&mut self) {
        // A link that went down leaves an error in the socket, which would end every sleep at once until somebody reads it.
        let _ = sys::get_option::<c_int>(&self.socket.fd, libc::SOL_SOCKET, libc::SO_ERROR);
        if self.unsent {
            self.kick();
        }
    }

    /// The rings are the kernel's memory, frames are copied: none is ever held.
    fn held(&self) -> usize {
        0
    }

    fn receive_lost(&mut self) -> u64 {
        // Reading resets the kernel's numbers.
        if let Ok(statistics) = sys::get_option::<libc::tpacket_stats>(&self.socket.fd, SOL_PACKET, libc::PACKET_STATISTICS) {
            self.receive_lost += u64::from(statistics.tp_drops);
        }
        self.receive_lost
    }

    fn transmit_refused(&mut self) -> u64 {
        self.transmit_refused
    }

    fn description(&self) -> &NicDescription {
        &self.description
    }
}
