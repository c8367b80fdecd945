//! Files of QEMU's fw_cfg device (QEMU `specs/fw_cfg.rst`).

use super::port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

/// Keys of the signature and of the directory.
const SIGNATURE: u16 = 0x00;
const DIRECTORY: u16 = 0x19;

/// Length of a name in the directory.
const NAME: usize = 56;

/// Most entries of the directory that are read.
const ENTRIES: u32 = 4096;

/// Reads the beginning of the file `name` into `buffer`, and returns the part that was read. Empty without the file or the device.
pub(super) fn read<'a>(name: &str, buffer: &'a mut [u8]) -> &'a [u8] {
    select(SIGNATURE);
    if bytes() != *b"QEMU" {
        return &[];
    }
    select(DIRECTORY);
    for _ in 0..u32::from_be_bytes(bytes()).min(ENTRIES) {
        let size = u32::from_be_bytes(bytes());
        let key = u16::from_be_bytes(bytes());
        let _reserved: [u8; 2] = bytes();
        let found: [u8; NAME] = bytes();
        let found = found.split(|byte| *byte == 0).next().unwrap_or_default();
        if found == name.as_bytes() {
            select(key);
            let length = usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len());
            let read = &mut buffer[..length];
            read.fill_with(|| port::read_u8(DATA));
            return read;
        }
    }
    &[]
}

fn select(key: u16) {
    port::write_u16(SELECTOR, key);
}

fn bytes<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| port::read_u8(DATA))
}
