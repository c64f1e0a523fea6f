//! An allocator that counts, for the binary that measures memory.

#![expect(unsafe_code, reason = "an allocator is made of unsafe functions")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static LIVE: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
#[derive(Debug, Clone, Copy)]
pub struct Counting;

/// What was counted so far.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Bytes allocated and not freed.
    pub live: u64,
    /// Bytes ever allocated.
    pub allocated: u64,
    /// Allocations ever made.
    pub count: u64,
}

/// The counts at this moment; zero unless [`Counting`] is the global allocator.
pub fn counts() -> Counts {
    Counts {
        live: LIVE.load(Relaxed),
        allocated: ALLOCATED.load(Relaxed),
        count: COUNT.load(Relaxed),
    }
}

fn took(size: usize) {
    LIVE.fetch_add(size as u64, Relaxed);
    ALLOCATED.fetch_add(size as u64, Relaxed);
    COUNT.fetch_add(1, Relaxed);
}

fn gave(size: usize) {
    LIVE.fetch_sub(size as u64, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; the counters touch no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: `pointer` came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        // SAFETY: as for `dealloc`, and the caller answers for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
