//! A municipal router with the office behind it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::router_config::{SecretKey, TrafficClass};
use crate::simulation::canary::Owner;
use crate::simulation::esp_router::EspRouter;
use crate::simulation::fragments::{self, Reassembly};
use crate::simulation::municipality::{TUNNEL_MTU, listen};
use crate::simulation::packets;
use crate::simulation::packets6;
use crate::simulation::wireguard_router::{Received, WireGuardRouter};
use crate::tunnel::esp::sa::Encapsulation;

/// The relay's UDP port for ESP.
const ESP_PORT: u16 = 4_500;
/// In the place of the relay's UDP port: ESP without UDP.
pub(super) const NO_UDP: u16 = 0;

/// An office. What it sends waits until the world moves.
pub struct Office {
    /// The tenant's name.
    pub name: String,
    /// Its tunnel that the router is at the end of.
    pub tunnel: String,
    /// The router is dead: it hears nothing and says nothing, not even goodbye.
    pub is_dead: bool,
    /// Address and port of the router on the access network; another one from now on is roaming.
    pub outer: SocketAddrV4,
    /// The same over IPv6, where the router uses it (not at the start).
    pub outer6: Option<SocketAddrV6>,
    /// Answer requests by itself: echo, UDP, TCP.
    pub answers: bool,
    /// An IPsec router sends ESP in UDP (true at the start), or as IP protocol 50.
    pub in_udp: bool,
    router: Router,
    pub(super) outbox: Vec<Outgoing>,
    inbox: Vec<Vec<u8>>,
    reassembly: Reassembly,
    refused: Vec<String>,
    ike: Vec<(u16, Vec<u8>)>,
}

enum Router {
    WireGuard(Box<WireGuardRouter>),
    Esp(EspRouter),
}

/// A datagram on its way to the relay.
pub struct Outgoing {
    /// Where it comes from.
    pub source: SocketAddrV4,
    /// The same over IPv6, by which it goes then.
    pub(super) source6: Option<SocketAddrV6>,
    /// The relay's, or [`NO_UDP`].
    port: u16,
    payload: Vec<u8>,
}

impl Outgoing {
    /// The packet on the access network, to the relay's address.
    #[must_use]
    pub fn packet(&self, relay: Ipv4Addr) -> Vec<u8> {
        match self.port {
            NO_UDP => packets::other(*self.source.ip(), relay, 50, &self.payload),
            port => packets::udp(self.source, SocketAddrV4::new(relay, port), &self.payload),
        }
    }

    /// The packet over IPv6, where it goes by that.
    pub(super) fn packet6(&self, relay: Ipv6Addr) -> Option<Vec<u8>> {
        self.source6.map(|source| packets6::udp6(source, SocketAddrV6::new(relay, self.port, 0, 0), &self.payload))
    }
}

impl Office {
    /// An office with a WireGuard router; `index` tells its receiver indices from those of others.
    #[must_use]
    pub fn wireguard(name: &str, key: &SecretKey, relay: [u8; 32], outer: SocketAddrV4, index: u32) -> Self {
        Self::new(name, outer, Router::WireGuard(Box::new(WireGuardRouter::new(key, relay, index))))
    }

    /// An office with an IPsec router, without an SA.
    #[must_use]
    pub fn ipsec(name: &str, outer: SocketAddrV4) -> Self {
        Self::new(name, outer, Router::Esp(EspRouter::default()))
    }

    fn new(name: &str, outer: SocketAddrV4, router: Router) -> Self {
        let (outbox, inbox, refused, ike) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            name: name.to_owned(),
            tunnel: "main".to_owned(),
            is_dead: false,
            outer,
            outer6: None,
            answers: false,
            in_udp: true,
            router,
            outbox,
            inbox,
            reassembly: Reassembly::default(),
            refused,
            ike,
        }
    }

    /// Its hosts give up on datagrams of which pieces are missing.
    pub(super) fn forget_fragments(&mut self) {
        self.reassembly = Reassembly::default();
    }

    fn of_wireguard(&mut self) -> &mut WireGuardRouter {
        match &mut self.router {
            Router::WireGuard(router) => router,
            Router::Esp(_) => panic!("{} speaks IPsec", self.name),
        }
    }

    /// Whether it speaks IPsec.
    #[must_use]
    pub fn is_ipsec(&self) -> bool {
        matches!(self.router, Router::Esp(_))
    }

    /// The ESP of an office that speaks IPsec.
    ///
    /// # Panics
    /// For one that does not.
    pub fn esp(&mut self) -> &mut EspRouter {
        match &mut self.router {
            Router::Esp(router) => router,
            Router::WireGuard(_) => panic!("{} speaks WireGuard", self.name),
        }
    }

    /// How the relay reaches an IPsec router.
    #[must_use]
    pub fn encapsulation(&self) -> Encapsulation {
        if self.in_udp { Encapsulation::Udp { peer: self.outer } } else { Encapsulation::Ip { peer: *self.outer.ip() } }
    }

    /// The router starts again: sessions are gone, the key is not.
    ///
    /// # Panics
    /// At the third time.
    pub fn restart(&mut self) {
        match &mut self.router {
            Router::WireGuard(router) => router.restart(),
            Router::Esp(router) => *router = EspRouter::default(),
        }
    }

    /// The relay has another public key from now on.
    pub fn trust(&mut self, relay: [u8; 32]) {
        self.of_wireguard().trust(relay);
    }

    /// The office's public key, where it speaks WireGuard.
    #[must_use]
    pub fn public_key(&self) -> Option<[u8; 32]> {
        match &self.router {
            Router::WireGuard(router) => Some(router.public_key()),
            Router::Esp(_) => None,
        }
    }

    /// Send an inner packet. Without a session a WireGuard router keeps it and starts a handshake; without an SA it is lost.
    pub fn send(&mut self, packet: &[u8]) {
        if let Some(datagram) = self.seal(packet) {
            self.send_datagram(self.outer, datagram);
        }
    }

    /// The datagram around an inner packet, not sent; without a session a handshake initiation, or nothing while one is under way.
    pub fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        match &mut self.router {
            Router::WireGuard(router) => router.seal(packet),
            Router::Esp(router) => router.seal(packet),
        }
    }

    /// Send bytes to the relay as its tunnel's messages travel, from any address.
    pub fn send_datagram(&mut self, source: SocketAddrV4, datagram: Vec<u8>) {
        let port = match self.router {
            Router::WireGuard(_) => listen().get(),
            Router::Esp(_) if self.in_udp => ESP_PORT,
            Router::Esp(_) => NO_UDP,
        };
        self.send_to_port(source, port, datagram);
    }

    /// Send bytes as a UDP payload to any port of the relay, from any address.
    pub fn send_to_port(&mut self, source: SocketAddrV4, port: u16, payload: Vec<u8>) {
        let source6 = self.outer6.filter(|_| source == self.outer);
        self.outbox.push(Outgoing { source, source6, port, payload });
    }

    /// Send bytes as IP protocol 50 to the relay, from any address.
    pub fn send_without_udp(&mut self, source: Ipv4Addr, payload: Vec<u8>) {
        self.send_to_port(SocketAddrV4::new(source, 0), NO_UDP, payload);
    }

    /// A handshake initiation, not sent.
    pub fn initiation(&mut self) -> Vec<u8> {
        self.of_wireguard().initiation()
    }

    /// Start a handshake.
    pub fn connect(&mut self) {
        let initiation = self.initiation();
        self.send_datagram(self.outer, initiation);
    }

    /// A payload of at least `len` bytes that says whose it is.
    #[must_use]
    pub fn payload(&self, class: TrafficClass, len: usize) -> Vec<u8> {
        Owner::new(&self.name, class).payload(len)
    }

    /// Take the inner packets that have arrived.
    pub fn received(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inbox)
    }

    /// Take what the router could not read, in words.
    pub fn refused(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refused)
    }

    /// Take the IKE messages that have arrived, each with the relay's port that it came from; those of 4500 with their marker.
    pub fn ike(&mut self) -> Vec<(u16, Vec<u8>)> {
        std::mem::take(&mut self.ike)
    }

    /// Take what waits to be sent.
    pub fn outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outbox)
    }

    /// A datagram of the relay arrives, from this port. Returns the inner packet in it.
    ///
    /// # Panics
    /// Where the relay gives it fragments that overlap.
    pub fn receive(&mut self, from: u16, datagram: &[u8]) -> Option<Vec<u8>> {
        if self.is_dead {
            return None;
        }
        let received = match &mut self.router {
            Router::WireGuard(router) => router.receive(datagram),
            Router::Esp(_) if from == 500 || datagram.starts_with(&[0; 4]) || datagram == [0xff] => {
                self.ike.push((from, datagram.to_vec()));
                Received::Nothing
            }
            Router::Esp(router) => router.open(datagram).map_or_else(Received::Refused, Received::Packet),
        };
        match received {
            Received::Packet(packet) => {
                self.inbox.push(packet.clone());
                let whole = self.reassembly.take(&packet).unwrap_or_else(|overlap| panic!("in an office: {overlap}"));
                let answer = whole.filter(|_| self.answers).and_then(|whole| packets::answer(&whole));
                let mtu = usize::from(TUNNEL_MTU);
                answer.iter().flat_map(|answer| fragments::sendable(answer, mtu)).for_each(|packet| self.send(&packet));
                return Some(packet);
            }
            Received::Answers(answers) => answers.into_iter().for_each(|answer| self.send_datagram(self.outer, answer)),
            Received::Nothing => {}
            Received::Refused(words) => self.refused.push(words),
        }
        None
    }

    /// The router's timers; call it each 250 ms.
    pub(super) fn tick(&mut self) {
        let datagram = match &mut self.router {
            Router::WireGuard(router) if !self.is_dead => router.tick(),
            Router::WireGuard(_) | Router::Esp(_) => None,
        };
        if let Some(datagram) = datagram {
            self.send_datagram(self.outer, datagram);
        }
    }
}
