//! The ELF that cargo makes of a guest: reading its segments, and writing it again as an ELF32.
//!
//! Offsets and sizes follow the gABI's chapters "ELF Header" and "Program Header". Only what the linker writes for
//! `guests/conformance` and `guests/conformance-fdt` has to be understood; all else is an error. The `fmt-elf` crate does this for any file, but the
//! developer tasks must build when it does not.

/// What is wrong with a guest's ELF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestElfError {
    /// The file ends inside something.
    #[error("the guest's ELF ends within the {len} bytes at offset {offset:#x}: it has {file:#x}")]
    Short { offset: u64, len: u64, file: u64 },
    /// A field of the header has a value that the guests' linker does not write.
    #[error(
        "the guest's ELF has {found:#x} in the {field} field at offset {offset:#x}, expected {expected:#x}"
    )]
    Header {
        field: &'static str,
        offset: u64,
        found: u64,
        expected: u64,
    },
    /// There is nothing to load.
    #[error("the guest's ELF has no PT_LOAD segment")]
    NoSegments,
    /// A segment starts before the one in front of it ends, or is longer in the file than in memory.
    #[error("segment {index} of the guest's ELF, at {address:#x}, does not follow the one before it")]
    Disorder { index: usize, address: u64 },
    /// An address does not fit in 32 bits.
    #[error("segment {index} of the guest's ELF ends at {end:#x}: an ELF32 reaches up to 4 GiB")]
    TooHigh { index: usize, end: u64 },
    /// The larger headers would run into content.
    #[error("the ELF32 headers take {headers:#x} bytes, but content starts at {content:#x}")]
    NoRoom { headers: u64, content: u64 },
}

const PT_LOAD: u32 = 1;
/// `p_flags`: the segment may be written.
const PF_W: u32 = 2;

const PHDR64_LEN: u64 = 56;
const EHDR32_LEN: u16 = 52;
const PHDR32_LEN: u16 = 32;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// Which ELF64 a guest's program is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    e_type: u16,
    e_machine: u16,
    order: Order,
}

/// The byte order of an ELF's headers and of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Kind {
    /// x86_64, at one address.
    pub(crate) const X86_64: Self = Self {
        e_type: ET_EXEC,
        e_machine: EM_X86_64,
        order: Order::Little,
    };
    /// arm64, anywhere.
    pub(crate) const AARCH64: Self = Self {
        e_type: ET_DYN,
        e_machine: EM_AARCH64,
        order: Order::Little,
    };
    /// Big-endian arm64, anywhere.
    pub(crate) const AARCH64_BE: Self = Self {
        order: Order::Big,
        ..Self::AARCH64
    };
    /// riscv64, anywhere.
    pub(crate) const RISCV64: Self = Self {
        e_machine: EM_RISCV,
        ..Self::AARCH64
    };

    /// Whether headers and data are big-endian.
    pub(crate) fn is_big_endian(self) -> bool {
        self.order == Order::Big
    }
}

/// One program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

/// A guest's ELF64 with its program headers read and checked.
pub(crate) struct GuestElf<'a> {
    file: Fields<'a>,
    entry: u64,
    segments: Vec<Segment>,
}

/// What the guest's memory holds once it is loaded, from its lowest address on.
pub(crate) struct FlatImage {
    /// Physical address of the first byte.
    pub(crate) base: u64,
    /// Physical address of the ELF's entry point.
    pub(crate) entry: u64,
    /// Everything up to the end of the last segment: gaps and what has no bytes in the file are zeros.
    pub(crate) bytes: Vec<u8>,
    /// How many of `bytes`, from the start, take those of the file; behind them all are zeros.
    pub(crate) file_len: usize,
    /// The parts that the guest does not write, as ranges of `bytes`.
    pub(crate) read_only: Vec<std::ops::Range<usize>>,
}

impl<'a> GuestElf<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// The file is cut off, or is not an ELF64 of this kind with loadable segments in rising order.
    pub(crate) fn parse(bytes: &'a [u8], kind: Kind) -> Result<Self, GuestElfError> {
        let file = Fields {
            bytes,
            order: kind.order,
        };
        // The low seven bytes of e_ident: magic, class, byte order, version. The eighth names an ABI, which linkers choose
        // by the features they used.
        let mut ident = file.array::<8>(0)?;
        ident[7] = 0;
        let data = if kind.is_big_endian() { 2 } else { 1 };
        for (field, offset, found, expected) in [
            (
                "e_ident",
                0,
                u64::from_le_bytes(ident),
                u64::from_le_bytes([0x7f, b'E', b'L', b'F', 2, data, 1, 0]),
            ),
            ("e_type", 16, file.u16(16)?.into(), kind.e_type.into()),
            ("e_machine", 18, file.u16(18)?.into(), kind.e_machine.into()),
            ("e_phentsize", 54, file.u16(54)?.into(), PHDR64_LEN),
        ] {
            if found != expected {
                return Err(GuestElfError::Header {
                    field,
                    offset,
                    found,
                    expected,
                });
            }
        }
        let table = file.u64(32)?;
        let segments = (0..u64::from(file.u16(56)?))
            .map(|index| Segment::read(&file, table.saturating_add(index * PHDR64_LEN)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut end = 0;
        for (index, segment) in segments
            .iter()
            .enumerate()
            .filter(|(_, segment)| segment.kind == PT_LOAD)
        {
            let disorder = GuestElfError::Disorder {
                index,
                address: segment.paddr,
            };
            let segment_end = segment.paddr.checked_add(segment.memsz).ok_or(disorder)?;
            if segment.paddr < end || segment.filesz > segment.memsz {
                return Err(disorder);
            }
            file.get(segment.offset, segment.filesz)?;
            end = segment_end;
        }
        let this = Self {
            entry: file.u64(24)?,
            file,
            segments,
        };
        if this.loads().next().is_none() {
            return Err(GuestElfError::NoSegments);
        }
        Ok(this)
    }

    fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// Lays the segments out as a loader would.
    ///
    /// # Errors
    ///
    /// The image would not end below 4 GiB.
    pub(crate) fn flatten(&self) -> Result<FlatImage, GuestElfError> {
        self.below_4g()?;
        let base = self
            .loads()
            .map(|segment| segment.paddr)
            .min()
            .ok_or(GuestElfError::NoSegments)?;
        let mut image = FlatImage {
            base,
            entry: self.entry,
            bytes: Vec::new(),
            file_len: 0,
            read_only: Vec::new(),
        };
        for segment in self.loads() {
            let start = usize::try_from(segment.paddr - base).unwrap_or(usize::MAX);
            image.bytes.resize(start, 0);
            image
                .bytes
                .extend_from_slice(self.file.get(segment.offset, segment.filesz)?);
            if segment.flags & PF_W == 0 {
                image.read_only.push(start..image.bytes.len());
            }
            if segment.filesz > 0 {
                image.file_len = image.bytes.len();
            }
            let end = segment.paddr - base + segment.memsz;
            image.bytes.resize(usize::try_from(end).unwrap_or(usize::MAX), 0);
        }
        Ok(image)
    }

    /// The same image as an ELF32 for the i386, as 32-bit PVH kernels are: every virtual address is the physical one, and the
    /// entry point is the image's first byte, where the conformance guest has its 32-bit Linux entry. Notes stay. There are
    /// no section headers.
    ///
    /// # Errors
    ///
    /// An address needs more than 32 bits, or the headers find no room before the first segment's bytes.
    pub(crate) fn to_elf32(&self) -> Result<Vec<u8>, GuestElfError> {
        self.below_4g()?;
        let count = u16::try_from(self.segments.len()).unwrap_or(u16::MAX);
        let headers = u64::from(EHDR32_LEN) + u64::from(count) * u64::from(PHDR32_LEN);
        let with_bytes = || self.segments.iter().filter(|segment| segment.filesz > 0);
        let content = with_bytes()
            .map(|segment| segment.offset)
            .min()
            .unwrap_or(headers);
        if headers > content {
            return Err(GuestElfError::NoRoom { headers, content });
        }
        let entry = self.loads().map(|segment| segment.paddr).min().unwrap_or(0);

        let mut out = Vec::new();
        // Magic, ELFCLASS32, ELFDATA2LSB, EV_CURRENT, no particular ABI.
        out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for half in [2, EM_386] {
            out.extend_from_slice(&half.to_le_bytes());
        }
        // e_version, e_entry, e_phoff, e_shoff, e_flags.
        for word in [1, low(entry), EHDR32_LEN.into(), 0, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
        for half in [EHDR32_LEN, PHDR32_LEN, count, 0, 0, 0] {
            out.extend_from_slice(&half.to_le_bytes());
        }
        for segment in &self.segments {
            let Segment {
                kind,
                flags,
                offset,
                paddr,
                filesz,
                memsz,
                align,
            } = *segment;
            let fields = [
                kind,
                low(offset),
                low(paddr),
                low(paddr),
                low(filesz),
                low(memsz),
                flags,
                low(align),
            ];
            for word in fields {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        // All content stays at its offset.
        let end = with_bytes()
            .map(|segment| segment.offset + segment.filesz)
            .max()
            .unwrap_or(headers);
        out.resize(usize::try_from(content).unwrap_or(usize::MAX), 0);
        out.extend_from_slice(self.file.get(content, end - content)?);
        Ok(out)
    }

    /// The same file as one that runs at the addresses it was linked for, and nowhere else.
    pub(crate) fn to_fixed(&self) -> Vec<u8> {
        let mut out = self.file.bytes.to_vec();
        let e_type = match self.file.order {
            Order::Little => ET_EXEC.to_le_bytes(),
            Order::Big => ET_EXEC.to_be_bytes(),
        };
        // `parse` has read the whole header.
        if let Some(field) = out.get_mut(16..18) {
            field.copy_from_slice(&e_type);
        }
        out
    }

    fn below_4g(&self) -> Result<(), GuestElfError> {
        let ends = self
            .segments
            .iter()
            .map(|segment| segment.paddr.saturating_add(segment.memsz));
        ends.enumerate()
            .find(|(_, end)| *end > 1 << 32)
            .map_or(Ok(()), |(index, end)| Err(GuestElfError::TooHigh { index, end }))
    }
}

/// The low half: [`GuestElf::below_4g`] has seen that the high one is empty.
fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Segment {
    fn read(file: &Fields<'_>, at: u64) -> Result<Self, GuestElfError> {
        file.get(at, PHDR64_LEN)?;
        Ok(Self {
            kind: file.u32(at)?,
            flags: file.u32(at + 4)?,
            offset: file.u64(at + 8)?,
            paddr: file.u64(at + 24)?,
            filesz: file.u64(at + 32)?,
            memsz: file.u64(at + 40)?,
            align: file.u64(at + 48)?,
        })
    }
}

/// Fields of a file.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl<'a> Fields<'a> {
    fn get(&self, offset: u64, len: u64) -> Result<&'a [u8], GuestElfError> {
        let range = usize::try_from(offset)
            .ok()
            .zip(offset.checked_add(len).and_then(|end| usize::try_from(end).ok()));
        range
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or(GuestElfError::Short {
                offset,
                len,
                file: self.bytes.len() as u64,
            })
    }

    fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], GuestElfError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.get(offset, N as u64)?);
        Ok(bytes)
    }

    fn u16(&self, offset: u64) -> Result<u16, GuestElfError> {
        let bytes = self.array(offset)?;
        Ok(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(&self, offset: u64) -> Result<u32, GuestElfError> {
        let bytes = self.array(offset)?;
        Ok(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    fn u64(&self, offset: u64) -> Result<u64, GuestElfError> {
        let bytes = self.array(offset)?;
        Ok(match self.order {
            Order::Little => u64::from_le_bytes(bytes),
            Order::Big => u64::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ELF64 with these program headers (kind, flags, offset, physical address, file size, memory size), entry at the
    /// lowest address plus 0x200, and bytes that count up from its start.
    pub(crate) fn elf64(segments: &[(u32, u32, u64, u64, u64, u64)]) -> Vec<u8> {
        let end = segments.iter().map(|s| s.2 + s.4).max().unwrap_or(0).max(0x400);
        let mut out: Vec<u8> = (0..end).map(|at| at.to_le_bytes()[0]).collect();
        out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x03");
        out[16..20].copy_from_slice(&[2, 0, 62, 0]);
        let entry = segments.iter().map(|s| s.3).min().unwrap_or(0) + 0x200;
        out[24..32].copy_from_slice(&entry.to_le_bytes());
        out[32..40].copy_from_slice(&64_u64.to_le_bytes());
        out[54..56].copy_from_slice(&56_u16.to_le_bytes());
        out[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
        for (index, (kind, flags, offset, paddr, filesz, memsz)) in segments.iter().enumerate() {
            let header = [
                u64::from(*kind) | u64::from(*flags) << 32,
                *offset,
                0xffff_ffff_8000_0000 + paddr,
                *paddr,
                *filesz,
                *memsz,
                0x1000,
            ];
            for (word, value) in header.iter().enumerate() {
                let at = 64 + index * 56 + word * 8;
                out[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        out
    }

    /// A head, read-only bytes, variables with zeros behind them, zeros alone, and a note inside the read-only bytes.
    pub(crate) const SAMPLE: [(u32, u32, u64, u64, u64, u64); 5] = [
        (1, 7, 0x1000, 0x10_0000, 0x1000, 0x1000),
        (1, 4, 0x2000, 0x10_1000, 0x123, 0x123),
        (1, 6, 0x3000, 0x10_2000, 0x45, 0x1001),
        (1, 6, 0x4000, 0x10_4000, 0, 0x2000),
        (4, 4, 0x2100, 0x10_1100, 0x20, 0x20),
    ];

    #[test]
    fn a_flat_image_is_what_a_loader_makes() {
        let elf = elf64(&SAMPLE);
        let flat = GuestElf::parse(&elf, Kind::X86_64).unwrap().flatten().unwrap();
        assert_eq!(
            (flat.base, flat.entry, flat.bytes.len(), flat.file_len),
            (0x10_0000, 0x10_0200, 0x6000, 0x2045)
        );
        assert_eq!(flat.bytes[..0x1000], elf[0x1000..0x2000]);
        assert_eq!(flat.bytes[0x1000..0x1123], elf[0x2000..0x2123]);
        assert_eq!(flat.bytes[0x2000..0x2045], elf[0x3000..0x3045]);
        assert!(
            flat.bytes[0x1123..0x2000]
                .iter()
                .chain(&flat.bytes[0x2045..])
                .all(|byte| *byte == 0)
        );
        assert_eq!(
            (flat.read_only.first(), flat.read_only.len()),
            (Some(&(0x1000..0x1123)), 1)
        );
    }

    #[test]
    fn an_elf32_holds_the_same_segments() {
        let elf = elf64(&SAMPLE);
        let out = GuestElf::parse(&elf, Kind::X86_64).unwrap().to_elf32().unwrap();
        let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!(out[..8], *b"\x7fELF\x01\x01\x01\x00");
        assert_eq!(word(16), 2 | 3 << 16, "e_type and e_machine");
        assert_eq!((word(24), word(28)), (0x10_0000, 52), "e_entry and e_phoff");
        for (index, (kind, flags, offset, paddr, filesz, memsz)) in SAMPLE.iter().enumerate() {
            let at = 52 + index * 32;
            let found: Vec<_> = (0..8).map(|field| u64::from(word(at + field * 4))).collect();
            let (kind, flags) = (u64::from(*kind), u64::from(*flags));
            assert_eq!(
                found,
                [kind, *offset, *paddr, *paddr, *filesz, *memsz, flags, 0x1000]
            );
        }
        assert_eq!(out[0x1000..], elf[0x1000..0x3045]);
    }

    /// `elf` as one of `kind`: every field that `elf64` wrote, in that byte order.
    pub(crate) fn as_kind(elf: &[u8], kind: Kind) -> Vec<u8> {
        let mut out = elf.to_vec();
        out[16..18].copy_from_slice(&kind.e_type.to_le_bytes());
        out[18..20].copy_from_slice(&kind.e_machine.to_le_bytes());
        if kind.is_big_endian() {
            out[5] = 2;
            let count = usize::from(u16::from_le_bytes([out[56], out[57]]));
            let words = [24, 32].into_iter();
            let words =
                words.chain((0..count).flat_map(|at| (1..7).map(move |word| 64 + at * 56 + word * 8)));
            let halves = [16, 18, 54, 56].map(|at| (at, 2)).into_iter();
            let kinds = (0..count).flat_map(|at| [(64 + at * 56, 4), (68 + at * 56, 4)]);
            for (at, len) in words.map(|at| (at, 8)).chain(halves).chain(kinds) {
                out[at..at + len].reverse();
            }
        }
        out
    }

    #[test]
    fn a_big_endian_elf_holds_the_same_image() {
        let little = elf64(&SAMPLE);
        let flat = GuestElf::parse(&little, Kind::X86_64).unwrap().flatten().unwrap();
        let big = as_kind(&little, Kind::AARCH64_BE);
        let other = GuestElf::parse(&big, Kind::AARCH64_BE)
            .unwrap()
            .flatten()
            .unwrap();
        assert_eq!((flat.base, flat.entry), (other.base, other.entry));
        assert!(flat.bytes == other.bytes && flat.read_only == other.read_only);
        assert!(GuestElf::parse(&big, Kind::AARCH64).is_err());
    }

    #[test]
    fn a_fixed_elf_differs_in_its_type_alone() {
        for kind in [Kind::AARCH64, Kind::AARCH64_BE, Kind::RISCV64] {
            let elf = as_kind(&elf64(&SAMPLE), kind);
            let fixed = GuestElf::parse(&elf, kind).unwrap().to_fixed();
            let kind = Kind {
                e_type: ET_EXEC,
                ..kind
            };
            assert!(GuestElf::parse(&fixed, kind).is_ok());
            let differ = elf.iter().zip(&fixed).filter(|(one, other)| one != other).count();
            assert_eq!((differ, fixed.len()), (1, elf.len()));
        }
    }

    fn check(elf: &[u8], expected: GuestElfError) {
        let found = GuestElf::parse(elf, Kind::X86_64)
            .and_then(|elf| elf.flatten().and_then(|_| elf.to_elf32()))
            .err();
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn what_the_linker_does_not_write_is_refused() {
        let mut elf = elf64(&SAMPLE);
        check(
            &[],
            GuestElfError::Short {
                offset: 0,
                len: 8,
                file: 0,
            },
        );
        check(
            &elf[..0x3000],
            GuestElfError::Short {
                offset: 0x3000,
                len: 0x45,
                file: 0x3000,
            },
        );
        check(&elf64(&[]), GuestElfError::NoSegments);
        check(&elf64(&SAMPLE[4..]), GuestElfError::NoSegments);
        let mut rising = SAMPLE;
        rising[1].3 = 0x10_0fff;
        check(
            &elf64(&rising),
            GuestElfError::Disorder {
                index: 1,
                address: 0x10_0fff,
            },
        );
        let mut long = SAMPLE;
        long[1].5 = 0x122;
        check(
            &elf64(&long),
            GuestElfError::Disorder {
                index: 1,
                address: 0x10_1000,
            },
        );
        let mut wraps = SAMPLE;
        wraps[3].5 = u64::MAX;
        check(
            &elf64(&wraps),
            GuestElfError::Disorder {
                index: 3,
                address: 0x10_4000,
            },
        );
        let mut high = SAMPLE;
        high[3].5 = 1 << 32;
        check(
            &elf64(&high),
            GuestElfError::TooHigh {
                index: 3,
                end: 0x1_0010_4000,
            },
        );
        check(
            &elf64(&[(1, 7, 64, 0x1000, 1, 1)]),
            GuestElfError::NoRoom {
                headers: 84,
                content: 64,
            },
        );
        elf[18] = 3;
        check(
            &elf,
            GuestElfError::Header {
                field: "e_machine",
                offset: 18,
                found: 3,
                expected: 62,
            },
        );
    }
}
