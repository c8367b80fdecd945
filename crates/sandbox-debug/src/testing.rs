//! Guest memory for tests.

use boot_core::GuestRange;
use boot_paging::{Access, Attributes, Mapping, PageTables, Scheme};

use crate::memory::{AddressSpace, PhysicalMemory};

/// Guest memory in a vector.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    start: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) space: AddressSpace,
}

/// Physical address of the page tables.
const TABLES: u64 = 0x8_0000;

impl Machine {
    /// Zeroed memory without page tables.
    pub(crate) fn flat(start: u64, len: usize) -> Self {
        Self {
            start,
            bytes: vec![0; len],
            space: AddressSpace::Physical,
        }
    }

    /// Memory from 0 to 1 MiB, with page tables for mappings (virtual address, physical address, length, access).
    pub(crate) fn paged(scheme: Scheme, mappings: &[(u64, u64, u64, Access)]) -> Self {
        let mut tables = PageTables::new(scheme, TABLES, 16).unwrap();
        for &(virt, phys, len, access) in mappings {
            tables
                .map(&Mapping {
                    virt,
                    phys,
                    len,
                    attributes: Attributes::normal(access),
                })
                .unwrap();
        }
        let mut machine = Self::flat(0, 0x10_0000);
        machine.write(TABLES, &tables.to_bytes());
        machine.space = AddressSpace::Paged { scheme, root: TABLES };
        machine
    }

    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
        let at = usize::try_from(address - self.start).unwrap();
        self.bytes[at..][..bytes.len()].copy_from_slice(bytes);
    }
}

impl PhysicalMemory for Machine {
    fn ranges(&self) -> Vec<GuestRange> {
        let len = u64::try_from(self.bytes.len()).unwrap();
        vec![GuestRange::new(self.start, len).unwrap()]
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let found = address
            .checked_sub(self.start)
            .and_then(|at| self.bytes.get(usize::try_from(at).unwrap()..))
            .and_then(|rest| rest.get(..bytes.len()));
        if let Some(found) = found {
            bytes.copy_from_slice(found);
        }
        found.is_some()
    }
}
