//! Packets of hosts: anything may be wrong with them, but each says truly whose payload it carries.

use std::net::Ipv4Addr;

use dataplane::router_config::TrafficClass;
use dataplane::simulation::Owner;
use dataplane::simulation::canary::owners;

use crate::Input;
use crate::plain::{HEADER, mended};

/// Behind the longest header that is fuzzed: TCP with all options.
const LONGEST_HEADER: usize = HEADER + 60;
const LONGEST_PAYLOAD: usize = 1_300;

/// A packet of an office host.
pub(super) fn from_office(tenant: &str, input: &mut Input<'_>) -> Vec<u8> {
    let sources = [[198, 51, 100, 17], [198, 51, 100, 18], [198, 51, 100, 25], [198, 51, 100, 26]];
    let destinations = [[203, 0, 113, 10], [10, 10, 4, 7], [203, 0, 113, 20], [10, 10, 0, 10]];
    packet(tenant, input, sources, destinations, 443, |packet| match packet[12..16] {
        [198, 51, 100, 24..=31] => TrafficClass::LgwanConnected,
        _ => TrafficClass::MyNumber,
    })
}

/// A packet of a cloud host. Whose class it belongs to is decided by whom it is for.
pub(super) fn from_cloud(tenant: &str, input: &mut Input<'_>) -> Vec<u8> {
    let sources = [[10, 10, 0, 10], [10, 10, 0, 20], [10, 10, 4, 7], [10, 254, 1, 1]];
    let destinations = [[10, 254, 1, 30], [10, 254, 1, 9], [10, 254, 1, 20], [10, 254, 1, 2]];
    packet(tenant, input, sources, destinations, 9_100, |packet| match packet[16..20] {
        [10, 254, 1, 20 | 21] => TrafficClass::LgwanConnected,
        _ => TrafficClass::MyNumber,
    })
}

fn packet(
    tenant: &str,
    input: &mut Input<'_>,
    sources: [[u8; 4]; 4],
    destinations: [[u8; 4]; 4],
    port: u16,
    class: fn(&[u8]) -> TrafficClass,
) -> Vec<u8> {
    let (how, ends, len) = (input.u8(), input.u8(), usize::from(input.u16()) % LONGEST_PAYLOAD);
    let mut bytes = input.short().to_vec();
    bytes.truncate(LONGEST_HEADER);
    let header = [HEADER + 8, HEADER + 20, HEADER + 8, HEADER + 8][usize::from(how & 3)].max(bytes.len());
    bytes.resize(header, 0);
    if how & 4 == 0 {
        // As a host makes it, in all that is not fuzzed behind the protocol.
        bytes[9] = [17, 6, 1, 17][usize::from(how & 3)];
        bytes[8] = 64;
        bytes[6..8].copy_from_slice(&if how & 8 == 0 { [0x40, 0] } else { [0, 0] });
    }
    if how & 0x10 == 0 {
        bytes[12..16].copy_from_slice(&sources[usize::from(ends & 3)]);
        bytes[16..20].copy_from_slice(&destinations[usize::from((ends >> 2) & 3)]);
    }
    if how & 0x20 == 0 && bytes[9] != 1 {
        bytes[20..22].copy_from_slice(&(40_000 + u16::from((ends >> 4) & 3)).to_be_bytes());
        bytes[22..24].copy_from_slice(&port.to_be_bytes());
    }
    if owners(&bytes).next().is_some() {
        bytes[HEADER..].fill(0);
    }
    let class = class(&bytes);
    let packet = mended(&[bytes, Owner::new(tenant, class).payload(len)].concat());
    if how & 0xc0 == 0xc0 { bent(packet, input) } else { packet }
}

/// One octet of the header is another, but not of the source and the destination, on which the payload's class hangs.
fn bent(mut packet: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let at = usize::from(input.u8()) % 40;
    if !(12..20).contains(&at) && at < packet.len() {
        packet[at] ^= input.u8();
    }
    packet
}

/// The receiver's error about a packet, which quotes `len` bytes of it.
pub(super) fn error_about(about: &[u8], how: u8, len: usize) -> Vec<u8> {
    let quoted = &about[..len.min(about.len())];
    let kinds = [(3, 3), (3, 4), (11, 0), (3, 13), (12, 0), (4, 0), (5, 0), (3, 1)];
    let (kind, code) = kinds[usize::from(how & 7)];
    let mut packet = vec![0; HEADER];
    packet[8..10].copy_from_slice(&[64, 1]);
    let receiver: [u8; 4] = about[16..20].try_into().expect("four");
    // Sometimes it is a router on the way that speaks.
    let speaker = if how & 8 == 0 { receiver } else { Ipv4Addr::new(10, 10, 0, 99).octets() };
    packet[12..16].copy_from_slice(&speaker);
    packet[16..20].copy_from_slice(&about[12..16]);
    packet.extend([kind, code, 0, 0, 0, 0, how & 0xf0, how]);
    packet.extend(quoted);
    mended(&packet)
}
