//! Application of base relocations ("Base Relocation Types").

use super::LoadError;
use crate::pe::constants::RelocationType;
use crate::pe::error::Unsupported;
use crate::pe::relocations::BaseRelocation;

/// Applies a base relocation to an image in memory. `delta` is the address of the image minus its `ImageBase`, modulo 2^64.
pub(super) fn apply(memory: &mut [u8], relocation: BaseRelocation, delta: u64) -> Result<(), LoadError> {
    let BaseRelocation { rva, relocation_type } = relocation;
    let at = usize::try_from(rva).unwrap_or(usize::MAX);
    let field = memory.get_mut(at..).unwrap_or_default();
    let [low0, low1, high0, high1, ..] = delta.to_le_bytes();
    match relocation_type {
        RelocationType::HIGH => add_u16(field, u16::from_le_bytes([high0, high1])),
        RelocationType::LOW => add_u16(field, u16::from_le_bytes([low0, low1])),
        RelocationType::HIGHLOW => {
            if let Some(field) = field.first_chunk_mut() {
                let value = u64::from(u32::from_le_bytes(*field)).wrapping_add(delta);
                let relocated = u32::try_from(value).ok().ok_or(LoadError::RelocationOverflow {
                    rva,
                    relocation_type,
                    value,
                })?;
                *field = relocated.to_le_bytes();
            }
        }
        RelocationType::DIR64 => {
            if let Some(field) = field.first_chunk_mut() {
                *field = u64::from_le_bytes(*field).wrapping_add(delta).to_le_bytes();
            }
        }
        // The iterator gives no other type.
        _ => {
            let rva = rva.into();
            return Err(LoadError::Pe(
                Unsupported::RelocationType { rva, relocation_type }.into(),
            ));
        }
    }
    Ok(())
}

fn add_u16(field: &mut [u8], delta: u16) {
    if let Some(field) = field.first_chunk_mut() {
        *field = u16::from_le_bytes(*field).wrapping_add(delta).to_le_bytes();
    }
}
