//! Large copies on several threads.
//!
//! One thread cannot use all of a host's memory bandwidth, which limits copies from the page cache to resident memory.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};

use boot_core::{GuestRange, MemoryError};

use crate::huge_pages::HUGE_PAGE;
use crate::idle_cpus::idle_cpus;

/// The default limit of threads. More threads gain little.
const MAX_THREADS: usize = 4;

/// How a copy is divided into chunks for threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParallelCopy {
    /// The limit of threads, the calling one included; `None` for the default.
    pub(crate) threads: Option<usize>,
    /// Shorter ranges, in bytes, are copied by the calling thread: to start another takes as long as the copy.
    pub(crate) min_len: u64,
    /// Chunks end at multiples of this guest physical address: the size of a huge page, so that two threads never populate
    /// the same huge page.
    pub(crate) chunk_len: NonZero<u64>,
}

impl ParallelCopy {
    /// A thread more for each CPU that is idle, as many as the process has CPUs, at most [`MAX_THREADS`].
    pub(crate) const AUTOMATIC: Self = Self {
        threads: None,
        min_len: 2 * HUGE_PAGE,
        chunk_len: NonZero::new(HUGE_PAGE).unwrap(),
    };

    /// The same with at most `threads` threads, the calling one included.
    pub(crate) const fn with_threads(self, threads: usize) -> Self {
        Self {
            threads: Some(threads),
            ..self
        }
    }

    /// The number of threads for a range of `chunks` chunks.
    fn threads(self, chunks: u64) -> usize {
        let most = self.threads.unwrap_or_else(automatic);
        most.min(usize::try_from(chunks).unwrap_or(usize::MAX))
    }

    /// Calls `work` with every chunk of `range` on several threads, the calling one included, or once with a short range.
    ///
    /// Chunks are started by ascending address, and none after a failure. So all chunks before a failed one were started,
    /// and the error of the lowest failed one is returned: the same as with a single thread.
    ///
    /// If the host cannot start a thread, the others do its work.
    pub(crate) fn run<F>(self, range: GuestRange, work: F) -> Result<(), MemoryError>
    where
        F: Fn(GuestRange) -> Result<(), MemoryError> + Sync,
    {
        if range.len() < self.min_len.max(1) {
            return work(range);
        }
        let chunks = Chunks {
            range,
            size: self.chunk_len,
        };
        let threads = self.threads(chunks.count());
        if threads < 2 {
            return work(range);
        }
        let next = AtomicU64::new(0);
        let failure = Mutex::new(None::<(u64, MemoryError)>);
        let work_on = || {
            // The counter only assigns numbers; starting and joining the threads orders the memory accesses.
            while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = work(chunk) {
                    next.store(chunks.count(), Ordering::Relaxed);
                    let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|(at, _)| chunk.start() < *at) {
                        *first = Some((chunk.start(), error));
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                // `thread::spawn` would panic.
                if Builder::new().spawn_scoped(scope, work_on).is_err() {
                    break;
                }
            }
            work_on();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

/// The number of CPUs of the process, at most [`MAX_THREADS`], and one more than are idle. A thread that has to wait for a CPU would hold up the copy.
fn automatic() -> usize {
    // It is read from files (the quota of the control group) and seldom changes.
    static CPUS: OnceLock<usize> = OnceLock::new();
    let cpus = || thread::available_parallelism().map_or(1, NonZero::get);
    let most = (*CPUS.get_or_init(cpus)).min(MAX_THREADS);
    if most < 2 {
        return most;
    }
    idle_cpus().map_or(most, |idle| most.min(idle.saturating_add(1)))
}

/// A range divided at multiples of a size.
#[derive(Clone, Copy)]
struct Chunks {
    /// Not empty.
    range: GuestRange,
    size: NonZero<u64>,
}

impl Chunks {
    /// The number of the chunk that holds `addr`, counted from address 0.
    fn number(self, addr: u64) -> u64 {
        addr / self.size
    }

    fn count(self) -> u64 {
        // The range is not empty, so it has a last address.
        self.number(self.range.end() - 1) - self.number(self.range.start()) + 1
    }

    fn get(self, index: u64) -> Option<GuestRange> {
        if index >= self.count() {
            return None;
        }
        let from = (self.number(self.range.start()) + index) * self.size.get();
        let to = from.saturating_add(self.size.get());
        GuestRange::from_bounds(from.max(self.range.start()), to.min(self.range.end()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread::ThreadId;

    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    fn parallel(threads: usize, min_len: u64, chunk_len: u64) -> ParallelCopy {
        ParallelCopy {
            threads: Some(threads),
            min_len,
            chunk_len: NonZero::new(chunk_len).unwrap(),
        }
    }

    /// Runs a copy; returns the chunks, sorted, and the threads that copied them.
    fn run(copy: ParallelCopy, range: GuestRange) -> (Vec<(u64, u64)>, BTreeSet<String>) {
        let seen = Mutex::new((Vec::new(), BTreeSet::new()));
        let work = |chunk: GuestRange| {
            let mut seen = seen.lock().unwrap();
            seen.0.push((chunk.start(), chunk.end()));
            seen.1.insert(format!("{:?}", thread::current().id()));
            Ok(())
        };
        copy.run(range, work).unwrap();
        let (mut chunks, threads) = seen.into_inner().unwrap();
        chunks.sort_unstable();
        (chunks, threads)
    }

    #[test]
    fn chunks_cover_the_range_and_end_at_multiples() {
        let check = |start, end, expected: &[(u64, u64)]| {
            let found = run(parallel(3, 1, 0x10), range(start, end)).0;
            assert_eq!(found, expected, "{start:#x}..{end:#x}");
        };
        check(0, 0, &[(0, 0)]);
        check(0, 0x10, &[(0, 0x10)]);
        check(0xf, 0x11, &[(0xf, 0x10), (0x10, 0x11)]);
        check(
            0x8,
            0x38,
            &[(0x8, 0x10), (0x10, 0x20), (0x20, 0x30), (0x30, 0x38)],
        );
        check(
            u64::MAX - 0x11,
            u64::MAX,
            &[(u64::MAX - 0x11, u64::MAX - 0xf), (u64::MAX - 0xf, u64::MAX)],
        );
    }

    #[test]
    fn what_is_not_worth_it_stays_in_one_piece_on_the_calling_thread() {
        let own: ThreadId = thread::current().id();
        for (copy, end) in [
            (parallel(4, 0x1000, 0x10), 0xfff),
            (parallel(1, 0, 0x10), 0x1000),
            (parallel(0, 0, 0x10), 0x1000),
            (parallel(4, 0, 0x1000), 0x1000),
            (ParallelCopy::AUTOMATIC, 2 * HUGE_PAGE - 1),
            (ParallelCopy::AUTOMATIC.with_threads(1), 64 * HUGE_PAGE),
        ] {
            let (chunks, threads) = run(copy, range(0, end));
            assert_eq!(chunks, [(0, end)], "{copy:?}");
            assert_eq!(threads, BTreeSet::from([format!("{own:?}")]), "{copy:?}");
        }
    }

    #[test]
    fn several_threads_work_at_once() {
        // The barrier blocks until three threads have reached it.
        let barrier = std::sync::Barrier::new(3);
        let threads = Mutex::new(BTreeSet::new());
        let work = |_: GuestRange| {
            barrier.wait();
            threads
                .lock()
                .unwrap()
                .insert(format!("{:?}", thread::current().id()));
            Ok(())
        };
        parallel(3, 0, 0x10).run(range(0, 0x30), work).unwrap();
        assert_eq!(threads.into_inner().unwrap().len(), 3);
    }

    #[test]
    fn of_several_failures_the_first_in_memory_wins() {
        let failed_at = |chunk: GuestRange| Err(MemoryError::NotBacked(chunk));
        for threads in 1..5 {
            for _ in 0..200 {
                let work = |chunk: GuestRange| match chunk.start() {
                    0x40.. => failed_at(chunk),
                    _ if threads == 1 => failed_at(range(0x40, 0x50)),
                    _ => Ok(()),
                };
                match parallel(threads, 0, 0x10).run(range(0, 0x1000), work) {
                    Err(MemoryError::NotBacked(found)) => assert_eq!(found, range(0x40, 0x50)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn nothing_begins_after_a_failure() {
        let begun = AtomicU64::new(0);
        let work = |chunk: GuestRange| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(MemoryError::NotBacked(chunk))
        };
        assert!(parallel(4, 0, 0x10).run(range(0, 0x1000), work).is_err());
        // Each thread begins at most one chunk more.
        assert!(begun.into_inner() <= 4);
    }
}
