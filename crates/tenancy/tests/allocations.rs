//! What is answered from memory allocates nothing.

#![expect(unsafe_code, reason = "an allocator that counts is one")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is the system's allocator's; the count needs none itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

#[tokio::test]
async fn a_credential_that_is_cached_is_taken_without_an_allocation() {
    let (authenticator, headers) = support::devices(64);
    for header in &headers {
        authenticator
            .authenticate(Some(header), None)
            .await
            .unwrap();
    }
    let counted = allocations(|| {
        for header in &headers {
            assert!(authenticator.cached(Some(header)).is_some());
        }
    });
    assert_eq!(counted, 0);
    assert!(allocations(|| drop(Box::new(1))) == 1, "it counts");
}
