//! SMBIOS entry points (SMBIOS 3.7, section 5.2.1).

use alloc::vec;
use alloc::vec::Vec;

use boot_core::GuestMemory;
use efi_abi::{Guid, guids};

/// The memory in which a BIOS places them, at multiples of 16 bytes.
const START: u64 = 0xf_0000;
const LEN: usize = 0x1_0000;
const ALIGN: usize = 16;

/// The first entry point of each version.
pub(super) fn find(memory: &dyn GuestMemory) -> Vec<(Guid, u64)> {
    let mut bytes = vec![0; LEN];
    if memory.read(START, &mut bytes).is_err() {
        return Vec::new();
    }
    // Anchor, offset of the length, least length.
    let kinds: [(&[u8], usize, usize, Guid); 2] = [
        (b"_SM3_", 6, 24, guids::SMBIOS3_TABLE),
        (b"_SM_", 5, 30, guids::SMBIOS_TABLE),
    ];
    let mut found = Vec::new();
    for (anchor, len_at, min_len, guid) in kinds {
        let offset = (0..LEN).step_by(ALIGN).find(|offset| {
            let rest = bytes.get(*offset..).unwrap_or(&[]);
            let len = rest.get(len_at).map_or(0, |len| usize::from(*len));
            let sum = rest
                .get(..len)
                .map(|entry| entry.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
            rest.starts_with(anchor) && len >= min_len && sum == Some(0)
        });
        let addr = offset.and_then(|offset| u64::try_from(offset).ok()?.checked_add(START));
        found.extend(addr.map(|addr| (guid, addr)));
    }
    found
}
