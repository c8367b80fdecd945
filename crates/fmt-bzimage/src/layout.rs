//! Load address of the code, memory that the kernel needs, placement and entry points.

use alloc::vec::Vec;

use boot_core::{Constraints, EntryAbi, GuestRange, Placement};
use boot_linux::x86::{SetupHeaderMetadata, xloadflags};

use crate::error::Malformed;
use crate::raw;
use crate::warning::Warning;

/// End of the addresses that 32-bit code can reach.
const FOUR_GIB: u64 = 1 << 32;

/// Part of the estimate for kernels without `init_size` (before 2.10), added to [`ESTIMATE_FACTOR`] times the code: stack,
/// heap, start of the BSS, and the distance to 2 MiB if the kernel runs there instead of at 1 MiB.
const ESTIMATE_SLACK: u64 = 1 << 20;

/// Part of the estimate for kernels without `init_size` (before 2.10): multiple of the length of the code. While it is
/// decompressed, a kernel needs the moved compressed code and up to four times its length.
const ESTIMATE_FACTOR: u64 = 5;

/// Addresses of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Kernel with an entry point in protected or long mode. Only the protected-mode code is loaded.
    Kernel {
        /// Link address of the code.
        load: u64,
        /// Runtime extent; it contains the code.
        extent: GuestRange,
        /// Placement rule.
        placement: Placement,
        /// True if there is a 64-bit entry point, at [`raw::ENTRY_64`] in the code.
        entry_64: bool,
        /// True if there is a 32-bit entry point, at the start of the code.
        entry_32: bool,
    },
    /// Program that starts in real mode only. The real-mode code is loaded, too.
    RealMode {
        /// Load address of the real-mode code.
        setup: u64,
        /// Load address of the protected-mode code.
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

/// Determines the addresses of `code_len` bytes of protected-mode code, of which `stored_len` are in the file.
pub(crate) fn compute_layout(
    metadata: &SetupHeaderMetadata,
    code_len: u64,
    stored_len: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    let flags = metadata.xloadflags();
    let mut entry_64 = flags & xloadflags::KERNEL_64 != 0;
    if entry_64 && stored_len <= raw::ENTRY_64 {
        warnings.push(Warning::Entry64OutsideCode { code_len: stored_len });
        entry_64 = false;
    }
    let need = match metadata.init_size() {
        Some(init_size) => {
            if init_size < code_len {
                warnings.push(Warning::SmallInitSize { init_size, code_len });
            }
            init_size.max(code_len)
        }
        None => code_len
            .saturating_mul(ESTIMATE_FACTOR)
            .saturating_add(ESTIMATE_SLACK),
    };
    if !metadata.is_relocatable() {
        return fixed_layout(metadata, code_len, need, entry_64, warnings);
    }
    let align = metadata.kernel_alignment().unwrap_or(0);
    if !align.is_power_of_two() {
        warnings.push(Warning::KernelAlignment(align));
        return fixed_layout(metadata, code_len, need, entry_64, warnings);
    }
    let exponent = metadata.header().min_alignment;
    let has_min_alignment = metadata.version().0 >= 0x20a && exponent != 0;
    if has_min_alignment && metadata.min_alignment().is_none_or(|min| min > align) {
        warnings.push(Warning::MinAlignment {
            exponent,
            kernel_alignment: align,
        });
    }
    relocatable_layout(metadata, align, need, entry_64)
}

/// Layout of a relocatable kernel whose `kernel_alignment` is `align`, a power of two.
///
/// The kernel runs at its load address if that is a multiple of `kernel_alignment` and not below `pref_address`; otherwise
/// it first moves itself up to the next such address. The placement rule admits only addresses where it does not move, so
/// that the memory it needs begins at the load address.
///
/// `min_alignment` is checked but not used: a lower alignment requires a change of `kernel_alignment` in the header and
/// costs performance.
fn relocatable_layout(
    metadata: &SetupHeaderMetadata,
    align: u64,
    need: u64,
    entry_64: bool,
) -> Result<Layout, Malformed> {
    let above_4g = entry_64 && metadata.xloadflags() & xloadflags::CAN_BE_LOADED_ABOVE_4G != 0;
    let max = if above_4g { u64::MAX } else { FOUR_GIB };
    let load = pref_address(metadata).unwrap_or(raw::LOAD_HIGH);
    let extent = GuestRange::new(load, need)
        .filter(|extent| extent.end() <= max)
        .ok_or(Malformed::AddressOverflow {
            start: load,
            len: need,
        })?;
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

/// Layout of a kernel that is not relocatable.
///
/// It is loaded at `code32_start` and moves itself to `pref_address` if that is another address. The extent spans both.
fn fixed_layout(
    metadata: &SetupHeaderMetadata,
    code_len: u64,
    need: u64,
    entry_64: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Layout, Malformed> {
    let code32_start = metadata.header().code32_start.get();
    let entry_32 = code32_start != 0 && !has_no_size(metadata);
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
    let runs_at = pref_address(metadata).unwrap_or(load);
    let loaded = GuestRange::new(load, code_len);
    let running = GuestRange::new(runs_at, need);
    let (Some(loaded), Some(running)) = (loaded, running) else {
        return Err(Malformed::AddressOverflow {
            start: runs_at,
            len: need,
        });
    };
    Ok(Layout::Kernel {
        load,
        extent: loaded.span(running),
        placement: Placement::Fixed,
        entry_64,
        entry_32,
    })
}

/// True if `syssize` is zero in a protocol version before 2.04. (From 2.04 on, zero is an error.)
///
/// The Linux build has always set this field, before 2.04 to the low 16 bits of the size. A program that leaves it zero
/// uses the header so that Linux boot loaders start it in real mode; its code at 1 MiB has no 32-bit entry point.
fn has_no_size(metadata: &SetupHeaderMetadata) -> bool {
    !is_syssize_complete(metadata) && syssize(metadata) == 0
}

/// True if `syssize` is the size of the code. Before 2.04 it is only the low 16 bits, so the code may be longer by any
/// multiple of 1 MiB.
pub(crate) fn is_syssize_complete(metadata: &SetupHeaderMetadata) -> bool {
    metadata.version().0 >= 0x204
}

/// Value of `syssize` in paragraphs, limited to the bits that the protocol version has.
pub(crate) fn syssize(metadata: &SetupHeaderMetadata) -> u32 {
    let field = metadata.header().syssize.get();
    if is_syssize_complete(metadata) {
        field
    } else {
        field & 0xffff
    }
}

/// Value of `pref_address`, if it is set.
fn pref_address(metadata: &SetupHeaderMetadata) -> Option<u64> {
    metadata.pref_address().filter(|addr| *addr != 0)
}
