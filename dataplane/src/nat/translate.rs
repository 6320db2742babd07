//! What translation writes into a packet: two endpoints, and the checksums over them.

use super::types::Endpoint;
use crate::wire::checksum::Delta;
use crate::wire::icmp;
use crate::wire::inner::{DESTINATION, HEADER_CHECKSUM, HEADER_LEN, Protocol, SOURCE};
use crate::wire::{read_u16, write_address, write_u16};

/// Offset of the checksum in a UDP header.
const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in an ICMP header.
const ICMP_CHECKSUM: usize = 2;
/// Offset of the identifier in an ICMP echo.
const ICMP_IDENTIFIER: usize = 4;

/// What new endpoints do to the checksums: computed once a session and direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deltas {
    /// For the checksum of the IPv4 header.
    header: Delta,
    /// For the checksum of the transport header, pseudo header included.
    transport: Delta,
}

impl Deltas {
    /// `from` and `to` are (source, destination) before and after.
    pub(super) fn new(protocol: Protocol, from: (Endpoint, Endpoint), to: (Endpoint, Endpoint)) -> Self {
        let header = Delta::default().address(from.0.addr, to.0.addr).address(from.1.addr, to.1.addr);
        let transport = match protocol {
            Protocol::Tcp | Protocol::Udp => header.word(from.0.port, to.0.port).word(from.1.port, to.1.port),
            // No pseudo header, and one identifier for both ends.
            Protocol::Icmp => Delta::default().word(from.0.port, to.0.port),
        };
        Self { header, transport }
    }
}

/// New endpoints of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) deltas: Deltas,
}

impl Rewrite {
    /// `from` and `to` are (source, destination) before and after.
    pub(super) fn new(protocol: Protocol, from: (Endpoint, Endpoint), to: (Endpoint, Endpoint)) -> Self {
        Self { source: to.0, destination: to.1, deltas: Deltas::new(protocol, from, to) }
    }

    /// Rewrite the packet whose IPv4 header starts at `header` and whose transport header at `transport`. The bytes may end
    /// anywhere behind the ports: an ICMP error quotes only part of a packet, and then a checksum that is not quoted is not written.
    pub(super) fn apply(&self, packet: &mut [u8], header: usize, transport: usize, protocol: Protocol) {
        self.apply_addresses(&mut packet[header..]);
        match protocol {
            Protocol::Tcp => {
                self.write_ports(packet, transport);
                change(packet, transport + TCP_CHECKSUM, |old| self.deltas.transport.apply(old));
            }
            Protocol::Udp => {
                self.write_ports(packet, transport);
                change(packet, transport + UDP_CHECKSUM, |old| self.deltas.transport.apply_udp(old));
            }
            Protocol::Icmp => {
                write_u16(packet, transport + ICMP_IDENTIFIER, self.source.port);
                change(packet, transport + ICMP_CHECKSUM, |old| self.deltas.transport.apply(old));
                icmp::mend_checksum_of_zeros(&mut packet[transport..]);
            }
        }
    }

    /// Rewrite a whole packet.
    pub(super) fn apply_to_packet(&self, packet: &mut [u8], protocol: Protocol) {
        self.apply(packet, 0, HEADER_LEN, protocol);
    }

    /// Rewrite only the IPv4 header at the start of `packet`.
    pub(super) fn apply_addresses(&self, packet: &mut [u8]) {
        write_address(packet, SOURCE, self.source.addr);
        write_address(packet, DESTINATION, self.destination.addr);
        change(packet, HEADER_CHECKSUM, |old| self.deltas.header.apply(old));
    }

    fn write_ports(&self, packet: &mut [u8], transport: usize) {
        write_u16(packet, transport, self.source.port);
        write_u16(packet, transport + 2, self.destination.port);
    }
}

fn change(packet: &mut [u8], at: usize, new: impl FnOnce(u16) -> u16) {
    if at + 2 <= packet.len() {
        let value = new(read_u16(packet, at));
        write_u16(packet, at, value);
    }
}
