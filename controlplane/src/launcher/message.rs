//! What relay and launcher say to each other: a request, then its answer, each one packet of a unix socket with the descriptors it hands over.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use dataplane::nic::{Attachment, NicError};
use dataplane::router_config::MAX_WORKERS;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Names and sentences; the longest is an error with its remedy.
const LONGEST_BYTES: usize = 16 * 1024;
/// A socket for each worker is the most that one answer carries.
const MOST_DESCRIPTORS: usize = MAX_WORKERS;

/// What the relay asks for. All but the first name an interface that it has taken over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Take an interface over. `state` is the directory in which the launcher notes what it changes, unless it has one of its own.
    TakeOver { interface: String, mtu: u16, state: PathBuf },
    /// As `TakenPort::prepare_xdp`.
    PrepareXdp { interface: String, workers: u32 },
    /// As `TakenPort::xdp_socket`.
    XdpSocket { interface: String },
    /// As `TakenPort::hook`; the socket comes with it.
    Hook { interface: String, queue: u32 },
    /// As `TakenPort::packet_sockets`.
    PacketSockets { interface: String, count: usize },
    /// As `TakenPort::restore`.
    GiveBack { interface: String },
    /// From here on the relay reads packets: it gets nothing more.
    Seal,
}

/// What the launcher answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// To `TakeOver`.
    Taken { index: u32, mac: [u8; 6], mtu: u32, super_frames: bool },
    /// To `PrepareXdp`.
    Queues { queues: u32, native: bool, reason: String },
    /// To `XdpSocket` and `PacketSockets`; the sockets come with it.
    Sockets { super_frames: bool },
    /// To the others.
    Done,
    /// Why not, with the remedy; the number is the kernel's, where it was the kernel that refused.
    Refused { why: String, number: Option<i32> },
}

impl From<NicError> for Answer {
    fn from(error: NicError) -> Self {
        let number = if let NicError::Io { source, .. } = &error { source.raw_os_error() } else { None };
        Self::Refused { why: error.to_string(), number }
    }
}

impl From<io::Error> for Answer {
    fn from(error: io::Error) -> Self {
        Self::Refused { why: error.to_string(), number: error.raw_os_error() }
    }
}

/// [`Attachment`] as [`Answer::Queues`] says it.
pub(super) const fn attachment(native: bool) -> Attachment {
    if native { Attachment::Native } else { Attachment::Generic }
}

/// One end of the socket. A packet arrives whole or not at all.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Two ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// An end that was connected, or inherited.
    pub(super) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// For a child to inherit.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.0
    }

    /// Send a message, and with it these descriptors.
    pub(super) fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("more descriptors than a message carries"));
        }
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Wait for a message; `None` when the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; LONGEST_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message longer than any there is"));
        }
        let descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn a_message_arrives_with_the_descriptor_it_hands_over() {
        let (relay, launcher) = Channel::pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"the same file").expect("written");
        relay.send(&Request::Hook { interface: "ens4".into(), queue: 3 }, &[file.as_fd()]).expect("sent");
        let (request, mut descriptors) = launcher.receive::<Request>().expect("received").expect("a message");
        assert_eq!(request, Request::Hook { interface: "ens4".into(), queue: 3 });
        let mut copy = File::from(descriptors.pop().expect("one descriptor"));
        let mut text = String::new();
        copy.rewind().expect("a file");
        copy.read_to_string(&mut text).expect("text");
        assert_eq!((text.as_str(), descriptors.len()), ("the same file", 0));
    }

    #[test]
    fn an_end_that_is_gone_is_an_end_and_nonsense_is_an_error() {
        let (relay, launcher) = Channel::pair().expect("a pair");
        relay.send(&"no request", &[]).expect("sent");
        assert!(launcher.receive::<Request>().is_err());
        relay.send(&"x".repeat(LONGEST_BYTES), &[]).expect("sent");
        assert!(launcher.receive::<Request>().is_err(), "cut");
        drop(relay);
        assert!(launcher.receive::<Request>().expect("the end").is_none());
    }
}
