//! Counts allocations of the whole process, on top of the allocator that the program ships with.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Each thread adds to the sum only now and then: one shared counter would cost more than what it counts.
const STRIDE: u64 = 256;
static SUM: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NEAR: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that is ending has no counter any more.
    let _ = NEAR.try_with(|near| {
        let count = near.get() + 1;
        if count == STRIDE {
            SUM.fetch_add(STRIDE, Ordering::Relaxed);
            near.set(0);
        } else {
            near.set(count);
        }
    });
}

// Every call goes to mimalloc unchanged, so its promises are ours.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(at, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { MiMalloc.realloc(at, layout, size) }
    }
}

/// Allocations and reallocations so far, exact to [`STRIDE`] per thread.
pub fn allocations() -> u64 {
    SUM.load(Ordering::Relaxed)
}
