//! Outer IPv4, UDP and ESP: what is accepted is for the relay, whole and within its bytes, and what is written reads as what it was.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::packet::MAX_PACKET;
use dataplane::wire::underlay::{self, HEADERS_LEN, IPV4_LEN, Outer};

use crate::plain::{HEADER, checksum, in_a_frame, mended, word};

/// The first octet chooses: bytes as they come, or made into an IPv4 packet.
pub fn check(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(MAX_PACKET)];
    let packet = if first & 1 == 0 { bytes.to_vec() } else { mended(bytes) };
    let destination = packet.get(16..20).map_or(Ipv4Addr::UNSPECIFIED, |at| Ipv4Addr::new(at[0], at[1], at[2], at[3]));
    let own = if first & 2 == 0 { destination } else { Ipv4Addr::new(192, 0, 2, 1) };
    let Ok(outer) = underlay::parse(&packet, own) else { return };
    assert_eq!(own, destination, "for us");
    let total_len = usize::from(word(&packet, 2));
    assert!(packet[0] == 0x45 && total_len <= packet.len() && checksum(&packet[..HEADER]) == 0);
    assert_eq!(word(&packet, 6) & 0x3fff, 0, "whole");
    match outer {
        Outer::Udp(datagram) => {
            let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
            assert_eq!(datagram.source, SocketAddrV4::new(address(12), word(&packet, HEADER)));
            assert_eq!(datagram.destination, SocketAddrV4::new(own, word(&packet, HEADER + 2)));
            assert!(packet[9] == 17 && HEADERS_LEN + datagram.payload_len <= total_len);
            let payload = &packet[HEADERS_LEN..][..datagram.payload_len];
            let again = written(payload, |packet| underlay::push(packet, datagram.source, datagram.destination, datagram.ecn));
            assert_eq!((underlay::parse(&again, own), &again[HEADERS_LEN..]), (Ok(outer), payload));
        }
        Outer::Esp(esp) => {
            assert!(packet[9] == 50 && IPV4_LEN + esp.payload_len == total_len);
            let payload = &packet[IPV4_LEN..total_len];
            let again = written(payload, |packet| underlay::push_esp(packet, esp.source, own, esp.ecn));
            assert_eq!((underlay::parse(&again, own), &again[IPV4_LEN..]), (Ok(outer), payload));
        }
        Outer::Icmp(len) => assert!(packet[9] == 1 && len == total_len),
    }
}

fn written(payload: &[u8], push: impl FnOnce(&mut dataplane::packet::Packet) -> bool) -> Vec<u8> {
    in_a_frame(payload, |packet| {
        assert!(push(packet), "the headroom is made for it");
        assert_eq!(checksum(&packet.bytes()[..HEADER]), 0);
        packet.bytes().to_vec()
    })
}
