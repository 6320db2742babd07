//! An allocator that counts what one thread asks for while it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Count, or stop counting, on this thread.
pub(crate) fn count(on: bool) {
    COUNTING.with(|counting| counting.set(on));
}

/// How many times this thread asked for memory while it was counted.
pub(crate) fn counted() -> u64 {
    COUNT.with(Cell::get)
}

pub(crate) struct CountingAllocator;

fn note() {
    // A thread that ends has no cells any more; nobody counts it.
    let counting = COUNTING.try_with(Cell::get).unwrap_or(false);
    if counting {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting touches two cells and asks for no memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the block came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `realloc`, and the block came from the same allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
