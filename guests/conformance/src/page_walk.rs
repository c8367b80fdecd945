//! Reads page tables the way the CPU does (Intel SDM volume 3, section 5.5).

use core::fmt;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The physical address.
    pub physical: u64,
    /// First linear address past the page it is in.
    pub page_end: u64,
    /// Whether every level allows writing.
    pub writable: bool,
    /// Whether every level allows fetching code.
    pub executable: bool,
}

/// What keeps a range from being mapped to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An entry is not present.
    Missing {
        /// The linear address.
        linear: u64,
        /// The table's level: 1 for a page table, 4 for a PML4.
        level: u32,
    },
    /// The address leads elsewhere.
    Elsewhere {
        /// The linear address.
        linear: u64,
        /// The physical address it leads to.
        physical: u64,
    },
    /// The page is read-only.
    ReadOnly {
        /// The linear address.
        linear: u64,
    },
    /// The page must not be executed.
    NoExecute {
        /// The linear address.
        linear: u64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { linear, level } => write!(f, "{linear:#x} not mapped at level {level}"),
            Self::Elsewhere { linear, physical } => write!(f, "{linear:#x} mapped to {physical:#x}"),
            Self::ReadOnly { linear } => write!(f, "{linear:#x} read-only"),
            Self::NoExecute { linear } => write!(f, "{linear:#x} not executable"),
        }
    }
}

/// A set of page tables.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// Physical address of the top table.
    pub root: u64,
    /// 4, or 5 with `CR4.LA57`.
    pub levels: u32,
}

impl Tables {
    /// The tables that `cr3` and `cr4` select in 64-bit mode.
    #[must_use]
    pub const fn of_registers(cr3: u64, cr4: u64) -> Self {
        Self {
            root: cr3 & ADDRESS,
            levels: if cr4 & (1 << 12) == 0 { 4 } else { 5 },
        }
    }

    /// Follows `linear` down; `read` answers the eight bytes at a physical address.
    ///
    /// # Errors
    ///
    /// [`Flaw::Missing`].
    pub fn walk(self, linear: u64, read: &mut impl FnMut(u64) -> u64) -> Result<Mapping, Flaw> {
        let (mut table, mut writable, mut executable) = (self.root, true, true);
        let mut level = self.levels;
        loop {
            let shift = 12 + 9 * (level - 1);
            let entry = read(table + ((linear >> shift) & 511) * 8);
            if entry & PRESENT == 0 {
                return Err(Flaw::Missing { linear, level });
            }
            writable &= entry & WRITABLE != 0;
            executable &= entry & NO_EXECUTE == 0;
            if level == 1 || (level <= 3 && entry & LARGE != 0) {
                let offset = (1 << shift) - 1;
                return Ok(Mapping {
                    // Bit 12 of a large page's entry is its memory type, not address.
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

    /// Checks that every byte of `start..end` is mapped to itself and writable, and executable if `code`.
    ///
    /// # Errors
    ///
    /// The first flaw.
    pub fn identity(
        self,
        (start, end): (u64, u64),
        code: bool,
        read: &mut impl FnMut(u64) -> u64,
    ) -> Result<(), Flaw> {
        let mut linear = start;
        while linear < end {
            let mapping = self.walk(linear, read)?;
            if mapping.physical != linear {
                return Err(Flaw::Elsewhere {
                    linear,
                    physical: mapping.physical,
                });
            }
            if !mapping.writable {
                return Err(Flaw::ReadOnly { linear });
            }
            if code && !mapping.executable {
                return Err(Flaw::NoExecute { linear });
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

    fn check(change: Option<(u64, u64)>, range: (u64, u64), expected: Result<(), Flaw>) {
        let mut memory = tables();
        memory.extend(change);
        let tables = Tables::of_registers(0x1018, 1 << 5);
        let found = tables.identity(range, true, &mut |at| memory.get(&at).copied().unwrap_or(0));
        assert_eq!(found, expected, "{range:x?}");
    }

    #[test]
    fn flaws_are_found() {
        check(None, (0, 0x40_0000), Ok(()));
        check(None, (0x4000_0123, 0x8000_0000), Ok(()));
        check(
            None,
            (0x3f_ffff, 0x40_0001),
            Err(Flaw::Missing {
                linear: 0x40_0000,
                level: 2,
            }),
        );
        check(
            None,
            (0x8000_0000, 0x8000_0001),
            Err(Flaw::Missing {
                linear: 0x8000_0000,
                level: 3,
            }),
        );
        check(
            None,
            (1 << 39, 1 << 40),
            Err(Flaw::Missing {
                linear: 1 << 39,
                level: 4,
            }),
        );
        check(
            Some((0x4008, 0)),
            (0x1000, 0x2000),
            Err(Flaw::Missing {
                linear: 0x1000,
                level: 1,
            }),
        );
        let elsewhere = Flaw::Elsewhere {
            linear: 0x1000,
            physical: 0x5000,
        };
        check(Some((0x4008, 0x5000 | PT)), (0, 0x3000), Err(elsewhere));
        check(
            Some((0x3000, 0x4000 | PRESENT)),
            (0x7, 0x8),
            Err(Flaw::ReadOnly { linear: 0x7 }),
        );
        let no_execute = Flaw::NoExecute { linear: 0x20_0000 };
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
        let tables = Tables::of_registers(0x9000, 1 << 12);
        let mapping = tables.walk(0x1234, &mut |at| memory.get(&at).copied().unwrap_or(0));
        assert_eq!(mapping.map(|it| (it.physical, it.page_end)), Ok((0x1234, 0x2000)));
    }
}
