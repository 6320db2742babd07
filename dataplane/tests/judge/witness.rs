//! Who watches one of the two NATs: sends it the trace, and writes down what becomes of each step in words that do not depend on chance.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use dataplane::simulation::fragments::{Reassembly, is_fragment};

use crate::words::{self, endpoints, is_pool};

/// A side of the NAT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    /// Where the office's hosts are: for the relay the inside of a tunnel.
    Office,
    /// The tenant's VLAN.
    Cloud,
}

/// A NAT that is judged: IPv4 packets go in, and what comes out at once.
pub(crate) trait Nat {
    /// Send these, one after the other, and take what came out at either side.
    fn pass(&mut self, from: Side, packets: &[Vec<u8>]) -> Vec<(Side, Vec<u8>)>;
}

/// A step of the trace and what became of it: a line for each packet, none where nothing came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) outcome: Vec<String>,
}

/// What the mappings of a NAT are called: by the endpoint behind them, the second one of the same endpoint `#2`.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<(u8, SocketAddrV4), Vec<SocketAddrV4>>);

impl Names {
    fn learn(&mut self, protocol: u8, inside: SocketAddrV4, outside: SocketAddrV4) {
        if !self.known(protocol, outside) {
            self.0.entry((protocol, inside)).or_default().push(outside);
        }
    }

    /// Whether it is a mapping.
    pub(crate) fn known(&self, protocol: u8, endpoint: SocketAddrV4) -> bool {
        self.0.iter().any(|((other, _), mapped)| *other == protocol && mapped.contains(&endpoint))
    }

    /// The newest mapping of an endpoint; where there is none, an endpoint of the pool that nobody has.
    pub(crate) fn outside(&self, protocol: u8, inside: SocketAddrV4) -> SocketAddrV4 {
        let nobody = SocketAddrV4::new(words::NOBODY, 1_023);
        self.0.get(&(protocol, inside)).and_then(|mapped| mapped.last()).copied().unwrap_or(nobody)
    }

    /// An endpoint in words.
    pub(crate) fn show(&self, protocol: u8, endpoint: SocketAddrV4) -> String {
        let is_it = |mapped: &Vec<SocketAddrV4>| mapped.iter().position(|outside| *outside == endpoint);
        let mut of_protocol = self.0.iter().filter(|((other, _), _)| *other == protocol);
        let found = of_protocol.find_map(|((_, inside), mapped)| is_it(mapped).map(|number| (inside, number)));
        let low = if endpoint.port() < 1_024 && protocol != words::ICMP { " low" } else { "" };
        match found {
            Some((inside, 0)) => format!("[{inside}{low}]"),
            Some((inside, number)) => format!("[{inside} #{}{low}]", number + 1),
            None => endpoint.to_string(),
        }
    }

    /// The addresses that a host has had in the pool.
    pub(crate) fn addresses(&self) -> BTreeMap<std::net::Ipv4Addr, std::collections::BTreeSet<std::net::Ipv4Addr>> {
        let mut addresses: BTreeMap<_, std::collections::BTreeSet<_>> = BTreeMap::new();
        for ((_, inside), mapped) in &self.0 {
            addresses.entry(*inside.ip()).or_default().extend(mapped.iter().map(|outside| *outside.ip()));
        }
        addresses
    }
}

/// See the module.
pub(crate) struct Witness<'a> {
    nat: &'a mut dyn Nat,
    pub(crate) names: Names,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Witness<'a> {
    pub(crate) fn new(nat: &'a mut dyn Nat) -> Self {
        Self { nat, names: Names::default(), steps: Vec::new() }
    }

    /// The office sends a packet; returned is what came out in the cloud.
    pub(crate) fn office(&mut self, step: &str, packet: &[u8]) -> Option<Vec<u8>> {
        self.send(Side::Office, step, &[packet.to_vec()])
    }

    /// The cloud sends a packet; returned is what came out in the office.
    pub(crate) fn cloud(&mut self, step: &str, packet: &[u8]) -> Option<Vec<u8>> {
        self.send(Side::Cloud, step, &[packet.to_vec()])
    }

    /// Packets of one side; returned is the first that came out on the other, put together where it came in fragments.
    pub(crate) fn send(&mut self, from: Side, step: &str, packets: &[Vec<u8>]) -> Option<Vec<u8>> {
        let out = joined(self.nat.pass(from, packets));
        for (_, pieces, packet) in &out {
            let source = |packet: &[u8]| endpoints(packet).map(|(protocol, source, _)| (protocol, source));
            if let (Some((protocol, outside)), true) = (source(packet), *pieces > 0)
                && is_pool(*outside.ip())
                && let Some((_, inside)) = packets.iter().find_map(|packet| source(packet))
                && !is_pool(*inside.ip())
            {
                self.names.learn(protocol, inside, outside);
            }
        }
        let numbers: Vec<[u8; 2]> = packets.iter().filter_map(|packet| Some([*packet.get(4)?, *packet.get(5)?])).collect();
        let line = |(side, pieces, packet): &(Side, usize, Vec<u8>)| {
            let text = match pieces {
                0 => " a fragment,".to_owned(),
                1 => String::new(),
                number => format!(" in {number} fragments:"),
            };
            let side = if *side == Side::Office { "office:" } else { "cloud:" };
            format!("{side}{} {}", text, words::packet(packet, &self.names, if *pieces == 1 { &numbers } else { &[] }))
        };
        let outcome = out.iter().map(line).collect();
        assert!(!self.steps.iter().any(|other| other.name == step), "two steps called {step}");
        self.steps.push(Step { name: step.to_owned(), outcome });
        out.into_iter().find(|(side, ..)| *side != from).map(|(.., packet)| packet)
    }

    /// Where a UDP endpoint of one side is for the other.
    pub(crate) fn udp(&self, inside: SocketAddrV4) -> SocketAddrV4 {
        self.names.outside(words::UDP, inside)
    }

    /// Where a TCP endpoint of one side is for the other.
    pub(crate) fn tcp(&self, inside: SocketAddrV4) -> SocketAddrV4 {
        self.names.outside(words::TCP, inside)
    }

    /// Where an identifier of a host is for the other side.
    pub(crate) fn echo(&self, inside: SocketAddrV4) -> SocketAddrV4 {
        self.names.outside(words::ICMP, inside)
    }
}

/// What came out, by side: whole packets, in how many pieces they came, and fragments that nothing completed (in no piece).
fn joined(out: Vec<(Side, Vec<u8>)>) -> Vec<(Side, usize, Vec<u8>)> {
    let mut reassembly = Reassembly::default();
    let mut waiting: Vec<(Side, Vec<u8>)> = Vec::new();
    let mut done = Vec::new();
    for (side, packet) in out {
        if !is_fragment(&packet) {
            done.push((side, 1, packet));
            continue;
        }
        waiting.push((side, packet.clone()));
        match reassembly.take(&packet) {
            Ok(Some(whole)) => {
                let is_of_it = |(_, part): &(Side, Vec<u8>)| part[4..6] == packet[4..6] && part[12..20] == packet[12..20];
                done.push((side, waiting.iter().filter(|part| is_of_it(part)).count(), whole));
                waiting.retain(|part| !is_of_it(part));
            }
            Ok(None) => {}
            Err(overlap) => panic!("fragments that overlap came out: {overlap}"),
        }
    }
    done.extend(waiting.into_iter().map(|(side, packet)| (side, 0, packet)));
    done.sort_by_key(|(side, ..)| *side);
    done
}
