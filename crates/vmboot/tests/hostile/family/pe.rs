//! PE files (PE Format, sections "MS-DOS Stub" to "Section Table"): as kernels, and loaded as EFI images.

use crate::change::{Base, Field, Sink, moved};
use crate::pe_writer::{offset, pe_samples};

/// MS-DOS header, signature, COFF header and the fields that PE32 and PE32+ have at the same place.
const HEADERS: [Field; 34] = [
    ("e_magic", 0, 2),
    ("e_lfanew", 0x3c, 4),
    ("signature", 0x80, 4),
    ("machine", 0x84, 2),
    ("number_of_sections", 0x86, 2),
    ("time_date_stamp", 0x88, 4),
    ("pointer_to_symbol_table", 0x8c, 4),
    ("number_of_symbols", 0x90, 4),
    ("size_of_optional_header", 0x94, 2),
    ("characteristics", 0x96, 2),
    ("magic", 0x98, 2),
    ("linker_version", 0x9a, 2),
    ("size_of_code", 0x9c, 4),
    ("size_of_initialized_data", 0xa0, 4),
    ("size_of_uninitialized_data", 0xa4, 4),
    ("address_of_entry_point", 0xa8, 4),
    ("base_of_code", 0xac, 4),
    ("image_base", 0xb0, 8),
    ("section_alignment", 0xb8, 4),
    ("file_alignment", 0xbc, 4),
    ("os_version", 0xc0, 4),
    ("image_version", 0xc4, 4),
    ("subsystem_version", 0xc8, 4),
    ("win32_version_value", 0xcc, 4),
    ("size_of_image", 0xd0, 4),
    ("size_of_headers", 0xd4, 4),
    ("check_sum", 0xd8, 4),
    ("subsystem", 0xdc, 2),
    ("dll_characteristics", 0xde, 2),
    ("size_of_stack_reserve", 0xe0, 8),
    ("loader_flags", 0x100, 4),
    ("number_of_rva_and_sizes", 0x104, 4),
    ("base_relocation_table", 0x130, 4),
    ("base_relocation_size", 0x134, 4),
];

/// A section header.
const SECTION: [Field; 8] = [
    ("name", 0, 8),
    ("virtual_size", 8, 4),
    ("virtual_address", 12, 4),
    ("size_of_raw_data", 16, 4),
    ("pointer_to_raw_data", 20, 4),
    ("pointer_to_relocations", 24, 4),
    ("number_of_relocations", 32, 4),
    ("characteristics", 36, 4),
];

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    for (name, file) in pe_samples() {
        sink(name, file.clone());
        let base = Base::new(name, &file);
        if !matches!(name, "pe32-plus" | "pe32" | "arm64-image") {
            continue;
        }
        base.edges_of(&HEADERS, sink);
        let [
            ..,
            alignment,
            file_alignment,
            _,
            _,
            _,
            _,
            image,
            headers,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
        ] = HEADERS;
        base.pairs_of(
            &[
                [alignment, file_alignment],
                [image, headers],
                [HEADERS[4], HEADERS[8]],
            ],
            sink,
        );
        let table = if name == "pe32" { 0x178 } else { offset::TEXT };
        for section in 0..3 {
            let fields = moved(&SECTION, table + 40 * section);
            base.edges_of(&fields, sink);
            base.pairs_of(&[[fields[1], fields[2]], [fields[3], fields[4]]], sink);
        }
        // The first block of base relocations: its page, its size, and its entries.
        base.edges_of(
            &[("page", offset::BLOCK, 4), ("size", offset::BLOCK + 4, 4)],
            sink,
        );
        for entry in 0..6 {
            base.edges_of(&[("entry", offset::BLOCK + 8 + 2 * entry, 2)], sink);
        }
        base.truncations(0x200, sink);
    }
}
