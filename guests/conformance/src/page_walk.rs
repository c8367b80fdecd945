//! Page table walk (Intel SDM volume 3, section 5.5).

use core::fmt;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Translation of a linear address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The physical address.
    pub physical: u64,
    /// End of the page, exclusive, as a linear address.
    pub page_end: u64,
    /// Whether every level allows writes.
    pub writable: bool,
    /// Whether every level allows instruction fetches.
    pub executable: bool,
}

/// Why a range is not identity-mapped as required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingError {
    /// An entry is not present.
    NotPresent {
        /// The linear address.
        linear: u64,
        /// Level of the table: 1 for a page table, 4 for a PML4.
        level: u32,
    },
    /// The address maps to another physical address.
    WrongAddress {
        /// The linear address.
        linear: u64,
        /// The physical address.
        physical: u64,
    },
    /// The page is read-only.
    ReadOnly {
        /// The linear address.
        linear: u64,
    },
    /// The page is not executable.
    NoExecute {
        /// The linear address.
        linear: u64,
    },
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPresent { linear, level } => write!(f, "{linear:#x} not mapped at level {level}"),
            Self::WrongAddress { linear, physical } => write!(f, "{linear:#x} mapped to {physical:#x}"),
            Self::ReadOnly { linear } => write!(f, "{linear:#x} read-only"),
            Self::NoExecute { linear } => write!(f, "{linear:#x} not executable"),
        }
    }
}

/// A hierarchy of page tables.
#[derive(Clone, Copy, Debug)]
pub struct PageTables {
    /// Physical address of the top-level table.
    pub root: u64,
    /// Number of levels: 4, or 5 with `CR4.LA57`.
    pub levels: u32,
}

impl PageTables {
    /// The page tables for the values of `cr3` and `cr4` in 64-bit mode.
    #[must_use]
    pub const fn from_registers(cr3: u64, cr4: u64) -> Self {
        Self {
            root: cr3 & ADDRESS,
            levels: if cr4 & (1 << 12) == 0 { 4 } else { 5 },
        }
    }

    /// Translates `linear`; `read` reads eight bytes at a physical address.
    ///
    /// # Errors
    ///
    /// [`MappingError::NotPresent`].
    pub fn walk(self, linear: u64, read: &mut impl FnMut(u64) -> u64) -> Result<Mapping, MappingError> {
        let (mut table, mut writable, mut executable) = (self.root, true, true);
        let mut level = self.levels;
        loop {
            let shift = 12 + 9 * (level - 1);
            let entry = read(table + ((linear >> shift) & 511) * 8);
            if entry & PRESENT == 0 {
                return Err(MappingError::NotPresent { linear, level });
            }
            writable &= entry & WRITABLE != 0;
            executable &= entry & NO_EXECUTE == 0;
            if level == 1 || (level <= 3 && entry & LARGE != 0) {
                let offset = (1 << shift) - 1;
                return Ok(Mapping {
                    // Bit 12 of a large page entry is PAT, not part of the address.
                    physical: (entry & ADDRESS & !offset) | (linear & offset),
                    page_end: (linear | offset).wrapping_add(1),
                    writable,
                    executable,
                });
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    /// Checks that every byte of `start..end` is identity-mapped and writable, and executable if `code`.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn check_identity(
        self,
        (start, end): (u64, u64),
        code: bool,
        read: &mut impl FnMut(u64) -> u64,
    ) -> Result<(), MappingError> {
        let mut linear = start;
        while linear < end {
            let mapping = self.walk(linear, read)?;
            if mapping.physical != linear {
                return Err(MappingError::WrongAddress {
                    linear,
                    physical: mapping.physical,
                });
            }
            if !mapping.writable {
                return Err(MappingError::ReadOnly { linear });
            }
            if code && !mapping.executable {
                return Err(MappingError::NoExecute { linear });
            }
            if mapping.page_end <= linear {
                break;
            }
            linear = mapping.page_end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const PT: u64 = PRESENT | WRITABLE;

    /// 4-level tables: 0..2 MiB by small pages, 2..4 MiB by one large page, 1..2 GiB by one huge page.
    fn tables() -> HashMap<u64, u64> {
        let mut memory = HashMap::from([
            (0x1000, 0x2000 | PT),
            (0x2000, 0x3000 | PT),
            (0x2008, 0x4000_0000 | LARGE | PT),
            (0x3000, 0x4000 | PT),
            (0x3008, 0x20_0000 | 1 << 12 | LARGE | PT),
        ]);
        memory.extend((0..512).map(|page| (0x4000 + page * 8, page << 12 | PT)));
        memory
    }

    fn check(change: Option<(u64, u64)>, range: (u64, u64), expected: Result<(), MappingError>) {
        let mut memory = tables();
        memory.extend(change);
        let tables = PageTables::from_registers(0x1018, 1 << 5);
        let found = tables.check_identity(range, true, &mut |at| memory.get(&at).copied().unwrap_or(0));
        assert_eq!(found, expected, "{range:x?}");
    }

    #[test]
    fn violations_are_found() {
        check(None, (0, 0x40_0000), Ok(()));
        check(None, (0x4000_0123, 0x8000_0000), Ok(()));
        check(
            None,
            (0x3f_ffff, 0x40_0001),
            Err(MappingError::NotPresent {
                linear: 0x40_0000,
                level: 2,
            }),
        );
        check(
            None,
            (0x8000_0000, 0x8000_0001),
            Err(MappingError::NotPresent {
                linear: 0x8000_0000,
                level: 3,
            }),
        );
        check(
            None,
            (1 << 39, 1 << 40),
            Err(MappingError::NotPresent {
                linear: 1 << 39,
                level: 4,
            }),
        );
        check(
            Some((0x4008, 0)),
            (0x1000, 0x2000),
            Err(MappingError::NotPresent {
                linear: 0x1000,
                level: 1,
            }),
        );
        let elsewhere = MappingError::WrongAddress {
            linear: 0x1000,
            physical: 0x5000,
        };
        check(Some((0x4008, 0x5000 | PT)), (0, 0x3000), Err(elsewhere));
        check(
            Some((0x3000, 0x4000 | PRESENT)),
            (0x7, 0x8),
            Err(MappingError::ReadOnly { linear: 0x7 }),
        );
        let no_execute = MappingError::NoExecute { linear: 0x20_0000 };
        check(
            Some((0x3008, 0x20_0000 | LARGE | PT | NO_EXECUTE)),
            (0, 0x20_1000),
            Err(no_execute),
        );
    }

    #[test]
    fn five_levels_are_walked() {
        let mut memory = tables();
        memory.insert(0x9000, 0x1000 | PT);
        let tables = PageTables::from_registers(0x9000, 1 << 12);
        let mapping = tables.walk(0x1234, &mut |at| memory.get(&at).copied().unwrap_or(0));
        assert_eq!(mapping.map(|it| (it.physical, it.page_end)), Ok((0x1234, 0x2000)));
    }
}
