//! The modules of both protocols, and where they go.

use alloc::string::ToString;
use alloc::vec::Vec;

use boot_core::{BootFile, BootRequest, Constraints, GuestRange, PlanBuilder, PlanError, RamAllocator};

/// The constraints of everything but the kernel. The guest is entered in 32-bit mode without paging, with addresses of 32
/// bits: so that the end of a module is one of those, too, the last page below 4 GiB stays free. The first page holds the
/// BIOS data area.
pub(crate) const CONSTRAINTS: Constraints = Constraints::below_4g(0x1000).between(0x1000, (1 << 32) - 0x1000);

/// A file that becomes a module.
pub(crate) struct File {
    /// What placement calls it; the plan's own label says which module it is.
    label: &'static str,
    id: BootFile,
    len: u64,
    /// With its terminating zero; empty: it has none.
    pub(crate) cmdline: Vec<u8>,
}

/// The files of the request in the order of the module list: the initrd is the last.
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

/// Finds a place for each file; one without bytes has none.
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

/// Start and end of a module, as the protocols write them.
pub(crate) fn bounds(place: Option<GuestRange>) -> (u32, u32) {
    let place = place.unwrap_or(GuestRange::EMPTY);
    (low(place.start()), low(place.end()))
}

/// An address that [`CONSTRAINTS`] keep in 32 bits.
pub(crate) fn low(addr: u64) -> u32 {
    u32::try_from(addr).unwrap_or_default()
}
