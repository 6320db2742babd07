//! Neighbour discovery (RFC 4861): solicitations and advertisements, and which of them are acceptable. Nothing else of it is believed.

use std::net::Ipv6Addr;

use super::icmpv6;
use super::ipv6::{self, HEADER_LEN, next_header};
use crate::drop_reason::DropReason;
use crate::wire::ethernet::MacAddr;

/// Longest message that is written, with its IPv6 header, in bytes.
pub const LONGEST: usize = HEADER_LEN + FIXED + OPTION;

/// A message without options: ICMPv6 header, and the target.
const FIXED: usize = 24;
/// A link-layer address option for Ethernet (RFC 4861 section 4.6.1, RFC 2464 section 6).
const OPTION: usize = 8;
/// RFC 4861 section 3.1: what arrives with it came from no other network.
const ON_LINK_HOP_LIMIT: u8 = 255;

/// ICMPv6 types.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Routers' solicitations and advertisements, and redirects.
const OTHERS: [u8; 3] = [133, 134, 137];

/// Options.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// Flags of an advertisement: it was asked for; it replaces what was known.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// All nodes of a network (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Question or answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Who has this address?
    Solicitation,
    /// I have it.
    Advertisement {
        /// Because somebody asked.
        solicited: bool,
    },
}

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// Solicitation or advertisement.
    pub kind: Kind,
    /// The sender's address; unspecified in a probe for duplicates (RFC 4862 section 5.4.2).
    pub source: Ipv6Addr,
    /// Whom it is for.
    pub destination: Ipv6Addr,
    /// The address asked for, or answered for.
    pub target: Ipv6Addr,
    /// The sender's station, where an option says so.
    pub station: Option<MacAddr>,
}

/// Whether an ICMPv6 message, given from its IPv6 header on, is of neighbour discovery.
#[must_use]
pub fn is_discovery(packet: &[u8]) -> bool {
    packet.get(HEADER_LEN).is_some_and(|kind| *kind == SOLICITATION || *kind == ADVERTISEMENT || OTHERS.contains(kind))
}

/// The group that is asked for `address` (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The stations of a group (RFC 2464 section 7).
#[must_use]
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

impl Discovery {
    /// Read a message that arrived in a frame sent by `frame_source`. `packet` is the IPv6 packet with `header`, without padding.
    ///
    /// # Errors
    /// [`DropReason::NdMalformed`] for what RFC 4861 sections 7.1.1 and 7.1.2 tell to discard, and for an option that names another
    /// station than the frame's sender; [`DropReason::NdRefused`] for messages of and for routers, and redirects.
    pub fn parse(packet: &[u8], header: &ipv6::Header, frame_source: MacAddr) -> Result<Self, DropReason> {
        let message = packet.get(HEADER_LEN..).ok_or(DropReason::NdMalformed)?;
        if message.first().is_some_and(|kind| OTHERS.contains(kind)) {
            return Err(DropReason::NdRefused);
        }
        let (fixed, options) = message.split_first_chunk::<FIXED>().ok_or(DropReason::NdMalformed)?;
        let target = ipv6::read_address(fixed, 8);
        let sound = header.hop_limit == ON_LINK_HOP_LIMIT && fixed[1] == 0 && !target.is_multicast() && icmpv6::is_valid(header, message);
        let (kind, wanted) = match fixed[0] {
            SOLICITATION => (Kind::Solicitation, SOURCE_LINK_LAYER),
            ADVERTISEMENT => (Kind::Advertisement { solicited: fixed[4] & SOLICITED != 0 }, TARGET_LINK_LAYER),
            _ => return Err(DropReason::NdMalformed),
        };
        let station = link_layer_option(options, wanted)?;
        let message = Self { kind, source: header.source, destination: header.destination, target, station };
        if sound && message.is_acceptable(frame_source) { Ok(message) } else { Err(DropReason::NdMalformed) }
    }

    fn is_acceptable(&self, frame_source: MacAddr) -> bool {
        let by_kind = match self.kind {
            Kind::Solicitation if self.source.is_unspecified() => self.station.is_none() && self.destination == solicited_node(self.target),
            Kind::Solicitation => true,
            Kind::Advertisement { solicited } => !(self.source.is_unspecified() || solicited && self.destination.is_multicast()),
        };
        by_kind && !self.source.is_multicast() && !self.source.is_loopback() && self.station.is_none_or(|station| station == frame_source)
    }

    /// The packet's bytes, from its IPv6 header on, and how many they are.
    #[must_use]
    pub fn bytes(&self) -> ([u8; LONGEST], usize) {
        let mut packet = [0; LONGEST];
        let len = FIXED + if self.station.is_some() { OPTION } else { 0 };
        let ends = (self.source, self.destination);
        ipv6::write_header(&mut packet, next_header::ICMPV6, ON_LINK_HOP_LIMIT, ends, u16::try_from(len).unwrap_or_default());
        let message = &mut packet[HEADER_LEN..];
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (SOLICITATION, 0, SOURCE_LINK_LAYER),
            Kind::Advertisement { solicited: true } => (ADVERTISEMENT, SOLICITED | OVERRIDE, TARGET_LINK_LAYER),
            Kind::Advertisement { solicited: false } => (ADVERTISEMENT, OVERRIDE, TARGET_LINK_LAYER),
        };
        (message[0], message[4]) = (kind, flags);
        message[8..FIXED].copy_from_slice(&self.target.octets());
        if let Some(station) = self.station {
            (message[FIXED], message[FIXED + 1]) = (option, 1);
            message[FIXED + 2..].copy_from_slice(&station.0);
        }
        icmpv6::write_checksum(&mut packet[..HEADER_LEN + len], ends);
        (packet, HEADER_LEN + len)
    }
}

/// The station that the option of this kind names, if there is one. All options are walked through: RFC 4861 section 7.1.1 discards a
/// message with an option of length zero.
fn link_layer_option(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return Err(DropReason::NdMalformed);
        }
        if kind == wanted && len == OPTION {
            found = Some(MacAddr(std::array::from_fn(|i| options[2 + i])));
        }
        options = &options[len..];
    }
    if options.is_empty() { Ok(found) } else { Err(DropReason::NdMalformed) }
}

#[cfg(test)]
#[path = "neighbor_discovery_tests.rs"]
mod tests;
