//! Two ends of one tunnel, wired back to back by hand, so that each test decides which datagram arrives, where from and how often.

use std::num::NonZeroU16;

use super::*;
use crate::router_config::{EndpointId, SecretKey};

mod another_implementation;
mod data;
mod erasure;
mod handshake;
mod overlap;
mod roaming;
mod timers;
mod timestamps;

/// Indices of the two tunnels' first handshakes, with all bits in use; those of later ones count on.
const RELAY: u32 = 0xffff_fe00;
const OFFICE: u32 = 0x8000_0001;

/// Long after the relay started, so that nothing mistakes its start for an event.
const START: Instant = Instant::from_secs(1_000);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 51_820))
}

fn relay_address() -> SocketAddr {
    address(1)
}

fn office_address() -> SocketAddr {
    address(2)
}

/// One end.
struct End {
    listener: WireGuardListener,
    tunnel: WireGuardTunnel,
    out: Vec<u8>,
    last_index: u32,
    /// Indices that the tunnel was lent and has given back.
    returned: Vec<u32>,
}

impl End {
    /// What the worker does with a datagram: the listener first, then the tunnel.
    fn receive(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Result<Decapsulated, DropReason> {
        self.out.fill(0xee);
        let received = self.receive_inspected(datagram, source, now);
        self.exchange_indices();
        received
    }

    fn receive_inspected(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Result<Decapsulated, DropReason> {
        match self.listener.inspect(datagram, source, &mut self.out, now)? {
            Inspected::Reply(len) => Ok(Decapsulated { content: Content::Reply { len }, peer_moved: false, handshake_completed: false }),
            Inspected::Initiation => {
                self.listener.initiator(datagram)?;
                self.tunnel.decapsulate(datagram, source, &mut self.out, now)
            }
            _ => self.tunnel.decapsulate(datagram, source, &mut self.out, now),
        }
    }

    /// As a worker does after each message of a handshake.
    fn exchange_indices(&mut self) {
        self.returned.extend(std::iter::from_fn(|| self.tunnel.returned_index()));
        if self.tunnel.wants_index() {
            self.last_index += 1;
            self.tunnel.lend_index(self.last_index);
        }
    }

    /// What the worker does with a handshake that another worker's listener let through.
    fn decapsulate(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Result<Decapsulated, DropReason> {
        let decapsulated = self.tunnel.decapsulate(datagram, source, &mut self.out, now);
        self.exchange_indices();
        decapsulated
    }

    fn reply(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Vec<u8> {
        match self.receive(datagram, source, now).expect("an answer").content {
            Content::Reply { len } => self.out[..len].to_vec(),
            other => panic!("expected an answer, got {other:?}"),
        }
    }

    /// A keepalive arrives.
    fn absorb(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) {
        assert_eq!(self.receive(datagram, source, now).expect("a keepalive").content, Content::Absorbed);
    }

    fn inner(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Vec<u8> {
        match self.receive(datagram, source, now).expect("a packet").content {
            Content::Inner { len } => self.out[..len].to_vec(),
            other => panic!("expected a packet, got {other:?}"),
        }
    }

    fn initiate(&mut self, now: Instant) -> Vec<u8> {
        let len = self.tunnel.initiate(&mut self.out, now).expect("an initiation");
        self.exchange_indices();
        self.out[..len].to_vec()
    }

    /// Without asking whether it is time.
    fn initiate_again(&mut self, now: Instant) -> Vec<u8> {
        let len = self.tunnel.write_initiation(&mut self.out, now).expect("an initiation");
        self.exchange_indices();
        self.out[..len].to_vec()
    }

    fn tick(&mut self, now: Instant) -> Option<usize> {
        let len = self.tunnel.tick(&mut self.out, now);
        self.exchange_indices();
        len
    }

    fn send(&mut self, packet: &[u8], now: Instant) -> Result<Vec<u8>, DropReason> {
        let mut inner = packet.to_vec();
        inner.resize(packet.len() + 16, 0xaa);
        let len = self.tunnel.encapsulate(&mut inner, packet.len(), &mut self.out, now)?;
        Ok(self.out[..len].to_vec())
    }
}

struct Pair {
    relay: End,
    office: End,
    now: Instant,
}

/// What differs from test to test.
#[derive(Default)]
struct Setting {
    relay_psk: Option<[u8; 32]>,
    office_psk: Option<[u8; 32]>,
    relay_keepalive: Option<u16>,
}

impl Pair {
    /// The office knows the relay's address; the relay does not know the office's.
    fn new() -> Self {
        Self::with(&Setting::default())
    }

    fn with(setting: &Setting) -> Self {
        let (relay_key, office_key) = (generate().expect("a key"), generate().expect("a key"));
        let relay = end(&relay_key, &office_key, RELAY, None, setting.relay_psk, setting.relay_keepalive);
        let office = end(&office_key, &relay_key, OFFICE, Some(relay_address()), setting.office_psk, None);
        let mut pair = Self { relay, office, now: START };
        pair.advance(Duration::from_secs(1));
        for end in [&mut pair.relay, &mut pair.office] {
            assert_eq!(end.tick(pair.now), None);
        }
        pair
    }

    fn up() -> Self {
        let mut pair = Self::new();
        pair.handshake();
        pair
    }

    /// Time passes. Nobody ticks.
    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// A whole handshake from the office: initiation, response, keepalive.
    fn handshake(&mut self) {
        let initiation = self.office.initiate(self.now);
        self.go_on(&initiation);
    }

    /// Another one over the session that stands.
    fn handshake_again(&mut self) {
        let initiation = self.office.initiate_again(self.now);
        self.go_on(&initiation);
    }

    fn go_on(&mut self, initiation: &[u8]) {
        let response = self.relay.reply(initiation, office_address(), self.now);
        let keepalive = self.office.reply(&response, relay_address(), self.now);
        let proved = self.relay.receive(&keepalive, office_address(), self.now).expect("a keepalive");
        assert_eq!((proved.content, proved.handshake_completed), (Content::Absorbed, true));
        self.advance(Duration::from_millis(30));
    }
}

fn end(
    own: &SecretKey,
    other: &SecretKey,
    index: u32,
    peer_address: Option<SocketAddr>,
    psk: Option<[u8; 32]>,
    keepalive: Option<u16>,
) -> End {
    let listener = WireGuardListener::new(own);
    let config = config(other, peer_address, psk, keepalive);
    let tunnel = WireGuardTunnel::new(&listener, &config, index, START);
    End { tunnel, listener, out: vec![0; 2_048], last_index: index, returned: Vec::new() }
}

fn config(other: &SecretKey, peer_address: Option<SocketAddr>, psk: Option<[u8; 32]>, keepalive: Option<u16>) -> TunnelConfig {
    let kind = TunnelKind::WireGuard {
        public_key: public_key(other),
        preshared_key: psk.map(SecretKey),
        peer_address,
        persistent_keepalive: keepalive.and_then(NonZeroU16::new),
    };
    TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: 1_420, kind }
}

/// An IPv4 packet of `len` bytes that claims to have `claimed`.
fn ipv4_claiming(len: usize, claimed: u16) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).expect("below 251")).collect();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&claimed.to_be_bytes());
    packet
}

fn ipv4(len: usize) -> Vec<u8> {
    ipv4_claiming(len, u16::try_from(len).expect("fits"))
}
