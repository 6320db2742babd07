//! Planning which frames of a batch leave as one super-frame.
//!
//! The rules are those of the kernel's receive offload: consecutive bytes of one flow, headers alike, nothing joined that could not
//! be cut into the same frames again. Apart from what [`segment`](super::segment) makes anew anyhow, two fields may differ after
//! that: the identification of packets with DF (RFC 6864 section 4.1: it means nothing there), and the UDP checksum of datagrams
//! that had none, which get one.
//!
//! Every checksum is verified before a frame is joined: the super-frame's receiver believes it unseen, and a packet that was
//! damaged on its way here must not become a sound one.

use super::{Layout, MOST_HEADERS, Transport, VNET_HEADER, VnetHeader, long, put, word};
use crate::nic::BATCH;
use crate::packet::Packet;

/// Frames in a super-frame: what every kernel with UDP segmentation takes (`UDP_MAX_SEGMENTS` was raised to 128 later).
pub(crate) const MOST_SEGMENTS: usize = 64;
/// Bytes of a super-frame from its MAC addresses on: at 65,536 the kernel cuts it in software (`gso_features_check`).
pub(crate) const LONGEST: usize = 65_535;
/// Flows that are joined at the same time.
const OPEN: usize = 8;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const TCP_FLAGS: usize = 13;
const DONT_FRAGMENT: u8 = 0x40;

/// Which super-frames the device takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kinds {
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
}

impl Kinds {
    /// TCP and UDP.
    pub(crate) const ALL: Self = Self { tcp: true, udp: true };
    /// Plain frames only.
    pub(crate) const NONE: Self = Self { tcp: false, udp: false };

    /// All but the kind of this group.
    pub(crate) fn without(self, group: &Group) -> Self {
        match group.layout.map(|layout| layout.transport) {
            Some(Transport::Tcp) => Self { tcp: false, ..self },
            Some(Transport::Udp) => Self { udp: false, ..self },
            None => self,
        }
    }
}

/// Frames that leave together, in order; most often a single one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Number of its first frame in the batch.
    pub(crate) first: usize,
    last: usize,
    /// Its frames.
    pub(crate) count: usize,
    /// `None` for a frame that is no TCP or UDP packet.
    layout: Option<Layout>,
    /// Payload bytes of every frame but the last.
    size: usize,
    /// Bytes of the super-frame.
    length: usize,
    /// No further frame may join.
    closed: bool,
    /// The checksums of its first frame were verified.
    verified: bool,
    /// Its last frame had PSH set.
    push: bool,
}

/// The plan for one batch.
#[derive(Debug)]
pub(crate) struct Plan {
    groups: Vec<Group>,
    /// For each frame the next of its group.
    next: [usize; BATCH],
    /// Groups that a frame may still join, oldest first.
    open: Vec<usize>,
}

impl Plan {
    /// A plan of nothing, with room for any batch.
    pub(crate) fn new() -> Self {
        Self { groups: Vec::with_capacity(BATCH), next: [0; BATCH], open: Vec::with_capacity(OPEN) }
    }

    /// The groups, in the order to be sent: frames of one flow keep their order.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The numbers of the frames of `group`, in order.
    pub(crate) fn members(&self, group: &Group) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(group.first), |&frame| Some(self.next[frame])).take(group.count)
    }

    /// Forget the last plan and plan for `batch`, of which the frames with `wanted` are sent.
    ///
    /// # Panics
    /// With more than [`BATCH`] frames.
    pub(crate) fn make(&mut self, batch: &[Packet], kinds: Kinds, wanted: impl Fn(usize) -> bool) {
        assert!(batch.len() <= BATCH, "a plan is for one batch");
        self.groups.clear();
        self.open.clear();
        for number in (0..batch.len()).filter(|number| wanted(*number)) {
            self.add(number, batch, kinds);
        }
    }

    fn add(&mut self, number: usize, batch: &[Packet], kinds: Kinds) {
        let frame = batch[number].bytes();
        let layout = if kinds.tcp || kinds.udp { Layout::of(frame) } else { None };
        let Some(layout) = layout else { return self.start(number, frame, None, true) };
        let same_flow = |group: &&usize| {
            let group = &self.groups[**group];
            let first = batch[group.first].bytes();
            group.layout.is_some_and(|other| is_same_flow(first, &other, frame, &layout))
        };
        let found = self.open.iter().find(same_flow).copied();
        let can_join = can_be_joined(frame, &layout, kinds);
        if let Some(open) = found {
            let group = &mut self.groups[open];
            if can_join && group.join(number, batch, &layout) {
                let before = std::mem::replace(&mut group.last, number);
                self.next[before] = number;
                return;
            }
            // What comes behind this frame must not overtake it.
            self.open.retain(|group| *group != open);
        }
        let is_end = layout.transport == Transport::Tcp && frame[layout.header + TCP_FLAGS] & PSH != 0;
        self.start(number, frame, Some(layout), !can_join || is_end);
    }

    fn start(&mut self, number: usize, frame: &[u8], layout: Option<Layout>, closed: bool) {
        if !closed {
            if self.open.len() == OPEN {
                self.open.remove(0);
            }
            self.open.push(self.groups.len());
        }
        let size = layout.map_or(0, |layout| layout.end - layout.payload);
        self.groups.push(Group {
            first: number,
            last: number,
            count: 1,
            layout,
            size,
            length: frame.len(),
            closed,
            verified: false,
            push: false,
        });
    }
}

impl Group {
    /// Take a frame of the same flow in behind the others; false, and nothing changed but that nothing joins any more, where it does
    /// not continue them.
    fn join(&mut self, number: usize, batch: &[Packet], layout: &Layout) -> bool {
        let (first, frame) = (batch[self.first].bytes(), batch[number].bytes());
        let length = layout.end - layout.payload;
        let same_headers = self.layout.is_some_and(|first| (first.header, first.payload) == (layout.header, layout.payload));
        let fits = !self.closed
            && same_headers
            && length <= self.size
            && self.count < MOST_SEGMENTS
            && self.length + length <= LONGEST
            && self.continues(first, frame, layout);
        if !fits || !self.verify(first) || !layout.checksums_are_right(frame) {
            self.closed = true;
            return false;
        }
        self.count += 1;
        self.length += length;
        self.push = layout.transport == Transport::Tcp && frame[layout.header + TCP_FLAGS] & PSH != 0;
        self.closed = self.push || length < self.size;
        true
    }

    /// Whether the headers differ only in what every segment has of its own.
    fn continues(&self, first: &[u8], frame: &[u8], layout: &Layout) -> bool {
        let (ip, header) = (layout.ip, layout.header);
        let alike = |from: usize, to: usize| first[from..to] == frame[from..to];
        // Version, header length, TOS; flags and offset, TTL, protocol.
        if !alike(ip, ip + 2) || !alike(ip + 6, ip + 10) {
            return false;
        }
        let count = u16::try_from(self.count).expect("at most 64");
        if frame[ip + 6] & DONT_FRAGMENT == 0 && word(frame, ip + 4) != word(first, ip + 4).wrapping_add(count) {
            return false;
        }
        match layout.transport {
            Transport::Udp => (word(first, header + 6) == 0) == (word(frame, header + 6) == 0),
            Transport::Tcp => {
                let sent = u32::try_from(self.size * self.count).expect("a super-frame is short");
                // Acknowledgement number and data offset; window; urgent pointer and options.
                long(frame, header + 4) == long(first, header + 4).wrapping_add(sent)
                    && alike(header + 8, header + TCP_FLAGS)
                    && alike(header + 14, header + 16)
                    && alike(header + 18, layout.payload)
            }
        }
    }

    fn verify(&mut self, first: &[u8]) -> bool {
        self.verified = self.verified || self.layout.is_some_and(|layout| layout.checksums_are_right(first));
        self.verified
    }

    /// Write what comes in front of the payloads of all frames: the kernel's header, then the super-frame's own, made of the `first`
    /// frame's. Returns the length, and where the payload of each frame begins; `None` for a single frame, which goes out as it is.
    pub(crate) fn write_headers(&self, first: &[u8], out: &mut [u8; VNET_HEADER + MOST_HEADERS]) -> Option<(usize, usize)> {
        let layout = self.layout.filter(|_| self.count > 1)?;
        let Layout { transport, ip, header, payload, .. } = layout;
        let number = |value: usize| u16::try_from(value).expect("a super-frame is shorter than 64 KiB");
        let (vnet, rest) = out.split_at_mut(VNET_HEADER);
        let (gso_type, csum_offset) = match transport {
            Transport::Tcp => (VnetHeader::GSO_TCPV4, 16),
            Transport::Udp => (VnetHeader::GSO_UDP_L4, 6),
        };
        let described = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type,
            hdr_len: number(payload),
            gso_size: number(self.size),
            csum_start: number(header),
            csum_offset,
        };
        vnet.copy_from_slice(&described.to_bytes());
        let bytes = &mut rest[..payload];
        bytes.copy_from_slice(&first[..payload]);
        put(bytes, ip + 2, number(self.length - ip));
        layout.set_ip_checksum(bytes);
        match transport {
            Transport::Udp => put(bytes, header + 4, number(self.length - header)),
            Transport::Tcp if self.push => bytes[header + TCP_FLAGS] |= PSH,
            Transport::Tcp => {}
        }
        let sum = layout.pseudo_header(bytes, self.length - header).folded();
        put(bytes, header + usize::from(csum_offset), sum);
        Some((VNET_HEADER + payload, payload))
    }
}

/// Same cable, tags, stations, addresses and ports. Frames of two tenants differ in their tags or their tunnel's addresses and ports.
fn is_same_flow(first: &[u8], layout: &Layout, frame: &[u8], other: &Layout) -> bool {
    layout.transport == other.transport
        && first[layout.header..layout.header + 4] == frame[other.header..other.header + 4]
        && first[layout.ip + 12..layout.ip + 20] == frame[other.ip + 12..other.ip + 20]
        && first[..layout.ip] == frame[..other.ip]
}

/// Whether a frame may be part of a super-frame at all.
fn can_be_joined(frame: &[u8], layout: &Layout, kinds: Kinds) -> bool {
    let plain = layout.header == layout.ip + 20 && layout.end == frame.len() && layout.payload < layout.end;
    plain
        && match layout.transport {
            Transport::Tcp => kinds.tcp && frame[layout.header + TCP_FLAGS] & !PSH == ACK,
            Transport::Udp => kinds.udp && usize::from(word(frame, layout.header + 4)) == layout.end - layout.header,
        }
}
