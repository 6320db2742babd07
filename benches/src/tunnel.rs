//! A tunnel alone, from buffer to buffer: what of a packet's cost is its protocol's, beside the bare cipher and the whole path.
//!
//! Both ends are the data plane's own, and are used through its trait: whatever stands behind it is what is measured.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dataplane::nic::BATCH;
use dataplane::router_config::SecretKey;
use dataplane::time::Instant;
use dataplane::tunnel::esp::EspTunnel;
use dataplane::tunnel::wireguard::{self, WireGuardListener, WireGuardTunnel};
use dataplane::tunnel::{AnyTunnel, Content, Tunnel};

use crate::busy_time;
use crate::frames::udp;
use crate::office::{Office, router};
use crate::path::{ROUNDS, Row, SLICE, measure_beside_the_cipher};
use crate::relay_config::{SERVICE, tunnel_config};
use crate::suite::Suite;
use crate::world::Direction;

/// A tunnel's two ends without anything between them.
pub(crate) const TUNNEL: &str = "tunnel";

/// Bytes of a frame behind its headroom.
const BUFFER: usize = 1_792;

const HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 5_000);

/// The relay's end, a municipality's, and frames as many as a worker has in its hands at one time.
struct Ends {
    relay: AnyTunnel,
    office: Office,
    now: Instant,
    from: Vec<Vec<u8>>,
    to: Vec<Vec<u8>>,
}

/// One suite's tunnel at one size, in one direction.
pub(crate) fn measure(suite: Suite, direction: Direction, size: usize) -> Row {
    let mut ends = Ends::connected(suite);
    let spend = || match direction {
        Direction::OfficeToCloud => ends.decapsulate(size),
        Direction::CloudToOffice => ends.encapsulate(size),
    };
    let (ns_per_packet, aead_ns_per_packet, ratio) = measure_beside_the_cipher(suite, direction, size, ROUNDS, spend);
    Row {
        case: TUNNEL,
        suite: suite.label(),
        direction: direction.label(),
        size,
        tenants: 1,
        workers: 1,
        sessions: 0,
        ns_per_packet,
        aead_ns_per_packet,
        ratio,
    }
}

impl Ends {
    fn connected(suite: Suite) -> Self {
        let now = Instant::from_secs(1);
        let [relay_key, office_key] = [(); 2].map(|()| wireguard::generate().expect("random bytes"));
        let office = Office::new(suite, 0, &office_key, wireguard::public_key(&relay_key), now);
        let relay = relays_end(suite, &relay_key, wireguard::public_key(&office_key), now);
        let buffers = || vec![vec![0; BUFFER]; BATCH];
        let mut ends = Self { relay, office, now, from: buffers(), to: buffers() };
        if !suite.is_ipsec() {
            ends.shake_hands();
        }
        ends
    }

    fn shake_hands(&mut self) {
        let Self { relay, office, now, from, to } = self;
        let (there, back) = (&mut from[0], &mut to[0]);
        let (routers, relays) = (office.router.into(), office.relay.into());
        let len = office.tunnel.initiate(there, *now).expect("no session yet");
        let Ok(Content::Reply { len }) = relay.decapsulate(&there[..len], routers, back, *now).map(|done| done.content) else {
            panic!("a handshake is answered")
        };
        let Ok(Content::Reply { len }) = office.tunnel.decapsulate(&back[..len], relays, there, *now).map(|done| done.content) else {
            panic!("an answer is confirmed")
        };
        let proved = relay.decapsulate(&there[..len], routers, back, *now).expect("a keepalive");
        assert!(proved.handshake_completed);
    }

    /// How long the relay takes to open a slice of messages, a batch at a time.
    fn decapsulate(&mut self, size: usize) -> Duration {
        let mut busy = Duration::ZERO;
        let (mut inner, source) = (padded(udp(HOST, SERVICE, size, 0)), self.office.router.into());
        let mut lens = [0; BATCH];
        for _ in 0..SLICE / BATCH {
            for (message, len) in self.from.iter_mut().zip(&mut lens) {
                *len = self.office.tunnel.encapsulate(&mut inner, size, message, self.now).expect("the tunnel is up");
            }
            let start = busy_time();
            for ((message, len), out) in self.from.iter().zip(lens).zip(&mut self.to) {
                let done = self.relay.decapsulate(&message[..len], source, out, self.now).expect("sound");
                assert!(matches!(done.content, Content::Inner { .. }));
            }
            busy += busy_time() - start;
        }
        busy
    }

    /// How long the relay takes to seal a slice of packets.
    fn encapsulate(&mut self, size: usize) -> Duration {
        self.from.fill(padded(udp(SERVICE, HOST, size, 0)));
        let start = busy_time();
        for _ in 0..SLICE / BATCH {
            for (packet, out) in self.from.iter_mut().zip(&mut self.to) {
                self.relay.encapsulate(packet, size, out, self.now).expect("the tunnel is up");
            }
        }
        busy_time() - start
    }
}

/// With room for what a protocol pads.
fn padded(mut packet: Vec<u8>) -> Vec<u8> {
    packet.resize(BUFFER, 0);
    packet
}

fn relays_end(suite: Suite, key: &SecretKey, office: [u8; 32], now: Instant) -> AnyTunnel {
    let config = tunnel_config(suite.tunnel(office));
    if suite.is_ipsec() {
        let mut tunnel = EspTunnel::new(&config, now);
        tunnel.install(&suite.pair(0, router(0)), now).expect("its only pair");
        AnyTunnel::Esp(tunnel)
    } else {
        AnyTunnel::WireGuard(WireGuardTunnel::new(&WireGuardListener::new(key), &config, 1, now))
    }
}
