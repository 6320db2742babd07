//! Traffic Selector payloads (RFC 7296 section 3.13).

use std::net::Ipv4Addr;

use super::error::ParseError;
use super::reader::Reader;

const TS_IPV4_ADDR_RANGE: u8 = 7;
/// Octets of an IPv4 selector.
const IPV4_OCTETS: u16 = 16;

/// One selector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrafficSelector {
    /// `TS_IPV4_ADDR_RANGE`.
    Ipv4(Ipv4Selector),
    /// Another type (IPv6, RFC 9478 labels): carries nothing here, so narrowing leaves it out. Its type.
    Other(u8),
}

/// A range of IPv4 addresses, a protocol and a range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ipv4Selector {
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// First port; for ICMP, type and code in one number.
    pub start_port: u16,
    /// Last port. `start_port` 65,535 with `end_port` 0 is OPAQUE: packets whose ports cannot be seen.
    pub end_port: u16,
    /// First address.
    pub start: Ipv4Addr,
    /// Last address, not below the first.
    pub end: Ipv4Addr,
}

impl Ipv4Selector {
    /// All protocols and ports of the addresses from `start` to `end`.
    #[must_use]
    pub const fn addresses(start: Ipv4Addr, end: Ipv4Addr) -> Self {
        Self { protocol: 0, start_port: 0, end_port: u16::MAX, start, end }
    }

    /// OPAQUE ports.
    #[must_use]
    pub const fn is_opaque(&self) -> bool {
        self.start_port == u16::MAX && self.end_port == 0
    }

    fn parse(body: &mut Reader<'_>, protocol: u8) -> Result<Self, ParseError> {
        let (start_port, end_port) = (body.u16()?, body.u16()?);
        let (start, end) = (Ipv4Addr::from(body.u32()?), Ipv4Addr::from(body.u32()?));
        let selector = Self { protocol, start_port, end_port, start, end };
        if start > end || (start_port > end_port && !selector.is_opaque()) {
            return Err(ParseError::Malformed("traffic selector: a range ends before it begins"));
        }
        Ok(selector)
    }
}

/// All selectors of a payload: at least one; their number is an octet.
pub(super) fn parse(body: &[u8]) -> Result<Vec<TrafficSelector>, ParseError> {
    let mut reader = Reader::new(body, "TS payload");
    let announced = reader.u8()?;
    reader.take(3)?;
    let mut selectors = Vec::with_capacity(usize::from(announced));
    for _ in 0..announced {
        let kind = reader.u8()?;
        let protocol = reader.u8()?;
        let length = reader.u16()?;
        let mut body = Reader::new(reader.take(usize::from(length).checked_sub(4).ok_or(reader.malformed())?)?, "traffic selector");
        if kind == TS_IPV4_ADDR_RANGE {
            selectors.push(TrafficSelector::Ipv4(Ipv4Selector::parse(&mut body, protocol)?));
            body.end()?;
        } else {
            selectors.push(TrafficSelector::Other(kind));
        }
    }
    reader.end()?;
    if selectors.is_empty() { Err(ParseError::Malformed("TS payload: no selector")) } else { Ok(selectors) }
}

/// The body of a TS payload; [`TrafficSelector::Other`] is not written back.
pub(super) fn write(selectors: &[TrafficSelector], out: &mut Vec<u8>) {
    let known =
        || selectors.iter().filter_map(|selector| if let TrafficSelector::Ipv4(selector) = selector { Some(selector) } else { None });
    let known = || known().take(usize::from(u8::MAX));
    out.extend_from_slice(&[u8::try_from(known().count()).unwrap_or(u8::MAX), 0, 0, 0]);
    for selector in known() {
        out.extend_from_slice(&[TS_IPV4_ADDR_RANGE, selector.protocol]);
        out.extend_from_slice(&IPV4_OCTETS.to_be_bytes());
        out.extend_from_slice(&selector.start_port.to_be_bytes());
        out.extend_from_slice(&selector.end_port.to_be_bytes());
        out.extend_from_slice(&selector.start.octets());
        out.extend_from_slice(&selector.end.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [u8; 20] = [1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 198, 51, 100, 16, 198, 51, 100, 31];

    #[test]
    fn an_office_prefix_is_read_and_written_octet_for_octet() {
        let selectors = parse(&GOLDEN).unwrap();
        let office = Ipv4Selector::addresses(Ipv4Addr::new(198, 51, 100, 16), Ipv4Addr::new(198, 51, 100, 31));
        assert_eq!(selectors, [TrafficSelector::Ipv4(office)]);
        let mut out = Vec::new();
        write(&selectors, &mut out);
        assert_eq!(out, GOLDEN);
    }

    #[test]
    fn ipv6_stands_beside_ipv4_without_harm() {
        let both = [&[2, 0, 0, 0, 8, 0, 0, 40][..], &[0; 36], &GOLDEN[4..]].concat();
        let selectors = parse(&both).unwrap();
        assert_eq!(selectors[0], TrafficSelector::Other(8));
        assert!(matches!(selectors[1], TrafficSelector::Ipv4(_)));
    }

    #[test]
    fn no_selector_a_wrong_count_and_every_cut_are_refused() {
        for length in 0..GOLDEN.len() {
            assert!(parse(&GOLDEN[..length]).is_err(), "{length}");
        }
        for (at, value) in [(0, 0), (0, 2), (7, 15), (7, 17), (7, 3), (7, 20)] {
            let mut wrong = GOLDEN;
            wrong[at] = value;
            assert!(parse(&wrong).is_err(), "octet {at} = {value}");
        }
        assert!(parse(&[0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused_but_opaque_ports_are_not() {
        let mut backwards = GOLDEN;
        backwards[19] = 15;
        assert!(parse(&backwards).is_err());
        let mut ports = GOLDEN;
        ports[8..12].copy_from_slice(&[0, 2, 0, 1]);
        assert!(parse(&ports).is_err());
        ports[8..12].copy_from_slice(&[255, 255, 0, 0]);
        assert!(matches!(parse(&ports).unwrap()[0], TrafficSelector::Ipv4(selector) if selector.is_opaque()));
    }
}
