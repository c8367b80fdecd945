//! Plans that violate an invariant are refused; loading writes every load or returns an error; formats are tried in order.

use std::cell::Cell;

use boot_core::cpu::{riscv64, x86_64};
use boot_core::{
    Arch, BootFile, BootPlan, BootRequest, ByteSource, Cmdline, Constraints, DetectError, Endian, EntryAbi,
    FormatError, FormatErrorKind, GuestMemory, GuestRange, ImageBuilder, KernelFormat, KernelImage, Load,
    LoadContent, LoadError, Machine, MemoryError, MemoryMap, Module, PlacedKernel, PlanBuilder, Priority,
    RamAllocator, ReadError, ReadErrorKind, RegionKind, SliceMemory, SourceRange, Sources, ValidationError,
    detect,
};

const KERNEL: [u8; 16] = *b"kernel image....";
const INITRD: [u8; 8] = *b"initrd..";

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

/// A kernel of 16 bytes at 1 MiB that uses 8 KiB there.
fn image() -> KernelImage {
    ImageBuilder::new("test", Arch::X86_64, Endian::Little, 16)
        .segment(SourceRange::whole(16), range(0x10_0000, 0x10_1000))
        .extent(range(0x10_0000, 0x10_2000))
        .entry(EntryAbi::ELF64, 0x10_0000)
        .build()
        .unwrap()
}

/// Plans a boot of [`image`] in 2 MiB with an initrd of eight bytes and one module, and whatever `add` adds.
fn plan(add: impl FnOnce(PlanBuilder) -> PlanBuilder) -> Result<BootPlan, ValidationError> {
    let image = image();
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
    let cmdline = Cmdline::new();
    let modules = [Module::new(4)];
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(8)
        .with_modules(&modules);
    let mut allocator = RamAllocator::new(&machine.memory);
    let kernel = PlacedKernel::place(&image, &mut allocator).unwrap();
    add(PlanBuilder::new("test", &request, &kernel)).build()
}

fn with_cpu(builder: PlanBuilder) -> PlanBuilder {
    builder.cpu(x86_64::State::protected_mode(0x10_0000, 8, 16))
}

fn with_initrd(builder: PlanBuilder) -> PlanBuilder {
    with_cpu(builder).file(
        "initrd",
        range(0x11_0000, 0x11_0008),
        BootFile::Initrd,
        Constraints::below_4g(0x1000),
    )
}

#[test]
fn a_plan_has_the_loads_and_the_extent_of_the_kernel() {
    let plan = plan(with_initrd).unwrap();
    assert_eq!(plan.kernel(), range(0x10_0000, 0x10_2000));
    let loads: Vec<_> = plan
        .loads()
        .iter()
        .map(|load| (&*load.label, load.range, load.is_kernel()))
        .collect();
    assert_eq!(
        loads,
        [
            ("kernel", range(0x10_0000, 0x10_0010), true),
            ("kernel", range(0x10_0010, 0x10_1000), true),
            ("initrd", range(0x11_0000, 0x11_0008), false),
        ]
    );
    assert_eq!(
        plan,
        self::plan(with_initrd).unwrap(),
        "equal requests give equal plans"
    );
}

#[test]
fn every_violated_invariant_is_refused() {
    let check = |add: &dyn Fn(PlanBuilder) -> PlanBuilder, expected: fn(&ValidationError) -> bool| {
        let error = plan(add).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let add = |range, content, constraints| {
        move |builder| {
            with_cpu(builder).load(Load::new(
                range,
                LoadContent::clone(&content),
                "table",
                constraints,
            ))
        }
    };
    let page = range(0x1000, 0x2000);
    check(
        &add(range(0x1000, 0x1000), LoadContent::Zeros, Constraints::NONE),
        |e| matches!(e, ValidationError::Empty { .. }),
    );
    check(
        &add(range(0x9_f000, 0xa_1000), LoadContent::Zeros, Constraints::NONE),
        |e| matches!(e, ValidationError::NotRam { .. }),
    );
    for constraints in [
        Constraints::aligned(0x2000),
        Constraints::aligned(3),
        Constraints::NONE.not_below(0x1001),
        Constraints::NONE.not_above(0x1fff),
    ] {
        check(&add(page, LoadContent::Zeros, constraints), |e| {
            matches!(e, ValidationError::Constraints { .. })
        });
    }
    let content = LoadContent::Bytes(vec![0; 0xfff]);
    check(&add(page, content, Constraints::NONE), |e| {
        matches!(e, ValidationError::ContentLength { found: 0xfff, .. })
    });
    for (id, len) in [
        (BootFile::Kernel, 17),
        (BootFile::Initrd, 9),
        (BootFile::Module(0), 5),
        (BootFile::Module(1), 1),
    ] {
        let content = LoadContent::File {
            id,
            range: SourceRange::whole(len),
        };
        check(
            &add(range(0x1000, 0x1000 + len), content, Constraints::NONE),
            |e| matches!(e, ValidationError::PastEnd { .. }),
        );
    }
    check(
        &add(range(0x10_1fff, 0x10_3000), LoadContent::Zeros, Constraints::NONE),
        |e| matches!(e, ValidationError::InKernel { .. }),
    );
    check(
        &|builder| {
            let second = Load::new(
                range(0x1fff, 0x3000),
                LoadContent::Zeros,
                "other",
                Constraints::NONE,
            );
            add(page, LoadContent::Zeros, Constraints::NONE)(builder).load(second)
        },
        |e| matches!(e, ValidationError::Overlap { .. }),
    );
    check(
        &|builder| {
            let mut map = MemoryMap::new();
            map.insert(range(0, 0x10_0000), RegionKind::Ram).unwrap();
            with_cpu(builder).memory(map)
        },
        |e| matches!(e, ValidationError::MapNotRam(_)),
    );
    check(&|builder| builder, |e| matches!(e, ValidationError::NoCpu));
    check(&|builder| builder.cpu(riscv64::State::new(0x10_0000)), |e| {
        matches!(e, ValidationError::CpuArch { .. })
    });
    // In the extent, but in no segment: there is nothing to execute.
    check(
        &|builder| builder.cpu(x86_64::State::protected_mode(0x10_1000, 8, 16)),
        |e| matches!(e, ValidationError::EntryOutside(0x10_1000)),
    );
}

#[test]
fn the_drawing_has_regions_loads_and_the_memory_of_the_kernel() {
    let picture = plan(|builder| with_initrd(builder).warning("odd"))
        .unwrap()
        .to_string();
    let expected = "\
test boot on x86_64, entry 0x100000
0x000000000000 ┬─ ram ─ 640 KiB
0x0000000a0000 ┴
0x0000000a0000 ┬─ reserved ─ 384 KiB
0x000000100000 ┴
0x000000100000 ┬─ ram ─ 1 MiB
0x000000100000 │  kernel                   16 B  0x100010  kernel bytes 0x0..0x10
0x000000100010 │  kernel                3.9 KiB  0x101000  zeroed
0x000000101000 │  kernel                  4 KiB  0x102000  used at run time
0x000000110000 │  initrd                    8 B  0x110008  initrd bytes 0x0..0x8
0x000000200000 ┴
0x0000fec00000 ┬─ reserved ─ 20 MiB
0x000100000000 ┴
warning: odd
";
    assert_eq!(picture, expected);
}

/// Guest memory that fails its n-th write.
struct Failing<'a> {
    memory: SliceMemory<'a>,
    writes_left: Cell<u32>,
}

impl Failing<'_> {
    fn count(&self, range: GuestRange) -> Result<(), MemoryError> {
        match self.writes_left.get().checked_sub(1) {
            Some(left) => {
                self.writes_left.set(left);
                Ok(())
            }
            None => Err(MemoryError::NotBacked(range)),
        }
    }
}

impl GuestMemory for Failing<'_> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.memory.check(range)
    }
    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.count(GuestRange::new(addr, 0).unwrap())?;
        self.memory.write(addr, bytes)
    }
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.count(range)?;
        self.memory.zero(range)
    }
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.memory.read(addr, buf)
    }
}

#[test]
fn loading_writes_every_byte_of_the_plan_and_no_other() {
    let plan = plan(|builder| {
        with_initrd(builder).bytes(
            "table",
            range(0x11_1000, 0x11_1004),
            vec![1, 2],
            Constraints::NONE,
        )
    })
    .unwrap();
    let mut ram = vec![0xaa; 0x2_0000];
    let mut memory = SliceMemory::new();
    memory.add(0x10_0000, &mut ram).unwrap();
    plan.load(&Sources::kernel(&KERNEL).with_initrd(&INITRD), &mut memory)
        .unwrap();
    let mut expected = vec![0xaa; 0x2_0000];
    expected[..16].copy_from_slice(&KERNEL);
    expected[16..0x1000].fill(0);
    expected[0x1_0000..0x1_0008].copy_from_slice(&INITRD);
    expected[0x1_1000..0x1_1004].copy_from_slice(&[1, 2, 0, 0]);
    assert!(ram == expected);
}

#[test]
fn loading_checks_everything_before_the_first_write() {
    let plan = plan(with_initrd).unwrap();
    let check = |sources: &Sources<'_>, len: usize, expected: fn(&LoadError) -> bool| {
        let mut ram = vec![0xaa; len];
        let mut memory = SliceMemory::new();
        memory.add(0x10_0000, &mut ram).unwrap();
        let error = plan.load(sources, &mut memory).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(
            ram.iter().all(|byte| *byte == 0xaa),
            "memory was touched before {error:?}"
        );
    };
    let all = Sources::kernel(&KERNEL).with_initrd(&INITRD);
    check(&Sources::kernel(&KERNEL), 0x2_0000, |e| {
        matches!(e, LoadError::Missing(BootFile::Initrd))
    });
    check(&all.with_initrd(&[0; 9]), 0x2_0000, |e| {
        matches!(
            e,
            LoadError::Changed {
                id: BootFile::Initrd,
                expected: 8,
                found: 9
            }
        )
    });
    check(&Sources::kernel(&Broken { len: None }), 0x2_0000, |e| {
        matches!(
            e,
            LoadError::Unreadable {
                id: BootFile::Kernel,
                ..
            }
        )
    });
    check(&all, 0x1_0004, |e| matches!(e, LoadError::NoMemory { .. }));
}

/// A source that cannot be read, with or without a length.
struct Broken {
    len: Option<u64>,
}

impl ByteSource for Broken {
    fn len(&self) -> Result<u64, ReadError> {
        self.len
            .ok_or_else(|| ReadError::new(0, 0, ReadErrorKind::Shrunk))
    }
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        Err(ReadError::new(offset, buf.len(), ReadErrorKind::Shrunk))
    }
}

#[test]
fn a_failed_write_is_the_error_incomplete() {
    let plan = plan(with_initrd).unwrap();
    for writes in 0..=3 {
        let mut ram = vec![0xaa; 0x2_0000];
        let mut memory = Failing {
            memory: SliceMemory::new(),
            writes_left: Cell::new(writes),
        };
        memory.memory.add(0x10_0000, &mut ram).unwrap();
        let result = plan.load(&Sources::kernel(&KERNEL).with_initrd(&INITRD), &mut memory);
        assert_eq!(
            matches!(result, Err(LoadError::Incomplete { .. })),
            writes < 3,
            "{result:?}"
        );
        assert_eq!(result.is_ok(), writes == 3);
    }
    let mut ram = vec![0xaa; 0x2_0000];
    let mut memory = SliceMemory::new();
    memory.add(0x10_0000, &mut ram).unwrap();
    let shrunk = Broken { len: Some(16) };
    let result = plan.load(&Sources::kernel(&shrunk).with_initrd(&INITRD), &mut memory);
    assert!(matches!(
        result,
        Err(LoadError::Incomplete {
            source: MemoryError::Source(_),
            ..
        })
    ));
}

/// A format that recognises images by their first byte.
struct ByFirstByte {
    name: &'static str,
    priority: Priority,
    first: u8,
}

impl KernelFormat for ByFirstByte {
    fn name(&self) -> &'static str {
        self.name
    }
    fn priority(&self) -> Priority {
        self.priority
    }
    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let read_error = |error| FormatError::new(self.name, FormatErrorKind::Read, error);
        let mut first = [0];
        source.read_exact_at(0, &mut first).map_err(read_error)?;
        if first[0] == b'!' {
            return Err(FormatError::new(
                self.name,
                FormatErrorKind::Malformed,
                "bad second byte",
            ));
        }
        Ok((first[0] == self.first).then(|| {
            ImageBuilder::new(self.name, Arch::X86_64, Endian::Little, 1)
                .segment(SourceRange::whole(1), range(0, 1))
                .entry(EntryAbi::ELF64, 0)
                .build()
                .unwrap()
        }))
    }
}

#[test]
fn formats_are_tried_by_priority_whatever_the_order_of_the_slice() {
    let late = ByFirstByte {
        name: "late",
        priority: Priority::LAST,
        first: b'a',
    };
    let early = ByFirstByte {
        name: "early",
        priority: Priority::STANDARD,
        first: b'a',
    };
    let other = ByFirstByte {
        name: "another",
        priority: Priority::LAST,
        first: b'b',
    };
    let formats: [&dyn KernelFormat; 3] = [&late, &other, &early];
    let name = |bytes: &[u8]| detect(&formats, &bytes).map(|image| image.format());
    assert_eq!(name(b"a").unwrap(), "early");
    assert_eq!(name(b"b").unwrap(), "another");
    assert!(matches!(name(b""), Err(DetectError::Empty)));
    let error = name(b"zebra").unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a kernel image of a known format: it begins with the text \"zebra\" (formats tried: early, another, late)"
    );
    let error = name(b"!").unwrap_err();
    assert_eq!(error.to_string(), "the early file is malformed");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "bad second byte"
    );
}
