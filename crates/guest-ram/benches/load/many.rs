//! Many machines of one prepared boot: time for each, and memory for all.

use std::fs;
use std::time::{Duration, Instant};

use boot_core::GuestMemory;
use guest_ram::{GuestRam, PreparedBoot};

use crate::methods::Pages;
use crate::rows::Rows;

/// The number of machines.
const MACHINES: usize = 1000;

/// What the machines take.
pub(crate) struct Many {
    /// Median time to map the memory of a machine.
    pub(crate) map: Duration,
    /// Median time to load the boot into it.
    pub(crate) load: Duration,
    /// Memory of all machines that have read every page of the boot, in relation to the length of its pages (`Pss` in proc_pid_smaps(5)).
    pub(crate) copies: f64,
}

impl Many {
    /// Loads the boot into the memory of 1,000 machines, which stay until all have read their pages.
    pub(crate) fn measure(prepared: &PreparedBoot) -> Self {
        let before = proportional_set_size();
        let (mut map, mut load) = (Vec::new(), Vec::new());
        let machines: Vec<GuestRam> = (0..MACHINES)
            .map(|_| {
                let start = Instant::now();
                let mut ram = Pages::Plain.map();
                let mapped = Instant::now();
                prepared.load(&mut ram).unwrap();
                load.push(mapped.elapsed());
                map.push(mapped - start);
                ram
            })
            .collect();
        for ram in &machines {
            for pages in prepared.pages() {
                for addr in (pages.range.start()..pages.range.end()).step_by(0x1000) {
                    ram.read(addr, &mut [0]).unwrap();
                }
            }
        }
        let taken = proportional_set_size() - before;
        let len: u64 = prepared.pages().iter().map(|pages| pages.range.len()).sum();
        Self {
            map: median(map),
            load: median(load),
            copies: taken / f64::from(u32::try_from(len).unwrap()),
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Of this process, in bytes.
fn proportional_set_size() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    let kib: u32 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    f64::from(kib) * 1024.0
}

/// Prints what the machines take.
pub(crate) fn print(name: &str, prepared: &PreparedBoot, rows: &mut Rows) {
    let Many { map, load, copies } = Many::measure(prepared);
    let [map, load] = [map, load].map(|time| time.as_secs_f64() * 1e6);
    rows.add(format!("{name}: a prepared machine"), map + load, "us");
    rows.add(format!("{name}: copies of the pages"), copies, "x");
    println!(
        "{name:<18} {MACHINES} prepared machines: {map:.1} us each to map the memory, {load:.1} us to load; all have {copies:.3} copies of the pages"
    );
}
