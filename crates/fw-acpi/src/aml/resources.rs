//! Resource descriptors (section 6.4).

use super::cursor::{Cursor, Malformed};
use super::device::{Device, MemoryRange};

/// Bit of the first byte of large descriptors.
const LARGE: u8 = 0x80;
/// Largest number of resources of a kind that is kept for a device.
pub const MAX_RESOURCES: usize = 64;

/// Names of small descriptors.
const IRQ: u8 = 0x04;
const IO: u8 = 0x08;
const FIXED_IO: u8 = 0x09;
const END: u8 = 0x0f;
/// Names of large descriptors.
const MEMORY32: u8 = 0x85;
const MEMORY32_FIXED: u8 = 0x86;
const DWORD_SPACE: u8 = 0x87;
const WORD_SPACE: u8 = 0x88;
const INTERRUPTS: u8 = 0x89;
const QWORD_SPACE: u8 = 0x8a;

/// Adds the resources of a template to a device, up to its end or to what is malformed.
pub(super) fn read(template: &[u8], device: &mut Device) {
    let mut cursor = Cursor::new(template);
    while let Ok(Some(())) = descriptor(&mut cursor, device) {}
}

/// Reads one descriptor; `None` at the end tag.
fn descriptor(cursor: &mut Cursor<'_>, device: &mut Device) -> Result<Option<()>, Malformed> {
    let lead = cursor.byte()?;
    let (name, len) = if lead & LARGE == 0 {
        (lead >> 3, usize::from(lead & 7))
    } else {
        (lead, usize::from(u16::from_le_bytes(cursor.array()?)))
    };
    let mut body = Cursor::new(cursor.take(len)?);
    match name {
        END => return Ok(None),
        IRQ => {
            let mask = u16::from_le_bytes(body.array()?);
            let set = (0..16_u32).filter(|bit| mask >> bit & 1 != 0);
            add(&mut device.interrupts, set);
        }
        IO => {
            let [_decode, low, high, _, _, _align, count] = body.array()?;
            add(&mut device.ports, [(u16::from_le_bytes([low, high]), count)]);
        }
        FIXED_IO => {
            let [low, high, count] = body.array()?;
            add(&mut device.ports, [(u16::from_le_bytes([low, high]), count)]);
        }
        MEMORY32_FIXED => {
            body.skip(1)?;
            let (addr, len) = (word(&mut body)?, word(&mut body)?);
            add(&mut device.memory, [MemoryRange { addr, len }]);
        }
        MEMORY32 => {
            body.skip(1)?;
            let (min, max, _align, len) = (
                word(&mut body)?,
                word(&mut body)?,
                word(&mut body)?,
                word(&mut body)?,
            );
            // A range of possible addresses is none that was assigned.
            if min == max {
                add(&mut device.memory, [MemoryRange { addr: min, len }]);
            }
        }
        DWORD_SPACE => space(&mut body, device, word)?,
        QWORD_SPACE => space(&mut body, device, |body| Ok(u64::from_le_bytes(body.array()?)))?,
        WORD_SPACE => space(&mut body, device, |body| {
            Ok(u16::from_le_bytes(body.array()?).into())
        })?,
        INTERRUPTS => {
            let [_flags, count] = body.array()?;
            for _ in 0..count {
                let number = u32::from_le_bytes(body.array()?);
                add(&mut device.interrupts, [number]);
            }
        }
        _ => {}
    }
    Ok(Some(()))
}

fn word(body: &mut Cursor<'_>) -> Result<u64, Malformed> {
    Ok(u32::from_le_bytes(body.array()?).into())
}

/// Reads an address space descriptor (section 6.4.3.5) whose numbers `number` reads.
fn space(
    body: &mut Cursor<'_>,
    device: &mut Device,
    number: impl Fn(&mut Cursor<'_>) -> Result<u64, Malformed>,
) -> Result<(), Malformed> {
    let [kind, _general, _specific] = body.array()?;
    let _granularity = number(body)?;
    let (min, _max, translation, len) = (number(body)?, number(body)?, number(body)?, number(body)?);
    if kind == 0 {
        let addr = min.wrapping_add(translation);
        add(&mut device.memory, [MemoryRange { addr, len }]);
    }
    Ok(())
}

fn add<T>(list: &mut alloc::vec::Vec<T>, items: impl IntoIterator<Item = T>) {
    let room = MAX_RESOURCES.saturating_sub(list.len());
    list.extend(items.into_iter().take(room));
}
