//! Whole Ethernet frames in and out of one interface: packet(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::error::{Context, DemoError, checked};
use super::links::Links;
use super::namespaces::{Namespace, in_namespace};
use super::netlink::set_option;
use super::vlan::{ADDRESSES_LENGTH, TAG_LENGTH};

/// linux/socket.h and linux/if_ether.h, in the width that `sockaddr_ll` gives them.
const AF_PACKET: u16 = 17;
const ETH_P_ALL: u16 = 3;
/// linux/if_packet.h.
const PACKET_AUXDATA: libc::c_int = 8;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const TP_STATUS_CSUMNOTREADY: u32 = 1 << 3;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;

/// Room for bursts between two turns of a loop. The kernel caps it at `net.core.rmem_max` for an ordinary user.
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 << 20;
/// A super-frame's longest, so that one that should not be here is seen whole.
const LONGEST_FRAME: usize = (64 << 10) + 64;

/// `struct tpacket_auxdata`: what the kernel says beside a frame.
#[repr(C)]
#[derive(Clone, Copy)]
struct AuxiliaryData {
    status: u32,
    length: u32,
    captured: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// The length of [`AuxiliaryData`].
const AUXILIARY_LENGTH: u32 = 20;
const _: () = assert!(size_of::<AuxiliaryData>() == AUXILIARY_LENGTH as usize);

/// Space for one control message with [`AuxiliaryData`], aligned as `cmsghdr` wants it.
type ControlBuffer = [u64; 8];

/// One interface's frames, sent and received whole. Never blocks; wait with [`wait_readable`].
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
    interface: String,
    buffer: Vec<u8>,
    unfinished_checksums: u64,
}

impl RawSocket {
    /// Opens `interface` of `namespace`. From now on frames arrive; the kernel still sees them too.
    ///
    /// # Errors
    /// When there is no such interface or the process lacks `CAP_NET_RAW`.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self, DemoError> {
        let index = Links::of(namespace)?.index(interface)?;
        let fd = in_namespace(namespace, || open_here(index))?
            .doing(|| format!("open a packet socket on {interface} in namespace {}", namespace.name()))?;
        let buffer = vec![0; LONGEST_FRAME];
        Ok(Self { fd, interface: interface.to_owned(), buffer, unfinished_checksums: 0 })
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The next frame with its VLAN tag in place, or `None` when none is waiting, as on an interface that is down.
    ///
    /// # Errors
    /// When the kernel is out of memory.
    pub fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        // The frame is read four bytes into the buffer, so that a stripped tag can be put back by moving the addresses.
        let (length, auxiliary) = match receive_message(&self.fd, &mut self.buffer[TAG_LENGTH..]) {
            Ok(received) => received,
            Err(error) if is_silence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = TAG_LENGTH + length;
        let Some(auxiliary) = auxiliary else {
            return Ok(Some(&self.buffer[TAG_LENGTH..end]));
        };
        if auxiliary.status & TP_STATUS_CSUMNOTREADY != 0 {
            self.unfinished_checksums += 1;
        }
        if auxiliary.status & TP_STATUS_VLAN_VALID == 0 || length < ADDRESSES_LENGTH {
            return Ok(Some(&self.buffer[TAG_LENGTH..end]));
        }
        self.buffer.copy_within(TAG_LENGTH..TAG_LENGTH + ADDRESSES_LENGTH, 0);
        self.buffer[12..14].copy_from_slice(&auxiliary.vlan_tpid.to_be_bytes());
        self.buffer[14..16].copy_from_slice(&auxiliary.vlan_tci.to_be_bytes());
        Ok(Some(&self.buffer[..end]))
    }

    /// Sends one frame. `false` when the kernel had no room and the frame is lost, as on a full cable.
    ///
    /// # Errors
    /// When the frame is longer than the MTU allows, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<bool> {
        // SAFETY: the pointer and the length describe `frame`, which lives across the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS) => Ok(false),
            _ => Err(error),
        }
    }

    /// How many frames came with a checksum left for hardware to finish: somebody's offloads are still on.
    #[must_use]
    pub fn unfinished_checksums(&self) -> u64 {
        self.unfinished_checksums
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until one of `sources` has something to read (or is closed), for `timeout` at the longest (rounded up to
/// milliseconds). The answer has one entry for each source.
///
/// # Errors
/// When poll(2) fails for another reason than a signal.
pub fn wait_readable(sources: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Vec<bool>> {
    let entry = |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<_> = sources.iter().map(entry).collect();
    let milliseconds = timeout.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX);
    let count = libc::nfds_t::try_from(entries.len()).expect("a handful of descriptors");
    // SAFETY: the pointer and the count describe `entries`, which lives across the call, as do the descriptors.
    match checked(unsafe { libc::poll(entries.as_mut_ptr(), count, milliseconds) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
    }
}

/// The kernel reports "network is down" once, at the time it happens; the socket goes on when the interface comes up.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) || error.raw_os_error() == Some(libc::ENETDOWN)
}

fn open_here(index: u32) -> io::Result<OwnedFd> {
    // Protocol 0 receives nothing yet: no frame of another interface slips in before the socket is bound.
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes numbers only; the descriptor it returns is new and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(libc::c_int::from(AF_PACKET), kind, 0))?) };
    set_option(&fd, libc::SOL_PACKET, PACKET_AUXDATA, &1)?;
    // What this host sends on the interface is not what arrived on it.
    set_option(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES)
        .or_else(|_| set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER_BYTES))?;
    // SAFETY: sockaddr_ll is plain data; all zeroes is a valid value of it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = i32::try_from(index).expect("interface numbers fit");
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("addresses are short");
    // SAFETY: the pointer and the length describe `address`, which lives across the call.
    checked(unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) })?;
    Ok(fd)
}

fn receive_message(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<AuxiliaryData>)> {
    let mut control: ControlBuffer = [0; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data; all zeroes is a valid value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` points to `part`, `buffer` and `control` with their true lengths; all live across the call.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel filled `message`; CMSG_FIRSTHDR gives null or a whole header within `control`, and the data of
    // a PACKET_AUXDATA message, whose length is checked, is one tpacket_auxdata (read unaligned).
    let auxiliary = unsafe {
        libc::CMSG_FIRSTHDR(&message).as_ref().and_then(|header| {
            let wanted = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == PACKET_AUXDATA;
            let long_enough = header.cmsg_len >= libc::CMSG_LEN(AUXILIARY_LENGTH) as usize;
            (wanted && long_enough).then(|| libc::CMSG_DATA(header).cast::<AuxiliaryData>().read_unaligned())
        })
    };
    Ok((length, auxiliary))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::demo::test_support::{as_root, cable};

    const SECOND: Duration = Duration::from_secs(1);

    /// A frame of a made-up EtherType, so that it is told from whatever the kernel says by itself.
    fn frame(tags: &[u8], body: &[u8]) -> Vec<u8> {
        [&[0xff; 6], &[2, 0, 0, 0, 0, 9], tags, &[0x88, 0xb5], body].concat()
    }

    fn receive_one(socket: &mut RawSocket) -> Option<Vec<u8>> {
        wait_readable(&[socket.as_fd()], SECOND).unwrap();
        socket.receive().unwrap().map(<[u8]>::to_vec)
    }

    #[test]
    fn frames_arrive_as_they_were_sent_with_every_tag_in_place() {
        as_root("demo::raw_socket::tests::frames_arrive_as_they_were_sent_with_every_tag_in_place", || {
            let [left, right] = cable("raw", 1508);
            let sender = RawSocket::open(&left, "raw0").unwrap();
            let mut receiver = RawSocket::open(&right, "raw1").unwrap();
            let single = [0x81, 0x00, 0xe8, 0x35];
            let double = [0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x08, 0x35];
            for (tags, length) in [(&[][..], 1500), (&single[..], 1500), (&double[..], 1500), (&double[..], 46)] {
                let sent = frame(tags, &vec![7; length]);
                assert!(sender.send(&sent).unwrap());
                assert_eq!(receive_one(&mut receiver), Some(sent), "{} bytes of tags", tags.len());
            }
            assert_eq!(receiver.receive().unwrap(), None);
        });
    }

    #[test]
    fn what_the_host_itself_sends_is_not_received() {
        as_root("demo::raw_socket::tests::what_the_host_itself_sends_is_not_received", || {
            let [left, right] = cable("own", 1500);
            let mut own = RawSocket::open(&left, "own0").unwrap();
            let other = RawSocket::open(&right, "own1").unwrap();
            let socket = in_namespace(&left, || UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
            // Somebody listens there, or an ICMP error would bring the text back.
            let _listener = in_namespace(&right, || UdpSocket::bind("10.0.0.2:9").unwrap()).unwrap();
            socket.send_to(b"to the far end", "10.0.0.2:9").unwrap();
            other.send(&frame(&[], b"from the far end")).unwrap();
            // The far end's kernel speaks as well (it asks for or answers with an address): skip what is not ours.
            let mut received = Vec::new();
            while let Some(one) = receive_one(&mut own) {
                received.push(one);
                if received.ends_with(&[frame(&[], b"from the far end")]) {
                    break;
                }
            }
            assert!(received.contains(&frame(&[], b"from the far end")), "{received:?}");
            assert!(!received.iter().any(|one| one.ends_with(b"to the far end")), "{received:?}");
            assert_eq!(own.unfinished_checksums(), 0);
        });
    }
}
