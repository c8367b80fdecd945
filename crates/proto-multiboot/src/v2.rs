//! Multiboot2: what the header asks for, and the plan.

mod info;

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot_core::protocol::validate_request;
use boot_core::{
    BootPlan, BootProtocol, BootRequest, IncompatibleImage, KernelImage, Placement, PlanBuilder, PlanError,
    Priority, RamAllocator, RequestPart, arith,
};
use boot_multiboot::v2::{BOOTLOADER_MAGIC, InfoTag, console_flags};
use boot_multiboot::{MULTIBOOT2, Multiboot2 as Metadata};
pub use info::Rsdp;
use info::{Contents, NAME};

use crate::bios_data::BiosData;
use crate::error::RequestError;
use crate::files::{self, CONSTRAINTS};
use crate::place;
use crate::v1::check_entry;
use crate::warning::Warning;

/// Multiboot2, without a copy of an RSDP.
pub const PROTOCOL_MULTIBOOT2: Multiboot2 = Multiboot2 { rsdp: None };

/// The boot protocol of the Multiboot2 Specification 2.0, on i386.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Multiboot2 {
    rsdp: Option<Rsdp>,
}

impl Multiboot2 {
    /// The same with a copy of the machine's RSDP, for the information.
    #[must_use]
    pub const fn with_rsdp(self, rsdp: Rsdp) -> Self {
        Self { rsdp: Some(rsdp) }
    }

    /// Why a request of the header for `tag` is not met, beyond that the machine has no such thing.
    fn refusal(self, tag: InfoTag, request: &BootRequest<'_>) -> Option<RequestError> {
        match (tag, request.machine.acpi_rsdp) {
            (InfoTag::ACPI_OLD_RSDP | InfoTag::ACPI_NEW_RSDP, Some(addr)) => {
                let is_given = self.rsdp.is_some_and(|rsdp| rsdp.tag() == tag);
                (!is_given).then_some(RequestError::NoRsdpCopy { tag, addr })
            }
            (InfoTag::ELF_SECTIONS, _) => Some(RequestError::Unsupported(tag)),
            (tag, _) if tag.name().is_none() => Some(RequestError::Unsupported(tag)),
            _ => None,
        }
    }

    /// Whether the information has a tag of this type. There is a module tag for each module, so it always counts.
    fn provides(self, tag: InfoTag, header: &Metadata) -> bool {
        match tag {
            InfoTag::END
            | InfoTag::CMDLINE
            | InfoTag::BOOT_LOADER_NAME
            | InfoTag::MODULE
            | InfoTag::BASIC_MEMORY
            | InfoTag::MEMORY_MAP => true,
            InfoTag::LOAD_BASE => header.relocatable.is_some(),
            tag => self.rsdp.is_some_and(|rsdp| rsdp.tag() == tag),
        }
    }

    /// Checks what the header asks for; gives warnings about what is left out.
    fn requests(self, header: &Metadata, request: &BootRequest<'_>) -> Result<Vec<Warning>, RequestError> {
        let mut warnings = Vec::new();
        for asked in &header.requests {
            match self.refusal(asked.tag, request) {
                Some(error) if !asked.optional => return Err(error),
                refusal if refusal.is_some() || !self.provides(asked.tag, header) => {
                    warnings.push(Warning::TagLeftOut(asked.tag));
                }
                _ => {}
            }
        }
        if header.framebuffer.is_some() {
            warnings.push(Warning::NoFramebuffer);
        }
        let needs_console = |flags: u32| flags & console_flags::CONSOLE_REQUIRED != 0;
        if header.console.is_some_and(|console| needs_console(console.flags)) {
            warnings.push(Warning::NoConsole);
        }
        Ok(warnings)
    }
}

impl BootProtocol for Multiboot2 {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Before version 1.
    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value().saturating_sub(10))
    }

    fn accepts(&self) -> &'static [RequestPart] {
        &[RequestPart::Initrd, RequestPart::Modules, RequestPart::AcpiRsdp]
    }

    fn supports(&self, image: &KernelImage) -> Result<(), IncompatibleImage> {
        check_entry(image, &[MULTIBOOT2])?;
        let Some(header) = image.metadata::<Metadata>() else {
            return Ok(());
        };
        if header.unknown.iter().any(|tag| !tag.optional) {
            return Err(IncompatibleImage::Header(
                "its Multiboot2 header has a required tag that version 2.0 does not define",
            ));
        }
        if header
            .framebuffer
            .is_some_and(|framebuffer| !framebuffer.optional)
        {
            return Err(IncompatibleImage::Header(
                "its Multiboot2 header requires a framebuffer, which is not handed over",
            ));
        }
        let is_required = |flags: u32| flags & console_flags::CONSOLE_REQUIRED != 0;
        match header.console {
            Some(console) if is_required(console.flags) && !console.optional => {
                Err(IncompatibleImage::Header(
                    "its Multiboot2 header requires a console, which is not handed over",
                ))
            }
            _ => Ok(()),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let (image, machine) = (request.image, request.machine);
        let plain = Metadata::default();
        let header = image.metadata::<Metadata>().unwrap_or(&plain);
        let warnings = self
            .requests(header, request)
            .map_err(|error| PlanError::Protocol {
                protocol: NAME,
                source: Box::new(error),
            })?;
        let files = files::files(request)?;
        let cmdline = request.cmdline.to_bytes(usize::MAX)?;

        let mut allocator = RamAllocator::new(&machine.memory);
        let placement = match header.relocatable {
            Some(tag) => Placement::Relocatable(tag.constraints(image.extent().start())),
            None => Placement::Fixed,
        };
        let kernel = place::kernel(NAME, image, MULTIBOOT2, placement, &mut allocator)?;
        let contents = Contents {
            memory: &machine.memory,
            cmdline: &cmdline,
            files: &files,
            rsdp: self.rsdp,
            load_base: header.relocatable.map(|_| files::low(kernel.base())),
        };
        let len = arith::to_u64(contents.build(&[])?.len());
        let bios_data = BiosData::reserve(&mut allocator);
        let info = allocator.allocate("boot information", len, &CONSTRAINTS)?;
        let places = files::place(&files, &mut allocator)?;
        let block = contents.build(&places)?;
        let state = place::state(&kernel, image, MULTIBOOT2, BOOTLOADER_MAGIC, info.start());
        let mut plan = PlanBuilder::new(NAME, request, &kernel)
            .bytes("boot information", info, block, CONSTRAINTS)
            .cpu(state);
        for warning in warnings {
            plan = plan.warning(warning);
        }
        Ok(files::add(bios_data.add(plan), &files, &places).build()?)
    }
}
