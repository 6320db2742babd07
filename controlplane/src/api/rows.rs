//! What the API answers, as both of its ends know it. Moments are RFC 3339; ages are for tables to compute.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::isolation::Isolation;

/// An answer to a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer<T> {
    /// The relay's name.
    pub relay: String,
    /// When it answered.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// The rows.
    pub rows: Vec<T>,
    /// There are more rows than are answered at one time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// A sentence.
    pub error: String,
    /// The problems of a configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What a change did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// A sentence.
    pub message: String,
    /// What is odd about it all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether every worker obeys already.
    pub effective: bool,
    /// Whether a restart finds it so.
    pub saved: bool,
}

/// A cut-off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IsolationRow {
    /// As it is on file.
    #[serde(flatten)]
    pub isolation: Isolation,
    /// Whether the configuration has what it names.
    pub matches: bool,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<&dataplane::counters::Traffic> for Traffic {
    fn from(traffic: &dataplane::counters::Traffic) -> Self {
        Self { packets: traffic.packets.get(), bytes: traffic.bytes.get() }
    }
}

/// A tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantRow {
    /// Its unique name.
    pub tenant: String,
    /// Its name for people.
    pub name: String,
    /// Tunnels that can carry data.
    pub tunnels_up: u64,
    /// Tunnels of the configuration.
    pub tunnels_configured: u64,
    /// Sessions alive.
    pub sessions: u64,
    /// Sessions it may have.
    pub sessions_limit: u64,
    /// Ports of its pools in use.
    pub ports: u64,
    /// Ports it may use.
    pub ports_limit: u64,
    /// Forwarded to the cloud.
    pub office_to_cloud: Traffic,
    /// Forwarded to the office.
    pub cloud_to_office: Traffic,
    /// Packets lost.
    pub dropped_packets: u64,
    /// `rate.guaranteed` in bits a second, where the file has it.
    pub rate_guaranteed_bits: Option<u64>,
    /// `rate.ceiling` in bits a second, where the file has it.
    pub rate_ceiling_bits: Option<u64>,
    /// Packets that wait for the tenant's turn.
    pub queued_packets: u64,
    /// Packets lost because the tenant sent more than its share or its ceiling; they are among the lost ones.
    pub throttled_packets: u64,
    /// What an operator cut off: `all`, class names, names of services and callbacks.
    pub isolated: Vec<String>,
}

/// A configured tunnel, up or down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunnelRow {
    /// Tenant.
    pub tenant: String,
    /// Tunnel.
    pub tunnel: String,
    /// `wireguard` or `ipsec`.
    pub kind: String,
    /// `up` or `down`.
    pub state: String,
    /// Since when it is up or down.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why it is down and what to do; empty when it is up.
    pub reason: String,
    /// What goes to the office by it: `everything`, `answers+rest` (to what came by it, and all that has no such tunnel), `answers`, `standby`
    /// or `nothing`.
    pub carries: String,
    /// Where the peer was last heard.
    pub peer: Option<SocketAddr>,
    /// When the last handshake completed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_handshake: Option<OffsetDateTime>,
    /// When the peer was last heard.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_heard: Option<OffsetDateTime>,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Out of the tunnel.
    pub office_to_cloud: Traffic,
    /// Into the tunnel.
    pub cloud_to_office: Traffic,
    /// Key exchange and SAs of an IPsec tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipsec: Option<IpsecRow>,
}

/// A session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRow {
    /// Tenant.
    pub tenant: String,
    /// Class.
    pub class: String,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Who sent first: `office-to-cloud`, or `cloud-to-office` by a callback or where a service's `filtering` lets the cloud.
    pub opened_by: String,
    /// Service or callback that it was opened by.
    pub rule: String,
    /// Attachment.
    pub cloud: String,
    /// Office host and port.
    pub office: (Ipv4Addr, u16),
    /// The remote end as the office sees it.
    pub office_remote: (Ipv4Addr, u16),
    /// The office host as the cloud sees it.
    pub cloud_local: (Ipv4Addr, u16),
    /// The cloud host.
    pub cloud_remote: (Ipv4Addr, u16),
    /// State of a TCP connection, else `-`.
    pub state: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub opened: OffsetDateTime,
    /// When it expires unless a packet comes.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// To the cloud.
    pub office_to_cloud: Traffic,
    /// To the office.
    pub cloud_to_office: Traffic,
}

/// A next hop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeighborRow {
    /// Port.
    pub port: String,
    /// `2101`, `100.2101` for QinQ, `-` without a tag.
    pub vlan: String,
    /// Tenant; none on an access port.
    pub tenant: Option<String>,
    /// Address.
    pub address: IpAddr,
    /// MAC address, once resolved.
    pub mac: Option<String>,
    /// `reachable`, `probing`, `incomplete` or `failed`.
    pub state: String,
    /// When it last answered.
    #[serde(with = "time::serde::rfc3339::option")]
    pub answered: Option<OffsetDateTime>,
}

/// Packets lost in one place for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DropRow {
    /// The tenant that lost them; none before a tenant was known.
    pub tenant: Option<String>,
    /// The port, where no tenant was known.
    pub port: Option<String>,
    /// Where on their way.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// What that means and what to do.
    pub help: String,
}

/// A port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortRow {
    /// Its name in relay.yaml.
    pub port: String,
    /// The kernel's name of the interface.
    pub interface: String,
    /// `af_xdp` or `af_packet`.
    pub driver: String,
    /// `zero-copy`, `copy` and the like.
    pub mode: String,
    /// Why this driver and mode.
    pub reason: String,
    /// MAC address.
    pub mac: String,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Frames received.
    pub received: Traffic,
    /// Frames transmitted.
    pub transmitted: Traffic,
    /// Packets lost at the port.
    pub dropped_packets: u64,
    /// Frames that kernel or NIC lost before the relay saw them.
    pub nic_receive_lost: u64,
}

/// Key exchange of an IPsec tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IpsecRow {
    /// `down`, `connecting`, `authenticated` (without an SA for packets) or `up`.
    pub phase: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// `cryptrec`, `modern` or `legacy-until DATE`.
    pub policy: String,
    /// Suite of the IKE SA.
    pub suite: Option<String>,
    /// Who began: `relay` or `peer`.
    pub opened_by: Option<String>,
    /// Where the peer's IKE is.
    pub peer: Option<SocketAddr>,
    /// Where address translation was found: `none`, `peer`, `relay` or `both`.
    pub nat: Option<String>,
    /// SPIs of the IKE SA, the initiator's and the responder's, in hexadecimal.
    pub ike_spis: Option<[String; 2]>,
    /// Which preshared key the peer used: `new` or `previous`. None with certificates.
    pub psk: Option<String>,
    /// When the IKE SA was established.
    #[serde(with = "time::serde::rfc3339::option")]
    pub established: Option<OffsetDateTime>,
    /// When its keys will be replaced.
    #[serde(with = "time::serde::rfc3339::option")]
    pub rekey_at: Option<OffsetDateTime>,
    /// SAs for packets, the newest first.
    pub sas: Vec<IpsecSaRow>,
    /// What failed last, also when it has worked since.
    pub last_error: Option<IkeErrorRow>,
    /// When the relay will try again, where it does.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_try: Option<OffsetDateTime>,
}

/// A pair of SAs for packets, one in each direction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IpsecSaRow {
    /// What the peer sends with, in hexadecimal.
    pub inbound_spi: String,
    /// What the relay sends with, in hexadecimal.
    pub outbound_spi: String,
    /// Suite.
    pub suite: String,
    /// `udp`, or `esp` for IP protocol 50.
    pub encapsulation: String,
    /// Whether packets to the peer use it now.
    pub in_use: bool,
    /// What may go through.
    pub selectors: Vec<String>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub established: OffsetDateTime,
    /// When its keys will be replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub rekey_at: OffsetDateTime,
    /// From the peer.
    pub office_to_cloud: Traffic,
    /// To the peer.
    pub cloud_to_office: Traffic,
}

/// Why key exchange failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IkeErrorRow {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// As metrics name it.
    pub reason: String,
    /// What happened.
    pub words: String,
    /// What to do about it.
    pub remedy: String,
    /// Its other end had proven to be the router, or the relay had called it. Otherwise it may have been anybody.
    pub proven: bool,
}

/// The last negotiation with somebody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NegotiationRow {
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Where the other end is.
    pub address: SocketAddr,
    /// Whose it is, once that is known.
    pub tenant: Option<String>,
    /// Which tunnel, once that is known.
    pub tunnel: Option<String>,
    /// Who began: `relay` or `peer`.
    pub opened_by: String,
    /// Who the other end says it is. Not proven.
    pub claimed: Option<String>,
    /// Suites for the IKE SA that were proposed.
    pub proposed: Vec<String>,
    /// Suites for the IKE SA that the relay accepts.
    pub accepted: Vec<String>,
    /// Suites for packets that were proposed.
    pub child_proposed: Vec<String>,
    /// Suites for packets that the relay accepts.
    pub child_accepted: Vec<String>,
    /// Traffic selectors that were proposed.
    pub selectors_proposed: Vec<String>,
    /// How far it came, one line a step.
    pub steps: Vec<String>,
    /// Why it failed.
    pub error: Option<IkeErrorRow>,
}
