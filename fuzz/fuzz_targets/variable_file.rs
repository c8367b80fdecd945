//! Arbitrary bytes as a file of variables on a disk: it is refused and the store stays as it was, or its variables are loaded. They
//! are then changed, and the power goes after some sectors: the file has the old variables or the new ones.
//!
//! The first bytes choose the sectors that are written, the repairs of checksums, and the order of sectors.

#![no_main]

use efi_core::crc::crc32;
use efi_core::guids::GLOBAL_VARIABLE;
use efi_core::variables::{SlotFile, Storage, Variables, name};
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
type Store = Variables<0x2000>;

#[derive(Clone)]
struct Disk {
    bytes: Vec<u8>,
    power: usize,
    backwards: bool,
}

impl Storage for Disk {
    type Error = ();

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ()> {
        assert!(offset.is_multiple_of(4096) && buffer.len().is_multiple_of(4096));
        let start = usize::try_from(offset).expect("an offset of the file");
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), ()> {
        assert!(offset.is_multiple_of(4096) && data.len().is_multiple_of(4096));
        let start = usize::try_from(offset).expect("an offset of the file");
        let mut sectors: Vec<_> = data.chunks(SECTOR).enumerate().collect();
        if self.backwards {
            sectors.reverse();
        }
        for (index, sector) in sectors {
            self.power = self.power.checked_sub(1).ok_or(())?;
            self.bytes[start + index * SECTOR..][..SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ()> {
        if self.power == 0 { Err(()) } else { Ok(()) }
    }
}

/// Makes the checksums of a slot right, and its lengths if `lengths` is set.
fn repair(slot: &mut [u8], lengths: bool) {
    if slot.len() < 4096 + 20 {
        return;
    }
    let (header, content) = slot.split_at_mut(4096);
    header[..12].copy_from_slice(&[b"VMBTSLOT", &1_u32.to_le_bytes()[..]].concat());
    content[..12].copy_from_slice(&[b"VMBTEFIV", &1_u32.to_le_bytes()[..]].concat());
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if lengths {
        let len = word(&header[12..]) % (content.len() - 19) + 20;
        header[12..16].copy_from_slice(&u32::try_from(len).expect("a short slot").to_le_bytes());
        let records = u32::try_from(len - 20).expect("a short slot");
        content[12..16].copy_from_slice(&records.to_le_bytes());
    }
    let len = word(&header[12..]).clamp(20, content.len());
    let crc = crc32(&content[20..len]).to_le_bytes();
    content[16..20].copy_from_slice(&crc);
    let crc = crc32(&header[..24]).to_le_bytes();
    header[24..28].copy_from_slice(&crc);
}

fn store() -> Store {
    let mut store = Store::new();
    let all = [("SecureBoot", 6, true), ("default", 7, false)];
    for (text, attributes, by_firmware) in all {
        let name = name(text);
        let result = if by_firmware {
            store.set_by_firmware(&name, GLOBAL_VARIABLE, attributes, b"0")
        } else {
            store.set(&name, GLOBAL_VARIABLE, attributes, b"0")
        };
        result.expect("a small variable");
    }
    store
}

fuzz_target!(|data: &[u8]| {
    let [power, flags, data @ ..] = data else { return };
    let mut bytes = data.to_vec();
    if flags & 8 != 0 {
        // Short inputs are files as well.
        bytes.resize(bytes.len().max(16 * 1024), 0);
    }
    let slot = bytes.len() / 2 / 4096 * 4096;
    let (first, second) = bytes.split_at_mut(slot);
    if flags & 1 != 0 {
        repair(first, flags & 4 != 0);
    }
    if flags & 2 != 0 {
        let len = second.len().min(slot);
        repair(&mut second[..len], flags & 4 != 0);
    }
    let disk = Disk {
        bytes,
        power: usize::MAX,
        backwards: flags & 16 != 0,
    };
    let mut variables = store();
    let before = variables.to_file();
    let Ok(mut file) = SlotFile::open(disk, &mut variables) else {
        assert_eq!(variables.to_file(), before);
        return;
    };
    assert_eq!(variables.global("SecureBoot"), b"0");
    let old = variables.to_file();
    assert_eq!(file.save(&variables), Ok(false));
    if variables
        .set(
            &name("fuzz"),
            GLOBAL_VARIABLE,
            7,
            &vec![*power; usize::from(*power) * 8 + 1],
        )
        .is_err()
    {
        return;
    }
    let new = variables.to_file();
    file.storage_mut().power = usize::from(*power);
    let result = file.save(&variables);
    let mut disk = file.into_storage();
    disk.power = usize::MAX;
    let mut found = store();
    let mut file = SlotFile::open(disk, &mut found).expect("a file with a good slot");
    let found_file = found.to_file();
    assert!(found_file == old || found_file == new);
    if result.is_ok() {
        assert!(found_file == new);
    }
    found.set(&name("fuzz"), GLOBAL_VARIABLE, 7, b"last").ok();
    if file.save(&found).is_ok() {
        let mut last = store();
        SlotFile::open(file.into_storage(), &mut last).expect("a file that was written");
        assert_eq!(last.to_file(), found.to_file());
    }
});
