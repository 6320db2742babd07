//! A municipal router with the office behind it: the same WireGuard library as the relay's, driven the way its own programs do.

use std::net::SocketAddrV4;

use boringtun::noise::{Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::router_config::{SecretKey, TrafficClass};
use crate::simulation::canary::Owner;
use crate::simulation::packets;

/// How often a router may start again.
const SPARES: u32 = 2;
/// Longest datagram of a router.
const BUFFER: usize = 4_096;

/// An office. What it sends waits until the world moves.
pub struct Office {
    /// The tenant's name.
    pub name: String,
    /// Address and port of the router on the access network; another one from now on is roaming.
    pub outer: SocketAddrV4,
    /// Answer requests by itself: echo, UDP, TCP.
    pub answers: bool,
    key: [u8; 32],
    relay: [u8; 32],
    tunn: Tunn,
    /// Routers for [`Office::restart`]. Handshakes carry time stamps that the library takes from the machine's clock when a router is
    /// made and from the virtual one later: only routers made at the same moment agree about the time.
    spares: Vec<Tunn>,
    index: u32,
    pub(super) outbox: Vec<(SocketAddrV4, Vec<u8>)>,
    inbox: Vec<Vec<u8>>,
    refused: Vec<String>,
}

impl Office {
    pub(super) fn new(name: &str, key: &SecretKey, relay: [u8; 32], outer: SocketAddrV4, index: u32) -> Self {
        let mut spares: Vec<Tunn> = (0u32..=SPARES).map(|number| tunn(key.0, relay, index + 0x100 * number)).collect();
        let tunn = spares.remove(0);
        let (outbox, inbox, refused) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), outer, answers: false, key: key.0, relay, tunn, spares, index, outbox, inbox, refused }
    }

    /// The router starts again: sessions are gone, the key is not.
    ///
    /// # Panics
    /// At the third time.
    pub fn restart(&mut self) {
        self.tunn = self.spares.pop().expect("a router starts again twice at most; raise SPARES");
    }

    /// The relay has another public key from now on.
    pub fn trust(&mut self, relay: [u8; 32]) {
        self.relay = relay;
        self.index += 0x1000;
        self.tunn = tunn(self.key, self.relay, self.index);
        self.spares.clear();
    }

    /// The office's public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(self.key)).to_bytes()
    }

    /// Send an inner packet. Without a session the router keeps it and starts a handshake.
    pub fn send(&mut self, packet: &[u8]) {
        let datagram = self.seal(packet);
        self.outbox.extend(datagram.map(|datagram| (self.outer, datagram)));
    }

    /// The datagram around an inner packet, not sent; without a session a handshake initiation, or nothing while one is under way.
    pub fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; BUFFER];
        match self.tunn.encapsulate(packet, &mut out) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            TunnResult::Done => None,
            other => panic!("{}: the router does not encrypt: {other:?}", self.name),
        }
    }

    /// Send bytes as a UDP payload to the relay, from any address.
    pub fn send_datagram(&mut self, source: SocketAddrV4, datagram: Vec<u8>) {
        self.outbox.push((source, datagram));
    }

    /// A handshake initiation, not sent.
    pub fn initiation(&mut self) -> Vec<u8> {
        let mut out = vec![0; BUFFER];
        match self.tunn.format_handshake_initiation(&mut out, true) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("{}: no initiation: {other:?}", self.name),
        }
    }

    /// Start a handshake.
    pub fn connect(&mut self) {
        let initiation = self.initiation();
        self.outbox.push((self.outer, initiation));
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

    /// A datagram of the relay arrives. Returns the inner packet in it.
    pub(super) fn receive(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; BUFFER];
        match self.tunn.decapsulate(None, datagram, &mut out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                let packet = packet.to_vec();
                self.inbox.push(packet.clone());
                if let (true, Some(answer)) = (self.answers, packets::answer(&packet)) {
                    self.send(&answer);
                }
                return Some(packet);
            }
            TunnResult::WriteToNetwork(answer) => {
                self.outbox.push((self.outer, answer.to_vec()));
                self.send_what_waited();
            }
            TunnResult::Done => {}
            TunnResult::Err(error) => self.refused.push(format!("{error:?}")),
        }
        None
    }

    fn send_what_waited(&mut self) {
        let mut out = vec![0; BUFFER];
        while let TunnResult::WriteToNetwork(datagram) = self.tunn.decapsulate(None, &[], &mut out) {
            self.outbox.push((self.outer, datagram.to_vec()));
        }
    }

    /// The router's timers; call it each 250 ms.
    pub(super) fn tick(&mut self) {
        let mut out = vec![0; BUFFER];
        if let TunnResult::WriteToNetwork(datagram) = self.tunn.update_timers(&mut out) {
            self.outbox.push((self.outer, datagram.to_vec()));
        }
    }
}

fn tunn(key: [u8; 32], relay: [u8; 32], index: u32) -> Tunn {
    Tunn::new(StaticSecret::from(key), PublicKey::from(relay), None, None, index, None)
}
