//! What is found in AML by its bytes (ACPI 6.5, chapter 20).

use alloc::vec::Vec;

use boot_core::GuestRange;

const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const STRING_PREFIX: u8 = 0x0d;
const PACKAGE_OP: u8 = 0x12;
const ROOT: u8 = b'\\';
/// `DefDevice` begins with these bytes.
const DEVICE_OP: [u8; 2] = [0x5b, 0x82];
/// Memory32Fixed descriptor and its length (section 6.4.3.4).
const MEMORY32_FIXED: [u8; 3] = [0x86, 9, 0];
/// Hardware id of virtio devices on MMIO.
const VIRTIO_MMIO: &[u8] = b"LNRO0005\0";
/// Devices that are read.
const MAX_DEVICES: usize = 256;

/// The offsets at which `pattern` is in `aml`.
fn find<'a>(aml: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = aml.windows(pattern.len()).enumerate();
    windows.filter_map(move |(offset, window)| (window == pattern).then_some(offset))
}

/// `SLP_TYPa` and `SLP_TYPb` of the state S5: the first elements of the package `\_S5` (section 7.4.2).
pub(crate) fn sleep_types(aml: &[u8]) -> Option<[u8; 2]> {
    find(aml, b"_S5_").find_map(|offset| {
        let (before, after) = aml.split_at_checked(offset)?;
        let is_name = matches!(before, [.., NAME_OP] | [.., NAME_OP, ROOT]);
        let package = after.get(4..).filter(|_| is_name)?;
        let rest = package.strip_prefix(&[PACKAGE_OP])?;
        // The upper two bits of the first byte are the number of further bytes of the length.
        let lead = rest.first()?;
        let elements = rest.get(usize::from(lead >> 6).checked_add(2)?..)?;
        let (first, elements) = constant(elements)?;
        let second = constant(elements).map_or(first, |(second, _)| second);
        Some([first, second])
    })
}

/// The constant at the start of the bytes, of which the lowest byte counts, and what follows.
fn constant(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (prefix, rest) = bytes.split_first()?;
    let len = match *prefix {
        value @ (0 | 1) => return Some((value, rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((*value.first()?, rest))
}

/// The registers of virtio devices on MMIO, in the order of the table.
pub(crate) fn virtio_mmio(aml: &[u8]) -> Vec<GuestRange> {
    let ids = find(aml, VIRTIO_MMIO).filter(|offset| {
        let prefix = offset.checked_sub(1).and_then(|offset| aml.get(offset));
        prefix == Some(&STRING_PREFIX)
    });
    let registers = ids.filter_map(|offset| {
        let device = aml.get(offset..)?;
        let end = find(device, &DEVICE_OP).next().unwrap_or(device.len());
        let device = device.get(..end)?;
        find(device, &MEMORY32_FIXED).find_map(|offset| fixed_memory(device.get(offset..)?))
    });
    registers.take(MAX_DEVICES).collect()
}

/// The range of a Memory32Fixed descriptor: information, base, length.
fn fixed_memory(descriptor: &[u8]) -> Option<GuestRange> {
    let [base, len] = [4, 8].map(|offset| descriptor.get(offset..)?.first_chunk().copied());
    let [base, len] = [u32::from_le_bytes(base?), u32::from_le_bytes(len?)];
    let range = GuestRange::new(base.into(), len.into())?;
    (base != 0 && !range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_of_s5() {
        let check = |aml: &[u8], expected| assert_eq!(sleep_types(aml), expected, "{aml:02x?}");
        check(b"x\x08_S5_\x12\x06\x04\x00\x00\x00\x00", Some([0, 0]));
        check(b"\x08\\_S5_\x12\x08\x04\x0a\x05\x0a\x07\x00\x00", Some([5, 7]));
        check(b"\x08_S5_\x12\x46\x00\x04\x01\x0b\x05\x00", Some([1, 5]));
        check(b"\x08_S5_\x12\x06\x01\x0c\x03\x00\x00\x00", Some([3, 3]));
        // A reference, then the definition.
        check(b"\\_S5_\x08_S5_\x12\x06\x04\x01\x01", Some([1, 1]));
        check(b"\x08_S5_\x0a\x05", None);
        check(b"\x08_S5_\x12", None);
        check(b"\x08_S5_\x12\xc0", None);
        check(b"\x08_S5_\x12\x06\x04\x0a", None);
        check(b"_S5_\x12\x06\x04\x00\x00", None);
        check(b"", None);
    }

    #[test]
    fn devices_have_their_own_registers() {
        let device = |name: &[u8], base: u32| {
            [
                &DEVICE_OP[..],
                &[0x40, 3],
                name,
                b"\x08_HID\x0dLNRO0005\0\x08_CRS\x11\x15\x0a\x12\x86\x09\x00\x01",
                &base.to_le_bytes(),
                &512_u32.to_le_bytes(),
                b"\x79\x00",
            ]
            .concat()
        };
        let range = |start| GuestRange::new(start, 512).unwrap();
        let mut aml = b"\x5b\x82\x20RTC_\x08_HID\x0dPNP0B00\0\x86\x09\x00\x01aaaabbbb".to_vec();
        aml.extend(device(b"VR00", 0xfeb0_0000));
        aml.extend(b"LNRO0005\0");
        aml.extend(device(b"VR01", 0xfeb0_0200));
        assert_eq!(virtio_mmio(&aml), [range(0xfeb0_0000), range(0xfeb0_0200)]);
        // A device without registers does not take those of the next one.
        let mut aml = b"\x5b\x82\x20VR00\x08_HID\x0dLNRO0005\0".to_vec();
        aml.extend(device(b"VR01", 0xfeb0_0200));
        assert_eq!(virtio_mmio(&aml), [range(0xfeb0_0200)]);
        let end = aml.len() - 6;
        assert_eq!(virtio_mmio(&aml[..end]), []);
        assert_eq!(virtio_mmio(&device(b"VR00", 0)), []);
    }
}
