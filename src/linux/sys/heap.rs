//! The allocator. A run's few kilobytes come from an arena in .bss, one after the other, without a system call; only the last block
//! of the arena is ever given back or grown in place: a run makes its plan, keeps it, and ends. What does not fit there comes in
//! powers of two from larger pieces of memory, and is kept for the next of its size when it is given back, or, if it is large, is a
//! mapping of its own. The C library's would be 7 KB of code.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// On pages of its own, all of which [`forget_heap`] can give back.
#[repr(align(4096))]
pub(super) struct Heap {
    arena: UnsafeCell<[u8; ARENA]>,
}

const ARENA: usize = 64 << 10;
/// What is mapped at once for small blocks.
const PIECE: usize = 256 << 10;
/// The logarithm of the largest size that is no mapping of its own.
const LARGEST: usize = 15;

// SAFETY: the program has one thread; the state below is atomic only because a static must be.
unsafe impl Sync for Heap {}

#[cfg_attr(not(any(test, fuzzing)), global_allocator)]
pub(super) static HEAP: Heap = Heap { arena: UnsafeCell::new([0; ARENA]) };
/// How much of the arena.
static USED: AtomicUsize = AtomicUsize::new(0);
/// By the logarithm of their size: the block that was given back last, in whose first bytes the one before it stands, and so on.
static FREE: [AtomicUsize; LARGEST + 1] = [const { AtomicUsize::new(0) }; LARGEST + 1];
/// What is left of the piece of memory, and its end.
static LEFT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Gives the pages of the arena back to the kernel.
pub(super) fn forget_heap() {
    let page = super::page();
    let start = (HEAP.arena.get() as usize).next_multiple_of(page);
    let length = (HEAP.arena.get() as usize + ARENA - start) / page * page;
    // SAFETY: whole pages of the arena; by the contract of the function outside, nothing that is in them is used any more.
    unsafe { libc::madvise(start as *mut _, length, libc::MADV_DONTNEED) };
}

impl Heap {
    /// Where the block begins in the arena, if it is one of its blocks.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        (block as usize).checked_sub(self.arena.get() as usize).filter(|offset| *offset < ARENA)
    }
}

/// The logarithm of the size that a block has which is not of the arena.
fn class(layout: Layout) -> usize {
    // 16, since a block that was given back has the address of another in it, and nearly all alignments are less.
    layout.size().max(layout.align()).max(16).next_power_of_two().trailing_zeros() as usize
}

/// Memory of the kernel's; null if there is none.
fn map(size: usize) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let block = unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) };
    if block == libc::MAP_FAILED { null_mut() } else { block.cast() }
}

/// A block outside of the arena. Nothing is aligned to more than a page.
fn take(layout: Layout) -> *mut u8 {
    let class = class(layout);
    if class > LARGEST {
        return map(layout.size());
    }
    let free = FREE[class].load(Relaxed) as *mut usize;
    if !free.is_null() {
        // SAFETY: a block that nobody uses, of 16 bytes at least and aligned to them, with what `give` wrote into it.
        FREE[class].store(unsafe { *free }, Relaxed);
        return free.cast();
    }
    let size = 1 << class;
    let mut start = LEFT[0].load(Relaxed).next_multiple_of(size.min(4096));
    if start + size > LEFT[1].load(Relaxed) {
        start = map(PIECE) as usize;
        if start == 0 {
            return null_mut();
        }
        LEFT[1].store(start + PIECE, Relaxed);
    }
    LEFT[0].store(start + size, Relaxed);
    start as *mut u8
}

/// Takes back what [`take`] gave.
///
/// # Safety
/// The block must be `take`'s of the same layout, and not be used any more.
unsafe fn give(block: *mut u8, layout: Layout) {
    let class = class(layout);
    // SAFETY: the caller's promise; a small block has room for an address, a large one is a mapping of this size.
    unsafe {
        if class > LARGEST {
            libc::munmap(block.cast(), layout.size());
        } else {
            *block.cast() = FREE[class].swap(block as usize, Relaxed);
        }
    }
}

// SAFETY: blocks of the arena do not overlap, since USED only grows past them or back to the start of the last one, and are aligned
// by their absolute address; those of a piece neither, since LEFT only grows past them or goes to a new piece, and they are aligned
// to their size or a page. A block is in FREE only between `give` and the next `take`.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get() as usize;
        let start = (base + USED.load(Relaxed)).next_multiple_of(layout.align()) - base;
        match start.checked_add(layout.size()).filter(|end| *end <= ARENA) {
            Some(end) => {
                USED.store(end, Relaxed);
                // SAFETY: start is within the arena.
                unsafe { self.arena.get().cast::<u8>().add(start) }
            }
            None => take(layout),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(start) if start + layout.size() == USED.load(Relaxed) => USED.store(start, Relaxed),
            Some(_) => {}
            // SAFETY: not the arena's, so from `take`; the rest is the caller's promise.
            None => unsafe { give(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by GlobalAlloc's contract, the size is possible with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match self.offset(block) {
            Some(start) if start + layout.size() == USED.load(Relaxed) && start + size <= ARENA => {
                USED.store(start + size, Relaxed);
                return block;
            }
            Some(_) if size <= layout.size() => return block,
            None if class(layout) > LARGEST && class(wanted) > LARGEST => {
                // SAFETY: a mapping of `take`'s; nobody uses the old address any more.
                let moved = unsafe { libc::mremap(block.cast(), layout.size(), size, libc::MREMAP_MAYMOVE) };
                return if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() };
            }
            None if class(layout) == class(wanted) => return block,
            _ => {}
        }
        // SAFETY: the old block is the caller's until it is given back, and the new one does not lie in it.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                copy_nonoverlapping(block, new, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of many sizes that grow, shrink and go, each full of a byte of its own: one over another would be seen.
    #[test]
    fn blocks_keep_what_is_in_them() {
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut random = 1u64;
        for turn in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = 1 + (random >> 33) as usize % (1 << ((random >> 20) % 18 + 1));
            let layout = Layout::from_size_align(size, 1 << ((random >> 50) % 7)).unwrap();
            let byte = turn as u8;
            let old = if blocks.len() < 100 { None } else { Some(blocks.swap_remove((random >> 40) as usize % 100)) };
            // SAFETY: each block is used within its size, and not any more after it was handed to dealloc or realloc.
            unsafe {
                let block = match old {
                    Some((block, old, byte)) => {
                        let same = std::slice::from_raw_parts(block, old.size()).iter().all(|found| *found == byte);
                        assert!(same, "turn {turn}: {old:?}");
                        if turn % 3 == 0 {
                            HEAP.dealloc(block, old);
                            continue;
                        }
                        let layout = Layout::from_size_align(size, old.align()).unwrap();
                        let block = HEAP.realloc(block, old, size);
                        let kept = std::slice::from_raw_parts(block, size.min(old.size()));
                        assert!(kept.iter().all(|found| *found == byte), "turn {turn}: {old:?} to {size}");
                        (block, layout)
                    }
                    None => (HEAP.alloc(layout), layout),
                };
                assert!(!block.0.is_null() && (block.0 as usize).is_multiple_of(block.1.align()), "turn {turn}");
                block.0.write_bytes(byte, block.1.size());
                blocks.push((block.0, block.1, byte));
            }
        }
    }
}
