//! Images whose entry point is a function of the test.

use crate::machine::Entry;

const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    0x8664
} else if cfg!(target_arch = "aarch64") {
    0xaa64
} else {
    0x5064
};

/// Code that jumps to the address behind it.
const JUMP: &[u8] = if cfg!(target_arch = "x86_64") {
    // jmp [rip + 10]; the address is at offset 16.
    &[0xff, 0x25, 10, 0, 0, 0]
} else if cfg!(target_arch = "aarch64") {
    // ldr x16, #16; br x16
    &[0x90, 0x00, 0x00, 0x58, 0x00, 0x02, 0x1f, 0xd6]
} else {
    // auipc t0, 0; ld t0, 16(t0); jr t0
    &[0x97, 0x02, 0, 0, 0x83, 0xb2, 0x02, 0x01, 0x67, 0x80, 0x02, 0]
};

fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A PE32+ image of this subsystem with an executable section.
pub(crate) fn image(entry: Entry, subsystem: u16) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    let address = (entry as *const ()).expose_provenance() as u64;
    put(&mut file, 0, b"MZ");
    put(&mut file, 0x3c, &[0x80]);
    put(&mut file, 0x80, b"PE\0\0");
    for (offset, value) in [
        (0x84, MACHINE),
        (0x86, 1),
        (0x94, 240),
        (0x96, 0x22),
        (0x98, 0x20b),
    ] {
        put(&mut file, offset, &u16::to_le_bytes(value));
    }
    for (offset, value) in [(0xdc, subsystem), (0xde, 0x100)] {
        put(&mut file, offset, &value.to_le_bytes());
    }
    for (offset, value) in [
        (0xa8, 0x1000),
        (0xb8, 0x1000),
        (0xbc, 0x200),
        (0xd0, 0x2000),
        (0xd4, 0x200),
        (0x104, 16),
    ] {
        put(&mut file, offset, &u32::to_le_bytes(value));
    }
    put(&mut file, 0xb0, &0x1_4000_0000_u64.to_le_bytes());
    put(&mut file, 0x188, b".text");
    for (offset, value) in [
        (0x190, 0x18),
        (0x194, 0x1000),
        (0x198, 0x200),
        (0x19c, 0x200),
        (0x1ac, 0x6000_0020),
    ] {
        put(&mut file, offset, &u32::to_le_bytes(value));
    }
    put(&mut file, 0x200, JUMP);
    put(&mut file, 0x210, &address.to_le_bytes());
    file
}

/// An application.
pub(crate) fn application(entry: Entry) -> Vec<u8> {
    image(entry, 10)
}
