//! Registers of devices.
#![expect(unsafe_code, reason = "loads and stores that hypervisors emulate")]

use core::arch::asm;

use fw_device_tree::Registers;

/// Access by loads and stores with a base register alone: hypervisors have no syndrome for others.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mmio;

impl Registers for Mmio {
    unsafe fn read_u8(self, addr: u64) -> u8 {
        let value: u32;
        // SAFETY: the caller guarantees that the access is valid.
        unsafe { asm!("ldrb {:w}, [{}]", out(reg) value, in(reg) addr, options(nostack, preserves_flags)) };
        value.to_le_bytes()[0]
    }

    unsafe fn read_u16(self, addr: u64) -> u16 {
        let value: u32;
        // SAFETY: as above.
        unsafe { asm!("ldrh {:w}, [{}]", out(reg) value, in(reg) addr, options(nostack, preserves_flags)) };
        let [low, high, ..] = value.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    unsafe fn read_u32(self, addr: u64) -> u32 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("ldr {:w}, [{}]", out(reg) value, in(reg) addr, options(nostack, preserves_flags)) };
        value
    }

    unsafe fn write_u8(self, addr: u64, value: u8) {
        let value = u32::from(value);
        // SAFETY: as above.
        unsafe { asm!("strb {:w}, [{}]", in(reg) value, in(reg) addr, options(nostack, preserves_flags)) }
    }

    unsafe fn write_u16(self, addr: u64, value: u16) {
        let value = u32::from(value);
        // SAFETY: as above.
        unsafe { asm!("strh {:w}, [{}]", in(reg) value, in(reg) addr, options(nostack, preserves_flags)) }
    }

    unsafe fn write_u32(self, addr: u64, value: u32) {
        // SAFETY: as above.
        unsafe { asm!("str {:w}, [{}]", in(reg) value, in(reg) addr, options(nostack, preserves_flags)) }
    }
}
