//! Sleeping until a NIC has frames, a time has come, or somebody rings.
#![expect(unsafe_code, reason = "poll(2), eventfd(2) and sched_setaffinity(2) have no safe form in the standard library")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::time::Duration;

/// Descriptors watched at one time: a bell, and some queues of each of 64 ports.
const MAX_DESCRIPTORS: usize = 256;

/// Wakes a sleeping worker from another thread.
#[derive(Debug)]
pub struct Bell(File);

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that the kernel has just made, and nobody else owns.
        Ok(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// Wake whoever waits, now or at their next sleep.
    pub fn ring(&self) {
        // A counter that is full has been rung often enough.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Be ready for the next ring.
    pub fn silence(&self) {
        // Not rung: nothing to read.
        let _ = (&self.0).read(&mut [0; 8]);
    }

    /// Whether it has been rung since it was silenced last.
    #[cfg(test)]
    pub(crate) fn is_rung(&self) -> bool {
        let mut polled = libc::pollfd { fd: self.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry that outlives the call.
        unsafe { libc::poll(&raw mut polled, 1, 0) == 1 }
    }

    /// What to give to [`wait`].
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sleep until one of `descriptors` is readable, or `timeout` is over. At most 256 descriptors are watched.
pub fn wait(descriptors: &[RawFd], timeout: Duration) {
    let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; MAX_DESCRIPTORS];
    let count = descriptors.len().min(MAX_DESCRIPTORS);
    for (entry, fd) in polled.iter_mut().zip(descriptors) {
        entry.fd = *fd;
    }
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs().min(3_600)).unwrap_or(3_600),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    };
    // SAFETY: `polled` holds `count` entries and outlives the call; no signal mask is given. A failing call (EINTR) is an early wake-up.
    unsafe { libc::ppoll(polled.as_mut_ptr(), count as libc::nfds_t, &raw const timeout, std::ptr::null()) };
}

/// Keep the calling thread on one processor; a processor that does not exist changes nothing.
pub fn pin_to_cpu(cpu: usize) {
    // SAFETY: an all-zero cpu_set_t is an empty set, and CPU_SET is bounds-checked by libc against its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_wakes_a_sleeper_and_falls_silent() {
        let bell = Bell::new().expect("a descriptor");
        bell.ring();
        wait(&[bell.descriptor()], Duration::from_secs(60));
        bell.silence();
        wait(&[bell.descriptor()], Duration::from_millis(1));
        assert_eq!((&bell.0).read(&mut [0; 8]).expect_err("nothing to read").kind(), io::ErrorKind::WouldBlock);
    }
}
