//! The frames that arrive at the relay of the benches.

use std::net::SocketAddrV4;

use dataplane::router_config::Vlan;
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::checksum::Sum;
use dataplane::wire::ethernet::{self, Ethernet, MacAddr};

/// Where the bytes of a UDP datagram start in an IPv4 packet.
pub(crate) const UDP_PAYLOAD: usize = 28;
/// Whoever is not the relay.
const THEIR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// An IPv4 packet of `len` bytes with UDP inside, checksums in place. `mark` stands in the payload where there is room for it.
pub(crate) fn udp(source: SocketAddrV4, destination: SocketAddrV4, len: usize, mark: u32) -> Vec<u8> {
    let total = u16::try_from(len).expect("an IPv4 packet");
    let mut packet = vec![0; len];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&source.ip().octets());
    packet[16..20].copy_from_slice(&destination.ip().octets());
    let checksum = Sum::default().bytes(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..22].copy_from_slice(&source.port().to_be_bytes());
    packet[22..24].copy_from_slice(&destination.port().to_be_bytes());
    packet[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    if let Some(room) = packet.get_mut(UDP_PAYLOAD..UDP_PAYLOAD + 4) {
        room.copy_from_slice(&mark.to_be_bytes());
    }
    let checksum = Sum::default().pseudo_header(*source.ip(), *destination.ip(), 17, total - 20).bytes(&packet[20..]).checksum();
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Source and mark of a packet that [`udp`] made.
pub(crate) fn source_and_mark(packet: &[u8]) -> Option<(SocketAddrV4, u32)> {
    let address = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?;
    let port = <[u8; 2]>::try_from(packet.get(20..22)?).ok()?;
    let mark = <[u8; 4]>::try_from(packet.get(UDP_PAYLOAD..UDP_PAYLOAD + 4)?).ok()?;
    Some((SocketAddrV4::new(address.into(), u16::from_be_bytes(port)), u32::from_be_bytes(mark)))
}

/// `payload` in an Ethernet frame for the relay's station `relay`.
pub(crate) fn framed(vlan: Vlan, relay: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [relay.0, THEIR_MAC.0].concat();
    if let Vlan::Single(id) = vlan {
        frame.extend(ethernet::TPID_CUSTOMER.to_be_bytes());
        frame.extend(id.get().to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Everybody but the relay itself answers, from one station.
pub(crate) fn arp_reply(message: &[u8], header: &Ethernet) -> Option<Vec<u8>> {
    let request = Arp::parse(message, header.source).expect("the relay's ARP is sound");
    if request.operation != Operation::Request || request.target == request.sender {
        return None;
    }
    let reply = Arp {
        operation: Operation::Reply,
        sender_mac: THEIR_MAC,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    Some(framed(header.vlan, request.sender_mac, ethernet::ARP, &reply.bytes()))
}
