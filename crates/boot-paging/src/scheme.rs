//! Translation schemes and page sizes.

use core::fmt;

/// Number of entries of a table.
pub(crate) const ENTRIES: usize = 512;

/// The physical page number in `satp`.
const PPN: u64 = 0x0fff_ffff_ffff;

/// A format of page tables, and the width of its addresses. All have tables of 4 KiB with 512 entries of 8 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// 4-level paging of x86_64 (Intel SDM volume 3, 4.5). Needs `CR4.PAE`, `EFER.LME` and `EFER.NXE`, and `CR4.LA57` clear.
    X86_64,
    /// Stage 1 of arm64's VMSAv8-64 with a granule of 4 KiB and virtual addresses of 48 bits (`TCR_EL1.T0SZ` = 16), for the
    /// translation regime of EL1 and EL0 (Arm ARM, D8.3). Memory types need [`MAIR_EL1`](crate::MAIR_EL1).
    Arm64,
    /// Sv39 of riscv64 (RISC-V Privileged Architecture, "Sv39").
    Sv39,
    /// Sv48 of riscv64 (RISC-V Privileged Architecture, "Sv48").
    Sv48,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::Arm64, Self::Sv39, Self::Sv48];

    /// Number of levels of tables: 3 for Sv39, 4 otherwise. Level 0 is that of 4 KiB pages, as in the RISC-V specification.
    #[must_use]
    pub const fn levels(self) -> u8 {
        match self {
            Self::X86_64 | Self::Arm64 | Self::Sv48 => 4,
            Self::Sv39 => 3,
        }
    }

    /// Width of a virtual address in bits.
    #[must_use]
    pub const fn virtual_bits(self) -> u32 {
        match self {
            Self::X86_64 | Self::Arm64 | Self::Sv48 => 48,
            Self::Sv39 => 39,
        }
    }

    /// Width of a physical address in the entries, in bits. A CPU may support less.
    #[must_use]
    pub const fn physical_bits(self) -> u32 {
        match self {
            Self::X86_64 => 52,
            Self::Arm64 => 48,
            Self::Sv39 | Self::Sv48 => 56,
        }
    }

    /// The largest page size: 1 GiB, or 512 GiB of Sv48.
    #[must_use]
    pub const fn max_page_size(self) -> PageSize {
        match self {
            Self::X86_64 | Self::Arm64 | Self::Sv39 => PageSize::Size1G,
            Self::Sv48 => PageSize::Size512G,
        }
    }

    /// The physical address of the root table in a value of the register that refers to it: `CR3`, `TTBR0_EL1` or `satp`,
    /// without PCID or ASID. `None` if the mode of `satp` is not this scheme.
    #[must_use]
    pub const fn root(self, register: u64) -> Option<u64> {
        match self {
            Self::X86_64 => Some(register & 0x000f_ffff_ffff_f000),
            Self::Arm64 => Some(register & 0x0000_ffff_ffff_f000),
            Self::Sv39 if register >> 60 == 8 => Some((register & PPN) << 12),
            Self::Sv48 if register >> 60 == 9 => Some((register & PPN) << 12),
            Self::Sv39 | Self::Sv48 => None,
        }
    }

    /// Whether `virt` can be translated: the bits above the width equal the highest bit of the width, and on arm64, whose upper
    /// half belongs to `TTBR1_EL1`, they are zero.
    #[must_use]
    pub const fn is_canonical(self, virt: u64) -> bool {
        self.sign_extend(virt & self.virtual_mask()) == virt
    }

    /// Number of bits of a virtual address below the index of its entry in a table of `level`.
    pub(crate) const fn shift(level: u8) -> u32 {
        match level {
            0 => 12,
            1 => 21,
            2 => 30,
            _ => 39,
        }
    }

    /// The bits of a virtual address within the width.
    pub(crate) const fn virtual_mask(self) -> u64 {
        !(u64::MAX << self.virtual_bits())
    }

    /// A virtual address from the bits within the width: those above are copies of the highest one, or zero on arm64.
    pub(crate) const fn sign_extend(self, virt: u64) -> u64 {
        let mask = self.virtual_mask();
        let is_upper = !matches!(self, Self::Arm64) && virt > mask >> 1;
        if is_upper { virt | !mask } else { virt }
    }
}

/// Size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageSize {
    /// 4 KiB.
    Size4K,
    /// 2 MiB.
    Size2M,
    /// 1 GiB. On x86_64 only CPUs with the feature `pdpe1gb` have it.
    Size1G,
    /// 512 GiB, of Sv48 only.
    Size512G,
}

impl PageSize {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << Scheme::shift(self.level())
    }

    /// The level of the entries that map pages of this size.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Size4K => 0,
            Self::Size2M => 1,
            Self::Size1G => 2,
            Self::Size512G => 3,
        }
    }

    /// The page size of the entries of `level`, at most 3.
    pub(crate) const fn of_level(level: u8) -> Self {
        match level {
            0 => Self::Size4K,
            1 => Self::Size2M,
            2 => Self::Size1G,
            _ => Self::Size512G,
        }
    }
}

/// Such as `2 MiB`.
impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size4K => "4 KiB",
            Self::Size2M => "2 MiB",
            Self::Size1G => "1 GiB",
            Self::Size512G => "512 GiB",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_of_each_scheme() {
        let (low48, high48) = (0x7fff_ffff_ffff, 0xffff_8000_0000_0000);
        for scheme in [Scheme::X86_64, Scheme::Sv48] {
            assert!(scheme.is_canonical(low48) && scheme.is_canonical(high48));
            assert!(!scheme.is_canonical(low48 + 1) && !scheme.is_canonical(high48 - 1));
        }
        assert!(Scheme::Arm64.is_canonical(0xffff_ffff_ffff));
        assert!(!Scheme::Arm64.is_canonical(1 << 48) && !Scheme::Arm64.is_canonical(high48));
        assert!(
            Scheme::Sv39.is_canonical(0x3f_ffff_ffff) && Scheme::Sv39.is_canonical(0xffff_ffc0_0000_0000)
        );
        assert!(!Scheme::Sv39.is_canonical(0x40_0000_0000) && !Scheme::Sv39.is_canonical(low48));
    }

    #[test]
    fn an_extended_address_is_canonical_and_keeps_its_low_bits() {
        for scheme in Scheme::ALL {
            for virt in [0, 0x1000, 0x3f_ffff_f000, 0x40_0000_0000, 0x7f_ffff_f000] {
                let extended = scheme.sign_extend(virt);
                assert!(scheme.is_canonical(extended), "{scheme:?} {virt:#x}");
                assert_eq!(extended << (64 - 39), virt << (64 - 39));
            }
        }
    }

    #[test]
    fn roots_of_registers() {
        let root = Some(0x8_8020_1000);
        for (scheme, register, expected) in [
            (Scheme::X86_64, 0x8_8020_1fff, root),
            (Scheme::X86_64, 1 << 63 | 0x8_8020_1018, root),
            (Scheme::Arm64, 0x1234_0008_8020_1001, root),
            (Scheme::Sv39, 0x8123_4000_0088_0201, root),
            (Scheme::Sv48, 0x9fff_f000_0088_0201, root),
            (Scheme::Sv39, 0x9000_0000_0088_0201, None),
            (Scheme::Sv48, 0x0000_0000_0088_0201, None),
        ] {
            assert_eq!(scheme.root(register), expected, "{scheme:?} {register:#x}");
        }
    }

    #[test]
    fn page_sizes_are_those_of_their_levels() {
        for (size, bytes, text) in [
            (PageSize::Size4K, 0x1000, "4 KiB"),
            (PageSize::Size2M, 0x20_0000, "2 MiB"),
            (PageSize::Size1G, 0x4000_0000, "1 GiB"),
            (PageSize::Size512G, 0x80_0000_0000, "512 GiB"),
        ] {
            assert_eq!(size.bytes(), bytes);
            assert_eq!(PageSize::of_level(size.level()), size);
            assert_eq!(std::string::ToString::to_string(&size), text);
        }
    }
}
