//! Named numbers of PE files. The sets are open: a number without a name is a valid value.

use core::fmt;

/// Maximum number of sections that this crate accepts. The Windows loader accepts 96; a unified kernel image has several
/// per profile.
pub const MAX_SECTIONS: u16 = 512;

/// Machine type ("Machine Types").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine(
    /// Number in the COFF header.
    pub u16,
);

/// Subsystem that runs the image ("Windows Subsystem").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subsystem(
    /// Number in the optional header.
    pub u16,
);

/// Index of a data directory ("Optional Header Data Directories").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryEntry(
    /// Index, from 0.
    pub u8,
);

/// Type of a base relocation ("Base Relocation Types"): four bits.
///
/// The *delta* is the address of the image minus its `ImageBase`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelocationType(
    /// Number in the upper four bits of an entry.
    pub u8,
);

/// Defines the named constants of a newtype, and its `Display` and `Debug` with the name, or else with the number.
macro_rules! named_constants {
    ($ty:ident: $(#[doc = $doc:literal] $name:ident = $value:literal, $text:literal;)*) => {
        impl $ty {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*

            /// Name of the number; `None` if it has none.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!(stringify!($ty), " {:#x}"), self.0),
                }
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($ty), "({:#x}"), self.0)?;
                match self.name() {
                    Some(name) => write!(f, ": {name})"),
                    None => write!(f, ")"),
                }
            }
        }
    };
}

named_constants! { Machine:
    /// Any machine.
    UNKNOWN = 0x0, "any machine";
    /// 32-bit x86.
    I386 = 0x14c, "x86";
    /// x86_64.
    AMD64 = 0x8664, "x86_64";
    /// 32-bit Arm, little-endian.
    ARM = 0x1c0, "arm";
    /// 32-bit Arm, Thumb; the type of EFI images for 32-bit Arm.
    THUMB = 0x1c2, "arm thumb";
    /// 32-bit Arm, Thumb-2.
    ARMNT = 0x1c4, "arm thumb-2";
    /// arm64.
    ARM64 = 0xaa64, "arm64";
    /// EFI byte code.
    EBC = 0xebc, "EFI byte code";
    /// Itanium.
    IA64 = 0x200, "ia64";
    /// 32-bit riscv.
    RISCV32 = 0x5032, "riscv32";
    /// 64-bit riscv.
    RISCV64 = 0x5064, "riscv64";
    /// 128-bit riscv.
    RISCV128 = 0x5128, "riscv128";
    /// 32-bit LoongArch.
    LOONGARCH32 = 0x6232, "loongarch32";
    /// 64-bit LoongArch.
    LOONGARCH64 = 0x6264, "loongarch64";
}

named_constants! { Subsystem:
    /// Unknown.
    UNKNOWN = 0, "unknown subsystem";
    /// Device driver or native Windows process.
    NATIVE = 1, "native Windows program";
    /// Windows program with a graphical interface.
    WINDOWS_GUI = 2, "Windows program";
    /// Windows console program.
    WINDOWS_CUI = 3, "Windows console program";
    /// EFI application.
    EFI_APPLICATION = 10, "EFI application";
    /// EFI driver with boot services.
    EFI_BOOT_SERVICE_DRIVER = 11, "EFI boot service driver";
    /// EFI driver with run-time services.
    EFI_RUNTIME_DRIVER = 12, "EFI runtime driver";
    /// EFI ROM image.
    EFI_ROM = 13, "EFI ROM image";
    /// Windows boot application.
    WINDOWS_BOOT_APPLICATION = 16, "Windows boot application";
}

impl Subsystem {
    /// True if UEFI firmware runs images of this subsystem.
    #[must_use]
    pub const fn is_efi(self) -> bool {
        matches!(
            self,
            Self::EFI_APPLICATION | Self::EFI_BOOT_SERVICE_DRIVER | Self::EFI_RUNTIME_DRIVER | Self::EFI_ROM
        )
    }
}

named_constants! { DirectoryEntry:
    /// Certificates (signatures). The start of this table is a file offset.
    CERTIFICATE = 4, "certificate table";
    /// Base relocations.
    BASE_RELOCATION = 5, "base relocation table";
}

named_constants! { RelocationType:
    /// No relocation: padding.
    ABSOLUTE = 0, "ABSOLUTE";
    /// The upper 16 bits of the delta are added to a 16-bit field, the upper half of a word.
    HIGH = 1, "HIGH";
    /// The lower 16 bits of the delta are added to a 16-bit field, the lower half of a word.
    LOW = 2, "LOW";
    /// The delta is added to a 32-bit field.
    HIGHLOW = 3, "HIGHLOW";
    /// The delta is added to a 64-bit field.
    DIR64 = 10, "DIR64";
}

impl RelocationType {
    /// Number of bytes that a relocation of this type changes; `None` for a type that this crate does not support.
    ///
    /// The types of single machines (Arm, MIPS, riscv, LoongArch) are not supported: they patch instructions, which
    /// position-independent code does not need.
    #[must_use]
    pub const fn width(self) -> Option<u32> {
        match self {
            Self::ABSOLUTE => Some(0),
            Self::HIGH | Self::LOW => Some(2),
            Self::HIGHLOW => Some(4),
            Self::DIR64 => Some(8),
            _ => None,
        }
    }
}

bitflags::bitflags! {
    /// Contents and access rights of a section ("Section Flags"). Bits without a name are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct SectionFlags: u32 {
        /// Code.
        const CNT_CODE = 0x0000_0020;
        /// Initialised data.
        const CNT_INITIALIZED_DATA = 0x0000_0040;
        /// Uninitialised data.
        const CNT_UNINITIALIZED_DATA = 0x0000_0080;
        /// Not needed after loading.
        const MEM_DISCARDABLE = 0x0200_0000;
        /// Executable.
        const MEM_EXECUTE = 0x2000_0000;
        /// Readable.
        const MEM_READ = 0x4000_0000;
        /// Writable.
        const MEM_WRITE = 0x8000_0000;
        const _ = !0;
    }
}
