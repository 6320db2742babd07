//! All counters of a world as one list, and the exact change of it that a test demands.

use std::collections::BTreeMap;
use std::fmt;

use crate::counters::{DropCounters, PortShare, Traffic, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::router_config::TenantEntry;

/// Ethernet header of an access frame, outer IPv4 and UDP.
const OUTER: usize = 14 + 20 + 8;
/// What WireGuard puts around an inner packet.
const TUNNEL: usize = 32;
/// Ethernet header with one tag.
const TAGGED: usize = 18;

/// Counters by name, or changes of them; those that are zero are left out.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Counts(BTreeMap<String, i64>);

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl Counts {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `by` more of `name`.
    #[must_use]
    pub fn add(mut self, name: &str, by: i64) -> Self {
        self.change(name.to_owned(), by);
        self
    }

    fn change(&mut self, name: String, by: i64) {
        let value = self.0.entry(name).or_default();
        *value += by;
    }

    fn traffic(mut self, name: &str, bytes: usize) -> Self {
        self.change(format!("{name}.packets"), 1);
        self.change(format!("{name}.bytes"), signed(bytes as u64));
        self
    }

    /// What changed from `before` to `self`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut changes = self.clone();
        before.0.iter().for_each(|(name, value)| changes.change(name.clone(), -value));
        changes.0.retain(|_, value| *value != 0);
        changes
    }

    /// All but those whose names begin so.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        self.0.retain(|name, _| !name.starts_with(prefix));
        self
    }

    /// Those alone whose names begin with one of these.
    #[must_use]
    pub fn only(mut self, prefixes: &[&str]) -> Self {
        self.0.retain(|name, _| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        self
    }

    /// The same over another tunnel than `main`.
    #[must_use]
    pub fn by(self, tunnel: &str) -> Self {
        Self(self.0.into_iter().map(|(name, value)| (name.replace("/main.", &format!("/{tunnel}.")), value)).collect())
    }

    /// The value of one counter.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Where `self` and `expected` differ, a line each.
    #[must_use]
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let names = self.since(expected).0;
        names.keys().map(|name| format!("{name}: expected {}, got {}", expected.get(name), self.get(name))).collect()
    }

    /// `times` such changes.
    #[must_use]
    pub fn times(mut self, times: i64) -> Self {
        self.0.values_mut().for_each(|value| *value *= times);
        self
    }

    /// Both changes.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        other.0.iter().for_each(|(name, value)| self.change(name.clone(), *value));
        self
    }

    /// A frame of `len` bytes arrived at `port`.
    #[must_use]
    pub fn frame(self, port: &str, len: usize) -> Self {
        self.traffic(&format!("{port}.received"), len).add("worker.received", 1)
    }

    /// A frame of `len` bytes left `port`.
    #[must_use]
    pub fn sent(self, port: &str, len: usize) -> Self {
        self.traffic(&format!("{port}.transmitted"), len).add("worker.transmitted", 1)
    }

    /// A UDP datagram with `len` bytes of payload arrived on the access port.
    #[must_use]
    pub fn datagram(self, len: usize) -> Self {
        self.frame("access", OUTER + len)
    }

    /// The relay sent a UDP datagram with `len` bytes of payload over the access port.
    #[must_use]
    pub fn datagram_sent(self, len: usize) -> Self {
        self.sent("access", OUTER + len)
    }

    /// An inner packet came out of the tenant's tunnel.
    #[must_use]
    pub fn from_office(self, tenant: &str, packet: &[u8]) -> Self {
        self.datagram(packet.len() + TUNNEL).traffic(&format!("{tenant}/main.received"), packet.len())
    }

    /// A packet went onto the tenant's VLAN.
    #[must_use]
    pub fn to_cloud(self, tenant: &str, packet: &[u8]) -> Self {
        self.to_cloud_over(tenant, packet, "aws", TAGGED)
    }

    /// A packet went onto a VLAN of the tenant, behind an Ethernet header of `header` bytes.
    #[must_use]
    pub fn to_cloud_over(self, tenant: &str, packet: &[u8], port: &str, header: usize) -> Self {
        self.traffic(&format!("{tenant}.office_to_cloud"), packet.len()).sent(port, packet.len() + header)
    }

    /// The relay made an ICMP error of `len` bytes for a host in the tenant's cloud.
    #[must_use]
    pub fn error_to_cloud(self, tenant: &str, len: usize) -> Self {
        self.generated().sent("aws", len + TAGGED).add(&format!("{tenant}.icmp_errors_sent"), 1)
    }

    /// The relay made an ICMP error for a host in the tenant's office.
    #[must_use]
    pub fn error_to_office(self, tenant: &str, error: &[u8]) -> Self {
        self.generated().into_tunnel(tenant, error).add(&format!("{tenant}.icmp_errors_sent"), 1)
    }

    /// A packet arrived on the tenant's VLAN.
    #[must_use]
    pub fn from_cloud(self, packet: &[u8]) -> Self {
        self.frame("aws", packet.len() + TAGGED)
    }

    /// An inner packet went into the tenant's tunnel.
    #[must_use]
    pub fn into_tunnel(self, tenant: &str, packet: &[u8]) -> Self {
        let padded = packet.len().next_multiple_of(16).min(1_420.max(packet.len()));
        self.datagram_sent(padded + TUNNEL).traffic(&format!("{tenant}/main.transmitted"), packet.len())
    }

    /// An inner packet came out of the tenant's IPsec tunnel, in UDP and with AES-GCM.
    #[must_use]
    pub fn from_esp_office(self, tenant: &str, packet: &[u8]) -> Self {
        self.datagram(esp_len(packet)).traffic(&format!("{tenant}/main.received"), packet.len())
    }

    /// A packet from the cloud was forwarded to the office, through IPsec in UDP and with AES-GCM.
    #[must_use]
    pub fn to_esp_office(self, tenant: &str, packet: &[u8]) -> Self {
        let forwarded = self.traffic(&format!("{tenant}.cloud_to_office"), packet.len());
        forwarded.datagram_sent(esp_len(packet)).traffic(&format!("{tenant}/main.transmitted"), packet.len())
    }

    /// A packet from the cloud was forwarded to the office.
    #[must_use]
    pub fn to_office(self, tenant: &str, packet: &[u8]) -> Self {
        self.into_tunnel(tenant, packet).traffic(&format!("{tenant}.cloud_to_office"), packet.len())
    }

    /// A session was opened.
    #[must_use]
    pub fn opened(self, tenant: &str) -> Self {
        self.add(&format!("{tenant}.sessions_opened"), 1)
    }

    /// The relay made a packet.
    #[must_use]
    pub fn generated(self) -> Self {
        self.add("worker.generated", 1)
    }

    /// A packet ended in the relay on purpose.
    #[must_use]
    pub fn absorbed(self) -> Self {
        self.add("worker.absorbed", 1)
    }

    /// A packet was lost, at a tenant or a port.
    #[must_use]
    pub fn lost(self, at: &str, reason: DropReason) -> Self {
        self.add(&format!("{at}.drops.{}", reason.label()), 1).add("worker.dropped", 1)
    }

    pub(super) fn read_port(&mut self, name: &str, counters: &PortShare) {
        self.read_traffic(&format!("{name}.received"), &counters.received);
        self.read_traffic(&format!("{name}.transmitted"), &counters.transmitted);
        self.read_drops(name, &counters.drops);
        self.read(format!("{name}.ike_punted"), counters.ike_punted.get());
    }

    pub(super) fn read_tenant(&mut self, tenant: &TenantEntry) {
        let (name, counters) = (&*tenant.config.name, &tenant.counters);
        self.read_traffic(&format!("{name}.office_to_cloud"), &counters.office_to_cloud);
        self.read_traffic(&format!("{name}.cloud_to_office"), &counters.cloud_to_office);
        self.read_drops(name, &counters.drops);
        self.read(format!("{name}.sessions_opened"), counters.sessions_opened.get());
        self.read(format!("{name}.icmp_errors_sent"), counters.icmp_errors_sent.get());
        self.read(format!("{name}.packets_fragmented"), counters.packets_fragmented.get());
        for (tunnel, counters) in tenant.config.tunnels.iter().zip(&tenant.tunnel_counters) {
            let name = format!("{name}/{}", tunnel.name);
            self.read_traffic(&format!("{name}.received"), &counters.received);
            self.read_traffic(&format!("{name}.transmitted"), &counters.transmitted);
            self.read(format!("{name}.handshakes"), counters.handshakes.get());
            self.read(format!("{name}.roams"), counters.roams.get());
            self.read(format!("{name}.sa_installs"), counters.sa_installs.get());
        }
    }

    pub(super) fn read_worker(&mut self, counters: &WorkerCounters) {
        let WorkerCounters { received, generated, transmitted, dropped, absorbed, held, .. } = counters;
        let list = [
            ("received", received),
            ("generated", generated),
            ("transmitted", transmitted),
            ("dropped", dropped),
            ("absorbed", absorbed),
            ("held", held),
        ];
        list.iter().for_each(|(name, counter)| self.read(format!("worker.{name}"), counter.get()));
    }

    fn read_traffic(&mut self, name: &str, traffic: &Traffic) {
        self.read(format!("{name}.packets"), traffic.packets.get());
        self.read(format!("{name}.bytes"), traffic.bytes.get());
    }

    fn read_drops(&mut self, name: &str, drops: &DropCounters) {
        drops.occurred().for_each(|(reason, count)| self.read(format!("{name}.drops.{}", reason.label()), count));
    }

    fn read(&mut self, name: String, value: u64) {
        if value > 0 {
            self.change(name, signed(value));
        }
    }
}

/// The length of an ESP packet: header, IV, padding to a multiple of 4, its length and the next header, ICV.
fn esp_len(packet: &[u8]) -> usize {
    8 + 8 + (packet.len() + 2).next_multiple_of(4) + 16
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
