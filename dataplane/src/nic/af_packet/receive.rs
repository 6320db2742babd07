//! The receive side: slots become frames, super-frames become many.
#![expect(unsafe_code, reason = "reads ring slots shared with the kernel")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::tpacket2_hdr;

use super::super::offload::segment::Segments;
use super::super::offload::{MOST_BYTES, VNET_HEADER, VnetHeader, finish_checksum};
use super::super::repair::{TAG, put_tag_back};
use super::super::sys::{self, Mapping};
use super::super::{BATCH, Received};
use super::socket::{AfPacketSocket, SLOT, SLOTS};
use crate::packet::{FramePool, Packet};

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

    /// What the kernel left to do, from in front of the frame.
    fn vnet(&self) -> VnetHeader {
        let offset = usize::from(self.header().tp_mac) - VNET_HEADER;
        VnetHeader::from_bytes(self.bytes(offset, VNET_HEADER).try_into().expect("as many bytes"))
    }

    /// The tag that the kernel took out of the frame.
    fn tag(&self, status: u32) -> Option<(u16, u16)> {
        let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { self.header().tp_vlan_tpid } else { 0x8100 };
        (status & libc::TP_STATUS_VLAN_VALID != 0).then_some((tpid, self.header().tp_vlan_tci))
    }
}

/// Why a slot brought nothing.
#[derive(Clone, Copy)]
enum Loss {
    TooBig,
    NoFrame,
    Malformed,
    /// The socket's queue was full.
    QueueFull,
}

/// The super-frame that is being cut: where it lies in `Receiver::long`, and how far it got.
#[derive(Clone, Copy, Debug)]
struct Current {
    start: usize,
    end: usize,
    segments: Segments,
}

/// The ring, and where in it we are.
#[derive(Debug)]
pub(super) struct Receiver {
    ring: Mapping,
    next: usize,
    /// The super-frame under way, behind room for the kernel's header.
    long: Box<[u8]>,
    current: Option<Current>,
    /// Frames longer than a slot that found the socket's queue full.
    pub(super) lost: u64,
    /// Super-frames cut so far.
    pub(super) super_frames: u64,
}

impl Receiver {
    pub(super) fn new(socket: &AfPacketSocket) -> io::Result<Self> {
        let ring = Mapping::shared(&socket.fd, SLOTS * SLOT, 0)?;
        Ok(Self { ring, next: 0, long: vec![0; VNET_HEADER + MOST_BYTES].into(), current: None, lost: 0, super_frames: 0 })
    }

    pub(super) fn receive(&mut self, socket: &AfPacketSocket, pool: &mut FramePool, batch: &mut Vec<Packet>) -> Received {
        let mut received = Received::default();
        while received.packets < BATCH {
            if self.current.is_some() {
                self.cut(pool, batch, &mut received);
                continue;
            }
            let slot = Slot(self.ring.at::<[u8; SLOT]>(self.next * SLOT).cast());
            let status = slot.status().load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                break;
            }
            match self.take(slot, status, socket, pool) {
                Ok(Some(packet)) => {
                    received.packets += 1;
                    batch.push(packet);
                }
                Ok(None) => {}
                Err(Loss::TooBig) => received.too_big += 1,
                Err(Loss::NoFrame) => received.no_frame += 1,
                Err(Loss::Malformed) => received.malformed += 1,
                Err(Loss::QueueFull) => self.lost += 1,
            }
            slot.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % SLOTS;
        }
        received
    }

    /// Make frames of the super-frame under way, as many as the batch has room for.
    fn cut(&mut self, pool: &mut FramePool, batch: &mut Vec<Packet>, received: &mut Received) {
        let Some(Current { start, end, segments }) = &mut self.current else { return };
        while received.packets < BATCH && segments.left() > 0 {
            let Some(frame) = pool.take() else {
                // As with plain frames: what finds no memory is lost, and does not block what comes behind it.
                received.no_frame += segments.left();
                self.current = None;
                return;
            };
            let mut packet = Packet::new(frame);
            segments.write_next(&self.long[*start..*end], &mut packet);
            received.packets += 1;
            batch.push(packet);
        }
        if segments.left() == 0 {
            self.current = None;
        }
    }

    /// The frame of a slot; `None` for a super-frame, which is the current one then.
    fn take(&mut self, slot: Slot, status: u32, socket: &AfPacketSocket, pool: &mut FramePool) -> Result<Option<Packet>, Loss> {
        let (header, vnet) = (slot.header(), slot.vnet());
        if header.tp_snaplen != header.tp_len || vnet.gso_type != VnetHeader::GSO_NONE {
            return self.take_long(slot, status, vnet, socket).map(|()| None);
        }
        let mut packet = Packet::new(pool.take().ok_or(Loss::NoFrame)?);
        let copied = copy_out(slot, status, &mut packet);
        if copied {
            return Ok(Some(packet));
        }
        pool.put(packet.into_frame());
        Err(Loss::TooBig)
    }

    /// Fetch a super-frame, from the socket's queue where its slot was too small for it.
    fn take_long(&mut self, slot: Slot, status: u32, vnet: VnetHeader, socket: &AfPacketSocket) -> Result<(), Loss> {
        let header = slot.header();
        let len = if status & libc::TP_STATUS_COPY != 0 {
            // The first error may be an old one of the socket, from when the link was down; asking reports and clears it.
            let receive = |long: &mut [u8]| sys::receive_now(&socket.fd, long);
            let len = receive(&mut self.long).or_else(|_| receive(&mut self.long)).map_err(|_| Loss::QueueFull)?;
            len.saturating_sub(VNET_HEADER)
        } else if header.tp_snaplen == header.tp_len {
            let bytes = slot.bytes(usize::from(header.tp_mac), header.tp_len as usize);
            self.long[VNET_HEADER..VNET_HEADER + bytes.len()].copy_from_slice(bytes);
            bytes.len()
        } else {
            return Err(Loss::QueueFull);
        };
        let (mut start, end) = (VNET_HEADER, VNET_HEADER + len);
        if end > self.long.len() || vnet.gso_type == VnetHeader::GSO_NONE {
            return Err(Loss::TooBig);
        }
        if let Some((tpid, tci)) = slot.tag(status).filter(|_| len >= 12) {
            // The kernel's header, which was read from the slot, makes room for the tag.
            self.long.copy_within(start..start + 12, start - TAG);
            start -= TAG;
            self.long[start + 12..start + 14].copy_from_slice(&tpid.to_be_bytes());
            self.long[start + 14..start + 16].copy_from_slice(&tci.to_be_bytes());
        }
        let segments = Segments::of(&self.long[start..end], vnet).map_err(|_| Loss::Malformed)?;
        self.super_frames += 1;
        self.current = Some(Current { start, end, segments });
        Ok(())
    }
}

/// Copy the frame of a slot into a frame of memory, whole as it was on the wire; false where it is too long.
fn copy_out(slot: Slot, status: u32, packet: &mut Packet) -> bool {
    let (header, tag) = (slot.header(), slot.tag(status));
    let len = header.tp_len as usize;
    // Where a tag comes back in front, the headroom shall be whole even so.
    if !packet.set_range(if tag.is_some() { TAG } else { 0 }, len) {
        return false;
    }
    packet.bytes_mut().copy_from_slice(slot.bytes(usize::from(header.tp_mac), len));
    if status & libc::TP_STATUS_CSUMNOTREADY != 0 {
        finish_checksum(packet.bytes_mut());
    }
    tag.is_none_or(|(tpid, tci)| put_tag_back(packet, tpid, tci))
}
