//! 802.1Q and 802.1ad tags: taking them off frames and putting them on.
//!
//! Written apart from the data plane's own code on purpose: what judges the relay must not share its mistakes.

use std::fmt;

/// IEEE 802.1Q: the tag protocol identifier of a customer tag.
pub const TPID_CUSTOMER: u16 = 0x8100;
/// IEEE 802.1ad: the tag protocol identifier of a service tag, the outer one of two.
pub const TPID_SERVICE: u16 = 0x88a8;
/// Two Ethernet addresses; the tag stands behind them.
pub const ADDRESSES_LENGTH: usize = 12;
/// One tag: protocol identifier and control information.
pub const TAG_LENGTH: usize = 4;
/// The VLAN's number is the lower 12 bits of the control information; above are priority and drop eligibility.
const VLAN_MASK: u16 = 0x0fff;

/// The tags that mark a tenant's virtual circuit on a trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VlanTag {
    /// One 802.1Q tag.
    Single(u16),
    /// QinQ: an 802.1ad tag outside, an 802.1Q tag inside.
    Double {
        /// The service provider's VLAN.
        outer: u16,
        /// The customer's VLAN.
        inner: u16,
    },
}

impl fmt::Display for VlanTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(vlan) => write!(f, "{vlan}"),
            Self::Double { outer, inner } => write!(f, "{outer}.{inner}"),
        }
    }
}

impl VlanTag {
    fn encode(self) -> ([u8; 2 * TAG_LENGTH], usize) {
        let mut bytes = [0; 2 * TAG_LENGTH];
        let mut put = |at: usize, tpid: u16, vlan: u16| {
            bytes[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
            bytes[at + 2..at + 4].copy_from_slice(&(vlan & VLAN_MASK).to_be_bytes());
        };
        let length = match self {
            Self::Single(vlan) => {
                put(0, TPID_CUSTOMER, vlan);
                TAG_LENGTH
            }
            Self::Double { outer, inner } => {
                put(0, TPID_SERVICE, outer);
                put(TAG_LENGTH, TPID_CUSTOMER, inner);
                2 * TAG_LENGTH
            }
        };
        (bytes, length)
    }
}

/// The frame's tags (`None` for an untagged one, or one with another combination of tags), and writes the frame without
/// them to `plain`. `None` as a whole when the frame is too short for what it claims.
pub fn pop_tag(frame: &[u8], plain: &mut Vec<u8>) -> Option<Option<VlanTag>> {
    let (tag, length) = read_tag(frame)?;
    plain.clear();
    plain.extend_from_slice(&frame[..ADDRESSES_LENGTH]);
    plain.extend_from_slice(&frame[ADDRESSES_LENGTH + length..]);
    Some(tag)
}

/// Writes `plain` with the tags behind its addresses to `tagged`. `None` when it is too short to be a frame.
pub fn push_tag(tag: VlanTag, plain: &[u8], tagged: &mut Vec<u8>) -> Option<()> {
    let (addresses, rest) = plain.split_at_checked(ADDRESSES_LENGTH)?;
    let (bytes, length) = tag.encode();
    tagged.clear();
    tagged.extend_from_slice(addresses);
    tagged.extend_from_slice(&bytes[..length]);
    tagged.extend_from_slice(rest);
    Some(())
}

/// The tags at the front of a frame and how many bytes they take.
fn read_tag(frame: &[u8]) -> Option<(Option<VlanTag>, usize)> {
    let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    // Whatever the tags are, an EtherType has to follow them.
    let with_type = |tag, length| word(ADDRESSES_LENGTH + length).map(|_| (tag, length));
    match word(ADDRESSES_LENGTH)? {
        TPID_CUSTOMER => with_type(Some(VlanTag::Single(word(14)? & VLAN_MASK)), TAG_LENGTH),
        TPID_SERVICE if word(16)? == TPID_CUSTOMER => {
            let tag = VlanTag::Double { outer: word(14)? & VLAN_MASK, inner: word(18)? & VLAN_MASK };
            with_type(Some(tag), 2 * TAG_LENGTH)
        }
        _ => Some((None, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_frame() -> Vec<u8> {
        let mut frame: Vec<u8> = (1..=12).collect();
        frame.extend([0x08, 0x00]);
        frame.extend(b"payload");
        frame
    }

    #[test]
    fn a_single_tag_stands_behind_the_addresses() {
        let mut tagged = Vec::new();
        push_tag(VlanTag::Single(2101), &plain_frame(), &mut tagged).unwrap();
        assert_eq!(tagged[..12], plain_frame()[..12]);
        assert_eq!(tagged[12..18], [0x81, 0x00, 0x08, 0x35, 0x08, 0x00]);
        assert_eq!(tagged[18..], *b"payload");
    }

    #[test]
    fn two_tags_are_a_service_tag_and_a_customer_tag() {
        let mut tagged = Vec::new();
        push_tag(VlanTag::Double { outer: 100, inner: 2101 }, &plain_frame(), &mut tagged).unwrap();
        assert_eq!(tagged[12..22], [0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x08, 0x35, 0x08, 0x00]);
    }

    #[test]
    fn popping_gives_back_what_was_pushed() {
        for tag in [VlanTag::Single(1), VlanTag::Single(4094), VlanTag::Double { outer: 100, inner: 2101 }] {
            let (mut tagged, mut plain) = (Vec::new(), Vec::new());
            push_tag(tag, &plain_frame(), &mut tagged).unwrap();
            assert_eq!(pop_tag(&tagged, &mut plain), Some(Some(tag)));
            assert_eq!(plain, plain_frame());
        }
    }

    #[test]
    fn priority_bits_do_not_count_as_the_vlan() {
        let mut frame = plain_frame();
        frame.splice(12..12, [0x81, 0x00, 0xe8, 0x35]);
        assert_eq!(pop_tag(&frame, &mut Vec::new()), Some(Some(VlanTag::Single(2101))));
    }

    #[test]
    fn a_service_tag_alone_is_nobodys_and_stays_on() {
        let mut frame = plain_frame();
        frame.splice(12..12, [0x88, 0xa8, 0x00, 0x64]);
        let mut plain = Vec::new();
        assert_eq!(pop_tag(&frame, &mut plain), Some(None));
        assert_eq!(plain, frame);
    }

    #[test]
    fn frames_cut_short_are_refused() {
        let (mut tagged, mut out) = (Vec::new(), Vec::new());
        push_tag(VlanTag::Double { outer: 100, inner: 2101 }, &plain_frame(), &mut tagged).unwrap();
        for length in 0..22 {
            assert_eq!(pop_tag(&tagged[..length], &mut out), None, "{length} bytes");
        }
        assert_eq!(push_tag(VlanTag::Single(1), &[0; 11], &mut out), None);
    }
}
