//! What the files say of IPv6: what becomes of hosts' packets, and the relay's own addresses.

use std::net::Ipv6Addr;

use ipnetwork::Ipv6Network;

use super::fields::{Field, expected};
use super::model::Ipv6Inside;
use super::problem::Problems;
use super::scalars::text;
use super::tree::{Node, Value};

/// The last prefix length whose subnets have a subnet-router anycast address (RFC 4291 section 2.6.1, RFC 6164).
const LONGEST_WITH_ANYCAST: u8 = 126;

pub(super) fn inside(node: &Node, problems: &mut Problems) -> Option<Ipv6Inside> {
    match &node.value {
        Value::Text(text) if text == "refuse" => Some(Ipv6Inside::Refuse),
        _ => {
            let before = problems.count();
            expected("refuse, which is what happens without this key too", node, problems);
            if problems.count() > before {
                problems.help_last("write `ipv6: refuse` or leave the key out: IPv6 of hosts is not translated yet");
            }
            None
        }
    }
}

/// An address of the relay with the prefix length of its subnet.
pub(super) fn interface_address(node: &Node, problems: &mut Problems) -> Option<Ipv6Network> {
    const WHAT: &str = "an IPv6 address with its subnet's prefix length such as 2001:db8::1/64";
    let text = text(WHAT, node, problems)?;
    let Some(network) = parse_network(text) else {
        expected(WHAT, node, problems);
        return None;
    };
    peer(network.ip(), node, problems)?;
    if network.prefix() <= LONGEST_WITH_ANYCAST && network.ip() == network.network() {
        problems
            .error(&node.at, format!("{network} is the anycast address of all routers of its own subnet"))
            .help("name an address with bits behind its prefix length");
        return None;
    }
    Some(network)
}

/// An address that can be reached from other networks.
pub(super) fn peer(address: Ipv6Addr, node: &Node, problems: &mut Problems) -> Option<Ipv6Addr> {
    if address.is_unicast_link_local() {
        problems
            .error(&node.at, format!("{address} is link-local: tunnels and other networks cannot reach it"))
            .help("name a global or unique local address (RFC 4291, RFC 4193)");
        return None;
    }
    one_hosts(address, node, problems)
}

/// A next hop, which is often known by its link-local address.
pub(super) fn gateway(node: &Node, problems: &mut Problems) -> Option<Ipv6Addr> {
    const WHAT: &str = "an IPv6 address such as fe80::1";
    let text = text(WHAT, node, problems)?;
    let Ok(address) = text.parse() else {
        expected(WHAT, node, problems);
        return None;
    };
    one_hosts(address, node, problems)
}

fn parse_network(text: &str) -> Option<Ipv6Network> {
    let (address, length) = text.split_once('/')?;
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
    let length = length.parse().ok().filter(|length| plain && *length > 0)?;
    Ipv6Network::new(address.parse().ok()?, length).ok()
}

/// What no host may use as its address on a wire (RFC 4291 sections 2.5 to 2.7).
fn one_hosts(address: Ipv6Addr, node: &Node, problems: &mut Problems) -> Option<Ipv6Addr> {
    let kind = match address.segments() {
        [0, 0, 0, 0, 0, 0, ..] => "unspecified, loopback or an IPv4-compatible address",
        [0, 0, 0, 0, 0, 0xffff, ..] => "an IPv4 address in the form of IPv6",
        _ if address.is_multicast() => "multicast",
        _ => return Some(address),
    };
    problems.error(&node.at, format!("{address} is {kind}, which no host has on a wire")).help("name an address that a host has");
    None
}

/// An address of the relay's own and the gateway beside it.
pub(super) fn check_subnet(address: &Field<Ipv6Network>, gateway: &Field<Ipv6Addr>, problems: &mut Problems) {
    let (Some(address), Some(gateway)) = (address.given(), gateway.given()) else { return };
    let subnet = address.value;
    let reason = if gateway.value == subnet.ip() {
        "is the relay's own address".to_owned()
    } else if !subnet.contains(gateway.value) && !gateway.value.is_unicast_link_local() {
        format!("is outside the subnet {}/{} of the relay's address", subnet.network(), subnet.prefix())
    } else {
        return;
    };
    let help = "name the next hop on the same subnet, or its link-local address";
    problems.error(&gateway.at, format!("the gateway {} {reason}", gateway.value)).help(help);
}
