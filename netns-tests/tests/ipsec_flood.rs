//! Strangers at UDP port 500: sweeps, and 100,000 half-open tries from 10,000 addresses. Memory stays bounded, nobody gets more than it
//! sent, town halls get through, and established traffic loses nothing.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use controlplane::demo::Namespace;
use controlplane::demo::raw_socket::{RawSocket, wait_readable};
use netns_tests::canary;
use netns_tests::plan::{Municipality, RELAY, SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{ip, must, output, wait_until};
use netns_tests::relay::{Driver, Drops, Relay, relay_among};
use netns_tests::topology::{ACCESS_PORT, Lab, cable};
use netns_tests::traffic::{Host, Ping};

const TRIES: u32 = 100_000;
const SOURCES: u32 = 10_000;
const FAR_AWAY: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 1);
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How long the flood takes: 10,000 tries a second.
const LASTS: Duration = Duration::from_secs(10);
/// Memory that the flood may cost: four times what 8,192 half-open negotiations would.
const MOST_MEMORY_KIB: u64 = 64 << 10;

/// A host of nobody's on the access network, which is also the gateway: answers to invented addresses come to it.
fn stranger(lab: &Lab) -> Namespace {
    let stranger = Namespace::create("stranger").expect("a namespace");
    cable(&lab.access, "strangerport", &stranger, "eth0", 1500);
    ip(&lab.access, "link set strangerport master lan0");
    ip(&stranger, "address add 192.0.2.254/24 dev eth0");
    stranger
}

fn two_ipsec_towns(driver: Driver) -> (Lab, Relay) {
    let towns: Vec<Municipality> = three_municipalities().into_iter().take(2).map(Municipality::with_ipsec).collect();
    relay_among(towns, driver)
}

#[test]
fn sweeps_of_ike_scan_learn_nothing_and_leave_nothing() {
    let (lab, relay) = two_ipsec_towns(Driver::AfPacket);
    let stranger = stranger(&lab);
    let scan = |arguments: &[&str]| {
        let all = [&["--retry=1", "--timeout=500", "--sport=0"], arguments, &["192.0.2.1"]].concat();
        let output = output(&stranger, Duration::from_secs(20), "ike-scan", &all);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for version_one in [&[][..], &["--aggressive", "--id=chiyoda"], &["--trans=7/256,5,1,14"]] {
        let answer = scan(version_one);
        assert!(answer.contains("0 returned handshake; 0 returned notify"), "IKEv1 is not spoken: {answer}");
    }
    // 3DES and MODP-1024 are all that this program offers.
    let answer = scan(&["--ikev2"]);
    assert!(answer.contains("0 returned handshake"), "no SA for a stranger with old algorithms: {answer}");
    wait_until("nothing is half open", Duration::from_secs(35), || relay.metric("chukei_ike_half_open") == Some(0.0));
    for town in &lab.towns {
        let answer = town.counter().query((SHARED_GLOBAL, 53), "who?");
        assert_eq!(answer, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))));
        assert_eq!(relay.drops(&town.plan.tenant), Drops::default());
    }
}

#[test]
fn a_flood_of_half_open_tries_harms_nobody() {
    let (lab, relay) = two_ipsec_towns(Driver::AfXdp);
    let stranger = stranger(&lab);
    // The relay knows its gateway before, as it does in real life.
    ip(&stranger, &format!("address add {FAR_AWAY}/32 dev lo"));
    let far_away = Host::new(&stranger, FAR_AWAY);
    wait_until("the relay finds its gateway", Duration::from_secs(10), || far_away.ping(RELAY, 56) == Ping::Answered);
    let port_drops = relay.port_drops();
    let (_, whole) = lab.file("body", 10_000_000);
    let memory = resident_kib(&relay);
    let (established, caller) = (&lab.towns[0], &lab.towns[1]);
    let (drops, url) = (relay.drops(&established.plan.tenant), format!("http://{SHARED_GLOBAL}/files/body"));
    let download = established.counter().start_download(lab.directory(), "through-the-flood", &url, 900_000);

    let relay_mac = mac_of(&lab.relay, ACCESS_PORT);
    let flood = std::thread::spawn(move || Flood::new(&stranger, relay_mac).run());
    wait_until("cookies are demanded of everybody", Duration::from_secs(10), || {
        relay.metric("chukei_ike_half_open").is_some_and(|half_open| half_open >= 30.0)
    });
    caller.strongswan().hang_up();
    caller.strongswan().call();
    let log = caller.strongswan().log();
    assert!(log.contains("parsed IKE_SA_INIT response 0 [ N(COOKIE) ]"), "a town hall shows its cookie and gets through:\n{log}");
    assert!(caller.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok());

    let answers = flood.join().expect("the flood ends");
    let download = download.finish();
    assert_eq!((download.sha256, download.connections), (whole, 1));
    assert_eq!(relay.drops(&established.plan.tenant).since(&drops), Drops::default(), "established traffic loses nothing");
    let grown = resident_kib(&relay).saturating_sub(memory);
    println!("{answers:?}, {grown} KiB, at the port {:?}", relay.port_drops());
    assert!(grown < MOST_MEMORY_KIB, "{grown} KiB more");
    for (largest, request) in answers.largest.into_iter().zip(answers.request) {
        assert!(largest > 0 && largest <= request, "an answer of {largest} bytes to {request}");
    }
    assert!(answers.seen > 1_000 && answers.seen <= u64::from(TRIES), "{answers:?}");
    let others: Vec<_> = relay.port_drops().since(&port_drops).0.into_keys().filter(|reason| !reason.starts_with("ike_punt_")).collect();
    assert!(others.is_empty(), "lost at the port for another reason: {others:?}");
    wait_until("nothing is half open", Duration::from_secs(35), || relay.metric("chukei_ike_half_open") == Some(0.0));
}

fn resident_kib(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.process.pid())).expect("the relay's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

fn mac_of(namespace: &Namespace, interface: &str) -> [u8; 6] {
    let text = must(namespace, "ip", &["-brief", "link", "show", interface]);
    let mac = text.split_whitespace().find(|word| word.len() == 17 && word.matches(':').count() == 5).expect("a MAC address");
    let octets: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hexadecimal")).collect();
    octets.try_into().expect("six octets")
}

/// What came back. Lengths in bytes of IPv4 packets, to addresses with an even number and with an odd one.
#[derive(Debug, Default)]
struct Answers {
    seen: u64,
    largest: [usize; 2],
    request: [usize; 2],
}

/// Valid IKE_SA_INIT requests from invented addresses, each with another SPI. Those from even addresses are as short as can be, which
/// the relay never answers with more than a cookie; those from odd ones as long as a router's, and open something.
struct Flood {
    socket: RawSocket,
    frames: [Vec<u8>; 2],
    relay_mac: [u8; 6],
    answers: Answers,
}

/// Where things are in a frame.
mod at {
    pub(super) const SOURCE: usize = 14 + 12;
    pub(super) const CHECKSUM: usize = 14 + 10;
    pub(super) const SPI: usize = 14 + 20 + 8;
}

impl Flood {
    fn new(stranger: &Namespace, relay_mac: [u8; 6]) -> Self {
        let frames = [request_frame(relay_mac, 0), request_frame(relay_mac, 200)];
        let answers = Answers { request: [frames[0].len() - 14, frames[1].len() - 14], ..Answers::default() };
        Self { socket: RawSocket::open(stranger, "eth0").expect("a raw socket"), frames, relay_mac, answers }
    }

    fn run(mut self) -> Answers {
        let start = Instant::now();
        for number in 0..TRIES {
            // A hundred at a time, on schedule.
            if number % 100 == 0 {
                let due = start + LASTS * number / TRIES;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                self.read();
            }
            self.send(number);
        }
        for _ in 0..10 {
            let _ = wait_readable(&[self.socket.as_fd()], Duration::from_millis(100));
            self.read();
        }
        self.answers
    }

    fn send(&mut self, number: u32) {
        let source = Ipv4Addr::from_bits(FIRST_SOURCE.to_bits() + number % SOURCES);
        let frame = &mut self.frames[usize::from(source.octets()[3] % 2)];
        frame[at::SOURCE..at::SOURCE + 4].copy_from_slice(&source.octets());
        frame[at::SPI..at::SPI + 8].copy_from_slice(&(u64::from(number) + 1).to_be_bytes());
        let checksum = header_checksum(&frame[14..34]);
        frame[at::CHECKSUM..at::CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        // A full queue of the kernel: once more, after what has come meanwhile.
        while !self.socket.send(&self.frames[usize::from(source.octets()[3] % 2)]).expect("a frame leaves") {
            self.read();
        }
    }

    fn read(&mut self) {
        while let Ok(Some(frame)) = self.socket.receive() {
            let is_answer = frame.len() > 34 && frame[6..12] == self.relay_mac && frame[12..14] == [8, 0] && frame[23] == 17;
            if is_answer && frame[30..32] == [198, 18] {
                self.answers.seen += 1;
                let largest = &mut self.answers.largest[usize::from(frame[33] % 2)];
                *largest = (*largest).max(usize::from(u16::from_be_bytes([frame[16], frame[17]])));
            }
        }
    }
}

fn header_checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).enumerate().filter(|(index, _)| *index != 5);
    let sum: u32 = words.map(|(_, word)| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded")
}

/// Ethernet, IPv4, UDP to port 500, and a valid request (RFC 7296 section 1.2): SA, KE, Ni, and a vendor id of this many octets.
fn request_frame(relay_mac: [u8; 6], vendor_id: usize) -> Vec<u8> {
    let message = ike_sa_init(vendor_id);
    let length = |bytes: usize| u16::try_from(bytes).expect("a small packet").to_be_bytes();
    let mut frame = [&relay_mac[..], &[2, 0, 0, 0, 0, 66], &[8, 0]].concat();
    frame.extend([0x45, 0]);
    frame.extend(length(28 + message.len()));
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0]);
    frame.extend(RELAY.octets());
    frame.extend([500_u16.to_be_bytes(), 500_u16.to_be_bytes(), length(8 + message.len()), [0, 0]].concat());
    frame.extend(message);
    frame
}

fn ike_sa_init(vendor_id: usize) -> Vec<u8> {
    let transform = |more: u8, kind: u8, id: u8, attribute: &[u8]| {
        [&[more, 0, 0, 8 + u8::try_from(attribute.len()).expect("short"), kind, 0, 0, id], attribute].concat()
    };
    // AES-CBC-256, PRF-HMAC-SHA-256, HMAC-SHA-256-128, MODP-2048.
    let transforms =
        [transform(3, 1, 12, &[0x80, 14, 1, 0]), transform(3, 2, 5, &[]), transform(3, 3, 12, &[]), transform(0, 4, 14, &[])].concat();
    let proposal = [&[0, 0, 0, 8 + u8::try_from(transforms.len()).expect("short"), 1, 1, 0, 4], &transforms[..]].concat();
    // Any number between 1 and the prime is a public value.
    let key = [&[0, 14, 0, 0][..], &[0x5a; 256]].concat();
    let payload = |next: u8, body: &[u8]| {
        let length = u16::try_from(4 + body.len()).expect("a small payload").to_be_bytes();
        [&[next, 0, length[0], length[1]], body].concat()
    };
    let mut payloads = [payload(34, &proposal), payload(40, &key), payload(if vendor_id > 0 { 43 } else { 0 }, &[0x77; 32])].concat();
    if vendor_id > 0 {
        payloads.extend(payload(0, &vec![0x56; vendor_id]));
    }
    let length = u32::try_from(28 + payloads.len()).expect("small").to_be_bytes();
    // Both SPIs; next payload SA, version 2.0, IKE_SA_INIT, from the initiator, message 0.
    [&[0; 16][..], &[33, 0x20, 34, 0x08, 0, 0, 0, 0], &length, &payloads].concat()
}
