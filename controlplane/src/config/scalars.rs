//! Single values: text -> types. Each function adds a problem and answers `None` when it cannot.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnetwork::Ipv4Network;
use time::{Date, Month};

use super::fields::{expected, help_for_unknown};
use super::ipv6;
use super::model::{Allow, Class, Driver, Filtering, PortMapping, Redundancy};
use super::problem::{Problems, quoted};
use super::tree::{Node, Value};

const LONGEST_NAME_CHARS: usize = 100;
const LONGEST_IDENTIFIER_CHARS: usize = 63;
/// What a name for programs is made of.
pub const IDENTIFIER_HELP: &str = "letters and digits of any script, `-`, `_` and `.`; at most 63, a letter or digit first";

pub(super) fn text<'n>(what: &str, node: &'n Node, problems: &mut Problems) -> Option<&'n str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => {
            let number = matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Bool(_));
            let before = problems.count();
            expected(what, node, problems);
            if number && problems.count() > before {
                problems.help_last("put it in quotes if it is meant as text");
            }
            None
        }
    }
}

/// A name for people: any script, one line.
pub(super) fn name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = text("a name", node, problems)?;
    if text.trim() != text || text.is_empty() {
        problems.error(&node.at, "is empty or begins or ends with a space").help("write the name without it");
        return None;
    }
    let length = text.chars().count();
    if length > LONGEST_NAME_CHARS {
        problems.error(&node.at, format!("has {length} characters; at most {LONGEST_NAME_CHARS} are allowed"));
        return None;
    }
    Some(text.to_owned())
}

/// Whether `name` can stand in a metric label, a command and a file name without quotes.
pub fn is_identifier(name: &str) -> bool {
    let starts_well = name.starts_with(char::is_alphanumeric);
    let length = name.chars().count();
    starts_well && length <= LONGEST_IDENTIFIER_CHARS && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

/// A name for programs.
pub(super) fn identifier(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = text("a name", node, problems)?;
    if !is_identifier(text) {
        problems.error(&node.at, format!("{} is not a name for commands and metrics", quoted(text))).help(IDENTIFIER_HELP);
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn path(node: &Node, problems: &mut Problems) -> Option<PathBuf> {
    let text = text("a path", node, problems)?;
    if text.is_empty() {
        problems.error(&node.at, "the path is empty").help("name a file");
        return None;
    }
    Some(PathBuf::from(text))
}

/// An integer in a range; `what` names it with its unit.
pub(super) fn integer<T: TryFrom<i64>>(what: &'static str, range: RangeInclusive<i64>) -> impl FnMut(&Node, &mut Problems) -> Option<T> {
    move |node, problems| {
        let Value::Integer(number) = node.value else {
            expected(&format!("{what}, a number from {} to {}", range.start(), range.end()), node, problems);
            return None;
        };
        let fits = range.contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            problems.error(&node.at, format!("{number} is out of range: {what} is {} to {}", range.start(), range.end()));
        }
        fits
    }
}

/// 1 to 65535.
pub(super) fn port_number(node: &Node, problems: &mut Problems) -> Option<NonZeroU16> {
    let number: u16 = integer("the UDP port", 1..=65_535)(node, problems)?;
    NonZeroU16::new(number)
}

pub(super) fn class(node: &Node, problems: &mut Problems) -> Option<Class> {
    let text = text("a class", node, problems)?;
    class_named(text).or_else(|| {
        let help = help_for_unknown(text, Class::ALL.iter().map(|class| class.as_str()), "classes");
        problems.error(&node.at, format!("unknown class {}", quoted(text))).help(help);
        None
    })
}

pub(super) fn class_named(text: &str) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class.as_str() == text)
}

pub(super) fn truth(node: &Node, problems: &mut Problems) -> Option<bool> {
    let Value::Bool(value) = node.value else {
        expected("true or false", node, problems);
        return None;
    };
    Some(value)
}

pub(super) fn filtering(node: &Node, problems: &mut Problems) -> Option<Filtering> {
    let text = text("a filtering", node, problems)?;
    Filtering::ALL.into_iter().find(|filtering| filtering.as_str() == text).or_else(|| {
        let help = help_for_unknown(text, Filtering::ALL.iter().map(|filtering| filtering.as_str()), "filterings");
        problems.error(&node.at, format!("unknown filtering {}", quoted(text))).help(help);
        None
    })
}

pub(super) fn redundancy(node: &Node, problems: &mut Problems) -> Option<Redundancy> {
    let text = text("`prefer` or `both`", node, problems)?;
    Redundancy::ALL.into_iter().find(|redundancy| redundancy.as_str() == text).or_else(|| {
        problems.error(&node.at, format!("unknown redundancy {}", quoted(text))).help(
            "`prefer`: the first tunnel that is up carries everything to the office; `both`: each carries the answers to what came by it \
             (which tunnel is the first: `prefer: NAME`)",
        );
        None
    })
}

pub(super) fn driver(node: &Node, problems: &mut Problems) -> Option<Driver> {
    match text("a driver", node, problems)? {
        "auto" => Some(Driver::Auto),
        "af_xdp" => Some(Driver::AfXdp),
        "af_packet" => Some(Driver::AfPacket),
        other => {
            let help = help_for_unknown(other, ["auto", "af_xdp", "af_packet"].into_iter(), "drivers");
            problems.error(&node.at, format!("unknown driver {}", quoted(other))).help(help);
            None
        }
    }
}

pub(super) fn ipv4(node: &Node, problems: &mut Problems) -> Option<Ipv4Addr> {
    const WHAT: &str = "an IPv4 address such as 192.0.2.1";
    let text = text(WHAT, node, problems)?;
    let address: Option<Ipv4Addr> = text.parse().ok();
    match address {
        Some(address) => routable(Ipv4Network::from(address), node, problems).map(|network| network.ip()),
        None => {
            expected(WHAT, node, problems);
            None
        }
    }
}

/// A prefix without host bits, or a single address.
pub(super) fn prefix(node: &Node, problems: &mut Problems) -> Option<Ipv4Network> {
    const WHAT: &str = "an IPv4 prefix such as 192.0.2.0/24 or an address";
    let text = text(WHAT, node, problems)?;
    let Some(network) = parse_network(text) else {
        expected(WHAT, node, problems);
        return None;
    };
    if network.ip() != network.network() {
        problems.error(&node.at, format!("{text} has bits set behind its prefix length")).help(format!(
            "write {}/{} for the network or {}/32 for the address",
            network.network(),
            network.prefix(),
            network.ip()
        ));
        return None;
    }
    routable(network, node, problems)
}

/// An address of the relay with the prefix length of its subnet.
pub(super) fn interface_address(node: &Node, problems: &mut Problems) -> Option<Ipv4Network> {
    const WHAT: &str = "an IPv4 address with its subnet's prefix length such as 192.0.2.1/24";
    let text = text(WHAT, node, problems)?;
    let Some(network) = parse_network(text).filter(|_| text.contains('/')) else {
        expected(WHAT, node, problems);
        return None;
    };
    routable(Ipv4Network::from(network.ip()), node, problems)?;
    Some(network)
}

pub(super) fn parse_network(text: &str) -> Option<Ipv4Network> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length.len() == 1 || !length.starts_with('0'));
    let length = length.parse().ok().filter(|_| plain)?;
    Ipv4Network::new(address.parse().ok()?, length).ok()
}

/// What no host may use as its address on a wire: RFC 6890 and RFC 1112.
const NEVER_ROUTED: [(Ipv4Addr, u8, &str); 5] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "\"this network\" (RFC 1122)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback (RFC 1122)"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local (RFC 3927)"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved (RFC 1112)"),
];

pub(super) fn routable(network: Ipv4Network, node: &Node, problems: &mut Problems) -> Option<Ipv4Network> {
    for (address, length, name) in NEVER_ROUTED {
        let martian = Ipv4Network::new(address, length).ok()?;
        if martian.overlaps(network) {
            problems
                .error(&node.at, format!("{} is or holds {name} addresses, which are never forwarded", short(network)))
                .help("name addresses that hosts have");
            return None;
        }
    }
    Some(network)
}

/// A network as people write it: `/32` left out.
pub(super) fn short(network: Ipv4Network) -> String {
    if network.prefix() == 32 { network.ip().to_string() } else { network.to_string() }
}

pub(super) fn socket_address(node: &Node, problems: &mut Problems) -> Option<SocketAddr> {
    const WHAT: &str = "an address with a port such as \"127.0.0.1:9273\"";
    let text = text(WHAT, node, problems)?;
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    if address.is_none() {
        expected(WHAT, node, problems);
    }
    address
}

/// Of either family.
pub(super) fn peer_address(node: &Node, problems: &mut Problems) -> Option<SocketAddr> {
    const WHAT: &str = "an address with a port such as \"198.51.100.7:51820\" or \"[2001:db8::7]:51820\"";
    let text = text(WHAT, node, problems)?;
    let Some(address) = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0) else {
        expected(WHAT, node, problems);
        return None;
    };
    match address {
        SocketAddr::V4(address) => routable(Ipv4Network::from(*address.ip()), node, problems).map(|_| ())?,
        SocketAddr::V6(address) => ipv6::peer(*address.ip(), node, problems).map(|_| ())?,
    }
    Some(address)
}

/// A WireGuard public key; its top bit, which X25519 ignores (RFC 7748 section 5), is cleared.
pub(super) fn public_key(node: &Node, problems: &mut Problems) -> Option<[u8; 32]> {
    let text = text("a WireGuard public key", node, problems)?;
    let Some(mut key) = decode_key(text) else {
        problems
            .error(
                &node.at,
                format!("is not a WireGuard public key: {} characters, expected 44 of base64 that end in `=`", text.chars().count()),
            )
            .help("copy what `wg show INTERFACE public-key` prints on the municipality's router");
        return None;
    };
    key[31] &= 0x7f;
    let probe = x25519_dalek::StaticSecret::from([0x55; 32]);
    if !probe.diffie_hellman(&x25519_dalek::PublicKey::from(key)).was_contributory() {
        problems
            .error(&node.at, "is a point of low order: a tunnel with it would have no secret")
            .help("generate a new key pair on the municipality's router");
        return None;
    }
    Some(key)
}

fn decode_key(text: &str) -> Option<[u8; 32]> {
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// `YYYY-MM-DD`.
pub(super) fn date(node: &Node, problems: &mut Problems) -> Option<Date> {
    const WHAT: &str = "a date such as 2026-12-01 (in Japan, inclusive)";
    let text = text(WHAT, node, problems)?;
    let parsed = parse_date(text);
    if parsed.is_none() {
        expected(WHAT, node, problems);
    }
    parsed
}

fn parse_date(text: &str) -> Option<Date> {
    let digits = |part: &str, length: usize| -> Option<u16> {
        let all = part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| all)
    };
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let month = Month::try_from(u8::try_from(digits(month, 2)?).ok()?).ok()?;
    Date::from_calendar_date(i32::from(digits(year, 4)?), month, u8::try_from(digits(day, 2)?).ok()?).ok()
}

/// `tcp/443`, `udp/53`, `tcp/8000-8010`, `tcp/10443:443` or `icmp`.
pub(super) fn allow(node: &Node, problems: &mut Problems) -> Option<Allow> {
    const WHAT: &str = "tcp/443, udp/53, tcp/8000-8010, tcp/10443:443 (outside:inside) or icmp";
    let text = text(WHAT, node, problems)?;
    let parsed = parse_allow(text);
    if parsed.is_none() {
        expected(WHAT, node, problems);
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            problems.help_last("name the protocol too: tcp/ or udp/");
        }
    }
    parsed
}

fn parse_allow(text: &str) -> Option<Allow> {
    if text == "icmp" {
        return Some(Allow::IcmpEcho);
    }
    let (protocol, ports) = text.split_once('/')?;
    let mapping = match ports.split_once(':') {
        Some((outside, inside)) => PortMapping { outside: single(outside)?, inside: single(inside)? },
        None => {
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let range = parse_port(first)?..=parse_port(last)?;
            (!range.is_empty()).then_some(PortMapping { outside: range.clone(), inside: range })?
        }
    };
    match protocol {
        "tcp" => Some(Allow::Tcp(mapping)),
        "udp" => Some(Allow::Udp(mapping)),
        _ => None,
    }
}

fn single(text: &str) -> Option<RangeInclusive<u16>> {
    parse_port(text).map(|port| port..=port)
}

fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}
