//! A municipality's router with its tunnel, and how the cloud sees the sessions of its office.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{SecretKey, Vlan};
use dataplane::time::Instant;
use dataplane::tunnel::esp::EspTunnel;
use dataplane::tunnel::wireguard::{WireGuardListener, WireGuardTunnel};
use dataplane::tunnel::{AnyTunnel, Content, Tunnel};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::frames::{framed, udp};
use crate::relay_config::{CLOUD_HOST, OFFICE_HOSTS, SERVICE, office_host, tunnel_config, vlan};
use crate::suite::Suite;

pub(crate) const ACCESS_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const TRUNK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// See the module.
pub(crate) struct Office {
    pub(crate) tunnel: AnyTunnel,
    /// Where its tunnel starts.
    pub(crate) router: SocketAddrV4,
    /// Where it ends.
    pub(crate) relay: SocketAddrV4,
    vlan: Vlan,
    /// The pool endpoint of each session, by the session's number; unspecified until the cloud has seen it.
    seen_by_cloud: Vec<SocketAddrV4>,
    /// Sessions that take part in the load.
    open: usize,
    next: usize,
    stride: usize,
    last_index: u32,
}

const UNSEEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Where a municipality's tunnel starts.
pub(crate) fn router(number: u16) -> SocketAddrV4 {
    let [high, low] = number.to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), 51_820)
}

/// The inside end of a session: spread over the hosts of the office, a port of its own.
fn inside(session: usize) -> SocketAddrV4 {
    let port = 1_024 + session / OFFICE_HOSTS;
    SocketAddrV4::new(office_host(session % OFFICE_HOSTS), u16::try_from(port).expect("fewer than 16 million sessions"))
}

/// A step that visits all of `count` and lands far from where it was: nothing that lies beside the last session helps with the next.
fn stride(count: usize) -> usize {
    const fn common_divisor(a: usize, b: usize) -> usize {
        if b == 0 { a } else { common_divisor(b, a % b) }
    }
    (count * 618 / 1_000..).find(|step| common_divisor(*step, count) == 1).unwrap_or(1)
}

impl Office {
    pub(crate) fn new(suite: Suite, number: usize, key: &SecretKey, relay: [u8; 32], now: Instant) -> Self {
        let number = u16::try_from(number).expect("fewer than 65,536 tenants");
        let first_index = u32::from(number) << 16 | 1;
        let mut tunnel = if suite.is_ipsec() {
            let mut tunnel = EspTunnel::new(&tunnel_config(suite.tunnel(relay)), now);
            tunnel.install(&suite.routers_pair(number), now).expect("its only pair");
            AnyTunnel::Esp(tunnel)
        } else {
            let config = tunnel_config(suite.tunnel(relay));
            AnyTunnel::WireGuard(WireGuardTunnel::new(&WireGuardListener::new(key), &config, first_index, now))
        };
        tunnel.remember_peer(suite.relay().into());
        Self {
            tunnel,
            router: router(number),
            relay: suite.relay(),
            vlan: vlan(number),
            seen_by_cloud: Vec::new(),
            open: 0,
            next: 0,
            stride: 1,
            last_index: first_index,
        }
    }

    /// A datagram that opens the next session.
    pub(crate) fn open_datagram(&mut self, size: usize, now: Instant) -> Vec<u8> {
        self.seen_by_cloud.push(UNSEEN);
        self.datagram(self.seen_by_cloud.len() - 1, size, now)
    }

    /// The sessions opened until now are the ones that the load walks.
    pub(crate) fn walk_all(&mut self) {
        self.open = self.seen_by_cloud.len();
        self.stride = stride(self.open);
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// A message arrives for the tunnel.
    pub(crate) fn decapsulate(&mut self, datagram: &[u8], out: &mut [u8], now: Instant) -> Result<Content, DropReason> {
        let opened = self.tunnel.decapsulate(datagram, self.relay.into(), out, now).map(|opened| opened.content);
        self.exchange_indices();
        opened
    }

    /// What the tunnel's timers ask to be sent.
    pub(crate) fn tick(&mut self, out: &mut [u8], now: Instant) -> Option<usize> {
        let len = self.tunnel.tick(out, now);
        self.exchange_indices();
        len
    }

    /// A handshake begins.
    pub(crate) fn initiate(&mut self, out: &mut [u8], now: Instant) -> usize {
        let len = self.tunnel.initiate(out, now).expect("no session yet");
        self.exchange_indices();
        len
    }

    /// A router with one tunnel has all indices for it.
    fn exchange_indices(&mut self) {
        let AnyTunnel::WireGuard(tunnel) = &mut self.tunnel else { return };
        while tunnel.returned_index().is_some() {}
        if tunnel.wants_index() {
            self.last_index += 1;
            tunnel.lend_index(self.last_index);
        }
    }

    /// The cloud saw a packet of `session` come from `source`.
    pub(crate) fn saw(&mut self, session: u32, source: SocketAddrV4) {
        self.seen_by_cloud[session as usize] = source;
    }

    /// Whether every session reached the cloud.
    pub(crate) fn all_seen(&self) -> bool {
        self.seen_by_cloud.iter().all(|endpoint| *endpoint != UNSEEN)
    }

    fn turn(&mut self) -> usize {
        self.next = (self.next + self.stride) % self.open;
        self.next
    }

    /// A datagram of the session whose turn it is, as it comes from the router.
    pub(crate) fn next_datagram(&mut self, size: usize, now: Instant) -> Vec<u8> {
        let session = self.turn();
        self.datagram(session, size, now)
    }

    /// A packet of the session whose turn it is, as it comes from the cloud.
    pub(crate) fn next_cloud_packet(&mut self, size: usize) -> Vec<u8> {
        let session = self.turn();
        let packet = udp(CLOUD_HOST, self.seen_by_cloud[session], size, 0);
        framed(self.vlan, TRUNK_MAC, ethernet::IPV4, &packet)
    }

    fn datagram(&mut self, session: usize, size: usize, now: Instant) -> Vec<u8> {
        let mut inner = udp(inside(session), SERVICE, size, u32::try_from(session).expect("a 32-bit number"));
        inner.resize(size.next_multiple_of(16), 0);
        let mut out = [0; 2_048];
        let len = self.tunnel.encapsulate(&mut inner, size, &mut out, now).expect("the tunnel is up");
        self.outer(&out[..len])
    }

    /// A datagram of any session, open or not.
    pub(crate) fn datagram_of(&mut self, session: usize, size: usize, now: Instant) -> Vec<u8> {
        if session >= self.seen_by_cloud.len() {
            self.seen_by_cloud.resize(session + 1, UNSEEN);
        }
        self.datagram(session, size, now)
    }

    /// A packet from the cloud for a session that it has seen; its mapping may have expired since.
    pub(crate) fn cloud_packet_of(&self, session: usize, size: usize) -> Option<Vec<u8>> {
        let seen = self.seen_by_cloud.get(session).filter(|seen| **seen != UNSEEN)?;
        Some(framed(self.vlan, TRUNK_MAC, ethernet::IPV4, &udp(CLOUD_HOST, *seen, size, 0)))
    }

    /// A datagram of the tunnel, framed.
    pub(crate) fn outer(&self, datagram: &[u8]) -> Vec<u8> {
        let mut packet = udp(self.router, self.relay, 28 + datagram.len(), 0);
        packet[28..].copy_from_slice(datagram);
        // RFC 768: no checksum; the tunnel authenticates.
        packet[26..28].fill(0);
        framed(Vlan::Untagged, ACCESS_MAC, ethernet::IPV4, &packet)
    }
}
