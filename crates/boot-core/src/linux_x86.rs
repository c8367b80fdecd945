//! The setup header of a Linux x86 kernel: the contract between whoever parses a bzImage and whoever boots it.
//!
//! The header is both input and output: the kernel's build fills most of it, the boot loader reads it, fills the
//! rest and hands it back inside the zero page. So its layout is defined here, once, for both sides. Offsets and
//! meanings: Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header".

use core::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The setup header, from `setup_sects` at 0x1f1 to `kernel_info_offset` at 0x268.
///
/// Later fields do not exist in earlier protocol versions; [`SetupHeaderFacts`] knows which do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named and explained in boot.rst")]
pub struct SetupHeader {
    pub setup_sects: u8,
    pub root_flags: U16,
    pub syssize: U32,
    pub ram_size: U16,
    pub vid_mode: U16,
    pub root_dev: U16,
    pub boot_flag: U16,
    pub jump: [u8; 2],
    pub header: [u8; 4],
    pub version: U16,
    pub realmode_swtch: U32,
    pub start_sys_seg: U16,
    pub kernel_version: U16,
    pub type_of_loader: u8,
    pub loadflags: u8,
    pub setup_move_size: U16,
    pub code32_start: U32,
    pub ramdisk_image: U32,
    pub ramdisk_size: U32,
    pub bootsect_kludge: U32,
    pub heap_end_ptr: U16,
    pub ext_loader_ver: u8,
    pub ext_loader_type: u8,
    pub cmd_line_ptr: U32,
    pub initrd_addr_max: U32,
    pub kernel_alignment: U32,
    pub relocatable_kernel: u8,
    pub min_alignment: u8,
    pub xloadflags: U16,
    pub cmdline_size: U32,
    pub hardware_subarch: U32,
    pub hardware_subarch_data: U64,
    pub payload_offset: U32,
    pub payload_length: U32,
    pub setup_data: U64,
    pub pref_address: U64,
    pub init_size: U32,
    pub handover_offset: U32,
    pub kernel_info_offset: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<SetupHeader>() == 0x26c - 0x1f1);
    assert!(offset_of!(SetupHeader, boot_flag) == 0x1fe - 0x1f1);
    assert!(offset_of!(SetupHeader, header) == 0x202 - 0x1f1);
    assert!(offset_of!(SetupHeader, code32_start) == 0x214 - 0x1f1);
    assert!(offset_of!(SetupHeader, cmd_line_ptr) == 0x228 - 0x1f1);
    assert!(offset_of!(SetupHeader, xloadflags) == 0x236 - 0x1f1);
    assert!(offset_of!(SetupHeader, hardware_subarch_data) == 0x240 - 0x1f1);
    assert!(offset_of!(SetupHeader, pref_address) == 0x258 - 0x1f1);
    assert!(offset_of!(SetupHeader, kernel_info_offset) == 0x268 - 0x1f1);
};

/// File offset of the setup header, and its offset in the zero page.
pub const SETUP_HEADER_OFFSET: u64 = 0x1f1;

/// Bits of `loadflags` (boot.rst).
pub mod loadflags {
    /// The protected-mode code is loaded at 1 MiB; clear in a `zImage`.
    pub const LOADED_HIGH: u8 = 1 << 0;
    /// The kernel may be told about KASLR by its compressed stage.
    pub const KASLR_FLAG: u8 = 1 << 1;
    /// No early messages.
    pub const QUIET_FLAG: u8 = 1 << 5;
    /// Do not reload the segment registers in the 32-bit entry point.
    pub const KEEP_SEGMENTS: u8 = 1 << 6;
    /// `heap_end_ptr` is valid.
    pub const CAN_USE_HEAP: u8 = 1 << 7;
}

/// Bits of `xloadflags` (boot.rst).
pub mod xloadflags {
    /// The kernel has the 64-bit entry point at 0x200.
    pub const KERNEL_64: u16 = 1 << 0;
    /// Kernel, zero page, command line and initrd may lie above 4 GiB.
    pub const CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
    /// The kernel has a 32-bit EFI handover entry.
    pub const EFI_HANDOVER_32: u16 = 1 << 2;
    /// The kernel has a 64-bit EFI handover entry.
    pub const EFI_HANDOVER_64: u16 = 1 << 3;
    /// The kernel supports kexec from EFI boot.
    pub const EFI_KEXEC: u16 = 1 << 4;
    /// The kernel can enable five-level paging.
    pub const FIVE_LEVEL: u16 = 1 << 5;
    /// Five-level paging is enabled.
    pub const FIVE_LEVEL_ENABLED: u16 = 1 << 6;
}

/// A boot protocol version, printed as `2.15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootProtocolVersion(
    /// Major version in the high byte, minor in the low byte, as in the header.
    pub u16,
);

impl fmt::Display for BootProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor] = self.0.to_be_bytes();
        write!(f, "{major}.{minor:02}")
    }
}

/// A setup header with the knowledge of which of its fields exist.
///
/// A field exists when the protocol version has it *and* the header, by its own length byte, reaches it. The
/// accessors give the documented default where a field does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetupHeaderFacts {
    header: SetupHeader,
    len: usize,
}

impl SetupHeaderFacts {
    /// Keeps the first `len` bytes of `header`, counted from 0x1f1, and forgets what lies beyond: those bytes belong
    /// to something else. A `len` longer than the known header is cut.
    #[must_use]
    pub fn new(header: &SetupHeader, len: usize) -> Self {
        let len = len.min(size_of::<SetupHeader>());
        let mut kept = SetupHeader::new_zeroed();
        if let (Some(to), Some(from)) = (kept.as_mut_bytes().get_mut(..len), header.as_bytes().get(..len)) {
            to.copy_from_slice(from);
        }
        Self { header: kept, len }
    }

    /// The header; fields beyond its real length are zero.
    #[must_use]
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// The bytes of the header up to its real length: what belongs at 0x1f1 of the zero page.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.header.as_bytes().get(..self.len).unwrap_or_default()
    }

    /// The boot protocol version.
    #[must_use]
    pub fn version(&self) -> BootProtocolVersion {
        BootProtocolVersion(self.header.version.get())
    }

    /// `get` of the header where the field that ends at `end` (offset in the zero page) exists since `since`.
    fn since<T>(&self, since: u16, end: usize, get: impl FnOnce(&SetupHeader) -> T) -> Option<T> {
        let reached = self.len.checked_add(0x1f1).is_some_and(|len| len >= end);
        (self.version().0 >= since && reached).then(|| get(&self.header))
    }

    /// Whether the header has the `cmd_line_ptr` field (2.02 on). Kernels without it find their command line, and
    /// everything else, through real-mode code only.
    #[must_use]
    pub fn has_cmd_line_ptr(&self) -> bool {
        self.since(0x202, 0x22c, |_| ()).is_some()
    }

    /// The highest address the initrd's last byte may have (2.03 on; 0x37ff_ffff before).
    #[must_use]
    pub fn initrd_addr_max(&self) -> u64 {
        self.since(0x203, 0x230, |header| header.initrd_addr_max.get())
            .unwrap_or(0x37ff_ffff)
            .into()
    }

    /// The alignment a relocatable kernel needs (2.05 on).
    #[must_use]
    pub fn kernel_alignment(&self) -> Option<u64> {
        self.since(0x205, 0x234, |header| header.kernel_alignment.get().into())
    }

    /// Whether the kernel may be loaded elsewhere than at its link address (2.05 on).
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        self.since(0x205, 0x235, |header| header.relocatable_kernel)
            .is_some_and(|flag| flag != 0)
    }

    /// The smallest alignment the kernel can live with, in bytes (2.10 on). A field of zero says nothing about it,
    /// and a shift of 64 or more is no alignment: `None` for both.
    #[must_use]
    pub fn min_alignment(&self) -> Option<u64> {
        self.since(0x20a, 0x236, |header| header.min_alignment)
            .filter(|shift| *shift != 0)
            .and_then(|shift| 1u64.checked_shl(shift.into()))
    }

    /// The extended load flags (2.12 on; zero before).
    #[must_use]
    pub fn xloadflags(&self) -> u16 {
        self.since(0x20c, 0x238, |header| header.xloadflags.get())
            .unwrap_or(0)
    }

    /// The longest command line, in bytes without the terminating zero (2.06 on; 255 before).
    #[must_use]
    pub fn cmdline_size(&self) -> u64 {
        self.since(0x206, 0x23c, |header| header.cmdline_size.get())
            .unwrap_or(255)
            .into()
    }

    /// Offset and length of the payload, from the start of the protected-mode code (2.08 on).
    #[must_use]
    pub fn payload(&self) -> Option<(u64, u64)> {
        self.since(0x208, 0x250, |header| {
            (
                header.payload_offset.get().into(),
                header.payload_length.get().into(),
            )
        })
    }

    /// Whether the header has the `setup_data` pointer (2.09 on).
    #[must_use]
    pub fn has_setup_data(&self) -> bool {
        self.since(0x209, 0x258, |_| ()).is_some()
    }

    /// The address the kernel would like to be loaded at (2.10 on).
    #[must_use]
    pub fn pref_address(&self) -> Option<u64> {
        self.since(0x20a, 0x260, |header| header.pref_address.get())
    }

    /// How much memory from its runtime start the kernel needs before it reads the memory map (2.10 on).
    #[must_use]
    pub fn init_size(&self) -> Option<u64> {
        self.since(0x20a, 0x264, |header| header.init_size.get().into())
    }

    /// Offset of the EFI handover entry (2.11 on).
    #[must_use]
    pub fn handover_offset(&self) -> Option<u64> {
        self.since(0x20b, 0x268, |header| header.handover_offset.get().into())
    }

    /// Offset of `kernel_info` from the start of the protected-mode code (2.15 on).
    #[must_use]
    pub fn kernel_info_offset(&self) -> Option<u64> {
        self.since(0x20f, 0x26c, |header| header.kernel_info_offset.get().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: u16, end: usize) -> SetupHeaderFacts {
        let mut header = SetupHeader::read_from_bytes(&[0x11; size_of::<SetupHeader>()]).unwrap();
        header.version = version.into();
        SetupHeaderFacts::new(&header, end - 0x1f1)
    }

    #[test]
    fn a_field_exists_by_version_and_by_length() {
        let check = |version, end, init_size: Option<u64>, cmdline_size| {
            let facts = facts(version, end);
            assert_eq!(
                (facts.init_size(), facts.cmdline_size()),
                (init_size, cmdline_size),
                "{version:#x}"
            );
            assert_eq!(facts.bytes().len(), end - 0x1f1);
        };
        check(0x20f, 0x26c, Some(0x1111_1111), 0x1111_1111);
        check(0x20a, 0x264, Some(0x1111_1111), 0x1111_1111);
        check(0x20a, 0x263, None, 0x1111_1111);
        check(0x209, 0x264, None, 0x1111_1111);
        check(0x205, 0x264, None, 255);
    }

    #[test]
    fn bytes_beyond_the_real_length_are_forgotten() {
        let facts = facts(0x20f, 0x230);
        assert_eq!(facts.header().kernel_alignment.get(), 0);
        assert_eq!(facts.initrd_addr_max(), 0x1111_1111);
        assert!(!facts.is_relocatable());
        assert_eq!(facts.version().0, 0x20f);
    }

    #[test]
    fn min_alignment_is_a_shift_that_may_say_nothing() {
        let check = |shift, expected| {
            let mut header = SetupHeader::new_zeroed();
            header.version = 0x20a.into();
            header.min_alignment = shift;
            let facts = SetupHeaderFacts::new(&header, 0x264 - 0x1f1);
            assert_eq!(facts.min_alignment(), expected, "{shift}");
        };
        check(0, None);
        check(12, Some(0x1000));
        check(21, Some(0x20_0000));
        check(64, None);
    }

    #[test]
    fn versions_print_as_documented() {
        let print = |version| std::string::ToString::to_string(&BootProtocolVersion(version));
        assert_eq!(print(0x20f), "2.15");
        assert_eq!(print(0x204), "2.04");
    }
}
