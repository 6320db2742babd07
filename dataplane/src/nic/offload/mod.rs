//! Super-frames: what virtual NICs carry instead of many frames, so that a crossing is paid once for up to 64 KiB.
//!
//! They exist only inside a driver. [`segment`] makes frames of a received one, [`coalesce`] plans which frames of a batch leave as
//! one; everything between sees plain frames. Both are pure: bytes in, bytes out.

pub(super) mod coalesce;
pub(super) mod segment;
#[cfg(test)]
mod tests;

use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, TPID_CUSTOMER, TPID_SERVICE};

/// Bytes of [`VnetHeader`] in front of a frame.
pub(super) const VNET_HEADER: usize = 10;
/// The longest headers in front of a super-frame's payload: Ethernet with two tags, IPv4 and TCP with all their options.
pub(super) const MOST_HEADERS: usize = 22 + 60 + 60;
/// The longest super-frame the kernel makes of IPv4: 65,535 bytes, and Ethernet with two tags around them.
pub(super) const MOST_BYTES: usize = 65_535 + 22;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// `struct virtio_net_hdr` (virtio 1.2, section 5.1.6), in the machine's byte order as packet sockets have it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct VnetHeader {
    /// [`VnetHeader::NEEDS_CSUM`], or none.
    pub(super) flags: u8,
    /// One of the `GSO_` constants, perhaps with [`VnetHeader::GSO_ECN`].
    pub(super) gso_type: u8,
    /// Bytes of all headers; a hint.
    pub(super) hdr_len: u16,
    /// Payload bytes of each segment.
    pub(super) gso_size: u16,
    /// Where the checksummed bytes begin, from the frame's first.
    pub(super) csum_start: u16,
    /// Where the checksum goes, from there.
    pub(super) csum_offset: u16,
}

impl VnetHeader {
    /// The transport checksum is left to whoever needs it; its field holds the pseudo-header's sum.
    pub(super) const NEEDS_CSUM: u8 = 1;
    /// A plain frame.
    pub(super) const GSO_NONE: u8 = 0;
    /// TCP over IPv4.
    pub(super) const GSO_TCPV4: u8 = 1;
    /// UDP datagrams one after the other (Linux 6.2).
    pub(super) const GSO_UDP_L4: u8 = 5;
    /// Only the first segment keeps CWR.
    pub(super) const GSO_ECN: u8 = 0x80;

    /// Read it.
    pub(super) fn from_bytes(bytes: [u8; VNET_HEADER]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = bytes;
        let word = |bytes| u16::from_ne_bytes(bytes);
        Self { flags, gso_type, hdr_len: word([a, b]), gso_size: word([c, d]), csum_start: word([e, f]), csum_offset: word([g, h]) }
    }

    /// Write it.
    pub(super) fn to_bytes(self) -> [u8; VNET_HEADER] {
        let ([a, b], [c, d]) = (self.hdr_len.to_ne_bytes(), self.gso_size.to_ne_bytes());
        let ([e, f], [g, h]) = (self.csum_start.to_ne_bytes(), self.csum_offset.to_ne_bytes());
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}

/// The two protocols that can be cut and joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Where its checksum lies in its header.
    fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// Where the headers of an unfragmented TCP or UDP packet over IPv4 begin, behind up to two tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub(super) transport: Transport,
    /// First byte of the IPv4 header.
    pub(super) ip: usize,
    /// First byte of the TCP or UDP header.
    pub(super) header: usize,
    /// First byte of the payload.
    pub(super) payload: usize,
    /// First byte behind the packet; only padding may follow.
    pub(super) end: usize,
}

impl Layout {
    /// Find the headers; `None` where the frame is anything else, or its lengths contradict each other.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let ip = ipv4_start(frame)?;
        let packet = frame.get(ip..)?;
        let (fixed, _) = packet.split_first_chunk::<20>()?;
        let header = ip + usize::from(fixed[0] & 0xf) * 4;
        let end = ip + usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        let is_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0;
        if fixed[0] >> 4 != 4 || header < ip + 20 || end > frame.len() || is_fragment {
            return None;
        }
        let segment = frame.get(header..end)?;
        let (transport, length) = match fixed[9] {
            TCP => (Transport::Tcp, usize::from(segment.get(12)? >> 4) * 4),
            UDP => (Transport::Udp, 8),
            _ => return None,
        };
        let least = if transport == Transport::Tcp { 20 } else { 8 };
        (length >= least && length <= segment.len()).then_some(Self { transport, ip, header, payload: header + length, end })
    }

    /// What the transport checksum covers besides the segment, for a segment of `length` bytes, header included.
    fn pseudo_header(&self, frame: &[u8], length: usize) -> Sum {
        let protocol = if self.transport == Transport::Tcp { TCP } else { UDP };
        let length = u16::try_from(length).expect("a segment of an IPv4 packet");
        Sum::default().bytes(&frame[self.ip + 12..self.ip + 20]).word(u16::from(protocol)).word(length)
    }

    /// Compute the TCP or UDP checksum of a packet whose last byte is that before `end`.
    fn set_checksum(&self, frame: &mut [u8], end: usize) {
        let at = self.header + self.transport.checksum_at();
        put(frame, at, 0);
        let checksum = self.pseudo_header(frame, end - self.header).bytes(&frame[self.header..end]).checksum();
        // RFC 768: a computed zero is sent as all ones, as zero means that there is none.
        put(frame, at, if checksum == 0 && self.transport == Transport::Udp { 0xffff } else { checksum });
    }

    fn set_ip_checksum(&self, frame: &mut [u8]) {
        put(frame, self.ip + 10, 0);
        let checksum = Sum::default().bytes(&frame[self.ip..self.header]).checksum();
        put(frame, self.ip + 10, checksum);
    }

    /// Whether both checksums are right. A UDP checksum of zero says that there is none, and passes.
    fn checksums_are_right(&self, frame: &[u8]) -> bool {
        let transport = || self.pseudo_header(frame, self.end - self.header).bytes(&frame[self.header..self.end]).is_valid();
        Sum::default().bytes(&frame[self.ip..self.header]).is_valid() && (self.has_no_checksum(frame) || transport())
    }

    fn has_no_checksum(&self, frame: &[u8]) -> bool {
        self.transport == Transport::Udp && word(frame, self.header + 6) == 0
    }
}

/// Compute the TCP or UDP checksum of an IPv4 packet behind up to two tags.
///
/// A sender on the same machine leaves it to a NIC that never comes. Returns false, and changes nothing, where the frame is
/// anything else (the kernel finishes a checksum before it cuts a packet into fragments): the checks further on will find it wrong.
pub(super) fn finish_checksum(frame: &mut [u8]) -> bool {
    let layout = Layout::of(frame);
    if let Some(layout) = layout {
        layout.set_checksum(frame, layout.end);
    }
    layout.is_some()
}

/// Where the IPv4 header begins, behind up to two tags.
fn ipv4_start(frame: &[u8]) -> Option<usize> {
    let mut offset = 12;
    for _ in 0..=2 {
        let ethertype = u16::from_be_bytes(frame.get(offset..offset + 2)?.try_into().ok()?);
        match ethertype {
            ethernet::IPV4 => return Some(offset + 2),
            TPID_CUSTOMER | TPID_SERVICE => offset += ethernet::TAG_LEN,
            _ => return None,
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}
