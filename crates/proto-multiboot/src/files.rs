//! Modules: the files that both protocols load, and their placement.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::iter;

use boot_core::placement::Piece;
use boot_core::{BootFile, BootRequest, Constraints, GuestRange, PlanBuilder, PlanError, RamAllocator};

use crate::label;

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
        label: label::INITRD,
        id: BootFile::Initrd,
        len: len.get(),
        cmdline: Vec::new(),
    }));
    Ok(files)
}

/// Places of the boot information and of the files.
pub(crate) struct Places {
    /// The boot information.
    pub(crate) info: GuestRange,
    /// Each file; a file of zero bytes has no range.
    pub(crate) files: Vec<Option<GuestRange>>,
}

/// Places the boot information of `info_len` bytes, and each file.
pub(crate) fn place(
    info_len: u64,
    files: &[File],
    allocator: &mut RamAllocator<'_>,
) -> Result<Places, PlanError> {
    const HIGHEST: Constraints = CONSTRAINTS.highest();
    let info = Piece {
        label: label::BOOT_INFORMATION,
        len: info_len,
        windows: &[CONSTRAINTS],
    };
    let files_with_content = files.iter().filter(|file| file.len > 0);
    let pieces = files_with_content.map(|file| Piece {
        label: file.label,
        len: file.len,
        windows: &[HIGHEST],
    });
    let pieces: Vec<_> = iter::once(info).chain(pieces).collect();
    let placed = allocator.allocate_all(&pieces)?;
    let mut ranges = placed.into_iter().map(|placed| placed.range);
    let info = ranges.next().unwrap_or(GuestRange::EMPTY);
    let files = files.iter().map(|file| match file.len {
        0 => None,
        _ => ranges.next(),
    });
    let files = files.collect();
    Ok(Places { info, files })
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
