//! State in memory.

use alloc::vec::Vec;
use core::hint::black_box;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use sandbox_guest::{guest_function, guest_init};

/// Number of calls of `count`.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What `start` wrote.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Runs before the first call.
#[guest_init]
fn start() {
    STARTED.fetch_add(41, Ordering::Relaxed);
    log::info!("start");
}

/// The number of times that `start` ran, times 41.
#[guest_function]
fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// The number of calls of this function.
#[guest_function]
fn count() -> u64 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

/// Address of the outbox.
#[guest_function]
fn outbox() -> u64 {
    sandbox_guest::boot_info().outbox.get()
}

/// Size of a page.
const PAGE: usize = 4096;

/// Writes one byte to each of `pages` pages of the heap, and frees them.
#[guest_function]
fn dirty(pages: u32) -> u32 {
    let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE);
    let mut memory = Vec::with_capacity(len);
    for page in memory.spare_capacity_mut().chunks_mut(PAGE) {
        page[0].write(1_u8);
    }
    drop(black_box(memory));
    pages
}

/// Allocates until there is no memory.
#[guest_function]
fn exhaust() {
    loop {
        mem::forget(black_box(alloc::vec![1_u8; 10_000]));
    }
}

/// Allocates, fills, grows and frees blocks of all sizes up to `max` bytes. Returns how many of them kept their contents.
#[guest_function]
fn churn(max: u32) -> u32 {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut good = 0;
    for len in 0..usize::try_from(max).unwrap_or_default() {
        let mark = len.to_le_bytes()[0];
        let mut block = alloc::vec![mark; len];
        block.resize(len + len / 2, mark);
        block.shrink_to_fit();
        blocks.push(block);
        if blocks.len() == 64 {
            let is_even = len % 2 == 0;
            let at = if is_even { 0 } else { 32 };
            for block in blocks.drain(at..at + 32) {
                good += u32::from(block.iter().all(|byte| Some(byte) == block.first()));
            }
        }
    }
    good + u32::try_from(blocks.len()).unwrap_or_default()
}

/// A payload of `len` bytes: byte `n` is `n % 251`.
#[guest_function]
fn produce(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// How many bytes of a payload are those of `produce`.
#[guest_function]
fn consume(bytes: &[u8]) -> u32 {
    let expected = (0..251).cycle();
    let equal = bytes
        .iter()
        .zip(expected)
        .filter(|(found, expected)| *found == expected);
    u32::try_from(equal.count()).unwrap_or(u32::MAX)
}

/// Compares and moves bytes with all lengths and alignments up to `max`. Returns the number of the first case that went wrong, or 0.
#[guest_function]
fn copies(max: u32) -> u32 {
    let max = usize::try_from(max).unwrap_or_default();
    let mut case = 0;
    let source: Vec<u8> = (0..max + 64)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    for len in 0..max {
        for (from, to) in [
            (0, 0),
            (1, 0),
            (0, 1),
            (3, 7),
            (7, 3),
            (8, 16),
            (16, 9),
            (5, 33),
            (33, 5),
        ] {
            case += 1;
            let mut memory = source.clone();
            memory.copy_within(from..from + len, to);
            let inside = black_box(&memory[to..to + len]) == black_box(&source[from..from + len]);
            let before = memory[..to] == source[..to];
            let after = memory[to + len..] == source[to + len..];
            memory[to..to + len].fill(0xa5);
            let filled = memory.iter().skip(to).take(len).all(|byte| *byte == 0xa5);
            let kept = memory[..to] == source[..to] && memory[to + len..] == source[to + len..];
            if !(inside && before && after && filled && kept) {
                return case;
            }
            if len > 0 {
                let mut other = source.clone();
                other[from + len - 1] = source[from + len - 1].wrapping_add(1);
                let (left, right) = (&source[from..from + len], &other[from..from + len]);
                let expected = source[from + len - 1].cmp(&other[from + len - 1]);
                if black_box(left).cmp(black_box(right)) != expected {
                    return case;
                }
            }
        }
    }
    0
}
