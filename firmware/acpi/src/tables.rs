//! From the RSDP to the tables.

use alloc::vec;
use alloc::vec::Vec;

use boot_core::{GuestMemory, GuestRange};

use crate::aml;
use crate::error::AcpiError;
use crate::fadt::Fadt;

/// Length of the RSDP of ACPI 1.0, and of later ones.
const RSDP_LEN: usize = 20;
const RSDP2_LEN: usize = 36;
/// Length of the header of a table.
const HEADER_LEN: u64 = 36;
/// Largest length of a table that is read.
const MAX_LEN: u64 = 1 << 20;
/// Number of tables that are looked at.
const MAX_TABLES: usize = 256;

/// What the firmware uses of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tables {
    /// Revision of the RSDP: 0 for ACPI 1.0, 2 for later versions.
    pub revision: u8,
    /// Registers of the machine.
    pub fadt: Fadt,
    /// `SLP_TYPa` and `SLP_TYPb` of the state S5.
    pub sleep_types: Option<[u8; 2]>,
    /// Registers of virtio devices.
    pub virtio_mmio: Vec<GuestRange>,
    /// Memory of the tables.
    pub ranges: Vec<GuestRange>,
}

/// Reads tables, and takes notes of their memory.
struct Reader<'a> {
    memory: &'a dyn GuestMemory,
    ranges: Vec<GuestRange>,
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn check_sum(what: &'static str, addr: u64, bytes: &[u8]) -> Result<(), AcpiError> {
    match sum(bytes) {
        0 => Ok(()),
        sum => Err(AcpiError::Checksum { what, addr, sum }),
    }
}

impl Reader<'_> {
    fn read(&self, what: &'static str, addr: u64, buf: &mut [u8]) -> Result<(), AcpiError> {
        let read = self.memory.read(addr, buf);
        read.map_err(|source| AcpiError::Read { what, addr, source })
    }

    /// The signature and the length of the table at an address.
    fn header(&mut self, what: &'static str, addr: u64) -> Result<([u8; 4], u64), AcpiError> {
        let mut header = [0; 8];
        self.read(what, addr, &mut header)?;
        let [a, b, c, d, len @ ..] = header;
        let len = u64::from(u32::from_le_bytes(len));
        let (min, max) = (HEADER_LEN, MAX_LEN);
        if !(min..=max).contains(&len) {
            return Err(AcpiError::Length {
                what,
                addr,
                len,
                min,
                max,
            });
        }
        self.ranges.extend(GuestRange::new(addr, len));
        Ok(([a, b, c, d], len))
    }

    /// The bytes of the table at an address.
    fn table(&mut self, what: &'static str, signature: [u8; 4], addr: u64) -> Result<Vec<u8>, AcpiError> {
        let (found, len) = self.header(what, addr)?;
        if found != signature {
            return Err(AcpiError::Signature { what, addr, found });
        }
        let mut table = vec![0; usize::try_from(len).unwrap_or_default()];
        self.read(what, addr, &mut table)?;
        check_sum(what, addr, &table)?;
        Ok(table)
    }
}

impl Tables {
    /// Reads the tables of the RSDP at a physical address.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] if RSDP, RSDT, XSDT or FADT are missing or malformed. A DSDT that cannot be read counts as empty.
    pub fn read(memory: &dyn GuestMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let mut reader = Reader {
            memory,
            ranges: Vec::new(),
        };
        let what = "RSDP";
        let mut bytes = [0; RSDP2_LEN];
        let (first, rest) = bytes.split_at_mut(RSDP_LEN);
        reader.read(what, rsdp, first)?;
        if !first.starts_with(b"RSD PTR ") {
            let found = first.first_chunk().copied().unwrap_or_default();
            let addr = rsdp;
            return Err(AcpiError::Signature { what, addr, found });
        }
        check_sum(what, rsdp, first)?;
        let revision = first.get(15).copied().unwrap_or_default();
        let mut len = RSDP_LEN;
        if revision >= 2 {
            reader.read(what, rsdp.saturating_add(20), rest)?;
            len = RSDP2_LEN;
            check_sum(what, rsdp, &bytes)?;
        }
        let number = |offset: usize| bytes.get(offset..)?.first_chunk().copied();
        let xsdt = bytes.get(24..).and_then(|rest| rest.first_chunk().copied());
        let xsdt = xsdt.map_or(0, u64::from_le_bytes);
        let rsdt = number(16).map_or(0, u32::from_le_bytes);
        reader
            .ranges
            .extend(GuestRange::new(rsdp, u64::try_from(len).unwrap_or_default()));
        let (table, entry_len) = if xsdt == 0 {
            (reader.table("RSDT", *b"RSDT", rsdt.into())?, 4)
        } else {
            (reader.table("XSDT", *b"XSDT", xsdt)?, 8)
        };
        let entries = table.get(36..).unwrap_or(&[]).chunks_exact(entry_len);
        let mut fadt = None;
        for entry in entries.take(MAX_TABLES) {
            let mut addr = [0; 8];
            for (target, byte) in addr.iter_mut().zip(entry) {
                *target = *byte;
            }
            let addr = u64::from_le_bytes(addr);
            // A table that cannot be read is left out, as operating systems do.
            if let Ok((signature, _)) = reader.header("table", addr)
                && signature == *b"FACP"
            {
                fadt = Some(addr);
            }
        }
        let fadt = fadt.ok_or(AcpiError::NoFadt)?;
        let fadt = Fadt::parse(&reader.table("FADT", *b"FACP", fadt)?);
        let dsdt = fadt
            .dsdt
            .and_then(|addr| reader.table("DSDT", *b"DSDT", addr).ok());
        let aml = dsdt.as_deref().and_then(|table| table.get(36..)).unwrap_or(&[]);
        Ok(Self {
            revision,
            fadt,
            sleep_types: aml::sleep_types(aml),
            virtio_mmio: aml::virtio_mmio(aml),
            ranges: reader.ranges,
        })
    }
}

#[cfg(test)]
mod tests {
    use boot_core::SliceMemory;

    use super::*;

    fn seal(mut table: Vec<u8>, place: usize) -> Vec<u8> {
        table[place] = 0;
        table[place] = 0_u8.wrapping_sub(sum(&table));
        table
    }

    fn table(signature: [u8; 4], content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(36 + content.len()).unwrap();
        let mut table = [&signature[..], &len.to_le_bytes(), &[0; 28], content].concat();
        table[8] = 1;
        seal(table, 9)
    }

    const BASE: u64 = 0x1_0000;

    /// RSDP at 0, XSDT or RSDT at 0x100, another table at 0x200, FADT at 0x300, DSDT at 0x500.
    fn image(revision: u8, aml: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        let mut put =
            |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
        let at = |offset: u64| BASE + offset;
        let short = |addr: u64| u32::try_from(addr).unwrap().to_le_bytes();
        let mut rsdp = [&b"RSD PTR "[..], &[0; 7], &[revision], &short(at(0x100))].concat();
        rsdp = seal(rsdp, 8);
        if revision >= 2 {
            rsdp.extend([36, 0, 0, 0]);
            rsdp.extend(at(0x100).to_le_bytes());
            rsdp.extend([0; 4]);
            rsdp = seal(rsdp, 32);
        }
        put(0, &rsdp);
        let entries = [at(0x200), at(0x300)];
        if revision >= 2 {
            put(
                0x100,
                &table(*b"XSDT", entries.map(u64::to_le_bytes).as_flattened()),
            );
        } else {
            put(0x100, &table(*b"RSDT", entries.map(short).as_flattened()));
        }
        put(0x200, &table(*b"APIC", &[1, 2, 3]));
        let mut fadt = vec![0; 240];
        fadt[4..8].copy_from_slice(&short(at(0x500)));
        fadt[28..32].copy_from_slice(&[4, 6, 0, 0]);
        put(0x300, &table(*b"FACP", &fadt));
        put(0x500, &table(*b"DSDT", aml));
        image
    }

    fn read(image: &mut [u8]) -> Result<Tables, AcpiError> {
        let mut memory = SliceMemory::new();
        memory.add(BASE, image).unwrap();
        Tables::read(&memory, BASE)
    }

    #[test]
    fn tables_are_found_by_both_lists() {
        for revision in [0, 2] {
            let tables = read(&mut image(revision, b"\x08_S5_\x12\x06\x04\x05\x05")).unwrap();
            assert_eq!(tables.revision, revision);
            assert_eq!(tables.fadt.dsdt, Some(BASE + 0x500));
            assert_eq!(tables.fadt.pm1_control[0].unwrap().addr, 0x604);
            let starts: Vec<_> = tables.ranges.iter().map(|range| range.start() - BASE).collect();
            for start in [0, 0x100, 0x200, 0x300, 0x500] {
                assert!(starts.contains(&start), "{start:#x}");
            }
        }
    }

    #[test]
    fn broken_tables_are_errors() {
        let check = |revision, offset: usize, expected: &str| {
            let mut image = image(revision, b"");
            image[offset] ^= 1;
            assert_eq!(read(&mut image).unwrap_err().to_string(), expected);
        };
        check(0, 1, "the RSDP at 0x10000 has the signature [52, 52, 44, 20]");
        check(0, 10, "the bytes of the RSDP at 0x10000 add up to 0x1, not to 0");
        check(2, 33, "the bytes of the RSDP at 0x10000 add up to 0x1, not to 0");
        check(0, 0x103, "the RSDT at 0x10100 has the signature [52, 53, 44, 55]");
        check(
            2,
            0x120,
            "the bytes of the XSDT at 0x10100 add up to 0x1, not to 0",
        );
        check(
            0,
            0x107,
            "the RSDT at 0x10100 has 16777260 bytes, expected 36 to 1048576",
        );
        check(0, 0x301, "there is no FADT");
        check(
            0,
            0x320,
            "the bytes of the FADT at 0x10300 add up to 0x1, not to 0",
        );
        // The DSDT is not needed.
        let mut image = image(0, b"");
        image[0x500] = 0;
        assert!(read(&mut image).is_ok());
        assert!(matches!(
            Tables::read(&SliceMemory::new(), BASE),
            Err(AcpiError::Read { what: "RSDP", .. })
        ));
    }
}
