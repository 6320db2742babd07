//! One random world.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU64;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{Redundancy, RuleState, TenantConfig, TrafficClass, Vlan, VlanId};
use dataplane::simulation::municipality::{ACCESS, AWS, GCP, another_tunnel, attachment, nonzero};
use dataplane::simulation::office::Office;
use dataplane::simulation::packets;
use dataplane::simulation::packets6::network6;
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Dimensions, Weather, World, ip, ipsec_municipality, municipality};
use dataplane::time::Duration;
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::faults::{self, Fault};

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
const ACTIONS: usize = 60;

pub(crate) struct Chaos {
    pub(crate) world: World,
    pub(crate) random: SmallRng,
    /// Which of them speak IPsec.
    ipsec: [bool; 3],
    /// Those that speak WireGuard have two routers, and send by them in turn.
    redundancy: Option<Redundancy>,
    turn: bool,
    /// The control plane takes no events.
    is_deaf: bool,
    /// Frames that were seen, to be sent again.
    pub(crate) seen: Vec<(usize, Vec<u8>)>,
    /// VLAN ids of the first circuits, by number of the tenant.
    pub(crate) vlans: [u16; 3],
    /// Nobody ever had it, nor a higher one.
    pub(crate) fresh_vlan: u16,
    pub(crate) faults: BTreeSet<Fault>,
}

/// Live through the world of `seed`; returns why packets were lost in it, and what befell it.
pub(crate) fn live(seed: u64) -> (BTreeSet<DropReason>, BTreeSet<Fault>) {
    let mut random = SmallRng::seed_from_u64(seed);
    let (workers, queues) = *[(1, 1), (1, 1), (2, 1), (2, 2), (2, 4), (3, 2)].choose(&mut random).expect("some");
    let dimensions = Dimensions {
        frames: *[64, 96, 160].choose(&mut random).expect("some") * u32::try_from(workers.max(queues)).expect("few"),
        ring: *[8, 16, 32].choose(&mut random).expect("some"),
        mtu: 1_500,
        workers,
        queues,
        ipv6: random.random_ratio(1, 2),
    };
    // Sometimes there is memory for queues.
    let dimensions = if random.random_ratio(1, 6) { Dimensions { frames: 640, ring: 64, ..dimensions } } else { dimensions };
    let ipsec = std::array::from_fn(|_| random.random_ratio(1, 2));
    let redundancy = [Some(Redundancy::Both), Some(Redundancy::Prefer), None, None][usize::try_from(seed % 4).expect("few")];
    let vlans = [2_101, 2_102, 2_103];
    let tenants: Vec<TenantConfig> = (0..3).map(|number| tenant(number, vlans[number], &ipsec, redundancy, &mut random)).collect();
    let mut world = World::cold(seed, tenants, dimensions);
    world.hosts_err = true;
    world.bring_up();
    for (name, ipsec) in NAMES.into_iter().zip(ipsec) {
        if redundancy.is_some() && !ipsec {
            world.add_router(name, "backup");
            world.office_by(name, "backup").answers = true;
        }
        world.office(name).answers = true;
        world.cloud(name).answers = true;
    }
    if random.random_ratio(1, 3) {
        world.reload(|plan| plan.reserved_ports = faults::nearly_all_low_ports());
    }
    let is_deaf = random.random_ratio(1, 5);
    let mut chaos = Chaos {
        world,
        random,
        ipsec,
        redundancy,
        turn: false,
        is_deaf,
        seen: Vec::new(),
        vlans,
        fresh_vlan: 2_200,
        faults: BTreeSet::new(),
    };
    for _ in 0..ACTIONS {
        chaos.act();
        if !chaos.is_deaf {
            chaos.control_plane_listens();
        }
        chaos.world.settle();
    }
    chaos.note_mishaps();
    for port in 0..3 {
        chaos.world.weather(port, Weather::default(), Weather::default());
        chaos.world.set_down(port, None);
    }
    chaos.world.run(Duration::from_secs(5));
    // Where NICs do not hold all frames that a worker has.
    if dimensions.frames as usize / workers >= 3 * dimensions.ring * queues.div_ceil(workers) + 16 {
        chaos.everybody_is_served_again();
    }
    (chaos.world.reasons(), chaos.faults)
}

fn tenant(number: usize, vlan_id: u16, ipsec: &[bool; 3], redundancy: Option<Redundancy>, random: &mut SmallRng) -> TenantConfig {
    let make = if ipsec[number] { ipsec_municipality } else { municipality };
    let mut tenant = make(NAMES[number], vlan_id);
    if let (Some(redundancy), false) = (redundancy, ipsec[number]) {
        tenant.tunnels.push(another_tunnel(NAMES[number], "backup"));
        tenant.redundancy = redundancy;
    }
    if random.random_ratio(1, 3) {
        tenant.limits.sessions = nonzero(random.random_range(1..8));
    }
    if random.random_ratio(1, 3) {
        tenant.limits.new_sessions_per_second = nonzero(random.random_range(1..8));
    }
    if random.random_ratio(1, 3) {
        tenant.limits.ports = nonzero(random.random_range(1..4));
    }
    if random.random_ratio(1, 6) {
        tenant.rate.ceiling = NonZeroU64::new(100_000);
    }
    if random.random_ratio(1, 6) {
        tenant.rate.guaranteed = NonZeroU64::new(random.random_range(100_000..1_000_000_000));
    }
    if random.random_ratio(1, 6) {
        tenant.attachments[0].mtu = 1_300;
    }
    if random.random_ratio(1, 2) {
        tenant.attachments[0].address6 = Some(network6("fd00:1::2/64"));
    }
    if random.random_ratio(1, 6) {
        tenant.attachments.push(attachment(GCP, 3_000));
        tenant.attachments[1].vlan = Vlan::Double { outer: vlan(number), inner: vlan(7) };
    }
    tenant
}

pub(crate) fn vlan(number: usize) -> VlanId {
    VlanId::new(u16::try_from(number + 1).expect("few")).expect("usable")
}

impl Chaos {
    pub(crate) fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list.choose(&mut self.random).expect("not empty").clone()
    }

    fn act(&mut self) {
        match self.random.random_range(0..108) {
            0..30 => self.office_sends(),
            30..34 => self.keys_change(),
            34..46 => self.cloud_sends(),
            46..54 => self.stranger_sends(),
            54..56 => self.stranger_speaks_ipsec(),
            56..62 => self.somebody_sends_arp(),
            62..66 => self.send_again(),
            66..68 => self.somebody_speaks_ipv6(),
            68..78 => self.time_passes(),
            78..84 => self.weather_changes(),
            84..87 => self.office_moves(),
            87..90 => self.election_day(),
            90 => self.everybody_connects(),
            100.. => self.something_befalls_it(),
            _ => self.operator_changes_something(),
        }
    }

    pub(crate) fn is_ipsec(&self, number: usize) -> bool {
        self.ipsec[number]
    }

    /// More handshakes than can wait, where there is memory for those that can.
    fn everybody_connects(&mut self) {
        let name = self.one_of(&NAMES);
        if self.world.office(name).is_ipsec() {
            return self.keys_change();
        }
        let initiation = self.world.office(name).initiation();
        for round in 0..7 {
            for host in 1..=50 {
                let source = SocketAddrV4::new(Ipv4Addr::new(198, 18, round, host), 1_000);
                self.world.office(name).send_datagram(source, initiation.clone());
            }
            self.world.jump(Duration::from_millis(100));
            self.world.step();
        }
    }

    pub(crate) fn office_sends(&mut self) {
        let name = self.one_of(&NAMES);
        let source = self.one_of(&[
            "198.51.100.17",
            "198.51.100.18",
            "198.51.100.25",
            "198.51.100.26",
            "198.51.100.27",
            "198.51.100.40",
            "127.0.0.1",
        ]);
        let class = if matches!(source, "198.51.100.25" | "198.51.100.26" | "198.51.100.27") {
            TrafficClass::LgwanConnected
        } else {
            TrafficClass::MyNumber
        };
        let destination =
            self.one_of(&["203.0.113.10", "203.0.113.10", "10.10.4.7", "10.10.4.7", "10.10.0.10", "192.0.2.200", "8.8.8.8", "224.0.0.1"]);
        let length = self.one_of(&[16, 64, 400, 1_272, 1_280, 1_392, 1_472, 3_000]);
        let payload = self.world.office(name).payload(class, length);
        let port = self.one_of(&[443, 443, 443, 80]);
        let packet = self.packet(ip(source), ip(destination), port, &payload);
        let packets = self.as_sent(packet);
        for _ in 0..self.one_of(&[1, 1, 1, 2, 20]) {
            packets.iter().for_each(|packet| self.router(name).send(packet));
        }
        let Some(packet) = packets.first() else { return };
        let sealed = self.world.office(name).seal(packet);
        if let (Some(sealed), true) = (sealed, self.random.random_ratio(1, 2)) {
            let outer = self.world.office(name).outer;
            let port = if self.world.office(name).is_ipsec() { 4_500 } else { self.world.relay().port() };
            let datagram = packets::udp(outer, SocketAddrV4::new(*self.world.relay().ip(), port), &sealed);
            self.remember(0, frame(Vlan::Untagged, MacAddr([6, 0, 0, 0, 1, 10]), relay_mac(ACCESS), ethernet::IPV4, &datagram));
        }
    }

    /// A router of the office: where there are two, one after the other.
    fn router(&mut self, name: &str) -> &mut Office {
        let has_two = self.redundancy.is_some() && !self.world.office(name).is_ipsec();
        self.turn = !self.turn;
        self.world.office_by(name, if has_two && self.turn { "backup" } else { "main" })
    }

    pub(crate) fn cloud_sends(&mut self) {
        let name = self.one_of(&NAMES);
        if self.world.is_gone(name) {
            return;
        }
        let length = self.one_of(&[64, 64, 64, 1_472, 3_000]);
        let payload = self.world.office(name).payload(TrafficClass::MyNumber, length);
        let source = self.one_of(&["10.10.0.20", "10.10.0.20", "10.10.0.21", "10.254.1.1", "0.0.0.1"]);
        let destination =
            self.one_of(&["10.254.1.30", "10.254.1.30", "10.254.1.2", "10.254.1.9", "10.254.1.20", "198.51.100.17", "255.255.255.255"]);
        let port = self.one_of(&[9_100, 9_101, 22]);
        let packet = self.packet(ip(source), ip(destination), port, &payload);
        for packet in self.as_sent(packet) {
            self.world.cloud(name).send(&packet);
            let frame = self.world.cloud(name).frame(ethernet::IPV4, &packet);
            self.remember(1, frame);
        }
    }

    /// Everybody at once, and perhaps a change while half of it waits.
    fn election_day(&mut self) {
        for _ in 0..self.one_of(&[20, 50]) {
            for name in NAMES {
                self.world.office(name).send(&packets::ping(ip("198.51.100.17"), ip("203.0.113.10"), 1, &[]));
                if !self.world.is_gone(name) {
                    self.world.cloud(name).send(&packets::ping(ip("10.10.0.20"), ip("10.254.1.30"), 1, &[]));
                }
            }
        }
        self.world.step();
        if self.random.random_ratio(1, 2) {
            self.operator_changes_something();
        }
        // And everybody asks whether the relay is still there.
        let echo = packets::ping(ip("192.0.2.33"), *self.world.relay().ip(), 1, &[]);
        for _ in 0..self.one_of(&[1, 5]) {
            for _ in 0..30 {
                self.world.inject(0, frame(Vlan::Untagged, MacAddr([6, 0, 0, 0, 1, 33]), relay_mac(ACCESS), ethernet::IPV4, &echo));
            }
            self.world.step();
        }
    }

    fn stranger_sends(&mut self) {
        let port = self.random.random_range(0..3);
        let mac = relay_mac([ACCESS, AWS, GCP][port]);
        let stranger = MacAddr([6, 9, 9, 9, 9, 9]);
        let length = self.one_of(&[0, 1, 13, 14, 17, 60, 200, 1_514, 1_900]);
        let noise: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        let tagged = self.one_of(&[
            Vlan::Untagged,
            Vlan::Single(vlan(2_100)),
            Vlan::Single(vlan(4_000)),
            Vlan::Double { outer: vlan(1), inner: vlan(7) },
        ]);
        let ethertype =
            self.one_of(&[ethernet::IPV4, ethernet::IPV6, ethernet::ARP, 0x88cc, ethernet::TPID_CUSTOMER, ethernet::TPID_SERVICE]);
        let kind = self.one_of(&[0_u8, 1, 2, 3, 4]);
        let bytes = match self.random.random_range(0..6) {
            0 => noise,
            1 => frame(tagged, stranger, mac, ethertype, &noise),
            2 => frame(tagged, mac, mac, ethernet::IPV4, &noise),
            3 => frame(tagged, stranger, MacAddr([2, 2, 2, 2, 2, 2]), ethernet::IPV4, &noise),
            _ => {
                let mut message = self.one_of(&[vec![0; 148], vec![0; 92], vec![0; 64], vec![0; 32], vec![0; 600]]);
                message[0] = kind;
                message[4..20].fill_with(|| self.random.random());
                let end = self.one_of(&["192.0.2.1:51820", "192.0.2.1:53", "192.0.2.9:51820"]);
                let source = self.one_of(&["198.18.0.1:51820", "192.0.2.77:1", "127.0.0.1:5"]);
                let packet = packets::udp(packets::at(source), packets::at(end), &message);
                let packet = self.perhaps_broken(packet);
                frame(Vlan::Untagged, stranger, relay_mac(ACCESS), ethernet::IPV4, &packet)
            }
        };
        self.world.inject(port, bytes);
    }

    fn somebody_sends_arp(&mut self) {
        let addresses =
            ["10.254.1.1", "10.254.1.2", "10.254.1.9", "10.254.1.30", "10.254.1.5", "192.0.2.1", "192.0.2.126", "192.0.2.10", "224.0.0.1"];
        let station = MacAddr([6, 1, 0, 0, 8, 0x35]);
        let sender_mac = self.one_of(&[station, MacAddr([6, 6, 6, 6, 6, 6]), MacAddr::BROADCAST]);
        let operation = self.one_of(&[Operation::Request, Operation::Reply]);
        let (sender, target) = (ip(self.one_of(&addresses)), ip(self.one_of(&addresses)));
        let port = self.random.random_range(0..2);
        let arp = Arp { operation, sender_mac, sender, target_mac: relay_mac(AWS), target };
        let tags = if port == 0 { Vlan::Untagged } else { Vlan::Single(vlan(2_100)) };
        let to = self.one_of(&[MacAddr::BROADCAST, relay_mac([ACCESS, AWS][port])]);
        self.world.inject(port, frame(tags, station, to, ethernet::ARP, &arp.bytes()));
    }

    fn remember(&mut self, port: usize, frame: Vec<u8>) {
        if self.seen.len() < 32 {
            self.seen.push((port, frame));
        }
    }

    /// Old frames once more: on a cable it only takes somebody who records.
    fn send_again(&mut self) {
        if let Some((port, frame)) = self.seen.choose(&mut self.random).cloned() {
            self.world.inject(port, frame);
        }
    }

    fn time_passes(&mut self) {
        let time = match self.random.random_range(0..20) {
            0 => Duration::from_secs(self.random.random_range(30..400)),
            1..8 => Duration::from_millis(self.random.random_range(0..3_000)),
            _ => Duration::from_micros(self.random.random_range(0..50_000)),
        };
        self.world.run(time);
    }

    fn office_moves(&mut self) {
        let name = self.one_of(&NAMES);
        let port = self.random.random_range(1_024..60_000);
        let address = self.one_of(&["192.0.2.10", "192.0.2.33", "198.18.3.4", "198.18.3.5"]);
        if self.world.office(name).is_ipsec() {
            return self.ipsec_router_moves(name, SocketAddrV4::new(ip(address), port));
        }
        match self.random.random_range(0..3) {
            0 => self.world.office(name).connect(),
            _ => self.world.office(name).outer = SocketAddrV4::new(ip(address), port),
        }
    }

    fn operator_changes_something(&mut self) {
        let name = self.one_of(&NAMES);
        let number = NAMES.iter().position(|other| *other == name).expect("one of them");
        let (what, new) =
            (self.random.random_range(0..9), tenant(number, self.vlans[number], &self.ipsec, self.redundancy, &mut self.random));
        self.note_reload(name, what == 5);
        let state = self.one_of(&[RuleState::Open, RuleState::OutsideValidity, RuleState::Isolated]);
        self.world.reload(|plan| {
            let Some(place) = plan.tenants.iter().position(|tenant| &*tenant.name == name) else { return plan.tenants.push(new) };
            let tenant = &mut plan.tenants[place];
            match what {
                0 => tenant.isolated = !tenant.isolated,
                1 => tenant.isolated_classes[0] = !tenant.isolated_classes[0],
                2 => tenant.services[0].state = state,
                3 => tenant.callbacks.clear(),
                4 => tenant.services[0].cloud_side = dataplane::simulation::network("10.10.0.11/32"),
                5 => drop(plan.tenants.remove(place)),
                6 => {
                    tenant.sources[0].translation =
                        dataplane::router_config::SourceTranslation::Napt(vec!["10.254.1.12/32".parse().expect("a prefix")]);
                }
                _ => *tenant = new,
            }
        });
    }
}
