//! The default command line of Linux guests, and what `--fast` adds to a command line.

use boot_cmdline::FastStart;
use boot_core::protocol::SupportLevel;
use boot_core::{Arch, BootProtocol, EntryAbi, KernelImage, Machine, RawCmdline};
use boot_linux::vmlinux::Evidence;
use boot_linux::x86::SetupHeaderMetadata;

/// The command line for a Linux kernel without `--cmdline`, so that its messages are visible from the first one on, and the
/// run ends after a panic. `None` for a kernel that is not Linux by the evidence in the image.
///
/// The console is the serial port of the machine. Messages before its driver come through `earlyprintk` (x86) or `earlycon`,
/// which uses the `stdout-path` of the device tree. `panic=-1` resets the machine after a panic, on a PC through the keyboard
/// controller (`reboot=k`), which all of the harnesses' machines have.
pub(crate) fn default_cmdline(protocol: &dyn BootProtocol, image: &KernelImage) -> Option<&'static str> {
    if !is_linux(protocol, image) {
        return None;
    }
    match image.arch() {
        Arch::X86_64 => Some("console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k"),
        Arch::Aarch64 | Arch::Riscv64 => Some("console=ttyS0 earlycon panic=-1"),
        _ => None,
    }
}

/// The command line of a Linux kernel with what shortens its start on `machine`, as far as it leaves that open.
pub(crate) fn fast_cmdline(line: &RawCmdline, image: &KernelImage, machine: &Machine) -> RawCmdline {
    let mut fast = FastStart::new();
    if machine.arch == Arch::X86_64 && machine.platform.pci.is_none() {
        fast = fast.without_pci();
    }
    fast.add_to(line, max_len(image))
}

/// The longest command line that the kernel takes, in bytes without its NUL.
fn max_len(image: &KernelImage) -> usize {
    match (image.metadata::<SetupHeaderMetadata>(), image.arch()) {
        (Some(header), _) => usize::try_from(header.cmdline_size()).unwrap_or(usize::MAX),
        // COMMAND_LINE_SIZE in arch/*/include/uapi/asm/setup.h of Linux, the NUL included.
        (None, Arch::Riscv64) => 1024 - 1,
        (None, _) => 2048 - 1,
    }
}

/// Whether the image has the header of an arm64 or riscv64 `Image`.
pub(crate) fn has_image_header(image: &KernelImage) -> bool {
    [EntryAbi::ARM64_IMAGE, EntryAbi::RISCV_IMAGE]
        .into_iter()
        .any(|abi| image.entry(abi).is_some())
}

/// Whether the image is a Linux kernel by evidence: an `Image`, a kernel that declares the Linux protocol of x86, or a vmlinux
/// with a mark of Linux.
pub(crate) fn is_linux(protocol: &dyn BootProtocol, image: &KernelImage) -> bool {
    let declares_linux = protocol.name() == proto_linux_x86::PROTOCOL.name()
        && protocol
            .supports(image)
            .is_ok_and(|support| support.level >= SupportLevel::Declared);
    let is_vmlinux = matches!(image.metadata(), Some(Evidence::Linux(_)));
    has_image_header(image) || declares_linux || is_vmlinux
}

#[cfg(test)]
mod tests {
    use boot_core::{Endian, GuestRange, ImageBuilder, MemoryMap, SourceRange};
    use boot_linux::vmlinux::{LinuxMark, OtherMark};

    use super::*;

    #[test]
    fn only_linux_gets_a_default() {
        let check = |protocol: &str, arch, abi, evidence: Option<Evidence>, expected: Option<&str>| {
            let at = 0x8020_0000;
            let mut builder = ImageBuilder::new("test", arch, Endian::Little, 4)
                .segment(SourceRange::whole(4), GuestRange::new(at, 4).unwrap())
                .entry(abi, at);
            if let Some(evidence) = evidence {
                builder = builder.metadata(evidence);
            }
            let image = builder.build().unwrap();
            let protocols = vmboot::protocols().unwrap();
            let protocol = protocols.iter().find(|found| found.name() == protocol).unwrap();
            let found = default_cmdline(*protocol, &image);
            assert_eq!(
                found.and_then(|line| line.split(' ').next()),
                expected,
                "{abi} {evidence:?}"
            );
        };
        let console = Some("console=ttyS0");
        let (x86, arm64, riscv) = (Arch::X86_64, Arch::Aarch64, Arch::Riscv64);
        let linux = Some(Evidence::Linux(LinuxMark::Note));
        check("fdt-arm64", arm64, EntryAbi::ARM64_IMAGE, None, console);
        check("fdt-riscv64", riscv, EntryAbi::RISCV_IMAGE, None, console);
        check("fdt-riscv64", riscv, EntryAbi::ELF64, None, None);
        check("linux", x86, EntryAbi::ELF64, linux, console);
        check("pvh", x86, EntryAbi::PVH, linux, console);
        check("pvh", x86, EntryAbi::PVH, None, None);
        check("linux", x86, EntryAbi::ELF64, None, None);
        let other = Some(Evidence::Other(OtherMark::Multiboot));
        check("linux", x86, EntryAbi::ELF64, other, None);
    }

    #[test]
    fn a_fast_line_is_that_of_the_machine() {
        let check = |arch, line: &str, expected: &str| {
            let image = ImageBuilder::new("test", arch, Endian::Little, 4)
                .segment(SourceRange::whole(4), GuestRange::new(0x8020_0000, 4).unwrap())
                .entry(EntryAbi::ELF64, 0x8020_0000)
                .build()
                .unwrap();
            let machine = Machine::new(arch, MemoryMap::pc(64 << 20).unwrap());
            let line: RawCmdline = line.parse().unwrap();
            assert_eq!(
                fast_cmdline(&line, &image, &machine).to_string(),
                expected,
                "{arch}"
            );
        };
        check(Arch::X86_64, "a", "cryptomgr.notests quiet pci=off a");
        check(Arch::X86_64, "pci=conf1", "cryptomgr.notests quiet pci=conf1");
        check(Arch::Aarch64, "a", "cryptomgr.notests quiet a");
        check(Arch::Riscv64, "debug", "cryptomgr.notests debug");
        let longest = "a".repeat(1023);
        check(Arch::Riscv64, &longest, &longest);
        check(
            Arch::Aarch64,
            &longest,
            &format!("cryptomgr.notests quiet {longest}"),
        );
        let longest = "a".repeat(2047);
        check(Arch::X86_64, &longest, &longest);
    }
}
