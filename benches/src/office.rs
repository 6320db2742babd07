//! A municipality's router with its tunnel, and how the cloud sees the sessions of its office.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::router_config::{SecretKey, Vlan};
use dataplane::time::Instant;
use dataplane::tunnel::Tunnel;
use dataplane::tunnel::wireguard::{WireGuardListener, WireGuardTunnel};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::frames::{framed, udp};
use crate::relay_config::{CLOUD_HOST, OFFICE_HOSTS, RELAY, SERVICE, office_host, tunnel_config, vlan};

pub(crate) const ACCESS_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const TRUNK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// See the module.
pub(crate) struct Office {
    pub(crate) tunnel: WireGuardTunnel,
    router: SocketAddrV4,
    vlan: Vlan,
    /// The pool endpoint of each session, by the session's number; unspecified until the cloud has seen it.
    seen_by_cloud: Vec<SocketAddrV4>,
    /// Sessions that take part in the load.
    open: usize,
    next: usize,
    stride: usize,
}

const UNSEEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

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
    pub(crate) fn new(number: usize, key: &SecretKey, relay: [u8; 32], now: Instant) -> Self {
        let number = u16::try_from(number).expect("fewer than 65,536 tenants");
        let index = u32::from(number) + 1;
        let tunnel = WireGuardTunnel::new(&WireGuardListener::new(key), &tunnel_config(relay, Some(RELAY.into())), index, now);
        let [high, low] = number.to_be_bytes();
        let router = SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), 51_820);
        Self { tunnel, router, vlan: vlan(number), seen_by_cloud: Vec::new(), open: 0, next: 0, stride: 1 }
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
        let mut packet = udp(self.router, RELAY, 28 + datagram.len(), 0);
        packet[28..].copy_from_slice(datagram);
        // RFC 768: no checksum; the tunnel authenticates.
        packet[26..28].fill(0);
        framed(Vlan::Untagged, ACCESS_MAC, ethernet::IPV4, &packet)
    }
}
