//! ELF writer for tests and fuzz seeds.
//!
//! It writes every field by hand in the order of the specification and shares no code with the parser, so that a wrong
//! offset in one is not hidden by the same wrong offset in the other.

/// `e_type` of an executable.
pub const ET_EXEC: u16 = 2;
/// `e_type` of a shared object.
pub const ET_DYN: u16 = 3;

/// `e_machine` of i386.
pub const EM_386: u16 = 3;
/// `e_machine` of x86_64.
pub const EM_X86_64: u16 = 62;
/// `e_machine` of arm64.
pub const EM_AARCH64: u16 = 183;
/// `e_machine` of riscv.
pub const EM_RISCV: u16 = 243;

/// A loadable segment.
pub const PT_LOAD: u32 = 1;
/// A segment of notes.
pub const PT_NOTE: u32 = 4;
/// `p_type`: the dynamic section.
pub const PT_DYNAMIC: u32 = 2;

/// An executable segment.
pub const PF_X: u32 = 1;
/// A writable segment.
pub const PF_W: u32 = 2;
/// A readable segment.
pub const PF_R: u32 = 4;

/// A program header and the content of its segment.
#[derive(Clone, Debug)]
pub struct Phdr {
    /// Type, such as [`PT_LOAD`].
    pub p_type: u32,
    /// Flags: [`PF_X`], [`PF_W`], [`PF_R`].
    pub flags: u32,
    /// Virtual address.
    pub vaddr: u64,
    /// Physical address.
    pub paddr: u64,
    /// Content in the file.
    pub data: Vec<u8>,
    /// Length in memory in bytes.
    pub memsz: u64,
    /// Alignment in bytes; the offset in the file is congruent to the virtual address.
    pub align: u64,
}

/// A loadable segment at equal virtual and physical addresses that is readable, writable and executable.
#[must_use]
pub fn load(addr: u64, data: &[u8], memsz: u64) -> Phdr {
    Phdr {
        p_type: PT_LOAD,
        flags: PF_R | PF_W | PF_X,
        vaddr: addr,
        paddr: addr,
        data: data.to_vec(),
        memsz,
        align: 16,
    }
}

/// A note segment that is not loaded.
#[must_use]
pub fn notes(data: &[u8], align: u64) -> Phdr {
    Phdr {
        p_type: PT_NOTE,
        flags: PF_R,
        vaddr: 0,
        paddr: 0,
        data: data.to_vec(),
        memsz: data.len() as u64,
        align,
    }
}

/// The bytes of 64-bit values.
#[must_use]
pub fn xwords(values: &[u64], big_endian: bool) -> Vec<u8> {
    let bytes = |value: &u64| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    values.iter().flat_map(bytes).collect()
}

/// Offset of the table `DT_RELA` in the segment of [`position_independent`].
pub const RELA: u64 = 0x40;

/// A position-independent ELF64 kernel at `base`: a segment of 0x100 bytes, of which the first 0x40 are places for relocations, and a dynamic section
/// with its table `DT_RELA`. Each entry has `r_offset`, `r_info` and `r_addend`.
///
/// # Panics
///
/// For more than 8 entries.
#[must_use]
pub fn position_independent(machine: u16, big_endian: bool, base: u64, entries: &[[u64; 3]]) -> Elf {
    let table = xwords(&entries.concat(), big_endian);
    assert!(table.len() <= 0x100 - 0x40, "too many entries");
    let mut data = vec![0; 0x40];
    data.extend(&table);
    data.resize(0x100, 0);
    // DT_RELA, DT_RELASZ, DT_RELAENT, DT_NULL.
    let dynamic = xwords(&[7, base + RELA, 8, table.len() as u64, 9, 24, 0, 0], big_endian);
    let dynamic = Phdr {
        p_type: PT_DYNAMIC,
        align: 8,
        ..load(base + 0x1000, &dynamic, 0)
    };
    let mut elf = Elf::new(machine, base, vec![load(base, &data, 0x200), dynamic]);
    elf.e_type = ET_DYN;
    elf.big_endian = big_endian;
    elf
}

/// An ELF file under construction.
#[derive(Clone, Debug)]
pub struct Elf {
    /// ELF64, otherwise ELF32.
    pub bits64: bool,
    /// Byte order.
    pub big_endian: bool,
    /// Type, such as [`ET_EXEC`].
    pub e_type: u16,
    /// Machine, such as [`EM_X86_64`].
    pub machine: u16,
    /// Entry point.
    pub entry: u64,
    /// Segments.
    pub phdrs: Vec<Phdr>,
    /// True if section header 0 holds the number of program headers.
    pub xnum: bool,
}

impl Elf {
    /// A little-endian ELF64 executable.
    #[must_use]
    pub fn new(machine: u16, entry: u64, phdrs: Vec<Phdr>) -> Self {
        Self {
            bits64: machine != EM_386,
            big_endian: false,
            e_type: ET_EXEC,
            machine,
            entry,
            phdrs,
            xnum: false,
        }
    }

    /// The bytes of the file, and the file offset of every segment's content.
    ///
    /// # Panics
    ///
    /// For more than 65,534 program headers without [`xnum`](Self::xnum), and a value that a 32-bit file cannot have.
    #[must_use]
    pub fn write(&self) -> (Vec<u8>, Vec<u64>) {
        let (ehsize, phentsize, shentsize) = if self.bits64 { (64, 56, 64) } else { (52, 32, 40) };
        let phoff = u64::from(ehsize);
        let table_end = phoff + u64::from(phentsize) * self.phdrs.len() as u64;
        let shoff = if self.xnum { table_end } else { 0 };
        let mut end = table_end + if self.xnum { u64::from(shentsize) } else { 0 };
        let offsets: Vec<u64> = self
            .phdrs
            .iter()
            .map(|phdr| {
                let align = phdr.align.max(1);
                let offset = end + phdr.vaddr.wrapping_sub(end) % align;
                end = offset + phdr.data.len() as u64;
                offset
            })
            .collect();

        let mut out = Encoder {
            bytes: Vec::new(),
            big_endian: self.big_endian,
            bits64: self.bits64,
        };
        let class = if self.bits64 { 2 } else { 1 };
        let data = if self.big_endian { 2 } else { 1 };
        out.bytes.extend([0x7f, b'E', b'L', b'F', class, data, 1, 0]);
        out.bytes.extend([0; 8]);
        out.half(self.e_type);
        out.half(self.machine);
        out.word(1);
        out.addr(self.entry);
        out.addr(if self.phdrs.is_empty() { 0 } else { phoff });
        out.addr(shoff);
        out.word(0);
        out.half(ehsize);
        out.half(phentsize);
        out.half(if self.xnum {
            0xffff
        } else {
            u16::try_from(self.phdrs.len()).unwrap()
        });
        out.half(shentsize);
        out.half(0);
        out.half(0);
        for (phdr, offset) in self.phdrs.iter().zip(&offsets) {
            out.word(phdr.p_type);
            if self.bits64 {
                out.word(phdr.flags);
            }
            out.addr(*offset);
            out.addr(phdr.vaddr);
            out.addr(phdr.paddr);
            out.addr(phdr.data.len() as u64);
            out.addr(phdr.memsz);
            if !self.bits64 {
                out.word(phdr.flags);
            }
            out.addr(phdr.align);
        }
        if self.xnum {
            out.word(0);
            out.word(0);
            (0..4).for_each(|_| out.addr(0));
            out.word(0);
            out.word(u32::try_from(self.phdrs.len()).unwrap());
            (0..2).for_each(|_| out.addr(0));
        }
        for (phdr, offset) in self.phdrs.iter().zip(&offsets) {
            out.bytes.resize(usize::try_from(*offset).unwrap(), 0);
            out.bytes.extend(&phdr.data);
        }
        (out.bytes, offsets)
    }

    /// The bytes of the file.
    ///
    /// # Panics
    ///
    /// As [`write`](Self::write).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.write().0
    }
}

/// Bytes in the encoding of a file.
struct Encoder {
    bytes: Vec<u8>,
    big_endian: bool,
    bits64: bool,
}

impl Encoder {
    fn put<const N: usize>(&mut self, big: [u8; N], little: [u8; N]) {
        self.bytes.extend(if self.big_endian { big } else { little });
    }

    fn half(&mut self, value: u16) {
        self.put(value.to_be_bytes(), value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.put(value.to_be_bytes(), value.to_le_bytes());
    }

    /// An address, offset or size, as wide as the class requires.
    fn addr(&mut self, value: u64) {
        if self.bits64 {
            self.put(value.to_be_bytes(), value.to_le_bytes());
        } else {
            self.word(u32::try_from(value).unwrap());
        }
    }
}

/// A little-endian note, its value and the next note aligned to `align`.
///
/// # Panics
///
/// For a name or value of 4 GiB.
#[must_use]
pub fn note(align: usize, name: &str, n_type: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let [namesz, descsz] = [name.len() + 1, desc.len()].map(|len| u32::try_from(len).unwrap());
    for word in [namesz, descsz, n_type] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(align), 0);
    bytes.extend(desc);
    bytes.resize(bytes.len().next_multiple_of(align), 0);
    bytes
}

/// The value of a note that holds 32-bit words.
#[must_use]
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
