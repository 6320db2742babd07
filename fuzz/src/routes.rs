//! The two routes as a whole: a worker among three tenants that share every address, two of them with WireGuard and one with IPsec, and
//! whatever anybody sends, in any order. The simulation judges after every round that each packet has one end, that no frame is lost, and
//! that nothing of one tenant, or of one class, comes out at another's. Here is judged besides that whoever sends moves nobody else's
//! counters.

mod packet;

use std::num::NonZeroU16;

use dataplane::router_config::{RuleState, TenantConfig, Vlan, VlanId};
use dataplane::simulation::canary::owners;
use dataplane::simulation::municipality::{ACCESS, nonzero};
use dataplane::simulation::packets6::network6;
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Dimensions, World, ipsec_municipality, municipality, packets};
use dataplane::time::Duration;
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::Input;

const NAMES: [&str; 3] = ["chiyoda", "chuo", "minato"];
const PORTS: usize = 3;
const MOST_STEPS: usize = 40;
/// Whoever listens on a cable remembers so many frames.
const MOST_SEEN: usize = 16;

fn tenant(which: usize) -> TenantConfig {
    let make = if which == 1 { ipsec_municipality } else { municipality };
    let mut tenant = make(NAMES[which], [2_101, 2_102, 2_103][which]);
    tenant.limits.sessions = nonzero(16);
    tenant.attachments[0].address6 = Some(network6("fd00:1::2/64"));
    tenant
}

/// How the world is, and what happens in it.
pub fn check(data: &[u8]) {
    // What freed frames are overwritten with would be taken for a leftover.
    let data: Vec<u8> = data.iter().map(|octet| if *octet == 0xdb { 0xda } else { *octet }).collect();
    let mut input = Input::new(&data);
    let shape = input.u8();
    let frames = if shape & 1 == 0 { 512 } else { 192 };
    let dimensions = Dimensions { frames, ring: 16, ipv6: shape & 2 != 0, ..Dimensions::default() };
    let mut world = World::with(1, (0..NAMES.len()).map(tenant), dimensions);
    world.hosts_err = true;
    let mut life = Life { world, seen: Vec::new() };
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        life.step(&mut input);
    }
    life.world.run(Duration::from_millis(300));
}

/// A world with what has been seen in it.
struct Life {
    world: World,
    seen: Vec<(usize, Vec<u8>)>,
}

impl Life {
    fn step(&mut self, input: &mut Input<'_>) {
        let (what, who) = (input.u8() % 16, usize::from(input.u8()) % NAMES.len());
        match what {
            0..3 => {
                let packet = packet::from_office(NAMES[who], input);
                self.alone(who, |life| life.office_sends(who, &packet));
            }
            3 | 4 => {
                let packet = packet::from_cloud(NAMES[who], input);
                self.alone(who, |life| life.cloud_sends(who, &packet));
            }
            5 => {
                let noise = noise(input);
                self.alone(who, |life| life.office_sends(who, &noise));
            }
            6 => {
                let noise = noise(input);
                self.alone(who, |life| life.cloud_sends(who, &noise));
            }
            7 => self.answer_is_quoted(who, input),
            8 => self.bent_datagram(who, input),
            9 => self.anybody_sends(input),
            10 => self.somebody_asks_for_a_station(who, input),
            11 => self.again(input),
            12 => self.world.run(Duration::from_millis(u64::from(input.u16() % 4_000))),
            13 => self.world.run(Duration::from_secs(u64::from(input.u8()))),
            14 => self.operator_changes(who, input.u8()),
            _ => self.hosts_wake(who, input.u8()),
        }
        self.world.settle();
        while self.world.event().is_some() {}
    }

    /// What one tenant does, at one moment: no counter of another tenant moves.
    fn alone(&mut self, who: usize, act: impl FnOnce(&mut Self)) {
        self.world.settle();
        let others: Vec<String> = (0..NAMES.len())
            .filter(|other| *other != who)
            .flat_map(|other| ['.', '/'].map(|end| format!("{}{end}", NAMES[other])))
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let before = self.world.counts().only(&others);
        act(self);
        self.world.settle();
        let moved = self.world.counts().only(&others).since(&before).differences(&Counts::new());
        assert!(moved.is_empty(), "{} moved the counters of others: {moved:?}", NAMES[who]);
    }

    fn remember(&mut self, port: usize, frame: Vec<u8>) {
        if self.seen.len() == MOST_SEEN {
            self.seen.remove(0);
        }
        self.seen.push((port, frame));
    }

    fn office_sends(&mut self, who: usize, packet: &[u8]) {
        if let Some(datagram) = self.world.office(NAMES[who]).seal(packet) {
            let frame = self.on_the_access_line(who, &datagram);
            self.remember(usize::from(ACCESS.0), frame.clone());
            self.world.inject(usize::from(ACCESS.0), frame);
        }
    }

    fn on_the_access_line(&mut self, who: usize, datagram: &[u8]) -> Vec<u8> {
        let relay = *self.world.relay().ip();
        let office = self.world.office(NAMES[who]);
        let port = if office.is_ipsec() { 4_500 } else { 51_820 };
        let outer = office.outer;
        let packet = packets::udp(outer, std::net::SocketAddrV4::new(relay, port), datagram);
        let mac = MacAddr([6, 0, 0, 0, 1, outer.ip().octets()[3]]);
        frame(Vlan::Untagged, mac, relay_mac(ACCESS), ethernet::IPV4, &packet)
    }

    fn cloud_sends(&mut self, who: usize, packet: &[u8]) {
        if self.world.is_gone(NAMES[who]) {
            return;
        }
        let cloud = self.world.cloud(NAMES[who]);
        let (port, frame) = (usize::from(cloud.port.0), cloud.frame(ethernet::IPV4, packet));
        self.remember(port, frame.clone());
        self.world.inject(port, frame);
    }

    /// An ICMP error about what the tenant's hosts received last.
    fn answer_is_quoted(&mut self, who: usize, input: &mut Input<'_>) {
        let name = NAMES[who];
        let received = if self.world.is_gone(name) { Vec::new() } else { self.world.cloud(name).received() };
        let in_office = self.world.office(name).received();
        let (how, len) = (input.u8(), usize::from(input.u8()).max(28));
        let error = |about: &Vec<u8>| packet::error_about(about, how, len);
        if let Some(error) = received.last().map(error) {
            self.alone(who, |life| life.cloud_sends(who, &error));
        }
        if let Some(error) = in_office.last().map(error) {
            self.alone(who, |life| life.office_sends(who, &error));
        }
    }

    /// A tenant's datagram with some octets that are others now, from wherever.
    fn bent_datagram(&mut self, who: usize, input: &mut Input<'_>) {
        let packet = packet::from_office(NAMES[who], input);
        let Some(mut datagram) = self.world.office(NAMES[who]).seal(&packet) else { return };
        for _ in 0..input.u8() % 4 + 1 {
            let at = usize::from(input.u16()) % datagram.len();
            datagram[at] ^= input.u8();
        }
        let mut frame = self.on_the_access_line(who, &datagram);
        if input.u8() & 1 == 1 {
            // The outer source, and its checksum.
            frame[29] = input.u8();
            crate::plain::put_checksum(&mut frame[14..34], 10);
        }
        self.world.inject(usize::from(ACCESS.0), frame);
    }

    fn anybody_sends(&mut self, input: &mut Input<'_>) {
        let (port, how) = (usize::from(input.u8()) % PORTS, input.u8());
        let noise = noise(input);
        let stranger = MacAddr([6, 9, 9, 9, 9, how >> 4]);
        let vlan = |id| VlanId::new(id).map_or(Vlan::Untagged, Vlan::Single);
        let tags = [Vlan::Untagged, vlan(2_101), vlan(2_102), vlan(2_104)][usize::from(how & 3)];
        let mac = relay_mac(dataplane::router_config::PortId(u8::try_from(port).expect("few")));
        let frame = match (how >> 2) & 3 {
            0 => noise,
            1 => frame(tags, stranger, mac, ethernet::IPV4, &noise),
            2 => frame(tags, stranger, mac, ethernet::IPV4, &crate::plain::mended(&noise)),
            _ => frame(tags, stranger, MacAddr::BROADCAST, ethernet::ARP, &noise),
        };
        self.world.inject(port, frame);
    }

    fn somebody_asks_for_a_station(&mut self, who: usize, input: &mut Input<'_>) {
        if self.world.is_gone(NAMES[who]) {
            return;
        }
        let (how, sender, target) = (input.u8(), input.u8(), input.u8());
        let cloud = self.world.cloud(NAMES[who]);
        let operation = if how & 1 == 0 { Operation::Request } else { Operation::Reply };
        let sender_mac = if how & 2 == 0 { cloud.mac } else { MacAddr([6, 6, 6, 6, 6, how]) };
        let [sender, target] = [sender, target].map(|last| std::net::Ipv4Addr::new(10, 254, 1, last & 0x3f));
        let arp = Arp { operation, sender_mac, sender, target_mac: relay_mac(cloud.port), target };
        cloud.send_arp(&arp, if how & 4 == 0 { MacAddr::BROADCAST } else { relay_mac(cloud.port) });
    }

    /// An old frame once more, into any port.
    fn again(&mut self, input: &mut Input<'_>) {
        let (which, port) = (usize::from(input.u8()), usize::from(input.u8()));
        if let Some((seen_on, frame)) = self.seen.get(which % self.seen.len().max(1)).cloned() {
            // Onto a VLAN of another's: only on the port that has it is it that VLAN.
            self.world.inject(if port & 0x80 == 0 { seen_on } else { port % PORTS }, frame);
        }
    }

    fn hosts_wake(&mut self, who: usize, how: u8) {
        let name = NAMES[who];
        self.world.office(name).answers = how & 1 == 1;
        if !self.world.is_gone(name) {
            self.world.cloud(name).answers = how & 2 == 2;
        }
        if how & 4 == 4 && !self.world.office(name).is_ipsec() {
            self.world.office(name).connect();
        }
    }

    fn operator_changes(&mut self, who: usize, how: u8) {
        let name = NAMES[who];
        let new = tenant(who);
        self.world.reload(|plan| {
            let Some(place) = plan.tenants.iter().position(|tenant| &*tenant.name == name) else { return plan.tenants.push(new) };
            let tenant = &mut plan.tenants[place];
            match how & 7 {
                0 => tenant.isolated = !tenant.isolated,
                1 => tenant.isolated_classes[usize::from((how >> 3) & 1)] ^= true,
                2 => {
                    tenant.services[0].state = [RuleState::Open, RuleState::OutsideValidity, RuleState::Isolated][usize::from(how >> 3) % 3]
                }
                3 => tenant.callbacks.clear(),
                4 => tenant.limits.sessions = nonzero(u32::from(how >> 3) + 1),
                5 => drop(plan.tenants.remove(place)),
                6 => plan.spare_port = NonZeroU16::new(u16::from(how >> 3) * 2_000),
                _ => *tenant = new,
            }
        });
    }
}

/// Bytes that nobody made as a packet. What looks like a canary would be an accusation of nobody.
fn noise(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.u16()) % 1_500;
    let bytes = input.take(len);
    if owners(bytes).next().is_some() { Vec::new() } else { bytes.to_vec() }
}
