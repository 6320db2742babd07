//! A relay and everybody around it, in memory: municipal routers behind one access gateway, a gateway on each tenant's VLAN.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use dataplane::counters::WorkerCounters;
pub(crate) use dataplane::nat::Direction;
use dataplane::nic::memory::{MemoryNic, MemoryWire};
use dataplane::nic::{BATCH, Nic};
use dataplane::packet::FramePool;
use dataplane::publish::Publisher;
use dataplane::router_config::{SecretKey, TenantEntry, Vlan};
use dataplane::time::Instant;
use dataplane::tunnel::wireguard::{self, WireGuardListener, WireGuardTunnel};
use dataplane::tunnel::{Content, Tunnel};
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::checksum::Sum;
use dataplane::wire::ethernet::{self, Ethernet, MacAddr};
use dataplane::worker::{Worker, WorkerParts};

use crate::busy_time;
use crate::relay_config::{CLOUD_HOST, MTU, OFFICE_HOST, RELAY, SERVICE, router_config, tenant, tunnel_config, vlan};

/// A few milliseconds of traffic.
const FRAMES: u32 = 8_192;
const RING: usize = 1_024;
const ACCESS_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const TRUNK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Whoever is not the relay.
const THEIR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// A municipality's router, and how its one session looks from the cloud.
struct Office {
    tunnel: WireGuardTunnel,
    router: SocketAddrV4,
    vlan: Vlan,
    seen_by_cloud: SocketAddrV4,
}

pub(crate) struct World {
    /// The relay's time goes on while its worker is busy, as on a core of its own: timers come as often as they would there.
    time: Instant,
    worker: Worker,
    entries: Vec<TenantEntry>,
    counters: Arc<WorkerCounters>,
    access: MemoryWire,
    trunk: MemoryWire,
    offices: Vec<Office>,
    next: usize,
    lost_before: u64,
}

impl World {
    /// `tenants` municipalities, each with its tunnel up and one session open.
    pub(crate) fn new(tenants: usize) -> Self {
        let time = Instant::from_secs(1);
        let relay_key = wireguard::generate().expect("random bytes");
        let keys: Vec<SecretKey> = (0..tenants).map(|_| wireguard::generate().expect("random bytes")).collect();
        let relay = wireguard::public_key(&relay_key);
        let offices = keys.iter().enumerate().map(|(number, key)| Office::new(number, key, relay, time)).collect();
        let entries: Vec<TenantEntry> = keys.iter().enumerate().map(|(number, key)| tenant(number, wireguard::public_key(key))).collect();
        let config = Publisher::new(router_config(relay_key, entries.clone()));
        let mut pool = FramePool::new(FRAMES).expect("memory");
        let (access_nic, access) = MemoryNic::new("access", ACCESS_MAC.0, MTU, RING, &mut pool);
        let (trunk_nic, trunk) = MemoryNic::new("trunk", TRUNK_MAC.0, MTU, RING, &mut pool);
        let ports: Vec<Box<dyn Nic>> = vec![Box::new(access_nic), Box::new(trunk_nic)];
        let counters: Arc<WorkerCounters> = Arc::default();
        let parts = WorkerParts { ports, pool, config: config.reader(), counters: Arc::clone(&counters), seed: 1, cpu: None };
        let (worker, _, _) = Worker::new(parts, time);
        let mut world = Self { time, worker, entries, counters, access, trunk, offices, next: 0, lost_before: 0 };
        // Until every gateway is known.
        for _ in 0..64 {
            world.step(Duration::from_millis(16));
        }
        for number in 0..tenants {
            world.connect(number);
        }
        world.lost_before = world.counters.dropped.get();
        world
    }

    pub(crate) fn tenants(&self) -> usize {
        self.offices.len()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.offices.len()
    }

    /// Inner packets forwarded since the start.
    pub(crate) fn forwarded(&self, direction: Direction) -> u64 {
        let packets = |tenant: &TenantEntry| match direction {
            Direction::OfficeToCloud => tenant.counters.office_to_cloud.packets.get(),
            Direction::CloudToOffice => tenant.counters.cloud_to_office.packets.get(),
        };
        self.entries.iter().map(packets).sum()
    }

    /// Packets lost since all tunnels were up.
    pub(crate) fn lost(&self) -> u64 {
        self.counters.dropped.get() - self.lost_before
    }

    /// Frames with inner packets of `size` bytes, from one tenant after the other.
    pub(crate) fn load(&mut self, direction: Direction, size: usize, packets: usize) -> Vec<Vec<u8>> {
        let now = self.time;
        let mut frames = Vec::with_capacity(packets);
        for _ in 0..packets {
            self.next = (self.next + 1) % self.offices.len();
            let office = &mut self.offices[self.next];
            frames.push(match direction {
                Direction::OfficeToCloud => office.office_datagram(size, now),
                Direction::CloudToOffice => office.cloud_packet(size),
            });
        }
        frames
    }

    /// Let the frames arrive, a batch at a time; returns how long the worker was busy with them.
    pub(crate) fn forward(&mut self, direction: Direction, frames: &[Vec<u8>]) -> Duration {
        let mut busy = Duration::ZERO;
        let mut batches = frames.chunks(BATCH);
        loop {
            let batch = batches.next();
            for frame in batch.unwrap_or_default() {
                let wire = if direction == Direction::OfficeToCloud { &mut self.access } else { &mut self.trunk };
                wire.inject(frame).expect("the ring has room for a batch");
            }
            let start = busy_time();
            let received = self.worker.poll(self.time);
            let spent = busy_time() - start;
            busy += spent;
            self.time = self.time + spent;
            self.drain(|_, _| {});
            if batch.is_none() && received == 0 {
                return busy;
            }
        }
    }

    /// Let `time` pass, and the worker work. Returns the frames that are no ARP.
    fn step(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.time = self.time + time;
        let mut frames = Vec::new();
        for _ in 0..2 {
            self.worker.poll(self.time);
            self.drain(|frame, header| frames.push(frame[header.header_len..].to_vec()));
        }
        frames
    }

    /// Take what the relay transmitted, and answer its ARP.
    fn drain(&mut self, mut see: impl FnMut(&[u8], &Ethernet)) {
        for wire in [&mut self.access, &mut self.trunk] {
            let mut look = |frame: &[u8]| {
                let header = Ethernet::parse(frame).expect("the relay's frames are sound");
                if header.ethertype == ethernet::ARP {
                    return arp_reply(&frame[header.header_len..], &header);
                }
                see(frame, &header);
                None
            };
            while let Some(answer) = wire.with_transmitted(|frame, _| look(frame)) {
                if let Some(answer) = answer {
                    wire.inject(&answer).expect("room for an answer");
                }
            }
        }
    }

    /// Handshake, then one packet there and one back, looked at on both sides.
    fn connect(&mut self, number: usize) {
        let now = self.time;
        let mut out = [0; 2_048];
        let office = &mut self.offices[number];
        let len = office.tunnel.initiate(&mut out, now).expect("no session yet");
        self.access.inject(&office.outer(&out[..len])).expect("room");
        // The relay answers 500 unproved sources a second.
        let answers = self.step(Duration::from_millis(4));
        let [answer] = &answers[..] else { panic!("one answer to a handshake, not {}", answers.len()) };
        let office = &mut self.offices[number];
        let done = office.tunnel.decapsulate(&answer[28..], RELAY.into(), &mut out, now).expect("the relay's answer");
        let Content::Reply { len } = done.content else { panic!("a handshake ends with a keepalive") };
        self.access.inject(&office.outer(&out[..len])).expect("room");
        self.step(Duration::ZERO);
        self.open_session(number);
    }

    fn open_session(&mut self, number: usize) {
        let now = self.time;
        self.access.inject(&self.offices[number].office_datagram(100, now)).expect("room");
        let arrived = self.step(Duration::ZERO);
        let [packet] = &arrived[..] else { panic!("one packet at the cloud, not {}", arrived.len()) };
        assert_eq!(packet[16..20], CLOUD_HOST.ip().octets());
        let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        self.offices[number].seen_by_cloud = SocketAddrV4::new(source, u16::from_be_bytes([packet[20], packet[21]]));

        self.trunk.inject(&self.offices[number].cloud_packet(100)).expect("room");
        let arrived = self.step(Duration::ZERO);
        let [datagram] = &arrived[..] else { panic!("one datagram at the office, not {}", arrived.len()) };
        let mut out = [0; 2_048];
        let done = self.offices[number].tunnel.decapsulate(&datagram[28..], RELAY.into(), &mut out, now).expect("the relay's data");
        assert_eq!(done.content, Content::Inner { len: 100 });
        assert_eq!(out[16..20], OFFICE_HOST.ip().octets());
    }
}

impl Office {
    fn new(number: usize, key: &SecretKey, relay: [u8; 32], now: Instant) -> Self {
        let number = u16::try_from(number).expect("fewer than 65,536 tenants");
        let index = u32::from(number) + 1;
        let tunnel = WireGuardTunnel::new(&WireGuardListener::new(key), &tunnel_config(relay, Some(RELAY.into())), index, now);
        let [high, low] = number.to_be_bytes();
        let router = SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), 51_820);
        Self { tunnel, router, vlan: vlan(number), seen_by_cloud: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) }
    }

    fn office_datagram(&mut self, size: usize, now: Instant) -> Vec<u8> {
        let mut inner = udp(OFFICE_HOST, SERVICE, size);
        inner.resize(size.next_multiple_of(16), 0);
        let mut out = [0; 2_048];
        let len = self.tunnel.encapsulate(&mut inner, size, &mut out, now).expect("the tunnel is up");
        self.outer(&out[..len])
    }

    fn outer(&self, datagram: &[u8]) -> Vec<u8> {
        let mut packet = udp(self.router, RELAY, 28 + datagram.len());
        packet[28..].copy_from_slice(datagram);
        // RFC 768: no checksum; the tunnel authenticates.
        packet[26..28].fill(0);
        framed(Vlan::Untagged, ACCESS_MAC, ethernet::IPV4, &packet)
    }

    fn cloud_packet(&self, size: usize) -> Vec<u8> {
        framed(self.vlan, TRUNK_MAC, ethernet::IPV4, &udp(CLOUD_HOST, self.seen_by_cloud, size))
    }
}

/// An IPv4 packet of `len` bytes with UDP inside, checksums in place.
fn udp(source: SocketAddrV4, destination: SocketAddrV4, len: usize) -> Vec<u8> {
    let total = u16::try_from(len).expect("an IPv4 packet");
    let mut packet = vec![0; len];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&source.ip().octets());
    packet[16..20].copy_from_slice(&destination.ip().octets());
    let checksum = Sum::default().bytes(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..22].copy_from_slice(&source.port().to_be_bytes());
    packet[22..24].copy_from_slice(&destination.port().to_be_bytes());
    packet[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    let checksum = Sum::default().pseudo_header(*source.ip(), *destination.ip(), 17, total - 20).bytes(&packet[20..]).checksum();
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

fn framed(vlan: Vlan, relay: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [relay.0, THEIR_MAC.0].concat();
    if let Vlan::Single(id) = vlan {
        frame.extend(ethernet::TPID_CUSTOMER.to_be_bytes());
        frame.extend(id.get().to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Everybody but the relay itself answers, from one station.
fn arp_reply(message: &[u8], header: &Ethernet) -> Option<Vec<u8>> {
    let request = Arp::parse(message, header.source).expect("the relay's ARP is sound");
    if request.operation != Operation::Request || request.target == request.sender {
        return None;
    }
    let reply = Arp {
        operation: Operation::Reply,
        sender_mac: THEIR_MAC,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    Some(framed(header.vlan, request.sender_mac, ethernet::ARP, &reply.bytes()))
}
