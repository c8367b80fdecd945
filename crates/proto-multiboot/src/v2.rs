//! The Multiboot2 protocol: planner and information requests.

mod info;

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot_core::protocol::{plan_around_fixed, validate_request};
use boot_core::{
    BootPlan, BootProtocol, BootRequest, IncompatibleImage, KernelImage, PlacedAdditional, Placement,
    PlanBuilder, PlanError, Priority, RamAllocator, RequestPart, Support, arith,
};
use boot_multiboot::v2::{BOOTLOADER_MAGIC, InfoTag, console_flags};
use boot_multiboot::{MULTIBOOT2, Multiboot2Metadata};
pub use info::Rsdp;
use info::{Contents, NAME};

use crate::bios_data::BiosData;
use crate::error::InfoRequestError;
use crate::files::{self, CONSTRAINTS, File, Places};
use crate::label;
use crate::place;
use crate::v1::check_entry;
use crate::warning::Warning;

/// The Multiboot2 protocol without a copy of the RSDP, for the list of protocols of [`boot_core::protocol::select`].
pub const PROTOCOL_MULTIBOOT2: Multiboot2 = Multiboot2 { rsdp: None };

/// The boot protocol of the Multiboot2 Specification 2.0 for i386: `multiboot2`. It starts images with an entry point
/// [`MULTIBOOT2`].
///
/// The protocol passes a copy of the RSDP, not its address; see [`with_rsdp`](Self::with_rsdp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Multiboot2 {
    rsdp: Option<Rsdp>,
}

impl Multiboot2 {
    /// Adds an information tag with a copy of the machine's RSDP. The copy is passed on unchanged and unchecked.
    #[must_use]
    pub const fn with_rsdp(self, rsdp: Rsdp) -> Self {
        Self { rsdp: Some(rsdp) }
    }

    /// Error if the header requires `tag`; `None` if the plan has the tag, or if the machine does not have what the tag
    /// describes: such a tag is left out even if it is required (Multiboot2 2.0, 3.1.4).
    fn request_error(self, tag: InfoTag, request: &BootRequest<'_>) -> Option<InfoRequestError> {
        match (tag, request.machine.acpi_rsdp) {
            (InfoTag::ACPI_OLD_RSDP | InfoTag::ACPI_NEW_RSDP, Some(addr)) => {
                let has_copy = self.rsdp.is_some_and(|rsdp| rsdp.tag() == tag);
                (!has_copy).then_some(InfoRequestError::NoRsdpCopy { tag, addr })
            }
            (InfoTag::ELF_SECTIONS, _) => Some(InfoRequestError::Unsupported(tag)),
            (tag, _) if tag.name().is_none() => Some(InfoRequestError::Unsupported(tag)),
            _ => None,
        }
    }

    /// True if the boot information has the tag. Module tags count even if there are no modules.
    fn provides(self, tag: InfoTag, header: &Multiboot2Metadata) -> bool {
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

    /// Checks the requests of the header. Returns warnings for those that are left out.
    fn check_requests(
        self,
        header: &Multiboot2Metadata,
        request: &BootRequest<'_>,
    ) -> Result<Vec<Warning>, InfoRequestError> {
        let mut warnings = Vec::new();
        for requested in &header.requests {
            match self.request_error(requested.tag, request) {
                Some(error) if !requested.optional => return Err(error),
                error if error.is_some() || !self.provides(requested.tag, header) => {
                    warnings.push(Warning::TagLeftOut(requested.tag));
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

    /// After PVH, before Multiboot 1.
    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value().saturating_sub(10))
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
        const SUPPORT: Support = Support::declared("it has a Multiboot2 header");
        check_entry(image, &[MULTIBOOT2])?;
        let Some(header) = image.metadata::<Multiboot2Metadata>() else {
            return Ok(SUPPORT);
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
                "its Multiboot2 header requires a framebuffer, which is not supported",
            ));
        }
        let is_required = |flags: u32| flags & console_flags::CONSOLE_REQUIRED != 0;
        match header.console {
            Some(console) if is_required(console.flags) && !console.optional => Err(
                IncompatibleImage::Header("its Multiboot2 header requires a console, which is not supported"),
            ),
            _ => Ok(SUPPORT),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let image = request.image;
        let no_header = Multiboot2Metadata::default();
        let header = image.metadata::<Multiboot2Metadata>().unwrap_or(&no_header);
        let warnings = self
            .check_requests(header, request)
            .map_err(|error| PlanError::Protocol {
                protocol: NAME,
                source: Box::new(error),
            })?;
        let files = files::files(request)?;
        let cmdline = request.cmdline_bytes(usize::MAX)?;
        plan_around_fixed(request, |allocator| {
            let plan = self.plan_with(request, &files, &cmdline, allocator.clone())?;
            let plan = warnings.iter().copied().fold(plan, PlanBuilder::warning);
            Ok(plan.build()?)
        })
    }
}

impl Multiboot2 {
    /// Plans the boot with these files and with the RAM of `allocator`. `cmdline` is the command line with its NUL.
    fn plan_with(
        &self,
        request: &BootRequest<'_>,
        files: &[File],
        cmdline: &[u8],
        mut allocator: RamAllocator<'_>,
    ) -> Result<PlanBuilder, PlanError> {
        let image = request.image;
        let no_header = Multiboot2Metadata::default();
        let header = image.metadata::<Multiboot2Metadata>().unwrap_or(&no_header);
        let placement = match header.relocatable {
            Some(tag) => Placement::Relocatable(tag.constraints(image.extent().start())),
            None => Placement::Fixed,
        };
        let kernel = place::kernel(NAME, image, MULTIBOOT2, placement, &mut allocator)?;
        let additional = PlacedAdditional::place(&mut allocator, request.additional_loads)?;
        let contents = Contents {
            memory: additional.memory(),
            cmdline,
            files,
            rsdp: self.rsdp,
            load_base: header.relocatable.map(|_| files::low(kernel.base())),
        };
        let len = arith::to_u64(contents.build(&[])?.len());
        let bios_data = BiosData::reserve(&mut allocator)?;
        let Places { info, files: places } = files::place(len, files, &mut allocator)?;
        let block = contents.build(&places)?;
        let state = place::state(&kernel, image, MULTIBOOT2, BOOTLOADER_MAGIC, info.start());
        let plan = PlanBuilder::new(NAME, request, &kernel)
            .additional(request, &additional)
            .bytes(label::BOOT_INFORMATION, info, block, CONSTRAINTS)
            .cpu(state);
        Ok(files::add(bios_data.add(plan), files, &places))
    }
}
