//! Writer of PE32+ files with any sections, such as unified kernel images, independent of the parser.

use crate::Fields;

/// Machine type of x86_64.
pub const AMD64: u16 = 0x8664;
/// Machine type of arm64.
pub const ARM64: u16 = 0xaa64;
/// Machine type of riscv64.
pub const RISCV64: u16 = 0x5064;

/// File offset of the section table.
pub const SECTION_TABLE: usize = 0x80 + 24 + 240;
/// Length of an entry of the section table in bytes.
pub const SECTION_HEADER_LEN: usize = 40;

/// Alignment of sections in the file.
const FILE_ALIGNMENT: usize = 0x200;
/// Alignment of sections in memory.
const SECTION_ALIGNMENT: usize = 0x1000;

/// A PE32+ file under construction: an EFI application with a code section, and further sections in their order.
#[derive(Clone, Debug)]
pub struct Pe {
    machine: u16,
    sections: Vec<(Vec<u8>, Vec<u8>, Option<u32>)>,
}

impl Pe {
    /// A file with a code section only.
    #[must_use]
    pub fn new(machine: u16) -> Self {
        let sections = vec![(b".text".to_vec(), vec![0xcc; 16], None)];
        Self { machine, sections }
    }

    /// Adds a section with data.
    #[must_use]
    pub fn section(mut self, name: &str, data: impl AsRef<[u8]>) -> Self {
        self.sections.push((name.into(), data.as_ref().to_vec(), None));
        self
    }

    /// Adds a section with another `VirtualSize` than the length of its data.
    #[must_use]
    pub fn section_with_size(mut self, name: &str, data: impl AsRef<[u8]>, virtual_size: u32) -> Self {
        self.sections
            .push((name.into(), data.as_ref().to_vec(), Some(virtual_size)));
        self
    }

    /// The bytes of the file.
    ///
    /// # Panics
    ///
    /// For more than 65,535 sections and a name of more than eight bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let count = self.sections.len();
        let headers = (SECTION_TABLE + count * SECTION_HEADER_LEN).next_multiple_of(FILE_ALIGNMENT);
        let word = |n: usize| u32::try_from(n).unwrap();
        let mut file = vec![0; headers]
            .bytes(0, b"MZ")
            .u32(0x3c, 0x80) // e_lfanew
            .bytes(0x80, b"PE\0\0")
            .u16(0x84, self.machine)
            .u16(0x86, u16::try_from(count).unwrap())
            .u16(0x94, 240) // SizeOfOptionalHeader
            .u16(0x96, 0x22e) // Characteristics
            .u16(0x98, 0x20b) // PE32+
            .u32(0xa8, word(headers.next_multiple_of(SECTION_ALIGNMENT))) // AddressOfEntryPoint
            .u64(0xb0, 0x1_4000_0000) // ImageBase
            .u32(0xb8, word(SECTION_ALIGNMENT))
            .u32(0xbc, word(FILE_ALIGNMENT))
            .u32(0xd4, word(headers)) // SizeOfHeaders
            .u16(0xdc, 10) // Subsystem: EFI application
            .u16(0xde, 0x160) // DllCharacteristics
            .u32(0x104, 16); // NumberOfRvaAndSizes
        let mut rva = headers.next_multiple_of(SECTION_ALIGNMENT);
        for (index, (name, data, virtual_size)) in self.sections.iter().enumerate() {
            let header = SECTION_TABLE + index * SECTION_HEADER_LEN;
            let pointer = if data.is_empty() { 0 } else { file.len() };
            let raw = data.len().next_multiple_of(FILE_ALIGNMENT);
            let size = virtual_size.unwrap_or(word(data.len()));
            let flags = if index == 0 { 0x6000_0020 } else { 0x4000_0040 };
            assert!(name.len() <= 8, "a section name has at most eight bytes");
            let len = file.len();
            file = file
                .bytes(header, name)
                .u32(header + 8, size)
                .u32(header + 12, word(rva))
                .u32(header + 16, word(raw))
                .u32(header + 20, word(pointer))
                .u32(header + 36, flags)
                .resize(len + raw)
                .bytes(len, data);
            rva += usize::try_from(size)
                .unwrap()
                .max(1)
                .next_multiple_of(SECTION_ALIGNMENT);
        }
        file.u32(0xd0, word(rva)).build() // SizeOfImage
    }
}

/// A unified kernel image with a kernel, an initrd, a command line and an `os-release`.
#[must_use]
pub fn uki(machine: u16) -> Pe {
    Pe::new(machine)
        .section(".osrel", "ID=debian\nPRETTY_NAME=\"Debian 13\"\nVERSION_ID=13\n")
        .section(".cmdline", "root=/dev/vda1 quiet\n\0")
        .section(".uname", "6.12.9-amd64")
        .section(".initrd", "initrd one")
        .section(".linux", "a kernel")
}

/// The contents of a device tree blob whose root has these properties.
///
/// # Panics
///
/// For a value of 4 GiB.
#[must_use]
pub fn device_tree(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut strings = Vec::new();
    let mut structure = vec![0, 0, 0, 1, 0, 0, 0, 0];
    for (name, value) in properties {
        let len = u32::try_from(value.len()).unwrap();
        let offset = u32::try_from(strings.len()).unwrap();
        for word in [3, len, offset] {
            structure.extend(word.to_be_bytes());
        }
        structure.extend(*value);
        let padded = structure.len().next_multiple_of(4);
        structure = structure.resize(padded);
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    structure.extend([0, 0, 0, 2, 0, 0, 0, 9]);
    let (structure_at, strings_at) = (56, 56 + structure.len());
    let total = strings_at + strings.len();
    let words = [
        0xd00d_feed,
        total,
        structure_at,
        strings_at,
        40,
        17,
        16,
        0,
        strings.len(),
        structure.len(),
    ];
    let blob: Vec<u8> = words
        .iter()
        .flat_map(|word| u32::try_from(*word).unwrap().to_be_bytes())
        .collect();
    [blob.resize(structure_at), structure, strings].concat()
}
