//! One ping: an ICMP echo request (RFC 792) and what came back.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Socket, Type};

use super::Client;
use crate::demo::canary::Canary;
use crate::demo::error::DemoError;
use crate::demo::netlink::set_option;

/// RFC 792.
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const ICMP_HEADER: usize = 8;
const IP_HEADER: usize = 20;
/// The longest payload that an IPv4 packet of 64 KiB carries.
const LONGEST_PAYLOAD: usize = 65_507;

/// What became of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingOutcome {
    /// The answer came back unchanged, after this time.
    Reply(Duration),
    /// A router or the host sent an ICMP error about it.
    Error {
        /// Who sent it.
        from: Ipv4Addr,
        /// ICMP type: 3 unreachable, 11 time exceeded.
        kind: u8,
        /// ICMP code: for type 3, 4 is "fragmentation needed", 13 "administratively prohibited".
        code: u8,
        /// RFC 1191: the next hop's MTU in bytes, with "fragmentation needed".
        mtu: u16,
    },
    /// Nothing came until the client's time was up.
    Lost,
    /// It is longer than the client's own MTU and was not sent: `EMSGSIZE`.
    TooLong,
}

impl PingOutcome {
    /// Whether the answer came back.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        matches!(self, Self::Reply(_))
    }
}

/// Pings `target` once with "don't fragment" set and `payload_length` bytes of payload, which starts with `canary` (as much
/// of it as fits). The packet is 28 bytes longer.
///
/// # Errors
/// When the payload is longer than 65,507 bytes, or the kernel refuses the socket or knows no way to the target.
pub fn ping(client: &Client, target: Ipv4Addr, canary: &Canary, payload_length: usize) -> Result<PingOutcome, DemoError> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(1);
    if payload_length > LONGEST_PAYLOAD {
        return Err(DemoError::Invalid(format!("a ping carries {LONGEST_PAYLOAD} bytes at the most, not {payload_length}")));
    }
    // Identifier and sequence number are one number here: each ping of this process has another.
    let id = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let mut payload = vec![0x5a; payload_length];
    let shown = canary.as_bytes().len().min(payload_length);
    payload[..shown].copy_from_slice(&canary.as_bytes()[..shown]);
    exchange(client, target, &echo_request(id, &payload)).map_err(|error| client.doing("ping", target, error))
}

fn exchange(client: &Client, target: Ipv4Addr, request: &[u8]) -> io::Result<PingOutcome> {
    let mut socket = client.socket(Type::RAW, Protocol::ICMPV4)?;
    // "Probe": set don't-fragment, and do not believe what the kernel has learned about the path.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_PROBE)?;
    let start = Instant::now();
    match socket.send_to(request, &SockAddr::from(SocketAddrV4::new(target, 0))) {
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Ok(PingOutcome::TooLong),
        sent => sent?,
    };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Some(left) = client.timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
            return Ok(PingOutcome::Lost);
        };
        let Some(length) = receive(&mut socket, &mut buffer, left)? else { continue };
        if let Some(outcome) = judge(&buffer[..length], target, request, start.elapsed()) {
            return Ok(outcome);
        }
    }
}

/// The next ICMP packet that reaches this host, whoever it is for. `None` when none came in time.
fn receive(socket: &mut Socket, buffer: &mut [u8], timeout: Duration) -> io::Result<Option<usize>> {
    socket.set_read_timeout(Some(timeout))?;
    match socket.read(buffer) {
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an IPv4 packet says about `request`; `None` when it is about something else.
fn judge(packet: &[u8], target: Ipv4Addr, request: &[u8], elapsed: Duration) -> Option<PingOutcome> {
    let (source, message) = icmp_message(packet)?;
    match *message.first()? {
        ECHO_REPLY if source == target && message.get(4..) == request.get(4..) => Some(PingOutcome::Reply(elapsed)),
        kind @ (UNREACHABLE | TIME_EXCEEDED) => {
            // RFC 792: the error quotes the packet it is about, at least eight bytes beyond its IP header.
            let quoted = quoted_message(message.get(ICMP_HEADER..)?, target)?;
            let about_ours = quoted.get(4..ICMP_HEADER)? == request.get(4..ICMP_HEADER)?;
            let mtu = u16::from_be_bytes([message[6], message[7]]);
            about_ours.then_some(PingOutcome::Error { from: source, kind, code: message[1], mtu })
        }
        _ => None,
    }
}

fn icmp_message(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header.max(IP_HEADER)..)?;
    (message.len() >= ICMP_HEADER).then(|| (source.into(), message))
}

fn quoted_message(quoted: &[u8], target: Ipv4Addr) -> Option<&[u8]> {
    let header = usize::from(quoted.first()? & 0x0f) * 4;
    (quoted.get(16..IP_HEADER)? == target.octets()).then(|| quoted.get(header.max(IP_HEADER)..))?
}

fn echo_request(id: u16, payload: &[u8]) -> Vec<u8> {
    let number = id.to_be_bytes();
    let mut message = [&[ECHO_REQUEST, 0, 0, 0][..], &number, &number, payload].concat();
    let checksum = internet_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}
