//! Two ends of one tunnel, wired back to back by hand, so that each test decides which datagram arrives, where from and how often.

use std::num::NonZeroU16;

use super::*;
use crate::router_config::{EndpointId, SecretKey};

mod data;
mod handshake;
mod roaming;
#[cfg(feature = "simulation")]
mod timers;

/// Indices of the two tunnels, with all 24 bits in use.
const RELAY: u32 = 0x00ff_fffe;
const OFFICE: u32 = 0x0080_0001;

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
}

impl End {
    /// What the worker does with a datagram: the listener first, then the tunnel.
    fn receive(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Result<Decapsulated, DropReason> {
        self.out.fill(0xee);
        match self.listener.inspect(datagram, source, &mut self.out, now)? {
            Inspected::Reply(len) => Ok(Decapsulated { content: Content::Reply { len }, peer_moved: false, handshake_completed: false }),
            Inspected::Initiation => {
                self.listener.initiator(datagram)?;
                self.tunnel.decapsulate(datagram, source, &mut self.out, now)
            }
            _ => self.tunnel.decapsulate(datagram, source, &mut self.out, now),
        }
    }

    fn reply(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Vec<u8> {
        match self.receive(datagram, source, now).expect("an answer").content {
            Content::Reply { len } => self.out[..len].to_vec(),
            other => panic!("expected an answer, got {other:?}"),
        }
    }

    fn inner(&mut self, datagram: &[u8], source: SocketAddr, now: Instant) -> Vec<u8> {
        match self.receive(datagram, source, now).expect("a packet").content {
            Content::Inner { len } => self.out[..len].to_vec(),
            other => panic!("expected a packet, got {other:?}"),
        }
    }

    fn initiate(&mut self, now: Instant) -> Vec<u8> {
        let len = self.tunnel.initiate(&mut self.out, now).expect("an initiation");
        self.out[..len].to_vec()
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
            assert_eq!(end.tunnel.tick(&mut end.out, pair.now), None);
        }
        pair
    }

    fn up() -> Self {
        let mut pair = Self::new();
        pair.handshake();
        pair
    }

    /// Time passes, for the library too where its clock can be moved. Nobody ticks.
    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        #[cfg(feature = "simulation")]
        advance_library_clock(by);
    }

    /// A whole handshake from the office: initiation, response, keepalive.
    fn handshake(&mut self) {
        let initiation = self.office.initiate(self.now);
        let response = self.relay.reply(&initiation, office_address(), self.now);
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
    let config = TunnelConfig {
        name: "main".into(),
        endpoint: EndpointId(0),
        mtu: 1_420,
        kind: TunnelKind::WireGuard {
            public_key: public_key(other),
            preshared_key: psk.map(SecretKey),
            peer_address,
            persistent_keepalive: keepalive.and_then(NonZeroU16::new),
        },
    };
    End { tunnel: WireGuardTunnel::new(&listener, &config, index, START), listener, out: vec![0; 2_048] }
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
