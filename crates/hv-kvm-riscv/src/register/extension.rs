//! Numbers of ISA and SBI extensions in the KVM API.

/// An extension of the instruction set, by its KVM number (`enum KVM_RISCV_ISA_EXT_ID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsaExtension(pub u16);

/// Names of the ISA extensions in device trees, in the order of the KVM numbers.
const ISA_NAMES: [&str; 71] = [
    "a",
    "c",
    "d",
    "f",
    "h",
    "i",
    "m",
    "svpbmt",
    "sstc",
    "svinval",
    "zihintpause",
    "zicbom",
    "zicboz",
    "zbb",
    "ssaia",
    "v",
    "svnapot",
    "zba",
    "zbs",
    "zicntr",
    "zicsr",
    "zifencei",
    "zihpm",
    "smstateen",
    "zicond",
    "zbc",
    "zbkb",
    "zbkc",
    "zbkx",
    "zknd",
    "zkne",
    "zknh",
    "zkr",
    "zksed",
    "zksh",
    "zkt",
    "zvbb",
    "zvbc",
    "zvkb",
    "zvkg",
    "zvkned",
    "zvknha",
    "zvknhb",
    "zvksed",
    "zvksh",
    "zvkt",
    "zfh",
    "zfhmin",
    "zihintntl",
    "zvfh",
    "zvfhmin",
    "zfa",
    "ztso",
    "zacas",
    "sscofpmf",
    "zimop",
    "zca",
    "zcb",
    "zcd",
    "zcf",
    "zcmop",
    "zawrs",
    "smnpm",
    "ssnpm",
    "svade",
    "svadu",
    "svvptc",
    "zabha",
    "ziccrse",
    "zaamo",
    "zalrsc",
];

impl IsaExtension {
    /// Atomics.
    pub const A: Self = Self(0);
    /// Compressed instructions.
    pub const C: Self = Self(1);
    /// Double-precision floating point.
    pub const D: Self = Self(2);
    /// Single-precision floating point.
    pub const F: Self = Self(3);
    /// Hypervisor.
    pub const H: Self = Self(4);
    /// Base integer instructions.
    pub const I: Self = Self(5);
    /// Supervisor-mode timer interrupts (`stimecmp`).
    pub const SSTC: Self = Self(8);
    /// Supervisor-level advanced interrupt architecture.
    pub const SSAIA: Self = Self(14);
    /// Vectors.
    pub const V: Self = Self(15);

    /// Name in device trees; `None` for unknown numbers.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        ISA_NAMES.get(usize::from(self.0)).copied()
    }

    /// The extension with this name in device trees.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let index = ISA_NAMES.iter().position(|known| *known == name)?;
        u16::try_from(index).ok().map(Self)
    }
}

/// An SBI extension, by its KVM number (`enum KVM_RISCV_SBI_EXT_ID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SbiExtension(pub u16);

const SBI_NAMES: [&str; 12] = [
    "v0.1",
    "TIME",
    "IPI",
    "RFENCE",
    "SRST",
    "HSM",
    "PMU",
    "experimental",
    "vendor",
    "DBCN",
    "STA",
    "SUSP",
];

impl SbiExtension {
    /// The legacy functions of version 0.1.
    pub const V01: Self = Self(0);
    /// System reset.
    pub const SRST: Self = Self(4);
    /// Hart state management.
    pub const HSM: Self = Self(5);
    /// Experimental extensions, which KVM forwards to user space.
    pub const EXPERIMENTAL: Self = Self(7);
    /// Vendor extensions, which KVM forwards to user space.
    pub const VENDOR: Self = Self(8);
    /// Debug console. KVM disables it until user space enables it.
    pub const DBCN: Self = Self(9);

    /// Name in the SBI specification; `None` for unknown numbers.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        SBI_NAMES.get(usize::from(self.0)).copied()
    }
}
