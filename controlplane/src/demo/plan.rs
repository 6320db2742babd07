//! Who takes part: three municipalities, two of them with the same private addresses, all with the same global ones; two speak
//! WireGuard and one IPsec.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use zeroize::Zeroizing;

use super::canary::Canary;
use super::error::DemoError;
use super::vlan::VlanTag;
use super::wireguard_keys::{KeyPair, random_key};

/// The relay's own address on the access side, with its subnet.
pub const RELAY_ACCESS: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 1), 24);
/// The access carrier's router.
pub const ACCESS_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// The relay's WireGuard port.
pub const RELAY_UDP_PORT: u16 = 51820;
/// What an inner packet may have, in bytes: 1,500 less IPv4, UDP and WireGuard, rounded as wg-quick does.
pub const TUNNEL_MTU: u32 = 1420;
/// Where the tenants' servers listen.
pub const TCP_PORT: u16 = 443;
/// Where the tenants' name servers listen.
pub const UDP_PORT: u16 = 53;
/// Where the offices' printers listen.
pub const PRINTER_PORT: u16 = 9100;

/// Who the relay says it is on its IPsec endpoint.
pub const RELAY_IDENTITY: &str = "relay.demo.example";

/// What a municipality's router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// WireGuard.
    WireGuard,
    /// IKEv2 and ESP.
    Ipsec,
}

impl Kind {
    /// As the report spells it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Ipsec => "ipsec",
        }
    }
}

/// One municipality: its office, its tunnel, its circuit and its cloud.
#[derive(Debug, Clone)]
pub struct Municipality {
    /// The tenant's name in the relay's configuration.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// What its router speaks.
    pub kind: Kind,
    /// Its router's address towards the relay.
    pub router: Ipv4Addr,
    /// Its virtual circuit on the cloud trunk.
    pub vlan: VlanTag,
    /// The office.
    pub office: Office,
    /// The cloud.
    pub cloud: Cloud,
    /// Its router's keys.
    pub keys: KeyPair,
    /// What its router and the relay share.
    pub preshared_key: Zeroizing<[u8; 32]>,
}

impl Municipality {
    /// Who an IPsec router says it is.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}.demo.example", self.tenant)
    }

    /// What it shares with the relay as people type it into an IPsec router.
    #[must_use]
    pub fn preshared_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.preshared_key.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Addresses inside the tunnel, and what the office calls the cloud's services by.
#[derive(Debug, Clone, Copy)]
pub struct Office {
    /// Who may speak as `mynumber`.
    pub mynumber: Ipv4Network,
    /// The desk that does.
    pub mynumber_desk: Ipv4Addr,
    /// Who may speak as `lgwan-connected`.
    pub lgwan_connected: Ipv4Network,
    /// The desk that does.
    pub lgwan_connected_desk: Ipv4Addr,
    /// The shared global address of the resident register.
    pub register: Ipv4Addr,
    /// The shared global address of the document store.
    pub documents: Ipv4Addr,
    /// The shared global address that print jobs come from.
    pub print_source: Ipv4Addr,
}

/// Addresses on the municipality's own VLAN and behind it.
#[derive(Debug, Clone, Copy)]
pub struct Cloud {
    /// The relay's address and subnet on the VLAN.
    pub relay: Ipv4Network,
    /// The cloud's router on the VLAN.
    pub gateway: Ipv4Addr,
    /// Addresses that stand for the office's `mynumber` desks, several desks behind one (NAPT).
    pub pool: Ipv4Network,
    /// The address that stands for the `lgwan-connected` desk alone.
    pub lgwan_connected_desk: Ipv4Addr,
    /// The resident register, class `mynumber`.
    pub register: Ipv4Addr,
    /// The document store, class `lgwan-connected`.
    pub documents: Ipv4Addr,
    /// Who sends print jobs.
    pub print_server: Ipv4Addr,
    /// The address that stands for the office's printer.
    pub printer: Ipv4Addr,
}

impl Municipality {
    /// What the payload of its traffic class `mynumber` carries.
    #[must_use]
    pub fn canary(&self) -> Canary {
        Canary::of(&format!("{}/mynumber", self.tenant))
    }

    /// What the payload of its traffic class `lgwan-connected` carries.
    #[must_use]
    pub fn lgwan_connected_canary(&self) -> Canary {
        Canary::of(&format!("{}/lgwan-connected", self.tenant))
    }
}

/// The demo's three municipalities. The first two have the same private addresses, down to the last one; all three offices
/// call their register by the same global address.
///
/// # Errors
/// When the operating system gives no random bytes for the keys.
pub fn municipalities() -> Result<Vec<Municipality>, DemoError> {
    let one = |number: u8, tenant: &str, name: &str, register: [u8; 4], kind: Kind| -> Result<_, DemoError> {
        let [a, b, c, _] = register;
        let office = |host: u8| Ipv4Addr::new(198, 51, 100, 16 * number + host);
        let on_vlan = |host: u8| Ipv4Addr::new(10, 254, 1, host);
        Ok(Municipality {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            kind,
            router: Ipv4Addr::new(192, 0, 2, 10 + number),
            vlan: VlanTag::Single(2100 + u16::from(number)),
            office: Office {
                mynumber: subnet(office(0), 29),
                mynumber_desk: office(1),
                lgwan_connected: subnet(office(8), 29),
                lgwan_connected_desk: office(9),
                register: Ipv4Addr::new(203, 0, 113, 10),
                documents: Ipv4Addr::new(203, 0, 113, 11),
                print_source: Ipv4Addr::new(203, 0, 113, 20),
            },
            cloud: Cloud {
                relay: subnet(on_vlan(2), 30),
                gateway: on_vlan(1),
                pool: subnet(on_vlan(8), 30),
                lgwan_connected_desk: on_vlan(20),
                register: Ipv4Addr::from(register),
                documents: Ipv4Addr::new(a, b, c, 11),
                print_server: Ipv4Addr::new(a, b, c, 20),
                printer: on_vlan(30),
            },
            keys: KeyPair::generate()?,
            preshared_key: random_key()?,
        })
    };
    Ok(vec![
        one(1, "131016-chiyoda", "千代田区", [10, 10, 0, 10], Kind::WireGuard)?,
        one(2, "131024-chuo", "中央区", [10, 10, 0, 10], Kind::WireGuard)?,
        one(3, "011002-sapporo", "札幌市", [10, 20, 0, 10], Kind::Ipsec)?,
    ])
}

fn subnet(address: Ipv4Addr, prefix: u8) -> Ipv4Network {
    Ipv4Network::new(address, prefix).expect("the prefix lengths above are 32 at the most")
}
