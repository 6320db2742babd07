//! Many flows at once, their packets in an order that a seed decides: answers, repetitions, strangers, guesses. Nothing here is special;
//! both NATs agree on all of it.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::simulation::packets::{ping, pong, udp};
use dataplane::simulation::{at, ip};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{ACK, FIN, OTHER, PSH, SERVER, SERVICE, SYN, bytes, segment};
use crate::witness::Witness;

/// Packets of this part.
const PACKETS: usize = 400;
/// Flows at a time.
const FLOWS: usize = 12;

/// A flow of the office, and how far it has come.
struct Flow {
    kind: u8,
    inside: SocketAddrV4,
    /// Next sequence number of the office and the cloud.
    numbers: (u32, u32),
    step: u32,
}

const UDP: u8 = 0;
const TCP: u8 = 1;

impl Flow {
    /// Every one with a port of its own.
    fn new(number: u16, random: &mut SmallRng) -> Self {
        let host: Ipv4Addr =
            ["198.51.100.17", OTHER, "198.51.100.19", "198.51.100.20"][random.random_range(0..4)].parse().expect("an address");
        let inside = SocketAddrV4::new(host, 30_000 + number);
        Self { kind: random.random_range(0..3), inside, numbers: (random.random(), random.random()), step: 0 }
    }

    fn is_over(&self) -> bool {
        self.step >= if self.kind == TCP { 12 } else { 8 }
    }

    /// The next packet of an honest conversation; now and then it is sent twice.
    fn go_on(&mut self, w: &mut Witness<'_>, name: &str, random: &mut SmallRng) {
        let data = bytes(random.random(), random.random_range(0..600));
        let from_office = self.step.is_multiple_of(2);
        let packet = match self.kind {
            UDP if from_office => udp(self.inside, at(SERVICE), &data),
            UDP => udp(at(SERVER), w.udp(self.inside), &data),
            TCP => self.segment(w, &data),
            _ if from_office => ping(*self.inside.ip(), ip("203.0.113.10"), self.inside.port(), &data),
            _ => pong(ip("10.10.0.10"), *w.echo(self.inside).ip(), w.echo(self.inside).port(), &data),
        };
        let send = |w: &mut Witness<'_>, name: &str| if from_office { w.office(name, &packet) } else { w.cloud(name, &packet) };
        send(w, name);
        if random.random_ratio(1, 8) {
            send(w, &format!("{name}, once more"));
        }
        self.step += 1;
    }

    /// SYN, SYN+ACK, ACK, data of both, FINs; the office and the cloud take turns.
    fn segment(&mut self, w: &Witness<'_>, data: &[u8]) -> Vec<u8> {
        let (here, there) = self.numbers;
        let from_office = self.step.is_multiple_of(2);
        let (mine, other) = if from_office { (here, there) } else { (there, here) };
        let (flags, data) = match self.step {
            0 => (SYN, &[][..]),
            1 => (SYN | ACK, &[][..]),
            2 => (ACK, &[][..]),
            8 | 9 => (FIN | ACK, &[][..]),
            10 | 11 => (ACK, &[][..]),
            _ => (ACK | PSH, data),
        };
        let acknowledged = if self.step == 0 { 0 } else { other };
        let made = segment(flags, mine, acknowledged).with(data);
        let takes = u32::try_from(data.len()).expect("a packet") + u32::from(flags & (SYN | FIN) != 0);
        *(if from_office { &mut self.numbers.0 } else { &mut self.numbers.1 }) = mine.wrapping_add(takes);
        match from_office {
            true => made.packet(self.inside, at(SERVICE)),
            false => made.packet(at(SERVER), w.tcp(self.inside)),
        }
    }
}

/// What a stranger may try; nothing comes of it.
fn guess(w: &mut Witness<'_>, flow: &Flow, name: &str, random: &mut SmallRng) {
    let data = bytes(random.random(), 20);
    let outside = if flow.kind == TCP { w.tcp(flow.inside) } else { w.udp(flow.inside) };
    let somewhere = SocketAddrV4::new(*outside.ip(), random.random_range(1_024..=u16::MAX));
    match random.random_range(0..4) {
        0 => w.cloud(&format!("{name}: a stranger"), &udp(at("10.10.0.77:443"), outside, &data)),
        1 => w.cloud(&format!("{name}: another port"), &udp(at("10.10.0.10:444"), outside, &data)),
        2 => w.cloud(&format!("{name}: a port of nobody"), &segment(ACK, random.random(), 1).packet(at("10.10.0.11:443"), somewhere)),
        _ => w.office(&format!("{name}: a closed port"), &segment(SYN, 1, 0).packet(flow.inside, at("203.0.113.10:8080"))),
    };
}

pub(super) fn play(w: &mut Witness<'_>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut opened = 0;
    let mut flows: Vec<Flow> = Vec::new();
    for number in 0..PACKETS {
        if flows.len() < FLOWS {
            flows.push(Flow::new(opened, &mut random));
            opened += 1;
        }
        let at = random.random_range(0..flows.len());
        let name = format!("seeded {number}: {}, step {}", flows[at].inside, flows[at].step);
        if random.random_ratio(1, 10) {
            guess(w, &flows[at], &name, &mut random);
        }
        flows[at].go_on(w, &name, &mut random);
        flows.retain(|flow| !flow.is_over());
    }
}
