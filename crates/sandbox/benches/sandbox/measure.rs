//! Times, as a multiple of one bare round trip of the same run.

use std::time::{Duration, Instant};

/// Number of samples of a row.
const SAMPLES: usize = 31;

/// Time of one call of `f`: the lowest tenth of the samples, each the mean of `batch` calls. Other work on the machine only adds time.
pub(crate) fn time(batch: u32, mut f: impl FnMut()) -> Duration {
    f();
    let sample = || {
        let start = Instant::now();
        for _ in 0..batch {
            f();
        }
        start.elapsed() / batch
    };
    lowest_tenth(std::iter::repeat_with(sample).take(SAMPLES).collect())
}

/// Time of one call of `f` with a value that `prepare` makes and nobody times. All values are dropped at the end, since the kernel frees
/// machines in the background.
pub(crate) fn time_with<T>(mut prepare: impl FnMut() -> T, mut f: impl FnMut(&mut T)) -> Duration {
    let mut values = Vec::with_capacity(SAMPLES);
    let sample = || {
        let mut value = prepare();
        let start = Instant::now();
        f(&mut value);
        let elapsed = start.elapsed();
        values.push(value);
        elapsed
    };
    lowest_tenth(std::iter::repeat_with(sample).take(SAMPLES).collect())
}

/// The lowest tenth of `samples`: the value at a tenth of their number.
pub(crate) fn lowest_tenth(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 10).copied().unwrap_or_default()
}

/// Proportional set size of this process in KiB (`/proc/self/smaps_rollup`).
pub(crate) fn proportional_set_size() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("smaps_rollup is readable");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("smaps_rollup has a line Pss")
}
