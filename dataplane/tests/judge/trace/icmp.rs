//! ICMP: echoes, errors about flows from every side, and errors that a forger would send.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::simulation::packets::{edited, icmp_message, ping, pong, too_big, udp, unreachable};
use dataplane::simulation::{at, ip};

use super::{ACK, CLERK, CLERK_OUTSIDE, CLIENT, OTHER, ROUTER, SERVER, SERVICE, STRANGER, SYN, bent, bytes, segment};
use crate::witness::Witness;
use crate::words::checksum;

pub(super) fn play(w: &mut Witness<'_>) {
    echoes(w);
    others(w);
    about_udp(w);
    odd_quotes(w);
    about_tcp(w);
    about_echo(w);
    from_the_office(w);
}

/// The identifier of a host as its end.
fn id(host: &str, identifier: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip(host), identifier)
}

fn echoes(w: &mut Witness<'_>) {
    let (here, service, server) = (ip(CLIENT), ip("203.0.113.10"), ip("10.10.0.10"));
    w.office("echo: a request", &ping(here, service, 7, &bytes(1, 56)));
    let back = |w: &Witness<'_>, host, identifier, data: &[u8]| {
        let outside = w.echo(id(host, identifier));
        pong(server, *outside.ip(), outside.port(), data)
    };
    w.cloud("echo: its reply", &back(w, CLIENT, 7, &bytes(1, 56)));
    w.cloud("echo: the reply once more", &back(w, CLIENT, 7, &bytes(1, 56)));
    w.office("echo: another request", &ping(here, service, 7, &bytes(2, 0)));
    w.office("echo: a large request", &ping(here, service, 7, &bytes(2, 1_392)));
    w.office("echo: the same identifier of another host", &ping(ip(OTHER), service, 7, &bytes(3, 56)));
    w.cloud("echo: the other host's reply", &back(w, OTHER, 7, &bytes(3, 56)));
    w.office("echo: identifier zero", &ping(here, service, 0, &bytes(4, 8)));
    w.office("echo: a wrong checksum to the cloud", &bent(ping(here, service, 7, &bytes(5, 8))));
    w.cloud("echo: a wrong checksum to the office", &bent(back(w, CLIENT, 7, &bytes(5, 8))));
    w.office("echo: a reply to nothing", &pong(here, service, 99, &bytes(6, 8)));
    let nobody = w.echo(id(STRANGER, 1));
    w.cloud("echo: a reply to nobody", &pong(server, *nobody.ip(), nobody.port(), &bytes(6, 8)));
    let outside = w.echo(id(CLIENT, 7));
    w.cloud("echo: a request to an identifier of the pool", &ping(server, *outside.ip(), outside.port(), &bytes(7, 8)));
    w.cloud("echo: a reply of a stranger", &pong(ip(STRANGER), *outside.ip(), outside.port(), &bytes(7, 8)));
    w.office("echo: to a service that does not allow it", &ping(here, ip("203.0.113.11"), 8, &bytes(8, 8)));
    w.office("echo: from an address of its own", &ping(ip(CLERK), ip("10.10.4.7"), 9, &bytes(9, 8)));
    w.cloud("echo: back to that address", &pong(ip("10.10.4.7"), ip(CLERK_OUTSIDE), 9, &bytes(9, 8)));
    w.cloud("echo: a callback", &ping(ip("10.10.0.20"), ip("10.254.1.30"), 77, &bytes(10, 8)));
    let caller = w.echo(id("10.10.0.20", 77));
    w.office("echo: the callback's reply", &pong(here, *caller.ip(), caller.port(), &bytes(10, 8)));
    w.cloud("echo: of the relay's own address", &ping(server, ip("10.254.1.2"), 5, &bytes(11, 8)));
    w.office("echo: of the relay's own address, from the office", &ping(here, ip("10.254.1.2"), 5, &bytes(11, 8)));
    w.cloud("echo: a callback with its last hop", &edited(ping(ip("10.10.0.20"), ip("10.254.1.30"), 77, &[]), |packet| packet[8] = 1));
    w.office("echo: a request with its last hop", &edited(ping(here, service, 7, &bytes(1, 56)), |packet| packet[8] = 1));
    w.cloud("echo: a reply that is too big", &back(w, CLIENT, 7, &bytes(12, 1_472)));
    w.office("echo: with another code", &icmp_message(here, service, (8, 1), [0, 7, 0, 2], &[]));
}

fn others(w: &mut Witness<'_>) {
    let (here, service) = (ip(CLIENT), ip("203.0.113.10"));
    for (name, kind) in
        [("timestamp", 13), ("information", 15), ("mask", 17), ("router solicitation", 10), ("unassigned", 1), ("extended echo", 42)]
    {
        w.office(&format!("icmp: {name} request"), &icmp_message(here, service, (kind, 0), [0, 7, 0, 1], &bytes(1, 12)));
    }
    w.office("icmp: a message without a body", &{
        let mut short = icmp_message(here, service, (8, 0), [0; 4], &[]);
        short.truncate(24);
        edited(short, |packet| packet[3] = 24)
    });
}

/// A flow of the office, and its first packet as the server saw it.
fn flow(w: &mut Witness<'_>, port: u16) -> (SocketAddrV4, Vec<u8>) {
    let client = at(&format!("{CLIENT}:{port}"));
    let arrived = w.office(&format!("error: a flow of port {port}"), &udp(client, at(SERVICE), &bytes(1, 100)));
    (w.udp(client), arrived.expect("both let it through"))
}

fn about_udp(w: &mut Witness<'_>) {
    let (outside, arrived) = flow(w, 45_000);
    let (server, to) = (ip("10.10.0.10"), *outside.ip());
    let error = |from, code, rest, about: &[u8]| icmp_message(from, to, code, rest, about);
    w.cloud("error: port unreachable of the server", &unreachable(server, to, &arrived));
    w.cloud("error: host unreachable of a router", &error(ip(ROUTER), (3, 1), [0; 4], &arrived));
    w.cloud("error: prohibited, of a stranger", &error(ip(STRANGER), (3, 13), [0; 4], &arrived));
    w.cloud("error: time exceeded of a router", &error(ip(ROUTER), (11, 0), [0; 4], &arrived));
    w.cloud("error: parameter problem of a router", &error(ip(ROUTER), (12, 0), [8, 0, 0, 0], &arrived));
    w.cloud("error: source quench of a router", &error(ip(ROUTER), (4, 0), [0; 4], &arrived));
    w.cloud("error: redirect of a router", &error(ip(ROUTER), (5, 1), [10, 10, 0, 2], &arrived));
    for mtu in [1_300, 576, 575, 68, 0] {
        w.cloud(&format!("error: fragmentation needed, {mtu} bytes"), &too_big(ip(ROUTER), to, mtu, &arrived));
    }
    w.cloud("error: one that quotes 28 bytes", &unreachable(server, to, &arrived[..28]));
    w.cloud("error: one that quotes 27 bytes", &unreachable(server, to, &arrived[..27]));
    w.cloud("error: one that quotes 20 bytes", &unreachable(server, to, &arrived[..20]));
    w.cloud("error: one that quotes nothing", &unreachable(server, to, &[]));
    w.cloud("error: a wrong checksum", &bent(unreachable(server, to, &arrived)));
    w.cloud("error: to another address than it quotes", &unreachable(server, ip(CLERK_OUTSIDE), &arrived));
    w.cloud("error: with its last hop", &edited(unreachable(server, to, &arrived), |packet| packet[8] = 1));
    w.cloud("error: the flow goes on", &udp(at(SERVER), outside, &bytes(2, 40)));
}

fn odd_quotes(w: &mut Witness<'_>) {
    let (outside, arrived) = flow(w, 45_001);
    let (server, to) = (ip("10.10.0.10"), *outside.ip());
    let about = |change: fn(&mut Vec<u8>)| unreachable(server, to, &edited(arrived.clone(), change));
    let mut broken = arrived.clone();
    broken[10] ^= 0x11;
    w.cloud("error: about a wrong header checksum", &unreachable(server, to, &broken));
    w.cloud("error: about a wrong transport checksum", &unreachable(server, to, &bent(arrived.clone())));
    w.cloud("error: about no transport checksum", &about(|packet| packet[26..28].fill(0)));
    w.cloud("error: about a flow of another port", &about(|packet| packet[21] ^= 1));
    w.cloud("error: about a flow to another port", &about(|packet| packet[23] ^= 1));
    w.cloud("error: about another protocol", &about(|packet| packet[9] = 47));
    w.cloud("error: about a later fragment", &about(|packet| packet[7] = 8));
    w.cloud("error: about a first fragment", &about(|packet| packet[6] = 0x20));
    w.cloud("error: about IPv6", &about(|packet| packet[0] = 0x65));
    w.cloud("error: about a packet that lived longer", &about(|packet| packet[8] = 1));
    let with_options = [&[0x47], &arrived[1..20], &[1; 8], &arrived[20..]].concat();
    let with_options = edited(with_options, |packet| packet[3] += 8);
    w.cloud("error: about a packet with options", &unreachable(server, to, &with_options));
    // RFC 4884: 128 bytes of quote, then an extension of 8 bytes with its own checksum.
    let mut extended = arrived.clone();
    extended.resize(128, 0);
    let mut extension = vec![0x20, 0, 0, 0, 0, 4, 1, 1];
    let sum = checksum(&[&extension]).to_be_bytes();
    extension[2..4].copy_from_slice(&sum);
    extended.extend(extension);
    w.cloud("error: with an extension", &icmp_message(ip(ROUTER), to, (11, 0), [0, 32, 0, 0], &extended));
    let error = unreachable(server, to, &arrived);
    w.cloud("error: about an error", &unreachable(server, to, &error));
    let backwards = udp(at(SERVER), outside, &bytes(3, 10));
    w.cloud("error: about a packet of the cloud", &unreachable(ip(ROUTER), server, &backwards));
}

fn about_tcp(w: &mut Witness<'_>) {
    let client = at(&format!("{CLIENT}:45100"));
    w.office("error: SYN of a connection", &segment(SYN, 1_000, 0).packet(client, at(SERVICE)));
    let outside = w.tcp(client);
    w.cloud("error: SYN+ACK of a connection", &segment(SYN | ACK, 9_000, 1_001).packet(at(SERVER), outside));
    w.office("error: ACK of a connection", &segment(ACK, 1_001, 9_001).packet(client, at(SERVICE)));
    let sent = w.office("error: data of a connection", &segment(ACK, 1_001, 9_001).with(&bytes(1, 1_000)).packet(client, at(SERVICE)));
    let sent = sent.expect("both let it through");
    let (server, to) = (ip("10.10.0.10"), *outside.ip());
    w.cloud("error: fragmentation needed about data on its way", &too_big(ip(ROUTER), to, 1_000, &sent[..548]));
    w.cloud("error: port unreachable about data on its way", &unreachable(server, to, &sent[..28]));
    let forged = edited(sent.clone(), |packet| packet[24..28].copy_from_slice(&77_777_777_u32.to_be_bytes()));
    w.cloud("error: fragmentation needed about data that was never sent", &too_big(ip(ROUTER), to, 1_000, &forged[..548]));
    w.cloud("error: data of the connection goes on", &segment(ACK, 9_001, 2_001).with(&[5; 5]).packet(at(SERVER), outside));
    w.cloud("error: fragmentation needed about data that has arrived", &too_big(ip(ROUTER), to, 1_000, &sent[..548]));
}

fn about_echo(w: &mut Witness<'_>) {
    let (here, service) = (ip(CLIENT), ip("203.0.113.10"));
    let arrived = w.office("error: an echo", &ping(here, service, 21, &bytes(1, 56))).expect("both let it through");
    let outside = w.echo(id(CLIENT, 21));
    w.cloud("error: about an echo", &unreachable(ip(ROUTER), *outside.ip(), &arrived));
    let of_nobody = edited(arrived.clone(), |packet| packet[24] ^= 0x40);
    w.cloud("error: about an echo of nobody", &unreachable(ip(ROUTER), *outside.ip(), &of_nobody));
    let reply = pong(*outside.ip(), ip("10.10.0.10"), outside.port(), &bytes(1, 56));
    w.cloud("error: about a reply that the office never sent", &unreachable(ip(ROUTER), *outside.ip(), &reply));
}

fn from_the_office(w: &mut Witness<'_>) {
    let (outside, _) = flow(w, 45_002);
    let client: Ipv4Addr = ip(CLIENT);
    let answer = w.cloud("error: an answer that nobody waits for", &udp(at(SERVER), outside, &bytes(2, 100))).expect("both let it through");
    w.office("error: port unreachable of an office host", &unreachable(client, ip("203.0.113.10"), &answer));
    w.office("error: of a router in the office", &icmp_message(ip("198.51.100.22"), ip("203.0.113.10"), (3, 1), [0; 4], &answer));
    w.office("error: of a router that is not the office's", &unreachable(ip("192.0.2.200"), ip("203.0.113.10"), &answer));
    w.office("error: of a host of the other class", &unreachable(ip(CLERK), ip("203.0.113.10"), &answer));
    w.office("error: fragmentation needed in the office", &too_big(client, ip("203.0.113.10"), 1_280, &answer));
    let forged = edited(answer.clone(), |packet| packet[23] ^= 1);
    w.office("error: of the office about nothing", &unreachable(client, ip("203.0.113.10"), &forged));
    let caller = at("10.10.0.20:50500");
    let job = w.cloud("error: a callback", &udp(caller, at("10.254.1.30:9100"), &bytes(3, 40))).expect("both let it through");
    w.office("error: of a printer that is switched off", &unreachable(client, ip("203.0.113.20"), &job));
    w.office("error: redirect of the office", &icmp_message(client, ip("203.0.113.20"), (5, 1), [198, 51, 100, 17], &job));
}
