//! Who is in the world: the relay and its offices, each a tenant.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ike::{Authentication, Config, CryptoPolicy, Endpoint, Identity, Initiate, NatT, PeerAddress, PeerConfig, PeerName, Psk, SpiSource};
use ipnetwork::Ipv4Network;

/// Each end sends a packet this often.
pub const TRAFFIC_EVERY: Duration = Duration::from_millis(250);

/// Who talks with whom: within the prefixes of every office.
pub const OFFICE_HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
pub const FAR_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// Address of a node: the relay is 0.
pub fn address(node: usize) -> Ipv4Addr {
    let node = u8::try_from(node).expect("few nodes");
    if node == 0 { Ipv4Addr::new(192, 0, 2, 1) } else { Ipv4Addr::new(198, 51, 100, 10 + node) }
}

/// The relay's name for office `node`.
pub fn office_name(node: usize) -> PeerName {
    PeerName { tenant: format!("office-{node}").into(), tunnel: "main".into() }
}

/// An office's name for the relay.
pub fn relay_name() -> PeerName {
    PeerName { tenant: "relay".into(), tunnel: "main".into() }
}

/// Which node a name of the relay's is.
pub fn office_number(name: &PeerName) -> usize {
    name.tenant.strip_prefix("office-").and_then(|number| number.parse().ok()).expect("an office's name")
}

pub fn network(text: &str) -> Ipv4Network {
    text.parse().expect("a network")
}

/// The relay's view of an office: it waits.
pub fn office_at_relay(node: usize) -> PeerConfig {
    PeerConfig {
        name: office_name(node),
        endpoint: 0,
        local_id: Identity::Fqdn("relay.example".into()),
        remote_id: Identity::Fqdn(format!("office-{node}")),
        authentication: psk(&format!("secret of {node}")),
        address: PeerAddress::Any,
        initiate: Initiate::Never,
        policy: CryptoPolicy::Cryptrec,
        proposals: None,
        office: vec![network("10.1.0.0/16")],
        far: vec![network("203.0.113.0/26")],
        dpd: Duration::from_secs(30),
        ike_lifetime: Duration::from_secs(28_800),
        child_lifetime: Duration::from_secs(3_600),
        encapsulation: NatT::Auto,
        spi_space: SpiSource { prefix: 1, prefix_bits: 4 },
    }
}

/// An office's view of the relay: it begins.
pub fn relay_at_office(node: usize) -> PeerConfig {
    let mirror = office_at_relay(node);
    PeerConfig {
        name: relay_name(),
        local_id: mirror.remote_id,
        remote_id: mirror.local_id,
        address: PeerAddress::Fixed(address(0)),
        initiate: Initiate::Always,
        office: mirror.far,
        far: mirror.office,
        spi_space: SpiSource { prefix: 0, prefix_bits: 0 },
        ..mirror
    }
}

pub fn psk(text: &str) -> Authentication {
    Authentication::Psk { keys: vec![Psk::new(text.as_bytes().to_vec())] }
}

/// A node with these peers.
pub fn config(node: usize, peers: Vec<PeerConfig>) -> Config {
    Config { endpoints: vec![Endpoint { address: address(node) }], peers: peers.into_iter().map(Arc::new).collect() }
}
