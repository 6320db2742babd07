//! The hostile tenant: what its office, its cloud, and whoever helps it on the access network can send. It stays within what the
//! relay's rings hold, for those are shared; everything else is allowed.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::router_config::TrafficClass;
use dataplane::simulation::municipality::{ACCESS, AWS};
use dataplane::simulation::packets::{self, edited, ip, udp};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Owner, World, municipality};
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::{HOSTILE, QUIET};

/// Frames at one moment and port: less than a ring holds beside what the other tenant sends.
const BURST: usize = 100;
const STATION: MacAddr = MacAddr([6, 6, 6, 6, 6, 6]);

pub(crate) struct Hostile {
    random: SmallRng,
}

impl Hostile {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed ^ 0xbad) }
    }

    /// Something hostile; `recorded` are datagrams of the other tenant.
    pub(crate) fn act(&mut self, world: &mut World, recorded: &[Vec<u8>]) {
        match self.random.random_range(0..12) {
            0..3 => self.office_floods(world),
            3..5 => self.cloud_floods(world),
            5 => self.replays(world, recorded),
            6 => self.forges(world, recorded),
            7 => self.knocks(world),
            8 => self.speaks_arp(world),
            9 => self.sends_odd_frames(world),
            10 => self.knocks_at_ike(world),
            _ => self.operator_changes_it(world),
        }
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        *list.choose(&mut self.random).expect("not empty")
    }

    fn is_gone(world: &World) -> bool {
        world.is_gone(HOSTILE)
    }

    /// Sessions without end, with every address and port that the other tenant uses, and others.
    fn office_floods(&mut self, world: &mut World) {
        let source = self.one_of(&["198.51.100.17", "198.51.100.18", "198.51.100.25", "198.51.100.40", "10.254.1.2", "127.0.0.1"]);
        let class = if source == "198.51.100.25" { TrafficClass::LgwanConnected } else { TrafficClass::MyNumber };
        let destination = self.one_of(&["203.0.113.10", "10.10.4.7", "10.10.0.10", "203.0.113.20", "192.0.2.1"]);
        let payload = Owner::new(HOSTILE, class).payload(self.one_of(&[16, 1_392]));
        for _ in 0..self.random.random_range(1..=BURST) {
            let from = SocketAddrV4::new(ip(source), self.random.random_range(39_000..41_000));
            let packet = self.perhaps_broken(udp(from, SocketAddrV4::new(ip(destination), 443), &payload));
            world.office(HOSTILE).send(&packet);
        }
    }

    fn cloud_floods(&mut self, world: &mut World) {
        if Self::is_gone(world) {
            return;
        }
        let destination = self.one_of(&["10.254.1.30", "10.254.1.8", "10.254.1.20", "10.254.1.2", "198.51.100.17"]);
        let payload = Owner::new(HOSTILE, TrafficClass::MyNumber).payload(self.one_of(&[16, 1_400]));
        for _ in 0..self.random.random_range(1..=BURST) {
            let from = SocketAddrV4::new(ip("10.10.0.20"), self.random.random_range(1_024..65_000));
            let to = SocketAddrV4::new(ip(destination), self.one_of(&[9_100, 40_000, 443]));
            let about = udp(to, from, &[0; 8]);
            let packet = match self.random.random_range(0..3) {
                0 => packets::unreachable(*from.ip(), *to.ip(), &about),
                1 => packets::too_big(*from.ip(), *to.ip(), 576, &about),
                _ => udp(from, to, &payload),
            };
            let packet = self.perhaps_broken(packet);
            world.cloud(HOSTILE).send(&packet);
        }
    }

    fn perhaps_broken(&mut self, packet: Vec<u8>) -> Vec<u8> {
        if !self.random.random_ratio(1, 4) {
            return packet;
        }
        let at = self.one_of(&[0, 1, 2, 3, 6, 7, 8, 9, 20, 21, 22, 23, 24, 25, 26, 27]);
        let bit = 1 << self.random.random_range(0..8);
        edited(packet, |packet| packet[at] ^= bit)
    }

    /// The other tenant's own datagrams once more, from its own address and from elsewhere.
    fn replays(&mut self, world: &mut World, recorded: &[Vec<u8>]) {
        for datagram in recorded.iter().filter(|datagram| datagram.len() > 148) {
            let source = self.somewhere(world);
            world.office(QUIET).send_datagram(source, datagram.clone());
        }
    }

    /// The same, bent.
    fn forges(&mut self, world: &mut World, recorded: &[Vec<u8>]) {
        for datagram in recorded {
            let mut datagram = datagram.clone();
            for _ in 0..self.one_of(&[1, 4]) {
                let at = self.random.random_range(4..datagram.len());
                datagram[at] ^= 1 << self.random.random_range(0..8);
            }
            let source = self.somewhere(world);
            world.office(QUIET).send_datagram(source, datagram);
        }
    }

    fn somewhere(&mut self, world: &mut World) -> SocketAddrV4 {
        let other = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, self.random.random()), 9);
        if self.random.random_ratio(1, 2) { world.office(QUIET).outer } else { other }
    }

    /// Handshakes with a right first MAC, from many addresses, and forged ones.
    fn knocks(&mut self, world: &mut World) {
        if world.office(HOSTILE).is_ipsec() {
            return self.knocks_at_ike(world);
        }
        let initiation = world.office(HOSTILE).initiation();
        for number in 0..20 {
            let source = SocketAddrV4::new(Ipv4Addr::new(198, 18, 1, number), 9);
            let mut message = initiation.clone();
            if self.random.random_ratio(1, 2) {
                message[40] ^= 1;
            }
            world.office(HOSTILE).send_datagram(source, message);
        }
    }

    fn knocks_at_ike(&mut self, world: &mut World) {
        for _ in 0..self.random.random_range(1..=BURST) {
            let mut message = vec![0; self.one_of(&[4, 28, 60, 300])];
            self.random.fill(&mut message[..]);
            let source = SocketAddrV4::new(Ipv4Addr::new(198, 18, 2, self.random.random()), 500);
            let port = self.one_of(&[500, 4_500, 51_820, 53, 0]);
            world.office(HOSTILE).send_to_port(source, port, message);
        }
    }

    fn speaks_arp(&mut self, world: &mut World) {
        if Self::is_gone(world) {
            return;
        }
        let addresses = ["10.254.1.1", "10.254.1.2", "10.254.1.9", "10.254.1.20", "10.254.1.30", "192.0.2.10"];
        for _ in 0..self.random.random_range(1..=BURST / 2) {
            let operation = self.one_of(&[Operation::Request, Operation::Reply]);
            let (sender, target) = (ip(self.one_of(&addresses)), ip(self.one_of(&addresses)));
            let arp = Arp { operation, sender_mac: STATION, sender, target_mac: relay_mac(AWS), target };
            world.cloud(HOSTILE).send_arp(&arp, MacAddr::BROADCAST);
        }
    }

    /// Behind tags that are not its own but lead to nobody either, and with nonsense behind its own.
    fn sends_odd_frames(&mut self, world: &mut World) {
        for _ in 0..self.random.random_range(1..=BURST / 2) {
            let tci = self.one_of(&[0_u16, 2_102, 2_103, 4_094, 4_095]);
            let tpid = self.one_of(&[ethernet::TPID_CUSTOMER, ethernet::TPID_SERVICE]);
            let mut bytes = [relay_mac(AWS).0, STATION.0].concat();
            bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
            bytes.extend(self.one_of(&[ethernet::IPV4, ethernet::IPV6, ethernet::ARP, 0x88cc, ethernet::TPID_CUSTOMER]).to_be_bytes());
            bytes.resize(self.one_of(&[18, 40, 64, 1_518]), 0x45);
            world.inject(usize::from(AWS.0), bytes);
        }
        let noise = [0x45; 60];
        world.inject(
            usize::from(ACCESS.0),
            frame(dataplane::router_config::Vlan::Untagged, STATION, relay_mac(ACCESS), ethernet::IPV4, &noise),
        );
    }

    /// It is cut off, gets other rules, goes, and comes back.
    fn operator_changes_it(&mut self, world: &mut World) {
        let what = self.random.random_range(0..5);
        world.reload(|plan| {
            let Some(place) = plan.tenants.iter().position(|tenant| &*tenant.name == HOSTILE) else {
                return plan.tenants.push(municipality(HOSTILE, 2_102));
            };
            let tenant = &mut plan.tenants[place];
            match what {
                0 => tenant.isolated = !tenant.isolated,
                1 => tenant.services[0].cloud_side = packets::network("10.10.0.11/32"),
                2 => tenant.callbacks.clear(),
                3 => tenant.limits.sessions = dataplane::simulation::municipality::nonzero(3),
                _ => drop(plan.tenants.remove(place)),
            }
        });
    }
}
