//! UDP: mappings, filtering, hairpinning, callbacks, and what a router does besides.

use dataplane::simulation::at;
use dataplane::simulation::packets::{edited, udp};

use super::{CLERK, CLERK_OUTSIDE, CLIENT, DOCUMENTS, OTHER, SERVER, SERVICE, STRANGER, bent, bytes, transport};
use crate::witness::Witness;

fn port(host: &str, port: u16) -> std::net::SocketAddrV4 {
    at(&format!("{host}:{port}"))
}

pub(super) fn play(w: &mut Witness<'_>) {
    flow(w);
    refused(w);
    mapping(w);
    filtering(w);
    hairpin(w);
    callback(w);
    forwarding(w);
    malformed(w);
}

fn flow(w: &mut Witness<'_>) {
    let client = port(CLIENT, 40_000);
    w.office("udp: a flow begins", &udp(client, at(SERVICE), &bytes(1, 100)));
    let back = |w: &Witness<'_>, data: &[u8]| udp(at(SERVER), w.udp(client), data);
    let answer = back(w, &bytes(2, 200));
    w.cloud("udp: it is answered", &answer);
    w.cloud("udp: the answer once more", &answer);
    w.office("udp: the flow goes on", &udp(client, at(SERVICE), &bytes(3, 1_392)));
    w.cloud("udp: a full packet back", &back(w, &bytes(4, 1_392)));
    w.office("udp: a datagram without data", &udp(client, at(SERVICE), &[]));
    w.cloud("udp: an answer without data", &back(w, &[]));
    w.office("udp: an odd number of bytes", &udp(client, at(SERVICE), &bytes(5, 33)));
    let unchecked = |packet: Vec<u8>| edited(packet, |packet| packet[26..28].fill(0));
    w.office("udp: without checksum to the cloud", &unchecked(udp(client, at(SERVICE), &bytes(6, 50))));
    w.cloud("udp: without checksum to the office", &unchecked(back(w, &bytes(7, 50))));
    w.office("udp: a wrong checksum to the cloud", &bent(udp(client, at(SERVICE), &bytes(8, 50))));
    w.cloud("udp: a wrong checksum to the office", &bent(back(w, &bytes(9, 50))));
    // The checksum of these becomes, or could become, the zero that means none.
    for low in 0..4_u16 {
        let data = [0xff, 0xff - u8::try_from(low).expect("a byte"), 0, 0];
        w.office(&format!("udp: nearly no checksum {low}"), &udp(client, at(SERVICE), &data));
    }
    for (name, tos) in [("expedited", 0xb8), ("congestion experienced", 0x03), ("capable of ECN", 0x02)] {
        let marked = |packet| edited(packet, |packet: &mut Vec<u8>| packet[1] = tos);
        w.office(&format!("udp: {name} to the cloud"), &marked(udp(client, at(SERVICE), &bytes(10, 20))));
        w.cloud(&format!("udp: {name} to the office"), &marked(back(w, &bytes(11, 20))));
    }
    let clerk = port(CLERK, 5_000);
    w.office("udp: from a host with an address of its own", &udp(clerk, at(DOCUMENTS), &bytes(12, 60)));
    w.cloud("udp: back to that address", &udp(at(DOCUMENTS), port(CLERK_OUTSIDE, 5_000), &bytes(13, 60)));
}

fn refused(w: &mut Witness<'_>) {
    let client = port(CLIENT, 40_100);
    let mut send = |name: &str, to: &str| {
        w.office(&format!("udp: to {name}"), &udp(client, at(to), &bytes(1, 40)));
    };
    send("a closed port", "203.0.113.10:80");
    send("a global address of nobody", "203.0.113.99:443");
    send("a system's private address", SERVER);
    send("a service of the other class", DOCUMENTS);
    send("an address of the relay", "10.254.1.2:443");
    send("a port before the range", "203.0.113.11:1999");
    send("a port behind the range", "203.0.113.11:2100");
    w.office("udp: from outside the office's networks", &udp(port("198.51.100.200", 40_100), at(SERVICE), &bytes(1, 40)));
    w.office("udp: from an address of the pool", &udp(port("10.254.1.9", 40_100), at(SERVICE), &bytes(1, 40)));
    w.office("udp: from a host without translation", &udp(port("198.51.100.27", 40_100), at(DOCUMENTS), &bytes(1, 40)));
    let cloud = [
        ("to a port of the pool that nobody has", SERVER, "10.254.1.9:61234"),
        ("to a server's port of the pool", SERVER, "10.254.1.10:443"),
        ("to a static address", DOCUMENTS, "10.254.1.20:6000"),
        ("to an office host's own address", SERVER, "198.51.100.17:40000"),
        ("to the relay's own address", SERVER, "10.254.1.2:500"),
        ("to a global of the office's side", SERVER, "203.0.113.10:443"),
        ("to another host of the cloud", SERVER, "10.10.4.7:443"),
    ];
    for (name, from, to) in cloud {
        w.cloud(&format!("udp: unasked {name}"), &udp(at(from), at(to), &bytes(2, 40)));
    }
}

fn mapping(w: &mut Witness<'_>) {
    let client = port(CLIENT, 41_000);
    w.office("udp: a port's first remote end", &udp(client, at(SERVICE), &bytes(1, 30)));
    let first = w.udp(client);
    w.office("udp: the same port's second remote end", &udp(client, at("203.0.113.11:2000"), &bytes(2, 30)));
    w.cloud("udp: the first end answers", &udp(at(SERVER), first, &bytes(3, 30)));
    let second = w.udp(client);
    w.cloud("udp: the second end answers", &udp(at("10.10.0.11:2000"), second, &bytes(4, 30)));
    let other = port(OTHER, 41_000);
    w.office("udp: the same port of another host", &udp(other, at(SERVICE), &bytes(5, 30)));
    w.cloud("udp: an answer for the other host", &udp(at(SERVER), w.udp(other), &bytes(6, 30)));
    let low = port(CLIENT, 500);
    w.office("udp: a privileged port", &udp(low, at(SERVICE), &bytes(7, 30)));
    w.cloud("udp: an answer to a privileged port", &udp(at(SERVER), w.udp(low), &bytes(8, 30)));
    w.office("udp: source port zero", &udp(port(CLIENT, 0), at(SERVICE), &bytes(9, 30)));
    w.office("udp: destination port zero", &udp(client, at("203.0.113.10:0"), &bytes(9, 30)));
}

fn filtering(w: &mut Witness<'_>) {
    let client = port(CLIENT, 41_100);
    w.office("udp: a flow to a service of many ports", &udp(client, at("203.0.113.11:2010"), &bytes(1, 30)));
    let outside = w.udp(client);
    w.cloud("udp: its host answers from another port of the service", &udp(at("10.10.0.11:2050"), outside, &bytes(2, 30)));
    w.cloud("udp: its host answers from a port of no service", &udp(at("10.10.0.11:3000"), outside, &bytes(3, 30)));
    w.cloud("udp: another host of a service answers", &udp(at(SERVER), outside, &bytes(4, 30)));
    w.cloud("udp: a stranger answers", &udp(port(STRANGER, 2_010), outside, &bytes(5, 30)));
    w.cloud("udp: a host of the other class answers", &udp(at(DOCUMENTS), outside, &bytes(6, 30)));
    w.cloud("udp: and the host itself", &udp(at("10.10.0.11:2010"), outside, &bytes(7, 30)));
}

fn hairpin(w: &mut Witness<'_>) {
    let (first, second) = (port(CLIENT, 42_000), port(OTHER, 42_001));
    w.office("udp: one host has a mapping", &udp(first, at(SERVICE), &bytes(1, 30)));
    w.office("udp: another one, too", &udp(second, at(SERVICE), &bytes(2, 30)));
    w.office("udp: which sends to the first one's", &udp(second, w.udp(first), &bytes(3, 30)));
    w.office("udp: and the first one answers", &udp(first, w.udp(second), &bytes(4, 30)));
    w.office("udp: so that the other is let in", &udp(second, w.udp(first), &bytes(5, 30)));
}

fn callback(w: &mut Witness<'_>) {
    let caller = port("10.10.0.20", 50_000);
    w.cloud("udp: a callback", &udp(caller, at("10.254.1.30:9101"), &bytes(1, 80)));
    w.office("udp: the printer answers", &udp(port(CLIENT, 19_101), w.udp(caller), &bytes(2, 20)));
    w.cloud("udp: the callback goes on", &udp(caller, at("10.254.1.30:9101"), &bytes(3, 80)));
    w.office("udp: the printer from another port", &udp(port(CLIENT, 19_102), w.udp(caller), &bytes(4, 20)));
    w.office("udp: another host of the office", &udp(port(OTHER, 19_101), w.udp(caller), &bytes(4, 20)));
    w.cloud("udp: a callback to a closed port", &udp(caller, at("10.254.1.30:9102"), &bytes(5, 20)));
    w.cloud("udp: a callback of another host", &udp(port("10.10.0.21", 50_000), at("10.254.1.30:9101"), &bytes(6, 20)));
    w.cloud("udp: a callback to the pool", &udp(caller, at("10.254.1.9:9101"), &bytes(7, 20)));
}

fn forwarding(w: &mut Witness<'_>) {
    let client = port(CLIENT, 43_000);
    w.office("udp: a flow to forward", &udp(client, at(SERVICE), &bytes(1, 30)));
    let there = |len| udp(client, at(SERVICE), &bytes(2, len));
    let back = |w: &Witness<'_>, len: usize| udp(at(SERVER), w.udp(client), &bytes(3, len));
    for hops in [2, 1, 0, 255] {
        let living = |packet| edited(packet, |packet: &mut Vec<u8>| packet[8] = hops);
        w.office(&format!("udp: {hops} hops left, to the cloud"), &living(there(40)));
        w.cloud(&format!("udp: {hops} hops left, to the office"), &living(back(w, 40)));
    }
    w.office("udp: the last hop of a flow that no rule allows", &edited(udp(client, at("203.0.113.10:81"), &[]), |packet| packet[8] = 1));
    w.cloud("udp: as big as the office's line", &back(w, 1_420 - 28));
    w.cloud("udp: a byte too big", &back(w, 1_421 - 28));
    w.cloud("udp: as big as the cloud's line", &back(w, 1_500 - 28));
    let cuttable = |packet: Vec<u8>| edited(packet, |packet| packet[6] = 0);
    w.cloud("udp: a byte too big that may be cut", &cuttable(back(w, 1_421 - 28)));
    w.cloud("udp: as big as the cloud's line and may be cut", &cuttable(back(w, 1_500 - 28)));
    let numbered = |packet: Vec<u8>| edited(packet, |packet| packet[4..8].copy_from_slice(&[0x12, 0x34, 0, 0]));
    w.office("udp: a small one that may be cut, to the cloud", &numbered(there(40)));
    w.cloud("udp: a small one that may be cut, to the office", &numbered(back(w, 40)));
    w.office("udp: numbered and not to be cut", &edited(numbered(there(40)), |packet| packet[6] = 0x40));
    let clerk = udp(port(CLERK, 5_001), at(DOCUMENTS), &bytes(4, 40));
    w.office("udp: may be cut, from an address of its own", &numbered(clerk));
}

fn malformed(w: &mut Witness<'_>) {
    let client = port(CLIENT, 44_000);
    w.office("udp: a sound one first", &udp(client, at(SERVICE), &bytes(1, 40)));
    let said = |len: u16| transport(udp(client, at(SERVICE), &bytes(2, 40)), |udp| udp[4..6].copy_from_slice(&len.to_be_bytes()));
    w.office("udp: says it is longer", &said(49));
    w.office("udp: says it is shorter", &said(40));
    w.office("udp: says it has no header", &said(7));
    w.office("udp: says nothing", &said(0));
    let mut cut = udp(client, at(SERVICE), &[]);
    cut.truncate(24);
    w.office("udp: half a header", &edited(cut, |packet| packet[3] = 24));
}
