//! The four rings of an AF_XDP socket: single producer, single consumer, one side of each in the kernel.
//!
//! Both counters run freely and wrap at 2^32; the slot is the counter modulo the ring's size, a power of two. An entry is visible
//! to the other side when the counter behind it is stored (release) and loaded (acquire).
#![expect(unsafe_code, reason = "reads and writes ring entries shared with the kernel")]

use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::sys::Mapping;

/// What fill and completion ring (`u64`, an address) and receive and transmit ring (`xdp_desc`) carry: plain data of the kernel's.
pub(super) trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

/// Where the parts of a ring lie in its mapping.
#[derive(Debug)]
struct Shared<T> {
    mapping: Mapping,
    offsets: libc::xdp_ring_offset,
    mask: u32,
    entries: PhantomData<T>,
}

/// A ring that this side fills: fill and transmit.
#[derive(Debug)]
pub(super) struct ProducerRing<T> {
    shared: Shared<T>,
    /// Our counter; entries before it are written, those before the shared one also published.
    produced: u32,
    /// The other side's counter when we last looked.
    consumed: u32,
}

/// A ring that this side empties: receive and completion.
#[derive(Debug)]
pub(super) struct ConsumerRing<T> {
    shared: Shared<T>,
    /// The other side's counter when we last looked.
    produced: u32,
    /// Our counter; slots before the shared one are given back.
    consumed: u32,
}

impl<T: Entry> Shared<T> {
    fn map(fd: &OwnedFd, page_offset: libc::off_t, offsets: libc::xdp_ring_offset, size: u32) -> io::Result<Self> {
        assert!(size.is_power_of_two(), "ring sizes are powers of two");
        let entries = size_of::<T>() * size as usize;
        let mapping = Mapping::shared(fd, offset(offsets.desc) + entries, page_offset)?;
        Ok(Self { mapping, offsets, mask: size - 1, entries: PhantomData })
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        let pointer: NonNull<u32> = self.mapping.at(offset(at));
        // SAFETY: inside the mapping and aligned (`at` checks); both sides access it atomically only.
        unsafe { AtomicU32::from_ptr(pointer.as_ptr()) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    /// The slot that belongs to a counter's value.
    fn entry(&self, counter: u32) -> NonNull<T> {
        self.mapping.at(offset(self.offsets.desc) + (counter & self.mask) as usize * size_of::<T>())
    }
}

fn offset(value: u64) -> usize {
    usize::try_from(value).expect("an offset inside a mapping")
}

impl<T: Entry> ProducerRing<T> {
    /// Map the ring of `size` entries at `page_offset` (`XDP_PGOFF_*`) of the socket.
    pub(super) fn map(fd: &OwnedFd, page_offset: libc::off_t, offsets: libc::xdp_ring_offset, size: u32) -> io::Result<Self> {
        let shared = Shared::map(fd, page_offset, offsets, size)?;
        let (produced, consumed) = (shared.producer().load(Ordering::Relaxed), shared.consumer().load(Ordering::Acquire));
        Ok(Self { shared, produced, consumed })
    }

    /// Write an entry into the next slot; false where the ring is full. Nobody sees it before [`Self::publish`].
    #[must_use]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.is_full() {
            return false;
        }
        // SAFETY: the slot is between what the consumer has given back and what we have published: nobody else touches it.
        unsafe { self.shared.entry(self.produced).write(entry) };
        self.produced = self.produced.wrapping_add(1);
        true
    }

    /// True where there is no free slot; looks at the other side's counter only when it has to.
    pub(super) fn is_full(&mut self) -> bool {
        if self.produced.wrapping_sub(self.consumed) <= self.shared.mask {
            return false;
        }
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        self.produced.wrapping_sub(self.consumed) > self.shared.mask
    }

    /// Free slots at this moment.
    pub(super) fn room(&mut self) -> usize {
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        (self.shared.mask + 1 - self.produced.wrapping_sub(self.consumed)) as usize
    }

    /// Show the entries to the other side.
    pub(super) fn publish(&mut self) {
        self.shared.producer().store(self.produced, Ordering::Release);
    }

    /// True where the other side has taken everything.
    pub(super) fn is_drained(&self) -> bool {
        self.shared.consumer().load(Ordering::Acquire) == self.produced
    }

    /// The kernel asks for a system call before it goes on (`XDP_RING_NEED_WAKEUP`).
    pub(super) fn needs_wakeup(&self) -> bool {
        self.shared.word(self.shared.offsets.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T: Entry> ConsumerRing<T> {
    /// Map the ring of `size` entries at `page_offset` (`XDP_PGOFF_*`) of the socket.
    pub(super) fn map(fd: &OwnedFd, page_offset: libc::off_t, offsets: libc::xdp_ring_offset, size: u32) -> io::Result<Self> {
        let shared = Shared::map(fd, page_offset, offsets, size)?;
        let (produced, consumed) = (shared.producer().load(Ordering::Acquire), shared.consumer().load(Ordering::Relaxed));
        Ok(Self { shared, produced, consumed })
    }

    /// Read the next entry. Its slot stays ours until [`Self::release`].
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.consumed == self.produced {
            self.produced = self.shared.producer().load(Ordering::Acquire);
            if self.consumed == self.produced {
                return None;
            }
        }
        // SAFETY: the slot is between what we have given back and what the producer has published: nobody else touches it.
        let entry = unsafe { self.shared.entry(self.consumed).read() };
        self.consumed = self.consumed.wrapping_add(1);
        Some(entry)
    }

    /// Give the slots read back to the other side.
    pub(super) fn release(&mut self) {
        self.shared.consumer().store(self.consumed, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 64, flags: 128, desc: 192 };
    const SIZE: u32 = 4;

    /// Both ends of one ring in a file, its counters at `start`.
    fn ring(start: u32) -> (ProducerRing<u64>, ConsumerRing<u64>, File) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chukei-ring-{}-{number}", std::process::id()));
        let file = File::options().create_new(true).read(true).write(true).open(&path).expect("a file");
        std::fs::remove_file(path).expect("unlinked");
        file.set_len(4096).expect("long enough");
        file.write_all_at(&start.to_ne_bytes(), OFFSETS.producer).expect("written");
        file.write_all_at(&start.to_ne_bytes(), OFFSETS.consumer).expect("written");
        let fd = OwnedFd::from(file.try_clone().expect("a second descriptor"));
        let producer = ProducerRing::map(&fd, 0, OFFSETS, SIZE).expect("mapped");
        (producer, ConsumerRing::map(&fd, 0, OFFSETS, SIZE).expect("mapped"), file)
    }

    #[test]
    fn entries_pass_in_order_also_where_the_counters_wrap() {
        for start in [0, 3, u32::MAX - 5] {
            let (mut producer, mut consumer, _file) = ring(start);
            let mut expected = 0;
            for round in 0..20u64 {
                assert!(producer.push(round * 2) && producer.push(round * 2 + 1));
                producer.publish();
                while let Some(entry) = consumer.pop() {
                    assert_eq!(entry, expected);
                    expected += 1;
                }
                consumer.release();
            }
            assert_eq!(expected, 40);
            assert!(producer.is_drained());
        }
    }

    #[test]
    fn a_full_ring_takes_no_more_until_slots_are_released() {
        let (mut producer, mut consumer, _file) = ring(u32::MAX - 1);
        assert!((0..u64::from(SIZE)).all(|entry| producer.push(entry)));
        assert!(producer.is_full() && producer.room() == 0 && !producer.push(9));
        producer.publish();
        assert_eq!(consumer.pop(), Some(0));
        assert!(!producer.push(9), "read is not yet released");
        consumer.release();
        assert_eq!(producer.room(), 1);
        assert!(producer.push(9) && !producer.push(10));
        assert!(!producer.is_drained());
    }

    #[test]
    fn what_is_not_published_is_not_seen() {
        let (mut producer, mut consumer, _file) = ring(7);
        assert!(producer.push(1));
        assert_eq!(consumer.pop(), None);
        producer.publish();
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn the_wakeup_flag_is_the_kernels_word() {
        let (producer, _consumer, file) = ring(0);
        assert!(!producer.needs_wakeup());
        file.write_all_at(&libc::XDP_RING_NEED_WAKEUP.to_ne_bytes(), OFFSETS.flags).expect("written");
        assert!(producer.needs_wakeup());
    }
}
