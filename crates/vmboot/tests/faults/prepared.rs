//! Boots that are prepared once.

use boot_core::{GuestRange, LoadError, RegionKind, Sources};
use guest_ram::PreparedBoot;
use libtest_mimic::Failed;

use crate::boot::{INITRD, Kernel, is_caused_by, plans};
use crate::loaded::{Expected, assert_untouched, ram};
use crate::memory::for_each_plan;
use crate::reads::{Fault, Operations};
use crate::samples;

/// Each operation of the sources fails in turn.
pub(crate) fn every_operation_fails() -> Result<(), Failed> {
    let mut total = 0;
    for sample in samples::all() {
        let opened = Kernel::open(&sample.file)?;
        // The operations of a layer in memory are none.
        if !matches!(opened, Kernel::Source(_)) {
            continue;
        }
        let (machine, plans) = plans(&sample.file)?;
        for plan in &plans {
            for at in 0.. {
                let operations = Operations::new(Fault::Eio(at));
                let (kernel, initrd) = (operations.source(&sample.file), operations.source(INITRD));
                let sources = Sources::kernel(&kernel).with_initrd(&initrd);
                match PreparedBoot::new(plan, &sources) {
                    Err(error) => assert!(is_caused_by(&error, libc::EIO), "{error:?}"),
                    Ok(prepared) => {
                        let mut memory = ram(&machine.memory);
                        prepared.load(&mut memory)?;
                        Expected::new(plan, &sample.file).check(&memory);
                        total += at;
                        break;
                    }
                }
            }
        }
    }
    println!("{total} operations failed");
    assert!(total > 20);
    Ok(())
}

/// A hole is found before anything is written or mapped.
pub(crate) fn holes() -> Result<(), Failed> {
    for_each_plan(|map, plan, kernel| {
        let sources = Sources::kernel(kernel).with_initrd(&INITRD);
        let prepared = PreparedBoot::new(plan, &sources)?;
        for missing in plan.loads() {
            let last = missing.range.end() - 1;
            let page = GuestRange::new(last - last % 0x1000, 0x1000).ok_or("no page")?;
            let mut map = map.clone();
            map.reserve(page, RegionKind::Reserved)?;
            let mut memory = ram(&map);
            let result = prepared.load(&mut memory);
            let Err(LoadError::NoMemory { .. }) = result else {
                return Err(format!("{}: {result:?}", missing.label).into());
            };
            assert_untouched(plan, &memory);
        }
        Ok(())
    })
}
