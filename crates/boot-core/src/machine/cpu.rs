//! The CPUs of a machine, with their instruction sets.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// All CPUs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Cpus {
    /// Not specified: the guest discovers its CPUs by other means, on a PC by ACPI.
    #[default]
    Unspecified,
    /// arm64 CPUs, one for each vCPU in the order of the vCPU indices.
    Arm64(Vec<Arm64Cpu>),
    /// riscv64 harts.
    Riscv64(RiscvCpus),
}

impl Cpus {
    /// Number of CPUs; `None` where they are not specified.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Unspecified => None,
            Self::Arm64(cpus) => Some(cpus.len()),
            Self::Riscv64(cpus) => Some(cpus.harts.len()),
        }
    }
}

/// An arm64 CPU (Linux binding `arm/cpus.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Arm64Cpu {
    /// The affinity fields of its `MPIDR_EL1`: Aff0, Aff1 and Aff2 in bits 0 to 23, Aff3 in bits 32 to 39. Other bits
    /// of the register are ignored.
    pub mpidr: u64,
    /// Its type in the device tree, for example `arm,cortex-a57`; `arm,armv8` names only the architecture.
    pub compatible: Cow<'static, str>,
}

impl Arm64Cpu {
    /// Mask of the affinity fields of `MPIDR_EL1`, which identify a CPU (Arm ARM, `MPIDR_EL1`).
    pub const AFFINITY_MASK: u64 = 0xff_00ff_ffff;

    /// A CPU of the type `arm,armv8`.
    #[must_use]
    pub const fn new(mpidr: u64) -> Self {
        Self {
            mpidr,
            compatible: Cow::Borrowed("arm,armv8"),
        }
    }

    /// The same with a type, as in the device tree's `compatible`.
    #[must_use]
    pub fn with_compatible(self, compatible: impl Into<Cow<'static, str>>) -> Self {
        Self {
            compatible: compatible.into(),
            ..self
        }
    }

    /// The affinity fields of its `MPIDR_EL1`, the other bits zero.
    #[must_use]
    pub const fn affinity(&self) -> u64 {
        self.mpidr & Self::AFFINITY_MASK
    }

    /// The default affinity of the vCPU with this index, as KVM assigns it: bits 0 to 3 of the index are Aff0, bits 4 to 11
    /// Aff1, and bits 12 to 19 Aff2. A GICv3 target list has 16 CPUs.
    #[must_use]
    pub const fn affinity_of(index: u32) -> u64 {
        // Every field is masked to its width, so nothing is lost by moving it to its place.
        let [low, mid, high, _] = (index >> 4).to_le_bytes();
        let [aff0, ..] = (index & 0xf).to_le_bytes();
        u64::from_le_bytes([aff0, low, mid, 0, high, 0, 0, 0])
    }
}

/// The harts of a riscv64 machine, and their common `time` counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RiscvCpus {
    /// The frequency of the `time` counter in Hz (Devicetree Specification, "`/cpus/cpu*` Node Properties":
    /// `timebase-frequency`); not zero.
    pub timebase_frequency: u32,
    /// The harts, one for each vCPU in the order of the vCPU indices.
    pub harts: Vec<RiscvHart>,
}

impl RiscvCpus {
    /// Harts that share a `time` counter of this frequency in Hz.
    #[must_use]
    pub const fn new(timebase_frequency: u32, harts: Vec<RiscvHart>) -> Self {
        Self {
            timebase_frequency,
            harts,
        }
    }
}

/// A riscv64 hart (Linux bindings `riscv/cpus.yaml` and `riscv/extensions.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RiscvHart {
    /// Its hart id.
    pub hart_id: u64,
    /// Its instruction set.
    pub isa: Isa,
    /// The largest translation mode that it supports.
    pub mmu: MmuType,
    /// Size of a cache block of Zicbom in bytes, a power of two. Required if the ISA has Zicbom.
    pub cbom_block_size: Option<u32>,
    /// Size of a cache block of Zicboz in bytes, a power of two. Required if the ISA has Zicboz.
    pub cboz_block_size: Option<u32>,
    /// Size of a cache block of Zicbop in bytes, a power of two. Required if the ISA has Zicbop.
    pub cbop_block_size: Option<u32>,
}

impl RiscvHart {
    /// A hart with this id and instruction set, and Sv39 translation.
    #[must_use]
    pub const fn new(hart_id: u64, isa: Isa) -> Self {
        Self {
            hart_id,
            isa,
            mmu: MmuType::Sv39,
            cbom_block_size: None,
            cboz_block_size: None,
            cbop_block_size: None,
        }
    }

    /// The same with another translation mode.
    #[must_use]
    pub fn with_mmu(self, mmu: MmuType) -> Self {
        Self { mmu, ..self }
    }

    /// The same with a block size in bytes for Zicbom.
    #[must_use]
    pub fn with_cbom_block_size(self, size: u32) -> Self {
        Self {
            cbom_block_size: Some(size),
            ..self
        }
    }

    /// The same with a block size in bytes for Zicboz.
    #[must_use]
    pub fn with_cboz_block_size(self, size: u32) -> Self {
        Self {
            cboz_block_size: Some(size),
            ..self
        }
    }

    /// The same with a block size in bytes for Zicbop.
    #[must_use]
    pub fn with_cbop_block_size(self, size: u32) -> Self {
        Self {
            cbop_block_size: Some(size),
            ..self
        }
    }
}

/// The largest translation mode of a hart (`mmu-type` in Linux binding `riscv/cpus.yaml`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum MmuType {
    /// No translation (Bare).
    None,
    /// Sv39: three levels.
    Sv39,
    /// Sv48: four levels.
    Sv48,
    /// Sv57: five levels.
    Sv57,
}

impl MmuType {
    /// The name that the device tree uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "riscv,none",
            Self::Sv39 => "riscv,sv39",
            Self::Sv48 => "riscv,sv48",
            Self::Sv57 => "riscv,sv57",
        }
    }
}

/// The instruction set of an RV64I hart: its extensions by name.
///
/// A device tree has it as a list (`riscv,isa-base`, `riscv,isa-extensions`), and for Linux before 6.6 also as a string
/// (`riscv,isa`), which [`Display`](core::fmt::Display) prints.
///
/// ```
/// use boot_core::machine::Isa;
///
/// let isa = Isa::new(["i", "m", "a", "f", "d", "c", "zicsr", "zifencei"])?;
/// assert_eq!(isa.to_string(), "rv64imafdc_zicsr_zifencei");
/// # Ok::<(), boot_core::machine::IsaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Isa {
    extensions: Vec<Cow<'static, str>>,
}

/// Why a list of extensions is not an instruction set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// A name that an ISA string cannot contain.
    #[error(
        "`{0}` is not the name of a RISC-V extension: expected one lower-case letter other than s, x and z, or a \
         longer name that begins with one of these"
    )]
    Name(String),
    /// An extension named twice.
    #[error("the RISC-V extension `{0}` is listed twice")]
    Duplicate(String),
    /// A list that does not begin with `i`.
    #[error("the RISC-V extensions do not begin with the base instruction set, `i`")]
    NoBase,
}

impl Isa {
    /// The base instruction set, as in `riscv,isa-base`.
    pub const BASE: &'static str = "rv64i";

    /// An instruction set with these extensions, in lower case. The first must be the base `i`. Single-letter
    /// extensions are moved before the multi-letter ones; otherwise the order is kept.
    ///
    /// # Errors
    ///
    /// [`IsaError`] where a name is not one letter other than `s`, `x` and `z`, or a longer name that begins with one of
    /// these; where a name is listed twice; or where the first is not `i`.
    pub fn new<E: Into<Cow<'static, str>>>(
        extensions: impl IntoIterator<Item = E>,
    ) -> Result<Self, IsaError> {
        let mut known: Vec<Cow<'static, str>> = Vec::new();
        for name in extensions {
            let name = name.into();
            let fits = match name.as_bytes() {
                [b's' | b'x' | b'z'] => false,
                [letter] => letter.is_ascii_lowercase(),
                [b's' | b'x' | b'z', rest @ ..] => rest
                    .iter()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                _ => false,
            };
            if !fits {
                return Err(IsaError::Name(name.into_owned()));
            }
            if known.contains(&name) {
                return Err(IsaError::Duplicate(name.into_owned()));
            }
            known.push(name);
        }
        if known.first().is_none_or(|first| first != "i") {
            return Err(IsaError::NoBase);
        }
        known.sort_by_key(|name| name.len() > 1);
        Ok(Self { extensions: known })
    }

    /// RV64GC (`rv64imafdc_zicsr_zifencei`), which distribution kernels are built for.
    #[must_use]
    pub fn rv64gc() -> Self {
        Self {
            extensions: ["i", "m", "a", "f", "d", "c", "zicsr", "zifencei"]
                .map(Cow::Borrowed)
                .to_vec(),
        }
    }

    /// The extensions, single letters first.
    #[must_use]
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.extensions.iter().map(|name| &**name)
    }

    /// Whether it has this extension.
    #[must_use]
    pub fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("rv64")?;
        let mut after_long = false;
        for name in &self.extensions {
            let long = name.len() > 1;
            if long || after_long {
                f.write_str("_")?;
            }
            after_long = long;
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn affinities_follow_the_index() {
        let check = |index, expected| assert_eq!(Arm64Cpu::affinity_of(index), expected, "{index}");
        check(0, 0);
        check(15, 0xf);
        check(16, 0x100);
        check(0x123, 0x1203);
        check(0xfff, 0xff0f);
        check(0x1000, 0x1_0000);
        check(0x10_0000, 0x1_0000_0000);
    }

    #[test]
    fn isa_strings() {
        let check = |list: &[&'static str], expected: Result<&str, IsaError>| {
            let found = Isa::new(list.iter().copied()).map(|isa| isa.to_string());
            assert_eq!(found, expected.map(ToString::to_string), "{list:?}");
        };
        check(&["i"], Ok("rv64i"));
        check(&["i", "zicsr", "m", "sstc"], Ok("rv64im_zicsr_sstc"));
        check(&["i", "zve32x"], Ok("rv64i_zve32x"));
        check(&[], Err(IsaError::NoBase));
        check(&["m", "i"], Err(IsaError::NoBase));
        check(&["i", "i"], Err(IsaError::Duplicate("i".into())));
        for bad in ["", "I", "s", "x", "z", "Zicsr", "z_a", "ab", "z\0", "zé"] {
            check(&["i", bad], Err(IsaError::Name(bad.into())));
        }
        assert_eq!(
            Isa::rv64gc(),
            Isa::new(Isa::rv64gc().extensions().map(ToString::to_string)).unwrap()
        );
        assert!(Isa::rv64gc().has("zicsr") && !Isa::rv64gc().has("v"));
    }

    #[test]
    fn affinities_are_those_of_kvm() {
        let check = |index, expected| assert_eq!(Arm64Cpu::affinity_of(index), expected, "{index}");
        check(0, 0);
        check(15, 0xf);
        check(16, 0x100);
        check(0xfff, 0xff0f);
        check(0x1000, 0x1_0000);
        check(0xf_ffff, 0xff_ff0f);
        check(0x10_0000, 0x1_0000_0000);
        let cpu = Arm64Cpu::new(0x12_8034_5678);
        assert_eq!(cpu.affinity(), 0x12_0034_5678);
        assert_eq!(cpu.compatible, "arm,armv8");
        assert_eq!(cpu.with_compatible("arm,cortex-a57").compatible, "arm,cortex-a57");
    }

    #[test]
    fn cpus_are_counted_and_harts_keep_their_options() {
        let hart = RiscvHart::new(5, Isa::rv64gc());
        assert_eq!((hart.hart_id, hart.mmu), (5, MmuType::Sv39));
        let full = hart
            .clone()
            .with_mmu(MmuType::Sv57)
            .with_cbom_block_size(64)
            .with_cboz_block_size(128)
            .with_cbop_block_size(32);
        assert_eq!(full.mmu, MmuType::Sv57);
        let sizes = (full.cbom_block_size, full.cboz_block_size, full.cbop_block_size);
        assert_eq!(sizes, (Some(64), Some(128), Some(32)));
        let harts = RiscvCpus::new(10_000_000, [hart, full].to_vec());
        assert_eq!(harts.timebase_frequency, 10_000_000);
        assert_eq!(Cpus::Riscv64(harts).count(), Some(2));
        assert_eq!(
            Cpus::Arm64([0, 1, 2].map(Arm64Cpu::new).to_vec()).count(),
            Some(3)
        );
        assert_eq!(Cpus::default().count(), None);
        let names = [MmuType::None, MmuType::Sv39, MmuType::Sv48, MmuType::Sv57].map(MmuType::name);
        assert_eq!(names, ["riscv,none", "riscv,sv39", "riscv,sv48", "riscv,sv57"]);
    }
}
