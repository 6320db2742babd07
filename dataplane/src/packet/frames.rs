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

/// One entry of the page tables covers so much where the kernel has huge pages to give: a thousand frames, in place of two.
const HUGE_PAGE: usize = 2 << 20;

/// The mapping that all frames are cut from.
#[derive(Debug)]
pub struct Umem {
    mapping: Mapping,
    /// Where in the mapping the first frame begins.
    offset: usize,
    frames: u32,
}

/// What the kernel mapped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory; access to its bytes goes through `Frame`s, of which there is one per piece.
unsafe impl Send for Umem {}
// SAFETY: as above; `Umem` itself only hands out its address and length.
unsafe impl Sync for Umem {}

impl Umem {
    fn map(frames: u32) -> io::Result<Self> {
        keep_reservations_apart();
        let len = frames as usize * FRAME_SIZE;
        // Pages that an operator reserved, else those that the kernel finds, from the next place on where one can begin.
        let reserved = Mapping::new(len.next_multiple_of(HUGE_PAGE), libc::MAP_HUGETLB | libc::MAP_HUGE_2MB);
        let mapping = reserved.or_else(|_| Mapping::new(len + HUGE_PAGE, 0))?;
        // Residents' data passes through here: keep it out of core dumps.
        mapping.advise(0, mapping.len, libc::MADV_DONTDUMP)?;
        // Where the kernel has none, or was told to give none, the frames lie on small pages; so do few frames, which would not fill one.
        if len >= HUGE_PAGE {
            let _ = mapping.advise(0, mapping.len, libc::MADV_HUGEPAGE);
        }
        Ok(Self { offset: mapping.start.align_offset(HUGE_PAGE), frames, mapping })
    }

    /// Have the kernel find memory for all frames now, and not while packets wait. A kernel before 5.14 does so when they are first used.
    pub fn populate(&self) {
        let _ = self.mapping.advise(self.offset, self.len(), libc::MADV_POPULATE_WRITE);
    }

    /// First byte of the mapping.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        // SAFETY: frames begin inside the mapping.
        unsafe { self.mapping.start.add(self.offset) }.as_ptr()
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
    pub unsafe fn claim(self: &Arc<Self>, address: u64) -> Option<Frame> {
        let index = u32::try_from(address / FRAME_SIZE as u64).ok().filter(|index| *index < self.frames)?;
        Some(self.frame(index))
    }

    /// The only maker of handles; private, so that each index has at most one.
    fn frame(self: &Arc<Self>, index: u32) -> Frame {
        debug_assert!(index < self.frames, "a piece of the mapping");
        #[cfg(not(feature = "simulation"))]
        return Frame { data: self.piece(index), index };
        #[cfg(feature = "simulation")]
        return Frame { umem: Arc::clone(self), index };
    }

    fn piece(&self, index: u32) -> NonNull<u8> {
        // SAFETY: index < frames, so the piece lies inside the mapping.
        unsafe { self.mapping.start.add(self.offset + index as usize * FRAME_SIZE) }
    }
}

/// From which size on an allocation gets a mapping of its own: glibc's own value at the start of a process.
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: libc::c_int = 128 << 10;

/// Keep what is reserved and hardly touched (each tenant's tables, megabytes of them) out of the heap, for the whole life of the
/// process. glibc raises the threshold each time that a large allocation is freed; from then on the small structures of 1,788 tenants
/// would lie megabytes apart, each behind page tables of its own, which doubles the cost of a small packet.
fn keep_reservations_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers and changes where later allocations are made, nothing that exists.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING_BYTES);
    }
}

impl Mapping {
    fn new(len: usize, kind: libc::c_int) -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | kind);
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("the kernel mapped address zero"))?;
        Ok(Self { start, len })
    }

    fn advise(&self, offset: usize, len: usize, advice: libc::c_int) -> io::Result<()> {
        assert!(offset + len <= self.len, "advice is about what was mapped");
        // SAFETY: the range lies in the mapping, and none of the advices given here changes what is in it.
        match unsafe { libc::madvise(self.start.add(offset).as_ptr().cast(), len, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and every `FramePool` and NIC that uses it holds an `Arc` of the `Umem`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One piece of [`FRAME_SIZE`] bytes, owned by whoever holds this handle.
#[derive(Debug)]
#[must_use = "a frame that is not put back is lost to the pool"]
pub struct Frame {
    #[cfg(not(feature = "simulation"))]
    data: NonNull<u8>,
    /// A hundred thousand worlds end with packets under way: there a frame keeps its memory, which then ends with the last of them.
    #[cfg(feature = "simulation")]
    umem: Arc<Umem>,
    index: u32,
}

// SAFETY: a frame is the unique handle of its bytes.
unsafe impl Send for Frame {}

impl Frame {
    #[cfg(not(feature = "simulation"))]
    const fn data(&self) -> NonNull<u8> {
        self.data
    }

    #[cfg(feature = "simulation")]
    fn data(&self) -> NonNull<u8> {
        self.umem.piece(self.index)
    }

    /// All bytes of the frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8; FRAME_SIZE] {
        // SAFETY: the handle is unique, the piece is FRAME_SIZE long and stays mapped while a frame is out (see `FramePool::drop`).
        unsafe { self.data().cast().as_ref() }
    }

    /// All bytes of the frame, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8; FRAME_SIZE] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { self.data().cast().as_mut() }
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
/// All workers cut their frames from one mapping, so that a frame can cross from one to another and to any NIC. Each frame has one
/// home, the worker in whose range its number lies: a pool gives out its own frames only, and keeps those of others apart until the
/// worker sends them home ([`Self::strays`]). Without that, one-way load would empty the pool of the worker that receives.
///
/// A pool that is dropped while frames are out leaves its memory mapped: a handle must never point into nothing. (In the simulation each
/// handle keeps the memory, so that no world leaves any behind.)
#[derive(Debug)]
pub struct FramePool {
    free: Vec<Frame>,
    /// Frames of other workers that were put back here.
    strays: Vec<Frame>,
    /// Number of the first frame that has its home here, and how many there are.
    first: u32,
    count: u32,
    /// Workers that share the memory.
    workers: u32,
    umem: Arc<Umem>,
}

impl FramePool {
    /// Map memory for `frames` frames, all free.
    ///
    /// # Errors
    /// What `mmap` or `madvise` say, most likely that there is not enough memory.
    pub fn new(frames: u32) -> io::Result<Self> {
        let umem = Arc::new(Umem::map(frames)?);
        Ok(Self::over(&umem, 0, frames, 1))
    }

    /// Map memory for `frames` frames and share it out between `workers` pools.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// # Panics
    /// Where there is no worker, or no frame for each.
    pub fn shared(frames: u32, workers: usize) -> io::Result<Vec<Self>> {
        let workers = u32::try_from(workers).expect("a few workers");
        let share = frames / workers;
        assert!(share > 0, "a frame for each worker");
        let umem = Arc::new(Umem::map(frames)?);
        let first_of = |worker: u32| worker * share;
        let end_of = |worker: u32| if worker + 1 == workers { frames } else { first_of(worker + 1) };
        Ok((0..workers).map(|worker| Self::over(&umem, first_of(worker), end_of(worker) - first_of(worker), workers)).collect())
    }

    fn over(umem: &Arc<Umem>, first: u32, count: u32, workers: u32) -> Self {
        // Lowest numbers on top: a small load stays within few pages.
        let free = (first..first + count).rev().map(|index| umem.frame(index)).collect();
        // Room for every frame there is: putting one back never allocates.
        let strays = Vec::with_capacity((umem.frames - count) as usize);
        Self { free, strays, first, count, workers, umem: Arc::clone(umem) }
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
        if frame.index.wrapping_sub(self.first) >= self.count {
            debug_assert!(self.strays.len() < self.strays.capacity(), "more frames come back than there are");
            return self.strays.push(frame);
        }
        debug_assert!(self.free.len() < self.count as usize, "more frames come back than there are");
        self.free.push(frame);
    }

    /// The frames of other workers that were put back here, to be sent home (see [`Self::home_of`]).
    pub fn strays(&mut self) -> &mut Vec<Frame> {
        &mut self.strays
    }

    /// Which of the workers sharing the memory is the home of `frame`, counted from zero.
    #[must_use]
    pub fn home_of(&self, frame: &Frame) -> usize {
        // The last worker has what the division leaves.
        (frame.index / (self.umem.frames / self.workers)).min(self.workers - 1) as usize
    }

    /// Number of free frames.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Number of all frames that have their home here.
    #[must_use]
    pub fn total(&self) -> usize {
        self.count as usize
    }

    /// The memory underneath, for a NIC to register.
    #[must_use]
    pub fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }
}

#[cfg(not(feature = "simulation"))]
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
    fn frames_begin_at_a_huge_page_and_are_all_there_when_they_are_asked_for() {
        let mut pool = FramePool::new(1_500).expect("three megabytes");
        assert_eq!(pool.umem().base().addr() % HUGE_PAGE, 0);
        pool.umem().populate();
        let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((frames.len(), frames[1_499].bytes()), (1_500, &[0; FRAME_SIZE]));
        frames.into_iter().for_each(|frame| pool.put(frame));
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

    #[test]
    fn a_shared_memory_has_one_home_for_each_frame_and_strays_are_kept_apart() {
        let mut pools = FramePool::shared(8, 3).expect("eight frames");
        assert_eq!(pools.iter().map(FramePool::total).collect::<Vec<_>>(), [2, 2, 4], "the last has what the division leaves");
        let mut second = pools.remove(1);
        let frames: Vec<Frame> = pools.iter_mut().flat_map(|pool| std::iter::from_fn(|| pool.take()).collect::<Vec<_>>()).collect();
        let homes: Vec<usize> = frames.iter().map(|frame| second.home_of(frame)).collect();
        assert_eq!(homes, [0, 0, 2, 2, 2, 2]);
        frames.into_iter().for_each(|frame| second.put(frame));
        assert_eq!((second.free(), second.strays().len()), (2, 6), "not one of them is given out here");
        for frame in second.strays().drain(..) {
            pools[if frame.index() < 2 { 0 } else { 1 }].put(frame);
        }
        assert!(pools.iter().all(|pool| pool.free() == pool.total()));
    }
}
