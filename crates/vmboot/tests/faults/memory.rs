//! Memory that fails, has holes, or cannot be written.

use std::io;
use std::sync::Arc;

use boot_core::{
    BootFile, BootPlan, ByteSource, GuestMemory, GuestRange, LoadContent, LoadError, MemoryError, MemoryMap,
    RegionKind,
};
use guest_ram::GuestRam;
use libtest_mimic::Failed;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::boot::{INITRD, Kernel, is_caused_by, load, plans};
use crate::loaded::{PAGE, assert_untouched, ram};
use crate::samples;

/// Memory whose operation with this number fails, of which the first is number 0.
struct Failing<'a> {
    ram: &'a mut GuestRam,
    count: std::cell::Cell<u32>,
    at: u32,
    is_check: std::cell::Cell<bool>,
}

impl Failing<'_> {
    fn operation(&self, range: GuestRange, is_check: bool) -> Result<(), MemoryError> {
        let number = self.count.replace(self.count.get() + 1);
        if number != self.at {
            return Ok(());
        }
        self.is_check.set(is_check);
        let source = io::Error::from_raw_os_error(libc::EFAULT).into();
        Err(MemoryError::Access { range, source })
    }
}

impl GuestMemory for Failing<'_> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.operation(range, true)?;
        self.ram.check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.operation(GuestRange::new(addr, bytes.len() as u64).unwrap(), false)?;
        self.ram.write(addr, bytes)
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.operation(range, false)?;
        self.ram.zero(range)
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.ram.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.operation(range, false)?;
        self.ram.copy_from(range, source, offset)
    }
}

/// Calls `run` for each plan of each sample.
pub(crate) fn for_each_plan(
    mut run: impl FnMut(&MemoryMap, &BootPlan, &dyn ByteSource) -> Result<(), Failed>,
) -> Result<(), Failed> {
    for sample in samples::all() {
        let file: &dyn ByteSource = &sample.file;
        let kernel = Kernel::open(file)?;
        let (machine, plans) = plans(kernel.source())?;
        assert_eq!(plans.len(), sample.protocols, "{}", sample.name);
        for plan in &plans {
            run(&machine.memory, plan, kernel.source())?;
        }
    }
    Ok(())
}

/// A failed check leaves memory untouched; a failed write is the end of the boot.
pub(crate) fn every_operation_fails() -> Result<(), Failed> {
    let mut total = 0;
    for_each_plan(|map, plan, kernel| {
        // Each load is checked, and written.
        let operations = 2 * u32::try_from(plan.loads().len())?;
        for at in 0..=operations {
            let mut ram = ram(map);
            let (count, is_check) = Default::default();
            let mut memory = Failing {
                ram: &mut ram,
                count,
                at,
                is_check,
            };
            let result = load(plan, kernel, &INITRD, &mut memory);
            let is_check = memory.is_check.get();
            match result {
                Ok(()) => assert_eq!(at, operations),
                Err(error) => {
                    assert!(is_caused_by(&error, libc::EFAULT), "{error:?}");
                    match error {
                        LoadError::NoMemory { .. } => {
                            assert!(is_check);
                            assert_untouched(plan, &ram);
                        }
                        LoadError::Incomplete { .. } => assert!(!is_check),
                        error => return Err(format!("{error:?}").into()),
                    }
                }
            }
            total += 1;
        }
        Ok(())
    })?;
    println!("{total} loads");
    Ok(())
}

/// Memory that lacks the last page of a load is found before anything is written.
pub(crate) fn holes() -> Result<(), Failed> {
    for_each_plan(|map, plan, kernel| {
        for missing in plan.loads() {
            let last = missing.range.end() - 1;
            let page = GuestRange::new(last - last % PAGE, PAGE).ok_or("no page")?;
            let mut map = map.clone();
            map.reserve(page, RegionKind::Reserved)?;
            let mut ram = ram(&map);
            let error = load(plan, kernel, &INITRD, &mut ram).err();
            let Some(LoadError::NoMemory { label, range, .. }) = error else {
                return Err(format!("{}: {error:?}", missing.label).into());
            };
            // Several loads may be in the page.
            assert!(range.overlaps(page), "{label} at {range}, but {page} is missing");
            assert_untouched(plan, &ram);
        }
        Ok(())
    })
}

/// RAM above 1 MiB that the host cannot write: the error of the system call, which says which load it was.
pub(crate) fn read_only() -> Result<(), Failed> {
    let sample = samples::all()
        .into_iter()
        .find(|sample| sample.name == "ELF")
        .ok_or("no ELF file")?;
    let file = samples::write(&sample.file)?;
    let (machine, plans) = plans(&file)?;
    for plan in &plans {
        let regions = machine.memory.ram().map(|range| {
            let is_low = range.start() == 0;
            let protection = if is_low {
                libc::PROT_READ | libc::PROT_WRITE
            } else {
                libc::PROT_READ
            };
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let mapping = MmapRegion::<()>::build(None, usize::try_from(range.len())?, protection, flags)?;
            GuestRegionMmap::new(mapping, GuestAddress(range.start()))
                .ok_or_else(|| Failed::from("no region"))
        });
        let regions = regions.collect::<Result<Vec<_>, Failed>>()?;
        let mut ram = GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_regions(regions)?));
        let result = plan.load_if(&boot_core::Sources::kernel(&file), &mut ram, |load| {
            matches!(
                load.content,
                LoadContent::File {
                    id: BootFile::Kernel,
                    ..
                }
            )
        });
        let Err(error @ LoadError::Incomplete { .. }) = result else {
            return Err(format!("{result:?}").into());
        };
        assert!(is_caused_by(&error, libc::EFAULT), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("the kernel could not be written to 0x"),
            "{error}"
        );
    }
    Ok(())
}
