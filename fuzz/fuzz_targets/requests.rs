#![no_main]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes that requests of the fuzzer's size may cost at any time. All classes at once are the largest
/// thing there is to ask for.
const ALLOWED: usize = 64 << 20;

/// Counts what is held, and the most that ever was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        // SAFETY: our caller keeps its promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: our caller keeps its promises.
        unsafe { System.dealloc(at, layout) }
    }
}

libfuzzer_sys::fuzz_target!(
    // Reads the schema, which stays.
    init: virtcimd::fuzzing::requests(b""),
    |bytes: &[u8]| {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        virtcimd::fuzzing::requests(bytes);
        let most = MOST.load(Relaxed) - before;
        assert!(most <= ALLOWED, "{most} bytes for a request of {}", bytes.len());
    }
);
