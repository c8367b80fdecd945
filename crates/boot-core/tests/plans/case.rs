//! Boot requests made from bytes: for property tests, which draw the bytes, and for fuzzers, which invent them.
//!
//! Any bytes make a request, and short changes of the bytes make short changes of it. The odds are such that many
//! requests are possible and the others fail for many different reasons.

use boot_core::{
    Arch, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage,
    Machine, MemoryMap, Module, Placement, RegionKind, SourceRange,
};
use boot_linux::x86::{SetupHeader, SetupHeaderMetadata};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes as a source of decisions; zeros where they end.
pub(crate) struct Dice<'a>(pub(crate) &'a [u8]);

impl Dice<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// True in about one case of `n`.
    pub(crate) fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number with a random number of digits, up to `bits` bits.
    pub(crate) fn number(&mut self, bits: u8) -> u64 {
        let shift = u32::from(self.byte() % bits);
        (1 << shift) | u64::from(u16::from_le_bytes([self.byte(), self.byte()])) << shift >> 16
    }
}

/// Everything a boot is planned for.
pub(crate) struct Case {
    pub(crate) machine: Machine,
    pub(crate) cmdline: Cmdline,
    pub(crate) initrd_len: Option<u64>,
    pub(crate) modules: Vec<Module>,
}

impl Case {
    pub(crate) fn new(dice: &mut Dice<'_>) -> Self {
        let mut machine = Machine::new(Arch::X86_64, memory(dice));
        machine.acpi_rsdp = dice.one_in(2).then(|| dice.number(40));
        let initrd_len = match dice.byte() % 4 {
            0 => None,
            1 => Some(dice.number(37)),
            _ => Some(dice.number(27)),
        };
        let modules = (0..dice.pick(&[0, 0, 0, 1, 4]))
            .map(|_| Module::new(dice.number(24) - u64::from(dice.one_in(4))).with_cmdline(cmdline(dice)))
            .collect();
        Self {
            machine,
            cmdline: cmdline(dice),
            initrd_len,
            modules,
        }
    }

    /// The boot of `image` in this case.
    pub(crate) fn request<'a>(&'a self, image: &'a KernelImage) -> BootRequest<'a> {
        let request = BootRequest::new(image, &self.machine, &self.cmdline).with_modules(&self.modules);
        match self.initrd_len {
            Some(len) => request.with_initrd(len),
            None => request,
        }
    }
}

fn cmdline(dice: &mut Dice<'_>) -> Cmdline {
    let len = match dice.byte() % 8 {
        0 => 0,
        1 => dice.pick(&[254, 255, 256, 2046, 2047, 2048]),
        _ => usize::from(dice.byte()),
    };
    let mut line = "console=ttyS0 root=/dev/vda quiet ".repeat(len / 34 + 1);
    line.truncate(len);
    line.parse().unwrap()
}

/// The memory of a machine: a PC, or islands of every size and kind.
pub(crate) fn memory(dice: &mut Dice<'_>) -> MemoryMap {
    let mut map = MemoryMap::new();
    match dice.byte() % 8 {
        0 | 1 => MemoryMap::pc((0x20_0000 + dice.number(34)) & !0xfff).unwrap(),
        2 => {
            // Many small islands, so that the map has more entries than a zero page.
            let (count, island) = (u64::from(dice.byte()) * 2, 0x1000 + dice.number(20));
            for i in 0..count {
                let start = i * (island + 0x1000);
                map.insert(GuestRange::new(start, island).unwrap(), RegionKind::Ram)
                    .unwrap();
            }
            let start = 0x4000_0000 + dice.number(40);
            let _ = map.insert(GuestRange::new(start, dice.number(32)).unwrap(), RegionKind::Ram);
            map
        }
        _ => {
            use RegionKind::{AcpiNvs, AcpiReclaimable, Persistent, Ram, Reserved, Unusable};
            let mut start = u64::from(dice.one_in(4)) * dice.number(34);
            for _ in 0..=dice.byte() % 12 {
                let kind = dice.pick(&[
                    Ram,
                    Ram,
                    Ram,
                    Ram,
                    Ram,
                    Reserved,
                    AcpiReclaimable,
                    AcpiNvs,
                    Unusable,
                    Persistent,
                ]);
                let range = GuestRange::new(start, dice.number(35)).unwrap();
                map.insert(range, kind).unwrap();
                start = range.end() + u64::from(dice.one_in(2)) * dice.number(30);
            }
            map
        }
    }
}

/// An image for a machine with this memory, unless the dice make one that [`ImageBuilder`] refuses.
pub(crate) fn image(dice: &mut Dice<'_>, memory: &MemoryMap) -> Option<KernelImage> {
    let source_len = dice.number(28);
    let ram: Vec<_> = memory.ram().collect();
    let mut start = match (dice.byte() % 8, &*ram) {
        (0, _) | (_, []) => dice.number(48),
        (1, _) => dice.pick(&[0, 0x1000, 0x10_0000, 0x100_0000, 0xffff_f000, 1 << 32, 1 << 47]),
        (_, ram) => {
            let ram = dice.pick(ram);
            ram.start() + dice.number(34) % ram.len()
        }
    };
    if !dice.one_in(8) {
        start = (start & !0xfff).max(0x1000);
    }
    let first = start;
    let mut builder = ImageBuilder::new("synthetic", Arch::X86_64, Endian::Little, source_len);
    for _ in 0..=dice.byte() % 4 {
        let file_len = dice.number(24).min(source_len) - u64::from(dice.one_in(4));
        let len = file_len + u64::from(dice.one_in(2)) * dice.number(26);
        let offset = dice.number(28) % (source_len - file_len + 1);
        let range = GuestRange::new(start, len)?;
        builder = builder.segment(SourceRange::new(offset, file_len)?, range);
        start = range.end() + u64::from(dice.one_in(2)) * dice.number(22);
    }
    if dice.one_in(2) {
        builder = builder.extent(GuestRange::from_bounds(first, start + dice.number(30))?);
    }
    if dice.one_in(2) {
        let align = 1 << (dice.byte() % 26);
        let constraints = Constraints::aligned(align)
            .with_align_offset(u64::from(dice.one_in(8)) * (dice.number(20) % align))
            .between(
                u64::from(dice.one_in(4)) * dice.number(40),
                if dice.one_in(4) { dice.number(48) } else { u64::MAX },
            );
        builder = builder.placement(Placement::Relocatable(if dice.one_in(2) {
            constraints.prefer(first & !(align - 1))
        } else {
            constraints
        }));
    }
    entries(dice, builder, first).build().ok()
}

fn entries(dice: &mut Dice<'_>, mut builder: ImageBuilder, first: u64) -> ImageBuilder {
    let kinds: &[EntryAbi] = dice.pick(&[
        &[EntryAbi::LINUX_X86_64, EntryAbi::LINUX_X86_32],
        &[EntryAbi::LINUX_X86_64],
        &[EntryAbi::LINUX_X86_32],
        &[EntryAbi::LINUX_X86_16],
        &[EntryAbi::ELF64],
        &[EntryAbi::PVH, EntryAbi::ELF64],
        &[EntryAbi::PVH, EntryAbi::ELF64],
        &[EntryAbi::PVH, EntryAbi::ELF32],
        &[EntryAbi::ELF32],
    ]);
    for abi in kinds {
        let offset = u64::from(dice.one_in(2)) * dice.number(12);
        builder = builder.entry(*abi, first + offset);
    }
    if kinds[0] != EntryAbi::LINUX_X86_64 && kinds[0] != EntryAbi::LINUX_X86_32 {
        return builder;
    }
    if dice.one_in(16) {
        return builder;
    }
    let mut header = SetupHeader::new_zeroed();
    if dice.one_in(2) {
        for byte in header.as_mut_bytes() {
            *byte = dice.byte();
        }
    }
    header.boot_flag = 0xaa55.into();
    header.header = *b"HdrS";
    header.version = dice
        .pick(&[0x20f, 0x20f, 0x20c, 0x209, 0x208, 0x203, 0x201])
        .into();
    header.initrd_addr_max = dice
        .pick(&[0x7fff_ffff, 0x37ff_ffff, 0xffff_ffff, 0, 0xff_ffff])
        .into();
    header.xloadflags = dice.pick(&[0x3f, 0x7f, 1, 3, 0]).into();
    header.cmdline_size = dice.pick(&[2047, 255, 0, u32::MAX]).into();
    let len = dice.pick(&[
        size_of::<SetupHeader>(),
        0x268 - 0x1f1,
        0x268 - 0x1f1,
        0x230 - 0x1f1,
        0x20,
    ]);
    builder.metadata(SetupHeaderMetadata::new(&header, len))
}
