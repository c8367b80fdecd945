//! Entries of page tables, in the format of each scheme.

use bitflags::bitflags;

use crate::attributes::{Access, Attributes, MemoryType};
use crate::scheme::{PageSize, Scheme};

/// A decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing is mapped.
    Absent,
    /// The address of the table of the next lower level, and what its pages permit at most.
    Table { addr: u64, limit: Permissions },
    /// The address of a page, its permissions without those limits, and its memory type.
    Page {
        addr: u64,
        permissions: Permissions,
        memory: MemoryType,
    },
    /// An encoding that the architecture reserves, or that belongs to an extension (Svnapot, Svpbmt).
    Reserved,
}

bitflags! {
    /// Permissions of a page, or limits of those in a table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Permissions: u8 {
        const WRITE = 1 << 0;
        /// Access by user mode: a page without it belongs to the supervisor.
        const USER = 1 << 1;
        const USER_EXECUTE = 1 << 2;
        const SUPERVISOR_EXECUTE = 1 << 3;
        const COPY_ON_WRITE = 1 << 4;
        const EXECUTE = Self::USER_EXECUTE.bits() | Self::SUPERVISOR_EXECUTE.bits();
    }
}

impl Permissions {
    /// Those of the list whose condition holds.
    fn of<const N: usize>(list: [(bool, Self); N]) -> Self {
        list.into_iter()
            .filter_map(|(condition, permission)| condition.then_some(permission))
            .fold(Self::empty(), Self::union)
    }

    /// The access to a page with all limits applied.
    pub(crate) fn access(self) -> Access {
        let execute = if self.contains(Self::USER) {
            Self::USER_EXECUTE
        } else {
            Self::SUPERVISOR_EXECUTE
        };
        let mut access = Access::empty();
        access.set(Access::WRITE, self.contains(Self::WRITE));
        access.set(Access::USER, self.contains(Self::USER));
        access.set(Access::EXECUTE, self.contains(execute));
        let copies = self.contains(Self::COPY_ON_WRITE) && !self.contains(Self::WRITE);
        access.set(Access::COPY_ON_WRITE, copies);
        access
    }
}

/// Bits of entries of x86_64 (Intel SDM volume 3, tables 4-15 to 4-20).
mod x86_64 {
    pub(super) const P: u64 = 1 << 0;
    pub(super) const RW: u64 = 1 << 1;
    pub(super) const US: u64 = 1 << 2;
    pub(super) const PWT: u64 = 1 << 3;
    pub(super) const PCD: u64 = 1 << 4;
    pub(super) const A: u64 = 1 << 5;
    pub(super) const D: u64 = 1 << 6;
    pub(super) const PS: u64 = 1 << 7;
    /// The first of the bits that the CPU ignores.
    pub(super) const COPY: u64 = 1 << 9;
    pub(super) const XD: u64 = 1 << 63;
    /// Bits 51 to 12.
    pub(super) const ADDR: u64 = 0x000f_ffff_ffff_f000;
    /// Bit of the PAT index in an entry of a large page; the lowest bit of the address otherwise.
    pub(super) const PAT_LARGE: u64 = 1 << 12;
}

/// Bits of descriptors of arm64 (Arm ARM, D8.3.1 and D8.3.2).
mod arm64 {
    pub(super) const VALID: u64 = 1 << 0;
    /// A table, or at level 0 a page; otherwise a block.
    pub(super) const TABLE: u64 = 1 << 1;
    pub(super) const ATTR_DEVICE: u64 = 1 << 2;
    pub(super) const ATTR_INDEX: u64 = 0b111 << 2;
    pub(super) const AP_USER: u64 = 1 << 6;
    pub(super) const AP_READ_ONLY: u64 = 1 << 7;
    pub(super) const SH_INNER: u64 = 0b11 << 8;
    pub(super) const AF: u64 = 1 << 10;
    pub(super) const NOT_GLOBAL: u64 = 1 << 11;
    pub(super) const PXN: u64 = 1 << 53;
    pub(super) const UXN: u64 = 1 << 54;
    /// The first of the bits for software.
    pub(super) const COPY: u64 = 1 << 55;
    /// Limits of a table: no execution at EL1, none at EL0, no access at EL0, no writes.
    pub(super) const PXN_TABLE: u64 = 1 << 59;
    pub(super) const UXN_TABLE: u64 = 1 << 60;
    pub(super) const AP_TABLE_NO_USER: u64 = 1 << 61;
    pub(super) const AP_TABLE_READ_ONLY: u64 = 1 << 62;
    /// Bits 47 to 12.
    pub(super) const ADDR: u64 = 0x0000_ffff_ffff_f000;
}

/// Bits of entries of riscv64 (RISC-V Privileged Architecture, "Sv39").
mod riscv64 {
    pub(super) const V: u64 = 1 << 0;
    pub(super) const R: u64 = 1 << 1;
    pub(super) const W: u64 = 1 << 2;
    pub(super) const X: u64 = 1 << 3;
    pub(super) const U: u64 = 1 << 4;
    pub(super) const A: u64 = 1 << 6;
    pub(super) const D: u64 = 1 << 7;
    /// The lower bit of RSW, for software.
    pub(super) const COPY: u64 = 1 << 8;
    /// Bits 53 to 10.
    pub(super) const PPN: u64 = 0x003f_ffff_ffff_fc00;
    /// Bits 63 (Svnapot), 62 and 61 (Svpbmt), and the reserved ones.
    pub(super) const HIGH: u64 = 0xffc0_0000_0000_0000;
}

/// The bits of `flag` if `condition` holds.
const fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

impl Scheme {
    /// The entry that refers to the table at `addr`, which permits all access.
    pub(crate) const fn table_entry(self, addr: u64) -> u64 {
        match self {
            Self::X86_64 => addr | x86_64::P | x86_64::RW | x86_64::US | x86_64::A,
            Self::Arm64 => addr | arm64::VALID | arm64::TABLE,
            Self::Sv39 | Self::Sv48 => addr >> 2 | riscv64::V,
        }
    }

    /// The entry of `level` that maps the page at `addr`. The flags for accessed and written pages are set, so that no CPU has to.
    pub(crate) fn page_entry(self, level: u8, addr: u64, attributes: Attributes) -> u64 {
        let Attributes { access, memory } = attributes;
        let copy = access.contains(Access::COPY_ON_WRITE);
        let write = access.contains(Access::WRITE) && !copy;
        let execute = access.contains(Access::EXECUTE);
        let user = access.contains(Access::USER);
        let device = memory == MemoryType::Device;
        match self {
            Self::X86_64 => {
                use x86_64::{A, COPY, D, P, PCD, PS, PWT, RW, US, XD};
                addr | P
                    | A
                    | when(level > 0, PS)
                    // A written page that is not writable would be part of a shadow stack (4.6).
                    | when(write, RW | D)
                    | when(user, US)
                    | when(!execute, XD)
                    | when(device, PCD | PWT)
                    | when(copy, COPY)
            }
            Self::Arm64 => {
                use arm64::{
                    AF, AP_READ_ONLY, AP_USER, ATTR_DEVICE, COPY, NOT_GLOBAL, PXN, SH_INNER, TABLE, UXN,
                    VALID,
                };
                addr | VALID
                    | AF
                    | when(level == 0, TABLE)
                    | when(!write, AP_READ_ONLY)
                    | when(user, AP_USER | NOT_GLOBAL)
                    | when(user || !execute, PXN)
                    | when(!user || !execute, UXN)
                    | when(copy, COPY)
                    | if device { ATTR_DEVICE } else { SH_INNER }
            }
            Self::Sv39 | Self::Sv48 => {
                use riscv64::{A, COPY, D, R, U, V, W, X};
                addr >> 2
                    | V
                    | R
                    | A
                    | D
                    | when(write, W)
                    | when(execute, X)
                    | when(user, U)
                    | when(copy, COPY)
            }
        }
    }

    /// Decodes an entry of a table of `level`.
    pub(crate) fn decode(self, level: u8, entry: u64) -> Entry {
        match self {
            Self::X86_64 => decode_x86_64(level, entry),
            Self::Arm64 => decode_arm64(level, entry),
            Self::Sv39 | Self::Sv48 => decode_riscv64(level, entry),
        }
    }
}

/// A page of `level` at `addr`, which must have the alignment of its size.
fn page(level: u8, addr: u64, permissions: Permissions, is_device: bool) -> Entry {
    if addr & below(level) != 0 {
        return Entry::Reserved;
    }
    let memory = if is_device {
        MemoryType::Device
    } else {
        MemoryType::Normal
    };
    Entry::Page {
        addr,
        permissions,
        memory,
    }
}

/// The bits of an address below a page of `level`.
const fn below(level: u8) -> u64 {
    !(u64::MAX << Scheme::shift(level))
}

fn decode_x86_64(level: u8, entry: u64) -> Entry {
    use x86_64::{ADDR, COPY, P, PAT_LARGE, PCD, PS, RW, US, XD};
    if entry & P == 0 {
        return Entry::Absent;
    }
    let permissions = Permissions::of([
        (entry & RW != 0, Permissions::WRITE),
        (entry & US != 0, Permissions::USER),
        (entry & XD == 0, Permissions::EXECUTE),
        (entry & COPY != 0, Permissions::COPY_ON_WRITE),
    ]);
    let addr = entry & ADDR;
    if level == 0 {
        return page(level, addr, permissions, entry & PCD != 0);
    }
    if entry & PS == 0 {
        return Entry::Table {
            addr,
            limit: permissions | Permissions::COPY_ON_WRITE,
        };
    }
    if level > PageSize::Size1G.level() {
        return Entry::Reserved;
    }
    page(level, addr & !PAT_LARGE, permissions, entry & PCD != 0)
}

fn decode_arm64(level: u8, entry: u64) -> Entry {
    use arm64::{
        ADDR, AP_READ_ONLY, AP_TABLE_NO_USER, AP_TABLE_READ_ONLY, AP_USER, ATTR_INDEX, COPY, PXN, PXN_TABLE,
        TABLE, UXN, UXN_TABLE, VALID,
    };
    if entry & VALID == 0 {
        return Entry::Absent;
    }
    let addr = entry & ADDR;
    match (level, entry & TABLE != 0) {
        (0 | 3.., false) => Entry::Reserved,
        (1.., true) => Entry::Table {
            addr,
            limit: Permissions::of([
                (entry & AP_TABLE_READ_ONLY == 0, Permissions::WRITE),
                (entry & AP_TABLE_NO_USER == 0, Permissions::USER),
                (entry & UXN_TABLE == 0, Permissions::USER_EXECUTE),
                (entry & PXN_TABLE == 0, Permissions::SUPERVISOR_EXECUTE),
                (true, Permissions::COPY_ON_WRITE),
            ]),
        },
        _ => {
            let permissions = Permissions::of([
                (entry & AP_READ_ONLY == 0, Permissions::WRITE),
                (entry & AP_USER != 0, Permissions::USER),
                (entry & UXN == 0, Permissions::USER_EXECUTE),
                (entry & PXN == 0, Permissions::SUPERVISOR_EXECUTE),
                (entry & COPY != 0, Permissions::COPY_ON_WRITE),
            ]);
            // The bits below the address of a block are not part of it.
            page(level, addr & !below(level), permissions, entry & ATTR_INDEX != 0)
        }
    }
}

fn decode_riscv64(level: u8, entry: u64) -> Entry {
    use riscv64::{A, COPY, D, HIGH, PPN, R, U, V, W, X};
    if entry & V == 0 {
        return Entry::Absent;
    }
    if entry & HIGH != 0 || entry & (R | W) == W {
        return Entry::Reserved;
    }
    let addr = (entry & PPN) << 2;
    if entry & (R | W | X) != 0 {
        let permissions = Permissions::of([
            (entry & W != 0, Permissions::WRITE),
            (entry & U != 0, Permissions::USER),
            (entry & X != 0, Permissions::EXECUTE),
            (entry & COPY != 0, Permissions::COPY_ON_WRITE),
        ]);
        return page(level, addr, permissions, false);
    }
    if level == 0 || entry & (A | D | U) != 0 {
        return Entry::Reserved;
    }
    Entry::Table {
        addr,
        limit: Permissions::all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Attributes = Attributes::normal(Access::WRITE);
    const RX: Attributes = Attributes::normal(Access::EXECUTE);
    const USER_RX: Attributes = Attributes::normal(Access::EXECUTE.union(Access::USER));
    const USER_RW: Attributes = Attributes::normal(Access::WRITE.union(Access::USER));

    #[test]
    fn pages_that_are_copied_at_a_write() {
        let copy = Attributes::normal(Access::COPY_ON_WRITE);
        for (scheme, flag, read_only) in [
            (Scheme::X86_64, 1 << 9, 0x8000_0000_8020_1021),
            (Scheme::Arm64, 1 << 55, 0x0060_0000_8020_1783),
            (Scheme::Sv39, 1 << 8, 0x2008_04c3),
            (Scheme::Sv48, 1 << 8, 0x2008_04c3),
        ] {
            let entry = scheme.page_entry(0, 0x8020_1000, copy);
            assert_eq!(entry, read_only | flag, "{scheme:?}");
            let both = Attributes::normal(Access::COPY_ON_WRITE | Access::WRITE);
            assert_eq!(scheme.page_entry(0, 0x8020_1000, both), entry, "{scheme:?}");
            let access = |entry| match scheme.decode(0, entry) {
                Entry::Page { permissions, .. } => permissions.access(),
                other => panic!("{other:?}"),
            };
            assert_eq!(access(entry), Access::COPY_ON_WRITE, "{scheme:?}");
            assert_eq!(access(read_only), Access::empty(), "{scheme:?}");
            // The flag of a page that is writable has no meaning.
            let writable = scheme.page_entry(0, 0x8020_1000, RW) | flag;
            assert_eq!(access(writable), Access::WRITE, "{scheme:?}");
            // That of a table neither.
            match scheme.decode(1, scheme.table_entry(0x1000)) {
                Entry::Table { limit, .. } => assert!(limit.contains(Permissions::COPY_ON_WRITE)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Checks entries of pages of 4 KiB at 0x8020_1000 and of 2 MiB at 0x8020_0000.
    fn check(scheme: Scheme, expected: &[(Attributes, u64, u64)]) {
        for &(attributes, small, large) in expected {
            assert_eq!(
                scheme.page_entry(0, 0x8020_1000, attributes),
                small,
                "{attributes:?}"
            );
            assert_eq!(
                scheme.page_entry(1, 0x8020_0000, attributes),
                large,
                "{attributes:?}"
            );
        }
    }

    #[test]
    fn pages_of_x86_64() {
        // Tables 4-20 and 4-18 of the SDM: P, RW, US, PWT, PCD, A, D, PS are bits 0 to 7, XD bit 63.
        check(
            Scheme::X86_64,
            &[
                (RW, 0x8000_0000_8020_1063, 0x8000_0000_8020_00e3),
                (RX, 0x8020_1021, 0x8020_00a1),
                (USER_RX, 0x8020_1025, 0x8020_00a5),
                (Attributes::DEVICE, 0x8000_0000_8020_107b, 0x8000_0000_8020_00fb),
            ],
        );
        assert_eq!(Scheme::X86_64.table_entry(0x1000), 0x1027);
    }

    #[test]
    fn pages_of_arm64() {
        // D8.3.2: AF bit 10, SH bits 9:8, AP bits 7:6, AttrIndx bits 4:2, UXN bit 54, PXN bit 53, nG bit 11.
        check(
            Scheme::Arm64,
            &[
                (RW, 0x0060_0000_8020_1703, 0x0060_0000_8020_0701),
                (RX, 0x0040_0000_8020_1783, 0x0040_0000_8020_0781),
                (USER_RX, 0x0020_0000_8020_1fc3, 0x0020_0000_8020_0fc1),
                (USER_RW, 0x0060_0000_8020_1f43, 0x0060_0000_8020_0f41),
                (Attributes::DEVICE, 0x0060_0000_8020_1407, 0x0060_0000_8020_0405),
            ],
        );
        assert_eq!(Scheme::Arm64.table_entry(0x1000), 0x1003);
    }

    #[test]
    fn pages_of_riscv64() {
        // The PPN is in bits 53:10; V, R, W, X, U, G, A, D are bits 0 to 7.
        for scheme in [Scheme::Sv39, Scheme::Sv48] {
            check(
                scheme,
                &[
                    (RW, 0x2008_04c7, 0x2008_00c7),
                    (RX, 0x2008_04cb, 0x2008_00cb),
                    (USER_RX, 0x2008_04db, 0x2008_00db),
                    (Attributes::DEVICE, 0x2008_04c7, 0x2008_00c7),
                ],
            );
            assert_eq!(scheme.table_entry(0x1000), 0x401);
        }
    }

    #[test]
    fn reserved_encodings() {
        for (scheme, level, entry) in [
            // PS in a PML4 entry; a large page that is not aligned.
            (Scheme::X86_64, 3, 0x0000_0081),
            (Scheme::X86_64, 1, 0x0010_2081),
            // A block at level 0 of this crate (3 of the architecture) and at the root.
            (Scheme::Arm64, 0, 0x0000_0401),
            (Scheme::Arm64, 3, 0x0000_0401),
            // W without R; a table at level 0; D, A or U of a table; a misaligned large page; PBMT, N.
            (Scheme::Sv39, 0, 0x05),
            (Scheme::Sv39, 0, 0x401),
            (Scheme::Sv39, 1, 0x481),
            (Scheme::Sv39, 1, 0x441),
            (Scheme::Sv39, 1, 0x411),
            (Scheme::Sv39, 1, 0x403),
            (Scheme::Sv48, 0, 1 << 61 | 0x03),
            (Scheme::Sv48, 0, 1 << 63 | 0x03),
            (Scheme::Sv48, 3, 0x403),
        ] {
            assert_eq!(
                scheme.decode(level, entry),
                Entry::Reserved,
                "{scheme:?} {level} {entry:#x}"
            );
        }
        for scheme in Scheme::ALL {
            assert_eq!(scheme.decode(0, 0xffff_fffe), Entry::Absent);
        }
    }

    #[test]
    fn bits_below_a_large_page_are_no_address() {
        for (scheme, entry) in [
            // The highest bit of the PAT index.
            (Scheme::X86_64, 0x8020_1083),
            // nT and others.
            (Scheme::Arm64, 0x8021_1401),
        ] {
            let Entry::Page { addr, .. } = scheme.decode(1, entry) else {
                panic!("{scheme:?}: not a page");
            };
            assert_eq!(addr, 0x8020_0000);
        }
    }

    #[test]
    fn sv48_has_pages_of_512_gib() {
        let addr = 3 << 39;
        let entry = Scheme::Sv48.page_entry(3, addr, RW);
        assert_eq!(entry, 3 << 37 | 0xc7);
        let expected = Entry::Page {
            addr,
            permissions: Permissions::WRITE,
            memory: MemoryType::Normal,
        };
        assert_eq!(Scheme::Sv48.decode(3, entry), expected);
    }

    #[test]
    fn a_table_limits_its_pages() {
        let limit = |scheme: Scheme, entry| match scheme.decode(2, entry) {
            Entry::Table { limit, .. } => limit,
            other => panic!("{other:?}"),
        };
        let page = |scheme: Scheme, attributes| match scheme.decode(0, scheme.page_entry(0, 0, attributes)) {
            Entry::Page { permissions, .. } => permissions,
            other => panic!("{other:?}"),
        };
        for (scheme, entry, attributes, expected) in [
            (Scheme::X86_64, 0x1005, USER_RW, Access::USER),
            (Scheme::X86_64, 0x1003, USER_RW, Access::WRITE),
            (Scheme::X86_64, 1 << 63 | 0x1007, USER_RX, Access::USER),
            (Scheme::Arm64, 1 << 62 | 0x1003, USER_RW, Access::USER),
            (Scheme::Arm64, 1 << 61 | 0x1003, USER_RW, Access::WRITE),
            // Without user access, the page is the supervisor's, which may not execute it.
            (Scheme::Arm64, 1 << 61 | 0x1003, USER_RX, Access::empty()),
            (Scheme::Arm64, 1 << 60 | 0x1003, USER_RX, Access::USER),
            (Scheme::Arm64, 1 << 60 | 0x1003, RX, Access::EXECUTE),
            (Scheme::Arm64, 1 << 59 | 0x1003, RX, Access::empty()),
            (Scheme::Sv39, 0x401, USER_RX, Access::USER | Access::EXECUTE),
        ] {
            let access = (limit(scheme, entry) & page(scheme, attributes)).access();
            assert_eq!(access, expected, "{scheme:?} {entry:#x} {attributes:?}");
        }
    }
}
