//! Guest architectures and byte orders, as values.

use core::fmt;

/// The architecture of a kernel image, a machine or a CPU state.
///
/// The architecture of the *guest* is always a value, never a compile-time condition: any host can inspect and
/// plan any image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Arch {
    /// x86_64, including 32-bit images that such a machine can start.
    X86_64,
    /// arm64.
    Aarch64,
    /// riscv64.
    Riscv64,
}

impl Arch {
    /// The name used in command lines, file names and machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The byte order of an image's code and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// The name used in command lines and machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }
}

impl fmt::Display for Endian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn names_are_printed() {
        let check =
            |arch: Arch, expected| assert_eq!((arch.name(), &*arch.to_string()), (expected, expected));
        check(Arch::X86_64, "x86_64");
        check(Arch::Aarch64, "aarch64");
        check(Arch::Riscv64, "riscv64");
        let check = |endian: Endian, expected| {
            assert_eq!((endian.name(), &*endian.to_string()), (expected, expected));
        };
        check(Endian::Little, "little");
        check(Endian::Big, "big");
        assert_eq!(std::format!("{:>8}|", Arch::X86_64), "  x86_64|");
    }
}
