//! Memory after a load.

use boot_core::{BootFile, BootPlan, ByteSource, GuestMemory, GuestRange, LoadContent, MemoryMap};
use guest_ram::{GuestRam, HugePages, RamOptions};

use crate::boot::INITRD;

/// Length of a page of the host, or a part of it.
pub(crate) const PAGE: u64 = 0x1000;

/// New memory of a machine.
pub(crate) fn ram(map: &MemoryMap) -> GuestRam {
    RamOptions::new().huge_pages(HugePages::Avoid).build(map).unwrap()
}

/// The bytes of a range of memory.
fn bytes(ram: &GuestRam, range: GuestRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap()];
    ram.read(range.start(), &mut bytes).unwrap();
    bytes
}

/// The bytes that memory has after the load of a plan.
pub(crate) struct Expected<'a> {
    plan: &'a BootPlan,
    kernel: &'a dyn ByteSource,
}

impl<'a> Expected<'a> {
    /// The plan, and the kernel that it is for.
    pub(crate) fn new(plan: &'a BootPlan, kernel: &'a dyn ByteSource) -> Self {
        Self { plan, kernel }
    }

    /// Asserts that memory has the bytes.
    pub(crate) fn check(&self, ram: &GuestRam) {
        for load in self.plan.loads() {
            let mut expected = vec![0; usize::try_from(load.range.len()).unwrap()];
            match &load.content {
                LoadContent::File {
                    id: BootFile::Kernel,
                    range,
                } => {
                    self.kernel.read_exact_at(range.offset(), &mut expected).unwrap();
                }
                LoadContent::File { range, .. } => {
                    INITRD.read_exact_at(range.offset(), &mut expected).unwrap();
                }
                LoadContent::Bytes(bytes) => expected.copy_from_slice(bytes),
                _ => {}
            }
            assert!(bytes(ram, load.range) == expected, "the {} is wrong", load.label);
        }
    }
}

/// Asserts that no load was written. Memory is new, thus zero.
pub(crate) fn assert_untouched(plan: &BootPlan, ram: &GuestRam) {
    for load in plan.loads() {
        for page in (load.range.start()..load.range.end()).step_by(0x1000) {
            let range = GuestRange::from_bounds(page, load.range.end().min(page + PAGE)).unwrap();
            if ram.check(range).is_ok() {
                assert!(
                    bytes(ram, range).iter().all(|byte| *byte == 0),
                    "the {} was written",
                    load.label
                );
            }
        }
    }
}
