//! This binary's allocator: the system's, with two figures beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static ALLOCATOR: Watched = Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Bytes this thread holds beyond those it held when it began to look, and the most it did.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The largest piece any thread ever asked for.
pub fn largest() -> usize {
    LARGEST.load(Ordering::Relaxed)
}

/// The most this thread held at once while the work lasted, beyond what it held before.
pub fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    HELD.set((0, 0));
    let done = work();
    (done, usize::try_from(HELD.get().1).unwrap_or(0))
}

fn count(bytes: isize) {
    // A thread that is ending counts no more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

struct Watched;

// Every call goes to the system's allocator unchanged, so its promises are ours.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // While it moves, both are held.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(at, layout, size) }
    }
}
