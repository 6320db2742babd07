//! Narrowing: whatever is asked for, what comes out lies within the tenant's prefixes and within what was asked for.

use std::net::Ipv4Addr;

use ike::message::{Ipv4Selector, Payloads, TrafficSelector, payload_type};
use ike::selectors::{MAX_PAIRS, narrow, of_networks, words};
use ipnetwork::Ipv4Network;

use crate::Input;

/// Prefixes of both sides, then two TS payloads, as IKE_AUTH has them.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let office = networks(&mut input);
    let far = networks(&mut input);
    let Ok(payloads) = Payloads::parse(payload_type::TSI, input.rest()) else { return };
    let (Some(tsi), Some(tsr)) = (payloads.selectors_initiator(), payloads.selectors_responder()) else { return };
    assert_eq!(words(tsi, tsr).len(), tsi.len() + tsr.len());
    let Some(narrowed) = narrow(tsi, tsr, &office, &far) else { return };
    assert!((1..=MAX_PAIRS).contains(&narrowed.pairs.len()));
    all_within(&narrowed.office, tsi, &office);
    all_within(&narrowed.far, tsr, &far);
    for pair in &narrowed.pairs {
        assert!(owned(*pair.office.start(), *pair.office.end(), &office) && owned(*pair.far.start(), *pair.far.end(), &far));
        assert!(pair.office_ports.start() <= pair.office_ports.end() && pair.far_ports.start() <= pair.far_ports.end());
    }
}

fn networks(input: &mut Input<'_>) -> Vec<Ipv4Network> {
    let count = input.u8() % 24;
    (0..count).filter_map(|_| Ipv4Network::new(Ipv4Addr::from(input.u32()), input.u8() % 33).ok()).collect()
}

fn all_within(parts: &[TrafficSelector], asked: &[TrafficSelector], own: &[Ipv4Network]) {
    for part in parts {
        let TrafficSelector::Ipv4(part) = part else { panic!("only IPv4 is answered") };
        assert!(owned(part.start, part.end, own), "wider than the tenant");
        assert!(asked.iter().any(|asked| matches!(asked, TrafficSelector::Ipv4(asked) if contains(asked, part))), "wider than asked for");
    }
}

fn contains(outer: &Ipv4Selector, inner: &Ipv4Selector) -> bool {
    outer.protocol == inner.protocol
        && outer.start <= inner.start
        && inner.end <= outer.end
        && outer.start_port <= inner.start_port
        && inner.end_port <= outer.end_port
}

/// Every address from `start` to `end` lies in one of `own`: stepped through from network to network.
fn owned(start: Ipv4Addr, end: Ipv4Addr, own: &[Ipv4Network]) -> bool {
    assert!(!of_networks(own).is_empty());
    let mut at = u32::from(start);
    loop {
        let Some(last) = own.iter().filter(|net| net.contains(Ipv4Addr::from(at))).map(|net| u32::from(net.broadcast())).max() else {
            return false;
        };
        if last >= u32::from(end) {
            return true;
        }
        at = last + 1;
    }
}
