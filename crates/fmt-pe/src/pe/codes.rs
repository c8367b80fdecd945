//! The numbers of PE files that have names: open sets, so that an unknown one is still a value.

use core::fmt;

/// What a program runs on ("Machine Types").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine(pub u16);

/// What starts a program ("Windows Subsystem").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subsystem(pub u16);

/// The number of a data directory ("Optional Header Data Directories").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Directory(pub u8);

/// Gives a newtype its named constants, and a name in `Display` and `Debug`; what has no name prints as its number.
macro_rules! codes {
    ($ty:ident: $(#[doc = $doc:literal] $name:ident = $value:literal, $text:literal;)*) => {
        impl $ty {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*

            /// The name, where the number has one.
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

codes! { Machine:
    /// Any machine.
    UNKNOWN = 0x0, "any machine";
    /// 32-bit x86.
    I386 = 0x14c, "x86";
    /// x86_64.
    AMD64 = 0x8664, "x86_64";
    /// 32-bit Arm, little-endian.
    ARM = 0x1c0, "arm";
    /// 32-bit Arm in its Thumb encoding: what UEFI calls arm.
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
    /// MIPS.
    R4000 = 0x166, "mips";
    /// PowerPC.
    POWERPC = 0x1f0, "powerpc";
}

codes! { Subsystem:
    /// Unknown.
    UNKNOWN = 0, "unknown subsystem";
    /// Device drivers and native Windows processes.
    NATIVE = 1, "native Windows program";
    /// A Windows program with windows.
    WINDOWS_GUI = 2, "Windows program";
    /// A Windows program in a console.
    WINDOWS_CUI = 3, "Windows console program";
    /// An OS/2 program.
    OS2_CUI = 5, "OS/2 program";
    /// A POSIX program.
    POSIX_CUI = 7, "POSIX program";
    /// A driver of Windows 9x.
    NATIVE_WINDOWS = 8, "Windows 9x driver";
    /// A Windows CE program.
    WINDOWS_CE_GUI = 9, "Windows CE program";
    /// An EFI application.
    EFI_APPLICATION = 10, "EFI application";
    /// An EFI driver with boot services.
    EFI_BOOT_SERVICE_DRIVER = 11, "EFI boot service driver";
    /// An EFI driver with run-time services.
    EFI_RUNTIME_DRIVER = 12, "EFI runtime driver";
    /// An EFI ROM image.
    EFI_ROM = 13, "EFI ROM image";
    /// Xbox.
    XBOX = 14, "Xbox program";
    /// A Windows boot application.
    WINDOWS_BOOT_APPLICATION = 16, "Windows boot application";
}

impl Subsystem {
    /// Whether UEFI firmware starts such programs.
    #[must_use]
    pub const fn is_efi(self) -> bool {
        matches!(
            self,
            Self::EFI_APPLICATION | Self::EFI_BOOT_SERVICE_DRIVER | Self::EFI_RUNTIME_DRIVER | Self::EFI_ROM
        )
    }
}

codes! { Directory:
    /// Exports.
    EXPORT = 0, "export table";
    /// Imports.
    IMPORT = 1, "import table";
    /// Resources.
    RESOURCE = 2, "resource table";
    /// Exception handlers.
    EXCEPTION = 3, "exception table";
    /// Signatures. Its start is a file offset.
    CERTIFICATE = 4, "certificate table";
    /// Base relocations.
    BASE_RELOCATION = 5, "base relocation table";
    /// Debug data.
    DEBUG = 6, "debug data";
    /// Reserved.
    ARCHITECTURE = 7, "architecture";
    /// The global pointer.
    GLOBAL_PTR = 8, "global pointer";
    /// Thread-local storage.
    TLS = 9, "TLS table";
    /// Load configuration.
    LOAD_CONFIG = 10, "load configuration table";
    /// Bound imports.
    BOUND_IMPORT = 11, "bound import table";
    /// Import addresses.
    IAT = 12, "import address table";
    /// Delayed imports.
    DELAY_IMPORT = 13, "delay import descriptor";
    /// The CLR header.
    CLR_RUNTIME_HEADER = 14, "CLR runtime header";
}

bitflags::bitflags! {
    /// What kind of file it is ("Characteristics"). Bits without a name are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Characteristics: u16 {
        /// No base relocations: it must be loaded at its image base.
        const RELOCS_STRIPPED = 0x0001;
        /// It can be run.
        const EXECUTABLE_IMAGE = 0x0002;
        /// No line numbers.
        const LINE_NUMS_STRIPPED = 0x0004;
        /// No local symbols.
        const LOCAL_SYMS_STRIPPED = 0x0008;
        /// Obsolete.
        const AGGRESSIVE_WS_TRIM = 0x0010;
        /// It can handle addresses above 2 GiB.
        const LARGE_ADDRESS_AWARE = 0x0020;
        /// Obsolete: little-endian.
        const BYTES_REVERSED_LO = 0x0080;
        /// For a machine with 32-bit words.
        const MACHINE_32BIT = 0x0100;
        /// No debug data.
        const DEBUG_STRIPPED = 0x0200;
        /// To be copied from removable media before it runs.
        const REMOVABLE_RUN_FROM_SWAP = 0x0400;
        /// To be copied from the network before it runs.
        const NET_RUN_FROM_SWAP = 0x0800;
        /// A system file.
        const SYSTEM = 0x1000;
        /// A library.
        const DLL = 0x2000;
        /// For one processor only.
        const UP_SYSTEM_ONLY = 0x4000;
        /// Obsolete: big-endian.
        const BYTES_REVERSED_HI = 0x8000;
        const _ = !0;
    }

    /// How the image may be loaded ("DLL Characteristics"). Bits without a name are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct DllCharacteristics: u16 {
        /// It can be randomised over 64 bits.
        const HIGH_ENTROPY_VA = 0x0020;
        /// It can be moved.
        const DYNAMIC_BASE = 0x0040;
        /// Code integrity checks are enforced.
        const FORCE_INTEGRITY = 0x0080;
        /// Its data need not be executable, nor its code writable.
        const NX_COMPAT = 0x0100;
        /// Not to be isolated.
        const NO_ISOLATION = 0x0200;
        /// No structured exception handling.
        const NO_SEH = 0x0400;
        /// Not to be bound.
        const NO_BIND = 0x0800;
        /// To be run in an AppContainer.
        const APPCONTAINER = 0x1000;
        /// A WDM driver.
        const WDM_DRIVER = 0x2000;
        /// It supports control flow guard.
        const GUARD_CF = 0x4000;
        /// It is aware of terminal servers.
        const TERMINAL_SERVER_AWARE = 0x8000;
        const _ = !0;
    }

    /// What is in a section and what it may be used for ("Section Flags"). Bits without a name are kept.
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
        /// Not to be cached.
        const MEM_NOT_CACHED = 0x0400_0000;
        /// Not to be paged.
        const MEM_NOT_PAGED = 0x0800_0000;
        /// To be shared.
        const MEM_SHARED = 0x1000_0000;
        /// Executable.
        const MEM_EXECUTE = 0x2000_0000;
        /// Readable.
        const MEM_READ = 0x4000_0000;
        /// Writable.
        const MEM_WRITE = 0x8000_0000;
        const _ = !0;
    }
}
