//! Cutting a super-frame into the frames it stands for, as a NIC would have done on the wire.

use super::{Layout, Transport, VnetHeader, long, put, word};
use crate::packet::{MAX_PACKET, Packet};

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
/// Where the flags lie in a TCP header.
const TCP_FLAGS: usize = 13;

/// A super-frame that cannot be cut: neither TCP nor UDP over IPv4, or lengths that contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// The frames of one super-frame, made one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segments {
    layout: Layout,
    /// Payload bytes of each frame but the last.
    size: usize,
    /// First byte of the payload that was not yet handed out.
    next: usize,
    number: u16,
}

impl Segments {
    /// The frames of the super-frame `frame` (from its MAC addresses on), which the kernel describes by `vnet`.
    ///
    /// # Errors
    /// [`Malformed`] where it cannot be cut, or a frame of it would not fit into a frame of memory.
    pub(crate) fn of(frame: &[u8], vnet: VnetHeader) -> Result<Self, Malformed> {
        let layout = Layout::of(frame).ok_or(Malformed)?;
        let kind = match vnet.gso_type & !VnetHeader::GSO_ECN {
            VnetHeader::GSO_TCPV4 => Transport::Tcp,
            VnetHeader::GSO_UDP_L4 => Transport::Udp,
            _ => return Err(Malformed),
        };
        let size = usize::from(vnet.gso_size);
        let right = kind == layout.transport && size > 0 && layout.payload + size <= MAX_PACKET && layout.end == frame.len();
        if right { Ok(Self { layout, size, next: layout.payload, number: 0 }) } else { Err(Malformed) }
    }

    /// How many frames are still to be made.
    pub(crate) fn left(&self) -> usize {
        (self.layout.end - self.next).div_ceil(self.size).max(usize::from(self.number == 0))
    }

    /// Write the next frame of the super-frame `frame`, the one given to [`Segments::of`], over `packet`.
    ///
    /// Identification and sequence number count on, FIN and PSH are the last frame's and CWR the first one's (as TCP senders that
    /// segment themselves do it), lengths and checksums are each frame's own.
    pub(crate) fn write_next(&mut self, frame: &[u8], packet: &mut Packet) {
        let Layout { payload, end, .. } = self.layout;
        let length = self.size.min(end - self.next);
        let fits = packet.set_range(0, payload + length);
        assert!(fits, "checked by `of`");
        let bytes = packet.bytes_mut();
        bytes[..payload].copy_from_slice(&frame[..payload]);
        bytes[payload..].copy_from_slice(&frame[self.next..self.next + length]);
        self.set_fields(bytes);
        self.next += length;
        self.number += 1;
    }

    fn set_fields(&self, bytes: &mut [u8]) {
        let Layout { transport, ip, header, payload, end } = self.layout;
        let length = |from: usize| u16::try_from(bytes.len() - from).expect("a frame is small");
        let (ip_length, udp_length) = (length(ip), length(header));
        put(bytes, ip + 2, ip_length);
        let identification = word(bytes, ip + 4).wrapping_add(self.number);
        put(bytes, ip + 4, identification);
        match transport {
            Transport::Udp => put(bytes, header + 4, udp_length),
            Transport::Tcp => {
                let offset = u32::try_from(self.next - payload).expect("a super-frame is short");
                let sequence = long(bytes, header + 4).wrapping_add(offset);
                bytes[header + 4..header + 8].copy_from_slice(&sequence.to_be_bytes());
                let is_last = self.next + (bytes.len() - payload) >= end;
                let lasts = if is_last { 0 } else { FIN | PSH };
                let firsts = if self.number == 0 { 0 } else { CWR };
                bytes[header + TCP_FLAGS] &= !(lasts | firsts);
            }
        }
        self.layout.set_ip_checksum(bytes);
        self.layout.set_checksum(bytes, bytes.len());
    }
}
