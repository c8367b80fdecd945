//! CPUs on which nothing runs.

/// The number of the host's CPUs on which nothing runs. `None` where the host does not tell: without procfs, or on another system than Linux.
#[cfg(target_os = "linux")]
pub(crate) fn idle_cpus() -> Option<usize> {
    use std::fs::File;
    use std::io::Read as _;

    let mut text = [0; 0x80];
    let len = File::open("/proc/loadavg").ok()?.read(&mut text).ok()?;
    let runnable = runnable(text.get(..len)?)?;
    Some(crate::pages::online_cpus()?.saturating_sub(runnable))
}

/// No CPU is known to be idle.
#[cfg(not(target_os = "linux"))]
pub(crate) fn idle_cpus() -> Option<usize> {
    None
}

/// The number of threads of the host that run or wait for a CPU, in the text of `/proc/loadavg`. The thread that reads it is one of them.
#[cfg(any(target_os = "linux", test))]
fn runnable(loadavg: &[u8]) -> Option<usize> {
    // proc_loadavg(5): three averages, then the number of runnable threads and that of all, divided by a slash.
    let text = std::str::from_utf8(loadavg).ok()?;
    let (runnable, _) = text.split(' ').nth(3)?.split_once('/')?;
    runnable.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runnable_threads_are_the_first_half_of_the_fourth_field() {
        let check = |text: &str, expected| assert_eq!(runnable(text.as_bytes()), expected, "{text:?}");
        check("0.20 0.18 0.12 1/80 11206\n", Some(1));
        check("12.00 8.01 3.99 17/2048 4194304\n", Some(17));
        check("0.20 0.18 0.12 1", None);
        check("0.20 0.18 0.12", None);
        check("", None);
        check("0.20 0.18 0.12 -1/80 11206", None);
        check("0.20 0.18 0.12 99999999999999999999/80 11206", None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_thread_keeps_a_cpu_busy() {
        // Without procfs there is nothing to find.
        if std::path::Path::new("/proc/loadavg").exists() {
            assert!(idle_cpus().unwrap() < crate::pages::online_cpus().unwrap());
        }
    }
}
