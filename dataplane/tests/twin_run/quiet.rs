//! The well-behaved tenant's day: everything that offices and clouds do, mistakes included, and none of it in a flood.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::{self, Segment, edited, ip};
use dataplane::simulation::{Owner, World};
use dataplane::time::Duration;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::QUIET;

/// Datagrams on the line that somebody may have recorded.
const REMEMBERED: usize = 32;

pub(crate) struct Quiet {
    random: SmallRng,
    /// Its datagrams, as anybody on the way can see them.
    pub(crate) seen: Vec<Vec<u8>>,
}

impl Quiet {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed ^ 0xa11ce), seen: Vec::new() }
    }

    /// Until the next action: mostly a moment, sometimes long enough for timers, and for new keys.
    pub(crate) fn pause(&mut self) -> Duration {
        match self.random.random_range(0..24) {
            0 => Duration::from_secs(self.random.random_range(5..70)),
            1..6 => Duration::from_millis(self.random.random_range(100..2_000)),
            _ => Duration::from_micros(self.random.random_range(0..40_000)),
        }
    }

    pub(crate) fn act(&mut self, world: &mut World) {
        match self.random.random_range(0..10) {
            0..6 => self.office_sends(world),
            6..9 => self.cloud_sends(world),
            _ if world.office(QUIET).is_ipsec() => {}
            _ => world.office(QUIET).connect(),
        }
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        *list.choose(&mut self.random).expect("not empty")
    }

    fn office_sends(&mut self, world: &mut World) {
        use TrafficClass::{LgwanConnected, MyNumber};
        let (source, class) = self.one_of(&[
            ("198.51.100.17", MyNumber),
            ("198.51.100.18", MyNumber),
            ("198.51.100.25", LgwanConnected),
            ("198.51.100.26", LgwanConnected),
        ]);
        let destination = self.one_of(&["203.0.113.10", "203.0.113.10", "10.10.4.7", "10.10.4.7", "203.0.113.20", "8.8.8.8"]);
        for _ in 0..self.one_of(&[1, 1, 2, 8]) {
            let packet = self.packet(ip(source), ip(destination), 443, class);
            // Without a session this is a handshake message, or nothing while one is under way.
            if let Some(datagram) = world.office(QUIET).seal(&packet) {
                let source = world.office(QUIET).outer;
                if self.seen.len() < REMEMBERED {
                    self.seen.push(datagram.clone());
                }
                world.office(QUIET).send_datagram(source, datagram);
            }
        }
    }

    fn cloud_sends(&mut self, world: &mut World) {
        let source = self.one_of(&["10.10.0.20", "10.10.0.20", "10.10.0.21", "10.10.0.10"]);
        let destination = self.one_of(&["10.254.1.30", "10.254.1.30", "10.254.1.2", "10.254.1.9", "10.254.1.20"]);
        let port = self.one_of(&[9_100, 9_101, 22]);
        let packet = self.packet(ip(source), ip(destination), port, TrafficClass::MyNumber);
        world.cloud(QUIET).send(&packet);
    }

    fn packet(&mut self, source: Ipv4Addr, destination: Ipv4Addr, port: u16, class: TrafficClass) -> Vec<u8> {
        let from = SocketAddrV4::new(source, self.random.random_range(40_000..40_020));
        let to = SocketAddrV4::new(destination, port);
        let payload = Owner::new(QUIET, class).payload(self.one_of(&[16, 64, 400, 1_280, 1_392, 1_472]));
        let segment = self.one_of(&[Segment::Ack, Segment::Fin, Segment::Rst]);
        let packet = match self.random.random_range(0..10) {
            0..4 => packets::udp(from, to, &payload),
            4..6 => packets::tcp_at(from, to, Segment::Syn(Some(1_460)), (0, 0), &[]),
            6 => packets::tcp_at(from, to, segment, (1, 1), &payload),
            7..9 => packets::ping(source, destination, self.random.random_range(0..4), &payload),
            _ => packets::unreachable(source, destination, &packets::udp(to, from, &payload)[..44]),
        };
        if self.random.random_ratio(1, 12) { edited(packet, |packet| packet[8] = 1) } else { packet }
    }
}
