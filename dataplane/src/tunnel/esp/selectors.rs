//! What an SA pair may carry (RFC 4301 section 4.4.1): the negotiated selectors, as integers to compare.

use std::ops::RangeInclusive;

use super::packet::Traffic;
use super::sa::Selector;

/// One selector, seen from the relay.
#[derive(Clone, Copy, Debug)]
struct Compact {
    office: (u32, u32),
    far: (u32, u32),
    office_ports: (u16, u16),
    far_ports: (u16, u16),
    /// 0 = any.
    protocol: u8,
}

/// The selectors of an SA pair, the first of them in the same lines of cache.
#[derive(Clone, Debug)]
pub(super) struct Selectors {
    first: Compact,
    others: Box<[Compact]>,
}

fn ends<T: Copy, N: From<T>>(range: &RangeInclusive<T>) -> (N, N) {
    (N::from(*range.start()), N::from(*range.end()))
}

fn holds<N: PartialOrd + Copy>(range: (N, N), value: N) -> bool {
    range.0 <= value && value <= range.1
}

impl From<&Selector> for Compact {
    fn from(selector: &Selector) -> Self {
        Self {
            office: ends(&selector.office),
            far: ends(&selector.far),
            office_ports: ends(&selector.office_ports),
            far_ports: ends(&selector.far_ports),
            protocol: selector.protocol,
        }
    }
}

impl Compact {
    fn allows(&self, office: u32, far: u32, protocol: u8, ports: Option<(u16, u16)>) -> bool {
        let any_port = (0, u16::MAX);
        holds(self.office, office)
            && holds(self.far, far)
            && (self.protocol == 0 || self.protocol == protocol)
            && match ports {
                Some((office, far)) => holds(self.office_ports, office) && holds(self.far_ports, far),
                // Without ports only a selector for all of them can match.
                None => self.office_ports == any_port && self.far_ports == any_port,
            }
    }
}

impl Selectors {
    /// `None` where there is no selector.
    pub(super) fn new(selectors: &[Selector]) -> Option<Self> {
        let (first, others) = selectors.split_first()?;
        Some(Self { first: first.into(), others: others.iter().map(Compact::from).collect() })
    }

    /// Whether a packet from the office may come out of the SA.
    pub(super) fn allow_from_office(&self, packet: &Traffic) -> bool {
        self.allow(packet.source, packet.destination, packet.protocol, packet.ports)
    }

    /// Whether a packet for the office may go into the SA.
    pub(super) fn allow_to_office(&self, packet: &Traffic) -> bool {
        self.allow(packet.destination, packet.source, packet.protocol, packet.ports.map(|(far, office)| (office, far)))
    }

    fn allow(&self, office: u32, far: u32, protocol: u8, ports: Option<(u16, u16)>) -> bool {
        std::iter::once(&self.first).chain(&self.others).any(|selector| selector.allows(office, far, protocol, ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn selector(protocol: u8, far_ports: RangeInclusive<u16>) -> Selector {
        Selector {
            office: Ipv4Addr::new(198, 51, 100, 16)..=Ipv4Addr::new(198, 51, 100, 31),
            far: Ipv4Addr::new(203, 0, 113, 0)..=Ipv4Addr::new(203, 0, 113, 63),
            protocol,
            office_ports: 0..=u16::MAX,
            far_ports,
        }
    }

    fn from_office(office: u8, far: u8, protocol: u8, ports: Option<(u16, u16)>) -> Traffic {
        let source = Ipv4Addr::new(198, 51, 100, office).into();
        Traffic { source, destination: Ipv4Addr::new(203, 0, 113, far).into(), protocol, ports }
    }

    fn turned(packet: Traffic) -> Traffic {
        let ports = packet.ports.map(|(source, destination)| (destination, source));
        Traffic { source: packet.destination, destination: packet.source, ports, ..packet }
    }

    #[test]
    fn addresses_match_up_to_the_ends_of_their_ranges_and_in_their_own_direction_only() {
        let selectors = Selectors::new(&[selector(0, 0..=u16::MAX)]).expect("one");
        for (office, far, expected) in [(16, 0, true), (31, 63, true), (15, 0, false), (32, 0, false), (16, 64, false)] {
            let packet = from_office(office, far, 17, Some((1, 2)));
            assert_eq!(selectors.allow_from_office(&packet), expected, "{office} {far}");
            assert_eq!(selectors.allow_to_office(&turned(packet)), expected, "{office} {far}");
            assert!(!selectors.allow_to_office(&packet) && !selectors.allow_from_office(&turned(packet)));
        }
    }

    #[test]
    fn protocol_and_ports_match_and_what_has_no_ports_only_matches_all_of_them() {
        let https = Selectors::new(&[selector(6, 443..=444)]).expect("one");
        for (protocol, ports, expected) in [
            (6, Some((9, 443)), true),
            (6, Some((9, 444)), true),
            (6, Some((443, 9)), false),
            (17, Some((9, 443)), false),
            (6, None, false),
        ] {
            let packet = from_office(16, 0, protocol, ports);
            assert_eq!(https.allow_from_office(&packet), expected, "{protocol} {ports:?}");
            assert_eq!(https.allow_to_office(&turned(packet)), expected, "{protocol} {ports:?}");
        }
        let any_port = Selectors::new(&[selector(0, 0..=u16::MAX)]).expect("one");
        assert!(any_port.allow_from_office(&from_office(16, 0, 1, None)), "ICMP");
    }

    #[test]
    fn any_one_of_several_selectors_suffices_and_none_at_all_is_no_set() {
        let ping = Selector { protocol: 1, ..selector(0, 0..=u16::MAX) };
        let both = Selectors::new(&[selector(6, 443..=443), ping]).expect("two");
        assert!(both.allow_from_office(&from_office(16, 0, 6, Some((9, 443)))));
        assert!(both.allow_from_office(&from_office(16, 0, 1, None)));
        assert!(!both.allow_from_office(&from_office(16, 0, 17, Some((9, 443)))));
        assert!(Selectors::new(&[]).is_none());
    }
}
