//! ELF writer for tests and fuzz seeds.
//!
//! It writes every field by hand in the order of the specification and shares no code with the parser, so that a wrong
//! offset in one is not hidden by the same wrong offset in the other.

pub(crate) const ET_EXEC: u16 = 2;
pub(crate) const ET_DYN: u16 = 3;

pub(crate) const EM_386: u16 = 3;
pub(crate) const EM_X86_64: u16 = 62;
pub(crate) const EM_AARCH64: u16 = 183;
pub(crate) const EM_RISCV: u16 = 243;

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;

pub(crate) const PF_X: u32 = 1;
pub(crate) const PF_W: u32 = 2;
pub(crate) const PF_R: u32 = 4;

/// A program header and the content of its segment.
#[derive(Clone, Debug)]
pub(crate) struct Phdr {
    pub(crate) p_type: u32,
    pub(crate) flags: u32,
    pub(crate) vaddr: u64,
    pub(crate) paddr: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) memsz: u64,
    pub(crate) align: u64,
}

/// A loadable segment at equal virtual and physical addresses that is readable, writable and executable.
pub(crate) fn load(addr: u64, data: &[u8], memsz: u64) -> Phdr {
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
pub(crate) fn notes(data: &[u8], align: u64) -> Phdr {
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

/// An ELF file under construction.
#[derive(Clone, Debug)]
pub(crate) struct Elf {
    pub(crate) bits64: bool,
    pub(crate) big_endian: bool,
    pub(crate) e_type: u16,
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) phdrs: Vec<Phdr>,
    /// True if section header 0 holds the number of program headers.
    pub(crate) xnum: bool,
}

impl Elf {
    /// A little-endian ELF64 executable.
    pub(crate) fn new(machine: u16, entry: u64, phdrs: Vec<Phdr>) -> Self {
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
    pub(crate) fn write(&self) -> (Vec<u8>, Vec<u64>) {
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
    pub(crate) fn bytes(&self) -> Vec<u8> {
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
pub(crate) fn note(align: usize, name: &str, n_type: u32, desc: &[u8]) -> Vec<u8> {
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
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
