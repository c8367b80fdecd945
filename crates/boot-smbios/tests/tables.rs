//! Tables read by the offsets of SMBIOS 3.7.

use std::num::NonZeroU32;

use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind};
use boot_smbios::{Identity, SmbiosError, SmbiosTables};
use proptest::prelude::*;

/// A structure: type, formatted area, and strings.
type Structure = (u8, Vec<u8>, Vec<String>);

/// The structures that an entry point leads to.
fn read(tables: &SmbiosTables) -> Vec<Structure> {
    let bytes = tables.bytes();
    assert_eq!((&bytes[..5], bytes[6], bytes[7]), (&b"_SM3_"[..], 24, 3));
    assert_eq!(
        bytes[..24].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
        0
    );
    let le64 = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let max = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let start = usize::try_from(le64(16) - tables.entry_point()).unwrap();
    let mut rest = &bytes[start..];
    assert_eq!(rest.len(), max);
    let mut structures = Vec::new();
    while let [kind, len, low, high, ..] = *rest {
        assert_eq!(usize::from(u16::from_le_bytes([low, high])), structures.len());
        let (area, behind) = rest.split_at(len.into());
        let end = behind.windows(2).position(|pair| pair == [0, 0]).unwrap();
        let strings = behind[..end]
            .split(|byte| *byte == 0)
            .filter(|text| !text.is_empty());
        let strings = strings.map(|text| String::from_utf8(text.to_vec()).unwrap());
        structures.push((kind, area.to_vec(), strings.collect()));
        rest = &behind[end + 2..];
    }
    assert!(rest.is_empty());
    structures
}

fn named() -> Identity {
    let text = |text: &'static str| Some(text.into());
    let mut identity = Identity::default();
    identity.bios_vendor = text("a vendor");
    identity.bios_release_date = text("12/31/2025");
    identity.manufacturer = text("a maker");
    identity.product_name = text("a machine");
    identity.serial_number = text("17");
    identity.uuid = Some(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
    identity.family = text("Ünïcode");
    identity.chassis_asset_tag = text("tag");
    identity
}

#[test]
fn strings_are_in_their_fields() {
    let tables = SmbiosTables::new(&named(), 0xf_0000).unwrap();
    let structures = read(&tables);
    let kinds: Vec<_> = structures.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [0, 1, 3, 127]);
    let string = |index: usize, offset: usize| {
        let (_, area, strings) = &structures[index];
        let number = usize::from(area[offset]);
        number.checked_sub(1).map(|at| strings[at].as_str())
    };
    let lens: Vec<_> = structures.iter().map(|(_, area, _)| area.len()).collect();
    assert_eq!(lens, [0x1a, 0x1b, 0x16, 4]);
    assert_eq!(
        [4, 5, 8].map(|offset| string(0, offset)),
        [Some("a vendor"), None, Some("12/31/2025")]
    );
    // A virtual machine (section 7.1.2.2).
    assert_eq!(structures[0].1[0x13], 0x10);
    assert_eq!(
        [4, 5, 6, 7, 0x19, 0x1a].map(|offset| string(1, offset)),
        [
            Some("a maker"),
            Some("a machine"),
            None,
            Some("17"),
            None,
            Some("Ünïcode")
        ]
    );
    // 00112233-4455-6677-8899-aabbccddeeff (section 7.2.1).
    assert_eq!(
        structures[1].1[8..24],
        *b"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
    );
    assert_eq!(string(2, 8), Some("tag"));
}

#[test]
fn strings_that_smbios_cannot_have_are_refused() {
    for bad in ["", "a\0b", "a\nb"] {
        let mut identity = Identity::default();
        identity.sku_number = Some(bad.into());
        let error = SmbiosTables::new(&identity, 0).unwrap_err();
        let expected = SmbiosError::String {
            field: "SKU number",
            text: bad.into(),
        };
        assert_eq!(error, expected);
    }
    let mut identity = Identity::default();
    identity.version = Some("x".repeat(0x1_0000).into());
    assert!(matches!(
        SmbiosTables::new(&identity, 0),
        Err(SmbiosError::TooLong { .. })
    ));
    for addr in [8, u64::MAX - 15] {
        let error = SmbiosTables::new(&named(), addr).unwrap_err();
        assert!(matches!(error, SmbiosError::Address { .. }), "{error}");
    }
}

#[test]
fn tables_are_where_guests_look_for_them() {
    let mut pc = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    let error = SmbiosTables::for_machine(&named(), &pc).unwrap_err();
    assert!(matches!(error, SmbiosError::NoRoom { .. }), "{error}");
    let before = pc.memory.clone();
    SmbiosTables::add_pc_memory(&mut pc.memory).unwrap();
    assert_eq!(pc.memory.ram_len(), before.ram_len() + 0x1_0000);
    let hole = GuestRange::from_bounds(0xa_0000, 0xf_0000).unwrap();
    assert!(pc.memory.is_kind(hole, RegionKind::Reserved));
    let tables = SmbiosTables::for_machine(&named(), &pc).unwrap();
    assert_eq!(tables.entry_point(), 0xf_0000);
    assert_eq!(tables.load().kind, RegionKind::Reserved);
    assert_eq!(tables.bytes().len(), 0x1_0000);

    let mut memory = MemoryMap::new();
    let ram = GuestRange::new(1 << 31, 1 << 20).unwrap();
    memory.insert(ram, RegionKind::Ram).unwrap();
    let mut arm64 = Machine::new(Arch::Aarch64, memory);
    arm64.vcpus = NonZeroU32::MIN;
    let tables = SmbiosTables::for_machine(&named(), &arm64).unwrap();
    assert_eq!(tables.entry_point(), ram.end() - 0x1000);
    assert_eq!(tables.load().kind, RegionKind::AcpiReclaimable);
}

proptest! {
    #[test]
    fn any_strings_are_refused_or_found(texts in proptest::collection::vec(".{0,40}", 3)) {
        let mut identity = Identity::default();
        identity.bios_version = Some(texts[0].clone().into());
        identity.product_name = Some(texts[1].clone().into());
        identity.chassis_version = Some(texts[2].clone().into());
        let is_bad = |text: &String| text.is_empty() || text.contains(char::is_control);
        match SmbiosTables::new(&identity, 0x1000) {
            Ok(tables) => {
                let found: Vec<_> = read(&tables).into_iter().flat_map(|(.., strings)| strings).collect();
                prop_assert_eq!(found, texts);
            }
            Err(error) => prop_assert!(texts.iter().any(is_bad), "{}", error),
        }
    }
}
