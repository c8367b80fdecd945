//! Setup header of a bzImage: which bytes a loader may change.

/// Offset of the setup header in the first sector of the file, and in the zero page.
pub const START: u64 = 0x1f1;

/// Fields of type "write", "modify" or "kernel internal" in boot.rst: start and end (exclusive).
const CHANGEABLE: [(u64, u64); 16] = [
    (0x1f2, 0x1f4), // root_flags
    (0x1f8, 0x1fa), // ram_size
    (0x1fa, 0x1fc), // vid_mode
    (0x1fc, 0x1fe), // root_dev
    (0x208, 0x20c), // realmode_swtch
    (0x210, 0x211), // type_of_loader
    (0x211, 0x212), // loadflags
    (0x212, 0x214), // setup_move_size
    (0x214, 0x218), // code32_start
    (0x218, 0x220), // ramdisk_image and ramdisk_size
    (0x220, 0x224), // bootsect_kludge
    (0x224, 0x228), // heap_end_ptr and ext_loader
    (0x228, 0x22c), // cmd_line_ptr
    (0x230, 0x234), // kernel_alignment
    (0x23c, 0x248), // hardware_subarch and its data
    (0x250, 0x258), // setup_data
];

/// Whether a loader may change the byte at `offset` in the zero page.
#[must_use]
pub fn may_change(offset: u64) -> bool {
    CHANGEABLE
        .iter()
        .any(|(start, end)| (*start..*end).contains(&offset))
}

/// End of the header, exclusive, from the byte at 0x201 (boot.rst, "jump").
#[must_use]
pub const fn end(jump_distance: u8) -> u64 {
    0x202 + jump_distance as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_fields_must_not_change() {
        for (offset, expected) in [
            (START, false), // setup_sects
            (0x1f4, false), // syssize
            (0x1fe, false), // boot_flag
            (0x202, false), // HdrS
            (0x206, false), // version
            (0x22c, false), // initrd_addr_max
            (0x234, false), // relocatable_kernel
            (0x236, false), // xloadflags
            (0x238, false), // cmdline_size
            (0x248, false), // payload_offset
            (0x258, false), // pref_address
            (0x260, false), // init_size
            (0x268, false), // kernel_info_offset
            (0x210, true),
            (0x21f, true),
            (0x257, true),
        ] {
            assert_eq!(may_change(offset), expected, "{offset:#x}");
        }
        assert_eq!(end(0x6a), 0x26c);
    }
}
