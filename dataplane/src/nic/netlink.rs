//! As much netlink as taking over a port needs: ask, dump, and wait for the acknowledgement.

use std::io;
use std::os::fd::OwnedFd;

use super::sys;

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// `struct nlattr`: length, type.
const ATTRIBUTE_HEADER: usize = 4;
/// The kernel's own limit for the parts of a dump.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// A netlink socket. It keeps the network namespace it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

/// A request under construction.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

/// One attribute of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
}

/// The attributes of an answer; stops at a malformed one.
#[derive(Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl Message {
    /// A request of this type; `family_header` is what stands before the attributes (`ifinfomsg`, `nfgenmsg`).
    pub(super) fn new(kind: u16, flags: libc::c_int, family_header: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).expect("flags are 16 bits");
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(family_header);
        Self { bytes }
    }

    /// Append an attribute.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).expect("an attribute is short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Append a zero-terminated string.
    pub(super) fn string(&mut self, kind: u16, value: &str) {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// Append an attribute that holds attributes.
    pub(super) fn nested(&mut self, kind: u16, build: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: Vec::new() };
        build(&mut inner);
        self.attribute(kind | 0x8000, &inner.bytes);
    }

    fn finish(mut self, extra_flags: libc::c_int, sequence: u32) -> Vec<u8> {
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | u16::try_from(extra_flags).expect("flags are 16 bits");
        let length = u32::try_from(self.bytes.len()).expect("a request is short");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

impl Attribute<'_> {
    /// The value as a zero-terminated string.
    pub(super) fn string(&self) -> String {
        String::from_utf8_lossy(self.value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    }

    /// The value as a number of 32 bits.
    pub(super) fn number(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }
}

impl<'a> Attributes<'a> {
    /// The attributes behind a family header of `header` bytes.
    pub(super) fn behind(body: &'a [u8], header: usize) -> Self {
        Self(body.get(header..).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

impl Netlink {
    /// A socket of a netlink family (`NETLINK_ROUTE`, `NETLINK_NETFILTER`).
    pub(super) fn open(family: libc::c_int) -> io::Result<Self> {
        Ok(Self { fd: sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, family)?, sequence: 0 })
    }

    /// Send a request and read until it is acknowledged; `answer` sees type and body of what comes before.
    pub(super) fn request(&mut self, message: Message, answer: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let sequence = self.next_sequence();
        sys::send(&self.fd, &message.finish(libc::NLM_F_ACK, sequence))?;
        self.read_until_done(sequence, answer)
    }

    /// Send a request for a whole table and read it to its end.
    pub(super) fn dump(&mut self, message: Message, answer: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let sequence = self.next_sequence();
        sys::send(&self.fd, &message.finish(libc::NLM_F_DUMP, sequence))?;
        self.read_until_done(sequence, answer)
    }

    /// Send several requests as one datagram (a transaction of nf_tables); the last but one is acknowledged.
    pub(super) fn batch(&mut self, begin: Message, requests: Vec<Message>, end: Message) -> io::Result<()> {
        let mut bytes = begin.finish(0, self.next_sequence());
        let count = requests.len();
        for (number, request) in requests.into_iter().enumerate() {
            let flags = if number + 1 == count { libc::NLM_F_ACK } else { 0 };
            bytes.extend(request.finish(flags, self.next_sequence()));
        }
        let last = self.sequence;
        bytes.extend(end.finish(0, self.next_sequence()));
        sys::send(&self.fd, &bytes)?;
        self.read_until_done(last, |_, _| {})
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Read until the message with this number is acknowledged, or any is refused.
    fn read_until_done(&mut self, sequence: u32, mut answer: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE_BUFFER];
        loop {
            let received = sys::receive(&self.fd, &mut buffer)?;
            let mut rest = &buffer[..received];
            while let Some((kind, number, body, next)) = split(rest) {
                rest = next;
                let code = || body.get(..4).map_or(0, |code| i32::from_ne_bytes(code.try_into().expect("four bytes")));
                match libc::c_int::from(kind) {
                    libc::NLMSG_ERROR if code() != 0 => return Err(io::Error::from_raw_os_error(-code())),
                    libc::NLMSG_ERROR | libc::NLMSG_DONE if number == sequence => return Ok(()),
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {}
                    _ => answer(kind, body),
                }
            }
        }
    }
}

/// The first message of a datagram: type, sequence number, body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let number = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, number, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_and_read_back_with_their_padding() {
        let mut message = Message::new(1, 0, &[]);
        message.string(3, "lo");
        message.attribute(4, &7u32.to_ne_bytes());
        let bytes = message.finish(libc::NLM_F_ACK, 9);
        let (kind, number, body, rest) = split(&bytes).expect("whole");
        assert_eq!((kind, number, rest.len()), (1, 9, 0));
        let read: Vec<Attribute<'_>> = Attributes::behind(body, 0).collect();
        assert_eq!((read.len(), read[0].string().as_str(), read[1].number()), (2, "lo", Some(7)));
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        assert!(Attributes(&[200, 0, 1, 0, 0]).next().is_none());
        assert!(Attributes(&[1, 0, 1, 0]).next().is_none());
        assert!(split(&[255, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(split(&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }
}
