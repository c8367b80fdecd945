//! Where the protected-mode code goes, how much memory it needs there, and where it starts.

use alloc::vec::Vec;

use boot_core::{Constraints, EntryAbi, GuestRange, Placement};
use boot_linux::x86::{SetupHeaderMetadata, xloadflags};

use crate::error::Malformed;
use crate::raw;
use crate::warning::Warning;

/// The end of what 32-bit code can address.
const FOUR_GIB: u64 = 1 << 32;

/// What a kernel older than 2.10, which does not say, is given beyond [`ESTIMATE_FACTOR`] times its code: room for a
/// stack, a heap and the start of the BSS, also where it runs at 2 MiB and not at 1 MiB.
const ESTIMATE_SLACK: u64 = 1 << 20;

/// How many times its own length a kernel older than 2.10 may need while it unpacks itself: the compressed code, which
/// is moved out of the way first, and a kernel that is up to four times as long.
const ESTIMATE_FACTOR: u64 = 5;

/// The addresses of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A kernel with an entry point in protected or long mode: its code alone is loaded.
    Kernel {
        /// The link address of the code.
        load: u64,
        /// The runtime extent; it holds the code.
        extent: GuestRange,
        /// The placement rule.
        placement: Placement,
        /// Whether there is a 64-bit entry point, at [`raw::ENTRY_64`].
        entry_64: bool,
        /// Whether there is a 32-bit entry point, at the code's start.
        entry_32: bool,
    },
    /// A program that only starts in real mode: boot sector and setup code are loaded, too.
    RealMode {
        /// Where boot sector and setup code go.
        setup: u64,
        /// Where the code goes.
        load: u64,
    },
}

impl Layout {
    /// Entry points in the order of preference, with their link addresses.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (EntryAbi, u64)> {
        let entries = match *self {
            Self::Kernel {
                load,
                entry_64,
                entry_32,
                ..
            } => [
                entry_64
                    .then(|| load.saturating_add(raw::ENTRY_64))
                    .map(|addr| (EntryAbi::LINUX_X86_64, addr)),
                entry_32.then_some((EntryAbi::LINUX_X86_32, load)),
            ],
            Self::RealMode { setup, .. } => [
                Some((EntryAbi::LINUX_X86_16, setup.saturating_add(raw::ENTRY_16))),
                None,
            ],
        };
        entries.into_iter().flatten()
    }
}

/// Lays out `code_len` bytes of protected-mode code by the header's words. `stored_len` of them are in the file.
pub(crate) fn layout(
    metadata: &SetupHeaderMetadata,
    code_len: u64,
    stored_len: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    let flags = metadata.xloadflags();
    let entry_64 = flags & xloadflags::KERNEL_64 != 0;
    if entry_64 && stored_len <= raw::ENTRY_64 {
        return Err(Malformed::Entry64 { code_len: stored_len });
    }
    let need = match metadata.init_size() {
        Some(found) => {
            if found < code_len {
                warnings.push(Warning::SmallInitSize { found, code_len });
            }
            found.max(code_len)
        }
        None => code_len
            .saturating_mul(ESTIMATE_FACTOR)
            .saturating_add(ESTIMATE_SLACK),
    };
    if metadata.is_relocatable() {
        relocatable(metadata, need, entry_64)
    } else {
        fixed(metadata, code_len, need, entry_64, warnings)
    }
}

/// A relocatable kernel runs where it is loaded if that is a multiple of `kernel_alignment` and not below
/// `pref_address`. Elsewhere it moves itself up first, to the next such address: then the memory it needs would not
/// begin where it was loaded. So such places are not allowed here, and the extent is true wherever the kernel goes.
///
/// `min_alignment` would allow a lesser alignment, for a loader that also changes `kernel_alignment` in the header.
/// It costs the kernel performance and is not made use of.
fn relocatable(metadata: &SetupHeaderMetadata, need: u64, entry_64: bool) -> Result<Layout, Malformed> {
    let align = metadata.kernel_alignment().unwrap_or(0);
    if !align.is_power_of_two() {
        return Err(Malformed::KernelAlignment(align));
    }
    let shift = metadata.header().min_alignment;
    let has_min_alignment = metadata.version().0 >= 0x20a && shift != 0;
    if has_min_alignment && metadata.min_alignment().is_none_or(|min| min > align) {
        return Err(Malformed::MinAlignment {
            shift,
            kernel_alignment: align,
        });
    }
    let above_4g = entry_64 && metadata.xloadflags() & xloadflags::CAN_BE_LOADED_ABOVE_4G != 0;
    let max = if above_4g { u64::MAX } else { FOUR_GIB };
    let load = preferred(metadata).unwrap_or(raw::LOAD_HIGH);
    let extent = GuestRange::new(load, need)
        .filter(|extent| extent.end() <= max)
        .ok_or(Malformed::Memory { start: load, need })?;
    Ok(Layout::Kernel {
        load,
        extent,
        placement: Placement::Relocatable(
            Constraints::aligned(align)
                .between(load.max(raw::LOAD_HIGH), max)
                .prefer(load),
        ),
        entry_64,
        entry_32: true,
    })
}

/// A kernel that is not relocatable is loaded at `code32_start` and moves itself to `pref_address` if that is
/// another address. Everything from the lower of the two on belongs to it.
fn fixed(
    metadata: &SetupHeaderMetadata,
    code_len: u64,
    need: u64,
    entry_64: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    let code32_start = metadata.header().code32_start.get();
    let entry_32 = code32_start != 0 && !is_without_size(metadata);
    let load = match u64::from(code32_start) {
        0 => raw::LOAD_HIGH,
        addr if addr < raw::LOAD_HIGH => return Err(Malformed::Code32Start(code32_start)),
        addr => addr,
    };
    if !entry_64 && !entry_32 {
        warnings.push(Warning::RealModeOnly);
        let old = metadata.version().0 < 0x202;
        let setup = if old {
            raw::REAL_MODE_BASE_OLD
        } else {
            raw::REAL_MODE_BASE
        };
        return Ok(Layout::RealMode { setup, load });
    }
    let runs_at = preferred(metadata).unwrap_or(load);
    let loaded = GuestRange::new(load, code_len);
    let running = GuestRange::new(runs_at, need);
    let (Some(loaded), Some(running)) = (loaded, running) else {
        return Err(Malformed::Memory { start: runs_at, need });
    };
    Ok(Layout::Kernel {
        load,
        extent: loaded.span(running),
        placement: Placement::Fixed,
        entry_64,
        entry_32,
    })
}

/// Whether the header's `syssize` says nothing at all.
///
/// The kernel's own build has always filled this field, if only with the low half of the size before 2.04. A program
/// that leaves it zero borrows the header to be started by Linux boot loaders, and does so in real mode: its code at
/// 1 MiB does not follow the kernel's 32-bit conventions. (From 2.04 on, zero is an error.)
fn is_without_size(metadata: &SetupHeaderMetadata) -> bool {
    !is_syssize_whole(metadata) && syssize(metadata) == 0
}

/// Whether `syssize` is the size of the code. Before 2.04 it is but the low 16 bits of it, so the code may be longer
/// by any multiple of 1 MiB.
pub(crate) fn is_syssize_whole(metadata: &SetupHeaderMetadata) -> bool {
    metadata.version().0 >= 0x204
}

/// `syssize`, in paragraphs, as far as the protocol version has it.
pub(crate) fn syssize(metadata: &SetupHeaderMetadata) -> u32 {
    let field = metadata.header().syssize.get();
    if is_syssize_whole(metadata) {
        field
    } else {
        field & 0xffff
    }
}

/// `pref_address`, where it is set.
fn preferred(metadata: &SetupHeaderMetadata) -> Option<u64> {
    metadata.pref_address().filter(|addr| *addr != 0)
}
