//! From the root pointer to the tables.

use alloc::vec;
use alloc::vec::Vec;

use boot_core::{GuestMemory, GuestRange};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::aml::Namespace;
use crate::error::{AcpiError, Signature, TableError};
use crate::fadt::Fadt;
use crate::raw::{RSDP_SIGNATURE, Rsdp, RsdpExtension, TableHeader};

/// Largest length of a table that is read, in bytes.
pub const MAX_TABLE_LEN: u32 = 1 << 20;

/// Largest number of tables that are read.
pub const MAX_TABLES: usize = 256;

/// The area of the BIOS in which the root pointer is on PCs (ACPI specification 6.5, section 5.2.5.1), and its alignment.
const BIOS_AREA: u64 = 0xe_0000;
const BIOS_AREA_LEN: usize = 0x2_0000;
const RSDP_ALIGN: usize = 16;

/// Length of a root pointer of revision 2.
const RSDP_LEN: u64 = 36;
const HEADER_LEN: u32 = 36;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Signature.
    pub signature: Signature,
    /// Physical address.
    pub addr: u64,
}

/// The tables of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acpi {
    rsdp: u64,
    revision: u8,
    /// The root pointer, and the table of addresses.
    roots: [Option<GuestRange>; 2],
    tables: Vec<Table>,
}

/// Searches the root pointer in the area of the BIOS, as on PCs without EFI; `None` if there is none, or the area cannot be read.
#[must_use]
pub fn find_rsdp(memory: &dyn GuestMemory) -> Option<u64> {
    let mut area = vec![0; BIOS_AREA_LEN];
    memory.read(BIOS_AREA, &mut area).ok()?;
    let mut places = (0..BIOS_AREA_LEN).step_by(RSDP_ALIGN);
    let offset = places.find(|at| {
        let root = at
            .checked_add(size_of::<Rsdp>())
            .and_then(|end| area.get(*at..end));
        root.is_some_and(|root| root.starts_with(&RSDP_SIGNATURE) && sum(root) == 0)
    })?;
    BIOS_AREA.checked_add(boot_core::arith::to_u64(offset))
}

impl Acpi {
    /// Reads the root pointer at `rsdp`, and the signatures of the tables that it leads to. Tables that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] if the root pointer, or its table of addresses, cannot be read or is malformed.
    pub fn read(memory: &dyn GuestMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let mut root = Rsdp::new_zeroed();
        read(memory, Signature::RSDP, rsdp, root.as_mut_bytes())?;
        let malformed = |source| AcpiError::Malformed {
            what: Signature::RSDP,
            addr: rsdp,
            source,
        };
        if root.signature != RSDP_SIGNATURE {
            let [a, b, c, d, ..] = root.signature;
            return Err(malformed(TableError::Signature(Signature([a, b, c, d]))));
        }
        match sum(root.as_bytes()) {
            0 => {}
            found => return Err(malformed(TableError::Checksum { found })),
        }
        let mut xsdt = 0;
        if root.revision >= 2 {
            let mut extension = RsdpExtension::new_zeroed();
            let after = rsdp.saturating_add(boot_core::arith::to_u64(size_of::<Rsdp>()));
            read(memory, Signature::RSDP, after, extension.as_mut_bytes())?;
            xsdt = extension.xsdt_address.get();
        }
        let (what, addr, width) = match xsdt {
            0 => (Signature::RSDT, root.rsdt_address.get().into(), 4),
            addr => (Signature::XSDT, addr, 8),
        };
        let list = table(memory, what, addr)?;
        let entries = list.get(size_of::<TableHeader>()..).unwrap_or_default();
        let mut tables = Vec::new();
        for entry in entries.chunks_exact(width).take(MAX_TABLES) {
            let mut bytes = [0; 8];
            if let Some(place) = bytes.get_mut(..width) {
                place.copy_from_slice(entry);
            }
            let addr = u64::from_le_bytes(bytes);
            let mut signature = [0; 4];
            if addr != 0 && memory.read(addr, &mut signature).is_ok() {
                let signature = Signature(signature);
                tables.push(Table { signature, addr });
            }
        }
        let len = if root.revision >= 2 {
            RSDP_LEN
        } else {
            boot_core::arith::to_u64(size_of::<Rsdp>())
        };
        Ok(Self {
            rsdp,
            revision: root.revision,
            roots: [GuestRange::new(rsdp, len), range(addr, &list)],
            tables,
        })
    }

    /// Revision of the root pointer: 0 for ACPI 1.0, otherwise 2 or more.
    #[must_use]
    pub const fn revision(&self) -> u8 {
        self.revision
    }

    /// Memory of the root pointer and of all tables that can be read, with the DSDT and the FACS of the FADT. The ranges may overlap.
    #[must_use]
    pub fn ranges(&self, memory: &dyn GuestMemory, fadt: Option<&Fadt>) -> Vec<GuestRange> {
        let further = fadt
            .map(|fadt| [fadt.dsdt, fadt.facs])
            .into_iter()
            .flatten()
            .flatten();
        let addresses = self.tables.iter().map(|table| table.addr).chain(further);
        let mut ranges: Vec<_> = self.roots.into_iter().flatten().collect();
        for addr in addresses {
            // Signature and length; the FACS has no more of the header.
            let mut header = [0; 8];
            if memory.read(addr, &mut header).is_ok() {
                let [_, _, _, _, len @ ..] = header;
                let len = u32::from_le_bytes(len).min(MAX_TABLE_LEN);
                ranges.extend(GuestRange::new(addr, len.into()));
            }
        }
        ranges
    }

    /// Physical address of the root pointer.
    #[must_use]
    pub const fn rsdp(&self) -> u64 {
        self.rsdp
    }

    /// The tables in their order. The DSDT is not among them: the FADT has its address.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The bytes of the first table with a signature; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] if it cannot be read or is malformed.
    pub fn table(
        &self,
        memory: &dyn GuestMemory,
        signature: Signature,
    ) -> Result<Option<Vec<u8>>, AcpiError> {
        let found = self.tables.iter().find(|table| table.signature == signature);
        found
            .map(|found| table(memory, signature, found.addr))
            .transpose()
    }

    /// The FADT; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] if it cannot be read or is malformed.
    pub fn fadt(&self, memory: &dyn GuestMemory) -> Result<Option<Fadt>, AcpiError> {
        let bytes = self.table(memory, Signature::FADT)?;
        Ok(bytes.map(|bytes| Fadt::parse(&bytes)))
    }

    /// The devices and states that the DSDT of the FADT and the SSDTs define. A table that cannot be read or is malformed is left out, and its
    /// error reported.
    pub fn namespace(
        &self,
        memory: &dyn GuestMemory,
        fadt: Option<&Fadt>,
        report: &mut dyn FnMut(&AcpiError),
    ) -> Namespace {
        let mut namespace = Namespace::default();
        let dsdt = fadt.and_then(|fadt| fadt.dsdt);
        let dsdt = dsdt.map(|addr| (Signature::DSDT, addr));
        let others = self
            .tables
            .iter()
            .filter(|table| table.signature == Signature::SSDT);
        for (signature, addr) in dsdt
            .into_iter()
            .chain(others.map(|table| (table.signature, table.addr)))
        {
            match table(memory, signature, addr) {
                Ok(bytes) => namespace.add(bytes.get(size_of::<TableHeader>()..).unwrap_or_default()),
                Err(error) => report(&error),
            }
        }
        namespace
    }
}

/// The memory of a table that was read.
fn range(addr: u64, bytes: &[u8]) -> Option<GuestRange> {
    GuestRange::new(addr, boot_core::arith::to_u64(bytes.len()))
}

/// Sum of bytes without carry.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn read(memory: &dyn GuestMemory, what: Signature, addr: u64, buf: &mut [u8]) -> Result<(), AcpiError> {
    memory
        .read(addr, buf)
        .map_err(|source| AcpiError::Unreadable { what, addr, source })
}

/// Reads the table at `addr`, and checks signature, length and checksum.
fn table(memory: &dyn GuestMemory, signature: Signature, addr: u64) -> Result<Vec<u8>, AcpiError> {
    let mut header = [0; 36];
    read(memory, signature, addr, &mut header)?;
    let malformed = |source| AcpiError::Malformed {
        what: signature,
        addr,
        source,
    };
    let raw = TableHeader::read_from_bytes(&header).unwrap_or_else(|_| TableHeader::new_zeroed());
    if raw.signature != signature.0 {
        return Err(malformed(TableError::Signature(Signature(raw.signature))));
    }
    let found = raw.length.get();
    if !(HEADER_LEN..=MAX_TABLE_LEN).contains(&found) {
        return Err(malformed(TableError::Length {
            found,
            min: HEADER_LEN,
            max: MAX_TABLE_LEN,
        }));
    }
    let mut bytes = vec![0; usize::try_from(found).unwrap_or_default()];
    read(memory, signature, addr, &mut bytes)?;
    match sum(&bytes) {
        0 => Ok(bytes),
        found => Err(malformed(TableError::Checksum { found })),
    }
}
