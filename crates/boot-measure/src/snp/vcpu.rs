//! Signatures of vCPUs.

use core::fmt;

/// Family, model and stepping as CPUID leaf 1 returns them in EAX (AMD APM volume 3, section E.3.2, "Function 1h"). A processor
/// has the same value in `rdx` after a reset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSignature(pub u32);

impl CpuSignature {
    /// The signature of a family (0 to 270), model and stepping (0 to 15). Larger values are cut off.
    #[must_use]
    pub const fn new(family: u16, model: u8, stepping: u8) -> Self {
        let (base, extended) = if family > 15 {
            (15, family.saturating_sub(15))
        } else {
            (family, 0)
        };
        let [extended, _] = extended.to_le_bytes();
        let [base, _] = base.to_le_bytes();
        let low = (model & 0xf) << 4 | stepping & 0xf;
        Self(u32::from_le_bytes([
            low,
            base,
            (model >> 4) | (extended & 0xf) << 4,
            extended >> 4,
        ]))
    }

    /// The signature of a CPU type of QEMU, by its name in [`QEMU_CPU_TYPES`] or with a version behind it: `EPYC-Milan-v2`.
    #[must_use]
    pub fn of_qemu_type(name: &str) -> Option<Self> {
        let base = name
            .rsplit_once("-v")
            .filter(|(_, version)| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(name, |(base, _)| base);
        let mut types = QEMU_CPU_TYPES.iter();
        types
            .find(|(known, _)| *known == base)
            .map(|(_, signature)| *signature)
    }
}

impl fmt::Debug for CpuSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSignature({:#x})", self.0)
    }
}

/// The CPU types of QEMU for AMD processors with SEV, without versions: all versions of a type have its signature.
pub const QEMU_CPU_TYPES: [(&str, CpuSignature); 6] = [
    ("EPYC", CpuSignature::new(23, 1, 2)),
    ("EPYC-IBPB", CpuSignature::new(23, 1, 2)),
    ("EPYC-Rome", CpuSignature::new(23, 49, 0)),
    ("EPYC-Milan", CpuSignature::new(25, 1, 1)),
    ("EPYC-Genoa", CpuSignature::new(25, 17, 0)),
    ("EPYC-Turin", CpuSignature::new(26, 0, 0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_cpuid() {
        let check = |name: &str, expected: Option<u32>| {
            let found = CpuSignature::of_qemu_type(name);
            assert_eq!(found.map(|signature| signature.0), expected, "{name}");
        };
        // EAX of CPUID leaf 1 of these processors.
        check("EPYC-v4", Some(0x0080_0f12));
        check("EPYC-Rome", Some(0x0083_0f10));
        check("EPYC-Milan-v2", Some(0x00a0_0f11));
        check("EPYC-Genoa", Some(0x00a1_0f10));
        check("EPYC-Turin", Some(0x00b0_0f00));
        check("EPYC-IBPB", Some(0x0080_0f12));
        check("EPYC-v", None);
        check("EPYC-Milan-vx", None);
        check("Opteron", None);
        assert_eq!(CpuSignature::new(6, 0xa, 3), CpuSignature(0x6a3));
    }
}
