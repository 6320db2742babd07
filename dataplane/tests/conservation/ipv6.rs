//! IPv6 in random worlds: hosts that use it, neighbours and routers that speak for themselves and for others.

use dataplane::router_config::{TrafficClass, Vlan};
use dataplane::simulation::municipality::{ACCESS, AWS};
use dataplane::simulation::packets6::{self, at6, icmp6};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Owner, ip6};
use dataplane::wire::ethernet::{self, MacAddr};
use rand::Rng;

use crate::chaos::{Chaos, NAMES};

/// A tenant's VLAN, and the access network: the relay's address, the gateway's, somebody's, nobody's.
const VLAN: [&str; 4] = ["fd00:1::2", "fe80::1", "fd00:1::9", "fd00:9::9"];
const ACCESS_NETWORK: [&str; 4] = ["2001:db8:c0::1", "fe80::7e", "2001:db8:c0::50", "2001:db8::50"];

impl Chaos {
    pub(crate) fn somebody_speaks_ipv6(&mut self) {
        match self.random.random_range(0..4) {
            0 => self.office_host_speaks_ipv6(),
            1 => self.neighbor_speaks(true),
            2 => self.neighbor_speaks(false),
            _ => self.router_changes_its_family(),
        }
    }

    /// A WireGuard router goes by IPv6 from now on, or by IPv4 again.
    fn router_changes_its_family(&mut self) {
        let name = self.one_of(&NAMES);
        if self.world.relay6().is_some() && !self.world.office(name).is_ipsec() {
            let ways = [None, Some(at6("[2001:db8:c0::10]:51820")), Some(at6("[2001:db8:77::7]:4444"))];
            self.world.office(name).outer6 = self.one_of(&ways);
        }
    }

    fn office_host_speaks_ipv6(&mut self) {
        let name = self.one_of(&NAMES);
        let class = self.one_of(&TrafficClass::ALL);
        let length = self.one_of(&[16, 400, 1_232, 1_372]);
        let payload = Owner::new(name, class).payload(length);
        let source = self.one_of(&["[2001:db8::17]:40000", "[fe80::17]:40000", "[::]:40000"]);
        let packet = packets6::udp6(at6(source), at6("[2001:db8::10]:443"), &payload);
        for _ in 0..self.one_of(&[1, 1, 40]) {
            self.world.office(name).send(&packet);
        }
    }

    /// A message of neighbour discovery, an echo request or something else, on a tenant's VLAN or on the access network.
    fn neighbor_speaks(&mut self, on_vlan: bool) {
        let name = self.one_of(&NAMES);
        let station = MacAddr([6, 1, 0, 0, 8, 0x35]);
        let addresses = if on_vlan { VLAN } else { ACCESS_NETWORK };
        let [source, destination, target] = [(); 3].map(|()| ip6(self.one_of(&addresses)));
        let option = self.one_of(&[vec![], [&[1, 1][..], &station.0].concat(), [&[2, 1][..], &station.0].concat(), vec![2, 0, 1]]);
        let (kind, flags) = (self.one_of(&[128, 133, 134, 135, 135, 136, 136, 137, 143]), self.one_of(&[0, 0x20, 0x60]));
        let message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), &option].concat();
        let mut packet = icmp6(source, destination, self.one_of(&[255, 255, 255, 64]), &message);
        if self.random.random_ratio(1, 8) {
            let at = self.random.random_range(0..packet.len());
            packet[at] ^= 1 << self.random.random_range(0..8);
        }
        let port = if on_vlan { AWS } else { ACCESS };
        let to = self.one_of(&[relay_mac(port), MacAddr([0x33, 0x33, 0xff, 0, 0, 2])]);
        let vlan = if on_vlan { self.vlan_of(name) } else { Vlan::Untagged };
        let frame = frame(vlan, station, to, ethernet::IPV6, &packet);
        for _ in 0..self.one_of(&[1, 1, 120]) {
            self.world.inject(usize::from(port.0), frame.clone());
        }
    }

    fn vlan_of(&mut self, name: &str) -> Vlan {
        if self.world.is_gone(name) { Vlan::Untagged } else { self.world.cloud(name).vlan }
    }
}
