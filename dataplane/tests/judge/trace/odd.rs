//! What is odd about IPv4 itself: fragments, options, lengths, addresses that no host has, other protocols.

use std::net::SocketAddrV4;

use dataplane::simulation::fragments::{cut, fragment, placed};
use dataplane::simulation::packets::{edited, other, ping, udp};
use dataplane::simulation::{at, ip};

use super::{CLIENT, SERVER, SERVICE, SYN, bytes, segment};
use crate::witness::{Side, Witness};

/// The longest fragment of the office's line.
const LINE: usize = 1_420;

pub(super) fn play(w: &mut Witness<'_>) {
    fragments(w);
    hostile_fragments(w);
    headers(w);
    addresses(w);
    protocols(w);
}

fn client(port: u16) -> SocketAddrV4 {
    at(&format!("{CLIENT}:{port}"))
}

fn fragments(w: &mut Witness<'_>) {
    let big = |len| udp(client(46_000), at(SERVICE), &bytes(1, len));
    let office = |w: &mut Witness<'_>, step: &str, parts: &[Vec<u8>]| w.send(Side::Office, step, parts);
    office(w, "fragments: in order", &cut(&big(4_000), 1, LINE));
    let mut parts = cut(&big(4_001), 2, LINE);
    parts.reverse();
    office(w, "fragments: last one first", &parts);
    parts.rotate_left(1);
    office(w, "fragments: in another order under the same number", &parts);
    office(w, "fragments: two of them, small", &cut(&big(60), 3, 60));
    office(w, "fragments: one is missing", &[cut(&big(4_000), 4, LINE)[0].clone(), cut(&big(4_000), 4, LINE)[2].clone()]);
    office(w, "fragments: the first one is missing", &cut(&big(4_000), 5, LINE)[1..]);
    let outside = w.udp(client(46_000));
    let answer = udp(at(SERVER), outside, &bytes(2, 4_000));
    w.send(Side::Cloud, "fragments: of the cloud, which fit", &cut(&answer, 6, LINE));
    w.send(Side::Cloud, "fragments: of the cloud, which do not fit", &cut(&answer, 7, 1_500));
    let mut parts = cut(&answer, 8, 1_500);
    parts.reverse();
    w.send(Side::Cloud, "fragments: of the cloud, last one first", &parts);
    let not_to_be_cut = |packet: Vec<u8>| edited(packet, |packet| packet[6] |= 0x40);
    let parts: Vec<_> = cut(&big(2_000), 9, LINE).into_iter().map(not_to_be_cut).collect();
    office(w, "fragments: not to be cut again", &parts);
    let parts: Vec<_> = cut(&answer, 10, 1_500).into_iter().map(not_to_be_cut).collect();
    w.send(Side::Cloud, "fragments: not to be cut again, which do not fit", &parts);
    office(w, "fragments: of an echo", &cut(&ping(ip(CLIENT), ip("203.0.113.10"), 31, &bytes(3, 3_000)), 11, LINE));
    let data = bytes(4, 2_000);
    let syn = segment(SYN, 1, 0).with(&data).packet(client(46_001), at(SERVICE));
    office(w, "fragments: of a SYN with data", &cut(&syn, 12, LINE));
    office(w, "fragments: to a closed port", &cut(&udp(client(46_002), at("203.0.113.10:80"), &bytes(5, 3_000)), 13, LINE));
    office(w, "fragments: with one hop left", &cut(&edited(big(3_000), |packet| packet[8] = 1), 14, LINE));
    w.send(Side::Cloud, "fragments: unasked", &cut(&udp(at("10.10.0.99:443"), at("10.254.1.9:61000"), &bytes(6, 3_000)), 15, LINE));
}

fn hostile_fragments(w: &mut Witness<'_>) {
    let whole = udp(client(46_100), at(SERVICE), &bytes(1, 192));
    let part = |id, from, to, more| fragment(&whole, id, (from, to), more);
    let office = |w: &mut Witness<'_>, step: &str, parts: &[Vec<u8>]| w.send(Side::Office, step, parts);
    office(w, "fragments: one of them twice", &[part(21, 0, 104, true), part(21, 0, 104, true), part(21, 104, 200, false)]);
    let mut other = whole.clone();
    other[40..].fill(0x77);
    office(w, "fragments: that overlap", &[part(22, 0, 104, true), fragment(&other, 22, (96, 200), false)]);
    office(w, "fragments: that overlap, last one first", &[fragment(&other, 23, (96, 200), false), part(23, 0, 104, true)]);
    office(
        w,
        "fragments: that do not know their end",
        &[part(24, 104, 200, false), placed(whole[..44].to_vec(), 24, 200, true), part(24, 0, 104, true)],
    );
    office(w, "fragments: without a byte", &[placed(whole[..20].to_vec(), 25, 0, true)]);
    office(w, "fragments: of no multiple of eight", &[part(26, 0, 101, true), part(26, 104, 200, false)]);
    office(w, "fragments: beyond the longest packet", &[placed(whole[..60].to_vec(), 27, 65_528, false)]);
    let syn = segment(SYN, 1, 0).packet(client(46_101), at(SERVICE));
    office(w, "fragments: a header in two", &cut(&syn, 28, 36));
    office(w, "fragments: that write over the flags", &[fragment(&syn, 29, (0, 16), true), fragment(&syn, 29, (8, 20), false)]);
    office(w, "fragments: one that is all of it", &[placed(whole.clone(), 30, 0, false)]);
}

fn headers(w: &mut Witness<'_>) {
    let sound = || udp(client(46_200), at(SERVICE), &bytes(1, 40));
    w.office("header: a sound one", &sound());
    let with = |options: &[u8]| {
        let words = u8::try_from(options.len() / 4).expect("a few");
        let packet = [&sound()[..20], options, &sound()[20..]].concat();
        edited(packet, |packet| {
            packet[0] += words;
            packet[3] += 4 * words;
        })
    };
    w.office("header: options that do nothing", &with(&[1, 1, 1, 0]));
    w.office("header: router alert", &with(&[148, 4, 0, 0]));
    w.office("header: record route", &with(&[7, 7, 4, 0, 0, 0, 0, 0]));
    w.office("header: loose source route", &with(&[131, 7, 4, 10, 10, 0, 99, 0]));
    w.office("header: strict source route", &with(&[137, 7, 4, 10, 10, 0, 99, 0]));
    w.office("header: an option of no length", &with(&[7, 0, 4, 0]));
    let mut wrong = sound();
    wrong[11] ^= 1;
    w.office("header: a wrong checksum", &wrong);
    w.office("header: too short", &edited(sound(), |packet| packet[0] = 0x44));
    w.office("header: longer than the packet", &edited(sound(), |packet| (packet[0], packet[3]) = (0x4f, 48)));
    w.cloud("header: says more than there is", &edited(udp(at(SERVER), w.udp(client(46_200)), &bytes(2, 40)), |packet| packet[3] += 1));
    let padded = [udp(at(SERVER), w.udp(client(46_200)), &bytes(2, 4)), vec![0; 14]].concat();
    w.cloud("header: padding behind the packet", &padded);
    w.cloud("header: nothing but a header", &edited(udp(at(SERVER), w.udp(client(46_200)), &[])[..20].to_vec(), |packet| packet[3] = 20));
    w.office("header: the reserved flag", &edited(sound(), |packet| packet[6] |= 0x80));
}

fn addresses(w: &mut Witness<'_>) {
    let no_hosts = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"];
    for address in no_hosts {
        let end = at(&format!("{address}:443"));
        w.office(&format!("address: from {address}, office"), &udp(end, at(SERVICE), &bytes(1, 10)));
        w.office(&format!("address: to {address}, office"), &udp(client(46_300), end, &bytes(1, 10)));
        w.cloud(&format!("address: from {address}, cloud"), &udp(end, at("10.254.1.30:9101"), &bytes(1, 10)));
        w.cloud(&format!("address: to {address}, cloud"), &udp(at(SERVER), end, &bytes(1, 10)));
    }
    w.office("address: from and to the same", &udp(at(SERVICE), at(SERVICE), &bytes(1, 10)));
    w.cloud("address: from and to the same, cloud", &udp(at("10.254.1.30:9101"), at("10.254.1.30:9101"), &bytes(1, 10)));
    w.cloud("address: from the relay's own", &udp(at("10.254.1.2:443"), at("10.254.1.30:9101"), &bytes(1, 10)));
}

fn protocols(w: &mut Witness<'_>) {
    for protocol in [2, 4, 41, 47, 50, 51, 103, 132, 136, 255] {
        let to_service = other(ip(CLIENT), ip("203.0.113.10"), protocol, &bytes(1, 24));
        w.office(&format!("protocol {protocol}: to the cloud"), &to_service);
        w.cloud(&format!("protocol {protocol}: to the office"), &other(ip("10.10.0.20"), ip("10.254.1.30"), protocol, &bytes(1, 24)));
    }
}
