//! Packets as hosts send them: most as they should be, some in fragments, some broken.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::simulation::fragments::{cut, placed};
use dataplane::simulation::packets::{self, Segment, edited};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::chaos::Chaos;

impl Chaos {
    pub(crate) fn packet(&mut self, source: Ipv4Addr, destination: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
        // Of ports below 1024, which become such, there are few in some worlds.
        let first = self.one_of(&[40_000, 40_000, 1_000]);
        let from = SocketAddrV4::new(source, first + self.random.random_range(0..8));
        let to = SocketAddrV4::new(destination, port);
        let numbers = (self.random.random_range(0..4), self.random.random_range(0..4));
        let segment = self.one_of(&[Segment::Syn(Some(1_460)), Segment::Syn(None), Segment::Ack, Segment::Fin, Segment::Rst]);
        match self.random.random_range(0..12) {
            0..4 => packets::udp(from, to, payload),
            4..6 => packets::tcp_at(from, to, Segment::Syn(Some(1_460)), (0, 0), &[]),
            6..8 => packets::tcp_at(from, to, segment, numbers, if matches!(segment, Segment::Syn(_)) { &[] } else { payload }),
            8..10 => packets::ping(source, destination, self.random.random_range(0..4), payload),
            10 => {
                let about = &packets::udp(to, from, payload)[..60.min(28 + payload.len())];
                match self.one_of(&[None, None, Some(0), Some(1_300)]) {
                    None => packets::unreachable(source, destination, about),
                    Some(mtu) => packets::too_big(source, destination, mtu, about),
                }
            }
            _ => {
                let kind = self.one_of(&[(5, 0), (13, 0), (3, 4), (0, 0), (8, 1)]);
                packets::icmp_message(source, destination, kind, [0; 4], payload)
            }
        }
    }

    /// A packet as it leaves its host: whole, with leave to be cut, or in fragments; and then perhaps not as it should be.
    pub(crate) fn as_sent(&mut self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        let packets = match self.random.random_range(0..8) {
            0..5 if packet.len() <= 1_500 => vec![packet],
            5 if packet.len() <= 1_500 => vec![edited(packet, |packet| packet[6] &= !0x40)],
            _ => self.in_fragments(&packet),
        };
        packets.into_iter().map(|packet| self.perhaps_broken(packet)).collect()
    }

    /// Few identifications, so that datagrams meet; and some fragments come late, twice, elsewhere, or not at all.
    fn in_fragments(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let mtu = if packet.len() < 200 { self.one_of(&[36, 60, 100]) } else { self.one_of(&[576, 1_300, 1_420, 1_500]) };
        let id = self.random.random_range(0..4);
        let mut fragments = cut(packet, id, mtu);
        let which = self.random.random_range(0..fragments.len());
        match self.random.random_range(0..8) {
            0 => fragments.shuffle(&mut self.random),
            1 => fragments.reverse(),
            2 => fragments.push(fragments[which].clone()),
            3 => drop(fragments.remove(which)),
            4 => {
                let (offset, more) = (self.one_of(&[0, 8, 16, 512, 1_400, 65_528]), self.one_of(&[true, false]));
                fragments.push(placed(fragments[which].clone(), id, offset, more));
            }
            _ => {}
        }
        fragments
    }

    /// One packet in five is not as it should be. Addresses of sources stay: the payload's class hangs on them.
    pub(crate) fn perhaps_broken(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        match self.random.random_range(0..40) {
            0..3 => {
                let at = self.one_of(&[0, 1, 2, 3, 4, 6, 7, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
                let (at, bit) = (at.min(packet.len() - 1), 1 << self.random.random_range(0..8));
                edited(packet, |packet| packet[at] ^= bit)
            }
            3 => {
                packet[10] ^= 1;
                packet
            }
            4 => edited(packet, |packet| packet[8] = 1),
            5 => edited(packet, |packet| packet[6] = 0x20),
            6 => edited(packet, |packet| packet[9] = 47),
            7 => {
                packet.truncate(30);
                packet
            }
            8 => edited(packet, |packet| {
                packet[0] = 0x46;
                packet.splice(20..20, [1, 1, 1, 0]);
                let len = u16::try_from(packet.len()).expect("short");
                packet[2..4].copy_from_slice(&len.to_be_bytes());
            }),
            _ => packet,
        }
    }
}
