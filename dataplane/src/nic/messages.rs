//! `sendmmsg`: many frames with one system call, each gathered from pieces that lie where they are.
#![expect(unsafe_code, reason = "hands pointers to borrowed pieces to the kernel")]

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{iovec, mmsghdr};

/// Room for the descriptions of messages, kept from batch to batch.
#[derive(Debug)]
pub(super) struct Outbox {
    pieces: Vec<iovec>,
    /// The first piece of each message.
    starts: Vec<usize>,
    headers: Vec<mmsghdr>,
}

// SAFETY: between two `Messages` no pointer is kept: all three are empty.
unsafe impl Send for Outbox {}

impl Outbox {
    /// Room for `messages` messages of `pieces` pieces in all.
    pub(super) fn new(messages: usize, pieces: usize) -> Self {
        Self { pieces: Vec::with_capacity(pieces), starts: Vec::with_capacity(messages), headers: Vec::with_capacity(messages) }
    }

    /// Begin to put messages together.
    pub(super) fn messages<'a>(&'a mut self) -> Messages<'a> {
        self.clear();
        Messages { outbox: self, pieces: PhantomData }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.starts.clear();
        self.headers.clear();
    }
}

/// Messages whose pieces are borrowed.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    outbox: &'a mut Outbox,
    pieces: PhantomData<&'a [u8]>,
}

impl<'a> Messages<'a> {
    /// Begin the next message.
    pub(super) fn begin(&mut self) {
        self.outbox.starts.push(self.outbox.pieces.len());
    }

    /// Add a piece to the message begun last.
    pub(super) fn piece(&mut self, bytes: &'a [u8]) {
        self.outbox.pieces.push(iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
    }

    /// No more pieces: describe the messages to the kernel.
    pub(super) fn seal(&mut self) {
        let Outbox { pieces, starts, headers } = &mut *self.outbox;
        headers.clear();
        for (number, start) in starts.iter().enumerate() {
            let end = starts.get(number + 1).copied().unwrap_or(pieces.len());
            // SAFETY: all zeroes is a valid `mmsghdr`: no name, no pieces, no control data.
            let mut header: mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            header.msg_hdr.msg_iov = pieces[*start..end].as_mut_ptr();
            // The type of the field differs between C libraries.
            header.msg_hdr.msg_iovlen = (end - start) as _;
            headers.push(header);
        }
    }

    /// Send the messages from number `first` on, without waiting. Returns how many the kernel took; an error is about message `first`.
    ///
    /// # Errors
    /// What `sendmmsg` says.
    pub(super) fn send(&mut self, fd: &OwnedFd, first: usize) -> io::Result<usize> {
        let headers = &mut self.outbox.headers[first..];
        let count = libc::c_uint::try_from(headers.len()).expect("a batch is small");
        // SAFETY: `headers` has `count` entries, which `seal` made to point at `pieces`; the pieces are borrowed for 'a, and neither
        // vector has changed since, as it needs `&mut self` and would begin with `seal` again.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        self.outbox.clear();
    }
}
