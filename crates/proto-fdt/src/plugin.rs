//! The protocols of arm64 and riscv64.

use boot_core::cpu::{aarch64, riscv64};
use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Endian, EntryAbi, IncompatibleImage, KernelImage, PlanError,
    RequestPart, Support,
};
use boot_linux::vmlinux::Evidence;

use crate::layout;
use crate::plan::{self, Parameters};

/// The arm64 boot protocol (Linux `Documentation/arch/arm64/booting.rst`) for `Image` and ELF files.
///
/// `plan` returns [`PlanError::Protocol`] with one of these sources: [`CreateFdtError`](crate::CreateFdtError), or for a
/// device tree of the request [`FdtError`](crate::device_tree::FdtError) and [`UpdateFdtError`](crate::UpdateFdtError).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arm64;

/// The riscv64 boot protocol (Linux `Documentation/arch/riscv/boot.rst`) for little-endian `Image` and ELF files.
///
/// The errors of `plan` are those of [`Arm64`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Riscv64;

/// The arm64 boot protocol, `fdt-arm64`, for lists of protocols.
pub const PROTOCOL_ARM64: Arm64 = Arm64;
/// The riscv64 boot protocol, `fdt-riscv64`, for lists of protocols.
pub const PROTOCOL_RISCV64: Riscv64 = Riscv64;

/// The optional parts of a request that the protocols support.
const ACCEPTS: &[RequestPart] = &[
    RequestPart::Initrd,
    RequestPart::DeviceTree,
    RequestPart::AcpiRsdp,
    RequestPart::Smbios,
    RequestPart::AdditionalLoads,
    RequestPart::RngSeed,
    RequestPart::KaslrSeed,
];

const ARM64_ENTRIES: [EntryAbi; 2] = [EntryAbi::ARM64_IMAGE, EntryAbi::ELF64];
const RISCV64_ENTRIES: [EntryAbi; 2] = [EntryAbi::RISCV_IMAGE, EntryAbi::ELF64];

/// An ELF file has a lower level than an `Image`: its entry point has no calling convention of its own.
fn supports(
    image: &KernelImage,
    arch: Arch,
    entries: &'static [EntryAbi],
) -> Result<Support, IncompatibleImage> {
    if image.arch() != arch {
        return Err(IncompatibleImage::Arch {
            expected: arch,
            found: image.arch(),
        });
    }
    match entries.iter().find_map(|abi| image.entry(*abi)) {
        Some(entry) if entry.abi != EntryAbi::ELF64 => {
            Ok(Support::declared("it has the header of a Linux Image"))
        }
        Some(_) => Ok(match image.metadata::<Evidence>() {
            Some(evidence @ Evidence::Linux(_)) => Support::indicated(evidence.reason()),
            Some(evidence) => Support::contradicted(evidence.reason()),
            None => Support::possible("it has an ELF entry point and no mark of a Linux kernel"),
        }),
        None => Err(IncompatibleImage::NoEntry { expected: entries }),
    }
}

impl BootProtocol for Arm64 {
    fn name(&self) -> &'static str {
        "fdt-arm64"
    }

    fn accepts(&self) -> &'static [RequestPart] {
        ACCEPTS
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        supports(image, Arch::Aarch64, &ARM64_ENTRIES)
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        let parameters = Parameters {
            entries: &ARM64_ENTRIES,
            // arch/arm64/include/uapi/asm/setup.h: COMMAND_LINE_SIZE is 2048, the NUL included.
            cmdline_max: 2047,
            layout: &layout::Arm64,
        };
        plan::plan(self, request, &parameters, |pc, dtb, _| {
            let mut state = aarch64::State::new(pc);
            let [x0, ..] = &mut state.x;
            *x0 = dtb;
            state.data_endian = request.image.endian();
            state.into()
        })
    }
}

impl BootProtocol for Riscv64 {
    fn name(&self) -> &'static str {
        "fdt-riscv64"
    }

    fn accepts(&self) -> &'static [RequestPart] {
        ACCEPTS
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        let support = supports(image, Arch::Riscv64, &RISCV64_ENTRIES)?;
        match image.endian() {
            Endian::Little => Ok(support),
            Endian::Big => Err(IncompatibleImage::Header(
                "it is big-endian, but the entry state of a riscv64 hart is little-endian",
            )),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        let parameters = Parameters {
            entries: &RISCV64_ENTRIES,
            // arch/riscv/include/uapi/asm/setup.h: COMMAND_LINE_SIZE is 1024, the NUL included.
            cmdline_max: 1023,
            layout: &layout::Riscv64,
        };
        plan::plan(self, request, &parameters, |pc, dtb, boot_hart| {
            let mut state = riscv64::State::new(pc);
            if let Some([a0, a1]) = state.x.get_mut(10..12) {
                *a0 = boot_hart;
                *a1 = dtb;
            }
            state.into()
        })
    }
}
