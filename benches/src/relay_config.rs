//! What the relay of the benches is configured to do.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use dataplane::router_config::{
    Allow, AttachmentConfig, AttachmentId, EndpointConfig, EndpointId, EndpointKind, Limits, OfficePrefix, PortConfig, PortId, PortMap,
    RouterConfig, RuleState, SecretKey, ServiceConfig, SourceConfig, SourceTranslation, TenantConfig, TenantEntry, TrafficClass,
    TunnelConfig, TunnelKind, Vlan, VlanId,
};
use ipnetwork::Ipv4Network;

pub(crate) const MTU: u16 = 1_500;
const TUNNEL_MTU: u16 = 1_420;
pub(crate) const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 51_820);
const ACCESS_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const CLOUD_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 1);
// The same in every tenant: nothing may be decided by an address.
pub(crate) const OFFICE_HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 17), 40_000);
pub(crate) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 5_000);
pub(crate) const CLOUD_HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 10), 5_000);

pub(crate) fn vlan(number: u16) -> Vlan {
    Vlan::Single(VlanId::new(number + 1).expect("fewer than 4,095 tenants on one trunk"))
}

fn network(text: &str) -> Ipv4Network {
    text.parse().expect("a prefix")
}

pub(crate) fn tunnel_config(public_key: [u8; 32], peer_address: Option<SocketAddr>) -> TunnelConfig {
    let kind = TunnelKind::WireGuard { public_key, preshared_key: None, peer_address, persistent_keepalive: None };
    TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: TUNNEL_MTU, kind }
}

pub(crate) fn tenant(number: usize, public_key: [u8; 32]) -> TenantEntry {
    let (class, attachment) = (TrafficClass::MyNumber, AttachmentId(0));
    let number = u16::try_from(number).expect("fewer than 65,536 tenants");
    let address = network("10.254.1.2/30");
    let ports = PortMap { from: SERVICE.port()..=SERVICE.port(), to: SERVICE.port() };
    let config = TenantConfig {
        name: format!("{number:06}-municipality").into(),
        tunnels: vec![tunnel_config(public_key, None)],
        office: vec![OfficePrefix { prefix: network("198.51.100.16/29"), class }],
        attachments: vec![AttachmentConfig {
            name: "cloud".into(),
            port: PortId(1),
            vlan: vlan(number),
            address,
            gateway: CLOUD_GATEWAY,
            mtu: MTU,
        }],
        services: vec![ServiceConfig {
            name: "service".into(),
            class,
            attachment,
            office_side: Ipv4Network::from(*SERVICE.ip()),
            cloud_side: Ipv4Network::from(*CLOUD_HOST.ip()),
            allow: vec![Allow::Udp(ports)],
            state: RuleState::Open,
        }],
        sources: vec![SourceConfig { class, attachment, translation: SourceTranslation::Napt(vec![network("10.254.1.8/30")]) }],
        callbacks: Vec::new(),
        limits: Limits {
            sessions: NonZeroU32::new(20_000).expect("not zero"),
            new_sessions_per_second: NonZeroU32::new(500).expect("not zero"),
        },
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    };
    TenantEntry { config: Arc::new(config), counters: Arc::default(), tunnel_counters: vec![Arc::default()] }
}

pub(crate) fn router_config(private_key: SecretKey, tenants: Vec<TenantEntry>) -> RouterConfig {
    let port = |name: &str, access: bool| PortConfig {
        name: name.into(),
        address: access.then(|| network("192.0.2.1/24")),
        gateway: access.then_some(ACCESS_GATEWAY),
        mtu: MTU,
        counters: Arc::default(),
    };
    let listen = NonZeroU16::new(RELAY.port()).expect("not zero");
    let kind = EndpointKind::WireGuard { listen, private_key };
    RouterConfig {
        ports: vec![port("access", true), port("trunk", false)],
        endpoints: vec![EndpointConfig { name: "end".into(), port: PortId(0), kind }],
        conventional_lgwan: Vec::new(),
        tenants,
    }
}
