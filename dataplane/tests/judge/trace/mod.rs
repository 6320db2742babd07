//! The trace: what both sides send, step by step, each with a name of its own. It is the same for both NATs but for ports and identifiers
//! that the NAT chose itself, which later steps answer to.

mod icmp;
mod odd;
mod seeded;
mod tcp;
mod udp;

use std::net::SocketAddrV4;

use dataplane::simulation::packets::ipv4;
use smoltcp::wire::IpProtocol;

use crate::witness::Witness;
use crate::words::transport_checksum;

/// Two office hosts whose sources become those of the pool.
const CLIENT: &str = "198.51.100.17";
const OTHER: &str = "198.51.100.18";
/// The service with one port, as the office and as the cloud sees it.
const SERVICE: &str = "203.0.113.10:443";
const SERVER: &str = "10.10.0.10:443";
/// The clerk, who has an address of his own in the cloud, and his system, which has one address for both.
const CLERK: &str = "198.51.100.25";
const CLERK_OUTSIDE: &str = "10.254.1.20";
const DOCUMENTS: &str = "10.10.4.7:443";
/// A host of the cloud that no rule names.
const STRANGER: &str = "10.10.0.99";
/// A router of the cloud.
const ROUTER: &str = "10.10.0.1";

/// All of it.
pub(crate) fn play(witness: &mut Witness<'_>, seed: u64) {
    udp::play(witness);
    tcp::play(witness);
    icmp::play(witness);
    odd::play(witness);
    seeded::play(witness, seed);
}

/// A payload of its own.
fn bytes(mark: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| mark.wrapping_add(u8::try_from(at % 251).expect("a byte"))).collect()
}

/// Flags of TCP.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// A TCP segment, whatever makes sense of it.
#[derive(Clone, Copy)]
struct Segment<'a> {
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    options: &'a [u8],
    data: &'a [u8],
}

/// A segment without options and data.
const fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Segment<'static> {
    Segment { flags, sequence, acknowledgement, window: 65_000, options: &[], data: &[] }
}

impl<'a> Segment<'a> {
    const fn with(self, data: &'a [u8]) -> Self {
        Self { data, ..self }
    }

    const fn options(self, options: &'a [u8]) -> Self {
        Self { options, ..self }
    }

    const fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// The packet, with its right checksum.
    fn packet(&self, source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = ipv4(*source.ip(), *destination.ip(), IpProtocol::Tcp, header + self.data.len(), |bytes| {
            bytes[..2].copy_from_slice(&source.port().to_be_bytes());
            bytes[2..4].copy_from_slice(&destination.port().to_be_bytes());
            bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
            bytes[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
            bytes[12] = u8::try_from(header / 4).expect("a header") << 4;
            bytes[13] = self.flags;
            bytes[14..16].copy_from_slice(&self.window.to_be_bytes());
            bytes[20..header].copy_from_slice(self.options);
            bytes[header..].copy_from_slice(self.data);
        });
        fix_transport(&mut packet);
        packet
    }
}

/// Put the transport checksum of a UDP or TCP packet right.
fn fix_transport(packet: &mut [u8]) {
    let at = if packet[9] == 6 { 36 } else { 26 };
    packet[at..at + 2].fill(0);
    let sum = transport_checksum(&packet[12..20], packet[9], &packet[20..]);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Change something behind the IPv4 header and put the transport checksum right.
fn transport(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet[20..]);
    fix_transport(&mut packet);
    packet
}

/// Bend a byte behind the IPv4 header and leave the checksum as it is.
fn bent(mut packet: Vec<u8>) -> Vec<u8> {
    let last = packet.len() - 1;
    packet[last] ^= 0x55;
    packet
}
