//! Modules: the files that both protocols load, and their placement.

use alloc::string::ToString;
use alloc::vec::Vec;

use boot_core::{BootFile, BootRequest, Constraints, GuestRange, PlanBuilder, PlanError, RamAllocator};

/// Constraints on the addresses of all loads except the kernel and the BIOS data area, which is in the first page. Addresses
/// have 32 bits in both protocols. The end of a module must fit, too, so the last page below 4 GiB is excluded.
pub(crate) const CONSTRAINTS: Constraints = Constraints::below_4g(0x1000).between(0x1000, (1 << 32) - 0x1000);

/// A file that becomes a module.
pub(crate) struct File {
    /// Label in placement errors. The label in the plan is that of `id`, with the index of the module.
    label: &'static str,
    id: BootFile,
    len: u64,
    /// Command line with its terminating NUL; no bytes if there is none.
    pub(crate) cmdline: Vec<u8>,
}

/// Files of the request in the order of the module list: the modules, then the initrd.
pub(crate) fn files(request: &BootRequest<'_>) -> Result<Vec<File>, PlanError> {
    let mut files = Vec::new();
    for (index, module) in request.modules.iter().enumerate() {
        files.push(File {
            label: "module",
            id: BootFile::Module(index),
            len: module.len,
            cmdline: if module.cmdline.is_empty() {
                Vec::new()
            } else {
                module.cmdline.to_bytes(usize::MAX)?
            },
        });
    }
    files.extend(request.initrd_len.map(|len| File {
        label: "initrd",
        id: BootFile::Initrd,
        len: len.get(),
        cmdline: Vec::new(),
    }));
    Ok(files)
}

/// Places each file. A file of zero bytes has no range.
pub(crate) fn place(
    files: &[File],
    allocator: &mut RamAllocator<'_>,
) -> Result<Vec<Option<GuestRange>>, PlanError> {
    let constraints = CONSTRAINTS.highest();
    let place = |file: &File| match file.len {
        0 => Ok(None),
        len => Ok(Some(allocator.allocate(file.label, len, &constraints)?)),
    };
    files.iter().map(place).collect()
}

/// Adds the files to a plan.
pub(crate) fn add(mut plan: PlanBuilder, files: &[File], places: &[Option<GuestRange>]) -> PlanBuilder {
    for (file, place) in files.iter().zip(places) {
        if let Some(place) = place {
            plan = plan.file(file.id.to_string(), *place, file.id, CONSTRAINTS);
        }
    }
    plan
}

/// Start and end of a module, as in both protocols.
pub(crate) fn bounds(place: Option<GuestRange>) -> (u32, u32) {
    let place = place.unwrap_or(GuestRange::EMPTY);
    (low(place.start()), low(place.end()))
}

/// Converts an address that is below 4 GiB by [`CONSTRAINTS`] or by the placement of the kernel.
pub(crate) fn low(addr: u64) -> u32 {
    u32::try_from(addr).unwrap_or_default()
}
