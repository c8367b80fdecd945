//! Expectations of a test, and their form on a command line.

use core::fmt;

use crate::cpus::Cpus;
use crate::digest::Digest;
use crate::memory::Memory;

/// Boot ABI of the entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Xen's x86/HVM direct boot ABI.
    Pvh,
    /// The 64-bit Linux boot protocol.
    Linux64,
    /// The 32-bit Linux boot protocol.
    Linux32,
    /// Multiboot 1.
    Multiboot,
    /// Multiboot2.
    Multiboot2,
    /// Linux's arm64 boot protocol, for an `Image` or an ELF: `x0` holds the device tree.
    Arm64,
    /// Linux's riscv64 boot protocol, for an `Image` or an ELF: `a0` holds the hart id, `a1` the device tree.
    Riscv64,
    /// QEMU's loader with an arm64 ELF: `x0` to `x3` are zero, and the device tree of the `virt` machine is at the start of
    /// RAM.
    Arm64QemuElf,
}

impl Entry {
    const WORDS: [(&'static str, Self); 8] = [
        ("pvh", Self::Pvh),
        ("linux64", Self::Linux64),
        ("linux32", Self::Linux32),
        ("multiboot", Self::Multiboot),
        ("multiboot2", Self::Multiboot2),
        ("arm64", Self::Arm64),
        ("riscv64", Self::Riscv64),
        ("arm64-qemu-elf", Self::Arm64QemuElf),
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, entry)| *entry)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::WORDS
                .iter()
                .find(|(_, entry)| entry == self)
                .map_or("", |(word, _)| word),
        )
    }
}

/// Format of the file that the guest was loaded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// ELF: the zero page holds no setup header of a file.
    Elf,
    /// bzImage: the zero page holds its setup header.
    BzImage,
    /// arm64 or riscv64 `Image`: the image starts with the `Image` header.
    Image,
}

impl Image {
    const WORDS: [(&'static str, Self); 3] = [
        ("elf", Self::Elf),
        ("bzimage", Self::BzImage),
        ("image", Self::Image),
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, image)| *image)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::WORDS
                .iter()
                .find(|(_, image)| image == self)
                .map_or("", |(word, _)| word),
        )
    }
}

/// Interrupt controller in a device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqchip {
    /// GICv2.
    GicV2,
    /// GICv3 without an ITS.
    GicV3,
    /// GICv3 with an ITS.
    GicV3Its,
    /// PLIC.
    Plic,
    /// APLIC in direct delivery mode.
    Aplic,
    /// APLIC in MSI delivery mode, with IMSICs.
    AplicImsic,
}

impl Irqchip {
    const WORDS: [(&'static str, Self); 6] = [
        ("gicv2", Self::GicV2),
        ("gicv3", Self::GicV3),
        ("gicv3-its", Self::GicV3Its),
        ("plic", Self::Plic),
        ("aplic", Self::Aplic),
        ("aplic-imsic", Self::AplicImsic),
    ];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, irqchip)| *irqchip)
    }
}

impl fmt::Display for Irqchip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::WORDS
                .iter()
                .find(|(_, irqchip)| irqchip == self)
                .map_or("", |(word, _)| word),
        )
    }
}

/// A file in guest memory that must be absent, or have certain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blob {
    /// Absent: address and size must be zero.
    Absent,
    /// Present, with these bytes.
    Present(Digest),
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Present(digest) => digest.fmt(f),
        }
    }
}

/// A module of PVH or Multiboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Digest of the content.
    pub content: Digest,
    /// Digest of the command line without the terminating zero. With `None`, the module must not have a command line: its
    /// address must be zero or, under Multiboot2, the string must be empty.
    pub cmdline: Option<Digest>,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content.fmt(f)?;
        self.cmdline.map_or(Ok(()), |cmdline| write!(f, ":{cmdline}"))
    }
}

/// Maximum number of modules in an [`Expectation`].
pub const MAX_MODULES: usize = 16;

/// All values that a test can expect. If a field is `None` (or `false`), the guest prints the value as a note and checks
/// nothing.
///
/// [`Display`](fmt::Display) writes the command-line tokens, separated by single spaces; numbers are decimal, or hexadecimal
/// after `0x`:
///
/// | token | field |
/// |---|---|
/// | `expect.entry=pvh` / `linux64` / `linux32` / `multiboot` / `multiboot2` / `arm64` / `riscv64` / `arm64-qemu-elf` | [`entry`](Self::entry) |
/// | `expect.image=elf` / `bzimage` / `image` | [`image`](Self::image) |
/// | `expect.base=ADDRESS` | [`base`](Self::base) |
/// | `expect.mem=START-END:TYPE,…` or `expect.mem=COUNT#HASH` | [`memory`](Self::memory) |
/// | `expect.initrd=LEN:HASH` or `none` | [`initrd`](Self::initrd) |
/// | `expect.modules=COUNT` | [`module_count`](Self::module_count) |
/// | `expect.module.N=LEN:HASH` or `LEN:HASH:CMDLEN:CMDHASH` | [`modules`](Self::modules) |
/// | `expect.rsdp=ADDRESS` | [`rsdp`](Self::rsdp) |
/// | `expect.rng-seed=LEN:HASH` or `none` | [`rng_seed`](Self::rng_seed) |
/// | `expect.gdt` | [`gdt`](Self::gdt) |
/// | `expect.cpus=ID,ID,…` | [`cpus`](Self::cpus) |
/// | `expect.irqchip=gicv2` / `gicv3` / `gicv3-its` / `plic` / `aplic` / `aplic-imsic` | [`irqchip`](Self::irqchip) |
/// | `expect.serial=ADDRESS` | [`serial`](Self::serial) |
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation<'a> {
    /// Entry point of the guest.
    pub entry: Option<Entry>,
    /// Format of the kernel file.
    pub image: Option<Image>,
    /// Guest-physical address of the first byte of the image.
    pub base: Option<u64>,
    /// Memory map in the boot parameters or the device tree.
    pub memory: Option<Memory<'a>>,
    /// The initial RAM disk; under PVH this is module 0, under Multiboot the last module.
    pub initrd: Option<Blob>,
    /// Number of modules of PVH or Multiboot.
    pub module_count: Option<u64>,
    /// Expected modules of PVH or Multiboot, by index.
    pub modules: [Option<Module>; MAX_MODULES],
    /// Address of the ACPI root pointer; 0: the field must be zero.
    pub rsdp: Option<u64>,
    /// Random bytes in the `setup_data` list of the zero page.
    pub rng_seed: Option<Blob>,
    /// Whether the GDT in memory must have entries for the loaded selectors under PVH, whose ABI does not require them.
    pub gdt: bool,
    /// Ids of the CPUs in the device tree, in its order: MPIDR affinities or hart ids. The guest starts all secondary CPUs.
    pub cpus: Option<Cpus<'a>>,
    /// Interrupt controller in the device tree.
    pub irqchip: Option<Irqchip>,
    /// Address of the serial port that `stdout-path` of the device tree selects.
    pub serial: Option<u64>,
}

impl fmt::Display for Expectation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tokens = Tokens { f, first: true };
        if let Some(entry) = self.entry {
            tokens.push(format_args!("expect.entry={entry}"))?;
        }
        if let Some(image) = self.image {
            tokens.push(format_args!("expect.image={image}"))?;
        }
        if let Some(base) = self.base {
            tokens.push(format_args!("expect.base={base:#x}"))?;
        }
        if let Some(memory) = self.memory {
            tokens.push(format_args!("expect.mem={memory}"))?;
        }
        if let Some(initrd) = self.initrd {
            tokens.push(format_args!("expect.initrd={initrd}"))?;
        }
        if let Some(count) = self.module_count {
            tokens.push(format_args!("expect.modules={count}"))?;
        }
        for (index, module) in self.modules.iter().enumerate() {
            if let Some(module) = module {
                tokens.push(format_args!("expect.module.{index}={module}"))?;
            }
        }
        if let Some(rsdp) = self.rsdp {
            tokens.push(format_args!("expect.rsdp={rsdp:#x}"))?;
        }
        if let Some(seed) = self.rng_seed {
            tokens.push(format_args!("expect.rng-seed={seed}"))?;
        }
        if self.gdt {
            tokens.push(format_args!("expect.gdt"))?;
        }
        if let Some(cpus) = self.cpus {
            tokens.push(format_args!("expect.cpus={cpus}"))?;
        }
        if let Some(irqchip) = self.irqchip {
            tokens.push(format_args!("expect.irqchip={irqchip}"))?;
        }
        if let Some(serial) = self.serial {
            tokens.push(format_args!("expect.serial={serial:#x}"))?;
        }
        Ok(())
    }
}

/// Writes tokens separated by single spaces.
struct Tokens<'f, 'b> {
    f: &'f mut fmt::Formatter<'b>,
    first: bool,
}

impl Tokens<'_, '_> {
    fn push(&mut self, token: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::replace(&mut self.first, false) {
            self.f.write_str(" ")?;
        }
        self.f.write_fmt(token)
    }
}

/// Digest of the command line itself, as its last token `expect.cmdline=LEN:HASH`. It covers every byte before the token,
/// spaces included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmdlineDigest(Digest);

impl CmdlineDigest {
    pub(crate) const KEY: &'static str = "expect.cmdline=";

    /// The token to append to `prefix`, which must be empty or end with a space.
    #[must_use]
    pub fn of(prefix: &[u8]) -> Self {
        Self(Digest::of(prefix))
    }
}

impl fmt::Display for CmdlineDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::KEY, self.0)
    }
}
