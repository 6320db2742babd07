//! `reconnect`: every municipality comes back at once, after the relay or the network was away, while others work.
//!
//! Routers behave as the protocol says: an initiation at once, again 5 s and up to 333 ms later until there is a session, with the cookie
//! that they were given meanwhile. Time goes on while the worker is busy and jumps when nothing is due, as on a core of its own.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use dataplane::counters::WorkerCounters;
use dataplane::drop_reason::DropReason;
use dataplane::nat::PortHalf;
use dataplane::nic::Nic;
use dataplane::nic::memory::{MemoryNic, MemoryWire};
use dataplane::packet::FramePool;
use dataplane::publish::Publisher;
use dataplane::router_config::{PortConfig, RouterConfig, SecretKey, TenantEntry, Vlan};
use dataplane::time::Instant;
use dataplane::tunnel::wireguard;
use dataplane::wire::ethernet::{self, Ethernet};
use dataplane::worker::{Links, PortQueues, Worker, WorkerParts};
use serde::Serialize;

use crate::busy_time;
use crate::frames::{arp_reply, framed, udp};
use crate::office::{ACCESS_MAC, TRUNK_MAC};
use crate::relay_config::{MTU, RELAY, SERVICE, limits, office_host, router_config, tenant};
use crate::suite::{Suite, wireguard_peer};

/// The local governments of Japan.
const MUNICIPALITIES: usize = 1_788;
/// Those that never were away, and work: 20,000 packets a second in all.
const WORKING: usize = 8;
const PACKET_EVERY: Duration = Duration::from_micros(50);
const PACKET_BYTES: usize = 512;
/// WireGuard, section 6.1: REKEY-TIMEOUT and its jitter.
const RETRY: Duration = Duration::from_secs(5);
const JITTER_MS: u64 = 333;
/// WireGuard, section 6.1: REKEY-ATTEMPT-TIME, after which a router waits for somebody to want something.
const GIVE_UP: Duration = Duration::from_secs(90);
const FRAMES: u32 = 8_192;
const RING: usize = 1_024;

/// What the storm cost.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    case: &'static str,
    municipalities: usize,
    up: usize,
    /// Until the last session was up, as a clock on the wall would show with a core for the relay.
    complete_after_seconds: f64,
    half_up_after_seconds: f64,
    /// Initiations that the routers sent, one for each municipality and those again.
    initiations: u64,
    cookie_replies: u64,
    /// Handshake messages that the limits refused without a word.
    limited: u64,
    queue_full: u64,
    /// Processor time of the relay until the last was up, without what the same data cost before the storm.
    relay_cpu_seconds: f64,
    relay_cpu_seconds_with_data: f64,
    data_packets: usize,
    data_lost: usize,
    /// From the arrival of a data packet to its way out, during the storm.
    data_delay_worst_micros: f64,
    data_delay_mean_micros: f64,
    calm_delay_worst_micros: f64,
    calm_delay_mean_micros: f64,
}

struct Router {
    tunn: Tunn,
    address: SocketAddrV4,
    next_try: Option<Instant>,
    first_try: Instant,
    up: bool,
}

impl Router {
    fn new(number: usize, key: &SecretKey, relay: [u8; 32], at: Instant) -> Self {
        let index = u32::try_from(number).expect("few enough") + 1;
        let tunn = Tunn::new(StaticSecret::from(key.0), PublicKey::from(relay), None, None, index, None);
        let [.., high, low] = index.to_be_bytes();
        Self { tunn, address: SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), 51_820), next_try: Some(at), first_try: at, up: false }
    }

    fn outer(&self, datagram: &[u8]) -> Vec<u8> {
        let mut packet = udp(self.address, RELAY, 28 + datagram.len(), 0);
        packet[28..].copy_from_slice(datagram);
        packet[26..28].fill(0);
        framed(Vlan::Untagged, ACCESS_MAC, ethernet::IPV4, &packet)
    }

    fn initiation(&mut self, now: Instant, jitter_ms: u64) -> Vec<u8> {
        let again = now + RETRY + Duration::from_millis(jitter_ms % (JITTER_MS + 1));
        self.next_try = Some(again).filter(|again| again.since(self.first_try) < GIVE_UP);
        let mut out = [0; 256];
        let TunnResult::WriteToNetwork(datagram) = self.tunn.format_handshake_initiation(&mut out, true) else { panic!("forced") };
        let datagram = datagram.to_vec();
        self.outer(&datagram)
    }

    /// What the router answers to a datagram of the relay's.
    fn hear(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 2_048];
        let TunnResult::WriteToNetwork(answer) = self.tunn.decapsulate(None, datagram, &mut out) else { return None };
        let answer = answer.to_vec();
        (self.up, self.next_try) = (true, None);
        Some(self.outer(&answer))
    }

    fn data(&mut self) -> Vec<u8> {
        let inner = udp(SocketAddrV4::new(office_host(0), 2_000), SERVICE, PACKET_BYTES, 0);
        let mut out = [0; 2_048];
        let TunnResult::WriteToNetwork(datagram) = self.tunn.encapsulate(&inner, &mut out) else { panic!("the tunnel is up") };
        let datagram = datagram.to_vec();
        self.outer(&datagram)
    }
}

struct Storm {
    now: Instant,
    worker: Worker,
    ports: Vec<PortConfig>,
    access: MemoryWire,
    trunk: MemoryWire,
    routers: Vec<Router>,
    /// Frames on the line that the NIC's ring has no room for yet.
    line: VecDeque<Vec<u8>>,
    delivered: usize,
    cookies: u64,
    initiations: u64,
}

pub(crate) fn run() -> Report {
    let mut storm = Storm::new();
    storm.connect_working();
    storm.run()
}

impl Storm {
    fn new() -> Self {
        let now = Instant::from_secs(1);
        let relay_key = wireguard::generate().expect("random bytes");
        let relay = wireguard::public_key(&relay_key);
        let keys: Vec<SecretKey> = (0..WORKING + MUNICIPALITIES).map(|_| wireguard::generate().expect("random bytes")).collect();
        let routers = keys.iter().enumerate().map(|(number, key)| Router::new(number, key, relay, now)).collect();
        let key = |number: usize| wireguard::public_key(&keys[number]);
        let entries: Vec<TenantEntry> = (0..keys.len()).map(|number| tenant(number, wireguard_peer(key(number)), limits(1))).collect();
        let config: RouterConfig = router_config(Suite::ChaCha20Poly1305.endpoint(relay_key), entries);
        let ports = config.ports.clone();
        let config = Publisher::new(config);
        let mut pool = FramePool::new(FRAMES).expect("memory");
        let (access_nic, access) = MemoryNic::new("access", ACCESS_MAC.0, MTU, RING, &mut pool);
        let (trunk_nic, trunk) = MemoryNic::new("trunk", TRUNK_MAC.0, MTU, RING, &mut pool);
        let nics: [Box<dyn Nic>; 2] = [Box::new(access_nic), Box::new(trunk_nic)];
        let nics = nics.map(PortQueues::from).into();
        let counters: Arc<WorkerCounters> = Arc::default();
        let parts = WorkerParts {
            ports: nics,
            links: Links::alone(),
            pool,
            config: config.reader(),
            counters,
            seed: 1,
            port_half: PortHalf::Even,
            cpu: None,
            start: Duration::ZERO,
        };
        let (worker, _, _) = Worker::new(parts, now);
        let line = VecDeque::new();
        let mut storm = Self { now, worker, ports, access, trunk, routers, line, delivered: 0, cookies: 0, initiations: 0 };
        // Until every gateway is known.
        for _ in 0..64 {
            storm.now = storm.now + Duration::from_millis(16);
            storm.poll();
        }
        storm
    }

    fn connect_working(&mut self) {
        for number in 0..WORKING {
            let initiation = self.routers[number].initiation(self.now, 0);
            self.line.push_back(initiation);
            for _ in 0..4 {
                self.poll();
            }
            assert!(self.routers[number].up, "alone, a router is up at once");
        }
        // What these took from the limits is there again.
        self.now = self.now + Duration::from_secs(1);
        self.poll();
    }

    /// One round of the worker with what is on the line; returns how long it was busy.
    fn poll(&mut self) -> Duration {
        while let Some(frame) = self.line.pop_front() {
            if self.access.inject(&frame).is_err() {
                self.line.push_front(frame);
                break;
            }
        }
        let begun = busy_time();
        self.worker.poll(self.now);
        let busy = busy_time() - begun;
        self.now = self.now + busy;
        self.drain();
        busy
    }

    fn drain(&mut self) {
        let Self { access, trunk, routers, line, delivered, cookies, .. } = self;
        for (wire, is_access) in [(access, true), (trunk, false)] {
            let mut look = |frame: &[u8]| {
                let header = Ethernet::parse(frame).expect("the relay's frames are sound");
                let packet = &frame[header.header_len..];
                if header.ethertype == ethernet::ARP {
                    return arp_reply(packet, &header);
                }
                if !is_access {
                    *delivered += 1;
                    return None;
                }
                let number = usize::from(u16::from_be_bytes([packet[18], packet[19]])) - 1;
                // WireGuard, section 5.4.7: message type 3.
                *cookies += u64::from(packet[28] == 3);
                line.extend(routers[number].hear(&packet[28..]));
                None
            };
            while let Some(answer) = wire.with_transmitted(|frame, _| look(frame)) {
                answer.iter().for_each(|answer| wire.inject(answer).expect("room for an answer"));
            }
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.ports.iter().map(|port| port.counters.sum().drops.get(reason)).sum()
    }

    /// One round with the data that came until now; returns how long the worker was busy.
    fn round(&mut self, data: &mut Data) -> Duration {
        while data.next <= self.now {
            let frame = self.routers[data.sent % WORKING].data();
            self.line.push_back(frame);
            data.waiting.push_back(data.next);
            data.next = data.next + PACKET_EVERY;
            data.sent += 1;
        }
        let before = self.delivered;
        let busy = self.poll();
        for arrived in data.waiting.drain(..data.waiting.len().min(self.delivered - before)) {
            let delay = self.now.since(arrived);
            data.worst = data.worst.max(delay);
            data.delayed += delay;
        }
        // Nothing is due before: the core sleeps until then.
        self.now = self.now.max(data.next.min(self.now + PACKET_EVERY));
        busy
    }

    /// Initiations of those whose time it is.
    fn knock(&mut self, jitter: &mut u64) {
        let now = self.now;
        for router in self.routers.iter_mut().skip(WORKING).filter(|router| router.next_try.is_some_and(|at| at <= now)) {
            *jitter = jitter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.line.push_back(router.initiation(now, *jitter >> 33));
            self.initiations += 1;
        }
    }

    fn up(&self) -> usize {
        self.routers.iter().skip(WORKING).filter(|router| router.up).count()
    }

    fn run(mut self) -> Report {
        // What the data costs alone.
        let mut calm = Data::new(self.now);
        let calm_cpu: Duration = (0..20_000).map(|_| self.round(&mut calm)).sum();
        let start = self.now;
        for router in self.routers.iter_mut().skip(WORKING) {
            (router.next_try, router.first_try) = (Some(start), start);
        }
        let (mut data, delivered_before) = (Data::new(start), self.delivered);
        let (mut cpu, mut jitter, mut up, mut half, mut last) = (Duration::ZERO, 1, 0, start, start);
        self.initiations = 0;
        while up < MUNICIPALITIES && self.now.since(start) < GIVE_UP + RETRY {
            self.knock(&mut jitter);
            cpu += self.round(&mut data);
            let now_up = self.up();
            if now_up > up {
                (up, last) = (now_up, self.now);
                half = if up * 2 <= MUNICIPALITIES { self.now } else { half };
            }
        }
        // What is still on its way arrives.
        for _ in 0..1_000 {
            self.poll();
        }
        let seconds = |cpu: Duration, packets: usize| cpu.as_secs_f64() / packets.max(1) as f64;
        let of_data = seconds(calm_cpu, calm.sent) * data.sent as f64;
        let on_their_way = self.delivered - delivered_before;
        Report {
            case: "reconnect",
            municipalities: MUNICIPALITIES,
            up,
            complete_after_seconds: last.since(start).as_secs_f64(),
            half_up_after_seconds: half.since(start).as_secs_f64(),
            initiations: self.initiations,
            cookie_replies: self.cookies,
            limited: self.dropped(DropReason::TunnelHandshakeLimited),
            queue_full: self.dropped(DropReason::TunnelHandshakeQueueFull),
            relay_cpu_seconds: cpu.as_secs_f64() - of_data,
            relay_cpu_seconds_with_data: cpu.as_secs_f64(),
            data_packets: data.sent,
            data_lost: data.sent.saturating_sub(on_their_way),
            data_delay_worst_micros: data.worst.as_secs_f64() * 1e6,
            data_delay_mean_micros: seconds(data.delayed, data.sent) * 1e6,
            calm_delay_worst_micros: calm.worst.as_secs_f64() * 1e6,
            calm_delay_mean_micros: seconds(calm.delayed, calm.sent) * 1e6,
        }
    }
}

/// The traffic of those who work: one packet after the other, at a steady pace.
struct Data {
    next: Instant,
    sent: usize,
    waiting: VecDeque<Instant>,
    worst: Duration,
    delayed: Duration,
}

impl Data {
    fn new(next: Instant) -> Self {
        Self { next, sent: 0, waiting: VecDeque::new(), worst: Duration::ZERO, delayed: Duration::ZERO }
    }
}

/// For people.
pub(crate) fn print(report: &Report) {
    let Report { municipalities, up, complete_after_seconds, half_up_after_seconds, initiations, cookie_replies, .. } = report;
    println!("{up} of {municipalities} up after {complete_after_seconds:.2} s, half of them after {half_up_after_seconds:.2} s");
    let Report { limited, queue_full, relay_cpu_seconds, relay_cpu_seconds_with_data, .. } = report;
    println!("{initiations} initiations: {cookie_replies} were asked for a cookie, {limited} limited, {queue_full} found the queue full");
    println!("relay: {relay_cpu_seconds:.3} s of CPU for handshakes (at most 1.5), {relay_cpu_seconds_with_data:.3} s with the data");
    let Report { data_packets, data_lost, data_delay_worst_micros: worst, data_delay_mean_micros: mean, .. } = report;
    println!("others: {data_lost} of {data_packets} packets lost; delay {mean:.1} us on average, {worst:.0} us at worst");
    let Report { calm_delay_worst_micros: worst, calm_delay_mean_micros: mean, .. } = report;
    println!("before the storm: {mean:.1} us on average, {worst:.0} us at worst");
}
