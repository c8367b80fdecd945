//! Stopped guests with page tables and a stack, and ELF files with debug information.

use boot_paging::{Access, Attributes, Mapping, PageTables, Scheme};

use crate::Seed;

/// Where the page tables are in memory.
const TABLES: usize = 0x4000;

/// A guest of an architecture: its number, instruction address, frame pointer, root and control, and memory from address 0.
fn guest(number: u8, scheme: Scheme) -> Vec<u8> {
    let mut tables = PageTables::new(scheme, 0x4000, 8).expect("tables");
    for (virt, access) in [
        (0x4000_0000, Access::EXECUTE),
        (0x4000_1000, Access::WRITE),
        (0x4000_2000, Access::WRITE),
    ] {
        let attributes = Attributes::normal(access);
        let (phys, len) = (virt - 0x4000_0000, 0x1000);
        tables
            .map(&Mapping {
                virt,
                phys,
                len,
                attributes,
            })
            .expect("8 tables suffice");
    }
    let mut memory = vec![0; TABLES];
    // Two frames, in the layout of riscv64 below each address and in that of the others from it on.
    for (at, next) in [(0x1800, 0x4000_1900_u64), (0x1900, 0)] {
        for start in [at, at - 16] {
            memory[start..start + 8].copy_from_slice(&next.to_le_bytes());
            memory[start + 8..start + 16].copy_from_slice(&0x4000_0123_u64.to_le_bytes());
        }
    }
    memory.extend(tables.to_bytes());
    let mut seed = vec![number];
    for word in [0x4000_0100, 0x4000_1800, 0x4000, 0_u64] {
        seed.extend(word.to_le_bytes());
    }
    seed.extend(memory);
    seed
}

/// Seeds of `sandbox_walk`.
pub(crate) fn walks() -> Vec<Seed> {
    vec![
        ("x86_64", guest(0, Scheme::X86_64)),
        ("arm64", guest(1, Scheme::Arm64)),
        ("sv39", guest(2, Scheme::Sv39)),
        ("sv48", guest(3, Scheme::Sv48)),
    ]
}

/// A section header (`Elf64_Shdr`): name, type, address, offset, size, link, information, size of an entry.
fn section(fields: [u64; 8]) -> Vec<u8> {
    let [name, kind, address, offset, size, link, information, entry] = fields;
    let half = |value: u64| u32::try_from(value).expect("32 bits").to_le_bytes();
    let mut header = [half(name), half(kind)].concat();
    for word in [0, address, offset, size] {
        header.extend(word.to_le_bytes());
    }
    header.extend([half(link), half(information)].concat());
    for word in [1, entry] {
        header.extend(word.to_le_bytes());
    }
    header
}

/// An executable with these sections, of type `SHT_PROGBITS`.
fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut contents = vec![0; 64];
    let mut headers = section([0; 8]);
    for (name, data) in sections {
        let (at, offset) = (names.len() as u64, contents.len() as u64);
        headers.extend(section([at, 1, 0, offset, data.len() as u64, 0, 0, 0]));
        names.extend(name.as_bytes());
        names.push(0);
        contents.extend(*data);
    }
    let (at, offset) = (names.len() as u64, contents.len() as u64);
    names.extend(b".shstrtab\0");
    headers.extend(section([at, 3, 0, offset, names.len() as u64, 0, 0, 0]));
    contents.extend(&names);
    let table = contents.len() as u64;
    contents.extend(headers);
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    header.extend([0; 16]);
    header.extend(table.to_le_bytes());
    header.extend([0; 4]);
    let count = u16::try_from(sections.len() + 2).expect("few sections");
    for half in [64, 56, 0, 64, count, count - 1] {
        header.extend(half.to_le_bytes());
    }
    contents[..64].copy_from_slice(&header);
    contents
}

/// A unit with a function at 0x1000 into which others are inlined.
fn unit(levels: usize) -> Vec<u8> {
    let mut unit = vec![4, 0, 0, 0, 0, 0, 8];
    let codes = [1, 2].into_iter().chain(std::iter::repeat_n(3, levels));
    for code in codes {
        unit.push(code);
        unit.extend(0x1000_u64.to_le_bytes());
        unit.extend(0x10_u64.to_le_bytes());
        unit.extend(b"name\0");
    }
    unit.resize(unit.len() + levels + 2, 0);
    let len = u32::try_from(unit.len()).expect("a short unit");
    [&len.to_le_bytes()[..], &unit].concat()
}

/// Seeds of `sandbox_symbols`.
pub(crate) fn symbols() -> Vec<Seed> {
    // With children: low address, high address, name.
    let mut abbreviations = Vec::new();
    for (code, tag) in [(1, 0x11), (2, 0x2e), (3, 0x1d)] {
        abbreviations.extend([code, tag, 1, 0x11, 0x01, 0x12, 0x07, 0x03, 0x08, 0, 0]);
    }
    abbreviations.push(0);
    let file = |levels| elf(&[(".debug_abbrev", &abbreviations), (".debug_info", &unit(levels))]);
    vec![("empty", elf(&[])), ("inlined", file(3)), ("deep", file(1000))]
}
