//! A hall's IPsec line: the relay's own key exchange as the initiator, and ESP in UDP, both in the router's thread.
//!
//! Everything goes from and to port 4500, which RFC 7296 section 2.23 allows from the first message on.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::router_config::{EndpointId, TunnelConfig, TunnelKind};
use dataplane::tunnel::esp::sa::{SaPair, Selector, Spi};
use dataplane::tunnel::esp::{EspTunnel, Notice};
use dataplane::tunnel::{Content, Tunnel};
use ike::{Effect, Engine, LocalPort, PeerName, PeerState};
use ipnetwork::Ipv4Network;
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::municipality::{Ends, RouterState};
use crate::ipsec::translate;

/// The relay's port for IKE and ESP in UDP.
pub const IPSEC_PORT: u16 = 4500;
/// RFC 3948 section 2.2: what tells an IKE message from ESP.
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// Between two calls of a relay that does not answer.
const CALL_AGAIN: Duration = Duration::from_secs(1);

/// What an IPsec router is told at its start.
#[derive(Clone)]
pub struct IpsecSettings {
    /// Who it says it is.
    pub identity: String,
    /// Who the relay must prove to be.
    pub relay_identity: String,
    /// What both prove it with.
    pub psk: Zeroizing<String>,
    /// Networks of its office.
    pub office: Vec<Ipv4Network>,
    /// What the office wants to reach, and who may call it.
    pub far: Vec<Ipv4Network>,
}

impl fmt::Debug for IpsecSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpsecSettings({} -> {})", self.identity, self.relay_identity)
    }
}

/// The line itself.
pub(super) struct IpsecLine {
    engine: Engine,
    tunnel: EspTunnel,
    name: PeerName,
    relay: SocketAddrV4,
    start: Instant,
    called_at: Option<Instant>,
    inner: Vec<u8>,
}

impl IpsecLine {
    /// A line from `local` to `relay` that has not called yet. `room` is the longest packet, in bytes.
    pub(super) fn new(settings: &IpsecSettings, local: SocketAddrV4, relay: SocketAddrV4, room: usize) -> Self {
        let name = PeerName { tenant: settings.identity.as_str().into(), tunnel: "relay".into() };
        let peer = ike::PeerConfig {
            name: name.clone(),
            endpoint: 0,
            local_id: ike::Identity::Fqdn(settings.identity.clone()),
            remote_id: ike::Identity::Fqdn(settings.relay_identity.clone()),
            authentication: ike::Authentication::Psk { keys: vec![ike::Psk::new(settings.psk.as_bytes().to_vec())] },
            address: ike::PeerAddress::Fixed(*relay.ip()),
            initiate: ike::Initiate::OnDemand,
            policy: ike::CryptoPolicy::Cryptrec,
            proposals: None,
            // The engine speaks of a relay's two sides; a hall sees them the other way round.
            office: settings.far.clone(),
            far: settings.office.clone(),
            dpd: Duration::from_secs(30),
            ike_lifetime: Duration::from_secs(28_800),
            child_lifetime: Duration::from_secs(3_600),
            // One socket is all that an ordinary user has: never protocol 50.
            encapsulation: ike::NatT::Always,
            spi_space: ike::SpiSource { prefix: 0, prefix_bits: 0 },
        };
        let config = ike::Config { endpoints: vec![ike::Endpoint { address: *local.ip() }], peers: vec![Arc::new(peer)] };
        let tunnel = TunnelConfig { name: "relay".into(), endpoint: EndpointId(0), mtu: 1500, kind: TunnelKind::Ipsec };
        Self {
            engine: Engine::new(config, Box::new(StdRng::from_os_rng()), ike::Instant::ZERO),
            tunnel: EspTunnel::new(&tunnel, dataplane::time::Instant::ZERO),
            name,
            relay,
            start: Instant::now(),
            called_at: None,
            inner: vec![0; room],
        }
    }

    fn now(&self) -> dataplane::time::Instant {
        dataplane::time::Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether it can carry traffic.
    pub(super) fn is_up(&self) -> bool {
        self.tunnel.is_up(self.now())
    }

    /// A datagram from the network.
    pub(super) fn network_to_office(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        output: &mut [u8],
        ends: &Ends,
        state: &mut RouterState,
    ) {
        let now = self.now();
        match (datagram.split_first_chunk::<4>(), source) {
            (Some((&NON_ESP_MARKER, message)), SocketAddr::V4(source)) => {
                self.engine.datagram(0, LocalPort::P4500, source, message, translate::instant(now));
            }
            (Some(_), _) => match self.tunnel.decapsulate(datagram, source, output, now) {
                Ok(decapsulated) => {
                    if let Content::Inner { len } = decapsulated.content {
                        ends.to_office(&output[..len], state);
                    }
                }
                Err(_) => state.refused += 1,
            },
            // A keepalive.
            (None, _) => {}
        }
        self.settle(ends, state);
    }

    /// A packet from the office.
    pub(super) fn office_to_network(&mut self, packet: &[u8], output: &mut [u8], ends: &Ends, state: &mut RouterState) {
        let now = self.now();
        let Some(room) = self.inner.get_mut(..packet.len()) else { return state.not_sent += 1 };
        room.copy_from_slice(packet);
        match self.tunnel.encapsulate(&mut self.inner, packet.len(), output, now) {
            Ok(len) => ends.to_network(&output[..len], state),
            Err(_) => state.not_sent += 1,
        }
    }

    /// What is due; and a call where nothing stands.
    pub(super) fn tick(&mut self, ends: &Ends, state: &mut RouterState) {
        let now = translate::instant(self.now());
        let down = self.engine.status(&self.name).is_some_and(|status| status.state == PeerState::Down);
        if down && self.called_at.is_none_or(|at| at.elapsed() >= CALL_AGAIN) {
            self.called_at = Some(Instant::now());
            self.engine.initiate(&self.name, Some(self.relay), now);
        }
        self.engine.tick(now);
        self.settle(ends, state);
    }

    /// Do what the engine wants. Its Diffie-Hellman is done here and now: there is one peer, who waits for it.
    fn settle(&mut self, ends: &Ends, state: &mut RouterState) {
        let now = self.now();
        let ike_now = translate::instant(now);
        while let Some(notice) = self.tunnel.next_notice() {
            match notice {
                Notice::Heard(spi) => self.engine.sa_heard(spi.get(), ike_now),
                Notice::Expiring(spi) => self.engine.sa_expiring(spi.get(), ike_now),
            }
        }
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Send { local: LocalPort::P4500, message, .. } => ends.to_network(&[&NON_ESP_MARKER, &message[..]].concat(), state),
                Effect::DiffieHellman { job, task } => self.engine.dh_done(job, task.run(), ike_now),
                Effect::Install { id, sa, .. } => {
                    let pair = translate::sa_pair(&sa).map(|pair| SaPair { selectors: Box::new([everything()]), ..pair });
                    let installed = pair.is_some_and(|pair| self.tunnel.install(&pair, now).is_ok());
                    self.engine.sa_installed(id, installed.then_some(()).ok_or(ike::InstallRefused::Busy), ike_now);
                }
                Effect::SwitchOutbound { inbound_spi, .. } => {
                    Spi::new(inbound_spi).map(|spi| self.tunnel.switch_outbound(spi));
                }
                Effect::CloseOutbound { inbound_spi, .. } => {
                    Spi::new(inbound_spi).map(|spi| self.tunnel.close_outbound(spi, now));
                }
                Effect::Remove { inbound_spi, .. } => {
                    Spi::new(inbound_spi).map(|spi| self.tunnel.remove(spi, now));
                }
                // The relay does not move, and this socket has no other port.
                Effect::Send { .. } | Effect::SendKeepalive { .. } | Effect::MovePeer { .. } | Effect::Report(_) => {}
            }
        }
    }
}

/// Whatever was agreed on, the hall sends what its office sends: what is blocked in the demo is the relay's doing.
fn everything() -> Selector {
    let addresses = || Ipv4Addr::UNSPECIFIED..=Ipv4Addr::BROADCAST;
    Selector { office: addresses(), far: addresses(), protocol: 0, office_ports: 0..=u16::MAX, far_ports: 0..=u16::MAX }
}
