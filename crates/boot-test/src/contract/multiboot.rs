//! Requirements of Multiboot 0.6.96 and Multiboot2 2.0.

use boot_core::{BootFile, BootPlan, BootRequest, LoadContent};
use boot_multiboot::Multiboot2Metadata;

use super::{boot_cpu, check_extent};
use crate::promises;
use crate::view::View;

/// Checks the plan of `request`, of either version.
///
/// # Errors
///
/// A description of the first requirement that is not met.
///
/// # Panics
///
/// If an address and a length in the plan exceed the address space.
pub fn check(request: &BootRequest<'_>, plan: &BootPlan) -> Result<(), String> {
    let state = boot_cpu(plan)?;
    promises::loads(request, plan.loads(), plan.kernel())?;
    check_extent(plan)?;
    for load in plan.loads().iter().filter(|load| !load.is_kernel()) {
        ensure!(
            load.range.start() >= 0x1000 || load.label == "BIOS data area",
            "{load:?} is in the first page"
        );
    }
    // ET, bit 4, is not writable.
    ensure!(
        state.cr0 & !0x10 == 1 && state.cr4 == 0 && state.efer == 0,
        "the control registers"
    );
    ensure!(state.rflags & 0x2_0200 == 0, "flags {:#x}", state.rflags);
    ensure!(
        state.cs.descriptor() == 0x00cf_9b00_0000_ffff,
        "CS {:?}",
        state.cs
    );
    for segment in [state.ds, state.es, state.fs, state.gs, state.ss] {
        ensure!(
            segment.descriptor() == 0x00cf_9300_0000_ffff,
            "a data segment {segment:?}"
        );
    }
    let low = plan.loads().iter().all(|load| load.range.end() <= 1 << 32);
    ensure!(low && plan.kernel().end() <= 1 << 32, "something is above 4 GiB");

    let info = Info {
        request,
        plan,
        view: View(plan),
        at: state.rbx,
    };
    ensure!(state.rbx < 1 << 32, "EBX is {:#x}", state.rbx);
    match state.rax {
        0x2bad_b002 => {
            ensure!(
                plan.kernel() == request.image.extent(),
                "the kernel of version 1 was moved"
            );
            info.v1()
        }
        0x36d7_6289 => info.v2(),
        other => Err(format!("EAX is {other:#x}")),
    }
}

struct Info<'a> {
    request: &'a BootRequest<'a>,
    plan: &'a BootPlan,
    view: View<'a>,
    at: u64,
}

impl Info<'_> {
    fn v1(&self) -> Result<(), String> {
        let field = |offset: u64| self.view.number(self.at + offset, 4);
        ensure!(field(0)? == 0x24d, "flags {:#x}", field(0)?);
        self.memory_sizes(field(4)?, field(8)?)?;
        self.line(field(16)?)?;
        let (count, list) = (field(20)?, field(24)?);
        for (i, (id, len, cmdline)) in (0..).zip(self.files()) {
            let at = list + 16 * i;
            let (start, end) = (self.view.number(at, 4)?, self.view.number(at + 4, 4)?);
            self.module(id, len, start, end)?;
            let string = match self.view.number(at + 8, 4)? {
                0 => Vec::new(),
                string => self.view.string(string)?,
            };
            ensure!(string == cmdline.as_bytes(), "the {id} has the string {string:?}");
            ensure!(self.view.number(at + 12, 4)? == 0, "the {id}'s reserved field");
        }
        ensure!(count == self.files().len() as u64, "{count} modules");
        let (len, map) = (field(44)?, field(48)?);
        let regions = self.request.machine.memory.regions();
        ensure!(len == 24 * regions.len() as u64, "a memory map of {len:#x} bytes");
        for i in 0..regions.len() {
            let at = map + 24 * i as u64;
            ensure!(self.view.number(at, 4)? == 20, "the size of entry {i}");
            self.region(i, at + 4)?;
        }
        ensure!(
            self.view.string(field(64)?)? == b"vmboot",
            "the boot loader's name"
        );
        for offset in [
            12, 28, 32, 36, 40, 52, 56, 60, 68, 72, 76, 80, 84, 88, 92, 96, 100, 104, 108, 112,
        ] {
            ensure!(field(offset)? == 0, "the field at {offset} is in use");
        }
        Ok(())
    }

    fn v2(&self) -> Result<(), String> {
        let header = self.request.image.metadata::<Multiboot2Metadata>();
        let relocatable = header.and_then(|header| header.relocatable);
        match relocatable {
            None => ensure!(
                self.plan.kernel() == self.request.image.extent(),
                "the kernel was moved"
            ),
            Some(rule) => ensure!(
                u64::from(rule.min_addr) <= self.plan.kernel().start()
                    && self.plan.kernel().end() <= u64::from(rule.max_addr) + 1
                    && self.plan.kernel().start().is_multiple_of(rule.align.into()),
                "{} breaks {rule:?}",
                self.plan.kernel()
            ),
        }
        ensure!(self.at.is_multiple_of(8), "the information is at {:#x}", self.at);
        let total = self.view.number(self.at, 4)?;
        ensure!(self.view.number(self.at + 4, 4)? == 0, "the reserved field");
        let mut files = self.files().into_iter();
        let mut kinds = Vec::new();
        let mut at = self.at + 8;
        loop {
            let (kind, size) = (self.view.number(at, 4)?, self.view.number(at + 4, 4)?);
            ensure!(
                size >= 8 && at + size <= self.at + total,
                "a tag of {size:#x} bytes"
            );
            let body = |offset: u64| self.view.number(at + 8 + offset, 4);
            let string = |offset: u64| {
                let string = self.view.string(at + offset)?;
                ensure!(
                    offset + string.len() as u64 + 1 == size,
                    "the string of tag {kind}"
                );
                Ok(string)
            };
            match kind {
                0 => {
                    ensure!(size == 8 && at + 8 == self.at + total, "the end tag");
                    break;
                }
                1 => {
                    string(8)?;
                    self.line(at + 8)?;
                }
                2 => ensure!(string(8)? == b"vmboot", "the boot loader's name"),
                3 => {
                    let (id, len, cmdline) = files.next().ok_or("a module too many")?;
                    self.module(id, len, body(0)?, body(4)?)?;
                    ensure!(string(16)? == cmdline.as_bytes(), "the string of the {id}");
                }
                4 => {
                    ensure!(size == 16, "the memory sizes have {size:#x} bytes");
                    self.memory_sizes(body(0)?, body(4)?)?;
                }
                6 => {
                    let regions = self.request.machine.memory.regions();
                    ensure!(
                        size == 16 + 24 * regions.len() as u64 && body(0)? == 24 && body(4)? == 0,
                        "a memory map of {size:#x} bytes"
                    );
                    for i in 0..regions.len() {
                        let entry = at + 16 + 24 * i as u64;
                        self.region(i, entry)?;
                        ensure!(
                            self.view.number(entry + 20, 4)? == 0,
                            "entry {i}'s reserved field"
                        );
                    }
                }
                21 => ensure!(
                    size == 12 && body(0)? == self.plan.kernel().start(),
                    "the load base is {:#x}",
                    body(0)?
                ),
                other => return Err(format!("a tag of type {other}")),
            }
            kinds.push(kind);
            at = (at + size).next_multiple_of(8);
        }
        ensure!(files.next().is_none(), "a module is missing");
        kinds.retain(|kind| *kind != 3);
        let expected: &[u64] = if relocatable.is_some() {
            &[1, 2, 4, 6, 21]
        } else {
            &[1, 2, 4, 6]
        };
        ensure!(kinds == expected, "tags {kinds:?}");
        Ok(())
    }

    fn files(&self) -> Vec<(BootFile, u64, String)> {
        let modules = self.request.modules.iter().enumerate();
        let modules =
            modules.map(|(i, module)| (BootFile::Module(i), module.len, module.cmdline.to_string()));
        let initrd = self.request.initrd_len;
        modules
            .chain(initrd.map(|len| (BootFile::Initrd, len.get(), String::new())))
            .collect()
    }

    fn module(&self, id: BootFile, len: u64, start: u64, end: u64) -> Result<(), String> {
        let loads: Vec<_> = self
            .plan
            .loads()
            .iter()
            .filter(|load| matches!(load.content, LoadContent::File { id: found, .. } if found == id))
            .map(|load| (load.range.start(), load.range.end()))
            .collect();
        ensure!(
            end - start == len && start.is_multiple_of(0x1000),
            "the {id} is at {start:#x}"
        );
        if len == 0 {
            ensure!(
                start == 0 && loads.is_empty(),
                "the {id}, of no bytes, is at {start:#x}"
            );
        } else {
            ensure!(loads == [(start, end)], "the {id} is not at {start:#x}");
        }
        Ok(())
    }

    fn line(&self, at: u64) -> Result<(), String> {
        let line = self.view.string(at)?;
        ensure!(
            line == self.request.cmdline.to_string().as_bytes(),
            "the command line is {line:?}"
        );
        Ok(())
    }

    fn memory_sizes(&self, lower: u64, upper: u64) -> Result<(), String> {
        let map = &self.request.machine.memory;
        let kib = |start: u64, max: u64| {
            let ram = map
                .ram()
                .find(|range| range.start() <= start && start < range.end());
            ram.map_or(0, |range| range.end().min(max).saturating_sub(start)) / 1024
        };
        let expected = (kib(0, 640 * 1024), kib(1 << 20, u64::MAX).min(0xffff_ffff));
        ensure!(
            (lower, upper) == expected,
            "{lower} KiB and {upper} KiB, not {expected:?}"
        );
        Ok(())
    }

    fn region(&self, i: usize, at: u64) -> Result<(), String> {
        let region = &self.request.machine.memory.regions()[i];
        let kind = match region.kind.name() {
            "ram" => 1,
            "reserved" => 2,
            "acpi-reclaimable" => 3,
            "acpi-nvs" => 4,
            "unusable" => 5,
            "persistent" => 7,
            other => return Err(format!("a region of the kind {other}")),
        };
        let entry = (
            self.view.number(at, 8)?,
            self.view.number(at + 8, 8)?,
            self.view.number(at + 16, 4)?,
        );
        ensure!(
            entry == (region.range.start(), region.range.len(), kind),
            "{region:?} became {entry:x?}"
        );
        Ok(())
    }
}
