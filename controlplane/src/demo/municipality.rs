//! A municipality's own end of its tunnel: a small router in this process, for WireGuard or IPsec.
//!
//! Outside it has one UDP socket, inside a packet socket on the cable to the office. It does what a hall's router does and
//! no more: every IPv4 packet from the office goes into the tunnel, every packet out of it to the office. Without a relay
//! address it waits to be called and answers to where the last authenticated message came from, so that two of these
//! make a whole tunnel.

use std::fmt;
use std::io::{self, PipeReader};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use boringtun::noise::{Packet, Tunn, TunnResult, errors::WireGuardError};
use boringtun::x25519::PublicKey;
use zeroize::Zeroizing;

use super::background::{Background, is_stop};
use super::error::{Context, DemoError};
use super::ipsec_line::{IpsecLine, IpsecSettings};
use super::links::MacAddress;
use super::namespaces::{Namespace, in_namespace};
use super::netlink::set_option;
use super::raw_socket::{RawSocket, wait_readable};
use super::wireguard_keys::KeyPair;

/// How often the tunnel's timers are looked at; the library's own device uses 250 ms.
const TICK: Duration = Duration::from_millis(100);
/// Datagrams or frames taken from one side before the other gets its turn.
const BURST: usize = 64;
/// WireGuard section 6.1, Reject-After-Time: a session older than this carries nothing.
const SESSION_LIFETIME: Duration = Duration::from_secs(180);
/// The longest UDP datagram, and room for what the library adds to a packet.
const BUFFER_LENGTH: usize = (64 << 10) + 64;
/// Room for bursts. The kernel caps it at `net.core.rmem_max` for an ordinary user.
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 << 20;
const ETHERNET_HEADER: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];

/// What a router is told at its start.
#[derive(Clone)]
pub struct RouterSettings {
    /// For messages and the thread's name.
    pub name: String,
    /// Its own key pair.
    pub keys: KeyPair,
    /// The relay's public key.
    pub peer_public_key: [u8; 32],
    /// The key that both sides mix in, if they have one.
    pub preshared_key: Option<Zeroizing<[u8; 32]>>,
    /// It speaks IPsec by these, and not WireGuard; it needs `relay` then, and a port 4500 of its own.
    pub ipsec: Option<IpsecSettings>,
    /// Its own end outside; port 0 takes any.
    pub local: SocketAddrV4,
    /// The relay's end; without one the router waits to be called.
    pub relay: Option<SocketAddrV4>,
    /// Seconds between keepalives; also what makes it call by itself.
    pub persistent_keepalive_seconds: Option<u16>,
    /// The Ethernet address that the office sends to as its gateway. It belongs to no interface: the namespace's own
    /// kernel takes no notice of such frames.
    pub gateway_mac: MacAddress,
    /// The office's Ethernet address.
    pub office_mac: MacAddress,
}

impl fmt::Debug for RouterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, local, relay, .. } = self;
        write!(f, "RouterSettings {{ {name}, {local} -> {relay:?}, .. }}")
    }
}

/// What a router has carried, and how its tunnel stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterState {
    /// When the session in use was agreed on; `None` before the first.
    pub last_handshake: Option<Instant>,
    /// Where the other end was last heard or is expected.
    pub peer: Option<SocketAddr>,
    /// Packets from the office into the tunnel.
    pub sent_packets: u64,
    /// Their length in bytes.
    pub sent_bytes: u64,
    /// Packets out of the tunnel to the office.
    pub received_packets: u64,
    /// Their length in bytes.
    pub received_bytes: u64,
    /// Datagrams that the tunnel did not accept: foreign keys, replays, stale sessions.
    pub refused: u64,
    /// Datagrams and frames that the kernel did not take.
    pub not_sent: u64,
}

impl RouterState {
    /// Whether the tunnel can carry traffic now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.last_handshake.is_some_and(|at| at.elapsed() < SESSION_LIFETIME)
    }
}

/// A running router; dropping it stops it.
#[derive(Debug)]
pub struct Router {
    name: String,
    underlay: Namespace,
    shared: Arc<Shared>,
    thread: Background,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<RouterState>,
    /// A new outer socket that waits to be taken up.
    moved_to: Mutex<Option<UdpSocket>>,
}

impl Router {
    /// Starts a router with its outer end in `underlay` and `lan` as its inner end.
    ///
    /// # Errors
    /// When the outer address is not to be had.
    pub fn start(underlay: &Namespace, lan: RawSocket, settings: &RouterSettings) -> Result<Self, DemoError> {
        let name = settings.name.clone();
        let udp = bind_outer(underlay, settings.local, &name)?;
        let shared = Arc::new(Shared::default());
        let mut work = Work::new(udp, lan, settings, Arc::clone(&shared));
        let thread = Background::start(underlay, &format!("router {name}"), move |mut signal| work.run(&mut signal))?;
        Ok(Self { name, underlay: underlay.clone(), shared, thread })
    }

    /// How its tunnel stands and what it has carried.
    #[must_use]
    pub fn state(&self) -> RouterState {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the outer end to another address or port, as a carrier's line does that got a new one, and lets the other
    /// side know by an authenticated message.
    ///
    /// # Errors
    /// When the new address is not to be had; the router then stays where it was.
    pub fn roam(&self, local: SocketAddrV4) -> Result<(), DemoError> {
        let udp = bind_outer(&self.underlay, local, &self.name)?;
        *self.shared.moved_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(udp);
        self.thread.wake();
        Ok(())
    }

    /// Waits until the tunnel is up, for `timeout` at the longest, and says whether it is.
    #[must_use]
    pub fn wait_up(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.state().is_up() {
            if Instant::now() > deadline || self.thread.has_ended() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

fn bind_outer(underlay: &Namespace, local: SocketAddrV4, name: &str) -> Result<UdpSocket, DemoError> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES)
            .or_else(|_| set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER_BYTES))?;
        Ok(socket)
    };
    in_namespace(underlay, bind)?.doing(|| format!("give router {name} the address {local} in namespace {}", underlay.name()))
}

/// What the router speaks.
enum Line {
    WireGuard(Box<Tunn>),
    Ipsec(Box<IpsecLine>),
}

/// The thread's own world.
struct Work {
    line: Line,
    ends: Ends,
    state: RouterState,
    shared: Arc<Shared>,
    next_tick: Instant,
}

/// The router's two ends.
pub(super) struct Ends {
    udp: UdpSocket,
    lan: RawSocket,
    gateway_mac: MacAddress,
    office_mac: MacAddress,
}

impl Work {
    fn new(udp: UdpSocket, lan: RawSocket, settings: &RouterSettings, shared: Arc<Shared>) -> Self {
        let wireguard = || {
            let (secret, peer) = (settings.keys.secret(), PublicKey::from(settings.peer_public_key));
            let preshared = settings.preshared_key.as_deref().copied();
            Line::WireGuard(Box::new(Tunn::new(secret, peer, preshared, settings.persistent_keepalive_seconds, 0, None)))
        };
        let line = match (&settings.ipsec, settings.relay) {
            (Some(ipsec), Some(relay)) => Line::Ipsec(Box::new(IpsecLine::new(ipsec, settings.local, relay, BUFFER_LENGTH))),
            _ => wireguard(),
        };
        let state = RouterState { peer: settings.relay.map(SocketAddr::V4), ..RouterState::default() };
        let ends = Ends { udp, lan, gateway_mac: settings.gateway_mac, office_mac: settings.office_mac };
        Self { line, ends, state, shared, next_tick: Instant::now() }
    }

    fn run(&mut self, signal: &mut PipeReader) {
        let (mut input, mut output) = (vec![0; BUFFER_LENGTH], vec![0; BUFFER_LENGTH]);
        // The first tick calls on a line of IPsec.
        if let (Line::WireGuard(tunnel), Some(_)) = (&mut self.line, self.state.peer) {
            let call = tunnel.format_handshake_initiation(&mut output, false);
            self.ends.deliver(call, &mut self.state);
        }
        loop {
            self.publish();
            let sources = [signal.as_fd(), self.ends.udp.as_fd(), self.ends.lan.as_fd()];
            let timeout = self.next_tick.saturating_duration_since(Instant::now());
            let Ok(ready) = wait_readable(&sources, timeout) else { return };
            if ready[0] {
                if is_stop(signal) {
                    return;
                }
                self.move_outer_end(&mut output);
            }
            if ready[1] {
                self.network_to_office(&mut input, &mut output);
            }
            if ready[2] {
                self.office_to_network(&mut output);
            }
            self.tick(&mut output);
        }
    }

    fn publish(&mut self) {
        self.state.last_handshake = match &self.line {
            Line::WireGuard(tunnel) => tunnel.time_since_last_handshake().and_then(|age| Instant::now().checked_sub(age)),
            // An SA that stands is a session, however old.
            Line::Ipsec(line) => line.is_up().then(Instant::now),
        };
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = self.state;
    }

    fn move_outer_end(&mut self, output: &mut [u8]) {
        let Some(udp) = self.shared.moved_to.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.ends.udp = udp;
        // An empty packet is a keepalive: authenticated, so the other side follows.
        if let Line::WireGuard(tunnel) = &mut self.line {
            let keepalive = tunnel.encapsulate(&[], output);
            self.ends.deliver(keepalive, &mut self.state);
        }
    }

    fn network_to_office(&mut self, input: &mut [u8], output: &mut [u8]) {
        for _ in 0..BURST {
            let Ok((length, source)) = self.ends.udp.recv_from(input) else { return };
            let mut datagram = &input[..length];
            let tunnel = match &mut self.line {
                Line::WireGuard(tunnel) => tunnel,
                Line::Ipsec(line) => {
                    line.network_to_office(datagram, source, output, &self.ends, &mut self.state);
                    continue;
                }
            };
            loop {
                let result = tunnel.decapsulate(Some(source.ip()), datagram, output);
                if !datagram.is_empty() && is_authenticated(datagram, &result) {
                    self.state.peer = Some(source);
                }
                // After a message of its own the library wants to be asked for packets that waited for it.
                let again = matches!(result, TunnResult::WriteToNetwork(_));
                self.ends.deliver(result, &mut self.state);
                if !again {
                    break;
                }
                datagram = &[];
            }
        }
    }

    fn office_to_network(&mut self, output: &mut [u8]) {
        for _ in 0..BURST {
            let Ok(Some(frame)) = self.ends.lan.receive() else { return };
            let Some(packet) = packet_for_gateway(frame, self.ends.gateway_mac) else { continue };
            self.state.sent_packets += 1;
            self.state.sent_bytes += packet.len() as u64;
            // The frame stands in the socket's own memory.
            let packet = packet.to_vec();
            match &mut self.line {
                Line::WireGuard(tunnel) => self.ends.deliver(tunnel.encapsulate(&packet, output), &mut self.state),
                Line::Ipsec(line) => line.office_to_network(&packet, output, &self.ends, &mut self.state),
            }
        }
    }

    fn tick(&mut self, output: &mut [u8]) {
        if Instant::now() < self.next_tick {
            return;
        }
        self.next_tick = Instant::now() + TICK;
        let tunnel = match &mut self.line {
            Line::WireGuard(tunnel) => tunnel,
            Line::Ipsec(line) => return line.tick(&self.ends, &mut self.state),
        };
        let mut result = tunnel.update_timers(output);
        // The library gives up calling after 90 s; a hall's router never does.
        if matches!(result, TunnResult::Err(WireGuardError::ConnectionExpired)) && self.state.peer.is_some() {
            result = tunnel.format_handshake_initiation(output, true);
        }
        self.ends.deliver(result, &mut self.state);
    }
}

impl Ends {
    /// Does what the tunnel asks for.
    fn deliver(&self, result: TunnResult<'_>, state: &mut RouterState) {
        match result {
            TunnResult::Done | TunnResult::Err(WireGuardError::ConnectionExpired) => {}
            TunnResult::Err(_) => state.refused += 1,
            TunnResult::WriteToNetwork(datagram) => self.to_network(datagram, state),
            TunnResult::WriteToTunnelV4(packet, _) => self.to_office(packet, state),
            // Offices of the demo speak IPv4 only.
            TunnResult::WriteToTunnelV6(..) => state.not_sent += 1,
        }
    }

    /// Sends a datagram to the other end.
    pub(super) fn to_network(&self, datagram: &[u8], state: &mut RouterState) {
        let taken = state.peer.is_some_and(|peer| self.udp.send_to(datagram, peer).is_ok());
        state.not_sent += u64::from(!taken);
    }

    /// Sends a packet out of the tunnel to the office.
    pub(super) fn to_office(&self, packet: &[u8], state: &mut RouterState) {
        state.received_packets += 1;
        state.received_bytes += packet.len() as u64;
        let frame = [&self.office_mac.0[..], &self.gateway_mac.0, &ETHERTYPE_IPV4, packet].concat();
        state.not_sent += u64::from(!self.lan.send(&frame).unwrap_or(false));
    }
}

/// Whether the outcome of a datagram proves that the holder of the peer's key sent it. Neither a cookie reply does, nor a
/// message that is answered by one because of too many handshakes.
fn is_authenticated(datagram: &[u8], result: &TunnResult<'_>) -> bool {
    let is_cookie = |bytes: &[u8]| matches!(Tunn::parse_incoming_packet(bytes), Ok(Packet::PacketCookieReply(_)));
    match result {
        TunnResult::Err(_) => false,
        TunnResult::WriteToNetwork(answer) if is_cookie(answer) => false,
        _ => !is_cookie(datagram),
    }
}

/// The IPv4 packet in a frame to the gateway, without what Ethernet filled a short frame up with.
fn packet_for_gateway(frame: &[u8], gateway: MacAddress) -> Option<&[u8]> {
    let (header, packet) = frame.split_at_checked(ETHERNET_HEADER)?;
    let length = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    (header[..6] == gateway.0 && header[12..14] == ETHERTYPE_IPV4).then(|| packet.get(..length))?
}

#[cfg(test)]
#[path = "municipality_tests.rs"]
mod tests;
