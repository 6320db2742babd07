//! What holds after every step, whatever happened: no packet without an end, no frame lost, no byte at a stranger's.

use std::net::Ipv4Addr;

use crate::counters::WorkerCounters;
use crate::router_config::{PortConfig, SourceTranslation, TenantConfig, TrafficClass, Vlan, WorkerId};
use crate::simulation::canary::{Owner, owners};
use crate::simulation::fragments::is_fragment;
use crate::simulation::municipality::ACCESS;
use crate::simulation::packets;
use crate::simulation::packets6;
use crate::simulation::stations::relay_mac;
use crate::simulation::world::World;
use crate::time::Instant;
use crate::wire::ethernet::{self, Ethernet};
use crate::worker::FrameAudit;

/// What freed frames are overwritten with (see `packet::frames`): so many of them in a row are a leftover.
const POISON: [u8; 8] = [0xdb; 8];

impl World {
    /// Conservation of packets, of frames, and of what drops are counted under.
    pub(super) fn check_laws(&self) {
        let seed = self.seed;
        let sum = |pick: fn(&WorkerCounters) -> u64| self.counters.iter().map(|counters| pick(counters)).sum::<u64>();
        let (dropped, held, transmitted) = (sum(|c| c.dropped.get()), sum(|c| c.held.get()), sum(|c| c.transmitted.get()));
        for (worker, c) in self.counters.iter().enumerate() {
            let came = c.received.get() + c.generated.get() + c.taken_over.get();
            let went = c.transmitted.get() + c.dropped.get() + c.absorbed.get() + c.held.get() + c.handed_over.get();
            assert_eq!(came, went, "seed {seed}: worker {worker}: every packet that came has one end: {c:?}");
        }
        assert_eq!(sum(|c| c.received.get()), self.delivered, "seed {seed}: what the cables brought is what was received");
        let waiting: usize = self.wires.iter().flatten().map(crate::nic::memory::MemoryWire::waiting).sum();
        assert_eq!(transmitted, self.collected + waiting as u64, "seed {seed}: what left is what was transmitted");

        let shares = |port: &PortConfig| {
            let workers = (0u8..).take(self.workers.len());
            workers.map(|worker| port.counters.share(WorkerId(worker)).drops.total()).sum::<u64>()
        };
        let of_ports: u64 = self.ports.iter().map(shares).sum();
        let of_tenants: u64 = self.tenants.iter().chain(&self.former).map(|tenant| tenant.counters.drops.total()).sum();
        assert_eq!(of_ports + of_tenants, dropped, "seed {seed}: every lost packet has a reason, at one place");

        let audits = self.audits();
        let total = |pick: fn(&FrameAudit) -> usize| audits.iter().map(pick).sum::<usize>();
        let somewhere = total(|a| a.free) + total(|a| a.with_nics) + total(|a| a.waiting) + total(|a| a.under_way);
        assert_eq!(somewhere, total(|a| a.total), "seed {seed}: no frame is lost: {audits:?}");
        assert_eq!(total(|a| a.waiting) as u64, held, "seed {seed}: who waits is counted");
        let between = sum(|c| c.handed_over.get()) - sum(|c| c.taken_over.get());
        assert_eq!(total(|a| a.packets_under_way) as u64, between, "seed {seed}: what is between two workers is counted");
    }

    /// A frame leaves the relay: may it, there?
    pub(super) fn judge_transmitted(&self, port: usize, frame: &[u8]) {
        let seed = self.seed;
        let header = Ethernet::parse(frame).expect("the relay sends whole headers");
        assert!(!has_leftovers(frame), "seed {seed}: bytes of a freed frame: {frame:02x?}");
        assert_eq!(header.source, relay_mac(crate::router_config::PortId(u8::try_from(port).expect("few ports"))));
        let payload = &frame[header.header_len..];
        if port == usize::from(ACCESS.0) {
            assert_eq!(header.vlan, Vlan::Untagged);
            assert_eq!(owners(payload).next(), None, "seed {seed}: payload in clear on the access line");
            if header.ethertype == ethernet::IPV6 {
                packets6::read6(payload).unwrap_or_else(|error| panic!("seed {seed}: {error}: {payload:02x?}"));
            }
            return;
        }
        let of = |tenant: &&TenantConfig| {
            tenant.attachments.iter().any(|attachment| usize::from(attachment.port.0) == port && attachment.vlan == header.vlan)
        };
        let tenant = self.plan.tenants.iter().find(of);
        let tenant = tenant.unwrap_or_else(|| panic!("seed {seed}: a frame on a VLAN of nobody: {header:?}"));
        if header.ethertype == ethernet::IPV6 {
            return self.judge_ipv6(payload, tenant);
        }
        if header.ethertype != ethernet::IPV4 {
            return;
        }
        let destination = self.judge_packet(payload, &format!("{}'s cloud", tenant.name));
        self.judge_port(tenant, payload);
        // The relay's own address speaks to a host of what that host sent.
        let own = tenant.attachments.iter().any(|attachment| attachment.address.ip().octets() == payload[12..16]);
        let classes = if own { TrafficClass::ALL.to_vec() } else { classes_in_cloud(tenant, destination) };
        for owner in owners(payload) {
            let may = |class: &TrafficClass| owner == Owner::new(&tenant.name, *class);
            assert!(classes.iter().any(may), "seed {seed}: {owner:?} on the VLAN of {}, for {destination}: {payload:02x?}", tenant.name);
        }
    }

    /// An inner packet came out at an office: may it?
    pub(super) fn judge_in_office(&self, office: usize, packet: &[u8]) {
        let seed = self.seed;
        let office = &self.offices[office];
        // The office of a tenant that is gone may still get what was under way.
        let name = office.public_key().and_then(|key| self.tenant_of_key(key)).unwrap_or(&office.name);
        let former = self.former.iter().map(|entry| &*entry.config);
        let tenant = self.plan.tenants.iter().chain(former).find(|tenant| *tenant.name == *name).expect("a tenant, or a former one");
        if packet[0] >> 4 == 6 {
            return self.judge_refusal(packet, name);
        }
        let destination = self.judge_packet(packet, &format!("{name}'s office"));
        assert!(!has_leftovers(packet), "seed {seed}: bytes of a freed frame: {packet:02x?}");
        for owner in owners(packet) {
            let class = class_in_office(tenant, destination);
            let allowed = class.map(|class| Owner::new(name, class));
            assert_eq!(allowed, Some(owner), "seed {seed}: a foreign canary in the office of {name}, for {destination}");
        }
    }
}

impl World {
    /// On a VLAN the relay's own IPv6 address speaks, of itself.
    fn judge_ipv6(&self, packet: &[u8], tenant: &TenantConfig) {
        let seed = self.seed;
        let seen = packets6::read6(packet).unwrap_or_else(|error| panic!("seed {seed}: {error}: {packet:02x?}"));
        let mut own = tenant.attachments.iter().filter_map(|attachment| attachment.address6).map(|address| address.ip());
        let is_own = seen.source.is_unspecified() || own.any(|own| own == seen.source);
        assert!(is_own && seen.next_header == packets6::ICMPV6, "seed {seed}: {packet:02x?}");
        assert!(matches!(seen.payload[0], 129 | 135 | 136), "seed {seed}: an echo reply, or neighbour discovery: {packet:02x?}");
        for owner in owners(packet) {
            let own = TrafficClass::ALL.map(|class| Owner::new(&tenant.name, class));
            assert!(own.contains(&owner), "seed {seed}: a foreign canary on the VLAN of {}: {packet:02x?}", tenant.name);
        }
    }

    /// The only IPv6 that an office is sent: the word that its own packet was refused.
    fn judge_refusal(&self, packet: &[u8], name: &str) {
        let seed = self.seed;
        let seen = packets6::read6(packet).unwrap_or_else(|error| panic!("seed {seed}: {error}: {packet:02x?}"));
        assert_eq!((seen.next_header, &seen.payload[..2]), (packets6::ICMPV6, &[1, 1][..]), "seed {seed}: {packet:02x?}");
        assert!(!has_leftovers(packet), "seed {seed}: bytes of a freed frame: {packet:02x?}");
        for owner in owners(packet) {
            let own = TrafficClass::ALL.map(|class| Owner::new(name, class));
            assert!(own.contains(&owner), "seed {seed}: a foreign canary in the office of {name}: {packet:02x?}");
        }
    }

    /// RFC 6888 REQ-8 across a restart: in its first two minutes a run gives out no port that the one before may just have given back.
    fn judge_port(&self, tenant: &TenantConfig, packet: &[u8]) {
        if !self.has_restarted || self.relay_now() >= Instant::from_secs(120) || packet[6..8] != [0; 2] && packet[6..8] != [0x40, 0] {
            return;
        }
        let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let gives_out = |translation: &SourceTranslation| matches!(translation, SourceTranslation::Napt(pool) if pool.iter().any(|prefix| prefix.contains(source)));
        let port = match (packet[9], packet[20]) {
            (6 | 17, _) => u16::from_be_bytes([packet[20], packet[21]]),
            (1, 8) => u16::from_be_bytes([packet[24], packet[25]]),
            _ => return,
        };
        if tenant.sources.iter().any(|rule| gives_out(&rule.translation)) {
            let (seed, half) = (self.seed, self.start.port_half);
            assert!(half.contains(port), "seed {seed}: {source} got port {port} although this run begins with the {half:?} ones");
        }
    }

    /// The destination of a packet that the relay let through; its checksums are right, unless hosts send wrong ones in this world.
    fn judge_packet(&self, packet: &[u8], to: &str) -> Ipv4Addr {
        // The checksum of a datagram in fragments covers all of them.
        if !self.hosts_err && !is_fragment(packet) {
            packets::read(packet).unwrap_or_else(|error| panic!("seed {}: sent to {to}: {error}: {packet:02x?}", self.seed));
        }
        Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19])
    }
}

/// Bytes of a freed frame. One in eight is looked at first: wherever a run of eight lies, it meets one of them.
fn has_leftovers(bytes: &[u8]) -> bool {
    let is_in_run =
        |at: usize| bytes[at.saturating_sub(POISON.len() - 1)..].windows(POISON.len()).take(POISON.len()).any(|window| window == POISON);
    (0..bytes.len()).step_by(POISON.len()).any(|at| bytes[at] == POISON[0] && is_in_run(at))
}

/// Longest prefix first, written down once more and as plainly as can be.
fn class_in_office(tenant: &TenantConfig, host: Ipv4Addr) -> Option<TrafficClass> {
    let candidates = tenant.office.iter().filter(|office| office.prefix.contains(host));
    candidates.max_by_key(|office| office.prefix.prefix()).map(|office| office.class)
}

/// The classes that have business with a cloud host: those of the services it offers, and of the callbacks it may make.
fn classes_in_cloud(tenant: &TenantConfig, host: Ipv4Addr) -> Vec<TrafficClass> {
    let services = tenant.services.iter().filter(|service| service.cloud_side.contains(host)).map(|service| service.class);
    let calls = |from: &[ipnetwork::Ipv4Network]| from.iter().any(|prefix| prefix.contains(host));
    let callbacks = tenant.callbacks.iter().filter(|callback| calls(&callback.from)).map(|callback| callback.class);
    services.chain(callbacks).collect()
}
