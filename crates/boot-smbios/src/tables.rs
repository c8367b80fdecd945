//! The tables as one block of bytes.

use alloc::vec::Vec;

use boot_core::{
    AdditionalLoad, Arch, Constraints, GuestRange, Machine, MemoryMap, MemoryMapError, RamAllocator,
    RegionKind, arith,
};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32, U64};

use crate::error::SmbiosError;
use crate::identity::Identity;
use crate::raw::{Bios, Chassis, EntryPoint, System};
use crate::structure::{Strings, Structures};

/// Distance from the entry point to the structures.
const HEAD_LEN: usize = 32;

/// SMBIOS tables: the entry point, and behind it the structures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmbiosTables {
    addr: u64,
    bytes: Vec<u8>,
}

impl SmbiosTables {
    /// Where guests on a PC without EFI look for the entry point, at multiples of 16 (SMBIOS 3.7, section 5.2.2).
    pub const PC_RANGE: GuestRange = match GuestRange::new(0xf_0000, 0x1_0000) {
        Some(range) => range,
        None => GuestRange::EMPTY,
    };

    /// Greatest length of the tables: that of the range on a PC.
    pub const MAX_LEN: usize = 0x1_0000;

    /// The tables for the guest physical address `addr`, where the entry point is. Their length does not depend on the address.
    ///
    /// # Errors
    ///
    /// [`SmbiosError::String`] for a string that the tables cannot have, [`SmbiosError::TooLong`], and [`SmbiosError::Address`] for an address that is
    /// not a multiple of 16 or too high.
    pub fn new(identity: &Identity, addr: u64) -> Result<Self, SmbiosError> {
        let structures = structures(identity)?;
        let len = structures.len().saturating_add(HEAD_LEN);
        if len > Self::MAX_LEN {
            return Err(SmbiosError::TooLong {
                len,
                max: Self::MAX_LEN,
            });
        }
        let first = addr.checked_add(arith::to_u64(HEAD_LEN));
        let end = addr.checked_add(arith::to_u64(len));
        let (Some(first), Some(_), true) = (first, end, arith::align_down(addr, 16) == addr) else {
            return Err(SmbiosError::Address { addr, len });
        };
        let max_size = u32::try_from(structures.len()).unwrap_or(u32::MAX);
        let mut bytes = entry_point(first, max_size).as_bytes().to_vec();
        bytes.resize(HEAD_LEN, 0);
        bytes.extend(structures);
        Ok(Self { addr, bytes })
    }

    /// The tables of `machine`: on a PC at the start of [`PC_RANGE`](Self::PC_RANGE), elsewhere in the last pages of RAM that have room for them.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`SmbiosError::NoRoom`] without such pages, or on a PC without RAM in its range.
    pub fn for_machine(identity: &Identity, machine: &Machine) -> Result<Self, SmbiosError> {
        let len = Self::new(identity, 0)?.bytes.len();
        if machine.arch == Arch::X86_64 {
            if !machine.memory.is_ram(Self::PC_RANGE) {
                return Err(SmbiosError::NoRoom { len });
            }
            let mut tables = Self::new(identity, Self::PC_RANGE.start())?;
            // All of the range is reserved, as on a PC.
            tables.bytes.resize(Self::MAX_LEN, 0);
            return Ok(tables);
        }
        let mut ram = RamAllocator::new(&machine.memory);
        for reserved in &machine.platform.reserved_memory {
            ram.exclude_rest("reserved memory", reserved.range);
        }
        let pages = Constraints::aligned(0x1000).not_below(0x1000).highest();
        match ram.allocate("SMBIOS tables", arith::to_u64(len), &pages) {
            Ok(range) => Self::new(identity, range.start()),
            Err(_) => Err(SmbiosError::NoRoom { len }),
        }
    }

    /// Makes [`PC_RANGE`](Self::PC_RANGE) RAM of a PC, whatever it is in `memory`.
    ///
    /// # Errors
    ///
    /// None: the parts of a valid map do not overlap.
    pub fn add_pc_memory(memory: &mut MemoryMap) -> Result<(), MemoryMapError> {
        let mut map = MemoryMap::new();
        let (start, end) = (Self::PC_RANGE.start(), Self::PC_RANGE.end());
        for region in memory.regions() {
            let below = GuestRange::from_bounds(region.range.start(), region.range.end().min(start));
            let above = GuestRange::from_bounds(region.range.start().max(end), region.range.end());
            for part in [below, above]
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
            {
                map.insert(part, region.kind)?;
            }
        }
        map.insert(Self::PC_RANGE, RegionKind::Ram)?;
        *memory = map;
        Ok(())
    }

    /// The guest physical address of the entry point, which is that of the first byte.
    #[must_use]
    pub const fn entry_point(&self) -> u64 {
        self.addr
    }

    /// The bytes of entry point and structures.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tables as a load of a plan. On a PC its memory is reserved, elsewhere it is like that of ACPI tables, as UEFI 2.10 demands of
    /// configuration tables (section 4.6).
    #[must_use]
    pub fn load(&self) -> AdditionalLoad<'_> {
        let kind = if Self::PC_RANGE.contains_addr(self.addr) {
            RegionKind::Reserved
        } else {
            RegionKind::AcpiReclaimable
        };
        AdditionalLoad::bytes("SMBIOS tables", &self.bytes)
            .at(self.addr)
            .in_region(kind)
    }
}

/// The entry point of SMBIOS 3.7 (section 5.2.2) for structures at `address`.
fn entry_point(address: u64, max_size: u32) -> EntryPoint {
    let mut entry = EntryPoint {
        anchor: *b"_SM3_",
        checksum: 0,
        length: 24,
        major_version: 3,
        minor_version: 7,
        document_revision: 0,
        revision: 1,
        reserved: 0,
        max_size: U32::new(max_size),
        address: U64::new(address),
    };
    let sum = entry
        .as_bytes()
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    entry.checksum = sum.wrapping_neg();
    entry
}

/// All structures.
fn structures(identity: &Identity) -> Result<Vec<u8>, SmbiosError> {
    let mut structures = Structures::default();
    let mut strings = Strings::default();
    let bios = Bios {
        vendor: strings.add("BIOS vendor", identity.bios_vendor.as_ref())?,
        version: strings.add("BIOS version", identity.bios_version.as_ref())?,
        start_segment: U16::ZERO,
        release_date: strings.add("BIOS release date", identity.bios_release_date.as_ref())?,
        rom_size: 0,
        // Bit 3: characteristics are not supported.
        characteristics: U64::new(1 << 3),
        // Bit 4 of the second byte: a virtual machine.
        characteristics_extension: [0, 1 << 4],
        release: [0xff; 2],
        controller_release: [0xff; 2],
        extended_rom_size: U16::ZERO,
    };
    structures.push(0, &bios, strings);
    let mut strings = Strings::default();
    let system = System {
        manufacturer: strings.add("manufacturer", identity.manufacturer.as_ref())?,
        product_name: strings.add("product name", identity.product_name.as_ref())?,
        version: strings.add("version", identity.version.as_ref())?,
        serial_number: strings.add("serial number", identity.serial_number.as_ref())?,
        uuid: identity.uuid.map_or([0; 16], in_memory),
        // The power switch.
        wake_up: 6,
        sku_number: strings.add("SKU number", identity.sku_number.as_ref())?,
        family: strings.add("family", identity.family.as_ref())?,
    };
    structures.push(1, &system, strings);
    let mut strings = Strings::default();
    let chassis = Chassis {
        manufacturer: strings.add("chassis manufacturer", identity.chassis_manufacturer.as_ref())?,
        // Other.
        kind: 1,
        version: strings.add("chassis version", identity.chassis_version.as_ref())?,
        serial_number: strings.add("chassis serial number", identity.chassis_serial_number.as_ref())?,
        asset_tag: strings.add("chassis asset tag", identity.chassis_asset_tag.as_ref())?,
        // Safe three times, and no security.
        states: [3; 4],
        oem: U32::ZERO,
        height: 0,
        power_cords: 0,
        elements: [0; 2],
        sku_number: 0,
    };
    structures.push(3, &chassis, strings);
    structures.push(127, &(), Strings::default());
    Ok(structures.bytes)
}

/// A UUID in the order of the table: the first three fields are little-endian (section 7.2.1).
const fn in_memory(uuid: [u8; 16]) -> [u8; 16] {
    let [low @ .., m0, m1, h0, h1, r0, r1, r2, r3, r4, r5, r6, r7] = uuid;
    let [l0, l1, l2, l3] = low;
    [l3, l2, l1, l0, m1, m0, h1, h0, r0, r1, r2, r3, r4, r5, r6, r7]
}
