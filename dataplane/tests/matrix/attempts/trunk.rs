//! Frames on the trunk that are not as a frame of the attacker's VLAN has to be.

use std::net::Ipv4Addr;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TrafficClass, Vlan};
use dataplane::simulation::municipality::AWS;
use dataplane::simulation::packets::udp;
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr, TPID_CUSTOMER, TPID_SERVICE};

use super::{Attempt, Class, Outcome, Pair, on_trunk};
use crate::town::{JOB, PRINTER, RELAY_ON_VLAN, STATION, Town, to_relay};
use TrafficClass::MyNumber;

fn id(town: &Town) -> u16 {
    let Vlan::Single(id) = town.vlan else { unreachable!("every town has one tag") };
    id.get()
}

fn job(pair: &Pair<'_>) -> Vec<u8> {
    udp(JOB, PRINTER, pair.attacker.canary(MyNumber))
}

/// A job for the printer behind these tags, each TPID and TCI.
fn tagged(pair: &Pair<'_>, tags: &[(u16, u16)], reason: DropReason) -> Attempt {
    let mut bytes = [relay_mac(AWS).0, STATION.0].concat();
    for (tpid, tci) in tags {
        bytes.extend(tpid.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(ethernet::IPV4.to_be_bytes());
    bytes.extend(job(pair));
    on_trunk(bytes, Outcome::OfPort(reason))
}

/// On the attacker's VLAN, from one station to another.
fn between(pair: &Pair<'_>, source: MacAddr, destination: MacAddr, reason: DropReason) -> Attempt {
    on_trunk(frame(pair.attacker.vlan, source, destination, ethernet::IPV4, &job(pair)), Outcome::OfPort(reason))
}

/// ARP on the attacker's VLAN.
fn arp(pair: &Pair<'_>, sender: Ipv4Addr, target: Ipv4Addr, reason: DropReason) -> Attempt {
    let arp = Arp { operation: Operation::Request, sender_mac: STATION, sender, target_mac: MacAddr::default(), target };
    on_trunk(frame(pair.attacker.vlan, STATION, MacAddr::BROADCAST, ethernet::ARP, &arp.bytes()), Outcome::OfAttacker(reason))
}

pub(super) const CLASSES: &[Class] = &[
    Class { attempt: 19, what: "no tag", make: |pair| tagged(pair, &[], DropReason::UntaggedUnexpected) },
    Class { attempt: 19, what: "VLAN 0", make: |pair| tagged(pair, &[(TPID_CUSTOMER, 0)], DropReason::VlanTagInvalid) },
    Class { attempt: 19, what: "VLAN 4095", make: |pair| tagged(pair, &[(TPID_CUSTOMER, 4_095)], DropReason::VlanTagInvalid) },
    Class { attempt: 19, what: "a VLAN of nobody", make: |pair| tagged(pair, &[(TPID_CUSTOMER, 4_094)], DropReason::VlanUnknown) },
    Class {
        attempt: 20,
        what: "another tenant's tag inside one's own, both 8100",
        make: |pair| {
            let (own, foreign) = (id(pair.attacker), id(pair.victim));
            tagged(pair, &[(TPID_CUSTOMER, own), (TPID_CUSTOMER, foreign)], DropReason::VlanTagInvalid)
        },
    },
    Class {
        attempt: 20,
        what: "another tenant's tag inside one's own, 88a8 outside",
        make: |pair| {
            let (own, foreign) = (id(pair.attacker), id(pair.victim));
            tagged(pair, &[(TPID_SERVICE, own), (TPID_CUSTOMER, foreign)], DropReason::VlanUnknown)
        },
    },
    Class {
        attempt: 20,
        what: "another tenant's number in a service tag",
        make: |pair| {
            let foreign = id(pair.victim);
            tagged(pair, &[(TPID_SERVICE, foreign)], DropReason::VlanTagInvalid)
        },
    },
    Class {
        attempt: 21,
        what: "another tenant's tag behind a priority tag",
        make: |pair| {
            let foreign = id(pair.victim);
            tagged(pair, &[(TPID_CUSTOMER, 0), (TPID_CUSTOMER, foreign)], DropReason::VlanTagInvalid)
        },
    },
    Class {
        attempt: 21,
        what: "LLC and SNAP",
        make: |pair| {
            let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &job(pair)].concat();
            let length = u16::try_from(snap.len()).expect("short");
            on_trunk(to_relay(AWS, pair.attacker.vlan, length, &snap), Outcome::OfPort(DropReason::EtherTypeUnsupported))
        },
    },
    Class {
        attempt: 23,
        what: "a claim of the relay's own address",
        make: |pair| arp(pair, RELAY_ON_VLAN, Ipv4Addr::new(10, 254, 1, 1), DropReason::ArpConflict),
    },
    Class {
        attempt: 24,
        what: "ARP for another tenant's host",
        make: |pair| {
            let private = *pair.victim.private.ip();
            arp(pair, Ipv4Addr::new(10, 254, 1, 5), private, DropReason::ArpNotForUs)
        },
    },
    Class {
        attempt: 24,
        what: "a claim of another tenant's host",
        make: |pair| {
            let private = *pair.victim.private.ip();
            arp(pair, private, private, DropReason::ArpNotForUs)
        },
    },
    Class {
        attempt: 24,
        what: "half an ARP message",
        make: |pair| {
            on_trunk(to_relay(AWS, pair.attacker.vlan, ethernet::ARP, &[0, 1, 8, 0, 6]), Outcome::OfAttacker(DropReason::ArpMalformed))
        },
    },
    Class {
        attempt: 25,
        what: "a broadcast source",
        make: |pair| between(pair, MacAddr::BROADCAST, relay_mac(AWS), DropReason::EthernetSourceInvalid),
    },
    Class {
        attempt: 25,
        what: "the relay's own station as the source",
        make: |pair| between(pair, relay_mac(AWS), relay_mac(AWS), DropReason::EthernetSourceInvalid),
    },
    Class {
        attempt: 25,
        what: "a frame for another station",
        make: |pair| between(pair, STATION, MacAddr([6; 6]), DropReason::EthernetNotForUs),
    },
    Class {
        attempt: 26,
        what: "a router advertisement",
        make: |pair| {
            let frame = frame(pair.attacker.vlan, STATION, MacAddr([0x33, 0x33, 0, 0, 0, 1]), ethernet::IPV6, &job(pair));
            on_trunk(frame, Outcome::OfAttacker(DropReason::Ipv6Refused))
        },
    },
    Class {
        attempt: 34,
        what: "an IPv4 packet that an EtherType calls IPv6",
        make: |pair| {
            let frame = to_relay(AWS, pair.attacker.vlan, ethernet::IPV6, &job(pair));
            on_trunk(frame, Outcome::OfAttacker(DropReason::Ipv6Refused))
        },
    },
    Class { attempt: 36, what: "half an Ethernet header", make: |_| on_trunk(vec![2; 13], Outcome::OfPort(DropReason::EthernetMalformed)) },
];
