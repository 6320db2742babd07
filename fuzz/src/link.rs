//! Ethernet, VLAN tags and ARP: what is read of a frame stands there, and is written as it was read.

use dataplane::packet::MAX_PACKET;
use dataplane::router_config::Vlan;
use dataplane::simulation::stations;
use dataplane::wire::arp::Arp;
use dataplane::wire::ethernet::{self, Ethernet};

use crate::plain::in_a_frame;

/// Any frame.
pub fn check(data: &[u8]) {
    let frame = &data[..data.len().min(MAX_PACKET)];
    let Ok(header) = Ethernet::parse(frame) else { return };
    let payload = &frame[header.header_len..];
    let unprioritized = without_priorities(frame, header.vlan);
    assert_eq!(header.header_len, ethernet::header_len(header.vlan));
    assert_eq!(stations::frame(header.vlan, header.source, header.destination, header.ethertype, payload), unprioritized);
    in_a_frame(payload, |packet| {
        assert!(ethernet::push(packet, header.vlan, header.source, header.destination, header.ethertype), "the headroom is made for it");
        assert_eq!(packet.bytes(), unprioritized);
    });
    if let Ok(arp) = Arp::parse(payload, header.source) {
        assert_eq!(arp.bytes(), payload[..28]);
        assert_eq!(arp.sender_mac, header.source, "nobody speaks for another station");
        assert!(arp.sender_mac.0[0] & 1 == 0 && arp.sender_mac.0 != [0; 6]);
        let nobody = |address: std::net::Ipv4Addr| matches!(address.octets()[0], 127 | 224..=239) || address.octets() == [255; 4];
        assert!(!nobody(arp.sender) && !nobody(arp.target));
    }
}

/// The relay neither reads nor writes priorities (802.1Q 9.6).
fn without_priorities(frame: &[u8], vlan: Vlan) -> Vec<u8> {
    let tags: &[usize] = match vlan {
        Vlan::Untagged => &[],
        Vlan::Single(_) => &[14],
        Vlan::Double { .. } => &[14, 18],
    };
    let mut frame = frame.to_vec();
    tags.iter().for_each(|at| frame[*at] &= 0x0f);
    frame
}
