//! Packets on the attacker's own VLAN.

use std::net::SocketAddrV4;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::{Segment, edited, icmp_message, other, tcp_at, too_big, udp, unreachable};

use super::from_office::{nobody, source_route};
use super::{Attempt, Class, Outcome, Pair};
use crate::town::{CLERK_IN_CLOUD, DOCUMENTS, JOB, PRINTER, REGISTER_INSIDE, RELAY_ON_VLAN, RESIDENT};
use TrafficClass::{LgwanConnected, MyNumber};

fn call(pair: &Pair<'_>, source: SocketAddrV4, destination: SocketAddrV4, reason: DropReason) -> Attempt {
    pair.cloud_fails(&udp(source, destination, pair.attacker.canary(MyNumber)), reason)
}

/// A job for the printer, otherwise than it should be.
fn broken(pair: &Pair<'_>, reason: DropReason, change: impl FnOnce(&mut Vec<u8>)) -> Attempt {
    pair.cloud_fails(&edited(udp(JOB, PRINTER, pair.attacker.canary(MyNumber)), change), reason)
}

/// What the victim's cloud host got from the victim's office, without its payload.
fn seen_by_victims_cloud(pair: &Pair<'_>) -> Vec<u8> {
    udp(pair.victim.host_in_cloud, pair.victim.private, b"")
}

/// What the attacker's own cloud host got.
fn seen_by_own_cloud(pair: &Pair<'_>) -> Vec<u8> {
    udp(pair.attacker.host_in_cloud, pair.attacker.private, b"")
}

/// An ICMP message from the attacker's own cloud host to where its office's packets come from.
fn icmp_fails(pair: &Pair<'_>, kind: (u8, u8), about: &[u8], reason: DropReason) -> Attempt {
    pair.cloud_fails(&icmp_message(*pair.attacker.private.ip(), *pair.attacker.host_in_cloud.ip(), kind, [0; 4], about), reason)
}

pub(super) const CLASSES: &[Class] = &[
    Class {
        attempt: 3,
        what: "a cloud source that no host has",
        make: |pair| call(pair, SocketAddrV4::new(nobody(pair), 50_000), PRINTER, DropReason::InnerSourceInvalid),
    },
    Class {
        attempt: 3,
        what: "a cloud destination that no host has",
        make: |pair| call(pair, JOB, SocketAddrV4::new(nobody(pair), 9_100), DropReason::InnerDestinationInvalid),
    },
    Class {
        attempt: 7,
        what: "the relay's own address from a VLAN",
        make: |pair| call(pair, JOB, SocketAddrV4::new(RELAY_ON_VLAN, 9_273), DropReason::RelayAddress),
    },
    Class {
        attempt: 8,
        what: "the answer that every tenant's cloud gives",
        make: |pair| {
            let packet = udp(REGISTER_INSIDE, pair.attacker.resident_in_cloud, pair.attacker.canary(MyNumber));
            pair.on_vlan(&packet, Outcome::AttackersOffice)
        },
    },
    Class {
        attempt: 8,
        what: "the answer that every tenant's cloud gives in the other class",
        make: |pair| {
            let packet = udp(DOCUMENTS, CLERK_IN_CLOUD, pair.attacker.canary(LgwanConnected));
            pair.on_vlan(&packet, Outcome::AttackersOffice)
        },
    },
    Class {
        attempt: 8,
        what: "the call that every tenant's cloud makes",
        make: |pair| {
            let packet = udp(JOB, PRINTER, pair.attacker.canary(MyNumber));
            pair.on_vlan(&packet, Outcome::AttackersOffice)
        },
    },
    Class {
        attempt: 22,
        what: "another tenant's answer on the wrong VLAN",
        make: |pair| call(pair, pair.victim.private, pair.victim.host_in_cloud, DropReason::NoSession),
    },
    Class {
        attempt: 39,
        what: "a guess of another tenant's port",
        make: |pair| {
            let guess = SocketAddrV4::new(*pair.attacker.host_in_cloud.ip(), pair.victim.host_in_cloud.port());
            call(pair, pair.victim.private, guess, DropReason::NoSession)
        },
    },
    Class {
        attempt: 5,
        what: "another tenant's office host from the cloud",
        make: |pair| call(pair, JOB, pair.victim.host, DropReason::CallbackNotAllowed),
    },
    Class {
        attempt: 5,
        what: "another tenant's service from the cloud",
        make: |pair| call(pair, JOB, pair.victim.private, DropReason::CallbackNotAllowed),
    },
    Class {
        attempt: 28,
        what: "an error about another tenant's flow",
        make: |pair| {
            let seen = seen_by_victims_cloud(pair);
            icmp_fails(pair, (3, 3), &seen, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 28,
        what: "time exceeded about another tenant's flow",
        make: |pair| {
            let seen = seen_by_victims_cloud(pair);
            icmp_fails(pair, (11, 0), &seen, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 29,
        what: "an error with options about another tenant's flow",
        make: |pair| {
            let error = unreachable(*pair.attacker.private.ip(), *pair.attacker.host_in_cloud.ip(), &seen_by_victims_cloud(pair));
            let private = *pair.victim.private.ip();
            pair.cloud_fails(&edited(error, |packet| source_route(packet, private)), DropReason::InnerOptions)
        },
    },
    Class { attempt: 29, what: "an error that quotes nothing", make: |pair| icmp_fails(pair, (3, 3), &[], DropReason::IcmpErrorMalformed) },
    Class {
        attempt: 29,
        what: "an error whose quote is broken",
        make: |pair| {
            let mut quote = seen_by_own_cloud(pair);
            quote[10] ^= 1;
            icmp_fails(pair, (3, 3), &quote, DropReason::IcmpErrorMalformed)
        },
    },
    Class {
        attempt: 29,
        what: "an error with a wrong checksum",
        make: |pair| {
            let mut error = unreachable(*pair.attacker.private.ip(), *pair.attacker.host_in_cloud.ip(), &seen_by_own_cloud(pair));
            error[22] ^= 1;
            pair.cloud_fails(&error, DropReason::IcmpChecksumInvalid)
        },
    },
    Class {
        attempt: 30,
        what: "a redirect from the cloud",
        make: |pair| {
            let packet = icmp_message(*JOB.ip(), *PRINTER.ip(), (5, 1), [0; 4], &seen_by_victims_cloud(pair));
            pair.cloud_fails(&packet, DropReason::IcmpTypeRefused)
        },
    },
    Class {
        attempt: 31,
        what: "fragmentation needed with an MTU of 68",
        make: |pair| {
            let packet = too_big(*pair.attacker.private.ip(), *pair.attacker.host_in_cloud.ip(), 68, &seen_by_own_cloud(pair));
            pair.cloud_fails(&packet, DropReason::IcmpMtuTooSmall)
        },
    },
    Class {
        attempt: 31,
        what: "fragmentation needed about another tenant's flow",
        make: |pair| {
            let packet = too_big(*pair.attacker.private.ip(), *pair.attacker.host_in_cloud.ip(), 1_280, &seen_by_victims_cloud(pair));
            pair.cloud_fails(&packet, DropReason::IcmpErrorUnmatched)
        },
    },
    Class {
        attempt: 33,
        what: "a fragment from the cloud that ends beyond 65,535",
        make: |pair| broken(pair, DropReason::FragmentMalformed, |packet| packet[6..8].copy_from_slice(&[0x1f, 0xff])),
    },
    Class {
        attempt: 34,
        what: "a source route from the cloud",
        make: |pair| {
            let host = *pair.victim.host.ip();
            broken(pair, DropReason::InnerOptions, |packet| source_route(packet, host))
        },
    },
    Class {
        attempt: 35,
        what: "IP in IP from the cloud",
        make: |pair| {
            let inside = udp(pair.victim.private, pair.victim.host_in_cloud, b"inside");
            pair.cloud_fails(&other(*JOB.ip(), *PRINTER.ip(), 4, &inside), DropReason::InnerProtocolUnsupported)
        },
    },
    Class {
        attempt: 36,
        what: "a length beyond the frame",
        make: |pair| broken(pair, DropReason::InnerMalformed, |packet| packet[3] += 1),
    },
    Class {
        attempt: 37,
        what: "a reset of another tenant's connection",
        make: |pair| {
            let packet = tcp_at(pair.victim.private, pair.victim.host_in_cloud, Segment::Rst, (7, 0), &[]);
            pair.cloud_fails(&packet, DropReason::NoSession)
        },
    },
    Class {
        attempt: 37,
        what: "a SYN to another tenant's mapping",
        make: |pair| {
            let packet = tcp_at(pair.victim.private, pair.victim.host_in_cloud, Segment::Syn(None), (7, 0), &[]);
            pair.cloud_fails(&packet, DropReason::NoSession)
        },
    },
    Class {
        attempt: 53,
        what: "a cloud host of one class to the callback of the other",
        make: |pair| {
            let packet = udp(DOCUMENTS, PRINTER, pair.attacker.canary(LgwanConnected));
            pair.cloud_fails(&packet, DropReason::CallbackNotAllowed)
        },
    },
    Class {
        attempt: 54,
        what: "from the cloud back into the cloud, to the other class",
        make: |pair| call(pair, JOB, DOCUMENTS, DropReason::CallbackNotAllowed),
    },
    Class {
        attempt: 53,
        what: "an office host by its own address",
        make: |pair| call(pair, JOB, RESIDENT, DropReason::CallbackNotAllowed),
    },
];
