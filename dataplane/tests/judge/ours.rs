//! The relay's NAT: the real worker in a simulated world, between a real tunnel and a VLAN.

use std::collections::BTreeMap;

use dataplane::router_config::{Allow, PortMap, ServiceConfig, TrafficClass};
use dataplane::simulation::municipality::service;
use dataplane::simulation::{World, municipality};
use dataplane::time::Duration;

use crate::witness::{Nat, Side};

pub(crate) struct Ours {
    world: World,
}

impl Ours {
    /// The municipality of most tests, with a second service and one through which its hosts reach each other.
    pub(crate) fn new(seed: u64) -> Self {
        let mut town = municipality("a", 2_101);
        let range = |from, to| PortMap { from: from..=to, to: from };
        let second = service("range", TrafficClass::MyNumber, "203.0.113.11/32", "10.10.0.11/32");
        town.services.push(ServiceConfig { allow: vec![Allow::Tcp(range(2_000, 2_099)), Allow::Udp(range(2_000, 2_099))], ..second });
        let each_other = service("each other", TrafficClass::MyNumber, "10.254.1.8/30", "10.254.1.8/30");
        town.services.push(ServiceConfig { allow: vec![Allow::Udp(range(1_024, 65_535))], ..each_other });
        let mut world = World::new(seed, [town]);
        // The trace has wrong transport checksums in it.
        world.hosts_err = true;
        Self { world }
    }

    /// Why packets were lost so far, and how many.
    pub(crate) fn losses(&self) -> BTreeMap<&'static str, i64> {
        let counts = self.world.counts();
        self.world.reasons().into_iter().map(|reason| (reason.label(), counts.get(&format!("a.drops.{}", reason.label())))).collect()
    }
}

impl Nat for Ours {
    fn pass(&mut self, from: Side, packets: &[Vec<u8>]) -> Vec<(Side, Vec<u8>)> {
        for packet in packets {
            match from {
                Side::Office => self.world.office("a").send(packet),
                Side::Cloud => self.world.cloud("a").send(packet),
            }
        }
        self.world.run(Duration::from_millis(5));
        let office = self.world.office("a").received().into_iter().map(|packet| (Side::Office, packet));
        let office: Vec<_> = office.collect();
        office.into_iter().chain(self.world.cloud("a").received().into_iter().map(|packet| (Side::Cloud, packet))).collect()
    }
}
