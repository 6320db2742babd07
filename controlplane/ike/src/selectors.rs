//! Narrowing traffic selectors (RFC 7296 section 2.9): what the peer asks for, cut to the tenant's own prefixes. Never wider than
//! either side, whatever is asked for.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use crate::effect::Selector;
use crate::message::{Ipv4Selector, TrafficSelector};

/// Pairs of one Child SA: what a worker compares a packet with.
pub const MAX_PAIRS: usize = 32;

/// What both sides agree on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Narrowed {
    /// On the peer's side, in the order in which it was asked for.
    pub office: Vec<TrafficSelector>,
    /// On our side.
    pub far: Vec<TrafficSelector>,
    /// Every office selector with every far one that has the same protocol: at most [`MAX_PAIRS`].
    pub pairs: Vec<Selector>,
    /// True where more was possible than fits: the rest takes another Child SA, or fewer and larger prefixes.
    pub left_out: bool,
}

/// All protocols and ports of `networks`, neighbours in one range; at most [`MAX_PAIRS`].
#[must_use]
pub fn of_networks(networks: &[Ipv4Network]) -> Vec<TrafficSelector> {
    let selector = |(start, end): (Ipv4Addr, Ipv4Addr)| TrafficSelector::Ipv4(Ipv4Selector::addresses(start, end));
    ranges(networks).into_iter().take(MAX_PAIRS).map(selector).collect()
}

/// What of `office` and `far`, which the peer asks for, lies within the tenant's prefixes `own_office` and `own_far`. `None`, which is
/// TS_UNACCEPTABLE, where nothing does.
#[must_use]
pub fn narrow(
    office: &[TrafficSelector],
    far: &[TrafficSelector],
    own_office: &[Ipv4Network],
    own_far: &[Ipv4Network],
) -> Option<Narrowed> {
    let (mut office, office_left) = cut(office, &ranges(own_office));
    let (mut far, far_left) = cut(far, &ranges(own_far));
    let mut left_out = office_left || far_left;
    // The first ones are those of the packet that made the peer ask.
    while office.len() * far.len() > MAX_PAIRS {
        if office.len() > far.len() {
            office.pop()
        } else {
            far.pop()
        };
        left_out = true;
    }
    let pairs: Vec<Selector> = office.iter().flat_map(|office| far.iter().filter_map(|far| pair(office, far))).collect();
    // What makes no pair is not agreed on.
    office.retain(|office| far.iter().any(|far| common_protocol(office, far).is_some()));
    far.retain(|far| office.iter().any(|office| common_protocol(office, far).is_some()));
    let wire = |selectors: Vec<Ipv4Selector>| selectors.into_iter().map(TrafficSelector::Ipv4).collect();
    (!pairs.is_empty()).then(|| Narrowed { office: wire(office), far: wire(far), pairs, left_out })
}

/// Selectors for people: `198.51.100.16/28`, `203.0.113.1 tcp 443`.
#[must_use]
pub fn words(office: &[TrafficSelector], far: &[TrafficSelector]) -> Vec<String> {
    office.iter().chain(far).map(in_words).collect()
}

/// Addresses from first to last, sorted, overlapping and adjacent ones merged.
fn ranges(networks: &[Ipv4Network]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let mut all: Vec<_> = networks.iter().map(|network| (network.network(), network.broadcast())).collect();
    all.sort_unstable();
    let mut merged: Vec<(Ipv4Addr, Ipv4Addr)> = Vec::with_capacity(all.len());
    for (start, end) in all {
        match merged.last_mut() {
            Some((_, last)) if u32::from(start) <= u32::from(*last).saturating_add(1) => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// The parts of `asked` within `own`, none within another; whether there were more than fit.
fn cut(asked: &[TrafficSelector], own: &[(Ipv4Addr, Ipv4Addr)]) -> (Vec<Ipv4Selector>, bool) {
    let mut parts: Vec<Ipv4Selector> = Vec::new();
    for selector in asked {
        // OPAQUE ports are those of fragments, which are put together before they are checked.
        let TrafficSelector::Ipv4(selector) = selector else { continue };
        for (first, last) in own.iter().filter(|_| !selector.is_opaque()) {
            let part = Ipv4Selector { start: selector.start.max(*first), end: selector.end.min(*last), ..*selector };
            if part.start > part.end || parts.iter().any(|other| contains(other, &part)) {
                continue;
            }
            parts.retain(|other| !contains(&part, other));
            if parts.len() == MAX_PAIRS {
                return (parts, true);
            }
            parts.push(part);
        }
    }
    (parts, false)
}

fn contains(outer: &Ipv4Selector, inner: &Ipv4Selector) -> bool {
    (outer.protocol == 0 || outer.protocol == inner.protocol)
        && outer.start <= inner.start
        && inner.end <= outer.end
        && outer.start_port <= inner.start_port
        && inner.end_port <= outer.end_port
}

/// A protocol of 0 is any.
const fn common_protocol(office: &Ipv4Selector, far: &Ipv4Selector) -> Option<u8> {
    match (office.protocol, far.protocol) {
        (0, protocol) | (protocol, 0) => Some(protocol),
        (office, far) if office == far => Some(office),
        _ => None,
    }
}

fn pair(office: &Ipv4Selector, far: &Ipv4Selector) -> Option<Selector> {
    Some(Selector {
        office: office.start..=office.end,
        far: far.start..=far.end,
        protocol: common_protocol(office, far)?,
        office_ports: office.start_port..=office.end_port,
        far_ports: far.start_port..=far.end_port,
    })
}

fn in_words(selector: &TrafficSelector) -> String {
    let TrafficSelector::Ipv4(selector) = selector else { return "a selector that is not IPv4".to_owned() };
    let (start, end) = (u32::from(selector.start), u32::from(selector.end));
    let size = u64::from(end - start) + 1;
    let addresses = if size == 1 {
        selector.start.to_string()
    } else if size.is_power_of_two() && u64::from(start).is_multiple_of(size) {
        format!("{}/{}", selector.start, 32 - size.trailing_zeros())
    } else {
        format!("{}-{}", selector.start, selector.end)
    };
    let protocol = match selector.protocol {
        0 => String::new(),
        1 => " icmp".to_owned(),
        6 => " tcp".to_owned(),
        17 => " udp".to_owned(),
        number => format!(" protocol {number}"),
    };
    let ports = match (selector.start_port, selector.end_port) {
        (0, u16::MAX) => String::new(),
        (u16::MAX, 0) => " opaque".to_owned(),
        (start, end) if start == end => format!(" {start}"),
        (start, end) => format!(" {start}-{end}"),
    };
    format!("{addresses}{protocol}{ports}")
}

#[cfg(test)]
#[path = "selectors/tests.rs"]
mod tests;
