//! STUN messages (RFC 8489) with the attributes of behaviour discovery (RFC 5780), as far as a client and a server need them.

use std::net::SocketAddrV4;

const COOKIE: u32 = 0x2112_a442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
const CHANGE_REQUEST: u16 = 0x0003;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;
const OTHER_ADDRESS: u16 = 0x802c;
const CHANGE_ADDRESS: u8 = 4;
const CHANGE_PORT: u8 = 2;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Request {
    /// Tells the answer from answers to others.
    pub(crate) transaction: [u8; 12],
    /// Answer from the other address.
    pub(crate) change_address: bool,
    /// Answer from the other port.
    pub(crate) change_port: bool,
    /// Answer to this port.
    pub(crate) response_port: Option<u16>,
    /// Bytes that make request and answer long.
    pub(crate) padding: usize,
}

/// What a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) transaction: [u8; 12],
    /// Where the request came from.
    pub(crate) mapped: SocketAddrV4,
    /// The server's other address and port.
    pub(crate) other: SocketAddrV4,
    pub(crate) padding: usize,
}

fn message(kind: u16, transaction: [u8; 12], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).expect("a short value").to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let len = u16::try_from(body.len()).expect("a datagram").to_be_bytes();
    [&kind.to_be_bytes()[..], &len, &COOKIE.to_be_bytes(), &transaction, &body].concat()
}

/// Kinds and values.
type Attributes<'a> = Vec<(u16, &'a [u8])>;

/// Transaction and attributes of a message of this kind.
fn parse(kind: u16, bytes: &[u8]) -> Option<([u8; 12], Attributes<'_>)> {
    let len = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    if bytes.len() != 20 + len || bytes[..2] != kind.to_be_bytes() || bytes[4..8] != COOKIE.to_be_bytes() {
        return None;
    }
    let (mut rest, mut attributes) = (&bytes[20..], Vec::new());
    while rest.len() >= 4 {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        attributes.push((u16::from_be_bytes([rest[0], rest[1]]), rest.get(4..4 + len)?));
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
    Some((bytes[8..20].try_into().ok()?, attributes))
}

fn value<'a>(attributes: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(other, _)| *other == kind).map(|(_, value)| *value)
}

/// An IPv4 endpoint, turned around by `mask` so that no NAT finds it in the payload.
fn endpoint(at: SocketAddrV4, mask: u32) -> Vec<u8> {
    let port = at.port() ^ u16::try_from(mask >> 16).expect("16 bits");
    [&[0, 1][..], &port.to_be_bytes(), &(at.ip().to_bits() ^ mask).to_be_bytes()].concat()
}

fn read_endpoint(value: &[u8], mask: u32) -> Option<SocketAddrV4> {
    let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?) ^ u16::try_from(mask >> 16).ok()?;
    let address = u32::from_be_bytes(value.get(4..8)?.try_into().ok()?) ^ mask;
    Some(SocketAddrV4::new(address.into(), port))
}

impl Request {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let change = if self.change_address { CHANGE_ADDRESS } else { 0 } | if self.change_port { CHANGE_PORT } else { 0 };
        let mut attributes = vec![(CHANGE_REQUEST, vec![0, 0, 0, change])];
        attributes.extend(self.response_port.map(|port| (RESPONSE_PORT, port.to_be_bytes().to_vec())));
        attributes.extend((self.padding > 0).then(|| (PADDING, vec![0x33; self.padding])));
        message(BINDING_REQUEST, self.transaction, &attributes)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (transaction, attributes) = parse(BINDING_REQUEST, bytes)?;
        let change = *value(&attributes, CHANGE_REQUEST)?.get(3)?;
        let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
        Some(Self {
            transaction,
            change_address: change & CHANGE_ADDRESS != 0,
            change_port: change & CHANGE_PORT != 0,
            response_port: value(&attributes, RESPONSE_PORT).and_then(port),
            padding: value(&attributes, PADDING).map_or(0, <[u8]>::len),
        })
    }
}

impl Response {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut attributes = vec![(XOR_MAPPED_ADDRESS, endpoint(self.mapped, COOKIE)), (OTHER_ADDRESS, endpoint(self.other, 0))];
        attributes.extend((self.padding > 0).then(|| (PADDING, vec![0x44; self.padding])));
        message(BINDING_RESPONSE, self.transaction, &attributes)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (transaction, attributes) = parse(BINDING_RESPONSE, bytes)?;
        Some(Self {
            transaction,
            mapped: read_endpoint(value(&attributes, XOR_MAPPED_ADDRESS)?, COOKIE)?,
            other: read_endpoint(value(&attributes, OTHER_ADDRESS)?, 0)?,
            padding: value(&attributes, PADDING).map_or(0, <[u8]>::len),
        })
    }
}

/// The test vector of RFC 5769 section 2.2: the response says 192.0.2.1, port 32853.
#[test]
fn a_mapped_address_is_read_as_the_specification_writes_it() {
    let value = [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
    assert_eq!(read_endpoint(&value, COOKIE), Some("192.0.2.1:32853".parse().expect("an endpoint")));
    assert_eq!(endpoint("192.0.2.1:32853".parse().expect("an endpoint"), COOKIE), value);
}
