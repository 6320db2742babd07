//! The four WireGuard messages as they look from outside (whitepaper section 5.4): type, exact length, indices.

use super::aead::TAG;

/// Length of a handshake initiation.
pub(super) const INITIATION_LEN: usize = 148;
/// Length of a handshake response.
pub(super) const RESPONSE_LEN: usize = 92;
/// Length of a cookie reply.
pub(super) const COOKIE_REPLY_LEN: usize = 64;
/// Type, receiver index and counter of a data message.
pub(super) const DATA_HEADER: usize = 16;
/// Header and tag of a data message; one without payload is a keepalive.
pub(super) const DATA_OVERHEAD: usize = DATA_HEADER + TAG;

pub(super) const INITIATION: u8 = 1;
pub(super) const RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
pub(super) const DATA: u8 = 4;

/// A datagram that has one of the four shapes; nothing of it is authenticated yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// The peer starts a handshake, and is to be answered under this index of its own.
    Initiation { sender: u32 },
    /// The peer answers one that we started, under this index of ours.
    Response { sender: u32, receiver: u32 },
    /// The peer is under load and asks us to prove our address.
    CookieReply { receiver: u32 },
    /// An encrypted inner packet.
    Data { receiver: u32, counter: u64 },
}

impl Message {
    /// What `datagram` is; `None` where the type, a reserved byte or the length is wrong.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = le32(datagram, 0)?;
        match (u8::try_from(kind).ok()?, datagram.len()) {
            (INITIATION, INITIATION_LEN) => Some(Self::Initiation { sender: le32(datagram, 4)? }),
            (RESPONSE, RESPONSE_LEN) => Some(Self::Response { sender: le32(datagram, 4)?, receiver: le32(datagram, 8)? }),
            (COOKIE_REPLY, COOKIE_REPLY_LEN) => Some(Self::CookieReply { receiver: le32(datagram, 4)? }),
            (DATA, DATA_OVERHEAD..) => Some(Self::Data { receiver: le32(datagram, 4)?, counter: le64(datagram, 8)? }),
            _ => None,
        }
    }
}

/// The beginning of a data message.
pub(super) fn data_header(receiver: u32, counter: u64) -> [u8; DATA_HEADER] {
    let mut header = [0; DATA_HEADER];
    header[0] = DATA;
    header[4..8].copy_from_slice(&receiver.to_le_bytes());
    header[8..].copy_from_slice(&counter.to_le_bytes());
    header
}

/// Four bytes at `at`, little-endian.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Eight bytes at `at`, little-endian.
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_lengths_with_zero_reserved_bytes_are_messages() {
        for (kind, exact) in [(INITIATION, INITIATION_LEN), (RESPONSE, RESPONSE_LEN), (COOKIE_REPLY, COOKIE_REPLY_LEN)] {
            for len in 0..300 {
                let mut datagram = vec![0; len];
                if let Some(first) = datagram.first_mut() {
                    *first = kind;
                }
                assert_eq!(Message::parse(&datagram).is_some(), len == exact, "type {kind}, {len} bytes");
            }
        }
        for len in 1..300 {
            let mut datagram = vec![0; len];
            datagram[0] = DATA;
            assert_eq!(Message::parse(&datagram).is_some(), len >= 32, "{len} bytes");
        }
        for reserved in 1..4 {
            let mut datagram = [0; 148];
            datagram[0] = INITIATION;
            datagram[reserved] = 1;
            assert_eq!(Message::parse(&datagram), None);
        }
        assert_eq!(Message::parse(&[0; 148]), None);
        assert_eq!(Message::parse(&[5; 148]), None);
    }

    #[test]
    fn indices_and_counters_are_little_endian() {
        let mut datagram = [0; 32];
        datagram[0] = DATA;
        datagram[4..8].copy_from_slice(&[1, 2, 3, 4]);
        datagram[8..16].copy_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(Message::parse(&datagram), Some(Message::Data { receiver: 0x0403_0201, counter: 0x8000_0000_0000_0009 }));
    }
}
