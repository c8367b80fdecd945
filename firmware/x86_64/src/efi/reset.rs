//! `ResetSystem`: the reset register, sleep registers and others of a PC. All is in runtime memory.
#![expect(unsafe_code, reason = "registers that reset the machine")]

use core::arch::asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

use efi_abi::raw::Status;
use efi_abi::raw::table::runtime::ResetType;
use efi_core::memory::PAGE_SIZE;
use fw_acpi::{AddressSpace, Power, Register, SoftOff};

use crate::port::Port;

/// Reads of a port, a time in which a device takes effect: about a second.
const PATIENCE: u32 = 1_000_000;
/// Delay port.
// SAFETY: the port of a PC for diagnostic codes does not access memory.
const DELAY: Port = unsafe { Port::new(0x80) };
/// Reset control register of chip sets, and the keyboard controller's command register.
// SAFETY: a reset is what is wanted.
const RESET_CONTROL: Port = unsafe { Port::new(0xcf9) };
// SAFETY: as above.
const KEYBOARD: Port = unsafe { Port::new(0x64) };
const PULSE_RESET: u8 = 0xfe;

/// `SCI_EN` of a PM1 control register (ACPI 6.5, section 4.8.3.2.1), which stays.
const PM1_SCI: u16 = 1;

/// What is written where. 0 is nothing; otherwise bits 0 to 15 are the port, or the offset in the page of the context, bits 16 to 31 the
/// value, of which `IS_MEMORY` is not part.
struct Action(AtomicU32);

/// Flag in the upper bit of the value, which is not part of any.
const IS_MEMORY: u32 = 1 << 31;
/// Flag of an action: it is one.
const IS_SET: u32 = 1 << 30;

static RESET: Action = Action(AtomicU32::new(0));
static PM1A: Action = Action(AtomicU32::new(0));
static PM1B: Action = Action(AtomicU32::new(0));
static SLEEP: Action = Action(AtomicU32::new(0));

impl Action {
    /// Remembers a write; `page` is that of registers in memory, of which there is one.
    fn set(&self, register: Register, value: u32, page: &mut Option<u64>) {
        let place = match register.space {
            AddressSpace::IO => match u16::try_from(register.addr) {
                Ok(port) => u32::from(port),
                Err(_) => return,
            },
            AddressSpace::MEMORY => {
                let start = register.addr & !(PAGE_SIZE - 1);
                if *page.get_or_insert(start) != start {
                    return;
                }
                u32::try_from(register.addr - start).unwrap_or(0) | IS_MEMORY
            }
            _ => return,
        };
        self.0.store(place | value << 16 | IS_SET, Ordering::Relaxed);
    }

    /// Writes a byte.
    fn run_u8(&self, context: *mut c_void) {
        let action = self.0.load(Ordering::Relaxed);
        let [low, high, value, _] = action.to_le_bytes();
        let place = u16::from_le_bytes([low, high]);
        if action & IS_SET == 0 {
            return;
        }
        if action & IS_MEMORY == 0 {
            // SAFETY: the FADT names a register for this purpose.
            unsafe { Port::new(place) }.write_u8(value);
        } else if !context.is_null() {
            let register = context.cast::<u8>().wrapping_add(place.into());
            // SAFETY: the context is the page of the register, in the address space of the caller.
            unsafe { register.write_volatile(value) };
        }
        delay();
    }

    /// Writes a PM1 control register with 16 bits, without a delay: the second one may be needed.
    fn run_pm1(&self) {
        let action = self.0.load(Ordering::Relaxed);
        let [low, high, ..] = action.to_le_bytes();
        if action & IS_SET == 0 || action & IS_MEMORY != 0 {
            return;
        }
        // SAFETY: the FADT names a register for this purpose.
        let port = unsafe { Port::new(u16::from_le_bytes([low, high])) };
        let value = (action >> 16) & 0x3fff;
        let value = u16::try_from(value).unwrap_or(0);
        port.write_u16(port.read_u16() & PM1_SCI | value);
    }
}

fn delay() {
    for _ in 0..PATIENCE {
        DELAY.read_u8();
    }
}

/// Remembers the registers of the tables. Returns the page of those in memory, which is the context of [`reset`].
pub(super) fn set(power: &Power) -> Option<u64> {
    let mut page = None;
    if let Some(reset) = power.reset {
        RESET.set(reset.register, reset.value.into(), &mut page);
    }
    match power.soft_off {
        Some(SoftOff::Pm1 { a, b }) => {
            for (action, control) in [(&PM1A, Some(a)), (&PM1B, b)] {
                if let Some(control) = control {
                    action.set(control.register, control.value(0).into(), &mut page);
                }
            }
        }
        Some(SoftOff::SleepControl { register, value }) => SLEEP.set(register, value.into(), &mut page),
        None => {}
    }
    page
}

/// Resets the machine, or powers it off. A machine that cannot power off is reset (UEFI 2.10, section 8.5.1).
pub(super) unsafe extern "efiapi" fn reset(context: *mut c_void, kind: ResetType, _: Status) -> ! {
    if kind == ResetType::SHUTDOWN {
        PM1A.run_pm1();
        PM1B.run_pm1();
        SLEEP.run_u8(context);
        delay();
    }
    RESET.run_u8(context);
    // System reset, then with a reset of the CPU.
    RESET_CONTROL.write_u8(0x02);
    RESET_CONTROL.write_u8(0x06);
    delay();
    KEYBOARD.write_u8(PULSE_RESET);
    delay();
    // A fault without a handler shuts the CPU down, which resets the machine.
    let no_vectors = [0_u16; 5];
    // SAFETY: nothing runs after it.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const no_vectors, options(noreturn)) }
}
