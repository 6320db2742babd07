//! What happens to datagrams between two nodes: loss, repetition, delay and so reordering, corruption, and NATs that forget.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use ike::LocalPort;
use rand::Rng;
use rand::rngs::StdRng;

use super::config::address;

/// In parts of a hundred.
#[derive(Clone, Copy, Default)]
pub struct Impairment {
    pub lost: u32,
    pub repeated: u32,
    pub corrupted: u32,
    /// The longest delay.
    pub delay: Duration,
}

/// A NAT in front of an office: every port of it becomes another one.
#[derive(Clone, Copy)]
pub struct Nat {
    pub address: Ipv4Addr,
    /// Added to port 500 and 4500; another one after it has forgotten everything.
    pub shift: u16,
}

pub struct Cable {
    pub impairment: Impairment,
    /// By node; the relay has none.
    pub nats: Vec<Option<Nat>>,
    /// Nodes whose cable is cut.
    pub cut: Vec<bool>,
}

pub struct Arrival {
    pub to: usize,
    pub local: LocalPort,
    pub from: SocketAddrV4,
    pub message: Vec<u8>,
}

impl Cable {
    pub fn perfect(nodes: usize) -> Self {
        let impairment = Impairment { delay: Duration::from_millis(20), ..Impairment::default() };
        Self { impairment, nats: vec![None; nodes], cut: vec![false; nodes] }
    }

    /// When, where and how often a datagram arrives.
    pub fn carry(
        &mut self,
        node: usize,
        local: LocalPort,
        to: SocketAddrV4,
        message: &[u8],
        random: &mut StdRng,
    ) -> Vec<(Duration, Arrival)> {
        let from = self.outside(node, local);
        let Some((target, local)) = self.inside(to) else { return Vec::new() };
        if self.cut[node] || self.cut[target] {
            return Vec::new();
        }
        let copies = 1 + u32::from(random.random_ratio(self.impairment.repeated, 100));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let mut message = message.to_vec();
            if random.random_ratio(self.impairment.corrupted, 100) {
                let at = random.random_range(0..message.len());
                message[at] ^= 1 << random.random_range(0..8);
            }
            let longest = u64::try_from(self.impairment.delay.as_micros()).expect("a short time");
            let after = Duration::from_micros(random.random_range(longest / 10..=longest));
            if !random.random_ratio(self.impairment.lost, 100) {
                arrivals.push((after, Arrival { to: target, local, from, message }));
            }
        }
        arrivals
    }

    /// What others see as the source.
    pub fn outside(&self, node: usize, local: LocalPort) -> SocketAddrV4 {
        let port = number(local);
        match self.nats[node] {
            Some(nat) => SocketAddrV4::new(nat.address, port + nat.shift),
            None => SocketAddrV4::new(address(node), port),
        }
    }

    /// Whom others reach by an address.
    fn inside(&self, to: SocketAddrV4) -> Option<(usize, LocalPort)> {
        (0..self.nats.len()).find_map(|node| {
            let local = [LocalPort::P500, LocalPort::P4500].into_iter().find(|local| self.outside(node, *local) == to)?;
            Some((node, local))
        })
    }
}

fn number(local: LocalPort) -> u16 {
    match local {
        LocalPort::P500 => 500,
        LocalPort::P4500 => 4500,
    }
}
