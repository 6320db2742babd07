//! What the relay of the benches is configured to do.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::sync::Arc;

use dataplane::router_config::{
    Allow, AttachmentConfig, AttachmentId, EndpointConfig, EndpointId, EndpointKind, Filtering, Limits, OfficePrefix, PortConfig, PortId,
    PortMap, RateConfig, Redundancy, RouterConfig, RuleState, ServiceConfig, SourceConfig, SourceTranslation, TenantConfig, TenantEntry,
    TrafficClass, TunnelConfig, TunnelKind, Vlan, VlanId,
};
use ipnetwork::Ipv4Network;

pub(crate) const MTU: u16 = 1_500;
const TUNNEL_MTU: u16 = 1_420;
pub(crate) const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 51_820);
const ACCESS_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const CLOUD_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 1);
// The same in every tenant: nothing may be decided by an address.
/// Hosts of an office that open sessions.
pub(crate) const OFFICE_HOSTS: usize = 250;
pub(crate) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 5_000);
pub(crate) const CLOUD_HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 10), 5_000);

pub(crate) fn vlan(number: u16) -> Vlan {
    Vlan::Single(VlanId::new(number + 1).expect("fewer than 4,095 tenants on one trunk"))
}

/// The tenant behind a [`vlan`].
pub(crate) fn tenant_of(vlan: VlanId) -> usize {
    usize::from(vlan.get()) - 1
}

pub(crate) fn office_host(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, u8::try_from(number + 1).expect("fewer than 255 hosts"))
}

/// Those of the example configuration, raised where more than `sessions` are to be open at once: a rate that opens a million in ten
/// seconds, before the first tunnel grows old.
pub(crate) fn limits(sessions: usize) -> Limits {
    let (usual, usual_rate) = (20_000, 500);
    let sessions = u32::try_from(sessions).expect("a 32-bit number");
    let rate = if sessions > usual { 100_000 } else { usual_rate };
    let number = |number| NonZeroU32::new(number).expect("not zero");
    Limits { sessions: number(sessions.max(usual)), ports: number(sessions.max(usual)), new_sessions_per_second: number(rate) }
}

fn network(text: &str) -> Ipv4Network {
    text.parse().expect("a prefix")
}

pub(crate) fn tunnel_config(kind: TunnelKind) -> TunnelConfig {
    TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: TUNNEL_MTU, kind }
}

pub(crate) fn tenant(number: usize, tunnel: TunnelKind, limits: Limits) -> TenantEntry {
    let (class, attachment) = (TrafficClass::MyNumber, AttachmentId(0));
    let number = u16::try_from(number).expect("fewer than 65,536 tenants");
    let address = network("10.254.1.2/30");
    let ports = PortMap { from: SERVICE.port()..=SERVICE.port(), to: SERVICE.port() };
    let config = TenantConfig {
        name: format!("{number:06}-municipality").into(),
        tunnels: vec![tunnel_config(tunnel)],
        redundancy: Redundancy::Prefer,
        office: vec![OfficePrefix { prefix: network("198.51.100.0/24"), class }],
        attachments: vec![AttachmentConfig {
            name: "cloud".into(),
            port: PortId(1),
            vlan: vlan(number),
            address,
            gateway: CLOUD_GATEWAY,
            address6: None,
            mtu: MTU,
        }],
        services: vec![ServiceConfig {
            name: "service".into(),
            class,
            attachment,
            office_side: Ipv4Network::from(*SERVICE.ip()),
            cloud_side: Ipv4Network::from(*CLOUD_HOST.ip()),
            allow: vec![Allow::Udp(ports)],
            filtering: Filtering::default(),
            state: RuleState::Open,
        }],
        sources: vec![SourceConfig { class, attachment, translation: SourceTranslation::Napt(vec![network("10.255.0.0/24")]) }],
        callbacks: Vec::new(),
        limits,
        rate: RateConfig::default(),
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    };
    TenantEntry { config: Arc::new(config), counters: Arc::default(), tunnel_counters: vec![Arc::default()] }
}

pub(crate) fn router_config(endpoint: EndpointKind, tenants: Vec<TenantEntry>) -> RouterConfig {
    let port = |name: &str, access: bool| PortConfig {
        name: name.into(),
        address: access.then(|| network("192.0.2.1/24")),
        gateway: access.then_some(ACCESS_GATEWAY),
        address6: None,
        gateway6: None,
        mtu: MTU,
        counters: Arc::default(),
    };
    RouterConfig {
        ports: vec![port("access", true), port("trunk", false)],
        endpoints: vec![EndpointConfig { name: "end".into(), port: PortId(0), kind: endpoint }],
        conventional_lgwan: Vec::new(),
        reserved_ports: Vec::new(),
        tenants,
    }
}
