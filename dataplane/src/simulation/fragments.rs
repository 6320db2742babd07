//! Fragments as hosts make them and put them together. Nothing of the relay's own `wire` is used.

use std::collections::BTreeMap;

use smoltcp::wire::Ipv4Packet;

use crate::simulation::packets::edited;

/// Length of an IPv4 header without options.
const HEADER: usize = 20;

/// The packet in fragments of `mtu` bytes at most, in order, all called `id`.
#[must_use]
pub fn cut(packet: &[u8], id: u16, mtu: usize) -> Vec<Vec<u8>> {
    let step = (mtu - HEADER) / 8 * 8;
    let len = packet.len() - HEADER;
    (0..len).step_by(step).map(|from| fragment(packet, id, (from, len.min(from + step)), from + step < len)).collect()
}

/// What a host with a line of this `mtu` sends: the packet, or its fragments.
#[must_use]
pub fn sendable(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    if packet.len() <= mtu { vec![packet.to_vec()] } else { cut(packet, u16::from_be_bytes([packet[4], packet[5]]), mtu) }
}

/// The bytes `from..to` behind the header as a fragment called `id`; `from` is rounded down to a unit of eight.
#[must_use]
pub fn fragment(packet: &[u8], id: u16, (from, to): (usize, usize), more: bool) -> Vec<u8> {
    let bytes = [&packet[..HEADER], &packet[HEADER..][from..to]].concat();
    placed(bytes, id, from, more)
}

/// A packet, whatever is behind its header, as the fragment at `offset` of the datagram `id`.
#[must_use]
pub fn placed(bytes: Vec<u8>, id: u16, offset: usize, more: bool) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a packet");
    let more = if more { 0x2000 } else { 0 };
    let word = u16::try_from(offset / 8).expect("13 bits") | more;
    edited(bytes, |bytes| {
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[4..6].copy_from_slice(&id.to_be_bytes());
        bytes[6..8].copy_from_slice(&word.to_be_bytes());
    })
}

/// Whether an IPv4 packet is a fragment.
#[must_use]
pub fn is_fragment(packet: &[u8]) -> bool {
    Ipv4Packet::new_checked(packet).is_ok_and(|packet| packet.version() == 4 && (packet.more_frags() || packet.frag_offset() > 0))
}

/// Source and destination, protocol, identification.
type Name = ([u8; 8], u8, u16);

/// What a host does with fragments: it waits until a datagram is whole.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// Of each datagram its fragments' headers and bytes, by offset.
    datagrams: BTreeMap<Name, BTreeMap<usize, Vec<u8>>>,
}

impl Reassembly {
    /// A packet arrives. Returned is what is whole: the packet itself, or the datagram that it completes.
    ///
    /// # Errors
    /// Two fragments that overlap and are not the same: no host may ever be given such by the relay.
    pub fn take(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if !is_fragment(packet) {
            return Ok(Some(packet.to_vec()));
        }
        let view = Ipv4Packet::new_unchecked(packet);
        let addresses = packet[12..20].try_into().expect("eight bytes");
        let (name, offset) = ((addresses, packet[9], view.ident()), usize::from(view.frag_offset()));
        let len = usize::from(view.total_len()) - HEADER;
        let parts = self.datagrams.entry(name).or_default();
        for (other, bytes) in &*parts {
            let end = other + bytes.len() - HEADER;
            if (*other, end) != (offset, offset + len) && *other < offset + len && offset < end {
                return Err(format!("{other}..{end} and {offset}..{} of one datagram: {name:?}", offset + len));
            }
        }
        parts.insert(offset, packet[..HEADER + len].to_vec());
        let whole = joined(parts);
        if whole.is_some() {
            self.datagrams.remove(&name);
        }
        Ok(whole)
    }
}

/// The datagram, where nothing of it is missing.
fn joined(parts: &BTreeMap<usize, Vec<u8>>) -> Option<Vec<u8>> {
    let mut whole = parts.get(&0)?[..HEADER].to_vec();
    for (offset, bytes) in parts {
        if *offset != whole.len() - HEADER {
            return None;
        }
        whole.extend(&bytes[HEADER..]);
    }
    let (_, last) = parts.last_key_value()?;
    let is_end = !Ipv4Packet::new_unchecked(&last[..]).more_frags();
    is_end.then(|| placed(whole, Ipv4Packet::new_unchecked(&last[..]).ident(), 0, false))
}

/// The whole packets among these, in the order in which they were completed.
///
/// # Panics
/// Where fragments overlap, or something is left over.
#[must_use]
pub fn reassembled(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut reassembly = Reassembly::default();
    let whole = packets.iter().filter_map(|packet| reassembly.take(packet).expect("no overlap")).collect();
    assert!(reassembly.datagrams.is_empty(), "incomplete: {:?}", reassembly.datagrams.keys());
    whole
}
