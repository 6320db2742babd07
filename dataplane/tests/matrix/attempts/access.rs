//! Datagrams on the access network: another's numbers, another's address, another time, or nonsense.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::{edited, other, udp};

use super::{Attempt, Class, Outcome, Pair, on_access};
use crate::town::{self, REGISTER, RELAY, RESIDENT};
use TrafficClass::MyNumber;

/// Bytes of a data message before its ciphertext: type, receiver index and counter, or SPI, sequence number and IV.
const HEADER: usize = 16;
/// Outer headers in a frame: Ethernet, IPv4, UDP.
const OUTER: usize = 14 + 20 + 8;
const WIREGUARD: u16 = 51_820;

fn port_fails(packet: &[u8], reason: DropReason) -> Attempt {
    on_access(town::on_access(packet), Outcome::OfPort(reason))
}

/// A UDP payload from the attacker's router to a port of the relay, in vain.
fn payload_fails(pair: &Pair<'_>, port: u16, payload: &[u8], reason: DropReason) -> Attempt {
    port_fails(&udp(pair.attacker.office.outer, SocketAddrV4::new(RELAY, port), payload), reason)
}

/// Move the number of the victim's old message far ahead of all that it has sent, so that the number alone is no reason to refuse it.
fn advance(pair: &Pair<'_>, message: &mut [u8]) {
    // The sequence number's highest byte of 32 bits, or the counter's fifth of 64, whose first is the lowest.
    message[if pair.victim.office.is_ipsec() { 4 } else { 12 }] ^= 0x40;
}

/// The attacker's ciphertext behind the victim's header.
fn spliced(pair: &mut Pair<'_>) -> Vec<u8> {
    let packet = udp(RESIDENT, REGISTER, pair.attacker.canary(MyNumber));
    let own = pair.attacker.sealed(&packet).split_off(OUTER);
    let mut message = pair.victim.recorded[..HEADER].to_vec();
    advance(pair, &mut message);
    message.extend_from_slice(&own[HEADER..]);
    message
}

/// A message of another kind or length than there is.
fn message(kind: u8, len: usize) -> Vec<u8> {
    let mut message = vec![0x5a; len];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message
}

pub(super) const CLASSES: &[Class] = &[
    Class {
        attempt: 9,
        what: "one's own ciphertext under another tenant's index or SPI",
        make: |pair| {
            let (message, source) = (spliced(pair), pair.attacker.office.outer);
            on_access(pair.victim.datagram(source, message), Outcome::OfVictim(DropReason::TunnelDataRejected))
        },
    },
    Class {
        attempt: 10,
        what: "one's own old datagram from another tenant's address",
        make: |pair| {
            let (recorded, source) = (pair.attacker.recorded.clone(), pair.victim.office.outer);
            on_access(pair.attacker.datagram(source, recorded), Outcome::OfAttacker(DropReason::TunnelDataReplayed))
        },
    },
    Class {
        attempt: 10,
        what: "another tenant's old datagram from one's own address",
        make: |pair| {
            let (recorded, source) = (pair.victim.recorded.clone(), pair.attacker.office.outer);
            on_access(pair.victim.datagram(source, recorded), Outcome::OfVictim(DropReason::TunnelDataReplayed))
        },
    },
    Class {
        attempt: 13,
        what: "another tenant's old datagram with a bit bent",
        make: |pair| {
            let (mut recorded, source) = (pair.victim.recorded.clone(), pair.attacker.office.outer);
            let last = recorded.len() - 1;
            recorded[last] ^= 1;
            advance(pair, &mut recorded);
            on_access(pair.victim.datagram(source, recorded), Outcome::OfVictim(DropReason::TunnelDataRejected))
        },
    },
    Class {
        attempt: 9,
        what: "a receiver index of nobody",
        make: |pair| payload_fails(pair, WIREGUARD, &message(4, 96), DropReason::TunnelReceiverUnknown),
    },
    Class { attempt: 13, what: "an SPI of nobody", make: |pair| payload_fails(pair, 4_500, &[0xff; 96], DropReason::EspSpiUnknown) },
    Class {
        attempt: 13,
        what: "an SPI of nobody without UDP",
        make: |pair| port_fails(&other(*pair.attacker.office.outer.ip(), RELAY, 50, &[0xff; 96]), DropReason::EspSpiUnknown),
    },
    Class {
        attempt: 50,
        what: "a forged handshake from another tenant's address",
        make: |pair| {
            port_fails(
                &udp(pair.victim.office.outer, SocketAddrV4::new(RELAY, WIREGUARD), &message(1, 148)),
                DropReason::TunnelHandshakeMacInvalid,
            )
        },
    },
    Class {
        attempt: 50,
        what: "a handshake message of a wrong length",
        make: |pair| payload_fails(pair, WIREGUARD, &message(1, 147), DropReason::TunnelMessageMalformed),
    },
    Class {
        attempt: 35,
        what: "a message that is none",
        make: |pair| payload_fails(pair, WIREGUARD, &message(5, 148), DropReason::TunnelMessageMalformed),
    },
    Class {
        attempt: 38,
        what: "a port of the relay that nobody listens on",
        make: |pair| payload_fails(pair, 9_273, b"GET /metrics", DropReason::NoListener),
    },
    Class {
        attempt: 10,
        what: "an outer packet for another tenant's router",
        make: |pair| {
            let packet = udp(pair.attacker.office.outer, pair.victim.office.outer, &message(4, 96));
            port_fails(&packet, DropReason::OuterNotForUs)
        },
    },
    Class {
        attempt: 35,
        what: "GRE to the relay",
        make: |pair| port_fails(&other(*pair.attacker.office.outer.ip(), RELAY, 47, &[0; 40]), DropReason::OuterProtocolUnsupported),
    },
    Class {
        attempt: 32,
        what: "a fragment of an outer packet",
        make: |pair| {
            let packet = udp(pair.attacker.office.outer, SocketAddrV4::new(RELAY, WIREGUARD), &message(4, 96));
            port_fails(&edited(packet, |packet| packet[6] = 0x20), DropReason::OuterFragment)
        },
    },
    Class {
        attempt: 36,
        what: "an outer length beyond the frame",
        make: |pair| {
            let packet = udp(pair.attacker.office.outer, SocketAddrV4::new(RELAY, WIREGUARD), &message(4, 96));
            port_fails(&edited(packet, |packet| packet[3] += 1), DropReason::OuterMalformed)
        },
    },
    Class {
        attempt: 3,
        what: "an outer source that no host has",
        make: |_| {
            let packet = udp(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 51_820), SocketAddrV4::new(RELAY, WIREGUARD), &message(4, 96));
            port_fails(&packet, DropReason::OuterMalformed)
        },
    },
];
