//! The setup header of a Linux x86 kernel.
//!
//! The kernel build writes most fields. The boot loader reads them, writes the other fields, and passes the header to the
//! kernel in the zero page. Offsets and meanings: Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header".

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The setup header, from `setup_sects` at 0x1f1 to `kernel_info_offset` at 0x268.
///
/// Not all fields exist in all boot protocol versions; [`SetupHeaderMetadata`](super::SetupHeaderMetadata) reads those that
/// do.
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

/// Offset of the setup header in bytes, both in the file and in the zero page.
pub const SETUP_HEADER_OFFSET: u64 = 0x1f1;

/// Bits of `loadflags` (boot.rst).
pub mod loadflags {
    /// The protected-mode code is loaded at 1 MiB. Clear in a `zImage`, which is loaded at 64 KiB.
    pub const LOADED_HIGH: u8 = 1;
    /// KASLR is enabled. Kernel-internal: the decompressor sets it for the decompressed kernel.
    pub const KASLR_FLAG: u8 = 1 << 1;
    /// The kernel prints no early messages.
    pub const QUIET_FLAG: u8 = 1 << 5;
    /// The 32-bit entry point does not reload the segment registers. Obsolete.
    pub const KEEP_SEGMENTS: u8 = 1 << 6;
    /// `heap_end_ptr` is valid.
    pub const CAN_USE_HEAP: u8 = 1 << 7;
}

/// Bits of `xloadflags` (boot.rst; bits 5 and 6 only in Linux `arch/x86/include/uapi/asm/bootparam.h`).
pub mod xloadflags {
    /// The kernel has a 64-bit entry point, at offset 0x200 of the protected-mode code.
    pub const KERNEL_64: u16 = 1;
    /// Kernel, zero page, command line and initrd may lie above 4 GiB.
    pub const CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
    /// The kernel has a 32-bit EFI handover entry point.
    pub const EFI_HANDOVER_32: u16 = 1 << 2;
    /// The kernel has a 64-bit EFI handover entry point.
    pub const EFI_HANDOVER_64: u16 = 1 << 3;
    /// The kernel supports EFI runtime services after a kexec.
    pub const EFI_KEXEC: u16 = 1 << 4;
    /// `XLF_5LEVEL`: the kernel can be entered with five-level paging.
    pub const FIVE_LEVEL: u16 = 1 << 5;
    /// `XLF_5LEVEL_ENABLED`: the kernel is built with support for five-level paging.
    pub const FIVE_LEVEL_ENABLED: u16 = 1 << 6;
}

#[cfg(test)]
mod tests {
    use super::{loadflags, xloadflags};

    #[test]
    fn flags_are_the_bits_of_the_document() {
        assert_eq!(
            [
                loadflags::LOADED_HIGH,
                loadflags::KASLR_FLAG,
                loadflags::QUIET_FLAG,
                loadflags::KEEP_SEGMENTS,
                loadflags::CAN_USE_HEAP,
            ],
            [0x01, 0x02, 0x20, 0x40, 0x80]
        );
        assert_eq!(
            [
                xloadflags::KERNEL_64,
                xloadflags::CAN_BE_LOADED_ABOVE_4G,
                xloadflags::EFI_HANDOVER_32,
                xloadflags::EFI_HANDOVER_64,
                xloadflags::EFI_KEXEC,
                xloadflags::FIVE_LEVEL,
                xloadflags::FIVE_LEVEL_ENABLED,
            ],
            [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40]
        );
    }
}
