//! Packets as office and cloud hosts make and read them. Headers are made and judged by another library than the relay's own `wire`.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnetwork::Ipv4Network;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// Length of an IPv4 header without options.
const IPV4_LEN: usize = 20;
/// Time to live of what hosts send.
pub const HOP_LIMIT: u8 = 64;

/// An address and port, from text. Panics on anything else: only tests call it.
#[must_use]
pub fn at(text: &str) -> SocketAddrV4 {
    text.parse().expect("address:port")
}

/// An address, from text.
#[must_use]
pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

/// A prefix, from text.
#[must_use]
pub fn network(text: &str) -> Ipv4Network {
    text.parse().expect("a prefix")
}

/// A UDP packet.
#[must_use]
pub fn udp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: source.port(), dst_port: destination.port() };
    ipv4(*source.ip(), *destination.ip(), IpProtocol::Udp, 8 + payload.len(), |bytes| {
        let (from, to) = ((*source.ip()).into(), (*destination.ip()).into());
        let mut packet = UdpPacket::new_unchecked(bytes);
        let write = |place: &mut [u8]| place.copy_from_slice(payload);
        repr.emit(&mut packet, &from, &to, payload.len(), write, &ChecksumCapabilities::default());
    })
}

/// What a TCP segment is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// Opens a connection; the option says this maximum segment size.
    Syn(Option<u16>),
    /// Answers the opening.
    SynAck(Option<u16>),
    /// Data, or nothing.
    Ack,
    /// The sender's end of the connection.
    Fin,
    /// The end of the connection.
    Rst,
}

/// A TCP packet with sequence number `sequence`, acknowledging `acknowledgement`.
#[must_use]
pub fn tcp_at(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    segment: Segment,
    (sequence, acknowledgement): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let (control, max_seg_size, acks) = match segment {
        Segment::Syn(mss) => (TcpControl::Syn, mss, false),
        Segment::SynAck(mss) => (TcpControl::Syn, mss, true),
        Segment::Ack => (TcpControl::None, None, true),
        Segment::Fin => (TcpControl::Fin, None, true),
        Segment::Rst => (TcpControl::Rst, None, false),
    };
    let number = |number: u32| TcpSeqNumber(number.cast_signed());
    let repr = TcpRepr {
        src_port: source.port(),
        dst_port: destination.port(),
        control,
        seq_number: number(sequence),
        ack_number: acks.then(|| number(acknowledgement)),
        window_len: 65_000,
        window_scale: None,
        max_seg_size,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    ipv4(*source.ip(), *destination.ip(), IpProtocol::Tcp, repr.buffer_len(), |bytes| {
        let (from, to) = ((*source.ip()).into(), (*destination.ip()).into());
        repr.emit(&mut TcpPacket::new_unchecked(bytes), &from, &to, &ChecksumCapabilities::default());
    })
}

/// A TCP packet whose numbers do not matter.
#[must_use]
pub fn tcp(source: SocketAddrV4, destination: SocketAddrV4, segment: Segment, payload: &[u8]) -> Vec<u8> {
    tcp_at(source, destination, segment, (1_000, 1), payload)
}

/// An echo request.
#[must_use]
pub fn ping(source: Ipv4Addr, destination: Ipv4Addr, identifier: u16, payload: &[u8]) -> Vec<u8> {
    icmp(source, destination, &Icmpv4Repr::EchoRequest { ident: identifier, seq_no: 1, data: payload })
}

/// An echo reply.
#[must_use]
pub fn pong(source: Ipv4Addr, destination: Ipv4Addr, identifier: u16, payload: &[u8]) -> Vec<u8> {
    icmp(source, destination, &Icmpv4Repr::EchoReply { ident: identifier, seq_no: 1, data: payload })
}

fn icmp(source: Ipv4Addr, destination: Ipv4Addr, repr: &Icmpv4Repr<'_>) -> Vec<u8> {
    ipv4(source, destination, IpProtocol::Icmp, repr.buffer_len(), |bytes| {
        repr.emit(&mut Icmpv4Packet::new_unchecked(bytes), &ChecksumCapabilities::default());
    })
}

/// Any ICMP message: type, code, the four bytes behind the checksum, and what follows them.
#[must_use]
pub fn icmp_message(source: Ipv4Addr, destination: Ipv4Addr, (kind, code): (u8, u8), rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    ipv4(source, destination, IpProtocol::Icmp, 8 + body.len(), |bytes| {
        bytes[..2].copy_from_slice(&[kind, code]);
        bytes[4..8].copy_from_slice(&rest);
        bytes[8..].copy_from_slice(body);
        Icmpv4Packet::new_unchecked(bytes).fill_checksum();
    })
}

/// An ICMP error "port unreachable" about `about`, quoting all of it.
#[must_use]
pub fn unreachable(source: Ipv4Addr, destination: Ipv4Addr, about: &[u8]) -> Vec<u8> {
    icmp_message(source, destination, (3, 3), [0; 4], about)
}

/// "Fragmentation needed" (RFC 1191) about `about`: this many bytes would have passed.
#[must_use]
pub fn too_big(source: Ipv4Addr, destination: Ipv4Addr, mtu: u16, about: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    icmp_message(source, destination, (3, 4), [0, 0, high, low], about)
}

/// A packet of any protocol.
#[must_use]
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol, len: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let repr = Ipv4Repr { src_addr: source, dst_addr: destination, next_header: protocol, payload_len: len, hop_limit: HOP_LIMIT };
    let mut bytes = vec![0; IPV4_LEN + len];
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
    fill(&mut bytes[IPV4_LEN..]);
    bytes
}

/// A packet of protocol number `protocol` around `payload`.
#[must_use]
pub fn other(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(source, destination, IpProtocol::from(protocol), payload.len(), |bytes| bytes.copy_from_slice(payload))
}

/// Change a packet and put its header checksum right again.
#[must_use]
pub fn edited(mut packet: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut packet);
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    if header_len >= IPV4_LEN && packet.len() >= header_len {
        Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    }
    packet
}

/// A packet as its receiver reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Source; the port of an echo is its identifier, of another ICMP message zero.
    pub source: SocketAddrV4,
    /// Destination.
    pub destination: SocketAddrV4,
    /// IP protocol number.
    pub protocol: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// What the transport protocol carries; of an ICMP message what follows its eight bytes of header.
    pub payload: Vec<u8>,
    /// Type, code and the four bytes behind the checksum of an ICMP message.
    pub icmp: Option<(u8, u8, [u8; 4])>,
    /// The maximum segment size that a TCP segment says.
    pub mss: Option<u16>,
}

/// Read a packet and check every length and checksum.
///
/// # Errors
/// What is wrong with it.
pub fn read(packet: &[u8]) -> Result<Seen, String> {
    let ip = Ipv4Packet::new_checked(packet).map_err(|_| "a broken IPv4 header")?;
    if !ip.verify_checksum() || usize::from(ip.total_len()) != packet.len() {
        return Err(format!("header checksum or length: {} of {}", ip.total_len(), packet.len()));
    }
    let (from, to) = (ip.src_addr(), ip.dst_addr());
    let body = ip.payload();
    let mut icmp = None;
    let mut mss = None;
    let (ports, payload) = match ip.next_header() {
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(body).map_err(|_| "a broken UDP header")?;
            if !udp.verify_checksum(&from.into(), &to.into()) {
                return Err("the UDP checksum".into());
            }
            ((udp.src_port(), udp.dst_port()), udp.payload().to_vec())
        }
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(body).map_err(|_| "a broken TCP header")?;
            if !tcp.verify_checksum(&from.into(), &to.into()) {
                return Err("the TCP checksum".into());
            }
            mss = TcpRepr::parse(&tcp, &from.into(), &to.into(), &ChecksumCapabilities::default()).ok().and_then(|repr| repr.max_seg_size);
            ((tcp.src_port(), tcp.dst_port()), tcp.payload().to_vec())
        }
        IpProtocol::Icmp => {
            let message = Icmpv4Packet::new_checked(body).map_err(|_| "a broken ICMP header")?;
            if !message.verify_checksum() {
                return Err("the ICMP checksum".into());
            }
            icmp = Some((body[0], body[1], [body[4], body[5], body[6], body[7]]));
            let identifier = if matches!(body[0], 0 | 8) { message.echo_ident() } else { 0 };
            ((identifier, identifier), body[8..].to_vec())
        }
        protocol => return Err(format!("protocol {protocol}, which the relay does not carry")),
    };
    Ok(Seen {
        source: SocketAddrV4::new(from, ports.0),
        destination: SocketAddrV4::new(to, ports.1),
        protocol: ip.next_header().into(),
        hop_limit: ip.hop_limit(),
        payload,
        icmp,
        mss,
    })
}

/// Ports up to here are those of servers.
const LAST_SERVER_PORT: u16 = 20_000;
/// But clients may have these, too.
const LOW_CLIENT_PORTS: std::ops::RangeInclusive<u16> = 1_000..=1_023;

/// What the receiver of a request sends back: an echo, the answer to a SYN, or the data once more. `None` where it stays silent.
#[must_use]
pub fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let seen = read(packet).ok()?;
    let (from, to) = (seen.destination, seen.source);
    // Two hosts that echo each other would never stop: only servers answer.
    if seen.protocol != 1 && (from.port() > LAST_SERVER_PORT || LOW_CLIENT_PORTS.contains(&from.port())) {
        return None;
    }
    match (seen.protocol, seen.icmp) {
        (1, Some((8, 0, _))) => Some(pong(*from.ip(), *to.ip(), seen.source.port(), &seen.payload)),
        (17, _) => Some(udp(from, to, &seen.payload)),
        (6, _) => {
            let tcp = TcpPacket::new_checked(&packet[IPV4_LEN..]).ok()?;
            let sequence = tcp.seq_number().0.cast_unsigned();
            let length = u32::try_from(tcp.segment_len()).ok()?;
            let numbers = (tcp.ack_number().0.cast_unsigned(), sequence.wrapping_add(length));
            let segment = match (tcp.syn(), tcp.fin(), tcp.rst(), seen.payload.is_empty()) {
                (_, _, true, _) => return None,
                (true, ..) if tcp.ack() => return None,
                (true, ..) => Segment::SynAck(Some(1_460)),
                (_, true, ..) => Segment::Fin,
                (.., true) => return None,
                _ => Segment::Ack,
            };
            Some(tcp_at(from, to, segment, numbers, &seen.payload))
        }
        _ => None,
    }
}
