//! Hints to the processor: this will be read soon. They change nothing; a wrong one costs a few nanoseconds.
//!
//! With 1,788 tenants in turn nothing of a packet's tenant is in the caches: some thirty lines, each found through the one before,
//! cost several times the cipher. A worker knows whose packets come next, so it asks for their lines while it works on others.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the intrinsic takes a raw pointer, which it never dereferences"))]

/// Bytes in a line of cache.
const LINE: usize = 64;

/// The line at `address`, which need not be valid.
#[inline]
pub(crate) fn line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address, mapped or not, has no effect that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The first line of `value`.
#[inline]
pub(crate) fn start<T: ?Sized>(value: &T) {
    line(std::ptr::from_ref(value).cast());
}

/// All lines of `value`: for small ones.
#[inline]
pub(crate) fn whole<T>(value: &T) {
    let start: *const u8 = std::ptr::from_ref(value).cast();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
    line(start.wrapping_add(size_of::<T>().saturating_sub(1)));
}
