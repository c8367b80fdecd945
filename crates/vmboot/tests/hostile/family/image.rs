//! `Image` files of arm64 (Linux `Documentation/arch/arm64/booting.rst`) and riscv64 (`arch/riscv/boot-image-header.rst`), and EFI zboot files.

use crate::change::{Base, Field, Sink};
use crate::pe_writer::image_samples;

/// Header of an `Image`; both architectures have the same fields up to `flags`.
const HEADER: [Field; 14] = [
    ("code0", 0, 4),
    ("code1", 4, 4),
    ("text_offset", 8, 8),
    ("image_size", 16, 8),
    ("flags", 24, 8),
    ("version", 32, 4),
    ("res1", 36, 4),
    ("res2", 40, 8),
    ("magic", 48, 8),
    ("magic2", 56, 4),
    ("res3", 60, 4),
    ("pe_signature", 0x80, 4),
    ("pe_machine", 0x84, 2),
    ("pe_subsystem", 0xdc, 2),
];

/// Header of an EFI zboot file (Linux `drivers/firmware/efi/libstub/zboot-header.S`).
const ZBOOT: [Field; 7] = [
    ("mz", 0, 2),
    ("zimg", 4, 4),
    ("payload_offset", 8, 4),
    ("payload_size", 12, 4),
    ("codec", 24, 8),
    ("linux_magic", 0x38, 4),
    ("pe_offset", 0x3c, 4),
];

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    for (name, file) in image_samples() {
        sink(name, file.clone());
        let base = Base::new(name, &file);
        if name.starts_with("zboot") {
            base.edges_of(&ZBOOT, sink);
            base.pairs_of(&[[ZBOOT[2], ZBOOT[3]]], sink);
        } else {
            base.edges_of(&HEADER, sink);
            let [_, _, offset, size, flags, ..] = HEADER;
            base.pairs_of(&[[offset, size], [size, flags], [offset, flags]], sink);
        }
        base.truncations(0x48, sink);
        for len in (0x48..file.len()).step_by(0x3b) {
            sink(&format!("{name} truncated to {len}"), file[..len].to_vec());
        }
    }
}
