//! Many machines in one process: nothing of them may stay.

use std::error::Error;
use std::fs;

use super::build::Build;
use super::checks::conforms;
use crate::case::TestResult;
use crate::setup::Setup;

/// The number of machines, unless the variable [`MACHINES`] has another.
const DEFAULT: u32 = 16;

/// Machines before the first measurement: allocator and thread library keep memory for later use.
const WARM_UP: u32 = 6;

/// The variable with a number of machines, for long runs.
const MACHINES: &str = "VMBOOT_SOAK";

/// Mappings that the allocator may add later.
const MORE_MAPPINGS: usize = 8;

/// Resident memory in KiB that the allocator may add later.
const MORE_KIB: u64 = 4096;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    mappings: usize,
    resident_kib: u64,
}

impl Held {
    fn now() -> Result<Self, Box<dyn Error>> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
            resident_kib: resident.ok_or("no VmRSS")?.parse()?,
        })
    }
}

/// Machine after machine conforms, and the process holds as much after the last as after the first few.
pub(super) fn holds_nothing(build: Build, setup: &Setup) -> TestResult {
    let machines = match std::env::var(MACHINES) {
        Ok(number) => number.parse()?,
        Err(_) => DEFAULT,
    };
    for _ in 0..WARM_UP {
        conforms(build, setup)?;
    }
    let first = Held::now()?;
    println!("after {WARM_UP} machines {first:?}");
    for number in WARM_UP + 1..=machines {
        conforms(build, setup)?;
        if [100, 1000].contains(&number) {
            println!("after {number} machines {:?}", Held::now()?);
        }
    }
    let last = Held::now()?;
    println!("after {machines} machines {last:?}");
    if last.descriptors == first.descriptors
        && last.mappings <= first.mappings + MORE_MAPPINGS
        && last.resident_kib <= first.resident_kib + MORE_KIB
    {
        return Ok(());
    }
    Err(format!("{machines} machines left something: {first:?} became {last:?}").into())
}
