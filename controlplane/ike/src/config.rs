//! What the engine is told about endpoints and peers. Compiled by the caller; compared field by field at a reload.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::Ipv4Network;

use crate::certificate::{Authorities, OwnCertificate};
use crate::identity::Identity;
use crate::policy::CryptoPolicy;
use crate::proposals::Proposals;
use crate::secret::Psk;

/// Everything the engine knows of its surroundings.
#[derive(Clone, Default, Debug)]
pub struct Config {
    /// Addresses that take IKE; a peer names one by its index. Indices stay what they are across reloads.
    pub endpoints: Vec<Endpoint>,
    /// One entry a tunnel.
    pub peers: Vec<Arc<PeerConfig>>,
}

/// An address of the relay that takes IKE on UDP 500 and 4500.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address itself.
    pub address: Ipv4Addr,
}

/// Which tunnel of which tenant: the name by which SAs are installed. SAs of different names never meet.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerName {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The tunnel within the tenant.
    pub tunnel: Arc<str>,
}

/// One municipal router as it is configured.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Tenant and tunnel.
    pub name: PeerName,
    /// Index in [`Config::endpoints`].
    pub endpoint: usize,
    /// Who we say we are.
    pub local_id: Identity,
    /// Who the peer must prove to be. Unique among the peers of one endpoint.
    pub remote_id: Identity,
    /// How both sides prove it.
    pub authentication: Authentication,
    /// From where the peer comes.
    pub address: PeerAddress,
    /// Whether we start.
    pub initiate: Initiate,
    /// Algorithms that are allowed at all.
    pub policy: CryptoPolicy,
    /// A choice within the policy; `None` is all of it.
    pub proposals: Option<Proposals>,
    /// What traffic selectors may cover on the peer's side: the tenant's office prefixes.
    pub office: Vec<Ipv4Network>,
    /// What traffic selectors may cover on our side: the globals that the office may reach.
    pub far: Vec<Ipv4Network>,
    /// Silence after which the peer is asked whether it lives; zero is never.
    pub dpd: Duration,
    /// Age at which an IKE SA is replaced (RFC 7296 section 2.8), before jitter.
    pub ike_lifetime: Duration,
    /// Age at which a Child SA is replaced, before jitter.
    pub child_lifetime: Duration,
    /// When ESP travels in UDP.
    pub encapsulation: NatT,
    /// From where SPIs of inbound SAs are drawn: those of the worker that owns the tenant.
    pub spi_space: SpiSource,
}

impl PeerConfig {
    /// Whether SAs made under this configuration may stay under `new`: the two ends are the same. Other lifetimes, policies and proposals
    /// hold from the next negotiation on, and so does a new key as long as the old one stays valid. For other networks see
    /// [`Self::covers_the_same_as`].
    #[must_use]
    pub fn keeps_sas_under(&self, new: &Self) -> bool {
        let ends = |config: &Self| (config.endpoint, config.local_id.clone(), config.remote_id.clone(), config.address);
        let way = |config: &Self| (config.spi_space, config.encapsulation);
        ends(self) == ends(new) && way(self) == way(new) && self.authentication.keeps_sas_under(&new.authentication)
    }

    /// Whether selectors may cover the same under `new`. Where not, Child SAs are replaced, and carry on until they are: what they carry
    /// is judged by the tenant's rules as well.
    #[must_use]
    pub fn covers_the_same_as(&self, new: &Self) -> bool {
        self.office == new.office && self.far == new.far
    }
}

impl Authentication {
    fn keeps_sas_under(&self, new: &Self) -> bool {
        match (self, new) {
            (Self::Psk { keys: old }, Self::Psk { keys: new }) => old.iter().any(|key| new.contains(key)),
            // Our own may be renewed, and an authority may be added beside the one that vouched for the peer.
            (Self::Certificate { authorities: old, .. }, Self::Certificate { authorities: new, .. }) => new.include(old),
            _ => false,
        }
    }
}

/// How two sides prove who they are.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Pre-shared keys: the newest first. We prove ourselves with the one that the peer used, or with the first; every one is
    /// accepted, so that a key can be changed at one end before the other.
    Psk {
        /// At least one.
        keys: Vec<Psk>,
    },
    /// X.509 certificates (RFC 7427).
    Certificate {
        /// The relay's own.
        own: Arc<OwnCertificate>,
        /// Whose signature the peer's must bear.
        authorities: Arc<Authorities>,
    },
}

/// From where a peer comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerAddress {
    /// Anywhere: known by its identity only. It cannot be initiated to before it has come once.
    Any,
    /// This address. Another one is refused, and legacy algorithms are possible.
    Fixed(Ipv4Addr),
}

/// Whether the relay starts a negotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initiate {
    /// When a packet wants to go and no SA is there.
    OnDemand,
    /// As soon as no SA is there: also after a restart.
    Always,
    /// Never: the peer starts.
    Never,
}

/// When ESP travels in UDP (RFC 3948).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatT {
    /// When a NAT is found between the two (RFC 7296 section 2.23).
    Auto,
    /// Always: we pretend to see a NAT.
    Always,
}

/// A range of SPIs: those whose top `prefix_bits` bits are `prefix`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpiSource {
    /// Value of the top bits.
    pub prefix: u32,
    /// How many top bits are given, 0 to 16.
    pub prefix_bits: u8,
}

impl SpiSource {
    /// SPIs 0 to 255 are reserved (RFC 4303 section 2.1).
    const FIRST: u32 = 256;

    /// An SPI of this range made from `random`; `None` where that would be a reserved one.
    #[must_use]
    pub fn draw(self, random: u32) -> Option<u32> {
        let free_bits = 32 - u32::from(self.prefix_bits.min(16));
        let spi = match free_bits {
            32 => random,
            bits => (self.prefix << bits) | (random & ((1 << bits) - 1)),
        };
        (spi >= Self::FIRST).then_some(spi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spi_bears_its_workers_bits_and_is_never_reserved() {
        let space = SpiSource { prefix: 0b101, prefix_bits: 3 };
        assert_eq!(space.draw(u32::MAX), Some(0xbfff_ffff));
        assert_eq!(space.draw(0), Some(0xa000_0000));
        assert_eq!(SpiSource { prefix: 0, prefix_bits: 0 }.draw(255), None, "reserved by RFC 4303");
        assert_eq!(SpiSource { prefix: 0, prefix_bits: 0 }.draw(256), Some(256));
    }
}
