//! What the relay sends arrives: at clouds, at offices, at whoever answers for an address on the access network.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::router_config::Vlan;
use crate::simulation::municipality::ACCESS;
use crate::simulation::office::{NO_UDP, Office};
use crate::simulation::packets6;
use crate::simulation::stations::{Cloud, answer_arp, answer_solicitation};
use crate::simulation::world::World;
use crate::wire::ethernet::{self, Ethernet, MacAddr};
use crate::wire::underlay;

/// The access network's gateway.
pub(super) const ACCESS_GATEWAY_MAC: MacAddr = MacAddr([6, 0, 0, 0, 0, 126]);
/// Its IPv6 address, as `plan::with_ipv6` has it.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x7e);

impl World {
    pub(super) fn deliver_to_stations(&mut self) -> bool {
        let mut arrived = false;
        for port in 0..self.from_relay.len() {
            while let Some(frame) = self.from_relay[port].arrived(self.now) {
                arrived = true;
                // Weather may have bent it beyond recognition.
                let Ok(header) = Ethernet::parse(&frame) else { continue };
                if port == usize::from(ACCESS.0) {
                    self.arrive_on_access(&header, &frame[header.header_len..]);
                } else if let Some(cloud) = self.cloud_of(port, header.vlan) {
                    cloud.receive(&header, &frame[header.header_len..]);
                }
            }
        }
        arrived
    }

    fn cloud_of(&mut self, port: usize, vlan: Vlan) -> Option<&mut Cloud> {
        self.clouds.iter_mut().find(|cloud| usize::from(cloud.port.0) == port && cloud.vlan == vlan)
    }

    fn arrive_on_access(&mut self, header: &Ethernet, payload: &[u8]) {
        if header.ethertype == ethernet::ARP {
            let target = crate::wire::arp::Arp::parse(payload, header.source).map(|arp| arp.target);
            let is_somebody = |address: Ipv4Addr| address.octets()[..3] == [192, 0, 2] && !address.octets()[3].is_multiple_of(128);
            if let Ok(target) = target {
                let answer = answer_arp(payload, header, access_mac(target), is_somebody);
                answer.into_iter().for_each(|frame| self.inject(usize::from(ACCESS.0), frame));
            }
            return;
        }
        if header.ethertype == ethernet::IPV6 {
            let is_somebody = |address: Ipv6Addr| address == GATEWAY6 || address.segments()[..4] == [0x2001, 0xdb8, 0xc0, 0];
            match answer_solicitation(payload, header, ACCESS_GATEWAY_MAC, is_somebody) {
                Some(answer) => self.inject(usize::from(ACCESS.0), answer),
                None => self.arrive_over_ipv6(payload),
            }
            return;
        }
        let destination = payload.get(16..20).map_or(Ipv4Addr::UNSPECIFIED, |bytes| Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]));
        match underlay::parse(payload, destination) {
            Ok(underlay::Outer::Udp(datagram)) => {
                let inside = &payload[underlay::HEADERS_LEN..][..datagram.payload_len];
                match self.offices.iter().position(|office| office.outer == datagram.destination) {
                    Some(office) => self.arrive_at_office(office, datagram.source.port(), inside),
                    None => self.strays.push(payload.to_vec()),
                }
            }
            Ok(underlay::Outer::Esp(esp)) => {
                let inside = &payload[underlay::IPV4_LEN..][..esp.payload_len];
                let is_it = |office: &Office| !office.in_udp && *office.outer.ip() == destination;
                match self.offices.iter().position(is_it) {
                    Some(office) => self.arrive_at_office(office, NO_UDP, inside),
                    None => self.strays.push(payload.to_vec()),
                }
            }
            _ => self.strays.push(payload.to_vec()),
        }
    }

    fn arrive_over_ipv6(&mut self, packet: &[u8]) {
        let datagram = packets6::datagram(packet);
        let office = datagram.as_ref().and_then(|(_, to, _)| self.offices.iter().position(|office| office.outer6 == Some(*to)));
        match (datagram, office) {
            (Some((from, _, inside)), Some(office)) => self.arrive_at_office(office, from.port(), &inside),
            _ => self.strays6.push(packet.to_vec()),
        }
    }

    fn arrive_at_office(&mut self, office: usize, from: u16, datagram: &[u8]) {
        if let Some(packet) = self.offices[office].receive(from, datagram) {
            self.judge_in_office(office, &packet);
        }
    }
}

/// The station that has this address on the access network, or leads to it.
pub(super) fn access_mac(address: Ipv4Addr) -> MacAddr {
    match address.octets() {
        [192, 0, 2, last] if last < 126 => MacAddr([6, 0, 0, 0, 1, last]),
        _ => ACCESS_GATEWAY_MAC,
    }
}
