//! The protocol itself: placing everything, and the state to enter with.

use alloc::string::ToString;
use alloc::vec::Vec;

use boot_core::cpu::x86_64::State;
use boot_core::protocol::validate_request;
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, Constraints, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, PlacedKernel, PlanBuilder, PlanError, Priority, RamAllocator,
    RequestPart,
};

use crate::start_info::Contents;
use crate::warning::Warning;

/// The protocol's name.
pub(crate) const NAME: &str = "pvh";

/// The protocol.
pub const PROTOCOL: Pvh = Pvh;

/// The PVH boot protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pvh;

/// Selectors for flat segments. The protocol leaves them open, and the guest finds no table behind them: "the OS is
/// in charge of setting up its own stack, GDT and IDT".
const CODE: u16 = 0x08;
const DATA: u16 = 0x10;

/// The guest is entered in 32-bit mode without paging, so everything it is given lies below 4 GiB, and nothing at
/// address zero, which means "not present". The first page stays free as a whole: it holds the BIOS data area.
const CONSTRAINTS: Constraints = Constraints::below_4g(0x1000).between(0x1000, 1 << 32);

/// How many memory regions Linux takes over: it copies them into a zero page with room for so many, without looking.
const LINUX_REGIONS: usize = 128;

/// The longest command line that Linux keeps: `COMMAND_LINE_SIZE` without the terminating zero.
const LINUX_CMDLINE: usize = 2047;

impl BootProtocol for Pvh {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value() + 10)
    }

    fn accepts(&self) -> &'static [RequestPart] {
        &[RequestPart::Initrd, RequestPart::Modules, RequestPart::AcpiRsdp]
    }

    fn supports(&self, image: &KernelImage) -> Result<(), IncompatibleImage> {
        if image.arch() != Arch::X86_64 {
            return Err(IncompatibleImage::Arch {
                expected: Arch::X86_64,
                found: image.arch(),
            });
        }
        match image.entry(EntryAbi::PVH) {
            Some(_) => Ok(()),
            None => Err(IncompatibleImage::NoEntry {
                expected: &[EntryAbi::PVH],
            }),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let (image, machine) = (request.image, request.machine);
        let files = files(request)?;
        let cmdline = request.cmdline.to_bytes(usize::MAX)?;
        let module_cmdlines: Vec<_> = files.iter().map(|file| file.cmdline.clone()).collect();
        let contents = Contents {
            memory: &machine.memory,
            cmdline: &cmdline,
            rsdp: machine.acpi_rsdp,
            module_cmdlines: &module_cmdlines,
        };

        let mut allocator = RamAllocator::new(&machine.memory);
        let kernel = PlacedKernel::place_below(image, &mut allocator, CONSTRAINTS.max)?;
        kernel.reserve_gaps(&mut allocator)?;
        let block_at = allocator.allocate("start info", contents.len()?, &CONSTRAINTS)?;
        let places = files
            .iter()
            .map(|file| match file.len {
                0 => Ok(None),
                len => allocator
                    .allocate(file.label, len, &CONSTRAINTS.highest())
                    .map(Some),
            })
            .collect::<Result<Vec<Option<GuestRange>>, _>>()?;

        // Kernel and block lie below 4 GiB.
        let low = |addr: u64| u32::try_from(addr).unwrap_or_default();
        let entry = kernel.entry(image, EntryAbi::PVH).unwrap_or_default();
        let mut state = State::protected_mode(low(entry), CODE, DATA);
        state.rbx = block_at.start();

        let block = contents.build(block_at.start(), &places)?;
        let mut plan = PlanBuilder::new(NAME, request, &kernel)
            .bytes("start info", block_at, block, CONSTRAINTS)
            .cpu(state);
        for (file, place) in files.iter().zip(places) {
            if let Some(place) = place {
                plan = plan.file(file.id.to_string(), place, file.id, CONSTRAINTS);
            }
        }
        for warning in warnings(request) {
            plan = plan.warning(warning);
        }
        Ok(plan.build()?)
    }
}

/// A file that becomes a module of the start info.
struct File {
    /// What placement calls it; the plan's own label says which module it is.
    label: &'static str,
    id: BootFile,
    len: u64,
    cmdline: Option<Vec<u8>>,
}

/// The files of the request in the order of the module list: the initrd comes first, as Linux expects it.
fn files(request: &BootRequest<'_>) -> Result<Vec<File>, PlanError> {
    let initrd = request.initrd_len.map(|len| File {
        label: "initrd",
        id: BootFile::Initrd,
        len: len.get(),
        cmdline: None,
    });
    let mut files: Vec<_> = initrd.into_iter().collect();
    for (index, module) in request.modules.iter().enumerate() {
        files.push(File {
            label: "module",
            id: BootFile::Module(index),
            len: module.len,
            cmdline: if module.cmdline.is_empty() {
                None
            } else {
                Some(module.cmdline.to_bytes(usize::MAX)?)
            },
        });
    }
    Ok(files)
}

/// Warnings about requests that the protocol allows but Linux, the most common guest, does not handle.
fn warnings(request: &BootRequest<'_>) -> impl Iterator<Item = Warning> {
    let regions = request.machine.memory.regions().len();
    let len = request.cmdline.encoded_len();
    let regions = (regions > LINUX_REGIONS).then_some(Warning::MemoryMapTooLong {
        regions,
        max: LINUX_REGIONS,
    });
    let len = (len > LINUX_CMDLINE).then_some(Warning::CmdlineTooLong {
        len,
        max: LINUX_CMDLINE,
    });
    let is_module_first = request.initrd_len.is_none() && !request.modules.is_empty();
    let module = is_module_first.then_some(Warning::ModuleWithoutInitrd);
    regions.into_iter().chain(len).chain(module)
}
