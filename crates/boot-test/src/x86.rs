//! Generated x86_64 boots: machine, command line, initrd, modules and image.

use arbitrary::{Arbitrary, Error, Result, Unstructured};
use boot_core::{
    Arch, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage,
    Machine, MemoryMap, Module, Placement, RegionKind, SourceRange,
};
use boot_linux::x86::{SetupHeader, SetupHeaderMetadata};
use zerocopy::{FromZeros, IntoBytes};

use crate::odds::{maybe, number, one_in, pick, repeat};

/// A boot of an x86_64 machine, without the image.
#[derive(Clone, Debug)]
pub struct X86Boot {
    /// The machine.
    pub machine: Machine,
    /// The kernel command line.
    pub cmdline: Cmdline,
    /// Length of the initrd in bytes.
    pub initrd_len: Option<u64>,
    /// Random bytes for the entropy pool.
    pub rng_seed: Option<Vec<u8>>,
    /// The modules.
    pub modules: Vec<Module>,
}

impl<'a> Arbitrary<'a> for X86Boot {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut machine = Machine::new(Arch::X86_64, memory(u)?);
        machine.acpi_rsdp = maybe(u, 2, |u| rsdp(u, &machine.memory))?;
        let initrd_len = match u.int_in_range(0..=3u8)? {
            0 => None,
            1 => Some(number(u, 37)?),
            _ => Some(number(u, 27)?),
        };
        let modules = repeat(pick(u, &[0, 0, 0, 1, 4])?, || {
            let len = number(u, 24)? - u64::from(one_in(u, 4)?);
            Ok(Module::new(len).with_cmdline(cmdline(u)?.into()))
        })?;
        let rng_seed = if one_in(u, 8)? {
            let len = pick(u, &[0, 1, 64, 64, 64, 4080, 4081])?;
            Some(vec![u.arbitrary()?; len])
        } else {
            None
        };
        Ok(Self {
            machine,
            cmdline: cmdline(u)?,
            initrd_len,
            rng_seed,
            modules,
        })
    }
}

impl X86Boot {
    /// The request to boot `image`.
    #[must_use]
    pub fn request<'a>(&'a self, image: &'a KernelImage) -> BootRequest<'a> {
        let mut request = BootRequest::new(image, &self.machine, &self.cmdline).with_modules(&self.modules);
        request.rng_seed = self.rng_seed.as_deref();
        match self.initrd_len {
            Some(len) => request.with_initrd(len),
            None => request,
        }
    }
}

/// The address of an RSDP: usually in a region that is not RAM, which planners require.
fn rsdp(u: &mut Unstructured<'_>, memory: &MemoryMap) -> Result<u64> {
    let regions = memory.regions().iter();
    let other = regions.filter(|region| region.kind != RegionKind::Ram);
    let starts: Vec<_> = other.map(|region| region.range.start()).collect();
    if starts.is_empty() || one_in(u, 8)? {
        number(u, 40)
    } else {
        pick(u, &starts)
    }
}

fn cmdline(u: &mut Unstructured<'_>) -> Result<Cmdline> {
    let len = match u.int_in_range(0..=7u8)? {
        0 => 0,
        1 => pick(u, &[254, 255, 256, 2046, 2047, 2048])?,
        _ => usize::from(u.arbitrary::<u8>()?),
    };
    let mut line = "console=ttyS0 root=/dev/vda quiet ".repeat(len / 34 + 1);
    line.truncate(len);
    Ok(line.parse().unwrap())
}

/// A memory map: that of a PC, or regions of every size and kind.
fn memory(u: &mut Unstructured<'_>) -> Result<MemoryMap> {
    let mut map = MemoryMap::new();
    match u.int_in_range(0..=7u8)? {
        0 | 1 => map = MemoryMap::pc((0x20_0000 + number(u, 34)?) & !0xfff).unwrap(),
        2 => {
            // Many small regions: more than the zero page has entries.
            let (count, island) = (u64::from(u.arbitrary::<u8>()?) * 2, 0x1000 + number(u, 20)?);
            for i in 0..count {
                let start = i * (island + 0x1000);
                map.insert(GuestRange::new(start, island).unwrap(), RegionKind::Ram)
                    .unwrap();
            }
            let start = 0x4000_0000 + number(u, 40)?;
            let _ = map.insert(GuestRange::new(start, number(u, 32)?).unwrap(), RegionKind::Ram);
        }
        _ => {
            use RegionKind::{AcpiNvs, AcpiReclaimable, Persistent, Ram, Reserved, Unusable};
            let mut start = u64::from(one_in(u, 4)?) * number(u, 34)?;
            for _ in 0..=u.int_in_range(0..=11u8)? {
                let kind = pick(
                    u,
                    &[
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
                    ],
                )?;
                let range = GuestRange::new(start, number(u, 35)?).unwrap();
                map.insert(range, kind).unwrap();
                start = range.end() + u64::from(one_in(u, 2)?) * number(u, 30)?;
            }
        }
    }
    Ok(map)
}

/// An image for a machine with this memory.
///
/// # Errors
///
/// [`arbitrary::Error::IncorrectFormat`] if [`ImageBuilder`] refuses the generated image.
pub fn image(u: &mut Unstructured<'_>, memory: &MemoryMap) -> Result<KernelImage> {
    let builder = image_builder(u, memory)?.ok_or(Error::IncorrectFormat)?;
    builder.build().ok().ok_or(Error::IncorrectFormat)
}

/// The builder of an image; `None` if its addresses wrap around the address space.
fn image_builder(u: &mut Unstructured<'_>, memory: &MemoryMap) -> Result<Option<ImageBuilder>> {
    let source_len = number(u, 28)?;
    let ram: Vec<_> = memory.ram().collect();
    let mut start = match (u.int_in_range(0..=7u8)?, &*ram) {
        (0, _) | (_, []) => number(u, 48)?,
        (1, _) => pick(
            u,
            &[0, 0x1000, 0x10_0000, 0x100_0000, 0xffff_f000, 1 << 32, 1 << 47],
        )?,
        (_, ram) => {
            let ram = pick(u, ram)?;
            ram.start() + number(u, 34)? % ram.len()
        }
    };
    if !one_in(u, 8)? {
        start = (start & !0xfff).max(0x1000);
    }
    let first = start;
    let mut builder = ImageBuilder::new("synthetic", Arch::X86_64, Endian::Little, source_len);
    for _ in 0..=u.int_in_range(0..=3u8)? {
        let file_len = number(u, 24)?.min(source_len) - u64::from(one_in(u, 4)?);
        let len = file_len + u64::from(one_in(u, 2)?) * number(u, 26)?;
        let offset = number(u, 28)? % (source_len - file_len + 1);
        let (Some(source), Some(range)) = (SourceRange::new(offset, file_len), GuestRange::new(start, len))
        else {
            return Ok(None);
        };
        builder = builder.segment(source, range);
        start = range.end() + u64::from(one_in(u, 2)?) * number(u, 22)?;
    }
    if one_in(u, 2)? {
        let Some(extent) = GuestRange::from_bounds(first, start + number(u, 30)?) else {
            return Ok(None);
        };
        builder = builder.extent(extent);
    }
    if one_in(u, 2)? {
        let align = 1 << u.int_in_range(0..=25u8)?;
        let constraints = Constraints::aligned(align)
            .with_align_offset(u64::from(one_in(u, 8)?) * (number(u, 20)? % align))
            .with_base_offset(u64::from(one_in(u, 8)?) * number(u, 24)?)
            .between(
                u64::from(one_in(u, 4)?) * number(u, 40)?,
                if one_in(u, 4)? { number(u, 48)? } else { u64::MAX },
            );
        builder = builder.placement(Placement::Relocatable(if one_in(u, 2)? {
            constraints.prefer(first & !(align - 1))
        } else {
            constraints
        }));
    }
    entries(u, builder, first).map(Some)
}

fn entries(u: &mut Unstructured<'_>, mut builder: ImageBuilder, first: u64) -> Result<ImageBuilder> {
    let kinds: &[EntryAbi] = pick(
        u,
        &[
            &[EntryAbi::LINUX_X86_64, EntryAbi::LINUX_X86_32][..],
            &[EntryAbi::LINUX_X86_64],
            &[EntryAbi::LINUX_X86_32],
            &[EntryAbi::LINUX_X86_16],
            &[EntryAbi::ELF64],
            &[EntryAbi::PVH, EntryAbi::ELF64],
            &[EntryAbi::PVH, EntryAbi::ELF64],
            &[EntryAbi::PVH, EntryAbi::ELF32],
            &[EntryAbi::ELF32],
        ],
    )?;
    for abi in kinds {
        let offset = u64::from(one_in(u, 2)?) * number(u, 12)?;
        builder = builder.entry(*abi, first + offset);
    }
    if kinds[0] != EntryAbi::LINUX_X86_64 && kinds[0] != EntryAbi::LINUX_X86_32 {
        return Ok(builder);
    }
    if one_in(u, 16)? {
        return Ok(builder);
    }
    let mut header = SetupHeader::new_zeroed();
    if one_in(u, 2)? {
        u.fill_buffer(header.as_mut_bytes())?;
    }
    header.boot_flag = 0xaa55.into();
    header.header = *b"HdrS";
    header.version = pick(u, &[0x20f, 0x20f, 0x20c, 0x209, 0x208, 0x203, 0x201])?.into();
    header.initrd_addr_max = pick(u, &[0x7fff_ffff, 0x37ff_ffff, 0xffff_ffff, 0, 0xff_ffff])?.into();
    header.xloadflags = pick(u, &[0x3f, 0x7f, 1, 3, 0])?.into();
    header.cmdline_size = pick(u, &[2047, 255, 0, u32::MAX])?.into();
    let len = pick(
        u,
        &[
            size_of::<SetupHeader>(),
            0x268 - 0x1f1,
            0x268 - 0x1f1,
            0x230 - 0x1f1,
            0x20,
        ],
    )?;
    Ok(builder.metadata(SetupHeaderMetadata::new(&header, len)))
}
