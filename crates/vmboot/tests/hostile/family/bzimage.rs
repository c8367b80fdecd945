//! bzImages (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").

use fmt_test::Fields as _;

use crate::bzimage_writer::{Image, SETUP_LEN, samples};
use crate::change::{Base, Field, Sink};

/// The setup header, in the order of the document.
const HEADER: [Field; 40] = [
    ("setup_sects", 0x1f1, 1),
    ("root_flags", 0x1f2, 2),
    ("syssize", 0x1f4, 4),
    ("ram_size", 0x1f8, 2),
    ("vid_mode", 0x1fa, 2),
    ("root_dev", 0x1fc, 2),
    ("boot_flag", 0x1fe, 2),
    ("jump", 0x200, 2),
    ("header_end", 0x201, 1),
    ("header", 0x202, 4),
    ("version", 0x206, 2),
    ("realmode_swtch", 0x208, 4),
    ("start_sys_seg", 0x20c, 2),
    ("kernel_version", 0x20e, 2),
    ("type_of_loader", 0x210, 1),
    ("loadflags", 0x211, 1),
    ("setup_move_size", 0x212, 2),
    ("code32_start", 0x214, 4),
    ("ramdisk_image", 0x218, 4),
    ("ramdisk_size", 0x21c, 4),
    ("bootsect_kludge", 0x220, 4),
    ("heap_end_ptr", 0x224, 2),
    ("ext_loader_ver", 0x226, 1),
    ("ext_loader_type", 0x227, 1),
    ("cmd_line_ptr", 0x228, 4),
    ("initrd_addr_max", 0x22c, 4),
    ("kernel_alignment", 0x230, 4),
    ("relocatable_kernel", 0x234, 1),
    ("min_alignment", 0x235, 1),
    ("xloadflags", 0x236, 2),
    ("cmdline_size", 0x238, 4),
    ("hardware_subarch", 0x23c, 4),
    ("hardware_subarch_data", 0x240, 8),
    ("payload_offset", 0x248, 4),
    ("payload_length", 0x24c, 4),
    ("setup_data", 0x250, 8),
    ("pref_address", 0x258, 8),
    ("init_size", 0x260, 4),
    ("handover_offset", 0x264, 4),
    ("kernel_info_offset", 0x268, 4),
];

/// Pairs of fields that make ranges or alignments together.
const PAIRS: [[Field; 2]; 6] = [
    [("setup_sects", 0x1f1, 1), ("syssize", 0x1f4, 4)],
    [("payload_offset", 0x248, 4), ("payload_length", 0x24c, 4)],
    [("pref_address", 0x258, 8), ("init_size", 0x260, 4)],
    [("kernel_alignment", 0x230, 4), ("min_alignment", 0x235, 1)],
    [("kernel_alignment", 0x230, 4), ("pref_address", 0x258, 8)],
    [("relocatable_kernel", 0x234, 1), ("xloadflags", 0x236, 2)],
];

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    for (name, file) in samples() {
        let base = Base::new(name, &file);
        sink(name, file.clone());
        match name {
            "2.15" | "2.08" | "efi" | "fixed" => {
                base.edges_of(&HEADER, sink);
                base.truncations(0x270, sink);
            }
            _ => {
                // What changes with the version: the length of the header, and sizes.
                base.edges_of(&HEADER[..3], sink);
                base.edges_of(&HEADER[8..11], sink);
            }
        }
    }
    let file = Image::new(0x20f).build();
    let base = Base::new("pairs", &file);
    base.pairs_of(&PAIRS, sink);
    let info = SETUP_LEN + 0x1800;
    let fields = ["magic", "size", "size_total", "setup_type_max"]
        .into_iter()
        .zip((info..).step_by(4));
    let fields: Vec<_> = fields.map(|(name, at)| (name, at, 4)).collect();
    base.edges_of(&fields, sink);
    base.pairs_of(&[[HEADER[39], fields[1]], [fields[1], fields[2]]], sink);
    // The length that a payload unpacks to, and its magic number.
    base.edges_of(
        &[
            ("unpacked", SETUP_LEN + 0x4fc, 4),
            ("codec", SETUP_LEN + 0x400, 2),
        ],
        sink,
    );
    for len in (0x270..file.len()).step_by(0x1f) {
        sink(&format!("truncated to {len}"), file[..len].to_vec());
    }
}
