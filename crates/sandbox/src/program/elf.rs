//! ELF files of guests.

use boot_core::{ByteSource, DetectError, GuestMemory, GuestRange, PlanError, Sources};
use boot_sandbox::{Function, GuestImage, TableError, read_functions};
use fmt_elf::FORMAT;
use hv_core::{BareAbilities, Doorbell};
use proto_sandbox::{Entry, GuestLayout, LayoutError, plan};
use sandbox_abi::DoorbellKind;

use crate::base::Base;
use crate::copy_on_write::{Tracking, default_scratch};
use crate::function::FunctionInfo;
use crate::image::{Areas, BootDoorbell, Image, ImageOrigin, Program};
use crate::memory_error::MemoryFileError;

/// Why an ELF file cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file cannot be read, or is not an ELF file.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The tables of functions are malformed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The image or a size breaks a rule.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The start of the guest cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The hypervisor has a doorbell that guests do not know.
    #[error("guests do not know the doorbell {doorbell:?}")]
    Doorbell {
        /// The doorbell.
        doorbell: Doorbell,
    },
    /// The guest's memory cannot be made.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
}

/// Plans and loads the guest in `source`, the file of `origin`, for a machine with `abilities`.
pub(super) fn load(
    source: &dyn ByteSource,
    origin: ImageOrigin,
    abilities: &BareAbilities,
) -> Result<(Image, Base), ElfError> {
    let kernel = boot_core::detect(&[&FORMAT], source)?;
    let table = read_functions(source, &kernel)?;
    let mut layout = GuestLayout::new(&kernel, &origin.sizes)?;
    if let Tracking::Copies { scratch } = origin.tracking {
        let len = scratch.unwrap_or_else(|| default_scratch(layout.memory));
        layout = layout.with_scratch(&kernel, len)?;
    }
    let (doorbell_kind, doorbell) = match abilities.doorbell {
        Doorbell::Port(port) => (DoorbellKind::PORT, port.into()),
        Doorbell::Hvc(function) => (DoorbellKind::HVC, function.into()),
        Doorbell::Mmio(address) => (DoorbellKind::MMIO, address),
        Doorbell::Sbi(extension) => (DoorbellKind::SBI, extension),
        doorbell => return Err(ElfError::Doorbell { doorbell }),
    };
    let entry = Entry {
        doorbell_kind,
        doorbell,
        max_payload: origin.max_payload,
        rewind_code: abilities.rewind_code.map_or(&[], |rewind| rewind.code),
        cr4: abilities.cr4,
    };
    let plan = plan(&kernel, &layout, &entry)?.plan;
    let infos = |functions: Vec<Function>| {
        let info = |function: Function| FunctionInfo::new(function.name, function.signature, function.flags);
        functions.into_iter().map(info).collect()
    };
    Ok(Image::load(Program {
        areas: Areas {
            image: layout.image,
            memory: layout.memory,
            outbox: layout.outbox,
            tables: layout.tables,
            scratch: layout.scratch,
            copies: GuestRange::from_bounds(layout.copies().0, layout.scratch.end())
                .unwrap_or(GuestRange::EMPTY),
            fault_stack: layout.fault_stack,
            stack: layout.stack,
        },
        exports: infos(table.exports),
        imports: infos(table.imports),
        entry: plan.boot_cpu().clone(),
        // The layout exists, so there is a note.
        vectors: kernel
            .metadata::<GuestImage>()
            .map_or(0, |guest| guest.note().vectors),
        doorbell: BootDoorbell {
            kind: doorbell_kind,
            value: doorbell,
        },
        origin,
        load: &|memory: &mut dyn GuestMemory| plan.load(&Sources::kernel(source), memory),
    })?)
}
