//! The Multiboot 1 protocol: planner and information structure (Multiboot 0.6.96, 3.3).
//!
//! ```text
//! ┌ information structure   116 bytes, at the address in EBX
//! ├ memory map              24 bytes per region
//! ├ module list             16 bytes per module
//! ├ boot loader name        NUL-terminated
//! ├ command line            NUL-terminated
//! └ strings of the modules  each NUL-terminated
//! ```

use alloc::vec::Vec;

use boot_core::protocol::{plan_around_fixed, validate_request};
use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, GuestRange, IncompatibleImage, KernelImage, MemoryMap,
    PlacedAdditional, Placement, PlanBuilder, PlanError, Priority, RamAllocator, RequestPart, Support, arith,
};
use boot_multiboot::v1::{BOOTLOADER_MAGIC, Info, MmapEntry, Module, info_flags};
use boot_multiboot::{MULTIBOOT, MultibootMetadata};
use zerocopy::{FromZeros, IntoBytes};

use crate::bios_data::BiosData;
use crate::block::{BOOT_LOADER_NAME, Block, basic_memory, len32};
use crate::files::{self, CONSTRAINTS, File, Places, bounds};
use crate::label;
use crate::place;

/// Name of the protocol.
const NAME: &str = "multiboot";

/// The Multiboot 1 protocol, for the list of protocols of [`boot_core::protocol::select`].
pub const PROTOCOL_MULTIBOOT: Multiboot = Multiboot;

/// The boot protocol of the Multiboot Specification 0.6.96: `multiboot`. It starts images with an entry point
/// [`MULTIBOOT`].
///
/// The address of the RSDP is accepted but not passed on, because the protocol has no field for it: kernels search the BIOS
/// memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Multiboot;

impl BootProtocol for Multiboot {
    fn name(&self) -> &'static str {
        NAME
    }

    /// After PVH and Multiboot2.
    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value().saturating_sub(5))
    }

    fn accepts(&self) -> &'static [RequestPart] {
        &[
            RequestPart::Initrd,
            RequestPart::Modules,
            RequestPart::AcpiRsdp,
            RequestPart::AdditionalLoads,
        ]
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        const SUPPORT: Support = Support::declared("it has a Multiboot header");
        check_entry(image, &[MULTIBOOT])?;
        let Some(header) = image.metadata::<MultibootMetadata>() else {
            return Ok(SUPPORT);
        };
        if header.requires_video_mode() {
            return Err(IncompatibleImage::Header(
                "its Multiboot header requires information about the video mode, which is not supported",
            ));
        }
        match header.unknown_requirements() {
            0 => Ok(SUPPORT),
            _ => Err(IncompatibleImage::Header(
                "its Multiboot header has a required flag that version 0.6.96 does not define",
            )),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let files = files::files(request)?;
        let cmdline = request.cmdline_bytes(usize::MAX)?;
        plan_around_fixed(request, |allocator| {
            plan(request, &files, &cmdline, allocator.clone())
        })
    }
}

/// Plans the boot with these files and with the RAM of `allocator`. `cmdline` is the command line with its NUL.
fn plan(
    request: &BootRequest<'_>,
    files: &[File],
    cmdline: &[u8],
    mut allocator: RamAllocator<'_>,
) -> Result<BootPlan, PlanError> {
    let image = request.image;
    let kernel = place::kernel(NAME, image, MULTIBOOT, Placement::Fixed, &mut allocator)?;
    let additional = PlacedAdditional::place(&mut allocator, request.additional_loads)?;
    let contents = Contents {
        memory: additional.memory(),
        cmdline,
        files,
    };
    let len = arith::to_u64(contents.build(0, &[])?.len());
    let bios_data = BiosData::reserve(&mut allocator)?;
    let Places { info, files: places } = files::place(len, files, &mut allocator)?;
    let block = contents.build(files::low(info.start()), &places)?;
    let state = place::state(&kernel, image, MULTIBOOT, BOOTLOADER_MAGIC, info.start());
    let plan = PlanBuilder::new(NAME, request, &kernel)
        .additional(request, &additional)
        .bytes(label::BOOT_INFORMATION, info, block, CONSTRAINTS)
        .cpu(state);
    Ok(files::add(bios_data.add(plan), files, &places).build()?)
}

/// Checks that the image is for x86 and has one of the `expected` entry points.
pub(crate) fn check_entry(
    image: &KernelImage,
    expected: &'static [boot_core::EntryAbi],
) -> Result<(), IncompatibleImage> {
    if image.arch() != Arch::X86_64 {
        return Err(IncompatibleImage::Arch {
            expected: Arch::X86_64,
            found: image.arch(),
        });
    }
    match expected.iter().find_map(|abi| image.entry(*abi)) {
        Some(_) => Ok(()),
        None => Err(IncompatibleImage::NoEntry { expected }),
    }
}

/// Contents of the information structure and the data that it points to.
struct Contents<'a> {
    memory: &'a MemoryMap,
    /// With its terminating NUL.
    cmdline: &'a [u8],
    files: &'a [File],
}

impl Contents<'_> {
    /// Builds the block for the address `base` and modules at `places`. Its length does not depend on either.
    fn build(&self, base: u32, places: &[Option<GuestRange>]) -> Result<Vec<u8>, PlanError> {
        let mut block = Block::new(base);
        let mut info = Info::new_zeroed();
        block.push(info.as_bytes());

        let entries: Vec<_> = self
            .memory
            .regions()
            .iter()
            .map(|region| MmapEntry {
                size: ENTRY_SIZE.into(),
                base_addr: region.range.start().into(),
                length: region.range.len().into(),
                kind: region.kind.e820_type().into(),
            })
            .collect();
        info.mmap_length = len32(NAME, entries.as_bytes().len())?.into();
        info.mmap_addr = block.push(entries.as_bytes()).into();

        // The list is written twice: the addresses of the strings are known only after it.
        let mut modules: Vec<_> = self.files.iter().map(|_| Module::new_zeroed()).collect();
        let list = block.len();
        info.mods_addr = block.push(modules.as_bytes()).into();
        info.mods_count = len32(NAME, modules.len())?.into();
        info.boot_loader_name = block.push(BOOT_LOADER_NAME).into();
        info.cmdline = block.push(self.cmdline).into();
        for (i, (module, file)) in modules.iter_mut().zip(self.files).enumerate() {
            let (start, end) = bounds(places.get(i).copied().flatten());
            module.mod_start = start.into();
            module.mod_end = end.into();
            if !file.cmdline.is_empty() {
                module.string = block.push(&file.cmdline).into();
            }
        }
        for (i, module) in modules.iter().enumerate() {
            block.patch(list.saturating_add(i.saturating_mul(size_of::<Module>())), module);
        }

        let (lower, upper) = basic_memory(self.memory);
        info.mem_lower = lower.into();
        info.mem_upper = upper.into();
        info.flags = FLAGS.into();
        block.patch(0, &info);
        len32(NAME, block.len())?;
        Ok(block.into_bytes())
    }
}

/// Value of `size` in a memory map entry: the length without the field itself.
const ENTRY_SIZE: u32 = 20;
const _: () = assert!(size_of::<MmapEntry>() == 24);

/// Valid fields of the information structure.
const FLAGS: u32 = info_flags::MEMORY
    | info_flags::CMDLINE
    | info_flags::MODULES
    | info_flags::MEMORY_MAP
    | info_flags::BOOT_LOADER_NAME;
