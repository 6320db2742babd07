//! System calls that `libc` leaves raw, each wrapped once: sockets, options, mappings, `ifreq` ioctls.
#![expect(unsafe_code, reason = "the one place that calls socket options, mmap and ioctl")]

use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};

use libc::{c_int, c_ulong, c_void, socklen_t};

/// Plain data that the kernel may fill with any bytes.
///
/// # Safety
/// Every bit pattern must be a value of the type, and it must have no padding that matters.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: integers hold any bits.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for c_int {}
// SAFETY: structures of integers.
unsafe impl Plain for libc::tpacket_req {}
// SAFETY: a structure of integers.
unsafe impl Plain for libc::tpacket_stats {}
// SAFETY: a structure of integers and a byte array.
unsafe impl Plain for libc::packet_mreq {}
// SAFETY: a structure of integers.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: a structure of integers.
unsafe impl Plain for libc::xdp_umem_reg {}
// SAFETY: a structure of integers.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: a structure of integers.
unsafe impl Plain for libc::xdp_options {}

/// Turn the `-1` of a system call into its error.
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Open a socket that is closed on exec.
pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor was made just now and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("an option is small")
}

/// `setsockopt`.
pub(super) fn set_option<T: Plain>(fd: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length_of::<T>()) })?;
    Ok(())
}

/// `getsockopt`; an older kernel that knows fewer fields leaves the rest zero.
pub(super) fn get_option<T: Plain>(fd: &OwnedFd, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = length_of::<T>();
    // SAFETY: the kernel writes at most `length` bytes, the size of the value.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) })?;
    // SAFETY: zeroed or written by the kernel, and `Plain` allows any bits.
    Ok(unsafe { value.assume_init() })
}

/// `bind` to an address structure.
pub(super) fn bind<T: Copy>(fd: &OwnedFd, address: &T) -> io::Result<()> {
    // SAFETY: the pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(address).cast(), length_of::<T>()) })?;
    Ok(())
}

/// Wake the kernel for a transmit ring; it takes what the ring holds. `Err` says that it may not have taken all.
pub(super) fn kick(fd: RawFd) -> io::Result<()> {
    // SAFETY: an empty message; the null pointers go with zero lengths.
    let sent = unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Wake the kernel for a receive ring; what it has to say comes through the ring.
pub(super) fn wake_receive(fd: RawFd) {
    // SAFETY: an empty buffer; the null pointers go with zero lengths.
    unsafe { libc::recvfrom(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut()) };
}

/// Memory shared with the kernel through a descriptor; unmapped on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is memory of the process, not of a thread; whoever holds it decides who may touch it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Map `len` bytes of `fd` at `offset`.
    pub(super) fn shared(fd: &OwnedFd, len: usize, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Residents' data passes through packet rings. A kernel that maps them as I/O memory keeps them out of core dumps by itself.
        // SAFETY: `base..base + len` is the mapping just made.
        unsafe { libc::madvise(base, len, libc::MADV_DONTDUMP) };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the kernel mapped address zero"))?;
        Ok(Self { base, len })
    }

    /// A pointer to the `T` at `offset`.
    ///
    /// # Panics
    /// Where it would lie outside the mapping or be misaligned: the kernel's description of its ring was not understood.
    pub(super) fn at<T>(&self, offset: usize) -> NonNull<T> {
        assert!(offset + size_of::<T>() <= self.len, "a ring lies inside its mapping");
        // SAFETY: offset is inside the mapping.
        let pointer = unsafe { self.base.add(offset) }.cast::<T>();
        assert!(pointer.is_aligned(), "a ring's field is aligned");
        pointer
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `shared` with this length; rings that point into it are dropped with it by their owner.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// An `ifreq` that names an interface and is otherwise zero; `None` where the name is too long.
pub(super) fn ifreq(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid `ifreq`: an empty name and a union of plain data.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    let name = interface.as_bytes();
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 bytes"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    Ok(request)
}

/// Run an interface ioctl that reads or writes only the `ifreq` itself.
pub(super) fn ioctl_ifreq(fd: &OwnedFd, request: c_ulong, value: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the kernel reads and writes one `ifreq`.
    #[allow(clippy::useless_conversion, reason = "the type of the request differs between C libraries")]
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request.try_into().expect("an ioctl number"), ptr::from_mut(value)) })?;
    Ok(())
}

/// Run `SIOCETHTOOL` with a structure that begins with the ethtool command.
pub(super) fn ioctl_ethtool<T: Plain>(fd: &OwnedFd, interface: &str, data: &mut T) -> io::Result<()> {
    const SIOCETHTOOL: c_ulong = 0x8946;
    let mut request = ifreq(interface)?;
    request.ifr_ifru.ifru_data = ptr::from_mut(data).cast();
    ioctl_ifreq(fd, SIOCETHTOOL, &mut request)
}

/// The interface flags (`IFF_*`).
pub(super) fn interface_flags(fd: &OwnedFd, interface: &str) -> io::Result<i16> {
    let mut request = ifreq(interface)?;
    ioctl_ifreq(fd, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS filled this member.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

/// Set the interface flags (`IFF_*`).
pub(super) fn set_interface_flags(fd: &OwnedFd, interface: &str, flags: i16) -> io::Result<()> {
    let mut request = ifreq(interface)?;
    request.ifr_ifru.ifru_flags = flags;
    ioctl_ifreq(fd, libc::SIOCSIFFLAGS, &mut request)
}

/// Take an advisory lock on a file without waiting; the kernel lets go of it when the process ends, however it ends.
pub(super) fn lock_exclusive(file: &File) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
    Ok(())
}

/// Send one datagram.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and length describe `bytes`.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast::<c_void>(), bytes.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receive one datagram; returns its length inside `buffer`.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `buffer`.
    let received = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), 0) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Receive one message into `buffer` without waiting. Returns its whole length, which may be more than fits.
pub(super) fn receive_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `buffer`, which outlives the call.
    let received =
        unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), libc::MSG_DONTWAIT | libc::MSG_TRUNC) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}
