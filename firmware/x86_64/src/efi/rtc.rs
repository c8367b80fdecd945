//! `GetTime` and `SetTime`. All is in runtime memory.
#![expect(unsafe_code, reason = "hooks of runtime services")]

use core::ffi::c_void;
use core::sync::atomic::{AtomicU8, Ordering};

use efi_abi::raw::Status;
use fw_efi::cmos::{self, Cmos};

use crate::port::Port;

/// Register for the index, and for the value.
// SAFETY: the clock does not access memory.
const INDEX: Port = unsafe { Port::new(0x70) };
// SAFETY: as above.
const VALUE: Port = unsafe { Port::new(0x71) };
/// Bit of the index that disables non-maskable interrupts.
const NMI_OFF: u8 = 1 << 7;

/// Register of the century, or 0.
static CENTURY: AtomicU8 = AtomicU8::new(0);

/// Sets the register of the century of the FADT.
pub(super) fn set_century(register: u8) {
    CENTURY.store(register & !NMI_OFF, Ordering::Relaxed);
}

struct Ports;

impl Cmos for Ports {
    fn read(&mut self, register: u8) -> u8 {
        INDEX.write_u8(register);
        VALUE.read_u8()
    }

    fn write(&mut self, register: u8, value: u8) {
        INDEX.write_u8(register);
        VALUE.write_u8(value);
    }
}

/// Reads the clock.
pub(super) unsafe extern "efiapi" fn get_time(_: *mut c_void, seconds: *mut u64) -> Status {
    match cmos::time(&mut Ports, CENTURY.load(Ordering::Relaxed)) {
        Some(time) => {
            // SAFETY: the contract of the hook.
            unsafe { seconds.write(time) };
            Status::SUCCESS
        }
        None => Status::DEVICE_ERROR,
    }
}

/// Sets the clock.
pub(super) unsafe extern "efiapi" fn set_time(_: *mut c_void, seconds: u64) -> Status {
    if cmos::set_time(&mut Ports, CENTURY.load(Ordering::Relaxed), seconds) {
        Status::SUCCESS
    } else {
        Status::DEVICE_ERROR
    }
}
