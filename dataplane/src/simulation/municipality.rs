//! A municipality as most tests want it, and the keys that go with a name.

use std::net::Ipv4Addr;
use std::num::{NonZeroU16, NonZeroU32};

use crate::router_config::{
    Allow, AttachmentConfig, AttachmentId, CallbackConfig, EndpointId, Filtering, Limits, OfficePrefix, PortId, PortMap, RateConfig,
    Redundancy, RuleState, SecretKey, ServiceConfig, SourceConfig, SourceTranslation, TenantConfig, TrafficClass, TunnelConfig, TunnelKind,
    Vlan, VlanId,
};
use crate::simulation::packets::{ip, network};
use crate::tunnel::wireguard;

/// Port of a world that ends tunnels.
pub const ACCESS: PortId = PortId(0);
/// Port of a world with VLANs.
pub const AWS: PortId = PortId(1);
/// The other port with VLANs.
pub const GCP: PortId = PortId(2);
/// The IPsec endpoint of a world that has one.
pub const IPSEC: EndpointId = EndpointId(1);
/// Largest inner packet.
pub const TUNNEL_MTU: u16 = 1_420;

/// The private key of the office of the tenant called `name`, and its public key in the configuration.
#[must_use]
pub fn office_key(name: &str) -> SecretKey {
    let mut key = [0x55; 32];
    // The first byte loses bits to clamping (RFC 7748 section 5).
    key[1..].iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place ^= byte);
    SecretKey(key)
}

/// A tunnel to the office called `name`.
#[must_use]
pub fn tunnel(name: &str) -> TunnelConfig {
    let public_key = wireguard::public_key(&office_key(name));
    let kind = TunnelKind::WireGuard { public_key, preshared_key: None, peer_address: None, persistent_keepalive: None };
    TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: TUNNEL_MTU, kind }
}

/// Another tunnel of the tenant called `tenant`, to a router of its own.
#[must_use]
pub fn another_tunnel(tenant: &str, name: &str) -> TunnelConfig {
    TunnelConfig { name: name.into(), ..tunnel(&router_name(tenant, name)) }
}

/// What the key of the router at the end of such a tunnel goes with.
pub(super) fn router_name(tenant: &str, tunnel: &str) -> String {
    format!("{tenant}/{tunnel}")
}

/// An attachment to `vlan` of `port`; all tenants use the same addresses.
#[must_use]
pub fn attachment(port: PortId, vlan: u16) -> AttachmentConfig {
    let vlan = Vlan::Single(VlanId::new(vlan).expect("a usable VLAN id"));
    let name = if port == AWS { "aws" } else { "gcp" };
    let (address, gateway) = (network("10.254.1.2/27"), ip("10.254.1.1"));
    AttachmentConfig { name: name.into(), port, vlan, address, gateway, address6: None, mtu: 1_500 }
}

/// One port, kept.
#[must_use]
pub fn port(port: u16) -> PortMap {
    PortMap { from: port..=port, to: port }
}

/// TCP and UDP on `number`, and ICMP echo.
#[must_use]
pub fn open(number: u16) -> Vec<Allow> {
    vec![Allow::Tcp(port(number)), Allow::Udp(port(number)), Allow::IcmpEcho]
}

/// A service of `class` on the first attachment, with everything on port 443.
#[must_use]
pub fn service(name: &str, class: TrafficClass, office_side: &str, cloud_side: &str) -> ServiceConfig {
    ServiceConfig {
        name: name.into(),
        class,
        attachment: AttachmentId(0),
        office_side: network(office_side),
        cloud_side: network(cloud_side),
        allow: open(443),
        filtering: Filtering::default(),
        state: RuleState::Open,
    }
}

/// Pairs of a static translation.
#[must_use]
pub fn pairs(pairs: &[(&str, &str)]) -> SourceTranslation {
    let mut pairs: Vec<(Ipv4Addr, Ipv4Addr)> = pairs.iter().map(|(office, cloud)| (ip(office), ip(cloud))).collect();
    pairs.sort_unstable();
    SourceTranslation::Static(pairs)
}

/// A tenant with everything: both classes, NAPT for one and 1:1 for the other, a shared global service, one that is kept, a printer.
///
/// Only name, key and VLAN differ from tenant to tenant: office prefixes, global and private addresses are all the same.
#[must_use]
pub fn municipality(name: &str, vlan: u16) -> TenantConfig {
    use TrafficClass::{LgwanConnected, MyNumber};
    let source = |class, translation| SourceConfig { class, attachment: AttachmentId(0), translation };
    let prefix = |text, class| OfficePrefix { prefix: network(text), class };
    let printer = CallbackConfig {
        name: "printer".into(),
        class: MyNumber,
        attachment: AttachmentId(0),
        from: vec![network("10.10.0.20/32")],
        source: ip("203.0.113.20"),
        to: ip("10.254.1.30"),
        office: ip("198.51.100.17"),
        allow: vec![Allow::Tcp(port(9_100)), Allow::Udp(PortMap { from: 9_100..=9_101, to: 19_100 }), Allow::IcmpEcho],
        state: RuleState::Open,
    };
    TenantConfig {
        name: name.into(),
        tunnels: vec![tunnel(name)],
        redundancy: Redundancy::Prefer,
        office: vec![prefix("198.51.100.16/29", MyNumber), prefix("198.51.100.24/29", LgwanConnected)],
        attachments: vec![attachment(AWS, vlan)],
        services: vec![
            service("residents", MyNumber, "203.0.113.10/32", "10.10.0.10/32"),
            service("documents", LgwanConnected, "10.10.4.0/24", "10.10.4.0/24"),
        ],
        sources: vec![
            source(MyNumber, SourceTranslation::Napt(vec![network("10.254.1.8/30")])),
            source(LgwanConnected, pairs(&[("198.51.100.25", "10.254.1.20"), ("198.51.100.26", "10.254.1.21")])),
        ],
        callbacks: vec![printer],
        limits: Limits { sessions: nonzero(1_000), ports: nonzero(1_000), new_sessions_per_second: nonzero(500) },
        rate: RateConfig::default(),
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    }
}

/// As [`municipality`], with an IPsec router.
#[must_use]
pub fn ipsec_municipality(name: &str, vlan: u16) -> TenantConfig {
    let main = TunnelConfig { name: "main".into(), endpoint: IPSEC, mtu: TUNNEL_MTU, kind: TunnelKind::Ipsec };
    TenantConfig { tunnels: vec![main], ..municipality(name, vlan) }
}

/// A limit.
#[must_use]
pub fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

/// The UDP port of the relay's end.
#[must_use]
pub fn listen() -> NonZeroU16 {
    NonZeroU16::new(51_820).expect("not zero")
}
