//! A packet in words: everything of it that must be the same behind either NAT, every checksum judged, and nothing that is chance.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::witness::Names;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// The pool of the office's hosts as the cloud sees them.
const POOL: [Ipv4Addr; 4] = [Ipv4Addr::new(10, 254, 1, 8), Ipv4Addr::new(10, 254, 1, 9), Ipv4Addr::new(10, 254, 1, 10), NOBODY];
/// What the office sees of the print server.
const CALLER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
/// An address of the pool.
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 11);

/// Whether ports of this address are given out.
pub(crate) fn is_pool(address: Ipv4Addr) -> bool {
    POOL.contains(&address) || address == CALLER
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(number(bytes, at))
}

/// The Internet checksum (RFC 1071) over these parts, each of an even length but the last: zero where a right one is among them.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))));
    let sum = words.fold(0_u32, |sum, word| ((sum + word) & 0xffff) + ((sum + word) >> 16));
    !u16::try_from(sum).expect("folded")
}

/// The checksum of a transport protocol, with the addresses of the IPv4 packet around it.
pub(crate) fn transport_checksum(addresses: &[u8], protocol: u8, transport: &[u8]) -> u16 {
    let [high, low] = u16::try_from(transport.len()).expect("a packet").to_be_bytes();
    checksum(&[addresses, &[0, protocol, high, low], transport])
}

/// Protocol, source and destination of a packet that has ports: TCP, UDP, and an echo, whose identifier is both.
pub(crate) fn endpoints(packet: &[u8]) -> Option<(u8, SocketAddrV4, SocketAddrV4)> {
    let header = usize::from(packet.first()? & 15) * 4;
    let transport = packet.get(header..).filter(|transport| header >= 20 && transport.len() >= 8)?;
    if word(packet, 6) & 0x1fff != 0 {
        return None;
    }
    let ports = match packet[9] {
        TCP | UDP => (word(transport, 0), word(transport, 2)),
        ICMP if matches!(transport[0], 0 | 8) => (word(transport, 4), word(transport, 4)),
        _ => return None,
    };
    Some((packet[9], SocketAddrV4::new(address(packet, 12), ports.0), SocketAddrV4::new(address(packet, 16), ports.1)))
}

/// A packet in words. `numbers` are the identifications that the packets of its step were sent with; none where they do not matter, as
/// with fragments, where both NATs may choose.
pub(crate) fn packet(packet: &[u8], names: &Names, numbers: &[[u8; 2]]) -> String {
    let header_len = usize::from(packet[0] & 15) * 4;
    let mut words = headers(packet, names);
    let _ = write!(words, ", ttl {}", packet[8]);
    if checksum(&[&packet[..header_len]]) != 0 {
        words += ", WRONG header checksum";
    }
    if usize::from(word(packet, 2)) != packet.len() {
        let _ = write!(words, ", {} bytes that say {}", packet.len(), word(packet, 2));
    }
    if packet[1] != 0 {
        let _ = write!(words, ", tos {:02x}", packet[1]);
    }
    let placed = word(packet, 6);
    if placed & 0x8000 != 0 {
        words += ", reserved bit";
    }
    if placed & 0x3fff != 0 {
        let _ = write!(words, ", from byte {}", (placed & 0x1fff) * 8);
    } else if placed & 0x4000 == 0 && !is_error(packet) && !numbers.is_empty() {
        words += if numbers.contains(&[packet[4], packet[5]]) { ", number kept" } else { ", numbered anew" };
    }
    if header_len > 20 {
        let _ = write!(words, ", options {:02x?}", &packet[20..header_len]);
    }
    words + &transport(packet, header_len, names)
}

fn is_error(packet: &[u8]) -> bool {
    packet[9] == ICMP && matches!(packet.get(20), Some(3 | 4 | 5 | 11 | 12))
}

/// Protocol and ends.
fn headers(packet: &[u8], names: &Names) -> String {
    match endpoints(packet) {
        Some((protocol, source, destination)) => {
            let name = match protocol {
                TCP => "tcp",
                UDP => "udp",
                _ => "echo",
            };
            // An echo has one identifier, which is named where it belongs.
            match (names.known(protocol, source), names.known(protocol, destination)) {
                (true, false) if protocol == ICMP => format!("{name} {} > {}", names.show(protocol, source), destination.ip()),
                (false, true) if protocol == ICMP => format!("{name} {} > {}", source.ip(), names.show(protocol, destination)),
                _ => format!("{name} {} > {}", names.show(protocol, source), names.show(protocol, destination)),
            }
        }
        None => format!("protocol {} {} > {}", packet[9], host(packet, 12), host(packet, 16)),
    }
}

/// An address without a port.
fn host(packet: &[u8], at: usize) -> String {
    let address = address(packet, at);
    if POOL.contains(&address) { "pool".to_owned() } else { address.to_string() }
}

fn transport(packet: &[u8], header_len: usize, names: &Names) -> String {
    let body = &packet[header_len..];
    let sum = |protocol| if transport_checksum(&packet[12..20], protocol, body) == 0 { "" } else { ", WRONG checksum" };
    if word(packet, 6) & 0x3fff != 0 {
        return format!(", {} bytes", body.len());
    }
    match packet[9] {
        UDP | TCP | ICMP if body.len() < 8 || packet[9] == TCP && body.len() < 20 => data(body),
        UDP if word(body, 6) == 0 => format!(", without checksum{}", data(&body[8..])),
        UDP => format!("{}{}", sum(UDP), data(&body[8..])),
        TCP => tcp(body, sum(TCP)),
        ICMP => icmp(packet, body, names),
        _ => data(body),
    }
}

fn tcp(body: &[u8], sum: &str) -> String {
    let header = usize::from(body[12] >> 4) * 4;
    let bits = (0..8).filter(|bit| body[13] & 1 << bit != 0).map(|bit| char::from(b"FSRPAUEC"[bit]));
    let flags: String = bits.collect();
    let mut words = format!(", {flags} {} {} window {}", number(body, 4), number(body, 8), word(body, 14));
    if word(body, 18) != 0 {
        let _ = write!(words, " urgent {}", word(body, 18));
    }
    if header > 20 {
        let _ = write!(words, " options {}", hex(&body[20..header.min(body.len())]));
    }
    words + sum + &data(&body[header.min(body.len())..])
}

fn icmp(packet: &[u8], body: &[u8], names: &Names) -> String {
    let mut words = format!(", icmp {} {}", body[0], body[1]);
    if checksum(&[body]) != 0 {
        words += ", WRONG checksum";
    }
    if !is_error(packet) {
        let _ = write!(words, " sequence {}", word(body, 6));
        return words + &data(&body[8..]);
    }
    let quote = &body[8..];
    let _ = write!(words, " rest {} about {} bytes: {}", hex(&body[4..8]), quote.len(), quoted(quote, names));
    if quote.len() >= 20 && quote[12..16] != packet[16..20] {
        words += ", MISDIRECTED";
    }
    words
}

/// What an error quotes. Its transport checksum is judged where all of it is there, and not cut off.
fn quoted(quote: &[u8], names: &Names) -> String {
    if quote.len() < 28 {
        return "too little".to_owned();
    }
    let header = usize::from(quote[0] & 15) * 4;
    let mut words = format!("{} ttl {}", headers(quote, names), quote[8]);
    if checksum(&[&quote[..header]]) != 0 {
        words += " WRONG header checksum";
    }
    let len = usize::from(word(quote, 2));
    let is_whole = quote.len() >= len && word(quote, 6) & 0x3fff == 0 && len >= header + 8;
    let right = match quote[9] {
        protocol @ (TCP | UDP) if is_whole => transport_checksum(&quote[12..20], protocol, &quote[header..len]) == 0,
        ICMP if is_whole => checksum(&[&quote[header..len]]) == 0,
        _ => return words + &data(&quote[header + 8..]),
    };
    words += if right { " sound" } else { " WRONG checksum" };
    words + &data(&quote[header + 8..])
}

/// How many bytes, and which.
fn data(bytes: &[u8]) -> String {
    let mark = bytes.iter().fold(0x811c_9dc5_u32, |mark, byte| (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    if bytes.is_empty() { String::new() } else { format!(", {} bytes {:04x}", bytes.len(), mark & 0xffff) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
