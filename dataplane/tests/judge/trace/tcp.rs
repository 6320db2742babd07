//! TCP: a connection's life, windows, resets, odd flags, options.

use std::net::SocketAddrV4;

use dataplane::simulation::at;
use dataplane::simulation::packets::edited;

use super::{ACK, CLERK, CLERK_OUTSIDE, CLIENT, DOCUMENTS, FIN, OTHER, PSH, RST, SERVER, SERVICE, STRANGER, SYN, Segment, URG};
use super::{bent, bytes, segment, transport};
use crate::witness::Witness;

/// MSS 1,460, SACK permitted, timestamps, no-operation, window scale 7.
const OPTIONS: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// First sequence numbers of both ends.
const HERE: u32 = 1_000;
const THERE: u32 = 0xffff_ff00;

pub(super) fn play(w: &mut Witness<'_>) {
    life(w);
    windows(w);
    resets(w);
    opening(w);
    flags(w);
    options(w);
    odd(w);
}

/// A connection from the office to the service.
struct Connection {
    name: &'static str,
    client: SocketAddrV4,
}

impl Connection {
    fn new(name: &'static str, port: u16) -> Self {
        Self { name, client: at(&format!("{CLIENT}:{port}")) }
    }

    /// The office sends.
    fn there(&self, w: &mut Witness<'_>, step: &str, segment: Segment<'_>) {
        w.office(&format!("tcp {}, there: {step}", self.name), &segment.packet(self.client, at(SERVICE)));
    }

    /// The cloud sends.
    fn back(&self, w: &mut Witness<'_>, step: &str, segment: Segment<'_>) {
        let packet = segment.packet(at(SERVER), w.tcp(self.client));
        w.cloud(&format!("tcp {}, back: {step}", self.name), &packet);
    }

    /// Three steps, and the connection is open.
    fn open(self, w: &mut Witness<'_>) -> Self {
        self.there(w, "SYN", segment(SYN, HERE, 0));
        self.back(w, "SYN+ACK", segment(SYN | ACK, THERE, HERE + 1));
        self.there(w, "ACK", segment(ACK, HERE + 1, THERE + 1));
        self
    }
}

fn life(w: &mut Witness<'_>) {
    let c = Connection::new("life", 50_000);
    let (request, answer) = (bytes(1, 500), bytes(2, 1_000));
    c.there(w, "SYN", segment(SYN, HERE, 0).options(&OPTIONS));
    c.there(w, "SYN once more", segment(SYN, HERE, 0).options(&OPTIONS));
    c.back(w, "SYN+ACK", segment(SYN | ACK, THERE, HERE + 1).options(&OPTIONS));
    c.back(w, "SYN+ACK once more", segment(SYN | ACK, THERE, HERE + 1).options(&OPTIONS));
    let stamps = [1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1];
    c.there(w, "ACK", segment(ACK, HERE + 1, THERE + 1).options(&stamps));
    c.there(w, "request", segment(ACK | PSH, HERE + 1, THERE + 1).with(&request));
    c.there(w, "request once more", segment(ACK | PSH, HERE + 1, THERE + 1).with(&request));
    c.back(w, "answer over the end of the numbers", segment(ACK | PSH, THERE + 1, HERE + 501).with(&answer));
    let next = THERE.wrapping_add(1_001);
    c.there(w, "ACK of it", segment(ACK, HERE + 501, next));
    c.there(w, "duplicate ACK", segment(ACK, HERE + 501, next));
    let block = |from: u32| [&[1, 1, 5, 10][..], &from.to_be_bytes(), &(from + 100).to_be_bytes()].concat();
    c.back(w, "answer behind a gap", segment(ACK, next + 100, HERE + 501).with(&bytes(4, 100)));
    c.there(w, "selective ACK", segment(ACK, HERE + 501, next).options(&block(next + 100)));
    c.back(w, "the gap", segment(ACK, next, HERE + 501).with(&bytes(5, 100)));
    let next = next + 200;
    c.there(w, "ACK of both", segment(ACK, HERE + 501, next));
    c.there(w, "selective ACK of what was never sent", segment(ACK, HERE + 501, next).options(&block(next + 500)));
    c.there(w, "keepalive", segment(ACK, HERE + 500, next));
    c.back(w, "answer to a keepalive", segment(ACK, next, HERE + 501));
    c.there(w, "urgent data", segment(ACK | URG, HERE + 501, next).with(&[7]));
    c.back(w, "a window of nothing", segment(ACK, next, HERE + 502).window(0));
    c.there(w, "a probe of the closed window", segment(ACK, HERE + 502, next).with(&[8]));
    c.back(w, "the window opens", segment(ACK, next, HERE + 502).window(2_000));
    c.there(w, "one byte more", segment(ACK, HERE + 502, next).with(&[9]));
    w.office("tcp life: a wrong checksum", &bent(segment(ACK, HERE + 502, next).with(&[9, 9]).packet(c.client, at(SERVICE))));
    c.there(w, "FIN", segment(FIN | ACK, HERE + 503, next));
    c.back(w, "ACK of the FIN", segment(ACK, next, HERE + 504));
    c.back(w, "data behind a FIN", segment(ACK, next, HERE + 504).with(&bytes(3, 100)));
    c.there(w, "ACK behind one's own FIN", segment(ACK, HERE + 504, next + 100));
    c.back(w, "FIN", segment(FIN | ACK, next + 100, HERE + 504));
    c.there(w, "the last ACK", segment(ACK, HERE + 504, next + 101));
    c.back(w, "FIN once more", segment(FIN | ACK, next + 100, HERE + 504));
    c.there(w, "the last ACK once more", segment(ACK, HERE + 504, next + 101));
    c.back(w, "SYN of the cloud on what is closed", segment(SYN, 77, 0));
    c.there(w, "the same ports again", segment(SYN, HERE + 500_000, 0));
    c.back(w, "the same ports are answered", segment(SYN | ACK, 5, HERE + 500_001));
    c.there(w, "the same ports are open", segment(ACK, HERE + 500_001, 6));
}

fn windows(w: &mut Witness<'_>) {
    let c = Connection::new("window", 50_100).open(w);
    let (here, there) = (HERE + 1, THERE + 1);
    c.there(w, "data far ahead", segment(ACK, here + 10_000_000, there).with(&[1; 10]));
    c.back(w, "data far ahead, back", segment(ACK, there.wrapping_add(10_000_000), here).with(&[2; 10]));
    c.there(w, "an ACK of what was never sent", segment(ACK, here, there.wrapping_add(10_000_000)));
    c.there(w, "data from long ago", segment(ACK, here.wrapping_sub(10_000_000), there).with(&[3; 10]));
    c.back(w, "RST far ahead", segment(RST, there.wrapping_add(10_000_000), 0));
    c.there(w, "data behind a foreign RST", segment(ACK, here, there).with(&[4; 10]));
    c.back(w, "answer behind a foreign RST", segment(ACK, there, here + 10).with(&[5; 10]));
    c.back(w, "SYN of the cloud in an open connection", segment(SYN, 77, 0));
    c.there(w, "SYN of the office in an open connection", segment(SYN, 500_000, 0));
    c.back(w, "the ACK that challenges it", segment(ACK, there + 10, here + 10));
    c.there(w, "data after that", segment(ACK, here + 10, there + 10).with(&[6; 10]));
    c.back(w, "FIN far ahead", segment(FIN | ACK, there.wrapping_add(10_000_000), here + 20));
    c.back(w, "data after that, back", segment(ACK, there + 10, here + 20).with(&[7; 10]));
}

fn resets(w: &mut Witness<'_>) {
    let c = Connection::new("reset", 50_200).open(w);
    c.back(w, "RST", segment(RST, THERE + 1, 0));
    c.back(w, "RST once more", segment(RST, THERE + 1, 0));
    c.there(w, "data after it", segment(ACK, HERE + 1, THERE + 1).with(&[1; 10]));
    c.there(w, "SYN after it", segment(SYN, HERE + 700_000, 0));
    c.back(w, "SYN+ACK after it", segment(SYN | ACK, 9, HERE + 700_001));
    c.there(w, "ACK after it", segment(ACK, HERE + 700_001, 10));
    let c = Connection::new("reset inside", 50_201).open(w);
    c.back(w, "RST in the window but not at its edge", segment(RST, THERE + 100, 0));
    c.there(w, "data after it", segment(ACK, HERE + 1, THERE + 1).with(&[1; 10]));
    c.back(w, "answer after it", segment(ACK, THERE + 1, HERE + 11).with(&[2; 10]));
    let c = Connection::new("reset here", 50_202).open(w);
    c.there(w, "RST+ACK", segment(RST | ACK, HERE + 1, THERE + 1));
    c.back(w, "data that crossed it", segment(ACK, THERE + 1, HERE + 1).with(&[3; 10]));
    let c = Connection::new("refused", 50_203);
    c.there(w, "SYN", segment(SYN, HERE, 0));
    c.back(w, "RST+ACK", segment(RST | ACK, 0, HERE + 1));
    c.there(w, "SYN again", segment(SYN, HERE, 0));
    c.back(w, "RST+ACK again", segment(RST | ACK, 0, HERE + 1));
    c.there(w, "SYN with another number", segment(SYN, HERE + 9_000, 0));
    c.back(w, "RST+ACK of another SYN", segment(RST | ACK, 0, HERE + 77));
    c.back(w, "SYN+ACK at last", segment(SYN | ACK, THERE, HERE + 9_001));
    c.there(w, "ACK at last", segment(ACK, HERE + 9_001, THERE + 1));
    let c = Connection::new("given up", 50_204);
    c.there(w, "SYN", segment(SYN, HERE, 0));
    c.there(w, "RST", segment(RST, HERE + 1, 0));
    c.back(w, "SYN+ACK too late", segment(SYN | ACK, THERE, HERE + 1));
}

fn opening(w: &mut Witness<'_>) {
    let c = Connection::new("both", 50_300);
    c.there(w, "SYN", segment(SYN, HERE, 0));
    c.back(w, "SYN of the other end", segment(SYN, THERE, 0));
    c.there(w, "SYN+ACK", segment(SYN | ACK, HERE, THERE + 1));
    c.back(w, "SYN+ACK of the other end", segment(SYN | ACK, THERE, HERE + 1));
    c.there(w, "data", segment(ACK, HERE + 1, THERE + 1).with(&[1; 10]));
    c.back(w, "data of the other end", segment(ACK, THERE + 1, HERE + 11).with(&[2; 10]));
    let c = Connection::new("another answer", 50_301);
    c.there(w, "SYN", segment(SYN, HERE, 0));
    c.back(w, "SYN+ACK", segment(SYN | ACK, THERE, HERE + 1));
    c.back(w, "SYN+ACK with another number", segment(SYN | ACK, 4_000, HERE + 1));
    c.there(w, "ACK of the second", segment(ACK, HERE + 1, 4_001));
    let c = Connection::new("wrong answer", 50_302);
    c.there(w, "SYN", segment(SYN, HERE, 0));
    c.back(w, "SYN+ACK of something else", segment(SYN | ACK, THERE, HERE + 9_999));
    c.there(w, "RST to that", segment(RST, HERE + 9_999, 0));
    c.back(w, "SYN+ACK", segment(SYN | ACK, THERE, HERE + 1));
    c.there(w, "ACK", segment(ACK, HERE + 1, THERE + 1));
    let c = Connection::new("early data", 50_303);
    c.there(w, "SYN with data", segment(SYN, HERE, 0).with(&[1; 50]));
    c.back(w, "SYN+ACK of the data", segment(SYN | ACK, THERE, HERE + 51));
    c.there(w, "ACK", segment(ACK, HERE + 51, THERE + 1));
    let c = Connection::new("nothing", 50_304);
    c.there(w, "ACK without a connection", segment(ACK, HERE, THERE));
    c.there(w, "RST without a connection", segment(RST, HERE, 0));
    c.there(w, "FIN without a connection", segment(FIN | ACK, HERE, THERE));
    c.there(w, "SYN+ACK without a connection", segment(SYN | ACK, HERE, THERE));
    let known = w.tcp(at(&format!("{CLIENT}:50300")));
    for (name, from, flags) in
        [("SYN of a stranger", STRANGER, SYN), ("SYN+ACK of a stranger", STRANGER, SYN | ACK), ("SYN", "10.10.0.10", SYN)]
    {
        let packet = segment(flags, 1, 1).packet(at(&format!("{from}:444")), known);
        w.cloud(&format!("tcp: unasked {name} to a mapping"), &packet);
    }
    let clerk = at(&format!("{CLERK}:5000"));
    w.office("tcp: SYN from an address of its own", &segment(SYN, HERE, 0).packet(clerk, at(DOCUMENTS)));
    let outside = at(&format!("{CLERK_OUTSIDE}:5000"));
    w.cloud("tcp: SYN+ACK to an address of its own", &segment(SYN | ACK, THERE, HERE + 1).packet(at(DOCUMENTS), outside));
    let caller = at("10.10.0.20:50000");
    w.cloud("tcp: a callback's SYN", &segment(SYN, 7, 0).options(&OPTIONS).packet(caller, at("10.254.1.30:9100")));
    let printer = at(&format!("{CLIENT}:9100"));
    w.office("tcp: a callback's SYN+ACK", &segment(SYN | ACK, 900, 8).options(&OPTIONS).packet(printer, w.tcp(caller)));
    w.cloud("tcp: a callback's ACK", &segment(ACK, 8, 901).packet(caller, at("10.254.1.30:9100")));
    w.office("tcp: a callback is closed at the printer", &segment(RST | ACK, 901, 8).packet(printer, w.tcp(caller)));
}

fn flags(w: &mut Witness<'_>) {
    let odd = [("no", 0), ("SYN+FIN", SYN | FIN), ("SYN+RST", SYN | RST), ("FIN+PSH+URG", FIN | PSH | URG), ("FIN", FIN), ("all", 0x3f)];
    let c = Connection::new("flags", 50_400).open(w);
    for (name, flags) in odd {
        c.there(w, &format!("{name} flags in a connection"), segment(flags, HERE + 1, THERE + 1));
    }
    c.back(w, "still there", segment(ACK, THERE + 1, HERE + 1).with(&[1; 10]));
    for (at, (name, flags)) in (0..).zip(odd) {
        Connection::new("first", 50_410 + at).there(w, &format!("{name} flags"), segment(flags, HERE, 0));
    }
    Connection::new("first", 50_420).there(w, "SYN+PSH", segment(SYN | PSH, HERE, 0));
    Connection::new("first", 50_421).there(w, "SYN+URG", segment(SYN | URG, HERE, 0));
    // RFC 3168 6.1.1: a client that knows ECN.
    let c = Connection::new("ecn", 50_422);
    c.there(w, "SYN+ECE+CWR", segment(SYN | 0xc0, HERE, 0));
    c.back(w, "SYN+ACK+ECE", segment(SYN | ACK | 0x40, THERE, HERE + 1));
    let reserved = transport(segment(SYN, HERE, 0).packet(at(&format!("{CLIENT}:50423")), at(SERVICE)), |tcp| tcp[12] |= 0x0e);
    w.office("tcp: reserved bits of a SYN", &reserved);
}

fn options(w: &mut Witness<'_>) {
    let cases: [(&str, &[u8]); 9] = [
        ("no MSS", &[]),
        ("a small MSS", &[2, 4, 2, 24]),
        ("the MSS that fits", &[2, 4, 0x05, 0x64]),
        ("a byte more than fits", &[2, 4, 0x05, 0x65]),
        ("the largest MSS", &[2, 4, 255, 255]),
        ("no MSS, but others", &[4, 2, 1, 1]),
        ("an MSS behind others", &[1, 3, 3, 7, 2, 4, 0x05, 0xb4]),
        ("an MSS at an odd place", &[1, 2, 4, 0x05, 0xb4, 0, 0, 0]),
        ("an option that nobody knows", &[253, 4, 1, 2, 2, 4, 0x05, 0xb4]),
    ];
    for (port, (name, options)) in (50_500..).zip(cases) {
        let c = Connection::new("options", port);
        c.there(w, &format!("{name}, SYN"), segment(SYN, HERE, 0).options(options));
        c.back(w, &format!("{name}, SYN+ACK"), segment(SYN | ACK, THERE, HERE + 1).options(options));
    }
    Connection::new("options", 50_520).there(w, "an MSS of no length", segment(SYN, HERE, 0).options(&[2, 0, 0x05, 0xb4]));
    Connection::new("options", 50_521).there(w, "an MSS that ends too early", segment(SYN, HERE, 0).options(&[1, 1, 2, 4]));
    Connection::new("options", 50_522).there(w, "two of an MSS", segment(SYN, HERE, 0).options(&[2, 4, 0x05, 0xb4, 2, 4, 0x05, 0xb0]));
}

fn odd(w: &mut Witness<'_>) {
    let client = at(&format!("{OTHER}:50600"));
    let syn = || segment(SYN, HERE, 0).packet(client, at(SERVICE));
    w.office("tcp: the header ends before it begins", &transport(syn(), |tcp| tcp[12] = 0x40));
    w.office("tcp: the header is longer than the packet", &transport(syn(), |tcp| tcp[12] = 0xf0));
    let mut cut = syn();
    cut.truncate(36);
    w.office("tcp: half a header", &edited(cut, |packet| packet[3] = 36));
    w.office("tcp: the last hop of a SYN", &edited(syn(), |packet| packet[8] = 1));
    w.office("tcp: source port zero", &segment(SYN, HERE, 0).packet(at(&format!("{OTHER}:0")), at(SERVICE)));
    w.office("tcp: to a closed port", &segment(SYN, HERE, 0).packet(client, at("203.0.113.10:22")));
    w.office("tcp: to a service of the other class", &segment(SYN, HERE, 0).packet(client, at(DOCUMENTS)));
    w.office("tcp: a SYN's wrong checksum", &bent(segment(SYN, HERE, 0).with(&[1, 2]).packet(client, at(SERVICE))));
    w.office("tcp: the same SYN with the right one", &segment(SYN, HERE, 0).with(&[1, 2]).packet(client, at(SERVICE)));
}
