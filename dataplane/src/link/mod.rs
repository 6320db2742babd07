//! The link layer of one port: which frames are for the relay, and which way a packet leaves.

mod interface;
mod ipv6;
mod neighbors;

use crate::drop_reason::DropReason;
use crate::wire::ethernet::{self, Ethernet, MacAddr};

pub use interface::{ArpOutcome, Interface};
pub use ipv6::{DiscoveryOutcome, Ipv6Interface, Ipv6Outcome};
pub use neighbors::{NeighborState, Neighbors, Probe, Resolution};

/// Read a received frame's header and refuse what is not for the station `own`.
///
/// # Errors
/// The reasons of [`Ethernet::parse`], and [`DropReason::EthernetSourceInvalid`], [`DropReason::EthernetNotForUs`],
/// [`DropReason::EtherTypeUnsupported`].
pub fn accept(frame: &[u8], own: MacAddr) -> Result<Ethernet, DropReason> {
    let header = Ethernet::parse(frame)?;
    if !header.source.is_station() || header.source == own {
        return Err(DropReason::EthernetSourceInvalid);
    }
    match header.ethertype {
        ethernet::IPV4 if header.destination == own => Ok(header),
        ethernet::ARP if header.destination == own || header.destination == MacAddr::BROADCAST => Ok(header),
        ethernet::IPV6 if header.destination == own || header.destination.is_ipv6_multicast() => Ok(header),
        ethernet::IPV4 | ethernet::ARP | ethernet::IPV6 => Err(DropReason::EthernetNotForUs),
        _ => Err(DropReason::EtherTypeUnsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn frame(destination: MacAddr, source: MacAddr, ethertype: u16) -> Vec<u8> {
        [&destination.0[..], &source.0, &ethertype.to_be_bytes()].concat()
    }

    #[test]
    fn only_frames_for_the_relay_from_one_other_station_are_accepted() {
        let cases = [
            (frame(US, THEM, ethernet::IPV4), None),
            (frame(MacAddr::BROADCAST, THEM, ethernet::ARP), None),
            (frame(US, THEM, ethernet::ARP), None),
            (frame(MacAddr::BROADCAST, THEM, ethernet::IPV4), Some(DropReason::EthernetNotForUs)),
            (frame(THEM, THEM, ethernet::IPV4), Some(DropReason::EthernetNotForUs)),
            (frame(US, MacAddr::BROADCAST, ethernet::IPV4), Some(DropReason::EthernetSourceInvalid)),
            (frame(US, MacAddr([0; 6]), ethernet::IPV4), Some(DropReason::EthernetSourceInvalid)),
            (frame(US, US, ethernet::IPV4), Some(DropReason::EthernetSourceInvalid)),
            (frame(MacAddr([0x33, 0x33, 0, 0, 0, 1]), THEM, ethernet::IPV6), None),
            (frame(US, THEM, ethernet::IPV6), None),
            (frame(MacAddr([0x33, 0x33, 0, 0, 0, 1]), THEM, ethernet::IPV4), Some(DropReason::EthernetNotForUs)),
            (frame(MacAddr::BROADCAST, THEM, ethernet::IPV6), Some(DropReason::EthernetNotForUs)),
            (frame(THEM, THEM, ethernet::IPV6), Some(DropReason::EthernetNotForUs)),
            (frame(US, THEM, 0x88cc), Some(DropReason::EtherTypeUnsupported)),
        ];
        for (frame, reason) in cases {
            assert_eq!(accept(&frame, US).err(), reason, "{frame:02x?}");
        }
    }
}
