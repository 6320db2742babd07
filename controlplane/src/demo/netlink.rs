//! As much of rtnetlink(7) as the demo needs: build one request, send it, wait for the acknowledgement.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use super::error::checked;

/// netlink(7): `struct nlmsghdr` is length (4), type (2), flags (2), sequence (4), port (4).
const HEADER_LENGTH: usize = 16;
/// Long enough for any acknowledgement: an error code and the request's header.
const ANSWER_LENGTH: usize = 8 * 1024;
/// An acknowledgement that has not come by then never will.
const ANSWER_TIMEOUT_SECONDS: libc::time_t = 5;

/// A request under construction. Netlink speaks the machine's own byte order.
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// `kind` is `RTM_...`; `flags` come on top of request and acknowledge; `body` is the kind's fixed part.
    pub(crate) fn new(kind: u16, flags: libc::c_int, body: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).expect("netlink flags are 16 bits");
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        let mut request = Self { bytes };
        request.append(body);
        request
    }

    /// Adds one attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let start = self.open_attribute(kind);
        self.bytes.extend_from_slice(value);
        self.close_attribute(start);
        self
    }

    /// Adds an attribute with a number in it.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute with a text in it, as the kernel wants it: with a zero at the end.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds an attribute that starts with `fixed` and goes on with the attributes that `fill` adds.
    pub(crate) fn nested(mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.open_attribute(kind);
        self.append(fixed);
        let mut filled = fill(self);
        filled.close_attribute(start);
        filled
    }

    fn open_attribute(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close_attribute(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).expect("attributes here are short");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Everything starts at a multiple of four; the filling does not count in an attribute's own length.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("requests here are short");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A netlink socket of the namespace that the opening thread was in.
pub(crate) struct NetlinkSocket {
    fd: OwnedFd,
    /// The last sequence number. Holding the lock keeps a request and its answer together.
    sequence: Mutex<u32>,
}

impl NetlinkSocket {
    pub(crate) fn open_here() -> io::Result<Self> {
        // SAFETY: socket takes numbers only; the descriptor it returns is new and owned by nobody else.
        let fd = unsafe {
            let fd = checked(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE))?;
            OwnedFd::from_raw_fd(fd)
        };
        let timeout = libc::timeval { tv_sec: ANSWER_TIMEOUT_SECONDS, tv_usec: 0 };
        set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)?;
        Ok(Self { fd, sequence: Mutex::new(0) })
    }

    /// Sends `request` and returns what the kernel made of it.
    pub(crate) fn transact(&self, request: Request) -> io::Result<()> {
        let mut last = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.wrapping_add(1);
        let bytes = request.finish(*last);
        // SAFETY: the pointer and the length describe `bytes`, which lives across the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut answer = [0; ANSWER_LENGTH];
        loop {
            // SAFETY: the pointer and the length describe `answer`, which lives across the call.
            let length = unsafe { libc::recv(self.fd.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
            let Ok(length) = usize::try_from(length) else {
                return Err(io::Error::last_os_error());
            };
            if let Some(code) = acknowledgement(&answer[..length], *last) {
                return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
    }
}

/// The error code (0 or a negative errno) in an answer to the request numbered `sequence`.
fn acknowledgement(answer: &[u8], sequence: u32) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = u32::from_ne_bytes(answer.get(8..12)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (i32::from(kind) == libc::NLMSG_ERROR && number == sequence).then_some(code)
}

/// setsockopt(2) with a plain value.
pub(crate) fn set_option<T: Copy>(fd: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are short");
    // SAFETY: the pointer and the length describe `value`, which lives across the call.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_leave_padding_out_of_an_attribute_and_nest() {
        let request = Request::new(16, 0, &[0; 16]).nested(18, &[], |r| r.text(1, "veth")).attribute(3, b"x");
        let bytes = request.finish(7);
        assert_eq!(bytes.len(), 16 + 16 + 4 + 12 + 8);
        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize, bytes.len());
        let length_at = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap());
        assert_eq!((length_at(32), length_at(36), length_at(48)), (16, 9, 5));
    }

    #[test]
    fn an_acknowledgement_counts_only_for_its_own_request() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&2u16.to_ne_bytes());
        answer[8..12].copy_from_slice(&7u32.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer, 7), Some(-17));
        assert_eq!(acknowledgement(&answer, 8), None);
        assert_eq!(acknowledgement(&answer[..18], 7), None);
    }
}
