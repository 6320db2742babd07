//! What the tunnels of a world are made with.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use dataplane::router_config::{EndpointKind, SecretKey, TunnelKind};
use dataplane::tunnel::esp::sa::{AesKey, Encapsulation, EspCipher, Integrity, IntegrityKey, Lifetime, OutboundUse, SaPair, Selector, Spi};

use crate::relay_config::RELAY;

/// Tunnel protocol and ciphers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suite {
    /// WireGuard.
    ChaCha20Poly1305,
    /// ESP in UDP, AES-256-GCM with 16 bytes of ICV.
    Aes256Gcm,
    /// ESP in UDP, AES-256-CBC and HMAC-SHA-256-128.
    Aes256CbcSha256,
}

/// Of ESP in UDP (RFC 3948).
const NAT_TRAVERSAL: u16 = 4_500;

impl Suite {
    pub(crate) const ALL: [Self; 3] = [Self::ChaCha20Poly1305, Self::Aes256Gcm, Self::Aes256CbcSha256];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes256-gcm",
            Self::Aes256CbcSha256 => "aes256-cbc-sha256",
        }
    }

    pub(crate) fn is_ipsec(self) -> bool {
        self != Self::ChaCha20Poly1305
    }

    /// Where routers send to.
    pub(crate) fn relay(self) -> SocketAddrV4 {
        if self.is_ipsec() { SocketAddrV4::new(*RELAY.ip(), NAT_TRAVERSAL) } else { RELAY }
    }

    /// The relay's end of all tunnels.
    pub(crate) fn endpoint(self, private_key: SecretKey) -> EndpointKind {
        let listen = NonZeroU16::new(RELAY.port()).expect("not zero");
        if self.is_ipsec() { EndpointKind::Ipsec } else { EndpointKind::WireGuard { listen, private_key } }
    }

    /// A tunnel to the router with this public key, which IPsec does without.
    pub(crate) fn tunnel(self, public_key: [u8; 32]) -> TunnelKind {
        if self.is_ipsec() { TunnelKind::Ipsec } else { wireguard_peer(public_key) }
    }

    /// One direction's keys of a tenant.
    fn cipher(self, tenant: u16, direction: u8) -> EspCipher {
        let [high, low] = tenant.to_be_bytes();
        let bytes = |fill: u8| {
            let mut bytes = [fill; 32];
            bytes[..3].copy_from_slice(&[high, low, direction]);
            bytes
        };
        let key = AesKey::new(&bytes(1)).expect("256 bits");
        match self {
            Self::Aes256CbcSha256 => {
                let integrity = IntegrityKey::new(Integrity::HmacSha256_128, &bytes(2)).expect("256 bits");
                EspCipher::AesCbc { key, integrity }
            }
            _ => EspCipher::AesGcm16 { key, salt: [high, low, direction, 3] },
        }
    }

    /// The SA pair of a tenant, as the relay has it.
    pub(crate) fn pair(self, tenant: u16, router: SocketAddrV4) -> SaPair {
        let spi = 0x1000 + 2 * u32::from(tenant);
        SaPair {
            inbound_spi: Spi::new(spi).expect("not reserved"),
            outbound_spi: spi + 1,
            inbound: self.cipher(tenant, 0),
            outbound: self.cipher(tenant, 1),
            esn: true,
            encapsulation: Encapsulation::Udp { peer: router },
            selectors: Box::new([selector([198, 51, 100, 0], [203, 0, 113, 0])]),
            soft: Lifetime::UNBOUNDED,
            outbound_use: OutboundUse::Now,
        }
    }

    /// The same pair, as the tenant's router has it.
    pub(crate) fn routers_pair(self, tenant: u16) -> SaPair {
        let relays = self.pair(tenant, self.relay());
        SaPair {
            inbound_spi: Spi::new(relays.outbound_spi).expect("not reserved"),
            outbound_spi: relays.inbound_spi.get(),
            inbound: relays.outbound,
            outbound: relays.inbound,
            selectors: Box::new([selector([203, 0, 113, 0], [198, 51, 100, 0])]),
            ..relays
        }
    }
}

/// A WireGuard tunnel.
pub(crate) fn wireguard_peer(public_key: [u8; 32]) -> TunnelKind {
    TunnelKind::WireGuard { public_key, preshared_key: None, peer_address: None, persistent_keepalive: None }
}

/// Two networks of 256 addresses.
fn selector(office: [u8; 4], far: [u8; 4]) -> Selector {
    let network = |[a, b, c, _]: [u8; 4]| Ipv4Addr::new(a, b, c, 0)..=Ipv4Addr::new(a, b, c, 255);
    let ports = 0..=u16::MAX;
    Selector { office: network(office), far: network(far), protocol: 0, office_ports: ports.clone(), far_ports: ports }
}
