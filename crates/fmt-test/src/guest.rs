//! Guest programs of sandboxes, written field by field, for tests and fuzz seeds.

use crate::elf::{Elf, PF_R, PF_W, PF_X, PT_LOAD, Phdr, note, notes};

/// First address of the image.
pub const BASE: u64 = 0x4000_0000;
/// Address of the code: the entry point, and the exception handlers 2 KiB after it.
pub const CODE: u64 = BASE + 0x1_0000;
/// Address of the exception handlers.
pub const VECTORS: u64 = CODE + 0x800;
/// Address of the constants after relocation.
pub const RELRO: u64 = BASE + 0x2_0000;
/// Address of the data.
pub const DATA: u64 = BASE + 0x2_1000;
/// Length of the data in memory in bytes.
pub const DATA_LEN: u64 = 0x2345;

/// `p_type` of the constants after relocation.
pub const PT_GNU_RELRO: u32 = 0x6474_e552;

/// Index of the segment of constants: exports, imports and names.
pub const CONSTANTS_PHDR: usize = 0;
/// Index of the segment of code.
pub const CODE_PHDR: usize = 1;
/// Index of the writable segment of constants after relocation.
pub const RELRO_PHDR: usize = 2;
/// Index of the segment of data.
pub const DATA_PHDR: usize = 3;
/// Index of the note.
pub const NOTE_PHDR: usize = 4;

/// A function in a table.
#[derive(Clone, Debug)]
pub struct GuestFunction {
    /// Name.
    pub name: String,
    /// Flags: 1 for bytes.
    pub flags: u32,
    /// Signature.
    pub signature: u64,
    /// Address of the function.
    pub function: u64,
}

/// A function with this name and signature at this address.
#[must_use]
pub fn function(name: &str, signature: u64, function: u64) -> GuestFunction {
    GuestFunction {
        name: name.to_owned(),
        flags: u32::from(signature == 0),
        signature,
        function,
    }
}

/// A guest program with a segment of constants, one of code, one of constants after relocation, and one of data.
#[derive(Clone, Debug)]
pub struct Guest {
    /// `e_machine`.
    pub machine: u16,
    /// Flags of the note.
    pub flags: u32,
    /// Smallest heap in bytes.
    pub min_heap: u64,
    /// Smallest stack in bytes.
    pub min_stack: u64,
    /// Functions that the guest offers.
    pub exports: Vec<GuestFunction>,
    /// Functions that the guest needs.
    pub imports: Vec<GuestFunction>,
}

impl Guest {
    /// A guest with two exports and one import.
    #[must_use]
    pub fn new(machine: u16) -> Self {
        Self {
            machine,
            flags: 0,
            min_heap: 0x10_0000,
            min_stack: 0x8000,
            exports: vec![function("add", 0x1234, CODE), function("echo", 0, CODE + 4)],
            imports: vec![function("now", 0x5678, 0)],
        }
    }

    /// Exports, imports and names, for [`BASE`].
    ///
    /// # Panics
    ///
    /// For a name of 4 GiB.
    #[must_use]
    pub fn constants(&self) -> Vec<u8> {
        let functions = || self.exports.iter().chain(&self.imports);
        let mut name = BASE + 40 * functions().count() as u64;
        let mut bytes = Vec::new();
        for function in functions() {
            bytes.extend(name.to_le_bytes());
            bytes.extend(u32::try_from(function.name.len()).unwrap().to_le_bytes());
            bytes.extend(function.flags.to_le_bytes());
            for word in [function.signature, function.function, 0] {
                bytes.extend(word.to_le_bytes());
            }
            name += function.name.len() as u64;
        }
        functions().for_each(|function| bytes.extend(function.name.as_bytes()));
        bytes
    }

    /// The descriptor of the note.
    #[must_use]
    pub fn descriptor(&self) -> Vec<u8> {
        let exports_end = BASE + 40 * self.exports.len() as u64;
        let words = [
            CODE,
            VECTORS,
            BASE,
            exports_end,
            exports_end,
            exports_end + 40 * self.imports.len() as u64,
            self.min_heap,
            self.min_stack,
            0,
            0,
            0,
        ];
        // Version 1.0.
        let start = [1, 0, 0, 0];
        start
            .into_iter()
            .chain(self.flags.to_le_bytes())
            .chain(words.into_iter().flat_map(u64::to_le_bytes))
            .collect()
    }

    /// The file; its program headers are in the order of the constants of this module.
    ///
    /// # Panics
    ///
    /// As [`constants`](Self::constants).
    #[must_use]
    pub fn elf(&self) -> Elf {
        let segment = |flags, addr, data: Vec<u8>, memsz| Phdr {
            p_type: PT_LOAD,
            flags,
            vaddr: addr,
            paddr: addr,
            data,
            memsz,
            align: 0x1000,
        };
        let constants = self.constants();
        let len = constants.len() as u64;
        let relro = Phdr {
            p_type: PT_GNU_RELRO,
            data: Vec::new(),
            ..segment(PF_R, RELRO, Vec::new(), 0x1000)
        };
        let phdrs = vec![
            segment(PF_R, BASE, constants, len),
            segment(PF_R | PF_X, CODE, vec![0x90; 0x1000], 0x1000),
            segment(PF_R | PF_W, RELRO, vec![0x11; 0x800], 0x1000),
            segment(PF_R | PF_W, DATA, vec![0x22; 0x10], DATA_LEN),
            notes(&note(4, "VMSandbox", 1, &self.descriptor()), 4),
            relro,
        ];
        Elf::new(self.machine, CODE, phdrs)
    }

    /// The bytes of the file.
    ///
    /// # Panics
    ///
    /// As [`constants`](Self::constants).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.elf().bytes()
    }
}
