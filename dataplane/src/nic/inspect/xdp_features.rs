//! What XDP a driver offers, asked of the netdev family of generic netlink (Linux 6.3): nothing is attached for it.

use crate::nic::netlink::{Attributes, Message, Netlink};

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY` and the attributes of its question and answer.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET` and its attributes.
const DEVICE_GET: u8 = 1;
const IFINDEX: u16 = 1;
const FEATURES: u16 = 3;
/// `struct genlmsghdr`: command, version, reserved.
const HEADER: usize = 4;
/// `enum netdev_xdp_act`
const BASIC: u64 = 1;
const REDIRECT: u64 = 1 << 1;
const ZERO_COPY: u64 = 1 << 3;

/// What XDP a driver says it offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpFeatures {
    /// Programs run in the driver and can hand frames to AF_XDP: native mode.
    pub native: bool,
    /// AF_XDP without a copy.
    pub zero_copy: bool,
}

impl XdpFeatures {
    fn of_bits(bits: u64) -> Self {
        Self { native: bits & (BASIC | REDIRECT) == BASIC | REDIRECT, zero_copy: bits & ZERO_COPY != 0 }
    }
}

/// `None` where the kernel does not know the question.
pub(super) fn of(index: u32) -> Option<XdpFeatures> {
    let mut netlink = Netlink::open(libc::NETLINK_GENERIC).ok()?;
    let family = family(&mut netlink)?;
    let mut question = Message::new(family, 0, &[DEVICE_GET, 1, 0, 0]);
    question.attribute(IFINDEX, &index.to_ne_bytes());
    let mut bits = None;
    let answered = netlink.request(question, |_, body| {
        let features = Attributes::behind(body, HEADER).find(|attribute| attribute.kind == FEATURES);
        bits = features.and_then(|features| Some(u64::from_ne_bytes(features.value.try_into().ok()?)));
    });
    answered.ok().and(bits).map(XdpFeatures::of_bits)
}

fn family(netlink: &mut Netlink) -> Option<u16> {
    let mut question = Message::new(CONTROL, 0, &[GET_FAMILY, 1, 0, 0]);
    question.string(FAMILY_NAME, "netdev");
    let mut family = None;
    let answered = netlink.request(question, |_, body| {
        let id = Attributes::behind(body, HEADER).find(|attribute| attribute.kind == FAMILY_ID);
        family = id.and_then(|id| Some(u16::from_ne_bytes(id.value.try_into().ok()?)));
    });
    answered.ok().and(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_runs_programs_but_cannot_redirect_is_no_native_one() {
        assert_eq!(XdpFeatures::of_bits(BASIC), XdpFeatures { native: false, zero_copy: false });
        assert_eq!(XdpFeatures::of_bits(BASIC | REDIRECT | 4), XdpFeatures { native: true, zero_copy: false });
        assert_eq!(XdpFeatures::of_bits(0x7f), XdpFeatures { native: true, zero_copy: true });
        assert_eq!(XdpFeatures::of_bits(0), XdpFeatures { native: false, zero_copy: false });
    }
}
