//! WireGuard between a listener with one of its tunnels, that tunnel's router and a stranger: nothing comes out that the router did not
//! put in, nothing twice, and the tunnel goes nowhere the router is not.

use std::net::SocketAddrV4;

use dataplane::drop_reason::DropReason;
use dataplane::router_config::SecretKey;
use dataplane::simulation::municipality::{TUNNEL_MTU, office_key, tunnel};
use dataplane::simulation::office::Office;
use dataplane::simulation::{at, ip};
use dataplane::time::{Duration, Instant};
use dataplane::tunnel::wireguard::{Inspected, WireGuardListener, WireGuardTunnel, data_index};
use dataplane::tunnel::{Content, MIN_OUT, Tunnel};

use crate::Input;
use crate::plain::mended;

const FIRST_INDEX: u32 = 5;
const PORT: u16 = 51_820;
/// Of outer IPv4 and UDP.
const OUTER: usize = 28;
const COOKIE_REPLY: usize = 64;
const MOST_STEPS: usize = 60;

/// What the router, the stranger, the relay and time do, step by step.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut line = Line::new();
    line.router_calls();
    assert!(line.tunnel.is_up(line.now), "the router's session stands");
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            return;
        }
        line.step(&mut input);
    }
}

struct Line {
    listener: WireGuardListener,
    tunnel: WireGuardTunnel,
    router: Office,
    stranger: Office,
    now: Instant,
    /// Of the receiver indices that were lent.
    last_index: u32,
    /// Packets that the router sealed and the relay has not taken.
    under_way: Vec<Vec<u8>>,
    /// Datagrams of either side.
    seen: Vec<Vec<u8>>,
}

fn addresses(which: u8) -> SocketAddrV4 {
    at(["192.0.2.10:51820", "192.0.2.11:51820", "192.0.2.10:40000", "198.18.0.1:1"][usize::from(which & 3)])
}

impl Line {
    fn new() -> Self {
        let now = Instant::from_secs(1_000);
        let listener = WireGuardListener::new(&SecretKey([0x77; 32]));
        let office = |name: &str, index| Office::wireguard(name, &office_key(name), listener.public_key(), addresses(0), index);
        let (router, stranger) = (office("router", 10), office("stranger", 11));
        let tunnel = WireGuardTunnel::new(&listener, &tunnel("router"), FIRST_INDEX, now);
        Self { listener, tunnel, router, stranger, now, last_index: FIRST_INDEX, under_way: Vec::new(), seen: Vec::new() }
    }

    /// A handshake, and the packet that proves it.
    fn router_calls(&mut self) {
        let initiation = self.router.initiation();
        let _ = self.arrives(&initiation, addresses(0));
        self.router_sends(&[0; 64], addresses(0));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 10 {
            0 => self.strange(input),
            1 => self.router_calls(),
            2 => self.stranger_calls(input.u8()),
            3 | 4 => {
                let (from, len) = (addresses(input.u8()), usize::from(input.u16()) % usize::from(TUNNEL_MTU));
                self.router_sends(input.take(len), from);
            }
            5 => self.bent(input),
            6 => self.again(input.u8(), input.u8()),
            7 | 8 => self.relay_sends(input),
            _ => self.time_passes(Duration::from_millis(u64::from(input.u16()))),
        }
    }

    /// A datagram reaches the relay, which does with it what a worker does.
    fn arrives(&mut self, datagram: &[u8], from: SocketAddrV4) -> Result<(), DropReason> {
        if self.seen.len() < MOST_STEPS {
            self.seen.push(datagram.to_vec());
        }
        let mut reply = [0; COOKIE_REPLY];
        let index = match self.listener.inspect(datagram, from.into(), &mut reply, self.now)? {
            Inspected::Data { index } => {
                assert_eq!(data_index(datagram), Some(index));
                index
            }
            Inspected::HandshakeResponse { index } | Inspected::CookieReply { index } => index,
            Inspected::Initiation => {
                self.listener.initiator(datagram)?;
                return self.reaches_the_tunnel(datagram, from);
            }
            Inspected::Reply(len) => {
                assert!(len <= COOKIE_REPLY && len < datagram.len(), "no stranger is answered with more than it sent");
                return Ok(());
            }
        };
        if self.tunnel.indices().any(|own| own == index) { self.reaches_the_tunnel(datagram, from) } else { Ok(()) }
    }

    /// What a worker's table of indices does for its tunnels.
    fn lend(&mut self) {
        while self.tunnel.returned_index().is_some() {}
        if self.tunnel.wants_index() {
            self.last_index += 1;
            self.tunnel.lend_index(self.last_index);
        }
    }

    fn reaches_the_tunnel(&mut self, datagram: &[u8], from: SocketAddrV4) -> Result<(), DropReason> {
        let before = self.tunnel.peer();
        let mut out = vec![0; datagram.len().max(MIN_OUT)];
        let done = self.tunnel.decapsulate(datagram, from.into(), &mut out, self.now);
        self.lend();
        let moved = done.as_ref().is_ok_and(|done| done.peer_moved);
        assert_eq!(self.tunnel.peer(), if moved { Some(from.into()) } else { before }, "it follows its peer, and says so");
        match done?.content {
            Content::Inner { len } => {
                let place = self.under_way.iter().position(|packet| packet[..] == out[..len]);
                let place = place.unwrap_or_else(|| panic!("nobody sent this, or it came twice: {:02x?}", &out[..len]));
                self.under_way.swap_remove(place);
            }
            Content::Reply { len } => self.reaches_the_router(&out[..len]),
            Content::Absorbed => {}
        }
        Ok(())
    }

    /// The router's own answers reach the relay at once.
    fn reaches_the_router(&mut self, datagram: &[u8]) {
        assert_eq!(self.router.receive(PORT, datagram), None, "no packet was sent to it");
        for answer in self.router.outgoing() {
            let datagram = answer.packet(ip("192.0.2.1"))[OUTER..].to_vec();
            let _ = self.arrives(&datagram, answer.source);
        }
    }

    fn router_sends(&mut self, bytes: &[u8], from: SocketAddrV4) {
        let packet = mended(bytes);
        let Some(datagram) = self.router.seal(&packet) else { return };
        self.under_way.push(packet);
        let _ = self.arrives(&datagram, from);
    }

    fn stranger_calls(&mut self, from: u8) {
        let initiation = self.stranger.initiation();
        let mut reply = [0; COOKIE_REPLY];
        if self.listener.inspect(&initiation, addresses(from).into(), &mut reply, self.now) == Ok(Inspected::Initiation) {
            assert_eq!(self.listener.initiator(&initiation).ok(), self.stranger.public_key());
        }
        let before = self.tunnel.peer();
        let mut out = [0; MIN_OUT];
        let done = self.tunnel.decapsulate(&initiation, addresses(from).into(), &mut out, self.now);
        assert!(done.is_err() && self.tunnel.peer() == before, "a stranger's handshake is not the router's");
    }

    /// A message of any type with its length, so that more than its shape is looked at; and the bytes as they are.
    fn strange(&mut self, input: &mut Input<'_>) {
        let (kind, from, len) = (input.u8() % 4 + 1, addresses(input.u8()), usize::from(input.u16()) % 1_500);
        let bytes = input.take(len);
        let mut message = bytes.to_vec();
        let len = [148, 92, 64, message.len().max(32).next_multiple_of(16)][usize::from(kind - 1)];
        message.resize(len, 0);
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        if kind == 4 {
            message[4..8].copy_from_slice(&(FIRST_INDEX + u32::from(from.port() & 3)).to_le_bytes());
        }
        for datagram in [bytes, &message] {
            let heard = self.tunnel.state(self.now).heard_at;
            let _ = self.arrives(datagram, from);
            assert_eq!(self.tunnel.state(self.now).heard_at, heard, "noise is not the router");
        }
    }

    fn bent(&mut self, input: &mut Input<'_>) {
        let Some(mut datagram) = self.chosen(input.u8()) else { return };
        let before = datagram.clone();
        for _ in 0..input.u8() % 4 + 1 {
            let at = usize::from(input.u16()) % datagram.len();
            datagram[at] ^= input.u8();
        }
        if datagram != before {
            let _ = self.arrives(&datagram, addresses(input.u8()));
        }
    }

    fn again(&mut self, which: u8, from: u8) {
        if let Some(datagram) = self.chosen(which) {
            let _ = self.arrives(&datagram, addresses(from));
        }
    }

    fn chosen(&self, which: u8) -> Option<Vec<u8>> {
        self.seen.get(usize::from(which) % self.seen.len().max(1)).filter(|datagram| !datagram.is_empty()).cloned()
    }

    fn relay_sends(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.u16()) % usize::from(TUNNEL_MTU);
        let mut packet = input.take(len).to_vec();
        // Whole: it comes here without the translation that sorts out fragments for the router's hosts.
        packet.iter_mut().skip(6).take(2).for_each(|octet| *octet = 0);
        let packet = mended(&packet);
        let mut frame = [&packet[..], &[0xcc; 16]].concat();
        let mut out = vec![0; (packet.len() + self.tunnel.overhead() + 16).max(MIN_OUT)];
        match self.tunnel.encapsulate(&mut frame, packet.len(), &mut out, self.now) {
            Ok(len) => {
                let received = self.router.receive(PORT, &out[..len]);
                assert!(received.is_none_or(|received| received == packet), "what was sealed opens as it was");
            }
            Err(reason) => assert!(matches!(reason, DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown), "{reason:?}"),
        }
    }

    fn time_passes(&mut self, time: Duration) {
        self.now = self.now + time;
        let mut out = [0; MIN_OUT];
        let sent = self.tunnel.tick(&mut out, self.now);
        self.lend();
        if let Some(len) = sent {
            self.reaches_the_router(&out[..len]);
        }
    }
}
