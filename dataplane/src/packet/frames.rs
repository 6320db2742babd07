//! The memory of all frames: one anonymous mapping of 2 KiB pieces, which AF_XDP registers as its UMEM.
//!
//! A [`Frame`] is the only handle to its piece and is neither `Clone` nor `Copy`: holding one is owning the bytes. That
//! is what makes the accessors safe although the kernel reads and writes the same memory; a frame lent to the kernel has no
//! handle until the kernel gives its address back ([`Umem::claim`]).
#![expect(unsafe_code, reason = "hands out disjoint pieces of one mapping that the kernel knows by address")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Bytes in a frame. AF_XDP wants a power of two of at least 2,048.
pub const FRAME_SIZE: usize = 2048;

/// The mapping that all frames are cut from.
#[derive(Debug)]
pub struct Umem {
    base: NonNull<u8>,
    frames: u32,
}

// SAFETY: the mapping is plain memory; access to its bytes goes through `Frame`s, of which there is one per piece.
unsafe impl Send for Umem {}
// SAFETY: as above; `Umem` itself only hands out its address and length.
unsafe impl Sync for Umem {}

impl Umem {
    fn map(frames: u32) -> io::Result<Self> {
        let len = frames as usize * FRAME_SIZE;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Residents' data passes through here: keep it out of core dumps.
        // SAFETY: `base..base + len` is the mapping just made.
        if unsafe { libc::madvise(base, len, libc::MADV_DONTDUMP) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the kernel mapped address zero"))?;
        Ok(Self { base, frames })
    }

    /// First byte of the mapping.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Length of the mapping in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames as usize * FRAME_SIZE
    }

    /// True where the mapping holds no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Take back a frame that was lent to the kernel, by an address anywhere inside it; `None` for an address outside the mapping.
    ///
    /// # Safety
    /// The frame must have been lent by [`Frame::lend`], the kernel must have returned exactly this address, and it must be claimed once.
    #[must_use]
    pub unsafe fn claim(&self, address: u64) -> Option<Frame> {
        let index = u32::try_from(address / FRAME_SIZE as u64).ok().filter(|index| *index < self.frames)?;
        Some(self.frame(index))
    }

    /// The only maker of handles; private, so that each index has at most one.
    fn frame(&self, index: u32) -> Frame {
        // SAFETY: index < frames, so the piece lies inside the mapping.
        let data = unsafe { self.base.add(index as usize * FRAME_SIZE) };
        Frame { data, index }
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and every `FramePool` and NIC that uses it holds an `Arc` of it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len()) };
    }
}

/// One piece of [`FRAME_SIZE`] bytes, owned by whoever holds this handle.
#[derive(Debug)]
#[must_use = "a frame that is not put back is lost to the pool"]
pub struct Frame {
    data: NonNull<u8>,
    index: u32,
}

// SAFETY: a frame is the unique handle of its bytes.
unsafe impl Send for Frame {}

impl Frame {
    /// All bytes of the frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8; FRAME_SIZE] {
        // SAFETY: the handle is unique, the piece is FRAME_SIZE long and stays mapped while a frame is out (see `FramePool::drop`).
        unsafe { self.data.cast().as_ref() }
    }

    /// All bytes of the frame, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8; FRAME_SIZE] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { self.data.cast().as_mut() }
    }

    /// Number of the frame in its mapping.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Give the frame to the kernel: its address inside the UMEM. It comes back by [`Umem::claim`].
    #[must_use]
    pub fn lend(self) -> u64 {
        u64::from(self.index) * FRAME_SIZE as u64
    }
}

/// The free frames of one worker.
///
/// A pool that is dropped while frames are out leaves its memory mapped: a handle must never point into nothing.
#[derive(Debug)]
pub struct FramePool {
    free: Vec<Frame>,
    umem: Arc<Umem>,
}

impl FramePool {
    /// Map memory for `frames` frames, all free.
    ///
    /// # Errors
    /// What `mmap` or `madvise` say, most likely that there is not enough memory.
    pub fn new(frames: u32) -> io::Result<Self> {
        let umem = Arc::new(Umem::map(frames)?);
        // Lowest numbers on top: a small load stays within few pages.
        let free = (0..frames).rev().map(|index| umem.frame(index)).collect();
        Ok(Self { free, umem })
    }

    /// A free frame, or `None` where all are in use.
    #[must_use]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Put a frame back.
    pub fn put(&mut self, frame: Frame) {
        #[cfg(any(test, feature = "simulation"))]
        let frame = poisoned(frame);
        debug_assert!(self.free.len() < self.umem.frames as usize, "more frames come back than there are");
        self.free.push(frame);
    }

    /// Number of free frames.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Number of all frames.
    #[must_use]
    pub fn total(&self) -> usize {
        self.umem.frames as usize
    }

    /// The memory underneath, for a NIC to register.
    #[must_use]
    pub fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        if self.free.len() != self.total() {
            std::mem::forget(Arc::clone(&self.umem));
        }
    }
}

/// In tests a freed frame is overwritten, so that a byte left over from another tenant's packet shows.
#[cfg(any(test, feature = "simulation"))]
fn poisoned(mut frame: Frame) -> Frame {
    frame.bytes_mut().fill(0xdb);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_given_out_once_and_an_empty_pool_says_so() {
        let mut pool = FramePool::new(3).expect("three frames");
        let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        let mut indices: Vec<u32> = frames.iter().map(Frame::index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
        assert!(pool.take().is_none());
        frames.into_iter().for_each(|frame| pool.put(frame));
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn a_frame_lent_to_the_kernel_comes_back_by_any_address_inside_it() {
        let mut pool = FramePool::new(2).expect("two frames");
        let frame = pool.take().expect("a frame");
        let index = frame.index();
        let address = frame.lend();
        // SAFETY: lent just now and claimed once.
        let back = unsafe { pool.umem().claim(address + 300) }.expect("inside the mapping");
        assert_eq!(back.index(), index);
        // SAFETY: an address outside the mapping yields no handle.
        assert!(unsafe { pool.umem().claim(2 * FRAME_SIZE as u64) }.is_none());
        pool.put(back);
    }
}
