//! Inner packets, through the attacker's own tunnel.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::fragments::{fragment, placed};
use dataplane::simulation::packets::{Segment, edited, icmp_message, other, tcp_at, too_big, udp, unreachable};
use dataplane::simulation::packets6::{at6, extended, udp6};

use super::{Class, Outcome, Pair};
use crate::town::{CLERK, DOCUMENTS, PRINTER, REGISTER, REGISTER_INSIDE, RELAY, RELAY_ON_VLAN, RESIDENT};
use TrafficClass::{LgwanConnected, MyNumber};

/// Addresses that no single host has (RFC 1122 section 3.2.1.3, RFC 6890).
const NOBODY: [Ipv4Addr; 6] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(0, 1, 2, 3),
    Ipv4Addr::new(240, 0, 0, 1),
    Ipv4Addr::new(239, 255, 255, 255),
];

/// One of them, another for another victim.
pub(super) fn nobody(pair: &Pair<'_>) -> Ipv4Addr {
    NOBODY[pair.victim.host.ip().octets()[3] as usize % NOBODY.len()]
}

fn from(pair: &Pair<'_>, source: SocketAddrV4) -> Vec<u8> {
    udp(source, REGISTER, pair.attacker.canary(MyNumber))
}

fn to(pair: &Pair<'_>, destination: SocketAddrV4) -> Vec<u8> {
    udp(RESIDENT, destination, pair.attacker.canary(MyNumber))
}

fn at(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 443)
}

/// A packet of the session that stands, otherwise than it should be.
fn broken(pair: &mut Pair<'_>, reason: DropReason, change: impl FnOnce(&mut Vec<u8>)) -> super::Attempt {
    let packet = edited(from(pair, RESIDENT), change);
    pair.office_fails(&packet, reason)
}

fn source_fails(pair: &mut Pair<'_>, source: SocketAddrV4, reason: DropReason) -> super::Attempt {
    let packet = from(pair, source);
    pair.office_fails(&packet, reason)
}

fn destination_fails(pair: &mut Pair<'_>, destination: SocketAddrV4, reason: DropReason) -> super::Attempt {
    let packet = to(pair, destination);
    pair.office_fails(&packet, reason)
}

/// An ICMP message of an office host, to where callbacks come from.
fn icmp_fails(pair: &mut Pair<'_>, kind: (u8, u8), about: &[u8], reason: DropReason) -> super::Attempt {
    let packet = icmp_message(*RESIDENT.ip(), *pair.attacker.job_at_office.ip(), kind, [0; 4], about);
    pair.office_fails(&packet, reason)
}

/// A packet of the victim's cloud, as the victim's printer got it.
fn job_of(pair: &Pair<'_>) -> Vec<u8> {
    udp(pair.victim.job_at_office, SocketAddrV4::new(*RESIDENT.ip(), pair.victim.host.port()), b"a job")
}

fn protocol_fails(pair: &mut Pair<'_>, protocol: u8, payload: &[u8]) -> super::Attempt {
    let packet = other(*RESIDENT.ip(), *REGISTER.ip(), protocol, payload);
    pair.office_fails(&packet, DropReason::InnerProtocolUnsupported)
}

/// A loose source route by way of a host (RFC 791 section 3.1).
pub(super) fn source_route(packet: &mut Vec<u8>, by_way_of: Ipv4Addr) {
    let [a, b, c, d] = by_way_of.octets();
    packet[0] = 0x47;
    packet.splice(20..20, [131, 7, 4, a, b, c, d, 0]);
    let len = u16::try_from(packet.len()).expect("short");
    packet[2..4].copy_from_slice(&len.to_be_bytes());
}

pub(super) const CLASSES: &[Class] = &[
    Class {
        attempt: 1,
        what: "a source of another tenant's office",
        make: |pair| {
            let host = pair.victim.host;
            source_fails(pair, host, DropReason::SourceNotAdmitted)
        },
    },
    Class {
        attempt: 2,
        what: "the gateway as the source",
        make: |pair| source_fails(pair, at(Ipv4Addr::new(10, 254, 1, 1)), DropReason::SourceNotAdmitted),
    },
    Class {
        attempt: 3,
        what: "a source that no host has",
        make: |pair| {
            let source = at(nobody(pair));
            source_fails(pair, source, DropReason::InnerSourceInvalid)
        },
    },
    Class {
        attempt: 3,
        what: "a destination that no host has",
        make: |pair| {
            let destination = at(nobody(pair));
            destination_fails(pair, destination, DropReason::InnerDestinationInvalid)
        },
    },
    Class {
        attempt: 5,
        what: "the private address of another tenant's service",
        make: |pair| {
            let private = pair.victim.private;
            destination_fails(pair, private, DropReason::DestinationUnknown)
        },
    },
    Class {
        attempt: 5,
        what: "an address of another tenant's pool",
        make: |pair| {
            let mapped = pair.victim.host_in_cloud;
            destination_fails(pair, mapped, DropReason::DestinationUnknown)
        },
    },
    Class {
        attempt: 6,
        what: "the global of another tenant's service",
        make: |pair| {
            let global = pair.victim.global;
            destination_fails(pair, global, DropReason::DestinationUnknown)
        },
    },
    Class {
        attempt: 6,
        what: "another tenant's office host as the destination",
        make: |pair| {
            let host = pair.victim.host;
            destination_fails(pair, host, DropReason::DestinationUnknown)
        },
    },
    Class {
        attempt: 7,
        what: "the relay's metrics address",
        make: |pair| destination_fails(pair, SocketAddrV4::new(RELAY, 9_273), DropReason::DestinationUnknown),
    },
    Class {
        attempt: 7,
        what: "the relay's address on a VLAN",
        make: |pair| destination_fails(pair, at(RELAY_ON_VLAN), DropReason::DestinationUnknown),
    },
    Class {
        attempt: 8,
        what: "the five-tuple of another tenant's session",
        make: |pair| {
            let packet = from(pair, RESIDENT);
            pair.through_tunnel(&packet, Outcome::AttackersCloud)
        },
    },
    Class {
        attempt: 8,
        what: "the five-tuple of another tenant's session in the other class",
        make: |pair| {
            let packet = udp(CLERK, DOCUMENTS, pair.attacker.canary(LgwanConnected));
            pair.through_tunnel(&packet, Outcome::AttackersCloud)
        },
    },
    Class {
        attempt: 28,
        what: "an office's error about another tenant's callback",
        make: |pair| {
            let job = job_of(pair);
            icmp_fails(pair, (3, 3), &job, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 29,
        what: "an office's error that quotes too little",
        make: |pair| {
            let job = job_of(pair);
            icmp_fails(pair, (3, 3), &job[..27], DropReason::IcmpErrorMalformed)
        },
    },
    Class {
        attempt: 29,
        what: "an office's error about an error",
        make: |pair| {
            let error = unreachable(*pair.victim.job_at_office.ip(), *RESIDENT.ip(), &job_of(pair));
            icmp_fails(pair, (3, 3), &error, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 30,
        what: "a redirect from the office",
        make: |pair| {
            let job = job_of(pair);
            let packet = icmp_message(*RESIDENT.ip(), *REGISTER.ip(), (5, 1), [0; 4], &job);
            pair.office_fails(&packet, DropReason::IcmpTypeRefused)
        },
    },
    Class {
        attempt: 31,
        what: "an office's word of an MTU of 68",
        make: |pair| {
            let packet = too_big(*RESIDENT.ip(), *pair.attacker.job_at_office.ip(), 68, &job_of(pair));
            pair.office_fails(&packet, DropReason::IcmpMtuTooSmall)
        },
    },
    Class {
        attempt: 32,
        what: "a first fragment that hides its transport header",
        make: |pair| {
            let syn = tcp_at(RESIDENT, REGISTER, Segment::Syn(None), (1, 0), &[]);
            pair.office_fails(&fragment(&syn, 7, (0, 8), true), DropReason::FragmentTiny)
        },
    },
    Class {
        attempt: 32,
        what: "a last fragment that would replace a transport header",
        make: |pair| {
            let syn = tcp_at(RESIDENT, REGISTER, Segment::Syn(None), (1, 0), pair.attacker.canary(MyNumber));
            pair.office_fails(&placed(syn, 7, 8, false), DropReason::FragmentTiny)
        },
    },
    Class {
        attempt: 33,
        what: "a fragment that ends beyond 65,535",
        make: |pair| broken(pair, DropReason::FragmentMalformed, |packet| packet[6..8].copy_from_slice(&[0x1f, 0xff])),
    },
    Class {
        attempt: 34,
        what: "a source route by way of another tenant's service",
        make: |pair| {
            let private = *pair.victim.private.ip();
            broken(pair, DropReason::InnerOptions, |packet| source_route(packet, private))
        },
    },
    Class {
        attempt: 34,
        what: "IPv6 inside",
        make: |pair| {
            // With a next header of 0: about extension headers nobody is answered.
            let mut packet = vec![0; 60];
            packet[0] = 0x60;
            packet[5] = 20;
            pair.header_fails(&packet, DropReason::Ipv6Refused)
        },
    },
    Class {
        attempt: 34,
        what: "a routing header of type 0 by way of another tenant's service",
        make: |pair| {
            let private = pair.victim.private.ip().to_ipv6_mapped();
            let inside = udp6(at6("[2001:db8::17]:40000"), at6("[2001:db8::10]:443"), pair.attacker.canary(MyNumber));
            let packet = extended(&inside, 43, &[&[2, 0, 1, 0, 0, 0, 0][..], &private.octets()].concat());
            pair.header_fails(&packet, DropReason::Ipv6Refused)
        },
    },
    Class {
        attempt: 35,
        what: "IP in IP for another tenant's service",
        make: |pair| {
            let inside = udp(pair.victim.host, pair.victim.global, b"inside");
            protocol_fails(pair, 4, &inside)
        },
    },
    Class {
        attempt: 35,
        what: "GRE",
        make: |pair| {
            let inside = [&[0, 0, 8, 0][..], &udp(pair.victim.host, pair.victim.global, b"inside")].concat();
            protocol_fails(pair, 47, &inside)
        },
    },
    Class {
        attempt: 35,
        what: "another tenant's datagram as ESP inside",
        make: |pair| {
            let recorded = pair.victim.recorded.clone();
            protocol_fails(pair, 50, &recorded)
        },
    },
    Class {
        attempt: 35,
        what: "another tenant's datagram to the relay's port inside",
        make: |pair| {
            let packet = udp(RESIDENT, SocketAddrV4::new(*REGISTER.ip(), 51_820), &pair.victim.recorded);
            pair.office_fails(&packet, DropReason::ServicePortClosed)
        },
    },
    Class {
        attempt: 36,
        what: "a UDP length beyond the packet",
        make: |pair| broken(pair, DropReason::InnerMalformed, |packet| packet[25] += 1),
    },
    Class {
        attempt: 36,
        what: "a header shorter than any header",
        make: |pair| {
            let packet = edited(from(pair, RESIDENT), |packet| packet[0] = 0x44);
            pair.header_fails(&packet, DropReason::InnerMalformed)
        },
    },
    Class {
        attempt: 36,
        what: "a wrong header checksum",
        make: |pair| {
            let mut packet = from(pair, RESIDENT);
            packet[10] ^= 1;
            pair.office_fails(&packet, DropReason::InnerChecksumInvalid)
        },
    },
    Class {
        attempt: 37,
        what: "a segment of a connection that never began",
        make: |pair| {
            let packet = tcp_at(pair.attacker.host, REGISTER, Segment::Ack, (7, 7), &pair.canary(MyNumber));
            pair.office_fails(&packet, DropReason::TcpNotSyn)
        },
    },
    Class {
        attempt: 51,
        what: "a mynumber host to an lgwan-connected service",
        make: |pair| destination_fails(pair, DOCUMENTS, DropReason::ServiceOfOtherClass),
    },
    Class {
        attempt: 52,
        what: "an lgwan-connected host to a mynumber service",
        make: |pair| {
            let packet = udp(CLERK, REGISTER, pair.attacker.canary(LgwanConnected));
            pair.office_fails(&packet, DropReason::ServiceOfOtherClass)
        },
    },
    Class {
        attempt: 54,
        what: "from the office back into the office, to the other class",
        make: |pair| destination_fails(pair, CLERK, DropReason::DestinationUnknown),
    },
    Class {
        attempt: 55,
        what: "an error of one class about a callback of the other",
        make: |pair| {
            let job = udp(pair.attacker.job_at_office, SocketAddrV4::new(*RESIDENT.ip(), PRINTER.port()), b"a job");
            let packet = icmp_message(*CLERK.ip(), *pair.attacker.job_at_office.ip(), (3, 3), [0; 4], &job);
            pair.office_fails(&packet, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 57,
        what: "a source of the Internet zone",
        make: |pair| source_fails(pair, at(Ipv4Addr::new(192, 168, 1, 5)), DropReason::SourceNotAdmitted),
    },
    Class {
        attempt: 58,
        what: "a destination of conventional LGWAN traffic",
        make: |pair| destination_fails(pair, at(Ipv4Addr::new(192, 0, 2, 200)), DropReason::ConventionalLgwan),
    },
    Class {
        attempt: 59,
        what: "a public destination",
        make: |pair| destination_fails(pair, SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, 8), 53), DropReason::DestinationUnknown),
    },
    Class {
        attempt: 59,
        what: "the cloud host behind one's own service, by its private address",
        make: |pair| destination_fails(pair, REGISTER_INSIDE, DropReason::DestinationUnknown),
    },
];
