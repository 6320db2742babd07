//! Ethernet II with up to two VLAN tags: 802.1Q (0x8100) and 802.1ad outside it (0x88a8).

use std::fmt;

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::router_config::{Vlan, VlanId};

/// Length of an untagged header in bytes.
pub const HEADER_LEN: usize = 14;
/// Length of one tag in bytes.
pub const TAG_LEN: usize = 4;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Tag protocol identifier of an 802.1Q tag.
pub const TPID_CUSTOMER: u16 = 0x8100;
/// Tag protocol identifier of an 802.1ad service tag.
pub const TPID_SERVICE: u16 = 0x88a8;

/// A 48-bit station address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for multicast and broadcast addresses, which no single station has.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for the groups that IPv6 multicast goes to (RFC 2464 section 7).
    #[must_use]
    pub const fn is_ipv6_multicast(self) -> bool {
        self.0[0] == 0x33 && self.0[1] == 0x33
    }

    /// True where this can be the address of one station.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What an Ethernet header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ethernet {
    /// Destination station.
    pub destination: MacAddr,
    /// Source station.
    pub source: MacAddr,
    /// The tags.
    pub vlan: Vlan,
    /// The protocol behind the tags.
    pub ethertype: u16,
    /// Length of the header with its tags, in bytes.
    pub header_len: usize,
}

impl Ethernet {
    /// Read the header of `frame`.
    ///
    /// # Errors
    /// [`DropReason::EthernetMalformed`] where the frame is too short, [`DropReason::VlanTagInvalid`] for VLAN ids 0 and 4,095,
    /// for a service tag that stands alone or inside, and for a third tag.
    pub fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        let (addresses, _) = frame.split_first_chunk::<12>().ok_or(DropReason::EthernetMalformed)?;
        let destination = mac_at(addresses, 0);
        let source = mac_at(addresses, 6);
        let (vlan, header_len) = match u16_at(frame, 12)? {
            TPID_CUSTOMER => (Vlan::Single(vlan_id_at(frame, 14)?), HEADER_LEN + TAG_LEN),
            TPID_SERVICE if u16_at(frame, 16)? == TPID_CUSTOMER => {
                let (outer, inner) = (vlan_id_at(frame, 14)?, vlan_id_at(frame, 18)?);
                (Vlan::Double { outer, inner }, HEADER_LEN + 2 * TAG_LEN)
            }
            TPID_SERVICE => return Err(DropReason::VlanTagInvalid),
            _ => (Vlan::Untagged, HEADER_LEN),
        };
        let ethertype = u16_at(frame, header_len - 2)?;
        if matches!(ethertype, TPID_CUSTOMER | TPID_SERVICE) {
            return Err(DropReason::VlanTagInvalid);
        }
        Ok(Self { destination, source, vlan, ethertype, header_len })
    }
}

/// Length of a header with the tags of `vlan`, in bytes.
#[must_use]
pub const fn header_len(vlan: Vlan) -> usize {
    match vlan {
        Vlan::Untagged => HEADER_LEN,
        Vlan::Single(_) => HEADER_LEN + TAG_LEN,
        Vlan::Double { .. } => HEADER_LEN + 2 * TAG_LEN,
    }
}

/// Put an Ethernet header in front of `packet`. Returns false, and changes nothing, where the headroom does not suffice.
#[must_use]
pub fn push(packet: &mut Packet, vlan: Vlan, source: MacAddr, destination: MacAddr, ethertype: u16) -> bool {
    let len = header_len(vlan);
    if !packet.grow_front(len) {
        return false;
    }
    let header = &mut packet.bytes_mut()[..len];
    header[..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    match vlan {
        Vlan::Untagged => {}
        Vlan::Single(id) => put_tag(header, 12, TPID_CUSTOMER, id),
        Vlan::Double { outer, inner } => {
            put_tag(header, 12, TPID_SERVICE, outer);
            put_tag(header, 16, TPID_CUSTOMER, inner);
        }
    }
    header[len - 2..].copy_from_slice(&ethertype.to_be_bytes());
    true
}

fn put_tag(header: &mut [u8], at: usize, tpid: u16, id: VlanId) {
    header[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
    header[at + 2..at + 4].copy_from_slice(&id.get().to_be_bytes());
}

fn u16_at(frame: &[u8], at: usize) -> Result<u16, DropReason> {
    match frame.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(DropReason::EthernetMalformed),
    }
}

fn vlan_id_at(frame: &[u8], at: usize) -> Result<VlanId, DropReason> {
    VlanId::new(u16_at(frame, at)? & 0x0fff).ok_or(DropReason::VlanTagInvalid)
}

fn mac_at(addresses: &[u8; 12], at: usize) -> MacAddr {
    MacAddr(std::array::from_fn(|i| addresses[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FramePool;

    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn id(id: u16) -> VlanId {
        VlanId::new(id).expect("a usable id")
    }

    fn frame(words: &[u16]) -> Vec<u8> {
        let mut frame = [US.0, THEM.0].concat();
        words.iter().for_each(|word| frame.extend_from_slice(&word.to_be_bytes()));
        frame
    }

    #[test]
    fn frames_shorter_than_their_header_are_malformed() {
        let whole = frame(&[TPID_SERVICE, 100, TPID_CUSTOMER, 7, IPV4]);
        for len in 0..whole.len() {
            assert_eq!(Ethernet::parse(&whole[..len]), Err(DropReason::EthernetMalformed), "{len} bytes");
        }
        assert!(Ethernet::parse(&whole).is_ok());
    }

    #[test]
    fn hostile_tag_stacks_are_refused() {
        for words in [
            &[TPID_CUSTOMER, 0, IPV4][..],
            &[TPID_CUSTOMER, 0x0fff, IPV4],
            &[TPID_CUSTOMER, 5, TPID_CUSTOMER, 6, IPV4],
            &[TPID_CUSTOMER, 5, TPID_SERVICE, 6, IPV4],
            &[TPID_SERVICE, 5, IPV4, 0, 0],
            &[TPID_SERVICE, 5, TPID_SERVICE, 6, IPV4],
            &[TPID_SERVICE, 5, TPID_CUSTOMER, 0, IPV4],
            &[TPID_SERVICE, 5, TPID_CUSTOMER, 6, TPID_CUSTOMER, 7, IPV4],
        ] {
            assert_eq!(Ethernet::parse(&frame(words)), Err(DropReason::VlanTagInvalid), "{words:x?}");
        }
    }

    #[test]
    fn priority_bits_do_not_change_the_vlan() {
        let parsed = Ethernet::parse(&frame(&[TPID_CUSTOMER, 0xe000 | 2101, IPV4])).expect("a good tag");
        assert_eq!(parsed.vlan, Vlan::Single(id(2101)));
    }

    #[test]
    fn a_pushed_header_reads_back_as_it_was() {
        let mut pool = FramePool::new(1).expect("memory");
        for vlan in [Vlan::Untagged, Vlan::Single(id(1)), Vlan::Double { outer: id(4_094), inner: id(9) }] {
            let mut packet = Packet::copied(pool.take().expect("a frame"), b"payload").expect("fits");
            assert!(push(&mut packet, vlan, US, THEM, IPV4));
            let parsed = Ethernet::parse(packet.bytes()).expect("well formed");
            assert_eq!((parsed.vlan, parsed.source, parsed.destination, parsed.ethertype), (vlan, US, THEM, IPV4));
            assert_eq!(&packet.bytes()[parsed.header_len..], b"payload");
            pool.put(packet.into_frame());
        }
    }
}
